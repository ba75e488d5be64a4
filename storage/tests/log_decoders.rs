//! Every decoder of the format under any bytes: no panic, no allocation by a length it read.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod log_support;

use log_support::{dir, is_prefix, open, write_through};
use proptest::prelude::*;
use ringmill_storage::disk::sim::{Crash, SimWorld};
use ringmill_storage::frame::{FrameHeader, FrameKind, entries};
use ringmill_storage::layout::BLOCK_BYTES;
use ringmill_storage::segment::{SegmentHeader, parse_segment_name};
use ringmill_storage::verify::read_dir;

fn any_block() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), BLOCK_BYTES)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

    #[test]
    fn headers_take_any_block(block in any_block()) {
        let _ = FrameHeader::decode(&block);
        let _ = SegmentHeader::decode(&block);
    }

    #[test]
    fn a_header_with_any_fields_is_refused_or_stays_inside_its_frame(
        payload_bytes: u32,
        block_count: u32,
        entry_count: u32,
        segment_sequence: u64,
        numbers: [u64; 4],
    ) {
        let header = FrameHeader {
            kind: FrameKind::Data,
            log_id_low: numbers[0],
            segment_sequence,
            block_index: numbers[1] as u32,
            block_count: block_count % 300,
            stream: numbers[2] as u32,
            entry_count,
            frame_sequence: numbers[3],
            first_lsn: numbers[0],
            payload_bytes: payload_bytes % (2 << 20),
            schema_id: 0,
            incarnation: numbers[1],
            durable_sequence: numbers[2],
            previous_link: 0,
            payload_digest: 0,
        };
        let mut block = vec![0; BLOCK_BYTES];
        header.encode(&mut block);
        if let Some(header) = FrameHeader::decode(&block) {
            prop_assert!(header.frame_bytes() >= header.payload_bytes as usize + 128);
            prop_assert!(header.frame_bytes() <= 1 << 20);
        }
    }

    #[test]
    fn entries_take_any_payload(
        payload in prop::collection::vec(prop_oneof![Just(0u8), Just(1u8), any::<u8>()], 0..600),
        count: u32,
    ) {
        let mut total = 0;
        for entry in entries(&payload, count).flatten() {
            prop_assert!(entry.kind != 0);
            total += entry.bytes.len();
        }
        prop_assert!(total <= payload.len());
    }

    #[test]
    fn names_take_any_text(name in ".*") {
        let _ = parse_segment_name(&name);
    }

    /// Any bytes over any place of a log: what is handed out is a prefix, whatever the verdict.
    #[test]
    fn recovery_takes_any_bytes_in_any_file(
        file in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 1..200),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let world = SimWorld::new(1);
        let (mut log, ..) = open(&world).unwrap();
        write_through(&mut log, 12, 2).unwrap();
        world.crash(Crash::Kill);
        world.settle();
        let paths = world.paths();
        world.damage(&paths[file.index(paths.len())], |target| {
            let start = at.index(target.len());
            let end = (start + bytes.len()).min(target.len());
            target[start..end].copy_from_slice(&bytes[..end - start]);
            if let Some(cut) = cut {
                target.truncate(cut.index(target.len()));
            }
        });
        let mut found = Vec::new();
        let _ = read_dir(&mut world.disk(), &dir(), &mut |_, _, entry| {
            found.push(entry.to_vec());
            Ok(())
        });
        prop_assert!(is_prefix(&found));
        if let Ok((_, _, entries)) = open(&world) {
            prop_assert!(is_prefix(&entries));
        }
    }
}
