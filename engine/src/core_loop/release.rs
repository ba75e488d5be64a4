//! Replies that have become safe: to local connections, to other peers, to askers.

use ringmill_shard::limits::FRAME_HEADER_BYTES;
use ringmill_shard::reject::{Reject, RejectReason};
use ringmill_shard::wire::{Ack, ErrorCode, ErrorReply, Level, encode_ack, encode_error};
use ringmill_storage::disk::Disk;

use super::Core;
use super::lanes::OpenAnswer;
use crate::clock::Clock;
use crate::commit::{Lsn, Waiter};
use crate::connection::Publication;
use crate::message::{AckReply, AckStatus, OwnerTimes, ProducerTell, reply};
use crate::net::{Net, SocketId};

/// Bytes that wait for a client that does not read; more ends the connection.
const OUT_BYTES_MAX: usize = 1 << 20;

/// Connections that are sent to in one turn. A send is a walk through the kernel's whole network
/// path, and what the disk has done meanwhile is looked at between turns.
const SENDS_PER_TURN_MAX: usize = 16;

fn span(from_ns: u64, to_ns: u64) -> u64 {
    to_ns.saturating_sub(from_ns)
}

fn span_u32(from_ns: u64, to_ns: u64) -> u32 {
    span(from_ns, to_ns).min(u64::from(u32::MAX)) as u32
}

impl<D: Disk, C: Clock> Core<D, C> {
    /// Releases every reply that the log has made safe.
    pub(super) fn release(&mut self) {
        let written = self.log.written_lsn();
        while let Some(waiter) = self.written.pop_safe(written) {
            self.release_one(waiter);
        }
        let durable = self.log.durable_lsn();
        while let Some(waiter) = self.durable.pop_safe(durable) {
            self.release_one(waiter);
        }
    }

    /// Releases replies that wait for nothing any more since the log caught up long ago.
    pub(super) fn release_unlogged(&mut self) {
        self.release();
    }

    pub(super) fn release_one(&mut self, waiter: Waiter) {
        match waiter {
            Waiter::Publication { socket, number } => self.part_is_safe(socket, number),
            Waiter::SubBatch {
                peer,
                reply,
                applied_ns,
            } => self.reply_ack(peer, reply, applied_ns),
            Waiter::Tell { peer, tell } => self.reply_tell(peer, &tell),
            Waiter::Greeting { socket, tell } => self.on_tell(socket, &tell),
            Waiter::Answer {
                peer,
                ticket,
                bytes,
            } => {
                self.answers.push_back(OpenAnswer {
                    peer,
                    ticket,
                    bytes,
                    sent: 0,
                });
            }
        }
    }

    fn part_is_safe(&mut self, socket: SocketId, number: u16) {
        let log = self.log_times;
        let Some(publication) = self.publication(socket, number) else {
            return;
        };
        publication.parts -= 1;
        let times = &mut publication.times;
        if publication.parts == 0 && !publication.crossed {
            times.submitted_ns = log.submitted_ns.max(times.applied_ns);
            times.written_ns = log.written_ns.max(times.submitted_ns);
            times.synced_ns = log.synced_ns.max(times.written_ns);
        }
        self.mark_dirty(socket);
    }

    fn reply_ack(&mut self, peer: usize, mut ack: AckReply, applied_ns: u64) {
        let log = self.log_times;
        let submitted_ns = log.submitted_ns.max(applied_ns);
        let written_ns = log.written_ns.max(submitted_ns);
        ack.spent.batch_ns = span_u32(applied_ns, submitted_ns);
        ack.spent.write_ns = span_u32(submitted_ns, written_ns);
        ack.spent.sync_ns = span_u32(written_ns, log.synced_ns.max(written_ns));
        let mut body = [0; AckReply::BYTES];
        ack.write(&mut body);
        self.ports.reply(peer, reply::ACK, &body);
    }

    pub(super) fn reply_tell(&mut self, peer: usize, tell: &ProducerTell) {
        let mut body = [0; ProducerTell::BYTES];
        tell.write(&mut body);
        self.ports.reply(peer, reply::PRODUCER_TELL, &body);
    }

    /// A remote part of a publication has ended.
    pub(super) fn on_ack(&mut self, socket: SocketId, number: u16, ack: &AckReply) {
        let now = self.turn_ns;
        if ack.status != AckStatus::Ok {
            self.end_for(socket, ack.status);
            return;
        }
        let Some(publication) = self.publication(socket, number) else {
            return;
        };
        let reject = (ack.rejected > 0).then_some((
            ack.reject_sequence,
            ack.reject_reason,
            ack.reject_field,
        ));
        publication.note_part(ack.rejected, reject, ack.level);
        publication.parts -= 1;
        publication.times.synced_ns = now;
        publication.times.owner = ack.spent;
        self.mark_dirty(socket);
    }

    /// Ends a connection whose publication could not be stored everywhere.
    pub(super) fn end_for(&mut self, socket: SocketId, status: AckStatus) {
        let (code, message) = match status {
            AckStatus::Fenced => (ErrorCode::Fenced, "a newer session of this producer exists"),
            AckStatus::DiskFull => (ErrorCode::DiskFull, "no space left for a shard's log"),
            AckStatus::IdsFull => (
                ErrorCode::Overloaded,
                "the `memory` of `dedupe` of the stream is full on a shard",
            ),
            AckStatus::ShuttingDown => (ErrorCode::ShuttingDown, "the server is shutting down"),
            AckStatus::Ok | AckStatus::Unknown => (
                ErrorCode::ShardFailed,
                "a shard's log has failed: the outcome of what was not acknowledged is unknown",
            ),
        };
        if self
            .connection(socket)
            .is_some_and(|connection| !connection.closing)
        {
            self.refuse(socket, code, 0, message);
        }
    }

    /// Acknowledges, sends, and closes what has nothing more to say, as far as the turn's share
    /// goes. Of the others each gets one ack for all that has become safe by its turn.
    pub(super) fn acknowledge(&mut self, net: &mut impl Net) {
        if self.dirty.is_empty() {
            return;
        }
        let acked_ns = self.clock.mono_ns();
        for _ in 0..SENDS_PER_TURN_MAX {
            let Some(socket) = self.dirty.pop_front() else {
                return;
            };
            let Some(connection) = self.connection(socket) else {
                continue;
            };
            connection.dirty = false;
            self.write_acks(socket, acked_ns);
            self.send(net, socket);
        }
    }

    /// Whether connections wait for their turn to be acknowledged.
    pub(super) fn has_acks_left(&self) -> bool {
        !self.dirty.is_empty()
    }

    fn write_acks(&mut self, socket: SocketId, acked_ns: u64) {
        let mut newest: Option<Ack> = None;
        while let Some(publication) = self
            .connection(socket)
            .and_then(|connection| connection.pop_safe())
        {
            self.record(&publication, acked_ns);
            self.write_reject(socket, &publication);
            let level = Level::from_code(publication.level).unwrap_or(Level::Memory);
            let sequence = publication.last_sequence;
            let rejected = publication.rejected;
            let ack = newest.get_or_insert(Ack {
                sequence,
                level,
                rejected: 0,
            });
            // A client that went back and sent again may end on an earlier one.
            ack.sequence = ack.sequence.max(sequence);
            ack.level = ack.level.min(level);
            ack.rejected += rejected;
        }
        if let Some(ack) = newest
            && let Some(connection) = self.connection(socket)
        {
            let mut frame = [0; FRAME_HEADER_BYTES];
            encode_ack(&mut frame, &ack);
            connection.out.extend_from_slice(&frame);
        }
    }

    /// Names the first refused event of a publication; the others can be read over HTTP.
    fn write_reject(&mut self, socket: SocketId, publication: &Publication) {
        let Some((sequence, reason, field)) = publication.first_reject else {
            return;
        };
        let Some(reason) = RejectReason::from_code(reason) else {
            return;
        };
        let stream = &self.pipeline.streams[usize::from(publication.stream)];
        let mut reject = Reject { reason, field };
        let mut schema = &stream.schema;
        // Clients know fields by their places in the schema that they write with.
        if let Some(former) = stream.former(publication.schema_id) {
            schema = former.widening.from();
            let place = former.widening.origin(usize::from(field));
            reject.field = place.map_or(NO_REJECT_FIELD, |place| place as u8);
        }
        let error = ErrorReply::of_reject(schema, sequence, reject);
        if let Some(connection) = self.connection(socket) {
            encode_error(&mut connection.out, &error);
        }
    }

    /// Charges the time of a publication to its stages; they add up to the total.
    fn record(&self, publication: &Publication, acked_ns: u64) {
        let times = &publication.times;
        let (route, owner) = if publication.crossed {
            let OwnerTimes {
                apply_ns,
                batch_ns,
                write_ns,
                sync_ns,
            } = times.owner;
            let owner = [apply_ns, batch_ns, write_ns, sync_ns].map(u64::from);
            let away = span(times.parsed_ns, times.synced_ns);
            (away.saturating_sub(owner.iter().sum()), owner)
        } else {
            let local = [
                span(times.parsed_ns, times.applied_ns),
                span(times.applied_ns, times.submitted_ns),
                span(times.submitted_ns, times.written_ns),
                span(times.written_ns, times.synced_ns),
            ];
            (0, local)
        };
        let [apply, batch, write, sync] = owner;
        // In the order of `Stage`: rx parse route apply batch write sync ack.
        let path_ns = [
            span(times.rx_ns, times.parse_ns),
            span(times.parse_ns, times.parsed_ns),
            route,
            apply,
            batch,
            write,
            sync,
            span(times.synced_ns, acked_ns),
        ];
        let total_ns = span(times.rx_ns, acked_ns);
        self.metrics
            .record_path(&path_ns, total_ns, u64::from(publication.count));
    }

    /// Hands the connection's bytes to its socket, and closes it when it is over.
    fn send(&mut self, net: &mut impl Net, socket: SocketId) {
        let Some(connection) = self.connection(socket) else {
            return;
        };
        if !connection.out.is_empty() {
            net.send(socket, &mut connection.out);
        }
        let waiting = connection.out.len();
        if connection.closing && waiting == 0 || waiting > OUT_BYTES_MAX {
            for unread in std::mem::take(&mut connection.unread) {
                net.recycle(unread.chunk);
            }
            self.forget(net, socket);
        }
    }

    /// The bytes before have left: what gathered meanwhile may follow.
    pub(super) fn on_sent(&mut self, net: &mut impl Net, socket: SocketId) {
        self.send(net, socket);
    }

    /// The log has failed: no ack from here on, and whoever waits hears that the outcome is
    /// unknown.
    pub(super) fn fail(&mut self, cause: &str) {
        if !self.flags.set_failed() {
            return;
        }
        say!(
            "shard {}: the log has failed, no more writes: {cause}",
            self.me
        );
        let waiters: Vec<Waiter> = self.durable.drain().chain(self.written.drain()).collect();
        for waiter in waiters {
            self.release_unknown(waiter);
        }
    }

    /// Queues a reply behind the durable log; a failed one makes nothing durable any more.
    pub(super) fn wait_durable(&mut self, lsn: Lsn, waiter: Waiter) {
        if self.flags.failed() {
            self.release_unknown(waiter);
        } else {
            self.durable.push(lsn, waiter);
        }
    }

    fn release_unknown(&mut self, waiter: Waiter) {
        match waiter {
            Waiter::Publication { socket, .. } | Waiter::Greeting { socket, .. } => {
                self.end_for(socket, AckStatus::Unknown);
            }
            Waiter::SubBatch { peer, reply, .. } => {
                self.refuse_part(peer, reply.ticket, AckStatus::Unknown);
            }
            Waiter::Tell { peer, tell } => {
                // What it knows may not be durable.
                self.reply_tell(
                    peer,
                    &ProducerTell {
                        complete_through: 0,
                        ..tell
                    },
                );
            }
            Waiter::Answer { peer, ticket, .. } => {
                // An empty answer says that this shard can give none.
                self.answers.push_back(OpenAnswer {
                    peer,
                    ticket,
                    bytes: Vec::new(),
                    sent: 0,
                });
            }
        }
    }

    /// Tells a peer that a sub-batch did not become safe.
    pub(super) fn refuse_part(&mut self, peer: usize, ticket: u64, status: AckStatus) {
        let ack = AckReply {
            ticket,
            accepted: 0,
            rejected: 0,
            reject_sequence: 0,
            reject_reason: 0,
            reject_field: NO_REJECT_FIELD,
            status,
            level: 0,
            duplicates: 0,
            spent: OwnerTimes::default(),
        };
        let mut body = [0; AckReply::BYTES];
        ack.write(&mut body);
        self.ports.reply(peer, reply::ACK, &body);
    }
}

/// The field of a refusal that no field is to blame for.
const NO_REJECT_FIELD: u8 = 255;
