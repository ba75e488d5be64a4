//! Latency recording: one histogram per stage of the event path, written by one core, read by
//! anyone.
//!
//! A [`Recorder`] is a fixed array of counters whose slots are the very slots of an HdrHistogram at
//! two significant digits, so a dump loses nothing. Recording is one `leading_zeros` and three
//! plain loads and stores: no lock, no read-modify-write, no allocation. That is sound because of
//!
//! Invariant: a recorder has one writer at a time (the core that owns it). A second writer would
//! not be undefined behaviour, but counts would get lost.
//!
//! Everything is cumulative since start; an interval is the difference of two snapshots. The count
//! of a histogram is by definition the sum of its slots, so a snapshot taken in the middle of a
//! record cannot contradict itself; its sum may be ahead or behind by the record under way.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;

/// Values below this have a slot of their own; it is also the width of one octave's table.
const SUB_BUCKETS: u64 = 256;
const SUB_BUCKETS_HALF: usize = 128;
const SUB_BUCKET_BITS: u32 = SUB_BUCKETS.trailing_zeros();

/// Bits of the largest value that has a slot: the smallest power of two above 60 s.
const VALUE_BITS: u32 = 36;

/// Largest value (ns) told apart from larger ones; whatever is longer counts in the last slot.
pub const VALUE_NS_MAX: u64 = (1 << VALUE_BITS) - 1;

/// The longest latency (ns) that the histograms are specified for.
pub const RANGE_NS_MAX: u64 = 60_000_000_000;

/// Significant decimal digits kept: every value is known to better than 0.8 %.
pub const SIGNIFICANT_DIGITS: u8 = 2;

/// Slots of one histogram.
pub const SLOTS: usize = (VALUE_BITS - SUB_BUCKET_BITS + 2) as usize * SUB_BUCKETS_HALF;

const _: () = assert!(SLOTS == 3_840);
const _: () = assert!(RANGE_NS_MAX <= VALUE_NS_MAX && RANGE_NS_MAX > VALUE_NS_MAX / 2);

/// Stages of the path of one event, in the order in which it passes them, then the three series
/// that are not part of that path's sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(usize)]
pub enum Stage {
    /// Bytes arrived until read by the core.
    Rx,
    /// Read until decoded and checked.
    Parse,
    /// Waiting in the ring of the core that owns the key.
    Route,
    /// Change of state.
    Apply,
    /// Waiting for the group commit that carries it.
    Batch,
    /// Log frame submitted until written.
    Write,
    /// Log frame written until flushed.
    Sync,
    /// Durable until the reply is handed to the socket.
    Ack,
    /// The whole path, measured from its two ends.
    Total,
    /// Wait of requests in the lane between two cores.
    Hop,
    /// Length of one turn of the core loop.
    Turn,
}

impl Stage {
    /// Number of stages, those outside the path included.
    pub const COUNT: usize = 11;

    /// Stages whose times add up to [`Stage::Total`]: the first eight.
    pub const PATH_COUNT: usize = 8;

    /// All stages; the index of each is its discriminant.
    pub const ALL: [Stage; Stage::COUNT] = [
        Stage::Rx,
        Stage::Parse,
        Stage::Route,
        Stage::Apply,
        Stage::Batch,
        Stage::Write,
        Stage::Sync,
        Stage::Ack,
        Stage::Total,
        Stage::Hop,
        Stage::Turn,
    ];

    /// The stages that add up to the total.
    pub fn path() -> &'static [Stage] {
        &Stage::ALL[..Stage::PATH_COUNT]
    }

    /// Name in tags, labels and tables.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Rx => "rx",
            Stage::Parse => "parse",
            Stage::Route => "route",
            Stage::Apply => "apply",
            Stage::Batch => "batch",
            Stage::Write => "write",
            Stage::Sync => "sync",
            Stage::Ack => "ack",
            Stage::Total => "total",
            Stage::Hop => "hop",
            Stage::Turn => "turn",
        }
    }

    /// What the stage measures, in a few words.
    pub fn meaning(self) -> &'static str {
        match self {
            Stage::Rx => "bytes arrived -> read",
            Stage::Parse => "read -> decoded",
            Stage::Route => "ring wait",
            Stage::Apply => "state change",
            Stage::Batch => "waiting for commit",
            Stage::Write => "submit -> written",
            Stage::Sync => "written -> durable",
            Stage::Ack => "durable -> sent",
            Stage::Total => "arrived -> sent",
            Stage::Hop => "cross-core lane wait",
            Stage::Turn => "core loop turn",
        }
    }
}

/// Slot of a value in ns; values over [`VALUE_NS_MAX`] fall into the last slot.
#[inline]
pub fn slot_of(ns: u64) -> usize {
    let ns = ns.min(VALUE_NS_MAX);
    let octave = u64::BITS - SUB_BUCKET_BITS - (ns | (SUB_BUCKETS - 1)).leading_zeros();
    octave as usize * SUB_BUCKETS_HALF + (ns >> octave) as usize
}

/// Smallest value (ns) of a slot.
pub fn slot_low_ns(slot: usize) -> u64 {
    let (octave, sub) = octave_of(slot);
    sub << octave
}

/// Largest value (ns) of a slot; the last one also holds all values beyond its end.
pub fn slot_high_ns(slot: usize) -> u64 {
    let (octave, sub) = octave_of(slot);
    ((sub + 1) << octave) - 1
}

/// A slot's upper end as a bound on the values in it.
fn slot_bound_ns(slot: usize) -> u64 {
    if slot == SLOTS - 1 {
        u64::MAX
    } else {
        slot_high_ns(slot)
    }
}

fn octave_of(slot: usize) -> (u32, u64) {
    assert!(slot < SLOTS, "slot {slot} outside the histogram");
    let octave = (slot / SUB_BUCKETS_HALF).saturating_sub(1);
    (octave as u32, (slot - octave * SUB_BUCKETS_HALF) as u64)
}

/// Adds to a counter that has one writer: a plain load and store.
///
/// Ordering: relaxed. A counter guards no other data, and a reader only needs each counter to grow.
#[inline]
pub(crate) fn bump(counter: &AtomicU64, n: u64) {
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(n),
        Ordering::Relaxed,
    );
}

/// How far a wrapping counter has moved on; 0 if `earlier` turns out to be the later reading.
pub(crate) fn grown(now: u64, earlier: u64) -> u64 {
    let difference = now.wrapping_sub(earlier);
    if difference > i64::MAX as u64 {
        0
    } else {
        difference
    }
}

/// Cells of one histogram, on cache lines of their own so that the allocation next door, which may
/// be another core's, shares none of them.
#[derive(Debug)]
#[repr(align(128))]
struct Cells {
    slots: [AtomicU64; SLOTS],
    /// Wraps at 2^64 event-nanoseconds: after 213 days of a million events a second at 1 ms each.
    /// Readers subtract, also wrapping, so that an interval's sum stays exact.
    sum_ns: AtomicU64,
    max_ns: AtomicU64,
}

/// One histogram with one writer. 30 KiB.
#[derive(Debug)]
pub struct Recorder {
    cells: Box<Cells>,
}

impl Default for Recorder {
    fn default() -> Self {
        Recorder::new()
    }
}

impl Recorder {
    /// An empty histogram, its memory already touched.
    pub fn new() -> Recorder {
        Recorder {
            cells: Box::new(Cells {
                slots: [const { AtomicU64::new(0) }; SLOTS],
                sum_ns: AtomicU64::new(0),
                max_ns: AtomicU64::new(0),
            }),
        }
    }

    /// Counts one event that took `ns`.
    #[inline]
    pub fn record(&self, ns: u64) {
        self.record_n(ns, 1);
    }

    /// Counts `n` events that took `ns` each, as those of one batch do. The sum stays exact even
    /// where the slot saturates.
    #[inline]
    pub fn record_n(&self, ns: u64, n: u64) {
        if n == 0 {
            return;
        }
        bump(&self.cells.slots[slot_of(ns)], n);
        bump(&self.cells.sum_ns, ns.wrapping_mul(n));
        // Ordering: relaxed, as in `bump`.
        if ns > self.cells.max_ns.load(Ordering::Relaxed) {
            self.cells.max_ns.store(ns, Ordering::Relaxed);
        }
    }

    /// Copies the counters. Any thread may call it at any time.
    pub fn snapshot(&self) -> StageSnapshot {
        // Ordering: relaxed. Each counter is coherent on its own, which is all a snapshot promises.
        let slots = self
            .cells
            .slots
            .iter()
            .map(|slot| slot.load(Ordering::Relaxed))
            .collect();
        StageSnapshot {
            slots,
            sum_ns: u128::from(self.cells.sum_ns.load(Ordering::Relaxed)),
            max_ns: self.cells.max_ns.load(Ordering::Relaxed),
        }
    }
}

/// Counters of one histogram at one moment, or what happened between two moments.
#[derive(Clone, PartialEq, Eq)]
pub struct StageSnapshot {
    slots: Box<[u64]>,
    sum_ns: u128,
    max_ns: u64,
}

impl fmt::Debug for StageSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let filled: Vec<_> = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, n)| **n > 0)
            .collect();
        f.debug_struct("StageSnapshot")
            .field("filled_slots", &filled)
            .field("sum_ns", &self.sum_ns)
            .field("max_ns", &self.max_ns)
            .finish()
    }
}

impl Default for StageSnapshot {
    fn default() -> Self {
        StageSnapshot::empty()
    }
}

impl StageSnapshot {
    /// Nothing recorded.
    pub fn empty() -> StageSnapshot {
        StageSnapshot {
            slots: vec![0; SLOTS].into_boxed_slice(),
            sum_ns: 0,
            max_ns: 0,
        }
    }

    /// Rebuilds a snapshot from a decoded histogram and the two exact figures that it rounds.
    pub fn from_histogram(histogram: &Histogram<u64>, sum_ns: u128, max_ns: u64) -> StageSnapshot {
        let mut snapshot = StageSnapshot {
            sum_ns,
            max_ns,
            ..StageSnapshot::empty()
        };
        for value in histogram.iter_recorded() {
            snapshot.slots[slot_of(value.value_iterated_to())] += value.count_at_value();
        }
        snapshot
    }

    /// Events counted.
    pub fn count(&self) -> u64 {
        self.slots.iter().sum()
    }

    /// Exact sum of all times, in ns. Of a snapshot straight from a recorder: modulo 2^64.
    pub fn sum_ns(&self) -> u128 {
        self.sum_ns
    }

    /// Longest time, in ns; 0 when nothing was recorded. Exact, except in a difference whose
    /// longest event was not the longest since start: then the upper end of its slot.
    pub fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// Mean time in ns; 0 when nothing was recorded.
    pub fn mean_ns(&self) -> f64 {
        let count = self.count();
        if count == 0 {
            0.0
        } else {
            self.sum_ns as f64 / count as f64
        }
    }

    /// Events per slot, [`SLOTS`] of them.
    pub fn slots(&self) -> &[u64] {
        &self.slots
    }

    /// The time (ns) that `quantile` (0 to 1) of the events did not exceed: the upper end of its
    /// slot, but never above the longest time. 0 when nothing was recorded.
    pub fn quantile_ns(&self, quantile: f64) -> u64 {
        let count = self.count();
        if count == 0 {
            return 0;
        }
        let wanted = (quantile.clamp(0.0, 1.0) * count as f64).ceil().max(1.0) as u64;
        let mut below = 0;
        for (slot, events) in self.slots.iter().enumerate() {
            below += events;
            if below >= wanted {
                return slot_bound_ns(slot).min(self.max_ns.max(slot_low_ns(slot)));
            }
        }
        self.max_ns
    }

    /// Events that took less than `bound_ns`. Exact for powers of two from 1 to 2^36 and for every
    /// bound up to 256; other bounds count the whole slots below them.
    pub fn count_below(&self, bound_ns: u64) -> u64 {
        let end = if bound_ns > VALUE_NS_MAX {
            SLOTS
        } else {
            slot_of(bound_ns)
        };
        self.slots[..end].iter().sum()
    }

    /// What was recorded after `earlier` was taken from the same recorder. Never negative: a
    /// snapshot that is not earlier after all yields zeros.
    pub fn since(&self, earlier: &StageSnapshot) -> StageSnapshot {
        let pairs = self.slots.iter().zip(&earlier.slots);
        let slots: Box<[u64]> = pairs.map(|(now, then)| now.saturating_sub(*then)).collect();
        // The longest time since start, if it falls into the interval, lies in the highest slot.
        let max_ns = match slots.iter().rposition(|events| *events > 0) {
            None => 0,
            Some(slot) => slot_bound_ns(slot).min(self.max_ns.max(slot_low_ns(slot))),
        };
        let sum_ns = u128::from(grown(self.sum_ns as u64, earlier.sum_ns as u64));
        StageSnapshot {
            slots,
            sum_ns,
            max_ns,
        }
    }

    /// Adds what another histogram counted.
    pub fn merge(&mut self, other: &StageSnapshot) {
        for (mine, theirs) in self.slots.iter_mut().zip(&other.slots) {
            *mine = mine.saturating_add(*theirs);
        }
        self.sum_ns += other.sum_ns;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// The same counts as an HdrHistogram, slot for slot.
    pub fn to_histogram(&self) -> Histogram<u64> {
        let mut histogram = empty_histogram();
        for (slot, events) in self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, events)| **events > 0)
        {
            histogram
                .record_n(slot_low_ns(slot), *events)
                .expect("invariant: every slot lies in the histogram's range");
        }
        histogram
    }
}

/// An empty HdrHistogram with the layout of the recorders.
pub fn empty_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, RANGE_NS_MAX, SIGNIFICANT_DIGITS)
        .expect("invariant: the bounds are constants that the crate accepts")
}
