//! One batch into log and state: the point where an event takes effect.
//!
//! Log position, dedupe and effect are one step: what is admitted is appended and applied at once,
//! or nothing happens at all.

use ringmill_shard::dedupe::Admission;
use ringmill_shard::entry::{self, EventBatch, ProducerId};
use ringmill_shard::pipeline::Durability;
use ringmill_shard::wire::Level;
use ringmill_storage::disk::Disk;

use super::Core;
use crate::clock::Clock;
use crate::commit::{Lsn, Waiter};
use crate::metrics::Counter;

/// When the frame that was finished last was submitted, written and flushed.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogTimes {
    /// Submitted to the disk, monotonic ns.
    pub submitted_ns: u64,
    /// All its bytes written.
    pub written_ns: u64,
    /// Flushed.
    pub synced_ns: u64,
}

/// Rows of one producer for this shard, before they have a place in the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch<'a> {
    pub(super) producer: ProducerId,
    pub(super) epoch: u32,
    pub(super) stream: u16,
    pub(super) schema_id: u32,
    pub(super) first_sequence: u64,
    pub(super) count: u32,
    pub(super) offsets: Option<&'a [u8]>,
    pub(super) rows: &'a [u8],
}

/// What became of a batch that has its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    /// A reply may leave when this is safe.
    pub(super) lsn: Lsn,
    pub(super) accepted: u32,
    pub(super) duplicates: u32,
    pub(super) rejected: u32,
    pub(super) first_reject: Option<(u64, u8, u8)>,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stored {
    Done(Done),
    /// The log buffer is full: nothing happened, offer it again.
    NoRoom,
    /// A newer epoch of the producer exists.
    Fenced {
        epoch: u32,
    },
    /// The ids of its events find no room: nothing happened.
    IdsFull,
}

/// Zero bytes that pad an odd number of offsets to eight.
const OFFSET_PAD: [u8; 4] = [0; 4];

/// The batch without its first rows.
fn without_first<'a>(batch: &EventBatch<'a>, rows: usize) -> EventBatch<'a> {
    let row_bytes = batch.row_bytes();
    let first_sequence = match batch.offsets {
        None => batch.first_sequence + rows as u64,
        Some(_) => batch.first_sequence,
    };
    EventBatch {
        first_sequence,
        count: batch.count - rows as u32,
        offsets: batch.offsets.map(|offsets| &offsets[rows * 4..]),
        rows: &batch.rows[rows * row_bytes..],
        ..*batch
    }
}

impl<D: Disk, C: Clock> Core<D, C> {
    /// Admits, logs and applies a batch.
    pub(super) fn store(&mut self, batch: &Batch<'_>) -> Stored {
        let watermark_ms = self.watermark_for_batch(usize::from(batch.stream));
        let whole = EventBatch {
            producer: batch.producer,
            epoch: batch.epoch,
            stream: batch.stream,
            schema_id: batch.schema_id,
            first_sequence: batch.first_sequence,
            count: batch.count,
            stamp_ns: self.next_stamp(),
            watermark_ms,
            offsets: batch.offsets,
            rows: batch.rows,
        };
        match self.state.admit(&whole) {
            Admission::All => self.store_new(&whole, &whole),
            Admission::Skip(duplicates) => {
                self.store_new(&without_first(&whole, duplicates), &whole)
            }
            Admission::Duplicate => Stored::Done(self.all_duplicate(&whole)),
            Admission::Keep(rows) => self.store_picked(&whole, &rows),
            Admission::Fenced { epoch } => Stored::Fenced { epoch },
            Admission::Full => {
                self.metrics
                    .add(Counter::RefusedIdsFull, u64::from(batch.count));
                Stored::IdsFull
            }
        }
    }

    fn all_duplicate(&mut self, batch: &EventBatch<'_>) -> Done {
        self.metrics
            .add(Counter::EventsDuplicate, u64::from(batch.count));
        self.state.count_duplicates(batch, batch.count);
        Done {
            lsn: self.appended(),
            accepted: 0,
            duplicates: batch.count,
            rejected: 0,
            first_reject: None,
        }
    }

    /// Logs and applies the new rows of the batch `whole`.
    fn store_new(&mut self, batch: &EventBatch<'_>, whole: &EventBatch<'_>) -> Stored {
        let duplicates = whole.count - batch.count;
        let header = batch.header_bytes();
        let offsets = batch.offsets.unwrap_or(&[]);
        let pad = &OFFSET_PAD[..offsets.len() % 8];
        let parts = [&header[..], offsets, pad, batch.rows];
        let Some(lsn) = self.log.append(entry::KIND_EVENT_BATCH, &parts) else {
            self.metrics.add(Counter::LogFull, 1);
            return Stored::NoRoom;
        };
        self.last_stamp_ns = batch.stamp_ns;
        self.state.apply(batch, lsn, &mut self.outcome);
        if duplicates > 0 {
            self.state.count_duplicates(whole, duplicates);
        }
        self.note_applied(usize::from(batch.stream));
        let outcome = &self.outcome;
        self.metrics
            .add(Counter::EventsAccepted, u64::from(outcome.accepted));
        self.metrics
            .add(Counter::EventsRejected, u64::from(outcome.rejected));
        let duplicates = duplicates + outcome.duplicates;
        self.metrics
            .add(Counter::EventsDuplicate, u64::from(duplicates));
        Stored::Done(Done {
            lsn,
            accepted: outcome.accepted,
            duplicates,
            rejected: outcome.rejected,
            first_reject: outcome
                .first_reject
                .map(|(sequence, reject)| (sequence, reject.reason as u8, reject.field)),
        })
    }

    /// Only some rows are new: rare, after the number of shards has changed.
    fn store_picked(&mut self, batch: &EventBatch<'_>, picked: &[u32]) -> Stored {
        let row_bytes = batch.row_bytes();
        let mut rows = std::mem::take(&mut self.scratch);
        rows.clear();
        let mut offsets = Vec::with_capacity(picked.len() * 4);
        for &row in picked {
            let at = row as usize;
            rows.extend_from_slice(&batch.rows[at * row_bytes..(at + 1) * row_bytes]);
            let offset = batch.sequence(at) - batch.first_sequence;
            offsets.extend_from_slice(&(offset as u32).to_le_bytes());
        }
        let kept = EventBatch {
            count: picked.len() as u32,
            offsets: Some(&offsets),
            rows: &rows,
            ..*batch
        };
        let stored = self.store_new(&kept, batch);
        self.scratch = rows;
        stored
    }

    /// The wall clock of the turn, made strictly increasing within this log.
    pub(super) fn next_stamp(&self) -> u64 {
        self.turn_wall_ns.max(self.last_stamp_ns + 1)
    }

    /// The level at which a stream is acknowledged.
    pub(super) fn level(&self, stream: usize) -> Level {
        self.pipeline.streams[stream].durability.level()
    }

    /// Queues a reply behind what its level demands.
    pub(super) fn wait_for(&mut self, level: Level, lsn: Lsn, waiter: Waiter) {
        match level {
            Level::Commit => self.durable.push(lsn, waiter),
            Level::Written => self.written.push(lsn, waiter),
            // Applied is enough: nothing to wait for.
            Level::Memory => self.release_one(waiter),
            Level::Interval => {
                self.schedule_flush();
                self.release_one(waiter);
            }
        }
    }

    /// Sets the time of the next flush for streams that are flushed at an interval.
    fn schedule_flush(&mut self) {
        if self.flush_due_ns.is_none() {
            let least_ms = self
                .pipeline
                .streams
                .iter()
                .filter_map(|stream| match stream.durability {
                    Durability::Interval { ms } => Some(ms),
                    _ => None,
                })
                .min();
            self.flush_due_ns = least_ms.map(|ms| self.turn_ns + ms * 1_000_000);
        }
    }

    /// Submits what is pending if no frame is in flight. True if something was submitted.
    pub(super) fn seal(&mut self) -> bool {
        self.take_segments();
        let moved = self.advance_idle_streams();
        let due = self.flush_due_ns.is_some_and(|due| self.turn_ns >= due);
        let flush = due || !self.durable.is_empty();
        let nothing_to_flush = self.log.durable_lsn() == self.log.appended_lsn();
        if self.log.pending_bytes() == 0 && (!flush || nothing_to_flush) {
            if nothing_to_flush {
                self.flush_due_ns = None;
                self.log.idle_mark(self.turn_ns);
            }
            return moved;
        }
        let submitted = self.log.submit(self.clock.mono_ns(), flush);
        if submitted && flush {
            self.flush_due_ns = None;
        }
        moved | submitted
    }

    /// Collects what the disk finished. A failure ends this shard as a writer, for good.
    pub(super) fn reap_log(&mut self) -> bool {
        let mut busy = false;
        loop {
            match self.log.poll(self.clock.mono_ns()) {
                Ok(None) => return busy,
                Ok(Some(done)) => {
                    busy = true;
                    self.metrics.add(Counter::FramesLogged, 1);
                    self.metrics.add(Counter::LogBytes, done.bytes as u64);
                    self.log_times = LogTimes {
                        submitted_ns: done.submitted_ns,
                        written_ns: done.written_ns,
                        synced_ns: done.synced_ns,
                    };
                }
                Err(error) => {
                    let is_news = !self.flags.failed();
                    self.fail(&error.to_string());
                    return busy | is_news;
                }
            }
        }
    }

    /// Takes prepared segments in, and asks for more ahead of need.
    fn take_segments(&mut self) {
        let Some(port) = &mut self.segments else {
            return;
        };
        if let Some(segment) = port.take()
            && let Err(error) = self.log.supply(segment)
        {
            let cause = error.to_string();
            return self.fail(&cause);
        }
        if let Some(sequence) = self.log.wanted_segment() {
            port.ask(sequence);
        }
    }
}
