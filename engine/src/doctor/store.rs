//! The place of the data directory: filesystem, alignment, space, block queue, and how long a
//! flush takes there.

use std::fs;
use std::path::{Path, PathBuf};

use ringmill_storage::device::{BlockFacts, DeviceFacts, DirectIoFacts};
use ringmill_storage::layout::BLOCK_BYTES;
use ringmill_storage::manifest::MANIFEST_NAME;
use ringmill_storage::probe::{
    Backend, PROBE_BUDGET, PROBE_SPIN, ProbeError, ProbeOptions, ProbeReport, probe_with,
};
use rustix::fs::FlockOperation;

use super::check::Check;
use crate::inspect::units::{bytes, time};

/// Filesystems that overwrite preallocated blocks in place, which the log's speed rests on.
const IN_PLACE: [&str; 3] = ["ext4", "xfs", "ext3"];

/// Filesystems that live in memory.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];

/// Less than a few segments of 64 MiB will not let a shard start.
const FREE_BYTES_FAIL: u64 = 256 << 20;
const FREE_BYTES_WARN: u64 = 2 << 30;

/// A flush that is slower than this at the 99th percentile decides every latency of the engine.
const FLUSH_P99_NS_WARN: u64 = 2_000_000;

/// Faster than any device can confirm a flush: something in between does not pass it on.
const FLUSH_P50_NS_MIN: u64 = 3_000;

const FILESYSTEM: &str = "filesystem";
const DIRECT_IO: &str = "direct i/o";
const FREE_SPACE: &str = "free space";
const BLOCK_QUEUE: &str = "block queue";
const FLUSH: &str = "flush";

/// All rows of this file. Without `uring` the flush is measured by plain system calls.
pub(super) fn checks(data: Option<&Path>, cpus: &[usize], uring: bool) -> Vec<Check> {
    let unknown = |why: &str| {
        let names = [FILESYSTEM, DIRECT_IO, FREE_SPACE, BLOCK_QUEUE, FLUSH];
        names.iter().map(|name| Check::unknown(name, why)).collect()
    };
    let Some(data) = data else {
        return unknown("give --data DIR");
    };
    let Some(place) = nearest_existing(data) else {
        let advice = "give the path of a directory, or of one that can be made";
        return vec![Check::fail(
            FILESYSTEM,
            format!("{} has no place", data.display()),
            advice,
        )];
    };
    let facts = match DeviceFacts::of(&place) {
        Ok(facts) => facts,
        Err(error) => return unknown(&format!("cannot look at {}: {error}", place.display())),
    };
    vec![
        filesystem(&facts, &place),
        direct_io(facts.direct_io),
        free_space(facts.free_bytes),
        block_queue(facts.block.as_ref()),
        flush(&place, cpus, uring),
    ]
}

/// The directory itself or, before the first start, the one that it will be made in.
fn nearest_existing(data: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(data).ok()?;
    let first = absolute.ancestors().find(|path| path.exists())?;
    first.is_dir().then(|| first.to_path_buf())
}

fn filesystem(facts: &DeviceFacts, place: &Path) -> Check {
    let kind = facts.filesystem.as_str();
    let point = facts.mount_point.as_deref().unwrap_or(place).display();
    let value = format!("{kind} at {point}");
    let options: Vec<&str> = facts.mount_options.split(',').collect();
    if options.contains(&"ro") {
        return Check::fail(
            FILESYSTEM,
            format!("{value}, read-only"),
            "mount it read-write",
        );
    }
    if options.contains(&"nobarrier") || options.contains(&"barrier=0") {
        let advice = "a flush does not reach the device, so a power loss can take acknowledged \
                      events: mount it with barriers";
        return Check::warn(FILESYSTEM, format!("{value}, no write barriers"), advice);
    }
    if IN_MEMORY.contains(&kind) {
        let advice = "it lives in memory: nothing survives a restart of the machine; use a disk";
        return Check::warn(FILESYSTEM, value, advice);
    }
    if !IN_PLACE.contains(&kind) {
        let advice = "only ext4 and XFS are known to overwrite preallocated blocks in place, \
                      which the log's speed rests on; put the data directory on one of them";
        return Check::warn(FILESYSTEM, value, advice);
    }
    Check::ok(FILESYSTEM, value)
}

fn direct_io(needs: Option<DirectIoFacts>) -> Check {
    let Some(needs) = needs else {
        return Check::unknown(
            DIRECT_IO,
            "the filesystem does not tell; the flush row shows",
        );
    };
    let value = format!(
        "alignment {} B in memory, {} B in files",
        needs.memory_bytes, needs.offset_bytes
    );
    let most = needs.memory_bytes.max(needs.offset_bytes) as usize;
    if most > BLOCK_BYTES {
        let advice =
            format!("the log writes blocks of {BLOCK_BYTES} B: use a device with smaller sectors");
        return Check::fail(DIRECT_IO, value, advice);
    }
    Check::ok(DIRECT_IO, value)
}

fn free_space(free_bytes: u64) -> Check {
    let value = bytes(free_bytes);
    let advice = "segments of 64 MiB are made ahead of need, several per shard: free some space";
    match free_bytes {
        0..FREE_BYTES_FAIL => Check::fail(FREE_SPACE, value, advice),
        FREE_BYTES_FAIL..FREE_BYTES_WARN => Check::warn(FREE_SPACE, value, advice),
        _ => Check::ok(FREE_SPACE, value),
    }
}

fn block_queue(block: Option<&BlockFacts>) -> Check {
    let Some(block) = block else {
        return Check::unknown(BLOCK_QUEUE, "the filesystem has no block device of its own");
    };
    let shown = |value: Option<String>| value.unwrap_or_else(|| "n/a".to_owned());
    let yes_no = |flag: bool| if flag { "yes" } else { "no" }.to_owned();
    let value = format!(
        "{}: rq_affinity {}, cache {}, fua {}, scheduler {}",
        block.name,
        shown(block.rq_affinity.map(|affinity| affinity.to_string())),
        shown(block.write_cache.clone()),
        shown(block.fua.map(yes_no)),
        shown(block.scheduler.clone())
    );
    let cached = block.write_cache.as_deref() == Some("write back");
    if cached && block.fua == Some(false) && block.rq_affinity.is_some_and(|affinity| affinity != 2)
    {
        let advice = format!(
            "a flushed write ends in a kernel worker on the CPU that took the interrupt, and \
             waits there for milliseconds if that CPU is busy; the engine then flushes by another \
             way, see the flush row; best: `echo 2 > /sys/block/{}/queue/rq_affinity`",
            block.name
        );
        return Check::warn(BLOCK_QUEUE, value, advice);
    }
    if block.rotational == Some(true) && block.write_cache.as_deref() == Some("write through") {
        let advice = "it reports itself as rotational: unless a hypervisor merely says so, every \
                      commit costs a turn of the platter; use flash";
        return Check::warn(BLOCK_QUEUE, value, advice);
    }
    Check::ok(BLOCK_QUEUE, value)
}

fn flush(place: &Path, cpus: &[usize], uring: bool) -> Check {
    if in_use(place) {
        // The probe keeps all CPUs and the device busy, which a running engine would feel.
        return Check::unknown(FLUSH, "the store is in use; stop the engine to measure");
    }
    let report = probe_with(&ProbeOptions {
        dir: place.to_path_buf(),
        backend: if uring {
            Backend::Uring
        } else {
            Backend::Posix
        },
        cpu: cpus.first().copied(),
        busy_cpus: cpus.to_vec(),
        budget: PROBE_BUDGET,
        spin: PROBE_SPIN,
    });
    match report {
        Ok(report) => flush_verdict(&report),
        Err(error @ (ProbeError::Ring(_) | ProbeError::Cpu { .. })) => Check::unknown(FLUSH, error),
        Err(error) => Check::fail(FLUSH, "cannot be measured", error.to_string()),
    }
}

/// Whether an engine holds this store: it locks the manifest for as long as it runs.
fn in_use(place: &Path) -> bool {
    let Ok(manifest) = fs::File::open(place.join(MANIFEST_NAME)) else {
        return false;
    };
    let lock = rustix::fs::flock(&manifest, FlockOperation::NonBlockingLockShared);
    lock == Err(rustix::io::Errno::WOULDBLOCK)
}

fn flush_verdict(report: &ProbeReport) -> Check {
    let ways = report.ways.iter().map(|way| {
        let name = way.way.name(report.backend);
        format!("{name} p50 {} p99 {}", time(way.p50_ns), time(way.p99_ns))
    });
    let chosen = report.chosen.name(report.backend);
    let value = format!("use {chosen} ({})", ways.collect::<Vec<_>>().join("; "));
    let Some(latency) = report.chosen_latency() else {
        return Check::unknown(FLUSH, "the probe measured nothing");
    };
    if latency.p50_ns < FLUSH_P50_NS_MIN {
        let advice = "no device confirms a flush that fast: something in between, such as a \
                      hypervisor with an unsafe cache mode, drops it, and a power loss there can \
                      take acknowledged events";
        return Check::warn(FLUSH, value, advice);
    }
    if latency.p99_ns > FLUSH_P99_NS_WARN {
        let advice = "every acknowledgement at level commit waits for this: see the block queue \
                      row, look for other writers on the device, or use a device with \
                      power-loss protection";
        return Check::warn(FLUSH, value, advice);
    }
    Check::ok(FLUSH, value)
}

#[cfg(test)]
mod tests {
    use ringmill_storage::probe::{SyncWay, WayLatency};

    use super::super::check::Verdict;
    use super::*;

    fn facts(filesystem: &str, options: &str) -> DeviceFacts {
        DeviceFacts {
            filesystem: filesystem.to_owned(),
            mount_options: options.to_owned(),
            ..DeviceFacts::default()
        }
    }

    #[test]
    fn filesystems_are_judged_by_kind_and_options() {
        let verdict = |kind, options| filesystem(&facts(kind, options), Path::new("/d")).verdict;
        assert_eq!(verdict("ext4", "rw,relatime"), Verdict::Ok);
        assert_eq!(verdict("xfs", "rw"), Verdict::Ok);
        assert_eq!(verdict("btrfs", "rw"), Verdict::Warn);
        assert_eq!(verdict("ext4", "rw,nobarrier"), Verdict::Warn);
        assert_eq!(verdict("ext4", "rw,barrier=0"), Verdict::Warn);
        assert_eq!(verdict("ext4", "ro,relatime"), Verdict::Fail);
        assert_eq!(verdict("ext4", "rw,errors=remount-ro"), Verdict::Ok);
        let memory = filesystem(&facts("tmpfs", "rw"), Path::new("/d"));
        assert!(memory.advice.unwrap().contains("lives in memory"));
    }

    #[test]
    fn alignment_must_fit_the_block() {
        let needs = |memory_bytes, offset_bytes| {
            direct_io(Some(DirectIoFacts {
                memory_bytes,
                offset_bytes,
            }))
            .verdict
        };
        assert_eq!(needs(4, 512), Verdict::Ok);
        assert_eq!(needs(4_096, 4_096), Verdict::Ok);
        assert_eq!(needs(512, 8_192), Verdict::Fail);
        assert_eq!(direct_io(None).verdict, Verdict::Unknown);
    }

    #[test]
    fn space_is_judged_by_segments() {
        assert_eq!(free_space(1 << 20).verdict, Verdict::Fail);
        assert_eq!(free_space(1 << 30).verdict, Verdict::Warn);
        assert_eq!(free_space(100 << 30).verdict, Verdict::Ok);
    }

    #[test]
    fn a_volatile_cache_without_fua_wants_its_completions_on_the_submitting_cpu() {
        let block = |rq_affinity, cache: &str, fua| BlockFacts {
            name: "vda".to_owned(),
            rq_affinity,
            write_cache: Some(cache.to_owned()),
            fua,
            ..BlockFacts::default()
        };
        let slow = block_queue(Some(&block(Some(1), "write back", Some(false))));
        assert_eq!(slow.verdict, Verdict::Warn);
        assert!(
            slow.advice
                .unwrap()
                .contains("/sys/block/vda/queue/rq_affinity")
        );
        for good in [
            block(Some(2), "write back", Some(false)),
            block(Some(1), "write back", Some(true)),
            block(Some(1), "write through", Some(false)),
            block(None, "write back", None),
        ] {
            assert_eq!(block_queue(Some(&good)).verdict, Verdict::Ok, "{good:?}");
        }
        let unknown = block_queue(Some(&BlockFacts::default())).value;
        assert_eq!(
            unknown,
            ": rq_affinity n/a, cache n/a, fua n/a, scheduler n/a"
        );
        assert_eq!(block_queue(None).verdict, Verdict::Unknown);
    }

    #[test]
    fn flushes_are_too_slow_too_fast_or_right() {
        let report = |p50_ns, p99_ns| ProbeReport {
            backend: Backend::Uring,
            chosen: SyncWay::RingDatasync,
            ways: vec![
                WayLatency {
                    way: SyncWay::WriteDsync,
                    p50_ns: 1,
                    p99_ns: 8_000_000,
                    samples: 9,
                },
                WayLatency {
                    way: SyncWay::RingDatasync,
                    p50_ns,
                    p99_ns,
                    samples: 9,
                },
            ],
            pinned: true,
            kernel: "6.18".to_owned(),
            device: "254:0".to_owned(),
        };
        let good = flush_verdict(&report(152_000, 327_000));
        assert_eq!(good.verdict, Verdict::Ok);
        assert_eq!(
            good.value,
            "use ring-fdatasync (dsync p50 1ns p99 8.0ms; ring-fdatasync p50 152us p99 327us)"
        );
        assert_eq!(
            flush_verdict(&report(152_000, 9_000_000)).verdict,
            Verdict::Warn
        );
        let fast = flush_verdict(&report(900, 2_000));
        assert!(fast.advice.unwrap().contains("unsafe cache mode"));
        let nothing = ProbeReport {
            ways: Vec::new(),
            ..report(1, 1)
        };
        assert_eq!(flush_verdict(&nothing).verdict, Verdict::Unknown);
    }

    #[test]
    fn a_directory_yet_to_be_made_is_judged_by_the_one_above() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let place = nearest_existing(&directory.path().join("a/b/c"));
        assert_eq!(place.as_deref(), Some(directory.path()));
        assert_eq!(nearest_existing(&file), None);
        assert_eq!(nearest_existing(&file.join("below")), None);
        let checks = checks(Some(&file), &[0], false);
        assert_eq!((checks.len(), checks[0].verdict), (1, Verdict::Fail));
    }

    #[test]
    fn a_held_lock_is_seen_and_the_probe_left_out() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!in_use(directory.path()));
        let manifest = fs::File::create(directory.path().join(MANIFEST_NAME)).unwrap();
        assert!(!in_use(directory.path()));
        rustix::fs::flock(&manifest, FlockOperation::LockExclusive).unwrap();
        assert!(in_use(directory.path()));
        let check = flush(directory.path(), &[0], true);
        assert_eq!(check.verdict, Verdict::Unknown);
        assert!(check.value.contains("in use"), "{}", check.value);
        assert_eq!(
            fs::read_dir(directory.path()).unwrap().count(),
            1,
            "nothing was written"
        );
    }
}
