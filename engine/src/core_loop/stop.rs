//! The way out: drain, make durable, acknowledge, leave.

use std::time::Duration;

use ringmill_shard::wire::ErrorCode;
use ringmill_storage::disk::Disk;

use super::Core;
use crate::clock::Clock;
use crate::net::{Net, SocketId};

/// Clients get this long to take their last acks.
const GRACE_NS: u64 = 2_000_000_000;

impl<D: Disk, C: Clock> Core<D, C> {
    /// One step towards the end, after every turn since the stop was asked for. True when
    /// everything taken in is safe and told, or the grace is over.
    pub(super) fn stop(&mut self, net: &mut impl Net) -> bool {
        if !self.stopping {
            self.stopping = true;
            self.stop_by_ns = self.turn_ns + GRACE_NS;
            net.stop_accepting();
        }
        let failed = self.flags.failed();
        let safe = self.durable.is_empty()
            && self.written.is_empty()
            && self.log.pending_bytes() == 0
            && !self.log.in_flight();
        let late = self.turn_ns >= self.stop_by_ns;
        if !(safe || failed || late) {
            return false;
        }
        if !self.farewell_said {
            self.farewell_said = true;
            let sockets: Vec<SocketId> = self
                .connections
                .iter()
                .flatten()
                .map(|connection| connection.socket)
                .collect();
            for socket in sockets {
                let waits = self
                    .connection(socket)
                    .is_some_and(|connection| !connection.publications.is_empty());
                if !waits || late {
                    let message = "the server is shutting down";
                    self.refuse(socket, ErrorCode::ShuttingDown, 0, message);
                }
            }
            return false;
        }
        let told = self.connections.iter().flatten().next().is_none() && self.answers.is_empty();
        told || late
    }

    /// Ends the log with its clean-close frame, unless it has failed.
    pub(super) fn close_log(self) {
        if self.flags.failed() {
            return;
        }
        if let Err(error) = self.log.close() {
            say!(
                "shard {}: the log could not be closed cleanly: {error}",
                self.me
            );
        }
    }

    /// Whether waiting in the kernel is better than looking again: a helper thread of the kernel
    /// flushes on this very CPU and cannot while the core spins on it.
    pub(super) fn must_sleep_for_flush(&self) -> bool {
        self.sleep_for_flush && self.log.in_flight()
    }

    /// Lets the kernel's helper thread on this CPU start the flush that was just handed over,
    /// instead of making it wait for the scheduler's next tick.
    pub(super) fn let_flush_run(&self, busy: bool) {
        if busy && self.must_sleep_for_flush() {
            std::thread::yield_now();
        }
    }

    /// How long until something is due that nobody will wake the core for.
    pub(super) fn next_due(&self) -> Duration {
        let due = self
            .flush_due_ns
            .unwrap_or(u64::MAX)
            .min(self.next_sweep_ns);
        Duration::from_nanos(due.saturating_sub(self.turn_ns).max(1))
    }
}
