//! What the machine is and what it did meanwhile. Every source is optional: what cannot be read is
//! `None`, never 0.

use std::fs::{File, read_to_string};
use std::os::unix::fs::FileExt;

use serde::{Deserialize, Serialize};

/// Fixed facts about the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// CPUs that this process may use.
    pub cpus: usize,
    /// Model of the first CPU.
    pub cpu_model: Option<String>,
    /// Whether a hypervisor is below.
    pub virtual_machine: Option<bool>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// Clock source of the kernel.
    pub clock: Option<String>,
    /// Frequency governor of the first CPU.
    pub governor: Option<String>,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
}

impl HostFacts {
    /// Reads them.
    pub fn read() -> HostFacts {
        let cpuinfo = read_to_string("/proc/cpuinfo").ok();
        let line = |name: &str| {
            let found = cpuinfo
                .as_deref()?
                .lines()
                .find(|line| line.starts_with(name))?;
            Some(found.split_once(':')?.1.trim().to_owned())
        };
        let file = |path: &str| read_to_string(path).ok().map(|text| text.trim().to_owned());
        let memory = read_to_string("/proc/meminfo").ok().and_then(|text| {
            let kib = text
                .lines()
                .find_map(|line| line.strip_prefix("MemTotal:"))?;
            Some(kib.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
        });
        HostFacts {
            cpus: std::thread::available_parallelism().map_or(1, |count| count.get()),
            cpu_model: line("model name"),
            virtual_machine: line("flags")
                .map(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            kernel: file("/proc/sys/kernel/osrelease"),
            clock: file("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            governor: file("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            memory_bytes: memory,
        }
    }

    /// Whether reading the clock is exact and needs no system call; `None` if unknown.
    pub fn clock_is_good(&self) -> Option<bool> {
        self.clock
            .as_deref()
            .map(|clock| matches!(clock, "tsc" | "arch_sys_counter"))
    }
}

/// Counters of the machine at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostSample {
    steal_ticks: Option<u64>,
    all_ticks: Option<u64>,
    throttled_ns: Option<u64>,
}

impl HostSample {
    /// Reads them.
    pub fn read() -> HostSample {
        let ticks = read_to_string("/proc/stat").ok().and_then(|text| {
            let line = text.lines().next()?.strip_prefix("cpu ")?;
            let fields: Option<Vec<u64>> = line
                .split_whitespace()
                .map(|field| field.parse().ok())
                .collect();
            let fields = fields?;
            // user nice system idle iowait irq softirq steal; guest time is part of user.
            Some((*fields.get(7)?, fields[..8].iter().sum()))
        });
        HostSample {
            steal_ticks: ticks.map(|(steal, _)| steal),
            all_ticks: ticks.map(|(_, all)| all),
            throttled_ns: throttled_ns(),
        }
    }

    /// The share of CPU time that the hypervisor took since `earlier`.
    pub fn steal_since(&self, earlier: &HostSample) -> Option<f64> {
        let all = self.all_ticks?.checked_sub(earlier.all_ticks?)?;
        let steal = self.steal_ticks?.checked_sub(earlier.steal_ticks?)?;
        (all > 0).then(|| steal as f64 / all as f64)
    }

    /// Time since `earlier` in which the control group was denied its CPUs, in ns.
    pub fn throttled_since(&self, earlier: &HostSample) -> Option<u64> {
        self.throttled_ns?.checked_sub(earlier.throttled_ns?)
    }
}

fn throttled_ns() -> Option<u64> {
    let groups = read_to_string("/proc/self/cgroup").ok()?;
    let unified = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let paths = [
        format!("/sys/fs/cgroup{unified}/cpu.stat"),
        "/sys/fs/cgroup/cpu.stat".to_owned(),
        "/sys/fs/cgroup/cpu/cpu.stat".to_owned(),
    ];
    paths.iter().find_map(|path| {
        let text = read_to_string(path).ok()?;
        text.lines().find_map(|line| {
            let us = line
                .strip_prefix("throttled_usec ")
                .map(|value| (value, 1000));
            let (value, scale) =
                us.or_else(|| line.strip_prefix("throttled_time ").map(|value| (value, 1)))?;
            Some(value.trim().parse::<u64>().ok()? * scale)
        })
    })
}

/// CPU use of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadUsage {
    /// Time on a CPU, in ns.
    pub cpu_ns: u64,
    /// Time ready to run and waiting for a CPU, in ns.
    pub run_queue_ns: u64,
}

impl ThreadUsage {
    /// The difference.
    pub fn since(&self, earlier: &ThreadUsage) -> ThreadUsage {
        ThreadUsage {
            cpu_ns: self.cpu_ns.saturating_sub(earlier.cpu_ns),
            run_queue_ns: self.run_queue_ns.saturating_sub(earlier.run_queue_ns),
        }
    }
}

/// Reads the calling thread's usage without allocation.
#[derive(Debug)]
pub struct ThreadProbe {
    file: File,
}

impl ThreadProbe {
    /// Opens the calling thread's file; `None` where the kernel has none.
    pub fn open() -> Option<ThreadProbe> {
        File::open("/proc/thread-self/schedstat")
            .ok()
            .map(|file| ThreadProbe { file })
    }

    /// Reads it.
    pub fn read(&self) -> Option<ThreadUsage> {
        let mut buffer = [0u8; 96];
        let length = self.file.read_at(&mut buffer, 0).ok()?;
        let text = std::str::from_utf8(&buffer[..length]).ok()?;
        let mut fields = text.split_ascii_whitespace();
        let cpu_ns = fields.next()?.parse().ok()?;
        let run_queue_ns = fields.next()?.parse().ok()?;
        Some(ThreadUsage {
            cpu_ns,
            run_queue_ns,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_difference_and_absent_sources_stay_absent() {
        let earlier = HostSample {
            steal_ticks: Some(10),
            all_ticks: Some(100),
            throttled_ns: None,
        };
        let later = HostSample {
            steal_ticks: Some(15),
            all_ticks: Some(200),
            throttled_ns: Some(1),
        };
        assert_eq!(later.steal_since(&earlier), Some(0.05));
        assert_eq!(later.throttled_since(&earlier), None);
        assert_eq!(earlier.steal_since(&earlier), None);
        assert!(HostFacts::read().cpus >= 1);
    }

    #[test]
    fn a_busy_thread_uses_its_cpu() {
        let Some(probe) = ThreadProbe::open() else {
            return;
        };
        let before = probe.read().unwrap();
        let mut sum = 0u64;
        for n in 0..20_000_000u64 {
            sum = std::hint::black_box(sum.wrapping_add(n));
        }
        assert!(probe.read().unwrap().since(&before).cpu_ns > 0);
    }
}
