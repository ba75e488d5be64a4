//! Lost connections: the same events again, each stored once, none counted as never offered.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Parser;
use ringmill_loadgen::args::{Cli, Command};
use ringmill_loadgen::echo::{Echo, EchoOptions, Stall};
use ringmill_loadgen::plan::RunPlan;
use ringmill_loadgen::progress::Silent;
use ringmill_loadgen::run::{Outcome, execute};
use ringmill_loadgen::selftest::{Settings, expected_ns, selftest};

fn plan(addr: &str, more: &[&str]) -> RunPlan {
    let mut args = vec![
        "loadgen", "run", "-a", addr, "-w", "0s", "-d", "500ms", "-c", "2",
    ];
    args.extend(["-i", "100ms", "--keys", "100"]);
    args.extend(more);
    match Cli::parse_from(args).command {
        Some(Command::Run(run)) => RunPlan::of_run(&run).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn run(options: EchoOptions, more: &[&str]) -> (Echo, Outcome) {
    let echo = Echo::start("127.0.0.1:0", options).unwrap();
    let stop: Arc<AtomicBool> = Arc::default();
    let outcome = execute(&plan(&echo.addr().to_string(), more), &mut Silent, &stop).unwrap();
    (echo, outcome)
}

#[test]
fn broken_connections_are_made_again_and_every_event_is_stored_once() {
    for load in [
        &["-r", "20k", "--batch", "5"][..],
        &["-r", "max", "-n", "20k", "--batch", "50"],
    ] {
        let options = EchoOptions {
            break_after_frames: Some(40),
            ..EchoOptions::default()
        };
        let (echo, outcome) = run(options, load);
        let counts = outcome.counts;
        assert_eq!(outcome.failure, None);
        assert!(
            counts.lost > 0 && counts.reconnects == counts.lost,
            "{counts:?}"
        );
        assert_eq!((counts.timed_out, counts.unsent), (0, 0), "{counts:?}");
        assert_eq!(outcome.acked_events(), counts.offered);
        assert_eq!(echo.events(), counts.offered, "each once");
        let stored: u64 = echo.producers().values().sum();
        let acked: u64 = outcome
            .producers
            .iter()
            .map(|producer| producer.acked)
            .sum();
        assert_eq!(stored, acked);
    }
}

#[test]
fn without_reconnect_a_loss_ends_the_run() {
    let options = EchoOptions {
        break_after_frames: Some(5),
        ..EchoOptions::default()
    };
    let (_echo, outcome) = run(options, &["-r", "20k", "--reconnect", "off"]);
    assert!(outcome.failure.is_some());
    assert!(outcome.counts.timed_out + outcome.counts.unsent > 0);
}

#[test]
fn a_server_that_forgets_acknowledged_events_is_caught() {
    let options = EchoOptions {
        break_after_frames: Some(20),
        forget_events: 100,
        ..EchoOptions::default()
    };
    let (_echo, outcome) = run(options, &["-r", "20k", "--batch", "5"]);
    assert!(
        outcome.faults.iter().any(|fault| fault.contains("forgot")),
        "{:?}",
        outcome.faults
    );
}

#[test]
fn a_stall_is_counted_for_every_event_that_fell_due_in_it() {
    // Noise of the machine only adds to a response time, so theory is a lower bound.
    let settings = Settings {
        rate: 5_000.0,
        stall: Duration::from_millis(60),
        every: Duration::from_millis(300),
        tolerance: 0.05,
    };
    let mut plan = plan("", &[]);
    plan.warmup = settings.every;
    plan.duration = settings.every * 5;
    let tested = selftest(&settings, plan, &mut Silent, &Arc::default()).unwrap();
    assert_eq!(tested.checks.len(), 3);
    for check in &tested.checks {
        let floor = expected_ns(&settings, 0.1, check.quantile).unwrap() * 8 / 10;
        assert!(check.measured_ns >= floor, "{check:?}");
    }
    // With a small window events wait unsent, and still count from when they were due.
    let stall = Stall {
        every: settings.every,
        length: settings.stall,
    };
    let options = EchoOptions {
        stall: Some(stall),
        ..EchoOptions::default()
    };
    let narrow = [
        "-r",
        "5k",
        "-c",
        "1",
        "--inflight",
        "8",
        "-w",
        "300ms",
        "-d",
        "1500ms",
    ];
    let (_echo, held) = run(options, &narrow);
    let floor = expected_ns(&settings, 0.0, 0.99).unwrap() * 8 / 10;
    assert!(held.counts.held > 0, "{:?}", held.counts);
    assert!(
        held.response.quantile(0.99) >= floor,
        "{}",
        held.response.quantile(0.99)
    );
    // A closed loop against the same server shows next to nothing of it.
    let options = EchoOptions {
        stall: Some(stall),
        ..EchoOptions::default()
    };
    let (_echo, closed) = run(options, &["-r", "max", "-c", "1", "--inflight", "1"]);
    let p99 = closed.response.quantile(0.99);
    assert!(p99 < tested.checks[1].expected_ns / 2, "{p99}");
}

#[test]
fn a_number_of_events_is_sent_exactly() {
    let (echo, outcome) = run(
        EchoOptions::default(),
        &["-r", "100k", "-n", "1234", "--batch", "10"],
    );
    assert_eq!((echo.events(), outcome.acked_events()), (1234, 1234));
    let two = ["-r", "max", "-n", "1235", "--batch", "100", "-t", "2"];
    let (echo, outcome) = run(EchoOptions::default(), &two);
    assert_eq!((echo.events(), outcome.acked_events()), (1235, 1235));
}
