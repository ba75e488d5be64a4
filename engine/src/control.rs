//! The control plane: HTTP, signals and dumps, on a thread of its own.
//!
//! It is the last peer of the mesh and asks the cores like any other. Cores never wake it, it looks
//! at its lanes by itself, so that nothing it does costs a core more than an answer.
//!
//! ```text
//! HTTP handlers --Cores--> driver --lanes--> cores
//!       |                  (owns Ports)
//!       +--- CoreMetrics, read in place --- cores
//! ```

mod cores;
mod driver;
mod dumps;
mod facts;
mod logs;
mod publish;
mod signals;
mod split;

use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ringmill_shard::entry::ProducerId;
use ringmill_shard::pipeline::Pipeline;
use ringmill_storage::disk::Disk;
use ringmill_storage::disk::posix::PosixDisk;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};

use crate::clock::RealClock;
use crate::dump::Dumper;
use crate::http::{self, App, GuardedListener, HttpLimits};
use crate::mesh::Ports;
use crate::metrics::CoreMetrics;
use crate::recovery::Layout;
use crate::simulated::{self, SimulatedEngine};
pub use cores::{
    CoreTimeouts, Cores, FirstRejected, Publication, PublishError, Published, ReadError, Replies,
    Source,
};
use driver::{Driver, DriverSetup, Pace};
pub(crate) use dumps::Dumps;
pub use facts::{ServeFacts, ShutdownHandle};
use logs::LogRequest;
pub(crate) use logs::Logs;
use signals::{Asked, Signals};

/// Commands that may wait for the driver.
const COMMANDS_MAX: usize = 256;
/// How often the order to stop is looked for.
const WATCH_TICK: Duration = Duration::from_millis(50);

/// What the control plane needs.
pub struct ControlOptions {
    /// The bound socket of the HTTP interface.
    pub http: TcpListener,
    /// What is being run.
    pub pipeline: Arc<Pipeline>,
    /// Lanes of the last peer.
    pub ports: Ports,
    /// Metrics of every core, by shard.
    pub metrics: Vec<Arc<CoreMetrics>>,
    /// Where latency dumps go; `None` if they could not be begun.
    pub dumper: Option<Dumper>,
    /// Data directory, for the free space on its disk.
    pub data_dir: PathBuf,
    /// How the engine was started.
    pub facts: ServeFacts,
    /// Order to stop.
    pub shutdown: ShutdownHandle,
    /// One flag per shard whose log has failed.
    pub shard_failed: Arc<[AtomicBool]>,
    /// Set while events are refused for lack of space.
    pub disk_full: Arc<AtomicBool>,
    /// Unique per incarnation: names the control plane as a producer.
    pub producer_seed: String,
    /// The clock that cores measure with.
    pub clock: RealClock,
    /// Where the logs lie; without it nothing can be corrected or explained.
    pub store: Option<Layout>,
    /// Limits and waits; the defaults suit a server.
    pub limits: ControlLimits,
}

/// Limits and waits of the control plane.
#[derive(Clone, Debug)]
pub struct ControlLimits {
    /// Of the HTTP interface.
    pub http: HttpLimits,
    /// For the cores.
    pub cores: CoreTimeouts,
    /// Time between dumps.
    pub dump_interval: Duration,
    /// Longest wait for requests under way at the end.
    pub drain_timeout: Duration,
    /// Longest wait for the cores to stop before the last dump.
    pub stop_timeout: Duration,
    /// Whether SIGTERM, SIGINT and SIGUSR1 are handled here.
    pub signals: bool,
}

impl Default for ControlLimits {
    fn default() -> ControlLimits {
        ControlLimits {
            http: HttpLimits::default(),
            cores: CoreTimeouts::default(),
            dump_interval: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(5),
            stop_timeout: Duration::from_secs(20),
            signals: true,
        }
    }
}

/// Why the control plane ended early.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The thread or its runtime could not be made.
    #[error("the control plane cannot start: {0}")]
    Start(#[source] io::Error),
    /// The HTTP interface stopped serving.
    #[error("the HTTP interface stopped: {0}")]
    Http(#[source] io::Error),
    /// A defect ended the task that owns the lanes.
    #[error("the control plane lost its lanes: {0}")]
    Driver(#[source] tokio::task::JoinError),
}

/// Starts the control plane and returns once it answers requests and signals. Its thread ends after
/// the order to stop.
///
/// The order of the end: no new connections and no new events; requests under way finish, for a
/// bounded time; the cores are asked to stop; the last dump is written once they have
/// ([`ShutdownHandle::mark_stopped`]).
pub fn run(options: ControlOptions) -> JoinHandle<Result<(), ControlError>> {
    let thread = std::thread::Builder::new().name("ringmill-control".to_owned());
    let shutdown = options.shutdown.clone();
    let (up, is_up) = std::sync::mpsc::channel();
    let body = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(4)
            .build()
            .map_err(ControlError::Start)?;
        let result = runtime.block_on(serve(options, up));
        // A connection or a dump that is still busy must not hold up the exit.
        runtime.shutdown_timeout(Duration::from_millis(100));
        result
    };
    let stop_in_any_case = move || {
        let result = body();
        shutdown.request();
        result
    };
    match thread.spawn(stop_in_any_case) {
        Ok(handle) => {
            // A signal before this would meet its default action. The sender is dropped unused if
            // the start fails, which the caller learns from the handle.
            let _ = is_up.recv();
            handle
        }
        Err(error) => {
            // Out of threads: report through the handle that the caller waits for anyway.
            panic!("the control plane's thread cannot start: {error}")
        }
    }
}

/// What the handlers and the owner of the lanes are made of.
struct Plane {
    pipeline: Arc<Pipeline>,
    ports: Ports,
    metrics: Vec<Arc<CoreMetrics>>,
    dumper: Option<Dumper>,
    data_dir: PathBuf,
    facts: ServeFacts,
    shard_failed: Arc<[AtomicBool]>,
    disk_full: Arc<AtomicBool>,
    producer_seed: String,
    clock: RealClock,
    logs: Logs,
}

impl Plane {
    fn assemble(self, limits: &ControlLimits, pace: Pace) -> (Arc<App>, Driver) {
        let dumps = Dumps::new(self.dumper, &self.metrics);
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let lane = self.ports.requests_out[0].as_ref();
        let lane = lane.expect("invariant: a lane to each shard");
        let part_bytes = lane.max_body() - driver::QUERY_TICKET_BYTES;
        let shards = self.shard_failed.len();
        let cores = Cores::new(commands, shards, limits.cores, part_bytes);
        let driver = Driver::new(DriverSetup {
            ports: self.ports,
            commands: inbox,
            pipeline: Arc::clone(&self.pipeline),
            shard_failed: Arc::clone(&self.shard_failed),
            clock: self.clock,
            anonymous: ProducerId::of_name(&format!("http:{}", self.producer_seed)).0,
            pace,
        });
        let app = App {
            cores,
            pipeline: self.pipeline,
            facts: self.facts,
            metrics: self.metrics,
            data_dir: self.data_dir,
            shard_failed: self.shard_failed,
            disk_full: self.disk_full,
            draining: AtomicBool::new(false),
            limits: limits.http.clone(),
            dumps,
            producers: Default::default(),
            logs: self.logs,
            correcting: Default::default(),
            rows: Default::default(),
        };
        (Arc::new(app), driver)
    }
}

/// The routes of a simulated engine, without a socket: they answer while its cores get their turns.
/// Must be called within a runtime, which the owner of the lanes runs on.
pub fn routes(
    engine: &SimulatedEngine,
    pipeline: &Arc<Pipeline>,
    ports: Ports,
) -> (axum::Router, LogReads) {
    let (logs, requests) = Logs::new(engine.layout.clone());
    let plane = Plane {
        pipeline: Arc::clone(pipeline),
        ports,
        metrics: engine.metrics.clone(),
        dumper: None,
        data_dir: PathBuf::from(simulated::DIR),
        facts: ServeFacts::simulated(engine.shards()),
        shard_failed: Arc::clone(&engine.failed),
        disk_full: Arc::clone(&engine.disk_full),
        producer_seed: format!("simulated:{}", engine.incarnation),
        clock: RealClock::new(),
        logs,
    };
    // Waits are measured by the real clock, which has no part in a simulation.
    let ever = Duration::from_secs(86_400);
    let mut limits = ControlLimits {
        cores: CoreTimeouts {
            publish: ever,
            query: ever,
        },
        ..ControlLimits::default()
    };
    limits.http.body.piece_timeout = ever;
    limits.http.body.body_timeout = ever;
    let (app, driver) = plane.assemble(&limits, Pace::Turns);
    tokio::spawn(driver.run());
    (http::router(app), LogReads { requests })
}

/// Requests of the routes of a simulated engine to read its logs, which have to be served.
pub struct LogReads {
    requests: mpsc::Receiver<LogRequest>,
}

impl LogReads {
    /// Serves what waits from a disk of the simulation; true if there was anything.
    pub fn serve<D: Disk>(&mut self, disk: &mut D) -> bool {
        let mut any = false;
        while let Ok(request) = self.requests.try_recv() {
            request.serve(disk);
            any = true;
        }
        any
    }
}

/// Serves requests to read the logs, each on a thread that may wait for the disk.
async fn read_logs(mut requests: mpsc::Receiver<LogRequest>) {
    while let Some(request) = requests.recv().await {
        let read = move || request.serve(&mut PosixDisk::new());
        // A reader that panicked has told so by not answering.
        let _ = tokio::task::spawn_blocking(read).await;
    }
}

async fn serve(
    options: ControlOptions,
    up: std::sync::mpsc::Sender<()>,
) -> Result<(), ControlError> {
    let (shutdown, limits) = (options.shutdown.clone(), options.limits.clone());
    let mut signals = if limits.signals {
        Signals::install().map_err(ControlError::Start)?
    } else {
        Signals::ignored()
    };
    options
        .http
        .set_nonblocking(true)
        .map_err(ControlError::Start)?;
    let listener = tokio::net::TcpListener::from_std(options.http).map_err(ControlError::Start)?;
    let (logs, requests) = options.store.map(Logs::new).unzip();
    requests.map(|requests| tokio::spawn(read_logs(requests)));
    let plane = Plane {
        pipeline: options.pipeline,
        ports: options.ports,
        metrics: options.metrics,
        dumper: options.dumper,
        data_dir: options.data_dir,
        facts: options.facts,
        shard_failed: options.shard_failed,
        disk_full: options.disk_full,
        producer_seed: options.producer_seed,
        clock: options.clock,
        logs: logs.unwrap_or_default(),
    };
    let (app, driver) = plane.assemble(&limits, Pace::Moments);
    let dumps = app.dumps.clone();
    let mut driver = tokio::spawn(driver.run());
    let (stop, stopping) = watch::channel(false);
    let listener = GuardedListener::new(listener, limits.http.connection.clone());
    let server = axum::serve(listener, http::router(Arc::clone(&app)))
        .with_graceful_shutdown(until_set(stopping));
    let mut server = tokio::spawn(server.into_future());
    // The starter waits, unless it has gone.
    let _ = up.send(());

    let result = tokio::select! {
        () = wait_for_stop(&shutdown, &mut signals, &dumps, limits.dump_interval) => Ok(()),
        ended = &mut server => Err(ControlError::Http(match ended {
            Ok(Ok(())) => io::Error::other("it ended by itself"),
            Ok(Err(error)) => error,
            Err(error) => io::Error::other(error),
        })),
        ended = &mut driver => Err(match ended {
            Ok(()) => ControlError::Http(io::Error::other("its lanes were closed")),
            Err(error) => ControlError::Driver(error),
        }),
    };
    // Ordering: a flag that only ever rises; nothing is read on the strength of it.
    app.draining.store(true, Ordering::Relaxed);
    let _ = stop.send(true);
    if result.is_ok() {
        drain(&mut server, &mut signals, limits.drain_timeout).await;
    }
    shutdown.request();
    wait_for_cores(&shutdown, limits.stop_timeout).await;
    dumps.finish().await;
    result
}

async fn until_set(mut flag: watch::Receiver<bool>) {
    // The sender lives until the end of `serve`.
    let _ = flag.wait_for(|set| *set).await;
}

/// Runs until something asks for the end; dumps meanwhile.
async fn wait_for_stop(
    shutdown: &ShutdownHandle,
    signals: &mut Signals,
    dumps: &Dumps,
    dump_interval: Duration,
) {
    let mut watch = tokio::time::interval(WATCH_TICK);
    watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut dump = tokio::time::interval_at(Instant::now() + dump_interval, dump_interval);
    dump.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = watch.tick() => {
                if shutdown.is_requested() {
                    return;
                }
            }
            asked = signals.next() => match asked {
                Asked::Stop => return,
                Asked::Dump => dumps.start(),
            },
            _ = dump.tick() => dumps.start(),
        }
    }
}

/// Requests under way finish, unless that takes too long or a second signal is in a hurry.
async fn drain<T>(
    server: &mut tokio::task::JoinHandle<T>,
    signals: &mut Signals,
    timeout: Duration,
) {
    let deadline = tokio::time::sleep(timeout);
    tokio::pin!(deadline);
    loop {
        tokio::select! {
            _ = &mut *server => return,
            () = &mut deadline => return,
            asked = signals.next() => {
                if asked == Asked::Stop {
                    return;
                }
            }
        }
    }
}

async fn wait_for_cores(shutdown: &ShutdownHandle, timeout: Duration) {
    let deadline = Instant::now() + timeout;
    while !shutdown.is_stopped() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
