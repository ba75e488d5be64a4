//! Every view, board and counter of an engine, asked for as anyone asks, against the oracle.

mod boards;
mod columns;
mod counters;
mod views;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use ringmill_shard::oracle::Oracle;
use serde_json::Value;

use super::play::Difference;
use crate::stage::Stage;

/// Bytes of an answer that are shown.
const SHOWN_BYTES_MAX: usize = 1_000;

/// Compares all; returns how many rows and figures were equal. `one_layout`: the store was always
/// opened with as many cores, so that its logs tell the same as the cores have seen.
pub(super) async fn compare(
    stage: &mut Stage,
    oracle: &Oracle<'_>,
    one_layout: bool,
) -> Result<u64, Difference> {
    let mut equal = 0;
    for stream in 0..oracle.pipeline.streams.len() {
        equal += counters::compare(stage, oracle, stream).await?;
    }
    for view in &oracle.pipeline.views {
        equal += views::compare(stage, oracle, view, one_layout).await?;
    }
    for board in &oracle.pipeline.boards {
        equal += boards::compare(stage, oracle, board).await?;
    }
    Ok(equal)
}

/// The body of an answer, which must be 200.
async fn ask(stage: &mut Stage, path: &str) -> Result<Value, Difference> {
    ask_with(stage, path, Request::get(path).body(Body::empty())).await
}

async fn ask_with(
    stage: &mut Stage,
    path: &str,
    request: axum::http::Result<Request<Body>>,
) -> Result<Value, Difference> {
    let request = request.map_err(|error| Difference::new(path, "a path", error))?;
    let (status, body) = stage.ask(request).await;
    match status {
        StatusCode::OK => Ok(body),
        _ => Err(Difference::new(path, "200", format!("{status} {body}"))),
    }
}

/// A difference unless both are equal.
fn same(at: impl Fn() -> String, expected: &Value, found: &Value) -> Result<(), Difference> {
    if expected == found {
        return Ok(());
    }
    Err(Difference::new(at(), shown(expected), shown(found)))
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_BYTES_MAX) {
        None => text,
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

/// A value as a path segment.
fn segment(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let byte = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}
