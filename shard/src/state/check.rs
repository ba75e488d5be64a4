//! The first pass over a batch: which rows count, and what becomes of those that do not.

use super::{Outcome, REJECTED_KEPT, ShardState, Source};
use crate::entry::EventBatch;
use crate::partition::{group_of, key_hash, shard_of};
use crate::pipeline::Stream;
use crate::query::RejectedEvent;
use crate::reject::{Reject, RejectReason};
use std::collections::VecDeque;
use std::sync::Arc;

impl ShardState {
    /// First pass: which rows count, and their event times.
    pub(super) fn check_rows(
        &mut self,
        source: Source,
        batch: &EventBatch<'_>,
        lsn: u64,
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
        let future_limit_ms = self.streams[index].clock.future_limit_ms(batch.stamp_ns);
        self.scratch.picks.clear();
        self.scratch.times_ms.clear();
        for (row_index, row) in batch.rows.chunks_exact(row_bytes).enumerate() {
            if matches!(source, Source::Inherited(_)) && !self.owns(stream, row) {
                continue;
            }
            let time_ms = stream.schema.time_ms(row, stream.time.field);
            let verdict = stream.schema.validate(row).and_then(|()| {
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
                Err(reject) => self.reject(batch, row_index, lsn, reject, outcome),
            }
        }
        outcome.accepted = self.scratch.picks.len() as u32;
    }

    fn owns(&self, stream: &Stream, row: &[u8]) -> bool {
        let group = group_of(key_hash(stream.schema.canonical_bytes(row, stream.key)));
        shard_of(group, usize::from(self.place.shards)) == usize::from(self.place.shard)
    }

    #[cold]
    fn reject(
        &mut self,
        batch: &EventBatch<'_>,
        row_index: usize,
        lsn: u64,
        reject: Reject,
        outcome: &mut Outcome,
    ) {
        let index = usize::from(batch.stream);
        let sequence = batch.sequence(row_index);
        outcome.rejected += 1;
        outcome.first_reject.get_or_insert((sequence, reject));
        self.counters[index].rejected[reject.reason.index()] += 1;
        let event = RejectedEvent {
            stamp_ns: batch.stamp_ns,
            producer: batch.producer.0,
            sequence,
            reason: reject.reason.code(),
            field: reject.field,
            lsn,
        };
        keep_rejected(&mut self.streams[index].rejected, event);
    }
}

/// Keeps the latest rejected events by stamp. Live they come in order; replay of several older logs
/// may interleave them in any way, which must not show.
fn keep_rejected(kept: &mut VecDeque<RejectedEvent>, event: RejectedEvent) {
    let order = |event: &RejectedEvent| (event.stamp_ns, event.producer, event.sequence);
    let newer = kept
        .iter()
        .rev()
        .take_while(|other| order(other) > order(&event))
        .count();
    if newer == REJECTED_KEPT {
        return;
    }
    if kept.len() == REJECTED_KEPT {
        kept.pop_front();
    }
    kept.insert(kept.len() - newer, event);
}
