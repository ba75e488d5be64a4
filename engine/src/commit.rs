//! Replies that wait for the log: what may leave the core, and when.
//!
//! Every reply, reads included, waits for the last log sequence that it depends on. A queue holds
//! them in the order of that sequence, so that releasing costs one comparison per reply.

use std::collections::VecDeque;

use crate::message::{AckReply, ProducerTell};
use crate::net::SocketId;

/// Position in this shard's log.
pub type Lsn = u64;

/// A reply that waits.
#[derive(Debug)]
pub enum Waiter {
    /// This shard's part of a connection's publication.
    Publication {
        /// The connection.
        socket: SocketId,
        /// Number of the publication on that connection.
        number: u16,
    },
    /// A sub-batch that another peer sent.
    SubBatch {
        /// Who sent it.
        peer: usize,
        /// The reply; its times are completed at release.
        reply: AckReply,
        /// When it was applied.
        applied_ns: u64,
    },
    /// What this shard knows of a producer.
    Tell {
        /// Who asked.
        peer: usize,
        /// The reply.
        tell: ProducerTell,
    },
    /// The greeting of a connection whose producer this shard has looked up.
    Greeting {
        /// The connection.
        socket: SocketId,
        /// What this shard knows.
        tell: ProducerTell,
    },
    /// The answer to a query.
    Answer {
        /// Who asked.
        peer: usize,
        /// The asker's ticket.
        ticket: u64,
        /// The archived answer.
        bytes: Vec<u8>,
    },
}

/// Replies in the order of the log sequence that they wait for.
#[derive(Debug, Default)]
pub struct CommitQueue {
    waiters: VecDeque<(Lsn, Waiter)>,
}

impl CommitQueue {
    /// An empty queue.
    pub fn new() -> CommitQueue {
        CommitQueue::default()
    }

    /// Adds a reply that waits until everything up to `lsn` is safe.
    pub fn push(&mut self, lsn: Lsn, waiter: Waiter) {
        debug_assert!(self.waiters.back().is_none_or(|(last, _)| *last <= lsn));
        self.waiters.push_back((lsn, waiter));
    }

    /// The next reply that waits for nothing beyond `safe`.
    pub fn pop_safe(&mut self, safe: Lsn) -> Option<Waiter> {
        match self.waiters.front() {
            Some((lsn, _)) if *lsn <= safe => self.waiters.pop_front().map(|(_, waiter)| waiter),
            _ => None,
        }
    }

    /// Everything, whatever it waits for: the log has failed.
    pub fn drain(&mut self) -> impl Iterator<Item = Waiter> + '_ {
        self.waiters.drain(..).map(|(_, waiter)| waiter)
    }

    /// How many replies wait.
    pub fn len(&self) -> usize {
        self.waiters.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tell(ticket: u64) -> Waiter {
        let tell = ProducerTell {
            ticket,
            last_sequence: 0,
            complete_through: 0,
            epoch: 0,
        };
        Waiter::Tell { peer: 0, tell }
    }

    fn ticket(waiter: Option<Waiter>) -> Option<u64> {
        match waiter {
            Some(Waiter::Tell { tell, .. }) => Some(tell.ticket),
            _ => None,
        }
    }

    #[test]
    fn nothing_leaves_before_its_sequence_is_safe() {
        let mut queue = CommitQueue::new();
        queue.push(3, tell(1));
        queue.push(3, tell(2));
        queue.push(4, tell(3));
        assert_eq!(ticket(queue.pop_safe(2)), None);
        assert_eq!(ticket(queue.pop_safe(3)), Some(1));
        assert_eq!(ticket(queue.pop_safe(3)), Some(2));
        assert_eq!(ticket(queue.pop_safe(3)), None);
        assert_eq!(ticket(queue.pop_safe(9)), Some(3));
        assert!(queue.is_empty());
    }
}
