//! Facts about the machine, read from the kernel's text files below one root.
//!
//! Tests point the root at a directory of samples. Whatever cannot be read or understood is `None`,
//! never zero: a missing source must show as "n/a".

use std::fs;
use std::path::PathBuf;

/// The machine's files, or samples of them.
#[derive(Debug, Clone)]
pub(crate) struct System {
    root: PathBuf,
}

impl Default for System {
    fn default() -> Self {
        System::new("/")
    }
}

impl System {
    /// The files below `root`.
    pub(crate) fn new(root: impl Into<PathBuf>) -> System {
        System { root: root.into() }
    }

    /// A file's text without blanks at either end; `path` is absolute.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        let path = self.root.join(path.trim_start_matches('/'));
        // Some of these files hold bytes that are not text, which lossy decoding makes visible.
        let bytes = fs::read(path).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// A file that holds one number.
    pub(crate) fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.parse().ok()
    }

    /// Release of the running kernel.
    pub(crate) fn kernel(&self) -> Option<String> {
        self.text("/proc/sys/kernel/osrelease")
    }

    /// Model name of the first processor.
    pub(crate) fn cpu_model(&self) -> Option<String> {
        field(&self.text("/proc/cpuinfo")?, "model name", ':')
    }

    /// The kernel's clock source.
    pub(crate) fn clocksource(&self) -> Option<String> {
        self.text("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    }

    /// CPUs that are online.
    pub(crate) fn cpus_online(&self) -> Option<Vec<usize>> {
        cpu_list(&self.text("/sys/devices/system/cpu/online")?)
    }

    /// Frequency governor of one CPU; guests usually have none.
    pub(crate) fn governor(&self, cpu: usize) -> Option<String> {
        self.text(&format!(
            "/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"
        ))
    }

    /// Whether the machine is a guest of a hypervisor, as the processor tells.
    pub(crate) fn is_guest(&self) -> Option<bool> {
        let flags = field(&self.text("/proc/cpuinfo")?, "flags", ':')?;
        Some(flags.split_whitespace().any(|flag| flag == "hypervisor"))
    }

    /// Memory in bytes.
    pub(crate) fn memory_bytes(&self) -> Option<u64> {
        let text = field(&self.text("/proc/meminfo")?, "MemTotal", ':')?;
        text.strip_suffix("kB")?
            .trim()
            .parse::<u64>()
            .ok()?
            .checked_mul(1024)
    }
}

/// Value of the first line `name<separator>value`, blanks around both removed.
pub(super) fn field(text: &str, name: &str, separator: char) -> Option<String> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(separator));
    let value = pairs.find(|(key, _)| key.trim() == name)?.1.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// CPUs of a list such as `0-3,8`; `None` if it is not one.
pub(super) fn cpu_list(text: &str) -> Option<Vec<usize>> {
    // No kernel numbers CPUs beyond this; a range in damaged text must not fill the memory.
    const CPU_MAX: usize = 65_535;
    let mut cpus = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: usize = first.trim().parse().ok()?;
        let last: usize = last.trim().parse().ok()?;
        if first > last || last > CPU_MAX {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(files: &[(&str, &str)]) -> (tempfile::TempDir, System) {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let system = System::new(directory.path());
        (directory, system)
    }

    #[test]
    fn cpu_lists_are_expanded_and_others_refused() {
        assert_eq!(cpu_list("0-3,8\n"), Some(vec![0, 1, 2, 3, 8]));
        assert_eq!(cpu_list("5"), Some(vec![5]));
        for text in ["", "a", "3-1", "0-", "0-99999999999", "1,,2"] {
            assert_eq!(cpu_list(text), None, "{text}");
        }
    }

    #[test]
    fn facts_are_read_from_samples() {
        let cpuinfo = "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu tsc hypervisor lm\n";
        let (_directory, system) = sample(&[
            ("proc/cpuinfo", cpuinfo),
            (
                "proc/meminfo",
                "MemTotal:        8130256 kB\nMemFree: 1 kB\n",
            ),
            ("proc/sys/kernel/osrelease", "6.18.0-1\n"),
            ("sys/devices/system/cpu/online", "0-1\n"),
        ]);
        assert_eq!(system.cpu_model().as_deref(), Some("AMD EPYC"));
        assert_eq!(system.is_guest(), Some(true));
        assert_eq!(system.memory_bytes(), Some(8_130_256 * 1024));
        assert_eq!(system.kernel().as_deref(), Some("6.18.0-1"));
        assert_eq!(system.cpus_online(), Some(vec![0, 1]));
    }

    #[test]
    fn absent_or_damaged_sources_are_unknown() {
        let (_directory, system) = sample(&[
            ("proc/meminfo", "MemTotal: lots\n"),
            ("proc/cpuinfo", "\u{0}\n"),
        ]);
        assert_eq!(system.memory_bytes(), None);
        assert_eq!(system.cpu_model(), None);
        assert_eq!(system.is_guest(), None);
        assert_eq!(system.kernel(), None);
        assert_eq!(system.governor(0), None);
    }
}
