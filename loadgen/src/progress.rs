//! Live output: a line that is drawn over on a terminal, plain lines everywhere else.

use std::io::{IsTerminal, Write, stderr};

use crate::tally::{IntervalSet, Phase};
use crate::units::{Rate, human_ns, short_count};

/// Is told about every interval.
pub trait Live {
    /// An interval ended, `since_start_ns` after load began.
    fn interval(&mut self, set: &IntervalSet, since_start_ns: u64);
    /// The last interval was reported.
    fn end(&mut self) {}
}

/// Says nothing.
pub struct Silent;

impl Live for Silent {
    fn interval(&mut self, _set: &IntervalSet, _since_start_ns: u64) {}
}

/// Plain lines, without control characters.
struct Lines;

/// One line of a terminal.
struct Terminal {
    total_ns: u64,
}

/// The live output that fits standard error: silent if `quiet`.
pub fn live(quiet: bool, total_ns: u64) -> Box<dyn Live> {
    if quiet {
        Box::new(Silent)
    } else if stderr().is_terminal() {
        Box::new(Terminal { total_ns })
    } else {
        Box::new(Lines)
    }
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::WarmUp => "warm-up",
        Phase::Measured => "measured",
        Phase::Drain => "drain",
    }
}

fn rates(set: &IntervalSet) -> (f64, f64) {
    let seconds = (set.to_ns - set.from_ns) as f64 / 1e9;
    if seconds <= 0.0 {
        return (0.0, 0.0);
    }
    (
        set.counts.offered as f64 / seconds,
        set.counts.acked as f64 / seconds,
    )
}

/// One interval as a plain line.
fn plain_line(set: &IntervalSet, since_start_ns: u64) -> String {
    let (offered, acked) = rates(set);
    let us = |ns: u64| ns as f64 / 1e3;
    let mut line = format!(
        "t={:.0}s offered={offered:.0} acked={acked:.0} inflight={} p50_us={:.0} p99_us={:.0} \
         p999_us={:.0} max_us={:.0} sendlag_p99_us={:.0} phase={}",
        since_start_ns as f64 / 1e9,
        set.in_flight,
        us(set.response.quantile(0.5)),
        us(set.response.quantile(0.99)),
        us(set.response.quantile(0.999)),
        us(set.response.max()),
        us(set.pacing_lag.quantile(0.99)),
        phase_name(set.phase),
    );
    for (name, count) in [
        ("lost", set.counts.lost),
        ("reconnects", set.counts.reconnects),
        ("rejected", set.counts.rejected),
        ("held", set.counts.held),
    ] {
        if count > 0 {
            line.push_str(&format!(" {name}={count}"));
        }
    }
    line
}

impl Live for Lines {
    fn interval(&mut self, set: &IntervalSet, since_start_ns: u64) {
        let _ = writeln!(stderr(), "{}", plain_line(set, since_start_ns));
    }
}

const BAR_CELLS: usize = 20;

impl Live for Terminal {
    fn interval(&mut self, set: &IntervalSet, since_start_ns: u64) {
        let (offered, acked) = rates(set);
        let done = since_start_ns as f64 / self.total_ns.max(1) as f64;
        let filled = ((done * BAR_CELLS as f64) as usize).min(BAR_CELLS);
        let bar = format!("{}{}", "#".repeat(filled), " ".repeat(BAR_CELLS - filled));
        let seconds = since_start_ns / 1_000_000_000;
        let line = format!(
            " {:02}:{:02} |{bar}| {} {}/s acked {}  inflight {}  p50 {}  p99 {}  lag99 {}",
            seconds / 60,
            seconds % 60,
            phase_name(set.phase),
            short_count(offered.round()),
            short_count(acked.round()),
            set.in_flight,
            human_ns(set.response.quantile(0.5)),
            human_ns(set.response.quantile(0.99)),
            human_ns(set.pacing_lag.quantile(0.99)),
        );
        let _ = write!(stderr(), "\r\x1b[K{line}");
    }

    fn end(&mut self) {
        let _ = write!(stderr(), "\r\x1b[K");
    }
}

/// The rate as it is offered, for headlines.
pub fn rate_text(rate: Rate) -> String {
    match rate {
        Rate::PerSecond(rate) => format!("{}/s", short_count(rate)),
        Rate::Max => "max".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_hold_no_control_characters() {
        let mut set = IntervalSet {
            from_ns: 0,
            to_ns: 1_000_000_000,
            ..IntervalSet::default()
        };
        set.counts.offered = 50_012;
        set.counts.acked = 50_010;
        set.response.record(212_000);
        let line = plain_line(&set, 1_000_000_000);
        assert!(line.starts_with("t=1s offered=50012 acked=50010 inflight=0 p50_us=212 "));
        assert!(line.chars().all(|c| !c.is_control()), "{line:?}");
    }
}
