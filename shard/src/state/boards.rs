//! Boards in the passes over a batch: keys to ids, then every board of the stream.

use super::corrections::kept;
use super::{Scratch, ShardState, Source, StreamState, accepted};
use crate::aggregate::Number;
use crate::board::{BoardState, Origin};
use crate::delta::{Delta, DeltaQueue};
use crate::entry::EventBatch;
use crate::partition::{group_of, key_hash, shard_of};
use crate::pipeline::Retract;
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

    /// Asks for the line that the key of a row of `stream` is looked up in. With
    /// [`ShardState::expect_member`], a second pass over the same rows, the misses of many small
    /// batches overlap before the first of them is applied. Nothing is promised: an unknown stream,
    /// a row that is too short or the key of another shard is passed over.
    pub fn expect_key(&self, stream: usize, row: &[u8]) {
        if let Some((state, hash, _)) = self.expected(stream, row) {
            state.keys.prefetch(hash);
        }
    }

    /// Asks for what the boards hold of the key of a row, see [`ShardState::expect_key`].
    pub fn expect_member(&self, stream: usize, row: &[u8]) {
        let Some((state, hash, key)) = self.expected(stream, row) else {
            return;
        };
        let Some(member) = state.keys.find(hash, key) else {
            return;
        };
        for &board in &state.key_boards {
            if let BoardState::Key(board) = &self.boards[board] {
                board.prefetch(&[member]);
            }
        }
    }

    /// The state of a stream whose boards need ids, and the key of a row with its hash.
    #[inline]
    fn expected<'r>(&self, stream: usize, row: &'r [u8]) -> Option<(&StreamState, u64, &'r [u8])> {
        let state = self.streams.get(stream).filter(|state| state.needs_keys)?;
        let declared = &self.pipeline.streams[stream];
        let row = row.get(..declared.schema.row_len())?;
        let key = declared.schema.canonical_bytes(row, declared.key);
        let hash = key_hash(key);
        let owner = shard_of(group_of(hash), usize::from(self.place.shards));
        (owner == usize::from(self.place.shard)).then_some((state, hash, key))
    }

    /// Last pass: every board of the stream. With `annuls` some events may have been taken back before
    /// they came.
    pub(super) fn apply_boards(
        &mut self,
        source: Source,
        batch: &EventBatch<'_>,
        origin: Origin,
        annuls: bool,
    ) {
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
        let kept = if annuls {
            kept(&self.scratch, accepted)
        } else {
            accepted
        };
        for &board in &stream.foreign_boards {
            let exact = self.pipeline.boards[board].retract == Retract::Exact;
            if let BoardState::Foreign(state) = &mut self.boards[board] {
                let deltas = (source == Source::Live).then_some(&mut self.deltas);
                let events = if exact { &kept } else { &accepted };
                state.apply(schema, events, origin, deltas);
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

#[cfg(test)]
mod tests {
    use crate::pipeline::Pipeline;
    use crate::state::{Place, ShardState};
    use std::sync::Arc;

    /// What is looked at ahead was not checked yet, so it may be anything.
    #[test]
    fn rows_that_are_expected_may_be_anything_and_change_nothing() {
        let number_key = include_str!("../../../docs/examples/treasure_hunt.toml");
        let text_key = number_key.replace("key = \"player\"", "key = \"region\"");
        let text_key = text_key.replace("member = \"player\"", "member = \"region\"");
        for text in [
            number_key,
            &text_key[..text_key.find("[[test]]").expect("tests")],
        ] {
            let pipeline = Arc::new(Pipeline::parse(text).expect("a valid pipeline"));
            let row_len = pipeline.streams[0].schema.row_len();
            for shard in 0..2 {
                let place = Place {
                    shard,
                    shards: 2,
                    log_stream: u32::from(shard),
                    older: Vec::new(),
                };
                let state = ShardState::new(Arc::clone(&pipeline), place);
                let before = state.digest();
                for stream in [0, 1, usize::MAX] {
                    for bytes in 0..=row_len + 1 {
                        for fill in [0x00, 0x07, 0xff] {
                            state.expect_key(stream, &vec![fill; bytes]);
                            state.expect_member(stream, &vec![fill; bytes]);
                        }
                    }
                }
                assert_eq!(state.digest(), before);
            }
        }
    }
}
