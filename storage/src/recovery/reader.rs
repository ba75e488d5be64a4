//! Sequential reads in large pieces, frames handed out in place.

use std::io;
use std::path::Path;

use crate::aligned::AlignedBuf;
use crate::disk::{Disk, FileId};
use crate::error::StorageError;
use crate::layout::{BLOCK_BYTES, FRAME_BYTES_MAX};
use crate::segment::is_transient;

/// Bytes asked for at once: large enough to keep a device busy, small enough to stay in a cache.
const PIECE_BYTES: usize = 4 << 20;
const _: () = assert!(PIECE_BYTES >= 2 * FRAME_BYTES_MAX);

/// How often a read is tried before its error is believed.
const READ_TRIES: u32 = 4;

/// A window over one file that moves forward.
pub(super) struct Reader {
    buffer: AlignedBuf,
    file: FileId,
    file_bytes: u64,
    /// Offset of the window's first byte.
    start: u64,
    filled: usize,
}

impl Reader {
    /// A reader without a file; the window grows with the first one.
    pub(super) fn new() -> Reader {
        let buffer = AlignedBuf::zeroed(BLOCK_BYTES);
        Reader {
            buffer,
            file: 0,
            file_bytes: 0,
            start: 0,
            filled: 0,
        }
    }

    /// Turns to another file, whose length is in whole blocks.
    pub(super) fn turn_to(&mut self, file: FileId, file_bytes: u64) {
        let needed = (PIECE_BYTES as u64).min(file_bytes) as usize;
        if needed > self.buffer.len() {
            self.buffer = AlignedBuf::zeroed(needed);
        }
        (self.file, self.file_bytes, self.start, self.filled) = (file, file_bytes, 0, 0);
    }

    /// The `bytes` at `offset`, which lie inside the file; both whole blocks, at most a frame.
    pub(super) fn slice<D: Disk>(
        &mut self,
        disk: &mut D,
        path: &Path,
        offset: u64,
        bytes: usize,
    ) -> Result<&[u8], StorageError> {
        assert!(
            offset + bytes as u64 <= self.file_bytes,
            "reads stay inside the segment"
        );
        let end = self.start + self.filled as u64;
        if offset < self.start || offset + bytes as u64 > end {
            self.refill(disk, path, offset, end)?;
        }
        let at = (offset - self.start) as usize;
        Ok(&self.buffer[at..at + bytes])
    }

    /// Moves the window to `offset`, keeping what it already has from there on.
    fn refill<D: Disk>(
        &mut self,
        disk: &mut D,
        path: &Path,
        offset: u64,
        end: u64,
    ) -> Result<(), StorageError> {
        let kept = if (self.start..end).contains(&offset) {
            let from = (offset - self.start) as usize;
            self.buffer.copy_within(from..self.filled, 0);
            self.filled - from
        } else {
            0
        };
        self.start = offset;
        self.filled = kept;
        let wanted = (self.buffer.len() as u64).min(self.file_bytes - offset) as usize;
        let rest = &mut self.buffer[kept..wanted];
        read_whole(disk, self.file, path, offset + kept as u64, rest)?;
        self.filled = wanted;
        Ok(())
    }
}

/// Fills `buffer` or fails, naming the block: an error is halved down to one block and tried
/// again there, since a device may fail a large read for one bad sector or for none.
pub(crate) fn read_whole<D: Disk>(
    disk: &mut D,
    file: FileId,
    path: &Path,
    offset: u64,
    buffer: &mut [u8],
) -> Result<(), StorageError> {
    let mut done = 0;
    let mut piece = buffer.len();
    let mut tries = 0;
    while done < buffer.len() {
        let end = (done + piece).min(buffer.len());
        match disk.read_at(file, offset + done as u64, &mut buffer[done..end]) {
            Ok(0) => {
                let source = io::Error::from(io::ErrorKind::UnexpectedEof);
                return Err(StorageError::io("read", path)(source));
            }
            Ok(bytes) => {
                // A short read may end inside a block; the next one starts on it.
                done += bytes / BLOCK_BYTES * BLOCK_BYTES;
                tries = if bytes < BLOCK_BYTES { tries + 1 } else { 0 };
            }
            Err(error) if is_transient(&error) => tries += 1,
            Err(source) if piece <= BLOCK_BYTES && tries >= READ_TRIES => {
                let offset = offset + done as u64;
                return Err(StorageError::Unreadable {
                    path: path.into(),
                    offset,
                    source,
                });
            }
            Err(_) => {
                piece = (piece / 2)
                    .next_multiple_of(BLOCK_BYTES)
                    .min(piece)
                    .max(BLOCK_BYTES);
                tries += u32::from(piece == BLOCK_BYTES);
            }
        }
        if tries > 64 {
            let source = io::Error::from(io::ErrorKind::TimedOut);
            return Err(StorageError::io("read", path)(source));
        }
    }
    Ok(())
}
