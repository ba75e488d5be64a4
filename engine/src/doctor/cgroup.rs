//! Limits of CPU time set by control groups, of either version.
//!
//! A group is limited by its ancestors too, and throttling is counted where the limit is set, so
//! every level up to the mount point is read. A group mounted in a container has a path that only
//! exists outside; then the mount point itself stands for it.

use super::check::Check;
use super::system::System;
use crate::inspect::units::time;

/// What the groups of this process allow.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct CpuLimit {
    /// CPUs' worth of time; `None` if there is no limit.
    quota_cpus: Option<f64>,
    /// Time (ns) for which this group was stopped for having used up its quota.
    throttled_ns: Option<u64>,
}

/// The row of this file. `cpus` is the number of CPUs that the process may use.
pub(super) fn check(system: &System, cpus: usize) -> Check {
    const NAME: &str = "cgroup cpu";
    let Some(limit) = read(system) else {
        return Check::unknown(NAME, "no cpu controller found for this process");
    };
    let throttled = match limit.throttled_ns {
        None => "throttled n/a".to_owned(),
        Some(0) => "never throttled".to_owned(),
        Some(ns) => format!("throttled for {}", time(ns)),
    };
    match limit.quota_cpus {
        Some(quota) => Check::warn(
            NAME,
            format!("quota of {quota:.2} CPUs, {throttled}"),
            format!(
                "a quota stops all threads of the group for the rest of a period when it is used \
                 up: reserve whole CPUs by cpuset instead ({cpus} usable now), or raise cpu.max"
            ),
        ),
        None if limit.throttled_ns.is_some_and(|ns| ns > 0) => Check::warn(
            NAME,
            format!("no quota now, but {throttled} earlier"),
            "a limit was set before, or is set on a group that cannot be seen from here",
        ),
        None => Check::ok(NAME, format!("no quota, {throttled}")),
    }
}

fn read(system: &System) -> Option<CpuLimit> {
    let groups = system.text("/proc/self/cgroup")?;
    let mounts = system.text("/proc/self/mountinfo")?;
    // A controller belongs to one version at a time; where the first has it, the second has not.
    match group_path(&groups, Some("cpu")) {
        Some(path) => limits(
            system,
            &mount_point(&mounts, Some("cpu"))?,
            path,
            first_version,
        ),
        None => limits(
            system,
            &mount_point(&mounts, None)?,
            group_path(&groups, None)?,
            second_version,
        ),
    }
}

/// Path of this process in `/proc/self/cgroup`: lines `id:controllers:path`, where the second
/// version has no controllers.
fn group_path<'a>(groups: &'a str, controller: Option<&str>) -> Option<&'a str> {
    groups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let matches = match controller {
            Some(wanted) => controllers.split(',').any(|name| name == wanted),
            None => controllers.is_empty(),
        };
        matches.then_some(path)
    })
}

/// Mount point of a controller (first version) or of the second version, from mountinfo lines
/// `id parent device root point options ... - type source options`.
fn mount_point(mounts: &str, controller: Option<&str>) -> Option<String> {
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        let (kind, options) = (right.next()?, right.nth(1).unwrap_or_default());
        let matches = match controller {
            Some(wanted) => kind == "cgroup" && options.split(',').any(|name| name == wanted),
            None => kind == "cgroup2",
        };
        matches
            .then(|| left.split(' ').nth(4).map(str::to_owned))
            .flatten()
    })
}

/// The tightest quota and the longest throttling from the group up to the mount point.
fn limits(
    system: &System,
    mount: &str,
    path: &str,
    level: fn(&System, &str) -> Option<CpuLimit>,
) -> Option<CpuLimit> {
    let mut found: Option<CpuLimit> = None;
    let mut path = path.trim_end_matches('/');
    loop {
        if let Some(here) = level(system, &format!("{mount}{path}")) {
            let so_far = found.get_or_insert(here);
            so_far.quota_cpus = match (so_far.quota_cpus, here.quota_cpus) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            so_far.throttled_ns = so_far.throttled_ns.max(here.throttled_ns);
        }
        let Some((parent, _)) = path.rsplit_once('/') else {
            return found;
        };
        path = parent;
    }
}

/// One level of the second version: `cpu.max` is `max 100000` or `quota period`. The root has no
/// such file and no limit.
fn second_version(system: &System, group: &str) -> Option<CpuLimit> {
    let stat = system.text(&format!("{group}/cpu.stat"));
    let throttled_us = stat
        .as_deref()
        .and_then(|stat| stat_value(stat, "throttled_usec"));
    let max = system.text(&format!("{group}/cpu.max"));
    if max.is_none() && stat.is_none() {
        return None;
    }
    let quota_cpus = max.and_then(|max| {
        let (quota, period) = max.split_once(' ')?;
        ratio(quota.parse().ok()?, period.parse().ok()?)
    });
    Some(CpuLimit {
        quota_cpus,
        throttled_ns: throttled_us.map(|us| us.saturating_mul(1_000)),
    })
}

/// One level of the first version: a quota of -1 is none.
fn first_version(system: &System, group: &str) -> Option<CpuLimit> {
    let quota: i64 = system
        .text(&format!("{group}/cpu.cfs_quota_us"))?
        .parse()
        .ok()?;
    let period = system.number(&format!("{group}/cpu.cfs_period_us"))?;
    let stat = system.text(&format!("{group}/cpu.stat"));
    Some(CpuLimit {
        quota_cpus: u64::try_from(quota)
            .ok()
            .and_then(|quota| ratio(quota, period)),
        throttled_ns: stat.and_then(|stat| stat_value(&stat, "throttled_time")),
    })
}

fn stat_value(stat: &str, name: &str) -> Option<u64> {
    let mut pairs = stat.lines().filter_map(|line| line.split_once(' '));
    pairs.find(|(key, _)| *key == name)?.1.trim().parse().ok()
}

fn ratio(quota: u64, period: u64) -> Option<f64> {
    (period > 0).then(|| quota as f64 / period as f64)
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

    const MOUNTS_1: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
        32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
    const MOUNTS_2: &str =
        "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    fn sample(files: &[(&str, &str)]) -> (tempfile::TempDir, System) {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let system = System::new(directory.path());
        (directory, system)
    }

    #[test]
    fn the_tightest_level_of_the_second_version_counts() {
        let (directory, system) = sample(&[
            ("proc/self/cgroup", "0::/a/b\n"),
            ("proc/self/mountinfo", MOUNTS_2),
            ("sys/fs/cgroup/cpu.stat", "usage_usec 9\n"),
            ("sys/fs/cgroup/a/cpu.max", "150000 100000\n"),
            (
                "sys/fs/cgroup/a/cpu.stat",
                "nr_throttled 3\nthrottled_usec 2500\n",
            ),
            ("sys/fs/cgroup/a/b/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/a/b/cpu.stat", "throttled_usec 0\n"),
        ]);
        let expected = CpuLimit {
            quota_cpus: Some(1.5),
            throttled_ns: Some(2_500_000),
        };
        assert_eq!(read(&system), Some(expected));
        let check = check(&system, 4);
        assert_eq!(check.verdict, Verdict::Warn);
        assert_eq!(check.value, "quota of 1.50 CPUs, throttled for 2.5ms");
        for (inner, tightest) in [("50000 100000\n", 0.5), ("400000 100000\n", 1.5)] {
            std::fs::write(directory.path().join("sys/fs/cgroup/a/b/cpu.max"), inner).unwrap();
            assert_eq!(
                read(&system).and_then(|limit| limit.quota_cpus),
                Some(tightest)
            );
        }
    }

    #[test]
    fn a_path_from_outside_the_container_falls_back_to_the_mount_point() {
        let (_directory, system) = sample(&[
            ("proc/self/cgroup", "0::/docker/0123\n"),
            ("proc/self/mountinfo", MOUNTS_2),
            ("sys/fs/cgroup/cpu.max", "200000 100000\n"),
            (
                "sys/fs/cgroup/cpu.stat",
                "nr_throttled 0\nthrottled_usec 0\n",
            ),
        ]);
        assert_eq!(
            check(&system, 4).value,
            "quota of 2.00 CPUs, never throttled"
        );
    }

    #[test]
    fn the_first_version_is_read_where_it_holds_the_controller() {
        let groups = "8:pids:/\n2:cpu,cpuacct:/svc\n0::/\n";
        let files = [
            ("proc/self/cgroup", groups),
            ("proc/self/mountinfo", MOUNTS_1),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/svc/cpu.cfs_quota_us", "-1\n"),
            (
                "sys/fs/cgroup/cpu,cpuacct/svc/cpu.cfs_period_us",
                "100000\n",
            ),
            (
                "sys/fs/cgroup/cpu,cpuacct/svc/cpu.stat",
                "nr_throttled 0\nthrottled_time 0\n",
            ),
        ];
        let (directory, system) = sample(&files);
        let free = check(&system, 2);
        assert_eq!(
            (free.verdict, free.value.as_str()),
            (Verdict::Ok, "no quota, never throttled")
        );
        let quota = directory
            .path()
            .join("sys/fs/cgroup/cpu,cpuacct/svc/cpu.cfs_quota_us");
        std::fs::write(quota, "50000\n").unwrap();
        assert_eq!(read(&system).unwrap().quota_cpus, Some(0.5));
    }

    #[test]
    fn past_throttling_without_a_quota_is_told() {
        let (_directory, system) = sample(&[
            ("proc/self/cgroup", "0::/\n"),
            ("proc/self/mountinfo", MOUNTS_2),
            ("sys/fs/cgroup/cpu.stat", "throttled_usec 12\n"),
        ]);
        assert_eq!(check(&system, 2).verdict, Verdict::Warn);
    }

    #[test]
    fn absent_or_damaged_sources_are_unknown_never_zero() {
        let (_directory, system) = sample(&[]);
        assert_eq!(check(&system, 2).verdict, Verdict::Unknown);
        let (_directory, system) = sample(&[
            ("proc/self/cgroup", "0::/x\n"),
            ("proc/self/mountinfo", MOUNTS_2),
        ]);
        assert_eq!(check(&system, 2).verdict, Verdict::Unknown);
        let (_directory, system) = sample(&[
            ("proc/self/cgroup", "0::/\n"),
            ("proc/self/mountinfo", MOUNTS_2),
            ("sys/fs/cgroup/cpu.max", "200000 0\n"),
        ]);
        let odd = check(&system, 2);
        assert_eq!(odd.value, "no quota, throttled n/a");
        let (_directory, system) = sample(&[
            ("proc/self/cgroup", "garbage"),
            ("proc/self/mountinfo", "x - y"),
        ]);
        assert_eq!(check(&system, 2).verdict, Verdict::Unknown);
    }
}
