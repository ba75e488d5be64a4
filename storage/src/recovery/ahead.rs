//! Reads in flight ahead of their use, in the order of the file.
//!
//! A file is asked for in pieces. [`READS_AHEAD`] of them are on their way while the caller works
//! on the one before, so that neither the device nor the caller waits for the other. Completions
//! come in any order; pieces are handed out in that of the file.
//!
//! A read ahead is a guess: it may cover blocks that nobody will ask for. So it never fails. It
//! delivers what it got, and whoever needs the rest reads exactly that and judges the error.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use crate::aligned::AlignedBuf;
use crate::disk::{Completion, Disk, FileId, Op};
use crate::layout::BLOCK_BYTES;
use crate::planted::{PlantedBug, planted};

/// Pieces in flight while one is being worked on: one would do for a caller that never pauses, the
/// second covers the time from the end of one read to the start of the next.
const READS_AHEAD: usize = 2;

/// A part of the file in a buffer.
pub(super) struct Piece {
    /// Byte offset in the file.
    pub(super) offset: u64,
    /// Its length.
    pub(super) bytes: usize,
    /// How much of it is there, from the front; less than `bytes` if the read failed.
    pub(super) filled: usize,
    /// Holds it from the headroom on.
    pub(super) buffer: AlignedBuf,
}

/// A piece that was asked for.
struct Asked {
    ticket: u64,
    offset: u64,
    bytes: usize,
    filled: usize,
    /// The buffer, when it is home again: the read is over.
    landed: Option<AlignedBuf>,
}

/// Reads ahead in one file.
pub(super) struct Ahead {
    piece_bytes: usize,
    /// Bytes in front of every piece that are the caller's to fill.
    headroom: usize,
    file: FileId,
    /// What nobody has asked for yet.
    rest: Range<u64>,
    /// In the order of the file.
    asked: VecDeque<Asked>,
    spare: Vec<AlignedBuf>,
    ticket: u64,
    completions: Vec<Completion>,
}

impl Ahead {
    /// Reads of `piece_bytes` each, without a file yet.
    pub(super) fn new(piece_bytes: usize) -> Ahead {
        Ahead {
            piece_bytes,
            headroom: 0,
            file: 0,
            rest: 0..0,
            asked: VecDeque::with_capacity(READS_AHEAD),
            spare: Vec::with_capacity(READS_AHEAD + 1),
            ticket: 0,
            completions: Vec::with_capacity(READS_AHEAD),
        }
    }

    /// Bytes in front of every piece.
    pub(super) fn headroom(&self) -> usize {
        self.headroom
    }

    /// Turns to `range` of a file, in whole blocks, and starts reading it. Reads never leave it.
    /// `headroom` bytes are kept free in front of every piece.
    pub(super) fn turn_to<D: Disk>(
        &mut self,
        disk: &mut D,
        file: FileId,
        range: Range<u64>,
        headroom: usize,
    ) -> io::Result<()> {
        self.settle(disk)?;
        while let Some(asked) = self.asked.pop_front() {
            self.spare.extend(asked.landed);
        }
        let needed = headroom + self.bytes_of(&range);
        self.spare.retain(|buffer| buffer.len() >= needed);
        (self.file, self.rest, self.headroom) = (file, range, headroom);
        self.launch(disk)
    }

    /// The next piece of the file, waited for if need be. `None` behind the last one.
    pub(super) fn next<D: Disk>(&mut self, disk: &mut D) -> io::Result<Option<Piece>> {
        loop {
            if let Some(piece) = self.next_landed().and_then(|place| self.take(place)) {
                return Ok(Some(piece));
            }
            if self.asked.is_empty() {
                return Ok(None);
            }
            self.collect(disk)?;
        }
    }

    /// Place of the next piece of the file, if it is here.
    fn next_landed(&self) -> Option<usize> {
        let first = self.asked.iter().position(|asked| asked.landed.is_some())?;
        (first == 0 || planted(PlantedBug::ReadAheadOutOfOrder)).then_some(first)
    }

    fn take(&mut self, place: usize) -> Option<Piece> {
        let asked = self.asked.remove(place)?;
        Some(Piece {
            offset: asked.offset,
            bytes: asked.bytes,
            filled: asked.filled,
            buffer: asked.landed?,
        })
    }

    /// Takes a buffer back and starts the reads that there is room for.
    pub(super) fn give_back<D: Disk>(
        &mut self,
        disk: &mut D,
        buffer: AlignedBuf,
    ) -> io::Result<()> {
        if buffer.len() >= self.headroom + self.bytes_of(&self.rest) {
            self.spare.push(buffer);
        }
        self.launch(disk)
    }

    /// Waits until nothing is in flight: before the file may be closed or the disk changes hands.
    pub(super) fn settle<D: Disk>(&mut self, disk: &mut D) -> io::Result<()> {
        self.rest.start = self.rest.end;
        while self.in_flight() {
            self.collect(disk)?;
        }
        Ok(())
    }

    /// True while a read is on its way.
    pub(super) fn in_flight(&self) -> bool {
        self.asked.iter().any(|asked| asked.landed.is_none())
    }

    fn bytes_of(&self, rest: &Range<u64>) -> usize {
        (self.piece_bytes as u64).min(rest.end - rest.start) as usize
    }

    fn launch<D: Disk>(&mut self, disk: &mut D) -> io::Result<()> {
        let mut launched = false;
        while self.asked.len() < READS_AHEAD && !self.rest.is_empty() {
            let bytes = self.bytes_of(&self.rest);
            let buffer = self
                .spare
                .pop()
                .unwrap_or_else(|| AlignedBuf::zeroed(self.headroom + bytes));
            let asked = Asked {
                ticket: self.ticket,
                offset: self.rest.start,
                bytes,
                filled: 0,
                landed: None,
            };
            self.ticket += 1;
            self.rest.start += bytes as u64;
            self.submit(disk, &asked, buffer);
            self.asked.push_back(asked);
            launched = true;
        }
        match launched {
            true => disk.start(),
            false => Ok(()),
        }
    }

    /// Asks for what is missing of a piece.
    fn submit<D: Disk>(&self, disk: &mut D, asked: &Asked, buffer: AlignedBuf) {
        disk.submit(
            asked.ticket,
            Op::Read {
                file: self.file,
                offset: asked.offset + asked.filled as u64,
                buffer,
                start: self.headroom + asked.filled,
                bytes: asked.bytes - asked.filled,
            },
        );
    }

    /// Takes what has completed; waits only if nothing has.
    fn collect<D: Disk>(&mut self, disk: &mut D) -> io::Result<()> {
        let mut completions = std::mem::take(&mut self.completions);
        disk.reap(&mut completions);
        if completions.is_empty() {
            disk.wait()?;
            disk.reap(&mut completions);
        }
        let mut again = false;
        for completion in completions.drain(..) {
            again |= self.landed(disk, completion);
        }
        self.completions = completions;
        match again {
            true => disk.start(),
            false => Ok(()),
        }
    }

    /// Notes the end of a read; true if the rest of a short one was asked for.
    fn landed<D: Disk>(&mut self, disk: &mut D, completion: Completion) -> bool {
        let ticket = completion.ticket;
        let place = self.asked.iter().position(|asked| asked.ticket == ticket);
        let place = place.expect("invariant: only pieces that were asked for complete");
        let buffer = completion.buffer;
        let buffer = buffer.expect("invariant: a read brings its buffer home");
        let asked = &mut self.asked[place];
        // A short read may end inside a block; the next one starts on it.
        let got = completion.result.map_or(0, |bytes| bytes / BLOCK_BYTES) * BLOCK_BYTES;
        asked.filled += got;
        if planted(PlantedBug::IgnoreShortRead) {
            asked.filled = asked.bytes;
        }
        if got == 0 || asked.filled == asked.bytes {
            asked.landed = Some(buffer);
            return false;
        }
        self.submit(disk, &self.asked[place], buffer);
        true
    }
}
