//! Casts between numbers, and between whole numbers and times.

use super::{Register, checked, unary};
use crate::expression::reason::state::{OUT_OF_RANGE, VALUE};
use crate::schema::FieldType;
use crate::value;

pub(super) fn cast(from: FieldType, to: FieldType, a: &Register, out: &mut Register, n: usize) {
    use FieldType as T;
    let mut with = |op: fn(u64) -> (u64, u8)| unary(a, out, n, op);
    match (from, to) {
        (T::U64, T::I64) => {
            with(|a| checked(i64::try_from(a).ok().map(i64::cast_unsigned), OUT_OF_RANGE))
        }
        (T::I64, T::U64) | (T::Time, T::U64) => {
            with(|a| checked(u64::try_from(a.cast_signed()).ok(), OUT_OF_RANGE));
        }
        (T::U64, T::F64) => with(|a| ((a as f64).to_bits(), VALUE)),
        (T::I64, T::F64) => with(|a| ((a.cast_signed() as f64).to_bits(), VALUE)),
        (T::F64, T::U64) => with(|a| checked(float_to_u64(f64::from_bits(a)), OUT_OF_RANGE)),
        (T::F64, T::I64) => with(|a| checked(float_to_i64(f64::from_bits(a)), OUT_OF_RANGE)),
        (T::U64, T::Time) => with(|a| time(i64::try_from(a).ok())),
        (T::I64, T::Time) => with(|a| time(Some(a.cast_signed()))),
        // The same bits: a time as i64.
        _ => with(|a| (a, VALUE)),
    }
}

/// A time in the years 0 to 9999.
#[inline]
pub(super) fn time(ms: Option<i64>) -> (u64, u8) {
    let ms = ms.and_then(|ms| value::time(ms).ok());
    checked(ms.map(i64::cast_unsigned), OUT_OF_RANGE)
}

/// Towards zero. The bounds are powers of two and so exact.
fn float_to_u64(value: f64) -> Option<u64> {
    let whole = value.trunc();
    (0.0..18_446_744_073_709_551_616.0)
        .contains(&whole)
        .then_some(whole as u64)
}

fn float_to_i64(value: f64) -> Option<u64> {
    let whole = value.trunc();
    (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0)
        .contains(&whole)
        .then_some((whole as i64).cast_unsigned())
}
