//! Reading a log behind its writer: as far as the writer says that it is durable, and on from there.
//!
//! The chain is checked as in recovery. Nothing is judged about the end, because there is none: what
//! the writer called durable has to be there, whole.

use std::path::Path;

use crate::disk::Disk;
use crate::error::StorageError;
use crate::log::{LogIdentity, Lsn, check_identity, read_mark};
use crate::mark::{Mark, mark_path};
use crate::recovery::scan::{Access, Scan};
use crate::recovery::{PIECE_BYTES_DEFAULT, Replay};
use crate::slots::Newest;

/// A place in a log that somebody else writes.
pub struct Follower<'a> {
    scan: Scan<'a>,
}

impl<'a> Follower<'a> {
    /// At the beginning of the log in `dir`.
    pub fn open<D: Disk>(
        disk: &mut D,
        dir: &'a Path,
        identity: LogIdentity,
    ) -> Result<Follower<'a>, StorageError> {
        let Newest::<Mark> { slot: mark, .. } = read_mark(disk, dir)?;
        check_identity(&mark_path(dir), identity, &mark)?;
        let scan = Scan::new(dir, mark, Access::ReadOnly, 0, &[], PIECE_BYTES_DEFAULT);
        Ok(Follower { scan })
    }

    /// Hands out entries, whole frames of them, until that of `lsn` was among them. The writer has
    /// said that it is durable. Returns the last one.
    pub fn read_through<D: Disk>(
        &mut self,
        disk: &mut D,
        lsn: Lsn,
        replay: Replay<'_>,
    ) -> Result<Lsn, StorageError> {
        self.scan.follow(disk, lsn, replay)?;
        Ok(self.scan.position.lsn)
    }

    /// Ends reading.
    pub fn close<D: Disk>(mut self, disk: &mut D) -> Result<(), StorageError> {
        self.scan.close(disk)
    }
}
