//! The questions.

// The archived form of a variant with named fields comes without documentation.
#![allow(missing_docs)]

use super::WindowCursor;
use crate::entry::EventPlace;
use crate::rank::OrderKey;
use rkyv::{Archive, Deserialize, Serialize};

/// A board in one of its seasons, as a whole or one of its splits.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct BoardSeason {
    /// Board.
    pub board: u16,
    /// Start of the season, ms; `None` for the one that the watermark of the shard is in, and for
    /// boards without seasons.
    pub season_ms: Option<i64>,
    /// The values of the split, as [`crate::cells`]; empty for the whole.
    pub split: Vec<u8>,
}

impl BoardSeason {
    /// The whole of a board without seasons, or in the current one of each shard.
    pub const fn current(board: u16) -> Self {
        Self {
            board,
            season_ms: None,
            split: Vec::new(),
        }
    }
}

/// A place in the order of a board, of a member of any shard.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct BoardPlace {
    /// The order key.
    pub key: OrderKey,
    /// Canonical bytes of the member, which decide where the key does not; empty for the place
    /// before all members with the key.
    pub member: Vec<u8>,
}

/// A question. Boards, views and streams are indexes of the pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Query {
    /// The `n` best members from local rank `offset` on. Ask every shard for rank 0 to
    /// `offset + n` and let `merge_tops` cut.
    Top {
        /// Board and season.
        board: BoardSeason,
        /// First 0-based rank.
        offset: u64,
        /// Rows, at most `TOP_MAX`.
        n: u32,
    },
    /// One member; to be asked of its owner.
    Member {
        /// Board and season.
        board: BoardSeason,
        /// Canonical bytes of the member.
        member: Vec<u8>,
    },
    /// How many members are better than each of these places.
    CountBetter {
        /// Board and season.
        board: BoardSeason,
        /// The places, at most `TOP_MAX`.
        places: Vec<BoardPlace>,
    },
    /// How many different scores are better than that of each key. They add up over shards only if
    /// there is one. Reads all members above the worst of them.
    CountBetterScores {
        /// Board and season.
        board: BoardSeason,
        /// The keys, at most `TOP_MAX`.
        keys: Vec<OrderKey>,
    },
    /// Those of these members that the shard owns and has on the board.
    Find {
        /// Board and season.
        board: BoardSeason,
        /// Canonical bytes of the members, at most `TOP_MAX`.
        members: Vec<Vec<u8>>,
    },
    /// The members around a place.
    Neighbours {
        /// Board and season.
        board: BoardSeason,
        /// The place.
        place: BoardPlace,
        /// How many of the better ones, at most `TOP_MAX`.
        above: u32,
        /// How many at or below the place, at most `TOP_MAX`.
        below: u32,
    },
    /// The seasons of a board.
    Seasons {
        /// Board.
        board: u16,
    },
    /// The splits of a board in a season, or the one that is named.
    Splits {
        /// Board, season and perhaps a split.
        board: BoardSeason,
    },
    /// Rows of windows.
    Windows {
        /// View.
        view: u16,
        /// Windows that start here, ms,
        from_ms: i64,
        /// or later, but before this.
        to_ms: i64,
        /// Rows, at most `TOP_MAX`.
        limit: u32,
        /// Only rows behind this one.
        after: Option<WindowCursor>,
    },
    /// What the shard knows of a producer.
    Producer {
        /// Its id.
        id: u128,
    },
    /// The latest rejected events of a stream.
    Rejected {
        /// Stream.
        stream: u16,
        /// How many, at most `SIDE_EVENTS_MAX`.
        n: u32,
    },
    /// The latest batches of a stream with events that had been stored before.
    Duplicates {
        /// Stream.
        stream: u16,
        /// How many, at most `SIDE_EVENTS_MAX`.
        n: u32,
    },
    /// The latest events that windows of a view did not take.
    Late {
        /// View.
        view: u16,
        /// How many, at most `SIDE_EVENTS_MAX`.
        n: u32,
    },
    /// The corrections with numbers greater than `after`.
    Corrections {
        /// A number.
        after: u64,
        /// How many, at most `TOP_MAX`.
        n: u32,
    },
    /// Where the events stand that a correction has taken back.
    Taken {
        /// Its number.
        id: u64,
    },
    /// Which corrections have taken the events at these places back.
    Away {
        /// The places, at most `TOP_MAX`.
        places: Vec<EventPlace>,
    },
    /// Of how many events the scores of these members are made that the shard owns, on a board that
    /// follows corrections.
    Weights {
        /// Board and season.
        board: BoardSeason,
        /// Canonical bytes of the members, at most `TOP_MAX`.
        members: Vec<Vec<u8>>,
    },
    /// Everything that metrics show.
    Stats,
}
