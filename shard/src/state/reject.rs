//! Events that break a rule of their stream or were stored before: counted, and the latest ones
//! kept to be read.

use super::Outcome;
use super::ShardState;
use crate::board::Origin;
use crate::entry::EventBatch;
use crate::limits::SIDE_EVENTS_MAX;
use crate::query::{DuplicateRun, RejectedEvent};
use crate::reject::Reject;
use std::collections::VecDeque;

impl ShardState {
    /// Counts duplicates that `admit` found in a batch. They are not logged, so this is no part of
    /// the recorded state.
    pub fn count_duplicates(&mut self, batch: &EventBatch<'_>, duplicates: u32) {
        let stream = usize::from(batch.stream);
        self.counters[stream].duplicates += u64::from(duplicates);
        self.dedupe.count_duplicates(batch.producer, duplicates);
        let kept = &mut self.streams[stream].duplicates;
        if kept.len() == SIDE_EVENTS_MAX {
            kept.pop_front();
        }
        kept.push_back(DuplicateRun {
            stamp_ns: batch.stamp_ns,
            producer: batch.producer.0,
            epoch: batch.epoch,
            first_sequence: batch.first_sequence,
            last_sequence: batch.last_sequence(),
            duplicates,
        });
    }

    #[cold]
    pub(super) fn reject(
        &mut self,
        batch: &EventBatch<'_>,
        row_index: usize,
        origin: Origin,
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
            log_stream: origin.log_stream,
            lsn: origin.lsn,
            index: row_index as u32,
            row: Vec::new(),
        };
        keep_rejected(
            &mut self.streams[index].rejected,
            event,
            batch.row(row_index),
        );
    }
}

/// Keeps the latest rejected events by stamp. Live they come in order; replay of several older logs
/// may interleave them in any way, which must not show. The row is copied into memory of an event
/// that has to go.
fn keep_rejected(kept: &mut VecDeque<RejectedEvent>, mut event: RejectedEvent, row: &[u8]) {
    let order = |event: &RejectedEvent| (event.stamp_ns, event.producer, event.sequence);
    let newer = kept
        .iter()
        .rev()
        .take_while(|other| order(other) > order(&event))
        .count();
    if newer == SIDE_EVENTS_MAX {
        return;
    }
    if kept.len() == SIDE_EVENTS_MAX
        && let Some(oldest) = kept.pop_front()
    {
        event.row = oldest.row;
    }
    event.row.clear();
    event.row.extend_from_slice(row);
    kept.insert(kept.len() - newer, event);
}
