//! What keeps a server from starting: the exit code, a message with the way out, and a store that
//! is as it was.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::client::Client;
use common::confine::{with_memlock, without_io_uring};
use common::http::Http;
use common::hunt::{self, Expected};
use common::server::{Refusal, Server, ended, log_of, ringmill, serve};
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_128;

const RUN_TIME: i32 = 1;
const USAGE: i32 = 2;
const EVENTS: u64 = 1_000;

/// A store with some acknowledged events, which must be there at the end.
struct Store {
    dir: TempDir,
    pipeline: PathBuf,
    data: PathBuf,
}

impl Store {
    fn empty() -> Store {
        let dir = common::scratch();
        let pipeline = hunt::pipeline_file(dir.path());
        let data = dir.path().join("data");
        Store {
            dir,
            pipeline,
            data,
        }
    }

    fn with_events() -> Store {
        let store = Store::empty();
        let server = store.start();
        let mut client = Client::hello(server.listen, "before", 0);
        let rows = hunt::rows(client.schema(), 1, 1, EVENTS);
        client.publish(1, &rows);
        server.stop();
        store
    }

    fn start(&self) -> Server {
        Server::start(&self.pipeline, &self.data, &[])
    }

    fn serve(&self, more: &[&str]) -> Command {
        serve(&self.pipeline, &self.data, more)
    }

    fn refused(&self, more: &[&str]) -> Refusal {
        ended(&mut self.serve(more))
    }

    #[track_caller]
    fn check(&self) {
        let server = self.start();
        check_events(&server);
        server.stop();
    }
}

#[track_caller]
fn check_events(server: &Server) {
    let mut expected = Expected::default();
    expected.extend(1, EVENTS);
    expected.check(&Http::new(server.http), "acknowledged before");
}

#[test]
fn every_problem_of_a_pipeline_file_has_its_line_and_column() {
    let store = Store::empty();
    let text = hunt::PIPELINE
        .replace("disorder = \"1d\"", "disordr = \"1d\"")
        .replace("member = \"region\"", "member = \"regoin\"");
    std::fs::write(&store.pipeline, &text).unwrap();
    let line_of = |part: &str| text.lines().position(|line| line.contains(part)).unwrap() + 1;
    let places = [
        format!("hunt.toml: line {}, column ", line_of("disordr")),
        format!("hunt.toml: line {}, column ", line_of("regoin")),
    ];
    let parts = [
        &places[0],
        &places[1],
        "did you mean `disorder`?",
        "did you mean `region`?",
        "hunt.toml: 2 problems",
    ];
    store.refused(&[]).expect(USAGE, &parts);
    ended(ringmill().arg("check").arg(&store.pipeline)).expect(USAGE, &parts);
    assert!(!store.data.exists(), "a refused file makes no store");
    std::fs::remove_file(&store.pipeline).unwrap();
    store
        .refused(&[])
        .expect(USAGE, &["cannot read the pipeline file", "hunt.toml"]);
}

#[test]
fn a_pipeline_that_does_not_fit_the_store_is_refused() {
    let store = Store::with_events();
    let other = hunt::PIPELINE.replace(
        "points = { id = 4, type = \"i64\" }",
        "points = { id = 4, type = \"u64\" }",
    );
    assert_ne!(other, hunt::PIPELINE);
    std::fs::write(&store.pipeline, other).unwrap();
    store.refused(&[]).expect(
        RUN_TIME,
        &[
            "the pipeline does not fit the store in",
            "`finds`",
            "points",
            "use the pipeline that the store was written with",
            "pipeline.toml",
            "or another data directory",
        ],
    );
    let stored = store.data.join("pipeline.toml");
    let text = std::fs::read(&stored).unwrap();
    std::fs::write(&stored, "half = [").unwrap();
    store.refused(&[]).expect(
        RUN_TIME,
        &["pipeline.toml: line 1", "the store's copy", "from a backup"],
    );
    std::fs::write(&stored, text).unwrap();
    hunt::pipeline_file(store.dir.path());
    store.check();
}

/// Gives both slots of a manifest another version and the digest that goes with it.
fn write_version(manifest: &Path, version: u32) {
    const BLOCK_BYTES: usize = 4096;
    let mut bytes = std::fs::read(manifest).unwrap();
    for slot in bytes.chunks_mut(BLOCK_BYTES) {
        assert_eq!(&slot[..8], b"RMMANIF1");
        slot[8..12].copy_from_slice(&version.to_le_bytes());
        let digest = xxh3_128(&slot[..BLOCK_BYTES - 16]);
        slot[BLOCK_BYTES - 16..].copy_from_slice(&digest.to_le_bytes());
    }
    std::fs::write(manifest, bytes).unwrap();
}

#[test]
fn a_store_of_another_version_is_refused() {
    let store = Store::with_events();
    let manifest = store.data.join("manifest");
    for version in [1, 7] {
        write_version(&manifest, version);
        let found = format!("manifest has format version {version}, this build reads version 2");
        let parts = [&found[..], "start the release that wrote it"];
        store.refused(&[]).expect(RUN_TIME, &parts);
    }
    write_version(&manifest, 2);
    store.check();
}

#[test]
fn a_store_that_is_in_use_is_refused() {
    let store = Store::with_events();
    let server = store.start();
    store.refused(&[]).expect(
        RUN_TIME,
        &[
            "is locked: is another ringmill running on this directory?",
            "Stop it, or choose another --data directory",
        ],
    );
    check_events(&server);
    server.stop();
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let store = Store::empty();
    std::fs::write(&store.data, "a file").unwrap();
    let below = store.data.join("below");
    ended(&mut serve(&store.pipeline, &below, &[])).expect(
        RUN_TIME,
        &[
            "cannot use the data directory",
            "below",
            "it is a file or lies below one; give a directory",
        ],
    );
    assert_eq!(std::fs::read_to_string(&store.data).unwrap(), "a file");
}

#[test]
fn addresses_in_use_or_open_to_others_are_refused() {
    let store = Store::with_events();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for name in ["--listen", "--http"] {
        store.refused_again(name, &address).expect(
            RUN_TIME,
            &[
                &format!("cannot listen on {address} ({name})"),
                "choose another address or port",
            ],
        );
        store.refused_again(name, "0.0.0.0:0").expect(
            USAGE,
            &[
                &format!("{name} 0.0.0.0:0 is not a loopback address"),
                "add --allow-remote if the network in front of it is trusted",
            ],
        );
    }
    let mut open = serve_at(&store, "--listen", "0.0.0.0:0");
    open.arg("--allow-remote");
    Server::run(open, &log_of(&store.data)).stop();
    store.check();
}

/// `serve` with one of its two addresses replaced; an option must not be given twice.
fn serve_at(store: &Store, name: &str, address: &str) -> Command {
    let other = if name == "--listen" {
        "--http"
    } else {
        "--listen"
    };
    let mut command = ringmill();
    command
        .arg("serve")
        .arg("--pipeline")
        .arg(&store.pipeline)
        .arg("--data")
        .arg(&store.data);
    command.args(["--segment-mib", "4", other, "127.0.0.1:0", name, address]);
    command
}

impl Store {
    fn refused_again(&self, name: &str, address: &str) -> Refusal {
        ended(&mut serve_at(self, name, address))
    }
}

#[test]
fn cpus_and_shards_that_cannot_be_are_refused() {
    let store = Store::empty();
    store.refused(&["--cpus", "4095"]).expect(
        USAGE,
        &["CPU 4095 may not be used by this process; it may use ["],
    );
    store
        .refused(&["--cpus", "0,0"])
        .expect(USAGE, &["CPU 0 is named twice in --cpus"]);
    for shards in ["0", "257"] {
        store.refused(&["--shards", shards]).expect(
            USAGE,
            &[&format!("--shards {shards} is out of range; give 1 to 256")],
        );
    }
    store
        .refused(&["--frame-timeout", "0s"])
        .expect(USAGE, &["no time for a frame", "30s"]);
    assert!(!store.data.exists());
}

#[test]
fn floor_measurements_and_events_do_not_mix() {
    let store = Store::with_events();
    store.refused(&["--floor", "log"]).expect(
        RUN_TIME,
        &[
            "holds events, and --floor would mix measurements into its logs",
            "use another data directory",
        ],
    );
    store.check();
    let floor = Store::empty();
    Server::start(&floor.pipeline, &floor.data, &["--floor", "log"]).stop();
    floor.refused(&[]).expect(
        RUN_TIME,
        &["holds floor measurements and no events; use another data directory"],
    );
    Server::start(&floor.pipeline, &floor.data, &["--floor", "echo"]).stop();
}

#[test]
fn without_io_uring_the_way_out_is_named_and_works() {
    if common::skip_uring() {
        println!("not checked: RINGMILL_SKIP_URING=1");
        return;
    }
    let store = Store::with_events();
    let mut blocked = store.serve(&[]);
    without_io_uring(&mut blocked);
    ended(&mut blocked).expect(RUN_TIME, &["io_uring is ", "--backend posix"]);
    let mut posix = store.serve(&["--backend", "posix"]);
    without_io_uring(&mut posix);
    let server = Server::run(posix, &log_of(&store.data));
    assert_eq!(server.ready_word("backend"), "posix");
    check_events(&server);
    server.stop();
    store.check();
}

#[test]
fn too_little_locked_memory_is_named_and_a_little_more_runs() {
    if common::skip_uring() {
        println!("not checked: RINGMILL_SKIP_URING=1");
        return;
    }
    let store = Store::with_events();
    let confined = |kib| with_memlock(&store.serve(&[]), kib);
    let (Some(mut least), Some(little)) = (confined(64), confined(1024)) else {
        println!("not checked: prlimit or setpriv is missing or not permitted here");
        return;
    };
    ended(&mut least).expect(
        RUN_TIME,
        &[
            "RLIMIT_MEMLOCK (64 KiB) is too small",
            "ulimit -l unlimited",
            "--backend posix",
        ],
    );
    let server = Server::run(little, &log_of(&store.data));
    for part in ["RLIMIT_MEMLOCK is 1024 KiB", "is not registered"] {
        assert!(
            server.said().contains(part),
            "no {part:?} in {}",
            server.said()
        );
    }
    check_events(&server);
    let mut client = Client::hello(server.listen, "confined", 0);
    let rows = hunt::rows(client.schema(), 2, 1, 10);
    assert_eq!(client.publish(1, &rows).sequence, 10);
    server.stop();
}
