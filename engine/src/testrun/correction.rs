//! Events that a test takes back, by the names under which they were sent, and puts back.

use std::collections::HashMap;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use ringmill_shard::pipeline::TestCorrection;
use serde_json::{Value, json};

use super::steps::producer_of;
use crate::stage::Stage;

/// Numbers of the corrections so far, by the id of the event.
pub(super) type Made = HashMap<String, Value>;

/// Plays a correction; of the event, its stream and number are given.
pub(super) async fn correct(
    stage: &mut Stage,
    step: &TestCorrection,
    (stream, number): (&str, u64),
    made: &mut Made,
) -> Result<(), String> {
    let why = json!({ "reason": step.reason, "author": "test" });
    let (path, body) = if step.is_undo {
        let Some(id) = made.remove(&step.id) else {
            return Err(format!("`{}` was not retracted", step.id));
        };
        (format!("/v1/corrections/{id}/undo"), why)
    } else {
        let mut body = why;
        body["stream"] = stream.into();
        body["select"] =
            json!({ "event": { "producer": producer_of(stream, number), "sequence": 1 } });
        ("/v1/corrections".to_owned(), body)
    };
    let request = Request::post(&path).body(Body::from(body.to_string()));
    let request = request.map_err(|error| format!("`{path}`: {error}"))?;
    let (status, answer) = stage.ask(request).await;
    if status != StatusCode::OK {
        return Err(format!("{path} gives {status}: {answer}"));
    }
    if !step.is_undo {
        made.insert(step.id.clone(), answer["id"].clone());
    }
    Ok(())
}
