//! What the header alone is refused for, and that no damaged byte goes unseen.

use crate::examples::example;
use ringmill_shard::wire::{
    ErrorCode, FrameHeader, FrameReader, WireError, encode_ping, encode_publish,
};

/// Offset and bytes of a change to the header of the Publish example; code and message it gives.
const REFUSED: [(usize, &[u8], ErrorCode, &str); 14] = [
    (
        0,
        b"GET ",
        ErrorCode::BadMagic,
        "not a ringmill frame: it begins with \"GET \", not with \"RMW1\"",
    ),
    (
        0,
        b"RMW2",
        ErrorCode::BadVersion,
        "protocol version 2 is not supported; this side speaks version 1",
    ),
    (
        0,
        b"RMWx",
        ErrorCode::BadMagic,
        "not a ringmill frame: it begins with \"RMWx\", not with \"RMW1\"",
    ),
    (
        4,
        &[0x04],
        ErrorCode::UnknownKind,
        "frame kind 0x04 is unknown",
    ),
    (
        5,
        &[1],
        ErrorCode::BadVersion,
        "flags must be zero in protocol version 1",
    ),
    (
        8,
        &[1, 0, 8, 0],
        ErrorCode::BadLength,
        "a payload of 524289 bytes is over the limit of 524288",
    ),
    (
        8,
        &[15, 0, 0, 0],
        ErrorCode::BadLength,
        "15 bytes are no payload of this kind of frame",
    ),
    (
        12,
        &[0, 0, 0, 0],
        ErrorCode::BadCount,
        "a count of 0 events; a frame has 1 to 65535",
    ),
    (
        12,
        &[0, 0, 1, 0],
        ErrorCode::BadCount,
        "a count of 65536 events; a frame has 1 to 65535",
    ),
    (
        12,
        &[5, 0, 0, 0],
        ErrorCode::BadCount,
        "48 bytes of rows are not 5 rows of 8 to 1024 bytes, multiples of 8",
    ),
    (
        12,
        &[4, 0, 0, 0],
        ErrorCode::BadCount,
        "48 bytes of rows are not 4 rows of 8 to 1024 bytes, multiples of 8",
    ),
    (
        16,
        &[0; 8],
        ErrorCode::SequenceGap,
        "sequences of 2 events cannot begin at 0",
    ),
    (
        16,
        &[0xff; 8],
        ErrorCode::SequenceGap,
        "sequences of 2 events cannot begin at 18446744073709551615",
    ),
    (
        4,
        &[0x01],
        ErrorCode::BadVersion,
        "count must be zero in protocol version 1",
    ),
];

#[test]
fn headers_that_are_refused() {
    let valid: [u8; 32] = *example("publish").first_chunk().unwrap();
    let changed = |at: usize, bytes: &[u8]| {
        let mut header = valid;
        header[at..at + bytes.len()].copy_from_slice(bytes);
        FrameHeader::decode(&header).unwrap_err()
    };
    for (at, bytes, code, message) in REFUSED {
        let error = changed(at, bytes);
        assert_eq!((error.code(), error.to_string().as_str()), (code, message));
    }
}

#[test]
fn short_headers_that_are_refused() {
    let short = |change: fn(&mut [u8; 32])| {
        let mut frame = [0; 32];
        encode_ping(&mut frame, 5);
        change(&mut frame);
        FrameHeader::decode(&frame)
    };
    assert!(short(|_| ()).is_ok());
    assert_eq!(
        short(|b| b[6] = 1),
        Err(WireError::NotZero { field: "stream" })
    );
    assert_eq!(
        short(|b| b[12] = 1),
        Err(WireError::NotZero { field: "count" })
    );
    assert_eq!(
        short(|b| b[8] = 1),
        Err(WireError::PayloadLength { bytes: 1 })
    );
    let mut hello: [u8; 32] = *example("hello").first_chunk().unwrap();
    hello[16] = 1;
    assert_eq!(
        FrameHeader::decode(&hello),
        Err(WireError::NotZero { field: "sequence" })
    );
}

#[test]
fn a_row_is_at_most_1024_bytes() {
    for (row_bytes, fits) in [(8, true), (1024, true), (1032, false), (2048, false)] {
        let mut frame = Vec::new();
        encode_publish(&mut frame, 0, 1, 1, 3, &vec![0; 3 * row_bytes]);
        let decoded = FrameHeader::decode(frame.first_chunk().unwrap());
        let bytes = 3 * row_bytes as u32;
        let refused = WireError::RowLength { bytes, count: 3 };
        assert_eq!(decoded.err(), (!fits).then_some(refused), "{row_bytes}");
    }
}

#[test]
fn every_damaged_byte_of_a_frame_is_seen() {
    for name in ["hello", "publish", "ack", "error"] {
        let valid = example(name);
        for at in 0..valid.len() {
            for bit in 0..8 {
                let mut bytes = valid.clone();
                bytes[at] ^= 1 << bit;
                let mut reader = FrameReader::new();
                let mut consumed = 0;
                let frame = reader.next(&bytes, &mut consumed);
                assert!(!matches!(frame, Some(Ok(_))), "{name} byte {at} bit {bit}");
            }
        }
    }
}
