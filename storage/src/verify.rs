//! Verifying a log: the walk and the truth table of recovery, with nothing written or locked.
//!
//! On a log that is being written to, the end may be judged torn; everything before it is checked.

use std::path::Path;

use crate::disk::Disk;
use crate::error::StorageError;
use crate::log::{LogIdentity, check_identity, read_mark};
use crate::mark::{Mark, mark_path};
use crate::recovery::scan::{Access, Scan};
use crate::recovery::{PIECE_BYTES_DEFAULT, RecoveryReport, Replay};
use crate::slots::Newest;

/// What a log is and what recovery would find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyReport {
    /// Which log it is.
    pub identity: LogIdentity,
    /// The mark names this frame as durable.
    pub marked_sequence: u64,
    /// What the walk found.
    pub recovery: RecoveryReport,
}

/// Checks every frame of the log in `dir`. The error is the one that opening would give.
pub fn verify_dir<D: Disk>(disk: &mut D, dir: &Path) -> Result<VerifyReport, StorageError> {
    read_dir(disk, dir, &mut |_, _, _| Ok(()))
}

/// [`verify_dir`] that hands out every entry: its LSN, its kind and its bytes. For tools that read a log
/// without owning it.
pub fn read_dir<D: Disk>(
    disk: &mut D,
    dir: &Path,
    replay: Replay<'_>,
) -> Result<VerifyReport, StorageError> {
    let Newest::<Mark> {
        slot: mark,
        invalid,
    } = read_mark(disk, dir)?;
    let names = disk.list(dir).map_err(StorageError::io("list", dir))?;
    let (access, piece) = (Access::ReadOnly, PIECE_BYTES_DEFAULT);
    let mut scan = Scan::new(dir, mark, access, 0, &names, piece);
    scan.report.mark_slots_invalid = invalid;
    let walked = scan.run(disk, replay);
    walked.and(scan.close(disk))?;
    Ok(VerifyReport {
        identity: LogIdentity {
            log_id: mark.log_id,
            stream: mark.stream,
        },
        marked_sequence: mark.durable_sequence,
        recovery: scan.report,
    })
}

/// Replays the log of an earlier layout, which is never written again: it must have been closed
/// in order ([`crate::log::Log::close`]) before the next epoch began, so nothing needs repair.
pub fn replay_closed<D: Disk>(
    disk: &mut D,
    dir: &Path,
    identity: LogIdentity,
    replay: Replay<'_>,
) -> Result<VerifyReport, StorageError> {
    let Newest::<Mark> { slot: mark, .. } = read_mark(disk, dir)?;
    check_identity(&mark_path(dir), identity, &mark)?;
    let report = read_dir(disk, dir, replay)?;
    let sequence = report.recovery.last_sequence;
    if report.recovery.closed_cleanly && mark.clean && report.marked_sequence == sequence {
        return Ok(report);
    }
    Err(StorageError::NotClosed {
        path: dir.to_path_buf(),
        sequence,
    })
}
