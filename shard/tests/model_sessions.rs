//! Traps of windows that events make, one named test each: sessions and the last events of a group.

#![allow(clippy::unwrap_used)] // Helpers of tests, but not test functions themselves.

mod model;

use model::generate::{pipeline, stream};
use model::world::{START_MS, World};
use ringmill_shard::limits::SIDE_EVENTS_MAX;
use ringmill_shard::merge::{ColumnValue, RowState};
use ringmill_shard::oracle::{Datum, Event, Row};
use ringmill_shard::pipeline::Retract;
use ringmill_shard::pipeline::{
    After, Aggregate, Column, Pipeline, TimeRule, View, Window, WindowKind,
};
use ringmill_shard::query::{Answer, Query, Scalar};
use ringmill_shard::schema::FieldType;
use ringmill_shard::window::{LateEvent, LateReason, ViewCounters};

use RowState::{Amended, Early, Final};

const GAP_MS: i64 = 100;
const SESSION: WindowKind = WindowKind::Session { gap_ms: GAP_MS };

/// One stream of a key, a time and a number; one view by the key.
fn store(kind: WindowKind, late_ms: i64, keep_ms: i64, after: After) -> Pipeline {
    let time = TimeRule {
        field: 1,
        disorder_ms: 0,
        max_future_ms: i64::MAX / 4,
        idle_ms: 1_000,
    };
    let fields = [
        (FieldType::U64, false),
        (FieldType::Time, false),
        (FieldType::F64, false),
    ];
    let (within_ppm, q_ppm) = (10_000, 500_000);
    let aggregates = [
        Aggregate::Count,
        Aggregate::First(2),
        Aggregate::Last(2),
        Aggregate::Min(2),
        Aggregate::Max(2),
        Aggregate::Sum(2),
        Aggregate::Avg(2),
        Aggregate::Distinct {
            field: 2,
            within_ppm,
        },
        Aggregate::Quantile {
            field: 2,
            q_ppm,
            within_ppm,
        },
        Aggregate::Top { field: 2, k: 3 },
    ];
    let column = |aggregate| Column {
        name: "c".into(),
        aggregate,
    };
    let view = View {
        name: "v".into(),
        stream: 0,
        filter: None,
        group: vec![0],
        window: Window {
            kind,
            late_ms,
            keep_ms,
            after,
        },
        columns: aggregates.map(column).to_vec(),
        retract: Retract::Refuse,
    };
    pipeline(vec![stream("s", 0, time, &fields)], vec![view], vec![])
}

/// Sends events of keys at times after the start as one frame; then the cores agree on the
/// watermark.
fn send_keys(world: &mut World, events: &[(u64, i64)]) {
    let first = world.producers[0].sent.len();
    for &(key, at_ms) in events {
        let schema = &world.pipeline.streams[0].schema;
        let weight = world.producers[0].sent.len() % 7;
        let data = vec![
            Datum::U64(key),
            Datum::Time(START_MS + at_ms),
            Datum::F64(weight as f64 * 0.1),
        ];
        let mut row = vec![0; schema.row_len()];
        for (field, datum) in data.iter().enumerate() {
            schema.set(&mut row, field, &datum.value()).unwrap();
        }
        let bad = None;
        world.producers[0].sent.push((0, Event { data, row, bad }));
    }
    world.send_run(0, first, first + events.len(), |_| true);
    let next = world.shards.iter().map(|s| s.next_watermark_ms(0)).max();
    world.watermarks_ms[0] = world.watermarks_ms[0].max(next.unwrap());
}

/// The same for events of one key.
fn send(world: &mut World, times_ms: &[i64]) {
    let events: Vec<_> = times_ms.iter().map(|&at_ms| (7, at_ms)).collect();
    send_keys(world, &events);
}

/// The watermark is recorded on its own.
fn at(world: &mut World, watermark_ms: i64) {
    world.watermarks_ms[0] = world.watermarks_ms[0].max(START_MS + watermark_ms);
    world.settle();
}

fn show(row: &Row) -> (i64, i64, u64, RowState, u64) {
    let ColumnValue::Number(Scalar::U64(count)) = row.values[0] else {
        panic!("a count")
    };
    let (start_ms, end_ms) = (row.start_ms - START_MS, row.end_ms - START_MS);
    (start_ms, end_ms, count, row.state, row.revision)
}

/// Start and end after `START_MS`, count, state and revision of every row.
fn rows(world: &World) -> Vec<(i64, i64, u64, RowState, u64)> {
    world.windows(0, 1_000).iter().map(show).collect()
}

fn counters(world: &World) -> ViewCounters {
    world.shards[0].counters().views[0]
}

/// The late events of the first shard, the oldest first.
fn late(world: &World) -> Vec<LateEvent> {
    let n = SIDE_EVENTS_MAX as u32;
    match world.shards[0].query(&Query::Late { view: 0, n }) {
        Answer::Late(events) => events.into_iter().rev().collect(),
        other => panic!("{other:?}"),
    }
}

fn span(event: &LateEvent) -> (i64, i64) {
    (event.first_ms.0 - START_MS, event.first_ms.1 - START_MS)
}

#[test]
fn trap_18_sessions_are_half_open_also_before_the_epoch() {
    let mut world = World::new("trap 18", store(SESSION, 0, 10_000, After::Drop), 1, 1);
    // Less than the gap apart is one session, the gap apart is not.
    let epoch = -START_MS;
    let times = [-150, -51, 48, 148, 300, 200, 201].map(|ms| epoch + ms);
    send(&mut world, &times);
    world.settle();
    let shown: Vec<_> = world
        .windows(0, 9)
        .iter()
        .map(|row| (row.start_ms, row.end_ms))
        .collect();
    assert_eq!(shown, [(-150, 148), (148, 400)]);
    world.check();
}

#[test]
fn trap_19_a_session_is_closed_exactly_when_the_watermark_reaches_its_end_and_lateness() {
    let mut world = World::new("trap 19", store(SESSION, 30, 10_000, After::Drop), 1, 2);
    send(&mut world, &[0, 50]);
    at(&mut world, 179);
    assert_eq!(rows(&world), [(0, 150, 2, Early, 0)]);
    assert!(world.shards[0].has_open_windows(0));
    // Nothing of this or a later time can lengthen it: such an event begins the next session.
    at(&mut world, 180);
    assert_eq!(rows(&world), [(0, 150, 2, Final, 0)]);
    assert!(!world.shards[0].has_open_windows(0));
    let counts = counters(&world);
    assert_eq!((counts.open_windows, counts.closed_windows), (0, 1));
    send(&mut world, &[150]);
    assert_eq!(rows(&world)[1], (150, 250, 1, Early, 0));
    assert!(late(&world).is_empty());
    world.check();
}

#[test]
fn trap_20_a_late_event_neither_reopens_a_closed_session_nor_begins_one_beside_it() {
    let mut world = World::new("trap 20", store(SESSION, 0, 500, After::Drop), 1, 3);
    send(&mut world, &[0, 50]);
    at(&mut world, 150);
    // Its own session would be open, but it belongs to the closed one.
    send(&mut world, &[120]);
    assert_eq!(rows(&world), [(0, 150, 2, Final, 0)]);
    assert_eq!(
        late(&world).iter().map(span).collect::<Vec<_>>(),
        [(0, 150)]
    );
    // One that belongs to none is late if its session would be closed at once.
    at(&mut world, 600);
    send(&mut world, &[400, 501]);
    assert_eq!(span(&late(&world)[1]), (400, 500));
    assert_eq!(rows(&world)[1], (501, 601, 1, Early, 0));
    // Kept to 650; a session that is dropped stays so.
    at(&mut world, 650);
    assert_eq!(rows(&world).len(), 2);
    at(&mut world, 651);
    assert_eq!(rows(&world).len(), 1);
    send(&mut world, &[20, 149]);
    assert_eq!(counters(&world).late_total(), 4);
    assert_eq!(rows(&world).len(), 1);
    world.check();
}

#[test]
fn trap_20_a_dropped_session_never_comes_back_where_late_events_amend() {
    let mut world = World::new("trap 20", store(SESSION, 0, 500, After::Amend), 1, 4);
    send(&mut world, &[0, 50]);
    at(&mut world, 600);
    // Closed, and still kept: it takes the event; so does a session that begins closed.
    send(&mut world, &[120, 330]);
    let amended = [(0, 220, 3, Amended, 1), (330, 430, 1, Amended, 1)];
    assert_eq!(rows(&world), amended);
    at(&mut world, 720);
    assert_eq!(rows(&world), amended);
    at(&mut world, 721);
    assert_eq!(rows(&world), amended[1..]);
    // The first is gone; what belongs to it does not begin another, nor does what is as old.
    send(&mut world, &[219, -500]);
    assert_eq!(rows(&world), amended[1..]);
    assert_eq!(late(&world).len(), 2);
    assert_eq!(
        (span(&late(&world)[0]), counters(&world).amended),
        ((0, 220), 2)
    );
    world.check();
}

#[test]
fn trap_21_an_event_is_late_for_each_closed_session_that_it_belongs_to() {
    let mut world = World::new("trap 21", store(SESSION, 0, 10_000, After::Drop), 1, 5);
    send(&mut world, &[0, 150]);
    at(&mut world, 249);
    // Between a closed session and an open one, which must not be joined: it is late for the first.
    send(&mut world, &[75]);
    assert_eq!(
        rows(&world),
        [(0, 100, 1, Final, 0), (150, 250, 1, Early, 0)]
    );
    assert_eq!(
        (late(&world)[0].windows, span(&late(&world)[0])),
        (1, (0, 100))
    );
    // The open one goes on as if nothing had been.
    send(&mut world, &[101]);
    assert_eq!(rows(&world)[1], (101, 250, 2, Early, 0));
    at(&mut world, 400);
    send(&mut world, &[60]);
    let both = &late(&world)[1];
    assert_eq!((both.windows, span(both)), (2, (0, 100)));
    assert_eq!(both.last_ms, (START_MS + 101, START_MS + 250));
    assert_eq!(counters(&world).late_total(), 3);
    world.check();
}

#[test]
fn trap_22_sessions_do_not_depend_on_batches_or_shards_or_restarts() {
    for (kind, after) in [
        (SESSION, After::Drop),
        (SESSION, After::Amend),
        (WindowKind::Last { count: 4 }, After::Drop),
    ] {
        let mut results = Vec::new();
        for (shards, frames) in [(1, 1), (1, 60), (2, 1), (2, 4), (5, 1), (5, 60)] {
            let pipeline = store(kind.clone(), 0, 2_000, after);
            let mut world = World::new("trap 22", pipeline, shards, 6);
            send_keys(
                &mut world,
                &(0..20).map(|key| (key, 3 * key as i64)).collect::<Vec<_>>(),
            );
            at(&mut world, 900);
            // Out of order, some of it late, some of it bridging what came before.
            let step = |i: i64| ((i % 20) as u64, 900 - (i * 7_919) % 1_000);
            let events: Vec<_> = (0..240).map(step).collect();
            for frame in events.chunks(240 / frames) {
                send_keys(&mut world, frame);
            }
            let digest = |world: &World| {
                let shards = world.shards.iter();
                shards.map(|shard| shard.digest()).collect::<Vec<_>>()
            };
            world.check();
            results.push(sorted(&world));
            let before = digest(&world);
            world.change_shards(3);
            world.check();
            results.push(sorted(&world));
            world.change_shards(shards);
            world.check();
            results.push(sorted(&world));
            // The same shards have the same groups, whatever logs these came from.
            let events = |world: &World| -> u64 {
                let views = world.shards.iter().map(|s| s.counters().views[0]);
                views
                    .map(|view| view.groups + view.late_total() + view.amended)
                    .sum()
            };
            assert!(before.len() == shards && events(&world) > 0);
        }
        assert!(
            results.windows(2).all(|pair| pair[0] == pair[1]),
            "{kind:?}"
        );
    }
}

/// All rows in an order of their own.
fn sorted(world: &World) -> Vec<String> {
    let rows = world.windows(0, 1_000);
    let mut rows: Vec<_> = rows.iter().map(|row| format!("{row:?}")).collect();
    rows.sort();
    rows
}

#[test]
fn trap_26_a_session_that_the_clock_closed_is_told_apart() {
    let mut world = World::new("trap 26", store(SESSION, 0, 10_000, After::Drop), 1, 7);
    send(&mut world, &[0]);
    send(&mut world, &[10]);
    at(&mut world, 60);
    at(&mut world, 300);
    send(&mut world, &[20]);
    send(&mut world, &[1_000]);
    send(&mut world, &[700]);
    let reasons: Vec<_> = late(&world).iter().map(|event| event.reason).collect();
    assert_eq!(reasons, [LateReason::AfterIdle, LateReason::Late]);
    world.check();
}

#[test]
fn trap_30_what_was_to_be_closed_is_closed_after_a_restart_by_the_watermark_alone() {
    let mut world = World::new("trap 30", store(SESSION, 0, 500, After::Drop), 2, 8);
    let open: Vec<_> = (0..50).map(|key| (key, key as i64)).collect();
    send_keys(&mut world, &open);
    world.check();
    for shards in [2, 5, 1] {
        world.change_shards(shards);
        assert_eq!(rows(&world).len(), 50);
        assert!(rows(&world).iter().all(|row| row.3 == Early));
        let waits = |world: &World| world.shards.iter().any(|s| s.has_open_windows(0));
        assert!(waits(&world), "somebody must move time on");
    }
    at(&mut world, 149);
    assert!(rows(&world).iter().all(|row| row.3 == Final));
    assert!(!world.shards[0].has_open_windows(0));
    let counts = counters(&world);
    assert_eq!((counts.open_windows, counts.closed_windows), (0, 50));
    // All are let go, in whatever slices, and nothing is waited for.
    at(&mut world, 10_000);
    assert!(rows(&world).is_empty());
    world.check();
}

#[test]
fn trap_31_a_late_event_that_bridges_two_sessions_makes_one_of_them_in_one_step() {
    for after in [After::Drop, After::Amend] {
        let mut world = World::new("trap 31", store(SESSION, 0, 10_000, after), 1, 9);
        send(&mut world, &[0, 20, 150, 160, 500]);
        world.watermarks_ms[0] = START_MS + 90;
        // Both open: all that was in either is in one, as if it had come in order.
        send(&mut world, &[85]);
        assert_eq!(rows(&world)[0], (0, 260, 5, Early, 0));
        assert_eq!(rows(&world).len(), 2);
        world.check();
        // Both closed: retracted and merged, one revision on; or late for both.
        at(&mut world, 700);
        send(&mut world, &[350]);
        at(&mut world, 701);
        world.check();
        match after {
            After::Drop => {
                let left = [(0, 260, 5, Final, 0), (500, 600, 1, Final, 0)];
                assert_eq!(rows(&world), left);
            }
            After::Amend => {
                // It is less than the gap from neither, so it is a session of its own.
                let shown = rows(&world);
                assert_eq!(shown[1], (350, 450, 1, Amended, 1));
                send(&mut world, &[259, 449]);
                assert_eq!(rows(&world), [(0, 600, 9, Amended, 3)]);
                assert_eq!(counters(&world).amended, 3);
            }
        }
        world.check();
    }
}

#[test]
fn trap_31_a_bridge_opens_a_closed_session_again_only_where_late_events_amend() {
    for after in [After::Drop, After::Amend] {
        let mut world = World::new("trap 31", store(SESSION, 0, 10_000, after), 1, 10);
        send(&mut world, &[0, 150]);
        at(&mut world, 200);
        send(&mut world, &[60]);
        match after {
            After::Drop => assert_eq!(rows(&world)[0], (0, 100, 1, Final, 0)),
            After::Amend => assert_eq!(rows(&world), [(0, 250, 3, Early, 1)]),
        }
        at(&mut world, 250);
        if after == After::Amend {
            // Who saw the first session final is told that it was changed since.
            assert_eq!(rows(&world), [(0, 250, 3, Amended, 1)]);
        }
        world.check();
    }
}

#[test]
fn trap_31_bridges_within_one_batch_keep_every_event() {
    let mut world = World::new("trap 31", store(SESSION, 9_000, 10_000, After::Drop), 1, 11);
    // Every second event bridges two sessions of events that stand before it in the same batch.
    let mut times = Vec::new();
    for i in 0..50 {
        times.extend([150 * (i + 1), 150 * i, 150 * i + 75]);
    }
    send(&mut world, &times);
    world.settle();
    assert_eq!(rows(&world), [(0, 7_600, 150, Early, 0)]);
    world.check();
}

#[test]
fn the_last_events_of_a_group_are_those_by_event_time_however_they_come() {
    let times = [10, 50, 20, 40, 30, 60, 60, 5, 55];
    let mut results = Vec::new();
    for turn in 0..times.len() {
        let kind = WindowKind::Last { count: 3 };
        let mut world = World::new("last", store(kind, 0, 10_000, After::Drop), 1, 12);
        let mut times = times;
        times.rotate_left(turn);
        for frame in times.chunks(1 + turn) {
            send(&mut world, frame);
        }
        world.check();
        results.push(rows(&world));
    }
    assert_eq!(results[0], [(55, 61, 3, Early, 0)]);
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn the_last_events_are_those_of_the_latest_batch_if_it_has_so_many() {
    let kind = WindowKind::Last { count: 2 };
    let mut world = World::new("last", store(kind, 0, 1_000, After::Drop), 1, 13);
    send(&mut world, &(0..200).collect::<Vec<_>>());
    world.check();
    assert_eq!(rows(&world), [(198, 200, 2, Early, 0)]);
    // They never are final, and expire one by one.
    at(&mut world, 1_198);
    assert_eq!(rows(&world), [(198, 200, 2, Early, 0)]);
    at(&mut world, 1_199);
    assert_eq!(rows(&world), [(199, 200, 1, Early, 0)]);
    send(&mut world, &[198]);
    assert_eq!(late(&world)[0].reason, LateReason::AfterIdle);
    assert_eq!(late(&world)[0].last_ms, (START_MS + 198, START_MS + 199));
    at(&mut world, 1_200);
    assert!(rows(&world).is_empty() && !world.shards[0].has_open_windows(0));
    world.check();
}
