//! `ringmill doctor` on the machine that runs the tests: whatever it is like, every check answers,
//! nothing is invented, and nothing is left behind.

use ringmill_engine::doctor::{Verdict, examine, json, text};

const CHECKS: [&str; 16] = [
    "kernel",
    "io_uring",
    "io-wq",
    "memlock",
    "open files",
    "cpus",
    "smt",
    "governor",
    "clock",
    "cgroup cpu",
    "filesystem",
    "direct i/o",
    "free space",
    "block queue",
    "flush",
    "steal",
];

#[test]
fn every_check_answers_and_the_directory_stays_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let checks = examine(Some(directory.path()));
    assert_eq!(
        checks.iter().map(|check| check.check).collect::<Vec<_>>(),
        CHECKS
    );
    for check in &checks {
        assert!(!check.value.is_empty(), "{check:?}");
        let needs_advice = matches!(check.verdict, Verdict::Warn | Verdict::Fail);
        assert_eq!(check.advice.is_some(), needs_advice, "{check:?}");
        assert_eq!(
            check.value.starts_with("n/a"),
            check.verdict == Verdict::Unknown,
            "{check:?}"
        );
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    let flush = checks.iter().find(|check| check.check == "flush").unwrap();
    let uring = checks
        .iter()
        .any(|check| check.check == "io_uring" && check.verdict == Verdict::Ok);
    if uring && flush.verdict == Verdict::Ok {
        assert!(
            flush.value.contains("ring-fdatasync p50"),
            "{}",
            flush.value
        );
    }
    let text = text(&checks);
    assert!(text.is_ascii());
    assert!(CHECKS.iter().all(|check| text.contains(check)));
}

#[test]
fn without_a_directory_its_checks_are_unknown() {
    let checks = examine(None);
    assert_eq!(checks.len(), CHECKS.len());
    for check in checks
        .iter()
        .filter(|check| ["filesystem", "flush"].contains(&check.check))
    {
        assert_eq!(check.verdict, Verdict::Unknown);
        assert_eq!(check.value, "n/a (give --data DIR)");
    }
    let json: serde_json::Value = serde_json::from_str(&json(&checks)).unwrap();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["checks"].as_array().unwrap().len(), CHECKS.len());
}
