//! The places of a board in each of its seasons, read in every way that there is.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::Request;
use ringmill_shard::limits::TOP_MAX;
use ringmill_shard::merge::RankNumber;
use ringmill_shard::oracle::boards::{Place, SeasonTruth, SplitTruth, is_final, numbers};
use ringmill_shard::oracle::windows::windows_of;
use ringmill_shard::oracle::{Datum, Oracle};
use ringmill_shard::pipeline::{Board, Season};
use serde_json::{Map, Value, json};

use super::{Difference, ask, ask_with, same, segment};
use crate::http::answers::scalar;
use crate::stage::Stage;

/// Members that are looked at one by one.
const MEMBERS: usize = 6;
/// Rows around each of them.
const AROUND: usize = 5;
/// Splits that are looked at.
const SPLITS: usize = 12;

pub(super) async fn compare(
    stage: &mut Stage,
    oracle: &Oracle<'_>,
    board: &Board,
) -> Result<u64, Difference> {
    let watermark_ms = oracle.watermarks_ms[board.stream];
    let (seasons, late) = oracle.board(board, watermark_ms);
    let mut equal = 0;
    for season in &seasons {
        equal += compare_season(stage, oracle, board, season).await?;
    }
    if let Some(season) = &board.season {
        let of = |core: &crate::simulated::SimulatedCore| core.state().watermark_ms(board.stream);
        let cores = stage.engine().cores.iter();
        // Where nothing waits for event time, cores need not agree on it.
        if cores.map(of).all(|of_core| of_core == watermark_ms) {
            compare_list(stage, board, season, &seasons, watermark_ms).await?;
        }
    }
    let counted = late_counter(stage, board);
    let at = || format!("late events of board {}", board.name);
    same(at, &json!(late), &json!(counted))?;
    Ok(equal)
}

fn late_counter(stage: &Stage, board: &Board) -> u64 {
    let cores = stage.engine().cores.iter();
    let of = |core: &crate::simulated::SimulatedCore| {
        let counters = core.state().counters();
        let names = core.state().pipeline().board(&board.name);
        names.map_or(0, |index| counters.boards[index].late)
    };
    cores.map(of).sum()
}

/// The rows of a season or a split of it, as they must be shown.
fn rows(oracle: &Oracle<'_>, board: &Board, places: &[Place]) -> Vec<Value> {
    let numbers = numbers(places, board.rank);
    let row = |(place, number): (&Place, RankNumber)| {
        let scores = place.scores();
        let mut row = json!({
            "member": place.member.value().to_json(),
            "score": match &scores[..] {
                [score] => scalar(score),
                scores => scores.iter().map(scalar).collect(),
            },
            "rank": number_json(number),
        });
        if !board.with.is_empty() {
            row["with"] = named(oracle, board, &board.with, &place.note);
        }
        row
    };
    places.iter().zip(numbers).map(row).collect()
}

/// Values of columns by their names.
fn named(oracle: &Oracle<'_>, board: &Board, columns: &[usize], values: &[Datum]) -> Value {
    let stream = &oracle.pipeline.streams[board.stream];
    let columns = columns.iter().zip(values);
    let columns = columns.map(|(&column, value)| {
        (
            stream.column(column).name.to_owned(),
            value.value().to_json(),
        )
    });
    columns.collect::<Map<_, _>>().into()
}

fn number_json(number: RankNumber) -> Value {
    match number {
        RankNumber::Place(place) => place.into(),
        RankNumber::Percent(percent) => percent.into(),
    }
}

/// A season as a whole, and each of its splits.
async fn compare_season(
    stage: &mut Stage,
    oracle: &Oracle<'_>,
    board: &Board,
    season: &SeasonTruth,
) -> Result<u64, Difference> {
    let of_season = season
        .span
        .map(|(start_ms, _)| format!("season={start_ms}"));
    let mut equal =
        compare_part(stage, oracle, board, of_season.as_slice(), &season.places).await?;
    if board.split.is_empty() {
        return Ok(equal);
    }
    let refused = compare_splits(stage, oracle, board, season, of_season.as_slice()).await?;
    // What a shard had no room for counts on the whole alone.
    let splits = season.splits.iter().take(if refused { 0 } else { SPLITS });
    for split in splits {
        let values = named(oracle, board, &board.split, &split.values);
        let values = values.as_object().into_iter().flatten();
        let values = values.map(|(name, value)| format!("{name}={}", segment(value)));
        let part: Vec<String> = of_season.iter().cloned().chain(values).collect();
        equal += compare_part(stage, oracle, board, &part, &split.places).await?;
    }
    Ok(equal)
}

/// The list of splits; returns whether some shard had too many of them.
async fn compare_splits(
    stage: &mut Stage,
    oracle: &Oracle<'_>,
    board: &Board,
    season: &SeasonTruth,
    of_season: &[String],
) -> Result<bool, Difference> {
    let query = [of_season, &["n=10000".to_owned()]].concat().join("&");
    let path = format!("/v1/boards/{}/splits?{query}", board.name);
    let answer = ask(stage, &path).await?;
    if answer["refused"] != 0 {
        return Ok(true);
    }
    let row = |split: &SplitTruth| {
        let values = named(oracle, board, &board.split, &split.values);
        json!({ "split": values, "members": split.places.len() })
    };
    let sorted = |mut rows: Vec<Value>| {
        rows.sort_by_key(Value::to_string);
        Value::from(rows)
    };
    let expected = sorted(season.splits.iter().map(row).collect());
    let found = sorted(answer["rows"].as_array().cloned().unwrap_or_default());
    same(|| path.clone(), &expected, &found)?;
    Ok(false)
}

/// A season or a split of it, named by `part`.
async fn compare_part(
    stage: &mut Stage,
    oracle: &Oracle<'_>,
    board: &Board,
    part: &[String],
    places: &[Place],
) -> Result<u64, Difference> {
    let expected = rows(oracle, board, places);
    let of_season = part.join("&");
    let path = format!("/v1/boards/{}/top?n={TOP_MAX}&{of_season}", board.name);
    let path = path.trim_end_matches('&');
    let answer = ask(stage, path).await?;
    let all = Value::from(expected.clone());
    let found = &answer["rows"];
    if all != *found {
        let found = found.as_array().map_or(&[][..], Vec::as_slice);
        let longest = expected.len().max(found.len());
        let none = Value::from("no such row");
        for place in 0..longest {
            let at = || format!("{path}, place {}", place + 1);
            let of = |rows: &[Value]| rows.get(place).unwrap_or(&none).clone();
            same(at, &of(&expected), &of(found))?;
        }
    }
    same(
        || format!("members of {path}"),
        &json!(expected.len()),
        &answer["members"],
    )?;
    let of_season = match of_season.is_empty() {
        true => String::new(),
        false => format!("?{of_season}"),
    };
    let step = expected.len().div_ceil(MEMBERS).max(1);
    let last = expected.len().checked_sub(1);
    let chosen: BTreeSet<usize> = (0..expected.len()).step_by(step).chain(last).collect();
    for place in chosen {
        compare_member(stage, board, &expected, place, &of_season).await?;
    }
    compare_among(stage, board, places, &expected, &of_season).await?;
    Ok(expected.len() as u64)
}

/// A member's rank, and who stands around it.
async fn compare_member(
    stage: &mut Stage,
    board: &Board,
    expected: &[Value],
    place: usize,
    of_season: &str,
) -> Result<(), Difference> {
    let row = &expected[place];
    let member = segment(&row["member"]);
    // A path has no empty segment.
    if member.is_empty() {
        return Ok(());
    }
    let path = format!("/v1/boards/{}/rank/{member}{of_season}", board.name);
    let answer = ask(stage, &path).await?;
    for name in ["member", "score", "rank", "with"] {
        same(|| format!("`{name}` of {path}"), &row[name], &answer[name])?;
    }
    let mark = if of_season.is_empty() { '?' } else { '&' };
    let around = format!("/v1/boards/{}/around/{member}{of_season}", board.name);
    let path = format!("{around}{mark}n={AROUND}");
    let answer = ask(stage, &path).await?;
    let rows = AROUND.min(expected.len());
    let first = place.saturating_sub(AROUND / 2).min(expected.len() - rows);
    let page = Value::from(expected[first..first + rows].to_vec());
    same(|| path.clone(), &page, &answer["rows"])?;
    same(
        || format!("`offset` of {path}"),
        &json!(first),
        &answer["offset"],
    )
}

/// Every third member among each other.
async fn compare_among(
    stage: &mut Stage,
    board: &Board,
    all: &[Place],
    expected: &[Value],
    of_season: &str,
) -> Result<(), Difference> {
    let places: Vec<usize> = (0..expected.len()).step_by(3).take(300).collect();
    let asked: Vec<Place> = places.iter().map(|&at| all[at].clone()).collect();
    let mut members: Vec<&Value> = places.iter().map(|&at| &expected[at]["member"]).collect();
    members.reverse();
    let path = format!("/v1/boards/{}/among{of_season}", board.name);
    let body = Body::from(json!(members).to_string());
    let answer = ask_with(stage, &path, Request::post(&path).body(body)).await?;
    let among = numbers(&asked, board.rank).into_iter().map(number_json);
    let rows = places.iter().zip(among).map(|(&at, among)| {
        let mut row = expected[at].clone();
        row["among"] = among;
        row
    });
    same(|| path.clone(), &rows.collect(), &answer["rows"])
}

/// Which seasons there are, and how far each is.
async fn compare_list(
    stage: &mut Stage,
    board: &Board,
    season: &Season,
    truth: &[SeasonTruth],
    watermark_ms: i64,
) -> Result<(), Difference> {
    let path = format!("/v1/boards/{}/seasons", board.name);
    let answer = ask(stage, &path).await?;
    let begun = watermark_ms != i64::MIN;
    let current = begun.then(|| windows_of(&season.every, watermark_ms)[0]);
    let held = truth.iter().filter_map(|season| {
        let members = season.places.len();
        Some((season.span.filter(|_| members > 0)?, members))
    });
    let mut rows: Vec<((i64, i64), usize)> = held.collect();
    if let Some(current) = current.filter(|span| rows.iter().all(|(held, _)| held != span)) {
        rows.push((current, 0));
    }
    rows.sort_unstable();
    let row = |(span, members): ((i64, i64), usize)| {
        let state = match (is_final(season, span, watermark_ms), span.1 <= watermark_ms) {
            (true, _) => "final",
            (false, true) if begun => "frozen",
            _ => "open",
        };
        json!({
            "start_ms": span.0,
            "end_ms": span.1,
            "state": state,
            "members": members,
            "corrected": 0,
            "current": Some(span) == current,
        })
    };
    let expected: Value = rows.into_iter().map(row).collect();
    same(|| path.clone(), &expected, &answer["rows"])?;
    let reset = json!(current.map(|(_, end_ms)| end_ms));
    same(
        || format!("`next_reset_ms` of {path}"),
        &reset,
        &answer["next_reset_ms"],
    )
}
