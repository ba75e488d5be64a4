//! Kernel, io_uring, its helper threads, and the limits of the process.

use ringmill_storage::ring::{
    KERNEL_FLOOR, Ring, RingError, RingOptions, memlock_limit_bytes, memlock_needed_bytes,
    parse_release,
};
use rustix::process::{Resource, getrlimit};

use super::check::Check;
use super::system::{System, field};
use crate::inspect::units::bytes;

/// Capability that lifts the limit of locked memory, by its number in the kernel's header.
const CAP_IPC_LOCK: u32 = 14;

/// The background plane's executor locks this much for its own ring.
const BACKGROUND_MEMLOCK_BYTES: u64 = 512 << 10;

/// Connections, segments and a little more than that.
const OPEN_FILES_WANTED: u64 = 4_096;

/// All rows of this file. `cpus` are the CPUs that the process may use.
pub(super) fn checks(system: &System, cpus: &[usize]) -> Vec<Check> {
    let ring = Ring::new(&RingOptions::default()).map(drop);
    let iowq = match (&ring, cpus.first()) {
        (Ok(()), Some(cpu)) => {
            let options = RingOptions {
                iowq_cpu: Some(*cpu),
                ..RingOptions::default()
            };
            Some(Ring::new(&options).map(drop))
        }
        _ => None,
    };
    let exempt = system
        .text("/proc/self/status")
        .and_then(|status| exempt_from_memlock(&status));
    vec![
        kernel(system.kernel().as_deref()),
        io_uring(ring),
        io_wq(iowq, cpus.first().copied()),
        memlock(
            memlock_limit_bytes(),
            exempt == Some(true),
            cpus.len().max(1),
        ),
        open_files(getrlimit(Resource::Nofile).current),
    ]
}

fn kernel(release: Option<&str>) -> Check {
    const NAME: &str = "kernel";
    let Some(release) = release else {
        return Check::unknown(NAME, "no /proc/sys/kernel/osrelease");
    };
    match parse_release(release) {
        None => Check::unknown(NAME, format!("release {release:?} has no number")),
        Some(version) if version < KERNEL_FLOOR => Check::fail(
            NAME,
            release,
            format!(
                "upgrade to Linux {}.{} or newer, or serve with --backend posix",
                KERNEL_FLOOR.0, KERNEL_FLOOR.1
            ),
        ),
        Some(_) => Check::ok(NAME, release),
    }
}

fn io_uring(ring: Result<(), RingError>) -> Check {
    const NAME: &str = "io_uring";
    match ring {
        Ok(()) => Check::ok(NAME, "a ring with all needed flags works"),
        // The error names cause and way out, the posix back end included.
        Err(error) => Check::fail(NAME, "cannot be used", error.to_string()),
    }
}

fn io_wq(ring: Option<Result<(), RingError>>, cpu: Option<usize>) -> Check {
    const NAME: &str = "io-wq";
    match (ring, cpu) {
        (Some(Ok(())), Some(cpu)) => Check::ok(
            NAME,
            format!("helper threads can be bound (tried cpu {cpu})"),
        ),
        (Some(Err(error)), _) => Check::warn(
            NAME,
            "helper threads cannot be bound to a CPU",
            format!("flushes may wait for busy CPUs: {error}"),
        ),
        _ => Check::unknown(NAME, "needs a working io_uring"),
    }
}

/// Whether the process may lock as much memory as it likes, from `/proc/self/status`.
fn exempt_from_memlock(status: &str) -> Option<bool> {
    let mask = u64::from_str_radix(&field(status, "CapEff", ':')?, 16).ok()?;
    Some(mask & (1 << CAP_IPC_LOCK) != 0)
}

fn memlock(limit_bytes: Option<u64>, exempt: bool, shards: usize) -> Check {
    const NAME: &str = "memlock";
    let needed_bytes = memlock_needed_bytes(shards) + BACKGROUND_MEMLOCK_BYTES;
    let needs = format!("{shards} shards need {}", bytes(needed_bytes));
    match limit_bytes {
        None => Check::ok(NAME, format!("unlimited; {needs}")),
        Some(limit) if exempt => Check::ok(
            NAME,
            format!("limit {} does not apply (CAP_IPC_LOCK)", bytes(limit)),
        ),
        Some(limit) if limit >= needed_bytes => {
            Check::ok(NAME, format!("limit {}; {needs}", bytes(limit)))
        }
        Some(limit) => Check::warn(
            NAME,
            format!("limit {}; {needs}", bytes(limit)),
            "log buffers will not be registered, which costs CPU time: `ulimit -l unlimited`, \
             or LimitMEMLOCK=infinity in a unit",
        ),
    }
}

fn open_files(limit: Option<u64>) -> Check {
    const NAME: &str = "open files";
    match limit {
        None => Check::ok(NAME, "unlimited"),
        Some(limit) if limit >= OPEN_FILES_WANTED => Check::ok(NAME, format!("limit {limit}")),
        Some(limit) => Check::warn(
            NAME,
            format!("limit {limit}"),
            format!(
                "every connection takes one: `ulimit -n {OPEN_FILES_WANTED}`, or \
                 LimitNOFILE={OPEN_FILES_WANTED} in a unit"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

    #[test]
    fn kernels_below_the_floor_fail_and_odd_ones_are_unknown() {
        assert_eq!(kernel(Some("6.18.0-1")).verdict, Verdict::Ok);
        assert_eq!(kernel(Some("6.1.0")).verdict, Verdict::Ok);
        let old = kernel(Some("5.15.0-91-generic"));
        assert_eq!(old.verdict, Verdict::Fail);
        assert!(old.advice.unwrap().contains("Linux 6.1 or newer"));
        assert_eq!(kernel(Some("custom")).verdict, Verdict::Unknown);
        assert_eq!(kernel(None).verdict, Verdict::Unknown);
    }

    #[test]
    fn a_refused_ring_fails_with_the_way_out_and_leaves_io_wq_unknown() {
        let refused = io_uring(Err(RingError::Forbidden));
        assert_eq!(refused.verdict, Verdict::Fail);
        assert!(refused.advice.unwrap().contains("--backend posix"));
        assert_eq!(io_uring(Ok(())).verdict, Verdict::Ok);
        assert_eq!(io_wq(None, Some(0)).verdict, Verdict::Unknown);
        assert_eq!(io_wq(Some(Ok(())), Some(3)).verdict, Verdict::Ok);
        assert_eq!(
            io_wq(Some(Err(RingError::Forbidden)), Some(0)).verdict,
            Verdict::Warn
        );
    }

    #[test]
    fn capabilities_are_read_as_a_mask() {
        let status = |mask: &str| format!("Name:\tx\nCapEff:\t{mask}\n");
        assert_eq!(exempt_from_memlock(&status("000001fffeffffff")), Some(true));
        assert_eq!(
            exempt_from_memlock(&status("0000000000000000")),
            Some(false)
        );
        assert_eq!(exempt_from_memlock(&status("0000000000004000")), Some(true));
        assert_eq!(exempt_from_memlock(&status("zz")), None);
        assert_eq!(exempt_from_memlock("Name:\tx\n"), None);
    }

    #[test]
    fn memlock_is_held_against_the_need_of_all_shards() {
        assert_eq!(memlock(None, false, 64).verdict, Verdict::Ok);
        assert_eq!(memlock(Some(8 << 20), false, 2).verdict, Verdict::Ok);
        assert_eq!(memlock(Some(64 << 10), true, 2).verdict, Verdict::Ok);
        let low = memlock(Some(64 << 10), false, 2);
        assert_eq!(low.verdict, Verdict::Warn);
        assert!(
            low.value.starts_with("limit 64KiB; 2 shards need "),
            "{}",
            low.value
        );
        assert_eq!(memlock(Some(8 << 20), false, 4).verdict, Verdict::Warn);
    }

    #[test]
    fn few_open_files_are_a_warning() {
        assert_eq!(open_files(Some(1_024)).verdict, Verdict::Warn);
        assert_eq!(open_files(Some(4_096)).verdict, Verdict::Ok);
        assert_eq!(open_files(None).verdict, Verdict::Ok);
    }
}
