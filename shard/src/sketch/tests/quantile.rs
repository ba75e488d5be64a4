//! Quantiles against sorted values, over all ranges and beyond the bounded memory.

use super::float_sum::any_float;
use super::*;
use crate::query::Scalar;
use proptest::prelude::*;

pub(super) fn add_quantile(sketch: &Quantile, cell: &mut Cell, slab: &mut Slab, value: &f64) {
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

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
fn buckets_are_joined_no_more_than_the_pages_need() {
    let sketch = Quantile::new(Number::F64, 500_000, 10_000);
    // 1% has 64 buckets per octave, so 8 pages, and room for 768 pages.
    for (octaves, level) in [
        (90, 0),
        (97, 1),
        (190, 1),
        (200, 2),
        (390, 3),
        (800, 4),
        (2_000, 5),
    ] {
        let values: Vec<f64> = (0..octaves * 8)
            .map(|page| 2_f64.powi(page / 8 - 1_000) * (1.0 + f64::from(page % 8) / 8.0))
            .collect();
        let held = Held::of(sketch, &values, add_quantile);
        assert_eq!(held.partial().state >> 32, level, "{octaves} octaves");
    }
}
