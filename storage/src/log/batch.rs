//! The frame that is being filled: entries are copied once, to where they will be written from.

use crate::aligned::AlignedBuf;
use crate::checksum::digest;
use crate::frame::blocks_of;
use crate::layout::{BLOCK_BYTES, FRAME_HEADER_BYTES, entry, put_u32};

/// A buffer and the entries in it. Invariant: the bytes of `FRAME_HEADER_BYTES..end` are final.
pub(super) struct Batch {
    buffer: AlignedBuf,
    /// End of the last entry's footprint in the buffer.
    end: usize,
    entries: u32,
}

/// Where the first entry's prefix stands.
const START: usize = FRAME_HEADER_BYTES + entry::PREAMBLE_BYTES;

impl Batch {
    pub(super) fn new(mut buffer: AlignedBuf) -> Batch {
        buffer[FRAME_HEADER_BYTES..START].fill(0);
        Batch {
            buffer,
            end: START,
            entries: 0,
        }
    }

    /// Longest entry that can still go in; 0 if not even an empty one can, or only that.
    #[inline]
    pub(super) fn room(&self) -> usize {
        let left = self.buffer.len() - self.end;
        let footprint = left / entry::ALIGNMENT * entry::ALIGNMENT;
        footprint.saturating_sub(entry::PREFIX_BYTES)
    }

    /// Copies the concatenation of `parts` as one entry of `kind`. False if there is no room.
    #[inline]
    pub(super) fn push(&mut self, kind: u32, parts: &[&[u8]]) -> bool {
        assert!(kind != entry::KIND_NONE, "an entry has a kind");
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        let footprint = entry::footprint(bytes);
        if footprint > self.buffer.len() - self.end {
            return false;
        }
        let target = &mut self.buffer[self.end..self.end + footprint];
        put_u32(target, entry::BYTES, bytes as u32);
        put_u32(target, entry::KIND, kind);
        let mut at = entry::PREFIX_BYTES;
        for part in parts {
            target[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        target[at..].fill(0);
        self.end += footprint;
        self.entries += 1;
        true
    }

    pub(super) fn entries(&self) -> u32 {
        self.entries
    }

    /// Bytes of the payload; 0 without entries.
    #[inline]
    pub(super) fn payload_bytes(&self) -> usize {
        if self.entries == 0 {
            0
        } else {
            self.end - FRAME_HEADER_BYTES
        }
    }

    /// Blocks of the frame as it stands.
    pub(super) fn blocks(&self) -> u32 {
        blocks_of(self.payload_bytes())
    }

    /// Zeroes the padding and returns the digest of payload and padding.
    pub(super) fn close(&mut self) -> u128 {
        let payload_end = FRAME_HEADER_BYTES + self.payload_bytes();
        let frame_end = self.blocks() as usize * BLOCK_BYTES;
        self.buffer[payload_end..frame_end].fill(0);
        digest(&self.buffer[FRAME_HEADER_BYTES..frame_end])
    }

    pub(super) fn into_buffer(self) -> AlignedBuf {
        self.buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Entry, entries};

    #[test]
    fn entries_come_back_aligned_whole_and_in_order() {
        let mut batch = Batch::new(AlignedBuf::zeroed(8192));
        let mut expected = Vec::new();
        let kinds = [1, 2, 3, 0x7f, 0x100, 1 << 16, 1 << 31, u32::MAX];
        for (kind, length) in kinds.into_iter().zip([0usize, 1, 7, 8, 9, 24, 100, 1000]) {
            let bytes: Vec<u8> = (0..length).map(|index| index as u8).collect();
            assert!(batch.push(kind, &[&bytes[..length / 2], &bytes[length / 2..]]));
            expected.push((kind, bytes));
        }
        let (payload_bytes, count) = (batch.payload_bytes(), batch.entries());
        batch.close();
        let buffer = batch.into_buffer();
        let payload = &buffer[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + payload_bytes];
        let found: Vec<_> = entries(payload, count)
            .map(|entry| entry.unwrap())
            .collect();
        let same = |((kind, bytes), entry): (&(u32, Vec<u8>), &Entry<'_>)| {
            (*kind, &bytes[..]) == (entry.kind, entry.bytes)
        };
        assert!(found.len() == expected.len() && expected.iter().zip(&found).all(same));
        assert!(
            found
                .iter()
                .all(|entry| (entry.bytes.as_ptr() as usize).is_multiple_of(16))
        );
    }

    #[test]
    fn room_is_exactly_what_push_accepts() {
        let mut batch = Batch::new(AlignedBuf::zeroed(4096));
        while batch.room() >= 16 {
            assert!(!batch.push(1, &[&vec![0; batch.room() + 1]]));
            assert!(batch.push(1, &[&[1; 16]]));
        }
        let last = vec![2; batch.room()];
        assert!(batch.push(1, &[&last]));
        assert_eq!(batch.blocks(), 1);
        assert_eq!(batch.room(), 0);
        assert!(!batch.push(1, &[]), "an empty entry has a footprint, too");
    }

    #[test]
    fn stale_bytes_of_the_buffer_do_not_reach_the_frame() {
        let mut stale = AlignedBuf::zeroed(4096);
        stale.fill(0xee);
        let (mut clean, mut reused) = (Batch::new(AlignedBuf::zeroed(4096)), Batch::new(stale));
        assert!(clean.push(1, &[b"x"]) && reused.push(1, &[b"x"]));
        assert_eq!(clean.close(), reused.close());
    }

    #[test]
    #[should_panic(expected = "an entry has a kind")]
    fn an_entry_without_a_kind_is_a_mistake_of_the_caller() {
        Batch::new(AlignedBuf::zeroed(4096)).push(entry::KIND_NONE, &[b"x"]);
    }
}
