//! Side streams: the latest events that a stream refused, that it had stored before, or that a
//! view's windows did not take.

use std::cmp::Reverse;
use std::sync::Arc;

use axum::extract::{Path, State, rejection::PathRejection};
use axum::http::Uri;
use axum::response::Response;
use ringmill_shard::dedupe::DuplicateCause;
use ringmill_shard::limits::SIDE_EVENTS_MAX;
use ringmill_shard::ndjson::row_to_json;
use ringmill_shard::query::{Answer, DuplicateEvent, DuplicateRun, Query, RejectedEvent};
use ringmill_shard::reject::RejectReason;
use ringmill_shard::schema::Schema;
use ringmill_shard::window::LateEvent;
use serde_json::{Value, json};

use super::answers::{ask_all, hex, missing};
use super::params::Params;
use super::problem::Problem;
use super::{App, lookup, path, reply, streams};
use crate::control::Replies;

/// Events of an answer that does not ask for a number.
const EVENTS_DEFAULT: usize = 20;

pub(super) async fn get_rejected(
    State(app): State<Arc<App>>,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let index = streams::find(&app, &path(name)?)?;
    let (n, numbers_as_text) = read_params(&uri, "n")?;
    let query = Query::Rejected {
        stream: index as u16,
        n: n as u32,
    };
    let answers = ask_all(&app, &query, |answer| match answer {
        Answer::Rejected(rejected) => Some(rejected),
        _ => None,
    })
    .await?;
    let stream = &app.pipeline.streams[index];
    let order = |event: &RejectedEvent| (event.stamp_ns, event.log_stream, event.lsn, event.index);
    let mut body = newest(answers, n, order, |shard, event| {
        rejected_json(&stream.schema, shard, event)
    });
    body["stream"] = stream.name.as_str().into();
    body["shards"] = app.cores.shards().into();
    Ok(reply(body, numbers_as_text))
}

pub(super) async fn get_duplicates(
    State(app): State<Arc<App>>,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let index = streams::find(&app, &path(name)?)?;
    let (n, numbers_as_text) = read_params(&uri, "n")?;
    let query = Query::Duplicates {
        stream: index as u16,
        n: n as u32,
    };
    let answers = ask_all(&app, &query, |answer| match answer {
        Answer::Duplicates(duplicates) => {
            let runs = duplicates.runs.into_iter().map(Duplicate::Run);
            let events = duplicates.events.into_iter().map(Duplicate::Event);
            Some(runs.chain(events).collect::<Vec<_>>())
        }
        _ => None,
    })
    .await?;
    let stream = &app.pipeline.streams[index];
    let mut body = newest(answers, n, Duplicate::order, |shard, duplicate| {
        duplicate.to_json(&stream.schema, shard)
    });
    body["stream"] = stream.name.as_str().into();
    body["shards"] = app.cores.shards().into();
    Ok(reply(body, numbers_as_text))
}

pub(super) async fn get_late(
    State(app): State<Arc<App>>,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let names = app.pipeline.views.iter().map(|view| &*view.name);
    let index = lookup("view", &path(name)?, names)?;
    let (n, numbers_as_text) = read_params(&uri, "limit")?;
    let query = Query::Late {
        view: index as u16,
        n: n as u32,
    };
    let answers = ask_all(&app, &query, |answer| match answer {
        Answer::Late(late) => Some(late),
        _ => None,
    })
    .await?;
    let view = &app.pipeline.views[index];
    let schema = &app.pipeline.streams[view.stream].schema;
    let order = |event: &LateEvent| (event.stamp_ns, event.log_stream, event.lsn, event.index);
    let mut body = newest(answers, n, order, |shard, event| {
        late_json(schema, shard, event)
    });
    body["view"] = view.name.as_str().into();
    body["shards"] = app.cores.shards().into();
    Ok(reply(body, numbers_as_text))
}

fn read_params(uri: &Uri, count: &str) -> Result<(usize, bool), Problem> {
    let mut params = Params::read(uri)?;
    let n = params.take_count(count, EVENTS_DEFAULT, 1, SIDE_EVENTS_MAX)?;
    let numbers_as_text = params.numbers_as_text;
    params.finish()?;
    Ok((n, numbers_as_text))
}

/// The `n` newest events of all shards.
fn newest<T, K: Ord>(
    answers: Replies<Vec<T>>,
    n: usize,
    order: impl Fn(&T) -> K,
    show: impl Fn(usize, &T) -> Value,
) -> Value {
    let mut events: Vec<(usize, T)> = Vec::new();
    for (shard, of_shard) in answers.replies {
        events.extend(of_shard.into_iter().map(|event| (shard, event)));
    }
    events.sort_by_key(|(_, event)| Reverse(order(event)));
    let shown = events.iter().take(n);
    let rows: Vec<Value> = shown.map(|(shard, event)| show(*shard, event)).collect();
    let mut body = json!({ "rows": rows, "kept_per_shard": SIDE_EVENTS_MAX });
    missing(&mut body, &answers.missing);
    body
}

fn rejected_json(schema: &Schema, shard: usize, event: &RejectedEvent) -> Value {
    let mut shown = json!({
        "reason": RejectReason::from_code(event.reason).map(|reason| reason.name()),
        "field": schema.fields.get(usize::from(event.field)).map(|field| &field.name),
        "producer_id": format!("{:032x}", event.producer),
        "sequence": event.sequence,
        "stamp_ns": event.stamp_ns,
        "shard": shard,
        "log_stream": event.log_stream,
        "lsn": event.lsn,
        "index": event.index,
    });
    // What breaks the rules of the schema cannot be shown by them.
    match schema.validate(&event.row) {
        Ok(()) => shown["event"] = row_to_json(schema, &event.row),
        Err(_) => shown["row"] = hex(&event.row).into(),
    }
    shown
}

/// What had been stored before: by the sequences of its producer, or by fields.
enum Duplicate {
    Run(DuplicateRun),
    Event(DuplicateEvent),
}

impl Duplicate {
    fn order(&self) -> (u64, u128, u64) {
        match self {
            Duplicate::Run(run) => (run.stamp_ns, run.producer, run.first_sequence),
            Duplicate::Event(event) => (event.stamp_ns, event.producer, event.sequence),
        }
    }

    fn to_json(&self, schema: &Schema, shard: usize) -> Value {
        match self {
            Duplicate::Run(run) => json!({
                "cause": DuplicateCause::Producer.name(),
                "producer_id": format!("{:032x}", run.producer),
                "epoch": run.epoch,
                "first_sequence": run.first_sequence,
                "last_sequence": run.last_sequence,
                "duplicates": run.duplicates,
                "stamp_ns": run.stamp_ns,
                "shard": shard,
            }),
            Duplicate::Event(event) => json!({
                "cause": DuplicateCause::from_code(event.cause).map(DuplicateCause::name),
                "producer_id": format!("{:032x}", event.producer),
                "sequence": event.sequence,
                "duplicates": 1,
                "stamp_ns": event.stamp_ns,
                "shard": shard,
                "log_stream": event.log_stream,
                "lsn": event.lsn,
                "index": event.index,
                "event": row_to_json(schema, &event.row),
            }),
        }
    }
}

fn late_json(schema: &Schema, shard: usize, event: &LateEvent) -> Value {
    let bounds = |(start_ms, end_ms)| json!({ "start_ms": start_ms, "end_ms": end_ms });
    json!({
        "reason": event.reason.name(),
        "windows": event.windows,
        "first": bounds(event.first_ms),
        "last": bounds(event.last_ms),
        "stamp_ns": event.stamp_ns,
        "shard": shard,
        "log_stream": event.log_stream,
        "lsn": event.lsn,
        "index": event.index,
        "event": row_to_json(schema, &event.row),
    })
}
