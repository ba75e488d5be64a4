//! The rare paths of the engine, and how often the seeds went through them.

use std::fmt;

macro_rules! points {
    ($($name:ident)*) => {
        /// A path that must be hit over the default seeds.
        #[allow(non_camel_case_types)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Point { $($name,)* }

        impl Point {
            const ALL: &[Point] = &[$(Point::$name,)*];
        }
    };
}

points! {
    LaneFull LogFull SegmentRoll SegmentStarved ShortWrite ShardFailed UnknownToClient Fenced
    GapRefused DiskFullRefused GreetingAcrossShards NewEpoch BadFrameRefused RejectedEvent
    Duplicate DuplicateByFields SlowSocket SlotReused Crash CrashInRecovery LayoutChanged AnswerInPieces
    WindowLate FreshAfterLoss LossyAck Retracted Annulled PutBack
}

/// Counts by point.
#[derive(Clone, Debug)]
pub(crate) struct Cover {
    counts: Vec<u64>,
}

impl Default for Cover {
    fn default() -> Cover {
        Cover {
            counts: vec![0; Point::ALL.len()],
        }
    }
}

impl Cover {
    pub(crate) fn hit(&mut self, point: Point) {
        self.add(point, 1);
    }

    pub(crate) fn add(&mut self, point: Point, count: u64) {
        self.counts[point as usize] += count;
    }

    /// Points that were never hit.
    pub(crate) fn missed(&self) -> Vec<Point> {
        Point::ALL
            .iter()
            .copied()
            .filter(|point| self.counts[*point as usize] == 0)
            .collect()
    }
}

impl fmt::Display for Cover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for point in Point::ALL {
            write!(f, "{point:?} {}  ", self.counts[*point as usize])?;
        }
        Ok(())
    }
}
