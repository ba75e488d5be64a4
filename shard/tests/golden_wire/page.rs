//! `docs/formats/wire.md` held equal to the code.

use crate::examples::example;
use ringmill_shard::limits;
use ringmill_shard::reject::RejectReason;
use ringmill_shard::schema::FieldType;
use ringmill_shard::wire::{
    ErrorCode, FrameHeader, FrameKind, Level, WireError, error_offset, header_offset,
    hello_ack_offset, hello_offset, publish_offset,
};

const DOC: &str = include_str!("../../../docs/formats/wire.md");

fn hex_text(bytes: &[u8]) -> String {
    let lines = bytes.chunks(16).map(|line| {
        let words: Vec<String> = line
            .chunks(4)
            .map(|word| word.iter().map(|byte| format!("{byte:02x}")).collect())
            .collect();
        words.join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn worked_examples_of_the_page_are_the_bytes_of_the_code() {
    for name in ["hello", "publish", "ack", "error"] {
        let head = format!("```hex {name}\n");
        let start = DOC.find(&head).unwrap() + head.len();
        let shown = &DOC[start..start + DOC[start..].find("\n```").unwrap()];
        let expected = hex_text(&example(name));
        assert_eq!(shown, expected, "{name} is now\n{expected}");
    }
}

/// The rows of the first table below a heading, or of the one whose head begins with `head`.
pub(crate) fn table(heading: &str, head: &str) -> Vec<Vec<&'static str>> {
    let start = DOC
        .find(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("no {heading}"));
    let section = &DOC[start..];
    let start = section
        .find(&format!("\n| {head} |"))
        .unwrap_or_else(|| panic!("no | {head} |"));
    section[start + 1..]
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

/// Offset and name of every field of a payload; each must begin where the one before ends.
#[track_caller]
fn assert_offsets(heading: &str, expected: &[(usize, &str)]) {
    let rows = table(heading, "offset");
    let shown: Vec<(usize, &str)> = rows
        .iter()
        .map(|row| (row[0].parse().unwrap(), row[2]))
        .collect();
    assert_eq!(shown, expected, "{heading}");
    for (row, next) in rows.iter().zip(&expected[1..]) {
        let bytes: usize = row[1].parse().unwrap();
        assert_eq!(
            row[0].parse::<usize>().unwrap() + bytes,
            next.0,
            "{heading}: {}",
            row[2]
        );
    }
}

#[test]
fn byte_tables_of_the_page_are_the_offsets_of_the_code() {
    use header_offset as header;
    assert_offsets(
        "## Frame header",
        &[
            (header::MAGIC, "magic"),
            (header::KIND, "kind"),
            (header::FLAGS, "flags"),
            (header::STREAM, "stream"),
            (header::PAYLOAD_BYTES, "payload_bytes"),
            (header::COUNT, "count"),
            (header::SEQUENCE, "sequence"),
            (header::CHECKSUM, "checksum"),
        ],
    );
    assert_offsets(
        "## Hello",
        &[
            (hello_offset::VERSION, "version"),
            (hello_offset::RESERVED, "reserved"),
            (hello_offset::EPOCH, "epoch"),
            (hello_offset::NAME, "name"),
        ],
    );
    use hello_ack_offset as ack;
    assert_offsets(
        "## HelloAck",
        &[
            (ack::VERSION, "version"),
            (ack::SHARDS, "shards"),
            (ack::EPOCH, "epoch"),
            (ack::DURABLE_THROUGH, "durable_through"),
            (ack::HIGHEST_SEEN, "highest_seen"),
            (ack::FRAME_PAYLOAD_BYTES_MAX, "frame_payload_bytes_max"),
            (ack::INFLIGHT_FRAMES_MAX, "inflight_frames_max"),
            (ack::STREAM_COUNT, "stream_count"),
            (ack::RESERVED, "reserved"),
            (ack::STREAMS, "streams"),
        ],
    );
    assert_offsets(
        "## Publish",
        &[
            (publish_offset::SCHEMA_ID, "schema_id"),
            (publish_offset::RESERVED, "reserved"),
            (publish_offset::ROWS, "rows"),
        ],
    );
    assert_offsets(
        "## Error",
        &[
            (error_offset::CODE, "code"),
            (error_offset::FIELD, "field"),
            (error_offset::RESERVED, "reserved"),
            (error_offset::MESSAGE, "message"),
        ],
    );
}

#[test]
fn numbers_of_the_page_are_those_of_the_code() {
    let pairs = |heading: &str, head: &str| -> Vec<(String, String)> {
        table(heading, head)
            .iter()
            .map(|row| (row[0].into(), row[1].into()))
            .collect()
    };
    let kinds: Vec<_> = FrameKind::ALL
        .iter()
        .map(|kind| (format!("{:#04x}", kind.code()), format!("{kind:?}")))
        .collect();
    assert_eq!(pairs("## Frame header", "kind"), kinds);
    let codes: Vec<_> = ErrorCode::ALL
        .iter()
        .map(|code| (code.code().to_string(), code.name().to_owned()))
        .collect();
    assert_eq!(pairs("## Error", "code"), codes);
    let reasons: Vec<_> = RejectReason::ALL
        .iter()
        .map(|reason| (reason.code().to_string(), reason.name().to_owned()))
        .collect();
    assert_eq!(pairs("## Row", "number"), reasons);
    let levels: Vec<_> = (0..4)
        .map(|code| {
            (
                code.to_string(),
                Level::from_code(code).unwrap().name().to_owned(),
            )
        })
        .collect();
    assert_eq!(pairs("## Ack", "level"), levels);
    for row in table("## Row", "class") {
        let kind = FieldType::parse(&row[2].replace('n', "9")).unwrap();
        assert_eq!(row[1], kind.code().to_string());
        let cell_bytes = row[3].replace("1 + n", "10");
        assert_eq!(cell_bytes, kind.cell_bytes().to_string());
    }
    let limits = [
        ("row bytes", limits::ROW_BYTES_MAX),
        ("fields of a stream", limits::FIELDS_MAX),
        ("text bytes", limits::TEXT_BYTES_MAX),
        ("name bytes", limits::NAME_BYTES_MAX),
        ("streams", limits::STREAMS_MAX),
        ("views", limits::VIEWS_MAX),
        ("boards", limits::BOARDS_MAX),
        ("groups", limits::GROUPS),
        ("payload bytes", limits::FRAME_PAYLOAD_BYTES_MAX),
        ("events of a frame", limits::BATCH_EVENTS_MAX),
        ("error message bytes", limits::ERROR_MESSAGE_BYTES_MAX),
    ];
    let limits: Vec<_> = limits
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.to_string()))
        .collect();
    assert_eq!(pairs("## Limits", "limit"), limits);
}

#[test]
fn payload_lengths_of_the_page_are_the_ones_that_headers_may_claim() {
    for row in table("## Frame header", "kind") {
        let code = u8::from_str_radix(&row[0][2..], 16).unwrap();
        let kind = FrameKind::from_code(code).unwrap();
        assert_eq!(
            row[2],
            if kind.is_request() {
                "client"
            } else {
                "server"
            }
        );
        let (least, most) = row[3].split_once(" to ").unwrap_or((row[3], row[3]));
        let (least, most): (u32, u32) = (least.parse().unwrap(), most.parse().unwrap());
        let decoded = |payload_bytes: u32| {
            let count = if kind == FrameKind::Publish {
                (payload_bytes.max(16) - 8) / 8
            } else {
                0
            };
            let header = FrameHeader {
                kind,
                flags: 0,
                stream: 0,
                payload_bytes: 0,
                count,
                sequence: u64::from(kind == FrameKind::Publish),
                checksum: 0,
            };
            let mut bytes = header.seal(&[]);
            bytes[8..12].copy_from_slice(&payload_bytes.to_le_bytes());
            FrameHeader::decode(&bytes).map(|header| header.payload_bytes)
        };
        assert_eq!(decoded(least), Ok(least), "{kind:?}");
        assert_eq!(decoded(most), Ok(most), "{kind:?}");
        if let Some(below) = least.checked_sub(1) {
            assert_eq!(
                decoded(below),
                Err(WireError::PayloadLength { bytes: below }),
                "{kind:?}"
            );
        }
        let above = decoded(most + 1).unwrap_err();
        assert_eq!(above.code(), ErrorCode::BadLength, "{kind:?}");
    }
}
