//! What it takes to get the rows out of the bytes of a socket: boundaries, checksums, schema.
//!
//! Publish frames of 1, 50 and 500 rows of 64 bytes lie behind each other in 1 MiB, as a busy
//! connection leaves them, and are taken in chunks of 64 KiB, so most chunks end inside a frame.
//!
//! * `memcpy`: the same bytes copied once, chunk by chunk.
//! * `frames`: header, length limits, checksum and boundaries.
//! * `rows`: that, the publication's own header, and every row against its schema.

use std::hint::black_box;

use ringmill_benches::{Bench, Better, Sample, mix};
use ringmill_shard::wire::{Frame, FrameReader, Publish, encode_publish};

mod hunt;
use hunt::{Hunt, Random};

/// What one receive gives at most.
const CHUNK_BYTES: usize = 64 << 10;
const STREAM_BYTES: usize = 1 << 20;

fn main() {
    let mut bench = Bench::start("wire");
    bench.setup().pin(0);
    let hunt = Hunt::new();
    for (name, rows) in [
        ("frames_of_1", 1),
        ("frames_of_50", 50),
        ("frames_of_500", 500),
    ] {
        frames(&mut bench, &hunt, name, rows);
    }
    bench.finish();
}

/// The bytes of a connection, and how many rows they hold.
fn stream(hunt: &Hunt, rows_per_frame: usize, bytes: usize) -> (Vec<u8>, usize) {
    let mut random = Random(1);
    let (mut out, mut rows) = (Vec::new(), 0);
    while out.len() < bytes {
        let frame = hunt.rows(rows_per_frame, &mut random, |_, draw| draw % 1_000_000);
        let schema_id = hunt.schema().id;
        encode_publish(
            &mut out,
            0,
            schema_id,
            rows as u64 + 1,
            rows_per_frame as u32,
            &frame,
        );
        rows += rows_per_frame;
    }
    (out, rows)
}

fn frames(bench: &mut Bench, hunt: &Hunt, name: &'static str, rows_per_frame: usize) {
    let (bytes, rows) = stream(
        hunt,
        rows_per_frame,
        bench.size(STREAM_BYTES, STREAM_BYTES / 8),
    );
    let passes = bench.size(64, 1);
    let (bytes, ops) = (&bytes, rows * passes);
    let mut target = vec![0; CHUNK_BYTES];
    let mut group = bench.group(name, "ns/row", Better::Lower);
    group.baseline("memcpy", move || {
        Sample::ns_per_op(ops, || {
            for _ in 0..passes {
                for chunk in bytes.chunks(CHUNK_BYTES) {
                    black_box(&mut target[..chunk.len()]).copy_from_slice(black_box(chunk));
                }
            }
            u64::from(target[0])
        })
    });
    group.row("frames", move || {
        Sample::ns_per_op(ops, || {
            let count = |frame: &Frame<'_>| u64::from(frame.header.count);
            checked(read(bytes, passes, count), ops)
        })
    });
    group.row("rows", move || {
        Sample::ns_per_op(ops, || {
            let schema = hunt.schema();
            let valid = |frame: &Frame<'_>| {
                let publish = Publish::decode(frame, schema).expect("a publication");
                let rows = publish.rows.chunks_exact(schema.row_len());
                rows.filter(|row| schema.validate(row).is_ok()).count() as u64
            };
            checked(read(bytes, passes, valid), ops)
        })
    });
    group.run();
}

/// Reads the connection `passes` times; sums up what `rows` finds in each frame.
fn read(bytes: &[u8], passes: usize, rows: impl Fn(&Frame<'_>) -> u64) -> u64 {
    let mut reader = FrameReader::new();
    let mut found = 0;
    for _ in 0..passes {
        for chunk in bytes.chunks(CHUNK_BYTES) {
            let chunk = black_box(chunk);
            let mut consumed = 0;
            while let Some(frame) = reader.next(chunk, &mut consumed) {
                found += rows(&frame.expect("a whole frame"));
            }
        }
    }
    found
}

/// No figure for rows that were not found.
fn checked(found: u64, rows: usize) -> u64 {
    assert_eq!(found, rows as u64, "every row is found and valid");
    mix(1, found)
}
