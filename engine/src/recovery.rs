//! From the logs on a disk back to the shards that write them: which log belongs to whom, and what
//! each shard replays. Over any [`Disk`], so that a simulation recovers by the very same steps.
//!
//! A layout says how many logs a store was written with at a time; the newest is written, older
//! ones are only read. Starting with another number of shards begins a layout.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringmill_shard::dedupe::Layout as ShardLayout;
use ringmill_shard::limits::GROUPS;
use ringmill_shard::pipeline::Pipeline;
use ringmill_shard::state::{Place, ShardState};
use ringmill_storage::disk::Disk;
use ringmill_storage::error::{ReplayError, StorageError};
use ringmill_storage::log::{Log, LogIdentity, LogOptions};
use ringmill_storage::manifest::{Epoch, Manifest, stream_dir};
use ringmill_storage::verify::read_dir;

/// Kind of the rows of a floor measurement, which are no part of any state: recovery passes them
/// over. The other kinds are those of [`ringmill_shard::entry`].
pub const KIND_FLOOR: u32 = 0x7F;

/// Which log belongs to whom; cheap to hand to every shard.
#[derive(Clone, Debug)]
pub struct Layout {
    dir: PathBuf,
    store_id: u128,
    epochs: Vec<Epoch>,
    /// The newest layout's logs were all made before this start: a missing one is damage.
    logs_exist: bool,
}

impl Layout {
    /// What the manifest of the store in `dir` says.
    pub fn of(dir: &Path, manifest: &Manifest) -> Layout {
        let state = manifest.state();
        Layout {
            dir: dir.to_owned(),
            store_id: state.store_id,
            epochs: state.epochs.clone(),
            logs_exist: state.streams_created,
        }
    }

    /// The layout for `shards` shards: the newest one, or a new one whose predecessor's logs are
    /// recovered and closed first. They are only read from then on, so what their ends are worth is
    /// decided once and made durable. `disk_of` gives each log a disk of its own.
    ///
    /// # Errors
    /// When a log of the newest layout cannot be recovered, or the manifest not be written.
    pub fn for_shards<D: Disk>(
        mut self,
        shards: usize,
        manifest: &mut Manifest,
        disk: &mut D,
        options: &LogOptions,
        mut disk_of: impl FnMut() -> D,
    ) -> Result<Layout, StorageError> {
        if self.newest().streams as usize == shards {
            return Ok(self);
        }
        for stream in self.newest().streams() {
            let (dir, options) = (self.dir_of(stream), self.options(options));
            let identity = self.identity(stream);
            let (log, _) = Log::open(disk_of(), &dir, identity, options, &mut |_, _, _| Ok(()))?;
            log.close()?;
        }
        manifest.begin_epoch(disk, shards as u32)?;
        self.epochs.clone_from(&manifest.state().epochs);
        self.logs_exist = false;
        Ok(self)
    }

    /// All layouts, the oldest first.
    pub fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }

    /// The layout that is written.
    pub fn newest(&self) -> &Epoch {
        self.epochs.last().expect("invariant: a store has a layout")
    }

    /// Whether all logs of the newest layout were made before this start.
    pub fn logs_exist(&self) -> bool {
        self.logs_exist
    }

    /// Directory of a log.
    pub fn dir_of(&self, stream: u32) -> PathBuf {
        stream_dir(&self.dir, stream)
    }

    /// Identity of a log.
    pub fn identity(&self, stream: u32) -> LogIdentity {
        LogIdentity {
            log_id: self.store_id,
            stream,
        }
    }

    /// The log that a shard writes.
    pub fn own_stream(&self, shard: usize) -> u32 {
        self.newest().first_stream + shard as u32
    }

    /// Logs of older layouts that hold groups of this shard, oldest first.
    pub fn older_streams(&self, shard: usize) -> Vec<u32> {
        let shards = self.newest().streams as usize;
        let (from, to) = groups_of(shard, shards);
        let older = &self.epochs[..self.epochs.len() - 1];
        let mut streams = Vec::new();
        for epoch in older {
            for position in 0..epoch.streams as usize {
                let (first, end) = groups_of(position, epoch.streams as usize);
                if first < to && from < end {
                    streams.push(epoch.first_stream + position as u32);
                }
            }
        }
        streams
    }

    /// All logs of older layouts, oldest first.
    pub fn all_older_streams(&self) -> Vec<u32> {
        let older = &self.epochs[..self.epochs.len() - 1];
        older.iter().flat_map(Epoch::streams).collect()
    }

    /// A shard's place among the shards, now and before.
    pub fn place(&self, shard: usize) -> Place {
        let layout = |epoch: &Epoch| ShardLayout {
            first_log_stream: epoch.first_stream,
            streams: epoch.streams,
        };
        let older = &self.epochs[..self.epochs.len() - 1];
        Place {
            shard: shard as u16,
            shards: self.newest().streams as u16,
            log_stream: self.own_stream(shard),
            older: older.iter().map(layout).collect(),
        }
    }

    /// `options` for a log of the newest layout.
    fn options(&self, options: &LogOptions) -> LogOptions {
        LogOptions {
            must_exist: self.logs_exist,
            ..*options
        }
    }

    /// Replays the logs of older layouts as far as they concern `shard`, then its own: its state
    /// and the log that it goes on with.
    ///
    /// # Errors
    /// When a log cannot be read, is damaged, or holds what the pipeline does not know.
    pub fn recover<D: Disk>(
        &self,
        shard: usize,
        pipeline: &Arc<Pipeline>,
        options: &LogOptions,
        mut disk: D,
    ) -> Result<(ShardState, Log<D>), StorageError> {
        let mut state = ShardState::new(Arc::clone(pipeline), self.place(shard));
        for stream in self.older_streams(shard) {
            let dir = self.dir_of(stream);
            read_dir(&mut disk, &dir, &mut |lsn, kind, entry| {
                apply(&mut state, stream, lsn, kind, entry)
            })?;
        }
        let stream = self.own_stream(shard);
        let (dir, options) = (self.dir_of(stream), self.options(options));
        let mut replay = |lsn, kind, entry: &[u8]| apply(&mut state, stream, lsn, kind, entry);
        let (log, _) = Log::open(disk, &dir, self.identity(stream), options, &mut replay)?;
        state.finish_replay();
        Ok((state, log))
    }
}

/// The half-open range of groups that position `index` of `count` owns.
fn groups_of(index: usize, count: usize) -> (usize, usize) {
    let bound = |index: usize| (index * GROUPS).div_ceil(count);
    (bound(index), bound(index + 1))
}

/// Applies one recovered entry.
fn apply(
    state: &mut ShardState,
    stream: u32,
    lsn: u64,
    kind: u32,
    entry: &[u8],
) -> Result<(), ReplayError> {
    if kind == KIND_FLOOR {
        return Ok(());
    }
    state
        .replay(stream, lsn, kind, entry)
        .map_err(|error| ReplayError::new(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringmill_shard::partition::shard_of;

    #[test]
    fn group_ranges_are_those_of_the_partition() {
        for count in [1, 2, 3, 5, 7, 256] {
            for index in 0..count {
                let (from, to) = groups_of(index, count);
                for group in from..to {
                    assert_eq!(
                        shard_of(group as u16, count),
                        index,
                        "group {group} of {count}"
                    );
                }
            }
            assert_eq!(groups_of(count - 1, count).1, GROUPS);
        }
    }

    #[test]
    fn a_shard_reads_the_older_logs_that_hold_its_groups() {
        let epoch = |first_stream, streams| Epoch {
            first_stream,
            streams,
        };
        let layout = Layout {
            dir: PathBuf::new(),
            store_id: 1,
            epochs: vec![epoch(0, 4), epoch(4, 1), epoch(5, 2)],
            logs_exist: true,
        };
        assert_eq!(layout.own_stream(1), 6);
        assert_eq!(layout.older_streams(0), [0, 1, 4]);
        assert_eq!(layout.older_streams(1), [2, 3, 4]);
    }
}
