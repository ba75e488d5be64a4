//! The seam to the disk: what a log asks of it, and nothing else.
//!
//! A running log uses the asynchronous half ([`Disk::submit`], [`Disk::reap`]): buffers move in
//! with the operation and come home with its completion, so no back end can touch bytes that the
//! log is changing. Start, recovery and namespace work use the blocking half.
//!
//! Generic code takes `D: Disk`; there is no `dyn` and no `async` below this line.

use std::io;
use std::path::Path;

use crate::aligned::AlignedBuf;

pub mod posix;
pub mod sim;
pub mod uring;

/// Handle of an open file: an index in its disk's own file table.
pub type FileId = u32;

/// An operation that completes through [`Disk::reap`]. Offsets and lengths are in bytes and
/// multiples of the block.
pub enum Op {
    /// Writes the first `bytes` of `buffer` at `offset`, never beyond the end of the file.
    Write {
        /// Open file.
        file: FileId,
        /// Byte offset in the file.
        offset: u64,
        /// Owned until the completion.
        buffer: AlignedBuf,
        /// Length; at most the buffer's.
        bytes: usize,
        /// Complete only when the written range is durable (RWF_DSYNC or write, then flush).
        flush: bool,
    },
    /// Makes durable every write of `file` that completed before this operation was submitted.
    Datasync {
        /// Open file.
        file: FileId,
    },
    /// Reads `bytes` from `offset` into `buffer`, from its byte `start` on; never beyond
    /// the end of the file.
    Read {
        /// Open file.
        file: FileId,
        /// Byte offset in the file.
        offset: u64,
        /// Owned until the completion.
        buffer: AlignedBuf,
        /// Place in the buffer, on a block.
        start: usize,
        /// Length; at most the rest of the buffer.
        bytes: usize,
    },
}

impl Op {
    /// The file that it is for.
    #[must_use]
    pub fn file(&self) -> FileId {
        match *self {
            Op::Write { file, .. } | Op::Datasync { file } | Op::Read { file, .. } => file,
        }
    }
}

/// A finished operation.
#[derive(Debug)]
pub struct Completion {
    /// The ticket given to [`Disk::submit`].
    pub ticket: u64,
    /// Bytes written or read (may be short), 0 for a datasync; or the error of the system.
    pub result: io::Result<usize>,
    /// The buffer of a write or read.
    pub buffer: Option<AlignedBuf>,
}

/// Everything that the storage crate asks of a disk. Paths are relative to whatever root the back
/// end has; files are opened for direct access, so blocking reads and writes take slices of an
/// [`AlignedBuf`] that start and end on a block.
pub trait Disk {
    /// Starts `op`. Tickets are the caller's; the number of operations in flight is bounded by
    /// the back end, and overrunning it is a bug of the caller (panics).
    fn submit(&mut self, ticket: u64, op: Op);

    /// Hands what was submitted to the device now, for callers that go on computing instead of
    /// taking part in the turns of a core. Never waits.
    fn start(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Appends the operations that have finished to `out`. Never blocks.
    fn reap(&mut self, out: &mut Vec<Completion>);

    /// Blocks until something can be reaped, or for a short while. Only for callers outside the
    /// turn of a core (closing a log): a core waits on its ring.
    fn wait(&mut self) -> io::Result<()>;

    /// Makes `buffers` cheap to submit (registered with the kernel). Called once, before the first
    /// operation; sets [`AlignedBuf::set_registered`] on those that were taken. May do nothing.
    fn register_buffers(&mut self, buffers: &mut [AlignedBuf]) {
        let _ = buffers;
    }

    /// Opens an existing file for direct reads and writes.
    fn open(&mut self, path: &Path) -> io::Result<FileId>;

    /// Opens an existing file for direct reads.
    fn open_read(&mut self, path: &Path) -> io::Result<FileId>;

    /// Creates a file of `bytes` length (sparse); fails with `AlreadyExists` if there is one.
    fn create(&mut self, path: &Path, bytes: u64) -> io::Result<FileId>;

    /// Closes a file, which releases its lock. No operation on it is in flight.
    fn close(&mut self, file: FileId);

    /// Length in bytes.
    fn len(&mut self, file: FileId) -> io::Result<u64>;

    /// Reads at `offset`; returns the bytes read, short at the end of the file.
    fn read_at(&mut self, file: FileId, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes at `offset`; returns the bytes written, which may be fewer than given.
    fn write_at(&mut self, file: FileId, offset: u64, buffer: &[u8]) -> io::Result<usize>;

    /// Makes every finished write of `file`, and its length, durable.
    fn datasync(&mut self, file: FileId) -> io::Result<()>;

    /// Takes the exclusive lock of `file` without waiting; `WouldBlock` if another holder, or an
    /// unfinished write of a dead one, still has it.
    fn lock(&mut self, file: FileId) -> io::Result<()>;

    /// Renames within one directory, replacing `to`.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&mut self, path: &Path) -> io::Result<()>;

    /// Makes the names in `dir` durable.
    fn sync_dir(&mut self, dir: &Path) -> io::Result<()>;

    /// Creates a directory; ok if it is there.
    fn create_dir(&mut self, dir: &Path) -> io::Result<()>;

    /// Names of the files in `dir`, in no particular order.
    fn list(&mut self, dir: &Path) -> io::Result<Vec<String>>;

    /// Bytes free for new files on the file system of `dir`.
    fn free_bytes(&mut self, dir: &Path) -> io::Result<u64>;
}
