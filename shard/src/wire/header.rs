//! The 32 bytes before every payload.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::limits::{
    BATCH_EVENTS_MAX, FRAME_HEADER_BYTES, FRAME_PAYLOAD_BYTES_MAX, PUBLISH_PREFIX_BYTES,
    ROW_ALIGN_BYTES, ROW_BYTES_MAX,
};
use crate::wire::{MAGIC, VERSION, WireError};

/// Offsets of the header's fields, in bytes.
pub mod header_offset {
    /// `[u8; 4]`: "RMW1".
    pub const MAGIC: usize = 0;
    /// `u8`: the kind of frame.
    pub const KIND: usize = 4;
    /// `u8`: of the kind.
    pub const FLAGS: usize = 5;
    /// `u16`: index of the stream in the HelloAck, for Publish.
    pub const STREAM: usize = 6;
    /// `u32`: bytes of the payload.
    pub const PAYLOAD_BYTES: usize = 8;
    /// `u32`: of the kind.
    pub const COUNT: usize = 12;
    /// `u64`: of the kind.
    pub const SEQUENCE: usize = 16;
    /// `u64`: XXH3-64 of the bytes before it, seeded with the XXH3-64 of the payload.
    pub const CHECKSUM: usize = 24;
    const _: () = assert!(CHECKSUM + 8 == crate::limits::FRAME_HEADER_BYTES);
}

use header_offset as at;

/// The kind of a frame. Those of clients are below 0x80, those of servers are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// Who the client is; the first frame of a connection.
    Hello = 0x01,
    /// Events.
    Publish = 0x02,
    /// A question whether the other side lives.
    Ping = 0x03,
    /// The answer to Hello.
    HelloAck = 0x81,
    /// Events are safe.
    Ack = 0x82,
    /// Something was refused.
    Error = 0x83,
    /// The answer to Ping.
    Pong = 0x84,
}

impl FrameKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [FrameKind; 7] = [
        FrameKind::Hello,
        FrameKind::Publish,
        FrameKind::Ping,
        FrameKind::HelloAck,
        FrameKind::Ack,
        FrameKind::Error,
        FrameKind::Pong,
    ];

    /// The number on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The kind of a number on the wire.
    pub const fn from_code(code: u8) -> Option<FrameKind> {
        Some(match code {
            0x01 => FrameKind::Hello,
            0x02 => FrameKind::Publish,
            0x03 => FrameKind::Ping,
            0x81 => FrameKind::HelloAck,
            0x82 => FrameKind::Ack,
            0x83 => FrameKind::Error,
            0x84 => FrameKind::Pong,
            _ => return None,
        })
    }

    /// Whether a client sends it.
    pub const fn is_request(self) -> bool {
        self.code() < 0x80
    }

    /// Least and greatest length of its payload, in bytes.
    const fn payload_bytes(self) -> (usize, usize) {
        match self {
            FrameKind::Hello => (10, 9 + crate::limits::NAME_BYTES_MAX),
            FrameKind::Publish => (
                PUBLISH_PREFIX_BYTES + ROW_ALIGN_BYTES,
                FRAME_PAYLOAD_BYTES_MAX,
            ),
            FrameKind::Ping | FrameKind::Pong | FrameKind::Ack => (0, 0),
            FrameKind::HelloAck => (36, FRAME_PAYLOAD_BYTES_MAX),
            FrameKind::Error => (8, 8 + crate::limits::ERROR_MESSAGE_BYTES_MAX),
        }
    }

    /// The bits of `flags` that this version knows.
    const fn flags_mask(self) -> u8 {
        match self {
            FrameKind::Ack => 0b11,
            FrameKind::Error => 0b1,
            _ => 0,
        }
    }
}

/// A decoded header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// The kind of frame.
    pub kind: FrameKind,
    /// Ack: the level. Error: bit 0 = fatal. Else 0.
    pub flags: u8,
    /// Publish: index of the stream. Else 0.
    pub stream: u16,
    /// Bytes of the payload.
    pub payload_bytes: u32,
    /// Publish: number of rows. Ack: number of rejected events. Else 0.
    pub count: u32,
    /// Publish: sequence of the first row. Ack: cumulative sequence. Error: sequence or 0.
    /// Ping, Pong: a token that is sent back.
    pub sequence: u64,
    /// Checksum over header and payload; see [`verify`].
    pub checksum: u64,
}

impl FrameHeader {
    /// Reads a header and refuses everything that can be refused without the payload: magic,
    /// version, kind, flags, and every length and count that no frame of its kind can have.
    #[inline]
    pub fn decode(bytes: &[u8; FRAME_HEADER_BYTES]) -> Result<FrameHeader, WireError> {
        let magic = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if magic != MAGIC {
            return Err(refuse_magic(magic));
        }
        let kind = FrameKind::from_code(bytes[at::KIND]).ok_or(WireError::UnknownKind {
            kind: bytes[at::KIND],
        })?;
        let header = FrameHeader {
            kind,
            flags: bytes[at::FLAGS],
            stream: u16_at(bytes, at::STREAM),
            payload_bytes: u32_at(bytes, at::PAYLOAD_BYTES),
            count: u32_at(bytes, at::COUNT),
            sequence: u64_at(bytes, at::SEQUENCE),
            checksum: u64_at(bytes, at::CHECKSUM),
        };
        header.check()?;
        Ok(header)
    }

    #[inline]
    fn check(&self) -> Result<(), WireError> {
        let bytes = self.payload_bytes;
        if bytes as usize > FRAME_PAYLOAD_BYTES_MAX {
            return Err(WireError::PayloadTooLarge { bytes });
        }
        let (bytes_min, bytes_max) = self.kind.payload_bytes();
        if !(bytes_min..=bytes_max).contains(&(bytes as usize)) {
            return Err(WireError::PayloadLength { bytes });
        }
        if self.flags & !self.kind.flags_mask() != 0 {
            return Err(WireError::NotZero { field: "flags" });
        }
        if self.kind == FrameKind::Publish {
            return self.check_publish();
        }
        if self.stream != 0 {
            return Err(WireError::NotZero { field: "stream" });
        }
        if self.count != 0 && self.kind != FrameKind::Ack {
            return Err(WireError::NotZero { field: "count" });
        }
        if self.sequence != 0 && matches!(self.kind, FrameKind::Hello | FrameKind::HelloAck) {
            return Err(WireError::NotZero { field: "sequence" });
        }
        Ok(())
    }

    #[inline]
    fn check_publish(&self) -> Result<(), WireError> {
        let FrameHeader {
            count, sequence, ..
        } = *self;
        if count == 0 || count as usize > BATCH_EVENTS_MAX {
            return Err(WireError::EventCount { count });
        }
        let bytes = self.payload_bytes - PUBLISH_PREFIX_BYTES as u32;
        let row_bytes = bytes / count;
        if !bytes.is_multiple_of(count)
            || row_bytes == 0
            || row_bytes as usize > ROW_BYTES_MAX
            || !(row_bytes as usize).is_multiple_of(ROW_ALIGN_BYTES)
        {
            return Err(WireError::RowLength { bytes, count });
        }
        if sequence == 0 || sequence.checked_add(u64::from(count)).is_none() {
            return Err(WireError::BadSequence { sequence, count });
        }
        Ok(())
    }

    /// Writes the header of `payload`; [`FrameHeader::payload_bytes`] and
    /// [`FrameHeader::checksum`] are taken from the payload, not from `self`.
    pub fn seal(&self, payload: &[u8]) -> [u8; FRAME_HEADER_BYTES] {
        assert!(
            payload.len() <= FRAME_PAYLOAD_BYTES_MAX,
            "invariant: senders split their batches"
        );
        let mut bytes = [0; FRAME_HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[at::KIND] = self.kind.code();
        bytes[at::FLAGS] = self.flags;
        bytes[at::STREAM..at::STREAM + 2].copy_from_slice(&self.stream.to_le_bytes());
        let payload_bytes = payload.len() as u32;
        bytes[at::PAYLOAD_BYTES..at::COUNT].copy_from_slice(&payload_bytes.to_le_bytes());
        bytes[at::COUNT..at::SEQUENCE].copy_from_slice(&self.count.to_le_bytes());
        bytes[at::SEQUENCE..at::CHECKSUM].copy_from_slice(&self.sequence.to_le_bytes());
        let checksum = checksum(&bytes, payload);
        bytes[at::CHECKSUM..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// A header with everything but its kind at zero.
    pub(super) const fn of_kind(kind: FrameKind) -> FrameHeader {
        FrameHeader {
            kind,
            flags: 0,
            stream: 0,
            payload_bytes: 0,
            count: 0,
            sequence: 0,
            checksum: 0,
        }
    }
}

/// Compares the checksum of a header with its payload.
#[inline]
pub fn verify(header: &[u8; FRAME_HEADER_BYTES], payload: &[u8]) -> Result<(), WireError> {
    if checksum(header, payload) == u64_at(header, at::CHECKSUM) {
        Ok(())
    } else {
        Err(WireError::BadChecksum)
    }
}

/// The payload's hash seeds that of the header, so that one number covers both.
#[inline]
fn checksum(header: &[u8; FRAME_HEADER_BYTES], payload: &[u8]) -> u64 {
    xxh3_64_with_seed(&header[..at::CHECKSUM], xxh3_64(payload))
}

/// Tells a frame of another version from bytes that are none.
#[cold]
fn refuse_magic(found: [u8; 4]) -> WireError {
    match found {
        [b'R', b'M', b'W', digit @ b'0'..=b'9'] => {
            let version = u16::from(digit - b'0');
            debug_assert_ne!(version, VERSION);
            WireError::BadVersion { found: version }
        }
        _ => WireError::BadMagic { found },
    }
}

fn u16_at(bytes: &[u8; FRAME_HEADER_BYTES], offset: usize) -> u16 {
    u16::from_le_bytes([bytes[offset], bytes[offset + 1]])
}

fn u32_at(bytes: &[u8; FRAME_HEADER_BYTES], offset: usize) -> u32 {
    let cell = bytes[offset..offset + 4]
        .try_into()
        .expect("invariant: four bytes");
    u32::from_le_bytes(cell)
}

fn u64_at(bytes: &[u8; FRAME_HEADER_BYTES], offset: usize) -> u64 {
    let cell = bytes[offset..offset + 8]
        .try_into()
        .expect("invariant: eight bytes");
    u64::from_le_bytes(cell)
}
