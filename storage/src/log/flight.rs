//! What the log has in flight, and what follows when it lands.
//!
//! There is one operation at a time on the segments. A frame that fits is one write:
//!
//! ```text
//! submit -> Frame -> idle
//! ```
//!
//! A frame that does not fit waits in `staged` while the log rolls over to the next segment:
//!
//! ```text
//! submit -> Seal (old segment) -> Header (block 0 of the new one) -> Frame -> idle
//! ```
//!
//! Each of these is a write that must land in full, then, if it is to be durable and did not
//! flush itself, a flush. The order is the proof that recovery relies on: a header exists only
//! behind a durable seal, a frame only behind a durable header.

use crate::aligned::AlignedBuf;
use crate::disk::{Completion, Disk, FileId, Op};
use crate::frame::{FrameHeader, FrameKind, blocks_of};
use crate::layout::BLOCK_BYTES;
use crate::planted::{PlantedBug, planted};
use crate::recovery::scan::Position;
use crate::segment::{SegmentHeader, is_transient};

use super::batch::Batch;
use super::options::{FlushPolicy, FrameDone};
use super::{Log, Segment, TICKET_SEGMENT};

/// How often a write that was short or interrupted is submitted again, whole.
const WRITE_TRIES: u32 = 64;

/// A write on its way, and what it means when it has landed.
pub(super) struct Flight {
    what: What,
    file: FileId,
    offset: u64,
    bytes: usize,
    /// What it carries counts as durable when it has arrived.
    durable: bool,
    /// The write flushes itself.
    flush: bool,
    /// A flush follows the write.
    sync_after: bool,
    /// The flush is on its way; the buffer is home already.
    syncing: bool,
    tries: u32,
    submitted_ns: u64,
    written_ns: u64,
}

/// The meaning of a flight.
enum What {
    /// A frame with entries, or a clean close.
    Frame { after: Position, entries: u32 },
    /// The end of the active segment.
    Seal { after: Position },
    /// Block 0 of the next segment, with the link that it gives to the first frame.
    Header { segment: Segment, link: u128 },
    /// Only a flush of what was written.
    Flush,
}

/// A frame that waits for its place.
pub(super) struct Staged {
    pub(super) batch: Batch,
    pub(super) kind: FrameKind,
    pub(super) durable: bool,
    pub(super) submitted_ns: u64,
}

impl Flight {
    /// Last frame that is in doubt while this is in flight.
    pub(super) fn last_sequence(&self, written: Position) -> u64 {
        match &self.what {
            What::Frame { after, .. } | What::Seal { after } => after.sequence,
            What::Header { .. } | What::Flush => written.sequence,
        }
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Segment that it writes to.
    pub(super) fn segment<'a>(&'a self, active: &'a Segment) -> &'a Segment {
        match &self.what {
            What::Header { segment, .. } => segment,
            What::Frame { .. } | What::Seal { .. } | What::Flush => active,
        }
    }
}

impl<D: Disk> Log<D> {
    /// Sends a frame on its way, through a roll if it does not fit.
    pub(super) fn launch(&mut self, staged: Staged) {
        debug_assert!(self.flight.is_none(), "one frame in flight");
        let fits = self.active.fits(staged.batch.blocks());
        if fits {
            self.launch_frame(staged);
        } else {
            self.launch_seal(staged.submitted_ns);
            self.staged = Some(staged);
        }
    }

    fn launch_frame(&mut self, staged: Staged) {
        let Staged {
            mut batch,
            kind,
            durable,
            submitted_ns,
        } = staged;
        let (entries, payload_bytes) = (batch.entries(), batch.payload_bytes());
        let payload_digest = batch.close();
        let mut buffer = batch.into_buffer();
        let header = self.frame_header(kind, entries, payload_bytes, payload_digest);
        let link = header.encode(&mut buffer);
        let (sequence, lsn) = (header.frame_sequence, self.written.lsn + u64::from(entries));
        let after = Position {
            sequence,
            lsn,
            link,
        };
        let what = What::Frame { after, entries };
        self.launch_write(what, &header, buffer, durable, submitted_ns);
        if planted(PlantedBug::AckBeforeCompletion) {
            self.durable = after;
        }
    }

    /// Ends the active segment. Its frames become durable with the seal, flushed before or not.
    fn launch_seal(&mut self, submitted_ns: u64) {
        let mut buffer = self
            .control
            .take()
            .expect("invariant: the control block is home");
        buffer[crate::layout::FRAME_HEADER_BYTES..].fill(0);
        let digest = crate::checksum::digest(&buffer[crate::layout::FRAME_HEADER_BYTES..]);
        let header = self.frame_header(FrameKind::Seal, 0, 0, digest);
        let link = header.encode(&mut buffer);
        let after = Position {
            sequence: header.frame_sequence,
            link,
            ..self.written
        };
        let durable = !planted(PlantedBug::HeaderBeforeSeal);
        self.launch_write(What::Seal { after }, &header, buffer, durable, submitted_ns);
    }

    /// Begins the next segment.
    fn launch_header(&mut self, submitted_ns: u64) {
        let segment = self
            .ready
            .pop_front()
            .expect("invariant: a roll begins with a segment ready");
        let mut buffer = self
            .control
            .take()
            .expect("invariant: the control block is home");
        let header = SegmentHeader {
            log_id: self.identity.log_id,
            stream: self.identity.stream,
            segment_sequence: segment.segment_sequence,
            segment_bytes: segment.bytes(),
            first_lsn: self.written.lsn + 1,
            first_frame_sequence: self.written.sequence + 1,
            incarnation: self.incarnation,
            previous_link: self.written.link,
        };
        let link = header.encode(&mut buffer);
        let with_write = self.options.flush == FlushPolicy::WithWrite;
        let flight = Flight {
            file: segment.file,
            what: What::Header { segment, link },
            offset: 0,
            bytes: BLOCK_BYTES,
            durable: true,
            flush: with_write,
            sync_after: !with_write,
            syncing: false,
            tries: 0,
            submitted_ns,
            written_ns: 0,
        };
        self.take_off(flight, buffer);
    }

    /// Flushes what was written without.
    pub(super) fn launch_flush(&mut self, now_ns: u64) {
        let file = self.active.file;
        self.flight = Some(Flight {
            what: What::Flush,
            file,
            offset: 0,
            bytes: 0,
            durable: true,
            flush: false,
            sync_after: true,
            syncing: true,
            tries: 0,
            submitted_ns: now_ns,
            written_ns: now_ns,
        });
        self.disk.submit(TICKET_SEGMENT, Op::Datasync { file });
    }

    fn frame_header(
        &self,
        kind: FrameKind,
        entry_count: u32,
        payload_bytes: usize,
        payload_digest: u128,
    ) -> FrameHeader {
        FrameHeader {
            kind,
            log_id_low: self.identity.log_id as u64,
            segment_sequence: self.active.segment_sequence,
            block_index: self.active.next_block,
            block_count: blocks_of(payload_bytes),
            stream: self.identity.stream,
            entry_count,
            frame_sequence: self.written.sequence + 1,
            first_lsn: self.written.lsn + 1,
            payload_bytes: payload_bytes as u32,
            schema_id: self.options.schema_id,
            incarnation: self.incarnation,
            durable_sequence: self.durable.sequence,
            previous_link: self.chain,
            payload_digest,
        }
    }

    /// A flushed write covers its own range only, so frames written without a flush before it ask
    /// for a flush of the whole file.
    fn launch_write(
        &mut self,
        what: What,
        header: &FrameHeader,
        buffer: AlignedBuf,
        durable: bool,
        submitted_ns: u64,
    ) {
        let alone = self.durable.sequence == self.written.sequence
            || planted(PlantedBug::FlushOnlyOwnRange);
        let with_write = self.options.flush == FlushPolicy::WithWrite && alone;
        let wanted = durable && !planted(PlantedBug::DropFlush);
        let flight = Flight {
            what,
            file: self.active.file,
            offset: u64::from(self.active.next_block) * BLOCK_BYTES as u64,
            bytes: header.frame_bytes(),
            durable,
            flush: wanted && with_write,
            sync_after: wanted && !with_write,
            syncing: false,
            tries: 0,
            submitted_ns,
            written_ns: 0,
        };
        self.take_off(flight, buffer);
    }

    fn take_off(&mut self, flight: Flight, buffer: AlignedBuf) {
        let Flight {
            file,
            offset,
            bytes,
            flush,
            ..
        } = flight;
        self.flight = Some(flight);
        self.disk.submit(
            TICKET_SEGMENT,
            Op::Write {
                file,
                offset,
                buffer,
                bytes,
                flush,
            },
        );
    }

    /// Handles the completion of the operation in flight.
    pub(super) fn landed(&mut self, completion: Completion, now_ns: u64) -> Option<FrameDone> {
        let mut flight = self
            .flight
            .take()
            .expect("invariant: a completion has its flight");
        if flight.syncing {
            return self.landed_flush(flight, completion, now_ns);
        }
        let buffer = completion
            .buffer
            .expect("invariant: a write returns its buffer");
        let whole = match completion.result {
            Ok(bytes) => {
                bytes == flight.bytes || planted(PlantedBug::IgnoreShortWrite) && bytes > 0
            }
            Err(error) if is_transient(&error) => false,
            Err(error) => {
                self.fail("write", &flight, &error.to_string());
                return None;
            }
        };
        if !whole {
            flight.tries += 1;
            if flight.tries >= WRITE_TRIES {
                self.fail("write", &flight, "short or interrupted too many times");
                return None;
            }
            self.take_off(flight, buffer);
            return None;
        }
        flight.written_ns = now_ns;
        match flight.what {
            What::Frame { .. } => self.spare = Some(buffer),
            _ => self.control = Some(buffer),
        }
        if flight.sync_after {
            flight.syncing = true;
            let file = flight.file;
            self.flight = Some(flight);
            self.disk.submit(TICKET_SEGMENT, Op::Datasync { file });
            return None;
        }
        self.arrived(flight, now_ns)
    }

    fn landed_flush(
        &mut self,
        flight: Flight,
        completion: Completion,
        now_ns: u64,
    ) -> Option<FrameDone> {
        match completion.result {
            Ok(_) => self.arrived(flight, now_ns),
            Err(_) if planted(PlantedBug::RetryFailedFlush) => {
                let file = flight.file;
                self.flight = Some(flight);
                self.disk.submit(TICKET_SEGMENT, Op::Datasync { file });
                None
            }
            Err(error) => {
                self.fail("flush", &flight, &error.to_string());
                None
            }
        }
    }

    /// The flight did all that it was sent for: the log moves on.
    fn arrived(&mut self, flight: Flight, now_ns: u64) -> Option<FrameDone> {
        let blocks = (flight.bytes / BLOCK_BYTES) as u32;
        match flight.what {
            What::Frame { after, entries } => {
                self.advance(after, blocks, flight.durable);
                Some(self.done(&flight, entries, now_ns))
            }
            What::Flush => {
                self.durable = self.written;
                Some(self.done(&flight, 0, now_ns))
            }
            What::Seal { after } => {
                self.advance(after, blocks, true);
                self.launch_header(flight.submitted_ns);
                None
            }
            What::Header { segment, link } => {
                let old = std::mem::replace(&mut self.active, segment);
                self.disk.close(old.file);
                self.chain = link;
                self.mark_due = true;
                if let Some(staged) = self.staged.take() {
                    self.launch_frame(staged);
                }
                None
            }
        }
    }

    fn advance(&mut self, after: Position, blocks: u32, durable: bool) {
        self.written = after;
        self.chain = after.link;
        self.active.next_block += blocks;
        if durable {
            self.durable = after;
        }
    }

    fn done(&self, flight: &Flight, entries: u32, now_ns: u64) -> FrameDone {
        FrameDone {
            through_lsn: self.written.lsn,
            entries,
            bytes: flight.bytes,
            durable: self.durable.sequence == self.written.sequence,
            submitted_ns: flight.submitted_ns,
            written_ns: flight.written_ns,
            synced_ns: now_ns,
        }
    }
}
