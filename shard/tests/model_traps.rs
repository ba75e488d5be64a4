//! Known traps of event engines, one named test each.

#![allow(clippy::unwrap_used)] // Helpers of tests, but not test functions themselves.

mod model;

use model::generate::{board, pipeline, stream};
use model::world::{START_MS, World};
use ringmill_shard::oracle::{Datum, Event};
use ringmill_shard::pipeline::{
    After, Aggregate, Board, Column, Pipeline, Retract, ScoreRule, Stream, TimeRule, View, Window,
    WindowKind,
};
use ringmill_shard::query::{Answer, Query, Scalar};
use ringmill_shard::reject::RejectReason;
use ringmill_shard::schema::FieldType;

/// Fields of the test stream: key, time, team, points, f64, count.
const KEY: usize = 0;
const AT: usize = 1;
const TEAM: usize = 2;
const POINTS: usize = 3;
const WEIGHT: usize = 4;
const COINS: usize = 5;

fn finds(disorder_ms: i64, max_future_ms: i64) -> Stream {
    let time = TimeRule {
        field: AT,
        disorder_ms,
        max_future_ms,
        idle_ms: 1_000,
    };
    let fields = [
        (FieldType::U64, false),
        (FieldType::Time, false),
        (FieldType::Text(8), true),
        (FieldType::I64, true),
        (FieldType::F64, true),
        (FieldType::U64, true),
    ];
    stream("finds", KEY, time, &fields)
}

fn view(size_ms: i64, late_ms: i64, keep_ms: i64, group: &[usize], columns: &[Aggregate]) -> View {
    let column = |&aggregate: &Aggregate| Column {
        name: "c".into(),
        aggregate,
    };
    View {
        name: "v".into(),
        stream: 0,
        filter: None,
        group: group.to_vec(),
        window: Window {
            kind: WindowKind::Tumbling { size_ms },
            late_ms,
            keep_ms,
            after: After::Drop,
        },
        columns: columns.iter().map(column).collect(),
        retract: Retract::Refuse,
    }
}

fn store(views: Vec<View>, boards: Vec<Board>) -> Pipeline {
    pipeline(vec![finds(0, 1_000)], views, boards)
}

/// A find: player, ms after the start, team, points.
#[derive(Clone)]
struct Find<'a> {
    player: u64,
    at_ms: i64,
    team: &'a str,
    points: Option<i64>,
    weight: Option<f64>,
    coins: Option<u64>,
}

fn find(player: u64, at_ms: i64, team: &str, points: i64) -> Find<'_> {
    Find {
        player,
        at_ms,
        team,
        points: Some(points),
        weight: None,
        coins: None,
    }
}

/// Sends finds as one frame of producer 0 at `START_MS + now_ms`, recording what the shards
/// propose as the next watermark.
fn send(world: &mut World, now_ms: i64, finds: &[Find<'_>]) {
    world.clock_ms = START_MS + now_ms;
    let first = world.producers[0].sent.len();
    for find in finds {
        let schema = world.pipeline.streams[0].schema.clone();
        let data = vec![
            Datum::U64(find.player),
            Datum::Time(START_MS + find.at_ms),
            Datum::Text(find.team.into()),
            find.points.map_or(Datum::Null, Datum::I64),
            find.weight.map_or(Datum::Null, Datum::F64),
            find.coins.map_or(Datum::Null, Datum::U64),
        ];
        let mut row = vec![0; schema.row_len()];
        for (field, datum) in data.iter().enumerate() {
            schema.set(&mut row, field, &datum.value()).unwrap();
        }
        world.producers[0].sent.push((
            0,
            Event {
                data,
                row,
                bad: None,
            },
        ));
    }
    world.send_run(0, first, first + finds.len(), |_| true);
    agree(world);
}

/// The cores agree on the highest proposal.
fn agree(world: &mut World) {
    let next = world
        .shards
        .iter()
        .map(|shard| shard.next_watermark_ms(0))
        .max()
        .unwrap();
    world.watermarks_ms[0] = world.watermarks_ms[0].max(next);
}

fn members(world: &World, board: usize) -> Vec<u64> {
    let member = |row: &ringmill_shard::query::BoardRow| {
        u64::from_le_bytes(row.member[..].try_into().unwrap())
    };
    world.top(board, 0, 100).iter().map(member).collect()
}

fn teams(world: &World, board: usize) -> Vec<(String, Scalar)> {
    let named = |row: ringmill_shard::query::BoardRow| {
        (String::from_utf8(row.member).unwrap(), row.scores[0])
    };
    world.top(board, 0, 100).into_iter().map(named).collect()
}

fn points_desc(member: usize) -> Board {
    board("points", member, ScoreRule::Sum, Some(POINTS), true)
}

#[test]
fn trap_1_a_member_spread_over_shards_wins_though_second_everywhere() {
    let mut world = World::new("trap 1", store(vec![], vec![points_desc(TEAM)]), 5, 1);
    for player in 0..40 {
        let solo = format!("solo{player}");
        send(
            &mut world,
            10,
            &[find(player, 0, "steady", 9), find(player, 0, &solo, 10)],
        );
    }
    world.settle();
    assert_eq!(teams(&world, 0)[0], ("steady".to_owned(), Scalar::I64(360)));
    world.check();
}

#[test]
fn trap_2_a_global_rank_is_one_plus_all_that_are_better() {
    let mut world = World::new("trap 2", store(vec![], vec![points_desc(KEY)]), 5, 2);
    for player in 0..50 {
        send(&mut world, 10, &[find(player, 0, "", player as i64 / 2)]);
    }
    world.settle();
    let order = members(&world, 0);
    for (rank, player) in order.iter().enumerate() {
        assert_eq!(world.rank(0, &player.to_le_bytes()).unwrap().1, rank as u64);
    }
    assert_eq!(
        order[..4],
        [48, 49, 46, 47],
        "ties go to the first to reach"
    );
}

#[test]
fn trap_5_pages_around_a_member_are_full_at_both_ends() {
    let mut world = World::new("trap 5", store(vec![], vec![points_desc(KEY)]), 2, 3);
    for player in 0..9 {
        send(&mut world, 10, &[find(player, 0, "", 100 - player as i64)]);
    }
    world.settle();
    let around = |player: u64, n: usize| {
        let row = world.rank(0, &player.to_le_bytes()).unwrap().0;
        let page = world.around(0, row.place(), n);
        (page.first_rank, page.rows.len())
    };
    assert_eq!(around(0, 5), (0, 5), "rank 1");
    assert_eq!(around(1, 5), (0, 5), "rank 2");
    assert_eq!(around(4, 5), (2, 5), "the middle");
    assert_eq!(around(8, 5), (4, 5), "last");
    assert_eq!(around(8, 20), (0, 9), "the board has no more");
    assert_eq!(around(3, 1), (3, 1));
}

#[test]
fn trap_6_a_changed_then_restored_score_counts_as_reached_anew() {
    let mut world = World::new("trap 6", store(vec![], vec![points_desc(KEY)]), 1, 4);
    send(&mut world, 10, &[find(1, 0, "", 50)]);
    send(&mut world, 11, &[find(2, 0, "", 50)]);
    send(&mut world, 12, &[find(2, 0, "", 0)]);
    assert_eq!(
        members(&world, 0),
        [1, 2],
        "an event of zero keeps the place"
    );
    send(&mut world, 13, &[find(1, 0, "", 5), find(1, 0, "", -5)]);
    assert_eq!(members(&world, 0), [2, 1], "restored is reached anew");
    world.check();
}

#[test]
fn trap_6_ties_follow_ingest_order_and_not_the_clock_of_the_client() {
    let mut world = World::new("trap 6", store(vec![], vec![points_desc(KEY)]), 1, 5);
    send(&mut world, 500, &[find(1, 400, "", 50)]);
    send(&mut world, 501, &[find(2, 0, "", 50)]);
    assert_eq!(
        members(&world, 0),
        [1, 2],
        "an earlier event time does not jump the queue"
    );
}

#[test]
fn trap_8_nan_and_infinities_are_refused_and_minus_zero_is_zero() {
    let boards = vec![board("weight", KEY, ScoreRule::Sum, Some(WEIGHT), true)];
    let mut world = World::new("trap 8", store(vec![], boards), 1, 6);
    let weigh = |player, weight| Find {
        weight: Some(weight),
        ..find(player, 0, "", 0)
    };
    send(&mut world, 1, &[weigh(1, 1.5)]);
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        send(&mut world, 2, &[weigh(2, 1.0)]);
        let schema = world.pipeline.streams[0].schema.clone();
        let at = usize::from(schema.fields[WEIGHT].offset);
        let (_, mut event) = world.producers[0].sent.last().unwrap().clone();
        event.row[at..at + 8].copy_from_slice(&bad.to_le_bytes());
        event.bad = Some(RejectReason::NotFinite);
        world.producers[0].sent.push((0, event));
        let sent = world.producers[0].sent.len();
        world.send_run(0, sent - 1, sent, |_| true);
    }
    let counters = world.shards[0].counters().streams[0];
    assert_eq!(counters.rejected[RejectReason::NotFinite.index()], 3);
    let Answer::Rejected(kept) = world.shards[0].query(&Query::Rejected { stream: 0, n: 2 }) else {
        panic!("not the answer");
    };
    assert_eq!(kept.len(), 2);
    assert_eq!(kept[0].reason, RejectReason::NotFinite.code());
    assert_eq!((usize::from(kept[0].field), kept[0].sequence), (WEIGHT, 7));
    assert!(kept[0].stamp_ns > kept[1].stamp_ns, "newest first");

    // -0.0 as raw bytes: the score is 0.0, equal to another 0.0.
    let schema = world.pipeline.streams[0].schema.clone();
    let at = usize::from(schema.fields[WEIGHT].offset);
    let (_, mut event) = world.producers[0].sent[0].clone();
    event.row[at..at + 8].copy_from_slice(&(-0.0_f64).to_le_bytes());
    event.row[..8].copy_from_slice(&7_u64.to_le_bytes());
    event.data[KEY] = Datum::U64(7);
    event.data[WEIGHT] = Datum::F64(0.0);
    world.producers[0].sent.push((0, event));
    let sent = world.producers[0].sent.len();
    world.send_run(0, sent - 1, sent, |_| true);
    send(&mut world, 5, &[weigh(8, 0.0)]);
    assert_eq!(members(&world, 0), [2, 1, 7, 8]);
    world.check();
}

#[test]
fn trap_9_scores_beyond_two_to_the_53_stay_exact() {
    let mut world = World::new("trap 9", store(vec![], vec![points_desc(KEY)]), 2, 7);
    let big = 1_i64 << 53;
    send(
        &mut world,
        1,
        &[
            find(1, 0, "", big),
            find(2, 0, "", big),
            find(3, 0, "", big),
        ],
    );
    send(&mut world, 2, &[find(2, 0, "", 1)]);
    assert_eq!(members(&world, 0)[0], 2);
    assert_eq!(world.top(0, 0, 1)[0].scores[0], Scalar::I64(big + 1));
    world.check();
}

#[test]
fn trap_10_negative_scores_order_in_both_directions() {
    let ascending = board("least", KEY, ScoreRule::Sum, Some(POINTS), false);
    let boards = vec![points_desc(KEY), ascending];
    let mut world = World::new("trap 10", store(vec![], boards), 2, 8);
    for (player, points) in [(1, -5), (2, 0), (3, 5), (4, i64::MIN), (5, i64::MAX)] {
        send(&mut world, 1, &[find(player, 0, "", points)]);
    }
    assert_eq!(members(&world, 0), [5, 3, 2, 1, 4]);
    assert_eq!(members(&world, 1), [4, 1, 2, 3, 5]);
    world.check();
}

#[test]
fn trap_10_absent_is_not_zero() {
    let columns = [
        Aggregate::Count,
        Aggregate::Sum(POINTS),
        Aggregate::Min(POINTS),
    ];
    let views = vec![view(1_000, 0, 60_000, &[KEY], &columns)];
    let mut world = World::new("trap 10", store(views, vec![points_desc(KEY)]), 1, 9);
    send(
        &mut world,
        1,
        &[
            find(1, 0, "", 0),
            Find {
                points: None,
                ..find(2, 0, "", 0)
            },
        ],
    );
    assert_eq!(members(&world, 0), [1], "no score, no place");
    let mut values: Vec<_> = world
        .windows(0, 9)
        .into_iter()
        .map(|row| row.values)
        .collect();
    values.sort_by_key(|values| format!("{values:?}"));
    let zero = [Scalar::U64(1), Scalar::I64(0), Scalar::I64(0)];
    assert_eq!(
        values,
        [&zero[..], &[Scalar::U64(1), Scalar::Null, Scalar::Null]]
    );
    world.check();
}

#[test]
fn trap_11_sums_do_not_wrap() {
    let coins = board("coins", KEY, ScoreRule::Sum, Some(COINS), true);
    let team_coins = board("team", TEAM, ScoreRule::Sum, Some(COINS), true);
    let columns = [
        Aggregate::Sum(COINS),
        Aggregate::Avg(COINS),
        Aggregate::Sum(POINTS),
    ];
    let views = vec![view(1_000, 0, 60_000, &[], &columns)];
    let mut world = World::new("trap 11", store(views, vec![coins, team_coins]), 2, 10);
    let pay = |coins| Find {
        coins: Some(coins),
        points: Some(i64::MIN),
        ..find(1, 0, "a", 0)
    };
    send(&mut world, 1, &[pay(u64::MAX - 1), pay(1), pay(1), pay(7)]);
    assert_eq!(
        world.top(0, 0, 1)[0].scores[0],
        Scalar::U64(u64::MAX),
        "what overflows is left out"
    );
    let overflow: u64 = world
        .shards
        .iter()
        .map(|s| s.counters().boards[0].overflow)
        .sum();
    assert_eq!(overflow, 2);
    world.settle();
    assert_eq!(
        teams(&world, 1),
        [("a".to_owned(), Scalar::U64(u64::MAX))],
        "held at the end"
    );
    let exact = i128::from(u64::MAX) + 8;
    let values = &world.windows(0, 9)[0].values;
    assert_eq!(values[0], Scalar::Wide(exact));
    assert_eq!(values[1], Scalar::F64(exact as f64 / 4.0));
    assert_eq!(values[2], Scalar::Wide(4 * i128::from(i64::MIN)));
    world.check();
}

#[test]
fn trap_11_a_float_sum_beyond_its_type_is_an_error_value() {
    let weight = board("weight", KEY, ScoreRule::Sum, Some(WEIGHT), true);
    let views = vec![view(
        1_000,
        0,
        60_000,
        &[],
        &[Aggregate::Sum(WEIGHT), Aggregate::Count],
    )];
    let mut world = World::new("trap 11", store(views, vec![weight]), 1, 11);
    let weigh = |weight| Find {
        weight: Some(weight),
        ..find(1, 0, "", 0)
    };
    send(&mut world, 1, &[weigh(f64::MAX), weigh(f64::MAX)]);
    assert_eq!(
        world.windows(0, 9)[0].values,
        [Scalar::Overflow, Scalar::U64(2)]
    );
    assert_eq!(world.top(0, 0, 1)[0].scores[0], Scalar::F64(f64::MAX));
    assert_eq!(world.shards[0].counters().boards[0].overflow, 1);
}

#[test]
fn trap_12_a_mean_is_merged_as_sum_and_count() {
    let views = vec![view(1_000, 0, 60_000, &[TEAM], &[Aggregate::Avg(POINTS)])];
    let mut world = World::new("trap 12", store(views, vec![]), 5, 12);
    let mut finds: Vec<_> = (0..30).map(|player| find(player, 0, "a", 1)).collect();
    finds.push(find(99, 0, "a", 32));
    send(&mut world, 1, &finds);
    world.settle();
    assert_eq!(world.windows(0, 9)[0].values, [Scalar::F64(2.0)]);
    world.check();
}

#[test]
fn trap_18_windows_are_half_open_also_before_the_epoch() {
    let views = vec![view(1_000, 0, i64::MAX / 4, &[], &[Aggregate::Count])];
    let mut world = World::new("trap 18", store(views, vec![]), 1, 13);
    let before = -START_MS;
    let times = [
        before - 1,
        before,
        before - 1_000,
        before - 1_001,
        before + 999,
        before + 1_000,
    ];
    let finds: Vec<_> = times.iter().map(|&at_ms| find(1, at_ms, "", 1)).collect();
    let first = world.producers[0].sent.len();
    assert_eq!(first, 0);
    send(&mut world, 0, &finds);
    let rows = world.windows(0, 9);
    let bounds: Vec<_> = rows.iter().map(|row| (row.start_ms, row.end_ms)).collect();
    assert_eq!(
        bounds,
        [(-2_000, -1_000), (-1_000, 0), (0, 1_000), (1_000, 2_000)]
    );
    let counts: Vec<_> = rows.iter().map(|row| row.number()).collect();
    assert_eq!(
        counts,
        [
            Scalar::U64(1),
            Scalar::U64(2),
            Scalar::U64(2),
            Scalar::U64(1)
        ]
    );
}

#[test]
fn trap_20_a_late_event_does_not_reopen_a_closed_window() {
    let views = vec![view(1_000, 0, 500, &[], &[Aggregate::Count])];
    let mut world = World::new("trap 20", store(views, vec![points_desc(KEY)]), 1, 15);
    send(&mut world, 1, &[find(1, 0, "", 1)]);
    send(&mut world, 1_200, &[find(1, 1_000, "", 1)]);
    send(&mut world, 1_201, &[find(1, 999, "", 1)]);
    assert_eq!(world.shards[0].counters().views[0].late_total(), 1);
    let counts = |world: &World| -> Vec<_> {
        world
            .windows(0, 9)
            .iter()
            .map(|row| (row.start_ms - START_MS, row.number()))
            .collect()
    };
    assert_eq!(
        counts(&world),
        [(0, Scalar::U64(1)), (1_000, Scalar::U64(1))]
    );
    assert_eq!(
        world.top(0, 0, 1)[0].scores[0],
        Scalar::I64(3),
        "boards count late events"
    );
    // Long after the first window has gone, it is still closed.
    send(&mut world, 1_700, &[find(1, 1_600, "", 1)]);
    send(&mut world, 1_701, &[find(1, 5, "", 1)]);
    assert_eq!(counts(&world), [(1_000, Scalar::U64(2))]);
    assert_eq!(world.shards[0].counters().views[0].late_total(), 2);
    world.check();
}

#[test]
fn trap_22_lateness_does_not_depend_on_batches_or_shards() {
    let views = vec![view(
        100,
        0,
        60_000,
        &[TEAM],
        &[Aggregate::Count, Aggregate::Sum(POINTS)],
    )];
    let mut results = Vec::new();
    for shards in [1, 2, 5] {
        let mut world = World::new("trap 22", store(views.clone(), vec![]), shards, 16);
        for frame in 0..60_i64 {
            let at = |i: i64| frame * 30 + (i * 37) % 200 - 150;
            let finds: Vec<_> = (0..20).map(|i| find(i as u64, at(i), "a", 1)).collect();
            send(&mut world, frame * 30 + 100, &finds);
        }
        world.check();
        let late: u64 = world
            .shards
            .iter()
            .map(|s| s.counters().views[0].late_total())
            .sum();
        assert!(late > 0);
        results.push((late, world.windows(0, 1_000)));
    }
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn trap_23_one_event_from_the_future_does_not_move_the_watermark() {
    let views = vec![view(1_000, 0, 60_000, &[], &[Aggregate::Count])];
    let mut world = World::new("trap 23", store(views, vec![points_desc(KEY)]), 1, 17);
    send(
        &mut world,
        100,
        &[find(1, 50, "", 1), find(1, 7_200_000, "", 1)],
    );
    assert_eq!(world.shards[0].next_watermark_ms(0), START_MS + 50);
    let counters = world.shards[0].counters().streams[0];
    assert_eq!(counters.rejected[RejectReason::FutureTime.index()], 1);
    send(&mut world, 101, &[find(1, 60, "", 1)]);
    assert_eq!(
        world.windows(0, 9)[0].values,
        [Scalar::U64(2)],
        "honest rows go on"
    );
    assert_eq!(
        world.top(0, 0, 1)[0].scores[0],
        Scalar::I64(2),
        "it counts nowhere"
    );
    // Exactly at the limit is still allowed.
    send(&mut world, 200, &[find(1, 1_200, "", 1)]);
    assert_eq!(world.shards[0].next_watermark_ms(0), START_MS + 1_200);
    world.check();
}

#[test]
fn trap_33_producers_are_told_apart_by_all_128_bits() {
    use ringmill_shard::entry::ProducerId;
    let mut world = World::new("trap 33", store(vec![], vec![points_desc(KEY)]), 1, 18);
    send(&mut world, 1, &[find(1, 0, "", 1)]);
    let id = model::world::producer_id(0);
    let view = world.shards[0].producer(id).unwrap();
    assert_eq!((view.epoch, view.last_sequence, view.accepted), (1, 1, 1));
    assert_eq!(world.shards[0].producer(ProducerId(id.0 ^ 1 << 127)), None);
    assert_eq!(world.shards[0].producer(ProducerId(id.0 ^ 1 << 64)), None);
}

#[test]
fn trap_34_an_event_that_was_not_recorded_does_not_spend_its_sequence() {
    let mut world = World::new("trap 34", store(vec![], vec![points_desc(KEY)]), 2, 19);
    // Nothing is recorded: the frame reaches no shard.
    let schema = world.pipeline.streams[0].schema.clone();
    send(&mut world, 1, &[find(1, 0, "", 1)]);
    let (_, mut event) = world.producers[0].sent[0].clone();
    schema
        .set(&mut event.row, POINTS, &Datum::I64(40).value())
        .unwrap();
    event.data[POINTS] = Datum::I64(40);
    world.producers[0].sent.push((0, event));
    world.send_run(0, 1, 2, |_| false);
    assert_eq!(world.top(0, 0, 1)[0].scores[0], Scalar::I64(1));
    // After a crash the retry is new; a retry of that is not.
    world.shards = world.replayed();
    world.send_run(0, 0, 2, |_| true);
    world.send_run(0, 0, 2, |_| true);
    assert_eq!(world.top(0, 0, 1)[0].scores[0], Scalar::I64(41));
    assert_eq!(world.duplicates, 3);
    world.check();
}

#[test]
fn trap_34_a_rejected_event_is_recorded_and_a_retry_of_it_is_a_duplicate() {
    let mut world = World::new("trap 34", store(vec![], vec![points_desc(KEY)]), 1, 20);
    send(&mut world, 1, &[find(1, 999_999, "", 1)]);
    assert_eq!(world.shards[0].counters().streams[0].accepted, 0);
    // Later its time has come, but what it led to stands.
    world.clock_ms += 1_000_000;
    world.send_run(0, 0, 1, |_| true);
    assert_eq!(world.duplicates, 1);
    assert!(world.top(0, 0, 1).is_empty());
    world.check();
}
