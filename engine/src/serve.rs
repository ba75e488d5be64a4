//! `ringmill serve`: open the store, recover every shard, run until told to stop.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringmill_shard::pipeline::Pipeline;
use ringmill_storage::probe::{
    Backend as ProbeBackend, PROBE_BUDGET, PROBE_SPIN, ProbeOptions, ProbeReport, load_or_probe,
};
use ringmill_storage::ring::Ring;

use crate::background::{Background, BackgroundOptions, segment_lane};
use crate::cli::{Backend, EXIT_FAILED, EXIT_OK, EXIT_USAGE, ServeArgs};
use crate::clock::{Clock, RealClock};
use crate::control::{self, ControlLimits, ControlOptions, ServeFacts, ShutdownHandle};
use crate::core_loop::ShardFlags;
use crate::dump::{Dumper, HostInfo, RunInfo};
use crate::mesh::{MeshOptions, Ports, mesh};
use crate::metrics::CoreMetrics;
use crate::placement;
use crate::say;
use crate::stored;
use crate::wake::Waker;

mod error;
mod pipeline;
mod shard;
mod store;

use error::ServeError;
use shard::{Recovered, ShardPlan};
use store::Store;

/// New events are refused when less than this share of the filesystem, or less than two segments
/// per shard, is free.
const FREE_SHARE_MIN: u64 = 50;

/// Runs the command; returns the exit code.
pub fn run(args: &ServeArgs) -> i32 {
    let started = Instant::now();
    match start(args, started) {
        Ok(()) => EXIT_OK,
        Err(error) => {
            say!("ringmill: {error}");
            if error.is_usage() {
                EXIT_USAGE
            } else {
                EXIT_FAILED
            }
        }
    }
}

/// Where the shards run: a CPU each, or unpinned.
fn shard_cpus(args: &ServeArgs) -> Result<Vec<Option<usize>>, ServeError> {
    let allowed = placement::allowed_cpus();
    if !args.cpus.is_empty() {
        let mut seen = Vec::new();
        for &cpu in &args.cpus {
            if !allowed.contains(&cpu) {
                return Err(ServeError::CpuNotAllowed { cpu, allowed });
            }
            if seen.contains(&cpu) {
                return Err(ServeError::CpuTwice { cpu });
            }
            seen.push(cpu);
        }
        return Ok(args.cpus.iter().copied().map(Some).collect());
    }
    let shards = args.shards.unwrap_or(1);
    if !(1..=256).contains(&shards) {
        return Err(ServeError::ShardCount { shards });
    }
    Ok(vec![None; shards])
}

fn check_address(
    name: &'static str,
    address: SocketAddr,
    args: &ServeArgs,
) -> Result<(), ServeError> {
    if address.ip().is_loopback() || args.allow_remote {
        return Ok(());
    }
    Err(ServeError::RemoteAddress { name, address })
}

fn listen(name: &'static str, address: SocketAddr) -> Result<TcpListener, ServeError> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|source| ServeError::Listen {
        name,
        address,
        source,
    })
}

fn start(args: &ServeArgs, started: Instant) -> Result<(), ServeError> {
    check_address("--listen", args.listen, args)?;
    check_address("--http", args.http, args)?;
    let cpus = shard_cpus(args)?;
    let served = pipeline::choose(args)?;
    let pipeline = Arc::new(served.pipeline);
    raise_limits();
    if args.backend == Backend::Uring {
        // Where io_uring cannot be had, that is said before anything is made or started.
        drop(Ring::new(&shard::ring_options(None))?);
    }
    let mut store = store::open(args, cpus.len(), &pipeline)?;
    stored::keep(&args.data, &served.text, &served.schemas)?;
    let listener = listen("--listen", args.listen)?;
    let http = listen("--http", args.http)?;
    let probe = probe(args, &cpus)?;
    let mut engine = Engine::spawn(args, &pipeline, &store, &cpus, &probe, listener)?;
    let recovered = engine.wait_recovered()?;
    store.note_logs_exist()?;
    let http_address = http.local_addr().map_err(ServeError::Address)?;
    let shutdown = engine.shutdown_handle();
    let facts = facts(args, &cpus, &probe, &engine, recovered, started);
    let run_info = run_info(&facts, &cpus, &probe);
    // Latency dumps are no reason not to serve: a full disk is still read.
    let dumper = Dumper::new(&args.data.join("dumps"), HostInfo::gather(), run_info)
        .inspect_err(|error| say!("ringmill: {error}; there are no dumps in this run"))
        .ok();
    let control = control::run(ControlOptions {
        http,
        pipeline,
        ports: engine.control_ports.take().expect("invariant: taken once"),
        metrics: engine.metrics.clone(),
        dumper,
        data_dir: args.data.clone(),
        facts,
        shutdown: shutdown.clone(),
        shard_failed: Arc::clone(&engine.failed),
        disk_full: Arc::clone(&engine.disk_full),
        producer_seed: format!("{:x}-{:x}", store.store_id as u64, store.incarnation),
        clock: engine.clock.clone(),
        store: Some(store.layout.clone()),
        limits: ControlLimits::default(),
    });
    // Whoever started the server may have closed its output; clients are served all the same.
    say::print(&format!(
        "ready listen={} http={http_address} shards={} backend={} sync={} recovered={} \
         recovery_ms={}\n",
        engine.listen,
        cpus.len(),
        args.backend.name(),
        probe.chosen.name(probe.backend),
        recovered.events,
        recovered.recovery_ms,
    ));
    say!(
        "started in {} ms; stop with SIGTERM or Ctrl-C",
        started.elapsed().as_millis()
    );
    engine.join_shards();
    shutdown.mark_stopped();
    match control.join() {
        Ok(result) => result.map_err(ServeError::Control),
        Err(_) => Err(ServeError::ControlPanic),
    }
}

fn facts(
    args: &ServeArgs,
    cpus: &[Option<usize>],
    probe: &ProbeReport,
    engine: &Engine,
    recovered: Recovered,
    started: Instant,
) -> ServeFacts {
    ServeFacts {
        shards: cpus.len(),
        backend: args.backend.name().to_owned(),
        sync_way: probe.chosen.name(probe.backend).to_owned(),
        listen: engine.listen.to_string(),
        cpus: cpus.iter().flatten().copied().collect(),
        spin: args.spin.to_string(),
        floor: args.floor.map(|floor| floor.name().to_owned()),
        durability: args.durability.map(|level| level.to_string()),
        recovered_events: recovered.events,
        recovery_ms: recovered.recovery_ms,
        started_wall_ns: engine.clock.wall_ns(),
        disk_needed_bytes: engine.free_bytes_min,
        started,
    }
}

fn run_info(facts: &ServeFacts, cpus: &[Option<usize>], probe: &ProbeReport) -> RunInfo {
    let chosen = probe.chosen_latency();
    RunInfo {
        backend: facts.backend.clone(),
        sync_way: Some(facts.sync_way.clone()),
        sync_p50_ns: chosen.map(|way| way.p50_ns),
        sync_p99_ns: chosen.map(|way| way.p99_ns),
        shards: facts.shards,
        cpus: cpus.to_vec(),
        spin: facts.spin.clone(),
        durability: facts
            .durability
            .clone()
            .unwrap_or_else(|| "by stream".to_owned()),
        floor: facts.floor.clone(),
    }
}

fn probe(args: &ServeArgs, cpus: &[Option<usize>]) -> Result<ProbeReport, ServeError> {
    let backend = match args.backend {
        Backend::Uring => ProbeBackend::Uring,
        Backend::Posix => {
            say!("backend posix: works without io_uring, at several times the latency");
            ProbeBackend::Posix
        }
    };
    let outcome = load_or_probe(&ProbeOptions {
        dir: args.data.clone(),
        backend,
        cpu: cpus[0],
        busy_cpus: placement::allowed_cpus(),
        budget: PROBE_BUDGET,
        spin: PROBE_SPIN,
    })
    .map_err(ServeError::Probe)?;
    let report = outcome.report;
    let because = outcome.measured_because.map_or_else(
        || "from the stored verdict".to_owned(),
        |because| format!("measured: {because}"),
    );
    say!(
        "flush by {} ({because})",
        report.chosen.name(report.backend)
    );
    for way in &report.ways {
        say!(
            "  {:<16} p50 {} us  p99 {} us  ({} frames)",
            way.way.name(report.backend),
            way.p50_ns / 1000,
            way.p99_ns / 1000,
            way.samples
        );
    }
    Ok(report)
}

/// Raises the soft limits of open files and locked memory to the hard ones. Best effort: what is
/// too little is diagnosed where it is needed.
fn raise_limits() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    for resource in [Resource::Nofile, Resource::Memlock] {
        let limit = getrlimit(resource);
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        // Refused only if another thread lowered the hard limit meanwhile.
        let _ = setrlimit(resource, raised);
    }
}

/// The running shards and the background plane.
struct Engine {
    threads: Vec<JoinHandle<()>>,
    wakers: Vec<Waker>,
    stop: Arc<AtomicBool>,
    background: Option<Background>,
    free_bytes_min: u64,
    recovered: mpsc::Receiver<Result<Recovered, ServeError>>,
    control_ports: Option<Ports>,
    metrics: Vec<Arc<CoreMetrics>>,
    failed: Arc<[AtomicBool]>,
    disk_full: Arc<AtomicBool>,
    clock: RealClock,
    listen: SocketAddr,
}

impl Engine {
    fn spawn(
        args: &ServeArgs,
        pipeline: &Arc<Pipeline>,
        store: &Store,
        cpus: &[Option<usize>],
        probe: &ProbeReport,
        listener: TcpListener,
    ) -> Result<Engine, ServeError> {
        let listen = listener.local_addr().map_err(ServeError::Address)?;
        let shards = cpus.len();
        let options = MeshOptions::default().fitted(shards);
        let mut ports = mesh(shards, &options).map_err(ServeError::Mesh)?;
        let control_ports = ports.pop();
        let (recovered_in, recovered) = mpsc::channel();
        let mut engine = Engine {
            threads: Vec::new(),
            wakers: ports.iter().map(Ports::waker).collect(),
            stop: Arc::new(AtomicBool::new(false)),
            background: None,
            free_bytes_min: free_bytes_min(args, store, shards),
            recovered,
            control_ports,
            metrics: (0..shards).map(|_| CoreMetrics::new()).collect(),
            failed: (0..shards).map(|_| AtomicBool::new(false)).collect(),
            disk_full: Arc::new(AtomicBool::new(false)),
            // The first clock of the process calibrates the counter; all share it.
            clock: RealClock::new(),
            listen,
        };
        let mut desks = Vec::new();
        let mut listener = Some(listener);
        for (shard, ports) in ports.into_iter().enumerate() {
            let (port, desk) = segment_lane(&store.log_dir(shard), store.segment_bytes);
            desks.push(desk);
            let plan = ShardPlan {
                shard,
                cpu: cpus[shard],
                backend: args.backend,
                sync: probe.chosen,
                spin: args.spin.0,
                frame_timeout: args.frame_timeout,
                floor: args.floor.map(Into::into),
                pipeline: Arc::clone(pipeline),
                store: store.layout.clone(),
                segment_bytes: store.segment_bytes,
                ports,
                segments: port,
                flags: ShardFlags::new(
                    Arc::clone(&engine.failed),
                    shard,
                    Arc::clone(&engine.disk_full),
                ),
                metrics: Arc::clone(&engine.metrics[shard]),
                clock: engine.clock.clone(),
                listener: listener.take().filter(|_| shard == 0),
                stop: Arc::clone(&engine.stop),
            };
            let thread = shard::spawn(plan, recovered_in.clone()).map_err(ServeError::Thread)?;
            engine.threads.push(thread);
        }
        let pinned: Vec<usize> = cpus.iter().flatten().copied().collect();
        let options = BackgroundOptions {
            desks,
            disk_full: Arc::clone(&engine.disk_full),
            segment_bytes: store.segment_bytes,
            data_dir: args.data.clone(),
            free_bytes_min: engine.free_bytes_min,
            cpus: placement::background_cpus(&placement::allowed_cpus(), &pinned),
            uring: args.backend == Backend::Uring,
        };
        engine.background = Some(Background::start(options).map_err(ServeError::Thread)?);
        Ok(engine)
    }

    /// What ends the shards, from whatever thread asks for it.
    fn shutdown_handle(&self) -> ShutdownHandle {
        let (stop, wakers) = (Arc::clone(&self.stop), self.wakers.clone());
        ShutdownHandle::new(move || {
            // Ordering: Release, as good a place as any: the flag carries no data.
            stop.store(true, Ordering::Release);
            for waker in &wakers {
                waker.wake();
            }
        })
    }

    /// Waits until every shard has recovered, with a word now and then if that takes long.
    fn wait_recovered(&mut self) -> Result<Recovered, ServeError> {
        let mut whole = Recovered::default();
        let mut missing = self.threads.len();
        let begun = Instant::now();
        while missing > 0 {
            match self.recovered.recv_timeout(Duration::from_secs(2)) {
                Ok(Ok(one)) => {
                    missing -= 1;
                    whole.events += one.events;
                    whole.recovery_ms = whole.recovery_ms.max(one.recovery_ms);
                }
                Ok(Err(error)) => {
                    self.stop.store(true, Ordering::Release);
                    for waker in &self.wakers {
                        waker.wake();
                    }
                    self.join_shards();
                    return Err(error);
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    let seconds = begun.elapsed().as_secs();
                    say!("recovering: {missing} shards to go after {seconds} s");
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(ServeError::ShardGone),
            }
        }
        Ok(whole)
    }

    /// Waits until the shards have stopped, each after what it has taken in is safe, then ends
    /// the background plane.
    fn join_shards(&mut self) {
        for thread in self.threads.drain(..) {
            // A shard that panics aborts the process, so a join always succeeds.
            let _ = thread.join();
        }
        if let Some(background) = self.background.take() {
            background.stop();
        }
    }
}

fn free_bytes_min(args: &ServeArgs, store: &Store, shards: usize) -> u64 {
    let segments = 2 * shards as u64 * store.segment_bytes;
    let share = rustix::fs::statvfs(&args.data)
        .map_or(0, |facts| facts.f_blocks * facts.f_frsize / FREE_SHARE_MIN);
    // A small disk is not refused for its size: two segments per shard are enough to go on.
    segments.max(share.min(16 * segments))
}
