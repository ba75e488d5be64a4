//! Every payload read back from its pinned bytes, and refused when it is damaged.

use crate::examples::{example, example_rows, example_schema, hello_ack, hello_ack_payload};
use crate::page::table;
use ringmill_shard::reject::{Reject, RejectReason};
use ringmill_shard::schema::Schema;
use ringmill_shard::wire::{
    Ack, ErrorCode, ErrorReply, FrameHeader, FrameKind, FrameReader, Hello, HelloAck, Level,
    Publish, WireError, check_producer_name, encode_ack, encode_error, encode_pong, seal_publish,
    verify,
};

#[test]
fn hello_ack_is_pinned() {
    let mut frame = Vec::new();
    hello_ack().encode(&mut frame);
    let (header, payload) = frame.split_first_chunk::<32>().unwrap();
    assert_eq!(payload, hello_ack_payload());
    assert_eq!(
        FrameHeader::decode(header).unwrap().kind,
        FrameKind::HelloAck
    );
    assert_eq!(verify(header, payload), Ok(()));
    assert_eq!(HelloAck::decode(payload), Ok(hello_ack()));
    for (heading, start, values) in [
        (
            "### Stream",
            36,
            [("row_bytes", 24u16), ("key_field", 0), ("field_count", 3)],
        ),
        (
            "### Field",
            36 + 12 + 5 + 15 + 11,
            [("id", 3), ("capacity", 5), ("offset", 16)],
        ),
    ] {
        for (name, value) in values {
            let rows = table(heading, "offset");
            let row = rows.iter().find(|row| row[2] == name).unwrap();
            let at = start + row[0].parse::<usize>().unwrap();
            let cell = match row[1] {
                "1" => u16::from(payload[at]),
                _ => u16::from_le_bytes([payload[at], payload[at + 1]]),
            };
            assert_eq!(cell, value, "{heading} {name}");
        }
    }
}

#[test]
fn hello_acks_that_are_refused() {
    let valid = hello_ack_payload();
    for end in 0..valid.len() {
        let error = HelloAck::decode(&valid[..end]).unwrap_err();
        assert_eq!(
            error,
            WireError::FieldLength {
                short_or_over: "inside"
            },
            "{end}"
        );
    }
    let changed = |at: usize, byte: u8| {
        let mut bytes = valid.clone();
        bytes[at] = byte;
        HelloAck::decode(&bytes).unwrap_err()
    };
    let mut longer = valid.clone();
    longer.push(0);
    let behind = WireError::FieldLength {
        short_or_over: "behind",
    };
    assert_eq!(HelloAck::decode(&longer), Err(behind));
    assert_eq!(changed(0, 2), WireError::BadVersion { found: 2 });
    assert_eq!(changed(32, 65), WireError::StreamCount { count: 65 });
    assert_eq!(
        changed(34, 1),
        WireError::NotZero {
            field: "the reserved field of HelloAck"
        }
    );
    // A row length, schema id, key, offset or type that contradicts the fields.
    let inconsistent = WireError::BadSchema { stream: 0 };
    for (at, byte) in [
        (38, 32),
        (40, 0xee),
        (45, 3),
        (46, 65),
        (36 + 17 + 6, 1),
        (36 + 17, 9),
    ] {
        assert_eq!(changed(at, byte), inconsistent, "byte {at}");
    }
    assert_eq!(
        changed(44, 4),
        WireError::UnknownValue {
            field: "level",
            value: 4
        }
    );
    assert_eq!(
        changed(55, 9),
        WireError::UnknownValue {
            field: "field type",
            value: 9
        }
    );
    assert_eq!(
        changed(57, 2),
        WireError::NotZero {
            field: "a flag of a field"
        }
    );
}

#[test]
fn hellos() {
    let payload = |epoch: u32, name: &str| {
        let mut out = Vec::new();
        Hello { epoch, name }.encode(&mut out);
        out.split_off(32)
    };
    let bytes = payload(7, "a.b_c:D-9");
    assert_eq!(bytes, b"\x01\0\0\0\x07\0\0\0\x09a.b_c:D-9");
    assert_eq!(
        Hello::decode(&bytes),
        Ok(Hello {
            epoch: 7,
            name: "a.b_c:D-9"
        })
    );
    for name in ["", "a b", "a/b", "\u{e9}", &"n".repeat(65)] {
        assert_eq!(check_producer_name(name), Err(WireError::BadName), "{name}");
        assert_eq!(
            Hello::decode(&payload(1, name)),
            Err(WireError::BadName),
            "{name}"
        );
    }
    assert_eq!(
        WireError::BadName.to_string(),
        "a producer name is 1 to 64 of A-Z a-z 0-9 . _ : -"
    );
    let mut other = bytes.clone();
    other[0] = 2;
    assert_eq!(
        Hello::decode(&other),
        Err(WireError::BadVersion { found: 2 })
    );
    other = bytes.clone();
    other[3] = 1;
    assert_eq!(
        Hello::decode(&other).unwrap_err().code(),
        ErrorCode::BadVersion
    );
    other = bytes.clone();
    other[9] = 0xff;
    assert_eq!(Hello::decode(&other), Err(WireError::BadName));
    for end in 0..bytes.len() {
        assert_eq!(
            Hello::decode(&bytes[..end]).unwrap_err().code(),
            ErrorCode::BadLength
        );
    }
}

#[test]
fn publishes_are_read_back_and_refused() {
    let schema = example_schema();
    let bytes = example("publish");
    let mut reader = FrameReader::new();
    let mut consumed = 0;
    let frame = reader.next(&bytes, &mut consumed).unwrap().unwrap();
    let publish = Publish::decode(&frame, &schema).unwrap();
    assert_eq!(
        (publish.stream, publish.first_sequence, publish.count),
        (0, 1, 2)
    );
    assert_eq!(publish.rows, example_rows(&schema));
    let mut in_place = vec![0xee; 40];
    in_place.extend(example_rows(&schema));
    seal_publish(&mut in_place, 0, schema.id, 1, 2);
    assert_eq!(in_place, bytes);

    let mut specs = schema.specs();
    specs[0].name = "gamer".into();
    let renamed = Schema::new(specs).unwrap();
    let error = Publish::decode(&frame, &renamed).unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnknownSchema);
    let expected = format!(
        "the rows have schema {:#010x}, the stream has {:#010x}",
        schema.id, renamed.id
    );
    assert_eq!(error.to_string(), expected);

    let mut payload = frame.payload.to_vec();
    payload[5] = 1;
    let reserved = ringmill_shard::wire::Frame {
        header: frame.header,
        payload: &payload,
    };
    let error = Publish::decode(&reserved, &schema).unwrap_err();
    assert_eq!(
        error,
        WireError::NotZero {
            field: "the reserved field of Publish"
        }
    );

    let header = FrameHeader {
        count: 3,
        ..frame.header
    };
    let wrong = ringmill_shard::wire::Frame {
        header,
        payload: frame.payload,
    };
    let error = Publish::decode(&wrong, &schema).unwrap_err();
    assert_eq!(error.code(), ErrorCode::BadCount);
    assert_eq!(
        error.to_string(),
        "48 bytes of rows are not 3 rows of 24 bytes"
    );
}

#[test]
fn replies_are_read_back() {
    let decode = |bytes: &[u8]| FrameHeader::decode(bytes.first_chunk().unwrap()).unwrap();
    let ack = Ack {
        sequence: u64::MAX,
        level: Level::Interval,
        rejected: 7,
    };
    let mut frame = [0; 32];
    encode_ack(&mut frame, &ack);
    assert_eq!(Ack::decode(&decode(&frame)), Ok(ack));
    encode_pong(&mut frame, 99);
    let pong = decode(&frame);
    assert_eq!((pong.kind, pong.sequence), (FrameKind::Pong, 99));
    assert_eq!(
        Ack::decode(&pong),
        Err(WireError::UnknownKind { kind: 0x84 })
    );

    let error = ErrorReply::of_wire(&WireError::BadChecksum);
    assert!(error.fatal && error.code == ErrorCode::BadChecksum && error.field == 255);
    let reject = ErrorReply::of_reject(
        &example_schema(),
        3,
        Reject::of_field(RejectReason::BadText, 2),
    );
    assert_eq!(reject.message, "event 3: field `team`: bad_text");
    let row = Reject::of_row(RejectReason::BadPadding);
    assert_eq!(
        ErrorReply::of_reject(&example_schema(), 3, row).message,
        "event 3: bad_padding"
    );
    for sent in [error, reject] {
        let mut bytes = Vec::new();
        encode_error(&mut bytes, &sent);
        assert_eq!(ErrorReply::decode(&decode(&bytes), &bytes[32..]), Ok(sent));
    }
}
