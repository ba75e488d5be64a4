//! The bytes of a group: what events of a view are told apart by.

use super::Accepted;
use crate::pipeline::{Stream, View};
use crate::schema::{FieldType, Schema};
use crate::source::write_computed;
use crate::value::Value;

/// One part of a group's bytes.
#[derive(Debug, Clone, Copy)]
enum GroupCell {
    /// Offset and length of a field's cell; and the field itself, if it is optional.
    Row(usize, usize, Option<usize>),
    /// A computed column, its type, and whether it is optional.
    Computed(usize, FieldType, bool),
}

/// Where the bytes of a group come from: the cells of its fields, as they stand in the row, and
/// computed columns in the same form.
///
/// Cells of valid rows are canonical (unused bytes are zero), so equal groups are equal bytes.
#[derive(Debug, Clone)]
pub(super) struct GroupPlan {
    cells: Vec<GroupCell>,
    /// Bytes of every group.
    pub(super) bytes: usize,
}

impl GroupPlan {
    pub(super) fn new(stream: &Stream, columns: &[usize]) -> Self {
        let (mut cells, mut bytes) = (Vec::new(), 0);
        for &index in columns {
            let column = stream.column(index);
            bytes += column.kind.cell_bytes() + usize::from(column.optional);
            cells.push(match stream.schema.fields.get(index) {
                None => GroupCell::Computed(index, column.kind, column.optional),
                Some(field) => {
                    let optional = field.optional.then_some(index);
                    GroupCell::Row(usize::from(field.offset), field.kind.cell_bytes(), optional)
                }
            });
        }
        Self { cells, bytes }
    }

    /// The group's bytes, borrowed from the row where it is one required field.
    #[inline]
    pub(super) fn key<'r>(
        &self,
        schema: &Schema,
        batch: &Accepted<'r>,
        pick: u32,
        scratch: &'r mut Vec<u8>,
    ) -> &'r [u8] {
        let at = pick as usize * schema.row_len();
        let row = &batch.rows[at..at + schema.row_len()];
        if let [GroupCell::Row(offset, bytes, None)] = self.cells[..] {
            return &row[offset..offset + bytes];
        }
        scratch.clear();
        for &cell in &self.cells {
            match cell {
                GroupCell::Row(offset, bytes, optional) => {
                    if let Some(field) = optional {
                        scratch.push(u8::from(!schema.is_null(row, field)));
                    }
                    scratch.extend_from_slice(&row[offset..offset + bytes]);
                }
                // There is no error here: the gate holds such events back.
                GroupCell::Computed(column, kind, optional) => {
                    let at = scratch.len() + usize::from(optional);
                    scratch.resize(at + kind.cell_bytes(), 0);
                    let place = (column, pick as usize);
                    let present = write_computed(batch, place, kind, &mut scratch[at..]);
                    if optional {
                        scratch[at - 1] = u8::from(present);
                    }
                }
            }
        }
        scratch
    }
}

/// A hash for tables inside one window; no format, so that it may be cheap.
#[inline]
pub(super) fn group_hash(key: &[u8]) -> u64 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let fold = |hash: u64, word: u64| {
        let product = u128::from(hash ^ word) * u128::from(MIX);
        (product >> 64) as u64 ^ product as u64
    };
    let (words, tail) = key.as_chunks::<8>();
    let mut hash = MIX ^ key.len() as u64;
    for word in words {
        hash = fold(hash, u64::from_le_bytes(*word));
    }
    // The last eight bytes, some of them again, are one load; copying the tail is a call.
    match key.last_chunk::<8>() {
        _ if tail.is_empty() => {}
        Some(last) => hash = fold(hash, u64::from_le_bytes(*last)),
        None => {
            let word = tail
                .iter()
                .fold(0, |word, &byte| word << 8 | u64::from(byte));
            hash = fold(hash, word);
        }
    }
    fold(hash, MIX.rotate_left(32))
}

/// The values of a group from the bytes that an answer carries; `None` if they are none of `view`.
pub fn group_values<'b>(
    view: &View,
    stream: &Stream,
    mut bytes: &'b [u8],
) -> Option<Vec<Value<'b>>> {
    let mut values = Vec::with_capacity(view.group.len());
    for &index in &view.group {
        let column = stream.column(index);
        let mut present = true;
        if column.optional {
            let (flag, rest) = bytes.split_first()?;
            present = *flag == 1;
            bytes = rest;
        }
        let (cell, rest) = bytes.split_at_checked(column.kind.cell_bytes())?;
        bytes = rest;
        values.push(match column.kind {
            _ if !present => Value::Null,
            FieldType::Text(_) => {
                let text = cell.get(1..1 + usize::from(cell[0]))?;
                Value::Text(std::str::from_utf8(text).ok()?)
            }
            kind => Value::from_canonical(kind, cell)?,
        });
    }
    bytes.is_empty().then_some(values)
}
