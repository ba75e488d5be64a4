//! One run: connect, start the threads, collect their intervals, judge.

mod collect;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use ringmill_shard::wire::{HelloAck, StreamInfo};

use crate::acks::AckLog;
use crate::clock::RunClock;
use crate::connection::{Connection, ConnectionPlan};
use crate::error::LoadError;
use crate::greet::{Greeting, greet, pick_stream};
use crate::host::HostFacts;
use crate::keys::Keys;
use crate::offer::Staging;
use crate::plan::RunPlan;
use crate::progress::Live;
use crate::recorder::{Recorder, Sparse};
use crate::rows::RowPlan;
use crate::schedule::Schedule;
use crate::tally::{Counts, IntervalSet, Phase};
use crate::units::Rate;
use crate::worker::{Load, Progress, Times, Worker, WorkerEnd, WorkerPlan};
use collect::Collector;

/// Interval sets that travel between a thread and the collector.
const SETS_PER_THREAD: usize = 4;
/// From the moment all threads are ready to the first event.
const LEAD: Duration = Duration::from_millis(20);

/// One interval over all threads.
#[derive(Clone, Debug, Default)]
pub struct IntervalRow {
    /// When it began, in ns since the origin of the run.
    pub from_ns: u64,
    /// When it ended.
    pub to_ns: u64,
    /// Which part of the run it belongs to.
    pub phase: Phase,
    /// The counts.
    pub counts: Counts,
    /// Unacknowledged events at its end.
    pub in_flight: u64,
    /// Acknowledgement minus intended time, in ns.
    pub response: Sparse,
    /// Acknowledgement minus actual send, in ns.
    pub service: Sparse,
    /// Actual send minus intended time, in ns.
    pub send_lag: Sparse,
}

/// What became of one producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerEnd {
    /// Its durable name.
    pub name: String,
    /// First sequence of this run.
    pub first: u64,
    /// Highest acknowledged sequence.
    pub acked: u64,
}

/// What the server said about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    /// Number of shards.
    pub shards: u16,
    /// Stream that was loaded.
    pub stream: String,
    /// What its acknowledgements promise.
    pub level: &'static str,
    /// Bytes of a row.
    pub row_bytes: usize,
}

/// The result of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was asked for.
    pub plan: RunPlan,
    /// Names the run.
    pub run_id: String,
    /// When load began.
    pub started: SystemTime,
    /// The machine.
    pub host: HostFacts,
    /// The server.
    pub server: ServerFacts,
    /// Share of CPU time that the hypervisor took.
    pub steal: Option<f64>,
    /// Time that the control group was throttled for, in ns.
    pub throttled_ns: Option<u64>,
    /// Share of its time that the worst thread waited for a CPU.
    pub run_queue_share: Option<f64>,
    /// Share of its time that the busiest thread was on a CPU.
    pub cpu_share: Option<f64>,
    /// All intervals in order.
    pub intervals: Vec<IntervalRow>,
    /// Acknowledgement minus intended time of all measured events, in ns.
    pub response: Recorder,
    /// Acknowledgement minus actual send.
    pub service: Recorder,
    /// Actual send minus intended time.
    pub send_lag: Recorder,
    /// Actual send minus the moment at which the frame was due.
    pub pacing_lag: Recorder,
    /// Counts of the measured part and of what it left behind.
    pub counts: Counts,
    /// Events acknowledged during the measured part.
    pub acked_in_window: u64,
    /// Length of the measured part, in ns.
    pub measured_ns: u64,
    /// The producers.
    pub producers: Vec<ProducerEnd>,
    /// What went wrong with connections, in words.
    pub faults: Vec<String>,
    /// Why the run broke off, if it did.
    pub failure: Option<String>,
    /// Whether it was asked to stop.
    pub interrupted: bool,
}

impl Outcome {
    /// The intervals that are measured.
    pub fn measured(&self) -> impl Iterator<Item = &IntervalRow> {
        self.intervals
            .iter()
            .filter(|row| row.phase == Phase::Measured)
    }

    /// Measured events per second that were due.
    pub fn offered_per_s(&self) -> f64 {
        per_second(self.counts.offered, self.measured_ns)
    }

    /// Events per second that were acknowledged while it was measured.
    pub fn acked_per_s(&self) -> f64 {
        per_second(self.acked_in_window, self.measured_ns)
    }

    /// Measured events that were acknowledged, late ones included.
    pub fn acked_events(&self) -> u64 {
        self.service.count()
    }

    /// Share of the offered rate that was acknowledged.
    pub fn achieved_share(&self) -> f64 {
        (self.acked_in_window as f64 / self.counts.offered.max(1) as f64).min(1.0)
    }

    /// Share of the time that the threads worked rather than waited.
    pub fn busy_share(&self) -> f64 {
        let busy_ns: u64 = self.measured().map(|row| row.counts.busy_ns).sum();
        busy_ns as f64 / (self.measured_ns * self.plan.threads).max(1) as f64
    }

    /// Jain's index over the events of each connection: 1 if all got the same.
    pub fn fairness(&self) -> f64 {
        let shares: Vec<f64> = self
            .producers
            .iter()
            .map(|p| (p.acked + 1 - p.first) as f64)
            .collect();
        let sum: f64 = shares.iter().sum();
        let squares: f64 = shares.iter().map(|share| share * share).sum();
        if squares == 0.0 {
            1.0
        } else {
            sum * sum / squares / shares.len() as f64
        }
    }
}

fn per_second(events: u64, ns: u64) -> f64 {
    if ns == 0 {
        0.0
    } else {
        events as f64 * 1e9 / ns as f64
    }
}

/// Runs `plan`. `stop` ends it early; `live` is told about every interval.
pub fn execute(
    plan: &RunPlan,
    live: &mut dyn Live,
    stop: &Arc<AtomicBool>,
) -> Result<Outcome, LoadError> {
    check_cpus(&plan.cpus)?;
    let run_id = new_run_id();
    let keys = Keys::new(plan.key_dist, plan.keys).map_err(LoadError::Settings)?;
    let prefix = plan
        .producer
        .clone()
        .unwrap_or_else(|| format!("loadgen-{run_id}"));
    let names: Vec<String> = (0..plan.connections)
        .map(|index| format!("{prefix}-{index}"))
        .collect();
    let greetings: Vec<Greeting> = names
        .iter()
        .map(|name| greet(&plan.addr, name, plan.timeout))
        .collect::<Result<_, _>>()?;
    let ack = greetings[0].ack.clone();
    let stream = pick_stream(&ack, plan.stream.as_deref())?.clone();
    check_batch(plan, &ack, &stream)?;
    let rows = Arc::new(RowPlan::new(stream.schema.clone(), stream.key, keys));
    let progress: Vec<Arc<Progress>> = names.iter().map(|_| Arc::default()).collect();
    let acks = match &plan.acks {
        Some(dir) => {
            let firsts = greetings
                .iter()
                .map(|greeting| greeting.ack.highest_seen + 1);
            let producers = names.iter().cloned().zip(firsts).collect();
            Some(AckLog::create(dir, &run_id, plan, &stream.name, producers)?)
        }
        None => None,
    };

    let clock = RunClock::start();
    let mut threads = Threads::prepare(plan, &clock, &rows, &stream, &names, greetings)?;
    let lead_ns = clock.now_ns() + LEAD.as_nanos() as u64;
    let times = Times {
        start_ns: lead_ns,
        measure_from_ns: lead_ns + plan.warmup.as_nanos() as u64,
        end_ns: lead_ns + (plan.warmup + plan.duration).as_nanos() as u64,
        interval_ns: plan.interval.as_nanos() as u64,
        drain_ns: plan.timeout.as_nanos() as u64,
    };
    threads.start(plan, &clock, times, &rows, &progress, stop)?;
    let server = ServerFacts {
        shards: ack.shards,
        stream: stream.name.clone(),
        level: stream.level.name(),
        row_bytes: stream.schema.row_len(),
    };
    let mut collector = Collector::new(plan.threads as usize, times, acks, progress);
    collector.run(&threads.finished, &threads.spares, live)?;
    let ends = threads.join()?;
    Ok(collector.outcome(plan, run_id, server, &clock, ends, stop))
}

/// Distinct for every run of a machine: its start in ns and its process.
fn new_run_id() -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let bits = now.as_nanos() as u64 ^ (u64::from(std::process::id()) << 48);
    format!("{:016x}", crate::rng::mix(bits))
}

/// A CPU that cannot be had is an error of usage, found before anything connects.
fn check_cpus(cpus: &[usize]) -> Result<(), LoadError> {
    let allowed: Vec<usize> = core_affinity::get_core_ids()
        .unwrap_or_default()
        .iter()
        .map(|core| core.id)
        .collect();
    match cpus.iter().find(|cpu| !allowed.contains(cpu)) {
        Some(cpu) => Err(LoadError::Settings(format!(
            "CPU {cpu} may not be used by this process; it may use {allowed:?}"
        ))),
        None => Ok(()),
    }
}

fn check_batch(plan: &RunPlan, ack: &HelloAck, stream: &StreamInfo) -> Result<(), LoadError> {
    let row_bytes = stream.schema.row_len();
    let bytes_max = ack.frame_payload_bytes_max as usize;
    let most = bytes_max.saturating_sub(ringmill_shard::limits::PUBLISH_PREFIX_BYTES) / row_bytes;
    if plan.batch as usize > most {
        let batch = plan.batch;
        return Err(LoadError::BatchTooLarge {
            batch,
            row_bytes,
            bytes_max,
            most,
        });
    }
    Ok(())
}

/// The threads of a run and the channels to them.
struct Threads {
    /// Connections of each thread, until it starts.
    waiting: Vec<Vec<(usize, Connection, Greeting)>>,
    finished: Receiver<(usize, Box<IntervalSet>)>,
    sender: Option<SyncSender<(usize, Box<IntervalSet>)>>,
    spares: Vec<SyncSender<Box<IntervalSet>>>,
    handles: Vec<JoinHandle<WorkerEnd>>,
}

impl Threads {
    /// Builds all connections: this touches their memory, before the clock matters.
    fn prepare(
        plan: &RunPlan,
        _clock: &RunClock,
        rows: &Arc<RowPlan>,
        stream: &StreamInfo,
        names: &[String],
        greetings: Vec<Greeting>,
    ) -> Result<Threads, LoadError> {
        let threads = plan.threads as usize;
        let mut waiting: Vec<Vec<_>> = (0..threads).map(|_| Vec::new()).collect();
        for (index, (greeting, name)) in greetings.into_iter().zip(names).enumerate() {
            let frames_max = plan
                .inflight
                .min(u64::from(greeting.ack.inflight_frames_max.max(1)));
            let connection = ConnectionPlan {
                name: name.clone(),
                index,
                seed: plan.seed,
                stream: stream.index,
                batch: plan.batch as usize,
                frames_max: frames_max as usize,
                per_event: plan.rate != Rate::Max,
            };
            let connection = Connection::new(connection, rows, greeting.ack.highest_seen);
            waiting[index % threads].push((index, connection, greeting));
        }
        // Room for every set there is, so that a thread never finds the channel full.
        let (sender, finished) = sync_channel(threads * (SETS_PER_THREAD + 4));
        Ok(Threads {
            waiting,
            finished,
            sender: Some(sender),
            spares: Vec::new(),
            handles: vec![],
        })
    }

    fn start(
        &mut self,
        plan: &RunPlan,
        clock: &RunClock,
        times: Times,
        rows: &Arc<RowPlan>,
        progress: &[Arc<Progress>],
        stop: &Arc<AtomicBool>,
    ) -> Result<(), LoadError> {
        let sender = self.sender.take().expect("invariant: started once");
        for (thread, waiting) in std::mem::take(&mut self.waiting).into_iter().enumerate() {
            let (spare_sender, spare) = sync_channel(SETS_PER_THREAD + 4);
            for _ in 0..SETS_PER_THREAD {
                let _ = spare_sender.try_send(Box::default());
            }
            self.spares.push(spare_sender);
            let worker_plan = WorkerPlan {
                clock: *clock,
                times,
                rows: rows.clone(),
                load: load_of(plan, thread as u64, times),
                pacing: plan.pacing,
                cpu: plan.cpus.get(thread).copied(),
                reconnect_to: plan.reconnect.then(|| plan.addr.clone()),
                stop: stop.clone(),
                thread,
                finished: sender.clone(),
                spare,
                progress: waiting
                    .iter()
                    .map(|(index, ..)| progress[*index].clone())
                    .collect(),
            };
            let mut connections = Vec::new();
            let mut greetings = Vec::new();
            for (_, connection, greeting) in waiting {
                connections.push(connection);
                greetings.push(greeting);
            }
            let mut worker = Worker::new(worker_plan, connections)?;
            for (which, greeting) in greetings.into_iter().enumerate() {
                worker
                    .adopt(which, greeting, times.start_ns)
                    .map_err(|lost| match lost {
                        crate::connection::Lost::Broken(text)
                        | crate::connection::Lost::ForGood(text) => LoadError::Failed(text),
                    })?;
            }
            let handle = std::thread::Builder::new()
                .name(format!("load-{thread}"))
                .spawn(move || worker.run())
                .map_err(LoadError::system("start a thread"))?;
            self.handles.push(handle);
        }
        Ok(())
    }

    fn join(self) -> Result<Vec<WorkerEnd>, LoadError> {
        drop(self.spares);
        self.handles
            .into_iter()
            .map(|handle| {
                handle
                    .join()
                    .map_err(|_| LoadError::Failed("a thread panicked".to_owned()))
            })
            .collect()
    }
}

/// The share of `total` that thread `index` of `count` takes; the shares add up to `total`.
fn share(total: u64, index: u64, count: u64) -> u64 {
    total / count + u64::from(index < total % count)
}

fn load_of(plan: &RunPlan, thread: u64, times: Times) -> Load {
    let events = plan
        .events
        .map_or(u64::MAX, |total| share(total, thread, plan.threads));
    match plan.rate {
        Rate::Max => Load::Closed { left: events },
        Rate::PerSecond(rate) => {
            let rate = rate / plan.threads as f64;
            let schedule = Schedule::new(plan.arrival, rate, times.start_ns, plan.seed, thread);
            Load::Open(Staging::new(
                schedule,
                plan.batch as usize,
                times.end_ns,
                events,
            ))
        }
    }
}
