//! The mark of a running log: written beside the frames, never in their way.

use std::path::PathBuf;

use super::{Failure, Log, MARK_PAUSE_NS, TICKET_MARK};
use crate::aligned::AlignedBuf;
use crate::disk::{Completion, Disk, FileId, Op};
use crate::error::StorageError;
use crate::layout::BLOCK_BYTES;
use crate::mark::Mark;
use crate::planted::{PlantedBug, planted};
use crate::segment::is_transient;
use crate::slots::{encode_slot, slot_offset, write_slot};

/// How often a mark that was short or interrupted is submitted again.
const WRITE_TRIES: u32 = 64;

/// The mark's file, its one block, and the mark last submitted.
pub(super) struct Marker {
    pub(super) file: FileId,
    pub(super) path: PathBuf,
    pub(super) mark: Mark,
    /// Home unless a mark is in flight.
    buffer: Option<AlignedBuf>,
    submitted_ns: u64,
    tries: u32,
}

impl Marker {
    pub(super) fn new(file: FileId, path: PathBuf, mark: Mark, buffer: AlignedBuf) -> Marker {
        Marker {
            file,
            path,
            mark,
            buffer: Some(buffer),
            submitted_ns: 0,
            tries: 0,
        }
    }

    pub(super) fn in_flight(&self) -> bool {
        self.buffer.is_none()
    }

    pub(super) fn is_old(&self, now_ns: u64) -> bool {
        self.submitted_ns == 0 || now_ns.saturating_sub(self.submitted_ns) >= MARK_PAUSE_NS
    }
}

impl<D: Disk> Log<D> {
    /// True if the mark says less than is durable.
    pub(super) fn mark_is_stale(&self) -> bool {
        self.marker.mark.durable_sequence < self.durable.sequence
            || planted(PlantedBug::MarkAheadOfDurability)
                && self.marker.mark.durable_sequence < self.written.sequence
    }

    /// Submits a mark of what is durable now, unless one is on its way.
    pub(super) fn write_mark(&mut self, now_ns: u64) {
        let Some(mut buffer) = self.marker.buffer.take() else {
            return;
        };
        self.mark_due = false;
        self.marker.mark = self.next_mark(false);
        self.marker.submitted_ns = now_ns;
        self.marker.tries = 0;
        encode_slot(&self.marker.mark, &mut buffer);
        self.submit_mark(buffer);
    }

    fn next_mark(&self, clean: bool) -> Mark {
        let said = match planted(PlantedBug::MarkAheadOfDurability) {
            true => self.written,
            false => self.durable,
        };
        Mark {
            clean,
            generation: self.marker.mark.generation + 1,
            last_segment: self.active.segment_sequence,
            durable_sequence: said.sequence,
            durable_lsn: said.lsn,
            durable_link: said.link,
            ..self.marker.mark
        }
    }

    fn submit_mark(&mut self, buffer: AlignedBuf) {
        let offset = slot_offset(self.marker.mark.generation);
        let file = self.marker.file;
        let op = Op::Write {
            file,
            offset,
            buffer,
            bytes: BLOCK_BYTES,
            flush: true,
        };
        self.disk.submit(TICKET_MARK, op);
    }

    /// Handles the completion of a mark.
    pub(super) fn mark_landed(&mut self, completion: Completion) {
        let buffer = completion
            .buffer
            .expect("invariant: a write returns its buffer");
        let message = match completion.result {
            Ok(BLOCK_BYTES) => {
                self.marker.buffer = Some(buffer);
                return;
            }
            Ok(_) if self.marker.tries < WRITE_TRIES => None,
            Err(error) if is_transient(&error) && self.marker.tries < WRITE_TRIES => None,
            Ok(_) => Some("short too many times".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        self.marker.tries += 1;
        let Some(message) = message else {
            return self.submit_mark(buffer);
        };
        let sequence = self.durable.sequence;
        self.fail_at(Failure {
            path: self.marker.path.clone(),
            action: "write",
            offset: slot_offset(self.marker.mark.generation),
            first_sequence: sequence + 1,
            last_sequence: self.written.sequence.max(sequence + 1),
            message,
        });
    }

    /// Writes the mark of a clean close, with blocking calls.
    pub(super) fn close_mark(&mut self) -> Result<(), StorageError> {
        let mark = self.next_mark(true);
        let Marker { file, path, .. } = &self.marker;
        write_slot(&mut self.disk, *file, path, &mark)?;
        self.disk.close(self.marker.file);
        Ok(())
    }
}
