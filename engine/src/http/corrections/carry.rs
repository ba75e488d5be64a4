//! A correction on its way: every shard gets its chain of parts, each durable before the next.

use axum::http::StatusCode;
use ringmill_shard::entry::{CorrectionAction, CorrectionEntry, EventName};
use ringmill_shard::partition::shard_of;
use ringmill_shard::query::{Answer, CorrectedAnswer};
use ringmill_shard::selection::Found;

use crate::http::App;
use crate::http::problem::Problem;

/// What all parts of a correction say.
#[derive(Clone)]
pub(super) struct Chain {
    pub(super) id: u64,
    pub(super) action: CorrectionAction,
    pub(super) stream: usize,
    pub(super) reason: String,
    pub(super) author: String,
    pub(super) selector: String,
    pub(super) early: Vec<EventName>,
}

/// Lets every shard store and apply its part.
pub(super) async fn carry(app: &App, chain: &Chain, found: Vec<Found>) -> Result<(), Problem> {
    let shards = app.cores.shards();
    let mut parts: Vec<Vec<Found>> = (0..shards).map(|_| Vec::new()).collect();
    for found in found {
        parts[shard_of(found.group, shards)].push(found);
    }
    for (shard, events) in parts.into_iter().enumerate() {
        for part in whole(app, chain, events).split(app.cores.part_bytes_max()) {
            let stored = store(app, shard, &part).await;
            match stored {
                Ok(CorrectedAnswer::Stored) => {}
                Ok(CorrectedAnswer::Known) => break,
                Ok(CorrectedAnswer::DiskFull) => return Err(app.disk_full()),
                Ok(CorrectedAnswer::Refused) => {
                    let detail = format!("shard {shard} refused its part of a correction");
                    return Err(Problem::internal(detail));
                }
                Err(reason) => return Err(unfinished(chain, shard, &reason)),
            }
        }
    }
    Ok(())
}

fn whole(app: &App, chain: &Chain, events: Vec<Found>) -> CorrectionEntry {
    let Chain {
        id,
        action,
        stream,
        reason,
        author,
        selector,
        early,
    } = chain.clone();
    CorrectionEntry {
        id,
        action,
        stream: stream as u16,
        schema_id: app.pipeline.streams[stream].schema.id,
        shards: app.cores.shards() as u16,
        part: 0,
        last: true,
        // The shard has the time.
        stamp_ns: 0,
        watermark_ms: i64::MIN,
        reason,
        author,
        selector,
        early,
        events: events.iter().map(|found| found.event).collect(),
        rows: events
            .iter()
            .flat_map(|found| found.row.iter().copied())
            .collect(),
    }
}

async fn store(app: &App, shard: usize, part: &CorrectionEntry) -> Result<CorrectedAnswer, String> {
    let answer = app.cores.correct(shard, part.to_bytes().to_vec()).await;
    let bytes = answer.map_err(|error| error.to_string())?;
    match Answer::from_bytes(&bytes) {
        Ok(Answer::Corrected(stored)) => Ok(stored),
        _ => Err(format!("shard {shard} gave an answer that cannot be read")),
    }
}

fn unfinished(chain: &Chain, shard: usize, reason: &str) -> Problem {
    let (id, again) = match chain.action {
        CorrectionAction::Retract => (
            chain.id,
            format!("send it again with `\"id\": {}`", chain.id),
        ),
        CorrectionAction::Undo => (chain.id, "send it again".to_owned()),
    };
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "correction-unfinished",
        "Not all shards have the correction",
        format!(
            "{reason}; shards below {shard} have their part of correction {id}, shard {shard} may \
             have it; {again}: what has it passes it over"
        ),
    )
    .with("id", id)
    .with("shard", shard)
    .retry_after(1)
}
