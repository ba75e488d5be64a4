//! The proof that what was acknowledged is stored exactly once.
//!
//! For every producer of the ack logs the server is asked how far it is. An acknowledged event
//! beyond that is lost. The events that it has are made again from their seeds, added up, and
//! compared with what boards and views serve: a missing, doubled or altered event changes a sum.

mod http;
mod model;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::acks::AckRecord;
use crate::error::LoadError;
use crate::greet::{greet, pick_stream};
use crate::keys::Keys;
use crate::rows::{RowPlan, RowSeed};
pub use http::Client;
use model::Model;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Producers that were asked for.
    pub producers: usize,
    /// Events stored once.
    pub stored_once: u64,
    /// Acknowledged events that are missing.
    pub lost: u64,
    /// Events stored more than once.
    pub duplicate: u64,
    /// Events that are stored though their acknowledgement never arrived; allowed.
    pub indeterminate: u64,
    /// Members whose score was compared.
    pub members_compared: u64,
    /// Scores that differ.
    pub scores_wrong: u64,
    /// What else differs.
    pub problems: Vec<String>,
    /// What could not be compared, and why.
    pub skipped: Vec<String>,
}

impl Findings {
    /// Whether nothing is lost, doubled or wrong.
    pub fn is_ok(&self) -> bool {
        self.lost == 0 && self.duplicate == 0 && self.scores_wrong == 0 && self.problems.is_empty()
    }
}

/// A part of a producer's sequences that one run made.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    record: usize,
    index: u64,
    first: u64,
    acked: u64,
    sent: u64,
    is_whole: bool,
}

/// Runs the proof. `sample` is how many ranks are asked for one by one.
pub fn verify(
    addr: &str,
    http: &str,
    records: &[AckRecord],
    sample: usize,
    timeout: Duration,
) -> Result<Findings, LoadError> {
    let client = Client::new(http, timeout);
    let mut findings = Findings::default();
    let producers = segments(records);
    findings.producers = producers.len();
    let pipeline = client.pipeline()?;
    let ack = greet(addr, VERIFIER_NAME, timeout)?.ack;
    let mut models: BTreeMap<&str, Model> = BTreeMap::new();
    let mut plans = Vec::new();
    for record in records {
        let stream = pick_stream(&ack, Some(&record.head.stream))?;
        let dist = record.head.key_dist.parse().map_err(LoadError::Settings)?;
        let keys = Keys::new(dist, record.head.keys).map_err(LoadError::Settings)?;
        plans.push(RowPlan::new(stream.schema.clone(), stream.key, keys));
        models
            .entry(&record.head.stream)
            .or_insert_with(|| Model::new(stream.schema.clone(), &stream.name, &pipeline));
    }
    let mut has_holes = false;
    for (name, segments) in &producers {
        let last = check_producer(&client, name, segments, &mut findings)?;
        // Events behind the acknowledged ones may be on one shard and missing on another.
        has_holes |= last.has_holes;
        let last = last.last;
        for (position, segment) in segments.iter().enumerate() {
            let next = segments
                .get(position + 1)
                .map_or(u64::MAX, |next| next.first);
            let through = last.min(next - 1);
            let head = &records[segment.record].head;
            let seed = RowSeed::new(head.seed, segment.index);
            let model = models
                .get_mut(head.stream.as_str())
                .expect("invariant: made above");
            model.add(&plans[segment.record], seed, segment.first..=through);
            if segment.is_whole && segment.first <= through && through > segment.sent {
                findings.problems.push(format!(
                    "{name}: {through} events are stored, but only {} were sent",
                    segment.sent
                ));
            }
        }
    }
    if has_holes {
        let text = "boards and views: not every event behind the acknowledged ones is stored";
        findings.skipped.push(text.to_owned());
        return Ok(findings);
    }
    for (stream, model) in &models {
        model.compare(&client, stream, &pipeline, sample, &mut findings)?;
    }
    Ok(findings)
}

/// Name under which the verifier asks for the schema; it never publishes.
const VERIFIER_NAME: &str = "loadgen-verify";

/// The parts of every producer's sequences, by name and in order.
fn segments(records: &[AckRecord]) -> BTreeMap<String, Vec<Segment>> {
    let mut producers: BTreeMap<String, Vec<Segment>> = BTreeMap::new();
    for (number, record) in records.iter().enumerate() {
        for (producer, range) in record.head.producers.iter().zip(&record.ranges) {
            producers
                .entry(producer.name.clone())
                .or_default()
                .push(Segment {
                    record: number,
                    index: producer.index,
                    first: range.first,
                    acked: range.acked,
                    sent: range.sent,
                    is_whole: record.is_whole,
                });
        }
    }
    producers
}

/// What the server has of a producer.
struct Stored {
    /// Highest sequence that any shard has.
    last: u64,
    /// Whether events between the acknowledged ones and the last one are missing.
    has_holes: bool,
}

/// Compares one producer's counters.
fn check_producer(
    client: &Client,
    name: &str,
    segments: &[Segment],
    findings: &mut Findings,
) -> Result<Stored, LoadError> {
    let acked = segments
        .iter()
        .map(|segment| segment.acked)
        .max()
        .unwrap_or_default();
    let Some(producer) = client.producer(name)? else {
        if acked > 0 {
            findings.lost += acked;
            findings
                .problems
                .push(format!("{name}: the server does not know this producer"));
        }
        return Ok(Stored {
            last: 0,
            has_holes: false,
        });
    };
    let last = producer.last_sequence;
    let stored = producer.accepted + producer.rejected;
    let lost = acked.saturating_sub(last.min(stored));
    if lost > 0 {
        findings.lost += lost;
        findings.problems.push(format!(
            "{name}: acknowledged through {acked}, stored {stored} events through {last}"
        ));
    }
    if stored > last {
        findings.duplicate += stored - last;
        findings.problems.push(format!(
            "{name}: {stored} events stored for {last} sequences"
        ));
    }
    findings.indeterminate += last.min(stored).saturating_sub(acked);
    if producer.rejected > 0 {
        let count = producer.rejected;
        findings.skipped.push(format!(
            "{name}: {count} events were rejected; sums may differ"
        ));
    }
    findings.stored_once += stored.min(last);
    Ok(Stored {
        last,
        has_holes: lost == 0 && stored < last,
    })
}
