//! Corrections: stored events are taken back, and put back; the list of who did it and why.
//!
//! The control plane finds the events by reading the logs, and every shard then stores and applies
//! its part of the correction as a whole, at one position of its own log. A shard that has it passes
//! it over, so a correction that was cut off is finished by sending it again with its number. One
//! runs at a time.

mod ask;
mod audit;
mod carry;
mod find;
mod preview;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State, rejection::PathRejection};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use ringmill_shard::entry::CorrectionAction;
use ringmill_shard::limits::{CORRECTION_EVENTS_MAX, EARLY_EVENTS_MAX, RETRACTED_EVENTS_MAX};
use ringmill_shard::partition::shard_of;
use ringmill_shard::pipeline::{Pipeline, Retract};
use ringmill_shard::selection::Found;
use serde_json::{Value as Json, json};

use super::ndjson::read_whole;
use super::params::Params;
use super::problem::Problem;
use super::{App, path, reply};
use ask::Ask;
use audit::Standing;
pub(super) use find::{away, read_logs};

pub(super) async fn get_corrections(
    State(app): State<Arc<App>>,
    uri: Uri,
) -> Result<Response, Problem> {
    let mut params = Params::read(&uri)?;
    let n = params.take_count("n", 100, 1, ringmill_shard::limits::CORRECTIONS_MAX)?;
    let numbers_as_text = params.numbers_as_text;
    params.finish()?;
    let standing = Standing::ask(&app).await?;
    let newest = standing.records.values().rev().take(n);
    let body = json!({
        "corrections": newest.map(|record| record.json(&app.pipeline)).collect::<Vec<_>>(),
        "shards": app.cores.shards(),
    });
    Ok(reply(body, numbers_as_text))
}

pub(super) async fn post_correction(
    State(app): State<Arc<App>>,
    uri: Uri,
    body: Body,
) -> Result<Response, Problem> {
    app.refuse_if_draining()?;
    let params = Params::read(&uri)?;
    let numbers_as_text = params.numbers_as_text;
    params.finish()?;
    let body = read_whole(body, &app.limits.body).await?;
    let mut ask = Ask::read(&app.pipeline, &body)?;
    refuse_uncorrectable(&app.pipeline, ask.stream)?;
    let _turn = app.correcting.lock().await;
    let standing = Standing::ask(&app).await?;
    if let Some(known) = standing.known(&ask)? {
        return Ok(reply(known, numbers_as_text));
    }
    ask.settle_epoch(&app).await?;
    let found = find::events(&app, &ask, &standing).await?;
    if ask.dry_run {
        let body = preview::body(&app, &ask, &found).await?;
        return Ok(reply(body, numbers_as_text));
    }
    app.refuse_if_disk_full()?;
    let id = ask.id.unwrap_or(standing.next_id());
    let body = retract(&app, &ask, id, found, &standing).await?;
    Ok(reply(body, numbers_as_text))
}

pub(super) async fn post_undo(
    State(app): State<Arc<App>>,
    id: Result<Path<u64>, PathRejection>,
    uri: Uri,
    body: Body,
) -> Result<Response, Problem> {
    app.refuse_if_draining()?;
    let id = path(id)?;
    let params = Params::read(&uri)?;
    let numbers_as_text = params.numbers_as_text;
    params.finish()?;
    let body = read_whole(body, &app.limits.body).await?;
    let (reason, author) = ask::read_why(&body)?;
    let _turn = app.correcting.lock().await;
    let standing = Standing::ask(&app).await?;
    let Some(record) = standing.records.get(&id) else {
        return Err(unknown(id));
    };
    app.refuse_if_disk_full()?;
    let stream = usize::from(record.record.stream);
    let places = find::taken(&app, id).await?;
    let found = find::at_places(&app, stream, places, &standing).await?;
    let events = found.len();
    let chain = carry::Chain {
        id,
        action: CorrectionAction::Undo,
        stream,
        reason,
        author,
        selector: String::new(),
        early: Vec::new(),
    };
    carry::carry(&app, &chain, found).await?;
    let standing = Standing::ask(&app).await?;
    let mut body = match standing.records.get(&id) {
        Some(record) => record.json(&app.pipeline),
        None => json!({ "id": id }),
    };
    body["put_back"] = events.into();
    body["effect"] = effect(&app.pipeline, stream);
    Ok(reply(body, numbers_as_text))
}

/// Takes events back on all shards.
async fn retract(
    app: &App,
    ask: &Ask,
    id: u64,
    found: Vec<Found>,
    standing: &Standing,
) -> Result<Json, Problem> {
    let stored: Vec<Found> = found.into_iter().filter(|f| f.void.is_none()).collect();
    refuse_too_many(app, &stored, standing)?;
    let events = stored.len();
    let early: Vec<_> = match stored.is_empty() {
        true => ask.wanted.event.into_iter().collect(),
        false => Vec::new(),
    };
    let chain = carry::Chain {
        id,
        action: CorrectionAction::Retract,
        stream: ask.stream,
        reason: ask.reason.clone(),
        author: ask.author.clone(),
        selector: ask.selector.clone(),
        early: early.clone(),
    };
    carry::carry(app, &chain, stored).await?;
    let mut body = json!({
        "id": id,
        "stream": app.pipeline.streams[ask.stream].name,
        "events": events,
        "early": early.len(),
        "effect": effect(&app.pipeline, ask.stream),
        "shards": app.cores.shards(),
    });
    if !early.is_empty() {
        // It may have come between the look and the announcement, which then waits in vain.
        let now = Standing::ask(app).await?;
        let late: Vec<Found> = find::events(app, ask, &now).await?;
        let late: Vec<Found> = late.into_iter().filter(|f| f.void.is_none()).collect();
        let unseen = find::not_away(app, late).await?;
        if !unseen.is_empty() {
            let id = now.next_id();
            let chain = carry::Chain {
                id,
                early: Vec::new(),
                ..chain
            };
            body["events"] = unseen.len().into();
            body["early"] = 0.into();
            body["also"] = id.into();
            carry::carry(app, &chain, unseen).await?;
        }
    }
    Ok(body)
}

/// What a correction does to the views and boards of a stream.
fn effect(pipeline: &Pipeline, stream: usize) -> Json {
    let views = |retract: Retract| -> Vec<&str> {
        let views = pipeline.views.iter();
        let views = views.filter(|view| view.stream == stream && view.retract == retract);
        views.map(|view| &*view.name).collect()
    };
    let boards = |retract: Retract| -> Vec<&str> {
        let boards = pipeline.boards.iter();
        let boards = boards.filter(|board| board.stream == stream && board.retract == retract);
        boards.map(|board| &*board.name).collect()
    };
    json!({
        "corrected": { "views": views(Retract::Exact), "boards": boards(Retract::Exact) },
        "not_corrected": { "views": views(Retract::Ignore), "boards": boards(Retract::Ignore) },
    })
}

fn refuse_uncorrectable(pipeline: &Pipeline, stream: usize) -> Result<(), Problem> {
    let views = pipeline.views.iter();
    let views = views.filter(|view| view.stream == stream && view.retract == Retract::Refuse);
    let boards = pipeline.boards.iter();
    let boards = boards.filter(|board| board.stream == stream && board.retract == Retract::Refuse);
    let views = views.map(|view| format!("view `{}`", view.name));
    let boards = boards.map(|board| format!("board `{}`", board.name));
    let refusing: Vec<String> = views.chain(boards).collect();
    if refusing.is_empty() {
        return Ok(());
    }
    let name = &pipeline.streams[stream].name;
    let detail = format!(
        "events of `{name}` cannot be taken back: {} would go on showing them; give each \
         `retract = \"exact\"`, or `\"ignore\"` if that is meant",
        refusing.join(", ")
    );
    let title = "A view or board cannot follow a correction";
    Err(Problem::new(
        StatusCode::CONFLICT,
        "not-correctable",
        title,
        detail,
    ))
}

fn refuse_too_many(app: &App, found: &[Found], standing: &Standing) -> Result<(), Problem> {
    let shards = app.cores.shards();
    let mut counts = vec![0; shards];
    for found in found {
        counts[shard_of(found.group, shards)] += 1;
    }
    for (shard, &count) in counts.iter().enumerate() {
        let (taken, early) = standing.load[shard];
        if count > CORRECTION_EVENTS_MAX {
            return Err(Problem::too_large(format!(
                "{count} events of shard {shard} are meant, and it takes back at most \
                 {CORRECTION_EVENTS_MAX} in one go; divide them by a range of time"
            )));
        }
        if taken as usize + count > RETRACTED_EVENTS_MAX {
            return Err(Problem::too_large(format!(
                "shard {shard} has {taken} events taken back, and can have {RETRACTED_EVENTS_MAX}"
            )));
        }
        if early as usize >= EARLY_EVENTS_MAX {
            return Err(Problem::too_large(format!(
                "shard {shard} waits for {early} events that were taken back before they came, \
                 and can wait for no more"
            )));
        }
    }
    Ok(())
}

fn unknown(id: u64) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "unknown-correction",
        "There is no such correction",
        format!("there is no correction {id}; GET /v1/corrections lists them"),
    )
}
