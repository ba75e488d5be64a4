//! `ringmill inspect DIR`: where the time of events goes, per core and stage, from a latency dump.
//!
//! Reads `dump.json` of one run. `DIR` may be the dump itself, a directory of dumps or a data
//! directory; of several dumps the newest is shown. Results go to standard output, errors to
//! standard error.

mod json;
mod table;
pub(crate) mod units;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cli::{EXIT_FAILED, EXIT_USAGE};
use crate::dump::{Summary, SummaryError, budget};
use crate::metrics::CoreSnapshot;
use crate::say;

/// Name of the directory of dumps inside a data directory.
pub const DUMPS_DIRECTORY: &str = "dumps";

/// Arguments of `ringmill inspect`.
#[derive(Debug, Clone, clap::Args)]
pub struct InspectArgs {
    /// A latency dump, a directory of dumps or a data directory (newest dump)
    pub dir: PathBuf,
    /// Show this core only
    #[arg(long, value_name = "N")]
    pub core: Option<usize>,
    /// Print JSON, times in ns
    #[arg(long)]
    pub json: bool,
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The path leads nowhere or may not be read.
    #[error("cannot read {path}: {source}")]
    Path {
        /// The path given.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The path is a file.
    #[error("{path} is a file; give the directory that holds it")]
    File {
        /// The path given.
        path: String,
    },
    /// The directory holds no dump.
    #[error(
        "no latency dump in {path}: it holds neither {summary} nor {dumps}/; a running engine \
         writes one on SIGUSR1, on POST /v1/dump and when it stops",
        summary = budget::SUMMARY,
        dumps = DUMPS_DIRECTORY
    )]
    NoDump {
        /// The path given.
        path: String,
    },
    /// The dump cannot be used.
    #[error(transparent)]
    Summary(#[from] SummaryError),
    /// The dump has no such core.
    #[error("{path} has no core {core}: its cores are 0 to {last}")]
    Core {
        /// The dump.
        path: String,
        /// The core asked for.
        core: usize,
        /// The highest core.
        last: usize,
    },
}

impl InspectError {
    fn exit_code(&self) -> i32 {
        match self {
            InspectError::Core { .. } => EXIT_USAGE,
            _ => EXIT_FAILED,
        }
    }
}

/// Runs the command; returns its exit code.
pub fn run(args: &InspectArgs) -> i32 {
    match render(args) {
        Ok(text) => say::print(&text),
        Err(error) => {
            say!("ringmill inspect: {error}");
            error.exit_code()
        }
    }
}

/// What the command prints on standard output.
pub fn render(args: &InspectArgs) -> Result<String, InspectError> {
    let directory = find_dump(&args.dir)?;
    let summary = Summary::read(&directory)?;
    let cores = select(&summary, args.core, &directory)?;
    Ok(if args.json {
        json::text(&directory, &summary, &cores)
    } else {
        table::text(&directory, &summary, &cores)
    })
}

/// One block of the output.
struct Block {
    /// `None`: all cores together.
    core: Option<usize>,
    snapshot: CoreSnapshot,
}

/// The blocks to show: the core asked for, or each core and, if there are several, their sum.
fn select(
    summary: &Summary,
    core: Option<usize>,
    directory: &Path,
) -> Result<Vec<Block>, InspectError> {
    let mut blocks: Vec<_> = summary
        .cores
        .iter()
        .enumerate()
        .map(|(core, snapshot)| Block {
            core: Some(core),
            snapshot: snapshot.clone(),
        })
        .collect();
    if let Some(core) = core {
        if core >= blocks.len() {
            let path = directory.display().to_string();
            return Err(InspectError::Core {
                path,
                core,
                last: blocks.len().saturating_sub(1),
            });
        }
        return Ok(vec![blocks.swap_remove(core)]);
    }
    if blocks.len() > 1 {
        let mut all = CoreSnapshot::empty();
        summary.cores.iter().for_each(|core| all.merge_core(core));
        blocks.push(Block {
            core: None,
            snapshot: all,
        });
    }
    Ok(blocks)
}

fn find_dump(path: &Path) -> Result<PathBuf, InspectError> {
    let name = path.display().to_string();
    let error = |source| InspectError::Path {
        path: name.clone(),
        source,
    };
    if !fs::metadata(path).map_err(error)?.is_dir() {
        return Err(InspectError::File { path: name });
    }
    if path.join(budget::SUMMARY).is_file() {
        return Ok(path.to_path_buf());
    }
    let inside = path.join(DUMPS_DIRECTORY);
    let root = if inside.is_dir() {
        inside.as_path()
    } else {
        path
    };
    let newest = budget::directories(root).map_err(error)?.pop();
    newest.ok_or(InspectError::NoDump { path: name })
}
