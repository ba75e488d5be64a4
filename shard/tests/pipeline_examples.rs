//! The example pipelines are correct and mean what their comments say.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ringmill_shard::ndjson::{parse_line, row_to_json};
use ringmill_shard::pipeline::{
    After, Aggregate, CalendarUnit, Durability, Pipeline, Problem, Score, ScoreRule, TimeRule,
    Window, WindowKind,
};

fn load(name: &str) -> Pipeline {
    let path = format!(
        "{}/../docs/examples/{name}.toml",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(&path).unwrap();
    Pipeline::parse(&text).unwrap_or_else(|problems| {
        let shown: Vec<String> = problems.iter().map(Problem::to_string).collect();
        panic!("{name}:\n{}", shown.join("\n"))
    })
}

#[test]
fn treasure_hunt() {
    let pipeline = load("treasure_hunt");
    let stream = &pipeline.streams[0];
    assert_eq!((pipeline.streams.len(), stream.name.as_str()), (1, "finds"));
    assert_eq!(stream.schema.row_bytes, 64);
    assert_eq!(stream.key, stream.schema.field("player").unwrap());
    let field = stream.schema.field("at").unwrap();
    let rule = TimeRule {
        field,
        disorder_ms: 5_000,
        max_future_ms: 10_000,
        idle_ms: 3_000,
    };
    assert_eq!(stream.time, rule);
    assert_eq!(stream.durability, Durability::Commit);
    let points = stream.schema.field("points").unwrap();
    let view = &pipeline.views[pipeline.view("by_region").unwrap()];
    assert_eq!(view.group, [stream.schema.field("region").unwrap()]);
    assert_eq!(
        view.window,
        Window {
            kind: WindowKind::Tumbling { size_ms: 10_000 },
            late_ms: 0,
            keep_ms: 3_600_000,
            after: After::Drop,
        }
    );
    let columns: Vec<_> = view
        .columns
        .iter()
        .map(|c| (c.name.as_str(), c.aggregate))
        .collect();
    assert_eq!(
        columns,
        [
            ("finds", Aggregate::Count),
            ("points", Aggregate::Sum(points))
        ]
    );
    let board = &pipeline.boards[pipeline.board("players").unwrap()];
    assert_eq!(board.member, stream.key);
    let score = Score {
        rule: ScoreRule::Sum,
        field: Some(points),
        descending: true,
    };
    assert_eq!(board.scores, [score]);
}

#[test]
fn flights() {
    let pipeline = load("flights");
    let stream = &pipeline.streams[0];
    assert_eq!(stream.schema.fields[stream.key].name, "tail");
    assert!(stream.schema.fields[stream.key].optional);
    assert_eq!(stream.time.disorder_ms, 86_400_000);
    let views: Vec<_> = pipeline
        .views
        .iter()
        .map(|view| view.name.as_str())
        .collect();
    let expected = ["hourly_by_origin", "hourly_by_carrier", "weekly_by_carrier"];
    assert_eq!(views, expected);
    let boards: Vec<_> = pipeline
        .boards
        .iter()
        .map(|board| board.name.as_str())
        .collect();
    assert_eq!(boards, ["aircraft_by_miles", "carriers_by_delay"]);
    let lines = [
        concat!(
            r#"{"sched":1357035300000,"at":1357035420000,"carrier":"UA","flight":1545,"#,
            r#""tail":"N14228","origin":"EWR","dest":"IAH","distance":1400,"dep_delay":2,"#,
            r#""arr_delay":11,"air_time":227}"#
        ),
        concat!(
            r#"{"sched":1357035300000,"at":1357035300000,"carrier":"9E","flight":1,"#,
            r#""tail":null,"origin":"JFK","dest":"BOS","distance":187,"dep_delay":null,"#,
            r#""arr_delay":null,"air_time":null}"#
        ),
    ];
    for line in lines {
        let mut row = vec![0; stream.schema.row_len()];
        parse_line(&stream.schema, line.as_bytes(), &mut row).unwrap();
        assert_eq!(stream.schema.validate(&row), Ok(()));
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(row_to_json(&stream.schema, &row), line);
    }
}

#[test]
fn visits() {
    let pipeline = load("visits");
    let window = |name| &pipeline.views[pipeline.view(name).unwrap()].window;
    let (gap_ms, late_ms) = (1_800_000, 60_000);
    let visits = Window {
        kind: WindowKind::Session { gap_ms },
        late_ms,
        keep_ms: 86_400_000,
        after: After::Amend,
    };
    assert_eq!(*window("visits"), visits);
    assert_eq!(window("purchases").kind, WindowKind::Last { count: 10 });
}

#[test]
fn digests_are_pinned_and_ignore_the_engine_section() {
    let hunt = load("treasure_hunt");
    assert_eq!(hunt.digest(), HUNT_DIGEST, "{:#034x}", hunt.digest());
    let mut other = hunt.clone();
    other.engine.memory_bytes = Some(1);
    assert_eq!(other.digest(), HUNT_DIGEST);
}

fn distinct(within_ppm: u32) -> Aggregate {
    Aggregate::Distinct {
        field: 3,
        within_ppm,
    }
}

fn quantile(q_ppm: u32, within_ppm: u32) -> Aggregate {
    Aggregate::Quantile {
        field: 3,
        q_ppm,
        within_ppm,
    }
}

fn hopping(size_ms: i64, hop_ms: i64) -> WindowKind {
    WindowKind::Hopping { size_ms, hop_ms }
}

fn cumulative(size_ms: i64, step_ms: i64) -> WindowKind {
    WindowKind::Cumulative { size_ms, step_ms }
}

fn calendar(unit: CalendarUnit, zone: &str) -> WindowKind {
    let zone = zone.to_owned();
    WindowKind::Calendar { unit, zone }
}

#[test]
fn digests_cover_every_setting() {
    let changes: [fn(&mut Pipeline); 39] = [
        |p| p.streams[0].name = "other".into(),
        |p| p.streams[0].key = 2,
        |p| p.streams[0].time.field = 2,
        |p| p.streams[0].time.disorder_ms = 1,
        |p| p.streams[0].time.max_future_ms = 1,
        |p| p.streams[0].time.idle_ms = 1,
        |p| p.streams[0].durability = Durability::Memory,
        |p| p.streams[0].durability = Durability::Interval { ms: 1 },
        |p| p.views[0].name = "other".into(),
        |p| p.views[0].group = vec![6],
        |p| p.views[0].window.kind = WindowKind::Tumbling { size_ms: 1 },
        |p| p.views[0].window.kind = hopping(2, 1),
        |p| p.views[0].window.kind = hopping(2, 2),
        |p| p.views[0].window.kind = hopping(4, 2),
        |p| p.views[0].window.kind = cumulative(2, 1),
        |p| p.views[0].window.kind = cumulative(4, 2),
        |p| p.views[0].window.kind = calendar(CalendarUnit::Day, "UTC"),
        |p| p.views[0].window.kind = calendar(CalendarUnit::Week, "UTC"),
        |p| p.views[0].window.kind = calendar(CalendarUnit::Day, "Europe/Berlin"),
        |p| p.views[0].window.kind = WindowKind::Session { gap_ms: 1 },
        |p| p.views[0].window.kind = WindowKind::Session { gap_ms: 2 },
        |p| p.views[0].window.kind = WindowKind::Last { count: 1 },
        |p| p.views[0].window.kind = WindowKind::Last { count: 2 },
        |p| p.views[0].window.late_ms = 1,
        |p| p.views[0].window.keep_ms = 1,
        |p| p.views[0].window.after = After::Amend,
        |p| p.views[0].columns[0].name = "other".into(),
        |p| p.views[0].columns[1].aggregate = Aggregate::Max(3),
        |p| p.views[0].columns[1].aggregate = Aggregate::Top { field: 3, k: 1 },
        |p| p.views[0].columns[1].aggregate = Aggregate::Top { field: 3, k: 2 },
        |p| p.views[0].columns[1].aggregate = distinct(5_000),
        |p| p.views[0].columns[1].aggregate = distinct(6_000),
        |p| p.views[0].columns[1].aggregate = quantile(0, 5_000),
        |p| p.views[0].columns[1].aggregate = quantile(1, 5_000),
        |p| p.views[0].columns[1].aggregate = quantile(1, 6_000),
        |p| p.boards[0].name = "other".into(),
        |p| p.boards[0].member = 4,
        |p| {
            p.boards[0].scores[0] = Score {
                rule: ScoreRule::Best,
                ..p.boards[0].scores[0]
            }
        },
        |p| p.boards[0].scores[0].descending = false,
    ];
    let mut digests = std::collections::HashSet::from([HUNT_DIGEST]);
    for (index, change) in changes.into_iter().enumerate() {
        let mut pipeline = load("treasure_hunt");
        change(&mut pipeline);
        assert!(digests.insert(pipeline.digest()), "change {index}");
    }
    assert!(digests.insert(load("flights").digest()));
}

const HUNT_DIGEST: u128 = 0x5a17_240b_9694_1bb5_e289_1872_1430_4f29;
