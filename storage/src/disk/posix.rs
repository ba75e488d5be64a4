//! The disk on plain system calls: works wherever files work, for hosts that forbid io_uring.
//!
//! An operation runs inside [`Disk::submit`] and its completion waits in a queue, so a log sees
//! the same order of events as on a ring; the core stands still while the device works. Flushed
//! writes use `pwritev2` with `RWF_DSYNC`; a kernel or filesystem without it gets a write and an
//! `fdatasync`, which promises the same.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::path::Path;

use rustix::io::{Errno, ReadWriteFlags};

use crate::aligned::AlignedBuf;
use crate::disk::{Completion, Disk, FileId, Op};

pub(crate) mod files;

pub use files::Access;
use files::{Files, names};

/// Operations that may wait for [`Disk::reap`]; the same bound as on a ring.
pub const POSIX_OPS_MAX: usize = 32;

/// A disk that executes each operation where it is submitted.
#[derive(Debug)]
pub struct PosixDisk {
    files: Files,
    completed: VecDeque<Completion>,
    /// `RWF_DSYNC` was refused once: not asked for again.
    without_dsync: bool,
}

impl PosixDisk {
    /// A disk with direct access; opening a file says so when the filesystem refuses.
    #[must_use]
    pub fn new() -> PosixDisk {
        PosixDisk::with_access(Access::Direct)
    }

    /// A disk with the access asked for. `Access::Buffered` is for filesystems without O_DIRECT
    /// and never chosen by itself: a write that only reached the page cache does not survive a
    /// crash of the kernel, so level `written` means less on it.
    #[must_use]
    pub fn with_access(access: Access) -> PosixDisk {
        PosixDisk {
            files: Files::new(access),
            completed: VecDeque::with_capacity(POSIX_OPS_MAX),
            without_dsync: false,
        }
    }

    /// Reserves blocks for `bytes` bytes, so that a full device shows before the writing starts
    /// and the file lies in few pieces. A filesystem without reservation gets the length only.
    pub(crate) fn reserve(&mut self, file: FileId, bytes: u64) -> io::Result<()> {
        self.files.reserve(file, bytes)
    }

    fn write(&mut self, file: FileId, offset: u64, bytes: &[u8], flush: bool) -> io::Result<usize> {
        if !flush {
            return self.files.write_at(file, offset, bytes);
        }
        if !self.without_dsync {
            let parts = [IoSlice::new(bytes)];
            let fd = self.files.fd(file);
            match rustix::io::pwritev2(fd, &parts, offset, ReadWriteFlags::DSYNC) {
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.without_dsync = true,
                result => return Ok(result?),
            }
        }
        let written = self.files.write_at(file, offset, bytes)?;
        self.files.datasync(file)?;
        Ok(written)
    }
}

impl Default for PosixDisk {
    fn default() -> PosixDisk {
        PosixDisk::new()
    }
}

impl Disk for PosixDisk {
    fn submit(&mut self, ticket: u64, op: Op) {
        assert!(
            self.completed.len() < POSIX_OPS_MAX,
            "invariant: the log bounds its operations"
        );
        let completion = match op {
            Op::Write {
                file,
                offset,
                buffer,
                bytes,
                flush,
            } => {
                let result = self.write(file, offset, &buffer[..bytes], flush);
                Completion {
                    ticket,
                    result,
                    buffer: Some(buffer),
                }
            }
            Op::Datasync { file } => {
                let result = self.files.datasync(file).map(|()| 0);
                Completion {
                    ticket,
                    result,
                    buffer: None,
                }
            }
            Op::Read {
                file,
                offset,
                mut buffer,
                start,
                bytes,
            } => {
                let target = &mut buffer[start..start + bytes];
                let result = self.files.read_at(file, offset, target);
                Completion {
                    ticket,
                    result,
                    buffer: Some(buffer),
                }
            }
        };
        self.completed.push_back(completion);
    }

    fn reap(&mut self, out: &mut Vec<Completion>) {
        out.extend(self.completed.drain(..));
    }

    fn wait(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn register_buffers(&mut self, buffers: &mut [AlignedBuf]) {
        for buffer in buffers {
            buffer.set_registered(None);
        }
    }

    fn open(&mut self, path: &Path) -> io::Result<FileId> {
        self.files.open(path)
    }

    fn open_read(&mut self, path: &Path) -> io::Result<FileId> {
        self.files.open_read(path)
    }

    fn create(&mut self, path: &Path, bytes: u64) -> io::Result<FileId> {
        self.files.create(path, bytes)
    }

    fn close(&mut self, file: FileId) {
        self.files.close(file);
    }

    fn len(&mut self, file: FileId) -> io::Result<u64> {
        self.files.len(file)
    }

    fn read_at(&mut self, file: FileId, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.files.read_at(file, offset, buffer)
    }

    fn write_at(&mut self, file: FileId, offset: u64, buffer: &[u8]) -> io::Result<usize> {
        self.files.write_at(file, offset, buffer)
    }

    fn datasync(&mut self, file: FileId) -> io::Result<()> {
        self.files.datasync(file)
    }

    fn lock(&mut self, file: FileId) -> io::Result<()> {
        self.files.lock(file)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        names::sync_dir(dir)
    }

    fn create_dir(&mut self, dir: &Path) -> io::Result<()> {
        names::create_dir(dir)
    }

    fn list(&mut self, dir: &Path) -> io::Result<Vec<String>> {
        names::list(dir)
    }

    fn free_bytes(&mut self, dir: &Path) -> io::Result<u64> {
        names::free_bytes(dir)
    }
}

impl Drop for PosixDisk {
    /// Nothing is in flight here, so the locks may go with their files.
    fn drop(&mut self) {
        for file in self.files.open_ids() {
            self.files.close(file);
        }
    }
}
