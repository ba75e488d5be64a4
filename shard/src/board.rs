//! Leaderboards on one shard.
//!
//! A board whose member is the stream's key lives where its members' events go: [`key`]. Any other
//! board lives on the shard that owns the member, fed by the partials of all shards: [`foreign`].
//! Either way each member is on exactly one shard, so tops, ranks and pages of all shards join
//! exactly, given the one total order of [`order`]: the score columns, then a tie rule, which looks
//! only at the member or at recorded ingest order.

pub(crate) mod divided;
pub(crate) mod foreign;
pub(crate) mod key;
mod mean;
pub(crate) mod notes;
pub(crate) mod order;
pub(crate) mod partial;
pub(crate) mod ranks;
mod read;
pub(crate) mod score;
pub(crate) mod seasons;
pub(crate) mod shares;

use crate::expression::ErrorReason;
use crate::gate::Gate;
use crate::pipeline::Pipeline;
use crate::query::{SeasonRow, SplitsAnswer};
use crate::rank::Tie;
use crate::table::KeyTable;
use foreign::ForeignBoard;
use key::KeyBoard;
pub use notes::note_values;
pub(crate) use read::BoardRead;
use seasons::At;

/// What a board counts.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
)]
pub struct BoardCounters {
    /// Members on this shard, in all seasons.
    pub members: u64,
    /// Events that would have taken a score beyond its type and were left out of it; on boards
    /// fed by partials, updates whose score was held at the end of its type.
    pub overflow: u64,
    /// Events that came after their season was final.
    pub late: u64,
    /// Splits that were admitted on this shard, in all seasons.
    pub splits: u64,
    /// Events that count on the whole only, because the board had as many splits as it may.
    pub splits_refused: u64,
    /// Events for which an expression of the board was an error, once per expression, by
    /// [`ErrorReason::index`].
    pub errors: [u64; ErrorReason::COUNT],
}

/// Where a batch stands in the recorded order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) stamp_ns: u64,
    pub(crate) log_stream: u32,
    pub(crate) lsn: u64,
}

#[derive(Debug, Clone)]
pub(crate) enum BoardState {
    Key(Box<KeyBoard>),
    Foreign(Box<ForeignBoard>),
}

impl BoardState {
    /// The empty state of board number `index`, on `shard` of `shards`.
    pub(crate) fn new(pipeline: &Pipeline, index: usize, shard: u16, shards: u16) -> Self {
        let board = &pipeline.boards[index];
        let stream = &pipeline.streams[board.stream];
        let gate = Gate::new(stream, board.filter, &[], board.columns_read());
        if board.is_kept_by_key(stream) {
            return Self::Key(Box::new(KeyBoard::new(stream, board, gate)));
        }
        let place = (shard, shards);
        let foreign = ForeignBoard::new(stream, board, gate, index as u16, place);
        Self::Foreign(Box::new(foreign))
    }

    /// The board in a season: a split by its cells, or the whole for none.
    pub(crate) fn read<'a>(&'a self, at: At, split: &[u8], keys: &'a KeyTable) -> BoardRead<'a> {
        match self {
            Self::Key(board) => board.read(at, split, keys),
            Self::Foreign(board) => board.read(at, split),
        }
    }

    /// The splits of a season, or the one that is asked for.
    pub(crate) fn splits(&self, at: At, split: &[u8]) -> SplitsAnswer {
        match self {
            Self::Key(board) => board.splits(at, split),
            Self::Foreign(board) => board.splits(at, split),
        }
    }

    pub(crate) fn counters(&self) -> BoardCounters {
        match self {
            Self::Key(board) => board.counters(),
            Self::Foreign(board) => board.counters(),
        }
    }

    /// The seasons that are there.
    pub(crate) fn seasons(&self) -> Vec<SeasonRow> {
        match self {
            Self::Key(board) => board.seasons(),
            Self::Foreign(board) => board.seasons(),
        }
    }

    /// The effect of a recorded watermark.
    pub(crate) fn advance(&mut self, watermark_ms: i64) {
        match self {
            Self::Key(board) => board.advance(watermark_ms),
            Self::Foreign(board) => board.advance(watermark_ms),
        }
    }

    /// Whether a watermark later than the one in effect would change the state of a season.
    pub(crate) fn awaits(&self, in_effect_ms: i64, watermark_ms: i64) -> bool {
        match self {
            Self::Key(board) => board.awaits(in_effect_ms, watermark_ms),
            Self::Foreign(board) => board.awaits(in_effect_ms, watermark_ms),
        }
    }
}

impl Origin {
    /// The moment of the event at `index` of the batch.
    #[inline]
    pub(crate) fn tie(&self, index: u32) -> Tie {
        Tie {
            stamp_ns: self.stamp_ns,
            log_stream: self.log_stream,
            index,
        }
    }
}
