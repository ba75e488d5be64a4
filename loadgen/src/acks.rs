//! The ack log: what was acknowledged, on disk, so that it can be proved later.
//!
//! One file per run. The first line is a JSON head with everything that the rows depend on; every
//! further line is `INDEX:ACKED:SENT` for each producer that moved. Lines are appended ten times a
//! second and survive the end of this process at any point; a line that is not whole is not read.
//! The file is rewritten when it has grown.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use crate::error::LoadError;
use crate::plan::RunPlan;
use crate::worker::Progress;

/// Version of the format.
const VERSION: u32 = 1;
/// Ending of the files.
const EXTENSION: &str = "acks";
/// A larger file is rewritten with its newest line alone.
const BYTES_MAX: u64 = 4 << 20;
/// Last line of a run that ended by itself.
const END_LINE: &str = "end";

/// A producer of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AckProducer {
    /// Durable name.
    pub name: String,
    /// Index in the run: with the seed, what its rows depend on.
    pub index: u64,
    /// First sequence of the run.
    pub first: u64,
}

/// First line of an ack log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AckHead {
    /// Version of the format.
    pub ringmill_acks: u32,
    /// The run.
    pub run_id: String,
    /// Start of the run in ns since the epoch; orders runs that share producers.
    pub started_ns: u64,
    /// Stream.
    pub stream: String,
    /// Seed of the content.
    pub seed: u64,
    /// Number of keys.
    pub keys: u64,
    /// Their distribution.
    pub key_dist: String,
    /// The producers.
    pub producers: Vec<AckProducer>,
}

/// Writes the log of a run.
#[derive(Debug)]
pub struct AckLog {
    path: PathBuf,
    file: File,
    head: String,
    bytes: u64,
    written: Vec<(u64, u64)>,
    line: String,
}

impl AckLog {
    /// Begins a log in `dir`, which is made if it does not exist.
    pub fn create(
        dir: &Path,
        run_id: &str,
        plan: &RunPlan,
        stream: &str,
        producers: Vec<(String, u64)>,
    ) -> Result<AckLog, LoadError> {
        std::fs::create_dir_all(dir).map_err(LoadError::file(dir))?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let head = AckHead {
            ringmill_acks: VERSION,
            run_id: run_id.to_owned(),
            started_ns: now.unwrap_or_default().as_nanos() as u64,
            stream: stream.to_owned(),
            seed: plan.seed,
            keys: plan.keys,
            key_dist: plan.key_dist.to_string(),
            producers: producers
                .into_iter()
                .zip(0..)
                .map(|((name, first), index)| AckProducer { name, index, first })
                .collect(),
        };
        let written = head
            .producers
            .iter()
            .map(|p| (p.first - 1, p.first - 1))
            .collect();
        let head = serde_json::to_string(&head).expect("invariant: plain data") + "\n";
        let path = dir.join(format!("{run_id}.{EXTENSION}"));
        let mut file = File::create_new(&path).map_err(LoadError::file(&path))?;
        file.write_all(head.as_bytes())
            .map_err(LoadError::file(&path))?;
        let bytes = head.len() as u64;
        Ok(AckLog {
            path,
            file,
            head,
            bytes,
            written,
            line: String::new(),
        })
    }

    /// Appends what moved.
    pub fn append(&mut self, progress: &[Arc<Progress>]) -> Result<(), LoadError> {
        use std::fmt::Write as _;
        self.line.clear();
        for (index, (progress, written)) in progress.iter().zip(&mut self.written).enumerate() {
            // Ordering: each value is only compared with itself.
            let acked = progress.acked.load(Ordering::Relaxed).max(written.0);
            let sent = progress
                .sent
                .load(Ordering::Relaxed)
                .max(written.1)
                .max(acked);
            if (acked, sent) != *written {
                *written = (acked, sent);
                let gap = if self.line.is_empty() { "" } else { " " };
                let _ = write!(self.line, "{gap}{index}:{acked}:{sent}");
            }
        }
        if self.line.is_empty() {
            return Ok(());
        }
        self.line.push('\n');
        self.file
            .write_all(self.line.as_bytes())
            .map_err(LoadError::file(&self.path))?;
        self.bytes += self.line.len() as u64;
        if self.bytes > BYTES_MAX {
            self.rewrite()
        } else {
            Ok(())
        }
    }

    /// Replaces the file by one with the head and the newest values.
    fn rewrite(&mut self) -> Result<(), LoadError> {
        let values: Vec<String> = self
            .written
            .iter()
            .enumerate()
            .map(|(index, (acked, sent))| format!("{index}:{acked}:{sent}"))
            .collect();
        let text = format!("{}{}\n", self.head, values.join(" "));
        let next = self.path.with_extension("next");
        std::fs::write(&next, &text).map_err(LoadError::file(&next))?;
        std::fs::rename(&next, &self.path).map_err(LoadError::file(&self.path))?;
        let append = OpenOptions::new().append(true).open(&self.path);
        self.file = append.map_err(LoadError::file(&self.path))?;
        self.bytes = text.len() as u64;
        Ok(())
    }

    /// Marks the log as whole and flushes it to the disk.
    pub fn finish(&mut self) -> Result<(), LoadError> {
        let line = format!("{END_LINE}\n");
        self.file
            .write_all(line.as_bytes())
            .map_err(LoadError::file(&self.path))?;
        self.file.sync_all().map_err(LoadError::file(&self.path))
    }
}

/// How far a producer was in one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AckRange {
    /// First sequence of the run.
    pub first: u64,
    /// Highest sequence that is known to be acknowledged.
    pub acked: u64,
    /// Highest sequence that is known to be sent.
    pub sent: u64,
}

/// The log of a run as read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AckRecord {
    /// The head.
    pub head: AckHead,
    /// One per producer, in the order of the head.
    pub ranges: Vec<AckRange>,
    /// Whether the run ended by itself.
    pub is_whole: bool,
}

/// Reads every log of a directory, oldest first.
pub fn read_dir(dir: &Path) -> Result<Vec<AckRecord>, LoadError> {
    let mut records = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(LoadError::file(dir))? {
        let path = entry.map_err(LoadError::file(dir))?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == EXTENSION)
        {
            let bytes = std::fs::read(&path).map_err(LoadError::file(&path))?;
            let text = String::from_utf8_lossy(&bytes);
            let record = parse(&text).map_err(|message| LoadError::BadFile {
                path: path.clone(),
                message,
            })?;
            records.push(record);
        }
    }
    if records.is_empty() {
        let message = format!("no .{EXTENSION} file here; was the run started with --acks?");
        return Err(LoadError::BadFile {
            path: dir.to_owned(),
            message,
        });
    }
    records.sort_by_key(|record| record.head.started_ns);
    Ok(records)
}

fn parse(text: &str) -> Result<AckRecord, String> {
    // Only lines that are ended count: the last one may be torn.
    let mut lines = text
        .split_inclusive('\n')
        .filter_map(|line| line.strip_suffix('\n'));
    let head = lines.next().ok_or("the first line is missing")?;
    let head: AckHead = serde_json::from_str(head).map_err(|error| error.to_string())?;
    if head.ringmill_acks != VERSION {
        return Err(format!("version {} is not known here", head.ringmill_acks));
    }
    if head.producers.iter().any(|producer| producer.first == 0) {
        return Err("sequences start at 1".to_owned());
    }
    let mut ranges: Vec<AckRange> = head
        .producers
        .iter()
        .map(|p| AckRange {
            first: p.first,
            acked: p.first - 1,
            sent: p.first - 1,
        })
        .collect();
    let mut is_whole = false;
    for (number, line) in lines.enumerate() {
        if line == END_LINE {
            is_whole = true;
            continue;
        }
        for part in line.split(' ') {
            let values: Vec<u64> = part.split(':').filter_map(|v| v.parse().ok()).collect();
            let range = match values.as_slice() {
                [index, ..] if values.len() == 3 => ranges.get_mut(*index as usize),
                _ => None,
            };
            let range = range.ok_or_else(|| format!("line {}: `{part}` is none", number + 2))?;
            range.acked = range.acked.max(values[1]);
            range.sent = range.sent.max(values[2]);
        }
    }
    Ok(AckRecord {
        head,
        ranges,
        is_whole,
    })
}

#[cfg(test)]
mod tests;
