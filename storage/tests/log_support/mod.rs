//! A small log on the simulated disk, for the tests that look at every place of it.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use ringmill_storage::disk::Disk;
use ringmill_storage::disk::sim::{SimDisk, SimWorld};
use ringmill_storage::error::StorageError;
use ringmill_storage::layout::BLOCK_BYTES;
use ringmill_storage::log::{Log, LogIdentity, LogOptions};
use ringmill_storage::recovery::RecoveryReport;
use ringmill_storage::segment::prepare_segment;

pub(crate) const DIR: &str = "/log";
pub(crate) const IDENTITY: LogIdentity = LogIdentity {
    log_id: 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff,
    stream: 5,
};

/// Frames of one or two blocks in segments of five data blocks.
pub(crate) fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 7 * BLOCK_BYTES as u64,
        frame_bytes: 2 * BLOCK_BYTES,
        segments_ready: 1,
        lock_tries: 8,
        lock_wait: Duration::ZERO,
        schema_id: 9,
        ..LogOptions::default()
    }
}

pub(crate) fn dir() -> PathBuf {
    PathBuf::from(DIR)
}

/// Kind of the entries whose kind does not matter.
pub(crate) const KIND: u32 = 3;

/// Kind of the entry `index` that [`write_through`] appends.
pub(crate) fn kind(index: u64) -> u32 {
    [1, 2, 0x7f, u32::MAX][index as usize % 4]
}

/// Entry `index` of every test.
pub(crate) fn entry(index: u64) -> Vec<u8> {
    let length = [3usize, 40, 0, 700, 17, 2500][index as usize % 6];
    (0..length)
        .map(|at| (index as usize * 31 + at * 7) as u8)
        .collect()
}

/// A log that was opened, and what it handed out.
pub(crate) type Opened = (Log<SimDisk>, RecoveryReport, Vec<Vec<u8>>);

pub(crate) fn open(world: &SimWorld) -> Result<Opened, StorageError> {
    open_with(world, options())
}

pub(crate) fn open_with(world: &SimWorld, options: LogOptions) -> Result<Opened, StorageError> {
    let mut entries = Vec::new();
    let replay = &mut |lsn, _, bytes: &[u8]| {
        assert_eq!(lsn, entries.len() as u64 + 1);
        entries.push(bytes.to_vec());
        Ok(())
    };
    let (log, report) = Log::open(world.disk(), Path::new(DIR), IDENTITY, options, replay)?;
    Ok((log, report, entries))
}

/// Appends the entries up to `end` in frames of up to `per_frame`, each durable before the next.
/// Returns the last durable LSN if anything fails.
pub(crate) fn write_through(log: &mut Log<SimDisk>, end: u64, per_frame: u64) -> Result<(), u64> {
    while log.durable_lsn() < end {
        if let Some(wanted) = log.wanted_segment() {
            let bytes = log.options().segment_bytes;
            let prepared = prepare_segment(log.disk_mut(), &dir(), wanted, bytes);
            let supplied = prepared.and_then(|prepared| log.supply(prepared));
            supplied.map_err(|_| log.durable_lsn())?;
        }
        for _ in 0..per_frame {
            if log.appended_lsn() < end {
                let lsn = log.appended_lsn() + 1;
                log.append(kind(lsn), &[&entry(lsn)]);
            }
        }
        log.submit(1, true);
        while log.in_flight() {
            log.disk_mut().wait().map_err(|_| log.durable_lsn())?;
            log.poll(1).map_err(|_| log.durable_lsn())?;
        }
    }
    Ok(())
}

/// Checks that `entries` is a prefix of what the tests append.
pub(crate) fn is_prefix(entries: &[Vec<u8>]) -> bool {
    entries
        .iter()
        .zip(1..)
        .all(|(found, lsn)| *found == entry(lsn))
}
