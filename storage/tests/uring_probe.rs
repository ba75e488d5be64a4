//! The flush probe on a real directory: it ends, chooses, remembers, and notices changes.

mod uring_support;

use std::fs;
use std::time::Duration;

use ringmill_storage::probe::{
    Backend, PROBE_SPIN, ProbeError, ProbeOptions, SyncWay, VERDICT_FILE, load_or_probe, probe,
    probe_with,
};
use uring_support::{dir, ring};

fn options(dir: &tempfile::TempDir, backend: Backend) -> ProbeOptions {
    ProbeOptions {
        dir: dir.path().to_path_buf(),
        backend,
        cpu: None,
        busy_cpus: allowed_cpus(),
        budget: Duration::from_millis(100),
        spin: PROBE_SPIN,
    }
}

fn allowed_cpus() -> Vec<usize> {
    let set = rustix::thread::sched_getaffinity(None).expect("the affinity is readable");
    (0..rustix::thread::CpuSet::MAX_CPU)
        .filter(|&cpu| set.is_set(cpu))
        .collect()
}

#[test]
fn both_ways_are_measured_and_the_directory_is_left_clean() {
    if ring().is_none() {
        return;
    }
    let dir = dir();
    let cpus = allowed_cpus();
    let report = probe(dir.path(), Some(cpus[0]), &cpus, Duration::from_millis(100)).unwrap();
    assert_eq!(report.ways.len(), 2);
    for (latency, way) in report.ways.iter().zip(SyncWay::ALL) {
        assert_eq!(latency.way, way);
        assert!(latency.samples > 0);
        assert!(0 < latency.p50_ns && latency.p50_ns <= latency.p99_ns);
    }
    assert!(report.pinned);
    let line = report.to_string();
    assert!(
        line.contains("dsync p50") && line.contains("ring-fdatasync p50"),
        "{line}"
    );
    assert!(report.chosen_latency().is_some());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_probe_with_no_time_still_measures_each_way_once() {
    let dir = dir();
    let options = ProbeOptions {
        budget: Duration::ZERO,
        ..options(&dir, Backend::Posix)
    };
    let report = probe_with(&options).unwrap();
    assert!(report.ways.iter().all(|latency| latency.samples == 1));
}

#[test]
fn a_verdict_is_kept_until_something_changes() {
    let dir = dir();
    let posix = options(&dir, Backend::Posix);
    let first = load_or_probe(&posix).unwrap();
    assert_eq!(
        first.measured_because.as_deref(),
        Some("no verdict is stored yet")
    );
    let again = load_or_probe(&posix).unwrap();
    assert_eq!(again.measured_because, None);
    assert_eq!(again.report, first.report);

    let pinned = ProbeOptions {
        cpu: Some(allowed_cpus()[0]),
        ..posix.clone()
    };
    let because = load_or_probe(&pinned).unwrap().measured_because.unwrap();
    assert!(because.contains("unpinned to pinned"), "{because}");

    let path = dir.path().join(VERDICT_FILE);
    let text = fs::read_to_string(&path).unwrap();
    for (from, to, expected) in [
        (
            first.report.kernel.as_str(),
            "1.2.3",
            "kernel changed from 1.2.3",
        ),
        ("device ", "device 9:9 ", "device changed from 9:9"),
        (
            "ringmill flush-probe 1",
            "ringmill flush-probe 2",
            "no usable version line",
        ),
        ("chosen ", "chosen x", "no usable chosen"),
    ] {
        fs::write(&path, text.replace(from, to)).unwrap();
        let because = load_or_probe(&pinned).unwrap().measured_because.unwrap();
        assert!(
            because.contains(expected),
            "{because:?} does not say {expected:?}"
        );
    }
    if ring().is_some() {
        let uring = ProbeOptions {
            backend: Backend::Uring,
            ..pinned
        };
        let because = load_or_probe(&uring).unwrap().measured_because.unwrap();
        assert!(because.contains("from posix to uring"), "{because}");
    }
}

#[test]
fn what_a_killed_probe_left_behind_is_in_nobodys_way() {
    let dir = dir();
    fs::write(dir.path().join("flush-probe.scratch"), b"half").unwrap();
    fs::write(dir.path().join("flush-probe.new"), b"half").unwrap();
    load_or_probe(&options(&dir, Backend::Posix)).unwrap();
    let names: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names, [VERDICT_FILE]);
}

#[test]
fn failures_name_the_directory_and_what_it_needs() {
    let dir = dir();
    let mut options = options(&dir, Backend::Posix);
    options.dir = dir.path().join("missing");
    let error = load_or_probe(&options).unwrap_err();
    assert!(matches!(error, ProbeError::Directory { .. }), "{error}");
    assert!(error.to_string().contains("missing"), "{error}");

    options.dir = dir.path().to_path_buf();
    options.cpu = Some(1023);
    let error = probe_with(&options).unwrap_err();
    assert!(error.to_string().contains("CPU 1023"), "{error}");
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        0,
        "the scratch file was left"
    );

    options.dir = "/proc".into();
    let error = probe_with(&options).unwrap_err();
    assert!(matches!(error, ProbeError::Scratch { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("/proc/flush-probe.scratch") && text.contains("1 MiB"),
        "{text}"
    );
}
