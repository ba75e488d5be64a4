//! Partials on their way to the shards that own their members.
//!
//! A delta waits until the entry that made it is durable, because nobody may see state that a crash
//! can undo. It is never logged: after a start every shard states all its partials anew.

use crate::board::partial::{Held, Partial};
use crate::limits::{SCORES_MAX, TEXT_BYTES_MAX};
use crate::rank::Tie;
use std::collections::VecDeque;

/// Bytes of an encoded delta before its partials.
const HEADER_BYTES: usize = 24;
/// Bytes of an encoded partial.
const PARTIAL_BYTES: usize = 40;

/// One shard's partials of one member of a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delta {
    /// Position of the entry that it depends on.
    pub lsn: u64,
    /// The shard whose partials they are.
    pub source: u16,
    /// The shard that owns the member.
    pub owner: u16,
    /// Board.
    pub board: u16,
    /// Start of the season, ms; of no meaning for boards without.
    pub season_ms: i64,
    pub(crate) partials: Partials,
    pub(crate) member: Name,
}

/// One partial per score column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Partials {
    partials: [Partial; SCORES_MAX],
    columns: u8,
}

impl Partials {
    /// At most [`SCORES_MAX`] of them.
    pub(crate) fn new(columns: &[Partial]) -> Self {
        let mut partials = [Partial::default(); SCORES_MAX];
        partials[..columns.len()].copy_from_slice(columns);
        let columns = columns.len() as u8;
        Self { partials, columns }
    }

    pub(crate) fn all(&self) -> &[Partial] {
        &self.partials[..usize::from(self.columns)]
    }
}

/// Canonical bytes of a value, in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name {
    len: u8,
    bytes: [u8; TEXT_BYTES_MAX],
}

impl Name {
    /// At most [`TEXT_BYTES_MAX`] bytes.
    pub(crate) fn new(name: &[u8]) -> Self {
        let mut bytes = [0; TEXT_BYTES_MAX];
        bytes[..name.len()].copy_from_slice(name);
        let len = name.len() as u8;
        Self { len, bytes }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl Delta {
    /// Canonical bytes of the member.
    pub fn member(&self) -> &[u8] {
        self.member.bytes()
    }

    /// Appends the delta as bytes, for a lane between cores.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.lsn.to_le_bytes());
        out.extend_from_slice(&self.source.to_le_bytes());
        out.extend_from_slice(&self.owner.to_le_bytes());
        out.extend_from_slice(&self.board.to_le_bytes());
        out.extend_from_slice(&[self.partials.columns, self.member.len]);
        out.extend_from_slice(&self.season_ms.to_le_bytes());
        for partial in self.partials.all() {
            out.extend_from_slice(&partial.words[0].to_le_bytes());
            out.extend_from_slice(&partial.words[1].to_le_bytes());
            out.extend_from_slice(&partial.tie.stamp_ns.to_le_bytes());
            out.extend_from_slice(&partial.tie.log_stream.to_le_bytes());
            out.extend_from_slice(&partial.tie.index.to_le_bytes());
            out.extend_from_slice(&u64::from(partial.held as u8).to_le_bytes());
        }
        out.extend_from_slice(self.member());
    }

    /// Reads one delta from the front of `bytes`, and how many bytes it took.
    pub fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES)?;
        let lsn = header.first_chunk().map(|b| u64::from_le_bytes(*b))?;
        let half = |at: usize| header[at..at + 2].try_into().map(u16::from_le_bytes).ok();
        let (columns, member_bytes) = (usize::from(header[14]), usize::from(header[15]));
        let (columns, rest) = rest.split_at_checked(columns * PARTIAL_BYTES)?;
        let mut partials = [Partial::default(); SCORES_MAX];
        let (columns, _) = columns.as_chunks::<PARTIAL_BYTES>();
        let partials = partials.get_mut(..columns.len())?;
        for (partial, bytes) in partials.iter_mut().zip(columns) {
            *partial = decode_partial(bytes)?;
        }
        let delta = Self {
            lsn,
            source: half(8)?,
            owner: half(10)?,
            board: half(12)?,
            season_ms: header.last_chunk().map(|b| i64::from_le_bytes(*b))?,
            partials: Partials::new(partials),
            member: Name::new(rest.get(..member_bytes)?),
        };
        let taken = HEADER_BYTES + columns.len() * PARTIAL_BYTES + member_bytes;
        Some((delta, taken))
    }
}

fn decode_partial(bytes: &[u8; PARTIAL_BYTES]) -> Option<Partial> {
    let long = |at: usize| bytes[at..at + 8].try_into().map(u64::from_le_bytes).ok();
    let word = |at: usize| bytes[at..at + 4].try_into().map(u32::from_le_bytes).ok();
    Some(Partial {
        words: [long(0)?, long(8)?],
        tie: Tie {
            stamp_ns: long(16)?,
            log_stream: word(24)?,
            index: word(28)?,
        },
        held: Held::from_code(u8::try_from(long(32)?).ok()?)?,
    })
}

/// Deltas in the order of their entries, as bytes: most are a small part of the largest.
#[derive(Debug, Clone, Default)]
pub struct DeltaQueue {
    bytes: VecDeque<u8>,
    deltas: usize,
    scratch: Vec<u8>,
}

impl DeltaQueue {
    pub(crate) fn push(&mut self, delta: &Delta) {
        self.scratch.clear();
        delta.encode(&mut self.scratch);
        self.bytes.extend(&self.scratch);
        self.deltas += 1;
    }

    /// The next delta whose entry is at or below `durable_lsn`.
    pub fn pop_durable(&mut self, durable_lsn: u64) -> Option<Delta> {
        self.scratch.clear();
        self.scratch.extend(self.bytes.iter().take(HEADER_BYTES));
        let lsn = u64::from_le_bytes(*self.scratch.first_chunk()?);
        if lsn > durable_lsn {
            return None;
        }
        let most = HEADER_BYTES + SCORES_MAX * PARTIAL_BYTES + TEXT_BYTES_MAX;
        let behind = self.bytes.iter().take(most).skip(HEADER_BYTES);
        self.scratch.extend(behind);
        let decoded = Delta::decode(&self.scratch);
        let (delta, taken) = decoded.expect("invariant: the queue holds whole deltas");
        self.bytes.drain(..taken);
        self.deltas -= 1;
        Some(delta)
    }

    /// Deltas that wait.
    pub fn len(&self) -> usize {
        self.deltas
    }

    /// Whether none wait.
    pub fn is_empty(&self) -> bool {
        self.deltas == 0
    }
}
