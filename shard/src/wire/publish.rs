//! Events on their way in: the rows exactly as they will stand in the log.

use crate::limits::{BATCH_EVENTS_MAX, FRAME_HEADER_BYTES, PUBLISH_PREFIX_BYTES};
use crate::schema::Schema;
use crate::wire::WireError;
use crate::wire::header::{FrameHeader, FrameKind};
use crate::wire::reader::Frame;

/// Offsets of the fields of a Publish payload, in bytes.
pub mod publish_offset {
    /// `u32`: id of the schema of the rows.
    pub const SCHEMA_ID: usize = 0;
    /// `u32`: zero.
    pub const RESERVED: usize = 4;
    /// The rows.
    pub const ROWS: usize = 8;
    const _: () = assert!(ROWS == crate::limits::PUBLISH_PREFIX_BYTES);
}

/// The events of a Publish frame. The rows are not validated yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Index of the stream.
    pub stream: u16,
    /// Schema of the rows.
    pub schema_id: u32,
    /// Sequence of the first row; the others follow without a gap.
    pub first_sequence: u64,
    /// Number of rows, at least 1.
    pub count: u32,
    /// `count` rows, one behind the other.
    pub rows: &'a [u8],
}

impl<'a> Publish<'a> {
    /// Reads a Publish frame of a stream with this schema. Allocates nothing.
    #[inline]
    pub fn decode(frame: &Frame<'a>, schema: &Schema) -> Result<Publish<'a>, WireError> {
        let FrameHeader {
            kind,
            stream,
            count,
            sequence,
            ..
        } = frame.header;
        if kind != FrameKind::Publish {
            return Err(WireError::UnknownKind { kind: kind.code() });
        }
        let Some((prefix, rows)) = frame.payload.split_first_chunk::<PUBLISH_PREFIX_BYTES>() else {
            return Err(WireError::PayloadLength {
                bytes: frame.payload.len() as u32,
            });
        };
        let [a, b, c, d, reserved @ ..] = *prefix;
        let schema_id = u32::from_le_bytes([a, b, c, d]);
        if reserved != [0; 4] {
            return Err(WireError::NotZero {
                field: "the reserved field of Publish",
            });
        }
        if schema_id != schema.id {
            return Err(WireError::UnknownSchema {
                found: schema_id,
                expected: schema.id,
            });
        }
        if rows.len() != count as usize * schema.row_len() {
            let (bytes, row_bytes) = (rows.len() as u32, schema.row_bytes);
            return Err(WireError::RowsOfSchema {
                bytes,
                count,
                row_bytes,
            });
        }
        Ok(Publish {
            stream,
            schema_id,
            first_sequence: sequence,
            count,
            rows,
        })
    }

    /// The schema that the rows of a Publish frame were written with, before anything is checked.
    pub fn schema_of(frame: &Frame<'a>) -> Option<u32> {
        let id = frame.payload.first_chunk()?;
        Some(u32::from_le_bytes(*id))
    }
}

/// Appends a Publish frame of `count` rows.
///
/// # Panics
/// If there are no rows, more than [`BATCH_EVENTS_MAX`], or more than fit in a payload.
pub fn encode_publish(
    out: &mut Vec<u8>,
    stream: u16,
    schema_id: u32,
    first_sequence: u64,
    count: u32,
    rows: &[u8],
) {
    let start = out.len();
    out.resize(start + FRAME_HEADER_BYTES + PUBLISH_PREFIX_BYTES, 0);
    out.extend_from_slice(rows);
    seal_publish(&mut out[start..], stream, schema_id, first_sequence, count);
}

/// Seals a Publish frame whose rows were written in place: `frame` is 40 bytes that are overwritten
/// here, followed by `count` rows.
///
/// # Panics
/// As [`encode_publish`].
pub fn seal_publish(
    frame: &mut [u8],
    stream: u16,
    schema_id: u32,
    first_sequence: u64,
    count: u32,
) {
    assert!(
        count >= 1 && count as usize <= BATCH_EVENTS_MAX,
        "invariant: senders split batches"
    );
    let (header, payload) = frame
        .split_first_chunk_mut::<FRAME_HEADER_BYTES>()
        .expect("invariant: the frame begins with room for its header");
    payload[..4].copy_from_slice(&schema_id.to_le_bytes());
    payload[4..PUBLISH_PREFIX_BYTES].fill(0);
    let rows_bytes = payload.len() - PUBLISH_PREFIX_BYTES;
    assert!(
        rows_bytes.is_multiple_of(count as usize),
        "invariant: whole rows"
    );
    let sealed = FrameHeader {
        stream,
        count,
        sequence: first_sequence,
        ..FrameHeader::of_kind(FrameKind::Publish)
    };
    *header = sealed.seal(payload);
}
