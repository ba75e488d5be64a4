//! The frames that the page shows and the tests pin.

use ringmill_shard::reject::{Reject, RejectReason};
use ringmill_shard::schema::{FieldSpec, FieldType, Schema};
use ringmill_shard::value::Value;
use ringmill_shard::wire::{
    Ack, ErrorReply, Hello, HelloAck, Level, StreamInfo, encode_ack, encode_error, encode_publish,
};

/// The stream of the worked example.
pub(crate) fn example_schema() -> Schema {
    let spec = |id, name: &str, kind, optional| FieldSpec {
        id,
        name: name.into(),
        kind,
        optional,
    };
    Schema::new(vec![
        spec(1, "player", FieldType::U64, false),
        spec(2, "at", FieldType::Time, false),
        spec(3, "team", FieldType::Text(5), true),
    ])
    .unwrap()
}

pub(crate) fn example_rows(schema: &Schema) -> Vec<u8> {
    let mut rows = vec![0; 2 * schema.row_len()];
    let (first, second) = rows.split_at_mut(schema.row_len());
    for (row, at, team) in [
        (first, 1000, Value::Text("red")),
        (second, 2000, Value::Null),
    ] {
        schema.set(row, 0, &Value::U64(7)).unwrap();
        schema.set(row, 1, &Value::Time(at)).unwrap();
        schema.set(row, 2, &team).unwrap();
    }
    rows
}

pub(crate) fn example(name: &str) -> Vec<u8> {
    let schema = example_schema();
    let mut out = Vec::new();
    match name {
        "hello" => Hello {
            epoch: 0,
            name: "demo",
        }
        .encode(&mut out),
        "publish" => encode_publish(&mut out, 0, schema.id, 1, 2, &example_rows(&schema)),
        "ack" => {
            let mut frame = [0; 32];
            encode_ack(
                &mut frame,
                &Ack {
                    sequence: 2,
                    level: Level::Commit,
                    rejected: 0,
                },
            );
            out.extend_from_slice(&frame);
        }
        "error" => {
            let reject = Reject::of_field(RejectReason::BadText, 2);
            encode_error(&mut out, &ErrorReply::of_reject(&schema, 3, reject));
        }
        other => panic!("no example `{other}`"),
    }
    out
}

pub(crate) fn hello_ack() -> HelloAck {
    HelloAck {
        shards: 2,
        epoch: 3,
        durable_through: 4,
        highest_seen: 5,
        frame_payload_bytes_max: 524_288,
        inflight_frames_max: 64,
        streams: vec![StreamInfo {
            index: 0,
            name: "finds".into(),
            level: Level::Commit,
            key: 0,
            schema: example_schema(),
        }],
    }
}

/// Written by hand from the page; everything but the checksum and the schema id.
pub(crate) fn hello_ack_payload() -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend([1, 0, 2, 0, 3, 0, 0, 0]);
    bytes.extend([4, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend([0, 0, 8, 0, 64, 0, 0, 0, 1, 0, 0, 0]);
    bytes.extend([0, 0, 24, 0]);
    bytes.extend(example_schema().id.to_le_bytes());
    bytes.extend([3, 0, 3, 5]);
    bytes.extend(b"finds");
    bytes.extend(b"\x01\0\x01\0\0\0\0\0\x06player");
    bytes.extend(b"\x02\0\x05\0\0\0\x08\0\x02at");
    bytes.extend(b"\x03\0\x07\x05\x01\0\x10\0\x04team");
    bytes
}
