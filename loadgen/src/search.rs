//! The highest rate that meets an objective: doubled until it fails, halved in between until it is
//! exact enough, then tried again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::error::LoadError;
use crate::plan::RunPlan;
use crate::progress::Live;
use crate::report::{Judged, LatencyBlock};
use crate::run::{Outcome, execute};
use crate::slo::Slo;
use crate::units::{Rate, human_ns, short_count};

/// Share of the offered events that a passing probe acknowledges.
const ACKED_SHARE: f64 = 0.99;
/// A backlog that grows by more than this share of a second's events per second is no steady state.
const BACKLOG_SHARE: f64 = 0.01;

/// What to look for.
#[derive(Clone, Debug)]
pub struct Search {
    /// The objective.
    pub slo: Slo,
    /// First rate.
    pub from: f64,
    /// Highest rate.
    pub to: f64,
    /// How far apart a passing and a failing rate may be.
    pub resolution: f64,
    /// How often the answer is tried again.
    pub confirm: u32,
}

/// One attempt.
#[derive(Clone, Debug, Serialize)]
pub struct Probe {
    /// Events per second that were asked for.
    pub rate_per_s: f64,
    /// Events per second that were acknowledged.
    pub acked_per_s: f64,
    /// Whether it passed.
    pub passed: bool,
    /// Why not.
    pub reasons: Vec<String>,
    /// Response times.
    pub response_ns: LatencyBlock,
    /// Which part of the search it belongs to.
    pub step: &'static str,
}

/// The end of a search.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// Version of this form.
    pub schema: u32,
    /// The objective.
    pub slo: String,
    /// The highest rate that passed and was confirmed; `None` if none did.
    pub rate_per_s: Option<f64>,
    /// Whether the highest allowed rate passed: the true answer may be higher.
    pub at_limit: bool,
    /// All attempts in order.
    pub probes: Vec<Probe>,
}

/// Searches. `probe_done` is told about every attempt.
pub fn search(
    plan: &RunPlan,
    search: &Search,
    live: &mut dyn FnMut() -> Box<dyn Live>,
    probe_done: &mut dyn FnMut(&Probe),
    stop: &Arc<AtomicBool>,
) -> Result<Found, LoadError> {
    let mut run = |rate: f64, step: &'static str| -> Result<Probe, LoadError> {
        let mut plan = plan.clone();
        plan.rate = Rate::PerSecond(rate);
        let outcome = execute(&plan, live().as_mut(), stop)?;
        let probe = judge(outcome, &search.slo, rate, step);
        probe_done(&probe);
        Ok(probe)
    };
    find(search, &mut run, &|| stop.load(Ordering::Relaxed))
}

fn judge(outcome: Outcome, slo: &Slo, rate: f64, step: &'static str) -> Probe {
    let judged = Judged::new(outcome, Some(slo.clone()));
    let outcome = &judged.outcome;
    let mut reasons = judged.slo_missed.clone();
    reasons.extend(judged.verdict.reasons.iter().cloned());
    let acked = outcome.achieved_share();
    if acked < ACKED_SHARE {
        reasons.push(format!("only {:.2}% acknowledged", acked * 100.0));
    }
    let growth = backlog_growth(outcome);
    if growth > rate * BACKLOG_SHARE {
        reasons.push(format!(
            "the backlog grows by {}/s",
            short_count(growth.round())
        ));
    }
    reasons.extend(outcome.failure.clone());
    Probe {
        rate_per_s: rate,
        acked_per_s: outcome.acked_per_s(),
        passed: reasons.is_empty(),
        reasons,
        response_ns: LatencyBlock::of(&outcome.response),
        step,
    }
}

/// Unacknowledged events at the end of the measured part beyond those at its start, per second.
fn backlog_growth(outcome: &Outcome) -> f64 {
    let mut rows = outcome.measured();
    let Some(first) = rows.next() else { return 0.0 };
    let Some(last) = rows.last() else { return 0.0 };
    let seconds = (last.to_ns - first.to_ns) as f64 / 1e9;
    (last.in_flight as f64 - first.in_flight as f64) / seconds.max(1e-9)
}

type Run<'r> = dyn FnMut(f64, &'static str) -> Result<Probe, LoadError> + 'r;

/// The search itself, apart from how a rate is tried.
fn find(
    search: &Search,
    run: &mut Run<'_>,
    is_stopped: &dyn Fn() -> bool,
) -> Result<Found, LoadError> {
    let mut probes = Vec::new();
    let mut attempt = |rate: f64, step, probes: &mut Vec<Probe>| -> Result<bool, LoadError> {
        let probe = run(rate, step)?;
        let passed = probe.passed;
        probes.push(probe);
        Ok(passed)
    };
    let (mut good, mut bad) = (None, None);
    let mut rate = search.from;
    while !is_stopped() {
        if !attempt(rate, "ramp", &mut probes)? {
            bad = Some(rate);
            break;
        }
        good = Some(rate);
        if rate >= search.to {
            break;
        }
        rate = (rate * 2.0).min(search.to);
    }
    if let (Some(mut low), Some(mut high)) = (good, bad) {
        while high / low > 1.0 + search.resolution && !is_stopped() {
            let middle = (low * high).sqrt();
            if attempt(middle, "bisect", &mut probes)? {
                low = middle;
            } else {
                high = middle;
            }
        }
        good = Some(low);
    }
    // A rate that does not hold again was luck: step down until one does.
    while let Some(rate) = good {
        if search.confirm == 0 || is_stopped() {
            break;
        }
        let mut passed = 0;
        for _ in 0..search.confirm {
            passed += u32::from(attempt(rate, "confirm", &mut probes)?);
        }
        if 2 * passed > search.confirm {
            break;
        }
        let lower = rate / (1.0 + search.resolution.max(0.01));
        good = (lower >= search.from).then_some(lower);
    }
    Ok(Found {
        schema: 1,
        slo: search.slo.to_string(),
        rate_per_s: good,
        at_limit: good == Some(search.to),
        probes,
    })
}

/// A probe as a line.
pub fn probe_line(probe: &Probe) -> String {
    format!(
        "{:<8} {:>9}/s  {}  p50 {:>7}  p99 {:>7}  p99.9 {:>7}  {}",
        probe.step,
        short_count(probe.rate_per_s.round()),
        if probe.passed { "pass" } else { "FAIL" },
        human_ns(probe.response_ns.p50),
        human_ns(probe.response_ns.p99),
        human_ns(probe.response_ns.p999),
        probe.reasons.join("; ")
    )
    .trim_end()
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(rate: f64, passed: bool, step: &'static str) -> Probe {
        let reasons = Vec::new();
        let response_ns = LatencyBlock::default();
        Probe {
            rate_per_s: rate,
            acked_per_s: rate,
            passed,
            reasons,
            response_ns,
            step,
        }
    }

    fn settings() -> Search {
        Search {
            slo: "p99=1ms".parse().unwrap(),
            from: 1000.0,
            to: 1e6,
            resolution: 0.05,
            confirm: 3,
        }
    }

    #[test]
    fn the_edge_is_found_to_the_resolution_and_confirmed() {
        let mut run = |rate: f64, step| Ok(probe(rate, rate < 37_000.0, step));
        let found = find(&settings(), &mut run, &|| false).unwrap();
        let rate = found.rate_per_s.unwrap();
        assert!((37_000.0 / 1.05..37_000.0).contains(&rate), "{rate}");
        assert!(!found.at_limit);
        let confirms = found
            .probes
            .iter()
            .filter(|probe| probe.step == "confirm")
            .count();
        assert_eq!(confirms, 3);
    }

    #[test]
    fn luck_is_not_confirmed_and_limits_are_told() {
        // Passes above 20k only while bisecting.
        let mut run = |rate: f64, step| {
            let passed = if step == "confirm" {
                rate < 20_000.0
            } else {
                rate < 37_000.0
            };
            Ok(probe(rate, passed, step))
        };
        let found = find(&settings(), &mut run, &|| false).unwrap();
        assert!(
            found.rate_per_s.unwrap() < 20_000.0,
            "{:?}",
            found.rate_per_s
        );
        let mut never = |rate: f64, step| Ok(probe(rate, false, step));
        assert_eq!(
            find(&settings(), &mut never, &|| false).unwrap().rate_per_s,
            None
        );
        let mut always = |rate: f64, step| Ok(probe(rate, true, step));
        assert!(find(&settings(), &mut always, &|| false).unwrap().at_limit);
    }
}
