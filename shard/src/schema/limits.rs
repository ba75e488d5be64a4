//! What a field may hold beyond its type, and what stands for it where a line leaves it out.

use std::fmt;

use super::Schema;
use super::check::{Check, REQUIRED};
use crate::reject::Reject;
use crate::row;
use crate::schema::FieldType;
use crate::value::Value;

/// The least and the greatest value of a field, both inclusive. Floating point is kept by its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limits {
    /// Of a u64.
    U64(u64, u64),
    /// Of an i64.
    I64(i64, i64),
    /// Of an f64.
    F64(u64, u64),
}

impl Limits {
    /// Limits of a type; `None` if it has none. What is absent does not limit.
    pub fn of(kind: FieldType, min: Option<Value<'_>>, max: Option<Value<'_>>) -> Option<Limits> {
        Some(match kind {
            FieldType::U64 => match (
                min.unwrap_or(Value::U64(0)),
                max.unwrap_or(Value::U64(u64::MAX)),
            ) {
                (Value::U64(min), Value::U64(max)) => Limits::U64(min, max),
                _ => return None,
            },
            FieldType::I64 => {
                let all = (Value::I64(i64::MIN), Value::I64(i64::MAX));
                match (min.unwrap_or(all.0), max.unwrap_or(all.1)) {
                    (Value::I64(min), Value::I64(max)) => Limits::I64(min, max),
                    _ => return None,
                }
            }
            FieldType::F64 => {
                let all = (Value::F64(f64::MIN), Value::F64(f64::MAX));
                match (min.unwrap_or(all.0), max.unwrap_or(all.1)) {
                    (Value::F64(min), Value::F64(max)) => Limits::F64(min.to_bits(), max.to_bits()),
                    _ => return None,
                }
            }
            _ => return None,
        })
    }

    /// Whether no value is within.
    pub fn is_empty(&self) -> bool {
        match *self {
            Limits::U64(min, max) => min > max,
            Limits::I64(min, max) => min > max,
            Limits::F64(min, max) => f64::from_bits(min) > f64::from_bits(max),
        }
    }

    /// Whether the value is within.
    pub fn hold(&self, value: &Value<'_>) -> bool {
        match (*self, *value) {
            (Limits::U64(min, max), Value::U64(v)) => (min..=max).contains(&v),
            (Limits::I64(min, max), Value::I64(v)) => (min..=max).contains(&v),
            (Limits::F64(min, max), Value::F64(v)) => {
                (f64::from_bits(min)..=f64::from_bits(max)).contains(&v)
            }
            _ => true,
        }
    }

    /// Whether the cell of a value that is not null is within.
    #[inline]
    pub(super) fn hold_cell(self, cells: &[u8], offset: u16) -> bool {
        match self {
            Limits::U64(min, max) => (min..=max).contains(&row::read_u64(cells, offset)),
            Limits::I64(min, max) => (min..=max).contains(&row::read_i64(cells, offset)),
            Limits::F64(min, max) => {
                let within = f64::from_bits(min)..=f64::from_bits(max);
                within.contains(&row::read_f64(cells, offset))
            }
        }
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Limits::U64(min, max) => write!(f, "{min} to {max}"),
            Limits::I64(min, max) => write!(f, "{min} to {max}"),
            Limits::F64(min, max) => {
                write!(f, "{} to {}", f64::from_bits(min), f64::from_bits(max))
            }
        }
    }
}

/// Values of fields that a line leaves out: their cells in a row of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Defaults {
    /// One bit per field that has one.
    fields: u64,
    row: Box<[u8]>,
}

impl Schema {
    /// Refuses rows whose value of the field is not within. No part of [`Schema::description`]: a
    /// row has the same bytes.
    pub fn limit(&mut self, field: usize, limits: Limits) {
        let mut checks = std::mem::take(&mut self.checks).into_vec();
        checks.push(Check::Limits {
            field: field as u8,
            offset: self.fields[field].offset,
            null_bit: self.fields[field].null_bit.unwrap_or(REQUIRED),
            limits,
        });
        self.checks = checks.into_boxed_slice();
    }

    /// The limits of a field.
    pub fn limits(&self, field: usize) -> Option<Limits> {
        self.checks.iter().find_map(|check| match *check {
            Check::Limits {
                field: of, limits, ..
            } if usize::from(of) == field => Some(limits),
            _ => None,
        })
    }

    /// Gives a field a value for lines that leave it out. No part of [`Schema::description`].
    pub fn set_default(&mut self, field: usize, value: &Value<'_>) -> Result<(), Reject> {
        let mut defaults = self.defaults.take().unwrap_or_else(|| Defaults {
            fields: 0,
            row: vec![0; self.row_len()].into_boxed_slice(),
        });
        let set = self.set(&mut defaults.row, field, value);
        if set.is_ok() {
            defaults.fields |= 1 << field;
        }
        self.defaults = Some(defaults).filter(|defaults| defaults.fields != 0);
        set
    }

    /// The value of a field where a line leaves it out.
    pub fn default_of(&self, field: usize) -> Option<Value<'_>> {
        let defaults = self.defaults.as_ref()?;
        (defaults.fields >> field & 1 == 1).then(|| self.value(&defaults.row, field))
    }

    /// Writes what stands for a field that is left out: its default, or null.
    pub(crate) fn leave_out(&self, row: &mut [u8], field: usize) -> Result<(), Reject> {
        let value = self.default_of(field).unwrap_or(Value::Null);
        self.set(row, field, &value)
    }
}
