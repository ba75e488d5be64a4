//! Boards in the passes over a batch: keys to ids, then every board of the stream.

use super::{Scratch, ShardState, Source, accepted};
use crate::aggregate::Number;
use crate::board::{BoardState, Origin};
use crate::delta::{Delta, DeltaQueue};
use crate::entry::EventBatch;
use crate::partition::key_hash;
use crate::watermark::ClockMove;
use crate::window::ViewState;

impl ShardState {
    /// Second pass: keys to dense ids, hashes first so that the lookups overlap.
    pub(super) fn find_keys(&mut self, batch: &EventBatch<'_>) {
        let index = usize::from(batch.stream);
        if !self.streams[index].needs_keys {
            return;
        }
        let stream = &self.pipeline.streams[index];
        let (schema, key) = (&stream.schema, stream.key);
        let row_bytes = schema.row_len();
        let Scratch {
            picks,
            hashes,
            members,
            ..
        } = &mut self.scratch;
        let row_of = |pick: u32| {
            let at = pick as usize * row_bytes;
            &batch.rows[at..at + row_bytes]
        };
        let keys = &mut self.streams[index].keys;
        let field = &schema.fields[key];
        hashes.clear();
        if Number::of(field.kind).is_some() && !field.optional {
            // The common case, with the length known to the compiler.
            let at = usize::from(field.offset);
            let key_of = |pick: u32| &row_of(pick)[at..at + 8];
            hashes.extend(picks.iter().map(|&pick| key_hash(key_of(pick))));
            keys.lookup_batch(hashes, |i| key_of(picks[i]), members);
        } else {
            let key_of = |pick: u32| schema.canonical_bytes(row_of(pick), key);
            hashes.extend(picks.iter().map(|&pick| key_hash(key_of(pick))));
            keys.lookup_batch(hashes, |i| key_of(picks[i]), members);
        }
    }

    /// Asks for what the boards will need, so that it arrives while the views are at work.
    pub(super) fn prefetch_boards(&self, stream: usize) {
        for &board in &self.streams[stream].key_boards {
            if let BoardState::Key(state) = &self.boards[board] {
                state.prefetch(&self.scratch.members);
            }
        }
    }

    pub(super) fn apply_boards(&mut self, source: Source, batch: &EventBatch<'_>, origin: Origin) {
        let index = usize::from(batch.stream);
        let schema = &self.pipeline.streams[index].schema;
        let stream = &self.streams[index];
        let evaluated = stream.evaluator.evaluated();
        let accepted = accepted(&self.scratch, batch, evaluated, origin, ClockMove::NONE);
        for &board in &stream.key_boards {
            if let BoardState::Key(state) = &mut self.boards[board] {
                state.apply(schema, &accepted, &stream.keys, origin);
            }
        }
        for &board in &stream.foreign_boards {
            if let BoardState::Foreign(state) = &mut self.boards[board] {
                let deltas = (source == Source::Live).then_some(&mut self.deltas);
                state.apply(schema, &accepted, origin, deltas);
            }
        }
    }

    /// Whether a board of the stream has seasons.
    pub fn has_seasons(&self, stream: usize) -> bool {
        let mut boards = self.pipeline.boards.iter();
        boards.any(|board| board.stream == stream && board.season.is_some())
    }

    /// Whether this watermark, in effect, would change the state of a season of the stream.
    pub fn seasons_await(&self, stream: usize, watermark_ms: i64) -> bool {
        let state = &self.streams[stream];
        let in_effect_ms = state.clock.in_effect_ms();
        let mut boards = state.key_boards.iter().chain(&state.foreign_boards);
        boards.any(|&board| self.boards[board].awaits(in_effect_ms, watermark_ms))
    }

    /// Ends replay: states this shard's partials for all members that other shards own. The
    /// deltas depend on nothing that is not durable.
    pub fn finish_replay(&mut self) {
        self.views.iter_mut().for_each(ViewState::finish_replay);
        for board in &self.boards {
            if let BoardState::Foreign(board) = board {
                board.restate(self.last_lsn, &mut self.deltas);
            }
        }
    }

    /// Deltas for other shards, which are to be sent once their entries are durable.
    pub fn deltas(&mut self) -> &mut DeltaQueue {
        &mut self.deltas
    }

    /// Takes another shard's partial over; false if it does not belong here.
    pub fn apply_delta(&mut self, delta: &Delta) -> bool {
        match self.boards.get_mut(usize::from(delta.board)) {
            Some(BoardState::Foreign(board)) => board.apply_delta(delta),
            Some(BoardState::Key(_)) | None => false,
        }
    }
}
