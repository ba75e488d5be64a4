//! Questions to one shard and its answers.
//!
//! Answers carry order keys and partials rather than ranks and finished numbers, so that
//! [`crate::merge`] can join the answers of all shards exactly. Both are rkyv: read in place.

mod corrections;
mod question;

pub use corrections::{CorrectedAnswer, CorrectionRecord, CorrectionsAnswer, TakenAnswer, Undone};
pub use question::{
    ArchivedBoardPlace, ArchivedBoardSeason, ArchivedQuery, BoardPlace, BoardSeason, Query,
};

use crate::aggregate::RowPartials;
use crate::board::BoardCounters;
use crate::pipeline::Ties;
use crate::rank::{OrderKey, Tie};
use crate::state::StreamCounters;
use crate::value::Value;
use crate::window::{LateEvent, ViewCounters};
use rkyv::rancor;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Deserialize, Serialize};

/// The place of a row in an answer of windows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Archive, Serialize, Deserialize)]
pub struct WindowCursor {
    /// Start of its window, ms.
    pub start_ms: i64,
    /// End of its window, ms.
    pub end_ms: i64,
    /// Bytes of its group.
    pub group: Vec<u8>,
}

/// A finished number, owned.
#[derive(Debug, Clone, Copy, PartialEq, Archive, Serialize, Deserialize)]
pub enum Scalar {
    /// No value.
    Null,
    /// Unsigned integer.
    U64(u64),
    /// Signed integer.
    I64(i64),
    /// Finite floating point.
    F64(f64),
    /// Milliseconds since the epoch.
    Time(i64),
    /// An integer sum beyond 64 bits: exact.
    Wide(i128),
    /// A floating-point sum beyond the range of its type.
    Overflow,
}

impl Scalar {
    /// The same as a value; `None` for [`Scalar::Wide`] and [`Scalar::Overflow`].
    pub fn value(&self) -> Option<Value<'static>> {
        Some(match *self {
            Self::Null => Value::Null,
            Self::U64(v) => Value::U64(v),
            Self::I64(v) => Value::I64(v),
            Self::F64(v) => Value::F64(v),
            Self::Time(v) => Value::Time(v),
            Self::Wide(_) | Self::Overflow => return None,
        })
    }
}

/// A member on a board.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
pub struct BoardRow {
    /// Canonical bytes of the member.
    pub member: Vec<u8>,
    /// Its place in the order of all shards.
    pub key: OrderKey,
    /// Its score, one per column.
    pub scores: Vec<Scalar>,
    /// What the board shows beside them, see [`crate::board::note_values`].
    pub note: Vec<u8>,
}

impl BoardRow {
    /// Its place among the members of all shards.
    pub fn place(&self) -> BoardPlace {
        BoardPlace {
            key: self.key,
            member: self.member.clone(),
        }
    }

    /// When its scores, of so many words, were reached, on a board whose ties are decided by that.
    pub fn reached(&self, score_words: usize, ties: Ties) -> Option<Tie> {
        let words = [self.key.words[score_words], self.key.words[score_words + 1]];
        match ties {
            Ties::FirstToReach => Some(Tie::from_words(words)),
            Ties::LastToReach => Some(Tie::from_words(words.map(|word| !word))),
            Ties::Member | Ties::Shared => None,
        }
    }

    /// The place before all members that have its scores, which are so many words.
    pub fn start_of_score(&self, score_words: usize) -> BoardPlace {
        BoardPlace {
            key: self.key.start_of_score(score_words),
            member: Vec::new(),
        }
    }
}

/// Answer to [`Query::Top`].
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
pub struct TopAnswer {
    /// Rows, best first.
    pub rows: Vec<BoardRow>,
    /// Members of the board on this shard.
    pub members: u64,
}

/// Answer to [`Query::Member`].
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
pub struct MemberAnswer {
    /// The member, if it is on the board.
    pub row: Option<BoardRow>,
    /// Members of this shard that are better.
    pub better: u64,
    /// Members of this shard whose score is better.
    pub better_score: u64,
    /// Members of the board on this shard.
    pub members: u64,
}

/// Answer to [`Query::Neighbours`].
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
pub struct NeighboursAnswer {
    /// Members of this shard that are better than the key.
    pub better: u64,
    /// The closest of them, best first.
    pub above: Vec<BoardRow>,
    /// Members at or below the key, best first.
    pub below: Vec<BoardRow>,
    /// Members of the board on this shard.
    pub members: u64,
}

/// A season of a board on one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct SeasonRow {
    /// Start, ms, inclusive.
    pub start_ms: i64,
    /// End, ms, exclusive.
    pub end_ms: i64,
    /// Members that have a score in it on this shard.
    pub members: u64,
    /// Events of this shard that were taken back or put back after the season was final.
    pub corrected: u64,
}

/// Answer to [`Query::Seasons`].
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct SeasonsAnswer {
    /// Watermark in effect on this shard, ms.
    pub watermark_ms: i64,
    /// The seasons that are there, by start.
    pub seasons: Vec<SeasonRow>,
}

/// A split of a board on one shard.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct SplitRow {
    /// Its values, as cells.
    pub split: Vec<u8>,
    /// Members that have a score in it on this shard.
    pub members: u64,
}

/// Answer to [`Query::Splits`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct SplitsAnswer {
    /// Those that were asked for and have members.
    pub splits: Vec<SplitRow>,
    /// Events of the season that count on the whole only, because there were too many splits.
    pub refused: u64,
    /// Whether some of these may be of the split that was asked for.
    pub lacking: bool,
}

/// Answer to [`Query::CountBetter`].
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct BetterAnswer {
    /// Members of this shard that are better, for each place.
    pub better: Vec<u64>,
    /// Members of the board on this shard.
    pub members: u64,
}

/// One group of one window: partials.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct WindowRow {
    /// Start of the window, ms, inclusive.
    pub start_ms: i64,
    /// End of the window, ms, exclusive.
    pub end_ms: i64,
    /// Bytes of the group, see [`crate::window::group_values`].
    pub group: Vec<u8>,
    /// One partial per column.
    pub partials: RowPartials,
    /// Events that amended the row after its window was closed.
    pub revision: u64,
}

/// Answer to [`Query::Windows`].
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct WindowsAnswer {
    /// Watermark in effect on this shard, ms.
    pub watermark_ms: i64,
    /// Rows by start, end and group.
    pub rows: Vec<WindowRow>,
    /// Whether the answer was cut off.
    pub more: bool,
}

/// What a shard knows of a producer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ProducerView {
    /// Highest epoch known.
    pub epoch: u32,
    /// Highest sequence in that epoch in the shard's own log stream, 0 if none.
    pub last_sequence: u64,
    /// Highest sequence in that epoch in the log streams inherited from, 0 if none.
    pub inherited_max: u64,
    /// Events accepted.
    pub accepted: u64,
    /// Duplicates by its sequences, since the start.
    pub duplicates: u64,
    /// Events that were duplicates by fields.
    pub repeated: u64,
    /// Events rejected.
    pub rejected: u64,
}

/// A rejected event.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct RejectedEvent {
    /// When it was taken in, ns.
    pub stamp_ns: u64,
    /// Who sent it.
    pub producer: u128,
    /// Its sequence.
    pub sequence: u64,
    /// Number of the reason, see [`crate::reject::RejectReason::from_code`].
    pub reason: u8,
    /// Index of the field, 255 for the row as a whole.
    pub field: u8,
    /// The log stream that holds it.
    pub log_stream: u32,
    /// Position of its entry in that log stream.
    pub lsn: u64,
    /// Its place in the entry, from 0.
    pub index: u32,
    /// The row as it came.
    pub row: Vec<u8>,
}

/// Events that a shard had stored before, as they came: all or some of one batch. They are not
/// logged, so this is known since the start only, and is no part of the recorded state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct DuplicateRun {
    /// When the batch came, ns.
    pub stamp_ns: u64,
    /// Who sent it.
    pub producer: u128,
    /// Its epoch.
    pub epoch: u32,
    /// Sequence of the first event of the batch.
    pub first_sequence: u64,
    /// Sequence of the last one.
    pub last_sequence: u64,
    /// How many of them were duplicates.
    pub duplicates: u32,
}

/// An event that was logged and did not take effect, because one with its id had.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct DuplicateEvent {
    /// When it was taken in, ns.
    pub stamp_ns: u64,
    /// Who sent it.
    pub producer: u128,
    /// Its sequence.
    pub sequence: u64,
    /// Number of the cause, see [`crate::dedupe::DuplicateCause::from_code`].
    pub cause: u8,
    /// The log stream that holds it.
    pub log_stream: u32,
    /// Position of its entry in that log stream.
    pub lsn: u64,
    /// Its place in the entry, from 0.
    pub index: u32,
    /// The row as it came.
    pub row: Vec<u8>,
}

/// Answer to [`Query::Duplicates`], each list newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct DuplicatesAnswer {
    /// By the sequences of their producers.
    pub runs: Vec<DuplicateRun>,
    /// By fields.
    pub events: Vec<DuplicateEvent>,
}

/// Counters of every stream, view and board of one shard, by their index in the pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Counters {
    /// Per stream.
    pub streams: Vec<StreamCounters>,
    /// Per view.
    pub views: Vec<ViewCounters>,
    /// Per board.
    pub boards: Vec<BoardCounters>,
}

/// Answer to [`Query::Stats`].
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Stats {
    /// The counters.
    pub counters: Counters,
    /// Watermark in effect per stream, ms; `i64::MIN` if there is none.
    pub watermarks_ms: Vec<i64>,
    /// Distinct keys per stream, where a board needs them; else 0.
    pub keys: Vec<u64>,
    /// Per stream the ids or sources that tell duplicates by fields apart; 0 where none do.
    pub remembered: Vec<u64>,
    /// Producers known.
    pub producers: u64,
    /// Deltas for other shards that wait for their entries to be durable.
    pub deltas_waiting: u64,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
pub enum Answer {
    /// To [`Query::Top`].
    Top(TopAnswer),
    /// To [`Query::Member`].
    Member(MemberAnswer),
    /// To [`Query::CountBetter`], in the order of the places.
    CountBetter(BetterAnswer),
    /// To [`Query::CountBetterScores`], in the order of the keys.
    CountBetterScores(Vec<u64>),
    /// To [`Query::Find`], in the order of the members.
    Find(Vec<Option<BoardRow>>),
    /// To [`Query::Neighbours`].
    Neighbours(NeighboursAnswer),
    /// To [`Query::Seasons`].
    Seasons(SeasonsAnswer),
    /// To [`Query::Splits`].
    Splits(SplitsAnswer),
    /// To [`Query::Windows`].
    Windows(WindowsAnswer),
    /// To [`Query::Producer`].
    Producer(Option<ProducerView>),
    /// To [`Query::Rejected`], newest first.
    Rejected(Vec<RejectedEvent>),
    /// To [`Query::Duplicates`].
    Duplicates(DuplicatesAnswer),
    /// To [`Query::Late`], newest first.
    Late(Vec<LateEvent>),
    /// To [`Query::Stats`].
    Stats(Stats),
    /// To [`Query::Corrections`].
    Corrections(CorrectionsAnswer),
    /// To [`Query::Taken`].
    Taken(TakenAnswer),
    /// To [`Query::Away`], in the order of the places.
    Away(Vec<Vec<u64>>),
    /// To [`Query::Weights`], in the order of the members.
    Weights(Vec<u64>),
    /// To a part of a correction.
    Corrected(CorrectedAnswer),
    /// The query names a board, view or stream that the pipeline does not have.
    Unknown,
}

/// Bytes that are no query or answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bytes are no valid query or answer")]
pub struct QueryError;

macro_rules! bytes {
    ($type:ty, $archived:ty) => {
        impl $type {
            /// The archived bytes.
            pub fn to_bytes(&self) -> AlignedVec {
                rkyv::to_bytes::<rancor::Error>(self)
                    .expect("invariant: plain data serialises into memory")
            }

            /// Reads bytes in place; they must be aligned to 16.
            pub fn access(bytes: &[u8]) -> Result<&$archived, QueryError> {
                rkyv::access::<$archived, rancor::Error>(bytes).map_err(|_| QueryError)
            }

            /// Reads bytes of any alignment.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, QueryError> {
                let mut aligned = AlignedVec::<16>::with_capacity(bytes.len());
                aligned.extend_from_slice(bytes);
                rkyv::from_bytes::<Self, rancor::Error>(&aligned).map_err(|_| QueryError)
            }
        }
    };
}
bytes!(Query, ArchivedQuery);
bytes!(Answer, ArchivedAnswer);
