//! SIGUSR1 dumps, SIGTERM ends in order. A file of its own: signals reach the whole process.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not seen as tests")]

mod http_support;

use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use http_support::{Fake, HUNT, eventually, find, read_response};
use ringmill_engine::control::ControlLimits;
use rustix::process::{Signal, getpid, kill_process};

#[test]
fn signals_dump_and_stop() {
    let drain_timeout = Duration::from_secs(60);
    let mut fake = Fake::with(
        HUNT,
        2,
        ControlLimits {
            drain_timeout,
            ..ControlLimits::default()
        },
    );
    // Whoever is answered knows that the signals are handled.
    assert_eq!(fake.get("/readyz").status, 200);
    let run = std::fs::read_dir(fake.dumps.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let dir: PathBuf = run.path();
    let size = || std::fs::metadata(dir.join("all.hlog")).unwrap().len();
    let before = size();
    kill_process(getpid(), Signal::USR1).unwrap();
    eventually("a dump", || size() > before);

    // A request whose body is still on its way when the order comes: the cores have to wait.
    let body: String = (0..20)
        .map(|i| find(i, 1_700_000_000_000, 1, "x"))
        .collect();
    let (first, rest) = body.split_at(300);
    let mut stream = fake.begin_post("/v1/streams/finds/events", body.len());
    stream.write_all(first.as_bytes()).unwrap();
    kill_process(getpid(), Signal::TERM).unwrap();
    eventually("the listener closes", || {
        TcpStream::connect(fake.address).is_err()
    });
    assert!(!fake.shutdown.is_requested());
    stream.write_all(rest.as_bytes()).unwrap();
    assert_eq!(read_response(&mut stream).ok()["accepted"], 20);
    fake.join().unwrap();
    assert!(fake.shutdown.is_requested() && fake.shutdown.is_stopped());
    let summary = std::fs::read_to_string(dir.join("dump.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["finished"], true, "{summary}");
}
