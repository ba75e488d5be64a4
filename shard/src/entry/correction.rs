//! Corrections in the log: which events are taken back or put back, with all that this needs.
//!
//! The part that one shard has of a correction is a chain of entries, because an entry is bounded;
//! the last one makes it take effect, as a whole. A chain that was cut off by a crash has none.
//! Rows stand in the entries again, with what was recorded when they were taken in, so that replay
//! needs no second pass over the log.

use super::{EntryError, KIND_CORRECTION};
use crate::limits::{
    CORRECTION_EARLY_MAX, CORRECTION_PART_BYTES_MAX, CORRECTION_PART_EVENTS_MAX,
    CORRECTION_TEXT_BYTES_MAX,
};
use rkyv::{Archive, Deserialize, Serialize};

/// What a correction does.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize,
)]
pub enum CorrectionAction {
    /// It takes events back.
    Retract,
    /// It puts back what the correction of the same number took.
    Undo,
}

impl CorrectionAction {
    /// The name in answers.
    pub const fn name(self) -> &'static str {
        match self {
            CorrectionAction::Retract => "retract",
            CorrectionAction::Undo => "undo",
        }
    }
}

/// What an event is called by those who did not see where it was stored.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize,
)]
#[rkyv(derive(PartialEq, Eq, PartialOrd, Ord))]
pub enum EventName {
    /// Its producer, the epoch of the producer's session, and its sequence in that.
    Sequence {
        /// The producer.
        producer: u128,
        /// The epoch.
        epoch: u32,
        /// The sequence.
        sequence: u64,
    },
}

/// Where an event stands.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize,
)]
pub struct EventPlace {
    /// The log stream.
    pub log_stream: u32,
    /// Position of its entry in that.
    pub lsn: u64,
    /// Its place in the entry, from 0.
    pub index: u32,
}

/// An event of a correction; its row stands beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct CorrectedEvent {
    /// Where it stands.
    pub place: EventPlace,
    /// When it was taken in, ns.
    pub stamp_ns: u64,
    /// The watermark that was recorded with it, ms.
    pub watermark_ms: i64,
}

/// A part of a correction.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct CorrectionEntry {
    /// Number of the correction, the same on all shards.
    pub id: u64,
    /// What it does.
    pub action: CorrectionAction,
    /// Stream index.
    pub stream: u16,
    /// Schema of the rows.
    pub schema_id: u32,
    /// Shards that take part: all that there are.
    pub shards: u16,
    /// Place in the chain, from 0.
    pub part: u32,
    /// Whether the chain ends here, and takes effect.
    pub last: bool,
    /// When, ns.
    pub stamp_ns: u64,
    /// Watermark in effect, ms.
    pub watermark_ms: i64,
    /// Why; as the texts below, only in the first part.
    pub reason: String,
    /// By whom.
    pub author: String,
    /// What was asked for, as JSON.
    pub selector: String,
    /// Events that are taken back if they come later.
    pub early: Vec<EventName>,
    /// Events that are there.
    pub events: Vec<CorrectedEvent>,
    /// Their rows.
    pub rows: Vec<u8>,
}

impl CorrectionEntry {
    /// Checks all that decoding does not: sizes, and that there is a row for each event.
    pub(super) fn check(self) -> Result<Self, EntryError> {
        let texts = [&self.reason, &self.author, &self.selector];
        let short = |text: &&String| text.len() <= CORRECTION_TEXT_BYTES_MAX;
        let row_bytes = self.rows.len().checked_div(self.events.len()).unwrap_or(0);
        let whole = row_bytes * self.events.len() == self.rows.len()
            && (row_bytes > 0 || self.events.is_empty());
        let bounded = self.events.len() <= CORRECTION_PART_EVENTS_MAX
            && self.early.len() <= CORRECTION_EARLY_MAX
            && self.rows.len() <= CORRECTION_PART_BYTES_MAX
            && texts.iter().all(short);
        if whole && bounded {
            Ok(self)
        } else {
            Err(EntryError::Malformed(KIND_CORRECTION))
        }
    }
}

/// Bytes of an entry beside texts, names, events and rows, at most.
const FIXED_BYTES: usize = 256;
/// Bytes of a name and of an event without its row, at most.
const ITEM_BYTES: usize = 64;

impl CorrectionEntry {
    /// The parts of a whole correction, each of at most so many bytes where one event fits at all.
    pub fn split(self, budget_bytes: usize) -> Vec<CorrectionEntry> {
        let row_bytes = self.rows.len().checked_div(self.events.len()).unwrap_or(0);
        let events_bytes = budget_bytes.min(CORRECTION_PART_BYTES_MAX);
        let head = CorrectionEntry {
            early: Vec::new(),
            events: Vec::new(),
            rows: Vec::new(),
            last: false,
            ..self.clone()
        };
        let mut parts = vec![head.clone()];
        let texts = head.reason.len() + head.author.len() + head.selector.len();
        let mut bytes = FIXED_BYTES + texts;
        let mut next = |parts: &mut Vec<CorrectionEntry>, more: usize| {
            if bytes + more > events_bytes && bytes > FIXED_BYTES {
                parts.push(CorrectionEntry {
                    part: parts.len() as u32,
                    reason: String::new(),
                    author: String::new(),
                    selector: String::new(),
                    ..head.clone()
                });
                bytes = FIXED_BYTES;
            }
            bytes += more;
            parts.len() - 1
        };
        for name in self.early {
            let at = next(&mut parts, ITEM_BYTES);
            parts[at].early.push(name);
        }
        for (index, event) in self.events.into_iter().enumerate() {
            let at = next(&mut parts, ITEM_BYTES + row_bytes);
            parts[at].events.push(event);
            let row = &self.rows[index * row_bytes..(index + 1) * row_bytes];
            parts[at].rows.extend_from_slice(row);
        }
        if let Some(last) = parts.last_mut() {
            last.last = true;
        }
        parts
    }
}
