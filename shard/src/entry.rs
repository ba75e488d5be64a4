//! Log entries: what a shard records, and all that replay needs.
//!
//! An event batch is a fixed 64-byte header and the rows exactly as they came off the wire. The
//! rare structured entries are rkyv. The storage layer adds its own prefix with length and kind.
//!
//! ```text
//! 0  producer u128 | 16 epoch u32 | 20 stream u16 | 22 flags u16 | 24 first_sequence u64
//! 32 count u32 | 36 schema_id u32 | 40 stamp_ns u64 | 48 watermark_ms i64 | 56 reserved u64
//! 64 flags bit 0: count x u32 offsets from first_sequence, padded to 8 | rows
//! ```

mod correction;

pub use correction::{CorrectedEvent, CorrectionAction, CorrectionEntry, EventName, EventPlace};

use crate::limits::{BATCH_EVENTS_MAX, ROW_ALIGN_BYTES, ROW_BYTES_MAX};
use rkyv::rancor;
use rkyv::util::AlignedVec;

/// Bytes of the header of an event batch.
pub const BATCH_HEADER_BYTES: usize = 64;
/// Kind of an [`EventBatch`].
pub const KIND_EVENT_BATCH: u32 = 1;
/// Kind of a [`WatermarkEntry`].
pub const KIND_WATERMARK: u32 = 2;
/// Kind of a [`SchemaEntry`].
pub const KIND_SCHEMA: u32 = 3;
/// Kind of a [`ProducerSession`].
pub const KIND_PRODUCER_SESSION: u32 = 4;
/// Kind of a [`CorrectionEntry`].
pub const KIND_CORRECTION: u32 = 5;

const FLAG_OFFSETS: u16 = 1;

/// XXH3-128 of a producer's durable name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerId(pub u128);

impl ProducerId {
    /// The id of a durable name.
    pub fn of_name(name: &str) -> Self {
        Self(xxhash_rust::xxh3::xxh3_128(name.as_bytes()))
    }
}

/// Why bytes are no entry of this pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// A kind that this version does not know.
    #[error("unknown entry kind {0}")]
    UnknownKind(u32),
    /// Fewer or more bytes than the counts in the entry say.
    #[error("entry is {actual_bytes} bytes, its header calls for {expected_bytes}")]
    BadLength {
        /// What the header says.
        expected_bytes: usize,
        /// What is there.
        actual_bytes: usize,
    },
    /// A count outside `1..=BATCH_EVENTS_MAX`.
    #[error("event batch with a count of {0}")]
    BadCount(u32),
    /// Flags or reserved bytes that this version does not know.
    #[error("event batch with unknown flags")]
    BadFlags,
    /// Sequences that start at 0, do not increase or overflow.
    #[error("event batch with sequences that do not increase")]
    BadSequence,
    /// Rows of an impossible size.
    #[error("event batch with rows of {0} bytes")]
    BadRowBytes(usize),
    /// A structured entry that fails validation.
    #[error("structured entry of kind {0} is malformed")]
    Malformed(u32),
    /// A stream that the pipeline does not have.
    #[error("entry of stream {0}, which the pipeline does not have")]
    UnknownStream(u16),
    /// Rows of another schema than the pipeline has for the stream.
    #[error("entry of stream {stream} has schema {found:#010x}, the pipeline {expected:#010x}")]
    SchemaMismatch {
        /// Stream index.
        stream: u16,
        /// Schema of the entry.
        found: u32,
        /// Schema of the pipeline.
        expected: u32,
    },
    /// Parts of a correction that do not follow each other.
    #[error("part {part} of correction {id} does not follow what was before")]
    BrokenCorrection {
        /// The correction.
        id: u64,
        /// The part.
        part: u32,
    },
    /// A correction that a view or board cannot follow.
    #[error(
        "the log holds corrections of stream {stream}, which {what} number {index} refuses; \
         give it `retract = \"exact\"`, or \"ignore\""
    )]
    RefusedCorrection {
        /// Stream index.
        stream: u16,
        /// `view` or `board`.
        what: &'static str,
        /// Which one, from 1.
        index: usize,
    },
    /// A log stream that is neither the shard's own nor one of an older layout.
    #[error("entry of log stream {0}, which this shard does not inherit from")]
    ForeignLogStream(u32),
}

/// Rows of one stream from one producer, as they stand in the log.
#[derive(Debug, Clone, Copy)]
pub struct EventBatch<'a> {
    /// Who sent them.
    pub producer: ProducerId,
    /// Epoch of the producer's session.
    pub epoch: u32,
    /// Stream index.
    pub stream: u16,
    /// Schema of the rows.
    pub schema_id: u32,
    /// Sequence of the first row, unless offsets are given.
    pub first_sequence: u64,
    /// Rows, `1..=BATCH_EVENTS_MAX`.
    pub count: u32,
    /// When the batch was taken in, ns. Strictly increasing within a log stream, because ties on
    /// boards are decided by it.
    pub stamp_ns: u64,
    /// Watermark in effect for the whole batch, ms; `i64::MIN` if there is none yet.
    pub watermark_ms: i64,
    /// Little-endian u32 per row: its sequence less `first_sequence`. `None`: 0, 1, 2 and so on.
    pub offsets: Option<&'a [u8]>,
    /// The rows, each of the schema's row size.
    pub rows: &'a [u8],
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(
        bytes[at..at + 8]
            .try_into()
            .expect("invariant: eight bytes"),
    )
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("invariant: four bytes"))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("invariant: two bytes"))
}

impl<'a> EventBatch<'a> {
    /// The 64 bytes that stand before offsets and rows.
    pub fn header_bytes(&self) -> [u8; BATCH_HEADER_BYTES] {
        let mut out = [0; BATCH_HEADER_BYTES];
        out[0..16].copy_from_slice(&self.producer.0.to_le_bytes());
        out[16..20].copy_from_slice(&self.epoch.to_le_bytes());
        out[20..22].copy_from_slice(&self.stream.to_le_bytes());
        let flags = if self.offsets.is_some() {
            FLAG_OFFSETS
        } else {
            0
        };
        out[22..24].copy_from_slice(&flags.to_le_bytes());
        out[24..32].copy_from_slice(&self.first_sequence.to_le_bytes());
        out[32..36].copy_from_slice(&self.count.to_le_bytes());
        out[36..40].copy_from_slice(&self.schema_id.to_le_bytes());
        out[40..48].copy_from_slice(&self.stamp_ns.to_le_bytes());
        out[48..56].copy_from_slice(&self.watermark_ms.to_le_bytes());
        out
    }

    /// Bytes of the whole entry.
    pub fn encoded_bytes(&self) -> usize {
        let offsets = self
            .offsets
            .map_or(0, |offsets| offsets.len().next_multiple_of(8));
        BATCH_HEADER_BYTES + offsets + self.rows.len()
    }

    /// Appends the whole entry. The hot path writes the parts straight into the log frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.header_bytes());
        if let Some(offsets) = self.offsets {
            out.extend_from_slice(offsets);
            out.resize(
                out.len() + offsets.len().next_multiple_of(8) - offsets.len(),
                0,
            );
        }
        out.extend_from_slice(self.rows);
    }

    /// Reads an entry of kind [`KIND_EVENT_BATCH`]. Everything but the rows' contents is checked.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, EntryError> {
        let too_short = |expected_bytes| EntryError::BadLength {
            expected_bytes,
            actual_bytes: bytes.len(),
        };
        if bytes.len() < BATCH_HEADER_BYTES {
            return Err(too_short(BATCH_HEADER_BYTES));
        }
        let (header, body) = bytes.split_at(BATCH_HEADER_BYTES);
        let flags = u16_at(header, 22);
        if flags & !FLAG_OFFSETS != 0 || u64_at(header, 56) != 0 {
            return Err(EntryError::BadFlags);
        }
        let count = u32_at(header, 32);
        if count == 0 || count as usize > BATCH_EVENTS_MAX {
            return Err(EntryError::BadCount(count));
        }
        let offsets_bytes = if flags & FLAG_OFFSETS == 0 {
            0
        } else {
            count as usize * 4
        };
        let rows_at = offsets_bytes.next_multiple_of(8);
        if body.len() <= rows_at {
            return Err(too_short(
                BATCH_HEADER_BYTES + rows_at + count as usize * ROW_ALIGN_BYTES,
            ));
        }
        let batch = Self {
            producer: ProducerId(u128::from_le_bytes(
                header[..16].try_into().expect("invariant: sixteen bytes"),
            )),
            epoch: u32_at(header, 16),
            stream: u16_at(header, 20),
            schema_id: u32_at(header, 36),
            first_sequence: u64_at(header, 24),
            count,
            stamp_ns: u64_at(header, 40),
            watermark_ms: i64::from_le_bytes(
                header[48..56].try_into().expect("invariant: eight bytes"),
            ),
            offsets: (offsets_bytes > 0).then(|| &body[..offsets_bytes]),
            rows: &body[rows_at..],
        };
        batch.check()?;
        Ok(batch)
    }

    /// Checks that rows and sequences agree with the count.
    pub fn check(&self) -> Result<(), EntryError> {
        let count = self.count as usize;
        if count == 0 || count > BATCH_EVENTS_MAX {
            return Err(EntryError::BadCount(self.count));
        }
        let row_bytes = self.rows.len() / count;
        if !(ROW_ALIGN_BYTES..=ROW_BYTES_MAX).contains(&row_bytes)
            || !row_bytes.is_multiple_of(ROW_ALIGN_BYTES)
            || row_bytes * count != self.rows.len()
        {
            return Err(EntryError::BadRowBytes(row_bytes));
        }
        let increasing = match self.offsets {
            None => true,
            Some(offsets) => {
                offsets.len() == count * 4
                    && (1..count).all(|i| u32_at(offsets, (i - 1) * 4) < u32_at(offsets, i * 4))
            }
        };
        let last = self
            .first_sequence
            .checked_add(u64::from(self.offset(count - 1)));
        if self.first_sequence == 0 || !increasing || last.is_none() {
            return Err(EntryError::BadSequence);
        }
        Ok(())
    }

    #[inline]
    fn offset(&self, index: usize) -> u32 {
        match self.offsets {
            None => index as u32,
            Some(offsets) => u32_at(offsets, index * 4),
        }
    }

    /// Sequence of row `index`.
    #[inline]
    pub fn sequence(&self, index: usize) -> u64 {
        self.first_sequence + u64::from(self.offset(index))
    }

    /// Sequence of the last row.
    #[inline]
    pub fn last_sequence(&self) -> u64 {
        self.sequence(self.count as usize - 1)
    }

    /// Bytes of one row.
    #[inline]
    pub fn row_bytes(&self) -> usize {
        self.rows.len() / self.count as usize
    }

    /// Row `index`.
    #[inline]
    pub fn row(&self, index: usize) -> &'a [u8] {
        let row_bytes = self.row_bytes();
        &self.rows[index * row_bytes..(index + 1) * row_bytes]
    }

    /// How many rows have a sequence of at most `sequence`; they are the first ones.
    pub fn rows_through(&self, sequence: u64) -> usize {
        let count = self.count as usize;
        if sequence < self.first_sequence {
            return 0;
        }
        match self.offsets {
            None => usize::try_from(sequence - self.first_sequence + 1)
                .unwrap_or(count)
                .min(count),
            Some(_) => (0..count)
                .position(|i| self.sequence(i) > sequence)
                .unwrap_or(count),
        }
    }
}

/// The watermark of a stream moved without an event, because its inputs are idle.
#[derive(Debug, Clone, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct WatermarkEntry {
    /// Stream index.
    pub stream: u16,
    /// The new watermark, ms.
    pub watermark_ms: i64,
    /// When, ns.
    pub stamp_ns: u64,
}

/// The schema that rows of a stream have from here on.
#[derive(Debug, Clone, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct SchemaEntry {
    /// Stream index.
    pub stream: u16,
    /// Schema id.
    pub schema_id: u32,
    /// Name of the stream.
    pub stream_name: String,
    /// Canonical description that the id is a digest of.
    pub description: String,
}

/// A producer began a new epoch: its sequences start again and older connections are fenced.
#[derive(Debug, Clone, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct ProducerSession {
    /// The producer.
    pub producer: u128,
    /// The new epoch.
    pub epoch: u32,
    /// When, ns.
    pub stamp_ns: u64,
    /// The durable name.
    pub name: String,
}

/// A decoded entry.
#[derive(Debug, Clone)]
pub enum Entry<'a> {
    /// Events.
    Batch(EventBatch<'a>),
    /// Idle watermark.
    Watermark(WatermarkEntry),
    /// Schema of a stream.
    Schema(SchemaEntry),
    /// New epoch of a producer.
    Session(ProducerSession),
    /// Events that are taken back or put back.
    Correction(CorrectionEntry),
}

macro_rules! structured {
    ($type:ty, $kind:expr) => {
        impl $type {
            /// The entry's bytes.
            pub fn to_bytes(&self) -> AlignedVec {
                rkyv::to_bytes::<rancor::Error>(self)
                    .expect("invariant: plain data serialises into memory")
            }

            fn from_bytes(bytes: &[u8]) -> Result<Self, EntryError> {
                let mut aligned = AlignedVec::<16>::with_capacity(bytes.len());
                aligned.extend_from_slice(bytes);
                rkyv::from_bytes::<Self, rancor::Error>(&aligned)
                    .map_err(|_| EntryError::Malformed($kind))
            }
        }
    };
}
structured!(WatermarkEntry, KIND_WATERMARK);
structured!(SchemaEntry, KIND_SCHEMA);
structured!(ProducerSession, KIND_PRODUCER_SESSION);
structured!(CorrectionEntry, KIND_CORRECTION);

/// Reads an entry of the log. Every byte that the result depends on is validated.
pub fn decode_entry(kind: u32, bytes: &[u8]) -> Result<Entry<'_>, EntryError> {
    Ok(match kind {
        KIND_EVENT_BATCH => Entry::Batch(EventBatch::decode(bytes)?),
        KIND_WATERMARK => Entry::Watermark(WatermarkEntry::from_bytes(bytes)?),
        KIND_SCHEMA => Entry::Schema(SchemaEntry::from_bytes(bytes)?),
        KIND_PRODUCER_SESSION => Entry::Session(ProducerSession::from_bytes(bytes)?),
        KIND_CORRECTION => Entry::Correction(CorrectionEntry::from_bytes(bytes)?.check()?),
        _ => return Err(EntryError::UnknownKind(kind)),
    })
}

#[cfg(test)]
mod tests;
