//! Random pipelines and random events.

use super::computed::Growing;
use super::damage::damage;
use super::random::Random;
use super::repeating::{ID_FIELDS, random_dedupe, random_id};
use ringmill_shard::limits::SCORES_MAX;
use ringmill_shard::oracle::{Datum, Event};
use ringmill_shard::pipeline::{
    After, Aggregate, Board, CalendarUnit, Column, Durability, EngineSection, Pipeline, Retract,
    Score, ScoreRule, Season, Stream, Ties, TimeRule, View, Window, WindowKind,
};
use ringmill_shard::reject::RejectReason;
use ringmill_shard::schema::{FieldSpec, FieldType, Limits, Schema};
use ringmill_shard::value::Value;

pub(crate) fn stream(
    name: &str,
    key: usize,
    time: TimeRule,
    fields: &[(FieldType, bool)],
) -> Stream {
    let spec = |(index, &(kind, optional)): (usize, &(FieldType, bool))| FieldSpec {
        id: index as u16 + 1,
        name: format!("f{index}"),
        kind,
        optional,
    };
    let schema = Schema::new(fields.iter().enumerate().map(spec).collect()).unwrap();
    Stream {
        name: name.into(),
        key,
        time,
        durability: Durability::Commit,
        dedupe: None,
        schema,
        former: Vec::new(),
        computed: Vec::new(),
    }
}

pub(crate) fn pipeline(streams: Vec<Stream>, views: Vec<View>, boards: Vec<Board>) -> Pipeline {
    Pipeline {
        engine: EngineSection::default(),
        streams,
        views,
        boards,
    }
}

pub(crate) fn board(
    name: &str,
    member: usize,
    rule: ScoreRule,
    field: Option<usize>,
    desc: bool,
) -> Board {
    let score = Score {
        rule,
        field,
        descending: desc,
    };
    Board {
        name: name.into(),
        stream: 0,
        filter: None,
        member,
        scores: vec![score],
        ties: Ties::default(),
        rank: Ties::default().usual_rank(),
        season: None,
        split: Vec::new(),
        splits: 100,
        with: Vec::new(),
        retract: Retract::Refuse,
    }
}

const KINDS: [FieldType; 8] = [
    FieldType::U64,
    FieldType::I64,
    FieldType::F64,
    FieldType::Bool,
    FieldType::Time,
    FieldType::Uuid,
    FieldType::Text(7),
    FieldType::Text(20),
];

/// A field of every random stream that is an f64.
const FLOAT_FIELD: usize = 3;

fn random_stream(random: &mut Random, index: usize) -> Stream {
    let mut fields = vec![(FieldType::Time, false)];
    for kind in KINDS {
        fields.push((kind, random.chance(40)));
    }
    for _ in 0..random.below(4) {
        fields.push((*random.pick(&KINDS), random.chance(40)));
    }
    let keys: Vec<usize> = (1..fields.len())
        .filter(|&f| fields[f].0 != FieldType::F64)
        .collect();
    let first_id = fields.len();
    fields.extend(ID_FIELDS);
    let time = TimeRule {
        field: 0,
        disorder_ms: *random.pick(&[0, 0, 40, 300]),
        max_future_ms: *random.pick(&[0, 100, 10_000]),
        idle_ms: 5_000,
    };
    let mut stream = stream(&format!("s{index}"), *random.pick(&keys), time, &fields);
    random_dedupe(random, &mut stream, first_id);
    if random.chance(30) {
        // Of the i64 of every random stream.
        let (min, max) = (Value::I64(-6), random.chance(50).then_some(Value::I64(9)));
        let limits = Limits::of(FieldType::I64, Some(min), max).unwrap();
        stream.schema.limit(2, limits);
    }
    stream
}

fn is_number(kind: FieldType) -> bool {
    matches!(kind, FieldType::U64 | FieldType::I64 | FieldType::F64)
}

fn random_view(random: &mut Random, streams: &mut [Growing], index: usize) -> View {
    let stream = random.below(streams.len() as u64) as usize;
    let growing = &mut streams[stream];
    let filter = growing.filter(random);
    let places = growing.places();
    let kind = |place: usize| growing.stream.column(place).kind;
    let groupable: Vec<usize> = places
        .iter()
        .copied()
        .filter(|&place| place != 0 && kind(place) != FieldType::F64)
        .collect();
    let mut group: Vec<usize> = (0..random.below(3))
        .map(|_| *random.pick(&groupable))
        .collect();
    group.dedup();
    let window = random_window(random);
    if window.kind.is_of_key() && !group.contains(&growing.stream.key) {
        group.push(growing.stream.key);
    }
    let mut columns = vec![Aggregate::Count];
    for &place in &places {
        let kind = kind(place);
        columns.extend(random_sketch(random, place, kind));
        if is_number(kind) {
            columns.extend([Aggregate::Sum(place), Aggregate::Avg(place)]);
        }
        if is_number(kind) || kind == FieldType::Time {
            columns.extend([Aggregate::Min(place), Aggregate::Max(place)]);
        }
    }
    let integer = *random.pick(&[FieldType::U64, FieldType::I64]);
    columns.push(Aggregate::Sum(growing.add(random, integer, None, 2)));
    columns.push(Aggregate::Max(growing.add(random, FieldType::F64, None, 2)));
    let quarters = growing.add_quarters(random, FLOAT_FIELD);
    columns.push(Aggregate::Avg(quarters));
    let retract = match random_retract(random) {
        Retract::Exact if window.kind.is_of_key() => Retract::Ignore,
        retract => retract,
    };
    if retract == Retract::Exact {
        columns.retain(|column| can_retract(*column));
    }
    let name = |(index, aggregate): (usize, Aggregate)| Column {
        name: format!("c{index}"),
        aggregate,
    };
    View {
        name: format!("v{index}"),
        stream,
        filter,
        group,
        window,
        columns: columns.into_iter().enumerate().map(name).collect(),
        retract,
    }
}

fn random_retract(random: &mut Random) -> Retract {
    match random.below(30) {
        0 => Retract::Refuse,
        1..=10 => Retract::Ignore,
        _ => Retract::Exact,
    }
}

fn can_retract(aggregate: Aggregate) -> bool {
    matches!(
        aggregate,
        Aggregate::Count | Aggregate::Sum(_) | Aggregate::Avg(_) | Aggregate::Quantile { .. }
    )
}

fn random_window(random: &mut Random) -> Window {
    let kind = match random.below(9) {
        6 | 7 => WindowKind::Session {
            gap_ms: *random.pick(&[1, 15, 100, 700, 60_000]),
        },
        8 => WindowKind::Last {
            count: *random.pick(&[1, 2, 5, 40]) as u32,
        },
        0 | 1 => WindowKind::Tumbling {
            size_ms: *random.pick(&[7, 100, 1_000, 60_000]),
        },
        2 | 3 => {
            // Hops that divide the size, that do not, and that are the size.
            let lengths = [
                (100, 50),
                (100, 30),
                (7, 3),
                (1_000, 250),
                (600, 600),
                (90, 1),
            ];
            let (size_ms, hop_ms) = *random.pick(&lengths);
            WindowKind::Hopping { size_ms, hop_ms }
        }
        4 => {
            let (size_ms, step_ms) = *random.pick(&[(100, 50), (21, 7), (60_000, 10_000), (9, 9)]);
            WindowKind::Cumulative { size_ms, step_ms }
        }
        _ => WindowKind::Calendar {
            unit: *random.pick(&CalendarUnit::ALL),
            zone: (*random.pick(&[
                "UTC",
                "Europe/Berlin",
                "Asia/Kolkata",
                "Australia/Lord_Howe",
            ]))
            .to_owned(),
        },
    };
    let closes = !matches!(kind, WindowKind::Last { .. });
    Window {
        kind,
        late_ms: *random.pick(&[0, 0, 30, 500]) * i64::from(closes),
        keep_ms: *random.pick(&[0, 200, 5_000, 86_400_000]),
        after: *random.pick(&[After::Drop, After::Amend]),
    }
}

fn random_sketch(random: &mut Random, field: usize, kind: FieldType) -> Option<Aggregate> {
    let within_ppm = *random.pick(&[10_000, 50_000, 100_000]);
    let q_ppm = *random.pick(&[0, 10_000, 500_000, 990_000, 1_000_000]);
    let k = *random.pick(&[1, 3, 20]);
    let sketch = match random.below(7) {
        0 => Aggregate::First(field),
        1 => Aggregate::Last(field),
        2 => Aggregate::Distinct { field, within_ppm },
        3 if is_number(kind) => Aggregate::Quantile {
            field,
            q_ppm,
            within_ppm,
        },
        4 => Aggregate::Top { field, k },
        _ => return None,
    };
    Some(sketch)
}

fn random_board(random: &mut Random, streams: &mut [Growing], index: usize) -> Board {
    let stream = random.below(streams.len() as u64) as usize;
    let growing = &mut streams[stream];
    let filter = growing.filter(random);
    let fields = &growing.stream.schema.fields;
    let members: Vec<usize> = (1..fields.len())
        .filter(|&f| fields[f].kind != FieldType::F64)
        .collect();
    let member = if random.chance(50) {
        growing.stream.key
    } else {
        *random.pick(&members)
    };
    let columns = *random.pick(&[1, 1, 2, 3, 4]);
    let scores = (0..columns).map(|_| random_score(random, growing));
    let mut scores: Vec<Score> = scores.collect();
    while scores.iter().map(|score| score.rule.words()).sum::<usize>() > SCORES_MAX {
        scores.pop();
    }
    let split = match random.chance(40) {
        true => random_columns(random, growing, 2, |kind| kind != FieldType::F64),
        false => Vec::new(),
    };
    let with = match random.chance(40) {
        true => random_columns(random, growing, 3, |_| true),
        false => Vec::new(),
    };
    let ties = *random.pick(&Ties::ALL);
    let can = |score: &Score| score.rule == ScoreRule::Sum && with.is_empty();
    let retract = match random_retract(random) {
        Retract::Exact if !scores.iter().all(can) => Retract::Ignore,
        retract => retract,
    };
    Board {
        name: format!("b{index}"),
        stream,
        filter,
        member,
        scores,
        ties,
        rank: ties.usual_rank(),
        season: random.chance(50).then(|| random_season(random)),
        split,
        splits: 10_000,
        with,
        retract,
    }
}

/// Up to `most` different columns of types that fit.
fn random_columns(
    random: &mut Random,
    growing: &mut Growing,
    most: u64,
    fits: impl Fn(FieldType) -> bool,
) -> Vec<usize> {
    let fitting = growing.places().into_iter();
    let fitting = fitting.filter(|&place| fits(growing.stream.column(place).kind));
    let fitting: Vec<usize> = fitting.collect();
    let mut columns = Vec::new();
    for _ in 0..1 + random.below(most) {
        let column = *random.pick(&fitting);
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    columns
}

fn random_season(random: &mut Random) -> Season {
    let every = match random.below(8) {
        0 => WindowKind::Calendar {
            unit: *random.pick(&[CalendarUnit::Hour, CalendarUnit::Day]),
            zone: (*random.pick(&["Europe/Berlin", "Asia/Kolkata"])).into(),
        },
        _ => WindowKind::Tumbling {
            size_ms: *random.pick(&[50, 400, 1_000, 60_000]),
        },
    };
    Season {
        every,
        grace_ms: *random.pick(&[0, 0, 30, 900]),
        keep: *random.pick(&[0, 1, 3, 40]),
    }
}

fn random_score(random: &mut Random, growing: &mut Growing) -> Score {
    let rule = *random.pick(&[
        ScoreRule::Sum,
        ScoreRule::Sum,
        ScoreRule::Best,
        ScoreRule::Latest,
        ScoreRule::MeanBest { n: 1 },
        ScoreRule::MeanBest { n: 3 },
    ]);
    let count = rule == ScoreRule::Sum && random.chance(20);
    Score {
        rule,
        field: (!count).then(|| random_scored(random, growing, rule)),
        descending: random.chance(60),
    }
}

/// A column that a score of this rule may read: one of the stream, or one of its own.
fn random_scored(random: &mut Random, growing: &mut Growing, rule: ScoreRule) -> usize {
    let sums = matches!(rule, ScoreRule::Sum | ScoreRule::MeanBest { .. });
    if random.chance(40) {
        let kinds = [
            FieldType::U64,
            FieldType::I64,
            FieldType::F64,
            FieldType::Time,
        ];
        return match *random.pick(&kinds) {
            FieldType::F64 if sums => growing.add_quarters(random, FLOAT_FIELD),
            FieldType::Time if sums => growing.add(random, FieldType::I64, None, 2),
            kind => growing.add(random, kind, None, 2),
        };
    }
    let fits = |&place: &usize| {
        let kind = growing.stream.column(place).kind;
        let exact = kind != FieldType::F64 || !growing.stream.is_computed(place);
        is_number(kind) && (exact || !sums) || kind == FieldType::Time && !sums
    };
    let scores: Vec<usize> = growing.places().into_iter().filter(fits).collect();
    *random.pick(&scores)
}

pub(crate) fn random_pipeline(random: &mut Random) -> Pipeline {
    let count = 1 + random.below(2) as usize;
    let mut streams = Vec::new();
    for index in 0..count {
        let stream = random_stream(random, index);
        streams.push(Growing::new(random, stream));
    }
    let views = (0..1 + random.below(3)).map(|i| random_view(random, &mut streams, i as usize));
    let views: Vec<_> = views.collect();
    let boards = (0..2 + random.below(4)).map(|i| random_board(random, &mut streams, i as usize));
    let boards: Vec<_> = boards.collect();
    let streams = streams.into_iter().map(|growing| growing.stream).collect();
    pipeline(streams, views, boards)
}

fn random_datum(random: &mut Random, kind: FieldType, keys: u64) -> Datum {
    let small = random.below(keys);
    match kind {
        FieldType::U64 if random.chance(3) => Datum::U64(u64::MAX - small),
        FieldType::U64 => Datum::U64(small),
        FieldType::I64 if random.chance(2) => Datum::I64(i64::MAX - small as i64),
        FieldType::I64 if random.chance(2) => Datum::I64(i64::MIN + small as i64),
        FieldType::I64 => Datum::I64(small as i64 - keys as i64 / 2),
        // Sums of such numbers are exact in any order; order is tested elsewhere.
        FieldType::F64 => Datum::F64((small as f64 - keys as f64 / 2.0) * 0.25),
        FieldType::Bool => Datum::Bool(small.is_multiple_of(2)),
        FieldType::Time => Datum::Time(small as i64 * 977 - 3_000),
        FieldType::Uuid => {
            let mut bytes = [7; 16];
            bytes[3] = small as u8;
            Datum::Uuid(bytes)
        }
        FieldType::Text(capacity) => {
            let text = [
                "",
                "a",
                "b",
                "ab",
                "\u{e9}",
                "abc",
                "lighthouse",
                "lighthous",
                "lighthouse 2",
                "a b c d e f g h i j",
            ];
            let fitting: Vec<_> = text
                .into_iter()
                .filter(|text| text.len() <= usize::from(capacity))
                .collect();
            Datum::Text(fitting[small as usize % fitting.len()].into())
        }
    }
}

/// A random event around `time_ms`, sometimes a bad one.
pub(crate) fn random_event(random: &mut Random, stream: &Stream, time_ms: i64, keys: u64) -> Event {
    let schema = &stream.schema;
    let mut row = vec![0; schema.row_len()];
    let mut data = Vec::new();
    for (index, field) in schema.fields.iter().enumerate() {
        let id = stream
            .dedupe
            .as_ref()
            .filter(|rule| field.kind == FieldType::U64 && rule.by.contains(&index));
        let datum = if index == stream.time.field {
            Datum::Time(time_ms)
        } else if let Some(rule) = id {
            random_id(random, rule, time_ms, keys)
        } else if field.optional && random.chance(15) {
            Datum::Null
        } else {
            random_datum(random, field.kind, keys)
        };
        schema.set(&mut row, index, &datum.value()).unwrap();
        data.push(datum);
    }
    let beyond = |(index, datum): (usize, &Datum)| {
        let limits = schema.limits(index);
        limits.is_some_and(|limits| !limits.hold(&datum.value()))
    };
    let mut bad = None;
    if data.iter().enumerate().any(beyond) {
        bad = Some(RejectReason::OutOfRange);
    } else if random.chance(4) {
        bad = damage(random, stream, &mut row, &data);
    }
    Event { data, row, bad }
}
