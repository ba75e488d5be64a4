//! Duplicates by fields in the passes over a batch, and what other parts may ask of them.

use super::reject::keep_latest;
use super::{Outcome, ShardState, Source};
use crate::board::Origin;
use crate::dedupe::fields::{Moment, Verdict};
use crate::dedupe::{DuplicateCause, EventId};
use crate::entry::EventBatch;
use crate::query::DuplicateEvent;
use crate::reject::{Reject, RejectReason};
use std::sync::Arc;

impl ShardState {
    /// Second pass: takes the rows out whose id is spent, and spends those of the others.
    #[inline]
    pub(super) fn drop_repeats(
        &mut self,
        source: Source,
        batch: &EventBatch<'_>,
        origin: Origin,
        outcome: &mut Outcome,
    ) {
        if self.streams[usize::from(batch.stream)].dedupe.is_some() && outcome.accepted > 0 {
            self.judge_rows(source, batch, origin, outcome);
        }
    }

    fn judge_rows(
        &mut self,
        source: Source,
        batch: &EventBatch<'_>,
        origin: Origin,
        outcome: &mut Outcome,
    ) {
        let index = usize::from(batch.stream);
        let pipeline = Arc::clone(&self.pipeline);
        let stream = &pipeline.streams[index];
        let (Some(rule), Some(mut dedupe)) = (&stream.dedupe, self.streams[index].dedupe.take())
        else {
            unreachable!("invariant: the stream has a rule and its memory");
        };
        let older = std::mem::take(&mut self.place.older);
        let moment = Moment {
            stamp_ns: batch.stamp_ns,
            inherited: match source {
                Source::Inherited(log_stream) => Some(log_stream),
                Source::Live | Source::Replay => None,
            },
            older: &older,
        };
        let picks = self.scratch.picks.iter();
        let rows = picks.map(|&pick| batch.row(pick as usize));
        dedupe.begin(stream, rule, rows, moment);
        let mut kept = 0;
        for nth in 0..self.scratch.picks.len() {
            let pick = self.scratch.picks[nth];
            match dedupe.judge(nth, batch.row(pick as usize), moment) {
                Verdict::New => {
                    self.scratch.picks[kept] = pick;
                    self.scratch.times_ms[kept] = self.scratch.times_ms[nth];
                    kept += 1;
                }
                Verdict::Repeats(cause) => {
                    outcome.duplicates += 1;
                    self.keep_repeat(batch, pick as usize, origin, cause);
                }
                Verdict::Conflict => {
                    let field = rule
                        .by
                        .first()
                        .map_or(crate::reject::NO_FIELD, |&f| f as u8);
                    let reject = Reject::of_field(RejectReason::Conflict, field);
                    self.reject(batch, pick as usize, origin, reject, outcome);
                }
            }
        }
        self.scratch.picks.truncate(kept);
        self.scratch.times_ms.truncate(kept);
        outcome.accepted = kept as u32;
        self.place.older = older;
        self.streams[index].dedupe = Some(dedupe);
    }

    fn keep_repeat(
        &mut self,
        batch: &EventBatch<'_>,
        row_index: usize,
        origin: Origin,
        cause: DuplicateCause,
    ) {
        let index = usize::from(batch.stream);
        self.counters[index].duplicates[cause.index()] += 1;
        let event = DuplicateEvent {
            stamp_ns: batch.stamp_ns,
            producer: batch.producer.0,
            sequence: batch.sequence(row_index),
            cause: cause.code(),
            log_stream: origin.log_stream,
            lsn: origin.lsn,
            index: row_index as u32,
            row: Vec::new(),
        };
        keep_latest(
            &mut self.streams[index].repeats,
            event,
            batch.row(row_index),
        );
    }

    /// Whether what this batch would spend finds room. What is full refuses before anything is
    /// logged, so that replay, on any number of shards, never has to decide it again.
    pub(super) fn has_room_for_ids(&self, batch: &EventBatch<'_>) -> bool {
        let index = usize::from(batch.stream);
        let stream = &self.pipeline.streams[index];
        let (Some(rule), Some(dedupe)) = (&stream.dedupe, &self.streams[index].dedupe) else {
            return true;
        };
        let mut widened = Vec::new();
        let mut rows = batch.rows;
        if let Some(former) = stream.former(batch.schema_id) {
            former.widening.widen(rows, &mut widened);
            rows = &widened;
        }
        let rows = rows.chunks_exact(stream.schema.row_len());
        dedupe.has_room(stream, rule, rows, self.moment(batch.stamp_ns))
    }

    /// What the row of a stream is told apart by; `None` if its events have no id.
    ///
    /// # Panics
    /// If there is no such stream, or the row is not one of its schema.
    pub fn event_id(&self, stream: usize, row: &[u8]) -> Option<EventId> {
        let stream = &self.pipeline.streams[stream];
        let rule = stream.dedupe.as_ref()?;
        Some(EventId::of_row(stream, rule, row, &mut Vec::new()))
    }

    /// Whether an event of the stream with this id, stamped so, would not take effect.
    pub fn is_spent(&self, stream: usize, id: &EventId, stamp_ns: u64) -> bool {
        let dedupe = self.streams[stream].dedupe.as_ref();
        dedupe.is_some_and(|dedupe| dedupe.is_spent(id, self.moment(stamp_ns)))
    }

    /// Spends an id without an event, from this stamp on for the horizon of the stream: its event,
    /// if it still comes, is counted as annulled and has no effect. A sequence is spent like that
    /// of an event. `log_stream` is that of the entry which says so.
    pub fn spend(&mut self, stream: usize, id: &EventId, stamp_ns: u64, log_stream: u32) {
        let Some(mut dedupe) = self.streams[stream].dedupe.take() else {
            return;
        };
        let inherited = (log_stream != self.place.log_stream).then_some(log_stream);
        let moment = Moment {
            inherited,
            ..self.moment(stamp_ns)
        };
        dedupe.spend(id, moment);
        self.streams[stream].dedupe = Some(dedupe);
    }

    fn moment(&self, stamp_ns: u64) -> Moment<'_> {
        Moment {
            stamp_ns,
            inherited: None,
            older: &self.place.older,
        }
    }
}
