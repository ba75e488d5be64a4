//! The generator tests itself: a built-in server stalls, and theory says what must be measured.
//!
//! A server that stalls for S out of every T and is busy for a share `rho` of the rest delays
//! response quantile p to S * (1 - (1-p)(1-rho)/f), with f = S/T, for every p above 1 - f/(1-rho).
//! A generator that skips missed send times, or times from the actual send, shows nothing of it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::echo::{Echo, EchoOptions, Stall};
use crate::error::LoadError;
use crate::plan::RunPlan;
use crate::progress::Live;
use crate::run::{Outcome, execute};
use crate::units::human_ns;

/// Share of its free time that the server works.
pub const UTILISATION: f64 = 0.1;

/// What to test with.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Events per second.
    pub rate: f64,
    /// A stall.
    pub stall: Duration,
    /// From one stall to the next.
    pub every: Duration,
    /// Allowed difference from the theory.
    pub tolerance: f64,
}

/// A quantile, as measured and as it should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Check {
    /// The quantile.
    pub quantile: f64,
    /// Theory, in ns.
    pub expected_ns: u64,
    /// Measured response, in ns.
    pub measured_ns: u64,
    /// Whether it is close enough.
    pub ok: bool,
}

/// The result.
pub struct Tested {
    /// One per quantile.
    pub checks: Vec<Check>,
    /// The run.
    pub outcome: Outcome,
}

impl Tested {
    /// Whether every quantile is right.
    pub fn is_ok(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }

    /// Why the figures may be above theory without a fault of the generator: the built-in server
    /// and the generator share the machine, and noise only adds.
    pub fn excuse(&self) -> Option<String> {
        let share = self.outcome.run_queue_share?;
        let is_low = |check: &Check| !check.ok && check.measured_ns < check.expected_ns;
        let is_busy = share > self.outcome.plan.limits.run_queue;
        (is_busy && !self.checks.iter().any(is_low)).then(|| {
            format!(
                "the machine was busy ({:.0}% of the time waiting for a CPU); try a quiet one",
                share * 100.0
            )
        })
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::from("quantile     theory   response    service\n");
        for check in &self.checks {
            text.push_str(&format!(
                "{:<8} {:>10} {:>10} {:>10}  {}\n",
                format!("p{}", check.quantile * 100.0),
                human_ns(check.expected_ns),
                human_ns(check.measured_ns),
                human_ns(self.outcome.service.quantile(check.quantile)),
                if check.ok { "ok" } else { "WRONG" }
            ));
        }
        text
    }
}

/// The response quantile that theory expects, in ns; `None` where the formula does not hold.
pub fn expected_ns(settings: &Settings, utilisation: f64, quantile: f64) -> Option<u64> {
    let stall_ns = settings.stall.as_nanos() as f64;
    let share = stall_ns / settings.every.as_nanos() as f64;
    let free = 1.0 - utilisation;
    if quantile <= 1.0 - share / free {
        return None;
    }
    let waited = 1.0 - (1.0 - quantile) * free / share;
    Some((stall_ns * waited).round() as u64)
}

/// Runs it. `plan` says how long and on which CPU; its address and load are set here.
pub fn selftest(
    settings: &Settings,
    mut plan: RunPlan,
    live: &mut dyn Live,
    stop: &Arc<AtomicBool>,
) -> Result<Tested, LoadError> {
    let options = EchoOptions {
        stall: Some(Stall {
            every: settings.every,
            length: settings.stall,
        }),
        service_per_event: Duration::from_secs_f64(UTILISATION / settings.rate),
        ..EchoOptions::default()
    };
    let server = Echo::start("127.0.0.1:0", options).map_err(LoadError::system("listen"))?;
    plan.addr = server.addr().to_string();
    plan.rate = crate::units::Rate::PerSecond(settings.rate);
    plan.connections = 1;
    plan.threads = 1;
    plan.batch = 1;
    // The window must not close during a stall: everything in it is what is being measured.
    plan.inflight = (settings.rate * settings.stall.as_secs_f64() * 4.0) as u64 + 64;
    let outcome = execute(&plan, live, stop)?;
    let checks = [0.95, 0.99, 0.999]
        .into_iter()
        .filter_map(|quantile| {
            let expected_ns = expected_ns(settings, UTILISATION, quantile)?;
            let measured_ns = outcome.response.quantile(quantile);
            let off = measured_ns as f64 / expected_ns as f64 - 1.0;
            Some(Check {
                quantile,
                expected_ns,
                measured_ns,
                ok: off.abs() <= settings.tolerance,
            })
        })
        .collect();
    Ok(Tested { checks, outcome })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formula_gives_the_published_figure() {
        let settings = Settings {
            rate: 1000.0,
            stall: Duration::from_millis(100),
            every: Duration::from_secs(1),
            tolerance: 0.05,
        };
        assert_eq!(expected_ns(&settings, 0.1, 0.99), Some(91_000_000));
        assert_eq!(expected_ns(&settings, 0.1, 0.5), None);
    }
}
