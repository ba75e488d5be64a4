//! Intended send times of one thread's events.
//!
//! The schedule never looks at the clock: a generator that falls behind keeps drawing times that
//! lie in the past, so no event is skipped and its latency counts from when it should have been
//! sent.

use crate::rng::{SplitMix64, derive};

/// The shape of the gaps between events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Arrival {
    /// Independent exponential gaps.
    Poisson,
    /// Equal gaps.
    Constant,
}

/// Draws intended times in ns since the start of the run, never decreasing.
#[derive(Clone, Debug)]
pub struct Schedule {
    arrival: Arrival,
    gap_ns: f64,
    /// Kept in floating point, so that no rounding of the gap adds up to a wrong rate.
    next_ns: f64,
    rng: SplitMix64,
}

impl Schedule {
    /// A schedule of `rate_per_s` events that begins at `start_ns`. Threads of one run pass their
    /// index as `stream`: the sum of independent Poisson streams is Poisson.
    pub fn new(arrival: Arrival, rate_per_s: f64, start_ns: u64, seed: u64, stream: u64) -> Self {
        assert!(rate_per_s > 0.0, "a schedule needs a positive rate");
        Schedule {
            arrival,
            gap_ns: 1e9 / rate_per_s,
            next_ns: start_ns as f64,
            rng: SplitMix64::new(derive(seed ^ 0x0061_7272_6976_616c, stream)),
        }
    }

    /// The intended time of the next event.
    #[inline]
    pub fn draw(&mut self) -> u64 {
        let gap = match self.arrival {
            Arrival::Poisson => self.gap_ns * self.rng.exponential(),
            Arrival::Constant => self.gap_ns,
        };
        self.next_ns += gap;
        self.next_ns as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Anderson-Darling statistic of gaps against the exponential distribution of known mean.
    fn anderson_darling(gaps: &mut [f64], mean: f64) -> f64 {
        gaps.sort_by(f64::total_cmp);
        let n = gaps.len();
        let cumulative = |gap: f64| 1.0 - (-gap / mean).exp();
        let sum: f64 = (0..n)
            .map(|i| {
                let low = cumulative(gaps[i]).max(1e-12).ln();
                let high = (-gaps[n - 1 - i] / mean).max(-27.0);
                (2 * i + 1) as f64 * (low + high)
            })
            .sum();
        -(n as f64) - sum / n as f64
    }

    #[test]
    fn poisson_gaps_pass_and_constant_gaps_fail_anderson_darling() {
        // 3.857 is the 1 % point when the distribution is fully known; the seed is fixed.
        for (arrival, fits) in [(Arrival::Poisson, true), (Arrival::Constant, false)] {
            let mut schedule = Schedule::new(arrival, 1000.0, 0, 42, 0);
            let mut last = 0u64;
            let mut gaps: Vec<f64> = (0..5000)
                .map(|_| {
                    let at = schedule.draw();
                    let gap = at - last;
                    last = at;
                    gap as f64
                })
                .collect();
            let statistic = anderson_darling(&mut gaps, 1e6);
            assert_eq!(statistic < 3.857, fits, "{arrival:?}: {statistic}");
        }
    }

    #[test]
    fn rate_is_kept_over_many_events_and_threads_differ() {
        let mut a = Schedule::new(Arrival::Poisson, 3_000_000.0, 0, 7, 0);
        let mut b = Schedule::new(Arrival::Poisson, 3_000_000.0, 0, 7, 1);
        assert_ne!(a.draw(), b.draw());
        let last = (0..1_000_000).map(|_| a.draw()).last().unwrap();
        let expected = 1e9 / 3.0;
        assert!((last as f64 - expected).abs() < expected * 0.005, "{last}");
        let mut constant = Schedule::new(Arrival::Constant, 3.0, 100, 7, 0);
        let last = (0..3_000_000).map(|_| constant.draw()).last().unwrap();
        assert!(last.abs_diff(1_000_000_000_000_100) < 1_000_000, "{last}");
    }
}
