//! What a score is worth, exactly: a value as events have it, or a mean of some.

use super::datum::Datum;
use super::{compare, number, scalar};
use crate::pipeline::Score;
use crate::query::Scalar;
use std::cmp::Ordering;

/// A score.
#[derive(Debug, Clone, PartialEq)]
pub enum Worth {
    /// A value as events have it, or a sum of such.
    Value(Datum),
    /// In lowest terms.
    Fraction(i128, i128),
}

impl Worth {
    /// As answers show it.
    pub fn scalar(&self) -> Scalar {
        match self {
            Self::Value(datum) => scalar(datum),
            Self::Fraction(over, under) => Scalar::F64(*over as f64 / *under as f64),
        }
    }

    /// The order of two scores of one column.
    pub fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Value(one), Self::Value(other)) => compare(one, other),
            (Self::Fraction(a, b), Self::Fraction(c, d)) => (a * d).cmp(&(c * b)),
            _ => panic!("{self:?} and {other:?} are of one column"),
        }
    }
}

/// Whether a value is better than another.
pub fn is_better(score: &Score, value: &Datum, than: &Datum) -> bool {
    let better = match score.descending {
        true => Ordering::Greater,
        false => Ordering::Less,
    };
    compare(value, than) == better
}

/// Places of the `n` best of values that came in this order, best first, of equal ones the first.
pub fn best_of(score: &Score, n: u16, values: &[&Datum]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..values.len()).collect();
    places.sort_by(|&one, &other| {
        let ascending = compare(values[one], values[other]);
        match score.descending {
            true => ascending.reverse(),
            false => ascending,
        }
    });
    places.truncate(usize::from(n));
    places
}

/// The mean of values of one type.
pub fn mean(values: &[&Datum]) -> Worth {
    let count = values.len() as i128;
    if let Datum::F64(_) = values[0] {
        let value = |datum: &&Datum| match datum {
            Datum::F64(value) => *value,
            other => panic!("{other:?}"),
        };
        // Values of the model are such that their sums are exact.
        let sum: f64 = values.iter().map(value).sum();
        return Worth::Value(Datum::F64(sum / count as f64));
    }
    let sum: i128 = values.iter().map(|datum| number(datum)).sum();
    let mut divisor = (sum.abs(), count);
    while divisor.1 != 0 {
        divisor = (divisor.1, divisor.0 % divisor.1);
    }
    Worth::Fraction(sum / divisor.0, count / divisor.0)
}
