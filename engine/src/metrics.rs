//! What one core tells about itself: stage histograms and counters, without a lock or a message.
//!
//! The core owns an `Arc<CoreMetrics>` and is its only writer; the control plane, dumps and tests
//! hold clones and take snapshots whenever they like. Nothing here is read by the core itself,
//! with one exception: the bound above which an event counts as slow, which readers renew with
//! each snapshot and the core reads once per recorded batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::latency::{Recorder, Stage, StageSnapshot, bump, grown};

/// Share of events that count as slow: those above this quantile of the total so far.
const SLOW_QUANTILE: f64 = 0.99;

macro_rules! counters {
    ($($variant:ident $name:literal $kind:ident $meaning:literal,)*) => {
        /// Counters and gauges of one core.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(usize)]
        pub enum Counter {
            $(#[doc = $meaning] $variant,)*
        }

        impl Counter {
            /// All counters; the index of each is its discriminant.
            pub const ALL: [Counter; Counter::COUNT] = [$(Counter::$variant,)*];

            /// Number of counters.
            pub const COUNT: usize = [$(Counter::$variant,)*].len();

            /// Name in metrics, dumps and tables; gauges of a size or time carry their unit.
            pub fn name(self) -> &'static str {
                match self { $(Counter::$variant => $name,)* }
            }

            /// One line for people.
            pub fn meaning(self) -> &'static str {
                match self { $(Counter::$variant => $meaning,)* }
            }

            /// How its values combine over time and over cores.
            pub fn kind(self) -> CounterKind {
                match self { $(Counter::$variant => CounterKind::$kind,)* }
            }
        }
    };
}

/// How the values of a counter combine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CounterKind {
    /// Only grows; an interval is a difference, cores add up.
    Total,
    /// Present level; an interval shows its latest value, cores add up.
    Level,
    /// Highest level since start; an interval shows it as it is, cores combine to the highest.
    Peak,
}

counters! {
    EventsAccepted "events_accepted" Total "Events applied and logged for the first time",
    EventsDuplicate "events_duplicate" Total "Events recognised as already stored",
    EventsRejected "events_rejected" Total "Events refused, with a reason counted by stream",
    EventsLate "events_late" Total "Accepted events that were too late for at least one view",
    RefusedIdsFull "refused_ids_full" Total "Events refused for lack of `dedupe` memory, to be sent again",
    EventsForwarded "events_forwarded" Total "Events handed to the core that owns their key",
    FramesLogged "frames_logged" Total "Log frames made durable",
    LogBytes "log_bytes" Total "Bytes written to the log, padding included",
    Turns "turns" Total "Turns of the core loop",
    TurnsBusy "turns_busy" Total "Turns of the core loop that found work",
    Parks "parks" Total "Times the core went to sleep for lack of work",
    Wakes "wakes" Total "Times this core woke a sleeping peer",
    Enters "enters" Total "System calls that entered the ring",
    Submits "submits" Total "Ring entries submitted",
    Cqes "cqes" Total "Ring completions reaped",
    SqFull "sq_full" Total "Times the submission queue was full",
    CqOverflow "cq_overflow" Total "Completions that the kernel had to keep aside",
    ShortWrites "short_writes" Total "Log writes resubmitted because only a part was written",
    BufferEmpty "buffer_empty" Total "Receives that found no free buffer in the buffer ring",
    RecvRearms "recv_rearms" Total "Multishot receives armed again",
    Connections "connections" Level "Open connections",
    ConnectionsOpened "connections_opened" Total "Connections accepted",
    ProtocolErrors "protocol_errors" Total "Connections closed for a breach of protocol",
    BytesIn "bytes_in" Total "Bytes received from clients",
    BytesOut "bytes_out" Total "Bytes sent to clients",
    LaneFull "lane_full" Total "Times a connection waited for room in a lane",
    LaneSlotsPeak "lane_slots_peak" Peak "Most slots in use in any inbound lane",
    LaneSlots "lane_slots" Peak "Slots of one request lane",
    LogFull "log_full" Total "Times requests waited for a free log buffer",
    PendingRepliesPeak "pending_replies_peak" Peak "Most replies waiting for a durable sequence",
    CpuNs "cpu_ns" Total "Processor time used by the core's thread, in ns",
}

/// Everything that one core reports. One writer, any number of readers.
#[derive(Debug)]
pub struct CoreMetrics {
    /// One histogram per stage, by discriminant of [`Stage`].
    pub stages: [Recorder; Stage::COUNT],
    counters: Box<Counters>,
}

#[derive(Debug)]
#[repr(align(128))]
struct Counters {
    values: [AtomicU64; Counter::COUNT],
    slow_events: AtomicU64,
    slow_sums_ns: [AtomicU64; Stage::PATH_COUNT],
    /// Written by readers, read by the core: a hint that guards nothing.
    slow_bound_ns: AtomicU64,
}

impl CoreMetrics {
    /// All zero, memory touched.
    pub fn new() -> Arc<CoreMetrics> {
        Arc::new(CoreMetrics {
            stages: std::array::from_fn(|_| Recorder::new()),
            counters: Box::new(Counters {
                values: [const { AtomicU64::new(0) }; Counter::COUNT],
                slow_events: AtomicU64::new(0),
                slow_sums_ns: [const { AtomicU64::new(0) }; Stage::PATH_COUNT],
                slow_bound_ns: AtomicU64::new(u64::MAX),
            }),
        })
    }

    /// Adds `n`. Only the owning core may call it.
    #[inline]
    pub fn add(&self, counter: Counter, n: u64) {
        bump(&self.counters.values[counter as usize], n);
    }

    /// Sets a level or a figure that another party counts. Only the owning core may call it.
    #[inline]
    pub fn set(&self, counter: Counter, value: u64) {
        // Ordering: relaxed, as in `latency::bump`.
        self.counters.values[counter as usize].store(value, Ordering::Relaxed);
    }

    /// Raises a peak. Only the owning core may call it.
    #[inline]
    pub fn raise(&self, counter: Counter, value: u64) {
        let peak = &self.counters.values[counter as usize];
        // Ordering: relaxed, as in `latency::bump`.
        if value > peak.load(Ordering::Relaxed) {
            peak.store(value, Ordering::Relaxed);
        }
    }

    /// The present value.
    pub fn get(&self, counter: Counter) -> u64 {
        // Ordering: relaxed, one counter on its own.
        self.counters.values[counter as usize].load(Ordering::Relaxed)
    }

    /// Records a finished stage of `n` events. Only the owning core may call it.
    #[inline]
    pub fn record_n(&self, stage: Stage, ns: u64, n: u64) {
        self.stages[stage as usize].record_n(ns, n);
    }

    /// Records the whole path of `n` events that travelled together: the time (ns) of each stage in
    /// path order and the total, measured from its two ends. This is what fills the table's column
    /// of where slow events spend their time; recording stage by stage leaves that column out.
    /// Only the owning core may call it.
    #[inline]
    pub fn record_path(&self, path_ns: &[u64; Stage::PATH_COUNT], total_ns: u64, n: u64) {
        for (recorder, ns) in self.stages.iter().zip(path_ns) {
            recorder.record_n(*ns, n);
        }
        self.record_n(Stage::Total, total_ns, n);
        // Ordering: relaxed. Some events more or less on either side of the bound do not matter.
        if total_ns > self.counters.slow_bound_ns.load(Ordering::Relaxed) {
            self.record_slow(path_ns, n);
        }
    }

    #[cold]
    fn record_slow(&self, path_ns: &[u64; Stage::PATH_COUNT], n: u64) {
        bump(&self.counters.slow_events, n);
        for (sum_ns, ns) in self.counters.slow_sums_ns.iter().zip(path_ns) {
            bump(sum_ns, ns.wrapping_mul(n));
        }
    }

    /// Copies everything; any thread may call it at any time. Renews the bound above which the core
    /// counts an event as slow: the 99th percentile of all totals so far.
    pub fn snapshot(&self) -> CoreSnapshot {
        // Ordering: relaxed throughout; see `Recorder::snapshot`.
        let load = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        let snapshot = CoreSnapshot {
            slow: SlowSnapshot {
                events: load(&self.counters.slow_events),
                sums_ns: std::array::from_fn(|i| u128::from(load(&self.counters.slow_sums_ns[i]))),
            },
            counters: std::array::from_fn(|i| load(&self.counters.values[i])),
            stages: self.stages.iter().map(Recorder::snapshot).collect(),
        };
        if snapshot.stage(Stage::Total).count() > 0 {
            let bound_ns = snapshot.stage(Stage::Total).quantile_ns(SLOW_QUANTILE);
            self.counters
                .slow_bound_ns
                .store(bound_ns, Ordering::Relaxed);
        }
        snapshot
    }
}

/// Where slow events spent their time: those above the 99th percentile known when they finished.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlowSnapshot {
    /// Slow events counted.
    pub events: u64,
    /// Time (ns) of these events per stage of the path.
    pub sums_ns: [u128; Stage::PATH_COUNT],
}

/// Metrics of one core at one moment, or what happened between two moments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreSnapshot {
    stages: Vec<StageSnapshot>,
    counters: [u64; Counter::COUNT],
    slow: SlowSnapshot,
}

impl Default for CoreSnapshot {
    fn default() -> Self {
        CoreSnapshot::empty()
    }
}

impl CoreSnapshot {
    /// All zero.
    pub fn empty() -> CoreSnapshot {
        CoreSnapshot {
            stages: vec![StageSnapshot::empty(); Stage::COUNT],
            counters: [0; Counter::COUNT],
            slow: SlowSnapshot::default(),
        }
    }

    /// One stage's histogram.
    pub fn stage(&self, stage: Stage) -> &StageSnapshot {
        &self.stages[stage as usize]
    }

    /// One counter's value.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters[counter as usize]
    }

    /// Where slow events spent their time.
    pub fn slow(&self) -> &SlowSnapshot {
        &self.slow
    }

    /// Total time that no stage accounts for, in ns. Zero when all is well; while events are being
    /// recorded it may be off by those under way, in either direction.
    pub fn unattributed_ns(&self) -> i128 {
        let path: u128 = Stage::path()
            .iter()
            .map(|stage| self.stage(*stage).sum_ns())
            .sum();
        self.stage(Stage::Total).sum_ns() as i128 - path as i128
    }

    /// What happened after `earlier` was taken from the same core. Never negative.
    pub fn since(&self, earlier: &CoreSnapshot) -> CoreSnapshot {
        let stages = self.stages.iter().zip(&earlier.stages);
        CoreSnapshot {
            stages: stages.map(|(now, then)| now.since(then)).collect(),
            counters: std::array::from_fn(|i| match Counter::ALL[i].kind() {
                CounterKind::Total => self.counters[i].saturating_sub(earlier.counters[i]),
                CounterKind::Level | CounterKind::Peak => self.counters[i],
            }),
            slow: SlowSnapshot {
                events: grown(self.slow.events, earlier.slow.events),
                sums_ns: std::array::from_fn(|i| {
                    u128::from(grown(
                        self.slow.sums_ns[i] as u64,
                        earlier.slow.sums_ns[i] as u64,
                    ))
                }),
            },
        }
    }

    /// Adds the figures of another core.
    pub fn merge_core(&mut self, other: &CoreSnapshot) {
        self.merge(other, |kind, mine, theirs| match kind {
            CounterKind::Total | CounterKind::Level => mine.saturating_add(theirs),
            CounterKind::Peak => mine.max(theirs),
        });
    }

    /// Adds the following interval of the same core.
    pub fn merge_interval(&mut self, later: &CoreSnapshot) {
        self.merge(later, |kind, mine, theirs| match kind {
            CounterKind::Total => mine.saturating_add(theirs),
            CounterKind::Level | CounterKind::Peak => theirs,
        });
    }

    fn merge(&mut self, other: &CoreSnapshot, combine: fn(CounterKind, u64, u64) -> u64) {
        for (mine, theirs) in self.stages.iter_mut().zip(&other.stages) {
            mine.merge(theirs);
        }
        for (i, mine) in self.counters.iter_mut().enumerate() {
            *mine = combine(Counter::ALL[i].kind(), *mine, other.counters[i]);
        }
        self.slow.events += other.slow.events;
        for (mine, theirs) in self.slow.sums_ns.iter_mut().zip(&other.slow.sums_ns) {
            *mine += theirs;
        }
    }

    /// Rebuilds a snapshot from stored figures; what is not named stays zero.
    pub(crate) fn from_parts(
        stages: impl IntoIterator<Item = (Stage, StageSnapshot)>,
        counters: impl IntoIterator<Item = (Counter, u64)>,
        slow: SlowSnapshot,
    ) -> CoreSnapshot {
        let mut snapshot = CoreSnapshot {
            slow,
            ..CoreSnapshot::empty()
        };
        for (stage, histogram) in stages {
            snapshot.stages[stage as usize] = histogram;
        }
        for (counter, value) in counters {
            snapshot.counters[counter as usize] = value;
        }
        snapshot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_discriminants_are_indices() {
        let names: std::collections::BTreeSet<_> = Counter::ALL.iter().map(|c| c.name()).collect();
        assert_eq!(names.len(), Counter::COUNT);
        assert!(
            Counter::ALL
                .iter()
                .enumerate()
                .all(|(i, c)| *c as usize == i)
        );
        assert!(Stage::ALL.iter().enumerate().all(|(i, s)| *s as usize == i));
    }

    #[test]
    fn totals_subtract_while_levels_and_peaks_stay() {
        let metrics = CoreMetrics::new();
        metrics.add(Counter::EventsAccepted, 10);
        metrics.set(Counter::Connections, 5);
        metrics.raise(Counter::LaneSlotsPeak, 70);
        let first = metrics.snapshot();
        metrics.add(Counter::EventsAccepted, 7);
        metrics.set(Counter::Connections, 2);
        metrics.raise(Counter::LaneSlotsPeak, 60);
        let second = metrics.snapshot();

        let mut interval = second.since(&first);
        assert_eq!(interval.counter(Counter::EventsAccepted), 7);
        assert_eq!(interval.counter(Counter::Connections), 2);
        assert_eq!(interval.counter(Counter::LaneSlotsPeak), 70);
        assert_eq!(first.since(&second).counter(Counter::EventsAccepted), 0);

        let mut both = first.clone();
        both.merge_interval(&interval);
        assert_eq!(both, second);
        interval.merge_core(&second);
        assert_eq!(interval.counter(Counter::EventsAccepted), 24);
        assert_eq!(interval.counter(Counter::Connections), 4);
        assert_eq!(interval.counter(Counter::LaneSlotsPeak), 70);
    }

    #[test]
    fn a_path_adds_up_and_its_remainder_is_visible() {
        let metrics = CoreMetrics::new();
        metrics.record_path(&[1, 2, 3, 4, 5, 6, 7, 8], 36, 50);
        assert_eq!(metrics.snapshot().unattributed_ns(), 0);
        metrics.record_path(&[10; 8], 100, 3);
        assert_eq!(metrics.snapshot().unattributed_ns(), 60);
        metrics.record_path(&[10; 8], 79, 1);
        assert_eq!(metrics.snapshot().unattributed_ns(), 59);
    }

    #[test]
    fn slow_events_are_those_above_the_bound_of_the_last_snapshot() {
        let metrics = CoreMetrics::new();
        metrics.record_path(&[1_000; 8], 8_000, 1_000);
        assert_eq!(metrics.snapshot().slow().events, 0);
        metrics.record_path(&[1_000; 8], 8_000, 100);
        metrics.record_path(&[1_000, 0, 0, 0, 0, 0, 99_000, 0], 100_000, 2);
        let slow = metrics.snapshot().slow().clone();
        assert_eq!(slow.events, 2);
        assert_eq!(slow.sums_ns[Stage::Sync as usize], 198_000);
        assert_eq!(slow.sums_ns[Stage::Rx as usize], 2_000);
    }
}
