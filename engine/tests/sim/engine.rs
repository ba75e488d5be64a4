//! One life of a server, with the test in the place of its control plane.

use std::ops::{Deref, DerefMut};

use ringmill_engine::clock::ManualClock;
use ringmill_engine::simulated::{SimulatedEngine, SimulatedOptions};
use ringmill_storage::disk::sim::SimWorld;
use ringmill_storage::error::StorageError;

use super::control::Control;
use super::plan::Plan;

pub(crate) struct Engine {
    engine: SimulatedEngine,
    pub(crate) control: Control,
}

impl Engine {
    /// Opens or creates the store, recovers every shard and wires the cores together.
    pub(crate) fn start(
        world: &SimWorld,
        plan: &Plan,
        shards: usize,
        clock: &ManualClock,
    ) -> Result<Engine, StorageError> {
        let options = SimulatedOptions {
            pipeline: plan.pipeline.clone(),
            shards,
            mesh: plan.mesh,
            log: plan.log,
        };
        let (engine, ports) = SimulatedEngine::start(world, &options, clock)?;
        let control = Control::new(ports, shards);
        Ok(Engine { engine, control })
    }
}

impl Deref for Engine {
    type Target = SimulatedEngine;

    fn deref(&self) -> &SimulatedEngine {
        &self.engine
    }
}

impl DerefMut for Engine {
    fn deref_mut(&mut self) -> &mut SimulatedEngine {
        &mut self.engine
    }
}
