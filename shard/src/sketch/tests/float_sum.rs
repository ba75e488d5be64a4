//! Sums of `f64` against a sum of single bits.

use super::*;
use proptest::prelude::*;

pub(super) fn add_float(sum: &FloatSum, cell: &mut Cell, slab: &mut Slab, value: &f64) {
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

pub(super) fn any_float() -> impl Strategy<Value = f64> {
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

#[test]
fn carries_of_many_additions_have_room() {
    for exponent in 0..64 {
        for sign in [1.0, -1.0] {
            let value = sign * 1.75 * 2_f64.powi(exponent);
            let held = Held::of(FloatSum, &[value; 8_192], add_float);
            assert_eq!(FloatSum.finish(&held.partial()), value * 8_192.0);
        }
    }
}
