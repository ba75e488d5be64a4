//! The first exchange of a connection: who the producer is, and what the server has.

use crate::limits::{FIELDS_MAX, NAME_BYTES_MAX, STREAMS_MAX};
use crate::schema::{FieldSpec, FieldType, Schema};
use crate::wire::cursor::{Cursor, write_name};
use crate::wire::header::{FrameHeader, FrameKind};
use crate::wire::{Level, VERSION, WireError};

/// Offsets of the fields of a Hello payload, in bytes.
pub mod hello_offset {
    /// `u16`: version of the protocol.
    pub const VERSION: usize = 0;
    /// `u16`: zero.
    pub const RESERVED: usize = 2;
    /// `u32`: epoch of the producer, 0 to keep the known one.
    pub const EPOCH: usize = 4;
    /// `u8`: bytes of the name, which follows.
    pub const NAME: usize = 8;
}

/// Offsets of the fields of a HelloAck payload before its streams, in bytes.
pub mod hello_ack_offset {
    /// `u16`: version of the protocol.
    pub const VERSION: usize = 0;
    /// `u16`: number of shards.
    pub const SHARDS: usize = 2;
    /// `u32`: epoch of the producer.
    pub const EPOCH: usize = 4;
    /// `u64`: every event at or below is durable.
    pub const DURABLE_THROUGH: usize = 8;
    /// `u64`: the highest sequence seen.
    pub const HIGHEST_SEEN: usize = 16;
    /// `u32`: largest payload that the server takes.
    pub const FRAME_PAYLOAD_BYTES_MAX: usize = 24;
    /// `u32`: most unacknowledged Publish frames.
    pub const INFLIGHT_FRAMES_MAX: usize = 28;
    /// `u16`: number of streams.
    pub const STREAM_COUNT: usize = 32;
    /// `u16`: zero.
    pub const RESERVED: usize = 34;
    /// The streams.
    pub const STREAMS: usize = 36;
}

/// Bytes of a stream with an empty name, before its fields.
const STREAM_BYTES_MIN: usize = 12;
/// Bytes of a field with an empty name.
const FIELD_BYTES_MIN: usize = 9;
const FLAG_OPTIONAL: u8 = 1;

/// Checks a producer name: 1 to 64 of `A-Z a-z 0-9 . _ : -`.
pub fn check_producer_name(name: &str) -> Result<(), WireError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-');
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed) {
        Ok(())
    } else {
        Err(WireError::BadName)
    }
}

/// Who the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// 0 keeps the epoch that the server knows; a higher one than that begins a new one, in which
    /// sequences start at 1 again; a lower one is refused.
    pub epoch: u32,
    /// Durable name of the producer; see [`check_producer_name`].
    pub name: &'a str,
}

impl<'a> Hello<'a> {
    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut payload = Vec::with_capacity(hello_offset::NAME + 1 + self.name.len());
        payload.extend_from_slice(&VERSION.to_le_bytes());
        payload.extend_from_slice(&[0; 2]);
        payload.extend_from_slice(&self.epoch.to_le_bytes());
        write_name(&mut payload, self.name);
        out.extend_from_slice(&FrameHeader::of_kind(FrameKind::Hello).seal(&payload));
        out.extend_from_slice(&payload);
    }

    /// Reads the payload of a Hello frame.
    pub fn decode(payload: &'a [u8]) -> Result<Hello<'a>, WireError> {
        let mut cursor = Cursor::new(payload);
        let version = cursor.u16()?;
        if version != VERSION {
            return Err(WireError::BadVersion { found: version });
        }
        cursor.zero(2, "the reserved field of Hello")?;
        let epoch = cursor.u32()?;
        let name = cursor.name().map_err(|error| match error {
            WireError::BadText => WireError::BadName,
            other => other,
        })?;
        cursor.finish()?;
        check_producer_name(name)?;
        Ok(Hello { epoch, name })
    }
}

/// A stream as the server describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// What Publish frames put into their headers.
    pub index: u16,
    /// Name.
    pub name: String,
    /// What its acknowledgements promise.
    pub level: Level,
    /// The field that routes an event.
    pub key: usize,
    /// Fields and row layout.
    pub schema: Schema,
}

/// What the server has, and how far it knows the producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelloAck {
    /// Number of shards.
    pub shards: u16,
    /// Epoch of the producer that is in force.
    pub epoch: u32,
    /// Every event of this producer at or below is durable.
    pub durable_through: u64,
    /// The highest sequence of this producer seen in this epoch; 0 if none.
    pub highest_seen: u64,
    /// Largest payload that the server takes, in bytes.
    pub frame_payload_bytes_max: u32,
    /// Most Publish frames that may wait for their acknowledgement.
    pub inflight_frames_max: u32,
    /// The streams.
    pub streams: Vec<StreamInfo>,
}

impl HelloAck {
    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut payload = Vec::with_capacity(1024);
        payload.extend_from_slice(&VERSION.to_le_bytes());
        payload.extend_from_slice(&self.shards.to_le_bytes());
        payload.extend_from_slice(&self.epoch.to_le_bytes());
        payload.extend_from_slice(&self.durable_through.to_le_bytes());
        payload.extend_from_slice(&self.highest_seen.to_le_bytes());
        payload.extend_from_slice(&self.frame_payload_bytes_max.to_le_bytes());
        payload.extend_from_slice(&self.inflight_frames_max.to_le_bytes());
        assert!(
            self.streams.len() <= STREAMS_MAX,
            "invariant: the pipeline limits its streams"
        );
        payload.extend_from_slice(&(self.streams.len() as u16).to_le_bytes());
        payload.extend_from_slice(&[0; 2]);
        for stream in &self.streams {
            stream.write(&mut payload);
        }
        out.extend_from_slice(&FrameHeader::of_kind(FrameKind::HelloAck).seal(&payload));
        out.extend_from_slice(&payload);
    }

    /// Reads the payload of a HelloAck frame.
    pub fn decode(payload: &[u8]) -> Result<HelloAck, WireError> {
        let mut cursor = Cursor::new(payload);
        let version = cursor.u16()?;
        if version != VERSION {
            return Err(WireError::BadVersion { found: version });
        }
        let mut ack = HelloAck {
            shards: cursor.u16()?,
            epoch: cursor.u32()?,
            durable_through: cursor.u64()?,
            highest_seen: cursor.u64()?,
            frame_payload_bytes_max: cursor.u32()?,
            inflight_frames_max: cursor.u32()?,
            streams: Vec::new(),
        };
        let count = cursor.u16()?;
        cursor.zero(2, "the reserved field of HelloAck")?;
        if usize::from(count) > STREAMS_MAX {
            return Err(WireError::StreamCount { count });
        }
        cursor.room_for(usize::from(count), STREAM_BYTES_MIN)?;
        ack.streams.reserve_exact(usize::from(count));
        for _ in 0..count {
            ack.streams.push(StreamInfo::read(&mut cursor)?);
        }
        cursor.finish()?;
        Ok(ack)
    }
}

impl StreamInfo {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.index.to_le_bytes());
        out.extend_from_slice(&self.schema.row_bytes.to_le_bytes());
        out.extend_from_slice(&self.schema.id.to_le_bytes());
        let small = |v: usize| u8::try_from(v).expect("invariant: a schema has at most 64 fields");
        out.push(self.level.code());
        out.push(small(self.key));
        out.push(small(self.schema.fields.len()));
        write_name(out, &self.name);
        for field in &self.schema.fields {
            out.extend_from_slice(&field.id.to_le_bytes());
            out.push(field.kind.code());
            out.push(field.kind.capacity());
            out.push(if field.optional { FLAG_OPTIONAL } else { 0 });
            out.push(0);
            out.extend_from_slice(&field.offset.to_le_bytes());
            write_name(out, &field.name);
        }
    }

    /// The layout is computed anew from the fields and must agree with what the server says, so
    /// that a client never writes rows which the server reads differently.
    fn read(cursor: &mut Cursor<'_>) -> Result<StreamInfo, WireError> {
        let index = cursor.u16()?;
        let inconsistent = WireError::BadSchema { stream: index };
        let row_bytes = cursor.u16()?;
        let schema_id = cursor.u32()?;
        let level = cursor.u8()?;
        let level = Level::from_code(level).ok_or(WireError::UnknownValue {
            field: "level",
            value: level.into(),
        })?;
        let key = usize::from(cursor.u8()?);
        let count = usize::from(cursor.u8()?);
        let name = cursor.name()?.to_owned();
        if count > FIELDS_MAX {
            return Err(inconsistent);
        }
        cursor.room_for(count, FIELD_BYTES_MIN)?;
        let mut specs = Vec::with_capacity(count);
        let mut offsets = Vec::with_capacity(count);
        for _ in 0..count {
            let (spec, offset) = read_field(cursor)?;
            specs.push(spec);
            offsets.push(offset);
        }
        let schema = Schema::new(specs).map_err(|_| inconsistent)?;
        let agrees = schema.id == schema_id
            && schema.row_bytes == row_bytes
            && schema.fields.iter().map(|field| field.offset).eq(offsets)
            && key < count;
        if !agrees {
            return Err(inconsistent);
        }
        Ok(StreamInfo {
            index,
            name,
            level,
            key,
            schema,
        })
    }
}

fn read_field(cursor: &mut Cursor<'_>) -> Result<(FieldSpec, u16), WireError> {
    let id = cursor.u16()?;
    let (code, capacity) = (cursor.u8()?, cursor.u8()?);
    let kind = FieldType::from_code(code, capacity).ok_or(WireError::UnknownValue {
        field: "field type",
        value: code.into(),
    })?;
    let flags = cursor.u8()?;
    if flags & !FLAG_OPTIONAL != 0 {
        return Err(WireError::NotZero {
            field: "a flag of a field",
        });
    }
    cursor.zero(1, "the reserved byte of a field")?;
    let offset = cursor.u16()?;
    let name = cursor.name()?.to_owned();
    Ok((
        FieldSpec {
            id,
            name,
            kind,
            optional: flags == FLAG_OPTIONAL,
        },
        offset,
    ))
}
