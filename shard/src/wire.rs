//! The wire protocol: frames over a byte stream, the same bytes that later stand in the log.
//!
//! A frame is a 32-byte header and a payload of at most 512 KiB. Everything is little-endian.
//! Decoding is in two steps: [`FrameHeader::decode`] refuses what can be refused before the payload
//! is read, [`verify`] compares the checksum once it is there. [`FrameReader`] does both.
//! `docs/formats/wire.md` has the byte tables; a test holds them equal to the constants here.

mod cursor;
mod error;
mod header;
mod hello;
mod publish;
mod reader;
mod reply;

pub use error::{ErrorCode, WireError};
pub use header::{FrameHeader, FrameKind, header_offset, verify};
pub use hello::{Hello, HelloAck, StreamInfo, check_producer_name, hello_ack_offset, hello_offset};
pub use publish::{Publish, encode_publish, publish_offset, seal_publish};
pub use reader::{Frame, FrameReader};
pub use reply::{
    Ack, ErrorReply, encode_ack, encode_error, encode_ping, encode_pong, error_offset,
};

/// First bytes of every frame; the last of them is the version.
pub const MAGIC: [u8; 4] = *b"RMW1";
/// Version that Hello and HelloAck name.
pub const VERSION: u16 = 1;

/// What an acknowledgement promises, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    /// The events are in memory.
    Memory = 0,
    /// The events are handed to the disk.
    Written = 1,
    /// The events are handed to the disk, which is flushed at an interval.
    Interval = 2,
    /// The events are flushed.
    Commit = 3,
}

impl Level {
    /// The number on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The level of a number on the wire.
    pub const fn from_code(code: u8) -> Option<Level> {
        match code {
            0 => Some(Level::Memory),
            1 => Some(Level::Written),
            2 => Some(Level::Interval),
            3 => Some(Level::Commit),
            _ => None,
        }
    }

    /// The name used in files, metrics and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Memory => "memory",
            Level::Written => "written",
            Level::Interval => "interval",
            Level::Commit => "commit",
        }
    }
}
