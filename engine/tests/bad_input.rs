//! Whatever a client sends, it gets an error that says what to do, nobody else is disturbed, and
//! nothing acknowledged is lost.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::{Duration, Instant};

use common::client::{Client, Reply, Wire};
use common::http::Http;
use common::random::{Random, seed};
use common::readings::{Healthy, check_after_restart, good_row, start};
use common::server::Server;
use ringmill_shard::limits::FRAME_HEADER_BYTES;
use ringmill_shard::wire::{
    Ack, ErrorCode, ErrorReply, FrameHeader, Hello, Level, encode_ack, header_offset, hello_offset,
};

/// What the format page tells clients to do about each error.
const WIRE_PAGE: &str = include_str!("../../docs/formats/wire.md");
/// The last column of the page's table of errors.
fn what_to_do(code: ErrorCode) -> &'static str {
    let begins = format!("| {} | {} |", code.code(), code.name());
    let line = WIRE_PAGE.lines().find(|line| line.starts_with(&begins));
    let line = line.unwrap_or_else(|| panic!("{begins} is not in the page"));
    line.trim_end_matches(" |").rsplit(" | ").next().unwrap()
}

#[track_caller]
fn says(error: &ErrorReply, part: &str) {
    let remedy = what_to_do(error.code);
    assert!(error.message.contains(part), "no {part:?} in {error:?}");
    assert!(
        error.message.ends_with(remedy),
        "no {remedy:?} at the end of {error:?}"
    );
}

#[test]
fn every_kind_of_bad_frame_ends_its_own_connection_only() {
    for shards in ["1", "2"] {
        let dir = common::scratch();
        let more = ["--shards", shards];
        let mut server = start(dir.path(), &more);
        let healthy = Healthy::start(&server);
        bad_headers(&server);
        bad_greetings(&server);
        bad_publications(&server);
        fences(&server);
        half_frames_that_end(&server);
        server.assert_running();
        check_after_restart(server, dir.path(), &more, {
            let acked = healthy.stop();
            assert!(acked > 0);
            acked
        });
    }
}

/// The bytes of one good Publish frame after Hello, damaged, and what comes of it.
#[track_caller]
fn damaged(server: &Server, damage: impl FnOnce(&mut Vec<u8>), code: ErrorCode, part: &str) {
    let mut client = Client::hello(server.listen, "damaged", 0);
    let mut frame = client.frame(1, &good_row(client.schema(), 1));
    damage(&mut frame);
    client.wire.send_lossy(&frame);
    says(&client.wire.expect_end(code), part);
}

fn put(frame: &mut [u8], offset: usize, bytes: &[u8]) {
    frame[offset..offset + bytes.len()].copy_from_slice(bytes);
}

/// Seals a frame anew after a change, so that only the change is wrong.
fn seal(frame: &mut [u8], change: impl FnOnce(&mut FrameHeader)) {
    let (head, payload) = frame.split_at_mut(FRAME_HEADER_BYTES);
    let mut header = FrameHeader::decode((&*head).try_into().unwrap()).unwrap();
    change(&mut header);
    head.copy_from_slice(&header.seal(payload));
}

fn bad_headers(server: &Server) {
    use ErrorCode::{BadCount, BadLength, BadMagic, BadVersion, UnknownKind};
    use header_offset::{COUNT, FLAGS, KIND, MAGIC, PAYLOAD_BYTES};
    let (most, none) = (u32::MAX.to_le_bytes(), 0u32.to_le_bytes());
    let (seven, nine) = (7u32.to_le_bytes(), 9u32.to_le_bytes());
    let cases: [(usize, &[u8], ErrorCode, &str); 9] = [
        (MAGIC, b"GET ", BadMagic, "RMW1"),
        (MAGIC, b"RMW2", BadVersion, "version 2"),
        (FLAGS, &[1], BadVersion, "flags"),
        (KIND, &[0x55], UnknownKind, "0x55"),
        (PAYLOAD_BYTES, &most, BadLength, "524288"),
        (PAYLOAD_BYTES, &nine, BadLength, "9 bytes"),
        (COUNT, &none, BadCount, "0 events"),
        (COUNT, &most, BadCount, "4294967295"),
        (COUNT, &seven, BadCount, "7 rows"),
    ];
    for (offset, bytes, code, part) in cases {
        damaged(server, |f| put(f, offset, bytes), code, part);
    }
    let sealed_wrongly = |f: &mut Vec<u8>| f[header_offset::CHECKSUM] ^= 1;
    damaged(server, sealed_wrongly, ErrorCode::BadChecksum, "checksum");
    let other_payload = |f: &mut Vec<u8>| *f.last_mut().unwrap() ^= 1;
    damaged(server, other_payload, ErrorCode::BadChecksum, "checksum");
    frame_of_a_server(server);
}

fn frame_of_a_server(server: &Server) {
    let mut wire = Wire::connect(server.listen);
    let mut ack = [0; FRAME_HEADER_BYTES];
    let safe = Ack {
        sequence: 1,
        level: Level::Commit,
        rejected: 0,
    };
    encode_ack(&mut ack, &safe);
    wire.send(&ack).unwrap();
    says(&wire.expect_end(ErrorCode::UnknownKind), "server only");
}

fn hello_bytes(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    Hello { epoch: 0, name }.encode(&mut out);
    out
}

#[track_caller]
fn refused_greeting(server: &Server, bytes: &[u8], code: ErrorCode, part: &str) {
    let mut wire = Wire::connect(server.listen);
    wire.send_lossy(bytes);
    says(&wire.expect_end(code), part);
}

fn bad_greetings(server: &Server) {
    let client = Client::hello(server.listen, "first", 0);
    let frame = client.frame(1, &good_row(client.schema(), 1));
    refused_greeting(server, &frame, ErrorCode::HelloRequired, "Hello first");
    for name in ["with space", "snow\u{2603}", "a/b"] {
        refused_greeting(server, &hello_bytes(name), ErrorCode::BadName, "1 to 64");
    }
    let mut newer = hello_bytes("newer");
    put(
        &mut newer,
        FRAME_HEADER_BYTES + hello_offset::VERSION,
        &9u16.to_le_bytes(),
    );
    seal(&mut newer, |_| ());
    refused_greeting(server, &newer, ErrorCode::BadVersion, "version 9");
    let mut long = hello_bytes("long");
    put(&mut long, FRAME_HEADER_BYTES + hello_offset::NAME, &[200]);
    seal(&mut long, |_| ());
    refused_greeting(server, &long, ErrorCode::BadLength, "payload");
    let mut twice = Client::hello(server.listen, "twice", 0);
    twice.wire.send(&hello_bytes("twice")).unwrap();
    says(
        &twice.wire.expect_end(ErrorCode::HelloRepeated),
        "Hello already",
    );
}

fn bad_publications(server: &Server) {
    let stream = |f: &mut Vec<u8>| seal(f, |header| header.stream = 7);
    damaged(server, stream, ErrorCode::UnknownStream, "no stream 7");
    let schema = |f: &mut Vec<u8>| {
        put(f, FRAME_HEADER_BYTES, &0xDEAD_BEEF_u32.to_le_bytes());
        seal(f, |_| ());
    };
    damaged(server, schema, ErrorCode::UnknownSchema, "0xdeadbeef");
    // One row of this length could be a row, of another stream.
    let longer = |f: &mut Vec<u8>| {
        f.extend_from_slice(&[0; 8]);
        let payload = f.split_off(FRAME_HEADER_BYTES);
        let head: [u8; FRAME_HEADER_BYTES] = f[..].try_into().unwrap();
        let header = FrameHeader::decode(&head).unwrap();
        *f = [&header.seal(&payload)[..], &payload].concat();
    };
    damaged(server, longer, ErrorCode::BadCount, "rows");
    let zero = |f: &mut Vec<u8>| put(f, header_offset::SEQUENCE, &0u64.to_le_bytes());
    damaged(server, zero, ErrorCode::SequenceGap, "begin at 0");
    let last = |f: &mut Vec<u8>| put(f, header_offset::SEQUENCE, &u64::MAX.to_le_bytes());
    damaged(server, last, ErrorCode::SequenceGap, "begin at");
    gap_leaves_the_connection(server);
    bad_rows_are_refused_alone(server);
}

fn gap_leaves_the_connection(server: &Server) {
    let mut client = Client::hello(server.listen, "gap", 0);
    let row = good_row(client.schema(), 1);
    client.publish(1, &row);
    client.wire.send(&client.frame(5, &row)).unwrap();
    let error = client.wire.expect_error();
    assert_eq!(
        (error.code, error.fatal),
        (ErrorCode::SequenceGap, false),
        "{error:?}"
    );
    says(&error, "2 is next");
    assert_eq!(
        client.publish(2, &row).sequence,
        2,
        "the connection goes on"
    );
}

/// A change to the bytes of a row, with the reason and the field that the server must name.
type Spoil = (
    &'static str,
    &'static str,
    fn(&mut [u8], &dyn Fn(&str) -> usize),
);

const SPOILS: [Spoil; 10] = [
    ("value", "not_finite", |row, at| {
        put(row, at("value"), &f64::NAN.to_le_bytes())
    }),
    ("value", "not_finite", |row, at| {
        put(row, at("value"), &f64::INFINITY.to_le_bytes())
    }),
    ("label", "text_too_long", |row, at| row[at("label")] = 9),
    ("label", "text_too_long", |row, at| row[at("label")] = 255),
    ("label", "bad_text", |row, at| row[at("label") + 1] = 0xFF),
    ("label", "bad_text", |row, at| row[at("label") + 8] = b'x'),
    ("good", "bad_bool", |row, at| row[at("good")] = 2),
    ("at", "out_of_range", |row, at| {
        put(row, at("at"), &i64::MAX.to_le_bytes())
    }),
    ("at", "future_time", |row, at| {
        put(row, at("at"), &4_000_000_000_000i64.to_le_bytes())
    }),
    ("note", "bad_padding", |row, at| {
        put(row, at("note"), &[1, b'n'])
    }),
];

fn bad_rows_are_refused_alone(server: &Server) {
    let http = Http::new(server.http);
    let rejected_before = rejected(&http);
    let mut client = Client::hello(server.listen, "rows", 0);
    let schema = client.schema().clone();
    let mut sequence = 1;
    for (field, reason, spoil) in SPOILS {
        let mut bad = good_row(&schema, 2);
        spoil(&mut bad, &|name| {
            usize::from(schema.fields[schema.field(name).unwrap()].offset)
        });
        let good = good_row(&schema, 3);
        let rows = [&good[..], &bad, &good].concat();
        client.wire.send(&client.frame(sequence, &rows)).unwrap();
        let error = client.wire.expect_error();
        assert_eq!(
            (error.code, error.fatal),
            (ErrorCode::Rejected, false),
            "{error:?}"
        );
        assert_eq!(error.sequence, sequence + 1, "{error:?}");
        assert_eq!(
            usize::from(error.field),
            schema.field(field).unwrap(),
            "{error:?}"
        );
        for part in [field, reason] {
            assert!(error.message.contains(part), "no {part} in {error:?}");
        }
        let ack = client.wire.expect_ack();
        assert_eq!((ack.sequence, ack.rejected), (sequence + 2, 1), "{ack:?}");
        sequence += 3;
    }
    let producer = http.get("/v1/producers/rows").ok();
    assert_eq!(producer["rejected"], SPOILS.len(), "{producer}");
    assert_eq!(producer["accepted"], 2 * SPOILS.len(), "{producer}");
    assert_eq!(rejected(&http), rejected_before + SPOILS.len() as u64);
    let kept = http.get("/v1/streams/readings/rejected?n=256").ok();
    for (field, reason, _) in SPOILS {
        let same = |row: &serde_json::Value| row["field"] == field && row["reason"] == reason;
        assert!(
            kept["rows"].as_array().unwrap().iter().any(same),
            "{field} {reason}: {kept}"
        );
    }
}

fn rejected(http: &Http) -> u64 {
    http.get("/v1/streams/readings").ok()["rejected"]
        .as_u64()
        .unwrap()
}

fn fences(server: &Server) {
    let mut old = Client::hello(server.listen, "fenced", 0);
    let row = good_row(old.schema(), 1);
    old.publish(1, &row);
    // The same name on another connection takes the voice and goes on behind what is stored.
    let mut new = Client::hello(server.listen, "fenced", 0);
    assert_eq!(new.hello.highest_seen, 1);
    assert_eq!(new.publish(2, &row).sequence, 2);
    old.wire.send_lossy(&old.frame(2, &row));
    says(&old.wire.expect_end(ErrorCode::Fenced), "");
    // A new epoch starts from 1 and shuts the older one out.
    let mut next = Client::hello(server.listen, "fenced", 3);
    assert_eq!((next.hello.epoch, next.hello.highest_seen), (3, 0));
    assert_eq!(next.publish(1, &row).sequence, 1);
    new.wire.send_lossy(&new.frame(3, &row));
    says(&new.wire.expect_end(ErrorCode::Fenced), "");
    let mut out = Vec::new();
    Hello {
        epoch: 2,
        name: "fenced",
    }
    .encode(&mut out);
    refused_greeting(server, &out, ErrorCode::Fenced, "epoch 2");
    assert_eq!(next.publish(2, &row).sequence, 2, "the newest goes on");
}

fn half_frames_that_end(server: &Server) {
    let client = Client::hello(server.listen, "halves", 0);
    let frame = client.frame(1, &good_row(client.schema(), 1));
    drop(client);
    for bytes in [1, 31, 32, 33, frame.len() - 1] {
        let mut half = Client::hello(server.listen, "halves", 0);
        assert_eq!(half.hello.highest_seen, 0, "half a frame stores nothing");
        half.wire.send(&frame[..bytes]).unwrap();
    }
    let mut client = Client::hello(server.listen, "halves", 0);
    assert_eq!(client.hello.highest_seen, 0);
    let row = good_row(client.schema(), 1);
    assert_eq!(client.publish(1, &row).sequence, 1);
    // A frame in single bytes is a frame.
    for byte in client.frame(2, &row) {
        client.wire.send(&[byte]).unwrap();
    }
    assert_eq!(client.wire.expect_ack().sequence, 2);
}

#[test]
fn garbage_disturbs_nobody() {
    let seed = seed();
    println!("RINGMILL_SEED={seed}");
    let dir = common::scratch();
    let mut server = start(dir.path(), &[]);
    let healthy = Healthy::start(&server);
    let mut random = Random(seed);
    let until = Instant::now() + Duration::from_secs(1);
    let mut connections = 0;
    while Instant::now() < until || connections < 20 {
        garbage(&server, &mut random, connections);
        connections += 1;
    }
    println!("{connections} connections with garbage");
    server.assert_running();
    let acked = healthy.stop();
    check_after_restart(server, dir.path(), &[], acked);
}

/// One connection of garbage: pure noise, noise behind a good header, or good frames with bits
/// flipped. What it gets is whole frames, and in the end a closed connection or silence.
fn garbage(server: &Server, random: &mut Random, number: u64) {
    let noise = |random: &mut Random, bytes: u64| -> Vec<u8> {
        (0..bytes).map(|_| random.next() as u8).collect()
    };
    let mut client = Client::hello(server.listen, &format!("garbage-{}", number % 5), 0);
    let first = client.hello.highest_seen + 1;
    let bytes = match random.below(3) {
        0 => {
            let count = random.between(1, 5_000);
            noise(random, count)
        }
        1 => {
            let mut frame = client.frame(first, &good_row(client.schema(), 1));
            let count = random.between(1, 2_000);
            frame.splice(FRAME_HEADER_BYTES.., noise(random, count));
            frame
        }
        _ => {
            let rows = good_row(client.schema(), 1).repeat(random.between(1, 20) as usize);
            let mut frames = client.frame(first, &rows).repeat(3);
            for _ in 0..random.between(1, 4) {
                let bit = random.below(frames.len() as u64 * 8) as usize;
                frames[bit / 8] ^= 1 << (bit % 8);
            }
            frames
        }
    };
    client.wire.send_lossy(&bytes);
    let _ = client.wire.stream.shutdown(std::net::Shutdown::Write);
    loop {
        match client.wire.next() {
            Reply::Closed => break,
            Reply::Ack(_) => {}
            Reply::Error(error) => assert!(!error.message.is_empty(), "{error:?}"),
            other => panic!("{other:?}"),
        }
    }
}
