//! The command line of the `ringmill` binary.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ringmill_shard::pipeline::parse_duration_ms;
use ringmill_storage::level::Level;

use crate::core_loop::{Floor, Spin};
use crate::{correct, doctor, inspect};

/// Exit code: done.
pub const EXIT_OK: i32 = 0;
/// Exit code: something failed at run time.
pub const EXIT_FAILED: i32 = 1;
/// Exit code: the command line or a file given on it is wrong.
pub const EXIT_USAGE: i32 = 2;
/// Exit code of `ringmill plan`: applying the file would change something.
pub const EXIT_CHANGES: i32 = 3;

/// A thread-per-core event engine on io_uring: counts events in windows, ranks them on
/// leaderboards, and keeps every acknowledged one on disk.
#[derive(Debug, Parser)]
#[command(name = "ringmill", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a pipeline: recover the store, then take events and answer queries until SIGTERM.
    Serve(ServeArgs),
    /// Check a pipeline file and forecast its memory.
    Check(CheckArgs),
    /// Show what a pipeline file would keep, rename, rebuild, build and drop. Exits with 3 if
    /// anything would change, 2 if the file cannot be applied.
    Plan(PlanArgs),
    /// Put a pipeline file in force on a stopped store, without losing what it does not change.
    Apply(ApplyArgs),
    /// Run the [[test]] blocks of a pipeline file: events in, answers out, on a virtual clock.
    Test(TestArgs),
    /// Run a pipeline through random events and faults, and compare every view and board with a
    /// plain computation.
    Sim(SimArgs),
    /// Take stored events back, in every view and on every board that can follow.
    Retract(correct::RetractArgs),
    /// Put back what a correction has taken.
    Undo(correct::UndoArgs),
    /// Show what an answer is made of.
    #[command(subcommand)]
    Explain(correct::ExplainCommand),
    /// Look at this machine and say what stands in the way of low latency.
    Doctor(doctor::DoctorArgs),
    /// Show where the time went: per core and stage, from a latency dump.
    Inspect(inspect::InspectArgs),
    /// Work on the log of a stopped store.
    #[command(subcommand)]
    Log(LogCommand),
}

/// Subcommands of `ringmill log`.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Read every byte of a store as recovery would, change nothing, and report.
    Verify {
        /// The data directory.
        dir: PathBuf,
    },
}

/// `ringmill check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The pipeline file.
    pub file: PathBuf,
    /// Keys to forecast the memory for.
    #[arg(long, default_value_t = 1_000_000)]
    pub keys: u64,
}

/// What `ringmill plan` speaks of.
#[derive(Debug, Args)]
pub struct TargetArgs {
    /// HTTP address of a running server.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7401")]
    pub http: SocketAddr,
    /// The data directory of a store, instead of a server.
    #[arg(long, value_name = "DIR", conflicts_with = "http")]
    pub data: Option<PathBuf>,
}

/// `ringmill plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The pipeline file.
    pub file: PathBuf,
    /// A server or a store.
    #[command(flatten)]
    pub target: TargetArgs,
    /// Keys to forecast the memory for.
    #[arg(long, default_value_t = 1_000_000)]
    pub keys: u64,
}

/// `ringmill apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// The pipeline file.
    pub file: PathBuf,
    /// The data directory of a stopped store.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Drop what the file lacks without asking.
    #[arg(long)]
    pub yes: bool,
    /// Keys to forecast the memory for.
    #[arg(long, default_value_t = 1_000_000)]
    pub keys: u64,
}

/// `ringmill test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// The pipeline file.
    pub file: PathBuf,
    /// Shards of the engine that the tests run on; answers are the same on any number.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub shards: u16,
    /// Run only the tests whose name contains this.
    #[arg(long, value_name = "TEXT")]
    pub only: Option<String>,
}

/// `ringmill sim`.
#[derive(Clone, Debug, Args)]
pub struct SimArgs {
    /// The pipeline file.
    #[arg(long, value_name = "FILE")]
    pub pipeline: PathBuf,
    /// Seed of the first run; each further run takes the next one. A seed gives the same run again.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// How many runs.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    pub runs: u64,
    /// About how many events a run sends.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub events: u32,
}

/// `ringmill serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// The pipeline file; without it, the one that the store was served with last, or that was
    /// applied to it since.
    #[arg(long, value_name = "FILE")]
    pub pipeline: Option<PathBuf>,
    /// The data directory; created if it does not exist.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Address for events.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7400")]
    pub listen: SocketAddr,
    /// Address for HTTP.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7401")]
    pub http: SocketAddr,
    /// Pin one shard to each of these CPUs.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        conflicts_with = "shards"
    )]
    pub cpus: Vec<usize>,
    /// Start so many shards without pinning them, for shared machines and tests.
    #[arg(long, value_name = "N")]
    pub shards: Option<usize>,
    /// How long an idle shard looks for work before it sleeps: a time such as 20us, 0, or
    /// `always` for dedicated CPUs.
    #[arg(long, value_name = "MODE", default_value = "20us")]
    pub spin: SpinArg,
    /// Acknowledge every stream at this level instead of the one in the pipeline file: memory,
    /// written, interval:500ms, commit.
    #[arg(long, value_name = "LEVEL")]
    pub durability: Option<Level>,
    /// How to talk to the kernel.
    #[arg(long, value_enum, default_value_t = Backend::Uring)]
    pub backend: Backend,
    /// Measure the floor instead: acknowledge after framing (echo), or also log and flush (log).
    /// Needs a data directory of its own.
    #[arg(long, value_enum)]
    pub floor: Option<FloorArg>,
    /// Listen on other than loopback addresses although there is no authentication.
    #[arg(long)]
    pub allow_remote: bool,
    /// End a connection that has begun a frame and not finished it for so long.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = frame_timeout)]
    pub frame_timeout: Duration,
    /// Size of a log segment of a new store, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 64,
          value_parser = clap::value_parser!(u64).range(4..=4096))]
    pub segment_mib: u64,
}

/// The back ends for sockets and log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// io_uring: the fast one.
    Uring,
    /// epoll and plain system calls: works where io_uring is blocked, as in containers.
    Posix,
}

impl Backend {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Uring => "uring",
            Backend::Posix => "posix",
        }
    }
}

/// The floors to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FloorArg {
    /// Acknowledge after framing.
    Echo,
    /// Also log and flush.
    Log,
}

impl FloorArg {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            FloorArg::Echo => "echo",
            FloorArg::Log => "log",
        }
    }
}

impl From<FloorArg> for Floor {
    fn from(floor: FloorArg) -> Floor {
        match floor {
            FloorArg::Echo => Floor::Echo,
            FloorArg::Log => Floor::Log,
        }
    }
}

/// `--spin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpinArg(pub Spin);

impl FromStr for SpinArg {
    type Err = String;

    fn from_str(text: &str) -> Result<SpinArg, String> {
        if text == "always" {
            return Ok(SpinArg(Spin::Always));
        }
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let number: u64 = digits.parse().map_err(|_| spin_help(text))?;
        let spin = match &text[digits.len()..] {
            "" if number == 0 => Duration::ZERO,
            "ns" => Duration::from_nanos(number),
            "us" => Duration::from_micros(number),
            "ms" => Duration::from_millis(number),
            _ => return Err(spin_help(text)),
        };
        Ok(SpinArg(Spin::For(spin)))
    }
}

fn frame_timeout(text: &str) -> Result<Duration, String> {
    match parse_duration_ms(text) {
        Ok(ms @ 1..) => Ok(Duration::from_millis(ms as u64)),
        _ => Err(format!(
            "`{text}` is no time for a frame: give one such as 30s or 500ms"
        )),
    }
}

fn spin_help(text: &str) -> String {
    format!("`{text}` is no way to spin: give a time such as 20us or 2ms, 0, or always")
}

impl std::fmt::Display for SpinArg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Spin::Always => f.write_str("always"),
            Spin::For(time) if time.is_zero() => f.write_str("0"),
            Spin::For(time) => write!(f, "{}us", time.as_micros()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_time_of_a_frame_is_positive() {
        assert_eq!(frame_timeout("500ms"), Ok(Duration::from_millis(500)));
        for text in ["", "0s", "30", "-1s", "soon"] {
            assert!(frame_timeout(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spin_modes_are_read_and_printed_back() {
        for text in ["always", "0", "20us"] {
            assert_eq!(text.parse::<SpinArg>().expect(text).to_string(), text);
        }
        assert_eq!("2ms".parse::<SpinArg>().expect("2ms").to_string(), "2000us");
        for text in ["", "us", "20", "1.5us", "forever"] {
            assert!(text.parse::<SpinArg>().is_err(), "{text}");
        }
    }
}
