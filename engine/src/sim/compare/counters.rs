//! What a stream counted.

use ringmill_shard::dedupe::DuplicateCause;
use ringmill_shard::expression::ErrorReason;
use ringmill_shard::oracle::{Errors, Oracle};
use serde_json::{Map, Value, json};

use super::{Difference, ask, same};
use crate::stage::Stage;

/// Accepted and refused events, and errors of expressions.
pub(super) async fn compare(
    stage: &mut Stage,
    oracle: &Oracle<'_>,
    stream: usize,
) -> Result<u64, Difference> {
    let path = format!("/v1/streams/{}", oracle.pipeline.streams[stream].name);
    let answer = ask(stage, &path).await?;
    let rejected = oracle.rejected(stream);
    let expected = [
        ("accepted", oracle.accepted_count(stream).into()),
        ("rejected", rejected.values().sum::<u64>().into()),
        ("rejected_by_reason", json!(rejected)),
        ("expression_errors", errors(oracle, stream)),
    ];
    for (name, expected) in &expected {
        same(|| format!("`{name}` of {path}"), expected, &answer[name])?;
    }
    // Duplicates of producers are told apart before anything is logged, and only while a core runs.
    let mut by_fields = answer["duplicates_by_cause"].clone();
    if let Some(causes) = by_fields.as_object_mut() {
        causes.remove(DuplicateCause::Producer.name());
    }
    let at = || format!("`duplicates_by_cause` of {path}");
    same(at, &json!(oracle.repeated(stream)), &by_fields)?;
    Ok(expected.len() as u64 + 1)
}

fn errors(oracle: &Oracle<'_>, stream: usize) -> Value {
    let mut all = Map::new();
    let mut add = |name: String, errors: Errors| {
        let reasons = ErrorReason::ALL.into_iter();
        let counts = reasons.map(|reason| (reason.name().to_owned(), errors[reason.index()]));
        let counts = counts.filter(|(_, count)| *count > 0);
        let counts: Map<_, _> = counts.map(|(name, count)| (name, count.into())).collect();
        if !counts.is_empty() {
            all.insert(name, counts.into());
        }
    };
    let views = oracle.pipeline.views.iter();
    for view in views.filter(|view| view.stream == stream) {
        add(format!("view {}", view.name), oracle.view(view).errors);
    }
    let boards = oracle.pipeline.boards.iter();
    for board in boards.filter(|board| board.stream == stream) {
        let errors = oracle.board_errors(board);
        add(format!("board {}", board.name), errors);
    }
    all.into()
}
