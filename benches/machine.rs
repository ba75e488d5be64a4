//! The machine in one line: a figure without it says nothing.

use std::fs;

/// CPU model, CPUs that may be used, kernel, governor and the load when the bench began.
pub(crate) fn line() -> String {
    let cpus = core_affinity::get_core_ids().unwrap_or_default().len();
    format!(
        "{}, {cpus} cpus, linux {}, governor {}, load {}",
        cpu_model().unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        read("/proc/sys/kernel/osrelease"),
        read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        read("/proc/loadavg").split(' ').next().unwrap_or("unknown"),
    )
}

fn cpu_model() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn read(path: &str) -> String {
    fs::read_to_string(path).map_or("unknown".to_owned(), |text| text.trim().to_owned())
}
