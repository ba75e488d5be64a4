//! Events that windows did not take: counted, and the latest ones kept to be read.

use super::Accepted;
use super::grid::Span;
use crate::limits::SIDE_EVENTS_MAX;
use crate::schema::Schema;
use std::collections::VecDeque;

/// Why a window did not take an event.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
)]
#[repr(u8)]
pub enum LateReason {
    /// The window was final, by other events that were newer.
    Late,
    /// The clock closed the window while the sources were idle: they came back with older events.
    AfterIdle,
    /// The window takes late events as long as it is kept, and it is no longer kept.
    Expired,
}

impl LateReason {
    /// Number of reasons; `reason.index()` is below it.
    pub const COUNT: usize = 3;

    /// All reasons.
    pub const ALL: [LateReason; LateReason::COUNT] =
        [LateReason::Late, LateReason::AfterIdle, LateReason::Expired];

    /// Position in [`LateReason::ALL`], for counters.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name used in metrics and answers.
    pub const fn name(self) -> &'static str {
        match self {
            LateReason::Late => "late",
            LateReason::AfterIdle => "after_idle",
            LateReason::Expired => "expired",
        }
    }
}

/// An event that one or more windows did not take.
#[derive(Debug, Clone, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct LateEvent {
    /// When it was taken in, ns.
    pub stamp_ns: u64,
    /// The log stream that holds it.
    pub log_stream: u32,
    /// Position of its entry in that log stream.
    pub lsn: u64,
    /// Its place in the entry, from 0.
    pub index: u32,
    /// Why; [`LateReason::AfterIdle`] if that is so for one of the windows.
    pub reason: LateReason,
    /// How many windows it missed; they follow each other.
    pub windows: u32,
    /// Start and end of the first one, ms.
    pub first_ms: (i64, i64),
    /// Start and end of the last one, ms.
    pub last_ms: (i64, i64),
    /// The row.
    pub row: Vec<u8>,
}

impl LateEvent {
    /// Its place in the recorded order.
    fn order(&self) -> (u64, u32, u32) {
        (self.stamp_ns, self.log_stream, self.index)
    }
}

const fn pair(span: Span) -> (i64, i64) {
    (span.start_ms, span.end_ms)
}

/// The windows that an event missed; they follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missed {
    pub(super) windows: u32,
    /// Those of them that the clock closed.
    pub(super) by_clock: u32,
    pub(super) first: Span,
    pub(super) last: Span,
}

/// The latest late events, by the recorded order: replay of several older logs may interleave them
/// in any way, which must not show.
#[derive(Debug, Clone, Default)]
pub(super) struct LateLog {
    /// Pairs of event and window, by [`LateReason::index`].
    pub(super) counts: [u64; LateReason::COUNT],
    kept: VecDeque<LateEvent>,
}

impl LateLog {
    /// Counts an event for the windows that it missed, and keeps it. `plain` is the reason where
    /// the clock is none.
    pub(super) fn note(
        &mut self,
        schema: &Schema,
        batch: &Accepted<'_>,
        index: u32,
        missed: &Missed,
        plain: LateReason,
    ) {
        self.counts[LateReason::AfterIdle.index()] += u64::from(missed.by_clock);
        self.counts[plain.index()] += u64::from(missed.windows - missed.by_clock);
        let event = LateEvent {
            stamp_ns: batch.origin.stamp_ns,
            log_stream: batch.origin.log_stream,
            lsn: batch.origin.lsn,
            index,
            reason: if missed.by_clock > 0 {
                LateReason::AfterIdle
            } else {
                plain
            },
            windows: missed.windows,
            first_ms: pair(missed.first),
            last_ms: pair(missed.last),
            row: Vec::new(),
        };
        let at = index as usize * schema.row_len();
        self.keep(event, &batch.rows[at..at + schema.row_len()]);
    }

    /// Keeps an event. `row` is copied into memory of an event that has to go, so that a flood of
    /// late events allocates nothing.
    fn keep(&mut self, mut event: LateEvent, row: &[u8]) {
        let order = event.order();
        let newer = self.kept.iter().rev();
        let newer = newer.take_while(|other| other.order() > order).count();
        if newer == SIDE_EVENTS_MAX {
            return;
        }
        if self.kept.len() == SIDE_EVENTS_MAX
            && let Some(oldest) = self.kept.pop_front()
        {
            event.row = oldest.row;
        }
        event.row.clear();
        event.row.extend_from_slice(row);
        self.kept.insert(self.kept.len() - newer, event);
    }

    /// The latest events, newest first.
    pub(super) fn newest(&self) -> impl Iterator<Item = &LateEvent> {
        self.kept.iter().rev()
    }
}
