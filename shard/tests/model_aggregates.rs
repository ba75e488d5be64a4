//! Aggregates that need more than a cell: over shards, in any order, beyond what is held exactly,
//! and with partials that no shard can have sent.

#![allow(clippy::unwrap_used)] // Helpers of tests, but not test functions themselves.

mod model;

use model::generate::{pipeline, stream};
use model::random::Random;
use model::world::{START_MS, World};
use ringmill_shard::merge::{ColumnValue, MalformedPartials, merge_windows};
use ringmill_shard::oracle::expected::floats;
use ringmill_shard::oracle::{Datum, Event};
use ringmill_shard::pipeline::{
    After, Aggregate, Column, Pipeline, Retract, TimeRule, View, Window, WindowKind,
};
use ringmill_shard::query::{Answer, Query, Scalar, WindowsAnswer};
use ringmill_shard::schema::FieldType;

/// Fields of the test stream: key, time, group, and one of each type that the columns read.
const KEY: usize = 0;
const AT: usize = 1;
const TEAM: usize = 2;
const POINTS: usize = 3;
const WEIGHT: usize = 4;
const PLACE: usize = 5;

fn store(group: &[usize], columns: &[Aggregate]) -> Pipeline {
    let time = TimeRule {
        field: AT,
        disorder_ms: 60_000,
        max_future_ms: 60_000,
        idle_ms: 1_000,
    };
    let fields = [
        (FieldType::U64, false),
        (FieldType::Time, false),
        (FieldType::U64, true),
        (FieldType::I64, true),
        (FieldType::F64, true),
        (FieldType::Text(12), true),
    ];
    let column = |&aggregate: &Aggregate| Column {
        name: "c".into(),
        aggregate,
    };
    let view = View {
        name: "v".into(),
        stream: 0,
        filter: None,
        group: group.to_vec(),
        window: Window {
            kind: WindowKind::Tumbling { size_ms: 60_000 },
            late_ms: 0,
            keep_ms: 600_000,
            after: After::Drop,
        },
        columns: columns.iter().map(column).collect(),
        retract: Retract::Refuse,
    };
    pipeline(vec![stream("s", KEY, time, &fields)], vec![view], vec![])
}

fn event(world: &World, data: [Datum; 6]) -> Event {
    let schema = &world.pipeline.streams[0].schema;
    let mut row = vec![0; schema.row_len()];
    for (field, datum) in data.iter().enumerate() {
        schema.set(&mut row, field, &datum.value()).unwrap();
    }
    Event {
        data: data.to_vec(),
        row,
        bad: None,
    }
}

/// A world to which all of this was sent, in runs of some tens of events.
fn sent(note: &str, pipeline: Pipeline, shards: usize, all: &[[Datum; 6]]) -> World {
    let mut world = World::new(note, pipeline, shards, 21);
    world.clock_ms = START_MS + 1_000;
    for data in all {
        let event = event(&world, data.clone());
        world.producers[0].sent.push((0, event));
    }
    world.send_run(0, 0, all.len(), |_| true);
    world
}

fn plain(player: u64, at_ms: i64) -> [Datum; 6] {
    [
        Datum::U64(player),
        Datum::Time(START_MS + at_ms),
        Datum::U64(1),
        Datum::Null,
        Datum::Null,
        Datum::Null,
    ]
}

fn with(player: u64, field: usize, datum: Datum) -> [Datum; 6] {
    let mut data = plain(player, 0);
    data[field] = datum;
    data
}

/// The columns of the only row, for 1, 2 and 5 shards and for the events in reverse; all equal.
fn same_everywhere(note: &str, columns: &[Aggregate], all: &[[Datum; 6]]) -> Vec<ColumnValue> {
    let mut results = Vec::new();
    let reversed: Vec<_> = all.iter().rev().cloned().collect();
    for (shards, all) in [(1, all), (2, all), (5, all), (1, &reversed), (5, &reversed)] {
        let mut world = sent(note, store(&[], columns), shards, all);
        world.check();
        results.push(world.windows(0, 9)[0].values.clone());
        world.change_shards(3);
        world.check();
        results.push(world.windows(0, 9)[0].values.clone());
    }
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{note}");
    results.remove(0)
}

#[test]
fn trap_10_quantiles_of_negative_numbers_and_zero() {
    let quantile = |field, q_ppm| Aggregate::Quantile {
        field,
        q_ppm,
        within_ppm: 10_000,
    };
    let columns = [
        quantile(POINTS, 0),
        quantile(POINTS, 500_000),
        quantile(POINTS, 1_000_000),
        quantile(WEIGHT, 0),
        quantile(WEIGHT, 500_000),
    ];
    let mut all = Vec::new();
    for value in -60..=60_i64 {
        all.push(with(value.unsigned_abs(), POINTS, Datum::I64(value)));
        all.push(with(7, WEIGHT, Datum::F64(value as f64 * 1e-3)));
    }
    let values = same_everywhere("trap 10", &columns, &all);
    let exact = |value| ColumnValue::Estimate {
        value: Scalar::I64(value),
        error: Scalar::U64(0),
    };
    assert_eq!(values[..3], [-60, 0, 60].map(exact));
    let ColumnValue::Estimate {
        value: Scalar::F64(least),
        ..
    } = values[3]
    else {
        panic!("{values:?}");
    };
    assert!((least + 0.06).abs() < 0.06 * 0.01, "{least}");
    let zero = ColumnValue::Estimate {
        value: Scalar::F64(0.0),
        error: Scalar::F64(0.0),
    };
    assert_eq!(values[4], zero);
}

#[test]
fn trap_12_counts_of_different_values_are_not_added() {
    let columns = [Aggregate::Distinct {
        field: TEAM,
        within_ppm: 100_000,
    }];
    // Every shard sees the same ten teams.
    let team = |index: u64| with(index, TEAM, Datum::U64(index % 10));
    let all: Vec<_> = (0..400).map(team).collect();
    let ten = ColumnValue::Estimate {
        value: Scalar::U64(10),
        error: Scalar::U64(0),
    };
    assert_eq!(same_everywhere("trap 12", &columns, &all), [ten]);
    // Too many for a table, so that registers are merged.
    let all: Vec<_> = (0..2_000)
        .map(|index| with(index, TEAM, Datum::U64(index / 2)))
        .collect();
    let values = same_everywhere("trap 12", &columns, &all);
    let ColumnValue::Estimate {
        value: Scalar::U64(count),
        error: Scalar::U64(error),
    } = values[0]
    else {
        panic!("{values:?}");
    };
    assert!(
        error > 0 && count.abs_diff(1_000) <= error,
        "{count} +- {error}"
    );
}

#[test]
fn trap_13_float_sums_do_not_depend_on_order_or_shards() {
    let columns = [Aggregate::Sum(WEIGHT), Aggregate::Avg(WEIGHT)];
    for seed in 0..20 {
        let mut random = Random(seed);
        let weight = |_| {
            let power = 10_f64.powi(random.below(40) as i32 - 20);
            let sign = *random.pick(&[1.0, -1.0]);
            let value = sign * power * (random.below(1 << 40) as f64 / 1e11);
            with(random.below(50), WEIGHT, Datum::F64(value + 0.0))
        };
        let all: Vec<_> = (0..200).map(weight).collect();
        let values = same_everywhere(&format!("trap 13 seed {seed}"), &columns, &all);
        let exact = floats(all.iter().map(|data| &data[WEIGHT]));
        assert_eq!(values[0], Scalar::F64(exact));
    }
}

#[test]
fn first_and_last_follow_event_time_and_then_recorded_order() {
    let columns = [
        Aggregate::First(PLACE),
        Aggregate::Last(PLACE),
        Aggregate::First(POINTS),
        Aggregate::Last(KEY),
    ];
    for shards in [1, 2, 5] {
        let mut random = Random(shards as u64);
        let find = |index: u64| {
            let mut data = plain(random.below(30), random.below(5) as i64);
            data[PLACE] = match random.below(3) {
                0 => Datum::Null,
                _ => Datum::Text(format!("place {index}")),
            };
            data[POINTS] = Datum::I64(-(index as i64));
            data[TEAM] = Datum::U64(random.below(9));
            data
        };
        let all: Vec<_> = (0..600).map(find).collect();
        let mut world = sent("edges", store(&[TEAM], &columns), shards, &all);
        world.check();
        world.change_shards(4);
        world.check();
    }
}

#[test]
fn frequent_values_beyond_the_table_keep_their_bounds_over_shards() {
    let columns = [Aggregate::Top { field: PLACE, k: 5 }];
    let mut random = Random(5);
    let find = |_| {
        let share = random.below(900) + 1;
        let place = format!("p{}", random.below(share));
        with(random.below(500), PLACE, Datum::Text(place))
    };
    let all: Vec<_> = (0..6_000).map(find).collect();
    for shards in [1, 2, 5] {
        let mut world = sent("top", store(&[], &columns), shards, &all);
        world.check();
        let row = world.windows(0, 9).remove(0);
        let ColumnValue::Frequent {
            values,
            others_at_most,
        } = &row.values[0]
        else {
            panic!("{row:?}");
        };
        assert!(values.len() == 5 && *others_at_most > 0, "{row:?}");
        assert!(*others_at_most <= 6_000 / 48, "{row:?}");
        world.change_shards(3);
        world.check();
    }
}

#[test]
fn a_column_without_values_says_so() {
    let columns = [
        Aggregate::Sum(WEIGHT),
        Aggregate::First(PLACE),
        Aggregate::Distinct {
            field: PLACE,
            within_ppm: 10_000,
        },
        Aggregate::Quantile {
            field: POINTS,
            q_ppm: 0,
            within_ppm: 10_000,
        },
        Aggregate::Top { field: PLACE, k: 3 },
    ];
    let all: Vec<_> = (0..20).map(|player| plain(player, 0)).collect();
    let values = same_everywhere("nulls", &columns, &all);
    let none = ColumnValue::Estimate {
        value: Scalar::U64(0),
        error: Scalar::U64(0),
    };
    assert!(values[0] == Scalar::Null && values[1] == Scalar::Null && values[3] == Scalar::Null);
    assert_eq!(values[2], none);
    let empty = ColumnValue::Frequent {
        values: Vec::new(),
        others_at_most: 0,
    };
    assert_eq!(values[4], empty);
}

fn answer(world: &World, shard: usize) -> WindowsAnswer {
    let query = Query::Windows {
        view: 0,
        from_ms: i64::MIN,
        to_ms: i64::MAX,
        limit: 10_000,
        after: None,
    };
    match world.shards[shard].query(&query) {
        Answer::Windows(answer) => answer,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answer_of_large_sketches_is_cut_and_goes_on() {
    let columns = [Aggregate::Quantile {
        field: WEIGHT,
        q_ppm: 500_000,
        within_ppm: 1_000,
    }];
    let weigh = |index: u64| {
        let mut data = plain(1, 0);
        data[TEAM] = Datum::U64(index % 40);
        // A page of counters for each.
        data[WEIGHT] = Datum::F64(10_f64.powf((index / 40) as f64 / 100.0));
        data
    };
    let all: Vec<_> = (0..40_000).map(weigh).collect();
    let mut world = sent("budget", store(&[TEAM], &columns), 2, &all);
    let cut: Vec<_> = (0..2).map(|shard| answer(&world, shard)).collect();
    let rows: usize = cut.iter().map(|answer| answer.rows.len()).sum();
    assert!(
        cut.iter().any(|answer| answer.more) && (10..40).contains(&rows),
        "{rows} rows"
    );
    world.check();
}

#[test]
fn partials_that_no_shard_can_have_are_refused() {
    let columns = [
        Aggregate::Count,
        Aggregate::Sum(WEIGHT),
        Aggregate::Last(PLACE),
        Aggregate::Distinct {
            field: TEAM,
            within_ppm: 50_000,
        },
    ];
    let mut all = Vec::new();
    for player in 0..60 {
        let mut data = with(player, WEIGHT, Datum::F64(0.1));
        data[PLACE] = Datum::Text("quay".into());
        data[TEAM] = Datum::U64(player);
        all.push(data);
    }
    let world = sent("malformed", store(&[], &columns), 2, &all);
    let merge = |changed: WindowsAnswer| {
        let answers = vec![answer(&world, 0), changed];
        merge_windows(&world.pipeline, 0, answers, 10).map(|page| page.rows)
    };
    let good = answer(&world, 1);
    let values = merge(good.clone()).unwrap().remove(0).values;
    assert_eq!(values[..2], [Scalar::U64(60), Scalar::F64(6.0)]);
    let changes: [fn(&mut WindowsAnswer); 9] = [
        |answer| answer.rows[0].partials.cells.truncate(3),
        |answer| answer.rows[0].partials.cells.clear(),
        |answer| answer.rows[0].partials.blocks.truncate(9),
        |answer| answer.rows[0].partials.blocks.push(0),
        |answer| answer.rows[0].partials.blocks.clear(),
        |answer| answer.rows[0].partials.cells[1].words[0] = u64::MAX,
        |answer| answer.rows[0].partials.cells[1].words[1] = 1_000,
        |answer| answer.rows[0].partials.cells[2].count = 0,
        // The length of the text, behind the limbs and the order.
        |answer| {
            let text = answer.rows[0].partials.cells[1].words[0] as usize + 3;
            answer.rows[0].partials.blocks[text] = 13;
        },
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut bad = good.clone();
        change(&mut bad);
        assert_eq!(merge(bad), Err(MalformedPartials), "change {index}");
    }
}
