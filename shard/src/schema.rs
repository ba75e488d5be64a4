//! Runtime schemas: typed fields in rows of a fixed size.
//!
//! A schema is checked once and compiled: `validate` walks a short list of checks that holds only
//! what can be wrong, so rows of integers cost next to nothing.

mod check;
mod limits;
mod widen;

use std::fmt;

use crate::limits::{FIELDS_MAX, NAME_BYTES_MAX, TEXT_BYTES_MAX};
use crate::reject::{Reject, RejectReason};
use crate::row;
use crate::value::{self, Value};
use check::Check;
use limits::Defaults;

pub use limits::Limits;
pub use widen::Widening;

/// The first line of a description.
const DESCRIPTION_HEAD: &str = "ringmill-schema 1";

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldType {
    /// Unsigned 64-bit integer.
    U64,
    /// Signed 64-bit integer.
    I64,
    /// Finite 64-bit floating point.
    F64,
    /// True or false.
    Bool,
    /// Milliseconds since the epoch, UTC, in the years 0 to 9999.
    Time,
    /// 16 bytes.
    Uuid,
    /// UTF-8 of at most so many bytes, 1 to 255.
    Text(u8),
}

impl FieldType {
    /// Bytes of the cell in a row.
    pub const fn cell_bytes(self) -> usize {
        match self {
            FieldType::U64 | FieldType::I64 | FieldType::F64 | FieldType::Time => 8,
            FieldType::Uuid => 16,
            FieldType::Text(capacity) => 1 + capacity as usize,
            FieldType::Bool => 1,
        }
    }

    /// Most canonical bytes of a value; see [`Schema::canonical_bytes`].
    pub const fn canonical_bytes_max(self) -> usize {
        match self {
            FieldType::Text(capacity) => capacity as usize,
            other => other.cell_bytes(),
        }
    }

    /// The number on the wire.
    pub const fn code(self) -> u8 {
        match self {
            FieldType::U64 => 1,
            FieldType::I64 => 2,
            FieldType::F64 => 3,
            FieldType::Bool => 4,
            FieldType::Time => 5,
            FieldType::Uuid => 6,
            FieldType::Text(_) => 7,
        }
    }

    /// Capacity of a text in bytes, 0 for every other type.
    pub const fn capacity(self) -> u8 {
        match self {
            FieldType::Text(capacity) => capacity,
            _ => 0,
        }
    }

    /// The type of a number and capacity on the wire.
    pub fn from_code(code: u8, capacity: u8) -> Option<FieldType> {
        Some(match (code, capacity) {
            (1, 0) => FieldType::U64,
            (2, 0) => FieldType::I64,
            (3, 0) => FieldType::F64,
            (4, 0) => FieldType::Bool,
            (5, 0) => FieldType::Time,
            (6, 0) => FieldType::Uuid,
            (7, 1..) => FieldType::Text(capacity),
            _ => return None,
        })
    }

    /// Reads the text form: `u64`, `i64`, `f64`, `bool`, `time`, `uuid` or `text(n)`.
    pub fn parse(text: &str) -> Option<FieldType> {
        Some(match text {
            "u64" => FieldType::U64,
            "i64" => FieldType::I64,
            "f64" => FieldType::F64,
            "bool" => FieldType::Bool,
            "time" => FieldType::Time,
            "uuid" => FieldType::Uuid,
            _ => {
                let digits = text.strip_prefix("text(")?.strip_suffix(')')?;
                if !digits.bytes().all(|b| b.is_ascii_digit()) {
                    return None;
                }
                match digits.parse() {
                    Ok(capacity @ 1..) => FieldType::Text(capacity),
                    _ => return None,
                }
            }
        })
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldType::U64 => f.write_str("u64"),
            FieldType::I64 => f.write_str("i64"),
            FieldType::F64 => f.write_str("f64"),
            FieldType::Bool => f.write_str("bool"),
            FieldType::Time => f.write_str("time"),
            FieldType::Uuid => f.write_str("uuid"),
            FieldType::Text(capacity) => write!(f, "text({capacity})"),
        }
    }
}

/// A field as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldSpec {
    /// Identity of the field, 1 or more; names may change, ids may not.
    pub id: u16,
    /// Name: a letter, then letters, digits and `_`.
    pub name: String,
    /// Type.
    pub kind: FieldType,
    /// Whether a row may leave it out.
    pub optional: bool,
}

/// A field with its place in the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Identity of the field, 1 or more.
    pub id: u16,
    /// Name.
    pub name: String,
    /// Type.
    pub kind: FieldType,
    /// Whether a row may leave it out.
    pub optional: bool,
    /// Offset of its cell in the row, in bytes.
    pub offset: u16,
    /// Its bit among the null bits, if it is optional.
    pub null_bit: Option<u16>,
}

/// Why fields are no schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// There are none.
    #[error("a stream needs at least one field")]
    NoFields,
    /// There are too many.
    #[error("{count} fields; a stream has at most {FIELDS_MAX}")]
    TooManyFields {
        /// How many.
        count: usize,
    },
    /// An id of 0.
    #[error("field `{name}` has id 0; ids are 1 to 65535")]
    ZeroId {
        /// The field.
        name: String,
    },
    /// An id that is used twice.
    #[error("fields `{first}` and `{second}` both have id {id}")]
    SameId {
        /// The id.
        id: u16,
        /// One field.
        first: String,
        /// The other.
        second: String,
    },
    /// A name that is used twice.
    #[error("two fields are named `{name}`")]
    SameName {
        /// The name.
        name: String,
    },
    /// A name that is none.
    #[error(
        "`{name}` is no field name: a letter, then letters, digits and `_`, \
         at most {NAME_BYTES_MAX} bytes"
    )]
    BadName {
        /// The name.
        name: String,
    },
    /// A text without capacity.
    #[error("field `{name}` is text(0); a text holds 1 to {TEXT_BYTES_MAX} bytes")]
    NoCapacity {
        /// The field.
        name: String,
    },
    /// The row would be too large.
    #[error(
        "a row takes {row_bytes} bytes; at most {} are possible",
        crate::limits::ROW_BYTES_MAX
    )]
    RowTooLarge {
        /// Bytes of the row.
        row_bytes: usize,
    },
}

/// The fields of a stream and the layout of its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// Low 32 bits of XXH3-64 of [`Schema::description`].
    pub id: u32,
    /// The fields by ascending id; everywhere else a field is its index in this list.
    pub fields: Vec<Field>,
    /// Bytes of a row, a multiple of 8.
    pub row_bytes: u16,
    null_offset: u16,
    checks: Box<[Check]>,
    defaults: Option<Defaults>,
}

impl Schema {
    /// Checks and lays out fields, given in any order.
    pub fn new(mut specs: Vec<FieldSpec>) -> Result<Schema, SchemaError> {
        specs.sort_by_key(|spec| spec.id);
        check_specs(&specs)?;
        let layout =
            row::layout(specs).map_err(|row_bytes| SchemaError::RowTooLarge { row_bytes })?;
        let checks = check::compile(&layout);
        let description = describe(&layout.fields);
        Ok(Schema {
            id: xxhash_rust::xxh3::xxh3_64(description.as_bytes()) as u32,
            row_bytes: layout.row_bytes as u16,
            null_offset: layout.null_offset as u16,
            checks,
            defaults: None,
            fields: layout.fields,
        })
    }

    /// The canonical description that [`Schema::id`] is a digest of: a head line, then one line
    /// `ID NAME TYPE required|optional` per field by ascending id, each ended by a line feed.
    pub fn description(&self) -> String {
        describe(&self.fields)
    }

    /// Reads [`Schema::description`]; `None` if it is none.
    pub fn parse_description(text: &str) -> Option<Schema> {
        widen::parse_description(text)
    }

    /// Bytes of a row.
    #[inline]
    pub fn row_len(&self) -> usize {
        usize::from(self.row_bytes)
    }

    /// The index of a field by name.
    pub fn field(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }

    /// The fields as they were declared, by ascending id.
    pub fn specs(&self) -> Vec<FieldSpec> {
        let spec = |field: &Field| FieldSpec {
            id: field.id,
            name: field.name.clone(),
            kind: field.kind,
            optional: field.optional,
        };
        self.fields.iter().map(spec).collect()
    }

    /// Checks everything about a row that does not depend on the clock or on other rows. Allocates
    /// nothing.
    ///
    /// # Panics
    /// If `row` is not exactly [`Schema::row_bytes`] long.
    #[inline]
    pub fn validate(&self, row: &[u8]) -> Result<(), Reject> {
        assert_eq!(
            row.len(),
            self.row_len(),
            "invariant: the frame was split into rows"
        );
        for check in &self.checks {
            check.run(row, self.null_offset)?;
        }
        Ok(())
    }

    /// Whether the field is null in this row.
    #[inline]
    pub fn is_null(&self, row: &[u8], field: usize) -> bool {
        match self.fields[field].null_bit {
            Some(bit) => check::null_bit(row, self.null_offset, bit),
            None => false,
        }
    }

    /// The value of a field. The row should have passed [`Schema::validate`]; text of one that did
    /// not, and is not UTF-8, is read as empty.
    #[inline]
    pub fn value<'r>(&self, row: &'r [u8], field: usize) -> Value<'r> {
        if self.is_null(row, field) {
            return Value::Null;
        }
        let Field { kind, offset, .. } = self.fields[field];
        match kind {
            FieldType::U64 => Value::U64(row::read_u64(row, offset)),
            FieldType::I64 => Value::I64(row::read_i64(row, offset)),
            FieldType::F64 => Value::F64(row::read_f64(row, offset)),
            FieldType::Time => Value::Time(row::read_i64(row, offset)),
            FieldType::Bool => Value::Bool(row[usize::from(offset)] != 0),
            FieldType::Uuid => Value::Uuid(row::read_uuid(row, offset)),
            FieldType::Text(capacity) => {
                let bytes = row::text_bytes(row, offset, capacity);
                Value::Text(std::str::from_utf8(bytes).unwrap_or_default())
            }
        }
    }

    /// The event time of a row whose time field is `field`: a required field of type `time`.
    #[inline]
    pub fn time_ms(&self, row: &[u8], field: usize) -> i64 {
        row::read_i64(row, self.fields[field].offset)
    }

    /// The bytes that keys, groups and members are hashed and compared by: 8 little-endian bytes of
    /// a number, 16 of a uuid, 1 of a bool, the UTF-8 of a text without its length, none of a null.
    #[inline]
    pub fn canonical_bytes<'r>(&self, row: &'r [u8], field: usize) -> &'r [u8] {
        if self.is_null(row, field) {
            return &[];
        }
        let Field { kind, offset, .. } = self.fields[field];
        match kind {
            FieldType::Text(capacity) => row::text_bytes(row, offset, capacity),
            other => {
                let at = usize::from(offset);
                &row[at..at + other.cell_bytes()]
            }
        }
    }

    /// The value of canonical bytes of a field. No bytes are null, or the empty text if the field
    /// is a required text; `None` if they are no value of the field.
    pub fn value_of_canonical<'b>(&self, field: usize, bytes: &'b [u8]) -> Option<Value<'b>> {
        let field = &self.fields[field];
        if bytes.is_empty() && field.optional {
            return Some(Value::Null);
        }
        Value::from_canonical(field.kind, bytes)
    }

    /// Writes a value into a row; [`Value::Null`] clears the cell and sets the null bit.
    ///
    /// A fresh row is all zeros, in which every field is present: 0, false or empty.
    pub fn set(&self, row: &mut [u8], field: usize, value: &Value<'_>) -> Result<(), Reject> {
        assert_eq!(row.len(), self.row_len(), "invariant: a row of this schema");
        let Field {
            kind,
            offset,
            null_bit,
            ..
        } = self.fields[field];
        let refuse = |reason| Reject::of_field(reason, field as u8);
        let at = usize::from(offset);
        match (*value, kind) {
            (Value::Null, _) => {
                let bit = null_bit.ok_or(refuse(RejectReason::Missing))?;
                row[at..at + kind.cell_bytes()].fill(0);
                check::set_null_bit(row, self.null_offset, bit, true);
                return Ok(());
            }
            (Value::U64(v), FieldType::U64) => row[at..at + 8].copy_from_slice(&v.to_le_bytes()),
            (Value::I64(v), FieldType::I64) => row[at..at + 8].copy_from_slice(&v.to_le_bytes()),
            (Value::F64(v), FieldType::F64) => {
                let v = value::finite(v).map_err(refuse)?;
                row[at..at + 8].copy_from_slice(&v.to_le_bytes());
            }
            (Value::Time(v), FieldType::Time) => {
                let v = value::time(v).map_err(refuse)?;
                row[at..at + 8].copy_from_slice(&v.to_le_bytes());
            }
            (Value::Bool(v), FieldType::Bool) => row[at] = u8::from(v),
            (Value::Uuid(v), FieldType::Uuid) => row[at..at + 16].copy_from_slice(&v),
            (Value::Text(v), FieldType::Text(capacity)) => {
                if v.len() > usize::from(capacity) {
                    return Err(refuse(RejectReason::TextTooLong));
                }
                row::write_text(row, offset, capacity, v.as_bytes());
            }
            _ => return Err(refuse(RejectReason::WrongType)),
        }
        if let Some(bit) = null_bit {
            check::set_null_bit(row, self.null_offset, bit, false);
        }
        Ok(())
    }
}

fn check_specs(specs: &[FieldSpec]) -> Result<(), SchemaError> {
    if specs.is_empty() {
        return Err(SchemaError::NoFields);
    }
    if specs.len() > FIELDS_MAX {
        return Err(SchemaError::TooManyFields { count: specs.len() });
    }
    let mut names = std::collections::BTreeSet::new();
    for (index, spec) in specs.iter().enumerate() {
        let name = spec.name.clone();
        if spec.id == 0 {
            return Err(SchemaError::ZeroId { name });
        }
        if !is_identifier(&name) {
            return Err(SchemaError::BadName { name });
        }
        if spec.kind == FieldType::Text(0) {
            return Err(SchemaError::NoCapacity { name });
        }
        if !names.insert(spec.name.as_str()) {
            return Err(SchemaError::SameName { name });
        }
        if index > 0 && specs[index - 1].id == spec.id {
            let first = specs[index - 1].name.clone();
            return Err(SchemaError::SameId {
                id: spec.id,
                first,
                second: name,
            });
        }
    }
    Ok(())
}

/// Whether `name` may name a field or a column: a letter, then letters, digits and `_`.
pub(crate) fn is_identifier(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn describe(fields: &[Field]) -> String {
    let mut out = format!("{DESCRIPTION_HEAD}\n");
    for Field {
        id,
        name,
        kind,
        optional,
        ..
    } in fields
    {
        let presence = if *optional { "optional" } else { "required" };
        out.push_str(&format!("{id} {name} {kind} {presence}\n"));
    }
    out
}

#[cfg(test)]
mod tests;
