//! Whether a measurement may be believed.

use std::fmt;
use std::str::FromStr;

use crate::run::Outcome;
use crate::units::{Rate, human_ns, parse_duration, parse_share, short_duration};

/// Limits of a valid measurement. Printed with every result; overrides are recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// The p99 of the generator's own lag may always be this large, in ns.
    pub send_lag_ns: u64,
    /// It may also be this share of the p99 response.
    pub send_lag_share: f64,
    /// A generator busier than this that does not reach the rate was the bottleneck.
    pub busy: f64,
    /// Share of the offered rate that counts as reached.
    pub achieved: f64,
    /// Share of CPU time that the hypervisor may take.
    pub steal: f64,
    /// Share of its time that a pinned thread may wait for its CPU.
    pub run_queue: f64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            send_lag_ns: 100_000,
            send_lag_share: 0.10,
            busy: 0.90,
            achieved: 0.995,
            steal: 0.02,
            run_queue: 0.02,
        }
    }
}

impl FromStr for Limits {
    type Err = String;

    fn from_str(text: &str) -> Result<Limits, String> {
        let mut limits = Limits::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| format!("`{part}` is no name=value"))?;
            match name {
                "send_lag" => limits.send_lag_ns = parse_duration(value)?.as_nanos() as u64,
                "send_lag_share" => limits.send_lag_share = parse_share(value)?,
                "busy" => limits.busy = parse_share(value)?,
                "achieved" => limits.achieved = parse_share(value)?,
                "steal" => limits.steal = parse_share(value)?,
                "run_queue" => limits.run_queue = parse_share(value)?,
                _ => {
                    return Err(format!(
                        "unknown limit `{name}`; use send_lag, send_lag_share, busy, achieved, \
                         steal or run_queue"
                    ));
                }
            }
        }
        Ok(limits)
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let send_lag = std::time::Duration::from_nanos(self.send_lag_ns);
        write!(
            f,
            "send_lag={},send_lag_share={}%,busy={}%,achieved={}%,steal={}%,run_queue={}%",
            short_duration(send_lag),
            percent(self.send_lag_share),
            percent(self.busy),
            percent(self.achieved),
            percent(self.steal),
            percent(self.run_queue),
        )
    }
}

/// A share in percent without the noise of binary fractions.
fn percent(share: f64) -> f64 {
    (share * 1e6).round() / 1e4
}

/// The judgement of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Why it is invalid; empty if it is valid.
    pub reasons: Vec<String>,
    /// What should be known beside the figures.
    pub notes: Vec<String>,
}

impl Verdict {
    /// Whether the figures may be believed.
    pub fn is_valid(&self) -> bool {
        self.reasons.is_empty()
    }

    /// `valid`, or the reasons.
    pub fn text(&self) -> String {
        if self.is_valid() {
            "valid".to_owned()
        } else {
            self.reasons.join("; ")
        }
    }
}

/// Judges a run.
pub fn judge(outcome: &Outcome, limits: &Limits) -> Verdict {
    let mut verdict = Verdict::default();
    judge_generator(outcome, limits, &mut verdict);
    judge_host(outcome, limits, &mut verdict);
    if outcome.counts.acked == 0 {
        verdict.reasons.push("nothing was acknowledged".to_owned());
    }
    if outcome.interrupted {
        verdict
            .notes
            .push("interrupted: the figures cover a part of the run".to_owned());
    }
    if let Some(note) = steadiness(outcome) {
        verdict.notes.push(note);
    }
    verdict
}

fn judge_generator(outcome: &Outcome, limits: &Limits, verdict: &mut Verdict) {
    let busy = outcome.busy_share();
    if outcome.plan.rate == Rate::Max {
        if busy > limits.busy {
            verdict.notes.push(format!(
                "generator busy {:.0}%: the server may take more than this",
                busy * 100.0
            ));
        }
        return;
    }
    let lag_ns = outcome.pacing_lag.quantile(0.99);
    let share_ns = (outcome.response.quantile(0.99) as f64 * limits.send_lag_share) as u64;
    let limit_ns = limits.send_lag_ns.max(share_ns);
    if lag_ns > limit_ns {
        let (lag, limit) = (human_ns(lag_ns), human_ns(limit_ns));
        verdict.reasons.push(format!(
            "p99 send lag of the generator is {lag}, over {limit}"
        ));
    }
    let achieved = outcome.achieved_share();
    if achieved < limits.achieved {
        if busy > limits.busy {
            verdict.reasons.push(format!(
                "generator busy {:.0}% while only {:.2}% of the rate was reached",
                busy * 100.0,
                achieved * 100.0
            ));
        } else {
            verdict.notes.push(format!(
                "overload: {:.2}% of the offered rate was acknowledged in time",
                achieved * 100.0
            ));
        }
    }
    let held = outcome.counts.held as f64 / outcome.counts.offered.max(1) as f64;
    if held > 0.01 {
        verdict.notes.push(format!(
            "{:.1}% of the events waited for a full in-flight window (--inflight)",
            held * 100.0
        ));
    }
}

fn judge_host(outcome: &Outcome, limits: &Limits, verdict: &mut Verdict) {
    if let Some(steal) = outcome.steal.filter(|steal| *steal > limits.steal) {
        verdict.reasons.push(format!(
            "the hypervisor took {:.1}% of the CPU",
            steal * 100.0
        ));
    }
    if let Some(throttled_ns) = outcome.throttled_ns.filter(|ns| *ns > 0) {
        let time = human_ns(throttled_ns);
        verdict
            .reasons
            .push(format!("the control group was throttled for {time}"));
    }
    if outcome.host.clock_is_good() == Some(false) {
        let clock = outcome.host.clock.as_deref().unwrap_or("unknown");
        verdict
            .reasons
            .push(format!("the clock source is {clock}, not tsc"));
    }
    let run_queue = outcome
        .run_queue_share
        .filter(|share| *share > limits.run_queue);
    if let Some(share) = run_queue {
        let text = format!(
            "generator threads waited {:.1}% of the time for a CPU",
            share * 100.0
        );
        if outcome.plan.cpus.is_empty() {
            verdict.notes.push(format!("{text} (not pinned)"));
        } else {
            verdict.reasons.push(text);
        }
    }
}

/// Intervals of a third of a run, from which on a trend can be told.
const STEADY_INTERVALS_MIN: usize = 4;

/// Compares the first third of the measured intervals with the rest: `None` if nothing stands out.
fn steadiness(outcome: &Outcome) -> Option<String> {
    let p50: Vec<f64> = outcome
        .measured()
        .map(|row| row.response.quantile(0.5) as f64)
        .collect();
    let third = p50.len() / 3;
    if third < STEADY_INTERVALS_MIN {
        return None;
    }
    let (slope, error) = slope(&p50[..third]);
    let middle = p50[..third].iter().sum::<f64>() / third as f64;
    // Two standard errors, and a tenth of the value over the third: both, or it is noise.
    let drift = slope * third as f64;
    (slope.abs() > 2.0 * error && drift.abs() > 0.1 * middle).then(|| {
        format!(
            "not steady: p50 moved by {:.0}% in the first third",
            drift / middle * 100.0
        )
    })
}

/// Least-squares slope per step and its standard error.
fn slope(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean_x = (n - 1.0) / 2.0;
    let mean_y = values.iter().sum::<f64>() / n;
    let squares: f64 = (0..values.len()).map(|x| (x as f64 - mean_x).powi(2)).sum();
    let products: f64 = values
        .iter()
        .enumerate()
        .map(|(x, y)| (x as f64 - mean_x) * (y - mean_y))
        .sum();
    let slope = products / squares;
    let rest: f64 = values
        .iter()
        .enumerate()
        .map(|(x, y)| (y - mean_y - slope * (x as f64 - mean_x)).powi(2))
        .sum();
    (slope, (rest / (n - 2.0) / squares).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_read_back_and_refuse_unknown_names() {
        let limits: Limits = "send_lag=1ms,steal=50%".parse().unwrap();
        assert_eq!((limits.send_lag_ns, limits.steal), (1_000_000, 0.5));
        assert_eq!(limits.to_string().parse::<Limits>().unwrap(), limits);
        assert_eq!("".parse::<Limits>().unwrap(), Limits::default());
        assert!("stea=1%".parse::<Limits>().is_err());
        assert!("steal".parse::<Limits>().is_err());
    }

    #[test]
    fn a_trend_is_told_from_noise() {
        let (rising, error) = slope(&[1.0, 2.1, 2.9, 4.0, 5.1]);
        assert!((rising - 1.0).abs() < 0.05 && rising > 2.0 * error);
        let (flat, error) = slope(&[5.0, 5.2, 4.9, 5.1, 5.0]);
        assert!(flat.abs() < 2.0 * error);
    }
}
