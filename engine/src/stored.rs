//! What a store keeps of its pipeline: the file that its logs are read with, and every schema that
//! stands in them.
//!
//! ```text
//! DIR/pipeline.toml   the pipeline that is in force; replacing it is what applies another one
//! DIR/schemas         every schema that a stream has had
//! ```
//!
//! Schemas are kept before the pipeline that uses them: one too many is harmless, one too few would
//! leave rows that nobody can read. A file is replaced whole or not at all.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use ringmill_shard::pipeline::{Pipeline, Schemas, SchemasError};
use thiserror::Error;

use crate::check;

const PIPELINE_FILE: &str = "pipeline.toml";
const SCHEMAS_FILE: &str = "schemas";

/// Why what a store keeps of its pipeline cannot be used.
#[derive(Debug, Error)]
pub(crate) enum StoredError {
    /// The pipeline.
    #[error(
        "{problems}\nit is the store's copy of the pipeline that its logs were written with; \
         put it back from a backup, or copy that pipeline there"
    )]
    Pipeline { problems: String },
    /// The schemas.
    #[error(
        "{}: {source}; it lists every schema of the store's logs: put it back from a backup",
        path.display()
    )]
    Schemas { path: PathBuf, source: SchemasError },
    /// A file.
    #[error("cannot use {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
}

/// The pipeline of a store.
#[derive(Debug)]
pub(crate) struct Stored {
    /// In force, knowing the former schemas of its streams.
    pub(crate) pipeline: Pipeline,
    /// Its text.
    pub(crate) text: String,
    /// Every schema that a stream has had.
    pub(crate) schemas: Schemas,
}

impl Stored {
    /// What the store in `dir` keeps; `None` if there is no store yet.
    pub(crate) fn load(dir: &Path) -> Result<Option<Stored>, StoredError> {
        let file = dir.join(PIPELINE_FILE);
        if !file.exists() {
            return Ok(None);
        }
        let loaded = check::load(&file);
        let (pipeline, text) = loaded.map_err(|problems| StoredError::Pipeline { problems })?;
        let mut schemas = load_schemas(dir)?;
        schemas.add(&pipeline);
        Ok(Some(Stored {
            pipeline: pipeline.with_former(&schemas),
            text,
            schemas,
        }))
    }
}

fn load_schemas(dir: &Path) -> Result<Schemas, StoredError> {
    let path = dir.join(SCHEMAS_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => Schemas::parse(&text).map_err(|source| StoredError::Schemas { path, source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Schemas::default()),
        Err(source) => Err(StoredError::File { path, source }),
    }
}

/// Puts a pipeline in force: from the return on, a start reads the logs with it. `schemas` are all
/// that the streams have had, its own included.
pub(crate) fn keep(dir: &Path, text: &str, schemas: &Schemas) -> Result<(), StoredError> {
    replace(dir, SCHEMAS_FILE, &schemas.text())?;
    replace(dir, PIPELINE_FILE, text)
}

/// Replaces a file; never half of it.
fn replace(dir: &Path, name: &str, text: &str) -> Result<(), StoredError> {
    let path = dir.join(name);
    if std::fs::read_to_string(&path).is_ok_and(|stored| stored == text) {
        return Ok(());
    }
    let unfinished = dir.join(format!("{name}.new"));
    let written = std::fs::write(&unfinished, text)
        .and_then(|()| File::open(&unfinished)?.sync_all())
        .and_then(|()| std::fs::rename(&unfinished, &path))
        .and_then(|()| File::open(dir)?.sync_all());
    written.map_err(|source| StoredError::File { path, source })
}

/// Bytes of all logs of a store, as far as they are in use: at most a segment too many for each.
pub(crate) fn log_bytes(dir: &Path) -> u64 {
    let entries = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten();
    let is_log = |name: &str| name.starts_with("log-");
    let named = |entry: &std::fs::DirEntry, test: &dyn Fn(&str) -> bool| {
        entry.file_name().to_str().is_some_and(test)
    };
    let logs = entries(dir).filter(|entry| named(entry, &is_log));
    let segments = logs.flat_map(|log| {
        entries(&log.path()).filter(|entry| named(entry, &|name| name.ends_with(".seg")))
    });
    segments
        .filter_map(|segment| segment.metadata().ok())
        .map(|about| about.len())
        .sum()
}
