//! The `mark`: what a stream knows about its own end, written off the acknowledgement path.
//!
//! Under load the next frame proves the one before; when the log falls idle, the mark does. It is
//! evidence, never the source of truth: recovery walks the frames and holds the mark against them.
//! Written when idle, after a new segment was begun, at close, and at every open, where it also
//! fixes the new incarnation.

use std::path::{Path, PathBuf};

use crate::checksum::CHECKSUM_KIND;
use crate::layout::mark_slot as at;
use crate::layout::{FORMAT_VERSION, get_u32, get_u64, get_u128, put_u32, put_u64, put_u128};
use crate::slots::Slot;

/// File name of the mark in a stream's directory.
pub const MARK_NAME: &str = "mark";

/// Path of the mark.
#[must_use]
pub fn mark_path(dir: &Path) -> PathBuf {
    dir.join(MARK_NAME)
}

/// The content of one slot; see the byte table in `docs/formats/log.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Closed in order: the last frame is a clean close.
    pub clean: bool,
    /// Identity of the log.
    pub log_id: u128,
    /// Stream of the log.
    pub stream: u32,
    /// Number of this change.
    pub generation: u64,
    /// Incarnation that wrote it.
    pub incarnation: u64,
    /// First frame sequence of this incarnation.
    pub incarnation_first_sequence: u64,
    /// Oldest segment that must exist.
    pub first_segment: u64,
    /// Newest segment known as begun; 0 if none.
    pub last_segment: u64,
    /// Last frame known as durable; 0 if none.
    pub durable_sequence: u64,
    /// Last entry known as durable; 0 if none.
    pub durable_lsn: u64,
    /// Link of that frame.
    pub durable_link: u128,
}

impl Mark {
    /// The mark of a log that holds nothing yet.
    #[must_use]
    pub fn fresh(log_id: u128, stream: u32) -> Mark {
        Mark {
            clean: false,
            log_id,
            stream,
            generation: 1,
            incarnation: 0,
            incarnation_first_sequence: 1,
            first_segment: 1,
            last_segment: 0,
            durable_sequence: 0,
            durable_lsn: 0,
            durable_link: 0,
        }
    }
}

impl Slot for Mark {
    fn encode(&self, block: &mut [u8]) {
        put_u64(block, at::MAGIC, at::MAGIC_VALUE);
        put_u32(block, at::VERSION, FORMAT_VERSION);
        put_u32(
            block,
            at::FLAGS,
            if self.clean { at::FLAG_CLEAN } else { 0 },
        );
        put_u128(block, at::LOG_ID, self.log_id);
        put_u32(block, at::STREAM, self.stream);
        put_u32(block, at::CHECKSUM_KIND, u32::from(CHECKSUM_KIND));
        put_u64(block, at::GENERATION, self.generation);
        put_u64(block, at::INCARNATION, self.incarnation);
        put_u64(
            block,
            at::INCARNATION_FIRST_SEQUENCE,
            self.incarnation_first_sequence,
        );
        put_u64(block, at::FIRST_SEGMENT, self.first_segment);
        put_u64(block, at::LAST_SEGMENT, self.last_segment);
        put_u64(block, at::DURABLE_SEQUENCE, self.durable_sequence);
        put_u64(block, at::DURABLE_LSN, self.durable_lsn);
        put_u128(block, at::DURABLE_LINK, self.durable_link);
    }

    fn decode(block: &[u8]) -> Result<Mark, Option<u32>> {
        if get_u64(block, at::MAGIC) != at::MAGIC_VALUE {
            return Err(None);
        }
        let version = get_u32(block, at::VERSION);
        if version != FORMAT_VERSION {
            return Err(Some(version));
        }
        Ok(Mark {
            clean: get_u32(block, at::FLAGS) & at::FLAG_CLEAN != 0,
            log_id: get_u128(block, at::LOG_ID),
            stream: get_u32(block, at::STREAM),
            generation: get_u64(block, at::GENERATION),
            incarnation: get_u64(block, at::INCARNATION),
            incarnation_first_sequence: get_u64(block, at::INCARNATION_FIRST_SEQUENCE),
            first_segment: get_u64(block, at::FIRST_SEGMENT),
            last_segment: get_u64(block, at::LAST_SEGMENT),
            durable_sequence: get_u64(block, at::DURABLE_SEQUENCE),
            durable_lsn: get_u64(block, at::DURABLE_LSN),
            durable_link: get_u128(block, at::DURABLE_LINK),
        })
    }

    fn generation(&self) -> u64 {
        self.generation
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::BLOCK_BYTES;
    use crate::slots::encode_slot;

    #[test]
    fn a_mark_is_read_back() {
        let mark = Mark {
            clean: true,
            log_id: u128::MAX - 1,
            stream: 7,
            generation: 2,
            incarnation: 3,
            incarnation_first_sequence: 4,
            first_segment: 5,
            last_segment: 6,
            durable_sequence: 7,
            durable_lsn: 8,
            durable_link: 9,
        };
        let mut block = vec![1; BLOCK_BYTES];
        encode_slot(&mark, &mut block);
        assert_eq!(Mark::decode(&block), Ok(mark));
        block[at::VERSION] = 9;
        assert_eq!(Mark::decode(&block), Err(Some(9)));
        block[at::MAGIC] = 9;
        assert_eq!(Mark::decode(&block), Err(None));
    }
}
