//! One value of a row, and its text and canonical forms.

use std::fmt;

use crate::limits::{TIME_MS_MAX, TIME_MS_MIN};
use crate::reject::RejectReason;
use crate::schema::FieldType;
use crate::timestamp;

/// A value, borrowed from the row that it stands in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Absent; only for optional fields.
    Null,
    /// Unsigned integer.
    U64(u64),
    /// Signed integer.
    I64(i64),
    /// Finite floating point, never -0.0.
    F64(f64),
    /// True or false.
    Bool(bool),
    /// Milliseconds since the epoch, UTC.
    Time(i64),
    /// 16 bytes in the order of the text form.
    Uuid([u8; 16]),
    /// UTF-8.
    Text(&'a str),
}

/// A value of its own.
#[derive(Clone, Debug, PartialEq)]
pub enum OwnedValue {
    /// Everything but text.
    Plain(Value<'static>),
    /// Text.
    Text(Box<str>),
}

impl OwnedValue {
    /// The same, borrowed.
    pub fn as_value(&self) -> Value<'_> {
        match self {
            OwnedValue::Plain(value) => *value,
            OwnedValue::Text(text) => Value::Text(text),
        }
    }
}

impl From<Value<'_>> for OwnedValue {
    fn from(value: Value<'_>) -> Self {
        OwnedValue::Plain(match value {
            Value::Text(text) => return OwnedValue::Text(text.into()),
            Value::Null => Value::Null,
            Value::U64(v) => Value::U64(v),
            Value::I64(v) => Value::I64(v),
            Value::F64(v) => Value::F64(v),
            Value::Bool(v) => Value::Bool(v),
            Value::Time(v) => Value::Time(v),
            Value::Uuid(v) => Value::Uuid(v),
        })
    }
}

impl<'a> Value<'a> {
    /// Whether this is [`Value::Null`].
    pub const fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// Appends the canonical bytes: what keys, groups and members are hashed and compared by.
    /// Numbers are 8 little-endian bytes, a bool 1, a uuid 16, text its UTF-8, null nothing.
    pub fn write_canonical(&self, out: &mut Vec<u8>) {
        match *self {
            Value::Null => {}
            Value::U64(v) => out.extend_from_slice(&v.to_le_bytes()),
            Value::I64(v) | Value::Time(v) => out.extend_from_slice(&v.to_le_bytes()),
            Value::F64(v) => out.extend_from_slice(&(v + 0.0).to_le_bytes()),
            Value::Bool(v) => out.push(u8::from(v)),
            Value::Uuid(v) => out.extend_from_slice(&v),
            Value::Text(v) => out.extend_from_slice(v.as_bytes()),
        }
    }

    /// The value of canonical bytes; `None` if they are none of this type. No bytes are
    /// [`Value::Null`] for every type but text, where they are the empty text.
    pub fn from_canonical(kind: FieldType, bytes: &'a [u8]) -> Option<Value<'a>> {
        if let FieldType::Text(_) = kind {
            return std::str::from_utf8(bytes).ok().map(Value::Text);
        }
        if bytes.is_empty() {
            return Some(Value::Null);
        }
        Some(match kind {
            FieldType::U64 => Value::U64(u64::from_le_bytes(bytes.try_into().ok()?)),
            FieldType::I64 => Value::I64(i64::from_le_bytes(bytes.try_into().ok()?)),
            FieldType::F64 => Value::F64(f64::from_le_bytes(bytes.try_into().ok()?)),
            FieldType::Time => Value::Time(i64::from_le_bytes(bytes.try_into().ok()?)),
            FieldType::Uuid => Value::Uuid(bytes.try_into().ok()?),
            FieldType::Bool => match bytes {
                [0] => Value::Bool(false),
                [1] => Value::Bool(true),
                _ => return None,
            },
            FieldType::Text(_) => return None,
        })
    }

    /// Reads the text form of a value, as it stands in a URL or a command line.
    pub fn parse_text(kind: FieldType, text: &'a str) -> Result<Value<'a>, RejectReason> {
        match kind {
            FieldType::U64 => parse_integer(text).and_then(|v| {
                u64::try_from(v)
                    .map(Value::U64)
                    .map_err(|_| RejectReason::OutOfRange)
            }),
            FieldType::I64 => parse_integer(text).and_then(|v| {
                i64::try_from(v)
                    .map(Value::I64)
                    .map_err(|_| RejectReason::OutOfRange)
            }),
            FieldType::F64 => {
                let v: f64 = text.parse().map_err(|_| RejectReason::WrongType)?;
                finite(v).map(Value::F64)
            }
            FieldType::Bool => match text {
                "true" => Ok(Value::Bool(true)),
                "false" => Ok(Value::Bool(false)),
                _ => Err(RejectReason::WrongType),
            },
            FieldType::Time => {
                let ms = match parse_integer(text) {
                    Ok(v) => i64::try_from(v).map_err(|_| RejectReason::OutOfRange)?,
                    Err(RejectReason::WrongType) => {
                        timestamp::parse_ms(text).ok_or(RejectReason::WrongType)?
                    }
                    Err(reason) => return Err(reason),
                };
                time(ms).map(Value::Time)
            }
            FieldType::Uuid => uuid::Uuid::try_parse(text)
                .map(|v| Value::Uuid(v.into_bytes()))
                .map_err(|_| RejectReason::WrongType),
            FieldType::Text(capacity) if text.len() > usize::from(capacity) => {
                Err(RejectReason::TextTooLong)
            }
            FieldType::Text(_) => Ok(Value::Text(text)),
        }
    }

    /// The JSON form: numbers as numbers, times in ms since the epoch, uuid and text as text.
    pub fn to_json(&self) -> serde_json::Value {
        match *self {
            Value::Null => serde_json::Value::Null,
            Value::U64(v) => v.into(),
            Value::I64(v) | Value::Time(v) => v.into(),
            Value::F64(v) => v.into(),
            Value::Bool(v) => v.into(),
            Value::Uuid(v) => uuid::Uuid::from_bytes(v).to_string().into(),
            Value::Text(v) => v.into(),
        }
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Value::Null => f.write_str("null"),
            Value::U64(v) => write!(f, "{v}"),
            Value::I64(v) => write!(f, "{v}"),
            Value::F64(v) => write!(f, "{v}"),
            Value::Bool(v) => write!(f, "{v}"),
            Value::Time(v) => timestamp::write_ms(f, v),
            Value::Uuid(v) => write!(f, "{}", uuid::Uuid::from_bytes(v)),
            Value::Text(v) => f.write_str(v),
        }
    }
}

/// Refuses NaN and infinities, and turns -0.0 into 0.0.
pub(crate) fn finite(v: f64) -> Result<f64, RejectReason> {
    if v.is_finite() {
        Ok(v + 0.0)
    } else {
        Err(RejectReason::NotFinite)
    }
}

/// Refuses times outside the years 0 to 9999.
pub(crate) fn time(ms: i64) -> Result<i64, RejectReason> {
    if (TIME_MS_MIN..=TIME_MS_MAX).contains(&ms) {
        Ok(ms)
    } else {
        Err(RejectReason::OutOfRange)
    }
}

/// Reads a decimal integer; tells text that is none from one that is too large.
pub(crate) fn parse_integer(text: &str) -> Result<i128, RejectReason> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(RejectReason::WrongType);
    }
    text.parse().map_err(|_| RejectReason::OutOfRange)
}
