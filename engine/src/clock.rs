//! Time for the engine: monotonic and wall-clock nanoseconds behind one small trait.
//!
//! Code below the core loop reads time only through [`Clock`], so that the simulator can run every
//! core of an engine in one thread on a seeded clock. Monotonic readings share one epoch within the
//! process, whatever thread takes them, so a stamp made on one core may be subtracted on another
//! (saturating: the counters of two cores may differ by a few nanoseconds).

use std::cell::Cell;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// Where the kernel names the clock source that it trusts on this machine.
const CLOCKSOURCE_PATH: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

/// A source of time in nanoseconds.
pub trait Clock {
    /// Nanoseconds since a fixed but arbitrary instant of this process; never goes back.
    fn mono_ns(&self) -> u64;

    /// Nanoseconds since the Unix epoch; follows corrections of the system's clock.
    fn wall_ns(&self) -> u64;
}

/// The machine's own time. Cheap to clone, usable from every thread.
#[derive(Debug, Clone)]
pub struct RealClock {
    /// `None`: the kernel distrusts the cycle counter, so its own clock call is the only safe one.
    counter: Option<quanta::Clock>,
}

impl RealClock {
    /// Chooses the cycle counter where both the processor and the kernel vouch for it, otherwise
    /// the kernel's monotonic clock. The first call of a process calibrates the counter, which
    /// takes at most 200 ms; make it before anything that is timed starts.
    pub fn new() -> RealClock {
        let trusted = std::fs::read_to_string(CLOCKSOURCE_PATH).is_ok_and(|name| trusted(&name));
        RealClock {
            counter: trusted.then(quanta::Clock::new),
        }
    }

    /// The source of monotonic time, for reports: `tsc` or `clock_gettime`.
    pub fn source(&self) -> &'static str {
        if self.counter.is_some() {
            "tsc"
        } else {
            "clock_gettime"
        }
    }
}

impl Default for RealClock {
    fn default() -> Self {
        RealClock::new()
    }
}

impl Clock for RealClock {
    #[inline]
    fn mono_ns(&self) -> u64 {
        match &self.counter {
            Some(counter) => counter.delta_as_nanos(0, counter.raw()),
            None => {
                let now = clock_gettime(ClockId::Monotonic);
                // Both fields of a monotonic reading are non-negative by the kernel's contract.
                now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
            }
        }
    }

    #[inline]
    fn wall_ns(&self) -> u64 {
        // A clock set before 1970 reads as the epoch itself; u64 nanoseconds last until 2554.
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| {
                u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
            })
    }
}

fn trusted(clocksource: &str) -> bool {
    clocksource.trim() == "tsc"
}

/// A clock that moves only when told to. Clones share the same time; it stays in one thread, as
/// the simulator does.
#[derive(Debug, Clone, Default)]
pub struct ManualClock {
    time: Rc<Cell<Time>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Time {
    mono_ns: u64,
    wall_ns: u64,
}

impl ManualClock {
    /// A clock at the given monotonic and wall-clock nanoseconds.
    pub fn new(mono_ns: u64, wall_ns: u64) -> ManualClock {
        ManualClock {
            time: Rc::new(Cell::new(Time { mono_ns, wall_ns })),
        }
    }

    /// Moves both times forward by `ns`.
    pub fn advance_ns(&self, ns: u64) {
        let Time { mono_ns, wall_ns } = self.time.get();
        self.time.set(Time {
            mono_ns: mono_ns + ns,
            wall_ns: wall_ns + ns,
        });
    }

    /// Sets the wall clock alone, as a correction of the system's clock does; may go back.
    pub fn set_wall_ns(&self, wall_ns: u64) {
        self.time.set(Time {
            wall_ns,
            ..self.time.get()
        });
    }
}

impl Clock for ManualClock {
    fn mono_ns(&self) -> u64 {
        self.time.get().mono_ns
    }

    fn wall_ns(&self) -> u64 {
        self.time.get().wall_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_time_never_goes_back_and_threads_share_its_epoch() {
        let clock = RealClock::new();
        let before = clock.mono_ns();
        let other = clock.clone();
        let between = std::thread::spawn(move || other.mono_ns()).join().unwrap();
        let after = RealClock::new().mono_ns();
        // A microsecond of slack: counters of two cores may disagree by some nanoseconds.
        assert!(before <= between + 1_000, "{before} {between}");
        assert!(between <= after + 1_000, "{between} {after}");
        assert!(clock.wall_ns() > 1_600_000_000_000_000_000);
    }

    #[test]
    fn only_the_tsc_clock_source_vouches_for_the_counter() {
        assert!(trusted("tsc\n"));
        assert!(!trusted("kvm-clock\n"));
        assert!(!trusted("hpet"));
        assert!(!trusted(""));
    }

    #[test]
    fn manual_clones_share_one_time() {
        let clock = ManualClock::new(5, 1_000);
        let other = clock.clone();
        clock.advance_ns(10);
        assert_eq!((other.mono_ns(), other.wall_ns()), (15, 1_010));
        other.set_wall_ns(3);
        assert_eq!((clock.mono_ns(), clock.wall_ns()), (15, 3));
    }
}
