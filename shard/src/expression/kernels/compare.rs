//! Comparisons.

use std::cmp::Ordering;

use super::{Register, binary};
use crate::expression::plan::Comparison;
use crate::expression::reason::state::VALUE;
use crate::schema::FieldType;

/// Compares two registers; `bytes` reads texts and uuids.
pub(super) fn run<'b>(
    op: Comparison,
    kinds: (FieldType, FieldType),
    a: &Register,
    b: &Register,
    out: &mut Register,
    n: usize,
    bytes: impl Fn(u64) -> &'b [u8],
) {
    use FieldType as T;
    match kinds {
        (T::U64 | T::Bool, T::U64 | T::Bool) => each(op, a, b, out, n, |a, b| a.cmp(&b)),
        (T::I64 | T::Time, T::I64 | T::Time) => each(op, a, b, out, n, |a, b| {
            a.cast_signed().cmp(&b.cast_signed())
        }),
        (T::F64, _) => each(op, a, b, out, n, |a, b| {
            f64::from_bits(a).total_cmp(&f64::from_bits(b))
        }),
        (T::U64, _) => each(op, a, b, out, n, |a, b| {
            i128::from(a).cmp(&i128::from(b.cast_signed()))
        }),
        (_, T::U64) => each(op, a, b, out, n, |a, b| {
            i128::from(a.cast_signed()).cmp(&i128::from(b))
        }),
        _ => each(op, a, b, out, n, |a, b| bytes(a).cmp(bytes(b))),
    }
}

/// One loop per comparison, so that none chooses inside.
#[inline]
fn each(
    op: Comparison,
    a: &Register,
    b: &Register,
    out: &mut Register,
    n: usize,
    order: impl Fn(u64, u64) -> Ordering,
) {
    let mut with = |holds: fn(Ordering) -> bool| {
        binary(a, b, out, n, |a, b| (holds(order(a, b)).into(), VALUE));
    };
    match op {
        Comparison::Equal => with(Ordering::is_eq),
        Comparison::NotEqual => with(Ordering::is_ne),
        Comparison::Less => with(Ordering::is_lt),
        Comparison::LessOrEqual => with(Ordering::is_le),
        Comparison::Greater => with(Ordering::is_gt),
        Comparison::GreaterOrEqual => with(Ordering::is_ge),
    }
}
