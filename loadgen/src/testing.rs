//! Shared by the unit tests.

use std::time::Duration;

use crate::args::Pacing;
use crate::keys::KeyDist;
use crate::plan::RunPlan;
use crate::schedule::Arrival;
use crate::units::Rate;
use crate::verdict::Limits;

/// A short run against `addr`.
pub(crate) fn plan(addr: &str) -> RunPlan {
    RunPlan {
        addr: addr.to_owned(),
        stream: None,
        rate: Rate::PerSecond(20_000.0),
        arrival: Arrival::Poisson,
        batch: 10,
        connections: 2,
        inflight: 64,
        keys: 1000,
        key_dist: KeyDist::Uniform,
        threads: 1,
        cpus: Vec::new(),
        seed: 42,
        pacing: Pacing::Hybrid,
        producer: None,
        reconnect: true,
        timeout: Duration::from_secs(5),
        duration: Duration::from_millis(500),
        warmup: Duration::ZERO,
        interval: Duration::from_millis(100),
        events: None,
        acks: None,
        limits: Limits::default(),
    }
}
