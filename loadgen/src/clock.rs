//! The time of a run: ns since its origin, and the wall clock that goes with it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One clock for all threads of a run. Monotonic, through the kernel's shared page: no system call
/// where the clock source is the TSC.
#[derive(Clone, Copy, Debug)]
pub struct RunClock {
    origin: Instant,
    wall_at_origin_ns: u128,
}

impl RunClock {
    /// A clock that starts now.
    pub fn start() -> RunClock {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        RunClock {
            origin: Instant::now(),
            wall_at_origin_ns: wall.as_nanos(),
        }
    }

    /// Ns since the origin.
    #[inline]
    pub fn now_ns(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    /// The wall clock in ms since the epoch at `at_ns` since the origin.
    #[inline]
    pub fn wall_ms(&self, at_ns: u64) -> i64 {
        // The sum fits 64 bits until the year 2554, and a 64-bit division is far cheaper.
        ((self.wall_at_origin_ns as u64 + at_ns) / 1_000_000) as i64
    }

    /// The wall clock at `at_ns` since the origin.
    pub fn wall(&self, at_ns: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.wall_at_origin_ns as u64 + at_ns)
    }
}
