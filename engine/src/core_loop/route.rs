//! Rows of one publication to the shards that own them.
//!
//! A publication is cut into runs of rows that fit one lane record. A run is routed as a whole or
//! not at all: room and credit of every target are seen before the first byte is written, so a
//! stalled publication goes on exactly where it stopped.

use ringmill_shard::partition::{group_of, key_hash, shard_of};
use ringmill_shard::pipeline::Pipeline;
use ringmill_shard::wire::Publish;
use ringmill_storage::disk::Disk;

use super::Core;
use super::apply::{Batch, Stored};
use super::receive::Flow;
use crate::clock::Clock;
use crate::commit::Waiter;
use crate::connection::{Session, Times};
use crate::message::{AckStatus, SubBatchHeader, request};
use crate::metrics::Counter;
use crate::net::SocketId;

/// Bytes of a log entry besides its rows: prefix, header, padding.
const ENTRY_OVERHEAD_BYTES: usize = 128;

/// The rows of one run that belong to one shard.
#[derive(Debug, Default)]
struct Share {
    /// Offsets from the publication's first sequence.
    offsets: Vec<u8>,
    rows: Vec<u8>,
    count: u32,
}

/// Scratch space of the routing; nothing is allocated after warm-up.
#[derive(Debug)]
pub(super) struct Router {
    shares: Vec<Share>,
    run_rows: Vec<usize>,
}

impl Router {
    /// Space for the streams of `pipeline` over `shards`.
    pub(super) fn new(pipeline: &Pipeline, shards: usize) -> Router {
        let shares = (0..shards).map(|_| Share::default()).collect();
        Router {
            shares,
            run_rows: vec![0; pipeline.streams.len()],
        }
    }

    /// Sorts rows by owner.
    fn split(&mut self, pipeline: &Pipeline, publish: &Publish<'_>, from: usize, to: usize) {
        for share in &mut self.shares {
            share.offsets.clear();
            share.rows.clear();
            share.count = 0;
        }
        let stream = &pipeline.streams[usize::from(publish.stream)];
        let written = stream.written_with(publish.schema_id);
        let (schema, key) = written.expect("invariant: the frame was decoded with this schema");
        let row_bytes = schema.row_len();
        let shards = self.shares.len();
        for row_index in from..to {
            let row = &publish.rows[row_index * row_bytes..(row_index + 1) * row_bytes];
            let hash = key_hash(schema.canonical_bytes(row, key));
            let share = &mut self.shares[shard_of(group_of(hash), shards)];
            share
                .offsets
                .extend_from_slice(&(row_index as u32).to_le_bytes());
            share.rows.extend_from_slice(row);
            share.count += 1;
        }
    }
}

impl<D: Disk, C: Clock> Core<D, C> {
    /// Routes a publication over several shards, from where it was left.
    pub(super) fn publish_across(
        &mut self,
        socket: SocketId,
        session: &Session,
        publish: &Publish<'_>,
        mut times: Times,
    ) -> Flow {
        let Some(connection) = self.connection(socket) else {
            return Flow::Over;
        };
        let mut from = connection.stalled.routed;
        let number = if from == 0 {
            times.applied_ns = times.parsed_ns;
            self.open_publication(socket, session, publish, times)
        } else {
            connection.next_number().wrapping_sub(1)
        };
        let count = publish.count as usize;
        let run_rows = self.run_rows(usize::from(publish.stream));
        while from < count {
            let to = (from + run_rows).min(count);
            let mut router = std::mem::replace(&mut self.router, Router::empty());
            router.split(&self.pipeline, publish, from, to);
            let routed = self.route_run(socket, number, session, publish, &router);
            self.router = router;
            if routed != Flow::Taken {
                if let Some(connection) = self.connection(socket) {
                    connection.stalled.routed = from;
                }
                // Nothing is resumed at row 0: there the publication would be opened again.
                if from == 0 && routed == Flow::Stalled {
                    self.close_unrouted(socket, session);
                }
                return routed;
            }
            from = to;
        }
        if let Some(connection) = self.connection(socket) {
            connection.stalled.routed = 0;
        }
        let applied_ns = self.clock.mono_ns();
        if let Some(publication) = self.publication(socket, number) {
            publication.parts -= 1;
            publication.times.applied_ns = applied_ns;
        }
        self.mark_dirty(socket);
        Flow::Taken
    }

    /// Takes a publication back of which nothing was routed: its sequences are due again.
    fn close_unrouted(&mut self, socket: SocketId, session: &Session) {
        if let Some(connection) = self.connection(socket) {
            connection.publications.pop_back();
            connection.session = Some(session.clone());
        }
    }

    /// Rows of a stream that surely fit one lane record and one log buffer; those of a former
    /// schema are no longer.
    fn run_rows(&mut self, stream: usize) -> usize {
        if self.router.run_rows[stream] == 0 {
            let row_bytes = usize::from(self.pipeline.streams[stream].schema.row_bytes);
            let lanes = self.ports.requests_out[..self.shards].iter().flatten();
            let body = lanes
                .map(crate::ring::Producer::max_body)
                .min()
                .unwrap_or(usize::MAX);
            let room = body.min(1 << 16) - SubBatchHeader::BYTES - 8;
            self.router.run_rows[stream] = (room / (row_bytes + 4)).max(1);
        }
        self.router.run_rows[stream]
    }

    fn route_run(
        &mut self,
        socket: SocketId,
        number: u16,
        session: &Session,
        publish: &Publish<'_>,
        router: &Router,
    ) -> Flow {
        if !self.take_room(router) {
            self.metrics.add(Counter::LaneFull, 1);
            return Flow::Stalled;
        }
        for (shard, share) in router
            .shares
            .iter()
            .enumerate()
            .filter(|(_, s)| s.count > 0)
        {
            if shard != self.me {
                let ticket = Self::ticket(socket, number);
                self.send_share(shard, share, ticket, session, publish);
                if let Some(publication) = self.publication(socket, number) {
                    publication.parts += 1;
                    publication.crossed = true;
                }
                continue;
            }
            let batch = Batch {
                producer: session.producer,
                epoch: session.epoch,
                stream: publish.stream,
                schema_id: publish.schema_id,
                first_sequence: publish.first_sequence,
                count: share.count,
                offsets: Some(&share.offsets),
                rows: &share.rows,
            };
            match self.store(&batch) {
                Stored::NoRoom => unreachable!("invariant: room was taken before"),
                Stored::Fenced { epoch } => {
                    self.give_credits(router, shard + 1..self.shards);
                    return self.fence(socket, session.epoch, epoch);
                }
                Stored::IdsFull => {
                    self.give_credits(router, shard + 1..self.shards);
                    self.end_for(socket, AckStatus::IdsFull);
                    return Flow::Over;
                }
                Stored::Done(done) => {
                    let level = self.level(usize::from(publish.stream));
                    if let Some(publication) = self.publication(socket, number) {
                        publication.parts += 1;
                        publication.note_part(done.rejected, done.first_reject, level.code());
                    }
                    self.wait_for(level, done.lsn, Waiter::Publication { socket, number });
                }
            }
        }
        Flow::Taken
    }

    /// Sees room for every share and takes the credits; all or nothing.
    fn take_room(&mut self, router: &Router) -> bool {
        let bytes = |share: &Share| share.rows.len() + share.offsets.len();
        let mut credited = 0;
        for (shard, share) in router.shares.iter().enumerate() {
            let fits = if share.count == 0 {
                true
            } else if shard == self.me {
                self.log.room() >= bytes(share) + ENTRY_OVERHEAD_BYTES
            } else {
                let body = share_body_bytes(share);
                self.ports.requests_out[shard]
                    .as_mut()
                    .is_some_and(|lane| lane.has_room_for(body))
                    && self.ports.take_credit(shard)
            };
            if !fits {
                self.give_credits(router, 0..credited);
                return false;
            }
            credited = shard + 1;
        }
        true
    }

    /// Gives the credits back that were taken for shares which are not sent.
    fn give_credits(&mut self, router: &Router, shards: std::ops::Range<usize>) {
        for shard in shards {
            if shard != self.me && router.shares[shard].count > 0 {
                self.ports.give_credit(shard);
            }
        }
    }

    fn send_share(
        &mut self,
        shard: usize,
        share: &Share,
        ticket: u64,
        session: &Session,
        publish: &Publish<'_>,
    ) {
        let header = SubBatchHeader {
            ticket,
            producer: session.producer.0,
            epoch: session.epoch,
            stream: publish.stream,
            flags: SubBatchHeader::EXPLICIT,
            first_sequence: publish.first_sequence,
            count: share.count,
            schema_id: publish.schema_id,
            sent_ns: self.turn_ns,
        };
        let lane = self.ports.requests_out[shard].as_mut();
        let lane = lane.expect("invariant: a lane to each peer");
        let body = lane.reserve(request::SUB_BATCH, share_body_bytes(share));
        let body = body.expect("invariant: room was seen and nothing was staged since");
        header.write(body);
        let (offsets, rows) = body[SubBatchHeader::BYTES..]
            .split_at_mut(SubBatchHeader::offsets_bytes(share.count as usize));
        offsets[..share.offsets.len()].copy_from_slice(&share.offsets);
        offsets[share.offsets.len()..].fill(0);
        rows.copy_from_slice(&share.rows);
        lane.commit();
        self.metrics
            .add(Counter::EventsForwarded, u64::from(share.count));
    }
}

impl Router {
    /// Stands in while the router is lent out.
    const fn empty() -> Router {
        Router {
            shares: Vec::new(),
            run_rows: Vec::new(),
        }
    }
}

fn share_body_bytes(share: &Share) -> usize {
    SubBatchHeader::BYTES + SubBatchHeader::offsets_bytes(share.count as usize) + share.rows.len()
}
