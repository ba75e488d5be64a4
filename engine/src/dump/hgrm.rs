//! Percentile text (`.hgrm`) in the layout of the Java tools, for plotters that read it.
//!
//! The column widths are theirs, down to the last row without its fourth column: plotters find rows
//! by leading blanks. Values are in ms with five decimals instead of as many as there are
//! significant digits, or everything below 10 us would read as zero; the widest value, 68,719 ms,
//! still leaves one blank in front.

use std::fmt::{self, Write};

use crate::latency::{SLOTS, StageSnapshot};

const TICKS_PER_HALF_DISTANCE: u32 = 5;
const NS_PER_MS: f64 = 1e6;
const SUB_BUCKETS: usize = 256;
const BUCKETS: usize = SLOTS / (SUB_BUCKETS / 2) - 1;

/// The whole text for one histogram.
pub fn hgrm(snapshot: &StageSnapshot) -> String {
    let mut text = String::new();
    write(&mut text, snapshot).expect("invariant: writing to a string cannot fail");
    text
}

fn write(out: &mut String, snapshot: &StageSnapshot) -> fmt::Result {
    let histogram = snapshot.to_histogram();
    let max_ms = snapshot.max_ns() as f64 / NS_PER_MS;
    writeln!(
        out,
        "{:>12} {:>14} {:>10} {:>14}\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    )?;
    let mut total_count = 0;
    for row in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        total_count += row.count_since_last_iteration();
        let value_ms = (row.value_iterated_to() as f64 / NS_PER_MS).min(max_ms);
        let quantile = row.quantile_iterated_to();
        write!(out, "{value_ms:>12.5} {quantile:.12} {total_count:>10}")?;
        if quantile < 1.0 {
            write!(out, " {:>14.2}", 1.0 / (1.0 - quantile))?;
        }
        out.push('\n');
    }
    let mean_ms = snapshot.mean_ns() / NS_PER_MS;
    let deviation_ms = histogram.stdev() / NS_PER_MS;
    writeln!(
        out,
        "#[Mean    = {mean_ms:>12.5}, StdDeviation   = {deviation_ms:>12.5}]"
    )?;
    writeln!(
        out,
        "#[Max     = {max_ms:>12.5}, Total count    = {:>12}]",
        snapshot.count()
    )?;
    writeln!(
        out,
        "#[Buckets = {BUCKETS:>12}, SubBuckets     = {SUB_BUCKETS:>12}]"
    )
}
