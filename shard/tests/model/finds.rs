//! Finds of a treasure hunt that are told apart by fields.

use super::generate::{board, pipeline, stream};
use super::world::{START_MS, World};
use ringmill_shard::entry::{EventBatch, ProducerId};
use ringmill_shard::oracle::{Datum, Event};
use ringmill_shard::pipeline::{DedupeMode, DedupeRule, Pipeline, ScoreRule, TimeRule};
use ringmill_shard::schema::FieldType;
use ringmill_shard::state::{Outcome, Place, ShardState};
use std::sync::Arc;

/// Fields of the test stream.
pub(crate) const KEY: usize = 0;
pub(crate) const AT: usize = 1;
pub(crate) const DEVICE: usize = 2;
pub(crate) const SEQ: usize = 3;
pub(crate) const ID: usize = 4;
pub(crate) const POINTS: usize = 5;

pub(crate) fn finds(mode: DedupeMode) -> Pipeline {
    let time = TimeRule {
        field: AT,
        disorder_ms: 0,
        max_future_ms: 1_000,
        idle_ms: 1_000,
    };
    let fields = [
        (FieldType::U64, false),
        (FieldType::Time, false),
        (FieldType::U64, false),
        (FieldType::U64, false),
        (FieldType::Uuid, false),
        (FieldType::I64, false),
    ];
    let mut finds = stream("finds", KEY, time, &fields);
    finds.dedupe = Some(DedupeRule {
        by: match mode {
            DedupeMode::Sequence => vec![DEVICE, SEQ],
            DedupeMode::Id { .. } => vec![ID],
        },
        mode,
        memory_bytes: 1 << 30,
    });
    let points = board("points", KEY, ScoreRule::Sum, Some(POINTS), true);
    pipeline(vec![finds], vec![], vec![points])
}

#[derive(Clone, Copy)]
pub(crate) struct Find {
    pub(crate) player: u64,
    pub(crate) device: u64,
    pub(crate) seq: u64,
    pub(crate) id: u128,
    pub(crate) at_ms: i64,
    pub(crate) points: i64,
}

pub(crate) const FIND: Find = Find {
    player: 1,
    device: 9,
    seq: 1,
    id: 1,
    at_ms: 0,
    points: 10,
};

pub(crate) fn event(pipeline: &Pipeline, find: Find) -> Event {
    let schema = &pipeline.streams[0].schema;
    let data = vec![
        Datum::U64(find.player),
        Datum::Time(START_MS + find.at_ms),
        Datum::U64(find.device),
        Datum::U64(find.seq),
        Datum::Uuid(find.id.to_be_bytes()),
        Datum::I64(find.points),
    ];
    let mut row = vec![0; schema.row_len()];
    for (field, datum) in data.iter().enumerate() {
        schema.set(&mut row, field, &datum.value()).unwrap();
    }
    Event {
        data,
        row,
        bad: None,
    }
}

/// Sends finds at `START_MS + now_ms`, as new events of a producer.
pub(crate) fn send(world: &mut World, producer: usize, now_ms: i64, finds: &[Find]) {
    world.clock_ms = START_MS + now_ms;
    let first = world.producers[producer].sent.len();
    for &find in finds {
        let event = event(&world.pipeline, find);
        world.producers[producer].sent.push((0, event));
    }
    world.send_run(producer, first, first + finds.len(), |_| true);
}

/// Applies one batch of a producer of its own, stamped `now_ms` after the start.
pub(crate) fn apply(
    state: &mut ShardState,
    pipeline: &Pipeline,
    now_ms: u64,
    finds: &[Find],
) -> Outcome {
    let mut outcome = Outcome::default();
    batch(pipeline, now_ms, finds, |batch| {
        state.apply(batch, now_ms, &mut outcome);
    });
    outcome
}

pub(crate) fn batch<T>(
    pipeline: &Pipeline,
    now_ms: u64,
    finds: &[Find],
    with: impl FnOnce(&EventBatch<'_>) -> T,
) -> T {
    let rows = finds.iter().flat_map(|&find| event(pipeline, find).row);
    let rows: Vec<u8> = rows.collect();
    with(&EventBatch {
        producer: ProducerId(u128::from(now_ms)),
        epoch: 1,
        stream: 0,
        schema_id: pipeline.streams[0].schema.id,
        first_sequence: 1,
        count: finds.len() as u32,
        stamp_ns: stamp_ns(now_ms),
        watermark_ms: i64::MIN,
        offsets: None,
        rows: &rows,
    })
}

pub(crate) fn stamp_ns(now_ms: u64) -> u64 {
    (START_MS.unsigned_abs() + now_ms) * 1_000_000
}

pub(crate) fn lone(pipeline: &Arc<Pipeline>) -> ShardState {
    let place = Place {
        shard: 0,
        shards: 1,
        log_stream: 0,
        older: vec![],
    };
    ShardState::new(Arc::clone(pipeline), place)
}
