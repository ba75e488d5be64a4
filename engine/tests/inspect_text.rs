//! The output of `ringmill inspect`: golden text, JSON, the choice of the dump, and errors.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not seen as tests")]

use std::fs;
use std::path::{Path, PathBuf};

use ringmill_engine::clock::ManualClock;
use ringmill_engine::dump::{DumpLimits, Dumper, HostInfo, RunInfo};
use ringmill_engine::inspect::{InspectArgs, InspectError, render, run};
use ringmill_engine::latency::Stage;
use ringmill_engine::metrics::{CoreMetrics, CoreSnapshot, Counter};

const START_NS: u64 = 1_795_170_677_250_000_000;
const SECOND_NS: u64 = 1_000_000_000;

fn args(dir: &Path) -> InspectArgs {
    InspectArgs {
        dir: dir.to_path_buf(),
        core: None,
        json: false,
    }
}

fn host() -> HostInfo {
    HostInfo {
        kernel: Some("6.18.0".to_owned()),
        cpu_model: Some("Sample CPU".to_owned()),
        cpus_online: Some(2),
        memory_bytes: Some(8 << 30),
        guest: Some(true),
        clocksource: Some("tsc".to_owned()),
        clock: Some("tsc".to_owned()),
        governor: None,
    }
}

fn run_info(shards: usize) -> RunInfo {
    RunInfo {
        backend: "uring".to_owned(),
        sync_way: Some("ring-fdatasync".to_owned()),
        sync_p50_ns: Some(152_000),
        sync_p99_ns: Some(327_000),
        shards,
        cpus: (0..shards).map(|shard| (shard == 0).then_some(0)).collect(),
        spin: "20us".to_owned(),
        durability: "commit".to_owned(),
        floor: None,
    }
}

/// Writes a dump of two intervals, the second with slow events, and returns its directory.
fn dump(root: &Path, shards: usize, start_ns: u64, finished: bool) -> PathBuf {
    let clock = ManualClock::new(0, start_ns);
    let limits = DumpLimits::default();
    let mut dumper =
        Dumper::with_clock(root, host(), run_info(shards), limits, clock.clone()).unwrap();
    let cores: Vec<_> = (0..shards).map(|_| CoreMetrics::new()).collect();
    let snapshots = || {
        cores
            .iter()
            .map(|core| core.snapshot())
            .collect::<Vec<CoreSnapshot>>()
    };
    let core = &cores[0];
    core.record_path(
        &[4_000, 1_000, 0, 2_000, 110_000, 22_000, 51_000, 6_000],
        196_000,
        1_000_000,
    );
    clock.advance_ns(10 * SECOND_NS);
    dumper.interval(&snapshots()).unwrap();
    core.record_path(
        &[21_000, 1_000, 0, 2_000, 400_000, 95_000, 2_900_000, 24_000],
        3_450_000,
        12_000,
    );
    core.record_n(Stage::Turn, 15_000, 40_000);
    for (counter, value) in [
        (Counter::EventsAccepted, 1_012_000),
        (Counter::LaneSlotsPeak, 212),
        (Counter::LaneSlots, 4_096),
        (Counter::Enters, 30_000),
        (Counter::Cqes, 273_000),
        (Counter::FramesLogged, 20_000),
        (Counter::LogBytes, 20_000 * 6_144),
        (Counter::Turns, 40_000),
        (Counter::TurnsBusy, 30_000),
        (Counter::Parks, 120),
        (Counter::CpuNs, 7 * SECOND_NS),
    ] {
        core.set(counter, value);
    }
    if let Some(core) = cores.get(1) {
        core.record_path(&[10, 10, 10, 10, 10, 10, 10, 10], 100, 500);
        core.record_n(Stage::Hop, 2_500, 500);
    }
    clock.advance_ns(20 * SECOND_NS);
    if finished {
        return dumper.finish(&snapshots()).unwrap();
    }
    dumper.interval(&snapshots()).unwrap().to_path_buf()
}

/// The output with the directory, which differs between runs, replaced.
fn rendered(args: &InspectArgs, directory: &Path) -> String {
    let text = render(args).unwrap();
    text.replace(&directory.display().to_string(), "DIR")
        .replace(env!("CARGO_PKG_VERSION"), "VERSION")
}

const ONE_CORE: &str = include_str!("golden/inspect_one_core.txt");
const FEW_EVENTS: &str = include_str!("golden/inspect_few_events.txt");

#[test]
fn one_core_is_shown_by_stage() {
    let root = tempfile::tempdir().unwrap();
    let directory = dump(root.path(), 1, START_NS, true);
    assert_eq!(rendered(&args(&directory), &directory), ONE_CORE);
}

#[test]
fn a_core_with_few_events_shows_dashes_and_its_remainder() {
    let root = tempfile::tempdir().unwrap();
    let directory = dump(root.path(), 2, START_NS, false);
    let args = InspectArgs {
        core: Some(1),
        ..args(&directory)
    };
    assert_eq!(rendered(&args, &directory), FEW_EVENTS);
}

#[test]
fn several_cores_end_with_their_sum() {
    let root = tempfile::tempdir().unwrap();
    let directory = dump(root.path(), 2, START_NS, true);
    let text = render(&args(&directory)).unwrap();
    let titles: Vec<_> = text
        .lines()
        .filter(|line| line.contains(" events   "))
        .collect();
    let starts = [
        "core 0 (cpu 0)   1.01M events",
        "core 1   500 events",
        "all   1.01M events",
    ];
    assert_eq!(titles.len(), 3, "{text}");
    for (title, start) in titles.iter().zip(starts) {
        assert!(title.starts_with(start), "{title}");
    }
    assert!(
        text.lines()
            .all(|line| line.len() <= 112 || line.starts_with("dump")),
        "{text}"
    );
    assert!(text.is_ascii() && !text.contains('\u{1b}'));
}

#[test]
fn json_holds_the_same_figures_exactly() {
    let root = tempfile::tempdir().unwrap();
    let directory = dump(root.path(), 2, START_NS, true);
    let args = InspectArgs {
        json: true,
        ..args(&directory)
    };
    let json: serde_json::Value = serde_json::from_str(&render(&args).unwrap()).unwrap();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["run"]["sync_way"], "ring-fdatasync");
    assert_eq!(json["duration_ns"], 30 * SECOND_NS);
    let core = &json["cores"][0];
    assert_eq!(
        (&core["core"], &core["events"]),
        (&0.into(), &1_012_000.into())
    );
    assert_eq!(core["unattributed_ns"], 12_000 * 7_000);
    assert_eq!(core["slow_events"], 12_000);
    let sync = &core["stages"]["sync"];
    assert_eq!(sync["count"], 1_012_000);
    assert_eq!(sync["max_ns"], 2_900_000);
    let share = sync["mean_share"].as_f64().unwrap();
    let expected = (51e3 * 1e6 + 2.9e6 * 12e3) / (196e3 * 1e6 + 3.45e6 * 12e3);
    assert!((share - expected).abs() < 1e-12, "{share} {expected}");
    assert!(core["stages"]["turn"].get("mean_share").is_none());
    assert_eq!(core["counters"]["lane_slots_peak"], 212);
    assert_eq!(json["cores"][1]["unattributed_ns"], 20 * 500);
    assert_eq!(json["all"]["events"], 1_012_500);

    let one = InspectArgs {
        core: Some(1),
        ..args
    };
    let json: serde_json::Value = serde_json::from_str(&render(&one).unwrap()).unwrap();
    assert_eq!(json["cores"].as_array().unwrap().len(), 1);
    assert_eq!(json["cores"][0]["core"], 1);
    assert!(json.get("all").is_none());
}

#[test]
fn a_data_directory_and_a_directory_of_dumps_lead_to_the_newest() {
    let data = tempfile::tempdir().unwrap();
    let dumps = data.path().join("dumps");
    dump(&dumps, 1, START_NS, true);
    let newest = dump(&dumps, 1, START_NS + 3_600 * SECOND_NS, true);
    dump(&dumps, 1, START_NS + 60 * SECOND_NS, true);
    fs::create_dir(dumps.join("zzz-not-a-dump")).unwrap();
    for dir in [data.path(), &dumps, &newest] {
        let text = render(&args(dir)).unwrap();
        let first = format!("dump   {}   ringmill", newest.display());
        assert!(text.starts_with(&first), "{text}");
    }
}

#[test]
fn a_run_that_just_began_says_so() {
    let root = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(0, START_NS);
    let limits = DumpLimits::default();
    Dumper::with_clock(root.path(), HostInfo::default(), run_info(1), limits, clock).unwrap();
    let text = render(&args(root.path())).unwrap();
    assert!(
        text.contains("core 0 (cpu 0)   0 events   0.0s\n  nothing recorded yet\n"),
        "{text}"
    );
    assert!(
        text.contains("host   n/a, n/a CPUs, kernel n/a, clock n/a\n"),
        "{text}"
    );
}

#[test]
fn wrong_paths_are_told_apart() {
    let root = tempfile::tempdir().unwrap();
    let error = render(&args(&root.path().join("absent"))).unwrap_err();
    assert!(matches!(error, InspectError::Path { .. }), "{error}");
    assert!(error.to_string().contains("absent"), "{error}");

    let error = render(&args(root.path())).unwrap_err();
    assert!(matches!(error, InspectError::NoDump { .. }), "{error}");
    assert!(error.to_string().contains("SIGUSR1"), "{error}");

    let directory = dump(root.path(), 2, START_NS, true);
    let error = render(&args(&directory.join("dump.json"))).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("give the directory that holds it"),
        "{error}"
    );

    let error = render(&InspectArgs {
        core: Some(2),
        ..args(&directory)
    })
    .unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("has no core 2: its cores are 0 to 1"),
        "{error}"
    );
    assert_eq!(
        run(&InspectArgs {
            core: Some(2),
            ..args(&directory)
        }),
        2
    );
    assert_eq!(run(&args(&root.path().join("absent"))), 1);
}

#[test]
fn damaged_and_foreign_dumps_are_refused_with_the_reason() {
    let root = tempfile::tempdir().unwrap();
    let directory = dump(root.path(), 1, START_NS, true);
    let file = directory.join("dump.json");
    let good = fs::read_to_string(&file).unwrap();
    let field = "\"histogram\": \"";
    let histogram = good.find(field).unwrap() + field.len();
    let cut = format!("{}{}", &good[..histogram], &good[histogram + 4..]);
    let cases = [
        (String::new(), "EOF"),
        ("[]".to_owned(), "not a readable latency dump"),
        (
            good[..good.len() / 2].to_owned(),
            "not a readable latency dump",
        ),
        (
            good.replacen("\"schema\": 1", "\"schema\": 2", 1),
            "has dump schema 2, this ringmill reads schema 1",
        ),
        (
            good.replacen("ringmill-dump", "loadgen-run", 1),
            "its kind is \"loadgen-run\"",
        ),
        (
            good.replacen("\"rx\": {", "\"xr\": {", 1),
            "stage rx is missing",
        ),
        (
            good.replacen("\"core\": 0", "\"core\": 3", 1),
            "core 3 stands where core 0 should",
        ),
        (good.replacen(field, "\"histogram\": \"*", 1), "not base64"),
        (cut, "cannot be decoded"),
        (
            good.replace("\"count\": 1012000", "\"count\": 7"),
            "7 declared",
        ),
    ];
    for (text, reason) in cases {
        fs::write(&file, &text).unwrap();
        let error = render(&args(&directory)).unwrap_err().to_string();
        assert!(error.contains(reason), "{reason:?} is not in {error:?}");
        assert!(error.contains("dump.json"), "{error}");
    }
    fs::write(
        &file,
        good.replacen("\"events_accepted\"", "\"events_of_tomorrow\"", 1),
    )
    .unwrap();
    assert!(
        render(&args(&directory)).is_ok(),
        "unknown counters are no reason to refuse"
    );
}
