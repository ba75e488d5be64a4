//! Which way of making a frame durable is fast on this host: measured once, kept, reported.
//!
//! There are two. A write can carry its own flush (`RWF_DSYNC`): without FUA the kernel ends such
//! a write in a worker on the CPU that took the device's interrupt, and a busy CPU lets it wait
//! for whole scheduler ticks. Or the write is followed by an `fdatasync` of its own, which a ring
//! hands to a helper thread, bound to the shard's own CPU. Which one wins depends on device,
//! kernel, queue settings and on who else is running, so it is measured with **every usable CPU
//! kept busy**: an idle machine would flatter the first way.
//!
//! The prober behaves as a shard does: it spins briefly for a completion and then sleeps in the
//! ring. Its own CPU gets no second busy thread, because a shard does not share its CPU either;
//! that CPU is as busy as the prober makes it. All other usable CPUs run a spinning thread.
//!
//! The verdict lies in the data directory as `flush-probe`, a small text file, and is measured
//! again when kernel, device, queue settings, back end or pinning change. Delete it to force that.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::device::DeviceFacts;
use crate::log::FlushPolicy;
use crate::ring::RingError;

mod measure;
mod verdict;

pub use verdict::{VERDICT_FILE, VerdictError};

/// Time that a probe may take in all, unless a single flush takes longer.
pub const PROBE_BUDGET: Duration = Duration::from_millis(550);

/// How long the prober polls before it sleeps: a shard's default spin.
pub const PROBE_SPIN: Duration = Duration::from_micros(20);

/// Ways whose 99th percentiles are this close count as equal there: the noise of one probe is
/// larger than that.
const TIE_PERCENT: u64 = 20;

/// How a log makes a frame durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncWay {
    /// One write that carries its flush (`RWF_DSYNC`).
    WriteDsync,
    /// A plain write; when its full length is confirmed, an `fdatasync` of its own.
    RingDatasync,
}

/// The back end that a way is used on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backend {
    /// io_uring.
    #[default]
    Uring,
    /// Plain system calls.
    Posix,
}

impl SyncWay {
    /// Both ways, in the order in which they are measured.
    pub const ALL: [SyncWay; 2] = [SyncWay::WriteDsync, SyncWay::RingDatasync];

    /// The same choice in the words of the log's options.
    #[must_use]
    pub fn flush_policy(self) -> FlushPolicy {
        match self {
            SyncWay::WriteDsync => FlushPolicy::WithWrite,
            SyncWay::RingDatasync => FlushPolicy::AfterWrite,
        }
    }

    /// The name that is printed and stored.
    #[must_use]
    pub fn name(self, backend: Backend) -> &'static str {
        match (backend, self) {
            (Backend::Uring, SyncWay::WriteDsync) => "dsync",
            (Backend::Uring, SyncWay::RingDatasync) => "ring-fdatasync",
            (Backend::Posix, SyncWay::WriteDsync) => "posix-dsync",
            (Backend::Posix, SyncWay::RingDatasync) => "posix-fdatasync",
        }
    }

    /// The way of that name.
    #[must_use]
    pub fn from_name(backend: Backend, name: &str) -> Option<SyncWay> {
        SyncWay::ALL
            .into_iter()
            .find(|way| way.name(backend) == name)
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Backend::Uring => "uring",
            Backend::Posix => "posix",
        })
    }
}

/// What to measure, and where.
#[derive(Debug, Clone)]
pub struct ProbeOptions {
    /// Data directory. Its lock should be held: two probes at once measure each other.
    pub dir: PathBuf,
    /// Back end whose two ways are compared.
    pub backend: Backend,
    /// CPU of the shard; prober and kernel helper threads are bound to it. `None` for shards that
    /// are not pinned.
    pub cpu: Option<usize>,
    /// CPUs to keep busy. `cpu` is left out; without a `cpu`, the first one is left to the prober.
    pub busy_cpus: Vec<usize>,
    /// Time for everything.
    pub budget: Duration,
    /// How long the prober polls before it sleeps.
    pub spin: Duration,
}

/// Time from handing a 4 KiB frame over to knowing that it is durable, by one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WayLatency {
    /// The way.
    pub way: SyncWay,
    /// Median, in nanoseconds.
    pub p50_ns: u64,
    /// 99th percentile, in nanoseconds.
    pub p99_ns: u64,
    /// Frames measured.
    pub samples: u64,
}

/// A measured verdict, and what it holds for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeReport {
    /// Back end that was measured.
    pub backend: Backend,
    /// The way to use.
    pub chosen: SyncWay,
    /// All ways measured.
    pub ways: Vec<WayLatency>,
    /// Whether the prober was bound to a CPU.
    pub pinned: bool,
    /// Kernel release.
    pub kernel: String,
    /// [`DeviceFacts::identity`] of the directory.
    pub device: String,
}

/// A verdict that can be used, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeOutcome {
    /// The verdict.
    pub report: ProbeReport,
    /// Why it was measured just now; `None` if a stored one still holds.
    pub measured_because: Option<String>,
}

/// Why no verdict could be reached.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// The ring that is to be measured could not be made.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The directory cannot be looked at.
    #[error("cannot read the facts of {}: {source}; check that it exists", dir.display())]
    Directory {
        /// Data directory.
        dir: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The CPU of the shard cannot be used.
    #[error(
        "cannot bind to CPU {cpu}: {source}; it is not in the set of CPUs that this process may \
         use, choose others with --cpus"
    )]
    Cpu {
        /// CPU that was asked for.
        cpu: usize,
        /// The system's answer.
        source: io::Error,
    },
    /// The scratch file could not be made.
    #[error(
        "cannot make the scratch file {} for the flush probe: {source}; the data directory needs \
         write permission, direct I/O and 1 MiB of free space", path.display()
    )]
    Scratch {
        /// File that failed.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A write or flush of the probe failed.
    #[error(
        "the flush probe failed while writing {}: {source}; the device does not take flushed \
         writes, look into the kernel log", path.display()
    )]
    Flush {
        /// File that failed.
        path: PathBuf,
        /// The device's answer.
        source: io::Error,
    },
    /// The verdict could not be stored.
    #[error("cannot store the verdict of the flush probe in {}: {source}", path.display())]
    Store {
        /// File that failed.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// Measures both ways of io_uring in `dir`. See [`ProbeOptions`] for the parameters.
///
/// # Errors
/// See [`ProbeError`].
pub fn probe(
    dir: &Path,
    cpu: Option<usize>,
    busy_cpus: &[usize],
    budget: Duration,
) -> Result<ProbeReport, ProbeError> {
    probe_with(&ProbeOptions {
        dir: dir.to_path_buf(),
        backend: Backend::Uring,
        cpu,
        busy_cpus: busy_cpus.to_vec(),
        budget,
        spin: PROBE_SPIN,
    })
}

/// Measures both ways of a back end. Blocks for about the budget; starts threads of its own, so
/// that it may be called from anywhere.
///
/// # Errors
/// See [`ProbeError`].
pub fn probe_with(options: &ProbeOptions) -> Result<ProbeReport, ProbeError> {
    let facts = facts_of(&options.dir)?;
    let ways = measure::measure(options)?;
    Ok(ProbeReport {
        backend: options.backend,
        chosen: choose(&ways),
        ways,
        pinned: options.cpu.is_some(),
        kernel: facts.kernel_release.clone(),
        device: facts.identity(),
    })
}

/// The stored verdict if it still holds for this kernel, device, back end and pinning; otherwise
/// measures and stores.
///
/// # Errors
/// See [`ProbeError`]. An unreadable stored verdict is no error, it is measured again.
pub fn load_or_probe(options: &ProbeOptions) -> Result<ProbeOutcome, ProbeError> {
    let facts = facts_of(&options.dir)?;
    let because = match verdict::load(&options.dir) {
        Ok(stored) => match stored.outdated_by(&facts, options) {
            None => {
                return Ok(ProbeOutcome {
                    report: stored,
                    measured_because: None,
                });
            }
            Some(because) => because,
        },
        Err(VerdictError::Missing) => "no verdict is stored yet".to_string(),
        Err(error) => error.to_string(),
    };
    let report = probe_with(options)?;
    verdict::store(&options.dir, &report).map_err(|source| ProbeError::Store {
        path: options.dir.join(VERDICT_FILE),
        source,
    })?;
    Ok(ProbeOutcome {
        report,
        measured_because: Some(because),
    })
}

impl ProbeReport {
    /// Latency of the chosen way.
    #[must_use]
    pub fn chosen_latency(&self) -> Option<&WayLatency> {
        self.ways.iter().find(|latency| latency.way == self.chosen)
    }

    fn outdated_by(&self, facts: &DeviceFacts, options: &ProbeOptions) -> Option<String> {
        let changed = |what: &str, was: &str, is: &str| {
            (was != is).then(|| format!("{what} changed from {was} to {is}"))
        };
        let pinning = |pinned| if pinned { "pinned" } else { "unpinned" };
        changed("the kernel", &self.kernel, &facts.kernel_release)
            .or_else(|| changed("the device", &self.device, &facts.identity()))
            .or_else(|| {
                let is = options.backend.to_string();
                changed("the back end", &self.backend.to_string(), &is)
            })
            .or_else(|| {
                changed(
                    "the shards",
                    pinning(self.pinned),
                    pinning(options.cpu.is_some()),
                )
            })
    }
}

impl fmt::Display for ProbeReport {
    /// One line: the choice, and the figures of every way.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "flush way {}", self.chosen.name(self.backend))?;
        for latency in &self.ways {
            write!(
                f,
                "; {} p50 {} us p99 {} us ({} frames)",
                latency.way.name(self.backend),
                latency.p50_ns / 1000,
                latency.p99_ns / 1000,
                latency.samples
            )?;
        }
        Ok(())
    }
}

fn facts_of(dir: &Path) -> Result<DeviceFacts, ProbeError> {
    DeviceFacts::of(dir).map_err(|source| ProbeError::Directory {
        dir: dir.to_path_buf(),
        source,
    })
}

/// The tail decides, because the tail is what a client sees of a slow flush; ways that are equal
/// there are told apart by the median.
fn choose(ways: &[WayLatency]) -> SyncWay {
    let better = |a: &WayLatency, b: &WayLatency| {
        let low = a.p99_ns.min(b.p99_ns);
        let high = a.p99_ns.max(b.p99_ns);
        let tie = high.saturating_mul(100) <= low.saturating_mul(100 + TIE_PERCENT);
        if tie {
            a.p50_ns < b.p50_ns
        } else {
            a.p99_ns < b.p99_ns
        }
    };
    let best = ways
        .iter()
        .reduce(|best, way| if better(way, best) { way } else { best });
    best.map_or(SyncWay::WriteDsync, |latency| latency.way)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways(dsync: (u64, u64), datasync: (u64, u64)) -> [WayLatency; 2] {
        let latency = |way, (p50_ns, p99_ns)| WayLatency {
            way,
            p50_ns,
            p99_ns,
            samples: 100,
        };
        [
            latency(SyncWay::WriteDsync, dsync),
            latency(SyncWay::RingDatasync, datasync),
        ]
    }

    #[test]
    fn the_tail_decides_and_the_median_breaks_ties() {
        assert_eq!(choose(&ways((10, 8000), (50, 300))), SyncWay::RingDatasync);
        assert_eq!(choose(&ways((50, 300), (10, 8000))), SyncWay::WriteDsync);
        assert_eq!(choose(&ways((100, 300), (150, 290))), SyncWay::WriteDsync);
        assert_eq!(choose(&ways((150, 300), (100, 310))), SyncWay::RingDatasync);
        assert_eq!(choose(&ways((100, 361), (150, 300))), SyncWay::RingDatasync);
    }

    #[test]
    fn names_are_those_that_scripts_see_and_lead_back() {
        for backend in [Backend::Uring, Backend::Posix] {
            for way in SyncWay::ALL {
                assert_eq!(SyncWay::from_name(backend, way.name(backend)), Some(way));
            }
        }
        assert_eq!(SyncWay::WriteDsync.name(Backend::Uring), "dsync");
        assert_eq!(SyncWay::RingDatasync.name(Backend::Uring), "ring-fdatasync");
        assert_eq!(SyncWay::from_name(Backend::Uring, "posix-dsync"), None);
    }
}
