//! A turn sends to so many connections and no more; the others follow in the order of their
//! waiting, and the core does not go to sleep on them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use common::hunt;
use ringmill_engine::clock::ManualClock;
use ringmill_engine::mesh::{MeshOptions, Ports};
use ringmill_engine::net::sim::{SharedPipe, SimPipe};
use ringmill_engine::simulated::{SimulatedEngine, SimulatedOptions};
use ringmill_shard::limits::FRAME_HEADER_BYTES;
use ringmill_shard::pipeline::Pipeline;
use ringmill_shard::wire::encode_ping;
use ringmill_storage::disk::sim::SimWorld;
use ringmill_storage::log::LogOptions;

const CONNECTIONS: usize = 40;
const SHARE: usize = 16;

fn ping(token: u64) -> Vec<u8> {
    let mut frame = [0; FRAME_HEADER_BYTES];
    encode_ping(&mut frame, token);
    frame.to_vec()
}

/// A core with its connections.
struct Bench {
    engine: SimulatedEngine,
    pipes: Vec<SharedPipe>,
    /// The other end of the core's lanes stays open.
    _control: Ports,
}

impl Bench {
    fn new() -> Bench {
        let options = SimulatedOptions {
            pipeline: Arc::new(Pipeline::parse(hunt::PIPELINE).unwrap()),
            shards: 1,
            mesh: MeshOptions::default(),
            log: LogOptions::default(),
        };
        let clock = ManualClock::new(0, 1_767_225_600_000_000_000);
        let world = SimWorld::new(1);
        let (mut engine, control) = SimulatedEngine::start(&world, &options, &clock).unwrap();
        let pipe = || Rc::new(RefCell::new(SimPipe::default()));
        let pipes: Vec<SharedPipe> = (0..CONNECTIONS).map(|_| pipe()).collect();
        for pipe in &pipes {
            engine.cores[0].net().connect(Rc::clone(pipe));
        }
        Bench {
            engine,
            pipes,
            _control: control,
        }
    }

    fn tick(&mut self) -> bool {
        self.engine.cores[0].tick()
    }

    /// Frames that each connection was sent.
    fn answers(&self) -> Vec<usize> {
        let bytes = self
            .pipes
            .iter()
            .map(|pipe| pipe.borrow().from_engine.len());
        bytes.map(|bytes| bytes / FRAME_HEADER_BYTES).collect()
    }
}

#[test]
fn answers_beyond_the_share_of_a_turn_leave_in_the_next_ones() {
    let mut bench = Bench::new();
    for token in 0..3 {
        for pipe in &bench.pipes {
            pipe.borrow_mut().from_engine.clear();
            pipe.borrow_mut().to_engine.push_back(ping(token));
        }
        let turns = CONNECTIONS.div_ceil(SHARE);
        for turn in 1..=turns {
            let goes_on = bench.tick();
            assert!(
                goes_on || turn == turns,
                "turn {turn} left answers and may sleep"
            );
            let answered = (SHARE * turn).min(CONNECTIONS);
            let mut expected = vec![1; answered];
            expected.resize(CONNECTIONS, 0);
            assert_eq!(bench.answers(), expected, "after turn {turn}");
        }
    }
    while bench.tick() {}
}

#[test]
fn a_connection_that_waits_for_its_share_gets_all_its_answers_at_once() {
    let mut bench = Bench::new();
    for pipe in &bench.pipes {
        pipe.borrow_mut().to_engine.extend([ping(1), ping(2)]);
    }
    bench.tick();
    bench.tick();
    // The first were answered once and are behind the others now, which have got both answers.
    assert_eq!(bench.answers()[..SHARE], [1; SHARE]);
    assert_eq!(bench.answers()[SHARE..2 * SHARE], [2; SHARE]);
    bench.tick();
    bench.tick();
    assert_eq!(bench.answers(), [2; CONNECTIONS]);
}
