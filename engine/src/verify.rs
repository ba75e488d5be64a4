//! `ringmill log verify`: the recovery code, run dry over a store.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use ringmill_storage::disk::posix::PosixDisk;
use ringmill_storage::error::StorageError;
use ringmill_storage::manifest::{MANIFEST_NAME, Manifest, stream_dir};
use ringmill_storage::verify::{VerifyReport, verify_dir};
use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

use crate::cli::{EXIT_FAILED, EXIT_OK};
use crate::say;

/// Why nothing could be verified.
#[derive(Debug, Error)]
enum VerifyError {
    /// The path leads nowhere, or to what may not be read.
    #[error("cannot read {}: {source}; give the data directory of a store", path.display())]
    Path { path: PathBuf, source: io::Error },
    /// The path is a file.
    #[error("{} is a file; give the data directory of a store", path.display())]
    File { path: PathBuf },
    /// The directory holds no store, nor what is left of one.
    #[error(
        "{} is no data directory: it holds neither a manifest nor logs; give the directory that \
         `ringmill serve --data` was given", path.display()
    )]
    NoStore { path: PathBuf },
    /// What is being written cannot be told from damage.
    #[error(
        "{} is in use: a running engine changes its logs; stop it, or verify a copy",
        path.display()
    )]
    InUse { path: PathBuf },
    /// The store.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Runs the command; returns the exit code.
pub fn run(dir: &Path) -> i32 {
    match verify(dir) {
        Ok(Verified {
            damaged: 0,
            printed,
        }) => printed,
        Ok(Verified { damaged, .. }) => {
            let logs = if damaged == 1 { "log is" } else { "logs are" };
            say!("ringmill: {damaged} {logs} damaged; nothing was changed");
            EXIT_FAILED
        }
        Err(error) => {
            say!("ringmill: {error}");
            EXIT_FAILED
        }
    }
}

/// What came of it.
struct Verified {
    /// Logs that are damaged.
    damaged: usize,
    /// The exit code of printing the others.
    printed: i32,
}

/// Verifies every log of the store, prints a line for each, and counts the damaged ones.
fn verify(dir: &Path) -> Result<Verified, VerifyError> {
    let _lock = lock_store(dir)?;
    let mut disk = PosixDisk::new();
    let manifest = Manifest::read(&mut disk, dir)?;
    let mut done = Verified {
        damaged: 0,
        printed: EXIT_OK,
    };
    let mut print = |line: String| done.printed = done.printed.max(say::print(&line));
    print(format!(
        "store {:032x}  incarnation {}  layouts {}\n",
        manifest.store_id,
        manifest.incarnation,
        manifest.epochs.len()
    ));
    for stream in manifest.epochs.iter().flat_map(|epoch| epoch.streams()) {
        match verify_dir(&mut disk, &stream_dir(dir, stream)) {
            Ok(report) => print(format!("log {stream:04}  ok  {}\n", facts(&report))),
            Err(error) => {
                done.damaged += 1;
                print(format!("log {stream:04}  DAMAGED  {error}\n"));
            }
        }
    }
    Ok(done)
}

fn facts(report: &VerifyReport) -> String {
    let found = &report.recovery;
    let end = match (found.closed_cleanly, found.torn) {
        (true, _) => "closed",
        (false, true) => "torn, not acknowledged",
        (false, false) => "open",
    };
    format!(
        "segments {}  frames {}  entries {}  bytes {}  last frame {}  end {end}",
        found.segments, found.frames, found.entries, found.bytes, found.last_sequence,
    )
}

/// The lock of the store, so that no engine writes while it is read. Without a manifest there is
/// nothing to lock, and what is missing is said when it is read.
fn lock_store(dir: &Path) -> Result<Option<File>, VerifyError> {
    let path = dir.to_owned();
    match std::fs::read_dir(dir) {
        Ok(entries) => {
            let is_part = |name: &str| name == MANIFEST_NAME || name.starts_with("log-");
            let is_store = entries
                .flatten()
                .any(|entry| entry.file_name().to_str().is_some_and(is_part));
            if !is_store {
                return Err(VerifyError::NoStore { path });
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(VerifyError::File { path });
        }
        Err(source) => return Err(VerifyError::Path { path, source }),
    }
    let Ok(manifest) = File::open(dir.join(MANIFEST_NAME)) else {
        return Ok(None);
    };
    match flock(&manifest, FlockOperation::NonBlockingLockShared) {
        Err(rustix::io::Errno::WOULDBLOCK) => Err(VerifyError::InUse { path }),
        // A filesystem without locks has no engine on it either.
        _ => Ok(Some(manifest)),
    }
}
