//! Batches whose rows were written with a former schema: widened first, judged as they came.
//!
//! The log keeps such rows as they are, so replay takes the same way.

use super::{Outcome, ShardState, Source};
use crate::entry::EventBatch;
use crate::pipeline::{Former, Stream};
use crate::reject::Reject;

/// Rows before they were widened.
#[derive(Clone, Copy)]
pub(super) struct AsItCame<'a> {
    former: &'a Former,
    rows: &'a [u8],
}

impl<'a> AsItCame<'a> {
    /// The rows of a batch of a former schema.
    pub(super) fn of(stream: &'a Stream, batch: &EventBatch<'a>) -> AsItCame<'a> {
        AsItCame {
            former: former(stream, batch.schema_id),
            rows: batch.rows,
        }
    }

    /// Judges a row; a field that is to blame is named by its place in the schema in force.
    pub(super) fn validate(&self, row_index: usize) -> Result<(), Reject> {
        let widening = &self.former.widening;
        let row_bytes = widening.from().row_len();
        let row = &self.rows[row_index * row_bytes..(row_index + 1) * row_bytes];
        widening.from().validate(row).map_err(|reject| {
            let field = usize::from(reject.field);
            match field < widening.from().fields.len() {
                true => Reject::of_field(reject.reason, widening.place(field) as u8),
                false => reject,
            }
        })
    }
}

fn former(stream: &Stream, schema_id: u32) -> &Former {
    let former = stream.former(schema_id);
    former.expect("invariant: a batch was written with a schema of its stream")
}

impl ShardState {
    /// Applies a batch of a former schema.
    #[cold]
    pub(super) fn apply_former(
        &mut self,
        source: Source,
        batch: &EventBatch<'_>,
        lsn: u64,
        outcome: &mut Outcome,
    ) {
        let mut rows = std::mem::take(&mut self.scratch.widened);
        let stream = &self.pipeline.streams[usize::from(batch.stream)];
        former(stream, batch.schema_id)
            .widening
            .widen(batch.rows, &mut rows);
        let widened = EventBatch {
            schema_id: stream.schema.id,
            rows: &rows,
            ..*batch
        };
        self.apply_rows(source, &widened, Some(batch), lsn, outcome);
        self.scratch.widened = rows;
    }
}
