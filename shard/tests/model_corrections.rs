//! Traps of corrections, one named test each: what is taken back, when, and what is left.

#![allow(clippy::unwrap_used)] // Helpers of tests, but not test functions themselves.

mod model;

use model::corrections::exercised;
use model::generate::{board, pipeline, random_pipeline, stream};
use model::random::Random;
use model::world::{START_MS, World, producer_id};
use ringmill_shard::entry::{CorrectionAction, EntryError, EventName};
use ringmill_shard::merge::{ColumnValue, RowState};
use ringmill_shard::oracle::{Datum, Event};
use ringmill_shard::pipeline::{
    After, Aggregate, Board, Column, Pipeline, Retract, ScoreRule, Season, TimeRule, View, Window,
    WindowKind,
};
use ringmill_shard::query::{Answer, Query, Scalar};
use ringmill_shard::schema::FieldType;

/// Fields of the test stream: key, time, team, points, f64.
const KEY: usize = 0;
const AT: usize = 1;
const TEAM: usize = 2;
const POINTS: usize = 3;
const WEIGHT: usize = 4;

fn store(views: Vec<View>, boards: Vec<Board>) -> Pipeline {
    let time = TimeRule {
        field: AT,
        disorder_ms: 0,
        max_future_ms: 1_000_000,
        idle_ms: 1_000,
    };
    let fields = [
        (FieldType::U64, false),
        (FieldType::Time, false),
        (FieldType::Text(8), true),
        (FieldType::I64, true),
        (FieldType::F64, true),
    ];
    pipeline(vec![stream("finds", KEY, time, &fields)], views, boards)
}

/// Windows of a second.
fn view(columns: &[Aggregate]) -> View {
    let column = |&aggregate: &Aggregate| Column {
        name: "c".into(),
        aggregate,
    };
    View {
        name: "v".into(),
        stream: 0,
        filter: None,
        group: vec![],
        window: Window {
            kind: WindowKind::Tumbling { size_ms: 1_000 },
            late_ms: 0,
            keep_ms: 86_400_000,
            after: After::Drop,
        },
        columns: columns.iter().map(column).collect(),
        retract: Retract::Exact,
    }
}

fn points(member: usize) -> Board {
    Board {
        retract: Retract::Exact,
        ..board("points", member, ScoreRule::Sum, Some(POINTS), true)
    }
}

/// Sends finds as one frame of producer 0: player, ms after the start, team, points, weight.
fn send(world: &mut World, finds: &[(u64, i64, &str, i64, f64)]) {
    let first = world.producers[0].sent.len();
    for &(player, at_ms, team, points, weight) in finds {
        world.clock_ms = world.clock_ms.max(START_MS + at_ms);
        let schema = world.pipeline.streams[0].schema.clone();
        let data = vec![
            Datum::U64(player),
            Datum::Time(START_MS + at_ms),
            Datum::Text(team.into()),
            Datum::I64(points),
            Datum::F64(weight),
        ];
        let mut row = vec![0; schema.row_len()];
        for (field, datum) in data.iter().enumerate() {
            schema.set(&mut row, field, &datum.value()).unwrap();
        }
        let bad = None;
        world.producers[0].sent.push((0, Event { data, row, bad }));
    }
    world.send_run(0, first, first + finds.len(), |_| true);
    let next = world.shards.iter().map(|s| s.next_watermark_ms(0)).max();
    world.watermarks_ms[0] = world.watermarks_ms[0].max(next.unwrap());
    world.settle();
}

/// Indexes of the recorded events of a player.
fn of_player(world: &World, player: u64) -> Vec<usize> {
    let is_it = |at: &usize| world.recorded[*at].event.data[KEY] == Datum::U64(player);
    (0..world.recorded.len()).filter(is_it).collect()
}

fn retract(world: &mut World, events: Vec<usize>, early: Vec<EventName>) -> u64 {
    let id = world.ask_for(0, events, early);
    world.retract(id, |_| true);
    world.settle();
    id
}

fn top(world: &World, board: usize) -> Vec<(Vec<u8>, Scalar)> {
    let row = |row: ringmill_shard::query::BoardRow| (row.member, row.scores[0]);
    world.top(board, 0, 100).into_iter().map(row).collect()
}

fn player(number: u64, points: i64) -> (Vec<u8>, Scalar) {
    (number.to_le_bytes().to_vec(), Scalar::I64(points))
}

fn name(sequence: u64) -> EventName {
    EventName::Sequence {
        producer: producer_id(0).0,
        epoch: 1,
        sequence,
    }
}

#[test]
fn random_corrections_are_taken_back_and_put_back() {
    let mut seen = [false; 3];
    for seed in 0..12 {
        let mut random = Random(seed ^ 0x9999);
        let world = World::new("corrections", random_pipeline(&mut random), 2, seed);
        let mut world = world;
        for _ in 0..150 {
            match world.random.chance(20) {
                true => world.correct(),
                false => world.step(),
            }
        }
        world.check();
        let now = exercised(&world);
        seen = std::array::from_fn(|at| seen[at] | now[at]);
    }
    assert_eq!(seen, [true; 3], "taken back, annulled, put back");
}

#[test]
fn trap_13_a_float_sum_forgets_a_number_exactly() {
    let columns = [Aggregate::Sum(WEIGHT), Aggregate::Avg(WEIGHT)];
    let mut world = World::new("trap 13", store(vec![view(&columns)], vec![]), 2, 1);
    let finds = [(1, 0, "", 0, 0.1), (2, 1, "", 0, 1e100), (3, 2, "", 0, 0.2)];
    send(&mut world, &finds);
    let two = of_player(&world, 2);
    retract(&mut world, two, vec![]);
    let rows = world.windows(0, 10);
    assert_eq!(
        rows[0].values,
        [0.1 + 0.2, 0.15000000000000002].map(|value: f64| ColumnValue::Number(Scalar::F64(value)))
    );
    world.check();
}

#[test]
fn trap_14_a_quantile_forgets_a_number() {
    let median = Aggregate::Quantile {
        field: POINTS,
        q_ppm: 500_000,
        within_ppm: 10_000,
    };
    let mut world = World::new("trap 14", store(vec![view(&[median])], vec![]), 2, 1);
    let finds: Vec<_> = (0..5).map(|n| (n, n as i64, "", n as i64, 0.0)).collect();
    send(&mut world, &finds);
    let three = (0..3).flat_map(|player| of_player(&world, player));
    let three = three.collect();
    retract(&mut world, three, vec![]);
    let row = &world.windows(0, 10)[0];
    let three = ColumnValue::Estimate {
        value: Scalar::I64(3),
        error: Scalar::U64(0),
    };
    assert_eq!(row.values, [three]);
    let rest = [of_player(&world, 3), of_player(&world, 4)].concat();
    retract(&mut world, rest, vec![]);
    let row = &world.windows(0, 10)[0];
    assert_eq!(row.values, [ColumnValue::Number(Scalar::Null)]);
    world.check();
}

#[test]
fn trap_14_a_correction_that_a_view_cannot_follow_is_refused() {
    let best = board("best", KEY, ScoreRule::Best, Some(POINTS), true);
    let mut world = World::new(
        "trap 14",
        store(vec![view(&[Aggregate::Count])], vec![best]),
        1,
        1,
    );
    send(&mut world, &[(1, 0, "", 5, 0.0)]);
    let entry = world.entry(1, CorrectionAction::Retract, 0, &[0]);
    let before = world.shards[0].digest();
    let refused = EntryError::RefusedCorrection {
        stream: 0,
        what: "board",
        index: 1,
    };
    assert_eq!(world.shards[0].correct(&entry, 2), Err(refused));
    assert_eq!(world.shards[0].digest(), before);
    world.check();
}

#[test]
fn trap_15_a_retraction_may_come_before_its_event() {
    let stored = store(
        vec![view(&[Aggregate::Count])],
        vec![points(KEY), points(TEAM)],
    );
    let mut world = World::new("trap 15", stored, 5, 1);
    retract(&mut world, vec![], vec![name(2)]);
    send(&mut world, &[(1, 0, "a", 50, 0.0), (2, 1, "b", 40, 0.0)]);
    assert_eq!(top(&world, 0), [player(1, 50)]);
    assert_eq!(top(&world, 1).len(), 1);
    let counters = world.shards.iter().map(|s| s.counters().streams[0]);
    let annulled: u64 = counters.clone().map(|c| c.annulled).sum();
    let accepted: u64 = counters.map(|c| c.accepted).sum();
    assert_eq!((annulled, accepted), (1, 2));
    world.check();
    // What was asked for outlives a change of shards, and can be taken back itself.
    world.change_shards(2);
    world.check();
    world.undo(1, |_| true);
    world.settle();
    assert_eq!(top(&world, 0), [player(1, 50), player(2, 40)]);
    world.check();
}

#[test]
fn trap_15_a_name_is_waited_for_where_the_event_goes_after_a_change_of_shards() {
    let mut world = World::new("trap 15", store(vec![], vec![points(KEY)]), 2, 1);
    retract(&mut world, vec![], vec![name(1), name(3)]);
    world.change_shards(5);
    send(
        &mut world,
        &[(1, 0, "", 1, 0.0), (2, 0, "", 2, 0.0), (3, 0, "", 3, 0.0)],
    );
    assert_eq!(top(&world, 0), [player(2, 2)]);
    world.check();
}

#[test]
fn trap_16_a_retry_of_a_retracted_event_is_a_duplicate() {
    let mut world = World::new("trap 16", store(vec![], vec![points(KEY)]), 2, 1);
    send(&mut world, &[(1, 0, "", 50, 0.0), (2, 0, "", 40, 0.0)]);
    let one = of_player(&world, 1);
    retract(&mut world, one, vec![]);
    let before = world.duplicates;
    world.send_run(0, 0, 2, |_| true);
    world.settle();
    assert_eq!(world.duplicates - before, 2);
    assert_eq!(top(&world, 0), [player(2, 40)]);
    // So it is for one that was retracted before it came.
    retract(&mut world, vec![], vec![name(3)]);
    send(&mut world, &[(3, 0, "", 9, 0.0)]);
    world.send_run(0, 2, 3, |_| true);
    assert_eq!(world.duplicates - before, 3);
    world.check();
}

#[test]
fn trap_17_a_correction_of_what_is_final_is_a_revision() {
    let season = Season {
        every: WindowKind::Tumbling { size_ms: 1_000 },
        grace_ms: 0,
        keep: 10,
    };
    let daily = Board {
        season: Some(season),
        ..points(KEY)
    };
    let stored = store(vec![view(&[Aggregate::Sum(POINTS)])], vec![daily]);
    let mut world = World::new("trap 17", stored, 2, 1);
    send(&mut world, &[(1, 0, "", 50, 0.0), (2, 1, "", 40, 0.0)]);
    let id = retract(&mut world, vec![1], vec![]);
    assert_eq!(world.windows(0, 10)[0].revision, 0, "an open window");
    world.undo(id, |_| true);
    send(&mut world, &[(3, 5_000, "", 1, 0.0)]);
    let state = |world: &World| {
        let rows = world.windows(0, 10);
        (rows[0].number(), rows[0].state, rows[0].revision)
    };
    assert_eq!(state(&world), (Scalar::I64(90), RowState::Final, 0));
    retract(&mut world, vec![0, 1], vec![]);
    // All of its events are gone, and it says so.
    assert_eq!(state(&world), (Scalar::Null, RowState::Amended, 2));
    let corrected = world.ask(&Query::Seasons { board: 0 });
    let corrected = corrected.into_iter().map(|answer| match answer {
        Answer::Seasons(answer) => answer.seasons[0].corrected,
        other => panic!("{other:?}"),
    });
    assert_eq!(corrected.sum::<u64>(), 2);
    let answers = world.ask(&Query::Corrections { after: 0, n: 10 });
    let Answer::Corrections(audit) = &answers[0] else {
        panic!("no audit");
    };
    let (one, two) = (&audit.records[0], &audit.records[1]);
    assert_eq!((&*one.reason, &*one.author), ("exploit 1", "referee"));
    assert!(one.undone.is_some() && two.undone.is_none());
    world.check();
}

#[test]
fn trap_34_a_correction_that_was_cut_off_has_no_effect() {
    let mut world = World::new("trap 34", store(vec![], vec![points(KEY)]), 1, 1);
    send(&mut world, &[(1, 0, "", 50, 0.0), (2, 0, "", 40, 0.0)]);
    let id = world.ask_for(0, vec![0, 1], vec![name(3)]);
    let mut entry = world.entry(id, CorrectionAction::Retract, 0, &[0]);
    entry.early = vec![name(3)];
    entry.last = false;
    world.record_entry(0, &entry);
    world.shards = world.replayed();
    assert!(!world.shards[0].is_corrected(id, CorrectionAction::Retract));
    assert_eq!(top(&world, 0), [player(1, 50), player(2, 40)]);
    send(&mut world, &[(3, 0, "", 30, 0.0)]);
    assert_eq!(top(&world, 0).len(), 3, "nothing was announced");
    // What comes later must begin anew.
    let mut rest = world.entry(id, CorrectionAction::Retract, 0, &[1]);
    rest.part = 2;
    let broken = EntryError::BrokenCorrection { id, part: 2 };
    assert_eq!(world.shards[0].correct(&rest, 9), Err(broken));
    world.corrections.all[0].early.clear();
    world.retract(id, |_| true);
    world.settle();
    assert_eq!(top(&world, 0), [player(3, 30)]);
    world.check();
}

#[test]
fn trap_40_a_member_without_events_leaves_no_ghost() {
    let counts = Board {
        retract: Retract::Exact,
        ..board("counts", TEAM, ScoreRule::Sum, None, true)
    };
    for shards in [1, 2, 5] {
        let stored = store(vec![], vec![points(KEY), points(TEAM), counts.clone()]);
        let mut world = World::new("trap 40", stored, shards, 1);
        // Zeros too: absent is not 0.
        let finds: Vec<_> = (0..20)
            .map(|n| (n, 0, if n < 10 { "red" } else { "blue" }, 0, 0.0))
            .collect();
        send(&mut world, &finds);
        let red = (0..10).flat_map(|player| of_player(&world, player));
        let red = red.collect();
        retract(&mut world, red, vec![]);
        assert_eq!(top(&world, 0).len(), 10);
        assert_eq!(top(&world, 1), [(b"blue".to_vec(), Scalar::I64(0))]);
        assert_eq!(top(&world, 2), [(b"blue".to_vec(), Scalar::U64(10))]);
        world.check();
        send(&mut world, &[(3, 1, "red", 7, 0.0)]);
        assert_eq!(top(&world, 1)[0], (b"red".to_vec(), Scalar::I64(7)));
        assert_eq!(of_player(&world, 3).len(), 2);
        world.check();
    }
}

#[test]
fn a_score_that_a_correction_restores_was_reached_anew() {
    let mut world = World::new("ties", store(vec![], vec![points(KEY)]), 2, 1);
    send(&mut world, &[(1, 0, "", 50, 0.0)]);
    send(&mut world, &[(2, 0, "", 50, 0.0)]);
    assert_eq!(top(&world, 0), [player(1, 50), player(2, 50)]);
    let first = of_player(&world, 1);
    let id = retract(&mut world, first, vec![]);
    world.undo(id, |_| true);
    world.settle();
    assert_eq!(top(&world, 0), [player(2, 50), player(1, 50)]);
    world.check();
}

#[test]
fn two_corrections_of_one_event_keep_it_away_until_both_are_undone() {
    let mut world = World::new("twice", store(vec![], vec![points(KEY)]), 2, 1);
    send(&mut world, &[(1, 0, "", 50, 0.0), (2, 0, "", 40, 0.0)]);
    let one = retract(&mut world, vec![0], vec![]);
    let other = retract(&mut world, vec![0, 1], vec![]);
    assert_eq!(top(&world, 0), []);
    world.undo(one, |_| true);
    world.settle();
    assert_eq!(top(&world, 0), []);
    world.undo(other, |_| true);
    world.settle();
    assert_eq!(top(&world, 0).len(), 2);
    world.check();
}
