//! A frame: one group commit. Encoding in place, decoding to borrowed entries.
//!
//! Decoding is split into steps, because recovery judges by which of them fails: a header stands
//! alone ([`FrameHeader::decode`]), then the payload's digest ([`FrameHeader::covers`]), then the
//! entries ([`entries`]).

use crate::checksum::{digest, header_crc};
use crate::layout::frame_header::*;
use crate::layout::{
    BLOCK_BYTES, FRAME_BYTES_MAX, FRAME_HEADER_BYTES, entry, get_u16, get_u32, get_u64, get_u128,
    put_u16, put_u32, put_u64, put_u128,
};

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// Carries entries.
    Data,
    /// Ends a segment: its successor must exist or be about to.
    Seal,
    /// The log was closed in order.
    Close,
}

impl FrameKind {
    fn code(self) -> u16 {
        match self {
            FrameKind::Data => 1,
            FrameKind::Seal => 2,
            FrameKind::Close => 3,
        }
    }

    fn from_code(code: u16) -> Option<FrameKind> {
        [FrameKind::Data, FrameKind::Seal, FrameKind::Close]
            .into_iter()
            .find(|kind| kind.code() == code)
    }
}

/// The fields of a frame header; see the byte table in `docs/formats/log.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the frame is for.
    pub kind: FrameKind,
    /// Low half of the log id.
    pub log_id_low: u64,
    /// Segment that the frame was written for.
    pub segment_sequence: u64,
    /// Block of the segment that it starts on.
    pub block_index: u32,
    /// Blocks, header and padding included.
    pub block_count: u32,
    /// Stream of the log.
    pub stream: u32,
    /// Entries in the payload.
    pub entry_count: u32,
    /// Position in the log: no gaps.
    pub frame_sequence: u64,
    /// LSN of the first entry, or of the next one to come.
    pub first_lsn: u64,
    /// Payload without padding.
    pub payload_bytes: u32,
    /// Number of the layer above.
    pub schema_id: u32,
    /// Incarnation that wrote it.
    pub incarnation: u64,
    /// Last frame known as durable when this one was built.
    pub durable_sequence: u64,
    /// Link of the header before.
    pub previous_link: u128,
    /// Digest of payload and padding.
    pub payload_digest: u128,
}

impl FrameHeader {
    /// Writes the header into the front of `frame`, CRC included, and returns its link.
    pub fn encode(&self, frame: &mut [u8]) -> u128 {
        let bytes = &mut frame[..FRAME_HEADER_BYTES];
        put_u32(bytes, MAGIC, MAGIC_VALUE);
        put_u16(bytes, KIND, self.kind.code());
        put_u16(bytes, FLAGS, 0);
        put_u64(bytes, LOG_ID_LOW, self.log_id_low);
        put_u64(bytes, SEGMENT_SEQUENCE, self.segment_sequence);
        put_u32(bytes, BLOCK_INDEX, self.block_index);
        put_u32(bytes, BLOCK_COUNT, self.block_count);
        put_u32(bytes, STREAM, self.stream);
        put_u32(bytes, ENTRY_COUNT, self.entry_count);
        put_u64(bytes, FRAME_SEQUENCE, self.frame_sequence);
        put_u64(bytes, FIRST_LSN, self.first_lsn);
        put_u32(bytes, PAYLOAD_BYTES, self.payload_bytes);
        put_u32(bytes, SCHEMA_ID, self.schema_id);
        put_u64(bytes, INCARNATION, self.incarnation);
        put_u64(bytes, DURABLE_SEQUENCE, self.durable_sequence);
        put_u128(bytes, PREVIOUS_LINK, self.previous_link);
        put_u128(bytes, PAYLOAD_DIGEST, self.payload_digest);
        bytes[RESERVE..].fill(0);
        put_u32(bytes, HEADER_CRC, header_crc(bytes, HEADER_CRC));
        digest(bytes)
    }

    /// Reads the header at the front of `block`. `None` if there is no valid one: magic, CRC,
    /// kind and lengths are right, which says nothing yet about whose frame it is.
    #[inline]
    #[must_use]
    pub fn decode(block: &[u8]) -> Option<FrameHeader> {
        let bytes = block.get(..FRAME_HEADER_BYTES)?;
        if get_u32(bytes, MAGIC) != MAGIC_VALUE
            || get_u32(bytes, HEADER_CRC) != header_crc(bytes, HEADER_CRC)
        {
            return None;
        }
        let header = FrameHeader {
            kind: FrameKind::from_code(get_u16(bytes, KIND))?,
            log_id_low: get_u64(bytes, LOG_ID_LOW),
            segment_sequence: get_u64(bytes, SEGMENT_SEQUENCE),
            block_index: get_u32(bytes, BLOCK_INDEX),
            block_count: get_u32(bytes, BLOCK_COUNT),
            stream: get_u32(bytes, STREAM),
            entry_count: get_u32(bytes, ENTRY_COUNT),
            frame_sequence: get_u64(bytes, FRAME_SEQUENCE),
            first_lsn: get_u64(bytes, FIRST_LSN),
            payload_bytes: get_u32(bytes, PAYLOAD_BYTES),
            schema_id: get_u32(bytes, SCHEMA_ID),
            incarnation: get_u64(bytes, INCARNATION),
            durable_sequence: get_u64(bytes, DURABLE_SEQUENCE),
            previous_link: get_u128(bytes, PREVIOUS_LINK),
            payload_digest: get_u128(bytes, PAYLOAD_DIGEST),
        };
        let blocks = blocks_of(header.payload_bytes as usize);
        let fits = header.frame_bytes() <= FRAME_BYTES_MAX && blocks == header.block_count;
        fits.then_some(header)
    }

    /// Bytes of the whole frame.
    #[inline]
    #[must_use]
    pub fn frame_bytes(&self) -> usize {
        self.block_count as usize * BLOCK_BYTES
    }

    /// True if the payload and padding of `frame` (the whole frame) match the digest.
    #[inline]
    #[must_use]
    pub fn covers(&self, frame: &[u8]) -> bool {
        frame.len() == self.frame_bytes()
            && digest(&frame[FRAME_HEADER_BYTES..]) == self.payload_digest
    }

    /// The payload of `frame`, without header and padding.
    #[must_use]
    pub fn payload<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        &frame[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + self.payload_bytes as usize]
    }
}

/// Link that the header standing at the front of `frame` gives to its successor.
#[inline]
#[must_use]
pub fn link_of(frame: &[u8]) -> u128 {
    digest(&frame[..FRAME_HEADER_BYTES])
}

/// Blocks that a frame with `payload_bytes` takes.
#[inline]
#[must_use]
pub fn blocks_of(payload_bytes: usize) -> u32 {
    (FRAME_HEADER_BYTES + payload_bytes).div_ceil(BLOCK_BYTES) as u32
}

/// The payload does not hold exactly the promised entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedEntries;

/// An entry as it stands in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What the bytes are, by the number that they were appended with.
    pub kind: u32,
    /// 16-aligned in memory if the frame is.
    pub bytes: &'a [u8],
}

/// Entries of a payload, in order.
pub fn entries(payload: &[u8], count: u32) -> Entries<'_> {
    let offset = if count == 0 { 0 } else { entry::PREAMBLE_BYTES };
    Entries {
        payload,
        offset,
        left: count,
    }
}

/// Iterator of [`entries`]; ends after the first error.
pub struct Entries<'a> {
    payload: &'a [u8],
    offset: usize,
    left: u32,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, MalformedEntries>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            let whole = self.offset >= self.payload.len();
            self.offset = self.payload.len();
            return (!whole).then_some(Err(MalformedEntries));
        }
        self.left -= 1;
        let entry = self.take();
        if entry.is_none() {
            (self.left, self.offset) = (0, self.payload.len());
        }
        Some(entry.ok_or(MalformedEntries))
    }
}

impl<'a> Entries<'a> {
    #[inline]
    fn take(&mut self) -> Option<Entry<'a>> {
        let rest = self.payload.get(self.offset..)?;
        if rest.len() < entry::PREFIX_BYTES {
            return None;
        }
        let kind = get_u32(rest, entry::KIND);
        if kind == entry::KIND_NONE {
            return None;
        }
        let bytes = get_u32(rest, entry::BYTES) as usize;
        let taken = rest.get(..entry::footprint(bytes))?;
        self.offset += taken.len();
        let bytes = &taken[entry::PREFIX_BYTES..entry::PREFIX_BYTES + bytes];
        Some(Entry { kind, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> FrameHeader {
        FrameHeader {
            kind: FrameKind::Data,
            log_id_low: 1,
            segment_sequence: 2,
            block_index: 3,
            block_count: 1,
            stream: 5,
            entry_count: 6,
            frame_sequence: 7,
            first_lsn: 8,
            payload_bytes: 100,
            schema_id: 9,
            incarnation: 10,
            durable_sequence: 11,
            previous_link: 12,
            payload_digest: 13,
        }
    }

    #[test]
    fn a_header_is_read_back_and_any_changed_bit_hides_it() {
        let mut block = vec![0; BLOCK_BYTES];
        let link = header().encode(&mut block);
        assert_eq!(FrameHeader::decode(&block), Some(header()));
        assert_eq!(link, link_of(&block));
        for bit in 0..FRAME_HEADER_BYTES * 8 {
            block[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FrameHeader::decode(&block), None, "bit {bit}");
            assert_ne!(link_of(&block), link);
            block[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn lengths_that_do_not_fit_together_are_refused() {
        let mut block = vec![0; BLOCK_BYTES];
        for (payload_bytes, block_count) in [(100, 2), (4096, 1), (u32::MAX, 1), (1 << 20, 257)] {
            FrameHeader {
                payload_bytes,
                block_count,
                ..header()
            }
            .encode(&mut block);
            assert_eq!(FrameHeader::decode(&block), None);
        }
    }

    #[test]
    fn rubbish_payloads_give_an_error_and_end() {
        let mut payload = vec![0u8; 40];
        put_u32(&mut payload, 8, 5);
        put_u32(&mut payload, 12, 7);
        let whole = Ok(Entry {
            kind: 7,
            bytes: &[0; 5],
        });
        fn all(payload: &[u8], count: u32) -> Vec<Result<Entry<'_>, MalformedEntries>> {
            entries(payload, count).collect()
        }
        assert_eq!(all(&payload[..24], 1), [whole]);
        assert_eq!(all(&payload, 1), [whole, Err(MalformedEntries)]);
        assert_eq!(all(&payload[..24], 2), [whole, Err(MalformedEntries)]);
        assert_eq!(all(&payload[..20], 1), [Err(MalformedEntries)]);
        put_u32(&mut payload, 8, u32::MAX);
        assert_eq!(all(&payload, 1), [Err(MalformedEntries)]);
        put_u32(&mut payload, 8, 5);
        put_u32(&mut payload, 12, entry::KIND_NONE);
        assert_eq!(all(&payload[..24], 1), [Err(MalformedEntries)]);
        assert_eq!(all(&[], 0), []);
    }
}
