//! The frame reader gives the same frames however the bytes are cut.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use ringmill_shard::limits::{FRAME_HEADER_BYTES, FRAME_PAYLOAD_BYTES_MAX};
use ringmill_shard::wire::{
    Ack, ErrorCode, ErrorReply, FrameHeader, FrameKind, FrameReader, Hello, Level, WireError,
    encode_ack, encode_error, encode_ping, encode_publish,
};

/// What a reader gave: header and payload of every frame, and the error that ended it.
type Read = (Vec<(FrameHeader, Vec<u8>)>, Option<WireError>);

fn read_in_chunks(bytes: &[u8], cuts: &[usize]) -> Read {
    let mut reader = FrameReader::new();
    let mut frames = Vec::new();
    let mut rest = bytes;
    let mut cuts = cuts.iter().copied();
    while !rest.is_empty() {
        let length = cuts.next().unwrap_or(rest.len()).clamp(1, rest.len());
        let (chunk, behind) = rest.split_at(length);
        rest = behind;
        let mut consumed = 0;
        while let Some(frame) = reader.next(chunk, &mut consumed) {
            match frame {
                Ok(frame) => frames.push((frame.header, frame.payload.to_vec())),
                Err(error) => {
                    // What follows an error is consumed and gives nothing.
                    assert!(reader.next(chunk, &mut consumed).is_none());
                    assert_eq!(consumed, chunk.len());
                    assert!(!reader.is_partial());
                    return (frames, Some(error));
                }
            }
        }
        assert_eq!(
            consumed,
            chunk.len(),
            "None means that the chunk is consumed"
        );
    }
    (frames, None)
}

#[derive(Clone, Debug)]
enum Sent {
    Hello(u32, String),
    Publish {
        row_bytes: usize,
        count: usize,
        fill: u8,
    },
    Ack(u64, u32),
    Error(String),
    Ping(u64),
}

fn any_sent() -> impl Strategy<Value = Sent> {
    prop_oneof![
        (any::<u32>(), "[A-Za-z0-9._:-]{1,64}").prop_map(|(e, n)| Sent::Hello(e, n)),
        (1usize..=16, 1usize..=40, any::<u8>()).prop_map(|(words, count, fill)| Sent::Publish {
            row_bytes: words * 8,
            count,
            fill
        }),
        (any::<u64>(), any::<u32>()).prop_map(|(s, r)| Sent::Ack(s, r)),
        ".{0,40}".prop_map(Sent::Error),
        any::<u64>().prop_map(Sent::Ping),
    ]
}

fn encode(sent: &Sent, out: &mut Vec<u8>) {
    let mut short = [0; FRAME_HEADER_BYTES];
    match sent {
        Sent::Hello(epoch, name) => Hello {
            epoch: *epoch,
            name,
        }
        .encode(out),
        Sent::Publish {
            row_bytes,
            count,
            fill,
        } => {
            let rows = vec![*fill; row_bytes * count];
            encode_publish(out, 3, 77, 1 + u64::from(*fill), *count as u32, &rows);
        }
        Sent::Ack(sequence, rejected) => {
            let ack = Ack {
                sequence: *sequence,
                level: Level::Commit,
                rejected: *rejected,
            };
            encode_ack(&mut short, &ack);
            out.extend_from_slice(&short);
        }
        Sent::Error(message) => encode_error(
            out,
            &ErrorReply {
                code: ErrorCode::Rejected,
                fatal: false,
                sequence: 9,
                field: 2,
                message: message.clone(),
            },
        ),
        Sent::Ping(token) => {
            encode_ping(&mut short, *token);
            out.extend_from_slice(&short);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_chunking_gives_the_same_frames(
        sent in prop::collection::vec(any_sent(), 1..12),
        cuts in prop::collection::vec(1usize..200, 0..400),
    ) {
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for one in &sent {
            encode(one, &mut bytes);
            ends.push(bytes.len());
        }
        let (whole, error) = read_in_chunks(&bytes, &[]);
        prop_assert_eq!(error, None);
        prop_assert_eq!(whole.len(), sent.len());
        let mut start = 0;
        for ((header, payload), end) in whole.iter().zip(ends) {
            let frame = &bytes[start..end];
            prop_assert_eq!(&frame[FRAME_HEADER_BYTES..], payload.as_slice());
            let sealed = header.seal(payload);
            prop_assert_eq!(sealed.as_slice(), &frame[..FRAME_HEADER_BYTES]);
            start = end;
        }
        prop_assert_eq!(&read_in_chunks(&bytes, &cuts), &(whole.clone(), None));
        prop_assert_eq!(&read_in_chunks(&bytes, &vec![1; bytes.len()]), &(whole, None));
    }

    #[test]
    fn a_damaged_byte_is_seen_and_what_came_before_is_given(
        sent in prop::collection::vec(any_sent(), 1..6),
        place in any::<prop::sample::Index>(),
        flip in 1u8..,
        cuts in prop::collection::vec(1usize..100, 0..100),
    ) {
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for one in &sent {
            encode(one, &mut bytes);
            ends.push(bytes.len());
        }
        let at = place.index(bytes.len());
        bytes[at] ^= flip;
        let before = ends.iter().filter(|end| **end <= at).count();
        let (frames, error) = read_in_chunks(&bytes, &cuts);
        // A damaged length may also make the reader wait for bytes that never come.
        prop_assert_eq!(frames.len(), before, "error: {:?}", error);
    }
}

#[test]
fn a_split_frame_is_partial_until_it_is_whole() {
    let mut bytes = Vec::new();
    encode_publish(&mut bytes, 0, 1, 1, 2, &[7; 128]);
    let mut reader = FrameReader::new();
    for end in [1, 31, 32, 33, bytes.len() - 1] {
        let mut reader = FrameReader::new();
        let mut consumed = 0;
        assert!(reader.next(&bytes[..end], &mut consumed).is_none());
        assert!(reader.is_partial(), "{end}");
    }
    let mut consumed = 0;
    assert!(reader.next(&bytes[..50], &mut consumed).is_none());
    consumed = 0;
    assert!(reader.next(&bytes[50..], &mut consumed).unwrap().is_ok());
    assert!(!reader.is_partial());
}

#[test]
fn the_buffer_grows_with_what_arrives_and_is_released_when_it_was_large() {
    let rows = vec![1u8; FRAME_PAYLOAD_BYTES_MAX - 8];
    let mut large = Vec::new();
    encode_publish(&mut large, 0, 1, 1, (rows.len() / 8) as u32, &rows);
    let mut reader = FrameReader::new();
    let mut consumed = 0;
    assert!(reader.next(&large[..100], &mut consumed).is_none());
    assert!(
        reader.buffer_bytes() < 1024,
        "a header's claim allocates nothing"
    );
    let mut arrived = 100;
    while arrived < large.len() {
        let end = (arrived + 4096).min(large.len());
        consumed = 0;
        let frame = reader
            .next(&large[arrived..end], &mut consumed)
            .map(|frame| frame.is_ok());
        assert_eq!(frame, (end == large.len()).then_some(true));
        arrived = end;
        assert!(reader.buffer_bytes() <= large.len().min(2 * arrived));
    }
    assert!(reader.buffer_bytes() >= FRAME_PAYLOAD_BYTES_MAX);
    let mut small = Vec::new();
    encode_publish(&mut small, 0, 1, 1, 1, &[0; 8]);
    for _ in 0..300 {
        consumed = 0;
        assert!(reader.next(&small, &mut consumed).unwrap().is_ok());
    }
    assert_eq!(reader.buffer_bytes(), 0);
}

#[test]
fn frames_split_at_the_worst_places_keep_their_payload() {
    let mut bytes = Vec::new();
    for sequence in 1..=50u64 {
        let rows: Vec<u8> = (0..64u8)
            .map(|byte| byte.wrapping_mul(sequence as u8))
            .collect();
        encode_publish(&mut bytes, 0, 1, sequence, 1, &rows);
    }
    for chunk in [1, 31, 32, 33, 71, 103, 104, 105, 207] {
        let cuts = vec![chunk; bytes.len()];
        let (frames, error) = read_in_chunks(&bytes, &cuts);
        assert_eq!((frames.len(), error), (50, None), "chunks of {chunk}");
        let sequences = frames.iter().map(|(header, _)| header.sequence);
        assert!(sequences.eq(1..=50));
        assert!(
            frames
                .iter()
                .all(|(header, _)| header.kind == FrameKind::Publish)
        );
    }
}
