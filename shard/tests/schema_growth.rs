//! Streams whose fields grow: rows of a former schema and of the one in force, side by side.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use ringmill_shard::entry::{EntryError, EventBatch, KIND_EVENT_BATCH, ProducerId};
use ringmill_shard::pipeline::{Pipeline, Schemas};
use ringmill_shard::query::{Answer, Query};
use ringmill_shard::reject::{Reject, RejectReason};
use ringmill_shard::schema::Schema;
use ringmill_shard::state::{Outcome, Place, ShardState};
use ringmill_shard::value::Value;

const START_MS: i64 = 1_700_000_000_000;

fn pipeline(fields: &str) -> Pipeline {
    let text = format!(
        "ringmill = 1\n[stream.finds]\nkey = \"player\"\ntime = {{ field = \"at\" }}\n\
         [stream.finds.fields]\n{fields}\n\
         [view.per_team]\nfrom = \"finds\"\ngroup = [\"team\"]\nwindow = {{ size = \"1m\" }}\n\
         [view.per_team.columns]\nn = \"count()\"\npoints = \"sum(points)\"\n\
         [board.best]\nfrom = \"finds\"\nmember = \"player\"\nscore = \"sum(points)\"\n\
         [board.teams]\nfrom = \"finds\"\nmember = \"team\"\nscore = \"sum(points)\"\n"
    );
    Pipeline::parse(&text).unwrap()
}

fn before() -> Pipeline {
    pipeline(
        "player = { id = 10, type = \"u64\" }\nat = { id = 20, type = \"time\" }\n\
         points = { id = 30, type = \"i64\", optional = true }\n\
         team = { id = 40, type = \"text(5)\", optional = true }",
    )
}

/// New fields stand before and between the old ones.
fn after() -> Pipeline {
    let grown = pipeline(
        "flag = { id = 5, type = \"bool\", optional = true }\n\
         player = { id = 10, type = \"u64\" }\nat = { id = 20, type = \"time\" }\n\
         weight = { id = 25, type = \"f64\", optional = true }\n\
         points = { id = 30, type = \"i64\", optional = true }\n\
         team = { id = 40, type = \"text(5)\", optional = true }\n\
         note = { id = 50, type = \"text(9)\", optional = true }",
    );
    let mut schemas = Schemas::default();
    schemas.add(&before());
    schemas.add(&grown);
    grown.with_former(&schemas)
}

fn state(pipeline: &Pipeline) -> ShardState {
    let place = Place {
        shard: 0,
        shards: 1,
        log_stream: 0,
        older: Vec::new(),
    };
    ShardState::new(Arc::new(pipeline.clone()), place)
}

/// The `n`th event; fields that the schema lacks are left out.
fn row(schema: &Schema, n: u64) -> Vec<u8> {
    let mut row = vec![0; schema.row_len()];
    for (index, field) in schema.fields.iter().enumerate() {
        let value = match field.name.as_str() {
            "player" => Value::U64(n % 5),
            "at" => Value::Time(START_MS + n as i64 * 7_000),
            "points" if n % 4 != 3 => Value::I64(n as i64 - 6),
            "team" if n % 3 != 2 => Value::Text(["red", "blue"][n as usize % 2]),
            _ => Value::Null,
        };
        schema.set(&mut row, index, &value).unwrap();
    }
    row
}

fn batch<'a>(schema: &Schema, first: u64, rows: &'a [u8]) -> EventBatch<'a> {
    EventBatch {
        producer: ProducerId::of_name("till"),
        epoch: 1,
        stream: 0,
        schema_id: schema.id,
        first_sequence: first,
        count: (rows.len() / schema.row_len()) as u32,
        stamp_ns: (START_MS as u64 + first) * 1_000_000 + 600_000_000_000,
        watermark_ms: START_MS,
        offsets: None,
        rows,
    }
}

fn rows(schema: &Schema, of: std::ops::Range<u64>) -> Vec<u8> {
    of.flat_map(|n| row(schema, n)).collect()
}

#[test]
fn rows_of_before_and_of_now_make_one_state() {
    let (old, new) = (before(), after());
    let (old_schema, new_schema) = (&old.streams[0].schema, &new.streams[0].schema);
    let (mut mixed, mut plain, mut replayed) = (state(&new), state(&new), state(&new));
    let mut outcome = Outcome::default();
    for (turn, first) in (1..61).step_by(6).enumerate() {
        let came = if turn % 2 == 0 {
            old_schema
        } else {
            new_schema
        };
        let sent = rows(came, first..first + 6);
        let as_sent = batch(came, first, &sent);
        mixed.apply(&as_sent, first, &mut outcome);
        assert_eq!((outcome.accepted, outcome.rejected), (6, 0));
        let mut entry = Vec::new();
        as_sent.encode(&mut entry);
        replayed.replay(0, first, KIND_EVENT_BATCH, &entry).unwrap();
        let widened = rows(new_schema, first..first + 6);
        plain.apply(&batch(new_schema, first, &widened), first, &mut outcome);
    }
    replayed.finish_replay();
    assert_eq!(mixed.digest(), plain.digest());
    assert_eq!(replayed.digest(), plain.digest());
    // Under the narrow pipeline the same events count the same, but wide rows are not its own.
    let sent = rows(new_schema, 1..7);
    let mut entry = Vec::new();
    batch(new_schema, 1, &sent).encode(&mut entry);
    let refused = state(&old).replay(0, 1, KIND_EVENT_BATCH, &entry);
    assert!(
        matches!(refused, Err(EntryError::SchemaMismatch { .. })),
        "{refused:?}"
    );
}

/// What is wrong with a row is judged as it came: widening would hide stray bits and padding.
#[test]
fn rows_of_before_are_judged_as_they_came() {
    let (old, new) = (before(), after());
    let (old_schema, new_schema) = (&old.streams[0].schema, &new.streams[0].schema);
    let player_at = |schema: &Schema, name: &str| schema.field(name).unwrap() as u8;
    let mut sent = rows(old_schema, 1..6);
    let row_bytes = old_schema.row_len();
    let nulls_at = 3 * 8 + 6;
    // A bit of no field, padding, a text that is too long, a null with bytes.
    sent[nulls_at] |= 0b100;
    sent[row_bytes + row_bytes - 1] = 1;
    sent[2 * row_bytes + 24] = 200;
    sent[3 * row_bytes + nulls_at] |= 0b10;
    let mut state = state(&new);
    let mut outcome = Outcome::default();
    state.apply(&batch(old_schema, 1, &sent), 1, &mut outcome);
    assert_eq!((outcome.accepted, outcome.rejected), (1, 4));
    let first = Reject::of_row(RejectReason::UnknownNull);
    assert_eq!(outcome.first_reject, Some((1, first)));
    let Answer::Rejected(kept) = state.query(&Query::Rejected { stream: 0, n: 9 }) else {
        panic!("rejected events");
    };
    let found: Vec<(u64, u8, u8)> = kept
        .iter()
        .map(|e| (e.sequence, e.reason, e.field))
        .collect();
    let team = player_at(new_schema, "team");
    let code = |reason: RejectReason| reason.code();
    let expected = [
        (4, code(RejectReason::BadPadding), team),
        (3, code(RejectReason::TextTooLong), team),
        (
            2,
            code(RejectReason::BadPadding),
            Reject::of_row(RejectReason::BadPadding).field,
        ),
        (1, code(RejectReason::UnknownNull), first.field),
    ];
    assert_eq!(found, expected);
    // They are shown as rows of the schema in force.
    assert!(
        kept.iter()
            .all(|event| event.row.len() == new_schema.row_len())
    );
}
