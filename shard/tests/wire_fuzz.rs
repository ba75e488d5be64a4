//! No bytes make a decoder panic or allocate more than they are worth.
//!
//! A counting allocator caps what one decoder call may allocate. `RINGMILL_SEED` and
//! `RINGMILL_CASES` replay and extend a run.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use ringmill_shard::limits::FRAME_HEADER_BYTES;
use ringmill_shard::ndjson::parse_line;
use ringmill_shard::pipeline::Pipeline;
use ringmill_shard::schema::{FieldSpec, FieldType, Schema};
use ringmill_shard::value::Value;
use ringmill_shard::wire::{
    Ack, ErrorReply, Frame, FrameHeader, FrameKind, FrameReader, Hello, HelloAck, Level, Publish,
    StreamInfo, encode_error, encode_publish, verify,
};

struct Counting;

thread_local! {
    static ALLOCATED_BYTES: Cell<usize> = const { Cell::new(0) };
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count(bytes: usize) {
    // A thread that is going down has no counters, and nothing left to count.
    let _ = ALLOCATED_BYTES.try_with(|sum| sum.set(sum.get() + bytes));
    let _ = ALLOCATIONS.try_with(|sum| sum.set(sum.get() + 1));
}

// SAFETY: every call is passed on unchanged to the system allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(bytes);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes and number of allocations of one call.
fn allocated<T>(call: impl FnOnce() -> T) -> (T, usize, usize) {
    let before = (ALLOCATED_BYTES.get(), ALLOCATIONS.get());
    let result = call();
    (
        result,
        ALLOCATED_BYTES.get() - before.0,
        ALLOCATIONS.get() - before.1,
    )
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    /// Flips, overwrites with extreme values, cuts, doubles.
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            if bytes.is_empty() {
                return;
            }
            let at = self.below(bytes.len());
            match self.below(5) {
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                2 => bytes.truncate(at),
                3 => bytes.insert(at, self.next() as u8),
                _ => {
                    let end = (at + 1 + self.below(8)).min(bytes.len());
                    bytes[at..end].fill(if self.below(2) == 0 { 0 } else { 0xff });
                }
            }
        }
    }
}

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// Runs `case` on many seeds; a failure names its seed.
fn for_each_seed(case: impl Fn(&mut Random)) {
    let first = from_env("RINGMILL_SEED", 1);
    for seed in first..first + from_env("RINGMILL_CASES", 20_000) {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            case(&mut Random(seed));
        }));
        if let Err(panic) = outcome {
            eprintln!("failed with RINGMILL_SEED={seed} RINGMILL_CASES=1");
            std::panic::resume_unwind(panic);
        }
    }
}

fn mixed_schema() -> Schema {
    let spec = |id, name: &str, kind, optional| FieldSpec {
        id,
        name: name.into(),
        kind,
        optional,
    };
    Schema::new(vec![
        spec(1, "key", FieldType::U64, false),
        spec(2, "at", FieldType::Time, false),
        spec(3, "ratio", FieldType::F64, true),
        spec(4, "who", FieldType::Uuid, true),
        spec(5, "short", FieldType::Text(11), false),
        spec(6, "long", FieldType::Text(40), true),
        spec(7, "flag", FieldType::Bool, false),
    ])
    .unwrap()
}

fn hello_ack() -> HelloAck {
    let stream = |index| StreamInfo {
        index,
        name: format!("stream{index}"),
        level: Level::Commit,
        key: 0,
        schema: mixed_schema(),
    };
    HelloAck {
        shards: 2,
        epoch: 1,
        durable_through: 5,
        highest_seen: 9,
        frame_payload_bytes_max: 512 * 1024,
        inflight_frames_max: 64,
        streams: (0..3).map(stream).collect(),
    }
}

fn valid_row(schema: &Schema) -> Vec<u8> {
    let mut row = vec![0; schema.row_len()];
    let set = |row: &mut Vec<u8>, name: &str, value: Value<'_>| {
        schema
            .set(row, schema.field(name).unwrap(), &value)
            .unwrap();
    };
    set(&mut row, "key", Value::U64(42));
    set(&mut row, "at", Value::Time(1_700_000_000_000));
    set(&mut row, "ratio", Value::F64(0.5));
    set(&mut row, "who", Value::Null);
    set(&mut row, "short", Value::Text("north"));
    set(&mut row, "long", Value::Text("a longer text of some bytes"));
    row
}

#[test]
fn payload_decoders_survive_any_bytes() {
    let mut valid = Vec::new();
    hello_ack().encode(&mut valid);
    let valid = valid.split_off(FRAME_HEADER_BYTES);
    // A field costs 9 bytes on the wire; as a spec, then a field, then in the name set, about 25
    // times that. A count that was believed would cost thousands of times the bytes.
    let cap = |bytes: &[u8]| 4096 + 64 * bytes.len();
    for_each_seed(|random| {
        let mut bytes = valid.clone();
        if random.below(4) == 0 {
            let length = random.below(200);
            bytes = random.bytes(length);
        } else {
            random.mutate(&mut bytes);
        }
        let (_, allocated_bytes, _) = allocated(|| drop(HelloAck::decode(&bytes)));
        assert!(
            allocated_bytes <= cap(&bytes),
            "HelloAck: {allocated_bytes}"
        );
        let (_, _, allocations) = allocated(|| Hello::decode(&bytes).is_ok());
        assert_eq!(allocations, 0, "Hello");
        let header = FrameHeader {
            kind: FrameKind::Error,
            flags: 0,
            stream: 0,
            payload_bytes: bytes.len() as u32,
            count: 0,
            sequence: 0,
            checksum: 0,
        };
        let (_, allocated_bytes, _) = allocated(|| drop(ErrorReply::decode(&header, &bytes)));
        assert!(allocated_bytes <= bytes.len(), "Error: {allocated_bytes}");
        let header = FrameHeader {
            kind: FrameKind::Ack,
            ..header
        };
        assert!(Ack::decode(&header).is_ok());
    });
}

#[test]
fn a_claimed_count_allocates_nothing() {
    let mut valid = Vec::new();
    let mut ack = hello_ack();
    ack.streams.truncate(1);
    ack.encode(&mut valid);
    let valid = valid.split_off(FRAME_HEADER_BYTES);
    // Only the head of the payload, with 64 streams behind it that never come.
    let mut streams = valid[..36].to_vec();
    streams[32] = 64;
    let (result, _, allocations) = allocated(|| HelloAck::decode(&streams).is_err());
    assert!(result);
    assert_eq!(allocations, 0);
    // One stream of 64 fields that never come: the list of one stream and its name, nothing else.
    let name_bytes = usize::from(valid[36 + 11]);
    let mut fields = valid[..36 + 12 + name_bytes].to_vec();
    fields[36 + 10] = 64;
    let (result, allocated_bytes, _) = allocated(|| HelloAck::decode(&fields).is_err());
    assert!(result);
    assert_eq!(allocated_bytes, size_of::<StreamInfo>() + name_bytes);
}

#[test]
fn header_frame_and_rows_survive_any_bytes_without_allocating() {
    let schema = mixed_schema();
    let row = valid_row(&schema);
    let rows = row.repeat(4);
    for_each_seed(|random| {
        let mut frame = Vec::new();
        encode_publish(&mut frame, 0, schema.id, 1, 4, &rows);
        // Half of the frames are sealed again behind the mutation, so that it is not the checksum
        // that refuses them.
        let reseal = random.below(2) == 0;
        let mut payload = frame[FRAME_HEADER_BYTES..].to_vec();
        let mut header: [u8; FRAME_HEADER_BYTES] = *frame.first_chunk().unwrap();
        if reseal {
            random.mutate(&mut payload);
            if let Ok(decoded) = FrameHeader::decode(&header) {
                header = decoded.seal(&payload);
            }
        } else {
            let mut bytes = header.to_vec();
            random.mutate(&mut bytes);
            bytes.resize(FRAME_HEADER_BYTES, 0);
            header.copy_from_slice(&bytes);
        }
        let (_, _, allocations) = allocated(|| {
            let Ok(decoded) = FrameHeader::decode(&header) else {
                return;
            };
            if verify(&header, &payload).is_err() || decoded.kind != FrameKind::Publish {
                return;
            }
            let frame = Frame {
                header: decoded,
                payload: &payload,
            };
            let Ok(publish) = Publish::decode(&frame, &schema) else {
                return;
            };
            for row in publish.rows.chunks_exact(schema.row_len()) {
                let valid = schema.validate(row).is_ok();
                for field in 0..schema.fields.len() {
                    let value = schema.value(row, field);
                    assert!(!valid || value.is_null() == schema.is_null(row, field));
                    let canonical = schema.canonical_bytes(row, field);
                    assert!(!valid || schema.value_of_canonical(field, canonical).is_some());
                }
            }
        });
        assert_eq!(allocations, 0);
    });
}

#[test]
fn a_valid_frame_is_read_without_allocating() {
    let schema = mixed_schema();
    let rows = valid_row(&schema).repeat(50);
    let mut bytes = Vec::new();
    for sequence in 0..20 {
        encode_publish(&mut bytes, 0, schema.id, 1 + sequence * 50, 50, &rows);
    }
    let mut reader = FrameReader::new();
    let mut read_all = |chunk_bytes: usize| {
        let mut events = 0;
        for chunk in bytes.chunks(chunk_bytes) {
            let mut consumed = 0;
            while let Some(frame) = reader.next(chunk, &mut consumed) {
                let publish = Publish::decode(&frame.unwrap(), &schema).unwrap();
                for row in publish.rows.chunks_exact(schema.row_len()) {
                    assert_eq!(schema.validate(row), Ok(()));
                    events += 1;
                }
            }
        }
        assert_eq!(events, 1000);
    };
    // Split frames need the assembly buffer, once.
    read_all(1000);
    for chunk_bytes in [1000, 777, 64 * 1024, usize::MAX] {
        let ((), _, allocations) = allocated(|| read_all(chunk_bytes));
        assert_eq!(allocations, 0, "chunks of {chunk_bytes}");
    }
}

#[test]
fn the_reader_allocates_at_most_for_what_arrived() {
    let schema = mixed_schema();
    let rows = valid_row(&schema).repeat(3);
    for_each_seed(|random| {
        let mut bytes = Vec::new();
        for sequence in 0..3 {
            encode_publish(&mut bytes, 0, schema.id, 1 + 3 * sequence, 3, &rows);
        }
        random.mutate(&mut bytes);
        let step = 1 + random.below(300);
        let (_, allocated_bytes, _) = allocated(|| {
            let mut reader = FrameReader::new();
            for chunk in bytes.chunks(step) {
                let mut consumed = 0;
                while let Some(frame) = reader.next(chunk, &mut consumed) {
                    if let Ok(frame) = frame {
                        let _ = Publish::decode(&frame, &schema);
                    }
                }
            }
        });
        assert!(allocated_bytes <= 64 + 4 * bytes.len(), "{allocated_bytes}");
    });
}

#[test]
fn an_error_frame_of_any_message_is_read_back() {
    for_each_seed(|random| {
        let length = random.below(3000);
        let message: String = (0..length)
            .map(|_| ['a', '\u{e9}', '\u{20ac}', '\u{1f600}'][random.below(4)])
            .collect();
        let sent = ErrorReply {
            code: ringmill_shard::wire::ErrorCode::ALL[random.below(19)],
            fatal: random.below(2) == 0,
            sequence: random.next(),
            field: random.next() as u8,
            message,
        };
        let mut bytes = Vec::new();
        encode_error(&mut bytes, &sent);
        let mut reader = FrameReader::new();
        let mut consumed = 0;
        let frame = reader.next(&bytes, &mut consumed).unwrap().unwrap();
        let read = ErrorReply::decode(&frame.header, frame.payload).unwrap();
        assert!(sent.message.starts_with(&read.message) && read.message.len() <= 1024);
        assert_eq!(
            ErrorReply {
                message: read.message.clone(),
                ..sent
            },
            read
        );
    });
}

#[test]
fn text_decoders_survive_any_bytes() {
    let schema = mixed_schema();
    let line = br#"{"key":1,"at":"2013-01-01T10:15:00Z","ratio":1e3,"short":"x","flag":true}"#;
    let pipeline = include_str!("../../docs/examples/flights.toml");
    let mut row = vec![0; schema.row_len()];
    assert_eq!(parse_line(&schema, line, &mut row), Ok(()));
    let row = std::cell::RefCell::new(row);
    for_each_seed(|random| {
        let mut bytes = line.to_vec();
        random.mutate(&mut bytes);
        let mut row = row.borrow_mut();
        if parse_line(&schema, &bytes, &mut row).is_ok() {
            assert_eq!(schema.validate(&row), Ok(()));
        }
        if random.below(10) == 0 {
            let mut bytes = pipeline.as_bytes().to_vec();
            random.mutate(&mut bytes);
            let text = String::from_utf8_lossy(&bytes);
            if let Err(problems) = Pipeline::parse(&text) {
                assert!(!problems.is_empty());
                let lines = text.lines().count().max(1) + 1;
                assert!(
                    problems.iter().all(|p| (1..=lines).contains(&p.line)),
                    "{problems:?}"
                );
            }
        }
    });
}
