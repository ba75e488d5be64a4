//! Why the server could not start, each with what to do about it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use ringmill_storage::error::StorageError;
use ringmill_storage::probe::ProbeError;
use ringmill_storage::ring::RingError;
use thiserror::Error;

use crate::control::ControlError;
use crate::mesh::MeshError;
use crate::stored::StoredError;

/// Why the server could not start.
#[derive(Debug, Error)]
pub(super) enum ServeError {
    /// The pipeline file; the text names lines and columns.
    #[error("{0}")]
    Pipeline(String),
    /// The pipeline does not fit the store.
    #[error(
        "the pipeline does not fit the store in {}:\n{problems}use the pipeline that the store \
         was written with ({}), or another data directory", dir.display(),
        dir.join("pipeline.toml").display()
    )]
    PipelineChanged { dir: PathBuf, problems: String },
    /// What the store keeps of its pipeline.
    #[error(transparent)]
    Stored(#[from] StoredError),
    /// No pipeline at all.
    #[error(
        "{} keeps no pipeline yet; give one with --pipeline FILE", dir.display()
    )]
    NoPipeline { dir: PathBuf },
    /// An address that others could reach.
    #[error(
        "{name} {address} is not a loopback address, and there is no authentication; add \
         --allow-remote if the network in front of it is trusted"
    )]
    RemoteAddress {
        name: &'static str,
        address: SocketAddr,
    },
    /// A listener could not be opened.
    #[error("cannot listen on {address} ({name}): {source}; choose another address or port")]
    Listen {
        name: &'static str,
        address: SocketAddr,
        source: io::Error,
    },
    /// A listener has no address.
    #[error("cannot read the address of a listener: {0}")]
    Address(io::Error),
    /// A CPU that may not be used.
    #[error("CPU {cpu} may not be used by this process; it may use {allowed:?}")]
    CpuNotAllowed { cpu: usize, allowed: Vec<usize> },
    /// A CPU named twice.
    #[error("CPU {cpu} is named twice in --cpus; each shard needs its own")]
    CpuTwice { cpu: usize },
    /// A number of shards that makes no sense.
    #[error("--shards {shards} is out of range; give 1 to 256")]
    ShardCount { shards: usize },
    /// The data directory cannot be used.
    #[error("cannot use the data directory {}: {source}; {}", dir.display(), way_out(source))]
    DataDir { dir: PathBuf, source: io::Error },
    /// The store was made by or for floor measurements, or the other way round.
    #[error("{} {what}; use another data directory", dir.display())]
    FloorStore { dir: PathBuf, what: &'static str },
    /// The store.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The flush probe.
    #[error(transparent)]
    Probe(ProbeError),
    /// io_uring.
    #[error("{0}\nwhere io_uring cannot be had, start with --backend posix")]
    Ring(#[from] RingError),
    /// The lanes.
    #[error(transparent)]
    Mesh(MeshError),
    /// The control plane.
    #[error(transparent)]
    Control(ControlError),
    /// The control plane ended with a panic.
    #[error("the control plane ended with a panic; every acknowledged event is on disk")]
    ControlPanic,
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// A CPU could not be bound to.
    #[error("cannot bind shard {shard} to CPU {cpu}")]
    Pin { shard: usize, cpu: usize },
    /// Sockets could not be set up.
    #[error("shard {shard} cannot set its sockets up: {source}")]
    Sockets { shard: usize, source: io::Error },
    /// A shard ended before it had recovered.
    #[error("a shard ended before it had recovered")]
    ShardGone,
}

/// What to do about a data directory that cannot be used.
fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            "it is a file or lies below one; give a directory"
        }
        io::ErrorKind::NotFound => "nothing can be made there; give another directory",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free space there",
        io::ErrorKind::ReadOnlyFilesystem => "mount it writable, or give another directory",
        _ => "it needs read and write permission",
    }
}

impl ServeError {
    /// Whether the command line or the pipeline file is to blame.
    pub(super) fn is_usage(&self) -> bool {
        matches!(
            self,
            ServeError::Pipeline(_)
                | ServeError::NoPipeline { .. }
                | ServeError::RemoteAddress { .. }
                | ServeError::CpuNotAllowed { .. }
                | ServeError::CpuTwice { .. }
                | ServeError::ShardCount { .. }
        )
    }
}
