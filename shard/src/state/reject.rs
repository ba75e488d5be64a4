//! Events that break a rule of their stream or were stored before: counted, and the latest ones
//! kept to be read.

use super::Outcome;
use super::ShardState;
use crate::board::Origin;
use crate::dedupe::DuplicateCause;
use crate::entry::EventBatch;
use crate::limits::SIDE_EVENTS_MAX;
use crate::query::{DuplicateEvent, DuplicateRun, RejectedEvent};
use crate::reject::Reject;
use std::collections::VecDeque;

impl ShardState {
    /// Counts duplicates that `admit` found in a batch. They are not logged, so this is no part of
    /// the recorded state.
    pub fn count_duplicates(&mut self, batch: &EventBatch<'_>, duplicates: u32) {
        let stream = usize::from(batch.stream);
        self.counters[stream].duplicates[DuplicateCause::Producer.index()] += u64::from(duplicates);
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
        // Passes over the batch reject one after the other, each in order.
        if outcome
            .first_reject
            .is_none_or(|(first, _)| sequence < first)
        {
            outcome.first_reject = Some((sequence, reject));
        }
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
        keep_latest(
            &mut self.streams[index].rejected,
            event,
            batch.row(row_index),
        );
    }
}

/// An event beside the state, with its row.
pub(super) trait SideEvent {
    /// Its place among those of its stream.
    fn order(&self) -> (u64, u128, u64);
    /// Its row.
    fn row(&mut self) -> &mut Vec<u8>;
}

impl SideEvent for RejectedEvent {
    fn order(&self) -> (u64, u128, u64) {
        (self.stamp_ns, self.producer, self.sequence)
    }

    fn row(&mut self) -> &mut Vec<u8> {
        &mut self.row
    }
}

impl SideEvent for DuplicateEvent {
    fn order(&self) -> (u64, u128, u64) {
        (self.stamp_ns, self.producer, self.sequence)
    }

    fn row(&mut self) -> &mut Vec<u8> {
        &mut self.row
    }
}

/// Keeps the latest events by stamp. Live they come in order; replay of several older logs may
/// interleave them in any way, which must not show. The row is copied into memory of an event that
/// has to go.
pub(super) fn keep_latest<T: SideEvent>(kept: &mut VecDeque<T>, mut event: T, row: &[u8]) {
    let newer = kept
        .iter()
        .rev()
        .take_while(|other| other.order() > event.order())
        .count();
    if newer == SIDE_EVENTS_MAX {
        return;
    }
    if kept.len() == SIDE_EVENTS_MAX
        && let Some(mut oldest) = kept.pop_front()
    {
        *event.row() = std::mem::take(oldest.row());
    }
    event.row().clear();
    event.row().extend_from_slice(row);
    kept.insert(kept.len() - newer, event);
}
