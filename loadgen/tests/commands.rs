//! Commands as users run them: exit codes, output, files.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::process::{Command, Stdio};

use ringmill_loadgen::echo::{Echo, EchoOptions};
use ringmill_loadgen::report::read;
use support::{loadgen, show};

/// The machine of a test may be busy, so nothing here depends on a measurement being valid.
const ANY_MACHINE: &str = "send_lag=1h,send_lag_share=100%,busy=100%,steal=100%,run_queue=100%";

fn echo() -> (Echo, String) {
    let echo = Echo::start("127.0.0.1:0", EchoOptions::default()).unwrap();
    let addr = echo.addr().to_string();
    (echo, addr)
}

fn run<'a>(addr: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec![
        "run", "-a", addr, "-r", "5k", "-d", "300ms", "-w", "0s", "-c", "2",
    ];
    args.extend(["--keys", "100", "-i", "100ms", "--limits", ANY_MACHINE]);
    args.extend(more);
    args
}

#[test]
fn a_run_ends_with_0_and_plain_output() {
    let (server, addr) = echo();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    let output = loadgen(&run(&addr, &["-o", out, "--batch", "5"]));
    assert_eq!(output.status.code(), Some(0), "{}", show(&output));
    for text in [&output.stdout, &output.stderr] {
        let control = |b: &&u8| **b < b' ' && **b != b'\n';
        assert_eq!(text.iter().find(control), None, "{}", show(&output));
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("\nt=0s offered="), "{stderr}");
    let document = read(dir.path()).unwrap();
    assert_eq!(document.verdict, "valid");
    assert_eq!(document.errors, 0, "{}", show(&output));
    assert_eq!(document.acked_events, document.offered_events);
    assert_eq!(server.events(), document.offered_events);
    for file in ["client.hlog", "client.hgrm", "acks"] {
        assert!(dir.path().join(file).exists(), "{file}");
    }
    let quiet = loadgen(&run(&addr, &["-q", "--format", "json"]));
    assert!(quiet.stderr.is_empty(), "{}", show(&quiet));
    let json: serde_json::Value = serde_json::from_slice(&quiet.stdout).unwrap();
    assert_eq!(json["schema"], 1);
    assert!(json["response_ns"]["p99"].is_u64());
}

#[test]
fn report_and_compare_read_the_files_of_runs() {
    let (_server, addr) = echo();
    let dir = tempfile::tempdir().unwrap();
    let paths: Vec<String> = (0..2)
        .map(|n| {
            dir.path()
                .join(format!("{n}.json"))
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    for path in &paths {
        let output = loadgen(&run(&addr, &["-q", "--json", path]));
        assert_eq!(output.status.code(), Some(0), "{}", show(&output));
    }
    let report = loadgen(&["report", &paths[0]]);
    assert_eq!(report.status.code(), Some(0), "{}", show(&report));
    assert!(String::from_utf8_lossy(&report.stdout).contains("p99.5"));
    let compare = loadgen(&["compare", &paths[0], &paths[1]]);
    assert_eq!(compare.status.code(), Some(0), "{}", show(&compare));
    assert!(String::from_utf8_lossy(&compare.stdout).contains("too few pairs"));
    assert_eq!(loadgen(&["compare", &paths[0]]).status.code(), Some(2));
    assert_eq!(
        loadgen(&["report", "/nonexistent/run.json"]).status.code(),
        Some(1)
    );
}

#[test]
fn errors_of_usage_end_with_2_before_anything_connects() {
    for args in [
        &["run", "-r", "fast"][..],
        &["run", "--mode", "open", "-r", "max"],
        &["run", "--mode", "closed", "-r", "5k"],
        &["run", "-c", "1", "-t", "2"],
        &["run", "--cpus", "0,1", "-t", "3"],
        &["run", "--cpus", "4095"],
        &["run", "--key-dist", "normal"],
        &["run", "--keys", "0"],
        &["run", "--producer", "a b"],
        &["run", "--slo", "p99"],
        &["search", "--slo", "p99=1ms", "--from", "2k", "--to", "1k"],
        &["bogus"],
    ] {
        let output = loadgen(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", show(&output));
    }
}

#[test]
fn each_failure_has_its_code() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = unused.local_addr().unwrap().to_string();
    drop(unused);
    let output = loadgen(&run(&nobody, &["--timeout", "1s"]));
    assert_eq!(output.status.code(), Some(1), "{}", show(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is the server running"));

    let (_server, addr) = echo();
    let output = loadgen(&run(&addr, &["--stream", "other"]));
    assert_eq!(output.status.code(), Some(1), "{}", show(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("it has finds"));
    let output = loadgen(&run(&addr, &["-q", "--slo", "p50=1ns"]));
    assert_eq!(output.status.code(), Some(3), "{}", show(&output));
    let mut impossible = run(&addr, &["-q"]);
    let limits = impossible
        .iter()
        .position(|arg| *arg == ANY_MACHINE)
        .unwrap();
    impossible[limits] = "send_lag=0ns,send_lag_share=0%";
    let output = loadgen(&impossible);
    assert_eq!(output.status.code(), Some(5), "{}", show(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("RESULT INVALID"));
}

/// A result that cannot be kept is found before the time of a run is spent, and nothing is left.
#[test]
fn files_that_cannot_be_written_are_found_before_anything_connects() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing/x");
    let missing = missing.to_str().unwrap();
    let kept = dir.path().join("kept.json");
    let kept = kept.to_str().unwrap();
    let file = dir.path().join("events.ndjson");
    std::fs::write(&file, "").unwrap();
    let file = file.to_str().unwrap();
    for args in [
        &["run", "--json", kept, "--hlog", missing][..],
        &["run", "--json", missing],
        &["search", "--slo", "p99=1ms", "--json", missing],
        &["replay", file, "--stream", "finds", "--json", missing],
    ] {
        let mut args = args.to_vec();
        args.extend(["-a", "127.0.0.1:1"]);
        let output = loadgen(&args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", show(&output));
        let said = String::from_utf8_lossy(&output.stderr);
        for part in ["cannot use", "missing/x", "check the path"] {
            assert!(said.contains(part), "{args:?}: {said}");
        }
    }
    assert!(!std::path::Path::new(kept).exists());
}

#[test]
fn lines_that_cannot_be_written_are_no_panic() {
    let full = || {
        std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap()
    };
    let (_server, addr) = echo();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_loadgen"));
    let status = command
        .args(run(&addr, &[]))
        .stdout(std::process::Stdio::null())
        .stderr(full())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0), "progress is not the result");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_loadgen"));
    let output = command
        .args(run(&addr, &["-q"]))
        .stdout(full())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", show(&output));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot write to standard output"), "{said}");
}

#[test]
fn a_starved_generator_calls_its_run_invalid() {
    let (_server, addr) = echo();
    let mut args = run(&addr, &["-q", "-d", "500ms", "--inflight", "100000"]);
    let rate = args.iter().position(|arg| *arg == "5k").unwrap();
    args[rate] = "20M";
    let limits = args.iter().position(|arg| *arg == ANY_MACHINE).unwrap();
    args[limits] = "steal=100%,run_queue=100%,send_lag=1ms";
    let output = loadgen(&args);
    assert_eq!(output.status.code(), Some(5), "{}", show(&output));
}

#[test]
fn an_interrupt_leaves_readable_files() {
    let (_server, addr) = echo();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    let args = run(&addr, &["-o", out, "-d", "60s"]);
    let child = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(&args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let acks = dir.path().join("acks");
    let has_acks = || {
        let mut logs = std::fs::read_dir(&acks).into_iter().flatten().flatten();
        logs.any(|log| std::fs::read_to_string(log.path()).is_ok_and(|t| t.lines().count() > 2))
    };
    let started = std::time::Instant::now();
    while !has_acks() {
        assert!(started.elapsed().as_secs() < 30, "no ack log appears");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", show(&output));
    let document = read(dir.path()).unwrap();
    assert!(document.interrupted && document.acked_events > 0);
    assert!(String::from_utf8_lossy(&output.stdout).contains("PARTIAL"));
}

#[test]
fn a_floor_is_measured_in_turns_and_given_as_ratios() {
    let (engine, addr) = echo();
    let (floor, floor_addr) = echo();
    let args = run(
        &addr,
        &[
            "-q",
            "--floor",
            &floor_addr,
            "--block",
            "100ms",
            "--format",
            "json",
        ],
    );
    let output = loadgen(&args);
    assert_eq!(output.status.code(), Some(0), "{}", show(&output));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["floor"]["pairs"], 3);
    assert_eq!(json["floor"]["ratios"].as_array().unwrap().len(), 4);
    assert!(engine.events() > 0 && floor.events() > 0);
    assert_eq!(json["acked_events"], engine.events());
}

#[test]
fn live_comparison_and_search_end_with_a_result() {
    let (_a, addr_a) = echo();
    let (_b, addr_b) = echo();
    let args = [
        "compare", "-a", &addr_a, "-b", &addr_b, "--pairs", "1", "--block", "50ms", "-q",
    ];
    let output = loadgen(&args);
    assert_eq!(output.status.code(), Some(0), "{}", show(&output));
    let args = [
        "search", "-a", &addr_a, "--slo", "p50=1ns", "-d", "50ms", "-w", "0s", "-q", "--from",
        "100",
    ];
    let output = loadgen(&args);
    assert_eq!(output.status.code(), Some(3), "{}", show(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("no rate meets"));
}
