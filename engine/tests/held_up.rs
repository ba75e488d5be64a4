//! A core that was held up does not blame its clients for the time in which it did not look: one
//! core over a simulated socket, disk and clock, so that every turn happens when the test says.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use common::hunt;
use ringmill_engine::clock::ManualClock;
use ringmill_engine::core_loop::{CoreLoop, CoreParts, ShardFlags};
use ringmill_engine::mesh::{MeshOptions, Ports, mesh};
use ringmill_engine::metrics::CoreMetrics;
use ringmill_engine::net::sim::{SharedPipe, SimNet, SimPipe};
use ringmill_engine::recovery::Layout;
use ringmill_shard::pipeline::Pipeline;
use ringmill_shard::wire::{Hello, encode_publish};
use ringmill_storage::disk::sim::{SimDisk, SimWorld};
use ringmill_storage::log::LogOptions;
use ringmill_storage::manifest::Manifest;

/// Kinds of frames, as they stand at offset 4 of their headers.
const HELLO_ACK: u8 = 0x81;
const ACK: u8 = 0x82;
const ERROR: u8 = 0x83;

const MS: u64 = 1_000_000;
const FRAME_TIMEOUT: Duration = Duration::from_secs(3);

/// One core, and the one client that it has.
struct Bench {
    core: CoreLoop<SimNet, SimDisk, ManualClock>,
    clock: ManualClock,
    pipe: SharedPipe,
    /// The other end of the core's lanes stays open.
    _control: Ports,
}

impl Bench {
    fn new() -> Bench {
        let pipeline = Arc::new(Pipeline::parse(hunt::PIPELINE).unwrap());
        let world = SimWorld::new(1);
        let dir = Path::new("/store");
        let mut manifest = Manifest::open_or_create(&mut world.disk(), dir, 1).unwrap();
        let options = LogOptions::default();
        let layout = Layout::of(dir, &manifest)
            .for_shards(1, &mut manifest, &mut world.disk(), &options, || {
                world.disk()
            })
            .unwrap();
        let (state, log) = layout
            .recover(0, &pipeline, &options, world.disk())
            .unwrap();
        let mut ports = mesh(1, &MeshOptions::default()).unwrap();
        let control = ports.pop().unwrap();
        let clock = ManualClock::new(0, 1_767_225_600_000 * MS);
        let parts = CoreParts {
            clock: clock.clone(),
            metrics: CoreMetrics::new(),
            pipeline,
            state,
            log,
            ports: ports.pop().unwrap(),
            segments: None,
            floor: None,
            flags: ShardFlags::new(
                Arc::new([AtomicBool::new(false)]),
                0,
                Arc::new(AtomicBool::new(false)),
            ),
            sleep_for_flush: false,
        };
        let mut core = CoreLoop::new(SimNet::new(), parts).with_frame_timeout(FRAME_TIMEOUT);
        let pipe: SharedPipe = Rc::new(RefCell::new(SimPipe::default()));
        core.net().connect(Rc::clone(&pipe));
        Bench {
            core,
            clock,
            pipe,
            _control: control,
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.pipe.borrow_mut().to_engine.push_back(bytes.to_vec());
    }

    /// Turns of a core that runs without a break for so long.
    fn run(&mut self, time: Duration) {
        const STEP: Duration = Duration::from_millis(10);
        for _ in 0..time.as_nanos() / STEP.as_nanos() {
            self.clock.advance_ns(STEP.as_nanos() as u64);
            self.core.tick();
        }
    }

    /// Time passes, and the core does not run.
    fn hold_up(&mut self, time: Duration) {
        self.clock.advance_ns(time.as_nanos() as u64);
    }

    /// Kinds of the frames that the client has got since it looked last.
    fn received(&mut self) -> Vec<u8> {
        let bytes = std::mem::take(&mut self.pipe.borrow_mut().from_engine);
        let mut kinds = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            kinds.push(bytes[at + 4]);
            let payload = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap());
            at += 32 + payload as usize;
        }
        kinds
    }

    /// Greets, and sends the first half of a frame; returns the second.
    fn begin_frame(&mut self) -> Vec<u8> {
        let mut hello = Vec::new();
        Hello {
            epoch: 0,
            name: "client",
        }
        .encode(&mut hello);
        self.send(&hello);
        self.run(Duration::from_millis(100));
        assert_eq!(self.received(), [HELLO_ACK]);
        let pipeline = Pipeline::parse(hunt::PIPELINE).unwrap();
        let schema = &pipeline.streams[0].schema;
        let mut frame = Vec::new();
        let row = hunt::rows(schema, 1, 1, 1);
        encode_publish(&mut frame, 0, schema.id, 1, 1, &row);
        let second = frame.split_off(frame.len() / 2);
        self.send(&frame);
        self.run(Duration::from_millis(100));
        assert_eq!(self.received(), [0_u8; 0]);
        second
    }
}

#[test]
fn half_a_frame_has_its_time_and_no_more() {
    let mut bench = Bench::new();
    let second = bench.begin_frame();
    bench.run(FRAME_TIMEOUT - Duration::from_millis(200));
    assert_eq!(bench.received(), [0_u8; 0]);
    bench.run(Duration::from_millis(1_500));
    assert_eq!(bench.received(), [ERROR]);
    bench.send(&second);
    bench.run(Duration::from_millis(100));
    assert!(bench.pipe.borrow().closed_by_engine);
}

/// The bytes that came meanwhile may be seen later than in the first turn, and behind further looks
/// at half frames.
#[test]
fn the_time_in_which_a_core_did_not_run_is_given_back() {
    let mut bench = Bench::new();
    let second = bench.begin_frame();
    bench.hold_up(4 * FRAME_TIMEOUT);
    bench.core.tick();
    bench.run(Duration::from_millis(1_500));
    assert_eq!(bench.received(), [0_u8; 0], "nobody is blamed");
    bench.send(&second);
    bench.run(Duration::from_millis(100));
    assert_eq!(bench.received(), [ACK]);
}

/// Only the time of the hold-up is given back: from there on the client's own time runs.
#[test]
fn a_client_that_stays_silent_is_ended_all_the_same() {
    let mut bench = Bench::new();
    let _never_sent = bench.begin_frame();
    bench.hold_up(4 * FRAME_TIMEOUT);
    bench.run(FRAME_TIMEOUT - Duration::from_millis(1_200));
    assert_eq!(bench.received(), [0_u8; 0]);
    bench.run(Duration::from_millis(3_000));
    assert_eq!(bench.received(), [ERROR]);
}

/// A frame that is begun in the very turn that finds the hold-up gets no time for nothing.
#[test]
fn no_clock_of_a_client_runs_ahead() {
    let mut bench = Bench::new();
    let second = bench.begin_frame();
    bench.hold_up(4 * FRAME_TIMEOUT);
    bench.send(&second);
    bench.core.tick();
    bench.run(Duration::from_millis(100));
    assert_eq!(bench.received(), [ACK]);
    let pipeline = Pipeline::parse(hunt::PIPELINE).unwrap();
    let schema = &pipeline.streams[0].schema;
    let mut frame = Vec::new();
    encode_publish(&mut frame, 0, schema.id, 2, 1, &hunt::rows(schema, 1, 2, 1));
    bench.hold_up(4 * FRAME_TIMEOUT);
    bench.send(&frame[..frame.len() / 2]);
    bench.run(FRAME_TIMEOUT + Duration::from_millis(1_500));
    assert_eq!(bench.received(), [ERROR]);
}
