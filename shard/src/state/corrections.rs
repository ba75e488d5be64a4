//! Corrections: events that took effect are taken back, or put back.

use super::{Scratch, ShardState, Source};
use crate::board::{BoardState, Origin};
use crate::correction::{Annulled, Change, Moment, chain};
use crate::entry::{
    CorrectedEvent, CorrectionAction, CorrectionEntry, EntryError, EventBatch, EventName,
    EventPlace,
};
use crate::partition::{group_of, key_hash};
use crate::pipeline::Retract;
use crate::query::{CorrectionsAnswer, TakenAnswer};
use crate::rank::Tie;
use crate::watermark::ClockMove;
use crate::window::Accepted;
use std::sync::Arc;

/// The only row of a batch.
const ONLY: [u32; 1] = [0];

/// What is left of a batch of which events were taken back before they came.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    pub(super) picks: Vec<u32>,
    pub(super) times_ms: Vec<i64>,
}

/// Without the events that were taken back before they came.
pub(super) fn kept<'a>(scratch: &'a Scratch, accepted: Accepted<'a>) -> Accepted<'a> {
    Accepted {
        picks: &scratch.kept.picks,
        times_ms: &scratch.kept.times_ms,
        members: &[],
        ..accepted
    }
}

impl ShardState {
    /// Whether all views and boards of a stream can follow a correction, or have been told not to.
    pub fn can_correct(&self, stream: usize) -> Result<(), EntryError> {
        let refused = |what, index| EntryError::RefusedCorrection {
            stream: stream as u16,
            what,
            index: index + 1,
        };
        let (views, boards) = (&self.pipeline.views, &self.pipeline.boards);
        let refuses = |of: usize, retract| of == stream && retract == Retract::Refuse;
        if let Some(view) = views.iter().position(|v| refuses(v.stream, v.retract)) {
            return Err(refused("view", view));
        }
        if let Some(board) = boards.iter().position(|b| refuses(b.stream, b.retract)) {
            return Err(refused("board", board));
        }
        Ok(())
    }

    /// Whether the own log holds the whole of what a correction does.
    pub fn is_corrected(&self, id: u64, action: CorrectionAction) -> bool {
        self.ledger.is_done(id, action, self.place.log_stream)
    }

    /// Whether a part of a correction may be logged: it is of this pipeline, and follows the part
    /// before.
    pub fn check_correction(&self, entry: &CorrectionEntry) -> Result<(), EntryError> {
        self.check_part(self.place.log_stream, entry)
    }

    fn check_part(&self, log_stream: u32, entry: &CorrectionEntry) -> Result<(), EntryError> {
        let row_bytes = self.check_stream(entry.stream, entry.schema_id)?.row_len();
        self.can_correct(usize::from(entry.stream))?;
        if entry.rows.len() != entry.events.len() * row_bytes {
            return Err(EntryError::BadRowBytes(entry.rows.len()));
        }
        self.ledger.check(log_stream, entry)
    }

    /// Applies a part of a correction; `lsn` is its entry's position in the log. It takes effect
    /// with the last part.
    ///
    /// # Errors
    /// If it is none of this pipeline, or does not follow the part before; then nothing has changed.
    pub fn correct(&mut self, entry: &CorrectionEntry, lsn: u64) -> Result<(), EntryError> {
        self.correct_from(Source::Live, entry, lsn)
    }

    pub(super) fn correct_from(
        &mut self,
        source: Source,
        entry: &CorrectionEntry,
        lsn: u64,
    ) -> Result<(), EntryError> {
        let log_stream = match source {
            Source::Inherited(log_stream) => log_stream,
            Source::Live | Source::Replay => self.place.log_stream,
        };
        self.check_part(log_stream, entry)?;
        let stream = &self.pipeline.streams[usize::from(entry.stream)];
        if let Some(former) = stream.former(entry.schema_id) {
            let mut rows = Vec::new();
            former.widening.widen(&entry.rows, &mut rows);
            let widened = CorrectionEntry {
                schema_id: stream.schema.id,
                rows,
                ..entry.clone()
            };
            return self.correct_from(source, &widened, lsn);
        }
        let whole = self.ledger.stage(log_stream, entry);
        self.last_stamp_ns = self.last_stamp_ns.max(entry.stamp_ns);
        if let Some(whole) = whole {
            let moment = Moment {
                stamp_ns: whole.stamp_ns,
                log_stream,
                lsn,
                watermark_ms: whole.watermark_ms,
            };
            self.take_effect(source, &whole, moment);
        }
        Ok(())
    }

    fn take_effect(&mut self, source: Source, whole: &CorrectionEntry, moment: Moment) {
        self.ledger.note(moment.log_stream, whole);
        let stream = usize::from(whole.stream);
        let row_bytes = self.pipeline.streams[stream].schema.row_len();
        for (index, event) in whole.events.iter().enumerate() {
            let row = &whole.rows[index * row_bytes..(index + 1) * row_bytes];
            if matches!(source, Source::Inherited(_)) && !self.owns_row(stream, row) {
                continue;
            }
            let (is_news, change) = match whole.action {
                CorrectionAction::Retract => {
                    let is_news = self.ledger.take(whole.id, event.place);
                    (is_news, Change::TakeBack)
                }
                // What was annulled is put back below, by its own row.
                CorrectionAction::Undo if self.ledger.is_annulled(event.place) => continue,
                CorrectionAction::Undo => (self.ledger.put(whole.id, event.place), Change::PutBack),
            };
            if is_news {
                let tie = Tie {
                    stamp_ns: moment.stamp_ns,
                    log_stream: moment.log_stream,
                    index: index as u32,
                };
                self.change(stream, (event, row), change, moment, tie);
            }
        }
        if whole.action == CorrectionAction::Undo {
            self.reinstate(whole, moment);
        }
        self.settle_boards(source, stream, moment.lsn);
        if !matches!(source, Source::Inherited(_)) {
            self.ledger.prune(moment.stamp_ns);
        }
    }

    /// Puts back what a correction annulled when it came. Such events were never counted, so they
    /// count as of when they came; their rows are kept for this.
    fn reinstate(&mut self, whole: &CorrectionEntry, moment: Moment) {
        for annulled in self.ledger.annulled_by(whole.id) {
            let Annulled { stream, event, row } = annulled;
            let stream = usize::from(stream);
            let group = self.group(stream, &row);
            let mut older = self.place.older.iter();
            let layout = older.find(|layout| layout.contains(moment.log_stream));
            let is_of_log = layout.is_none_or(|layout| layout.owner(group) == moment.log_stream);
            if is_of_log && self.ledger.put(whole.id, event.place) {
                let tie = Tie {
                    stamp_ns: event.stamp_ns,
                    log_stream: event.place.log_stream,
                    index: event.place.index,
                };
                self.change(stream, (&event, &row), Change::PutBack, moment, tie);
            }
        }
    }

    fn group(&self, stream: usize, row: &[u8]) -> u16 {
        let stream = &self.pipeline.streams[stream];
        group_of(key_hash(stream.schema.canonical_bytes(row, stream.key)))
    }

    fn owns_row(&self, stream: usize, row: &[u8]) -> bool {
        let pipeline = Arc::clone(&self.pipeline);
        self.owns(&pipeline.streams[stream], row)
    }

    /// Takes one event out of all that it went into, or puts it back.
    fn change(
        &mut self,
        stream: usize,
        (event, row): (&CorrectedEvent, &[u8]),
        change: Change,
        moment: Moment,
        tie: Tie,
    ) {
        let of = &self.pipeline.streams[stream];
        let schema = &of.schema;
        let retracted = &mut self.counters[stream].retracted;
        *retracted = match change {
            Change::TakeBack => *retracted + 1,
            Change::PutBack => retracted.saturating_sub(1),
        };
        self.streams[stream].evaluator.evaluate(schema, row);
        let state = &self.streams[stream];
        let times_ms = [schema.time_ms(row, of.time.field)];
        let accepted = Accepted {
            rows: row,
            picks: &ONLY,
            times_ms: &times_ms,
            members: &[],
            computed: state.evaluator.evaluated(),
            watermark_ms: event.watermark_ms,
            origin: Origin {
                stamp_ns: event.stamp_ns,
                log_stream: event.place.log_stream,
                lsn: event.place.lsn,
            },
            clock_move: ClockMove::NONE,
        };
        for &view in &state.views {
            if self.pipeline.views[view].retract == Retract::Exact {
                self.views[view].correct(schema, &accepted, change, moment.watermark_ms);
            }
        }
        for &index in &state.foreign_boards {
            if self.pipeline.boards[index].retract == Retract::Exact
                && let BoardState::Foreign(board) = &mut self.boards[index]
            {
                board.correct(schema, &accepted, change, moment, tie);
            }
        }
    }

    /// Ranks the members that a correction has touched, or tells their owners.
    fn settle_boards(&mut self, source: Source, stream: usize, lsn: u64) {
        for &board in &self.streams[stream].foreign_boards {
            if let BoardState::Foreign(state) = &mut self.boards[board] {
                let deltas = (source == Source::Live).then_some(&mut self.deltas);
                state.settle(lsn, deltas);
            }
        }
    }

    /// Takes the events of a batch that were taken back before they came out of what is to be
    /// applied. Views and boards that ignore corrections still get them.
    pub(super) fn annul(&mut self, batch: &EventBatch<'_>, origin: Origin) {
        let stream = usize::from(batch.stream);
        let Scratch {
            picks,
            times_ms,
            kept,
            ..
        } = &mut self.scratch;
        kept.picks.clear();
        kept.times_ms.clear();
        let of = &self.pipeline.streams[stream];
        let is_own = origin.log_stream == self.place.log_stream;
        for (&pick, &time_ms) in picks.iter().zip(times_ms.iter()) {
            let row = batch.row(pick as usize);
            let group = group_of(key_hash(of.schema.canonical_bytes(row, of.key)));
            let name = EventName::Sequence {
                producer: batch.producer.0,
                epoch: batch.epoch,
                sequence: batch.sequence(pick as usize),
            };
            let chain = chain(&self.place.older, origin.log_stream, group);
            let annulled = || Annulled {
                stream: batch.stream,
                event: CorrectedEvent {
                    place: EventPlace {
                        log_stream: origin.log_stream,
                        lsn: origin.lsn,
                        index: pick,
                    },
                    stamp_ns: batch.stamp_ns,
                    watermark_ms: batch.watermark_ms,
                },
                row: row.to_vec(),
            };
            if self.ledger.annul(name, &chain, is_own, annulled) {
                self.counters[stream].annulled += 1;
                self.counters[stream].retracted += 1;
            } else {
                kept.picks.push(pick);
                kept.times_ms.push(time_ms);
            }
        }
    }

    /// What the shard knows of corrections with numbers greater than `after`.
    pub(super) fn corrections(&self, after: u64, n: usize) -> CorrectionsAnswer {
        CorrectionsAnswer {
            records: self.ledger.records(after).take(n).cloned().collect(),
            last_lsn: self.last_lsn,
            taken: self.ledger.taken(),
            early: self.ledger.early(),
        }
    }

    /// Where the events stand that a correction has taken back.
    pub(super) fn taken(&self, id: u64) -> TakenAnswer {
        let known = self.ledger.known(id);
        let places = known.map(|known| known.places.iter().copied().collect());
        TakenAnswer {
            places: places.unwrap_or_default(),
        }
    }
}
