//! Whether the engine is well, what it is doing, and dumps on demand.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use ringmill_shard::pipeline::{
    Board, Computed, DedupeMode, DedupeRule, Pipeline, Score, ScoreRule, Stream, View, Window,
    WindowKind, keys, zone_rules_version,
};
use serde_json::{Map, Value, json};

use super::params::Params;
use super::problem::Problem;
use super::{App, reply};
use crate::metrics::Counter;

/// 200 while every shard writes; a failed one asks for a restart.
pub(super) async fn get_healthz(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    match app.failed_shards().as_slice() {
        [] => Ok(reply(
            json!({ "status": "ok", "shards": app.cores.shards() }),
            false,
        )),
        failed => Err(Problem::shard_failed(failed[0]).with("failed_shards", failed.to_vec())),
    }
}

/// 200 while events are taken.
pub(super) async fn get_readyz(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    app.refuse_if_draining()?;
    app.refuse_if_disk_full()?;
    get_healthz(State(app)).await
}

pub(super) async fn get_status(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, Problem> {
    let params = Params::read(&uri)?;
    let numbers_as_text = params.numbers_as_text;
    params.finish()?;
    let mut body = serde_json::to_value(&app.facts)
        .map_err(|error| Problem::internal(format!("the facts of the start: {error}")))?;
    body["version"] = env!("CARGO_PKG_VERSION").into();
    body["uptime_ms"] = app.facts.uptime_ms().into();
    body["failed_shards"] = app.failed_shards().into();
    body["disk_full"] = app.disk_full.load(Ordering::Relaxed).into();
    body["draining"] = app.is_draining().into();
    let core = |(index, metrics): (usize, &Arc<crate::metrics::CoreMetrics>)| {
        let mut counters = Map::new();
        counters.insert("core".to_owned(), index.into());
        for counter in Counter::ALL {
            counters.insert(counter.name().to_owned(), metrics.get(counter).into());
        }
        Value::Object(counters)
    };
    body["cores"] = app.metrics.iter().enumerate().map(core).collect();
    Ok(reply(body, numbers_as_text))
}

pub(super) async fn post_dump(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    match app.dumps.dump_now().await {
        Ok(dir) => Ok(reply(json!({ "dump": dir }), false)),
        Err(error) => Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "dump-failed",
            "The dump could not be written",
            error.to_string(),
        )),
    }
}

pub(super) async fn get_pipeline(
    State(app): State<Arc<App>>,
    uri: Uri,
) -> Result<Response, Problem> {
    let params = Params::read(&uri)?;
    let numbers_as_text = params.numbers_as_text;
    params.finish()?;
    Ok(reply(describe(&app.pipeline), numbers_as_text))
}

fn describe(pipeline: &Pipeline) -> Value {
    let stream_of = |index: usize| &pipeline.streams[index];
    json!({
        "digest": format!("{:032x}", pipeline.digest()),
        "streams": pipeline.streams.iter().map(describe_stream).collect::<Vec<_>>(),
        "views": pipeline
            .views
            .iter()
            .map(|view| describe_view(view, stream_of(view.stream)))
            .collect::<Vec<_>>(),
        "boards": pipeline
            .boards
            .iter()
            .map(|board| describe_board(board, stream_of(board.stream)))
            .collect::<Vec<_>>(),
    })
}

/// A stream as the pipeline declares it.
pub(super) fn describe_stream(stream: &Stream) -> Value {
    let name = |field: usize| &stream.schema.fields[field].name;
    let fields = stream.schema.fields.iter().enumerate();
    let fields = fields.map(|(index, field)| {
        let limits = stream.schema.limits(index);
        let default = stream.schema.default_of(index);
        json!({
            "id": field.id,
            "name": field.name,
            "type": field.kind.to_string(),
            "optional": field.optional,
            "within": limits.map(|limits| limits.to_string()),
            "default": default.map(|default| default.to_json()),
        })
    });
    json!({
        "stream": stream.name,
        "key": name(stream.key),
        "time": {
            "field": name(stream.time.field),
            "disorder_ms": stream.time.disorder_ms,
            "max_future_ms": stream.time.max_future_ms,
            "idle_ms": stream.time.idle_ms,
        },
        "durability": stream.durability.level().name(),
        "dedupe": stream.dedupe.as_ref().map(|rule| describe_dedupe(stream, rule)),
        "schema_id": stream.schema.id,
        "row_bytes": stream.schema.row_bytes,
        "fields": fields.collect::<Vec<_>>(),
        "computed": describe_computed(stream),
    })
}

fn describe_dedupe(stream: &Stream, rule: &DedupeRule) -> Value {
    let name = |&field: &usize| Value::from(stream.schema.fields[field].name.as_str());
    let horizon_ms = match rule.mode {
        DedupeMode::Sequence => Value::Null,
        DedupeMode::Id { horizon_ms } => horizon_ms.into(),
    };
    json!({
        "by": rule.by.iter().map(name).collect::<Vec<_>>(),
        "mode": rule.mode.name(),
        "horizon_ms": horizon_ms,
        "scope": keys::DEDUPE_SCOPE,
        "memory_bytes": rule.memory_bytes,
    })
}

/// The computed columns that have a name.
fn describe_computed(stream: &Stream) -> Vec<Value> {
    let describe = |computed: &Computed| {
        let name = computed.name.as_ref()?;
        Some(json!({
            "name": name,
            "type": computed.expression.kind().to_string(),
            "optional": computed.expression.optional(),
            "value": computed.expression.text(),
        }))
    };
    stream.computed.iter().filter_map(describe).collect()
}

fn describe_view(view: &View, stream: &Stream) -> Value {
    let name = |column: usize| stream.column(column).name;
    let column = |column: &ringmill_shard::pipeline::Column| {
        let value = column
            .aggregate
            .text(column.aggregate.field().map_or("", name));
        json!({ "name": column.name, "value": value })
    };
    json!({
        "view": view.name,
        "from": stream.name,
        "where": view.filter.map(name),
        "group": view.group.iter().map(|field| name(*field)).collect::<Vec<_>>(),
        "window": describe_window(&view.window),
        "columns": view.columns.iter().map(column).collect::<Vec<_>>(),
    })
}

fn describe_window(window: &Window) -> Value {
    let mut shown = match &window.kind {
        WindowKind::Tumbling { size_ms } => json!({ "size_ms": size_ms }),
        WindowKind::Hopping { size_ms, hop_ms } => json!({ "size_ms": size_ms, "hop_ms": hop_ms }),
        WindowKind::Cumulative { size_ms, step_ms } => {
            json!({ "size_ms": size_ms, "step_ms": step_ms })
        }
        WindowKind::Calendar { unit, zone } => json!({
            "unit": unit.name(),
            "zone": zone,
            "zone_rules": zone_rules_version(),
        }),
        WindowKind::Session { gap_ms } => json!({ "gap_ms": gap_ms }),
        WindowKind::Last { count } => json!({ "count": count }),
    };
    shown["kind"] = window.kind.name().into();
    shown["late_ms"] = window.late_ms.into();
    shown["keep_ms"] = window.keep_ms.into();
    shown["after"] = window.after.name().into();
    shown
}

fn describe_board(board: &Board, stream: &Stream) -> Value {
    let name = |column: usize| stream.column(column).name;
    let score = |score: &Score| {
        let rule = match (score.rule, score.field) {
            (ScoreRule::Sum, None) => "count()".to_owned(),
            (rule, field) => format!("{}({})", rule.name(), field.map_or("", name)),
        };
        let direction = if score.descending { "desc" } else { "asc" };
        Value::from(format!("{rule} {direction}"))
    };
    let score = match &board.scores[..] {
        [one] => score(one),
        several => several.iter().map(score).collect(),
    };
    json!({
        "board": board.name,
        "from": stream.name,
        "where": board.filter.map(name),
        "member": name(board.member),
        "score": score,
        "ties": board.ties.name(),
        "rank": board.rank.name(),
        "season": board.season.as_ref().map(|season| json!({
            "every": season.every.to_string(),
            "grace_ms": season.grace_ms,
            "keep": season.keep,
        })),
    })
}
