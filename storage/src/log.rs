//! The log of one stream: append, submit, poll.
//!
//! Owned by one thread. Entries are copied once into the filling buffer ([`Log::append`]); a call
//! to [`Log::submit`] turns them into a frame and sends it on its way if none is in flight;
//! [`Log::poll`] drives what is in flight and says what became durable. After warm-up nothing here
//! allocates, reads a clock, extends a file or waits.
//!
//! One frame is in flight at a time: then at most the last, never acknowledged frame can be torn,
//! and any valid later frame proves that an invalid earlier one is damage.
//!
//! A failed write or flush ends the log for good ([`Log::failed`]): whether the frame is on disk is
//! unknown, and only recovery decides.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

mod batch;
mod flight;
mod marker;
mod options;
mod start;

pub(crate) use start::{check_identity, read_mark};

pub use options::{FlushPolicy, FrameDone, LogIdentity, LogOptions, Lsn};

use crate::aligned::AlignedBuf;
use crate::disk::{Completion, Disk, FileId};
use crate::error::StorageError;
use crate::frame::FrameKind;
use crate::layout::{BLOCK_BYTES, FRAME_HEADER_BYTES, entry};
use crate::recovery::scan::{Access, Position};
use crate::segment::{PreparedSegment, prepare_segment};
use batch::Batch;
use flight::{Flight, Staged};
use marker::Marker;

/// Ticket of the one operation on the segments.
const TICKET_SEGMENT: u64 = 1;
/// Ticket of the one operation on the mark.
const TICKET_MARK: u64 = 2;

/// Pause between two marks of an idle log: the bound on what a lost last frame can hide behind.
pub const MARK_PAUSE_NS: u64 = 50_000_000;

/// Longest entry that fits a frame of `frame_bytes`.
#[must_use]
pub const fn entry_bytes_max(frame_bytes: usize) -> usize {
    frame_bytes - FRAME_HEADER_BYTES - entry::PREAMBLE_BYTES - 2 * entry::PREFIX_BYTES
}

/// A segment that the log writes to, or will.
struct Segment {
    segment_sequence: u64,
    file: FileId,
    path: PathBuf,
    blocks: u32,
    next_block: u32,
}

impl Segment {
    /// True if a frame fits and leaves a block for the seal.
    fn fits(&self, blocks: u32) -> bool {
        self.next_block + blocks < self.blocks
    }

    fn bytes(&self) -> u64 {
        u64::from(self.blocks) * BLOCK_BYTES as u64
    }
}

/// Why a log takes nothing more.
struct Failure {
    path: PathBuf,
    action: &'static str,
    offset: u64,
    first_sequence: u64,
    last_sequence: u64,
    message: String,
}

/// An append-only log on a disk.
pub struct Log<D: Disk> {
    disk: D,
    dir: PathBuf,
    identity: LogIdentity,
    options: LogOptions,
    incarnation: u64,

    active: Segment,
    /// Prepared, open and locked, in the order of their sequences.
    ready: VecDeque<Segment>,
    /// Last segment in hand: active, being begun, or ready.
    last_segment: u64,

    /// Entries that were appended and not submitted. `None` once the log failed, or while both
    /// buffers are away.
    filling: Option<Batch>,
    /// The other buffer, when it is home.
    spare: Option<AlignedBuf>,
    /// One block for seals and segment headers.
    control: Option<AlignedBuf>,
    /// A frame that waits for the next segment to begin.
    staged: Option<Staged>,
    flight: Option<Flight>,
    /// Nothing more fits until a segment is supplied.
    starved: bool,

    appended_lsn: Lsn,
    /// Last frame that was written in full.
    written: Position,
    /// Last frame that is durable with everything before it.
    durable: Position,
    /// Link that the next header names.
    chain: u128,

    marker: Marker,
    /// A segment was begun since the last mark.
    mark_due: bool,
    failure: Option<Failure>,
    completions: Vec<Completion>,
}

impl<D: Disk> Log<D> {
    /// Longest entry that [`Log::append`] accepts right now; 0 if it accepts none.
    #[inline]
    pub fn room(&self) -> usize {
        match &self.filling {
            Some(batch) if !self.starved => batch.room(),
            _ => 0,
        }
    }

    /// Copies the concatenation of `parts` as one entry and returns its LSN. `None` if there is no
    /// room now: call again after [`Log::poll`] and [`Log::submit`]. `kind` is the caller's number
    /// for what the bytes are; replay hands it back.
    ///
    /// # Panics
    /// If the entry is longer than [`entry_bytes_max`] of the options: it would never fit. If the
    /// kind is 0: that is none.
    #[inline]
    pub fn append(&mut self, kind: u32, parts: &[&[u8]]) -> Option<Lsn> {
        if self.starved {
            return None;
        }
        let batch = self.filling.as_mut()?;
        if !batch.push(kind, parts) {
            assert!(batch.entries() > 0, "an entry fits an empty frame");
            return None;
        }
        self.appended_lsn += 1;
        Some(self.appended_lsn)
    }

    /// Bytes of entries that were appended and not submitted, with their prefixes.
    #[inline]
    pub fn pending_bytes(&self) -> usize {
        self.filling.as_ref().map_or(0, Batch::payload_bytes)
    }

    /// True while a frame, a roll or a flush is on its way.
    #[inline]
    pub fn in_flight(&self) -> bool {
        self.flight.is_some()
    }

    /// Seals what is pending and submits it, if nothing is in flight. With `flush` it will be
    /// durable, and everything before it; if nothing is pending then, what was written without a
    /// flush is flushed. Returns true if something was submitted.
    ///
    /// `now_ns` comes back in [`FrameDone`].
    pub fn submit(&mut self, now_ns: u64, flush: bool) -> bool {
        if self.flight.is_some() || self.failure.is_some() {
            return false;
        }
        let Some(batch) = self.filling.take_if(|batch| batch.entries() > 0) else {
            let behind = self.durable.sequence < self.written.sequence;
            if flush && behind {
                self.launch_flush(now_ns);
            }
            return flush && behind;
        };
        if !self.active.fits(batch.blocks()) && self.ready.is_empty() {
            self.filling = Some(batch);
            self.starved = true;
            return false;
        }
        self.filling = self.spare.take().map(Batch::new);
        self.launch(Staged {
            batch,
            kind: FrameKind::Data,
            durable: flush,
            submitted_ns: now_ns,
        });
        true
    }

    /// Drives what is in flight. Returns a report when a frame or a flush is done, which is the
    /// moment to acknowledge. After the first error it returns an error for good.
    pub fn poll(&mut self, now_ns: u64) -> Result<Option<FrameDone>, StorageError> {
        let mut done = None;
        let mut completions = std::mem::take(&mut self.completions);
        self.disk.reap(&mut completions);
        for completion in completions.drain(..) {
            match completion.ticket {
                TICKET_SEGMENT => done = self.landed(completion, now_ns).or(done),
                TICKET_MARK => self.mark_landed(completion),
                ticket => unreachable!("ticket {ticket} was never given out"),
            }
        }
        self.completions = completions;
        if self.failure.is_some() {
            return Err(self.failure_error());
        }
        if self.filling.is_none() {
            self.filling = self.spare.take().map(Batch::new);
        }
        if self.mark_due {
            self.write_mark(now_ns);
        }
        Ok(done)
    }

    /// LSN of the last entry that was appended.
    #[inline]
    pub fn appended_lsn(&self) -> Lsn {
        self.appended_lsn
    }

    /// LSN up to which everything was written in full.
    #[inline]
    pub fn written_lsn(&self) -> Lsn {
        self.written.lsn
    }

    /// LSN up to which everything is durable.
    #[inline]
    pub fn durable_lsn(&self) -> Lsn {
        self.durable.lsn
    }

    /// Incarnation that this log writes under.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Identity that the log was opened with.
    pub fn identity(&self) -> LogIdentity {
        self.identity
    }

    /// Directory of the stream.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Options that the log was opened with.
    pub fn options(&self) -> &LogOptions {
        &self.options
    }

    /// The disk, for the back end's own counters and pumps.
    pub fn disk_mut(&mut self) -> &mut D {
        &mut self.disk
    }

    /// True after any failed write or flush: nothing more is taken.
    #[inline]
    pub fn failed(&self) -> bool {
        self.failure.is_some()
    }

    /// True if fewer prepared segments are at hand than the options want.
    #[inline]
    pub fn needs_segment(&self) -> bool {
        self.ready.len() < self.options.segments_ready && self.failure.is_none()
    }

    /// Sequence of the segment to prepare next, if one is needed. The caller keeps in mind that it
    /// has asked for it.
    pub fn wanted_segment(&self) -> Option<u64> {
        self.needs_segment().then_some(self.last_segment + 1)
    }

    /// Takes a segment that was prepared for [`Log::wanted_segment`]. Opens and locks it with
    /// blocking calls, once per segment.
    pub fn supply(&mut self, segment: PreparedSegment) -> Result<(), StorageError> {
        if segment.segment_sequence != self.last_segment + 1 {
            return Err(StorageError::Options(format!(
                "segment {} was supplied where {} is next",
                segment.segment_sequence,
                self.last_segment + 1,
            )));
        }
        let access = self.access();
        let Some(segment) = self.open_prepared(access, &segment.path, segment.segment_sequence)?
        else {
            return Err(StorageError::Missing {
                path: segment.path,
                why: "it was reported as prepared",
            });
        };
        self.last_segment = segment.segment_sequence;
        self.ready.push_back(segment);
        self.starved = false;
        Ok(())
    }

    /// Writes the mark if the log is idle, something became durable since the last one, and the
    /// last one is [`MARK_PAUSE_NS`] old. Asynchronous; nobody waits for it.
    pub fn idle_mark(&mut self, now_ns: u64) {
        let idle = self.flight.is_none() && self.pending_bytes() == 0;
        if idle && self.mark_is_stale() && self.marker.is_old(now_ns) {
            self.write_mark(now_ns);
        }
    }

    /// Makes everything durable, ends the log with a clean close and the mark, and gives the disk
    /// back. Blocks.
    pub fn close(mut self) -> Result<D, StorageError> {
        while self.pending_bytes() > 0 || self.flight.is_some() {
            self.submit(0, true);
            if self.starved {
                self.prepare_next()?;
                continue;
            }
            self.drain_one()?;
        }
        let Some(batch) = self
            .filling
            .take()
            .or_else(|| self.spare.take().map(Batch::new))
        else {
            return Err(self.failure_error());
        };
        if !self.active.fits(batch.blocks()) && self.ready.is_empty() {
            self.prepare_next()?;
        }
        self.launch(Staged {
            batch,
            kind: FrameKind::Close,
            durable: true,
            submitted_ns: 0,
        });
        while self.flight.is_some() || self.marker.in_flight() {
            self.drain_one()?;
        }
        self.close_mark()?;
        let files = self.ready.iter().map(|segment| segment.file);
        for file in files.chain([self.active.file]).collect::<Vec<_>>() {
            self.disk.close(file);
        }
        Ok(self.disk)
    }

    fn drain_one(&mut self) -> Result<(), StorageError> {
        self.disk
            .wait()
            .map_err(StorageError::io("wait for", &self.active.path))?;
        self.poll(0).map(|_| ())
    }

    fn prepare_next(&mut self) -> Result<(), StorageError> {
        let next = self.last_segment + 1;
        let bytes = self.options.segment_bytes;
        let prepared = prepare_segment(&mut self.disk, &self.dir, next, bytes)?;
        self.supply(prepared)
    }

    fn access(&self) -> Access {
        Access::Exclusive {
            tries: self.options.lock_tries,
            wait: self.options.lock_wait,
        }
    }

    /// Ends the log as a writer, at once and for good.
    fn fail(&mut self, action: &'static str, flight: &Flight, message: &str) {
        self.fail_at(Failure {
            path: flight.segment(&self.active).path.clone(),
            action,
            offset: flight.offset(),
            first_sequence: self.durable.sequence + 1,
            last_sequence: flight.last_sequence(self.written),
            message: message.to_owned(),
        });
    }

    fn fail_at(&mut self, failure: Failure) {
        self.filling = None;
        self.staged = None;
        self.mark_due = false;
        self.failure.get_or_insert(failure);
    }

    fn failure_error(&self) -> StorageError {
        let failure = self
            .failure
            .as_ref()
            .expect("invariant: asked only after a failure");
        StorageError::Failed {
            path: failure.path.clone(),
            action: failure.action,
            offset: failure.offset,
            first_sequence: failure.first_sequence,
            last_sequence: failure.last_sequence,
            message: failure.message.clone(),
        }
    }
}
