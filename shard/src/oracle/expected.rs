//! What a column of a view must show: the exact value, and how far an estimate may be from it.

use super::datum::Datum;
use super::{Full, Row, compare, number, scalar};
use crate::merge::ColumnValue;
use crate::pipeline::Aggregate;
use crate::query::Scalar;
use crate::value::OwnedValue;
use std::cmp::Ordering;

/// A `top` that never saw more different values than this is exact, whatever was asked for.
const TOP_EXACT: usize = 96;

/// An exact result, to which a [`ColumnValue`] is compared by what its kind promises.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    /// An exact number, or null.
    Number(Scalar),
    /// An exact value of any type.
    Value(Datum),
    /// The number of different values, and the asked error.
    Distinct(u64, f64),
    /// The number at the asked place, and the asked error.
    Quantile(Datum, f64),
    /// All values by how often they were there, and how many are asked for.
    Top(Vec<(Datum, u64)>, usize),
}

impl PartialEq<Expected> for ColumnValue {
    fn eq(&self, expected: &Expected) -> bool {
        match (self, expected) {
            (Self::Number(shown), Expected::Number(number)) => shown == number,
            (Self::Value(shown), Expected::Value(value)) => {
                *shown == OwnedValue::from(value.value())
            }
            (
                Self::Estimate {
                    value: Scalar::U64(shown),
                    error: Scalar::U64(error),
                },
                Expected::Distinct(count, within),
            ) => is_count(*shown, *error, *count, *within),
            (Self::Estimate { value, error }, Expected::Quantile(exact, within)) => {
                is_near(float(value), float(error), exact, *within)
            }
            (
                Self::Frequent {
                    values,
                    others_at_most,
                },
                Expected::Top(all, k),
            ) => {
                let shown: Vec<_> = values
                    .iter()
                    .map(|one| (Datum::of(one.value.as_value()), one.count, one.error))
                    .collect();
                is_top(&shown, *others_at_most, all, *k)
            }
            _ => false,
        }
    }
}

impl Row {
    /// The first column, which is a number.
    pub fn number(&self) -> Scalar {
        match self.values[0] {
            ColumnValue::Number(number) => number,
            ref other => panic!("{other:?} is no number"),
        }
    }
}

/// The stated error is two standard errors; one count in millions is beyond five.
fn is_count(shown: u64, error: u64, count: u64, within: f64) -> bool {
    if error == 0 {
        return shown == count;
    }
    error as f64 <= shown as f64 * within + 1.0
        && shown.abs_diff(count) as f64 <= 2.5 * error as f64
}

fn is_near(shown: f64, error: f64, exact: &Datum, within: f64) -> bool {
    let exact = match *exact {
        Datum::F64(v) => v,
        ref integer => number(integer) as f64,
    };
    (shown - exact).abs() <= error && error <= exact.abs() * within
}

fn is_top(shown: &[(Datum, u64, u64)], others: u64, all: &[(Datum, u64)], k: usize) -> bool {
    if all.len() <= TOP_EXACT || others == 0 {
        let shown: Vec<_> = shown
            .iter()
            .map(|(value, count, _)| (value.clone(), *count))
            .collect();
        return others == 0 && shown == all[..k.min(all.len())];
    }
    let least = shown.iter().map(|&(_, count, _)| count).min().unwrap_or(0);
    let mut hidden = all
        .iter()
        .filter(|(value, _)| shown.iter().all(|(one, ..)| one != value));
    let is_held = |(value, count, error): &(Datum, u64, u64)| {
        let truth = all
            .iter()
            .find(|(one, _)| one == value)
            .map_or(0, |&(_, count)| count);
        (count - error..=*count).contains(&truth)
    };
    shown.is_sorted_by(|a, b| a.1 >= b.1)
        && shown.len() <= k
        && shown.iter().all(is_held)
        && hidden.all(|&(_, count)| count <= others.max(least))
}

fn float(scalar: &Scalar) -> f64 {
    match *scalar {
        Scalar::U64(v) => v as f64,
        Scalar::I64(v) => v as f64,
        Scalar::F64(v) => v,
        _ => f64::NAN,
    }
}

/// The exact sum, rounded once (Shewchuk, "Adaptive precision floating-point arithmetic and fast
/// robust geometric predicates", 1997): parts that do not overlap, added from the greatest down.
pub fn floats<'d>(data: impl Iterator<Item = &'d Datum>) -> f64 {
    let mut parts: Vec<f64> = Vec::new();
    for datum in data {
        let Datum::F64(mut value) = *datum else {
            panic!("{datum:?} is no f64");
        };
        let mut kept = Vec::new();
        for mut part in parts {
            if value.abs() < part.abs() {
                std::mem::swap(&mut value, &mut part);
            }
            let sum = value + part;
            let rest = part - (sum - value);
            if rest != 0.0 {
                kept.push(rest);
            }
            value = sum;
        }
        kept.push(value);
        parts = kept;
    }
    let mut sum = parts.pop().unwrap_or(0.0);
    let mut rest = 0.0;
    while let Some(part) = parts.pop() {
        let high = sum;
        sum = high + part;
        rest = part - (sum - high);
        if rest != 0.0 {
            break;
        }
    }
    // Half of the last place is rounded to even, unless the parts below say where to.
    if let Some(next) = parts.last()
        && (rest < 0.0) == (*next < 0.0)
    {
        let doubled = rest * 2.0;
        let other = sum + doubled;
        if other - sum == doubled {
            sum = other;
        }
    }
    sum + 0.0
}

/// The exact result of a column over the events of a group in recorded order.
pub fn expect(aggregate: Aggregate, time_field: usize, events: &[Full<'_>]) -> Expected {
    let Some(field) = aggregate.field() else {
        return Expected::Number(Scalar::U64(events.len() as u64));
    };
    let mut present: Vec<_> = events
        .iter()
        .filter_map(|event| {
            let time = number(&event.recorded.event.data[time_field]);
            let datum = event.columns[field].as_ref().ok()?;
            Some((time, event.recorded.tie, datum))
        })
        .filter(|(_, _, datum)| **datum != Datum::Null)
        .collect();
    let within = |ppm: u32| f64::from(ppm) / 1e6;
    let mut values: Vec<&Datum> = present.iter().map(|&(_, _, datum)| datum).collect();
    match aggregate {
        Aggregate::Distinct { within_ppm, .. } => {
            return Expected::Distinct(tally(&values).len() as u64, within(within_ppm));
        }
        Aggregate::Top { k, .. } => return Expected::Top(tally(&values), usize::from(k)),
        _ if values.is_empty() => return Expected::Number(Scalar::Null),
        Aggregate::First(_) | Aggregate::Last(_) => {
            present.sort_by_key(|&(time, tie, _)| (time, tie));
            let place = match aggregate {
                Aggregate::First(_) => 0,
                _ => present.len() - 1,
            };
            return Expected::Value(present[place].2.clone());
        }
        Aggregate::Quantile {
            q_ppm, within_ppm, ..
        } => {
            values.sort_by(|a, b| compare(a, b));
            let place = (values.len() - 1) as u128 * u128::from(q_ppm) / 1_000_000;
            return Expected::Quantile(values[place as usize].clone(), within(within_ppm));
        }
        _ => {}
    }
    Expected::Number(exact_number(aggregate, &values))
}

/// Different values by how often they are there, then in their order.
fn tally(values: &[&Datum]) -> Vec<(Datum, u64)> {
    let mut counts: std::collections::BTreeMap<String, (Datum, u64)> = Default::default();
    for value in values {
        let count = counts.entry(value.label());
        count.or_insert_with(|| ((*value).clone(), 0)).1 += 1;
    }
    let mut counts: Vec<_> = counts.into_values().collect();
    counts.sort_by(|(a, count), (b, other)| other.cmp(count).then_with(|| natural(a, b)));
    counts
}

/// The order of any two values of a type.
fn natural(a: &Datum, b: &Datum) -> Ordering {
    match (a, b) {
        (Datum::Text(a), Datum::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Datum::Uuid(a), Datum::Uuid(b)) => a.cmp(b),
        (Datum::Bool(a), Datum::Bool(b)) => a.cmp(b),
        _ => compare(a, b),
    }
}

fn exact_number(aggregate: Aggregate, values: &[&Datum]) -> Scalar {
    let is_float = matches!(values[0], Datum::F64(_));
    let integers = || values.iter().map(|value| number(value)).sum::<i128>();
    let count = values.len() as f64;
    match aggregate {
        Aggregate::Sum(_) if is_float => Scalar::F64(floats(values.iter().copied())),
        Aggregate::Avg(_) if is_float => Scalar::F64(floats(values.iter().copied()) / count),
        Aggregate::Sum(_) => {
            let sum = integers();
            match values[0] {
                Datum::U64(_) => u64::try_from(sum).map_or(Scalar::Wide(sum), Scalar::U64),
                _ => i64::try_from(sum).map_or(Scalar::Wide(sum), Scalar::I64),
            }
        }
        Aggregate::Avg(_) => Scalar::F64(integers() as f64 / count),
        Aggregate::Min(_) => scalar(values.iter().min_by(|a, b| compare(a, b)).expect("some")),
        Aggregate::Max(_) => scalar(values.iter().max_by(|a, b| compare(a, b)).expect("some")),
        other => panic!("{other:?} is no plain number"),
    }
}
