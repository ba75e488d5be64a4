//! Output that nobody takes, and `log verify` of what is no stopped store.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use common::client::Client;
use common::hunt;
use common::server::{Server, ended, log_of, ringmill, serve};

const RUN_TIME: i32 = 1;

fn full() -> Stdio {
    File::options()
        .write(true)
        .open("/dev/full")
        .unwrap()
        .into()
}

fn verify(dir: &Path) -> Command {
    let mut command = ringmill();
    command.args(["log", "verify"]).arg(dir);
    command
}

/// The reader of the server's log goes away while the server runs and talks.
#[test]
fn a_server_outlives_the_reader_of_its_log() {
    let dir = common::scratch();
    let pipeline = hunt::pipeline_file(dir.path());
    let data = dir.path().join("data");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let command = serve(&pipeline, &data, &["--shards", "2"]);
    let mut server = Server::run_into(command, writer.into(), &log_of(&data));
    let mut client = Client::hello(server.listen, "p", 0);
    let rows = hunt::rows(client.schema(), 1, 1, 10);
    client.publish(1, &rows);
    server.assert_running();
    server.stop();
    ended(&mut verify(&data)).expect_done(&["log 0000  ok", "log 0001  ok", "end closed"]);
}

#[test]
fn results_that_cannot_be_written_are_errors_and_no_panics() {
    let dir = common::scratch();
    let pipeline = hunt::pipeline_file(dir.path());
    let data = dir.path().join("data");
    Server::start(&pipeline, &data, &[]).stop();
    let mut check = ringmill();
    check.arg("check").arg(&pipeline);
    let mut inspect = ringmill();
    inspect.arg("inspect").arg(&data);
    for mut command in [check, inspect, verify(&data)] {
        let output = command.stdout(full()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(RUN_TIME), "{command:?}: {said}");
        let part = "cannot write to standard output";
        assert!(said.contains(part), "{command:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    let mut unread = ringmill();
    unread.arg("check").arg("missing.toml").stderr(full());
    assert_eq!(unread.status().unwrap().code(), Some(2));
}

#[test]
fn verify_names_what_is_no_stopped_store() {
    let dir = common::scratch();
    let pipeline = hunt::pipeline_file(dir.path());
    let data = dir.path().join("data");
    let server = Server::start(&pipeline, &data, &[]);
    ended(&mut verify(&data)).expect(RUN_TIME, &["is in use", "stop it, or verify a copy"]);
    server.stop();
    ended(&mut verify(&data)).expect_done(&["log 0000  ok", "end closed"]);
    let absent = dir.path().join("absent");
    ended(&mut verify(&absent)).expect(RUN_TIME, &["cannot read", "give the data directory"]);
    ended(&mut verify(&pipeline)).expect(RUN_TIME, &["is a file; give the data directory"]);
    ended(&mut verify(dir.path())).expect(RUN_TIME, &["is no data directory", "serve --data"]);
    std::fs::remove_dir_all(data.join("log-0000")).unwrap();
    let damaged = ended(&mut verify(&data));
    damaged.expect(RUN_TIME, &["1 log is damaged; nothing was changed"]);
    assert!(damaged.stdout.contains("log 0000  DAMAGED"), "{damaged:?}");
    std::fs::remove_file(data.join("manifest")).unwrap();
    std::fs::create_dir(data.join("log-0000")).unwrap();
    ended(&mut verify(&data)).expect(RUN_TIME, &["manifest is missing", "from a backup"]);
}
