//! The store behind a server: its directory, its manifest, and which log belongs to whom.
//!
//! ```text
//! DIR/manifest        identity, incarnation, layouts
//! DIR/pipeline.toml   the pipeline that the logs were written with
//! DIR/flush-probe     the stored verdict of the flush probe
//! DIR/log-0000/       one log per stream of a layout
//! DIR/dumps/          latency dumps
//! ```
//!
//! A layout says how many logs a store was written with at a time; the newest is written, older
//! ones are only read. Starting with another number of shards adds a layout.

use std::io;
use std::path::{Path, PathBuf};

use ringmill_shard::dedupe::Layout as ShardLayout;
use ringmill_shard::limits::GROUPS;
use ringmill_shard::pipeline::Pipeline;
use ringmill_shard::state::Place;
use ringmill_storage::disk::posix::PosixDisk;
use ringmill_storage::log::{FlushPolicy, Log, LogIdentity, LogOptions};
use ringmill_storage::manifest::{Epoch, MANIFEST_NAME, Manifest, stream_dir};
use ringmill_storage::probe::SyncWay;

use super::error::ServeError;
use crate::check;
use crate::cli::ServeArgs;

const PIPELINE_FILE: &str = "pipeline.toml";
/// Marks a store whose logs hold the rows of floor measurements, which no recovery brings back.
const FLOOR_FILE: &str = "floor-measurements-only";

/// An open store.
pub(super) struct Store {
    pub(super) layout: Layout,
    pub(super) segment_bytes: u64,
    pub(super) store_id: u128,
    pub(super) incarnation: u64,
    manifest: Manifest,
    disk: PosixDisk,
}

/// Which log belongs to whom; cheap to hand to every shard.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    dir: PathBuf,
    store_id: u128,
    epochs: Vec<Epoch>,
    segment_bytes: u64,
    /// The newest layout's logs were all made before this start: a missing one is damage.
    logs_exist: bool,
}

/// Opens or creates the store, begins a layout if the number of shards has changed, and keeps the
/// pipeline beside it.
pub(super) fn open(
    args: &ServeArgs,
    shards: usize,
    pipeline: &Pipeline,
    text: &str,
) -> Result<Store, ServeError> {
    let dir = &args.data;
    let unusable = |source| ServeError::DataDir { dir: dir.clone(), source };
    std::fs::create_dir_all(dir).map_err(unusable)?;
    let is_new = !dir.join(MANIFEST_NAME).exists();
    check_floor(args, is_new)?;
    check_pipeline(dir, pipeline)?;
    let mut disk = PosixDisk::new();
    let mut manifest = Manifest::open_or_create(&mut disk, dir, shards as u32)?;
    let segment_bytes = args.segment_mib << 20;
    let mut layout = Layout {
        dir: dir.clone(),
        store_id: manifest.state().store_id,
        epochs: manifest.state().epochs.clone(),
        segment_bytes,
        logs_exist: manifest.state().streams_created,
    };
    if layout.newest().streams != shards as u32 {
        eprintln!(
            "the store was written by {} shards: its logs are finished, and {shards} go on",
            layout.newest().streams
        );
        layout.finish_logs()?;
        manifest.begin_epoch(&mut disk, shards as u32)?;
        layout.epochs = manifest.state().epochs.clone();
        layout.logs_exist = false;
    }
    for stream in layout.newest().streams() {
        std::fs::create_dir_all(layout.dir_of(stream)).map_err(unusable)?;
    }
    keep_pipeline(dir, text).map_err(unusable)?;
    Ok(Store {
        store_id: layout.store_id,
        incarnation: manifest.state().incarnation,
        segment_bytes,
        layout,
        manifest,
        disk,
    })
}

impl Store {
    /// Directory of the log that a shard writes.
    pub(super) fn log_dir(&self, shard: usize) -> PathBuf {
        self.layout.dir_of(self.layout.own_stream(shard))
    }

    /// Every shard has its log: from now on a missing one is damage.
    pub(super) fn note_logs_exist(&mut self) -> Result<(), ServeError> {
        if !self.layout.logs_exist {
            self.manifest.note_streams_created(&mut self.disk)?;
        }
        Ok(())
    }
}

impl Layout {
    fn newest(&self) -> &Epoch {
        self.epochs.last().expect("invariant: a store has a layout")
    }

    /// Recovers the logs of the newest layout and closes them: they are only read from here on,
    /// so what their ends are worth is decided once and made durable.
    fn finish_logs(&self) -> Result<(), ServeError> {
        for stream in self.newest().streams() {
            let (dir, options) = (self.dir_of(stream), self.log_options(SyncWay::WriteDsync));
            std::fs::create_dir_all(&dir)
                .map_err(|source| ServeError::DataDir { dir: dir.clone(), source })?;
            let disk = PosixDisk::new();
            let (log, _) =
                Log::open(disk, &dir, self.identity(stream), options, &mut |_, _| Ok(()))?;
            log.close()?;
        }
        Ok(())
    }

    /// Directory of a log.
    pub(super) fn dir_of(&self, stream: u32) -> PathBuf {
        stream_dir(&self.dir, stream)
    }

    /// Identity of a log.
    pub(super) fn identity(&self, stream: u32) -> LogIdentity {
        LogIdentity { log_id: self.store_id, stream }
    }

    /// The log that a shard writes.
    pub(super) fn own_stream(&self, shard: usize) -> u32 {
        self.newest().first_stream + shard as u32
    }

    /// Logs of older layouts that hold groups of this shard, oldest first.
    pub(super) fn older_streams(&self, shard: usize) -> Vec<u32> {
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

    /// Options of a log.
    pub(super) fn log_options(&self, sync: SyncWay) -> LogOptions {
        LogOptions {
            segment_bytes: self.segment_bytes,
            flush: match sync {
                SyncWay::WriteDsync => FlushPolicy::WithWrite,
                SyncWay::RingDatasync => FlushPolicy::AfterWrite,
            },
            must_exist: self.logs_exist,
            ..LogOptions::default()
        }
    }

    /// A shard's place among the shards, now and before.
    pub(super) fn place(&self, shard: usize) -> Place {
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
}

/// The half-open range of groups that position `index` of `count` owns.
fn groups_of(index: usize, count: usize) -> (usize, usize) {
    let bound = |index: usize| (index * GROUPS as usize).div_ceil(count);
    (bound(index), bound(index + 1))
}

fn check_floor(args: &ServeArgs, is_new: bool) -> Result<(), ServeError> {
    let marker = args.data.join(FLOOR_FILE);
    let floor_store = marker.exists();
    let refuse = |what| Err(ServeError::FloorStore { dir: args.data.clone(), what });
    match args.floor {
        Some(_) if floor_store => Ok(()),
        Some(_) if !is_new => {
            refuse("holds events, and --floor would mix measurements into its logs")
        }
        Some(_) => std::fs::write(&marker, "the logs of this store hold measurements only\n")
            .map_err(|source| ServeError::DataDir { dir: args.data.clone(), source }),
        None if floor_store => refuse("holds floor measurements and no events"),
        None => Ok(()),
    }
}

fn check_pipeline(dir: &Path, pipeline: &Pipeline) -> Result<(), ServeError> {
    let file = dir.join(PIPELINE_FILE);
    if !file.exists() {
        return Ok(());
    }
    let (stored, _) = check::load(&file).map_err(ServeError::Pipeline)?;
    pipeline.fits(&stored).map_err(|problems| ServeError::PipelineChanged {
        dir: dir.to_owned(),
        problems: problems.iter().map(|problem| format!("  {problem}\n")).collect(),
    })
}

/// Keeps the pipeline beside the logs that are written with it; never half of it.
fn keep_pipeline(dir: &Path, text: &str) -> io::Result<()> {
    let file = dir.join(PIPELINE_FILE);
    if std::fs::read_to_string(&file).is_ok_and(|stored| stored == text) {
        return Ok(());
    }
    let unfinished = dir.join("pipeline.toml.new");
    std::fs::write(&unfinished, text)?;
    std::fs::File::open(&unfinished)?.sync_all()?;
    std::fs::rename(&unfinished, &file)?;
    std::fs::File::open(dir)?.sync_all()
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
                    assert_eq!(shard_of(group as u16, count), index, "group {group} of {count}");
                }
            }
            assert_eq!(groups_of(count - 1, count).1, GROUPS as usize);
        }
    }

    #[test]
    fn a_shard_reads_the_older_logs_that_hold_its_groups() {
        let epoch = |first_stream, streams| Epoch { first_stream, streams };
        let layout = Layout {
            dir: PathBuf::new(),
            store_id: 1,
            epochs: vec![epoch(0, 4), epoch(4, 1), epoch(5, 2)],
            segment_bytes: 64 << 20,
            logs_exist: true,
        };
        assert_eq!(layout.own_stream(1), 6);
        assert_eq!(layout.older_streams(0), [0, 1, 4]);
        assert_eq!(layout.older_streams(1), [2, 3, 4]);
    }
}
