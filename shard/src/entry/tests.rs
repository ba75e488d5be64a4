use super::*;
use crate::limits::{
    CORRECTION_EARLY_MAX, CORRECTION_PART_BYTES_MAX, CORRECTION_PART_EVENTS_MAX,
    CORRECTION_TEXT_BYTES_MAX,
};
use proptest::prelude::*;

fn offsets(of: &[u32]) -> Vec<u8> {
    of.iter().flat_map(|offset| offset.to_le_bytes()).collect()
}

fn batch<'a>(offsets: Option<&'a [u8]>, count: u32, rows: &'a [u8]) -> EventBatch<'a> {
    EventBatch {
        producer: ProducerId::of_name("till-7"),
        epoch: 3,
        stream: 2,
        schema_id: 0xdead_beef,
        first_sequence: 100,
        count,
        stamp_ns: 1_700_000_000_000_000_001,
        watermark_ms: -5,
        offsets,
        rows,
    }
}

fn encoded(batch: &EventBatch<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    batch.encode(&mut bytes);
    bytes
}

#[test]
fn a_batch_comes_back_as_it_was() {
    let rows: Vec<u8> = (0..48).collect();
    for offsets in [None, Some(offsets(&[0, 4, 5]))] {
        let written = batch(offsets.as_deref(), 3, &rows);
        let bytes = encoded(&written);
        assert_eq!(bytes.len(), written.encoded_bytes());
        let read = EventBatch::decode(&bytes).unwrap();
        assert_eq!(read.header_bytes(), written.header_bytes());
        assert_eq!((read.offsets, read.rows), (written.offsets, written.rows));
        assert_eq!((read.row_bytes(), read.row(1)), (16, &rows[16..32]));
        let sequences: Vec<_> = (0..3).map(|row| read.sequence(row)).collect();
        let expected = if offsets.is_some() {
            [100, 104, 105]
        } else {
            [100, 101, 102]
        };
        assert_eq!(sequences, expected);
        assert_eq!(read.last_sequence(), expected[2]);
        for sequence in 98..110 {
            let through = expected.iter().filter(|&&s| s <= sequence).count();
            assert_eq!(read.rows_through(sequence), through);
        }
        assert_eq!(read.rows_through(u64::MAX), 3);
    }
}

#[test]
fn bad_batches_are_refused() {
    let rows = [7; 48];
    let refuse = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = encoded(&batch(None, 3, &rows));
        change(&mut bytes);
        EventBatch::decode(&bytes).unwrap_err()
    };
    let set_count = |count: u32| {
        move |bytes: &mut Vec<u8>| {
            bytes[32..36].copy_from_slice(&count.to_le_bytes());
        }
    };
    assert_eq!(refuse(&|bytes| bytes[22] = 2), EntryError::BadFlags);
    assert_eq!(refuse(&|bytes| bytes[56] = 1), EntryError::BadFlags);
    assert_eq!(refuse(&set_count(0)), EntryError::BadCount(0));
    assert_eq!(refuse(&set_count(70_000)), EntryError::BadCount(70_000));
    assert_eq!(refuse(&set_count(5)), EntryError::BadRowBytes(9));
    assert_eq!(refuse(&set_count(60_000)), EntryError::BadRowBytes(0));
    assert_eq!(
        refuse(&|bytes| bytes[24..32].fill(0)),
        EntryError::BadSequence
    );
    assert_eq!(
        refuse(&|bytes| bytes[24..32].fill(0xff)),
        EntryError::BadSequence
    );
    assert!(matches!(
        refuse(&|bytes| bytes.truncate(63)),
        EntryError::BadLength { .. }
    ));
    assert!(matches!(
        refuse(&|bytes| bytes.truncate(64)),
        EntryError::BadLength { .. }
    ));
    for bad in [[0, 4, 4], [5, 4, 9]] {
        let offsets = offsets(&bad);
        let bytes = encoded(&batch(Some(&offsets), 3, &rows));
        assert_eq!(
            EventBatch::decode(&bytes).unwrap_err(),
            EntryError::BadSequence
        );
    }
}

#[test]
fn structured_entries_come_back_at_any_alignment() {
    let session = ProducerSession {
        producer: u128::MAX - 9,
        epoch: 4,
        stamp_ns: 8,
        name: "till-7".into(),
    };
    let bytes = session.to_bytes();
    for shift in 0..16 {
        let mut shifted = vec![0; shift];
        shifted.extend_from_slice(&bytes);
        match decode_entry(KIND_PRODUCER_SESSION, &shifted[shift..]).unwrap() {
            Entry::Session(read) => assert_eq!(read, session),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        decode_entry(9, &bytes).unwrap_err(),
        EntryError::UnknownKind(9)
    );
}

fn correction() -> CorrectionEntry {
    CorrectionEntry {
        id: 7,
        action: CorrectionAction::Retract,
        stream: 1,
        schema_id: 0xdead_beef,
        shards: 2,
        part: 0,
        last: true,
        stamp_ns: 1_700_000_000_000_000_001,
        watermark_ms: -5,
        reason: "exploit 17".into(),
        author: "referee".into(),
        selector: "{}".into(),
        early: vec![EventName::Sequence {
            producer: u128::MAX - 9,
            epoch: 3,
            sequence: 100,
        }],
        events: vec![CorrectedEvent {
            place: EventPlace {
                log_stream: 4,
                lsn: 1_000,
                index: 2,
            },
            stamp_ns: 1_700_000_000_000_000_000,
            watermark_ms: -6,
        }],
        rows: (0..16).collect(),
    }
}

#[test]
fn a_correction_comes_back_as_it_was_and_its_bytes_are_pinned() {
    let bytes = correction().to_bytes();
    match decode_entry(KIND_CORRECTION, &bytes).unwrap() {
        Entry::Correction(read) => assert_eq!(read, correction()),
        other => panic!("{other:?}"),
    }
    let digest = xxhash_rust::xxh3::xxh3_128(&bytes);
    let pinned = 0xccf8_b9a4_0769_cca4_2e6e_0e74_2247_e0d8;
    assert_eq!((bytes.len(), digest), (216, pinned), "{digest:#x}");
}

#[test]
fn corrections_beyond_their_bounds_are_refused() {
    let refuse = |change: &dyn Fn(&mut CorrectionEntry)| {
        let mut entry = correction();
        change(&mut entry);
        let bytes = entry.to_bytes();
        let refused = EntryError::Malformed(KIND_CORRECTION);
        assert_eq!(decode_entry(KIND_CORRECTION, &bytes).unwrap_err(), refused);
    };
    refuse(&|entry| entry.rows.clear());
    refuse(&|entry| entry.events.clear());
    refuse(&|entry| entry.reason = "x".repeat(CORRECTION_TEXT_BYTES_MAX + 1));
    refuse(&|entry| entry.selector = "x".repeat(CORRECTION_TEXT_BYTES_MAX + 1));
    refuse(&|entry| entry.early = vec![entry.early[0]; CORRECTION_EARLY_MAX + 1]);
    refuse(&|entry| {
        entry.events = vec![entry.events[0]; CORRECTION_PART_EVENTS_MAX + 1];
        entry.rows = vec![0; entry.events.len() * 8];
    });
    refuse(&|entry| entry.rows = vec![0; CORRECTION_PART_BYTES_MAX + 8]);
}

#[test]
fn the_parts_of_a_correction_are_bounded_and_whole() {
    let mut whole = correction();
    whole.early = vec![whole.early[0]; 300];
    whole.events = (0..5_000)
        .map(|index| CorrectedEvent {
            place: EventPlace {
                index,
                ..whole.events[0].place
            },
            ..whole.events[0]
        })
        .collect();
    whole.rows = (0..5_000 * 24).map(|byte| byte as u8).collect();
    for budget in [1_000, 9_000, 1 << 30] {
        let parts = whole.clone().split(budget);
        let mut joined = parts[0].clone();
        for (at, part) in parts.iter().enumerate() {
            let bytes = part.to_bytes();
            assert!(bytes.len() <= budget, "{} of {budget}", bytes.len());
            assert!(decode_entry(KIND_CORRECTION, &bytes).is_ok());
            assert_eq!((part.part as usize, part.last), (at, at + 1 == parts.len()));
            if at > 0 {
                joined.early.extend(&part.early);
                joined.events.extend(&part.events);
                joined.rows.extend(&part.rows);
            }
        }
        joined.last = true;
        assert_eq!(joined, whole);
    }
    assert_eq!(correction().split(1_000), [correction()]);
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(
        kind in 0..8_u32,
        mut bytes in prop::collection::vec(any::<u8>(), 0..300),
        plausible in any::<bool>(),
    ) {
        if plausible && bytes.len() > 64 {
            bytes[22] &= 1;
            bytes[23] = 0;
            bytes[33..36].fill(0);
            bytes[56..64].fill(0);
        }
        if let Ok(Entry::Batch(batch)) = decode_entry(kind, &bytes) {
            prop_assert_eq!(batch.row(batch.count as usize - 1).len(), batch.row_bytes());
            prop_assert!(batch.last_sequence() >= batch.first_sequence);
        }
    }

    #[test]
    fn no_bytes_make_deltas_or_queries_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Some((delta, taken)) = crate::delta::Delta::decode(&bytes) {
            let mut again = Vec::new();
            delta.encode(&mut again);
            prop_assert_eq!(&again[..], &bytes[..taken]);
        }
        let _ = crate::query::Query::from_bytes(&bytes);
        let _ = crate::query::Answer::from_bytes(&bytes);
    }
}
