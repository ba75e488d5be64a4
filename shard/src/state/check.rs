//! The first pass over a batch: which rows count.

use super::former::AsItCame;
use super::{Outcome, ShardState, Source};
use crate::board::Origin;
use crate::entry::EventBatch;
use crate::partition::{group_of, key_hash, shard_of};
use crate::pipeline::Stream;
use crate::reject::{Reject, RejectReason};
use std::sync::Arc;

impl ShardState {
    /// First pass: which rows obey the rules of their stream, and their event times. Rows that were
    /// widened are judged as they `came`.
    pub(super) fn check_rows(
        &mut self,
        source: Source,
        batch: &EventBatch<'_>,
        came: Option<&EventBatch<'_>>,
        origin: Origin,
        outcome: &mut Outcome,
    ) {
        let index = usize::from(batch.stream);
        let pipeline = Arc::clone(&self.pipeline);
        let stream = &pipeline.streams[index];
        let row_bytes = stream.schema.row_len();
        assert!(
            batch.rows.len() == batch.count as usize * row_bytes,
            "invariant: a batch holds rows of its stream"
        );
        let came = came.map(|came| AsItCame::of(stream, came));
        let future_limit_ms = self.streams[index].clock.future_limit_ms(batch.stamp_ns);
        self.scratch.picks.clear();
        self.scratch.times_ms.clear();
        for (row_index, row) in batch.rows.chunks_exact(row_bytes).enumerate() {
            if matches!(source, Source::Inherited(_)) && !self.owns(stream, row) {
                continue;
            }
            let time_ms = stream.schema.time_ms(row, stream.time.field);
            let valid = match &came {
                None => stream.schema.validate(row),
                // Former schemas know the types of fields, not their limits.
                Some(came) => came
                    .validate(row_index)
                    .and_then(|()| stream.schema.validate(row)),
            };
            let verdict = valid.and_then(|()| {
                if time_ms > future_limit_ms {
                    let field = stream.time.field as u8;
                    return Err(Reject::of_field(RejectReason::FutureTime, field));
                }
                Ok(())
            });
            match verdict {
                Ok(()) => {
                    self.scratch.picks.push(row_index as u32);
                    self.scratch.times_ms.push(time_ms);
                }
                Err(reject) => self.reject(batch, row_index, origin, reject, outcome),
            }
        }
        outcome.accepted = self.scratch.picks.len() as u32;
    }

    pub(super) fn owns(&self, stream: &Stream, row: &[u8]) -> bool {
        let group = group_of(key_hash(stream.schema.canonical_bytes(row, stream.key)));
        shard_of(group, usize::from(self.place.shards)) == usize::from(self.place.shard)
    }
}
