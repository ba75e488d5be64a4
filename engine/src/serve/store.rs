//! The store behind a server: its directory, its manifest, and which log belongs to whom.
//!
//! ```text
//! DIR/manifest        identity, incarnation, layouts
//! DIR/pipeline.toml   the pipeline that the logs are read with, see `stored`
//! DIR/schemas         every schema that stands in them
//! DIR/flush-probe     the stored verdict of the flush probe
//! DIR/log-0000/       one log per stream of a layout
//! DIR/dumps/          latency dumps
//! ```
//!
//! A layout says how many logs a store was written with at a time; the newest is written, older
//! ones are only read. Starting with another number of shards adds a layout.

use std::path::PathBuf;

use ringmill_shard::pipeline::Pipeline;
use ringmill_storage::disk::posix::PosixDisk;
use ringmill_storage::log::{FlushPolicy, LogOptions};
use ringmill_storage::manifest::{MANIFEST_NAME, Manifest};
use ringmill_storage::probe::SyncWay;

use super::error::ServeError;
use crate::cli::ServeArgs;
use crate::recovery::Layout;

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

/// Opens or creates the store and begins a layout if the number of shards has changed.
pub(super) fn open(
    args: &ServeArgs,
    shards: usize,
    pipeline: &Pipeline,
) -> Result<Store, ServeError> {
    let dir = &args.data;
    let unusable = |source| ServeError::DataDir {
        dir: dir.clone(),
        source,
    };
    std::fs::create_dir_all(dir).map_err(unusable)?;
    let is_new = !dir.join(MANIFEST_NAME).exists();
    check_floor(args, is_new)?;
    pipeline
        .fits_shards(shards)
        .map_err(|problem| ServeError::Pipeline(problem.to_string()))?;
    let mut disk = PosixDisk::new();
    let mut manifest = Manifest::open_or_create(&mut disk, dir, shards as u32)?;
    let segment_bytes = args.segment_mib << 20;
    let before = Layout::of(dir, &manifest);
    let streams = before.newest().streams;
    if streams != shards as u32 {
        say!(
            "the number of shards was {streams}, now it is {shards}: the logs of before are \
             finished, new ones begun"
        );
    }
    let options = log_options(segment_bytes, SyncWay::WriteDsync);
    let layout = before.for_shards(shards, &mut manifest, &mut disk, &options, PosixDisk::new)?;
    for stream in layout.newest().streams() {
        std::fs::create_dir_all(layout.dir_of(stream)).map_err(unusable)?;
    }
    Ok(Store {
        store_id: manifest.state().store_id,
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
        if !self.layout.logs_exist() {
            self.manifest.note_streams_created(&mut self.disk)?;
        }
        Ok(())
    }
}

/// Options of the logs of a store.
pub(super) fn log_options(segment_bytes: u64, sync: SyncWay) -> LogOptions {
    LogOptions {
        segment_bytes,
        flush: match sync {
            SyncWay::WriteDsync => FlushPolicy::WithWrite,
            SyncWay::RingDatasync => FlushPolicy::AfterWrite,
        },
        ..LogOptions::default()
    }
}

fn check_floor(args: &ServeArgs, is_new: bool) -> Result<(), ServeError> {
    let marker = args.data.join(FLOOR_FILE);
    let floor_store = marker.exists();
    let refuse = |what| {
        Err(ServeError::FloorStore {
            dir: args.data.clone(),
            what,
        })
    };
    match args.floor {
        Some(_) if floor_store => Ok(()),
        Some(_) if !is_new => {
            refuse("holds events, and --floor would mix measurements into its logs")
        }
        Some(_) => std::fs::write(&marker, "the logs of this store hold measurements only\n")
            .map_err(|source| ServeError::DataDir {
                dir: args.data.clone(),
                source,
            }),
        None if floor_store => refuse("holds floor measurements and no events"),
        None => Ok(()),
    }
}
