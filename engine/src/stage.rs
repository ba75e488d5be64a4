//! A simulated engine with its routes and its clock, for whoever plays on it: events go in and
//! answers come out as they do over HTTP, without a socket.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use ringmill_shard::pipeline::Pipeline;
use ringmill_storage::disk::sim::{SimDisk, SimWorld};
use ringmill_storage::error::StorageError;
use ringmill_storage::layout::BLOCK_BYTES;
use ringmill_storage::log::LogOptions;
use serde_json::Value;
use tower::ServiceExt;

use crate::clock::ManualClock;
use crate::control::{self, LogReads};
use crate::mesh::MeshOptions;
use crate::simulated::{SimulatedEngine, SimulatedOptions};

/// Every disk operation of the simulation is finished by the next turn.
pub(crate) const FINISH_AT_ONCE: u32 = 65_536;
/// Bytes of an answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Blocks of a frame, and of a segment, which is made before the first event.
const FRAME_BLOCKS: usize = 32;
const SEGMENT_BLOCKS: usize = 80;
/// Lanes that are quick to make; what is larger than they are goes in pieces.
const LANES: MeshOptions = MeshOptions {
    request_slots: 1024,
    reply_slots: 256,
};
/// So many turns of all cores without anything done show that all is done.
const QUIET_TURNS: u32 = 4;

/// One life of an engine.
pub(crate) struct Stage {
    engine: SimulatedEngine,
    disk: SimDisk,
    clock: ManualClock,
    router: Router,
    /// What the routes want to read of the logs.
    reads: LogReads,
    start_ms: i64,
    now_ms: i64,
}

impl Stage {
    /// An engine on a new disk, at a moment of the virtual clock, ms since the epoch.
    pub(crate) fn new(
        pipeline: &Arc<Pipeline>,
        start_ms: i64,
        shards: usize,
    ) -> Result<Stage, StorageError> {
        let world = SimWorld::new(0);
        world.set_finish_rate(FINISH_AT_ONCE);
        let clock = ManualClock::new(1_000_000_000, start_ms.max(0) as u64 * 1_000_000);
        Stage::start(&world, &clock, pipeline, start_ms, shards)
    }

    /// An engine on a disk that may hold a store. `start_ms` is what its clock shows.
    pub(crate) fn start(
        world: &SimWorld,
        clock: &ManualClock,
        pipeline: &Arc<Pipeline>,
        start_ms: i64,
        shards: usize,
    ) -> Result<Stage, StorageError> {
        let log = LogOptions {
            frame_bytes: FRAME_BLOCKS * BLOCK_BYTES,
            segment_bytes: (SEGMENT_BLOCKS * BLOCK_BYTES) as u64,
            // What a killed process had in flight holds its locks for some turns of the disk.
            lock_tries: 64,
            lock_wait: Duration::ZERO,
            ..LogOptions::default()
        };
        let options = SimulatedOptions {
            pipeline: Arc::clone(pipeline),
            shards,
            mesh: LANES,
            log,
        };
        let (engine, ports) = SimulatedEngine::start(world, &options, clock)?;
        let (router, reads) = control::routes(&engine, pipeline, ports);
        let mut stage = Stage {
            engine,
            disk: world.disk(),
            clock: clock.clone(),
            router,
            reads,
            start_ms,
            now_ms: 0,
        };
        stage.settle();
        Ok(stage)
    }

    /// The engine, at rest.
    pub(crate) fn engine(&self) -> &SimulatedEngine {
        &self.engine
    }

    /// The moment on the virtual clock, ms since the epoch.
    pub(crate) fn wall_ms(&self) -> i64 {
        self.start_ms + self.now_ms
    }

    /// Gives every core a turn; true if anything was done.
    fn turn(&mut self) -> bool {
        let mut busy = false;
        for shard in 0..self.engine.shards() {
            busy |= self.engine.cores[shard].tick();
            busy |= self.engine.supply(shard);
        }
        busy
    }

    /// Lets the cores finish what they have.
    fn settle(&mut self) {
        let mut quiet = 0;
        while quiet < QUIET_TURNS {
            let busy = self.turn() || !self.engine.is_settled();
            quiet = if busy { 0 } else { quiet + 1 };
        }
    }

    /// Moves the clock on to so many ms after the start, and lets the cores notice.
    pub(crate) fn advance_to(&mut self, at_ms: i64) {
        let by_ms = (at_ms - self.now_ms).max(0);
        self.clock.advance_ns(by_ms as u64 * 1_000_000);
        self.now_ms += by_ms;
        self.settle();
    }

    /// Moves the clock on to a moment, ms since the epoch, and lets the cores notice.
    pub(crate) fn advance_to_wall(&mut self, wall_ms: i64) {
        self.advance_to(wall_ms - self.start_ms);
    }

    /// Asks the routes; status and body.
    pub(crate) async fn ask(&mut self, request: Request<Body>) -> (StatusCode, Value) {
        let answer = self.ask_within(request, u32::MAX).await;
        answer.expect("invariant: nobody waits for so many turns")
    }

    /// Asks the routes and gives up after so many turns of the cores: then nobody knows what came
    /// of it.
    pub(crate) async fn ask_within(
        &mut self,
        request: Request<Body>,
        turns: u32,
    ) -> Option<(StatusCode, Value)> {
        let response = self.router.clone().oneshot(request);
        let mut answer = pin!(async {
            // The routes' error is of a type without values.
            let Ok(response) = response.await;
            let status = response.status();
            let body = to_bytes(response.into_body(), ANSWER_BYTES_MAX).await;
            let body = body.unwrap_or_default();
            (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
        });
        let mut taken = 0;
        let answer = loop {
            tokio::select! {
                biased;
                answer = &mut answer => break answer,
                () = tokio::task::yield_now() => {
                    // The handlers are asked when the cores have nothing more to do.
                    loop {
                        if taken == turns {
                            return None;
                        }
                        taken = taken.saturating_add(1);
                        if !self.turn() {
                            break;
                        }
                    }
                    self.reads.serve(&mut self.disk);
                }
            }
        };
        self.settle();
        Some(answer)
    }
}

#[cfg(test)]
mod tests;
