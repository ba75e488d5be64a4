//! JSON lines to rows and back.
//!
//! A line is read straight into its row; no tree is built. Members that the schema does not know
//! are passed over. Numbers may be text, because JSON numbers above 2^53 do not survive many
//! programs; a time is ms since the epoch or RFC 3339 text; null and absent are the same, and stand
//! for the default of a field that has one.

use std::fmt;

use serde::Deserializer;
use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::limits::FIELDS_MAX;
use crate::reject::RejectReason;
use crate::schema::{Field, FieldType, Schema};
use crate::value::{self, Value};

/// Greatest magnitude up to which an f64 holds every whole number.
const F64_EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Why a line is no row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LineError {
    /// The field that is meant; `None` if the line as a whole is.
    pub field: Option<String>,
    /// The reason for counters.
    pub reason: RejectReason,
    /// For people; it names the field.
    pub message: String,
}

/// Reads one JSON object into `row`, which is overwritten. On failure `row` holds no valid row.
///
/// # Panics
/// If `row` is not exactly [`Schema::row_bytes`] long.
pub fn parse_line(schema: &Schema, line: &[u8], row: &mut [u8]) -> Result<(), LineError> {
    row.fill(0);
    let mut target = Target {
        schema,
        row,
        seen: 0,
        error: None,
    };
    let mut json = serde_json::Deserializer::from_slice(line);
    let read = ObjectSeed(&mut target)
        .deserialize(&mut json)
        .and_then(|()| json.end());
    if let Some(error) = target.error {
        return Err(error);
    }
    if let Err(error) = read {
        let message = format!("the line is no JSON object: {error}");
        return Err(LineError {
            field: None,
            reason: RejectReason::WrongType,
            message,
        });
    }
    let seen = target.seen;
    for (index, field) in schema.fields.iter().enumerate() {
        if seen >> index & 1 == 0 {
            schema
                .leave_out(row, index)
                .map_err(|reject| refuse(field, reject.reason, "is required and missing"))?;
        }
    }
    Ok(())
}

/// The row as a JSON object with every field, nulls included, in the order of field ids.
pub fn row_to_json(schema: &Schema, row: &[u8]) -> serde_json::Value {
    let members = schema.fields.iter().enumerate();
    members
        .map(|(index, field)| (field.name.clone(), schema.value(row, index).to_json()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// The row that is being filled.
struct Target<'t> {
    schema: &'t Schema,
    row: &'t mut [u8],
    /// One bit per field that the line has named.
    seen: u64,
    /// The typed reason behind the error that the JSON reader carries out.
    error: Option<LineError>,
}

const _: () = assert!(FIELDS_MAX <= u64::BITS as usize);

impl Target<'_> {
    fn write<E: de::Error>(&mut self, index: usize, value: &Value<'_>) -> Result<(), E> {
        let field = &self.schema.fields[index];
        let written = self.schema.set(self.row, index, value);
        written.map_err(|reject| {
            self.fail(refuse(field, reject.reason, &explain(field, reject.reason)))
        })
    }

    /// Keeps the typed reason; the JSON error only ends the reading.
    fn fail<E: de::Error>(&mut self, error: LineError) -> E {
        self.error = Some(error);
        E::custom("refused")
    }
}

fn refuse(field: &Field, reason: RejectReason, what: &str) -> LineError {
    let message = format!("field `{}` {what}", field.name);
    LineError {
        field: Some(field.name.clone()),
        reason,
        message,
    }
}

fn explain(field: &Field, reason: RejectReason) -> String {
    let kind = field.kind;
    match reason {
        RejectReason::Missing => "is required and null".to_owned(),
        RejectReason::NotFinite => "is not a finite number".to_owned(),
        RejectReason::TextTooLong => {
            format!("is longer than the {} bytes of {kind}", kind.capacity())
        }
        RejectReason::OutOfRange if kind == FieldType::Time => {
            "is outside the years 0 to 9999".to_owned()
        }
        RejectReason::OutOfRange => {
            format!("is outside the range of {kind}; send whole numbers above 2^53 as text")
        }
        _ => match kind {
            FieldType::Time => "is no time: ms since the epoch, or RFC 3339 text".to_owned(),
            other => format!("is no {other}"),
        },
    }
}

struct ObjectSeed<'s, 't>(&'s mut Target<'t>);

impl<'de> DeserializeSeed<'de> for ObjectSeed<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ObjectSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let target = self.0;
        while let Some(index) = map.next_key_seed(NameSeed(target.schema))? {
            let Some(index) = index else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if target.seen >> index & 1 == 1 {
                let field = &target.schema.fields[index];
                return Err(target.fail(refuse(field, RejectReason::WrongType, "is given twice")));
            }
            target.seen |= 1 << index;
            map.next_value_seed(CellSeed { target, index })?;
        }
        Ok(())
    }
}

/// Reads a member's name as the index of its field.
struct NameSeed<'t>(&'t Schema);

impl<'de> DeserializeSeed<'de> for NameSeed<'_> {
    type Value = Option<usize>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.0.field(name))
    }
}

struct CellSeed<'s, 't> {
    target: &'s mut Target<'t>,
    index: usize,
}

impl CellSeed<'_, '_> {
    fn field(&self) -> &Field {
        &self.target.schema.fields[self.index]
    }

    fn write<E: de::Error>(self, value: Result<Value<'_>, RejectReason>) -> Result<(), E> {
        match value {
            Ok(value) => self.target.write(self.index, &value),
            Err(reason) => {
                let field = self.field();
                let error = refuse(field, reason, &explain(field, reason));
                Err(self.target.fail(error))
            }
        }
    }

    fn integer(&self, v: i128) -> Result<Value<'static>, RejectReason> {
        let signed = || i64::try_from(v).map_err(|_| RejectReason::OutOfRange);
        match self.field().kind {
            FieldType::U64 => u64::try_from(v)
                .map(Value::U64)
                .map_err(|_| RejectReason::OutOfRange),
            FieldType::I64 => signed().map(Value::I64),
            FieldType::Time => value::time(signed()?).map(Value::Time),
            FieldType::F64 => Ok(Value::F64(v as f64)),
            FieldType::Bool | FieldType::Uuid | FieldType::Text(_) => Err(RejectReason::WrongType),
        }
    }

    fn float(&self, v: f64) -> Result<Value<'static>, RejectReason> {
        match self.field().kind {
            FieldType::F64 => value::finite(v).map(Value::F64),
            FieldType::U64 | FieldType::I64 | FieldType::Time if v.fract() != 0.0 => {
                Err(RejectReason::WrongType)
            }
            FieldType::U64 | FieldType::I64 | FieldType::Time if v.abs() > F64_EXACT_MAX => {
                Err(RejectReason::OutOfRange)
            }
            // 5.0 and 5 are the same JSON number.
            _ => self.integer(v as i128),
        }
    }

    fn text<'v>(&self, text: &'v str) -> Result<Value<'v>, RejectReason> {
        match self.field().kind {
            FieldType::Bool => Err(RejectReason::WrongType),
            kind => Value::parse_text(kind, text),
        }
    }
}

impl<'de> DeserializeSeed<'de> for CellSeed<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for CellSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {}", self.field().kind)
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        let default = self.target.schema.default_of(self.index);
        self.write(Ok(default.unwrap_or(Value::Null)))
    }

    fn visit_bool<E: de::Error>(self, v: bool) -> Result<(), E> {
        self.write(Ok(Value::Bool(v)))
    }

    fn visit_u64<E: de::Error>(self, v: u64) -> Result<(), E> {
        let value = self.integer(v.into());
        self.write(value)
    }

    fn visit_i64<E: de::Error>(self, v: i64) -> Result<(), E> {
        let value = self.integer(v.into());
        self.write(value)
    }

    fn visit_f64<E: de::Error>(self, v: f64) -> Result<(), E> {
        let value = self.float(v);
        self.write(value)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        let value = self.text(text);
        self.write(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.write(Err(RejectReason::WrongType))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.write(Err(RejectReason::WrongType))
    }
}

#[cfg(test)]
mod tests;
