//! Arithmetic: integers exact and checked, f64 finite.

use super::convert::time;
use super::{Register, binary, checked, unary};
use crate::expression::plan::{Arithmetic, Rounding};
use crate::expression::reason::state::{DIVISION_BY_ZERO, NOT_FINITE, OVERFLOW, VALUE};
use crate::schema::FieldType;

/// An operation on operands of two types, with the type of the result.
pub(super) fn run(
    op: Arithmetic,
    kinds: (FieldType, FieldType),
    kind: FieldType,
    a: &Register,
    b: &Register,
    out: &mut Register,
    n: usize,
) {
    use FieldType as T;
    match (kinds, kind) {
        ((T::F64, _), _) => floats(op, a, b, out, n),
        ((T::U64, T::U64), _) => unsigned(op, a, b, out, n),
        ((T::I64, T::I64) | (T::Time, T::Time), _) => signed(op, a, b, out, n),
        (_, T::Time) => binary(a, b, out, n, |a, b| {
            let (ms, error) = exact(op, wide(kinds.0, a), wide(kinds.1, b));
            // An error of its own cannot be: times and shifts are far from the ends of an i128.
            debug_assert_eq!(error, VALUE);
            time(i64::try_from(ms).ok())
        }),
        _ => binary(a, b, out, n, |a, b| {
            let (result, error) = exact(op, wide(kinds.0, a), wide(kinds.1, b));
            match error {
                VALUE => checked(i64::try_from(result).ok().map(i64::cast_unsigned), OVERFLOW),
                error => (0, error),
            }
        }),
    }
}

/// The integer of some bits.
#[inline]
fn wide(kind: FieldType, bits: u64) -> i128 {
    match kind {
        FieldType::U64 => i128::from(bits),
        _ => i128::from(bits.cast_signed()),
    }
}

/// On 64-bit operands of which at most one is beyond an i64, so that no product leaves an i128.
#[inline]
fn exact(op: Arithmetic, a: i128, b: i128) -> (i128, u8) {
    match op {
        Arithmetic::Add => (a + b, VALUE),
        Arithmetic::Subtract => (a - b, VALUE),
        Arithmetic::Multiply => (a * b, VALUE),
        Arithmetic::Divide | Arithmetic::Remainder if b == 0 => (0, DIVISION_BY_ZERO),
        Arithmetic::Divide => (a / b, VALUE),
        Arithmetic::Remainder => (a % b, VALUE),
    }
}

fn unsigned(op: Arithmetic, a: &Register, b: &Register, out: &mut Register, n: usize) {
    let mut with = |op: fn(u64, u64) -> (u64, u8)| binary(a, b, out, n, op);
    match op {
        Arithmetic::Add => with(|a, b| checked(a.checked_add(b), OVERFLOW)),
        Arithmetic::Subtract => with(|a, b| checked(a.checked_sub(b), OVERFLOW)),
        Arithmetic::Multiply => with(|a, b| checked(a.checked_mul(b), OVERFLOW)),
        Arithmetic::Divide => with(|a, b| checked(a.checked_div(b), DIVISION_BY_ZERO)),
        Arithmetic::Remainder => with(|a, b| checked(a.checked_rem(b), DIVISION_BY_ZERO)),
    }
}

fn signed(op: Arithmetic, a: &Register, b: &Register, out: &mut Register, n: usize) {
    let mut with = |op: fn(i64, i64) -> (i64, u8)| {
        binary(a, b, out, n, |a, b| {
            let (result, error) = op(a.cast_signed(), b.cast_signed());
            (result.cast_unsigned(), error)
        });
    };
    match op {
        Arithmetic::Add => with(|a, b| overflowing(a.overflowing_add(b))),
        Arithmetic::Subtract => with(|a, b| overflowing(a.overflowing_sub(b))),
        Arithmetic::Multiply => with(|a, b| overflowing(a.overflowing_mul(b))),
        Arithmetic::Divide => with(|a, b| match b {
            0 => (0, DIVISION_BY_ZERO),
            b => overflowing(a.overflowing_div(b)),
        }),
        Arithmetic::Remainder => with(|a, b| match b {
            0 => (0, DIVISION_BY_ZERO),
            b => (a.wrapping_rem(b), VALUE),
        }),
    }
}

#[inline]
fn overflowing((result, overflowed): (i64, bool)) -> (i64, u8) {
    (result, if overflowed { OVERFLOW } else { VALUE })
}

fn floats(op: Arithmetic, a: &Register, b: &Register, out: &mut Register, n: usize) {
    let mut with = |op: fn(f64, f64) -> f64, divides: bool| {
        binary(a, b, out, n, |a, b| {
            let (a, b) = (f64::from_bits(a), f64::from_bits(b));
            if divides && b == 0.0 {
                return (0, DIVISION_BY_ZERO);
            }
            finite(op(a, b))
        });
    };
    match op {
        Arithmetic::Add => with(|a, b| a + b, false),
        Arithmetic::Subtract => with(|a, b| a - b, false),
        Arithmetic::Multiply => with(|a, b| a * b, false),
        Arithmetic::Divide => with(|a, b| a / b, true),
        Arithmetic::Remainder => with(|a, b| a % b, true),
    }
}

/// -0.0 becomes 0.0.
#[inline]
fn finite(value: f64) -> (u64, u8) {
    let state = if value.is_finite() { VALUE } else { NOT_FINITE };
    ((value + 0.0).to_bits(), state)
}

/// The negative of a number; that of a u64 is an i64.
pub(super) fn negate(kind: FieldType, a: &Register, out: &mut Register, n: usize) {
    match kind {
        FieldType::F64 => unary(a, out, n, |a| finite(-f64::from_bits(a))),
        FieldType::U64 => unary(a, out, n, |a| {
            let negative = i64::try_from(-i128::from(a)).ok();
            checked(negative.map(i64::cast_unsigned), OVERFLOW)
        }),
        _ => unary(a, out, n, |a| {
            let negative = a.cast_signed().checked_neg();
            checked(negative.map(i64::cast_unsigned), OVERFLOW)
        }),
    }
}

pub(super) fn abs(kind: FieldType, a: &Register, out: &mut Register, n: usize) {
    match kind {
        FieldType::F64 => unary(a, out, n, |a| finite(f64::from_bits(a).abs())),
        FieldType::U64 => unary(a, out, n, |a| (a, VALUE)),
        _ => unary(a, out, n, |a| {
            let size = a.cast_signed().checked_abs();
            checked(size.map(i64::cast_unsigned), OVERFLOW)
        }),
    }
}

pub(super) fn round(how: Rounding, a: &Register, out: &mut Register, n: usize) {
    let mut with = |op: fn(f64) -> f64| unary(a, out, n, |a| finite(op(f64::from_bits(a))));
    match how {
        Rounding::Floor => with(f64::floor),
        Rounding::Ceil => with(f64::ceil),
        Rounding::Round => with(f64::round),
    }
}

/// The lesser or the greater of two values of one type.
pub(super) fn extreme(
    least: bool,
    kind: FieldType,
    a: &Register,
    b: &Register,
    out: &mut Register,
    n: usize,
) {
    let choose = |a_is_less: bool, a: u64, b: u64| (if a_is_less == least { a } else { b }, VALUE);
    match kind {
        FieldType::U64 => binary(a, b, out, n, |a, b| choose(a < b, a, b)),
        FieldType::F64 => binary(a, b, out, n, |a, b| {
            choose(f64::from_bits(a) < f64::from_bits(b), a, b)
        }),
        _ => binary(a, b, out, n, |a, b| {
            choose(a.cast_signed() < b.cast_signed(), a, b)
        }),
    }
}
