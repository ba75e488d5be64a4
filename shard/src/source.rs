//! Where a view or board reads a column of an event: a cell of the row, or a computed column.

use crate::pipeline::Stream;
use crate::row;
use crate::schema::Schema;
use crate::window::Accepted;

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
}
