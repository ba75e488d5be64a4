//! Results: one JSON document per run is the source; text and CSV are made from it.

mod csv;
pub mod document;
mod hgrm;
mod hlog;
mod text;

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use crate::error::LoadError;
use crate::recorder::Recorder;
use crate::run::Outcome;
use crate::slo::Slo;
use crate::verdict::{Verdict, judge};
pub use csv::csv;
pub use document::{Document, FloorBlock, LatencyBlock, VerifyBlock};
pub use text::{curve, text, verify_text};

/// A judged run, and where its files are.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The run.
    pub outcome: Outcome,
    /// Whether it may be believed.
    pub verdict: Verdict,
    /// Conditions of the objective that were not met.
    pub slo_missed: Vec<String>,
    /// The objective.
    pub slo: Option<Slo>,
}

impl Judged {
    /// Judges a run.
    pub fn new(outcome: Outcome, slo: Option<Slo>) -> Judged {
        let verdict = judge(&outcome, &outcome.plan.limits);
        let slo_missed = slo.as_ref().map_or_else(Vec::new, |slo| {
            slo.missed(
                &outcome.response,
                outcome.counts.errors(),
                outcome.achieved_share(),
            )
        });
        Judged {
            outcome,
            verdict,
            slo_missed,
            slo,
        }
    }
}

/// Which files to write.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// The JSON document.
    pub json: Option<PathBuf>,
    /// The interval log.
    pub hlog: Option<PathBuf>,
    /// The percentile distribution.
    pub hgrm: Option<PathBuf>,
}

impl Files {
    /// Finds out before a run whether its result can be kept.
    pub fn check(&self) -> Result<(), LoadError> {
        let all = [&self.json, &self.hlog, &self.hgrm];
        all.into_iter()
            .flatten()
            .try_for_each(|path| check_writable(path))
    }

    /// Writes what is asked for.
    pub fn write(&self, judged: &Judged, document: &Document) -> Result<(), LoadError> {
        if let Some(path) = &self.json {
            let mut text = serde_json::to_string_pretty(document)
                .expect("invariant: plain data has a JSON form");
            text.push('\n');
            std::fs::write(path, text).map_err(LoadError::file(path))?;
        }
        if let Some(path) = &self.hlog {
            hlog::write(path, &judged.outcome)?;
        }
        if let Some(path) = &self.hgrm {
            let text = hgrm::hgrm(&judged.outcome.response);
            std::fs::write(path, text).map_err(LoadError::file(path))?;
        }
        Ok(())
    }

    /// The names, for the report.
    pub fn names(&self) -> Vec<String> {
        let all = [&self.json, &self.hlog, &self.hgrm];
        all.into_iter()
            .flatten()
            .map(|path| path.display().to_string())
            .collect()
    }
}

/// Whether a file can be written; leaves it as it was.
pub fn check_writable(path: &Path) -> Result<(), LoadError> {
    let is_new = !path.exists();
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.map_err(LoadError::file(path))?;
    if is_new {
        std::fs::remove_file(path).map_err(LoadError::file(path))?;
    }
    Ok(())
}

/// Reads the document of a run: a file, or `run.json` in a directory.
pub fn read(path: &Path) -> Result<Document, LoadError> {
    let path = if path.is_dir() {
        path.join("run.json")
    } else {
        path.to_owned()
    };
    let text = std::fs::read_to_string(&path).map_err(LoadError::file(&path))?;
    let document: Document = serde_json::from_str(&text).map_err(|error| LoadError::BadFile {
        path: path.clone(),
        message: format!("no result of `loadgen run --json`: {error}"),
    })?;
    if document.schema != document::VERSION {
        let message = format!("schema {} is not known here", document.schema);
        return Err(LoadError::BadFile { path, message });
    }
    Ok(document)
}

/// Samples above a percentile from which on it is printed.
pub const PRINTED_ABOVE: u64 = 10;
/// Samples above a percentile from which on it is more than a hint.
pub const CLAIMED_ABOVE: u64 = 1000;

/// How many samples lie above a quantile.
pub fn samples_above(recorder: &Recorder, quantile: f64) -> u64 {
    (recorder.count() as f64 * (1.0 - quantile)).round() as u64
}

#[cfg(test)]
mod tests;
