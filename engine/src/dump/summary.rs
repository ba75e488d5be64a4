//! `dump.json`: everything a run counted since its start, exact sums included.
//!
//! The histograms inside are base64 of the deflated standard encoding, so that tools other than
//! this one can read them; times are integers in ns. Fields may be added under the same schema
//! number; a reader ignores what it does not know.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

use super::base64;
use super::budget::SUMMARY;
use super::info::{HostInfo, RunInfo};
use crate::latency::{RANGE_NS_MAX, SIGNIFICANT_DIGITS, SLOTS, Stage, StageSnapshot};
use crate::metrics::{CoreSnapshot, Counter, SlowSnapshot};

/// Version of the file's layout.
pub const SCHEMA: u32 = 1;
const KIND: &str = "ringmill-dump";

/// No summary is larger: 1,024 cores with every histogram full. Guards against reading a file that
/// merely has the right name.
const BYTES_MAX: u64 = 256 << 20;

/// Content of a `dump.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Version of ringmill that wrote it.
    pub version: String,
    /// Wall clock (ns) when the run started.
    pub started_ns: u64,
    /// Time (ns) from there to the end of the last interval.
    pub duration_ns: u64,
    /// Intervals written.
    pub intervals: u64,
    /// The run ended in order and this is its last word.
    pub finished: bool,
    /// The machine.
    pub host: HostInfo,
    /// The settings.
    pub run: RunInfo,
    /// Figures of each core since start; the index is the core.
    pub cores: Vec<CoreSnapshot>,
}

/// Why a summary cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SummaryError {
    /// Reading failed.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// Not a summary at all, or a damaged one.
    #[error("{path} is not a readable latency dump: {reason}; dump again or choose another one")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Written in another layout.
    #[error(
        "{path} has dump schema {found}, this ringmill reads schema {SCHEMA}; \
         inspect it with the version that wrote it"
    )]
    Schema {
        /// The file.
        path: String,
        /// Schema number in the file.
        found: u64,
    },
}

#[derive(Deserialize)]
struct Head {
    schema: u64,
    kind: String,
}

#[derive(Serialize, Deserialize)]
struct Text {
    schema: u32,
    kind: String,
    version: String,
    started_ns: u64,
    duration_ns: u64,
    intervals: u64,
    finished: bool,
    host: HostInfo,
    run: RunInfo,
    cores: Vec<CoreText>,
}

#[derive(Serialize, Deserialize)]
struct CoreText {
    core: usize,
    unattributed_ns: i128,
    counters: BTreeMap<String, u64>,
    slow: SlowText,
    stages: BTreeMap<String, StageText>,
}

#[derive(Serialize, Deserialize)]
struct SlowText {
    events: u64,
    sums_ns: BTreeMap<String, u128>,
}

#[derive(Serialize, Deserialize)]
struct StageText {
    count: u64,
    sum_ns: u128,
    p50_ns: u64,
    p90_ns: u64,
    p99_ns: u64,
    p999_ns: u64,
    p9999_ns: u64,
    max_ns: u64,
    histogram: String,
}

impl Summary {
    /// The file's text.
    pub fn to_json(&self) -> String {
        let text = Text {
            schema: SCHEMA,
            kind: KIND.to_owned(),
            version: self.version.clone(),
            started_ns: self.started_ns,
            duration_ns: self.duration_ns,
            intervals: self.intervals,
            finished: self.finished,
            host: self.host.clone(),
            run: self.run.clone(),
            cores: self.cores.iter().enumerate().map(core_text).collect(),
        };
        let mut json = serde_json::to_string_pretty(&text)
            .expect("invariant: maps have text keys and no value refuses to be written");
        json.push('\n');
        json
    }

    /// Reads the summary in the dump `directory`.
    pub fn read(directory: &Path) -> Result<Summary, SummaryError> {
        let file = directory.join(SUMMARY);
        let path = file.display().to_string();
        let damaged = |reason: String| SummaryError::Damaged {
            path: path.clone(),
            reason,
        };
        let read_error = |source| SummaryError::Read {
            path: path.clone(),
            source,
        };
        let bytes = fs::metadata(&file).map_err(read_error)?.len();
        if bytes > BYTES_MAX {
            return Err(damaged(format!("{bytes} bytes are more than any dump has")));
        }
        let json = fs::read(&file).map_err(read_error)?;
        let head: Head = serde_json::from_slice(&json).map_err(|e| damaged(e.to_string()))?;
        if head.kind != KIND {
            return Err(damaged(format!(
                "its kind is {:?}, not {KIND:?}",
                head.kind
            )));
        }
        if head.schema != u64::from(SCHEMA) {
            return Err(SummaryError::Schema {
                path,
                found: head.schema,
            });
        }
        let text: Text = serde_json::from_slice(&json).map_err(|e| damaged(e.to_string()))?;
        Summary::from_text(text).map_err(damaged)
    }

    fn from_text(text: Text) -> Result<Summary, String> {
        let mut cores = Vec::new();
        for (index, core) in text.cores.iter().enumerate() {
            if core.core != index {
                return Err(format!(
                    "core {} stands where core {index} should",
                    core.core
                ));
            }
            cores.push(core_snapshot(core).map_err(|reason| format!("core {index}: {reason}"))?);
        }
        Ok(Summary {
            version: text.version,
            started_ns: text.started_ns,
            duration_ns: text.duration_ns,
            intervals: text.intervals,
            finished: text.finished,
            host: text.host,
            run: text.run,
            cores,
        })
    }
}

fn core_text((core, snapshot): (usize, &CoreSnapshot)) -> CoreText {
    let counters = Counter::ALL.iter();
    let slow = snapshot.slow();
    CoreText {
        core,
        unattributed_ns: snapshot.unattributed_ns(),
        counters: counters
            .map(|c| (c.name().to_owned(), snapshot.counter(*c)))
            .collect(),
        slow: SlowText {
            events: slow.events,
            sums_ns: Stage::path()
                .iter()
                .map(|s| (s.name().to_owned(), slow.sums_ns[*s as usize]))
                .collect(),
        },
        stages: Stage::ALL
            .iter()
            .map(|stage| (stage.name().to_owned(), stage_text(snapshot.stage(*stage))))
            .collect(),
    }
}

fn stage_text(snapshot: &StageSnapshot) -> StageText {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(&snapshot.to_histogram(), &mut bytes)
        .expect("invariant: writing a histogram to memory cannot fail");
    StageText {
        count: snapshot.count(),
        sum_ns: snapshot.sum_ns(),
        p50_ns: snapshot.quantile_ns(0.5),
        p90_ns: snapshot.quantile_ns(0.9),
        p99_ns: snapshot.quantile_ns(0.99),
        p999_ns: snapshot.quantile_ns(0.999),
        p9999_ns: snapshot.quantile_ns(0.9999),
        max_ns: snapshot.max_ns(),
        histogram: base64::encode(&bytes),
    }
}

fn core_snapshot(text: &CoreText) -> Result<CoreSnapshot, String> {
    let mut stages = Vec::new();
    for stage in Stage::ALL {
        let name = stage.name();
        let Some(text) = text.stages.get(name) else {
            return Err(format!("stage {name} is missing"));
        };
        let snapshot = stage_snapshot(text).map_err(|reason| format!("stage {name}: {reason}"))?;
        stages.push((stage, snapshot));
    }
    let counters = Counter::ALL.iter().filter_map(|counter| {
        // A counter that the writer did not know yet reads as zero.
        Some((*counter, *text.counters.get(counter.name())?))
    });
    let sums_ns = std::array::from_fn(|i| {
        text.slow
            .sums_ns
            .get(Stage::ALL[i].name())
            .copied()
            .unwrap_or(0)
    });
    let slow = SlowSnapshot {
        events: text.slow.events,
        sums_ns,
    };
    Ok(CoreSnapshot::from_parts(stages, counters, slow))
}

fn stage_snapshot(text: &StageText) -> Result<StageSnapshot, String> {
    let bytes = base64::decode(&text.histogram).ok_or("the histogram is not base64")?;
    let histogram: hdrhistogram::Histogram<u64> = Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .map_err(|e| format!("the histogram cannot be decoded: {e}"))?;
    let same_layout = histogram.sigfig() == SIGNIFICANT_DIGITS
        && histogram.low() == 1
        && histogram.high() >= RANGE_NS_MAX
        && histogram.distinct_values() == SLOTS;
    if !same_layout {
        return Err("the histogram has another layout".to_owned());
    }
    let snapshot = StageSnapshot::from_histogram(&histogram, text.sum_ns, text.max_ns);
    if snapshot.count() != text.count {
        return Err(format!(
            "{} events in the histogram, {} declared",
            snapshot.count(),
            text.count
        ));
    }
    Ok(snapshot)
}
