//! Leaderboards on one shard.
//!
//! A board whose member is the stream's key lives where its members' events go: [`key`]. Any other
//! board lives on the shard that owns the member, fed by the partials of all shards: [`foreign`].
//! Either way each member is on exactly one shard, so tops, ranks and pages of all shards join
//! exactly, given the one total order: score, then who reached it first in recorded ingest order.

pub(crate) mod foreign;
pub(crate) mod key;
pub(crate) mod partial;
pub(crate) mod score;

use crate::expression::ErrorReason;
use crate::gate::Gate;
use crate::partition::key_hash;
use crate::pipeline::{Board, Pipeline};
use crate::query::BoardRow;
use crate::rank::{OrderKey, RankIndex};
use crate::table::KeyTable;
use foreign::ForeignBoard;
use key::KeyBoard;
use score::ScorePlan;

/// What a board counts.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
)]
pub struct BoardCounters {
    /// Members on this shard.
    pub members: u64,
    /// Events that would have taken a score beyond its type and were left out of it; on boards
    /// fed by partials, updates whose score was held at the end of its type.
    pub overflow: u64,
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

/// A board with the table that names its members.
#[derive(Clone, Copy)]
pub(crate) struct BoardRead<'a> {
    pub(crate) score: &'a ScorePlan,
    pub(crate) rank: &'a RankIndex<3>,
    pub(crate) members: &'a KeyTable,
}

impl BoardState {
    pub(crate) fn new(pipeline: &Pipeline, board: &Board, shard: u16, shards: u16) -> Self {
        let stream = &pipeline.streams[board.stream];
        let score = ScorePlan::new(stream, board.score);
        let gate = Gate::new(stream, board.filter, &[], board.score.field.into_iter());
        let (schema, member) = (&stream.schema, board.member);
        if member == stream.key {
            Self::Key(Box::new(KeyBoard::new(schema, member, score, gate)))
        } else {
            Self::Foreign(Box::new(ForeignBoard::new(
                schema, member, score, gate, shard, shards,
            )))
        }
    }

    pub(crate) fn read<'a>(&'a self, keys: &'a KeyTable) -> BoardRead<'a> {
        match self {
            Self::Key(board) => board.read(keys),
            Self::Foreign(board) => board.read(),
        }
    }

    pub(crate) fn counters(&self) -> BoardCounters {
        match self {
            Self::Key(board) => board.counters(),
            Self::Foreign(board) => board.counters(),
        }
    }
}

impl BoardRead<'_> {
    pub(crate) fn find(&self, member: &[u8]) -> Option<u32> {
        let id = self.members.find(key_hash(member), member)?;
        self.rank.get(id).map(|_| id)
    }

    pub(crate) fn row(&self, id: u32) -> BoardRow {
        let key = self.rank.get(id).map(OrderKey::from_words);
        let key = key.expect("invariant: only ranked members are read");
        let score = self.score.scalar(key.sort_key);
        BoardRow {
            member: self.members.key(id).to_vec(),
            key,
            score,
        }
    }

    pub(crate) fn range(&self, start: u64, n: usize) -> Vec<BoardRow> {
        let mut ids = Vec::with_capacity(n.min(self.rank.len() as usize));
        self.rank.range(start, n, &mut ids);
        ids.into_iter().map(|id| self.row(id)).collect()
    }

    /// Rows above `key`, rows at or below it, and how many are better.
    pub(crate) fn neighbours(
        &self,
        key: &OrderKey,
        above: usize,
        below: usize,
    ) -> (Vec<BoardRow>, Vec<BoardRow>, u64) {
        let mut ids = Vec::new();
        let (above, better) = self.rank.neighbours(&key.words(), above, below, &mut ids);
        let mut rows: Vec<_> = ids.into_iter().map(|id| self.row(id)).collect();
        let below = rows.split_off(above);
        (rows, below, better)
    }
}
