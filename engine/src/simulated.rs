//! A whole engine in one thread: its cores, wired as `serve` wires them, over a simulated disk,
//! sockets made of memory, and a clock that moves when told to.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ringmill_shard::pipeline::Pipeline;
use ringmill_storage::disk::sim::{SimDisk, SimWorld};
use ringmill_storage::error::StorageError;
use ringmill_storage::log::LogOptions;
use ringmill_storage::manifest::Manifest;
use ringmill_storage::segment::prepare_segment;

use crate::clock::ManualClock;
use crate::core_loop::{CoreLoop, CoreParts, ShardFlags};
use crate::mesh::{MeshOptions, Ports, mesh};
use crate::metrics::{CoreMetrics, Counter};
use crate::net::sim::SimNet;
use crate::recovery::Layout;

/// Where the store lies on the simulated disk.
pub const DIR: &str = "/store";
const STORE_ID: u128 = 0x5eed_5eed_5eed_5eed;

/// A core over simulated parts.
pub type SimulatedCore = CoreLoop<SimNet, SimDisk, ManualClock>;

/// How a simulated engine is made.
#[derive(Clone, Debug)]
pub struct SimulatedOptions {
    /// The pipeline.
    pub pipeline: Arc<Pipeline>,
    /// Number of shards, at least 1.
    pub shards: usize,
    /// Of the lanes between the cores.
    pub mesh: MeshOptions,
    /// Of every shard's log.
    pub log: LogOptions,
}

/// One life of an engine, from its start to the loss of it.
pub struct SimulatedEngine {
    /// By shard. Each wants its turns.
    pub cores: Vec<SimulatedCore>,
    /// By shard.
    pub metrics: Vec<Arc<CoreMetrics>>,
    /// One flag per shard whose log has failed.
    pub failed: Arc<[AtomicBool]>,
    /// Set while events are refused for lack of space.
    pub disk_full: Arc<AtomicBool>,
    /// The layout of the store.
    pub layout: Layout,
    /// Whether this start began a layout.
    pub began_layout: bool,
    /// How many starts the store has seen.
    pub incarnation: u64,
    segment_bytes: u64,
    disk: SimDisk,
}

impl SimulatedEngine {
    /// Opens or creates the store, recovers every shard and wires the cores together. Returns the
    /// lanes of the control peer beside it.
    ///
    /// # Panics
    /// If the options of the mesh are not valid.
    pub fn start(
        world: &SimWorld,
        options: &SimulatedOptions,
        clock: &ManualClock,
    ) -> Result<(SimulatedEngine, Ports), StorageError> {
        let SimulatedOptions {
            pipeline,
            shards,
            mesh: lanes,
            log,
        } = options;
        let shards = *shards;
        let mut disk = world.disk();
        let dir = Path::new(DIR);
        let mut manifest = Manifest::open_or_create_as(&mut disk, dir, shards as u32, STORE_ID)?;
        let before = Layout::of(dir, &manifest);
        let began_layout = before.newest().streams as usize != shards;
        let layout = before.for_shards(shards, &mut manifest, &mut disk, log, || world.disk())?;
        let recovered: Result<Vec<_>, StorageError> = (0..shards)
            .map(|shard| layout.recover(shard, pipeline, log, world.disk()))
            .collect();
        let recovered = recovered?;
        if !layout.logs_exist() {
            manifest.note_streams_created(&mut disk)?;
        }
        let mut ports = mesh(shards, lanes).expect("valid options");
        let control = ports
            .pop()
            .expect("invariant: the control peer is the last");
        let metrics: Vec<_> = (0..shards).map(|_| CoreMetrics::new()).collect();
        let failed: Arc<[AtomicBool]> = (0..shards).map(|_| AtomicBool::new(false)).collect();
        let disk_full = Arc::new(AtomicBool::new(false));
        let core = |(shard, (ports, (state, log)))| {
            let parts = CoreParts {
                clock: clock.clone(),
                metrics: Arc::clone(&metrics[shard]),
                pipeline: Arc::clone(pipeline),
                state,
                log,
                ports,
                segments: None,
                floor: None,
                flags: ShardFlags::new(Arc::clone(&failed), shard, Arc::clone(&disk_full)),
                sleep_for_flush: false,
            };
            CoreLoop::new(SimNet::new(), parts)
        };
        let parts = ports.into_iter().zip(recovered).enumerate();
        let engine = SimulatedEngine {
            cores: parts.map(core).collect(),
            metrics,
            failed,
            disk_full,
            layout,
            began_layout,
            incarnation: manifest.state().incarnation,
            segment_bytes: log.segment_bytes,
            disk,
        };
        Ok((engine, control))
    }

    /// Number of shards.
    pub fn shards(&self) -> usize {
        self.cores.len()
    }

    /// Whether the log of any shard has failed.
    pub fn any_failed(&self) -> bool {
        self.failed.iter().any(|flag| flag.load(Ordering::Relaxed))
    }

    /// A counter, over all shards.
    pub fn counter(&self, counter: Counter) -> u64 {
        let metrics = self.metrics.iter();
        metrics.map(|metrics| metrics.get(counter)).sum()
    }

    /// The part of the background plane: prepares and hands over what a core's log wants. True if
    /// the log took something.
    pub fn supply(&mut self, shard: usize) -> bool {
        let stream = self.layout.own_stream(shard);
        let dir: PathBuf = self.layout.dir_of(stream);
        let log = self.cores[shard].log();
        let Some(wanted) = log.wanted_segment() else {
            return false;
        };
        let Ok(prepared) = prepare_segment(&mut self.disk, &dir, wanted, self.segment_bytes) else {
            return false;
        };
        log.supply(prepared).is_ok()
    }

    /// Whether no core has anything in its log that is not written and at rest.
    pub fn is_settled(&mut self) -> bool {
        self.cores.iter_mut().all(|core| {
            let log = core.log();
            log.pending_bytes() == 0 && !log.in_flight()
        })
    }
}
