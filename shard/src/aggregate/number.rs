//! Numbers of rows, and an unsigned encoding of the same order.

use crate::query::Scalar;
use crate::schema::FieldType;

/// A type that can be summed or compared as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    U64,
    I64,
    F64,
    Time,
}

const SIGN: u64 = 1 << 63;

impl Number {
    pub(crate) fn of(kind: FieldType) -> Option<Self> {
        match kind {
            FieldType::U64 => Some(Self::U64),
            FieldType::I64 => Some(Self::I64),
            FieldType::F64 => Some(Self::F64),
            FieldType::Time => Some(Self::Time),
            FieldType::Bool | FieldType::Uuid | FieldType::Text(_) => None,
        }
    }

    /// The cell's bits as an unsigned number of the same order. Undone by [`Number::bits`].
    #[inline]
    pub(crate) fn ordered(self, bits: u64) -> u64 {
        match self {
            Self::U64 => bits,
            Self::I64 | Self::Time => bits ^ SIGN,
            Self::F64 => ordered_f64(bits),
        }
    }

    /// The bits that [`Number::ordered`] was given.
    #[inline]
    pub(crate) fn bits(self, ordered: u64) -> u64 {
        match self {
            Self::U64 => ordered,
            Self::I64 | Self::Time => ordered ^ SIGN,
            Self::F64 if ordered & SIGN != 0 => ordered ^ SIGN,
            Self::F64 => !ordered,
        }
    }

    pub(crate) fn scalar(self, bits: u64) -> Scalar {
        match self {
            Self::U64 => Scalar::U64(bits),
            Self::I64 => Scalar::I64(bits.cast_signed()),
            Self::Time => Scalar::Time(bits.cast_signed()),
            Self::F64 => finite_scalar(f64::from_bits(bits)),
        }
    }
}

#[inline]
fn ordered_f64(bits: u64) -> u64 {
    if bits & SIGN == 0 { bits ^ SIGN } else { !bits }
}

pub(super) fn finite_scalar(value: f64) -> Scalar {
    if value.is_finite() {
        Scalar::F64(value + 0.0)
    } else {
        Scalar::Overflow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordered_numbers_keep_order_and_come_back() {
        let floats = [
            f64::MIN,
            -1e300,
            -2.0,
            -1.0,
            -1e-300,
            0.0,
            1e-300,
            0.5,
            1.0,
            f64::MAX,
        ];
        let bits: Vec<u64> = floats.iter().map(|v| v.to_bits()).collect();
        let integers = [i64::MIN, -2, -1, 0, 1, i64::MAX].map(i64::cast_unsigned);
        let cases: [(Number, &[u64]); 3] = [
            (Number::F64, &bits),
            (Number::I64, &integers),
            (Number::U64, &[0, 1, u64::MAX - 1, u64::MAX]),
        ];
        for (number, ascending) in cases {
            let ordered: Vec<u64> = ascending.iter().map(|&bits| number.ordered(bits)).collect();
            assert!(ordered.is_sorted_by(|a, b| a < b), "{number:?}");
            for (&bits, &ordered) in ascending.iter().zip(&ordered) {
                assert_eq!(number.bits(ordered), bits);
            }
        }
    }
}
