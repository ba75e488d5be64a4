//! The command line. Everything contradictory is refused before anything connects.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::keys::KeyDist;
use crate::schedule::Arrival;
use crate::slo::Slo;
use crate::units::{self, Rate};
use crate::verdict::Limits;

/// Load generator, verifier and comparer for ringmill.
///
/// Without a command it runs the default workload: `loadgen run`.
#[derive(Debug, Parser)]
#[command(
    name = "loadgen",
    version,
    about,
    max_term_width = 100,
    args_override_self = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Offer load and report latency, counted from when each event should have been sent.
    Run(RunArgs),
    /// Find the highest rate that meets the objective.
    Search(SearchArgs),
    /// Send the events of a file, in their order.
    Replay(ReplayArgs),
    /// Prove from ack logs that what was acknowledged is stored exactly once.
    Verify(VerifyArgs),
    /// Compare paired runs: live against two servers, or from JSON files.
    Compare(CompareArgs),
    /// Print runs again from their JSON files.
    Report(ReportArgs),
    /// Prove the generator itself against a built-in server with injected stalls.
    Selftest(SelftestArgs),
    /// Serve the wire protocol and store nothing: a floor for measurements on any machine.
    Echo(EchoArgs),
}

/// How a thread waits for the next send time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pacing {
    /// Sleep until shortly before the time, then spin.
    Hybrid,
    /// Spin all the time.
    Spin,
    /// Sleep until the time.
    Sleep,
}

/// Whether sends follow a schedule or the acknowledgements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// By a schedule that does not wait for the server.
    Open,
    /// By acknowledgements: a full in-flight window stops sending.
    Closed,
}

/// The form of results on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON document.
    Json,
    /// One header line and one line per run.
    Csv,
}

/// An on/off setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// Yes.
    On,
    /// No.
    Off,
}

/// What load to make; shared by `run`, `search` and live `compare`.
#[derive(Clone, Debug, Args)]
pub struct LoadArgs {
    /// Server address.
    #[arg(short = 'a', long = "addr", default_value = "127.0.0.1:7400")]
    pub addr: String,
    /// Stream to publish to; the server's first by default.
    #[arg(long)]
    pub stream: Option<String>,
    /// Gaps between events.
    #[arg(long, value_enum, default_value = "poisson")]
    pub arrival: Arrival,
    /// Events per frame; a frame leaves when its last event is due.
    #[arg(long, value_parser = parse_batch, default_value = "1")]
    pub batch: u64,
    /// Connections over all threads.
    #[arg(short = 'c', long, value_parser = units::parse_positive, default_value = "8")]
    pub connections: u64,
    /// Unacknowledged frames per connection; 64 with `-r max`, else 1024.
    #[arg(long, value_parser = units::parse_positive)]
    pub inflight: Option<u64>,
    /// Number of keys.
    #[arg(long, value_parser = units::parse_positive, default_value = "100k")]
    pub keys: u64,
    /// uniform, zipf:0.99, hotspot, hotspot:0.2:0.8, latest or sequential.
    #[arg(long, default_value = "uniform")]
    pub key_dist: KeyDist,
    /// Threads; one per CPU of --cpus, else 1.
    #[arg(short = 't', long, value_parser = units::parse_positive)]
    pub threads: Option<u64>,
    /// Pin one thread to each of these CPUs, for example 1 or 1,3.
    #[arg(long, value_delimiter = ',')]
    pub cpus: Vec<usize>,
    /// Seed of arrivals and of event content.
    #[arg(long, default_value = "42")]
    pub seed: u64,
    /// How threads wait.
    #[arg(long, value_enum, default_value = "hybrid")]
    pub pacing: Pacing,
    /// First part of the producer names; one that is used again goes on where it ended. By default
    /// every run has names of its own.
    #[arg(long, value_parser = parse_prefix)]
    pub producer: Option<String>,
    /// Connect again after a loss, with the same sequences.
    #[arg(long, value_enum, default_value = "on")]
    pub reconnect: Switch,
    /// How long to wait for connections, and for acknowledgements at the end.
    #[arg(long, value_parser = units::parse_duration, default_value = "10s")]
    pub timeout: Duration,
    /// Limits of a valid measurement, as name=value: send_lag (time), send_lag_share, busy,
    /// achieved, steal, run_queue (shares).
    #[arg(long, default_value = "")]
    pub limits: Limits,
    /// Print only the result.
    #[arg(short = 'q', long)]
    pub quiet: bool,
}

/// `loadgen run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// The load.
    #[command(flatten)]
    pub load: LoadArgs,
    /// Events per second, or `max` for as many as the in-flight window lets through.
    #[arg(short = 'r', long, value_parser = units::parse_rate, default_value = "10k")]
    pub rate: Rate,
    /// Open or closed loop; `-r max` is closed.
    #[arg(long, value_enum)]
    pub mode: Option<Mode>,
    /// How long to measure.
    #[arg(short = 'd', long, value_parser = parse_some_time, default_value = "30s")]
    pub duration: Duration,
    /// Stop after so many events, if that is earlier.
    #[arg(short = 'n', long, value_parser = units::parse_positive)]
    pub events: Option<u64>,
    /// Discarded time before the measurement.
    #[arg(short = 'w', long, value_parser = units::parse_duration, default_value = "5s")]
    pub warmup: Duration,
    /// Length of an interval of the live output and of the log.
    #[arg(short = 'i', long, value_parser = parse_some_time, default_value = "1s")]
    pub interval: Duration,
    /// Objective, for example p99=1ms,errors=0.
    #[arg(long)]
    pub slo: Option<Slo>,
    /// Write the result as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the interval log, and the percentile distribution beside it as .hgrm.
    #[arg(long, value_name = "FILE")]
    pub hlog: Option<PathBuf>,
    /// Write run.json, client.hlog, client.hgrm and acks/ into this directory.
    #[arg(short = 'o', long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Prove at the end that what was acknowledged is stored exactly once.
    #[arg(long)]
    pub verify: bool,
    /// Keep ack logs here, for `loadgen verify` after a crash.
    #[arg(long, value_name = "DIR")]
    pub acks: Option<PathBuf>,
    /// HTTP address of the server, for --verify.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7401")]
    pub http: String,
    /// A second server, started with --floor, that gets the same load in alternating blocks.
    #[arg(long, value_name = "ADDR")]
    pub floor: Option<String>,
    /// Length of a block with --floor.
    #[arg(long, value_parser = parse_some_time, default_value = "10s")]
    pub block: Duration,
    /// Form of the result on standard output.
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// `loadgen search`.
#[derive(Clone, Debug, Args)]
pub struct SearchArgs {
    /// The load.
    #[command(flatten)]
    pub load: LoadArgs,
    /// The objective that the rate must meet.
    #[arg(long)]
    pub slo: Slo,
    /// First rate to try.
    #[arg(long, value_parser = parse_fixed_rate, default_value = "1k")]
    pub from: f64,
    /// Highest rate to try.
    #[arg(long, value_parser = parse_fixed_rate, default_value = "10M")]
    pub to: f64,
    /// How exact the answer must be.
    #[arg(long, value_parser = units::parse_share, default_value = "5%")]
    pub resolution: f64,
    /// How often the answer is tried again; the majority must pass.
    #[arg(long, default_value = "3")]
    pub confirm: u32,
    /// Time before each measurement.
    #[arg(short = 'w', long, value_parser = units::parse_duration, default_value = "2s")]
    pub warmup: Duration,
    /// Length of each measurement.
    #[arg(short = 'd', long, value_parser = parse_some_time, default_value = "10s")]
    pub duration: Duration,
    /// Write all probes as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// `loadgen replay`.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// One JSON object per line; `.gz` is unpacked.
    pub file: PathBuf,
    /// Stream to publish to.
    #[arg(long)]
    pub stream: String,
    /// Server address.
    #[arg(short = 'a', long = "addr", default_value = "127.0.0.1:7400")]
    pub addr: String,
    /// `max`, or how many times faster than the time field.
    #[arg(long, value_parser = parse_speed, default_value = "max")]
    pub speed: f64,
    /// Field that --speed goes by; the first time field by default.
    #[arg(long)]
    pub time_field: Option<String>,
    /// Events per frame.
    #[arg(long, value_parser = parse_batch, default_value = "500")]
    pub batch: u64,
    /// Unacknowledged frames.
    #[arg(long, value_parser = units::parse_positive, default_value = "64")]
    pub inflight: u64,
    /// Producer name. A name that was used before goes on where it ended: events that the server
    /// has already are not sent again.
    #[arg(long, value_parser = parse_producer)]
    pub producer: Option<String>,
    /// Connect again after a loss.
    #[arg(long, value_enum, default_value = "on")]
    pub reconnect: Switch,
    /// How long to wait for a connection or an acknowledgement.
    #[arg(long, value_parser = units::parse_duration, default_value = "10s")]
    pub timeout: Duration,
    /// Write the result as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Print only the result.
    #[arg(short = 'q', long)]
    pub quiet: bool,
}

/// `loadgen verify`.
#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    /// Server address; asked for the schema.
    #[arg(short = 'a', long = "addr", default_value = "127.0.0.1:7400")]
    pub addr: String,
    /// HTTP address of the server.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7401")]
    pub http: String,
    /// Directory of the ack logs.
    #[arg(long, value_name = "DIR")]
    pub acks: PathBuf,
    /// Members whose rank is asked for one by one.
    #[arg(long, default_value = "20")]
    pub sample: usize,
    /// How long to wait for an answer.
    #[arg(long, value_parser = units::parse_duration, default_value = "10s")]
    pub timeout: Duration,
    /// Form of the result on standard output.
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// `loadgen compare`.
#[derive(Clone, Debug, Args)]
pub struct CompareArgs {
    /// JSON files of runs in the order A B, A B, ...; or give -a and -b for live runs.
    pub files: Vec<PathBuf>,
    /// First server (A).
    #[arg(
        short = 'a',
        long = "addr-a",
        requires = "addr_b",
        conflicts_with = "files"
    )]
    pub addr_a: Option<String>,
    /// Second server (B).
    #[arg(short = 'b', long = "addr-b", requires = "addr_a")]
    pub addr_b: Option<String>,
    /// Pairs of blocks.
    #[arg(long, default_value = "8", value_parser = units::parse_positive)]
    pub pairs: u64,
    /// Length of a block.
    #[arg(long, value_parser = parse_some_time, default_value = "10s")]
    pub block: Duration,
    /// Events per second, or `max`.
    #[arg(short = 'r', long, value_parser = units::parse_rate, default_value = "10k")]
    pub rate: Rate,
    /// Events per frame.
    #[arg(long, value_parser = parse_batch, default_value = "1")]
    pub batch: u64,
    /// Connections.
    #[arg(short = 'c', long, value_parser = units::parse_positive, default_value = "8")]
    pub connections: u64,
    /// Number of keys.
    #[arg(long, value_parser = units::parse_positive, default_value = "100k")]
    pub keys: u64,
    /// Pin one thread to each of these CPUs.
    #[arg(long, value_delimiter = ',')]
    pub cpus: Vec<usize>,
    /// Exit with 6 if B is worse than A by more than this and the interval excludes 1.
    #[arg(long, value_parser = units::parse_share)]
    pub fail_over: Option<f64>,
    /// Ratio that two runs of the same thing differ by on this machine (A/A); smaller changes are
    /// called the same.
    #[arg(long, value_parser = units::parse_share, default_value = "0")]
    pub noise: f64,
    /// Print only the result.
    #[arg(short = 'q', long)]
    pub quiet: bool,
}

/// `loadgen report`.
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// JSON files of runs, or directories that hold a run.json.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Form of the result on standard output.
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// `loadgen selftest`.
#[derive(Clone, Debug, Args)]
pub struct SelftestArgs {
    /// Events per second.
    #[arg(short = 'r', long, value_parser = parse_fixed_rate, default_value = "5k")]
    pub rate: f64,
    /// How long to measure.
    #[arg(short = 'd', long, value_parser = parse_some_time, default_value = "10s")]
    pub duration: Duration,
    /// Length of a stall of the built-in server.
    #[arg(long, value_parser = parse_some_time, default_value = "100ms")]
    pub stall: Duration,
    /// Time from one stall to the next.
    #[arg(long, value_parser = parse_some_time, default_value = "1s")]
    pub every: Duration,
    /// Pin the generator to this CPU.
    #[arg(long)]
    pub cpu: Option<usize>,
    /// Allowed difference from the theory.
    #[arg(long, value_parser = units::parse_share, default_value = "5%")]
    pub tolerance: f64,
}

/// `loadgen echo`.
#[derive(Clone, Debug, Args)]
pub struct EchoArgs {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:7400")]
    pub listen: String,
}

fn parse_batch(text: &str) -> Result<u64, String> {
    let batch = units::parse_positive(text)?;
    let most = ringmill_shard::limits::BATCH_EVENTS_MAX as u64;
    if batch > most {
        return Err(format!("a frame holds at most {most} events"));
    }
    Ok(batch)
}

fn parse_some_time(text: &str) -> Result<Duration, String> {
    let time = units::parse_duration(text)?;
    if time < Duration::from_millis(1) {
        return Err("must be at least 1ms".to_owned());
    }
    Ok(time)
}

fn parse_fixed_rate(text: &str) -> Result<f64, String> {
    match units::parse_rate(text)? {
        Rate::PerSecond(rate) => Ok(rate),
        Rate::Max => Err("give a number of events per second".to_owned()),
    }
}

/// Infinity stands for `max`.
fn parse_speed(text: &str) -> Result<f64, String> {
    if text == "max" {
        return Ok(f64::INFINITY);
    }
    match text.parse::<f64>() {
        Ok(speed) if speed > 0.0 && speed.is_finite() => Ok(speed),
        _ => Err(format!("`{text}` is no speed; write max, 1 or 60")),
    }
}

fn parse_producer(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"._:-".contains(&b);
    let most = ringmill_shard::limits::NAME_BYTES_MAX;
    if text.is_empty() || text.len() > most || !text.bytes().all(fits) {
        return Err(format!(
            "a producer name is 1 to {most} of A-Z a-z 0-9 . _ : -"
        ));
    }
    Ok(text.to_owned())
}

/// Bytes kept free behind a prefix for `-` and the index of the connection.
const INDEX_BYTES: usize = 8;

fn parse_prefix(text: &str) -> Result<String, String> {
    let prefix = parse_producer(text)?;
    let most = ringmill_shard::limits::NAME_BYTES_MAX - INDEX_BYTES;
    if prefix.len() > most {
        return Err(format!("a producer prefix has at most {most} bytes"));
    }
    Ok(prefix)
}
