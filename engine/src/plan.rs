//! `ringmill plan` and `ringmill apply`: what a file would change, and changing it.
//!
//! A plan is made for a running server (`--http`), which judges for itself by the same code, or for a
//! store (`--data`). A stopped store is changed by replacing its stored pipeline, since every start
//! computes all state from the log.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use ringmill_shard::pipeline::{Declarations, Pipeline};
use ringmill_storage::manifest::MANIFEST_NAME;
use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

mod remote;
mod report;

use crate::check;
use crate::cli::{ApplyArgs, EXIT_CHANGES, EXIT_FAILED, EXIT_OK, EXIT_USAGE, PlanArgs, TargetArgs};
use crate::say;
use crate::stored::{self, Stored, StoredError};
use remote::RemoteError;
pub(crate) use report::{Outlook, Report};

/// Why nothing could be planned or applied.
#[derive(Debug, Error)]
enum PlanError {
    /// The file; the text names lines and columns.
    #[error("{0}")]
    File(String),
    /// There is no store.
    #[error(
        "{} holds no store: nothing was ever served from it; give the directory that \
         `ringmill serve --data` was given", dir.display()
    )]
    NoStore { dir: PathBuf },
    /// A running server holds the store.
    #[error(
        "{} is in use by a running server; stop it, apply the file, and start it again",
        dir.display()
    )]
    InUse { dir: PathBuf },
    /// The lock of the store.
    #[error("cannot lock the store in {}: {source}", dir.display())]
    Lock { dir: PathBuf, source: io::Error },
    /// What the store keeps.
    #[error(transparent)]
    Stored(#[from] StoredError),
    /// The server.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// Something is dropped and nobody is there to be asked.
    #[error("the plan drops {what}; add --yes if that is meant")]
    Unconfirmed { what: String },
}

impl PlanError {
    fn code(&self) -> i32 {
        match self {
            PlanError::File(_) | PlanError::Unconfirmed { .. } => EXIT_USAGE,
            _ => EXIT_FAILED,
        }
    }
}

/// A file, read and checked.
struct Given {
    pipeline: Pipeline,
    declarations: Declarations,
    text: String,
}

impl Given {
    fn load(file: &Path) -> Result<Given, PlanError> {
        let loaded = check::load_declared(file).map_err(PlanError::File)?;
        let ((pipeline, declarations), text) = loaded;
        Ok(Given {
            pipeline,
            declarations,
            text,
        })
    }
}

/// Runs `ringmill plan`; returns the exit code.
pub fn run(args: &PlanArgs) -> i32 {
    let report = match &args.target {
        TargetArgs {
            data: Some(dir), ..
        } => Given::load(&args.file).and_then(|given| of_store(&given, dir, args.keys)),
        TargetArgs { http, .. } => Given::load(&args.file)
            .and_then(|given| Ok(remote::plan(*http, &given.text, args.keys)?)),
    };
    match report {
        Ok(report) => shown(&report, verdict(&report)),
        Err(error) => failed(&error),
    }
}

/// Runs `ringmill apply`; returns the exit code.
pub fn apply(args: &ApplyArgs) -> i32 {
    let applied = Given::load(&args.file).and_then(|given| apply_to_store(&given, args));
    applied.unwrap_or_else(|error| failed(&error))
}

fn failed(error: &PlanError) -> i32 {
    say!("ringmill: {error}");
    error.code()
}

/// The exit code of a plan: whether anything would change.
fn verdict(report: &Report) -> i32 {
    match report {
        report if !report.refused.is_empty() => EXIT_USAGE,
        report if report.changes => EXIT_CHANGES,
        _ => EXIT_OK,
    }
}

/// Prints a report and returns `code`, unless printing failed.
fn shown(report: &Report, code: i32) -> i32 {
    match say::print(&report.to_string()) {
        EXIT_OK => code,
        failed => failed,
    }
}

fn of_store(given: &Given, dir: &Path, keys: u64) -> Result<Report, PlanError> {
    let stored = Stored::load(dir)?.ok_or_else(|| no_store(dir))?;
    Ok(report_of(given, &stored, dir, keys))
}

fn no_store(dir: &Path) -> PlanError {
    PlanError::NoStore {
        dir: dir.to_owned(),
    }
}

fn report_of(given: &Given, stored: &Stored, dir: &Path, keys: u64) -> Report {
    let plan = given.pipeline.plan(&given.declarations, &stored.pipeline);
    let outlook = Outlook::of(&given.pipeline, &stored.pipeline, dir, keys);
    Report::new(&plan, outlook)
}

fn apply_to_store(given: &Given, args: &ApplyArgs) -> Result<i32, PlanError> {
    let dir = &args.data;
    let _lock = lock(dir)?;
    let stored = Stored::load(dir)?.ok_or_else(|| no_store(dir))?;
    let report = report_of(given, &stored, dir, args.keys);
    let code = shown(&report, EXIT_OK);
    if !report.refused.is_empty() {
        return Ok(EXIT_USAGE);
    }
    if !report.changes && stored.text == given.text {
        return Ok(code);
    }
    if !confirmed(&report, args)? {
        return Ok(EXIT_FAILED);
    }
    let mut schemas = stored.schemas;
    schemas.add(&given.pipeline);
    stored::keep(dir, &given.text, &schemas)?;
    say!("applied: the next start computes all state from the log with this pipeline");
    Ok(code)
}

/// Whether the plan may be applied: what is dropped has to be meant.
fn confirmed(report: &Report, args: &ApplyArgs) -> Result<bool, PlanError> {
    let Some(what) = report.dropped() else {
        return Ok(true);
    };
    if args.yes {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        return Err(PlanError::Unconfirmed { what });
    }
    say!("this drops {what}; apply it? [y/N]");
    let mut answer = String::new();
    let _ = io::stderr().flush();
    // Whoever closes the input has not said yes.
    let _ = io::stdin().lock().read_line(&mut answer);
    let agreed = matches!(answer.trim(), "y" | "yes");
    if !agreed {
        say!("nothing was changed");
    }
    Ok(agreed)
}

/// The lock of a stopped store, held as long as the file is open.
fn lock(dir: &Path) -> Result<std::fs::File, PlanError> {
    let locked = |source| PlanError::Lock {
        dir: dir.to_owned(),
        source,
    };
    let manifest = match std::fs::File::open(dir.join(MANIFEST_NAME)) {
        Ok(manifest) => manifest,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(no_store(dir)),
        Err(source) => return Err(locked(source)),
    };
    match flock(&manifest, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(manifest),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(PlanError::InUse {
            dir: dir.to_owned(),
        }),
        Err(error) => Err(locked(error.into())),
    }
}
