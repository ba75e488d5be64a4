//! Which season of a board is read, and the list of those that are kept.

use std::sync::Arc;

use axum::extract::{Path, State, rejection::PathRejection};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use ringmill_shard::limits::SEASONS_MAX;
use ringmill_shard::merge::{SeasonsPage, merge_seasons};
use ringmill_shard::pipeline::Board;
use ringmill_shard::query::{Answer, BoardSeason, Query};
use ringmill_shard::schema::FieldType;
use ringmill_shard::season::{SeasonPlan, SeasonState};
use ringmill_shard::value::Value;
use ringmill_shard::window::grid::Span;
use serde_json::{Value as Json, json};

use super::find;
use super::split::{Split, Wanted};
use crate::http::answers::{ask_all, missing, watermark};
use crate::http::params::Params;
use crate::http::problem::Problem;
use crate::http::{App, path, reply};

/// A board in the season and split that a request means.
pub(super) struct Chosen {
    pub(super) of: BoardSeason,
    season: Option<(Span, SeasonState)>,
    split: Option<Split>,
}

impl Chosen {
    /// The bounds of the season.
    pub(super) fn span(&self) -> Option<Span> {
        self.season.map(|(span, _)| span)
    }

    /// Says which season and split an answer is of, and whether it is final.
    pub(super) fn describe(&self, body: &mut Json, missing_shards: &[usize]) {
        if let Some((span, state)) = self.season {
            body["season"] = span_json(span, state);
            let is_final = state == SeasonState::Final && missing_shards.is_empty();
            body["final"] = is_final.into();
        }
        if let Some(split) = &self.split {
            split.describe(body);
        }
        missing(body, missing_shards);
    }
}

/// The season and split that a request names: the current one and the whole if it names none.
pub(super) async fn choose(
    app: &App,
    index: usize,
    board: &Board,
    wanted: Wanted,
) -> Result<Chosen, Problem> {
    let (mut of, season) = choose_season(app, index, board, wanted.season).await?;
    of.split = wanted.split;
    let split = match wanted.values {
        None => None,
        Some(values) => Some(Split::ask(app, &of, values).await?),
    };
    Ok(Chosen { of, season, split })
}

async fn choose_season(
    app: &App,
    index: usize,
    board: &Board,
    wanted: Option<String>,
) -> Result<(BoardSeason, Option<(Span, SeasonState)>), Problem> {
    let mut of = BoardSeason::current(index as u16);
    let Some(season) = &board.season else {
        return Ok((of, None));
    };
    let plan = SeasonPlan::new(season);
    let (page, _) = ask_seasons(app, index, &plan).await?;
    // Before the first watermark only what is there tells where event time is.
    let newest = || page.seasons.last().map(|season| season.span);
    let current = page.current.or_else(newest);
    let span = match wanted.as_deref() {
        None => current,
        Some(text) => named(&plan, text, current)?,
    };
    let Some(span) = span else {
        // Nothing is anywhere.
        of.season_ms = Some(i64::MIN);
        return Ok((of, None));
    };
    if span.start_ms < page.oldest_ms {
        return Err(not_kept(board, &page));
    }
    of.season_ms = Some(span.start_ms);
    let state = plan.state(span, page.watermark_ms);
    Ok((of, Some((span, state))))
}

/// The season of a time, or so many before the current one.
fn named(plan: &SeasonPlan, text: &str, current: Option<Span>) -> Result<Option<Span>, Problem> {
    let refused = || {
        let detail = format!(
            "`season` is a time of the season, in ms or as RFC 3339, or a number of seasons before \
             the current one, from -1 to -{SEASONS_MAX}; not `{text}`"
        );
        Problem::bad_parameter("season", detail)
    };
    if let Some(back) = text.strip_prefix('-') {
        let back = back.parse::<u32>().ok();
        let back = back.filter(|back| i64::from(*back) <= SEASONS_MAX);
        let back = back.ok_or_else(refused)?;
        let before = |span: Span, _| plan.at(span.start_ms.saturating_sub(1));
        return Ok(current.map(|current| (0..back).fold(current, before)));
    }
    match Value::parse_text(FieldType::Time, text) {
        Ok(Value::Time(time_ms)) => Ok(Some(plan.at(time_ms))),
        _ => Err(refused()),
    }
}

fn not_kept(board: &Board, page: &SeasonsPage) -> Problem {
    let detail = format!(
        "the board `{}` keeps no season that began before {}",
        board.name,
        Value::Time(page.oldest_ms)
    );
    Problem::new(
        StatusCode::NOT_FOUND,
        "unknown-season",
        "The season is not kept",
        detail,
    )
    .with("board", &*board.name)
    .with("oldest_ms", page.oldest_ms)
}

async fn ask_seasons(
    app: &App,
    index: usize,
    plan: &SeasonPlan,
) -> Result<(SeasonsPage, Vec<usize>), Problem> {
    let board = index as u16;
    let answers = ask_all(app, &Query::Seasons { board }, |answer| match answer {
        Answer::Seasons(seasons) => Some(seasons),
        _ => None,
    })
    .await?;
    let seasons: Vec<_> = answers.replies.into_iter().map(|(_, one)| one).collect();
    Ok((merge_seasons(plan, &seasons), answers.missing))
}

pub(in crate::http) async fn get_seasons(
    State(app): State<Arc<App>>,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let (index, board) = find(&app.pipeline, &path(name)?)?;
    let params = Params::read(&uri)?;
    let numbers_as_text = params.numbers_as_text;
    params.finish()?;
    let Some(season) = &board.season else {
        let detail = format!("the board `{}` has no seasons", board.name);
        return Err(Problem::bad_request(detail).with("board", &*board.name));
    };
    let plan = SeasonPlan::new(season);
    let (page, missing_shards) = ask_seasons(&app, index, &plan).await?;
    let rows = page.seasons.iter().map(|season| {
        let mut row = span_json(season.span, season.state);
        row["members"] = season.members.into();
        row["corrected"] = season.corrected.into();
        row["current"] = (Some(season.span) == page.current).into();
        row
    });
    let mut body = json!({
        "board": board.name,
        "rows": rows.collect::<Vec<_>>(),
        "next_reset_ms": page.current.map(|current| current.end_ms),
        "watermark_ms": watermark(page.watermark_ms),
        "shards": app.cores.shards(),
    });
    missing(&mut body, &missing_shards);
    Ok(reply(body, numbers_as_text))
}

fn span_json(span: Span, state: SeasonState) -> Json {
    json!({
        "start_ms": span.start_ms,
        "end_ms": span.end_ms,
        "state": state.name(),
    })
}
