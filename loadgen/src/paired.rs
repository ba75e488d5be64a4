//! The same load against two servers in alternating blocks: A B B A and again.
//!
//! What drifts on the machine drifts for both, and only ratios of neighbouring blocks are taken.
//! While one server is loaded the other has no connection from here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::error::LoadError;
use crate::plan::RunPlan;
use crate::progress::Live;
use crate::run::{Outcome, execute};
use crate::stats::{Ratio, paired_ratio};

/// Warm-up of every block after the first ones.
const BLOCK_WARMUP: Duration = Duration::from_secs(1);

/// A block on each side, measured one after the other.
pub struct Pair {
    /// The first server.
    pub a: Outcome,
    /// The second server.
    pub b: Outcome,
}

/// Runs `pairs` pairs of blocks. An interrupt ends it with the pairs that are whole.
pub fn run_pairs(
    plan: &RunPlan,
    addr_b: &str,
    pairs: usize,
    live: &mut dyn FnMut(char, usize) -> Box<dyn Live>,
    stop: &Arc<AtomicBool>,
) -> Result<Vec<Pair>, LoadError> {
    let mut done: Vec<Pair> = Vec::new();
    for number in 0..pairs {
        let mut block = |side: char| {
            let mut plan = plan.clone();
            if side == 'B' {
                plan.addr = addr_b.to_owned();
                plan.acks = None;
            }
            if number > 0 {
                plan.warmup = plan.warmup.min(BLOCK_WARMUP);
            }
            execute(&plan, live(side, number).as_mut(), stop)
        };
        let pair = if number % 2 == 0 {
            let a = block('A')?;
            Pair { a, b: block('B')? }
        } else {
            let b = block('B')?;
            Pair { a: block('A')?, b }
        };
        // Ordering: a flag that only ever rises.
        let is_stopped = stop.load(Ordering::Relaxed);
        if !is_stopped || done.is_empty() {
            done.push(pair);
        }
        if is_stopped {
            break;
        }
    }
    Ok(done)
}

/// A figure that is compared, and whether more of it is better.
pub struct Figure {
    /// Its name.
    pub name: &'static str,
    /// Whether more is better.
    pub more_is_better: bool,
    /// Its value in a run.
    pub of: fn(&Outcome) -> f64,
}

/// The figures that are compared.
pub const FIGURES: [Figure; 4] = [
    Figure {
        name: "rate",
        more_is_better: true,
        of: Outcome::acked_per_s,
    },
    Figure {
        name: "p50",
        more_is_better: false,
        of: |run| run.response.quantile(0.5) as f64,
    },
    Figure {
        name: "p99",
        more_is_better: false,
        of: |run| run.response.quantile(0.99) as f64,
    },
    Figure {
        name: "p99.9",
        more_is_better: false,
        of: |run| run.response.quantile(0.999) as f64,
    },
];

/// The ratio of a figure over the pairs, second over first.
pub fn ratio_b_over_a(pairs: &[Pair], figure: &Figure) -> Option<Ratio> {
    let values: Vec<(f64, f64)> = pairs
        .iter()
        .map(|pair| ((figure.of)(&pair.a), (figure.of)(&pair.b)))
        .collect();
    paired_ratio(&values)
}

/// Joins the blocks of one side into one result: histograms and counts are added up, intervals
/// follow each other.
pub fn join(blocks: Vec<Outcome>) -> Option<Outcome> {
    let mut blocks = blocks.into_iter();
    let mut joined = blocks.next()?;
    let mut steal = joined.steal;
    for block in blocks {
        joined.response.merge(&block.response);
        joined.service.merge(&block.service);
        joined.send_lag.merge(&block.send_lag);
        joined.pacing_lag.merge(&block.pacing_lag);
        joined.counts.add(&block.counts);
        joined.acked_in_window += block.acked_in_window;
        joined.measured_ns += block.measured_ns;
        joined.intervals.extend(later(&joined, &block));
        joined.producers.extend(block.producers);
        joined.faults.extend(block.faults);
        joined.failure = joined.failure.or(block.failure);
        joined.interrupted |= block.interrupted;
        // The worst block decides: a mean would hide it.
        steal = worst(steal, block.steal);
        joined.run_queue_share = worst(joined.run_queue_share, block.run_queue_share);
        joined.cpu_share = worst(joined.cpu_share, block.cpu_share);
        joined.throttled_ns = joined.throttled_ns.max(block.throttled_ns);
    }
    joined.steal = steal;
    Some(joined)
}

fn worst(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.max(other)),
        (one, other) => one.or(other),
    }
}

/// Intervals of a later block, on the clock of the first one.
fn later(joined: &Outcome, block: &Outcome) -> Vec<crate::run::IntervalRow> {
    let gap = block
        .started
        .duration_since(joined.started)
        .unwrap_or_default()
        .as_nanos() as u64;
    let origin = joined.intervals.first().map_or(0, |row| row.from_ns);
    let own = block.intervals.first().map_or(0, |row| row.from_ns);
    let moved = |at_ns: u64| at_ns.saturating_sub(own) + origin + gap;
    block
        .intervals
        .iter()
        .cloned()
        .map(|mut row| {
            row.from_ns = moved(row.from_ns);
            row.to_ns = moved(row.to_ns);
            row
        })
        .collect()
}
