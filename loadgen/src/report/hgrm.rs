//! The percentile distribution in the text form of HdrHistogram: value in ms, percentile, count,
//! 1/(1-percentile), and the footer lines that plotters look for.

use crate::recorder::{Recorder, SLOTS};

/// Lines per halving of the distance to 100%.
const TICKS_PER_HALF: f64 = 5.0;
const NS_PER_MS: f64 = 1e6;

/// The distribution of a recorder.
pub(super) fn hgrm(recorder: &Recorder) -> String {
    let mut out = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    let total = recorder.count();
    let sparse = recorder.to_sparse();
    let mut seen = 0u64;
    let mut level = 0.0f64;
    for &(value, count) in &sparse.slots {
        seen += count;
        let share = seen as f64 / total as f64;
        let value_ms = value.min(recorder.max()) as f64 / NS_PER_MS;
        while level < 1.0 && level <= share && seen < total {
            let inverse = 1.0 / (1.0 - level);
            out.push_str(&format!(
                "{value_ms:12.3} {level:2.12} {seen:10} {inverse:14.2}\n"
            ));
            level = next_level(level);
        }
    }
    if total > 0 {
        let max_ms = recorder.max() as f64 / NS_PER_MS;
        out.push_str(&format!("{max_ms:12.3} {:2.12} {total:10}\n", 1.0));
    }
    let (mean, deviation) = moments(&sparse.slots, recorder);
    out.push_str(&format!(
        "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]\n",
        mean / NS_PER_MS,
        deviation / NS_PER_MS
    ));
    out.push_str(&format!(
        "#[Max     = {:12.3}, Total count    = {total:12}]\n",
        recorder.max() as f64 / NS_PER_MS
    ));
    out.push_str(&format!(
        "#[Buckets = {:12}, SubBuckets     = {:12}]\n",
        SLOTS / 1024 - 1,
        2048
    ));
    out
}

fn next_level(level: f64) -> f64 {
    let halvings = (1.0 / (1.0 - level)).log2().floor() + 1.0;
    level + 1.0 / (TICKS_PER_HALF * halvings.exp2())
}

fn moments(slots: &[(u64, u64)], recorder: &Recorder) -> (f64, f64) {
    let mean = recorder.mean();
    let total = recorder.count().max(1) as f64;
    let squares: f64 = slots
        .iter()
        .map(|(value, count)| (*value as f64 - mean).powi(2) * *count as f64)
        .sum();
    (mean, (squares / total).sqrt())
}
