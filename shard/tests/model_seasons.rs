//! Traps of seasons, one named test each.

#![allow(clippy::unwrap_used)] // Helpers of tests, but not test functions themselves.

mod model;

use model::generate::{board, pipeline, stream};
use model::world::{START_MS, World};
use ringmill_shard::oracle::{Datum, Event};
use ringmill_shard::pipeline::{Board, Pipeline, ScoreRule, Season, TimeRule, WindowKind};
use ringmill_shard::query::{Answer, BoardSeason, Query, Scalar};
use ringmill_shard::schema::FieldType;

const SEASON_MS: i64 = 1_000;

/// Seasons of a second with some grace, two of which stay readable.
fn store() -> Pipeline {
    let time = TimeRule {
        field: 1,
        disorder_ms: 0,
        max_future_ms: 60_000,
        idle_ms: 1_000,
    };
    let fields = [(FieldType::U64, false), (FieldType::Time, false)];
    let every = WindowKind::Tumbling { size_ms: SEASON_MS };
    let season = Season {
        every,
        grace_ms: 300,
        keep: 2,
    };
    let board = Board {
        season: Some(season),
        ..board("finds", 0, ScoreRule::Sum, None, true)
    };
    pipeline(vec![stream("s", 0, time, &fields)], vec![], vec![board])
}

/// Sends one event of a player; then the watermark is where it is.
fn send(world: &mut World, player: u64, at_ms: i64) {
    let data = vec![Datum::U64(player), Datum::Time(START_MS + at_ms)];
    let schema = &world.pipeline.streams[0].schema;
    let mut row = vec![0; schema.row_len()];
    for (field, datum) in data.iter().enumerate() {
        schema.set(&mut row, field, &datum.value()).unwrap();
    }
    let bad = None;
    let first = world.producers[0].sent.len();
    world.producers[0].sent.push((0, Event { data, row, bad }));
    world.send_run(0, first, first + 1, |_| true);
    let next = world.shards.iter().map(|s| s.next_watermark_ms(0)).max();
    world.watermarks_ms[0] = world.watermarks_ms[0].max(next.unwrap());
}

/// Members of the season that began so long after the start, with their scores.
fn season(world: &World, start_ms: i64) -> Vec<(u64, Scalar)> {
    let board = BoardSeason {
        board: 0,
        season_ms: Some(START_MS + start_ms),
        split: Vec::new(),
    };
    let query = Query::Top {
        board,
        offset: 0,
        n: 100,
    };
    let mut rows = Vec::new();
    for answer in world.ask(&query) {
        let Answer::Top(top) = answer else {
            panic!("{answer:?}");
        };
        let member = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
        rows.extend(
            top.rows
                .iter()
                .map(|row| (member(&row.member), row.scores[0])),
        );
    }
    rows.sort_by_key(|(member, _)| *member);
    rows
}

fn late(world: &World) -> u64 {
    let counters = world.shards.iter().map(|shard| shard.counters().boards[0]);
    counters.map(|counters| counters.late).sum()
}

#[test]
fn trap_38_an_event_belongs_to_the_season_of_its_own_time_until_grace_is_over() {
    for shards in [1, 2, 5] {
        let mut world = World::new("trap 38", store(), shards, 38);
        let one = Scalar::U64(1);
        send(&mut world, 1, 999);
        send(&mut world, 2, 1_000);
        assert_eq!(
            season(&world, 0),
            [(1, one)],
            "the last ms is of the old season"
        );
        assert_eq!(
            season(&world, 1_000),
            [(2, one)],
            "the first of the new one"
        );
        // Frozen: what is late by less than the grace still counts where it belongs.
        send(&mut world, 3, 1_299);
        send(&mut world, 4, 500);
        assert_eq!(season(&world, 0), [(1, one), (4, one)]);
        assert_eq!(late(&world), 0);
        // Final: nothing changes it, and the event counts nowhere else.
        send(&mut world, 5, 1_300);
        send(&mut world, 6, 501);
        assert_eq!(season(&world, 0), [(1, one), (4, one)]);
        assert_eq!(season(&world, 1_000), [(2, one), (3, one), (5, one)]);
        assert_eq!(late(&world), 1);
        world.check();
        // Two final seasons stay readable, a third does not.
        send(&mut world, 7, 4_000);
        world.settle();
        assert_eq!(season(&world, 1_000).len(), 3);
        send(&mut world, 7, 4_300);
        world.settle();
        assert_eq!(season(&world, 1_000), []);
        world.check();
    }
}
