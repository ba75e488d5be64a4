//! What a shard tells of corrections.

use crate::entry::{CorrectionEntry, EventPlace};
use rkyv::{Archive, Deserialize, Serialize};

/// A correction on one shard.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct CorrectionRecord {
    /// Its number.
    pub id: u64,
    /// Stream index.
    pub stream: u16,
    /// Shards that take part: it is whole once so many log streams have it.
    pub shards: u16,
    /// When it took effect, ns; the earliest log stream's.
    pub stamp_ns: u64,
    /// Why.
    pub reason: String,
    /// By whom.
    pub author: String,
    /// What was asked for, as JSON.
    pub selector: String,
    /// Events that it took back when it took effect.
    pub events: u64,
    /// Names that it announced.
    pub early: u64,
    /// Events that came under such a name, and were taken back at once.
    pub annulled: u64,
    /// The log streams known here that have the whole of it, ascending.
    pub log_streams: Vec<u32>,
    /// What took it back in turn.
    pub undone: Option<Undone>,
}

/// The end of a correction.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Undone {
    /// When, ns.
    pub stamp_ns: u64,
    /// Why.
    pub reason: String,
    /// By whom.
    pub author: String,
    /// The log streams known here that have the whole of it, ascending.
    pub log_streams: Vec<u32>,
    /// Shards that take part.
    pub shards: u16,
}

impl CorrectionRecord {
    pub(crate) fn of(entry: &CorrectionEntry) -> Self {
        Self {
            id: entry.id,
            stream: entry.stream,
            shards: entry.shards,
            stamp_ns: entry.stamp_ns,
            reason: entry.reason.clone(),
            author: entry.author.clone(),
            selector: entry.selector.clone(),
            events: 0,
            early: 0,
            annulled: 0,
            log_streams: Vec::new(),
            undone: None,
        }
    }
}

impl Undone {
    pub(crate) fn of(entry: &CorrectionEntry) -> Self {
        Self {
            stamp_ns: entry.stamp_ns,
            reason: entry.reason.clone(),
            author: entry.author.clone(),
            log_streams: Vec::new(),
            shards: entry.shards,
        }
    }
}

/// Answer to [`super::Query::Corrections`].
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct CorrectionsAnswer {
    /// The corrections, by number.
    pub records: Vec<CorrectionRecord>,
    /// Position of the last entry with events or corrections in the shard's own log stream.
    pub last_lsn: u64,
    /// Events of the shard that are taken back.
    pub taken: u64,
    /// Names of events that are waited for.
    pub early: u64,
}

/// What became of a part of a correction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum CorrectedAnswer {
    /// It stands in the log.
    Stored,
    /// The log held the whole of the correction before.
    Known,
    /// No space is left for the log.
    DiskFull,
    /// It does not follow the part before, or a view or board refuses it.
    Refused,
}

/// Answer to [`super::Query::Taken`].
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct TakenAnswer {
    /// Where the events stand that a correction has taken back.
    pub places: Vec<EventPlace>,
}
