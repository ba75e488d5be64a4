//! Shares of scores on their way to the shards that own their members.
//!
//! A delta waits until the entry that made it is durable, because nobody may see state that a crash
//! can undo. It is never logged: after a start every shard states all its shares anew. In the queue
//! and on a lane it is the same bytes, little-endian:
//!
//! ```text
//! lsn u64, season i64, source u16, owner u16, board u16, split length u16,
//! member length u32, share length u32, split, member, share
//! ```

/// Bytes of an encoded delta before its split.
const HEADER_BYTES: usize = 32;

/// One shard's share of the score of one member of a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delta<'a> {
    /// Position of the entry that it depends on.
    pub lsn: u64,
    /// Start of the season, ms; of no meaning for boards without.
    pub season_ms: i64,
    /// The shard whose share it is.
    pub source: u16,
    /// The shard that owns the member.
    pub owner: u16,
    /// Board.
    pub board: u16,
    /// Which split of the board, as cells; empty for the whole.
    pub split: &'a [u8],
    /// Canonical bytes of the member.
    pub member: &'a [u8],
    /// What only the board can read.
    pub share: &'a [u8],
}

impl<'a> Delta<'a> {
    /// Appends the delta as bytes, for a lane between cores.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.encode_with(out, |out| out.extend_from_slice(self.share));
    }

    /// The same with a share that `write_share` appends, whatever `share` says.
    fn encode_with(&self, out: &mut Vec<u8>, write_share: impl FnOnce(&mut Vec<u8>)) {
        out.extend_from_slice(&self.lsn.to_le_bytes());
        out.extend_from_slice(&self.season_ms.to_le_bytes());
        for number in [self.source, self.owner, self.board] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&(self.split.len() as u16).to_le_bytes());
        out.extend_from_slice(&(self.member.len() as u32).to_le_bytes());
        let length_at = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(self.split);
        out.extend_from_slice(self.member);
        let share_at = out.len();
        write_share(out);
        let share_bytes = (out.len() - share_at) as u32;
        out[length_at..length_at + 4].copy_from_slice(&share_bytes.to_le_bytes());
    }

    /// Reads one delta from the front of `bytes`, and how many bytes it took.
    pub fn decode(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES)?;
        let half = |at: usize| header[at..at + 2].try_into().map(u16::from_le_bytes).ok();
        let word = |at: usize| header[at..at + 4].try_into().map(u32::from_le_bytes).ok();
        let (split, rest) = rest.split_at_checked(usize::from(half(22)?))?;
        let (member, rest) = rest.split_at_checked(word(24)? as usize)?;
        let share = rest.get(..word(28)? as usize)?;
        let delta = Self {
            lsn: header.first_chunk().map(|b| u64::from_le_bytes(*b))?,
            season_ms: header[8..16].try_into().map(i64::from_le_bytes).ok()?,
            source: half(16)?,
            owner: half(18)?,
            board: half(20)?,
            split,
            member,
            share,
        };
        let taken = HEADER_BYTES + split.len() + member.len() + share.len();
        Some((delta, taken))
    }
}

/// Deltas in the order of their entries.
#[derive(Debug, Clone, Default)]
pub struct DeltaQueue {
    /// Those that wait, behind `head` bytes of such as have gone.
    bytes: Vec<u8>,
    head: usize,
    deltas: usize,
}

impl DeltaQueue {
    /// Appends a delta whose share `write_share` appends.
    pub(crate) fn push(&mut self, delta: &Delta<'_>, write_share: impl FnOnce(&mut Vec<u8>)) {
        delta.encode_with(&mut self.bytes, write_share);
        self.deltas += 1;
    }

    /// The oldest delta with its bytes, if its entry is at or below `durable_lsn`.
    pub fn first_durable(&self, durable_lsn: u64) -> Option<(Delta<'_>, &[u8])> {
        let waiting = &self.bytes[self.head..];
        let lsn = u64::from_le_bytes(*waiting.first_chunk()?);
        if lsn > durable_lsn {
            return None;
        }
        let (delta, taken) = Delta::decode(waiting).expect("invariant: the queue holds deltas");
        Some((delta, &waiting[..taken]))
    }

    /// Forgets the oldest delta.
    pub fn pop(&mut self) {
        let Some((_, taken)) = Delta::decode(&self.bytes[self.head..]) else {
            return;
        };
        self.head += taken;
        self.deltas -= 1;
        // Moves no byte more often than another one went.
        if self.head * 2 >= self.bytes.len() {
            self.bytes.drain(..self.head);
            self.head = 0;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn delta<'a>(lsn: u64, member: &'a [u8], share: &'a [u8]) -> Delta<'a> {
        Delta {
            lsn,
            season_ms: -7,
            source: 3,
            owner: 1,
            board: 2,
            split: b"EU",
            member,
            share,
        }
    }

    #[test]
    fn deltas_leave_in_order_once_their_entries_are_durable() {
        let mut queue = DeltaQueue::default();
        let member = |lsn: u64| vec![b'm'; lsn as usize % 7];
        for lsn in 1..=200 {
            let (member, share) = (member(lsn), vec![9; lsn as usize % 5]);
            let pushed = delta(lsn, &member, &[]);
            queue.push(&pushed, |out| out.extend_from_slice(&share));
        }
        for lsn in 1..=200 {
            assert_eq!(queue.first_durable(lsn - 1), None);
            let (found, bytes) = queue.first_durable(lsn).unwrap();
            let (member, share) = (member(lsn), vec![9; lsn as usize % 5]);
            assert_eq!(found, delta(lsn, &member, &share));
            assert_eq!(Delta::decode(bytes), Some((found, bytes.len())));
            queue.pop();
            assert_eq!(queue.len() as u64, 200 - lsn);
            assert!(queue.bytes.len() <= 2 * (queue.bytes.len() - queue.head) + 64);
        }
        assert!(queue.is_empty() && queue.first_durable(u64::MAX).is_none());
    }

    #[test]
    fn a_cut_delta_is_none() {
        let mut bytes = Vec::new();
        delta(5, b"member", b"share").encode(&mut bytes);
        for cut in 0..bytes.len() {
            assert_eq!(Delta::decode(&bytes[..cut]), None, "{cut}");
        }
    }
}
