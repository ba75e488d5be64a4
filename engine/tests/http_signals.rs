//! SIGUSR1 dumps, SIGTERM ends in order. A file of its own: signals reach the whole process.

mod http_support;

use std::path::PathBuf;

use http_support::{Fake, HUNT, eventually};
use ringmill_engine::control::ControlLimits;
use rustix::process::{Signal, getpid, kill_process};

#[test]
fn signals_dump_and_stop() {
    let mut fake = Fake::with(HUNT, 2, ControlLimits::default());
    // Whoever is answered knows that the signals are handled.
    assert_eq!(fake.get("/readyz").status, 200);
    let run = std::fs::read_dir(fake.dumps.path()).unwrap().next().unwrap().unwrap();
    let dir: PathBuf = run.path();
    let size = || std::fs::metadata(dir.join("all.hlog")).unwrap().len();
    let before = size();
    kill_process(getpid(), Signal::USR1).unwrap();
    eventually("a dump", || size() > before);

    kill_process(getpid(), Signal::TERM).unwrap();
    fake.join().unwrap();
    assert!(fake.shutdown.is_requested() && fake.shutdown.is_stopped());
    let summary = std::fs::read_to_string(dir.join("dump.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["finished"], true, "{summary}");
}
