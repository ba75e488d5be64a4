//! Keeps all dumps under one directory within a budget of bytes.
//!
//! Oldest goes first: whole directories of earlier runs, then the rotated sets of this run. Files
//! in use are never touched, nor is anything that a dump would not have written.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// File names of a dump, other than interval logs.
pub(crate) const SUMMARY: &str = "dump.json";
pub(super) const PERCENTILES: &str = "total.hgrm";
/// Extension of interval logs.
pub(super) const LOG_EXTENSION: &str = "hlog";

/// Removes what is too much: afterwards the dumps in `root` hold at most `budget_bytes`, or nothing
/// removable is left. `current` is the directory of the run in progress.
pub(super) fn enforce(root: &Path, current: &Path, budget_bytes: u64) -> io::Result<()> {
    let (mut earlier_runs, mut rotated) = (Vec::new(), Vec::new());
    let mut bytes = 0;
    for directory in directories(root)? {
        let files = dump_files(&directory)?;
        bytes += files.iter().map(|file| file.bytes).sum::<u64>();
        if directory == current {
            rotated = rotated_sets(files);
        } else {
            earlier_runs.push(RemovableSet {
                directory: Some(directory),
                files,
            });
        }
    }
    for set in earlier_runs.into_iter().chain(rotated) {
        if bytes <= budget_bytes {
            break;
        }
        for file in &set.files {
            fs::remove_file(&file.path)?;
            bytes -= file.bytes;
        }
        if let Some(directory) = set.directory {
            // A file of somebody else keeps the directory: leave both.
            let _ = fs::remove_dir(directory);
        }
    }
    Ok(())
}

/// Name under which an interval log stays after rotation.
pub(super) fn rotated_name(stem: &str, sequence: u64) -> String {
    format!("{stem}.{sequence:06}.{LOG_EXTENSION}")
}

/// Directories directly below `root` that hold a dump, oldest first.
pub(crate) fn directories(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        if path.is_dir() && path.join(SUMMARY).is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

struct RemovableSet {
    /// Directory to remove with its files; `None` for rotated logs of the run in progress.
    directory: Option<PathBuf>,
    files: Vec<DumpFile>,
}

struct DumpFile {
    path: PathBuf,
    bytes: u64,
    sequence: Option<u64>,
}

fn dump_files(directory: &Path) -> io::Result<Vec<DumpFile>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let is_log = name.ends_with(&format!(".{LOG_EXTENSION}"));
        if !path.is_file() || !(is_log || name == SUMMARY || name == PERCENTILES) {
            continue;
        }
        let sequence = is_log.then(|| name.split('.').nth(1)).flatten();
        let sequence = sequence.and_then(|digits| digits.parse().ok());
        let bytes = fs::metadata(&path)?.len();
        files.push(DumpFile {
            path,
            bytes,
            sequence,
        });
    }
    Ok(files)
}

fn rotated_sets(files: Vec<DumpFile>) -> Vec<RemovableSet> {
    let mut sets = std::collections::BTreeMap::<u64, Vec<DumpFile>>::new();
    for file in files {
        if let Some(sequence) = file.sequence {
            sets.entry(sequence).or_default().push(file);
        }
    }
    sets.into_values()
        .map(|files| RemovableSet {
            directory: None,
            files,
        })
        .collect()
}
