//! What can be wrong with a frame, and the codes that tell a peer.

use crate::limits::{
    BATCH_EVENTS_MAX, FRAME_PAYLOAD_BYTES_MAX, NAME_BYTES_MAX, ROW_BYTES_MAX, STREAMS_MAX,
};

/// The code of an Error frame. The numbers are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u16)]
pub enum ErrorCode {
    /// The bytes are no frame.
    BadMagic = 1,
    /// A version, flag or reserved field that this version does not know.
    BadVersion,
    /// A length that does not fit its frame.
    BadLength,
    /// A count that does not fit its frame.
    BadCount,
    /// The checksum does not match.
    BadChecksum,
    /// No frame of this version, or none that a client may send.
    UnknownKind,
    /// The first frame was no Hello.
    HelloRequired,
    /// A second Hello.
    HelloRepeated,
    /// The producer name is none.
    BadName,
    /// The stream index is none of the HelloAck.
    UnknownStream,
    /// The rows were written with another schema.
    UnknownSchema,
    /// The sequence leaves a gap, or is none.
    SequenceGap,
    /// A newer epoch of this producer exists.
    Fenced,
    /// The disk is full; nothing of the frame was accepted.
    DiskFull,
    /// The shard stopped; whether the events are durable is unknown until a retry.
    ShardFailed,
    /// Too much is in flight; send again later. Reserved: this server stops reading instead.
    Overloaded,
    /// A frame was begun and not finished in time.
    SlowSender,
    /// The server is stopping; connect again later.
    ShuttingDown,
    /// One event was refused; the message names field and reason.
    Rejected,
}

impl ErrorCode {
    /// All codes, in the order of their numbers.
    pub const ALL: [ErrorCode; 19] = [
        ErrorCode::BadMagic,
        ErrorCode::BadVersion,
        ErrorCode::BadLength,
        ErrorCode::BadCount,
        ErrorCode::BadChecksum,
        ErrorCode::UnknownKind,
        ErrorCode::HelloRequired,
        ErrorCode::HelloRepeated,
        ErrorCode::BadName,
        ErrorCode::UnknownStream,
        ErrorCode::UnknownSchema,
        ErrorCode::SequenceGap,
        ErrorCode::Fenced,
        ErrorCode::DiskFull,
        ErrorCode::ShardFailed,
        ErrorCode::Overloaded,
        ErrorCode::SlowSender,
        ErrorCode::ShuttingDown,
        ErrorCode::Rejected,
    ];

    /// The number on the wire.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The code of a number on the wire.
    pub fn from_code(code: u16) -> Option<ErrorCode> {
        let index = usize::from(code).checked_sub(1)?;
        ErrorCode::ALL.get(index).copied()
    }

    /// The name used in metrics and messages.
    pub const fn name(self) -> &'static str {
        match self {
            ErrorCode::BadMagic => "bad_magic",
            ErrorCode::BadVersion => "bad_version",
            ErrorCode::BadLength => "bad_length",
            ErrorCode::BadCount => "bad_count",
            ErrorCode::BadChecksum => "bad_checksum",
            ErrorCode::UnknownKind => "unknown_kind",
            ErrorCode::HelloRequired => "hello_required",
            ErrorCode::HelloRepeated => "hello_repeated",
            ErrorCode::BadName => "bad_name",
            ErrorCode::UnknownStream => "unknown_stream",
            ErrorCode::UnknownSchema => "unknown_schema",
            ErrorCode::SequenceGap => "sequence_gap",
            ErrorCode::Fenced => "fenced",
            ErrorCode::DiskFull => "disk_full",
            ErrorCode::ShardFailed => "shard_failed",
            ErrorCode::Overloaded => "overloaded",
            ErrorCode::SlowSender => "slow_sender",
            ErrorCode::ShuttingDown => "shutting_down",
            ErrorCode::Rejected => "rejected",
        }
    }
}

/// Why bytes are no valid frame. Holds no allocation: refusing must stay cheap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The first bytes are not those of a frame.
    #[error("not a ringmill frame: it begins with \"{}\", not with \"RMW1\"", found.escape_ascii())]
    BadMagic {
        /// What stands there.
        found: [u8; 4],
    },
    /// Another version of the protocol.
    #[error("protocol version {found} is not supported; this side speaks version 1")]
    BadVersion {
        /// Its version.
        found: u16,
    },
    /// A kind that does not exist.
    #[error("frame kind {kind:#04x} is unknown")]
    UnknownKind {
        /// The kind.
        kind: u8,
    },
    /// A field that must be zero in this version.
    #[error("{field} must be zero in protocol version 1")]
    NotZero {
        /// The field.
        field: &'static str,
    },
    /// A payload beyond the limit.
    #[error("a payload of {bytes} bytes is over the limit of {FRAME_PAYLOAD_BYTES_MAX}")]
    PayloadTooLarge {
        /// Its length.
        bytes: u32,
    },
    /// A payload whose length no frame of this kind can have.
    #[error("{bytes} bytes are no payload of this kind of frame")]
    PayloadLength {
        /// Its length.
        bytes: u32,
    },
    /// The payload ends inside a field, or goes on behind the last one.
    #[error("the payload ends {short_or_over} its fields")]
    FieldLength {
        /// "inside" or "behind".
        short_or_over: &'static str,
    },
    /// A count that is out of range.
    #[error("a count of {count} events; a frame has 1 to {BATCH_EVENTS_MAX}")]
    EventCount {
        /// The count.
        count: u32,
    },
    /// Rows that do not divide the payload.
    #[error(
        "{bytes} bytes of rows are not {count} rows of 8 to {ROW_BYTES_MAX} bytes, multiples of 8"
    )]
    RowLength {
        /// Bytes of all rows.
        bytes: u32,
        /// The count.
        count: u32,
    },
    /// Rows of another length than the schema's.
    #[error("{bytes} bytes of rows are not {count} rows of {row_bytes} bytes")]
    RowsOfSchema {
        /// Bytes of all rows.
        bytes: u32,
        /// The count.
        count: u32,
        /// Bytes of a row of the schema.
        row_bytes: u16,
    },
    /// More streams than are possible.
    #[error("a count of {count} streams; a pipeline has at most {STREAMS_MAX}")]
    StreamCount {
        /// The count.
        count: u16,
    },
    /// The checksum does not match.
    #[error("the checksum does not match: the frame was damaged or wrongly sealed")]
    BadChecksum,
    /// A sequence of 0, or one that runs over.
    #[error("sequences of {count} events cannot begin at {sequence}")]
    BadSequence {
        /// The first sequence.
        sequence: u64,
        /// The count.
        count: u32,
    },
    /// A name that is none.
    #[error("a producer name is 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 . _ : -")]
    BadName,
    /// Rows of another schema.
    #[error("the rows have schema {found:#010x}, the stream has {expected:#010x}")]
    UnknownSchema {
        /// Schema of the rows.
        found: u32,
        /// Schema of the stream.
        expected: u32,
    },
    /// A stream description that makes no schema.
    #[error("the description of stream {stream} is not consistent")]
    BadSchema {
        /// Index of the stream.
        stream: u16,
    },
    /// A number that stands for nothing in this version.
    #[error("{field} {value} is unknown")]
    UnknownValue {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u16,
    },
    /// A message that is no UTF-8.
    #[error("the text of the frame is not UTF-8")]
    BadText,
}

impl WireError {
    /// The code that tells the peer.
    pub const fn code(&self) -> ErrorCode {
        match self {
            WireError::BadMagic { .. } => ErrorCode::BadMagic,
            WireError::BadVersion { .. }
            | WireError::NotZero { .. }
            | WireError::UnknownValue { .. } => ErrorCode::BadVersion,
            WireError::UnknownKind { .. } => ErrorCode::UnknownKind,
            WireError::PayloadTooLarge { .. }
            | WireError::PayloadLength { .. }
            | WireError::FieldLength { .. }
            | WireError::BadText => ErrorCode::BadLength,
            WireError::EventCount { .. }
            | WireError::RowLength { .. }
            | WireError::RowsOfSchema { .. }
            | WireError::StreamCount { .. } => ErrorCode::BadCount,
            WireError::BadChecksum => ErrorCode::BadChecksum,
            WireError::BadSequence { .. } => ErrorCode::SequenceGap,
            WireError::BadName => ErrorCode::BadName,
            WireError::UnknownSchema { .. } | WireError::BadSchema { .. } => {
                ErrorCode::UnknownSchema
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip_and_names_are_distinct() {
        let mut names = std::collections::HashSet::new();
        for (index, code) in ErrorCode::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(code.code()), index + 1);
            assert_eq!(ErrorCode::from_code(code.code()), Some(code));
            assert!(names.insert(code.name()));
        }
        assert_eq!(ErrorCode::from_code(0), None);
        assert_eq!(ErrorCode::from_code(20), None);
    }
}
