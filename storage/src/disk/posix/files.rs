//! The blocking half of a disk on real files, and the table of its open files. The io_uring and
//! the plain back end share it: start, recovery and namespace work are the same system calls.
//!
//! A [`FileId`] holds the index of a place in the table and the number of times that the place
//! was reused, so that an id kept past its close cannot reach another file.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::disk::FileId;

const INDEX_BITS: u32 = 16;
const FILES_MAX: usize = 1 << INDEX_BITS;

/// How data reaches the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// O_DIRECT: past the page cache. The only one that level `written` may be promised on.
    #[default]
    Direct,
    /// Through the page cache, for filesystems without O_DIRECT. Only on explicit demand.
    Buffered,
}

#[derive(Debug)]
struct OpenFile {
    fd: OwnedFd,
    locked: bool,
}

#[derive(Debug, Default)]
struct Place {
    reuses: u16,
    file: Option<OpenFile>,
}

/// Open files of one disk.
#[derive(Debug, Default)]
pub(crate) struct Files {
    access: Access,
    places: Vec<Place>,
    free: Vec<usize>,
}

/// Index of a file's place in the table.
pub(crate) fn place_index(file: FileId) -> usize {
    file as usize & (FILES_MAX - 1)
}

impl Files {
    pub(crate) fn new(access: Access) -> Files {
        Files {
            access,
            places: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Descriptor of an open file.
    ///
    /// # Panics
    /// If the file is not open: the caller mixed up its files, and the next write would destroy
    /// another one.
    pub(crate) fn fd(&self, file: FileId) -> BorrowedFd<'_> {
        self.get(file).fd.as_fd()
    }

    fn get(&self, file: FileId) -> &OpenFile {
        let place = self.places.get(place_index(file));
        place
            .filter(|place| u32::from(place.reuses) == file >> INDEX_BITS)
            .and_then(|place| place.file.as_ref())
            .unwrap_or_else(|| panic!("invariant: file {file:#x} is open"))
    }

    fn insert(&mut self, fd: OwnedFd) -> FileId {
        let index = self.free.pop().unwrap_or_else(|| {
            assert!(
                self.places.len() < FILES_MAX,
                "invariant: few files are open at once"
            );
            self.places.push(Place::default());
            self.places.len() - 1
        });
        let place = &mut self.places[index];
        place.file = Some(OpenFile { fd, locked: false });
        let index = u32::try_from(index).expect("invariant: index is below FILES_MAX");
        (u32::from(place.reuses) << INDEX_BITS) | index
    }

    fn open_flags(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let direct = match self.access {
            Access::Direct => OFlags::DIRECT,
            Access::Buffered => OFlags::empty(),
        };
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP;
        rustix::fs::open(path, flags | direct | OFlags::CLOEXEC, mode)
            .map_err(|errno| open_error(path, errno, self.access))
    }

    pub(crate) fn open(&mut self, path: &Path) -> io::Result<FileId> {
        let fd = self.open_flags(path, OFlags::RDWR)?;
        Ok(self.insert(fd))
    }

    pub(crate) fn open_read(&mut self, path: &Path) -> io::Result<FileId> {
        let fd = self.open_flags(path, OFlags::RDONLY)?;
        Ok(self.insert(fd))
    }

    pub(crate) fn create(&mut self, path: &Path, bytes: u64) -> io::Result<FileId> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        // O_CREAT makes the name before the filesystem looks at O_DIRECT: a refusal must not
        // leave an empty file behind. `AlreadyExists` is somebody else's file.
        let fd = self.open_flags(path, flags).inspect_err(|error| {
            if error.kind() == io::ErrorKind::Unsupported {
                let _ = fs::remove_file(path);
            }
        })?;
        if let Err(errno) = rustix::fs::ftruncate(&fd, bytes) {
            let _ = fs::remove_file(path);
            return Err(errno.into());
        }
        Ok(self.insert(fd))
    }

    /// Closes a file and gives its lock up at once: the kernel may hold the open file a moment
    /// longer than this process does.
    pub(crate) fn close(&mut self, file: FileId) {
        if self.get(file).locked {
            let _ = rustix::fs::flock(self.fd(file), FlockOperation::Unlock);
        }
        let index = place_index(file);
        let place = &mut self.places[index];
        place.file = None;
        place.reuses = place.reuses.wrapping_add(1);
        self.free.push(index);
    }

    /// Ids of all open files.
    pub(crate) fn open_ids(&self) -> Vec<FileId> {
        let places = self.places.iter().zip(0u32..);
        places
            .filter(|(place, _)| place.file.is_some())
            .map(|(place, index)| (u32::from(place.reuses) << INDEX_BITS) | index)
            .collect()
    }

    pub(crate) fn len(&self, file: FileId) -> io::Result<u64> {
        let stat = rustix::fs::fstat(self.fd(file))?;
        u64::try_from(stat.st_size).map_err(io::Error::other)
    }

    pub(crate) fn read_at(
        &self,
        file: FileId,
        offset: u64,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        Ok(retry(|| {
            rustix::io::pread(self.fd(file), &mut *buffer, offset)
        })?)
    }

    pub(crate) fn write_at(&self, file: FileId, offset: u64, buffer: &[u8]) -> io::Result<usize> {
        Ok(retry(|| rustix::io::pwrite(self.fd(file), buffer, offset))?)
    }

    pub(crate) fn datasync(&self, file: FileId) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(self.fd(file))?)
    }

    pub(crate) fn reserve(&self, file: FileId, bytes: u64) -> io::Result<()> {
        let fd = self.fd(file);
        match retry(|| rustix::fs::fallocate(fd, FallocateFlags::empty(), 0, bytes)) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(rustix::fs::ftruncate(fd, bytes)?),
            result => Ok(result?),
        }
    }

    /// Asks once. The kernel keeps a file, and with it the lock, until the last operation of a
    /// killed process has ended, so that its late writes are fenced off: whoever opens a store
    /// asks again for a while.
    pub(crate) fn lock(&mut self, file: FileId) -> io::Result<()> {
        let fd = self.fd(file);
        retry(|| rustix::fs::flock(fd, FlockOperation::NonBlockingLockExclusive))?;
        if let Some(open) = &mut self.places[place_index(file)].file {
            open.locked = true;
        }
        Ok(())
    }
}

/// Namespace work: needs no open file.
pub(crate) mod names {
    use super::{Mode, OFlags, Path, fs, io};

    pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(dir, flags, Mode::empty())?;
        Ok(rustix::fs::fsync(&fd)?)
    }

    pub(crate) fn create_dir(dir: &Path) -> io::Result<()> {
        match fs::create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
            result => result,
        }
    }

    pub(crate) fn list(dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            // Every name that this crate makes is ASCII; a foreign one still has to be seen.
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    }

    pub(crate) fn free_bytes(dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// Why a file of the log could not be opened, where the system's own words do not say it.
#[derive(Debug, thiserror::Error)]
#[error(
    "{}: the filesystem ({filesystem}) refuses direct I/O (O_DIRECT), which the log is built on; \
     put the data directory on ext4 or XFS", path.display()
)]
struct DirectRefused {
    path: PathBuf,
    filesystem: String,
}

fn open_error(path: &Path, errno: Errno, access: Access) -> io::Error {
    if errno == Errno::INVAL && access == Access::Direct {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let filesystem = crate::device::filesystem_type(dir.unwrap_or(Path::new(".")));
        let refused = DirectRefused {
            path: path.to_path_buf(),
            filesystem,
        };
        return io::Error::new(io::ErrorKind::Unsupported, refused);
    }
    errno.into()
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_direct_access_names_file_filesystem_and_fix() {
        let path = Path::new("/proc/log-0000/00000001.seg");
        let error = open_error(path, Errno::INVAL, Access::Direct);
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        let text = error.to_string();
        for part in ["/proc/log-0000/00000001.seg", "O_DIRECT", "ext4 or XFS"] {
            assert!(text.contains(part), "{text}");
        }
        let plain = open_error(path, Errno::NOENT, Access::Direct);
        assert_eq!(plain.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    #[should_panic(expected = "is open")]
    fn an_id_kept_past_its_close_does_not_reach_the_next_file() {
        let dir = std::env::temp_dir();
        let mut files = Files::new(Access::Buffered);
        let first = dir.join(format!("ringmill-files-{}-first", std::process::id()));
        let second = dir.join(format!("ringmill-files-{}-second", std::process::id()));
        let stale = files.create(&first, 4096).unwrap();
        files.close(stale);
        let fresh = files.create(&second, 4096).unwrap();
        let _ = fs::remove_file(first);
        let _ = fs::remove_file(second);
        assert_eq!(place_index(stale), place_index(fresh));
        files.fd(stale);
    }
}
