//! What the tests on real files share: a directory that can do direct I/O, a ring or the reason
//! why there is none, a seeded generator.

#![allow(dead_code, unreachable_pub)] // Each test binary uses a part.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use ringmill_storage::aligned::AlignedBuf;
use ringmill_storage::disk::uring::UringDisk;
use ringmill_storage::disk::{Completion, Disk, FileId, Op};
use ringmill_storage::probe::SyncWay;
use ringmill_storage::ring::{Ring, RingError, RingOptions, SharedRing};

pub const BLOCK: usize = 4096;

/// A directory on the filesystem of the build, because temporary directories are often in memory.
pub fn dir() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory for files")
}

/// A ring, or `None` if this system forbids io_uring and the variable allows to skip.
///
/// # Panics
/// With the diagnosis, if io_uring is forbidden and skipping was not asked for: a test that
/// silently does nothing proves nothing.
pub fn ring_with(options: &RingOptions) -> Option<SharedRing> {
    let allowed = std::env::var("RINGMILL_SKIP_URING").is_ok_and(|value| value == "1");
    match Ring::new(options) {
        Ok(ring) => Some(Rc::new(RefCell::new(ring))),
        Err(error) if allowed && is_refusal(&error) => {
            eprintln!("skipped, RINGMILL_SKIP_URING=1: {error}");
            None
        }
        Err(error) => panic!("{error} (RINGMILL_SKIP_URING=1 skips the tests that need it)"),
    }
}

/// Whether the system, and not a mistake of ours, is the reason.
fn is_refusal(error: &RingError) -> bool {
    !matches!(error, RingError::Entries { .. } | RingError::Setup { .. })
}

pub fn ring() -> Option<SharedRing> {
    ring_with(&RingOptions {
        entries: 64,
        ..RingOptions::default()
    })
}

pub fn disk_on(ring: &SharedRing) -> UringDisk {
    UringDisk::new(Rc::clone(ring), SyncWay::WriteDsync)
}

/// Turns the disk until `count` operations have come back.
pub fn collect<D: Disk>(disk: &mut D, count: usize) -> Vec<Completion> {
    let mut out = Vec::new();
    while out.len() < count {
        disk.wait().expect("the disk can be waited for");
        disk.reap(&mut out);
    }
    assert_eq!(out.len(), count, "more completions than operations");
    out.sort_by_key(|completion| completion.ticket);
    out
}

pub fn filled(bytes: usize, value: u8) -> AlignedBuf {
    let mut buffer = AlignedBuf::zeroed(bytes);
    buffer.fill(value);
    buffer
}

pub fn write_op(file: FileId, offset: u64, buffer: AlignedBuf, flush: bool) -> Op {
    let bytes = buffer.len();
    Op::Write {
        file,
        offset,
        buffer,
        bytes,
        flush,
    }
}

pub fn assert_content(path: &Path, offset: usize, expected: &[u8]) {
    let content = std::fs::read(path).expect("the file is readable");
    assert!(
        content[offset..offset + expected.len()] == *expected,
        "wrong bytes at {offset}"
    );
}

/// SplitMix64: enough for tests, and the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
