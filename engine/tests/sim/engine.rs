//! One life of a server: its cores, wired as `serve` wires them, over simulated parts.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ringmill_engine::clock::ManualClock;
use ringmill_engine::core_loop::{CoreLoop, CoreParts, ShardFlags};
use ringmill_engine::mesh::mesh;
use ringmill_engine::metrics::{CoreMetrics, Counter};
use ringmill_engine::net::sim::SimNet;
use ringmill_engine::recovery::Layout;
use ringmill_storage::disk::sim::{SimDisk, SimWorld};
use ringmill_storage::error::StorageError;
use ringmill_storage::manifest::Manifest;
use ringmill_storage::segment::prepare_segment;

use super::control::Control;
use super::plan::Plan;

pub(crate) const DIR: &str = "/store";
const STORE_ID: u128 = 0x5eed_5eed_5eed_5eed;

pub(crate) type Core = CoreLoop<SimNet, SimDisk, ManualClock>;

pub(crate) struct Engine {
    pub(crate) cores: Vec<Core>,
    pub(crate) control: Control,
    pub(crate) metrics: Vec<Arc<CoreMetrics>>,
    pub(crate) failed: Arc<[AtomicBool]>,
    pub(crate) disk_full: Arc<AtomicBool>,
    pub(crate) layout: Layout,
    /// Whether this start began a layout.
    pub(crate) began_layout: bool,
    disk: SimDisk,
}

impl Engine {
    /// Opens or creates the store, recovers every shard and wires the cores together.
    pub(crate) fn start(
        world: &SimWorld,
        plan: &Plan,
        shards: usize,
        clock: &ManualClock,
    ) -> Result<Engine, StorageError> {
        let mut disk = world.disk();
        let dir = Path::new(DIR);
        let mut manifest = Manifest::open_or_create_as(&mut disk, dir, shards as u32, STORE_ID)?;
        let before = Layout::of(dir, &manifest);
        let began_layout = before.newest().streams as usize != shards;
        let layout =
            before.for_shards(shards, &mut manifest, &mut disk, &plan.log, || world.disk())?;
        let recovered: Result<Vec<_>, StorageError> = (0..shards)
            .map(|shard| layout.recover(shard, &plan.pipeline, &plan.log, world.disk()))
            .collect();
        let recovered = recovered?;
        if !layout.logs_exist() {
            manifest.note_streams_created(&mut disk)?;
        }
        let mut ports = mesh(shards, &plan.mesh).expect("valid options");
        let control = Control::new(ports.pop().expect("the control peer"), shards);
        let metrics: Vec<_> = (0..shards).map(|_| CoreMetrics::new()).collect();
        let failed: Arc<[AtomicBool]> = (0..shards).map(|_| AtomicBool::new(false)).collect();
        let disk_full = Arc::new(AtomicBool::new(false));
        let core = |(shard, (ports, (state, log)))| {
            let parts = CoreParts {
                clock: clock.clone(),
                metrics: Arc::clone(&metrics[shard]),
                pipeline: Arc::clone(&plan.pipeline),
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
        let cores = ports
            .into_iter()
            .zip(recovered)
            .enumerate()
            .map(core)
            .collect();
        Ok(Engine {
            cores,
            control,
            metrics,
            failed,
            disk_full,
            layout,
            began_layout,
            disk,
        })
    }

    pub(crate) fn shards(&self) -> usize {
        self.cores.len()
    }

    pub(crate) fn any_failed(&self) -> bool {
        self.failed.iter().any(|flag| flag.load(Ordering::Relaxed))
    }

    pub(crate) fn counter(&self, counter: Counter) -> u64 {
        self.metrics
            .iter()
            .map(|metrics| metrics.get(counter))
            .sum()
    }

    /// The part of the background plane: prepares and hands over what a core's log wants.
    pub(crate) fn supply(&mut self, shard: usize, segment_bytes: u64) -> bool {
        let stream = self.layout.own_stream(shard);
        let dir = self.layout.dir_of(stream);
        let log = self.cores[shard].log();
        let Some(wanted) = log.wanted_segment() else {
            return false;
        };
        let Ok(prepared) = prepare_segment(&mut self.disk, &dir, wanted, segment_bytes) else {
            return false;
        };
        log.supply(prepared).is_ok()
    }

    /// Whether no core has anything in its log that is not written and at rest.
    pub(crate) fn is_settled(&mut self) -> bool {
        self.cores.iter_mut().all(|core| {
            let log = core.log();
            log.pending_bytes() == 0 && !log.in_flight()
        })
    }
}
