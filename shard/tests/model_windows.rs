//! Traps of windows, one named test each: what overlaps, what is late, what is amended.

#![allow(clippy::unwrap_used)] // Helpers of tests, but not test functions themselves.

mod model;

use model::generate::{pipeline, stream};
use model::world::{START_MS, World};
use ringmill_shard::limits::SIDE_EVENTS_MAX;
use ringmill_shard::merge::{ColumnValue, RowState};
use ringmill_shard::oracle::Row;
use ringmill_shard::oracle::{Datum, Event};
use ringmill_shard::pipeline::{
    After, Aggregate, CalendarUnit, Column, Pipeline, Retract, TimeRule, View, Window, WindowKind,
};
use ringmill_shard::query::{Answer, Query, Scalar};
use ringmill_shard::schema::FieldType;
use ringmill_shard::window::{LateEvent, LateReason, ViewCounters};

/// One stream of a key and a time, one view that counts.
fn store(kind: WindowKind, late_ms: i64, keep_ms: i64, after: After) -> Pipeline {
    let time = TimeRule {
        field: 1,
        disorder_ms: 0,
        max_future_ms: i64::MAX / 4,
        idle_ms: 1_000,
    };
    let fields = [(FieldType::U64, false), (FieldType::Time, false)];
    let view = View {
        name: "v".into(),
        stream: 0,
        filter: None,
        group: vec![],
        window: Window {
            kind,
            late_ms,
            keep_ms,
            after,
        },
        columns: vec![Column {
            name: "n".into(),
            aggregate: Aggregate::Count,
        }],
        retract: Retract::Refuse,
    };
    pipeline(vec![stream("s", 0, time, &fields)], vec![view], vec![])
}

/// Sends events as one frame; then the cores agree on the watermark.
fn send(world: &mut World, times_ms: &[i64]) {
    let first = world.producers[0].sent.len();
    for (index, &time_ms) in times_ms.iter().enumerate() {
        let schema = &world.pipeline.streams[0].schema;
        let data = vec![Datum::U64(index as u64), Datum::Time(time_ms)];
        let mut row = vec![0; schema.row_len()];
        for (field, datum) in data.iter().enumerate() {
            schema.set(&mut row, field, &datum.value()).unwrap();
        }
        let bad = None;
        world.producers[0].sent.push((0, Event { data, row, bad }));
    }
    world.send_run(0, first, first + times_ms.len(), |_| true);
    let next = world.shards.iter().map(|s| s.next_watermark_ms(0)).max();
    world.watermarks_ms[0] = world.watermarks_ms[0].max(next.unwrap());
}

/// Start and end after `START_MS`, count, state and revision of every row.
fn rows(world: &World) -> Vec<(i64, i64, u64, RowState, u64)> {
    let show = |row: Row| {
        let ColumnValue::Number(Scalar::U64(count)) = row.values[0] else {
            panic!("a count")
        };
        let (start_ms, end_ms) = (row.start_ms - START_MS, row.end_ms - START_MS);
        (start_ms, end_ms, count, row.state, row.revision)
    };
    world.windows(0, 1_000).into_iter().map(show).collect()
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

const fn tumbling(size_ms: i64) -> WindowKind {
    WindowKind::Tumbling { size_ms }
}

const fn hopping(size_ms: i64, hop_ms: i64) -> WindowKind {
    WindowKind::Hopping { size_ms, hop_ms }
}

use RowState::{Amended, Early, Final};

#[test]
fn trap_18_a_hop_that_does_not_divide_the_size_loses_nothing_before_the_epoch_either() {
    let kind = hopping(10, 4);
    let mut world = World::new("trap 18", store(kind, 0, 1_000, After::Drop), 1, 1);
    send(&mut world, &[-1, 0, -4, 3]);
    let shown: Vec<_> = world
        .windows(0, 100)
        .iter()
        .map(|row| (row.start_ms, row.end_ms, row.values[0].clone()))
        .collect();
    let count = |n| ColumnValue::Number(Scalar::U64(n));
    assert_eq!(
        shown,
        [
            (-12, -2, count(1)),
            (-8, 2, count(3)),
            (-4, 6, count(4)),
            (0, 10, count(2)),
        ]
    );
    world.check();
}

#[test]
fn trap_19_a_window_is_closed_exactly_when_the_watermark_reaches_its_end_and_lateness() {
    let cumulative = WindowKind::Cumulative {
        size_ms: 2_000,
        step_ms: 1_000,
    };
    for kind in [tumbling(1_000), hopping(1_000, 1_000), cumulative] {
        let pipeline = store(kind.clone(), 30, 60_000, After::Drop);
        let mut world = World::new("trap 19", pipeline, 1, 14);
        send(&mut world, &[START_MS]);
        world.shards[0].advance(0, START_MS + 1_029);
        assert!(rows(&world)[0].3 == Early && world.shards[0].has_open_windows(0));
        world.shards[0].advance(0, START_MS + 1_030);
        assert_eq!(rows(&world)[0].3, Final);
        let overlaps = matches!(kind, WindowKind::Cumulative { .. });
        assert_eq!(world.shards[0].has_open_windows(0), overlaps);
        let open = u64::from(overlaps);
        let counters = counters(&world);
        assert_eq!((counters.open_windows, counters.closed_windows), (open, 1));
    }
}

#[test]
fn trap_20_a_dropped_window_never_comes_back_amended_or_not() {
    for after in [After::Drop, After::Amend] {
        let mut world = World::new("trap 20", store(tumbling(100), 0, 150, after), 1, 2);
        send(&mut world, &[START_MS + 10]);
        // Kept up to 150 behind its end: at 250 it is there, at 251 it is not.
        send(&mut world, &[START_MS + 250]);
        send(&mut world, &[START_MS + 20]);
        let kept = match after {
            After::Drop => (0, 100, 1, Final, 0),
            After::Amend => (0, 100, 2, Amended, 1),
        };
        world.settle();
        assert_eq!(rows(&world), [kept, (200, 300, 1, Early, 0)]);
        send(&mut world, &[START_MS + 251]);
        send(&mut world, &[START_MS + 30]);
        world.settle();
        assert_eq!(rows(&world), [(200, 300, 2, Early, 0)]);
        let reasons: Vec<_> = late(&world).iter().map(|event| event.reason).collect();
        match after {
            After::Drop => assert_eq!(reasons, [LateReason::Late, LateReason::Late]),
            After::Amend => assert_eq!(reasons, [LateReason::Expired]),
        }
        assert_eq!(counters(&world).amended, u64::from(after == After::Amend));
        world.check();
    }
}

#[test]
fn trap_21_an_event_late_for_one_window_is_in_the_next() {
    let kind = hopping(100, 50);
    let mut world = World::new("trap 21", store(kind.clone(), 0, 1_000, After::Drop), 1, 3);
    send(&mut world, &[START_MS + 60]);
    send(&mut world, &[START_MS + 110]);
    // The window [0, 100) is closed, [50, 150) is not.
    send(&mut world, &[START_MS + 70]);
    world.settle();
    assert_eq!(
        rows(&world),
        [
            (0, 100, 1, Final, 0),
            (50, 150, 3, Early, 0),
            (100, 200, 1, Early, 0),
        ]
    );
    assert_eq!(counters(&world).late, [1, 0, 0]);
    let missed = &late(&world)[0];
    assert_eq!((missed.windows, missed.index), (1, 0));
    assert_eq!(missed.first_ms, (START_MS, START_MS + 100));
    assert_eq!(missed.last_ms, missed.first_ms);
    world.check();

    let mut world = World::new("trap 21", store(kind, 0, 1_000, After::Amend), 1, 3);
    send(&mut world, &[START_MS + 60]);
    send(&mut world, &[START_MS + 110]);
    send(&mut world, &[START_MS + 70]);
    world.settle();
    assert_eq!(rows(&world)[0], (0, 100, 2, Amended, 1));
    assert_eq!(rows(&world)[1], (50, 150, 3, Early, 0));
    assert!(late(&world).is_empty());
    world.check();
}

#[test]
fn trap_22_revisions_do_not_depend_on_batches_or_shards() {
    let mut results = Vec::new();
    for (shards, frames) in [(1, 1), (1, 20), (2, 1), (2, 5), (5, 20)] {
        let kind = hopping(100, 30);
        let mut world = World::new("trap 22", store(kind, 10, 5_000, After::Amend), shards, 4);
        send(&mut world, &[START_MS, START_MS + 400]);
        world.settle();
        let old: Vec<i64> = (0..20).map(|i| START_MS + i * 17).collect();
        for frame in old.chunks(20 / frames) {
            send(&mut world, frame);
        }
        world.settle();
        world.check();
        results.push(rows(&world));
    }
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
    assert!(results[0].iter().any(|row| row.3 == Amended && row.4 > 1));
}

#[test]
fn trap_26_events_behind_an_idle_time_are_told_apart() {
    let mut world = World::new(
        "trap 26",
        store(tumbling(100), 0, 10_000, After::Drop),
        1,
        5,
    );
    send(&mut world, &[START_MS + 10]);
    send(&mut world, &[START_MS + 120]);
    send(&mut world, &[START_MS + 121]);
    // Nothing comes any more, and the clock closes the next windows.
    for moved_ms in [300, 500] {
        world.watermarks_ms[0] = START_MS + moved_ms;
        world.settle();
    }
    send(&mut world, &[START_MS + 130, START_MS + 20, START_MS + 430]);
    // Events have moved time on: what they close is not the clock's doing.
    send(&mut world, &[START_MS + 900]);
    send(&mut world, &[START_MS + 450, START_MS + 650]);
    let seen: Vec<_> = late(&world)
        .iter()
        .map(|event| (event.first_ms.0 - START_MS, event.reason))
        .collect();
    use LateReason::{AfterIdle, Late};
    assert_eq!(
        seen,
        [
            (100, AfterIdle),
            (0, Late),
            (400, AfterIdle),
            (400, AfterIdle),
            (600, Late),
        ]
    );
    assert_eq!(counters(&world).late, [2, 3, 0]);
    world.check();
}

#[test]
fn trap_39_a_day_has_23_or_25_hours_in_its_zone() {
    const HOUR_MS: i64 = 3_600_000;
    let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let kind = WindowKind::Calendar {
        unit: CalendarUnit::Day,
        zone: "Europe/Berlin".into(),
    };
    for (start, hours) in [
        ("2026-03-28T23:00:00Z", 23),
        ("2026-10-24T22:00:00Z", 25),
        ("2026-11-19T23:00:00Z", 24),
    ] {
        let start_ms = at(start);
        let days = 20 * 24 * HOUR_MS;
        let mut world = World::new("trap 39", store(kind.clone(), 0, days, After::Drop), 1, 6);
        world.clock_ms = start_ms;
        let times: Vec<i64> = (-1..=hours).map(|h| start_ms + h * HOUR_MS).collect();
        send(&mut world, &times);
        world.settle();
        let shown: Vec<_> = world
            .windows(0, 9)
            .iter()
            .map(|row| (row.start_ms, row.end_ms, row.values[0].clone(), row.state))
            .collect();
        let end_ms = start_ms + hours * HOUR_MS;
        assert_eq!(shown.len(), 3);
        let whole = ColumnValue::Number(Scalar::U64(hours as u64));
        assert_eq!(shown[1], (start_ms, end_ms, whole, Final), "{start}");
        assert_eq!((shown[0].1, shown[2].0), (start_ms, end_ms));
        world.check();
    }
}

#[test]
fn the_latest_late_events_are_kept_in_bounded_memory() {
    let mut world = World::new("late", store(tumbling(100), 0, 10_000, After::Drop), 1, 7);
    send(&mut world, &[START_MS + 1_000]);
    world.settle();
    for _ in 0..3 {
        let old: Vec<i64> = (0..SIDE_EVENTS_MAX as i64 - 50)
            .map(|i| START_MS + i)
            .collect();
        send(&mut world, &old);
    }
    let kept = late(&world);
    assert_eq!(kept.len(), SIDE_EVENTS_MAX);
    let total = 3 * (SIDE_EVENTS_MAX as u64 - 50);
    assert_eq!(counters(&world).late_total(), total);
    let order: Vec<_> = kept
        .iter()
        .map(|e| (e.stamp_ns, e.log_stream, e.index))
        .collect();
    assert!(order.is_sorted());
    let schema = &world.pipeline.streams[0].schema;
    for event in &kept {
        let time_ms = schema.time_ms(&event.row, 1);
        assert!((event.first_ms.0..event.first_ms.1).contains(&time_ms));
        assert_eq!(schema.validate(&event.row), Ok(()));
    }
    world.check();
}
