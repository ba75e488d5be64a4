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
use crate::layout::{FORMAT_VERSION, get_u32, get_u64, get_u128, put_u32, put_u64, put_u128};
use crate::planted::{PlantedBug, planted};
use crate::recovery::scan::Access;
use crate::slots::{
    Newest, Slot, create_slots, read_slots, slot_offset, write_slot, write_slot_at,
};

/// File name of the manifest in a store's directory.
pub const MANIFEST_NAME: &str = "manifest";
/// Key groups of a store, fixed.
pub const GROUPS: u32 = 4096;

/// Attempts at the lock, and the pause between them: a killed process's last write keeps it.
const LOCK_TRIES: u32 = 40;
const LOCK_WAIT: Duration = Duration::from_millis(50);

/// A layout of the groups on streams. Only the newest one is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// First stream of the epoch.
    pub first_stream: u32,
    /// Streams of the epoch.
    pub streams: u32,
}

impl Epoch {
    /// Stream that holds the events of `group` in this epoch.
    #[must_use]
    pub fn stream_of(&self, group: u32) -> u32 {
        assert!(group < GROUPS, "a group of this store");
        self.first_stream + (u64::from(group) * u64::from(self.streams) / u64::from(GROUPS)) as u32
    }

    /// Streams of the epoch, in order.
    pub fn streams(&self) -> std::ops::Range<u32> {
        self.first_stream..self.first_stream + self.streams
    }
}

/// What the manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestState {
    /// Random identity of the store; the log id of its streams.
    pub store_id: u128,
    /// Number of the change.
    pub generation: u64,
    /// Raised by every open.
    pub incarnation: u64,
    /// The logs of every epoch were created: a missing one is damage.
    pub streams_created: bool,
    /// Layouts, oldest first.
    pub epochs: Vec<Epoch>,
    /// Bytes of the layer above, at most 3000.
    pub blob: Vec<u8>,
}

impl Slot for ManifestState {
    fn encode(&self, block: &mut [u8]) {
        put_u64(block, at::MAGIC, at::MAGIC_VALUE);
        put_u32(block, at::VERSION, FORMAT_VERSION);
        put_u32(
            block,
            at::FLAGS,
            if self.streams_created {
                at::FLAG_STREAMS_CREATED
            } else {
                0
            },
        );
        put_u128(block, at::STORE_ID, self.store_id);
        put_u64(block, at::GENERATION, self.generation);
        put_u64(block, at::INCARNATION, self.incarnation);
        put_u32(block, at::EPOCH_COUNT, self.epochs.len() as u32);
        put_u32(block, at::BLOB_BYTES, self.blob.len() as u32);
        for (index, epoch) in self.epochs.iter().enumerate() {
            let offset = at::EPOCHS + index * at::EPOCH_BYTES;
            put_u32(block, offset, epoch.first_stream);
            put_u32(block, offset + 4, epoch.streams);
        }
        block[at::BLOB..at::BLOB + self.blob.len()].copy_from_slice(&self.blob);
    }

    fn decode(block: &[u8]) -> Result<ManifestState, Option<u32>> {
        if get_u64(block, at::MAGIC) != at::MAGIC_VALUE {
            return Err(None);
        }
        let version = get_u32(block, at::VERSION);
        if version != FORMAT_VERSION {
            return Err(Some(version));
        }
        let epoch_count = get_u32(block, at::EPOCH_COUNT) as usize;
        let blob_bytes = get_u32(block, at::BLOB_BYTES) as usize;
        if !(1..=at::EPOCHS_MAX).contains(&epoch_count) || blob_bytes > at::BLOB_BYTES_MAX {
            return Err(None);
        }
        let epoch = |index| {
            let offset = at::EPOCHS + index * at::EPOCH_BYTES;
            Epoch {
                first_stream: get_u32(block, offset),
                streams: get_u32(block, offset + 4),
            }
        };
        Ok(ManifestState {
            store_id: get_u128(block, at::STORE_ID),
            generation: get_u64(block, at::GENERATION),
            incarnation: get_u64(block, at::INCARNATION),
            streams_created: get_u32(block, at::FLAGS) & at::FLAG_STREAMS_CREATED != 0,
            epochs: (0..epoch_count).map(epoch).collect(),
            blob: block[at::BLOB..at::BLOB + blob_bytes].to_vec(),
        })
    }

    fn generation(&self) -> u64 {
        self.generation
    }
}

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
mod tests {
    use super::*;
    use crate::disk::sim::{Crash, SimWorld};

    const DIR: &str = "/store";

    fn open(world: &SimWorld) -> Result<(crate::disk::sim::SimDisk, Manifest), StorageError> {
        let mut disk = world.disk();
        Manifest::open_or_create_as(&mut disk, Path::new(DIR), 4, 77).map(|open| (disk, open))
    }

    #[test]
    fn a_store_keeps_its_identity_and_raises_its_incarnation() {
        let world = SimWorld::new(1);
        let (mut disk, mut manifest) = open(&world).unwrap();
        manifest.set_blob(&mut disk, b"pipeline").unwrap();
        manifest.note_streams_created(&mut disk).unwrap();
        let epoch = manifest.begin_epoch(&mut disk, 2).unwrap();
        assert_eq!(
            epoch,
            Epoch {
                first_stream: 4,
                streams: 2
            }
        );
        let state = manifest.state().clone();
        world.crash(Crash::PowerLoss);
        let (mut disk, manifest) = open(&world).unwrap();
        let expected = ManifestState {
            generation: state.generation + 1,
            incarnation: state.incarnation + 1,
            ..state
        };
        assert_eq!(manifest.state(), &expected);
        assert!(
            !manifest.state().streams_created,
            "the new epoch's logs are to be created"
        );
        assert_eq!(Manifest::read(&mut disk, Path::new(DIR)).unwrap(), expected);
    }

    #[test]
    fn a_second_process_is_told_that_the_store_is_in_use() {
        let world = SimWorld::new(1);
        let (mut disk, manifest) = open(&world).unwrap();
        let access = Access::Exclusive {
            tries: 2,
            wait: Duration::ZERO,
        };
        let error = access.open(&mut disk, &manifest.path).unwrap_err();
        assert!(error.to_string().contains("another ringmill"), "{error}");
    }

    #[test]
    fn groups_spread_evenly_and_in_order() {
        let epoch = Epoch {
            first_stream: 10,
            streams: 3,
        };
        let streams: Vec<u32> = (0..GROUPS).map(|group| epoch.stream_of(group)).collect();
        assert!(streams.is_sorted() && streams[0] == 10 && streams[4095] == 12);
        for stream in epoch.streams() {
            let groups = streams.iter().filter(|&&found| found == stream).count();
            assert!((1365..=1366).contains(&groups));
        }
    }

    #[test]
    fn another_version_is_named_and_damage_to_both_slots_is_refused() {
        let world = SimWorld::new(1);
        drop(open(&world).unwrap());
        world.crash(Crash::Kill);
        world.settle();
        let path = Path::new(DIR).join(MANIFEST_NAME);
        let before = world.contents(&path).unwrap();
        world.damage(&path, |bytes| bytes[100] ^= 1);
        assert_eq!(open(&world).unwrap().1.slots_invalid(), 1);
        world.crash(Crash::Kill);
        world.damage(&path, |bytes| {
            bytes.clone_from(&before);
            bytes[100] ^= 1;
            bytes[4196] ^= 1;
        });
        assert!(matches!(
            open(&world),
            Err(StorageError::SlotsDamaged { .. })
        ));
        world.crash(Crash::Kill);
        world.damage(&path, |bytes| {
            bytes.clone_from(&before);
            for block in bytes.chunks_mut(4096) {
                put_u32(block, at::VERSION, 9);
                let digest = crate::checksum::digest(&block[..at::DIGEST]);
                put_u128(block, at::DIGEST, digest);
            }
        });
        let error = open(&world).err().unwrap().to_string();
        assert!(
            error.contains("version 9") && error.contains("version 1"),
            "{error}"
        );
    }

    #[test]
    fn a_lost_manifest_is_not_replaced_by_an_empty_one() {
        let world = SimWorld::new(1);
        let (mut disk, manifest) = open(&world).unwrap();
        let log = manifest.stream_dir(0);
        disk.create_dir(&log).unwrap();
        disk.create(&log.join("mark"), 4096).unwrap();
        world.settle();
        world.crash(Crash::Kill);
        world.remove(&Path::new(DIR).join(MANIFEST_NAME));
        assert!(matches!(open(&world), Err(StorageError::Missing { .. })));
    }

    #[test]
    fn ids_differ() {
        assert_ne!(random_id(), random_id());
    }

    /// Every change is whole or absent, whichever operation the power fails at.
    #[test]
    fn a_power_loss_at_any_operation_keeps_one_whole_state() {
        for (operations, seed) in (0..60).flat_map(|n| (0..40).map(move |seed| (n, seed))) {
            assert!(
                survives_power_loss(operations, seed),
                "operation {operations} seed {seed}"
            );
        }
    }

    fn survives_power_loss(operations: u64, seed: u64) -> bool {
        let world = SimWorld::new(seed);
        world.die_after(Some(operations));
        let mut acked = 0u8;
        if let Ok((mut disk, mut manifest)) = open(&world) {
            for step in 1..10u8 {
                if manifest.set_blob(&mut disk, &[step]).is_err() {
                    break;
                }
                acked = step;
            }
        }
        world.crash(Crash::PowerLoss);
        let Ok((_, manifest)) = open(&world) else {
            return false;
        };
        let found = manifest.state().blob.first().copied().unwrap_or(0);
        found == acked || found == acked + 1
    }

    #[cfg(feature = "planted-bugs")]
    #[test]
    fn the_planted_bug_of_the_manifest_is_found() {
        crate::planted::plant(Some(PlantedBug::ManifestOverwritesSlot));
        let cases = (0..60).flat_map(|n| (0..40).map(move |seed| (n, seed)));
        let mut found = false;
        for (operations, seed) in cases {
            found |= !survives_power_loss(operations, seed);
        }
        crate::planted::plant(None);
        assert!(found);
    }
}
