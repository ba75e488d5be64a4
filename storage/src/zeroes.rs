//! Segment files written full of zeros, ahead of need.
//!
//! Preallocation alone leaves extents marked as unwritten; the first write to each of them then
//! changes metadata, and a flushed write waits for the filesystem's journal. A file that was
//! written once is overwritten in place. The zeros go out in large plain direct writes with one
//! flush at the end: flushing each of them is several times slower and promises nothing more.

use std::fs;
use std::io;
use std::path::Path;

use crate::aligned::{ALIGNMENT_BYTES, AlignedBuf};
use crate::disk::posix::{Access, PosixDisk};
use crate::disk::{Disk, FileId};
use crate::segment::ZERO_WRITE_BYTES;

/// Creates `path`, which must not exist, as a file of `bytes` written zeros and flushes it; the
/// name is durable after the caller's flush of the directory. After each write, `pace` is told
/// how many bytes stand so far: a caller limits its rate by sleeping there, and gives up by
/// returning an error. `bytes` is a multiple of the block.
///
/// # Errors
/// Those of the filesystem (`AlreadyExists`, `StorageFull`, `Unsupported` without O_DIRECT) and
/// of `pace`; the file is removed again, unless it was there before.
pub fn write_zeroes(
    path: &Path,
    bytes: u64,
    access: Access,
    pace: &mut dyn FnMut(u64) -> io::Result<()>,
) -> io::Result<()> {
    assert!(
        bytes.is_multiple_of(ALIGNMENT_BYTES as u64),
        "invariant: files are whole blocks"
    );
    let mut disk = PosixDisk::with_access(access);
    let file = disk.create(path, 0)?;
    let result = disk
        .reserve(file, bytes)
        .and_then(|()| fill(&mut disk, file, bytes, pace));
    disk.close(file);
    if result.is_err() {
        let _ = fs::remove_file(path);
    }
    result
}

fn fill(
    disk: &mut PosixDisk,
    file: FileId,
    bytes: u64,
    pace: &mut dyn FnMut(u64) -> io::Result<()>,
) -> io::Result<()> {
    let zeroes = AlignedBuf::zeroed(ZERO_WRITE_BYTES);
    let mut done = 0;
    while done < bytes {
        let rest = usize::try_from(bytes - done).unwrap_or(usize::MAX);
        let part = &zeroes[..rest.min(ZERO_WRITE_BYTES)];
        let written = disk.write_at(file, done, part)?;
        // A short write that is not whole blocks is repeated from the last whole block.
        let written = written - written % ALIGNMENT_BYTES;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        done += written as u64;
        pace(done)?;
    }
    disk.datasync(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn dir() -> tempfile::TempDir {
        tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap()
    }

    #[test]
    fn the_file_is_whole_allocated_and_zero_and_the_pace_is_told() {
        let dir = dir();
        let path = dir.path().join("segment");
        let bytes = 2 * ZERO_WRITE_BYTES as u64 + 4096;
        let mut told = Vec::new();
        let mut pace = |done| {
            told.push(done);
            Ok(())
        };
        write_zeroes(&path, bytes, Access::Direct, &mut pace).unwrap();
        assert_eq!(told, [1 << 20, 2 << 20, bytes]);
        let content = fs::read(&path).unwrap();
        assert_eq!(content.len() as u64, bytes);
        assert!(content.iter().all(|&byte| byte == 0));
        assert!(
            fs::metadata(&path).unwrap().blocks() * 512 >= bytes,
            "the file has holes"
        );
    }

    #[test]
    fn a_caller_that_gives_up_leaves_no_file_and_a_foreign_file_is_left_alone() {
        let dir = dir();
        let path = dir.path().join("segment");
        let mut stop = |_| Err(io::Error::other("shutting down"));
        let error = write_zeroes(&path, 1 << 21, Access::Direct, &mut stop).unwrap_err();
        assert_eq!(error.to_string(), "shutting down");
        assert!(!path.exists());

        fs::write(&path, b"mine").unwrap();
        let error = write_zeroes(&path, 1 << 21, Access::Direct, &mut |_| Ok(())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"mine");
    }
}
