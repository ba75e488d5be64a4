//! The rank index of a board, whose number of words follows from its columns and tie rule.

use crate::rank::{ById, OrderKey, RankIndex};
use crate::table::KeyTable;

/// An index of so many words.
#[derive(Debug, Clone)]
pub(crate) enum Ranks {
    Two(RankIndex<2>),
    Three(RankIndex<3>),
    Four(RankIndex<4>),
    Five(RankIndex<5>),
    Six(RankIndex<6>),
}

/// Evaluates an expression with the index, whatever its words.
macro_rules! with_rank {
    ($ranks:expr, $rank:ident => $body:expr) => {
        match $ranks {
            $crate::board::ranks::Ranks::Two($rank) => $body,
            $crate::board::ranks::Ranks::Three($rank) => $body,
            $crate::board::ranks::Ranks::Four($rank) => $body,
            $crate::board::ranks::Ranks::Five($rank) => $body,
            $crate::board::ranks::Ranks::Six($rank) => $body,
        }
    };
}
pub(crate) use with_rank;

impl Ranks {
    /// An empty index of `words` words, 2 to 6.
    pub(crate) fn new(words: usize) -> Self {
        match words {
            2 => Self::Two(RankIndex::new()),
            3 => Self::Three(RankIndex::new()),
            4 => Self::Four(RankIndex::new()),
            5 => Self::Five(RankIndex::new()),
            _ => Self::Six(RankIndex::new()),
        }
    }

    /// An empty index of as many words.
    pub(crate) fn fresh(&self) -> Self {
        match self {
            Self::Two(_) => Self::new(2),
            Self::Three(_) => Self::new(3),
            Self::Four(_) => Self::new(4),
            Self::Five(_) => Self::new(5),
            Self::Six(_) => Self::new(6),
        }
    }

    /// See [`RankIndex::free_some`].
    pub(crate) fn free_some(&mut self, pieces: &mut usize) -> bool {
        with_rank!(self, rank => rank.free_some(pieces))
    }

    pub(crate) fn len(&self) -> u64 {
        with_rank!(self, rank => rank.len())
    }

    pub(crate) fn prefetch(&self, members: &[u32]) {
        with_rank!(self, rank => rank.prefetch(members));
    }

    pub(crate) fn key(&self, member: u32) -> Option<OrderKey> {
        with_rank!(self, rank => rank.get(member).map(|words| OrderKey::new(&words)))
    }

    pub(crate) fn update(&mut self, member: u32, key: &OrderKey, names: Option<&KeyTable>) {
        with_rank!(self, rank => match names {
            None => rank.update_by(member, &key.leading(), ById),
            Some(names) => rank.update_by(member, &key.leading(), names),
        });
    }

    pub(crate) fn remove(&mut self, member: u32) {
        with_rank!(self, rank => rank.remove(member));
    }

    pub(crate) fn rank(&self, member: u32, names: Option<&KeyTable>) -> Option<u64> {
        with_rank!(self, rank => match names {
            None => rank.rank_by(member, ById),
            Some(names) => rank.rank_by(member, names),
        })
    }

    /// How many members are better than a member of any shard with this key.
    pub(crate) fn count_better(
        &self,
        key: &OrderKey,
        member: &[u8],
        names: Option<&KeyTable>,
    ) -> u64 {
        with_rank!(self, rank => match names {
            None => rank.count_better(&key.leading()),
            Some(names) => rank.count_better_named(&key.leading(), member, names),
        })
    }

    /// Up to `n` members, best first, from 0-based rank `start` on.
    pub(crate) fn range(&self, start: u64, n: usize, names: Option<&KeyTable>) -> Vec<u32> {
        let mut out = Vec::new();
        with_rank!(self, rank => match names {
            None => rank.range_by(start, n, ById, &mut out),
            Some(names) => rank.range_by(start, n, names, &mut out),
        });
        out
    }
}
