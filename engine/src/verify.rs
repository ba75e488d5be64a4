//! `ringmill log verify`: the recovery code, run dry over a store.

use std::path::Path;

use ringmill_storage::disk::posix::PosixDisk;
use ringmill_storage::error::StorageError;
use ringmill_storage::manifest::{Manifest, stream_dir};
use ringmill_storage::verify::verify_dir;

use crate::cli::{EXIT_FAILED, EXIT_OK};

/// Runs the command; returns the exit code.
pub fn run(dir: &Path) -> i32 {
    match verify(dir) {
        Ok(0) => EXIT_OK,
        Ok(damaged) => {
            eprintln!("ringmill: {damaged} logs are damaged; nothing was changed");
            EXIT_FAILED
        }
        Err(error) => {
            eprintln!("ringmill: {error}");
            EXIT_FAILED
        }
    }
}

/// Verifies every log of the store, prints a line for each, and counts the damaged ones.
fn verify(dir: &Path) -> Result<usize, StorageError> {
    let mut disk = PosixDisk::new();
    let manifest = Manifest::read(&mut disk, dir)?;
    println!(
        "store {:032x}  incarnation {}  layouts {}",
        manifest.store_id,
        manifest.incarnation,
        manifest.epochs.len()
    );
    let mut damaged = 0;
    for stream in manifest.epochs.iter().flat_map(|epoch| epoch.streams()) {
        match verify_dir(&mut disk, &stream_dir(dir, stream)) {
            Ok(report) => {
                let found = report.recovery;
                println!(
                    "log {stream:04}  ok  segments {}  frames {}  entries {}  bytes {}  \
                     last frame {}  end {}",
                    found.segments,
                    found.frames,
                    found.entries,
                    found.bytes,
                    found.last_sequence,
                    if found.closed_cleanly {
                        "closed"
                    } else if found.torn {
                        "torn, not acknowledged"
                    } else {
                        "open"
                    },
                );
            }
            Err(error) => {
                damaged += 1;
                println!("log {stream:04}  DAMAGED  {error}");
            }
        }
    }
    Ok(damaged)
}
