//! Sequential reads in large pieces, frames handed out in place.

use std::io;
use std::ops::Range;
use std::path::Path;

use super::ahead::Ahead;
use crate::aligned::AlignedBuf;
use crate::disk::{Disk, FileId};
use crate::error::StorageError;
use crate::layout::{BLOCK_BYTES, FRAME_BYTES_MAX};
use crate::segment::is_transient;

/// Bytes asked for at once, by default: large enough to keep a device busy, small enough that what
/// is being worked on stays in a cache.
pub(crate) const PIECE_BYTES_DEFAULT: usize = 2 << 20;

/// Most that can be asked for at once: what is held at a time is a small multiple of it.
pub(crate) const PIECE_BYTES_MAX: usize = 16 << 20;

/// How often a read is tried before its error is believed.
const READ_TRIES: u32 = 4;

/// A window over one file that moves forward, with the pieces behind it on their way.
///
/// What a frame has in one piece is copied in front of the next, into headroom kept there, so that
/// every frame is contiguous: one frame per piece at most.
pub(super) struct Reader {
    ahead: Ahead,
    file: FileId,
    /// Nothing is read from here on.
    end: u64,
    buffer: AlignedBuf,
    /// Offset of the window's first byte, and its place in the buffer.
    start: u64,
    at: usize,
    filled: usize,
    /// End of the piece that the window ends in: up to here the read ahead has failed.
    piece_end: u64,
}

impl Reader {
    /// A reader without a file; its buffers grow with the first one.
    pub(super) fn new(piece_bytes: usize) -> Reader {
        Reader {
            ahead: Ahead::new(piece_bytes),
            file: 0,
            end: 0,
            buffer: AlignedBuf::zeroed(BLOCK_BYTES),
            start: 0,
            at: 0,
            filled: 0,
            piece_end: 0,
        }
    }

    /// Turns to `range` of another file, in whole blocks, of which nothing else is read.
    pub(super) fn turn_to<D: Disk>(
        &mut self,
        disk: &mut D,
        path: &Path,
        file: FileId,
        range: Range<u64>,
    ) -> Result<(), StorageError> {
        (self.file, self.end) = (file, range.end);
        (self.start, self.filled, self.piece_end) = (range.start, 0, range.start);
        // What is carried over is less than what is asked for at once: a frame, or the range.
        let headroom = (range.end - range.start).min(FRAME_BYTES_MAX as u64) as usize;
        self.ahead
            .turn_to(disk, file, range, headroom)
            .map_err(StorageError::io("read", path))
    }

    /// The `bytes` at `offset`, which lie inside the range and not before the last ones asked for;
    /// both whole blocks, at most a frame.
    #[inline]
    pub(super) fn slice<D: Disk>(
        &mut self,
        disk: &mut D,
        path: &Path,
        offset: u64,
        bytes: usize,
    ) -> Result<&[u8], StorageError> {
        let end = offset + bytes as u64;
        assert!(
            (self.start..=self.window_end()).contains(&offset) && end <= self.end,
            "invariant: reads go forward and stay inside the range"
        );
        while end > self.window_end() {
            self.extend(disk, path, offset, end)?;
        }
        let at = self.at + (offset - self.start) as usize;
        Ok(&self.buffer[at..at + bytes])
    }

    /// Leaves the file: waits for the reads in flight, if any.
    pub(super) fn leave<D: Disk>(&mut self, disk: &mut D, path: &Path) -> Result<(), StorageError> {
        (self.end, self.filled, self.piece_end) = (self.start, 0, self.start);
        self.ahead
            .settle(disk)
            .map_err(StorageError::io("read", path))
    }

    /// Leaves and closes `file`. If a read of it cannot be waited for, it goes with the disk.
    pub(super) fn close<D: Disk>(
        &mut self,
        disk: &mut D,
        path: &Path,
        file: FileId,
    ) -> Result<(), StorageError> {
        self.leave(disk, path)?;
        disk.close(file);
        Ok(())
    }

    fn window_end(&self) -> u64 {
        self.start + self.filled as u64
    }

    /// Moves the window's end towards `end`, keeping what it has from `offset` on.
    fn extend<D: Disk>(
        &mut self,
        disk: &mut D,
        path: &Path,
        offset: u64,
        end: u64,
    ) -> Result<(), StorageError> {
        let from = self.window_end();
        if from < self.piece_end {
            let until = end.min(self.piece_end);
            let at = self.at + self.filled;
            let missing = &mut self.buffer[at..at + (until - from) as usize];
            read_whole(disk, self.file, path, from, missing)?;
            self.filled = (until - self.start) as usize;
            return Ok(());
        }
        let io_error = StorageError::io("read", path);
        let next = self.ahead.next(disk).map_err(io_error)?;
        let mut piece = next.expect("invariant: pieces reach to the end of the range");
        let headroom = self.ahead.headroom();
        let kept = (from - offset) as usize;
        let tail = self.at + self.filled - kept..self.at + self.filled;
        piece.buffer[headroom - kept..headroom].copy_from_slice(&self.buffer[tail]);
        (self.start, self.at) = (offset, headroom - kept);
        self.filled = kept + piece.filled;
        self.piece_end = piece.offset + piece.bytes as u64;
        let used = std::mem::replace(&mut self.buffer, piece.buffer);
        let io_error = StorageError::io("read", path);
        self.ahead.give_back(disk, used).map_err(io_error)
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
