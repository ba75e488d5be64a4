//! What can go wrong, where, and what the operator does next.

use std::io;
use std::path::{Path, PathBuf};

use crate::layout::FORMAT_VERSION;
use crate::recovery::{Evidence, Next};

/// An error of the layer above while it applied a replayed entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ReplayError {
    /// What was wrong with the entry.
    pub message: String,
}

impl ReplayError {
    /// An error with this message.
    pub fn new(message: impl Into<String>) -> ReplayError {
        ReplayError {
            message: message.into(),
        }
    }
}

/// Any failure of this crate. Every message names the place and ends with the next step.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The system refused an operation outside the running log.
    #[error("{action} {path}: {source}; check the disk and the kernel's log, then start again")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// File or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },

    /// A block could not be read, after smaller and repeated reads.
    #[error(
        "{path}: block at offset {offset} cannot be read ({source}); nothing was changed. Copy \
         the directory, check the device, and restore this file from a backup"
    )]
    Unreadable {
        /// File.
        path: PathBuf,
        /// Byte offset of the block.
        offset: u64,
        /// The system's answer.
        source: io::Error,
    },

    /// Another process holds the store.
    #[error(
        "{path} is locked: is another ringmill running on this directory? Stop it, or choose \
         another --data directory"
    )]
    Locked {
        /// The locked file.
        path: PathBuf,
    },

    /// The file was written by another version.
    #[error(
        "{path} has format version {found}, this build reads version {FORMAT_VERSION}: start the \
         release that wrote it"
    )]
    Version {
        /// File.
        path: PathBuf,
        /// Version that the file states.
        found: u32,
    },

    /// The file belongs to another log or store.
    #[error(
        "{path} belongs to {found}, expected {expected}: files of two stores were mixed; put the \
         right file back"
    )]
    Identity {
        /// File.
        path: PathBuf,
        /// Identity that the file states.
        found: String,
        /// Identity that was asked for.
        expected: String,
    },

    /// A file that must be there is not.
    #[error(
        "{path} is missing, but {why}: nothing was changed. Put the file back from a backup, or \
         move the whole directory away to start empty"
    )]
    Missing {
        /// File.
        path: PathBuf,
        /// What says that it must be there.
        why: &'static str,
    },

    /// Both slots of a mark or manifest are unreadable.
    #[error(
        "{path}: neither of its two slots is valid; nothing was changed. Restore it from a backup"
    )]
    SlotsDamaged {
        /// File.
        path: PathBuf,
    },

    /// The log ends where it must not.
    #[error(
        "{path}: damage at offset {offset}: the log is valid through frame {sequence} (LSN \
         {lsn}), then {found_text}, although {evidence}. Nothing was changed; acknowledged entries \
         after LSN {lsn} are affected. Run `ringmill log verify` on a copy and restore from a \
         backup",
        found_text = found.describe()
    )]
    Corrupt {
        /// Segment.
        path: PathBuf,
        /// Byte offset of the first position that is not valid.
        offset: u64,
        /// Last valid frame.
        sequence: u64,
        /// Last valid entry.
        lsn: u64,
        /// What stands there.
        found: Next,
        /// What proves that there was more.
        evidence: Evidence,
    },

    /// A log that was left behind for good does not end with a clean close.
    #[error(
        "{path}: the log of an earlier layout of this store was not closed in order (it ends with \
         frame {sequence}); nothing was changed. Restore the directory from a backup"
    )]
    NotClosed {
        /// Directory of the stream.
        path: PathBuf,
        /// Last valid frame.
        sequence: u64,
    },

    /// A frame is whole, yet its entries are not well formed.
    #[error(
        "{path}: frame {sequence} at offset {offset} is whole but its entries are not well \
         formed: it was written by a defective build; nothing was changed"
    )]
    Malformed {
        /// Segment.
        path: PathBuf,
        /// Byte offset of the frame.
        offset: u64,
        /// Frame.
        sequence: u64,
    },

    /// The layer above refused a replayed entry.
    #[error("{path}: entry with LSN {lsn} (frame at offset {offset}) was refused: {source}")]
    Replay {
        /// Segment.
        path: PathBuf,
        /// Byte offset of the frame.
        offset: u64,
        /// Entry.
        lsn: u64,
        /// Why.
        source: ReplayError,
    },

    /// A write or flush of the running log failed: this log takes nothing more.
    #[error(
        "{path}: {action} at offset {offset} failed ({message}); frames {first_sequence} to \
         {last_sequence} may or may not be durable. The log is closed for writing; check the \
         device and restart: recovery decides"
    )]
    Failed {
        /// File.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Byte offset.
        offset: u64,
        /// First frame in doubt.
        first_sequence: u64,
        /// Last frame in doubt.
        last_sequence: u64,
        /// The system's answer.
        message: String,
    },

    /// Options or arguments that cannot work together.
    #[error("{0}")]
    Options(String),
}

impl StorageError {
    /// Wraps the system's answer to `action` on `path`.
    pub(crate) fn io(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(io::Error) -> StorageError + use<> {
        let path = path.to_path_buf();
        move |source| StorageError::Io {
            action,
            path,
            source,
        }
    }

    /// True if the error says that the medium lost or changed something, so that trying again
    /// cannot help.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            StorageError::Missing { .. }
                | StorageError::SlotsDamaged { .. }
                | StorageError::Corrupt { .. }
                | StorageError::NotClosed { .. }
                | StorageError::Malformed { .. }
                | StorageError::Identity { .. }
                | StorageError::Version { .. }
        )
    }
}
