//! Partials on their way to the shards that own their members.
//!
//! A delta waits until the entry that made it is durable, because nobody may see state that a crash
//! can undo. It is never logged: after a start every shard states all its partials anew.

use crate::board::partial::{Held, Partial};
use crate::limits::TEXT_BYTES_MAX;
use crate::rank::Tie;
use std::collections::VecDeque;

/// Bytes of an encoded delta before its member.
pub const DELTA_HEADER_BYTES: usize = 48;

/// One shard's partial of one member of a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delta {
    /// Position of the entry that it depends on.
    pub lsn: u64,
    /// The shard whose partial it is.
    pub source: u16,
    /// The shard that owns the member.
    pub owner: u16,
    /// Board.
    pub board: u16,
    pub(crate) partial: Partial,
    member_bytes: u8,
    member: [u8; TEXT_BYTES_MAX],
}

impl Delta {
    pub(crate) fn new(
        lsn: u64,
        source: u16,
        owner: u16,
        board: u16,
        member: &[u8],
        partial: Partial,
    ) -> Self {
        let mut bytes = [0; TEXT_BYTES_MAX];
        bytes[..member.len()].copy_from_slice(member);
        let member_bytes = member.len() as u8;
        Self {
            lsn,
            source,
            owner,
            board,
            partial,
            member_bytes,
            member: bytes,
        }
    }

    /// Canonical bytes of the member.
    pub fn member(&self) -> &[u8] {
        &self.member[..usize::from(self.member_bytes)]
    }

    /// Appends the delta as bytes, for a lane between cores.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.lsn.to_le_bytes());
        out.extend_from_slice(&self.source.to_le_bytes());
        out.extend_from_slice(&self.owner.to_le_bytes());
        out.extend_from_slice(&self.board.to_le_bytes());
        out.extend_from_slice(&[self.partial.held as u8, self.member_bytes]);
        out.extend_from_slice(&self.partial.words[0].to_le_bytes());
        out.extend_from_slice(&self.partial.words[1].to_le_bytes());
        out.extend_from_slice(&self.partial.tie.stamp_ns.to_le_bytes());
        out.extend_from_slice(&self.partial.tie.log_stream.to_le_bytes());
        out.extend_from_slice(&self.partial.tie.index.to_le_bytes());
        out.extend_from_slice(self.member());
    }

    /// Reads one delta from the front of `bytes`, and how many bytes it took.
    pub fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let (header, rest) = bytes.split_at_checked(DELTA_HEADER_BYTES)?;
        let long = |at: usize| header[at..at + 8].try_into().map(u64::from_le_bytes).ok();
        let word = |at: usize| header[at..at + 4].try_into().map(u32::from_le_bytes).ok();
        let half = |at: usize| header[at..at + 2].try_into().map(u16::from_le_bytes).ok();
        let member = rest.get(..usize::from(header[15]))?;
        let tie = Tie {
            stamp_ns: long(32)?,
            log_stream: word(40)?,
            index: word(44)?,
        };
        let held = Held::from_code(header[14])?;
        let partial = Partial {
            words: [long(16)?, long(24)?],
            tie,
            held,
        };
        let delta = Self::new(long(0)?, half(8)?, half(10)?, half(12)?, member, partial);
        Some((delta, DELTA_HEADER_BYTES + member.len()))
    }
}

/// Deltas in the order of their entries.
#[derive(Debug, Clone, Default)]
pub struct DeltaQueue {
    queue: VecDeque<Delta>,
}

impl DeltaQueue {
    pub(crate) fn push(&mut self, delta: Delta) {
        self.queue.push_back(delta);
    }

    /// The next delta whose entry is at or below `durable_lsn`.
    pub fn pop_durable(&mut self, durable_lsn: u64) -> Option<Delta> {
        let is_durable = self
            .queue
            .front()
            .is_some_and(|delta| delta.lsn <= durable_lsn);
        if is_durable {
            self.queue.pop_front()
        } else {
            None
        }
    }

    /// Deltas that wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none wait.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
