//! What can go wrong while a load runs.

use std::path::PathBuf;

use ringmill_shard::wire::WireError;

/// A failure of the run itself; each names what was attempted.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No connection.
    #[error("cannot connect to {addr}: {source}; is the server running, and is -a right?")]
    Connect {
        /// The address.
        addr: String,
        /// Why.
        source: std::io::Error,
    },
    /// No port to listen on.
    #[error("cannot listen on {addr}: {source}; choose another address with --listen")]
    Listen {
        /// The address.
        addr: String,
        /// Why.
        source: std::io::Error,
    },
    /// A connection broke before it was usable.
    #[error("{addr} did not answer Hello: {source}")]
    Greeting {
        /// The address.
        addr: String,
        /// Why.
        source: std::io::Error,
    },
    /// The server refused.
    #[error("{addr} refused producer {name}: {code}: {message}")]
    Refused {
        /// The address.
        addr: String,
        /// The producer.
        name: String,
        /// The code.
        code: &'static str,
        /// The server's words.
        message: String,
    },
    /// Bytes that are no valid answer.
    #[error("{addr} does not speak this protocol: {source}")]
    Wire {
        /// The address.
        addr: String,
        /// What is wrong with them.
        source: WireError,
    },
    /// The stream does not exist.
    #[error("the server has no stream `{name}`; it has {known}")]
    NoStream {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A batch does not fit into a frame.
    #[error(
        "{batch} rows of {row_bytes} bytes do not fit into a frame of {bytes_max} bytes; \
         --batch can be at most {most}"
    )]
    BatchTooLarge {
        /// The batch.
        batch: u64,
        /// Bytes of a row.
        row_bytes: usize,
        /// Largest payload.
        bytes_max: usize,
        /// Largest batch.
        most: usize,
    },
    /// Settings that cannot be met.
    #[error("{0}")]
    Settings(String),
    /// The run broke off.
    #[error("{0}")]
    Failed(String),
    /// A file.
    #[error("cannot use {}: {source}; check the path and its permissions", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file with content that is none of ours.
    #[error("{}: {message}", path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The HTTP side of the server.
    #[error("GET {url}: {message}")]
    Http {
        /// What was asked for.
        url: String,
        /// What came of it.
        message: String,
    },
    /// An operation of the operating system.
    #[error("{what}: {source}")]
    System {
        /// What was attempted.
        what: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl LoadError {
    /// Wraps a file error with its path.
    pub fn file(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> LoadError + '_ {
        move |source| LoadError::File {
            path: path.to_owned(),
            source,
        }
    }

    /// Wraps an error of the operating system with what was attempted.
    pub fn system<E: Into<std::io::Error>>(what: &'static str) -> impl FnOnce(E) -> LoadError {
        move |source| LoadError::System {
            what,
            source: source.into(),
        }
    }
}
