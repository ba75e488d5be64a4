//! One shard's thread: pin, recover, run.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringmill_shard::pipeline::Pipeline;
use ringmill_storage::disk::Disk;
use ringmill_storage::disk::posix::PosixDisk;
use ringmill_storage::disk::uring::UringDisk;
use ringmill_storage::probe::SyncWay;
use ringmill_storage::ring::{Ring, RingOptions, SharedRing};

use super::error::ServeError;
use super::store::log_options;
use crate::background::SegmentPort;
use crate::cli::Backend;
use crate::clock::RealClock;
use crate::core_loop::{CoreLoop, CoreParts, Floor, ShardFlags, Spin};
use crate::mesh::Ports;
use crate::metrics::CoreMetrics;
use crate::net::Net;
use crate::net::posix::PosixNet;
use crate::net::uring::{BufferOptions, UringNet};
use crate::placement;
use crate::recovery::Layout;

/// What a shard's recovery brought back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Recovered {
    /// Events applied again.
    pub(super) events: u64,
    /// How long that took, ms.
    pub(super) recovery_ms: u64,
}

/// Everything that a shard's thread needs.
pub(super) struct ShardPlan {
    pub(super) shard: usize,
    pub(super) cpu: Option<usize>,
    pub(super) backend: Backend,
    pub(super) sync: SyncWay,
    pub(super) spin: Spin,
    pub(super) frame_timeout: Duration,
    pub(super) floor: Option<Floor>,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) store: Layout,
    pub(super) segment_bytes: u64,
    pub(super) ports: Ports,
    pub(super) segments: SegmentPort,
    pub(super) flags: ShardFlags,
    pub(super) metrics: Arc<CoreMetrics>,
    pub(super) clock: RealClock,
    pub(super) listener: Option<TcpListener>,
    pub(super) stop: Arc<AtomicBool>,
}

/// Ends the process when a shard's thread unwinds: a shard with a defect must not go on, and the
/// others must not go on without it. Recovery is the way back.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            say!("a shard has met a defect of its own; every acknowledged event is on disk");
            std::process::abort();
        }
    }
}

/// Starts the thread. It reports once, then runs until it is stopped.
pub(super) fn spawn(
    plan: ShardPlan,
    report: Sender<Result<Recovered, ServeError>>,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(format!("ringmill-{}", plan.shard))
        .spawn(move || {
            let _guard = AbortOnPanic;
            if let Err(error) = run(plan, &report) {
                // The starter waits for a report from every shard, so it is listening.
                let _ = report.send(Err(error));
            }
        })
}

fn run(plan: ShardPlan, report: &Sender<Result<Recovered, ServeError>>) -> Result<(), ServeError> {
    if let Some(cpu) = plan.cpu
        && !placement::pin(cpu)
    {
        return Err(ServeError::Pin {
            shard: plan.shard,
            cpu,
        });
    }
    match plan.backend {
        Backend::Uring => run_uring(plan, report),
        Backend::Posix => {
            let sockets = |source| ServeError::Sockets {
                shard: plan.shard,
                source,
            };
            let listener = plan
                .listener
                .as_ref()
                .map(TcpListener::try_clone)
                .transpose();
            let listener = listener.map_err(sockets)?.map(OwnedFd::from);
            let net = PosixNet::new(listener, plan.ports.wake_fd()).map_err(sockets)?;
            recover_and_run(plan, net, PosixDisk::new(), report, || {})
        }
    }
}

/// Options of the ring of a shard on this CPU.
pub(super) fn ring_options(cpu: Option<usize>) -> RingOptions {
    RingOptions {
        entries: 1024,
        iowq_cpu: cpu,
        ..RingOptions::default()
    }
}

fn run_uring(
    plan: ShardPlan,
    report: &Sender<Result<Recovered, ServeError>>,
) -> Result<(), ServeError> {
    let ring = SharedRing::new(Ring::new(&ring_options(plan.cpu))?.into());
    let disk = UringDisk::new(SharedRing::clone(&ring), plan.sync);
    let sockets = |source| ServeError::Sockets {
        shard: plan.shard,
        source,
    };
    let listener = plan
        .listener
        .as_ref()
        .map(TcpListener::try_clone)
        .transpose();
    let listener = listener.map_err(sockets)?.map(OwnedFd::from);
    let buffers = BufferOptions::default();
    let net = UringNet::new(
        SharedRing::clone(&ring),
        listener,
        plan.ports.wake_fd(),
        buffers,
    )
    .map_err(sockets)?;
    recover_and_run(plan, net, disk, report, || {
        for warning in ring.borrow().warnings() {
            say!("{warning}");
        }
    })
}

fn recover_and_run<N: Net, D: Disk>(
    plan: ShardPlan,
    net: N,
    disk: D,
    report: &Sender<Result<Recovered, ServeError>>,
    say_warnings: impl FnOnce(),
) -> Result<(), ServeError> {
    let begun = Instant::now();
    let options = log_options(plan.segment_bytes, plan.sync);
    let (state, log) = plan
        .store
        .recover(plan.shard, &plan.pipeline, &options, disk)?;
    let recovered = Recovered {
        events: state
            .counters()
            .streams
            .iter()
            .map(|stream| stream.accepted)
            .sum(),
        recovery_ms: begun.elapsed().as_millis() as u64,
    };
    let sleep_for_flush =
        plan.backend == Backend::Uring && plan.sync == SyncWay::RingDatasync && plan.cpu.is_some();
    let core = CoreLoop::new(
        net,
        CoreParts {
            clock: plan.clock,
            metrics: plan.metrics,
            pipeline: plan.pipeline,
            state,
            log,
            ports: plan.ports,
            segments: Some(plan.segments),
            floor: plan.floor,
            flags: plan.flags,
            sleep_for_flush,
        },
    );
    say_warnings();
    if report.send(Ok(recovered)).is_err() {
        return Ok(());
    }
    core.with_frame_timeout(plan.frame_timeout)
        .run(plan.spin, &plan.stop);
    Ok(())
}
