//! Streams and producers: what they are, what was counted, what was refused.

use std::sync::Arc;

use axum::extract::{Path, State, rejection::PathRejection};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use ringmill_shard::dedupe::DuplicateCause;
use ringmill_shard::entry::ProducerId;
use ringmill_shard::expression::ErrorReason;
use ringmill_shard::query::{Answer, ProducerView, Query, Stats};
use ringmill_shard::reject::RejectReason;
use ringmill_shard::state::StreamCounters;
use ringmill_shard::wire::check_producer_name;
use serde_json::{Map, Value, json};

use super::answers::{ask_all, missing, watermark};
use super::health::describe_stream;
use super::params::Params;
use super::problem::Problem;
use super::{App, lookup, path, reply};
use crate::control::Replies;

/// The figures of every live shard.
pub(super) async fn ask_stats(app: &App) -> Result<Replies<Stats>, Problem> {
    ask_all(app, &Query::Stats, |answer| match answer {
        Answer::Stats(stats) => Some(stats),
        _ => None,
    })
    .await
}

pub(super) async fn get_stream(
    State(app): State<Arc<App>>,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let index = find(&app, &path(name)?)?;
    let params = Params::read(&uri)?;
    let numbers_as_text = params.numbers_as_text;
    params.finish()?;
    let stats = ask_stats(&app).await?;
    let mut body = describe_stream(&app.pipeline.streams[index]);
    let mut total = StreamCounters::default();
    for (_, shard) in &stats.replies {
        add(&mut total, &shard.counters.streams[index]);
    }
    let rejected = RejectReason::ALL
        .iter()
        .filter(|reason| total.rejected[reason.index()] > 0);
    let by_reason: Map<String, Value> = rejected
        .map(|reason| {
            (
                reason.name().to_owned(),
                total.rejected[reason.index()].into(),
            )
        })
        .collect();
    body["accepted"] = total.accepted.into();
    body["duplicates"] = total.duplicates.iter().sum::<u64>().into();
    let causes = DuplicateCause::ALL.iter();
    let by_cause: Map<String, Value> = causes
        .map(|cause| (cause.name().to_owned(), total.duplicates[cause.index()]))
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| (name, count.into()))
        .collect();
    body["duplicates_by_cause"] = by_cause.into();
    body["annulled"] = total.annulled.into();
    body["retracted"] = total.retracted.into();
    body["rejected"] = total.rejected.iter().sum::<u64>().into();
    body["rejected_by_reason"] = by_reason.into();
    let least = stats
        .replies
        .iter()
        .map(|(_, shard)| shard.watermarks_ms[index])
        .min();
    body["watermark_ms"] = watermark(least.unwrap_or(i64::MIN));
    let of_stream = |view: &&ringmill_shard::pipeline::View| view.stream == index;
    body["views"] = names(
        app.pipeline
            .views
            .iter()
            .filter(of_stream)
            .map(|view| &view.name),
    );
    let of_stream = |board: &&ringmill_shard::pipeline::Board| board.stream == index;
    body["boards"] = names(
        app.pipeline
            .boards
            .iter()
            .filter(of_stream)
            .map(|board| &board.name),
    );
    body["expression_errors"] = expression_errors(&app, index, &stats.replies);
    body["shards"] = app.cores.shards().into();
    missing(&mut body, &stats.missing);
    Ok(reply(body, numbers_as_text))
}

/// What the expressions of a stream's views and boards could not compute, by view or board and
/// reason; what has no errors is left out.
fn expression_errors(app: &App, stream: usize, replies: &[(usize, Stats)]) -> Value {
    let mut body = Map::new();
    let mut add = |name: &str, errors: &dyn Fn(&Stats) -> [u64; ErrorReason::COUNT]| {
        let mut reasons = Map::new();
        for reason in ErrorReason::ALL {
            let counts = replies
                .iter()
                .map(|(_, shard)| errors(shard)[reason.index()]);
            let count: u64 = counts.sum();
            if count > 0 {
                reasons.insert(reason.name().to_owned(), count.into());
            }
        }
        if !reasons.is_empty() {
            body.insert(name.to_owned(), reasons.into());
        }
    };
    for (index, view) in app.pipeline.views.iter().enumerate() {
        if view.stream == stream {
            let name = format!("view {}", view.name);
            add(&name, &|stats| stats.counters.views[index].errors);
        }
    }
    for (index, board) in app.pipeline.boards.iter().enumerate() {
        if board.stream == stream {
            let name = format!("board {}", board.name);
            add(&name, &|stats| stats.counters.boards[index].errors);
        }
    }
    body.into()
}

fn names<'a>(names: impl Iterator<Item = &'a String>) -> Value {
    names.map(|name| Value::from(name.as_str())).collect()
}

pub(super) fn find(app: &App, name: &str) -> Result<usize, Problem> {
    lookup(
        "stream",
        name,
        app.pipeline.streams.iter().map(|stream| &*stream.name),
    )
}

fn add(total: &mut StreamCounters, shard: &StreamCounters) {
    total.accepted += shard.accepted;
    for (total, shard) in total.duplicates.iter_mut().zip(&shard.duplicates) {
        *total += shard;
    }
    total.annulled += shard.annulled;
    total.retracted += shard.retracted;
    for (total, shard) in total.rejected.iter_mut().zip(&shard.rejected) {
        *total += shard;
    }
}

pub(super) async fn get_producer(
    State(app): State<Arc<App>>,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let name = path(name)?;
    let params = Params::read(&uri)?;
    let numbers_as_text = params.numbers_as_text;
    params.finish()?;
    if check_producer_name(&name).is_err() {
        let rule = "a producer is 1 to 64 letters, digits and any of `.`, `_`, `:` and `-`";
        return Err(Problem::bad_request(rule));
    }
    let id = ProducerId::of_name(&name).0;
    let answers = ask_all(&app, &Query::Producer { id }, |answer| match answer {
        Answer::Producer(producer) => Some(producer),
        _ => None,
    })
    .await?;
    let views: Vec<Option<ProducerView>> = answers.replies.iter().map(|(_, view)| *view).collect();
    let known: Vec<ProducerView> = views.iter().flatten().copied().collect();
    let Some(epoch) = known.iter().map(|view| view.epoch).max() else {
        return Err(unknown_producer(&name, &answers.missing));
    };
    // What a shard holds of the epoch in force; one that has not heard of it holds nothing.
    let last = |view: &Option<ProducerView>| match view {
        Some(view) if view.epoch == epoch => view.last_sequence.max(view.inherited_max),
        _ => 0,
    };
    let highest = views.iter().map(last).max().unwrap_or(0);
    let whole = answers.missing.is_empty();
    // Older logs may have gaps below their greatest sequence, so only the shard's own log counts.
    let complete = |view: &Option<ProducerView>| match view {
        Some(view) if view.epoch == epoch => view.last_sequence,
        _ => 0,
    };
    let lowest = if whole {
        views.iter().map(complete).min().unwrap_or(0)
    } else {
        0
    };
    let confirmed = app
        .producers
        .confirmed(id)
        .filter(|confirmed| confirmed.epoch == epoch);
    let through = confirmed.map_or(lowest, |confirmed| confirmed.through.max(lowest));
    let sum = |of: fn(&ProducerView) -> u64| known.iter().map(of).sum::<u64>();
    let mut body = json!({
        "producer": name,
        "epoch": epoch,
        "last_sequence": highest,
        "highest_seen": highest,
        "durable_through": through,
        "accepted": sum(|view| view.accepted),
        "duplicates": sum(|view| view.duplicates + view.repeated),
        "rejected": sum(|view| view.rejected),
        "shards": app.cores.shards(),
    });
    missing(&mut body, &answers.missing);
    Ok(reply(body, numbers_as_text))
}

fn unknown_producer(name: &str, missing: &[usize]) -> Problem {
    match missing.first() {
        // The failed shard may know it.
        Some(&shard) => Problem::shard_failed(shard),
        None => Problem::new(
            StatusCode::NOT_FOUND,
            "unknown-producer",
            "The producer is not known",
            format!("no event of a producer `{name}` has been stored"),
        )
        .with("producer", name),
    }
}
