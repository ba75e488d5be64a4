//! Splits, means of the best and what stands beside a score: what goes wrong elsewhere, one named
//! test each.

#![allow(clippy::unwrap_used)] // Helpers of tests, but not test functions themselves.

mod model;

use model::check_boards::cells;
use model::generate::{board, pipeline, stream};
use model::world::{START_MS, World};
use ringmill_shard::board::note_values;
use ringmill_shard::oracle::{Datum, Event};
use ringmill_shard::pipeline::{Board, ScoreRule, Season, TimeRule, WindowKind};
use ringmill_shard::query::{Answer, BoardRow, BoardSeason, Query, Scalar};
use ringmill_shard::schema::FieldType;

/// Fields of the test stream.
const KEY: usize = 0;
const AT: usize = 1;
const TEAM: usize = 2;
const POINTS: usize = 3;
const WEIGHT: usize = 4;
const REGION: usize = 5;

fn world(note: &str, boards: Vec<Board>, shards: usize) -> World {
    let time = TimeRule {
        field: AT,
        disorder_ms: 0,
        max_future_ms: 100_000,
        idle_ms: 1_000,
    };
    let fields = [
        (FieldType::U64, false),
        (FieldType::Time, false),
        (FieldType::Text(8), false),
        (FieldType::I64, false),
        (FieldType::F64, true),
        (FieldType::Text(8), true),
    ];
    let store = pipeline(vec![stream("finds", KEY, time, &fields)], vec![], boards);
    World::new(note, store, shards, 1)
}

/// A find of a player for a team, in a region.
#[derive(Clone, Copy)]
struct Find {
    player: u64,
    team: &'static str,
    points: i64,
    weight: Option<f64>,
    region: Option<&'static str>,
}

fn find(player: u64, team: &'static str, points: i64) -> Find {
    Find {
        player,
        team,
        points,
        weight: None,
        region: None,
    }
}

fn at(region: &'static str, find: Find) -> Find {
    let region = Some(region);
    Find { region, ..find }
}

/// Sends finds as one frame, `now_ms` after the start.
fn send(world: &mut World, now_ms: i64, finds: &[Find]) {
    world.clock_ms = START_MS + now_ms;
    let first = world.producers[0].sent.len();
    let schema = world.pipeline.streams[0].schema.clone();
    for find in finds {
        let data = vec![
            Datum::U64(find.player),
            Datum::Time(world.clock_ms),
            Datum::Text(find.team.into()),
            Datum::I64(find.points),
            find.weight.map_or(Datum::Null, Datum::F64),
            find.region
                .map_or(Datum::Null, |region| Datum::Text(region.into())),
        ];
        let mut row = vec![0; schema.row_len()];
        for (field, datum) in data.iter().enumerate() {
            schema.set(&mut row, field, &datum.value()).unwrap();
        }
        let bad = None;
        world.producers[0].sent.push((0, Event { data, row, bad }));
    }
    world.send_run(0, first, first + finds.len(), |_| true);
    let next = world.shards.iter().map(|shard| shard.next_watermark_ms(0));
    world.watermarks_ms[0] = world.watermarks_ms[0].max(next.max().unwrap());
}

fn split(world: &World, board: u16, region: &str) -> BoardSeason {
    let region = Datum::Text(region.into());
    BoardSeason {
        split: cells(&world.pipeline.streams[0], &[REGION], &[region]),
        ..BoardSeason::current(board)
    }
}

fn rows(world: &World, board: BoardSeason) -> Vec<BoardRow> {
    let (offset, n) = (0, 100);
    let answers = world.ask(&Query::Top { board, offset, n }).into_iter();
    let rows = answers.flat_map(|answer| match answer {
        Answer::Top(top) => top.rows,
        other => panic!("{other:?}"),
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by_key(|row| row.key);
    rows
}

/// Players with their first scores.
fn players(world: &World, board: BoardSeason) -> Vec<(u64, Scalar)> {
    let player = |row: BoardRow| {
        let member = u64::from_le_bytes(row.member[..].try_into().unwrap());
        (member, row.scores[0])
    };
    rows(world, board).into_iter().map(player).collect()
}

fn by_region(mut board: Board) -> Board {
    board.split = vec![REGION];
    board
}

fn points(member: usize) -> Board {
    board("points", member, ScoreRule::Sum, Some(POINTS), true)
}

fn mean(member: usize, n: u16) -> Board {
    board(
        "mean",
        member,
        ScoreRule::MeanBest { n },
        Some(POINTS),
        true,
    )
}

#[test]
fn a_member_that_moves_has_in_each_split_what_it_got_there() {
    for shards in [1, 2, 5] {
        let mut world = world("moves", vec![by_region(points(KEY))], shards);
        send(
            &mut world,
            1,
            &[at("north", find(1, "a", 5)), at("south", find(2, "a", 9))],
        );
        send(
            &mut world,
            2,
            &[at("south", find(1, "a", 7)), find(1, "a", 100)],
        );
        world.settle();
        let of = |region| players(&world, split(&world, 0, region));
        assert_eq!(of("north"), [(1, Scalar::I64(5))]);
        assert_eq!(of("south"), [(2, Scalar::I64(9)), (1, Scalar::I64(7))]);
        assert_eq!(of("east"), []);
        let whole = players(&world, BoardSeason::current(0));
        let expected = [(1, Scalar::I64(112)), (2, Scalar::I64(9))];
        assert_eq!(
            whole, expected,
            "an event without a region counts on the whole"
        );
        world.check();
    }
}

#[test]
fn trap_11_an_overflow_of_the_whole_is_none_of_the_split() {
    let mut world = world("trap 11", vec![by_region(points(KEY))], 1);
    send(
        &mut world,
        1,
        &[
            at("north", find(1, "a", i64::MAX)),
            at("south", find(1, "a", 3)),
        ],
    );
    world.settle();
    assert_eq!(
        players(&world, BoardSeason::current(0)),
        [(1, Scalar::I64(i64::MAX))]
    );
    assert_eq!(
        players(&world, split(&world, 0, "south")),
        [(1, Scalar::I64(3))]
    );
    assert_eq!(world.shards[0].counters().boards[0].overflow, 1);
    world.check();
}

#[test]
fn trap_38_splits_begin_anew_with_the_season() {
    for member in [KEY, TEAM] {
        let mut board = by_region(points(member));
        board.season = Some(Season {
            every: WindowKind::Tumbling { size_ms: 1_000 },
            grace_ms: 0,
            keep: 1,
        });
        let mut world = world("trap 38", vec![board], 2);
        for season in 0..4 {
            let now_ms = season * 1_000 + 10;
            send(
                &mut world,
                now_ms,
                &[at("north", find(1, "a", 5)), at("south", find(2, "b", 9))],
            );
            world.settle();
            let north = rows(&world, split(&world, 0, "north"));
            assert_eq!(north.len(), 1);
            assert_eq!(north[0].scores, [Scalar::I64(5)], "season {season}");
        }
        world.check();
    }
}

#[test]
fn a_split_too_many_counts_on_the_whole_and_is_counted() {
    for member in [KEY, TEAM] {
        let mut board = by_region(points(member));
        board.splits = 2;
        let mut world = world("too many", vec![board], 1);
        for (now_ms, region) in (1..).zip(["n", "s", "e", "n", "w", "s", "e"]) {
            send(&mut world, now_ms, &[at(region, find(1, "a", 1))]);
        }
        world.settle();
        let points = |board| rows(&world, board).first().map(|row| row.scores[0]);
        assert_eq!(points(BoardSeason::current(0)), Some(Scalar::I64(7)));
        assert_eq!(points(split(&world, 0, "s")), Some(Scalar::I64(2)));
        assert_eq!(points(split(&world, 0, "e")), None);
        let lacking = |region| world.splits(&split(&world, 0, region)).lacking;
        assert_eq!((lacking("s"), lacking("e")), (false, true));
        let page = world.splits(&BoardSeason::current(0));
        assert_eq!((page.splits.len(), page.refused), (2, 3));
        let counters = world.shards[0].counters().boards[0];
        assert_eq!((counters.splits, counters.splits_refused), (2, 3));
        let digest = |shard: &ringmill_shard::state::ShardState| shard.digest();
        assert_eq!(
            digest(&world.replayed()[0]),
            digest(&world.shards[0]),
            "replay"
        );
    }
}

#[test]
fn shares_of_other_shards_do_not_use_up_the_splits_of_a_shard() {
    let mut board = by_region(points(TEAM));
    board.splits = 1;
    let mut world = world("shares", vec![board], 5);
    let regions = ["n", "s", "e", "w"];
    // Each player sticks to a region, and each shard to what its own players send.
    for round in 0..3 {
        for player in 0..40 {
            let region = regions[player as usize % 4];
            send(
                &mut world,
                round * 100 + player as i64,
                &[at(region, find(player, "a", 1))],
            );
        }
        world.exchange();
    }
    world.settle();
    let refused: u64 = world.splits(&BoardSeason::current(0)).refused;
    let score = |row: BoardRow| match row.scores[0] {
        Scalar::I64(points) => points as u64,
        other => panic!("{other:?}"),
    };
    let of = |region| {
        rows(&world, split(&world, 0, region))
            .into_iter()
            .map(score)
            .sum::<u64>()
    };
    let counted: u64 = regions.into_iter().map(of).sum();
    assert_eq!(
        counted + refused,
        120,
        "each event is in its split, or counted"
    );
    let digests = |shards: &[ringmill_shard::state::ShardState]| {
        shards
            .iter()
            .map(|shard| shard.digest())
            .collect::<Vec<_>>()
    };
    assert_eq!(digests(&world.replayed()), digests(&world.shards), "replay");
}

#[test]
fn trap_1_the_best_of_a_member_lie_on_many_shards() {
    let mut world = world("trap 1", vec![mean(TEAM, 3), by_region(mean(TEAM, 3))], 5);
    for player in 0..40 {
        let finds = [
            find(player, "steady", 50 + player as i64),
            find(player, "solo", 51),
        ];
        send(
            &mut world,
            player as i64,
            &finds.map(|find| at("north", find)),
        );
    }
    world.settle();
    for board in [BoardSeason::current(0), split(&world, 1, "north")] {
        let rows = rows(&world, board);
        assert_eq!(rows[0].member, b"steady");
        assert_eq!(rows[0].scores, [Scalar::F64(88.0)]);
        assert_eq!(rows[1].scores, [Scalar::F64(51.0)]);
    }
    world.check();
}

#[test]
fn trap_6_a_mean_is_reached_by_the_last_of_the_best() {
    for member in [KEY, TEAM] {
        let mut world = world("trap 6", vec![mean(member, 2)], 1);
        send(&mut world, 1, &[find(1, "a", 10)]);
        send(&mut world, 2, &[find(2, "b", 10)]);
        let first = |world: &World| rows(world, BoardSeason::current(0))[0].member.clone();
        let before = first(&world);
        // The mean stays 10; it is of two now.
        send(&mut world, 3, &[find(1, "a", 10)]);
        assert_ne!(first(&world), before);
        // No better than what there is.
        send(
            &mut world,
            4,
            &[find(2, "b", 10), find(2, "b", 10), find(1, "a", 9)],
        );
        assert_eq!(first(&world), before);
        world.check();
    }
}

#[test]
fn trap_13_sums_of_floats_on_any_shards_are_exact() {
    let mut sums = Vec::new();
    for shards in [1, 2, 5] {
        let weights = board("weights", TEAM, ScoreRule::Sum, Some(WEIGHT), true);
        let mut world = world("trap 13", vec![weights], shards);
        let mut weights = vec![
            1e100, 1.0, -1e100, 1e-30, 3e60, 0.1, -3e60, 0.2, 1e300, -1e300,
        ];
        weights.extend((0..60).map(|at| 0.1 * f64::from(at)));
        for (player, &weight) in (0..).zip(&weights) {
            let weight = Some(weight);
            send(
                &mut world,
                player as i64,
                &[Find {
                    weight,
                    ..find(player, "a", 0)
                }],
            );
            if player % 7 == 0 {
                world.exchange();
            }
        }
        world.settle();
        sums.push(rows(&world, BoardSeason::current(0))[0].scores.clone());
        world.check();
    }
    assert_eq!(sums[0], sums[1]);
    assert_eq!(sums[0], sums[2]);
}

#[test]
fn trap_45_what_stands_beside_a_score_is_of_the_latest_event_in_any_order() {
    let mut board = points(TEAM);
    board.with = vec![POINTS, REGION, WEIGHT];
    let mut world = world("trap 45", vec![board], 5);
    for player in 0..40 {
        let find = at(
            if player % 2 == 0 { "even" } else { "odd" },
            find(player, "a", player as i64),
        );
        send(&mut world, player as i64, &[find]);
        if player == 20 {
            world.exchange();
        }
    }
    world.settle();
    let row = rows(&world, BoardSeason::current(0)).remove(0);
    let (board, stream) = (&world.pipeline.boards[0], &world.pipeline.streams[0]);
    let note: Vec<_> = note_values(board, stream, &row.note).unwrap();
    let note: Vec<_> = note.into_iter().map(Datum::of).collect();
    assert_eq!(
        note,
        [Datum::I64(39), Datum::Text("odd".into()), Datum::Null]
    );
    world.check();
}
