//! Disk full is met at admission: the commit path never is the first to notice.

use std::path::PathBuf;
use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Watches the free space of the data directory's filesystem.
#[derive(Debug)]
pub(super) struct SpaceWatch {
    dir: PathBuf,
    free_bytes_min: u64,
    next: Instant,
    full: bool,
}

impl SpaceWatch {
    pub(super) fn new(dir: PathBuf, free_bytes_min: u64) -> SpaceWatch {
        SpaceWatch {
            dir,
            free_bytes_min,
            next: Instant::now(),
            full: false,
        }
    }

    /// A segment could not be made: whatever the filesystem says it has left is not enough.
    pub(super) fn note_failure(&mut self) {
        self.full = true;
        self.next = Instant::now() + LOOK_EVERY;
    }

    /// Whether new events are to be refused; looks anew every now and then.
    pub(super) fn is_full(&mut self) -> bool {
        if Instant::now() >= self.next {
            self.next = Instant::now() + LOOK_EVERY;
            let was = self.full;
            // A filesystem that cannot be asked is not a full one: the writes will tell.
            if let Ok(facts) = rustix::fs::statvfs(&self.dir) {
                self.full = facts.f_bavail.saturating_mul(facts.f_frsize) < self.free_bytes_min;
            }
            if self.full && !was {
                say!(
                    "less than {} MiB free in {}: new events are refused until there is more",
                    self.free_bytes_min >> 20,
                    self.dir.display()
                );
            }
        }
        self.full
    }
}
