//! The recorder's slots are those of HdrHistogram at two significant digits, nothing gets lost
//! under a concurrent reader, and differences are never negative.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not seen as tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use ringmill_engine::latency::{
    RANGE_NS_MAX, Recorder, SLOTS, Stage, StageSnapshot, VALUE_NS_MAX, empty_histogram,
    slot_high_ns, slot_low_ns, slot_of,
};
use ringmill_engine::metrics::{CoreMetrics, Counter};

/// A generator of its own keeps the 200,000 values the same on every run.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[test]
fn the_layout_has_as_many_slots_as_the_crate() {
    let histogram = empty_histogram();
    assert_eq!(histogram.distinct_values(), SLOTS);
    assert!(histogram.high() >= RANGE_NS_MAX);
}

#[test]
fn every_slot_covers_the_values_that_the_crate_holds_equivalent() {
    let histogram = empty_histogram();
    let mut expected_low = 0;
    for slot in 0..SLOTS {
        let (low, high) = (slot_low_ns(slot), slot_high_ns(slot));
        assert_eq!(low, expected_low, "slot {slot} leaves a gap or overlaps");
        assert_eq!(low, histogram.lowest_equivalent(low), "slot {slot}");
        assert_eq!(high, histogram.highest_equivalent(low), "slot {slot}");
        assert_eq!((slot_of(low), slot_of(high)), (slot, slot));
        expected_low = high + 1;
    }
    assert_eq!(expected_low, VALUE_NS_MAX + 1);
}

#[test]
fn random_values_fall_into_the_slot_of_the_crate() {
    let histogram = empty_histogram();
    let mut random = SplitMix(42);
    let mismatches = (0..200_000)
        .filter(|_| {
            let ns = (random.next() >> 28) >> (random.next() % 36);
            slot_low_ns(slot_of(ns)) != histogram.lowest_equivalent(ns)
                || slot_high_ns(slot_of(ns)) != histogram.highest_equivalent(ns)
        })
        .count();
    assert_eq!(mismatches, 0);
}

#[test]
fn values_beyond_the_range_saturate_but_sum_and_maximum_stay_exact() {
    let recorder = Recorder::new();
    recorder.record(u64::MAX);
    recorder.record_n(100_000_000_000, 3);
    recorder.record_n(5, 0);
    let snapshot = recorder.snapshot();
    assert_eq!(snapshot.slots()[SLOTS - 1], 4);
    assert_eq!(snapshot.count(), 4);
    assert_eq!(snapshot.max_ns(), u64::MAX);
    assert_eq!(
        snapshot.quantile_ns(0.5),
        u64::MAX,
        "no bound is known for these values"
    );
    assert_eq!(snapshot.since(&StageSnapshot::empty()), snapshot);
    let sum = u64::MAX.wrapping_add(300_000_000_000);
    assert_eq!(
        snapshot.sum_ns(),
        u128::from(sum),
        "the sum counts modulo 2^64"
    );
}

#[test]
fn an_interval_is_exact_across_the_wrap_of_the_sum() {
    let recorder = Recorder::new();
    recorder.record(u64::MAX - 10);
    let before = recorder.snapshot();
    recorder.record_n(1_000, 7);
    let interval = recorder.snapshot().since(&before);
    assert_eq!((interval.count(), interval.sum_ns()), (7, 7_000));
}

#[test]
fn the_maximum_of_an_interval_is_exact_when_it_is_a_record() {
    let recorder = Recorder::new();
    recorder.record(1_000);
    let first = recorder.snapshot();
    recorder.record(123_456);
    let second = recorder.snapshot();
    assert_eq!(second.since(&first).max_ns(), 123_456);
    recorder.record(70_000);
    let third = recorder.snapshot().since(&second);
    assert_eq!(third.max_ns(), slot_high_ns(slot_of(70_000)));
    assert_eq!(second.since(&second).max_ns(), 0);
    let backwards = first.since(&second);
    assert_eq!(
        (backwards.count(), backwards.sum_ns(), backwards.max_ns()),
        (0, 0, 0)
    );
}

#[test]
fn powers_of_two_bound_whole_slots() {
    let recorder = Recorder::new();
    for bits in 0..36 {
        recorder.record((1 << bits) - 1);
        recorder.record(1 << bits);
    }
    let snapshot = recorder.snapshot();
    for bits in 1..36 {
        // Below 2^bits: both values of each smaller power, and one less than this one.
        assert_eq!(snapshot.count_below(1 << bits), 2 * bits + 1, "2^{bits}");
    }
    assert_eq!(snapshot.count_below(u64::MAX), 72);
}

fn assert_agrees_with_the_crate(values: &[(u64, u64)]) {
    let recorder = Recorder::new();
    let mut reference = empty_histogram();
    for (ns, n) in values {
        recorder.record_n(*ns, *n);
        reference.record_n(*ns, *n).unwrap();
    }
    let snapshot = recorder.snapshot();
    let histogram = snapshot.to_histogram();
    assert_eq!(histogram, reference);
    for quantile in [0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0] {
        // The crate names the lower end of the slot for quantile 0 alone.
        let expected = reference.highest_equivalent(reference.value_at_quantile(quantile));
        let expected = expected.min(snapshot.max_ns());
        assert_eq!(
            snapshot.quantile_ns(quantile),
            expected,
            "quantile {quantile}"
        );
    }
    let sum = values
        .iter()
        .map(|(ns, n)| u128::from(*ns) * u128::from(*n))
        .sum::<u128>();
    assert_eq!(snapshot.sum_ns(), sum);
    let copy = StageSnapshot::from_histogram(&histogram, sum, snapshot.max_ns());
    assert_eq!(copy, snapshot);
}

proptest! {
    #[test]
    fn histograms_and_quantiles_equal_those_of_the_crate(
        values in prop::collection::vec((0u32..36, any::<u64>(), 1u64..1_000), 1..200)
    ) {
        let values: Vec<_> =
            values.iter().map(|(bits, random, n)| (random % (1 << bits), *n)).collect();
        assert_agrees_with_the_crate(&values);
    }

    #[test]
    fn merged_intervals_equal_the_whole(
        intervals in prop::collection::vec(
            prop::collection::vec((0u64..100_000_000, 1u64..9), 0..20), 1..8)
    ) {
        let recorder = Recorder::new();
        let mut earlier = recorder.snapshot();
        let mut merged = StageSnapshot::empty();
        for interval in &intervals {
            interval.iter().for_each(|(ns, n)| recorder.record_n(*ns, *n));
            let now = recorder.snapshot();
            let difference = now.since(&earlier);
            prop_assert_eq!(difference.count(), interval.iter().map(|(_, n)| n).sum::<u64>());
            merged.merge(&difference);
            earlier = now;
        }
        prop_assert_eq!(merged, earlier);
    }
}

#[test]
fn a_reader_beside_the_writer_never_sees_a_step_back_and_misses_nothing() {
    const RECORDS: u64 = 300_000;
    let metrics = CoreMetrics::new();
    let done = Arc::new(AtomicBool::new(false));
    let reader = {
        let (metrics, done) = (Arc::clone(&metrics), Arc::clone(&done));
        std::thread::spawn(move || {
            let mut earlier = metrics.snapshot();
            let mut merged = earlier.clone();
            let mut finished = false;
            while !finished {
                finished = done.load(Ordering::Acquire);
                let now = metrics.snapshot();
                for stage in Stage::ALL {
                    let (now, then) = (now.stage(stage).slots(), earlier.stage(stage).slots());
                    assert!(now.iter().zip(then).all(|(now, then)| now >= then));
                }
                assert!(now.counter(Counter::Turns) >= earlier.counter(Counter::Turns));
                merged.merge_interval(&now.since(&earlier));
                earlier = now;
            }
            merged
        })
    };
    let mut random = SplitMix(7);
    for _ in 0..RECORDS {
        let path: [u64; Stage::PATH_COUNT] = std::array::from_fn(|_| random.next() % 1_000_000);
        metrics.record_path(&path, path.iter().sum(), 1 + random.next() % 64);
        metrics.add(Counter::Turns, 1);
    }
    done.store(true, Ordering::Release);
    let merged = reader.join().unwrap();
    let last = metrics.snapshot();
    assert_eq!(last.unattributed_ns(), 0);
    assert_eq!(merged.unattributed_ns(), 0);
    assert_eq!(merged.counter(Counter::Turns), RECORDS);
    for stage in Stage::ALL {
        assert_eq!(merged.stage(stage).slots(), last.stage(stage).slots());
        assert_eq!(merged.stage(stage).sum_ns(), last.stage(stage).sum_ns());
    }
}
