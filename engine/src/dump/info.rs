//! What stands beside the figures of a dump: the machine and the settings of the run.

use serde::{Deserialize, Serialize};

use crate::clock::RealClock;
use crate::doctor::system::System;

/// The machine. Whatever could not be found out is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostInfo {
    /// Kernel release.
    pub kernel: Option<String>,
    /// Model name of the processor.
    pub cpu_model: Option<String>,
    /// Number of CPUs online.
    pub cpus_online: Option<usize>,
    /// Memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Runs under a hypervisor.
    pub guest: Option<bool>,
    /// The kernel's clock source.
    pub clocksource: Option<String>,
    /// What the stamps of this run were taken with: `tsc` or `clock_gettime`.
    pub clock: Option<String>,
    /// Frequency governor of the first CPU.
    pub governor: Option<String>,
}

impl HostInfo {
    /// Facts of this machine.
    pub fn gather() -> HostInfo {
        let system = System::default();
        HostInfo {
            kernel: system.kernel(),
            cpu_model: system.cpu_model(),
            cpus_online: system.cpus_online().map(|cpus| cpus.len()),
            memory_bytes: system.memory_bytes(),
            guest: system.is_guest(),
            clocksource: system.clocksource(),
            clock: Some(RealClock::new().source().to_owned()),
            governor: system.governor(0),
        }
    }
}

/// Settings of the run that its latencies depend on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunInfo {
    /// `uring`, `posix` or `sim`.
    pub backend: String,
    /// Way in which log frames are made durable.
    pub sync_way: Option<String>,
    /// Median latency (ns) that the flush probe found for that way.
    pub sync_p50_ns: Option<u64>,
    /// 99th percentile (ns) that the flush probe found for that way.
    pub sync_p99_ns: Option<u64>,
    /// Number of shards.
    pub shards: usize,
    /// CPU of each shard; absent where it is not pinned.
    pub cpus: Vec<Option<usize>>,
    /// Spin setting.
    pub spin: String,
    /// Durability level that streams have by default.
    pub durability: String,
    /// Floor mode, if the run was one: `echo` or `log`.
    pub floor: Option<String>,
}
