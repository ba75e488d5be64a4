//! Latency recorder: a fixed array whose slots are those of an HdrHistogram with 3 digits.
//!
//! Recording is one `leading_zeros` and one add; nothing is allocated after construction. Slots map
//! one to one, so dumps lose nothing. Values are ns.

use hdrhistogram::Histogram;

/// Values above this (68.7 s) enter the last slot; the exact maximum is kept apart.
pub const VALUE_MAX: u64 = (1 << 36) - 1;
/// Significant decimal digits of a slot.
pub const DIGITS: u8 = 3;

const SUB_BUCKET_BITS: u32 = 11;
const HALF: usize = 1 << (SUB_BUCKET_BITS - 1);
const BUCKETS: usize = 26;
/// Slots of one recorder.
pub const SLOTS: usize = (BUCKETS + 1) * HALF;

const _: () = {
    assert!(SLOTS == 27_648);
    assert!(slot_of(VALUE_MAX) == SLOTS - 1);
};

#[inline]
const fn slot_of(value: u64) -> usize {
    let mask = (1u64 << SUB_BUCKET_BITS) - 1;
    let bucket = 64 - SUB_BUCKET_BITS - (value | mask).leading_zeros();
    bucket as usize * HALF + (value >> bucket) as usize
}

/// The lowest value that falls into a slot.
const fn lowest_of(slot: usize) -> u64 {
    if slot < 2 * HALF {
        return slot as u64;
    }
    let bucket = slot / HALF - 1;
    ((slot - bucket * HALF) as u64) << bucket
}

/// The highest value that falls into a slot: what a percentile reports, as HdrHistogram does.
const fn highest_of(slot: usize) -> u64 {
    if slot + 1 >= SLOTS {
        VALUE_MAX
    } else {
        lowest_of(slot + 1) - 1
    }
}

/// Counts of values by slot.
#[derive(Clone, Debug)]
pub struct Recorder {
    slots: Box<[u64]>,
    count: u64,
    max: u64,
    sum: u128,
}

impl Default for Recorder {
    fn default() -> Recorder {
        Recorder::new()
    }
}

impl Recorder {
    /// An empty recorder; its memory is touched, so that recording meets no page fault.
    pub fn new() -> Recorder {
        let mut slots = vec![1u64; SLOTS].into_boxed_slice();
        slots.fill(0);
        Recorder {
            slots,
            count: 0,
            max: 0,
            sum: 0,
        }
    }

    /// Counts one value.
    #[inline]
    pub fn record(&mut self, value_ns: u64) {
        self.record_n(value_ns, 1);
    }

    /// Counts a value `n` times.
    #[inline]
    pub fn record_n(&mut self, value_ns: u64, n: u64) {
        self.slots[slot_of(value_ns.min(VALUE_MAX))] += n;
        self.count += n;
        self.sum += u128::from(value_ns) * u128::from(n);
        self.max = self.max.max(value_ns);
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The exact maximum; 0 without values.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The mean; 0 without values.
    pub fn mean(&self) -> f64 {
        if self.count == 0 {
            0.0
        } else {
            self.sum as f64 / self.count as f64
        }
    }

    /// The value at or below which the share `quantile` of the values lies, to 3 digits and never
    /// above the maximum; 0 without values.
    pub fn quantile(&self, quantile: f64) -> u64 {
        let wanted = ((self.count as f64 * quantile).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (slot, count) in self.slots.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return highest_of(slot).min(self.max);
            }
        }
        self.max
    }

    /// How many values lie above the slot of `value_ns`.
    pub fn count_above(&self, value_ns: u64) -> u64 {
        self.slots[slot_of(value_ns.min(VALUE_MAX)) + 1..]
            .iter()
            .sum()
    }

    /// Adds everything that `other` counted.
    pub fn merge(&mut self, other: &Recorder) {
        for (own, more) in self.slots.iter_mut().zip(other.slots.iter()) {
            *own += more;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.slots.fill(0);
        self.count = 0;
        self.max = 0;
        self.sum = 0;
    }

    /// The slots in use, as (highest value of the slot, count).
    pub fn to_sparse(&self) -> Sparse {
        let used = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0);
        Sparse {
            slots: used
                .map(|(slot, count)| (highest_of(slot), *count))
                .collect(),
            max: self.max,
            sum: self.sum,
        }
    }
}

/// A recorder that keeps only the slots in use: what intervals and files hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sparse {
    /// (highest value of the slot, count), ascending.
    pub slots: Vec<(u64, u64)>,
    /// The exact maximum.
    pub max: u64,
    /// Sum of all values.
    pub sum: u128,
}

impl Sparse {
    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.slots.iter().map(|(_, count)| count).sum()
    }

    /// As [`Recorder::quantile`].
    pub fn quantile(&self, quantile: f64) -> u64 {
        let count = self.count();
        let wanted = ((count as f64 * quantile).ceil() as u64).clamp(1, count.max(1));
        let mut seen = 0;
        for &(value, count) in &self.slots {
            seen += count;
            if seen >= wanted {
                return value.min(self.max);
            }
        }
        self.max
    }

    /// The full recorder again.
    pub fn to_recorder(&self) -> Recorder {
        let mut recorder = Recorder::new();
        for &(value, count) in &self.slots {
            recorder.record_n(value, count);
        }
        recorder.max = self.max;
        recorder.sum = self.sum;
        recorder
    }

    /// The same counts as a histogram of the standard library of this format. The maximum is the
    /// highest slot's.
    pub fn to_histogram(&self) -> Histogram<u64> {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, VALUE_MAX, DIGITS)
            .expect("invariant: fixed bounds that the format allows");
        for &(value, count) in &self.slots {
            histogram
                .record_n(value.min(VALUE_MAX), count)
                .expect("invariant: values of slots lie within the bounds");
        }
        histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SplitMix64;

    #[test]
    fn slots_equal_those_of_hdrhistogram() {
        let hdr = Histogram::<u64>::new_with_bounds(1, VALUE_MAX, DIGITS).unwrap();
        let mut rng = SplitMix64::new(1);
        for n in 0..200_000u32 {
            let value = rng.next_bits() >> (28 + n % 36);
            let slot = slot_of(value);
            assert_eq!(lowest_of(slot), hdr.lowest_equivalent(value), "{value}");
            assert_eq!(highest_of(slot), hdr.highest_equivalent(value), "{value}");
        }
        for slot in 0..SLOTS {
            assert_eq!(slot_of(lowest_of(slot)), slot);
            assert_eq!(slot_of(highest_of(slot)), slot);
        }
    }

    #[test]
    fn quantiles_equal_those_of_hdrhistogram() {
        let mut own = Recorder::new();
        let mut rng = SplitMix64::new(2);
        for _ in 0..50_000 {
            own.record((rng.exponential() * 2e5) as u64);
        }
        let hdr = own.to_sparse().to_histogram();
        assert_eq!(hdr.len(), own.count());
        for quantile in [0.01, 0.5, 0.9, 0.99, 0.999] {
            assert_eq!(
                own.quantile(quantile),
                hdr.value_at_quantile(quantile),
                "{quantile}"
            );
        }
        let again = own.to_sparse().to_recorder();
        assert_eq!(again.to_sparse(), own.to_sparse());
        assert_eq!(again.quantile(1.0), own.max());
        assert_eq!(own.to_sparse().quantile(0.99), own.quantile(0.99));
    }

    #[test]
    fn values_beyond_the_range_are_kept_in_the_last_slot_with_their_maximum() {
        let mut recorder = Recorder::new();
        recorder.record_n(u64::MAX, 3);
        recorder.record(5);
        assert_eq!((recorder.count(), recorder.max()), (4, u64::MAX));
        assert_eq!(recorder.quantile(0.25), 5);
        assert_eq!(recorder.count_above(5), 3);
        let mut other = Recorder::new();
        other.merge(&recorder);
        assert_eq!(other.to_sparse(), recorder.to_sparse());
        recorder.clear();
        assert_eq!((recorder.count(), recorder.quantile(0.99)), (0, 0));
    }
}
