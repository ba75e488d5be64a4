//! The JSON of `ringmill inspect --json`: the figures of the table without rounding.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::Block;
use crate::dump::{HostInfo, RunInfo, Summary};
use crate::latency::Stage;
use crate::metrics::{CoreSnapshot, Counter};

/// Version of this output's layout.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    dump: String,
    version: &'a str,
    started_ns: u64,
    duration_ns: u64,
    intervals: u64,
    finished: bool,
    host: &'a HostInfo,
    run: &'a RunInfo,
    cores: Vec<Core>,
    /// Sum over the cores; absent if one core was asked for or there is only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    all: Option<Figures>,
}

#[derive(Serialize)]
struct Core {
    core: usize,
    #[serde(flatten)]
    figures: Figures,
}

#[derive(Serialize)]
struct Figures {
    events: u64,
    /// Negative while events are being recorded during the snapshot.
    unattributed_ns: i64,
    unattributed_share: f64,
    slow_events: u64,
    stages: BTreeMap<&'static str, Times>,
    counters: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
struct Times {
    count: u64,
    mean_ns: u64,
    p50_ns: u64,
    p90_ns: u64,
    p99_ns: u64,
    p999_ns: u64,
    p9999_ns: u64,
    max_ns: u64,
    /// Share of the total's time; absent for series outside the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    mean_share: Option<f64>,
    /// Share of the time of slow events; absent also if none were seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    slow_share: Option<f64>,
}

/// The whole output.
pub(super) fn text(directory: &Path, summary: &Summary, blocks: &[Block]) -> String {
    let all = blocks.iter().find(|block| block.core.is_none());
    let cores = blocks.iter().filter_map(|block| {
        Some(Core {
            core: block.core?,
            figures: figures(&block.snapshot),
        })
    });
    let report = Report {
        schema: SCHEMA,
        dump: directory.display().to_string(),
        version: &summary.version,
        started_ns: summary.started_ns,
        duration_ns: summary.duration_ns,
        intervals: summary.intervals,
        finished: summary.finished,
        host: &summary.host,
        run: &summary.run,
        cores: cores.collect(),
        all: all.map(|block| figures(&block.snapshot)),
    };
    let mut json = serde_json::to_string_pretty(&report)
        .expect("invariant: keys are text and no value refuses to be written");
    json.push('\n');
    json
}

fn figures(snapshot: &CoreSnapshot) -> Figures {
    let total_ns = snapshot.stage(Stage::Total).sum_ns() as f64;
    let unattributed_ns = snapshot.unattributed_ns();
    Figures {
        events: snapshot.stage(Stage::Total).count(),
        unattributed_ns: unattributed_ns.clamp(i64::MIN.into(), i64::MAX.into()) as i64,
        unattributed_share: share(unattributed_ns as f64, total_ns).unwrap_or(0.0),
        slow_events: snapshot.slow().events,
        stages: Stage::ALL
            .iter()
            .map(|stage| (stage.name(), times(snapshot, *stage)))
            .collect(),
        counters: Counter::ALL
            .iter()
            .map(|c| (c.name(), snapshot.counter(*c)))
            .collect(),
    }
}

fn times(snapshot: &CoreSnapshot, stage: Stage) -> Times {
    let times = snapshot.stage(stage);
    let total_ns = snapshot.stage(Stage::Total).sum_ns() as f64;
    let slow = &snapshot.slow().sums_ns;
    let slow_ns = slow.iter().sum::<u128>() as f64;
    Times {
        count: times.count(),
        mean_ns: times.mean_ns().round() as u64,
        p50_ns: times.quantile_ns(0.5),
        p90_ns: times.quantile_ns(0.9),
        p99_ns: times.quantile_ns(0.99),
        p999_ns: times.quantile_ns(0.999),
        p9999_ns: times.quantile_ns(0.9999),
        max_ns: times.max_ns(),
        mean_share: (stage < Stage::Total)
            .then(|| share(times.sum_ns() as f64, total_ns))
            .flatten(),
        slow_share: slow
            .get(stage as usize)
            .and_then(|ns| share(*ns as f64, slow_ns)),
    }
}

fn share(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}
