//! `ringmill doctor`: what this machine is like, what that means for the engine, what to do.
//!
//! Every source is optional: what cannot be read shows as `n/a` and weighs nothing. The exit code
//! is 1 if any check fails, otherwise 0. The only thing that is written is the flush probe's
//! scratch file, which is removed again; a store in use is not probed.

mod cgroup;
mod check;
mod cpu;
mod kernel;
mod store;
pub(crate) mod system;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use rustix::thread::{CpuSet, sched_getaffinity};
use serde::Serialize;

pub use check::{Check, Verdict};

use crate::say::print;
use cpu::Ticks;
use system::System;

const EXIT_OK: i32 = 0;
const EXIT_FAIL: i32 = 1;

/// Version of the JSON layout.
const SCHEMA: u32 = 1;

/// Column at which values start, and at which lines end if they can be broken.
const VALUE_COLUMN: usize = 19;
const LINE_COLUMNS: usize = 100;

/// Arguments of `ringmill doctor`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct DoctorArgs {
    /// Data directory to judge, existing or planned; without it its checks are left out
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the command; returns its exit code.
pub fn run(args: &DoctorArgs) -> i32 {
    let checks = examine(args.data.as_deref());
    let text = if args.json {
        json(&checks)
    } else {
        text(&checks)
    };
    match print(&text) {
        EXIT_OK => exit_code(&checks),
        code => code,
    }
}

/// Examines this machine. Takes about a second if `data` is given, for the flush probe.
pub fn examine(data: Option<&Path>) -> Vec<Check> {
    let system = System::default();
    let cpus = usable_cpus();
    let before = Ticks::read(&system);
    let mut checks = kernel::checks(&system, &cpus);
    let uring = checks
        .iter()
        .any(|c| c.check == "io_uring" && c.verdict == Verdict::Ok);
    checks.extend(cpu::checks(&system, &cpus));
    checks.push(cgroup::check(&system, cpus.len()));
    checks.extend(store::checks(data, &cpus, uring));
    checks.push(cpu::steal(before, Ticks::read(&system)));
    checks
}

/// CPUs that this process may use, in ascending order; empty if the kernel does not tell.
fn usable_cpus() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(None) else {
        return Vec::new();
    };
    (0..CpuSet::MAX_CPU)
        .filter(|cpu| set.is_set(*cpu))
        .collect()
}

/// The report for people.
pub fn text(checks: &[Check]) -> String {
    let mut out = String::new();
    for check in checks {
        let head = format!("{:<4}  {:<12}", check.verdict, check.check);
        push_wrapped(&mut out, &head, &check.value);
        if let Some(advice) = &check.advice {
            push_wrapped(
                &mut out,
                &" ".repeat(VALUE_COLUMN - 4),
                &format!("-> {advice}"),
            );
        }
    }
    let count = |verdict| {
        checks
            .iter()
            .filter(|check| check.verdict == verdict)
            .count()
    };
    let _ = writeln!(
        out,
        "\n{} ok, {} to improve, {} failed, {} unknown",
        count(Verdict::Ok),
        count(Verdict::Warn),
        count(Verdict::Fail),
        count(Verdict::Unknown)
    );
    out
}

/// The report for programs.
pub fn json(checks: &[Check]) -> String {
    #[derive(Serialize)]
    struct Report<'a> {
        schema: u32,
        verdict: Verdict,
        checks: &'a [Check],
    }
    let verdict = checks
        .iter()
        .map(|check| check.verdict)
        .max()
        .unwrap_or(Verdict::Unknown);
    let report = Report {
        schema: SCHEMA,
        verdict,
        checks,
    };
    let mut json = serde_json::to_string_pretty(&report)
        .expect("invariant: the report has text keys and no value refuses to be written");
    json.push('\n');
    json
}

fn exit_code(checks: &[Check]) -> i32 {
    let failed = checks.iter().any(|check| check.verdict == Verdict::Fail);
    if failed { EXIT_FAIL } else { EXIT_OK }
}

/// Appends `head` and `body`, broken between words; further lines start at the value column.
fn push_wrapped(out: &mut String, head: &str, body: &str) {
    let mut line = head.to_owned();
    let mut is_first_word = true;
    for word in body.split_whitespace() {
        if !is_first_word && line.len() + 1 + word.len() > LINE_COLUMNS {
            out.push_str(line.trim_end());
            out.push('\n');
            line = " ".repeat(VALUE_COLUMN - 1);
        }
        line.push(' ');
        line.push_str(word);
        is_first_word = false;
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<Check> {
        vec![
            Check::ok("kernel", "6.18.0"),
            Check::warn(
                "block queue",
                "vda: rq_affinity 1, cache write back, fua no, scheduler none",
                "a flushed write ends in a kernel worker on the CPU that took the interrupt, and \
                 waits there if that CPU is busy: `echo 2 > /sys/block/vda/queue/rq_affinity`",
            ),
            Check::fail("io_uring", "cannot be used", "serve with --backend posix"),
            Check::unknown("governor", "no cpufreq interface, as in most guests"),
        ]
    }

    #[test]
    fn the_report_is_laid_out_in_columns() {
        let expected = "\
ok    kernel       6.18.0
warn  block queue  vda: rq_affinity 1, cache write back, fua no, scheduler none
                -> a flushed write ends in a kernel worker on the CPU that took the interrupt, and
                   waits there if that CPU is busy: `echo 2 > /sys/block/vda/queue/rq_affinity`
FAIL  io_uring     cannot be used
                -> serve with --backend posix
n/a   governor     n/a (no cpufreq interface, as in most guests)

1 ok, 1 to improve, 1 failed, 1 unknown
";
        assert_eq!(text(&sample()), expected);
    }

    #[test]
    fn json_carries_the_worst_verdict() {
        let value: serde_json::Value = serde_json::from_str(&json(&sample())).unwrap();
        assert_eq!(value["verdict"], "fail");
        assert_eq!(value["checks"][1]["check"], "block queue");
        assert_eq!(value["checks"][1]["verdict"], "warn");
        assert_eq!(value["checks"][3]["verdict"], "n/a");
        assert!(value["checks"][0].get("advice").is_none());
    }

    #[test]
    fn only_a_failed_check_makes_the_command_fail() {
        let checks = sample();
        assert_eq!(exit_code(&checks), 1);
        assert_eq!(exit_code(&checks[..2]), 0);
        assert_eq!(exit_code(&[]), 0);
    }
}
