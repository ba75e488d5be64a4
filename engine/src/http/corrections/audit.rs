//! What all shards know of corrections, joined.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::StatusCode;
use ringmill_shard::pipeline::Pipeline;
use ringmill_shard::query::{Answer, CorrectionRecord, CorrectionsAnswer, Query};
use serde_json::{Value as Json, json};

use super::ask::Ask;
use crate::http::App;
use crate::http::answers::ask_all;
use crate::http::problem::Problem;

/// Records of one answer, whose pages are joined.
const PAGE: u32 = 500;

/// A correction over all shards.
pub(super) struct Known {
    pub(super) record: CorrectionRecord,
    /// Log streams that have the whole of it, and of its undo.
    done: BTreeSet<u32>,
    undone: BTreeSet<u32>,
}

/// What is known before a correction begins.
pub(super) struct Standing {
    pub(super) records: BTreeMap<u64, Known>,
    /// Durable LSN by shard.
    pub(super) through: Vec<u64>,
    /// By shard: events that are taken back, and names that are waited for.
    pub(super) load: Vec<(u64, u64)>,
}

impl Standing {
    /// Asks all shards, none of which may be missing.
    pub(super) async fn ask(app: &App) -> Result<Standing, Problem> {
        let shards = app.cores.shards();
        let mut standing = Standing {
            records: BTreeMap::new(),
            through: vec![0; shards],
            load: vec![(0, 0); shards],
        };
        let mut after = 0;
        loop {
            let query = Query::Corrections { after, n: PAGE };
            let answers = ask_all(app, &query, |answer| match answer {
                Answer::Corrections(answer) => Some(answer),
                _ => None,
            })
            .await?;
            if let Some(&shard) = answers.missing.first() {
                return Err(Problem::shard_failed(shard));
            }
            // What lies behind a full page is not known of its shard: it is asked for again.
            let full = answers.replies.iter().map(|(_, answer)| &answer.records);
            let full = full.filter(|records| records.len() == PAGE as usize);
            let through = full.filter_map(|records| Some(records.last()?.id)).min();
            for (shard, answer) in answers.replies {
                standing.add(shard, answer, through.unwrap_or(u64::MAX));
            }
            match through {
                Some(last) => after = last,
                None => return Ok(standing),
            }
        }
    }

    fn add(&mut self, shard: usize, answer: CorrectionsAnswer, last_id: u64) {
        self.through[shard] = answer.last_lsn;
        self.load[shard] = (answer.taken, answer.early);
        let records = answer.records.into_iter();
        records
            .take_while(|record| record.id <= last_id)
            .for_each(|record| self.join(record));
    }

    fn join(&mut self, record: CorrectionRecord) {
        let done = record.log_streams.iter().copied();
        let undone = record
            .undone
            .iter()
            .flat_map(|undone| undone.log_streams.iter().copied());
        let (done, undone): (BTreeSet<u32>, BTreeSet<u32>) = (done.collect(), undone.collect());
        match self.records.entry(record.id) {
            std::collections::btree_map::Entry::Vacant(vacant) => {
                vacant.insert(Known {
                    record,
                    done,
                    undone,
                });
            }
            std::collections::btree_map::Entry::Occupied(known) => {
                let known = known.into_mut();
                known.done.extend(done);
                known.undone.extend(undone);
                let sum = &mut known.record;
                sum.stamp_ns = sum.stamp_ns.min(record.stamp_ns);
                sum.events += record.events;
                sum.annulled += record.annulled;
                sum.early = sum.early.max(record.early);
                if sum.undone.is_none() {
                    sum.undone = record.undone;
                }
            }
        }
    }

    /// The number of the next correction.
    pub(super) fn next_id(&self) -> u64 {
        self.records.last_key_value().map_or(1, |(id, _)| id + 1)
    }

    /// What a correction with the number of a known one is answered with: nothing if it has to go
    /// on.
    pub(super) fn known(&self, ask: &Ask) -> Result<Option<Json>, Problem> {
        let Some(id) = ask.id else { return Ok(None) };
        let conflict = |detail: String| {
            let title = "The number of the correction belongs to another one";
            Err(Problem::new(
                StatusCode::CONFLICT,
                "correction-conflict",
                title,
                detail,
            ))
        };
        let Some(known) = self.records.get(&id) else {
            if id == self.next_id() {
                return Ok(None);
            }
            return Err(super::unknown(id));
        };
        let record = &known.record;
        let same = (usize::from(record.stream), &record.selector, &record.reason)
            == (ask.stream, &ask.selector, &ask.reason);
        if !same {
            return conflict(format!("correction {id} asks for something else"));
        }
        if record.undone.is_some() {
            return conflict(format!("correction {id} was undone; make a new one"));
        }
        if known.is_whole() {
            let body =
                json!({ "id": id, "events": record.events, "early": record.early, "known": true });
            return Ok(Some(body));
        }
        Ok(None)
    }
}

impl Known {
    /// Whether all shards of the layout that it was made in have it.
    fn is_whole(&self) -> bool {
        self.done.len() >= usize::from(self.record.shards)
    }

    fn state(&self) -> &'static str {
        match &self.record.undone {
            Some(undone) if self.undone.len() >= usize::from(undone.shards) => "undone",
            Some(_) => "undoing",
            None if self.is_whole() => "done",
            None => "unfinished",
        }
    }

    pub(super) fn json(&self, pipeline: &Pipeline) -> Json {
        let record = &self.record;
        let stream = pipeline.streams.get(usize::from(record.stream));
        let selector: Json = serde_json::from_str(&record.selector).unwrap_or(Json::Null);
        let mut body = json!({
            "id": record.id,
            "state": self.state(),
            "stream": stream.map(|stream| &*stream.name),
            "select": selector,
            "reason": record.reason,
            "author": record.author,
            "stamp_ns": record.stamp_ns,
            "events": record.events,
            "early": record.early,
            "annulled": record.annulled,
        });
        if let Some(undone) = &record.undone {
            body["undone"] = json!({
                "reason": undone.reason,
                "author": undone.author,
                "stamp_ns": undone.stamp_ns,
            });
        }
        body
    }
}
