//! Short frames: acknowledgements, errors, ping and pong.

use crate::limits::{ERROR_MESSAGE_BYTES_MAX, FRAME_HEADER_BYTES};
use crate::reject::{NO_FIELD, Reject};
use crate::schema::Schema;
use crate::wire::cursor::Cursor;
use crate::wire::header::{FrameHeader, FrameKind};
use crate::wire::{ErrorCode, Level, WireError};

/// Offsets of the fields of an Error payload, in bytes.
pub mod error_offset {
    /// `u16`: the code.
    pub const CODE: usize = 0;
    /// `u8`: index of the field, 255 if none.
    pub const FIELD: usize = 2;
    /// `u8` and `u32`: zero.
    pub const RESERVED: usize = 3;
    /// UTF-8 to the end of the payload.
    pub const MESSAGE: usize = 8;
}

const FLAG_FATAL: u8 = 1;

/// Events of this producer are safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Every event up to and with this sequence is safe at the level.
    pub sequence: u64,
    /// The weakest level among the events that are newly covered.
    pub level: Level,
    /// How many of the newly covered events were rejected.
    pub rejected: u32,
}

impl Ack {
    /// Reads an Ack frame.
    pub fn decode(header: &FrameHeader) -> Result<Ack, WireError> {
        if header.kind != FrameKind::Ack {
            return Err(WireError::UnknownKind {
                kind: header.kind.code(),
            });
        }
        let level = Level::from_code(header.flags).ok_or(WireError::UnknownValue {
            field: "level",
            value: header.flags.into(),
        })?;
        Ok(Ack {
            sequence: header.sequence,
            level,
            rejected: header.count,
        })
    }
}

/// Writes an Ack frame. Allocates nothing.
pub fn encode_ack(out: &mut [u8; FRAME_HEADER_BYTES], ack: &Ack) {
    let header = FrameHeader {
        flags: ack.level.code(),
        count: ack.rejected,
        sequence: ack.sequence,
        ..FrameHeader::of_kind(FrameKind::Ack)
    };
    *out = header.seal(&[]);
}

/// Writes a Ping frame with a token that the answer repeats.
pub fn encode_ping(out: &mut [u8; FRAME_HEADER_BYTES], token: u64) {
    *out = FrameHeader {
        sequence: token,
        ..FrameHeader::of_kind(FrameKind::Ping)
    }
    .seal(&[]);
}

/// Writes the answer to a Ping frame.
pub fn encode_pong(out: &mut [u8; FRAME_HEADER_BYTES], token: u64) {
    *out = FrameHeader {
        sequence: token,
        ..FrameHeader::of_kind(FrameKind::Pong)
    }
    .seal(&[]);
}

/// Something was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorReply {
    /// What.
    pub code: ErrorCode,
    /// Whether the server closes the connection.
    pub fatal: bool,
    /// Sequence of the event or of the frame's first event that is meant; 0 if none.
    pub sequence: u64,
    /// Index of the field that is meant; 255 if none.
    pub field: u8,
    /// For people.
    pub message: String,
}

impl ErrorReply {
    /// A frame that could not be read: the connection has no way to go on.
    pub fn of_wire(error: &WireError) -> ErrorReply {
        ErrorReply {
            code: error.code(),
            fatal: true,
            sequence: 0,
            field: NO_FIELD,
            message: error.to_string(),
        }
    }

    /// One event that was refused; the others of its frame are not touched by it.
    pub fn of_reject(schema: &Schema, sequence: u64, reject: Reject) -> ErrorReply {
        let message = match schema.fields.get(usize::from(reject.field)) {
            Some(field) => format!(
                "event {sequence}: field `{}`: {}",
                field.name, reject.reason
            ),
            None => format!("event {sequence}: {}", reject.reason),
        };
        let code = ErrorCode::Rejected;
        ErrorReply {
            code,
            fatal: false,
            sequence,
            field: reject.field,
            message,
        }
    }

    /// Reads an Error frame.
    pub fn decode(header: &FrameHeader, payload: &[u8]) -> Result<ErrorReply, WireError> {
        if header.kind != FrameKind::Error {
            return Err(WireError::UnknownKind {
                kind: header.kind.code(),
            });
        }
        let mut cursor = Cursor::new(payload);
        let code = cursor.u16()?;
        let code = ErrorCode::from_code(code).ok_or(WireError::UnknownValue {
            field: "error code",
            value: code,
        })?;
        let field = cursor.u8()?;
        cursor.zero(5, "the reserved field of Error")?;
        let message = std::str::from_utf8(cursor.rest()).map_err(|_| WireError::BadText)?;
        Ok(ErrorReply {
            code,
            fatal: header.flags & FLAG_FATAL != 0,
            sequence: header.sequence,
            field,
            message: message.to_owned(),
        })
    }
}

/// Appends an Error frame; a message beyond the limit is cut.
pub fn encode_error(out: &mut Vec<u8>, error: &ErrorReply) {
    let mut end = error.message.len().min(ERROR_MESSAGE_BYTES_MAX);
    while !error.message.is_char_boundary(end) {
        end -= 1;
    }
    let message = &error.message[..end];
    let mut payload = Vec::with_capacity(error_offset::MESSAGE + message.len());
    payload.extend_from_slice(&error.code.code().to_le_bytes());
    payload.push(error.field);
    payload.extend_from_slice(&[0; 5]);
    payload.extend_from_slice(message.as_bytes());
    let header = FrameHeader {
        flags: if error.fatal { FLAG_FATAL } else { 0 },
        sequence: error.sequence,
        ..FrameHeader::of_kind(FrameKind::Error)
    };
    out.extend_from_slice(&header.seal(&payload));
    out.extend_from_slice(&payload);
}
