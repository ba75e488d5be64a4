//! Order keys: what ranks a member, best first.

use rkyv::{Archive, Deserialize, Serialize};

/// Which of two equal scores is better: the one reached earlier, in recorded ingest order.
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

/// Place of a member on a board: smaller is better.
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
    /// The score, encoded so that a better score is a smaller number.
    pub sort_key: u64,
    /// Decides between equal scores.
    pub tie: Tie,
}

impl OrderKey {
    /// The words that a [`super::RankIndex`] orders by. Undone by [`OrderKey::from_words`].
    #[inline]
    pub fn words(&self) -> [u64; 3] {
        let minor = u64::from(self.tie.log_stream) << 32 | u64::from(self.tie.index);
        [self.sort_key, self.tie.stamp_ns, minor]
    }

    /// The key of these words.
    #[inline]
    pub fn from_words([sort_key, stamp_ns, minor]: [u64; 3]) -> Self {
        let tie = Tie {
            stamp_ns,
            log_stream: (minor >> 32) as u32,
            index: minor as u32,
        };
        Self { sort_key, tie }
    }
}

/// An order key made total by the member's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FullKey<const WORDS: usize> {
    pub(super) words: [u64; WORDS],
    pub(super) member: u32,
}

impl<const WORDS: usize> FullKey<WORDS> {
    /// Below every other key.
    pub(super) const LEAST: Self = Self {
        words: [0; WORDS],
        member: 0,
    };

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

    /// The least pair, see [`pair`], from which on every key is at or above this one.
    pub(super) fn pair_from(&self) -> u128 {
        let rest_is_least = self.words[2..].iter().all(|&word| word == 0) && self.member == 0;
        pair(&self.words).saturating_add(u128::from(!rest_is_least))
    }
}

/// The first two words as one number. Nearly every comparison is decided by it.
#[inline]
pub(super) fn pair<const WORDS: usize>(words: &[u64; WORDS]) -> u128 {
    u128::from(words[0]) << 64 | u128::from(words[1])
}
