//! Producers that number their events over HTTP: one request at a time each.
//!
//! A shard takes any sequence at or below the last one it has seen for a duplicate, so two requests
//! of one producer must not overtake each other on their way to the shards.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

use super::problem::Problem;

/// Longest wait for another request of the same producer.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);
/// Producers that are remembered between requests; beyond, all that are not in use are forgotten.
const REMEMBERED_MAX: usize = 65_536;

/// What is remembered of a producer while nobody looks it up on the shards.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Confirmed {
    /// Epoch of the producer.
    pub(crate) epoch: u32,
    /// Every event up to this one has been confirmed.
    pub(crate) through: u64,
}

/// The producers of this process.
#[derive(Debug, Default)]
pub(crate) struct Producers {
    known: Mutex<HashMap<u128, Arc<tokio::sync::Mutex<Confirmed>>>>,
}

/// The right to publish as one producer.
pub(crate) type Turn = OwnedMutexGuard<Confirmed>;

impl Producers {
    /// Waits until no other request of `producer` is under way.
    pub(crate) async fn turn(&self, producer: u128) -> Result<Turn, Problem> {
        let slot = Arc::clone(self.known().entry(producer).or_default());
        match tokio::time::timeout(TURN_TIMEOUT, slot.lock_owned()).await {
            Ok(turn) => {
                self.forget_unused();
                Ok(turn)
            }
            Err(_) => Err(Problem::overloaded(
                "another request of the same producer is under way",
            )),
        }
    }

    /// What has been confirmed to `producer` by this process, if no request is under way.
    pub(crate) fn confirmed(&self, producer: u128) -> Option<Confirmed> {
        let slot = self.known().get(&producer).cloned()?;
        slot.try_lock().ok().map(|confirmed| *confirmed)
    }

    fn forget_unused(&self) {
        let mut known = self.known();
        if known.len() > REMEMBERED_MAX {
            known.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<u128, Arc<tokio::sync::Mutex<Confirmed>>>> {
        // The map is whole between any two of its calls, also after a panic elsewhere.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
