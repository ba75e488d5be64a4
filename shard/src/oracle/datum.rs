//! Values and events of their own, as the oracle keeps them.

use crate::reject::RejectReason;
use crate::value::Value;

/// An owned value, ordered and comparable for the oracle.
#[derive(Debug, Clone, PartialEq)]
pub enum Datum {
    /// Absent.
    Null,
    /// Unsigned integer.
    U64(u64),
    /// Signed integer.
    I64(i64),
    /// Finite floating point.
    F64(f64),
    /// True or false.
    Bool(bool),
    /// Milliseconds since the epoch, UTC.
    Time(i64),
    /// 16 bytes.
    Uuid([u8; 16]),
    /// UTF-8.
    Text(String),
}

impl Datum {
    /// The same, borrowed.
    pub fn value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::U64(v) => Value::U64(*v),
            Self::I64(v) => Value::I64(*v),
            Self::F64(v) => Value::F64(*v),
            Self::Bool(v) => Value::Bool(*v),
            Self::Time(v) => Value::Time(*v),
            Self::Uuid(v) => Value::Uuid(*v),
            Self::Text(v) => Value::Text(v),
        }
    }

    /// A copy of a value.
    pub fn of(value: Value<'_>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::U64(v) => Self::U64(v),
            Value::I64(v) => Self::I64(v),
            Value::F64(v) => Self::F64(v),
            Value::Bool(v) => Self::Bool(v),
            Value::Time(v) => Self::Time(v),
            Value::Uuid(v) => Self::Uuid(v),
            Value::Text(v) => Self::Text(v.to_owned()),
        }
    }

    /// Text that is different for different values, as the oracle's map key.
    pub fn label(&self) -> String {
        format!("{self:?}")
    }

    /// The bytes that keys, groups and members are compared by.
    pub fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.value().write_canonical(&mut out);
        out
    }
}

/// One event as a producer sends it.
#[derive(Debug, Clone)]
pub struct Event {
    /// One value per field.
    pub data: Vec<Datum>,
    /// The row, as it stands in the log.
    pub row: Vec<u8>,
    /// Why it must be refused, if it is bad whenever it comes.
    pub bad: Option<RejectReason>,
}
