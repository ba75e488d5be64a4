//! A control plane in front of cores that keep no log: one thread owns the lanes and the state of
//! every shard and answers as a core would.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are not seen as tests")]

mod client;
mod core;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringmill_engine::clock::RealClock;
use ringmill_engine::control::{
    ControlError, ControlLimits, ControlOptions, ServeFacts, ShutdownHandle, run,
};
use ringmill_engine::dump::{Dumper, HostInfo, RunInfo};
use ringmill_engine::mesh::{MeshOptions, mesh};
use ringmill_engine::metrics::CoreMetrics;
use ringmill_shard::pipeline::Pipeline;
use tempfile::TempDir;

#[allow(unused_imports, reason = "each test file uses a part")]
pub(crate) use client::read_response;
pub(crate) use core::Behaviour;

/// Players, hunts and points; keyed by player.
pub(crate) const HUNT: &str = r#"
ringmill = 1
[stream.finds]
key = "player"
time = { field = "at", disorder = "5s", max_future = "10s", idle = "3s" }
[stream.finds.fields]
player = { id = 1, type = "u64" }
at = { id = 2, type = "time" }
points = { id = 3, type = "i64" }
region = { id = 4, type = "text(8)" }
note = { id = 5, type = "text(8)", optional = true }
[view.by_region]
from = "finds"
group = ["region"]
window = { kind = "tumbling", size = "10s", late = "0s", keep = "1h" }
[view.by_region.columns]
finds = "count()"
points = "sum(points)"
mean = "avg(points)"
[board.players]
from = "finds"
member = "player"
score = "sum(points) desc"
ties = "first-to-reach"
[board.regions]
from = "finds"
member = "region"
score = "sum(points) desc"
ties = "first-to-reach"
"#;

/// One control plane and its cores. Dropping it stops both.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    pub(crate) behaviour: Arc<Behaviour>,
    pub(crate) shard_failed: Arc<[AtomicBool]>,
    pub(crate) disk_full: Arc<AtomicBool>,
    pub(crate) shutdown: ShutdownHandle,
    pub(crate) metrics: Vec<Arc<CoreMetrics>>,
    pub(crate) dumps: TempDir,
    control: Option<JoinHandle<Result<(), ControlError>>>,
    cores: Option<JoinHandle<()>>,
}

impl Fake {
    pub(crate) fn start(shards: usize) -> Fake {
        Fake::with(
            HUNT,
            shards,
            ControlLimits {
                signals: false,
                ..ControlLimits::default()
            },
        )
    }

    pub(crate) fn with(pipeline: &str, shards: usize, limits: ControlLimits) -> Fake {
        let pipeline = Arc::new(Pipeline::parse(pipeline).expect("a valid pipeline"));
        let options = MeshOptions {
            request_slots: 256,
            reply_slots: 64,
        };
        let mut ports = mesh(shards, &options).unwrap();
        let control_ports = ports.pop().unwrap();
        let behaviour = Arc::new(Behaviour::new(shards));
        let metrics: Vec<_> = (0..shards).map(|_| CoreMetrics::new()).collect();
        let cores = core::spawn(ports, Arc::clone(&pipeline), Arc::clone(&behaviour));
        let http = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = http.local_addr().unwrap();
        let dumps = tempfile::tempdir().unwrap();
        let run_info = RunInfo {
            shards,
            ..RunInfo::default()
        };
        let shutdown = ShutdownHandle::new({
            let behaviour = Arc::clone(&behaviour);
            move || behaviour.stop.store(true, Ordering::Relaxed)
        });
        behaviour.mark_stopped_with(shutdown.clone());
        let shard_failed: Arc<[AtomicBool]> = (0..shards).map(|_| AtomicBool::new(false)).collect();
        let disk_full = Arc::new(AtomicBool::new(false));
        let control = run(ControlOptions {
            http,
            pipeline,
            ports: control_ports,
            metrics: metrics.clone(),
            dumper: Some(Dumper::new(dumps.path(), HostInfo::default(), run_info).unwrap()),
            data_dir: dumps.path().to_path_buf(),
            facts: facts(shards),
            shutdown: shutdown.clone(),
            shard_failed: Arc::clone(&shard_failed),
            disk_full: Arc::clone(&disk_full),
            producer_seed: "test".to_owned(),
            clock: RealClock::new(),
            store: None,
            limits,
        });
        Fake {
            address,
            behaviour,
            shard_failed,
            disk_full,
            shutdown,
            metrics,
            dumps,
            control: Some(control),
            cores: Some(cores),
        }
    }

    /// Waits for the control plane to end, which something has asked it to.
    pub(crate) fn join(&mut self) -> Result<(), ControlError> {
        self.control
            .take()
            .expect("joined once")
            .join()
            .expect("the control plane panicked")
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.shutdown.request();
        let control = self.control.take().map(|control| control.join().is_ok());
        let cores = self.cores.take().map(|cores| cores.join().is_ok());
        if !std::thread::panicking() {
            assert_ne!(control, Some(false), "the control plane panicked");
            assert_ne!(cores, Some(false), "the cores panicked");
        }
    }
}

fn facts(shards: usize) -> ServeFacts {
    ServeFacts {
        shards,
        backend: "posix".to_owned(),
        sync_way: "none".to_owned(),
        listen: "127.0.0.1:0".to_owned(),
        cpus: Vec::new(),
        spin: "0".to_owned(),
        floor: None,
        durability: None,
        recovered_events: 7,
        recovery_ms: 3,
        started_wall_ns: 1_000_000_000,
        disk_needed_bytes: 64 << 20,
        started: Instant::now(),
    }
}

/// Waits for something that another thread does.
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A line of the stream `finds`.
pub(crate) fn find(player: u64, at: i64, points: i64, region: &str) -> String {
    format!(r#"{{"player":{player},"at":{at},"points":{points},"region":"{region}"}}"#) + "\n"
}

/// A number sequence that looks random and repeats.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
