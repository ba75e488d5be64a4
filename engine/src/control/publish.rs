//! Publications under way: which chunks are left, and what the acknowledged ones add up to.

use std::collections::HashMap;

use ringmill_shard::limits::BATCH_EVENTS_MAX;
use ringmill_shard::reject::{NO_FIELD, RejectReason};
use ringmill_shard::schema::Schema;
use tokio::time::Instant;

use super::cores::{FirstRejected, Publication, PublishDone, PublishError, Published, Source};
use super::split::PartRows;
use crate::message::{AckReply, SubBatchHeader};

/// The rows of one publication for one shard that are still to be sent.
#[derive(Debug)]
pub(super) struct Chunks {
    pub(super) publish: u64,
    pub(super) shard: usize,
    rows: PartRows,
    sent: usize,
    /// Whether the producer numbers its rows, so that gaps between them have to be told.
    numbered: bool,
}

impl Chunks {
    /// Rows that are left.
    pub(super) fn left(&self) -> usize {
        self.rows.len() - self.sent
    }

    /// Bytes of a record with the next `count` rows.
    pub(super) fn record_bytes(&self, count: usize, row_len: usize) -> usize {
        let explicit = self.needs_offsets(count);
        let offsets = if explicit {
            SubBatchHeader::offsets_bytes(count)
        } else {
            0
        };
        SubBatchHeader::BYTES + offsets + count * row_len
    }

    fn needs_offsets(&self, count: usize) -> bool {
        self.numbered && !self.rows.is_contiguous(self.sent, count)
    }
}

/// A chunk in flight.
#[derive(Debug)]
pub(super) struct Chunk {
    /// Its first row in the part.
    first: usize,
    count: usize,
    /// Sequence of its first row.
    first_sequence: u64,
}

/// What marks a record.
pub(super) struct Stamp {
    pub(super) ticket: u64,
    /// Monotonic clock, ns.
    pub(super) sent_ns: u64,
}

/// One publication.
pub(super) struct Publish {
    publication: Publication,
    deadline: Instant,
    parts_left: usize,
    any_sent: bool,
    published: Published,
    error: Option<PublishError>,
    done: PublishDone,
}

impl Publish {
    pub(super) fn stream(&self) -> usize {
        self.publication.stream
    }

    fn finish(self) {
        let outcome = match self.error {
            Some(error) => Err(error),
            None => Ok(self.published),
        };
        // Whoever published may have gone; the rows are stored all the same.
        let _ = self.done.send(outcome);
    }
}

/// All publications under way.
pub(super) struct Publishes {
    open: HashMap<u64, Publish>,
    next_id: u64,
    anonymous: u128,
    anonymous_sequence: u64,
}

impl Publishes {
    pub(super) fn new(anonymous: u128) -> Publishes {
        Publishes {
            open: HashMap::new(),
            next_id: 0,
            anonymous,
            anonymous_sequence: 1,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Opens a publication and returns what is to be sent for it.
    pub(super) fn open(
        &mut self,
        publication: Publication,
        parts: Vec<(usize, PartRows)>,
        deadline: Instant,
        done: PublishDone,
    ) -> Vec<Chunks> {
        let id = self.next_id;
        self.next_id += 1;
        let numbered = matches!(publication.source, Source::Named { .. });
        let publish = Publish {
            publication,
            deadline,
            parts_left: parts.len(),
            any_sent: false,
            published: Published::default(),
            error: None,
            done,
        };
        if parts.is_empty() {
            publish.finish();
            return Vec::new();
        }
        self.open.insert(id, publish);
        let chunks = |(shard, rows)| Chunks {
            publish: id,
            shard,
            rows,
            sent: 0,
            numbered,
        };
        parts.into_iter().map(chunks).collect()
    }

    /// The publication, unless it has been given up.
    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut Publish> {
        self.open.get_mut(&id)
    }

    /// Writes the next `count` rows of `chunks` as a record into `body`, which is exactly large
    /// enough.
    pub(super) fn write(
        &mut self,
        chunks: &mut Chunks,
        count: usize,
        schema: &Schema,
        stamp: Stamp,
        body: &mut [u8],
    ) -> Chunk {
        assert!(count >= 1 && count <= BATCH_EVENTS_MAX.min(chunks.left()));
        let publish = self
            .open
            .get_mut(&chunks.publish)
            .expect("invariant: looked up before");
        publish.any_sent = true;
        let first = chunks.sent;
        let explicit = chunks.needs_offsets(count);
        let (producer, epoch, first_sequence) = match publish.publication.source {
            Source::Named {
                producer,
                epoch,
                first_sequence,
            } => (
                producer,
                epoch,
                first_sequence + chunks.rows.row(first) as u64,
            ),
            Source::Anonymous => {
                let first_sequence = self.anonymous_sequence;
                self.anonymous_sequence += count as u64;
                (self.anonymous, ANONYMOUS_EPOCH, first_sequence)
            }
        };
        let header = SubBatchHeader {
            ticket: stamp.ticket,
            producer,
            epoch,
            stream: publish.publication.stream as u16,
            flags: if explicit {
                SubBatchHeader::EXPLICIT
            } else {
                0
            },
            first_sequence,
            count: count as u32,
            schema_id: schema.id,
            sent_ns: stamp.sent_ns,
        };
        header.write(body);
        let mut rest = &mut body[SubBatchHeader::BYTES..];
        if explicit {
            let (offsets, rows) = rest.split_at_mut(SubBatchHeader::offsets_bytes(count));
            write_offsets(&chunks.rows, first, count, offsets);
            rest = rows;
        }
        copy_rows(
            &publish.publication.rows,
            schema.row_len(),
            &chunks.rows,
            first,
            rest,
        );
        chunks.sent += count;
        Chunk {
            first,
            count,
            first_sequence,
        }
    }

    /// Adds up an acknowledged chunk.
    pub(super) fn chunk_stored(&mut self, part: &Chunks, chunk: &Chunk, ack: &AckReply) {
        let Some(publish) = self.open.get_mut(&part.publish) else {
            return;
        };
        let published = &mut publish.published;
        let rejected = u64::from(ack.rejected).min(chunk.count as u64);
        let duplicates = u64::from(ack.duplicates).min(chunk.count as u64 - rejected);
        published.rejected += rejected;
        published.duplicates += duplicates;
        published.accepted += chunk.count as u64 - rejected - duplicates;
        if rejected == 0 {
            return;
        }
        let row = match publish.publication.source {
            Source::Named { first_sequence, .. } => {
                ack.reject_sequence.saturating_sub(first_sequence) as usize
            }
            Source::Anonymous => {
                let nth = ack.reject_sequence.saturating_sub(chunk.first_sequence) as usize;
                part.rows.row(chunk.first + nth.min(chunk.count - 1))
            }
        };
        if published.first_rejected.is_none_or(|first| row < first.row) {
            let field = (ack.reject_field != NO_FIELD).then_some(usize::from(ack.reject_field));
            let reason = RejectReason::from_code(ack.reject_reason);
            published.first_rejected = Some(FirstRejected { row, reason, field });
        }
    }

    /// All rows of one part are stored.
    pub(super) fn part_stored(&mut self, id: u64) {
        self.part_done(id, None);
    }

    /// A part ended early.
    pub(super) fn part_failed(&mut self, id: u64, error: PublishError) {
        self.part_done(id, Some(error));
    }

    fn part_done(&mut self, id: u64, error: Option<PublishError>) {
        let Some(publish) = self.open.get_mut(&id) else {
            return;
        };
        if let Some(error) = error {
            publish.error = Some(worse(publish.error.take(), error));
        }
        publish.parts_left -= 1;
        if publish.parts_left == 0
            && let Some(publish) = self.open.remove(&id)
        {
            publish.finish();
        }
    }

    /// Answers a publication at once, whatever is still in flight for it.
    pub(super) fn give_up(&mut self, id: u64, error: PublishError) {
        if let Some(mut publish) = self.open.remove(&id) {
            publish.error = Some(worse(publish.error.take(), error));
            publish.finish();
        }
    }

    /// Gives up what is past its deadline.
    pub(super) fn expire(&mut self, now: Instant) {
        let late = |(id, publish): (&u64, &Publish)| (publish.deadline <= now).then_some(*id);
        let late: Vec<u64> = self.open.iter().filter_map(late).collect();
        for id in late {
            let any_sent = self.open.get(&id).is_some_and(|publish| publish.any_sent);
            let error = if any_sent {
                PublishError::TimedOut
            } else {
                PublishError::Overloaded
            };
            self.give_up(id, error);
        }
    }
}

/// The control plane's identity is new with every start, so that it never needs another epoch.
const ANONYMOUS_EPOCH: u32 = 0;

/// What the client has to know most: an unknown outcome outranks every refusal.
fn worse(known: Option<PublishError>, new: PublishError) -> PublishError {
    let rank = |error: &PublishError| match error {
        PublishError::OutcomeUnknown { .. } => 0,
        PublishError::TimedOut => 1,
        PublishError::DiskFull { .. } => 2,
        PublishError::IdsFull { .. } => 3,
        PublishError::Fenced => 4,
        PublishError::ShuttingDown => 5,
        PublishError::Overloaded => 6,
    };
    match known {
        Some(known) if rank(&known) <= rank(&new) => known,
        _ => new,
    }
}

fn write_offsets(rows: &PartRows, first: usize, count: usize, out: &mut [u8]) {
    let base = rows.row(first);
    let (offsets, padding) = out.split_at_mut(count * 4);
    for (nth, cell) in offsets.chunks_exact_mut(4).enumerate() {
        let offset = (rows.row(first + nth) - base) as u32;
        cell.copy_from_slice(&offset.to_le_bytes());
    }
    padding.fill(0);
}

fn copy_rows(from: &[u8], row_len: usize, rows: &PartRows, first: usize, out: &mut [u8]) {
    if let PartRows::All(_) = rows {
        let start = first * row_len;
        out.copy_from_slice(&from[start..start + out.len()]);
        return;
    }
    for (nth, cell) in out.chunks_exact_mut(row_len).enumerate() {
        let start = rows.row(first + nth) * row_len;
        cell.copy_from_slice(&from[start..start + row_len]);
    }
}
