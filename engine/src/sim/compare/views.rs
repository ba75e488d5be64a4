//! The rows of a view, and the events that it came too late for.

use std::collections::BTreeMap;

use ringmill_shard::limits::{SIDE_EVENTS_MAX, TOP_MAX};
use ringmill_shard::oracle::expected::Expected;
use ringmill_shard::oracle::rows::{Missed, ViewTruth};
use ringmill_shard::oracle::{Oracle, Row};
use ringmill_shard::pipeline::View;
use ringmill_shard::window::LateReason;
use serde_json::{Map, Value, json};

use super::{Difference, ask, columns, same};
use crate::stage::Stage;

/// What every row has beside groups and columns; it hides what has the same name.
const OWN: [&str; 4] = ["start_ms", "end_ms", "state", "revision"];

pub(super) async fn compare(
    stage: &mut Stage,
    oracle: &Oracle<'_>,
    view: &View,
    one_layout: bool,
) -> Result<u64, Difference> {
    let truth = oracle.view(view);
    let found = rows(stage, &view.name).await?;
    let equal = compare_rows(oracle, view, &truth.rows, &found)?;
    compare_late(stage, view, &truth, one_layout).await?;
    Ok(equal)
}

/// All rows, page by page.
async fn rows(stage: &mut Stage, view: &str) -> Result<Vec<Value>, Difference> {
    let (mut rows, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/views/{view}?limit={TOP_MAX}{after}");
        let mut answer = ask(stage, &path).await?;
        if let Value::Array(page) = answer["rows"].take() {
            rows.extend(page);
        }
        match answer["next"].as_str() {
            None => return Ok(rows),
            Some(next) => after = format!("&after={next}"),
        }
    }
}

fn compare_rows(
    oracle: &Oracle<'_>,
    view: &View,
    expected: &[Row<Expected>],
    found: &[Value],
) -> Result<u64, Difference> {
    let bounds = |row: &Value| (row["start_ms"].as_i64(), row["end_ms"].as_i64());
    if !found.is_sorted_by_key(bounds) {
        let at = format!("rows of view {}", view.name);
        return Err(Difference::new(at, "by start and end", "another order"));
    }
    let groups = visible_groups(oracle, view);
    let mut left: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for row in found {
        let group: Vec<&Value> = groups.iter().map(|(_, name)| &row[*name]).collect();
        let (start, end) = (&row["start_ms"], &row["end_ms"]);
        let key = json!([start, end, group]).to_string();
        left.entry(key).or_default().push(row);
    }
    for row in expected {
        let group = groups
            .iter()
            .map(|(at, _)| row.group[*at].value().to_json());
        let group: Vec<Value> = group.collect();
        let key = json!([row.start_ms, row.end_ms, group]).to_string();
        let at = || {
            let (start, end) = (row.start_ms, row.end_ms);
            let groups: Map<String, Value> = groups
                .iter()
                .zip(&group)
                .map(|((_, name), value)| ((*name).to_owned(), value.clone()))
                .collect();
            let groups = Value::Object(groups);
            format!("view {}, window {start}..{end} of {groups}", view.name)
        };
        let candidates = left.entry(key).or_default();
        let differences: Vec<Option<Difference>> = candidates
            .iter()
            .map(|found| compare_row(oracle, view, row, found, &at).err())
            .collect();
        // More than one only where a column hides a group.
        match differences.iter().position(Option::is_none) {
            Some(equal) => drop(candidates.swap_remove(equal)),
            None => {
                let missing = || Difference::new(at(), expected_row(view, row), "no such row");
                let first = differences.into_iter().flatten().next();
                return Err(first.unwrap_or_else(missing));
            }
        }
    }
    match left.values().flatten().next() {
        None => Ok(expected.len() as u64),
        Some(row) => {
            let at = format!("rows of view {}", view.name);
            Err(Difference::new(at, "no such row", row))
        }
    }
}

/// The groups that no column and no member of every row hides: position and name.
fn visible_groups<'a>(oracle: &Oracle<'a>, view: &View) -> Vec<(usize, &'a str)> {
    let pipeline: &'a _ = oracle.pipeline;
    let stream = &pipeline.streams[view.stream];
    let names = view.group.iter().map(|&column| stream.column(column).name);
    let hidden =
        |name: &str| OWN.contains(&name) || view.columns.iter().any(|column| column.name == name);
    let named = names.enumerate().filter(|(_, name)| !hidden(name));
    named.collect()
}

fn expected_row(view: &View, row: &Row<Expected>) -> Value {
    let columns = view.columns.iter().zip(&row.values);
    let columns = columns.map(|(column, value)| (column.name.clone(), columns::describe(value)));
    let mut shown: Map<String, Value> = columns.collect();
    shown.insert("state".to_owned(), row.state.name().into());
    shown.insert("revision".to_owned(), row.revision.into());
    shown.into()
}

fn compare_row(
    oracle: &Oracle<'_>,
    view: &View,
    row: &Row<Expected>,
    found: &Value,
    at: &dyn Fn() -> String,
) -> Result<(), Difference> {
    let stream = &oracle.pipeline.streams[view.stream];
    for (column, expected) in view.columns.iter().zip(&row.values) {
        let field = column.aggregate.field();
        let kind = field.map(|field| stream.column(field).kind);
        let shown = &found[&column.name];
        if !OWN.contains(&&*column.name) && !columns::says(shown, expected, kind) {
            let at = format!("{}: column {}", at(), column.name);
            return Err(Difference::new(at, columns::describe(expected), shown));
        }
    }
    let state = [
        ("state", json!(row.state.name())),
        ("revision", json!(row.revision)),
    ];
    for (name, expected) in &state {
        same(|| format!("{}: {name}", at()), expected, &found[name])?;
    }
    Ok(())
}

/// The late events that are kept, as long as none had to go.
async fn compare_late(
    stage: &mut Stage,
    view: &View,
    truth: &ViewTruth,
    one_layout: bool,
) -> Result<(), Difference> {
    if truth.missed.len() > SIDE_EVENTS_MAX {
        return Ok(());
    }
    let path = format!("/v1/views/{}/late?limit={SIDE_EVENTS_MAX}", view.name);
    let answer = ask(stage, &path).await?;
    let found = answer["rows"].as_array().into_iter().flatten();
    let mut found: Vec<Value> = found.map(|row| late_of(row, one_layout)).collect();
    let mut expected: Vec<Value> = truth
        .missed
        .iter()
        .map(|missed| missed_json(missed, one_layout))
        .collect();
    found.sort_by_key(Value::to_string);
    expected.sort_by_key(Value::to_string);
    let one_less = |some: &[Value], other: &[Value]| {
        let missing = some.iter().find(|one| !other.contains(one));
        missing.map_or("no such event".to_owned(), Value::to_string)
    };
    if found == expected {
        return Ok(());
    }
    let at = format!("late events of view {}", view.name);
    let (more, less) = (one_less(&found, &expected), one_less(&expected, &found));
    Err(Difference::new(at, less, more))
}

/// Which clock closed a window is told from one log; several cores need not agree on it.
fn reason(name: &str, one_layout: bool) -> &str {
    let either = name == LateReason::AfterIdle.name();
    match one_layout || !either {
        true => name,
        false => LateReason::Late.name(),
    }
}

fn late_of(row: &Value, one_layout: bool) -> Value {
    let mut event = Map::new();
    for name in ["log_stream", "lsn", "index", "windows", "first", "last"] {
        event.insert(name.to_owned(), row[name].clone());
    }
    let name = row["reason"].as_str().unwrap_or_default();
    event.insert("reason".to_owned(), reason(name, one_layout).into());
    event.into()
}

fn missed_json(missed: &Missed, one_layout: bool) -> Value {
    let bounds = |(start_ms, end_ms)| json!({ "start_ms": start_ms, "end_ms": end_ms });
    json!({
        "log_stream": missed.tie.log_stream,
        "lsn": missed.lsn,
        "index": missed.tie.index,
        "windows": missed.windows.len(),
        "first": bounds(missed.windows[0]),
        "last": bounds(missed.windows[missed.windows.len() - 1]),
        "reason": reason(missed.reason.name(), one_layout),
    })
}
