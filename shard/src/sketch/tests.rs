//! Every kind against an exact computation, in any order and split over any number of shares.

use super::distinct::Distinct;
use super::edge::Edge;
use super::float_sum::FloatSum;
use super::quantile::Quantile;
use super::slab::{Block, Slab};
use super::top::Top;
use super::*;
use crate::aggregate::Number;
use crate::query::Scalar;
use crate::schema::FieldType;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashSet};

/// A cell of its own.
#[derive(Clone)]
struct Held<S: Sketch> {
    sketch: S,
    cell: Cell,
    slab: Slab,
}

impl<S: Sketch + Copy> Held<S> {
    fn new(sketch: S) -> Self {
        Self {
            slab: Slab::new(sketch.unit_words()),
            cell: Cell::default(),
            sketch,
        }
    }

    fn of<T>(sketch: S, values: &[T], add: impl Fn(&S, &mut Cell, &mut Slab, &T)) -> Self {
        let mut held = Self::new(sketch);
        for value in values {
            add(&sketch, &mut held.cell, &mut held.slab, value);
            held.cell.count += 1;
        }
        held
    }

    fn partial(&self) -> Partial<'_> {
        Partial {
            words: self.slab.words(Block::of_word(self.cell.words[0])),
            state: self.cell.words[1],
            count: self.cell.count,
        }
    }

    fn merge(&mut self, other: &Self) {
        assert!(self.sketch.is_valid(&other.partial()));
        self.sketch
            .merge(&mut self.cell, &mut self.slab, &other.partial());
        self.cell.count += other.cell.count;
        assert!(self.sketch.is_valid(&self.partial()));
    }

    fn canonical(&self) -> Vec<u64> {
        let mut out = Vec::new();
        self.sketch.canonical(&self.partial(), &mut out);
        out
    }
}

fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Splits values over shares by a seed, and merges the shares from both ends; all must be equal to
/// the whole.
fn check_splits<S: Sketch + Copy, T: Clone>(
    sketch: S,
    values: &[T],
    seed: u64,
    add: impl Fn(&S, &mut Cell, &mut Slab, &T) + Copy,
) {
    let whole = Held::of(sketch, values, add);
    let mut seed = seed;
    let shares = 1 + next(&mut seed) as usize % 5;
    let mut split = vec![Vec::new(); shares];
    for value in values.iter().rev() {
        split[next(&mut seed) as usize % shares].push(value.clone());
    }
    let split: Vec<_> = split
        .iter()
        .filter(|share| !share.is_empty())
        .map(|share| Held::of(sketch, share, add))
        .collect();
    let merged = |order: Vec<&Held<S>>| {
        let mut merged = Held::new(sketch);
        order.into_iter().for_each(|share| merged.merge(share));
        merged.canonical()
    };
    assert_eq!(merged(split.iter().collect()), whole.canonical());
    assert_eq!(merged(split.iter().rev().collect()), whole.canonical());
    // Shares of shares.
    let mut right = Held::new(sketch);
    split.iter().skip(1).for_each(|share| right.merge(share));
    if let Some(first) = split.first() {
        let mut left = first.clone();
        if right.cell.count > 0 {
            left.merge(&right);
        }
        assert_eq!(left.canonical(), whole.canonical());
    }
}

fn add_float(sum: &FloatSum, cell: &mut Cell, slab: &mut Slab, value: &f64) {
    sum.add(cell, slab, *value);
}

/// The exact sum by another way: a wide integer in units of 2^-1074, one bit at a time.
fn exact_sum(values: &[f64]) -> f64 {
    let mut positive = vec![0_u8; 2200];
    let mut negative = positive.clone();
    for value in values {
        let bits = value.to_bits();
        let exponent = (bits >> 52 & 0x7ff) as usize;
        let implicit = u64::from(exponent > 0) << 52;
        let mantissa = bits & ((1 << 52) - 1) | implicit;
        let number = if *value < 0.0 {
            &mut negative
        } else {
            &mut positive
        };
        let mut carry = 0;
        for (place, digit) in number.iter_mut().skip(exponent.max(1) - 1).enumerate() {
            let bit = if place < 53 {
                (mantissa >> place & 1) as u8
            } else {
                0
            };
            let sum = *digit + bit + carry;
            (*digit, carry) = (sum & 1, sum >> 1);
            if place >= 53 && carry == 0 {
                break;
            }
        }
    }
    let is_less = positive.iter().rev().lt(negative.iter().rev());
    if is_less {
        std::mem::swap(&mut positive, &mut negative);
    }
    let mut borrow = 0;
    for (digit, other) in positive.iter_mut().zip(&negative) {
        let difference = 2 + *digit - other - borrow;
        (*digit, borrow) = (difference & 1, 1 - (difference >> 1));
    }
    let Some(highest) = positive.iter().rposition(|&digit| digit == 1) else {
        return 0.0;
    };
    let lowest = highest.saturating_sub(52);
    let mut mantissa = (lowest..=highest)
        .rev()
        .fold(0, |m, at| m << 1 | u64::from(positive[at]));
    let below = &positive[..lowest];
    let half = below.last() == Some(&1);
    let more = below.len() > 1 && below[..below.len() - 1].contains(&1);
    mantissa += u64::from(half && (more || mantissa & 1 == 1));
    let mut sum = mantissa as f64;
    // By powers of two from the small end, so that nothing is rounded twice.
    let mut exponent = lowest as i32 - 1074;
    while exponent > 0 {
        sum *= 2.0;
        exponent -= 1;
    }
    if exponent < 0 {
        let first = exponent.max(-1000);
        sum *= 2_f64.powi(first);
        sum *= 2_f64.powi(exponent - first);
    }
    if is_less { -sum } else { sum }
}

fn any_float() -> impl Strategy<Value = f64> {
    use proptest::num::f64::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    prop_oneof![
        NORMAL | SUBNORMAL | ZERO | POSITIVE | NEGATIVE,
        -1e6..1e6,
        Just(f64::MAX),
        Just(-f64::MAX),
        Just(f64::MIN_POSITIVE),
        (0..100_i32).prop_map(|cents| f64::from(cents) * 0.01),
    ]
    .prop_map(|value: f64| if value.is_finite() { value + 0.0 } else { 1.5 })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn float_sums_are_exact_in_any_order(
        values in prop::collection::vec(any_float(), 1..40),
        seed: u64,
    ) {
        let held = Held::of(FloatSum, &values, add_float);
        prop_assert_eq!(FloatSum.finish(&held.partial()), exact_sum(&values));
        check_splits(FloatSum, &values, seed, add_float);
    }

    #[test]
    fn quantiles_do_not_depend_on_order(
        values in prop::collection::vec(any_float(), 1..300),
        seed: u64,
    ) {
        let sketch = Quantile::new(Number::F64, 500_000, 100_000);
        check_splits(sketch, &values, seed, add_quantile);
    }
}

#[test]
fn a_float_sum_may_leave_its_type_and_come_back() {
    let sum = |values: &[f64]| FloatSum.finish(&Held::of(FloatSum, values, add_float).partial());
    assert_eq!(sum(&[f64::MAX, f64::MAX]), f64::INFINITY);
    assert_eq!(sum(&[f64::MAX, f64::MAX, -f64::MAX]), f64::MAX);
    assert_eq!(sum(&[1e100, 1.0, -1e100]), 1.0);
    assert_eq!(sum(&[0.1; 10]), 1.0);
    assert_eq!(sum(&[5e-324, f64::MAX, -f64::MAX]), 5e-324);
    assert_eq!(sum(&[1.0, -1.0]).to_bits(), 0);
}

fn add_quantile(sketch: &Quantile, cell: &mut Cell, slab: &mut Slab, value: &f64) {
    sketch.add(cell, slab, value.to_bits());
}

fn float(scalar: Scalar) -> f64 {
    match scalar {
        Scalar::U64(v) => v as f64,
        Scalar::I64(v) => v as f64,
        Scalar::F64(v) => v,
        other => panic!("{other:?}"),
    }
}

/// Checks all quantiles of bits in ascending order; `within` is what was asked for.
fn check_quantiles(number: Number, within_ppm: u32, ascending: &[u64]) {
    for q_ppm in [
        0, 1, 10_000, 250_000, 500_000, 900_000, 999_000, 999_999, 1_000_000,
    ] {
        let sketch = Quantile::new(number, q_ppm, within_ppm);
        let held = Held::of(sketch, ascending, |sketch, cell, slab, bits| {
            sketch.add(cell, slab, *bits);
        });
        assert!(sketch.is_valid(&held.partial()));
        let (value, error) = sketch.finish(&held.partial());
        let place = (ascending.len() - 1) as u128 * u128::from(q_ppm) / 1_000_000;
        let exact = float(number.scalar(ascending[place as usize]));
        let (value, error) = (float(value), float(error));
        let slack = exact.abs() * 1e-15;
        let note = format!("{number:?} q {q_ppm} within {within_ppm}: {value} +- {error}, {exact}");
        assert!((value - exact).abs() <= error + slack, "{note}");
        assert!(
            error <= exact.abs() * f64::from(within_ppm) / 1e6 + slack,
            "{note}"
        );
    }
}

#[test]
fn quantiles_keep_their_error_over_every_range() {
    for within_ppm in [1_000, 5_000, 10_000, 30_000, 100_000] {
        let mut seed = 7;
        let mut any: Vec<u64> = (0..3_000)
            .map(|_| next(&mut seed) >> (next(&mut seed) % 64))
            .collect();
        any.extend([0, 1, 2, u64::MAX, u64::MAX - 1, 1 << 53, (1 << 53) + 1]);
        any.sort_unstable();
        check_quantiles(Number::U64, within_ppm, &any);
        let mut signed: Vec<i64> = any
            .iter()
            .map(|&v| (v >> 20).cast_signed() - 1_000)
            .collect();
        signed.extend([i64::MIN, i64::MAX, -1, 0]);
        signed.sort_unstable();
        let signed: Vec<u64> = signed.into_iter().map(i64::cast_unsigned).collect();
        check_quantiles(Number::I64, within_ppm, &signed);
        let mut floats: Vec<f64> = (0..3_000)
            .map(|_| {
                (next(&mut seed) as f64 / 1e18 - 9.0) * 10_f64.powi((next(&mut seed) % 10) as i32)
            })
            .collect();
        floats.extend([0.0, 1e-7, -1e-7]);
        floats.sort_by(f64::total_cmp);
        let floats: Vec<u64> = floats.into_iter().map(f64::to_bits).collect();
        check_quantiles(Number::F64, within_ppm, &floats);
    }
}

#[test]
fn small_integers_are_exact_quantiles() {
    let sketch = Quantile::new(Number::I64, 500_000, 10_000);
    for value in [-127, -3, 0, 1, 5, 100, 127_i64] {
        let held = Held::of(sketch, &[value; 3], |sketch, cell, slab, value| {
            sketch.add(cell, slab, value.cast_unsigned());
        });
        let found = sketch.finish(&held.partial());
        assert_eq!(found, (Scalar::I64(value), Scalar::U64(0)));
    }
}

#[test]
fn quantiles_over_too_many_decades_say_so_and_hold_what_they_say() {
    let sketch = Quantile::new(Number::F64, 500_000, 10_000);
    let mut values: Vec<f64> = (-300..300).map(|e| 1.7 * 10_f64.powi(e)).collect();
    values.extend((-300..300).map(|e| -3.1 * 10_f64.powi(e)));
    values.extend([f64::MAX, f64::MIN, f64::MIN_POSITIVE]);
    for shift in 1..50 {
        values.extend((-300..300).map(|e| 1.7 * 10_f64.powi(e) * (1.0 + f64::from(shift) / 7.0)));
    }
    let held = Held::of(sketch, &values, add_quantile);
    assert!(sketch.is_valid(&held.partial()));
    assert!(held.partial().words.len() as u64 * 8 <= sketch.block_bytes(u64::MAX));
    let (value, error) = sketch.finish(&held.partial());
    values.sort_by(f64::total_cmp);
    let exact = values[(values.len() - 1) / 2];
    let (value, error) = (float(value), float(error));
    assert!(
        (value - exact).abs() <= error,
        "{value} +- {error}, {exact}"
    );
    assert!(
        error > exact * 0.01,
        "more than was asked for: {error} of {exact}"
    );
    check_splits(sketch, &values, 5, add_quantile);
}

fn add_hash(sketch: &Distinct, cell: &mut Cell, slab: &mut Slab, hash: &u64) {
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

fn add_value(sketch: &Top, cell: &mut Cell, slab: &mut Slab, value: &u64) {
    sketch.add(cell, slab, &[*value]);
}

/// Values of which a few are frequent.
fn skewed(seed: u64, count: usize, values: u64) -> Vec<u64> {
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

#[test]
fn the_edges_are_decided_by_the_recorded_order() {
    for is_last in [false, true] {
        let edge = Edge {
            is_last,
            kind: FieldType::I64,
        };
        let mut seed = 3;
        let events: Vec<([u64; 3], u64)> = (0..200)
            .map(|value| {
                (
                    [next(&mut seed) % 4, next(&mut seed) % 4, next(&mut seed)],
                    value,
                )
            })
            .collect();
        let add = |edge: &Edge, cell: &mut Cell, slab: &mut Slab, event: &([u64; 3], u64)| {
            edge.add(cell, slab, event.0, &[event.1]);
        };
        check_splits(edge, &events, 4, add);
        let held = Held::of(edge, &events, add);
        let ordered = |one: &&([u64; 3], u64)| one.0;
        let expected = match is_last {
            false => events.iter().min_by_key(ordered),
            true => events.iter().max_by_key(ordered),
        };
        assert_eq!(held.partial().words[3], expected.unwrap().1);
    }
}

/// Changes words of a valid partial at random: what is still valid must merge and finish without a
/// panic, whatever it says.
fn disturb<S: Sketch + Copy>(held: &Held<S>, finish: impl Fn(&S, &Partial<'_>)) -> (u32, u32) {
    let (mut valid, mut refused) = (0, 0);
    let mut seed = 1;
    for _ in 0..20_000 {
        let mut words = held.partial().words.to_vec();
        let (mut state, mut count) = (held.cell.words[1], held.cell.count);
        for _ in 0..1 + next(&mut seed) % 2 {
            let value = next(&mut seed) >> (next(&mut seed) % 64);
            match next(&mut seed) % 8 {
                0 => state = value,
                1 => count = value.max(1),
                2 => words.truncate(value as usize % (words.len() + 1)),
                3 => words.resize(words.len() * 2, 0),
                _ if words.is_empty() => {}
                _ => {
                    let at = next(&mut seed) as usize % words.len();
                    words[at] = value;
                }
            }
        }
        let partial = Partial {
            words: &words,
            state,
            count,
        };
        if !held.sketch.is_valid(&partial) {
            refused += 1;
            continue;
        }
        valid += 1;
        finish(&held.sketch, &partial);
        let mut into = held.clone();
        into.sketch.merge(&mut into.cell, &mut into.slab, &partial);
        into.cell.count = into.cell.count.saturating_add(count);
        finish(&held.sketch, &into.partial());
        let mut out = Vec::new();
        held.sketch.canonical(&into.partial(), &mut out);
    }
    (valid, refused)
}

#[test]
fn no_words_make_a_sketch_panic() {
    let mut both = Vec::new();
    let floats = [1.5, -2e300, 1e-300, 0.1];
    both.push(disturb(
        &Held::of(FloatSum, &floats, add_float),
        |sum, partial| {
            sum.finish(partial);
        },
    ));
    for (number, q_ppm) in [
        (Number::F64, 1_000_000),
        (Number::U64, 0),
        (Number::I64, 500_000),
    ] {
        let sketch = Quantile::new(number, q_ppm, 100_000);
        let held = Held::of(sketch, &floats, add_quantile);
        both.push(disturb(&held, |sketch, partial| {
            sketch.finish(partial);
        }));
    }
    let sketch = Distinct::within(100_000);
    for count in [5, 1_000] {
        let hashes = skewed(1, count, u64::MAX - 1);
        let held = Held::of(sketch, &hashes, add_hash);
        both.push(disturb(&held, |sketch, partial| {
            sketch.finish(partial);
        }));
    }
    for (kind, values) in [
        (FieldType::U64, 1_000),
        (FieldType::Bool, 2),
        (FieldType::Text(7), 1),
    ] {
        let top = Top { kind, k: 3 };
        let held = Held::of(top, &skewed(1, 2_000, values), add_value);
        both.push(disturb(&held, |top, partial| {
            top.finish(partial);
        }));
        let edge = Edge {
            is_last: true,
            kind,
        };
        let held = Held::of(edge, &[[1, 2, 3]], |edge, cell, slab, order| {
            edge.add(cell, slab, *order, &[1 << 8 | 1]);
        });
        both.push(disturb(&held, |edge, partial| {
            edge.finish(partial);
        }));
    }
    assert!(both.iter().all(|&(_, refused)| refused > 1_000), "{both:?}");
    assert!(
        both.iter().filter(|&&(valid, _)| valid > 100).count() > 6,
        "{both:?}"
    );
}
