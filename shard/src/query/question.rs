//! The questions.

// The archived form of a variant with named fields comes without documentation.
#![allow(missing_docs)]

use super::WindowCursor;
use crate::rank::OrderKey;
use rkyv::{Archive, Deserialize, Serialize};

/// A question. Boards, views and streams are indexes of the pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Query {
    /// The `n` best members from local rank `offset` on. Ask every shard for rank 0 to
    /// `offset + n` and let `merge_tops` cut.
    Top {
        /// Board.
        board: u16,
        /// First 0-based rank.
        offset: u64,
        /// Rows, at most `TOP_MAX`.
        n: u32,
    },
    /// One member; to be asked of its owner.
    Member {
        /// Board.
        board: u16,
        /// Canonical bytes of the member.
        member: Vec<u8>,
    },
    /// How many members are better than a key.
    CountBetter {
        /// Board.
        board: u16,
        /// The key.
        key: OrderKey,
    },
    /// The members around a key.
    Neighbours {
        /// Board.
        board: u16,
        /// The key, of a member of any shard.
        key: OrderKey,
        /// How many of the better ones, at most `TOP_MAX`.
        above: u32,
        /// How many at or below the key, at most `TOP_MAX`.
        below: u32,
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
    /// Everything that metrics show.
    Stats,
}
