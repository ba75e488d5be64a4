//! Zero-written segments: on glommio's executor, or with plain direct writes where it cannot run.
//!
//! Faults of glommio 0.9 that this module is built around: an unfinished task that is dropped or
//! cancelled leaks (so there is one root future per segment, run to its end, and no task), a panic
//! can end the executor (caught here, and the plain way takes over), foreign wakes can overflow a
//! counter (nobody wakes it: the thread polls).

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::rc::Rc;

use glommio::io::DmaFile;
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};
use ringmill_storage::disk::posix::PosixDisk;
use ringmill_storage::segment::{
    ZERO_WRITE_BYTES, prepare_segment, segment_path, segment_path_unfinished,
};

/// Registered memory of the executor: a few buffers of zeros, within small memlock limits.
const IO_MEMORY_BYTES: usize = 2 << 20;

/// Makes segments.
pub(super) struct Preparer {
    executor: Option<LocalExecutor>,
}

impl Preparer {
    /// A preparer; `uring` false skips the executor.
    pub(super) fn new(uring: bool) -> Preparer {
        if !uring {
            return Preparer { executor: None };
        }
        let made = catch_unwind(|| {
            LocalExecutorBuilder::new(Placement::Unbound)
                .name("ringmill-files")
                .io_memory(IO_MEMORY_BYTES)
                .make()
        });
        let executor = match made {
            Ok(Ok(executor)) => Some(executor),
            Ok(Err(error)) => {
                say!("background files use plain writes: {error}");
                None
            }
            Err(_) => {
                say!("background files use plain writes: the executor could not start");
                None
            }
        };
        Preparer { executor }
    }

    /// Writes, flushes and names a segment full of zeros.
    pub(super) fn prepare(&mut self, dir: &Path, sequence: u64, bytes: u64) -> io::Result<()> {
        if let Some(executor) = &self.executor {
            let job = || executor.run(write_segment(dir, sequence, bytes));
            match catch_unwind(AssertUnwindSafe(job)) {
                Ok(result) => return result,
                Err(_) => {
                    say!("background files use plain writes from here on");
                    // An executor that has panicked is neither run nor dropped again.
                    std::mem::forget(self.executor.take());
                }
            }
        }
        let mut disk = PosixDisk::new();
        prepare_segment(&mut disk, dir, sequence, bytes)
            .map(drop)
            .map_err(io::Error::other)
    }
}

async fn write_segment(dir: &Path, sequence: u64, bytes: u64) -> io::Result<()> {
    let unfinished = segment_path_unfinished(dir, sequence);
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = DmaFile::create(&unfinished).await?;
    let written = fill(&file, bytes).await;
    file.close().await?;
    written?;
    std::fs::rename(&unfinished, segment_path(dir, sequence))?;
    // The executor opens directories relative to nothing, so a relative path fails there. One short
    // blocking call per segment does no harm in this thread.
    std::fs::File::open(dir)?.sync_all()
}

async fn fill(file: &DmaFile, bytes: u64) -> io::Result<()> {
    file.pre_allocate(bytes, false).await?;
    let mut zeroes = file.alloc_dma_buffer(ZERO_WRITE_BYTES);
    zeroes.as_bytes_mut().fill(0);
    let zeroes = Rc::new(zeroes);
    let mut offset = 0;
    while offset < bytes {
        // Segments are whole units, and a short direct write ends on a block: both go on there.
        let written = file.write_rc_at(Rc::clone(&zeroes), offset).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        offset += written as u64;
    }
    file.fdatasync().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn check(uring: bool) {
        // A path relative to the working directory, as in `--data ./data`.
        let dir = tempfile::tempdir_in(".").unwrap();
        let bytes = 4 * ZERO_WRITE_BYTES as u64;
        let mut preparer = Preparer::new(uring);
        assert_eq!(preparer.executor.is_some(), uring);
        let relative = std::path::Path::new(dir.path().file_name().unwrap());
        preparer.prepare(relative, 7, bytes).unwrap();
        let path = segment_path(dir.path(), 7);
        let facts = std::fs::metadata(&path).unwrap();
        assert_eq!(facts.len(), bytes);
        assert!(facts.blocks() * 512 >= bytes, "holes are not written zeros");
        assert!(std::fs::read(&path).unwrap().iter().all(|byte| *byte == 0));
        assert!(!segment_path_unfinished(dir.path(), 7).exists());
    }

    #[test]
    fn segments_are_written_zeros_with_the_executor() {
        check(true);
    }

    #[test]
    fn segments_are_written_zeros_without_the_executor() {
        check(false);
    }
}
