//! Finding stored events in the logs, and asking which of them are taken back.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::StatusCode;
use ringmill_shard::entry::{EventBatch, EventPlace, KIND_EVENT_BATCH};
use ringmill_shard::limits::CORRECTION_EVENTS_MAX;
use ringmill_shard::partition::shard_of;
use ringmill_shard::query::{Answer, Query};
use ringmill_shard::selection::{Found, Selection, Wanted};

use super::ask::Ask;
use super::audit::Standing;
use crate::http::App;
use crate::http::answers::{ask_all, ask_one};
use crate::http::problem::Problem;

/// Places of one question, so that it fits a small lane.
const PLACES: usize = 32;

/// The stored events that a correction means, at most so many as all shards take back in one go,
/// and one more.
pub(super) async fn events(
    app: &App,
    ask: &Ask,
    standing: &Standing,
) -> Result<Vec<Found>, Problem> {
    let most = CORRECTION_EVENTS_MAX * app.cores.shards() + 1;
    let mut selection = ask.selection(&app.pipeline, &app.logs.older())?;
    read_logs(app, &standing.through, move |log, lsn, batch, found| {
        if found.len() < most {
            selection.find(batch, log, lsn, found);
        }
    })
    .await
}

/// The events at these places.
pub(super) async fn at_places(
    app: &App,
    stream: usize,
    places: HashSet<EventPlace>,
    standing: &Standing,
) -> Result<Vec<Found>, Problem> {
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let entries: HashSet<(u32, u64)> = places.iter().map(|p| (p.log_stream, p.lsn)).collect();
    let selection = Selection::new(
        &app.pipeline,
        stream,
        Wanted::default(),
        None,
        &app.logs.older(),
    );
    let mut selection = selection.map_err(Problem::internal)?;
    let mut of_entry = Vec::new();
    read_logs(app, &standing.through, move |log, lsn, batch, found| {
        let is_wanted = entries.contains(&(log, lsn));
        if is_wanted || selection.needs_all() {
            selection.find(batch, log, lsn, &mut of_entry);
            let wanted = of_entry.drain(..).filter(|_| is_wanted);
            found.extend(wanted.filter(|one| places.contains(&one.event.place)));
        }
    })
    .await
}

/// Where the events stand that a correction has taken back, on all shards.
pub(super) async fn taken(app: &App, id: u64) -> Result<HashSet<EventPlace>, Problem> {
    let answers = ask_all(app, &Query::Taken { id }, |answer| match answer {
        Answer::Taken(taken) => Some(taken.places),
        _ => None,
    })
    .await?;
    match answers.missing.first() {
        Some(&shard) => Err(Problem::shard_failed(shard)),
        None => Ok(answers
            .replies
            .into_iter()
            .flat_map(|(_, places)| places)
            .collect()),
    }
}

/// Those of these events that no correction has taken back.
pub(super) async fn not_away(app: &App, found: Vec<Found>) -> Result<Vec<Found>, Problem> {
    let by = away(app, &found).await?;
    let there = found.into_iter().zip(by).filter(|(_, by)| by.is_empty());
    Ok(there.map(|(found, _)| found).collect())
}

/// Which corrections have taken each of these events back.
pub(in crate::http) async fn away(app: &App, found: &[Found]) -> Result<Vec<Vec<u64>>, Problem> {
    let shards = app.cores.shards();
    let mut by = vec![Vec::new(); found.len()];
    for shard in 0..shards {
        let own = (0..found.len()).filter(|&at| shard_of(found[at].group, shards) == shard);
        let own: Vec<usize> = own.collect();
        for some in own.chunks(PLACES) {
            let query = Query::Away {
                places: some.iter().map(|&at| found[at].event.place).collect(),
            };
            let answer = ask_one(app, shard, &query, |answer| match answer {
                Answer::Away(by) if by.len() == some.len() => Some(by),
                _ => None,
            })
            .await?;
            for (&at, ids) in some.iter().zip(answer) {
                by[at] = ids;
            }
        }
    }
    Ok(by)
}

/// Reads the event batches of all logs up to these LSNs; what `each` has found.
pub(in crate::http) async fn read_logs(
    app: &App,
    through: &[u64],
    mut each: impl FnMut(u32, u64, &EventBatch<'_>, &mut Vec<Found>) + Send + 'static,
) -> Result<Vec<Found>, Problem> {
    let found: Arc<Mutex<Vec<Found>>> = Arc::default();
    let into = Arc::clone(&found);
    let visit = move |log: u32, lsn: u64, kind: u32, entry: &[u8]| {
        if kind == KIND_EVENT_BATCH
            && let Ok(batch) = EventBatch::decode(entry)
        {
            // Nobody else looks before the end.
            let mut found = into.lock().unwrap_or_else(PoisonError::into_inner);
            each(log, lsn, &batch, &mut found);
        }
    };
    let read = app.logs.read(through, Box::new(visit)).await;
    read.map_err(|error| {
        let title = "The logs cannot be read";
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "logs-unreadable",
            title,
            error.to_string(),
        )
    })?;
    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(std::mem::take(&mut *found))
}
