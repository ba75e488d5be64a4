//! Another pipeline: what it would change.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use ringmill_shard::pipeline::{Declarations, Pipeline};

use super::params::Params;
use super::problem::Problem;
use super::{App, reply};
use crate::plan::{Outlook, Report};

/// Keys per stream that memory is forecast for, unless the request says otherwise.
const KEYS_DEFAULT: usize = 1_000_000;

pub(super) async fn post_plan(
    State(app): State<Arc<App>>,
    uri: Uri,
    body: Bytes,
) -> Result<Response, Problem> {
    let mut params = Params::read(&uri)?;
    let keys = params.take_count("keys", KEYS_DEFAULT, 1, usize::MAX)? as u64;
    let numbers_as_text = params.numbers_as_text;
    params.finish()?;
    let (pipeline, declarations) = read(&app, &body)?;
    let report = judge(&app, &pipeline, &declarations, keys);
    let body = serde_json::to_value(&report);
    let body = body.map_err(|error| Problem::internal(error.to_string()))?;
    Ok(reply(body, numbers_as_text))
}

/// The pipeline of a posted file, as this server would run it.
fn read(app: &App, body: &[u8]) -> Result<(Pipeline, Declarations), Problem> {
    let text = std::str::from_utf8(body)
        .map_err(|error| bad_pipeline(format!("the file is no UTF-8: {error}")))?;
    let parsed = Pipeline::parse_declared(text);
    let (mut pipeline, declarations) = parsed.map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(|problem| problem.to_string()).collect();
        bad_pipeline(lines.join("\n"))
    })?;
    if app.facts.durability.is_some()
        && let Some(running) = app.pipeline.streams.first()
    {
        // The command line of the server wins over the file.
        let streams = pipeline.streams.iter_mut();
        streams.for_each(|stream| stream.durability = running.durability);
    }
    Ok((pipeline, declarations))
}

fn bad_pipeline(detail: String) -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "bad-pipeline",
        "The pipeline file has problems",
        detail,
    )
}

fn judge(app: &App, pipeline: &Pipeline, declarations: &Declarations, keys: u64) -> Report {
    let mut plan = pipeline.plan(declarations, &app.pipeline);
    if let Err(problem) = pipeline.fits_shards(app.facts.shards) {
        plan.refused.push(problem);
    }
    let outlook = Outlook::of(pipeline, &app.pipeline, &app.data_dir, keys);
    Report::new(&plan, outlook)
}
