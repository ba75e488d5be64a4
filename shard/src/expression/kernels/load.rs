//! Fields of rows into registers.

use super::{Batch, Bytes, Register};
use crate::expression::reason::state;
use crate::row;
use crate::schema::FieldType;

/// Loads a field. The cells of rows that were refused are read like any other.
pub(super) fn field(batch: &Batch<'_>, index: usize, out: &mut Register) {
    let field = &batch.schema.fields[index];
    let offset = field.offset;
    match field.kind {
        FieldType::U64 | FieldType::I64 | FieldType::Time => {
            values(batch, out, |row, _| row::read_u64(row, offset));
        }
        FieldType::F64 => values(batch, out, |row, _| row::read_f64(row, offset).to_bits()),
        FieldType::Bool => {
            values(batch, out, |row, _| {
                u64::from(row[usize::from(offset)] != 0)
            });
        }
        FieldType::Uuid => {
            let place = |at: usize| Bytes::in_rows(at + usize::from(offset), 16).0;
            values(batch, out, |_, at| place(at));
        }
        FieldType::Text(capacity) => values(batch, out, |row, at| {
            let length = row::text_bytes(row, offset, capacity).len();
            Bytes::in_rows(at + usize::from(offset) + 1, length).0
        }),
    }
    if field.optional {
        let rows = rows(batch);
        for ((_, row), state) in rows.zip(&mut out.states[..batch.count]) {
            *state = match batch.schema.is_null(row, index) {
                true => state::NULL,
                false => state::VALUE,
            };
        }
    }
}

/// Offsets and bytes of the rows of the chunk.
fn rows<'a>(batch: &Batch<'a>) -> impl Iterator<Item = (usize, &'a [u8])> + use<'a> {
    let row_bytes = batch.schema.row_len();
    let first = batch.first * row_bytes;
    let rows = &batch.rows[first..first + batch.count * row_bytes];
    let offsets = (first..).step_by(row_bytes);
    offsets.zip(rows.chunks_exact(row_bytes))
}

#[inline]
fn values(batch: &Batch<'_>, out: &mut Register, read: impl Fn(&[u8], usize) -> u64) {
    for ((at, row), value) in rows(batch).zip(&mut out.values[..batch.count]) {
        *value = read(row, at);
    }
}
