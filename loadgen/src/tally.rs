//! What one thread counts, cut into intervals.

use crate::recorder::Recorder;

/// Plain counts; differences and sums are taken field by field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events whose intended time fell due.
    pub offered: u64,
    /// Events acknowledged, whenever they were offered.
    pub acked: u64,
    /// Acknowledged events that the server refused for their content.
    pub rejected: u64,
    /// Sent events given up on.
    pub timed_out: u64,
    /// Due events that were never sent.
    pub unsent: u64,
    /// Events that waited because every in-flight window was full.
    pub held: u64,
    /// Frames made.
    pub frames: u64,
    /// System calls that sent them.
    pub sends: u64,
    /// Time spent working rather than waiting, in ns.
    pub busy_ns: u64,
    /// Connections lost.
    pub lost: u64,
    /// Connections made again.
    pub reconnects: u64,
    /// Errors that the server reported or that its bytes held.
    pub faults: u64,
}

impl Counts {
    /// Adds another interval's or thread's counts.
    pub fn add(&mut self, other: &Counts) {
        self.offered += other.offered;
        self.acked += other.acked;
        self.rejected += other.rejected;
        self.timed_out += other.timed_out;
        self.unsent += other.unsent;
        self.held += other.held;
        self.frames += other.frames;
        self.sends += other.sends;
        self.busy_ns += other.busy_ns;
        self.lost += other.lost;
        self.reconnects += other.reconnects;
        self.faults += other.faults;
    }

    /// Everything that counts as an error.
    pub fn errors(&self) -> u64 {
        self.rejected + self.timed_out + self.unsent + self.lost + self.faults
    }
}

/// A part of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Load whose figures are discarded.
    #[default]
    WarmUp,
    /// Load that is measured.
    Measured,
    /// Nothing is offered any more; late acknowledgements of measured events arrive.
    Drain,
}

/// One interval of one thread.
#[derive(Clone, Debug, Default)]
pub struct IntervalSet {
    /// When it began, in ns since the origin of the run.
    pub from_ns: u64,
    /// When it ended.
    pub to_ns: u64,
    /// Which part of the run it belongs to.
    pub phase: Phase,
    /// Acknowledgement minus intended time.
    pub response: Recorder,
    /// Acknowledgement minus actual send.
    pub service: Recorder,
    /// Actual send minus intended time; holds the time in which a batch fills.
    pub send_lag: Recorder,
    /// Actual send minus the moment at which the frame was due: what the generator adds itself.
    pub pacing_lag: Recorder,
    /// The counts.
    pub counts: Counts,
    /// Unacknowledged events at its end.
    pub in_flight: u64,
}

impl IntervalSet {
    /// Makes it an empty interval that begins at `from_ns`.
    pub fn reset(&mut self, from_ns: u64) {
        self.response.clear();
        self.service.clear();
        self.send_lag.clear();
        self.pacing_lag.clear();
        self.counts = Counts::default();
        self.from_ns = from_ns;
        self.to_ns = from_ns;
        self.phase = Phase::WarmUp;
        self.in_flight = 0;
    }

    /// Adds another thread's part of the same interval.
    pub fn merge(&mut self, other: &IntervalSet) {
        self.from_ns = self.from_ns.min(other.from_ns);
        self.to_ns = self.to_ns.max(other.to_ns);
        self.response.merge(&other.response);
        self.service.merge(&other.service);
        self.send_lag.merge(&other.send_lag);
        self.pacing_lag.merge(&other.pacing_lag);
        self.counts.add(&other.counts);
        self.in_flight += other.in_flight;
    }
}

/// The recording side of a thread.
#[derive(Debug)]
pub struct Tally {
    /// The interval in progress.
    pub set: Box<IntervalSet>,
    measure_from_ns: u64,
    /// Whether the interval in progress is a measured one.
    measuring: bool,
}

impl Tally {
    /// Starts counting; events intended before `measure_from_ns` are warm-up.
    pub fn new(from_ns: u64, measure_from_ns: u64) -> Tally {
        let set = IntervalSet {
            from_ns,
            ..IntervalSet::default()
        };
        Tally {
            set: Box::new(set),
            measure_from_ns,
            measuring: from_ns >= measure_from_ns,
        }
    }

    /// Ends the interval at `now_ns`: `next` takes its place and the finished one is returned.
    pub fn cut(
        &mut self,
        now_ns: u64,
        phase: Phase,
        mut next: Box<IntervalSet>,
    ) -> Box<IntervalSet> {
        next.reset(now_ns);
        let mut done = std::mem::replace(&mut self.set, next);
        done.to_ns = now_ns;
        done.phase = phase;
        self.measuring = self.measuring || now_ns >= self.measure_from_ns;
        done
    }

    /// Latencies of warm-up events stay out of measured intervals; their counts do not matter.
    #[inline]
    fn is_recorded(&self, intended_ns: u64) -> bool {
        !self.measuring || intended_ns >= self.measure_from_ns
    }

    /// Counts acknowledged events of one frame by the intended time of each.
    #[inline]
    pub fn acked_each(
        &mut self,
        intended: impl ExactSizeIterator<Item = u64>,
        due_ns: u64,
        sent_ns: u64,
        now_ns: u64,
    ) {
        self.set.counts.acked += intended.len() as u64;
        let mut recorded = 0;
        for intended_ns in intended {
            if self.is_recorded(intended_ns) {
                recorded += 1;
                self.set.response.record(now_ns.saturating_sub(intended_ns));
                self.set
                    .send_lag
                    .record(sent_ns.saturating_sub(intended_ns));
            }
        }
        if recorded > 0 {
            self.set
                .service
                .record_n(now_ns.saturating_sub(sent_ns), recorded);
            self.set
                .pacing_lag
                .record_n(sent_ns.saturating_sub(due_ns), recorded);
        }
    }

    /// Counts acknowledged events that share one intended time.
    #[inline]
    pub fn acked_alike(&mut self, intended_ns: u64, count: u64, sent_ns: u64, now_ns: u64) {
        self.set.counts.acked += count;
        if self.is_recorded(intended_ns) {
            self.set
                .response
                .record_n(now_ns.saturating_sub(intended_ns), count);
            let lag_ns = sent_ns.saturating_sub(intended_ns);
            self.set.send_lag.record_n(lag_ns, count);
            self.set.pacing_lag.record_n(lag_ns, count);
            self.set
                .service
                .record_n(now_ns.saturating_sub(sent_ns), count);
        }
    }

    /// Counts events that are given up on: they enter the response times with their age.
    pub fn timed_out_each(&mut self, intended: impl ExactSizeIterator<Item = u64>, now_ns: u64) {
        for intended_ns in intended {
            self.timed_out_alike(intended_ns, 1, now_ns);
        }
    }

    /// As [`Tally::timed_out_each`] for events that share one intended time.
    pub fn timed_out_alike(&mut self, intended_ns: u64, count: u64, now_ns: u64) {
        self.set.counts.timed_out += count;
        if self.is_recorded(intended_ns) {
            self.set
                .response
                .record_n(now_ns.saturating_sub(intended_ns), count);
        }
    }

    /// Counts a due event that was never sent, with its age.
    pub fn unsent(&mut self, intended_ns: u64, now_ns: u64) {
        self.set.counts.unsent += 1;
        if self.is_recorded(intended_ns) {
            self.set.response.record(now_ns.saturating_sub(intended_ns));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_up_events_do_not_enter_measured_intervals() {
        let mut tally = Tally::new(0, 1000);
        tally.acked_each([100, 200].into_iter(), 200, 210, 300);
        let warm = tally.cut(1000, Phase::WarmUp, Box::default());
        assert_eq!(warm.phase, Phase::WarmUp);
        assert_eq!((warm.response.count(), warm.counts.acked), (2, 2));
        tally.acked_each([900, 1100].into_iter(), 1100, 1110, 1200);
        tally.acked_alike(950, 5, 960, 1300);
        let set = tally.cut(2000, Phase::Measured, Box::default());
        assert_eq!((set.response.count(), set.response.max()), (1, 100));
        assert_eq!((set.service.count(), set.send_lag.count()), (1, 1));
        assert_eq!((set.pacing_lag.count(), set.pacing_lag.max()), (1, 10));
        assert_eq!(set.counts.acked, 7);
        assert_eq!((set.from_ns, set.to_ns), (1000, 2000));
    }
}
