//! What a log is opened with, and what it reports.

use std::time::Duration;

use crate::error::StorageError;
use crate::layout::{BLOCK_BYTES, FRAME_BYTES_MAX, SEGMENT_BLOCKS_RESERVED, SEGMENT_BYTES_DEFAULT};
use crate::recovery::{PIECE_BYTES_DEFAULT, PIECE_BYTES_MAX};

/// Sequence of an entry within one log: the first is 1, without gaps.
pub type Lsn = u64;

/// Which log this is. Files of another one are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogIdentity {
    /// Random identity of the store.
    pub log_id: u128,
    /// Stream of the log within the store.
    pub stream: u32,
}

/// How a frame is made durable; which one is fast depends on the host (see [`crate::probe`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlushPolicy {
    /// The write itself is flushed (`RWF_DSYNC`).
    #[default]
    WithWrite,
    /// The write completes in full, then a flush of its own is submitted. Never linked to the
    /// write: a short write would let the flush run first.
    AfterWrite,
}

/// Options of a log. They may change from one open to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Length of new segments: a multiple of [`BLOCK_BYTES`] that holds at least two frames.
    pub segment_bytes: u64,
    /// Longest frame, header included; at most [`FRAME_BYTES_MAX`].
    pub frame_bytes: usize,
    /// How frames are made durable.
    pub flush: FlushPolicy,
    /// Prepared segments that [`crate::log::Log::wanted_segment`] asks to have in hand.
    pub segments_ready: usize,
    /// Bytes of one read of recovery, in whole blocks; a few of them are in flight.
    pub replay_piece_bytes: usize,
    /// Attempts at a lock. A killed process's last write keeps its lock until it has landed.
    pub lock_tries: u32,
    /// Pause between them.
    pub lock_wait: Duration,
    /// Entries up to here must exist (a snapshot or manifest needs them).
    pub required_lsn: Lsn,
    /// The log must exist already: a missing one is damage, not a new store.
    pub must_exist: bool,
    /// Number of the layer above, stored in every frame.
    pub schema_id: u32,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions {
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            frame_bytes: FRAME_BYTES_MAX,
            flush: FlushPolicy::WithWrite,
            segments_ready: 2,
            replay_piece_bytes: PIECE_BYTES_DEFAULT,
            lock_tries: 40,
            lock_wait: Duration::from_millis(50),
            required_lsn: 0,
            must_exist: false,
            schema_id: 0,
        }
    }
}

impl LogOptions {
    /// Checks that the lengths fit together.
    pub fn check(&self) -> Result<(), StorageError> {
        let block = BLOCK_BYTES as u64;
        let frame = self.frame_bytes as u64;
        let frame_ok =
            frame.is_multiple_of(block) && (block..=FRAME_BYTES_MAX as u64).contains(&frame);
        let segment_min = 2 * frame + u64::from(SEGMENT_BLOCKS_RESERVED) * block;
        let segment_ok = self.segment_bytes.is_multiple_of(block)
            && (segment_min..=u64::from(u32::MAX)).contains(&self.segment_bytes);
        let piece = self.replay_piece_bytes;
        if piece == 0 || !piece.is_multiple_of(BLOCK_BYTES) || piece > PIECE_BYTES_MAX {
            return Err(StorageError::Options(format!(
                "recovery reads {piece} bytes at once: it must be a multiple of {block} up to \
                 {PIECE_BYTES_MAX}"
            )));
        }
        if frame_ok && segment_ok {
            return Ok(());
        }
        Err(StorageError::Options(format!(
            "segment of {} bytes with frames of up to {frame} bytes: both must be multiples of \
             {block}, a frame at most {FRAME_BYTES_MAX}, a segment from {segment_min} to {}",
            self.segment_bytes,
            u32::MAX,
        )))
    }
}

/// A frame reached what was asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameDone {
    /// Last entry of the frame; every entry up to here is written.
    pub through_lsn: Lsn,
    /// Entries in the frame; 0 if this was only a flush.
    pub entries: u32,
    /// Bytes written, header and padding included.
    pub bytes: usize,
    /// Every entry up to `through_lsn` is durable.
    pub durable: bool,
    /// Time of the `submit`, from its `now_ns`.
    pub submitted_ns: u64,
    /// Time of the poll that saw the write completed in full.
    pub written_ns: u64,
    /// Time of the poll that saw the flush; that of the write if it flushed itself or none was
    /// asked for.
    pub synced_ns: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_fit_and_the_limits_hold() {
        let options = LogOptions::default();
        assert!(options.check().is_ok());
        for (segment_bytes, frame_bytes) in [
            (64 << 20, 2 << 20),
            (64 << 20, 5000),
            (64 << 20, 0),
            ((2 << 20) + 4096, 1 << 20),
            ((64 << 20) + 512, 1 << 20),
            (1 << 40, 1 << 20),
        ] {
            let options = LogOptions {
                segment_bytes,
                frame_bytes,
                ..options
            };
            assert!(options.check().is_err(), "{segment_bytes} {frame_bytes}");
        }
        let least = (2 << 20) + 8192;
        assert!(
            LogOptions {
                segment_bytes: least,
                ..options
            }
            .check()
            .is_ok()
        );
    }
}
