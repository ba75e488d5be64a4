//! The interval log in the HdrHistogram format (1.3): compressed V2 payloads, one line per interval
//! and tag, with an untagged line of response times first so that tools show something by default.

use std::path::Path;
use std::time::Duration;

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::error::LoadError;
use crate::recorder::Sparse;
use crate::run::Outcome;
use crate::tally::Phase;

/// The maximum of a line is in ms, as the Java tools assume.
const MAX_DIVISOR: f64 = 1e6;
/// Legend of the columns; both parsers pass over it.
const LEGEND: &str = "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\
\"Interval_Compressed_Histogram\"\n";

/// Writes the measured intervals of a run.
pub(super) fn write(path: &Path, outcome: &Outcome) -> Result<(), LoadError> {
    let bytes = encode(outcome).map_err(|message| LoadError::BadFile {
        path: path.to_owned(),
        message,
    })?;
    std::fs::write(path, bytes).map_err(LoadError::file(path))
}

/// The bytes of the log.
pub(super) fn encode(outcome: &Outcome) -> Result<Vec<u8>, String> {
    let rows: Vec<_> = outcome
        .intervals
        .iter()
        .filter(|row| row.phase != Phase::WarmUp)
        .collect();
    let start_ns = outcome.intervals.first().map_or(0, |row| row.from_ns);
    let base_ns = rows.first().map_or(start_ns, |row| row.from_ns);
    let base = outcome.started + Duration::from_nanos(base_ns.saturating_sub(start_ns));
    let mut serializer = V2DeflateSerializer::new();
    let mut log = Vec::new();
    let mut writer = IntervalLogWriterBuilder::new()
        .add_comment("[Histogram log format version 1.3]")
        .add_comment(&format!("ringmill loadgen run {}", outcome.run_id))
        .with_start_time(outcome.started)
        .with_base_time(base)
        .with_max_value_divisor(MAX_DIVISOR)
        .begin_log_with(&mut log, &mut serializer)
        .map_err(|error| error.to_string())?;
    for row in rows {
        let from = Duration::from_nanos(row.from_ns.saturating_sub(base_ns));
        let length = Duration::from_nanos(row.to_ns.saturating_sub(row.from_ns));
        let tagged: [(Option<&'static str>, &Sparse); 4] = [
            (None, &row.response),
            (Some("response"), &row.response),
            (Some("service"), &row.service),
            (Some("sendlag"), &row.send_lag),
        ];
        for (tag, values) in tagged {
            let tag = tag.and_then(Tag::new);
            writer
                .write_histogram(&values.to_histogram(), from, length, tag)
                .map_err(|error| error.to_string())?;
        }
    }
    let head = log
        .windows(BASE_TIME.len())
        .position(|window| window == BASE_TIME);
    let line_end = head.and_then(|at| log[at..].iter().position(|b| *b == b'\n').map(|n| at + n));
    let at = line_end.ok_or("the head of the log has no base time")? + 1;
    log.splice(at..at, LEGEND.bytes());
    Ok(log)
}

/// Last line of the head.
const BASE_TIME: &[u8] = b"#[BaseTime";
