//! The effective options of one run: what the command line says, with every default filled in.

use std::path::PathBuf;
use std::time::Duration;

use crate::args::{LoadArgs, Mode, Pacing, RunArgs, Switch};
use crate::error::LoadError;
use crate::keys::KeyDist;
use crate::schedule::Arrival;
use crate::units::{Rate, short_duration};
use crate::verdict::Limits;

/// In-flight frames per connection where acknowledgements set the pace.
const INFLIGHT_CLOSED: u64 = 64;
/// In-flight frames per connection where a schedule does.
const INFLIGHT_OPEN: u64 = 1024;

/// Everything that decides what a run does.
#[derive(Clone, Debug, PartialEq)]
pub struct RunPlan {
    /// Server address.
    pub addr: String,
    /// Stream, or the server's first.
    pub stream: Option<String>,
    /// Load.
    pub rate: Rate,
    /// Gaps.
    pub arrival: Arrival,
    /// Events per frame.
    pub batch: u64,
    /// Connections over all threads.
    pub connections: u64,
    /// Unacknowledged frames per connection.
    pub inflight: u64,
    /// Number of keys.
    pub keys: u64,
    /// Their distribution.
    pub key_dist: KeyDist,
    /// Threads.
    pub threads: u64,
    /// One CPU per thread; empty if nothing is pinned.
    pub cpus: Vec<usize>,
    /// Seed.
    pub seed: u64,
    /// How threads wait.
    pub pacing: Pacing,
    /// First part of the producer names, if it was chosen.
    pub producer: Option<String>,
    /// Whether lost connections are made again.
    pub reconnect: bool,
    /// For connections, and for acknowledgements at the end.
    pub timeout: Duration,
    /// Measured time.
    pub duration: Duration,
    /// Discarded time before it.
    pub warmup: Duration,
    /// Length of an interval.
    pub interval: Duration,
    /// Most events.
    pub events: Option<u64>,
    /// Where ack logs go.
    pub acks: Option<PathBuf>,
    /// When a measurement is valid.
    pub limits: Limits,
}

impl RunPlan {
    /// Fills in what `run` was not told; contradictions are errors of usage.
    pub fn of_run(args: &RunArgs) -> Result<RunPlan, LoadError> {
        let rate = match (args.mode, args.rate) {
            (Some(Mode::Open), Rate::Max) => {
                let text = "--mode open needs a number for -r; `max` is closed";
                return Err(LoadError::Settings(text.to_owned()));
            }
            (Some(Mode::Closed), Rate::PerSecond(_)) => {
                let text = "--mode closed goes with -r max: acknowledgements set the pace";
                return Err(LoadError::Settings(text.to_owned()));
            }
            (_, rate) => rate,
        };
        let mut plan = RunPlan::of_load(&args.load, rate, args.warmup, args.duration)?;
        plan.interval = args.interval;
        plan.events = args.events;
        plan.acks = args.acks.clone();
        Ok(plan)
    }

    /// A plan with intervals of a second and no files.
    pub fn of_load(
        args: &LoadArgs,
        rate: Rate,
        warmup: Duration,
        duration: Duration,
    ) -> Result<RunPlan, LoadError> {
        let threads = match (args.threads, args.cpus.len() as u64) {
            (Some(threads), 0) => threads,
            (None, 0) => 1,
            (None, cpus) => cpus,
            (Some(threads), cpus) if threads == cpus => threads,
            (Some(threads), cpus) => {
                let text = format!("{threads} threads for {cpus} CPUs; --cpus alone is enough");
                return Err(LoadError::Settings(text));
            }
        };
        if args.connections < threads {
            let text = format!(
                "{} connections cannot keep {threads} threads busy; raise --connections",
                args.connections
            );
            return Err(LoadError::Settings(text));
        }
        let default_inflight = if rate == Rate::Max {
            INFLIGHT_CLOSED
        } else {
            INFLIGHT_OPEN
        };
        Ok(RunPlan {
            addr: args.addr.clone(),
            stream: args.stream.clone(),
            rate,
            arrival: args.arrival,
            batch: args.batch,
            connections: args.connections,
            inflight: args.inflight.unwrap_or(default_inflight),
            keys: args.keys,
            key_dist: args.key_dist,
            threads,
            cpus: args.cpus.clone(),
            seed: args.seed,
            pacing: args.pacing,
            producer: args.producer.clone(),
            reconnect: args.reconnect == Switch::On,
            timeout: args.timeout,
            duration,
            warmup,
            interval: Duration::from_secs(1),
            events: None,
            acks: None,
            limits: args.limits.clone(),
        })
    }

    /// What the load is, in a few words.
    pub fn headline(&self) -> String {
        let arrival = match self.arrival {
            Arrival::Poisson => "poisson",
            Arrival::Constant => "constant",
        };
        match self.rate {
            Rate::PerSecond(_) => format!("open/{arrival} {}/s", self.rate),
            Rate::Max => format!(
                "CLOSED LOOP, {} frames in flight per connection: latency is that of a full window",
                self.inflight
            ),
        }
    }

    /// A command that repeats the run.
    pub fn command(&self) -> String {
        let mut text = format!(
            "loadgen run -a {} -r {} -d {} -w {} --batch {} -c {} --inflight {} --keys {} \
             --key-dist {} --seed {}",
            self.addr,
            exact_rate(self.rate),
            short_duration(self.duration),
            short_duration(self.warmup),
            self.batch,
            self.connections,
            self.inflight,
            self.keys,
            self.key_dist,
            self.seed,
        );
        if self.arrival == Arrival::Constant {
            text.push_str(" --arrival constant");
        }
        if let Some(stream) = &self.stream {
            text.push_str(&format!(" --stream {stream}"));
        }
        if let Some(events) = self.events {
            text.push_str(&format!(" -n {events}"));
        }
        if !self.cpus.is_empty() {
            let cpus: Vec<String> = self.cpus.iter().map(usize::to_string).collect();
            text.push_str(&format!(" --cpus {}", cpus.join(",")));
        } else if self.threads > 1 {
            text.push_str(&format!(" -t {}", self.threads));
        }
        match self.pacing {
            Pacing::Hybrid => {}
            Pacing::Spin => text.push_str(" --pacing spin"),
            Pacing::Sleep => text.push_str(" --pacing sleep"),
        }
        if self.limits != Limits::default() {
            text.push_str(&format!(" --limits {}", self.limits));
        }
        text
    }
}

fn exact_rate(rate: Rate) -> String {
    match rate {
        Rate::PerSecond(rate) => format!("{rate}"),
        Rate::Max => "max".to_owned(),
    }
}
