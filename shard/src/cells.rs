//! Values as the cells that a row would hold them in, one behind the other: what a board is split
//! by, and what it shows beside a score.

use crate::pipeline::Stream;
use crate::schema::{FieldType, Schema};
use crate::source::{CELL_BYTES_MAX, Source};
use crate::value::Value;
use crate::window::Accepted;

/// Where cells come from.
#[derive(Debug, Clone)]
pub(crate) struct CellsPlan {
    cells: Vec<(Source, FieldType)>,
}

impl CellsPlan {
    pub(crate) fn new(stream: &Stream, columns: &[usize]) -> Self {
        let cell = |&column: &usize| (Source::new(stream, column), stream.column(column).kind);
        Self {
            cells: columns.iter().map(cell).collect(),
        }
    }

    /// Appends the cells of the event at index `pick`; false, with some of them appended, if one
    /// has no value.
    #[inline]
    pub(crate) fn append(
        &self,
        schema: &Schema,
        batch: &Accepted<'_>,
        pick: u32,
        out: &mut Vec<u8>,
    ) -> bool {
        let mut buffer = [0; CELL_BYTES_MAX];
        for &(source, kind) in &self.cells {
            let Some(cell) = source.cell(schema, batch, pick, kind, &mut buffer) else {
                return false;
            };
            out.extend_from_slice(cell);
        }
        true
    }

    /// Appends a flag and the cell for each column of the event at index `pick`: without a value
    /// both are zero.
    pub(crate) fn append_nullable(
        &self,
        schema: &Schema,
        batch: &Accepted<'_>,
        pick: u32,
        out: &mut Vec<u8>,
    ) {
        let mut buffer = [0; CELL_BYTES_MAX];
        for &(source, kind) in &self.cells {
            let cell = source.cell(schema, batch, pick, kind, &mut buffer);
            out.push(u8::from(cell.is_some()));
            let end = out.len() + kind.cell_bytes();
            out.extend_from_slice(cell.unwrap_or_default());
            out.resize(end, 0);
        }
    }
}

/// Bytes of the cells of these columns.
pub fn cells_bytes(stream: &Stream, columns: &[usize]) -> usize {
    let bytes = |column: &usize| stream.column(*column).kind.cell_bytes();
    columns.iter().map(bytes).sum()
}

/// Appends a value, not null, as the cell of its type; false if it is none of the type.
pub fn write_cell(kind: FieldType, value: &Value<'_>, out: &mut Vec<u8>) -> bool {
    let at = out.len();
    if let Value::Text(text) = value {
        let Ok(length) = u8::try_from(text.len()) else {
            return false;
        };
        out.push(length);
    }
    value.write_canonical(out);
    let fits = match (kind, value) {
        (_, Value::Null) => false,
        (FieldType::Text(_), Value::Text(_)) => out.len() - at <= kind.cell_bytes(),
        (FieldType::Text(_), _) | (_, Value::Text(_)) => false,
        _ => Value::from_canonical(kind, &out[at..]).is_some_and(|read| read == *value),
    };
    out.resize(at + kind.cell_bytes(), 0);
    fits
}

/// Reads one cell from the front of `bytes`, and what follows; `None` if it is none of the type.
pub fn read_cell(kind: FieldType, bytes: &[u8]) -> Option<(Value<'_>, &[u8])> {
    let (cell, rest) = bytes.split_at_checked(kind.cell_bytes())?;
    let value = match kind {
        FieldType::Text(_) => {
            let text = cell.get(1..1 + usize::from(cell[0]))?;
            Value::Text(std::str::from_utf8(text).ok()?)
        }
        kind => Value::from_canonical(kind, cell)?,
    };
    Some((value, rest))
}

/// The values of the cells of these columns; `None` if the bytes are none of them.
pub fn read_cells<'b>(
    stream: &Stream,
    columns: &[usize],
    mut bytes: &'b [u8],
) -> Option<Vec<Value<'b>>> {
    let mut values = Vec::with_capacity(columns.len());
    for &column in columns {
        let (value, rest) = read_cell(stream.column(column).kind, bytes)?;
        values.push(value);
        bytes = rest;
    }
    bytes.is_empty().then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_all_types_read_back() {
        let cases = [
            (FieldType::U64, Value::U64(u64::MAX)),
            (FieldType::I64, Value::I64(-5)),
            (FieldType::F64, Value::F64(-2.5)),
            (FieldType::Bool, Value::Bool(true)),
            (FieldType::Time, Value::Time(1_700_000_000_000)),
            (FieldType::Uuid, Value::Uuid([7; 16])),
            (FieldType::Text(11), Value::Text("north")),
            (FieldType::Text(5), Value::Text("north")),
            (FieldType::Text(255), Value::Text("")),
        ];
        for (kind, value) in cases {
            let mut bytes = Vec::new();
            assert!(write_cell(kind, &value, &mut bytes), "{kind}");
            assert_eq!(bytes.len(), kind.cell_bytes());
            let (read, rest) = read_cell(kind, &bytes).unwrap();
            assert_eq!((read, rest.len()), (value, 0), "{kind}");
        }
    }

    #[test]
    fn values_of_another_type_and_broken_cells_are_refused() {
        let mut bytes = Vec::new();
        assert!(!write_cell(
            FieldType::Text(4),
            &Value::Text("north"),
            &mut bytes
        ));
        assert!(!write_cell(FieldType::Text(9), &Value::U64(5), &mut bytes));
        assert!(!write_cell(FieldType::U64, &Value::Null, &mut bytes));
        assert!(!write_cell(FieldType::Uuid, &Value::U64(5), &mut bytes));
        assert!(read_cell(FieldType::Text(4), &[9, 0, 0, 0, 0]).is_none());
        assert!(read_cell(FieldType::Text(4), &[1, 0xff, 0, 0, 0]).is_none());
        assert!(read_cell(FieldType::U64, &[0; 7]).is_none());
    }
}
