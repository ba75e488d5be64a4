//! What applying a batch costs, for a person to read: nothing here can fail on a slow machine.
//!
//! Times are CPU times of this thread, so other load shows only through shared caches.

#![allow(clippy::unwrap_used)] // Helpers of tests, but not test functions themselves.

use ringmill_shard::entry::{EventBatch, ProducerId};
use ringmill_shard::pipeline::Pipeline;
use ringmill_shard::state::{Outcome, Place, ShardState};
use ringmill_shard::value::Value;
use std::sync::Arc;

const PIPELINE: &str = r#"
ringmill = 1
[stream.finds]
key = "player"
time = { field = "at", disorder = "5s", max_future = "10s" }
[stream.finds.fields]
player = { id = 1, type = "u64" }
at = { id = 2, type = "time" }
hunt = { id = 3, type = "u64" }
points = { id = 4, type = "i64" }
device = { id = 5, type = "u64" }
region = { id = 6, type = "text(11)" }
kind = { id = 7, type = "text(11)" }
[view.per_minute]
from = "finds"
group = ["region"]
window = { kind = "tumbling", size = "1m", keep = "1h" }
[view.per_minute.columns]
points = "sum(points)"
finds = "count()"
[board.daily]
from = "finds"
member = "player"
score = "sum(points) desc"
"#;

fn cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split_whitespace().next().unwrap().parse().unwrap()
}

fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

#[test]
#[ignore = "prints costs; run with --release --ignored --nocapture"]
fn cost_of_a_batch() {
    let (keys, events) = (
        number("COST_KEYS", 1_000_000),
        number("COST_EVENTS", 8_000_000),
    );
    let batch_rows = number("COST_BATCH", 50);
    let boards = number("COST_BOARDS", 1);
    let text = if boards == 0 {
        PIPELINE.split("[board").next().unwrap()
    } else {
        PIPELINE
    };
    let pipeline = Arc::new(Pipeline::parse(text).unwrap());
    let schema = pipeline.streams[0].schema.clone();
    let place = Place {
        shard: 0,
        shards: 1,
        log_stream: 0,
        older: Vec::new(),
    };
    let mut state = ShardState::new(Arc::clone(&pipeline), place);
    let start_ms = 1_700_000_000_000_i64;
    let regions = [
        "north", "south", "east", "west", "harbour", "old-town", "station", "park",
    ];
    let (mut seed, mut sequence, mut sent) = (7, 1, 0_u64);
    let field = |name| schema.field(name).unwrap();
    let (player, at, hunt, points) = (field("player"), field("at"), field("hunt"), field("points"));
    let (device, region, kind) = (field("device"), field("region"), field("kind"));
    let row_bytes = schema.row_len();
    let mut spent = [0_u64; 2];
    let mut rows = Vec::new();
    let warm_up = keys * 3;
    while sent < warm_up + events {
        // Rows are made in blocks so that making them is not measured.
        let block = 400 * batch_rows;
        rows.clear();
        rows.resize(block as usize * row_bytes, 0);
        for (index, row) in rows.chunks_exact_mut(row_bytes).enumerate() {
            let draw = next(&mut seed);
            let who = if sent + (index as u64) < keys {
                sent + index as u64
            } else {
                draw % keys
            };
            let now = start_ms + (sent + index as u64) as i64 / 500;
            let place = regions[(draw >> 40) as usize % regions.len()];
            let score = (draw >> 50) as i64 % 100;
            for (field, value) in [
                (player, Value::U64(who)),
                (at, Value::Time(now)),
                (hunt, Value::U64(draw >> 60)),
                (points, Value::I64(score)),
                (device, Value::U64(who)),
                (region, Value::Text(place)),
                (kind, Value::Text("chest")),
            ] {
                schema.set(row, field, &value).unwrap();
            }
        }
        let phase = usize::from(sent >= warm_up);
        let begin = cpu_ns();
        let mut outcome = Outcome::default();
        for batch in rows.chunks_exact(batch_rows as usize * row_bytes) {
            let batch = EventBatch {
                producer: ProducerId(9),
                epoch: 1,
                stream: 0,
                schema_id: schema.id,
                first_sequence: sequence,
                count: batch_rows as u32,
                stamp_ns: (start_ms as u64 + sequence) * 1_000_000,
                watermark_ms: state.next_watermark_ms(0),
                offsets: None,
                rows: batch,
            };
            assert_eq!(state.admit(&batch), ringmill_shard::dedupe::Admission::All);
            state.apply(&batch, sequence, &mut outcome);
            assert_eq!(u64::from(outcome.accepted), batch_rows);
            sequence += batch_rows;
        }
        spent[phase] += cpu_ns() - begin;
        sent += block;
    }
    let cost = |ns: u64, events: u64| ns as f64 / events as f64;
    println!("warm-up {:.1} ns per event", cost(spent[0], warm_up));
    println!(
        "{keys} keys, batches of {batch_rows}: {:.1} ns per event",
        cost(spent[1], sent - warm_up)
    );
}
