//! Waiting for the next thing to do without being late for it.

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Load, Worker};
use crate::args::Pacing;
use crate::tally::Phase;

/// No time at all.
pub(super) const ZERO: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};
/// Before a send time, and after the last work, a hybrid thread spins for so long: waking up takes
/// some tens of us.
const SPIN_NS: u64 = 60_000;
/// Longest sleep, so that a stop request and a revived connection are seen.
const SLEEP_NS_MAX: u64 = 5_000_000;

impl Worker {
    /// Returns when something may be due, or when a socket has something to say.
    pub(super) fn wait(&mut self, now_ns: u64) {
        let target_ns = match &self.plan.load {
            _ if self.phase == Phase::Drain => None,
            Load::Closed { .. } => None,
            // Without a free window only an acknowledgement can help.
            Load::Open(staging) if staging.was_held() => None,
            Load::Open(staging) => staging.due_ns(),
        };
        let spin_until_ns = match self.plan.pacing {
            Pacing::Spin => return std::hint::spin_loop(),
            Pacing::Sleep => 0,
            Pacing::Hybrid => SPIN_NS,
        };
        let sleep_ns = match target_ns {
            Some(target_ns) => target_ns.saturating_sub(now_ns + spin_until_ns),
            // Acknowledgements come in quick succession while there is work.
            None if now_ns < self.last_work_ns + spin_until_ns => 0,
            None => SLEEP_NS_MAX,
        };
        let boundary_ns = match self.phase {
            Phase::Drain => self.next_cut_ns,
            Phase::WarmUp | Phase::Measured => self.next_cut_ns.min(self.end_ns),
        };
        let until_boundary_ns = boundary_ns.saturating_sub(now_ns).max(1);
        let sleep_ns = sleep_ns.min(SLEEP_NS_MAX).min(until_boundary_ns);
        if target_ns.is_some_and(|target_ns| target_ns <= now_ns + spin_until_ns) || sleep_ns == 0 {
            return std::hint::spin_loop();
        }
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: sleep_ns as _,
        };
        let mut fds = [PollFd::new(&self.poll, PollFlags::IN)];
        // An interruption or a time-out both lead to another turn.
        let _ = poll(&mut fds, Some(&timeout));
    }
}
