//! Numbers of different values and frequent values against sets and maps.

use super::*;
use std::collections::{BTreeMap, HashSet};

pub(super) fn add_hash(sketch: &Distinct, cell: &mut Cell, slab: &mut Slab, hash: &u64) {
    sketch.add(cell, slab, *hash);
}

#[test]
fn distinct_counts_are_exact_while_small_and_then_within_their_error() {
    for within_ppm in [5_000, 10_000, 20_000, 100_000] {
        let sketch = Distinct::within(within_ppm);
        assert!(sketch.error() * 1e6 <= f64::from(within_ppm));
        let exact_to = sketch.block_bytes(u64::MAX) / 8 / 4 * 3;
        let (mut checks, mut beyond) = (0, 0);
        for seed in 0..(within_ppm / 500).min(60) {
            let mut held = Held::new(sketch);
            let mut state = u64::from(seed) << 40;
            for count in 1..=exact_to * 6 {
                sketch.add(&mut held.cell, &mut held.slab, next(&mut state));
                held.cell.count += 1;
                if count.is_power_of_two() || count == exact_to || count == exact_to + 1 {
                    let (value, error) = sketch.finish(&held.partial());
                    assert_eq!(error == 0, count <= exact_to, "{count}");
                    assert!(error > 0 || value == count, "{count}");
                    if error > 0 {
                        let off = value.abs_diff(count);
                        checks += 1;
                        beyond += u32::from(off > error);
                        assert!(off * 2 <= error * 5, "{count}: {value} +- {error}");
                    }
                }
            }
        }
        assert!(beyond * 10 <= checks, "{within_ppm}: {beyond} of {checks}");
    }
}

#[test]
fn distinct_counts_do_not_depend_on_order_or_repeats() {
    let sketch = Distinct::within(100_000);
    for (seed, count) in [(1, 3), (2, 48), (3, 49), (4, 60), (5, 2_000)] {
        let mut state = seed;
        let hashes: Vec<u64> = (0..count).map(|_| next(&mut state)).collect();
        let mut repeated = hashes.clone();
        repeated.extend(hashes.iter().step_by(3));
        check_splits(sketch, &repeated, seed, add_hash);
        let (once, twice) = (
            Held::of(sketch, &hashes, add_hash),
            Held::of(sketch, &repeated, add_hash),
        );
        assert_eq!(once.canonical(), twice.canonical());
    }
}

pub(super) fn add_value(sketch: &Top, cell: &mut Cell, slab: &mut Slab, value: &u64) {
    sketch.add(cell, slab, &[*value]);
}

/// Values of which a few are frequent.
pub(super) fn skewed(seed: u64, count: usize, values: u64) -> Vec<u64> {
    let mut state = seed;
    let draw = |_| {
        let share = next(&mut state) % values + 1;
        next(&mut state) % share
    };
    (0..count).map(draw).collect()
}

fn counts_of(values: &[u64]) -> BTreeMap<u64, u64> {
    let mut counts = BTreeMap::new();
    values
        .iter()
        .for_each(|value| *counts.entry(*value).or_default() += 1);
    counts
}

#[track_caller]
fn check_top(held: &Held<Top>, counts: &BTreeMap<u64, u64>) {
    let total: u64 = counts.values().sum();
    let (shown, others) = held.sketch.finish(&held.partial()).unwrap();
    assert!(shown.is_sorted_by(|a, b| a.count >= b.count));
    let mut seen = HashSet::new();
    for one in &shown {
        let crate::value::Value::U64(value) = one.value.as_value() else {
            panic!("{one:?}");
        };
        seen.insert(value);
        let truth = counts[&value];
        assert!(
            (one.count - one.error..=one.count).contains(&truth),
            "{one:?}, {truth}"
        );
    }
    let least = shown.last().map_or(0, |one| one.count);
    for (value, &count) in counts {
        assert!(
            seen.contains(value) || count <= others.max(least),
            "{value}: {count}"
        );
    }
    assert!(others <= total / 48, "{others} of {total}");
}

#[test]
fn frequent_values_keep_their_bounds_beyond_what_is_held() {
    let top = Top {
        kind: FieldType::U64,
        k: 10,
    };
    for seed in 0..20 {
        let mut values = skewed(seed, 20_000, 3_000);
        if seed % 2 == 0 {
            // In the worst order: all rare ones at the end.
            values.sort_unstable();
        }
        let held = Held::of(top, &values, add_value);
        assert!(top.is_valid(&held.partial()));
        check_top(&held, &counts_of(&values));
        let (left, right) = values.split_at(9_000);
        let (left, right) = (
            Held::of(top, left, add_value),
            Held::of(top, right, add_value),
        );
        let mut merged = left.clone();
        merged.merge(&right);
        check_top(&merged, &counts_of(&values));
        let mut other = right.clone();
        other.merge(&left);
        assert_eq!(top.finish(&merged.partial()), top.finish(&other.partial()));
        // A merged cell goes on taking values.
        for value in &values[..5_000] {
            top.add(&mut merged.cell, &mut merged.slab, &[*value]);
            merged.cell.count += 1;
        }
        let more: Vec<u64> = values.iter().chain(&values[..5_000]).copied().collect();
        check_top(&merged, &counts_of(&more));
    }
}

#[test]
fn merging_frequent_values_associates_beyond_what_is_held() {
    let top = Top {
        kind: FieldType::U64,
        k: 3,
    };
    let shares: Vec<_> = (0..4)
        .map(|seed| Held::of(top, &skewed(seed, 4_000, 2_000), add_value))
        .collect();
    let merged = |order: &[usize]| {
        let mut merged = Held::new(top);
        order.iter().for_each(|&share| merged.merge(&shares[share]));
        merged
    };
    let whole = top.finish(&merged(&[0, 1, 2, 3]).partial());
    let (mut left, right) = (merged(&[3, 1]), merged(&[2, 0]));
    left.merge(&right);
    assert_eq!(top.finish(&left.partial()), whole);
    assert!(whole.is_some_and(|(_, others)| others > 0));
}

#[test]
fn few_values_are_counted_exactly() {
    let top = Top {
        kind: FieldType::U64,
        k: 10,
    };
    let values = skewed(9, 5_000, 96);
    check_splits(top, &values, 11, add_value);
    let held = Held::of(top, &values, add_value);
    let (shown, others) = top.finish(&held.partial()).unwrap();
    let mut counts: Vec<_> = counts_of(&values).into_iter().collect();
    counts.sort_by_key(|&(value, count)| (std::cmp::Reverse(count), value));
    assert_eq!((shown.len(), others), (10, 0));
    for (one, (value, count)) in shown.iter().zip(counts) {
        assert_eq!(one.value.as_value(), crate::value::Value::U64(value));
        assert_eq!((one.count, one.error), (count, 0));
    }
}
