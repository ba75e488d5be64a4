//! The manifest: what a store consists of, in two alternating checksummed slots.
//!
//! Read and locked first, so its lock is the lock of the whole store. A change is durable before
//! anything acts on it.

use std::hash::{BuildHasher, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::disk::{Disk, FileId};
use crate::error::StorageError;
use crate::layout::manifest_slot as at;
use crate::planted::{PlantedBug, planted};
use crate::recovery::scan::Access;
use crate::slots::{Newest, create_slots, read_slots, slot_offset, write_slot, write_slot_at};

mod state;

pub use state::{Epoch, ManifestState};

/// File name of the manifest in a store's directory.
pub const MANIFEST_NAME: &str = "manifest";
/// Key groups of a store, fixed.
pub const GROUPS: u32 = 4096;

/// Attempts at the lock, and the pause between them: a killed process's last write keeps it.
const LOCK_TRIES: u32 = 40;
const LOCK_WAIT: Duration = Duration::from_millis(50);

/// The open, locked manifest of a store.
#[derive(Debug)]
pub struct Manifest {
    file: FileId,
    dir: PathBuf,
    path: PathBuf,
    state: ManifestState,
    slots_invalid: u32,
}

impl Manifest {
    /// Opens the manifest in `dir` and raises its incarnation, or creates it with one epoch of
    /// `streams` streams. On an existing store `streams` changes nothing: see
    /// [`Manifest::begin_epoch`].
    pub fn open_or_create<D: Disk>(
        disk: &mut D,
        dir: &Path,
        streams: u32,
    ) -> Result<Manifest, StorageError> {
        Manifest::open_or_create_as(disk, dir, streams, random_id())
    }

    /// [`Manifest::open_or_create`] with a given identity for a new store.
    pub fn open_or_create_as<D: Disk>(
        disk: &mut D,
        dir: &Path,
        streams: u32,
        new_store_id: u128,
    ) -> Result<Manifest, StorageError> {
        check_streams(streams)?;
        let path = dir.join(MANIFEST_NAME);
        ensure_created(disk, dir, &path, streams, new_store_id)?;
        let access = Access::Exclusive {
            tries: LOCK_TRIES,
            wait: LOCK_WAIT,
        };
        let file = access
            .open(disk, &path)?
            .ok_or_else(|| StorageError::Missing {
                path: path.clone(),
                why: "it was there a moment ago",
            })?;
        disk.datasync(file)
            .map_err(StorageError::io("flush", &path))?;
        let Newest {
            slot: state,
            invalid,
        } = read_slots::<D, ManifestState>(disk, file, &path)?;
        // What was read may not be durable: make it so before the other slot is touched.
        write_slot_at(disk, file, &path, &state, slot_offset(state.generation))?;
        disk.sync_dir(dir)
            .map_err(StorageError::io("flush directory", dir))?;
        let dir = dir.to_path_buf();
        let mut manifest = Manifest {
            file,
            dir,
            path,
            state,
            slots_invalid: invalid,
        };
        manifest.change(disk, |state| state.incarnation += 1)?;
        Ok(manifest)
    }

    /// Reads the manifest in `dir` without locking or changing it.
    pub fn read<D: Disk>(disk: &mut D, dir: &Path) -> Result<ManifestState, StorageError> {
        let path = dir.join(MANIFEST_NAME);
        let why = "every store has one";
        let file = Access::ReadOnly
            .open(disk, &path)?
            .ok_or_else(|| StorageError::Missing {
                path: path.clone(),
                why,
            })?;
        let newest = read_slots(disk, file, &path);
        disk.close(file);
        newest.map(|newest: Newest<ManifestState>| newest.slot)
    }

    /// What it says.
    #[must_use]
    pub fn state(&self) -> &ManifestState {
        &self.state
    }

    /// The epoch that is written.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        *self
            .state
            .epochs
            .last()
            .expect("invariant: a manifest has at least one epoch")
    }

    /// Unreadable slots found at open (0 or 1): a torn write, or damage.
    #[must_use]
    pub fn slots_invalid(&self) -> u32 {
        self.slots_invalid
    }

    /// Directory of a stream's log.
    #[must_use]
    pub fn stream_dir(&self, stream: u32) -> PathBuf {
        stream_dir(&self.dir, stream)
    }

    /// Records that the logs of every epoch exist. Durable on return.
    pub fn note_streams_created<D: Disk>(&mut self, disk: &mut D) -> Result<(), StorageError> {
        self.change(disk, |state| state.streams_created = true)
    }

    /// Begins a new layout of `streams` fresh streams. Durable on return; the logs are created
    /// next, then [`Manifest::note_streams_created`].
    pub fn begin_epoch<D: Disk>(
        &mut self,
        disk: &mut D,
        streams: u32,
    ) -> Result<Epoch, StorageError> {
        check_streams(streams)?;
        if self.state.epochs.len() == at::EPOCHS_MAX {
            return Err(StorageError::Options(format!(
                "{}: this store has changed its number of shards {} times, which is the most it \
                 can record; start it with {} shards, or copy it into a new store",
                self.path.display(),
                at::EPOCHS_MAX,
                self.epoch().streams,
            )));
        }
        let first_stream = self.epoch().streams().end;
        let epoch = Epoch {
            first_stream,
            streams,
        };
        self.change(disk, |state| {
            state.epochs.push(epoch);
            state.streams_created = false;
        })?;
        Ok(epoch)
    }

    /// Replaces the bytes of the layer above, at most 3000. Durable on return.
    pub fn set_blob<D: Disk>(&mut self, disk: &mut D, blob: &[u8]) -> Result<(), StorageError> {
        if blob.len() > at::BLOB_BYTES_MAX {
            return Err(StorageError::Options(format!(
                "{} bytes do not fit the manifest's {}",
                blob.len(),
                at::BLOB_BYTES_MAX
            )));
        }
        self.change(disk, |state| state.blob = blob.to_vec())
    }

    /// Releases the lock.
    pub fn close<D: Disk>(self, disk: &mut D) {
        disk.close(self.file);
    }

    /// Writes a changed state to the other slot; keeps the old one if that fails.
    fn change<D: Disk>(
        &mut self,
        disk: &mut D,
        change: impl FnOnce(&mut ManifestState),
    ) -> Result<(), StorageError> {
        let mut state = self.state.clone();
        change(&mut state);
        state.generation += 1;
        if planted(PlantedBug::ManifestOverwritesSlot) {
            state.generation += 1;
        }
        write_slot(disk, self.file, &self.path, &state)?;
        self.state = state;
        Ok(())
    }
}

/// Directory of a stream's log in the store `dir`.
#[must_use]
pub fn stream_dir(dir: &Path, stream: u32) -> PathBuf {
    dir.join(format!("log-{stream:04}"))
}

fn check_streams(streams: u32) -> Result<(), StorageError> {
    match (1..=GROUPS).contains(&streams) {
        true => Ok(()),
        false => Err(StorageError::Options(format!(
            "{streams} shards: use 1 to {GROUPS}"
        ))),
    }
}

/// Creates the manifest if there is none; refuses if the logs of a lost one are there.
fn ensure_created<D: Disk>(
    disk: &mut D,
    dir: &Path,
    path: &Path,
    streams: u32,
    store_id: u128,
) -> Result<(), StorageError> {
    disk.create_dir(dir)
        .map_err(StorageError::io("create directory", dir))?;
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        disk.sync_dir(parent)
            .map_err(StorageError::io("flush directory", parent))?;
    }
    // A killed process may have changed names that a power loss could still undo one by one.
    disk.sync_dir(dir)
        .map_err(StorageError::io("flush directory", dir))?;
    let names = disk.list(dir).map_err(StorageError::io("list", dir))?;
    if names.iter().any(|name| name == MANIFEST_NAME) {
        return Ok(());
    }
    let first_log = stream_dir(dir, 0);
    if names.iter().any(|name| name.starts_with("log-"))
        || disk.list(&first_log).is_ok_and(|names| !names.is_empty())
    {
        let why = "logs of a store are there";
        return Err(StorageError::Missing {
            path: path.to_path_buf(),
            why,
        });
    }
    let epochs = vec![Epoch {
        first_stream: 0,
        streams,
    }];
    let state = ManifestState {
        store_id,
        generation: 1,
        incarnation: 0,
        streams_created: false,
        epochs,
        blob: Vec::new(),
    };
    create_slots(disk, dir, path, &state)
}

/// 128 bits from the operating system's randomness, by way of the standard library's hash seeds.
fn random_id() -> u128 {
    let half = || {
        let mut hasher = std::hash::RandomState::new().build_hasher();
        hasher.write_u64(1);
        u128::from(hasher.finish())
    };
    half() << 64 | half()
}

#[cfg(test)]
mod tests;
