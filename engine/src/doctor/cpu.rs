//! CPUs: which ones, their siblings, governor, clock source, and time stolen by the hypervisor.

use super::check::Check;
use super::system::{System, cpu_list};
use crate::inspect::units::percent;

/// Share of stolen time above which latencies describe the neighbours rather than the engine.
const STEAL_SHARE_MAX: f64 = 0.02;

/// Fewer clock ticks than this between two readings are too few to divide.
const STEAL_TICKS_MIN: u64 = 20;

/// Rows that one reading answers. `cpus` are the CPUs that the process may use.
pub(super) fn checks(system: &System, cpus: &[usize]) -> Vec<Check> {
    let smt = system.text("/sys/devices/system/cpu/smt/active");
    let governors: Vec<_> = cpus.iter().map(|cpu| system.governor(*cpu)).collect();
    vec![
        usable(cpus, system.cpus_online().as_deref()),
        siblings(smt.as_deref(), &first_of_each_core(system, cpus)),
        governor(&governors),
        clock(system.clocksource().as_deref(), system.is_guest()),
    ]
}

fn usable(cpus: &[usize], online: Option<&[usize]>) -> Check {
    const NAME: &str = "cpus";
    let of = online.map_or(String::new(), |online| {
        format!(" of {} online", online.len())
    });
    let value = format!("{} usable{of}: {}", cpus.len(), ranges(cpus));
    match cpus.len() {
        0 => Check::unknown(NAME, "the set of usable CPUs cannot be read"),
        1 => Check::warn(
            NAME,
            value,
            "shard, background work and clients share one CPU: expect scheduler delays of \
             milliseconds; allow at least two",
        ),
        _ => Check::ok(NAME, value),
    }
}

/// `0-3,8` of a sorted list.
fn ranges(cpus: &[usize]) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for cpu in cpus {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == *cpu => *last = *cpu,
            _ => parts.push((*cpu, *cpu)),
        }
    }
    let texts = parts.iter().map(|(first, last)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    });
    texts.collect::<Vec<_>>().join(",")
}

/// One usable CPU of each physical core; `None` where the kernel does not tell.
fn first_of_each_core(system: &System, cpus: &[usize]) -> Option<Vec<usize>> {
    let mut firsts = Vec::new();
    for cpu in cpus {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        let siblings = cpu_list(&system.text(&path)?)?;
        if siblings.iter().find(|sibling| cpus.contains(sibling)) == Some(cpu) {
            firsts.push(*cpu);
        }
    }
    Some(firsts)
}

fn siblings(active: Option<&str>, firsts: &Option<Vec<usize>>) -> Check {
    const NAME: &str = "smt";
    match active {
        Some("0") => Check::ok(NAME, "off: every CPU is a core of its own"),
        Some("1") => {
            let which = match firsts {
                Some(firsts) => format!("`--cpus {}`", ranges(firsts)),
                None => "see /sys/devices/system/cpu/cpu*/topology".to_owned(),
            };
            Check::warn(
                NAME,
                "on: two CPUs share one core",
                format!("pin shards to one CPU of each core: {which}"),
            )
        }
        Some(other) => Check::unknown(NAME, format!("smt/active is {other:?}")),
        None => Check::unknown(NAME, "no /sys/devices/system/cpu/smt/active"),
    }
}

fn governor(governors: &[Option<String>]) -> Check {
    const NAME: &str = "governor";
    let mut names: Vec<_> = governors.iter().flatten().map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    match names.as_slice() {
        [] => Check::unknown(NAME, "no cpufreq interface, as in most guests"),
        ["performance"] => Check::ok(NAME, "performance"),
        names => Check::warn(
            NAME,
            names.join(", "),
            "clock rates that follow the load add latency: `cpupower frequency-set -g \
             performance`",
        ),
    }
}

fn clock(source: Option<&str>, guest: Option<bool>) -> Check {
    const NAME: &str = "clock";
    match source {
        Some("tsc") => Check::ok(NAME, "tsc"),
        Some(source) => {
            let advice = if guest == Some(true) {
                "the hypervisor should offer an invariant TSC; then boot with `clocksource=tsc`"
            } else {
                "look for \"clocksource\" in the kernel log for why the TSC is distrusted"
            };
            Check::warn(
                NAME,
                source,
                format!("reading the time is slower than need be: {advice}"),
            )
        }
        None => Check::unknown(NAME, "no clocksource in /sys"),
    }
}

/// Ticks of all CPUs since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticks {
    total: u64,
    steal: u64,
}

impl Ticks {
    /// The present reading.
    pub(super) fn read(system: &System) -> Option<Ticks> {
        Ticks::parse(&system.text("/proc/stat")?)
    }

    /// `cpu user nice system idle iowait irq softirq steal guest guest_nice`; the last two are
    /// contained in user and nice.
    fn parse(stat: &str) -> Option<Ticks> {
        let line = stat.lines().find(|line| line.starts_with("cpu "))?;
        let fields = line.split_whitespace().skip(1).take(8);
        let ticks: Vec<u64> = fields
            .map(|field| field.parse().ok())
            .collect::<Option<_>>()?;
        let steal = *ticks.get(7)?;
        let total = ticks
            .iter()
            .try_fold(0u64, |sum, ticks| sum.checked_add(*ticks))?;
        Some(Ticks { total, steal })
    }
}

/// Stolen time while the checks ran, which kept the CPUs busy if the flush was probed, and since
/// boot. The first decides, if there was enough of it.
pub(super) fn steal(before: Option<Ticks>, after: Option<Ticks>) -> Check {
    const NAME: &str = "steal";
    let (Some(before), Some(after)) = (before, after) else {
        return Check::unknown(NAME, "no steal time in /proc/stat");
    };
    let share = |steal: u64, total: u64| {
        if total == 0 {
            0.0
        } else {
            steal as f64 / total as f64
        }
    };
    let since_boot = share(after.steal, after.total);
    let total = after.total.saturating_sub(before.total);
    let now = share(after.steal.saturating_sub(before.steal), total);
    let measured = total >= STEAL_TICKS_MIN;
    let value = if measured {
        format!("{} now, {} since boot", percent(now), percent(since_boot))
    } else {
        format!("{} since boot", percent(since_boot))
    };
    if (if measured { now } else { since_boot }) > STEAL_SHARE_MAX {
        Check::warn(
            NAME,
            value,
            "the hypervisor gives CPU time to others, which no setting here can hide: ask for \
             dedicated CPUs, and do not trust tail latencies measured here",
        )
    } else {
        Check::ok(NAME, value)
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

    #[test]
    fn usable_cpus_are_listed_as_ranges() {
        let check = usable(&[0, 1, 2, 5], Some(&[0, 1, 2, 3, 4, 5]));
        assert_eq!(check.value, "4 usable of 6 online: 0-2,5");
        assert_eq!(check.verdict, Verdict::Ok);
        assert_eq!(usable(&[3], None).verdict, Verdict::Warn);
        assert_eq!(usable(&[], None).verdict, Verdict::Unknown);
    }

    #[test]
    fn siblings_advise_one_cpu_of_each_core() {
        let directory = tempfile::tempdir().unwrap();
        for (cpu, list) in [(0, "0,2"), (1, "1,3"), (2, "0,2"), (3, "1,3")] {
            let topology = format!("sys/devices/system/cpu/cpu{cpu}/topology");
            let topology = directory.path().join(topology);
            std::fs::create_dir_all(&topology).unwrap();
            std::fs::write(topology.join("thread_siblings_list"), list).unwrap();
        }
        let system = System::new(directory.path());
        assert_eq!(first_of_each_core(&system, &[0, 1, 2, 3]), Some(vec![0, 1]));
        assert_eq!(first_of_each_core(&system, &[2, 3]), Some(vec![2, 3]));
        assert_eq!(first_of_each_core(&system, &[0, 9]), None);
        let check = siblings(Some("1"), &Some(vec![0, 1]));
        assert_eq!(check.verdict, Verdict::Warn);
        assert!(check.advice.unwrap().contains("--cpus 0-1"));
        assert_eq!(siblings(Some("0"), &None).verdict, Verdict::Ok);
        assert_eq!(siblings(None, &None).verdict, Verdict::Unknown);
        assert_eq!(siblings(Some("?"), &None).verdict, Verdict::Unknown);
    }

    #[test]
    fn any_cpu_with_another_governor_is_named() {
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(governor(&[None, None]).verdict, Verdict::Unknown);
        assert_eq!(
            governor(&[some("performance"), some("performance")]).verdict,
            Verdict::Ok
        );
        let mixed = governor(&[some("schedutil"), some("performance"), None]);
        assert_eq!(
            (mixed.verdict, mixed.value.as_str()),
            (Verdict::Warn, "performance, schedutil")
        );
    }

    #[test]
    fn only_the_tsc_passes() {
        assert_eq!(clock(Some("tsc"), None).verdict, Verdict::Ok);
        let guest = clock(Some("kvm-clock"), Some(true));
        assert_eq!(guest.verdict, Verdict::Warn);
        assert!(guest.advice.unwrap().contains("hypervisor"));
        assert!(
            clock(Some("hpet"), Some(false))
                .advice
                .unwrap()
                .contains("kernel log")
        );
        assert_eq!(clock(None, None).verdict, Verdict::Unknown);
    }

    #[test]
    fn steal_is_the_eighth_field_and_guests_are_not_counted_twice() {
        let stat = "cpu  100 0 50 800 10 0 0 40 70 0\ncpu0 1 2 3\nintr 5\n";
        assert_eq!(
            Ticks::parse(stat),
            Some(Ticks {
                total: 1_000,
                steal: 40
            })
        );
        assert_eq!(Ticks::parse("cpu  100 0 50 800\n"), None);
        assert_eq!(Ticks::parse("cpu  1 2 3 4 5 6 7 x\n"), None);
        assert_eq!(Ticks::parse("cpu0 1 2 3 4 5 6 7 8\n"), None);
        assert_eq!(Ticks::parse(""), None);
    }

    #[test]
    fn steal_now_decides_over_steal_since_boot() {
        let ticks = |total, steal| Some(Ticks { total, steal });
        let bad_past = steal(ticks(1_000, 100), ticks(1_100, 101));
        assert_eq!(bad_past.verdict, Verdict::Ok);
        assert_eq!(bad_past.value, "1.0% now, 9.2% since boot");
        assert_eq!(
            steal(ticks(1_000, 0), ticks(1_100, 3)).verdict,
            Verdict::Warn
        );
        let short = steal(ticks(1_000, 100), ticks(1_010, 100));
        assert_eq!(
            (short.verdict, short.value.as_str()),
            (Verdict::Warn, "9.9% since boot")
        );
        assert_eq!(steal(None, ticks(1, 0)).verdict, Verdict::Unknown);
    }
}
