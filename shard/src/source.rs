//! Where a view or board reads a column of an event: a cell of the row, or a computed column.

use crate::pipeline::Stream;
use crate::row;
use crate::schema::{FieldType, Schema};
use crate::window::Accepted;

/// Bytes of the largest cell, that of `text(255)`.
pub(crate) const CELL_BYTES_MAX: usize = 256;

/// Where the values of a column of 8-byte values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The cell at an offset of the row; and its field, if that may be null.
    Cell {
        offset: u16,
        optional: Option<usize>,
    },
    /// A computed column, by its index among the columns of the stream.
    Computed(usize),
}

impl Source {
    pub(crate) fn new(stream: &Stream, column: usize) -> Self {
        match stream.schema.fields.get(column) {
            None => Self::Computed(column),
            Some(field) => Self::Cell {
                offset: field.offset,
                optional: field.optional.then_some(column),
            },
        }
    }

    /// The bits of the column for the event at index `pick`, whose row is `row`; `None` if it has
    /// no value. A -0.0 of a row is still one.
    #[inline]
    pub(crate) fn bits(
        self,
        schema: &Schema,
        batch: &Accepted<'_>,
        row: &[u8],
        pick: u32,
    ) -> Option<u64> {
        match self {
            Self::Cell { offset, optional } => {
                let absent = optional.is_some_and(|field| schema.is_null(row, field));
                (!absent).then(|| row::read_u64(row, offset))
            }
            Self::Computed(column) => batch.computed.bits(column, pick as usize),
        }
    }

    /// The value of the event at index `pick` as the cell of a field holds it, borrowed from the
    /// row or written to `buffer`; `None` if it has no value.
    #[inline]
    pub(crate) fn cell<'c>(
        self,
        schema: &Schema,
        batch: &Accepted<'c>,
        pick: u32,
        kind: FieldType,
        buffer: &'c mut [u8; CELL_BYTES_MAX],
    ) -> Option<&'c [u8]> {
        match self {
            Self::Cell { offset, optional } => {
                let at = pick as usize * schema.row_len();
                let row = &batch.rows[at..at + schema.row_len()];
                let absent = optional.is_some_and(|field| schema.is_null(row, field));
                let at = usize::from(offset);
                (!absent).then(|| &row[at..at + kind.cell_bytes()])
            }
            Self::Computed(column) => {
                let cell = &mut buffer[..kind.cell_bytes()];
                write_computed(batch, (column, pick as usize), kind, cell).then_some(&*cell)
            }
        }
    }
}

/// Writes a computed value as the cell of a field would hold it; false, and zeros, if there is none.
pub(crate) fn write_computed(
    batch: &Accepted<'_>,
    (column, row): (usize, usize),
    kind: FieldType,
    cell: &mut [u8],
) -> bool {
    cell.fill(0);
    let Some(bits) = batch.computed.bits(column, row) else {
        return false;
    };
    match kind {
        FieldType::Bool => cell[0] = bits as u8,
        FieldType::Uuid | FieldType::Text(_) => {
            let bytes = batch.computed.bytes(batch.rows, column, row);
            let bytes = bytes.unwrap_or_default();
            let at = usize::from(kind != FieldType::Uuid);
            if at > 0 {
                cell[0] = bytes.len() as u8;
            }
            cell[at..at + bytes.len()].copy_from_slice(bytes);
        }
        _ => cell.copy_from_slice(&bits.to_le_bytes()),
    }
    true
}
