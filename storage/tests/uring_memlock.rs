//! Too little memory that may be locked: the log runs, slower, and says what it needs. A test
//! binary of its own, because the limit belongs to the whole process.

mod uring_support;

use ringmill_storage::disk::Disk;
use ringmill_storage::ring::{memlock_limit_bytes, memlock_needed_bytes};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::CapabilitySet;
use uring_support::{assert_content, collect, dir, disk_on, filled, ring, write_op};

const LIMIT_BYTES: u64 = 64 * 1024;

#[test]
fn a_log_without_locked_memory_runs_and_says_what_it_needs() {
    let maximum = getrlimit(Resource::Memlock).maximum;
    setrlimit(
        Resource::Memlock,
        Rlimit {
            current: Some(LIMIT_BYTES),
            maximum,
        },
    )
    .unwrap();
    // The superuser is above the limit as long as this thread may lock what it likes.
    let mut capabilities = rustix::thread::capabilities(None).unwrap();
    capabilities.effective -= CapabilitySet::IPC_LOCK;
    rustix::thread::set_capabilities(None, capabilities).unwrap();
    assert_eq!(memlock_limit_bytes(), Some(LIMIT_BYTES));

    let Some(ring) = ring() else { return };
    let dir = dir();
    let path = dir.path().join("file");
    let mut disk = disk_on(&ring);
    let mut buffers = [filled(1 << 20, 1), filled(1 << 20, 2)];
    disk.register_buffers(&mut buffers);
    assert!(buffers.iter().all(|buffer| buffer.registered().is_none()));
    let needed = format!("{} KiB", memlock_needed_bytes(1) / 1024);
    let warnings = ring.borrow().warnings().join("\n");
    for part in [
        "1024 KiB is not registered",
        "RLIMIT_MEMLOCK is 64 KiB",
        &needed,
    ] {
        assert!(warnings.contains(part), "{warnings}");
    }

    let file = disk.create(&path, 2 << 20).unwrap();
    let [first, second] = buffers;
    disk.submit(1, write_op(file, 0, first, true));
    disk.submit(2, write_op(file, 1 << 20, second, true));
    assert!(collect(&mut disk, 2).iter().all(|done| done.result.is_ok()));
    assert_content(&path, 0, &[1; 1 << 20]);
    assert_content(&path, 1 << 20, &[2; 1 << 20]);
}
