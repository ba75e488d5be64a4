//! Order keys: what ranks a member, best first.

use crate::table::KeyTable;
use rkyv::{Archive, Deserialize, Serialize};
use std::cmp::Ordering;

/// A moment in recorded ingest order, which no two events share.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Archive,
    Serialize,
    Deserialize,
)]
pub struct Tie {
    /// Ingest stamp of the batch that holds the deciding event, ns.
    pub stamp_ns: u64,
    /// Log stream that holds the batch.
    pub log_stream: u32,
    /// Index of the deciding event in its batch.
    pub index: u32,
}

impl Tie {
    /// The words that it is compared by.
    #[inline]
    pub fn words(&self) -> [u64; 2] {
        let minor = u64::from(self.log_stream) << 32 | u64::from(self.index);
        [self.stamp_ns, minor]
    }

    /// The moment of these words.
    #[inline]
    pub fn from_words([stamp_ns, minor]: [u64; 2]) -> Self {
        Self {
            stamp_ns,
            log_stream: (minor >> 32) as u32,
            index: minor as u32,
        }
    }
}

/// Most words of an order key: four words of scores and two that decide between equal ones.
pub const ORDER_WORDS_MAX: usize = 6;

/// Place of a member on a board: smaller is better. Words that a board does not use are 0.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Archive,
    Serialize,
    Deserialize,
)]
pub struct OrderKey {
    /// Those of the scores, encoded so that a better one is a smaller number; then those of the tie
    /// rule.
    pub words: [u64; ORDER_WORDS_MAX],
}

impl OrderKey {
    /// The key of these words, at most [`ORDER_WORDS_MAX`].
    #[inline]
    pub fn new(words: &[u64]) -> Self {
        let mut key = Self::default();
        key.words[..words.len()].copy_from_slice(words);
        key
    }

    /// The first words, which a [`super::RankIndex`] orders by.
    #[inline]
    pub fn leading<const WORDS: usize>(&self) -> [u64; WORDS] {
        std::array::from_fn(|at| self.words[at])
    }

    /// The best key with the same scores, which are so many words.
    pub fn start_of_score(&self, score_words: usize) -> Self {
        Self::new(&self.words[..score_words])
    }
}

/// Decides between members whose words are all equal. An index must be given the same names in all
/// calls, and a member's name must not change.
pub(crate) trait Names: Copy {
    /// The order of two different members.
    fn compare(self, one: u32, other: u32) -> Ordering;
}

/// Members in the order of their ids: where words are unique, so that it does not matter.
#[derive(Clone, Copy)]
pub(crate) struct ById;

impl Names for ById {
    #[inline]
    fn compare(self, one: u32, other: u32) -> Ordering {
        one.cmp(&other)
    }
}

impl Names for &KeyTable {
    #[inline]
    fn compare(self, one: u32, other: u32) -> Ordering {
        self.key(one).cmp(self.key(other))
    }
}

/// An order key made total: with a member, or before all members that have these words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FullKey<const WORDS: usize> {
    pub(super) words: [u64; WORDS],
    /// One more than the member's id, 0 for none.
    seat: u32,
}

impl<const WORDS: usize> FullKey<WORDS> {
    /// Below every other key.
    pub(super) const LEAST: Self = Self {
        words: [0; WORDS],
        seat: 0,
    };

    /// The key of a member.
    #[inline]
    pub(super) fn of(words: [u64; WORDS], member: u32) -> Self {
        let seat = member + 1;
        Self { words, seat }
    }

    /// The least key with these words.
    pub(super) fn start(words: [u64; WORDS]) -> Self {
        Self { words, seat: 0 }
    }

    /// The least key whose first word is `first`.
    pub(super) fn start_of(first: u64) -> Self {
        let mut key = Self::LEAST;
        key.words[0] = first;
        key
    }

    /// The least key with this pair.
    pub(super) fn start_of_pair(pair: u128) -> Self {
        let mut key = Self::start_of((pair >> 64) as u64);
        key.words[1] = pair as u64;
        key
    }

    /// The member of a key that has one.
    #[inline]
    pub(super) fn member(&self) -> u32 {
        self.seat.wrapping_sub(1)
    }

    #[inline]
    pub(super) fn compare(&self, other: &Self, names: impl Names) -> Ordering {
        let by_words = self.words.cmp(&other.words);
        by_words.then_with(|| match (self.seat, other.seat) {
            (one, other) if one == other || one == 0 || other == 0 => one.cmp(&other),
            (one, other) => names.compare(one - 1, other - 1),
        })
    }

    /// The order of this key and a member of another index, of which only the name is known.
    pub(super) fn compare_named(
        &self,
        words: &[u64; WORDS],
        name: &[u8],
        names: &KeyTable,
    ) -> Ordering {
        let by_words = self.words.cmp(words);
        by_words.then_with(|| match self.seat {
            0 => Ordering::Less,
            seat => names.key(seat - 1).cmp(name),
        })
    }

    /// The least pair, see [`pair`], from which on every key is at or above this one.
    pub(super) fn pair_from(&self) -> u128 {
        let rest_is_least = self.words[2..].iter().all(|&word| word == 0) && self.seat == 0;
        pair(&self.words).saturating_add(u128::from(!rest_is_least))
    }
}

/// The first two words as one number. Nearly every comparison is decided by it.
#[inline]
pub(super) fn pair<const WORDS: usize>(words: &[u64; WORDS]) -> u128 {
    u128::from(words[0]) << 64 | u128::from(words[1])
}
