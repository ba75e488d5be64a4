//! Giving up: what took too long, and what waits for a shard that has failed.

use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::super::cores::{PublishError, ReadError};
use super::{Driver, Flight};

impl Driver {
    /// Gives up what took too long or lost its shard.
    pub(super) fn expire(&mut self, now: Instant) {
        let Driver {
            queues,
            flights,
            publishes,
            shard_failed,
            ..
        } = self;
        let failed = |shard: usize| shard_failed[shard].load(Ordering::Relaxed);
        let verdict = |shard: usize, deadline: Instant| {
            if failed(shard) {
                Some(ReadError::ShardFailed { shard })
            } else {
                (deadline <= now).then_some(ReadError::Timeout { shard })
            }
        };
        for (shard, queue) in queues.iter_mut().enumerate() {
            for read in std::mem::take(&mut queue.reads) {
                match verdict(shard, read.deadline()) {
                    Some(error) => read.fail(error),
                    None => queue.reads.push_back(read),
                }
            }
            if failed(shard) {
                for part in queue.chunks.drain(..) {
                    publishes.part_failed(part.publish, PublishError::OutcomeUnknown { shard });
                }
            }
        }
        flights.retain(|_, flight| match flight {
            Flight::Chunk { shard, rest, .. } => {
                if failed(*shard) {
                    let error = PublishError::OutcomeUnknown { shard: *shard };
                    publishes.give_up(rest.publish, error);
                }
                true
            }
            Flight::Query {
                shard,
                deadline,
                done,
                ..
            } => {
                let Some(error) = verdict(*shard, *deadline) else {
                    return true;
                };
                queues[*shard].reads_in_flight -= 1;
                let (unused, _) = tokio::sync::oneshot::channel();
                let _ = std::mem::replace(done, unused).send(Err(error));
                false
            }
            Flight::Ask {
                shard,
                deadline,
                done,
            } => {
                if let Some(error) = verdict(*shard, *deadline)
                    && let Some(done) = done.take()
                {
                    queues[*shard].reads_in_flight -= 1;
                    let _ = done.send(Err(error));
                }
                true
            }
        });
        publishes.expire(now);
    }
}
