//! What other peers send: sub-batches, questions, notes; and the answers handed back.

use std::os::fd::{FromRawFd, OwnedFd};

use ringmill_shard::delta::Delta;
use ringmill_shard::entry::ProducerId;
use ringmill_shard::query::Query;
use ringmill_storage::disk::Disk;

use super::Core;
use super::apply::{Batch, Stored};
use crate::clock::Clock;
use crate::commit::Waiter;
use crate::connection::Ticket;
use crate::latency::Stage;
use crate::message::{
    AckReply, AckStatus, Adopt, AnswerHeader, DeltaHeader, OwnerTimes, ProducerAsk, ProducerTell,
    SubBatchHeader, WatermarkNote, read_query, reply, request,
};
use crate::net::Net;

/// Records taken from one lane in one turn.
const RECORDS_PER_TURN_MAX: usize = 256;

/// Bytes of one piece of an answer.
const ANSWER_PIECE_BYTES: usize = 8 * 1024;

/// Board deltas of streams that are not flushed for every ack wait for a flush at most this long.
const DELTA_WAIT_NS: u64 = 100_000_000;

/// An answer on its way to its asker, piece by piece.
#[derive(Debug)]
pub(super) struct OpenAnswer {
    pub(super) peer: usize,
    pub(super) ticket: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) sent: usize,
}

/// What became of a request record.
#[derive(PartialEq, Eq)]
enum Took {
    Whole,
    /// No room in the log: the record stays where it is.
    Stalled,
}

impl<D: Disk, C: Clock> Core<D, C> {
    /// Takes replies to this core's requests.
    pub(super) fn drain_replies(&mut self) -> bool {
        let mut busy = false;
        for peer in 0..self.ports.peers() {
            let Some(mut lane) = self.ports.replies_in[peer].take() else {
                continue;
            };
            while let Some(record) = lane.peek() {
                busy = true;
                match record.kind {
                    reply::ACK => {
                        let ack = AckReply::read(record.body);
                        let ticket = Ticket::unpack(ack.ticket);
                        self.on_ack(ticket.socket, ticket.number, &ack);
                    }
                    reply::PRODUCER_TELL => {
                        let tell = ProducerTell::read(record.body);
                        self.on_tell(Ticket::unpack(tell.ticket).socket, &tell);
                    }
                    kind => panic!("a reply of unknown kind {kind}"),
                }
                lane.advance();
                self.ports.give_credit(peer);
            }
            lane.release();
            self.ports.replies_in[peer] = Some(lane);
        }
        busy
    }

    /// Takes requests of other peers. Shards come before the control peer, so that a query sees
    /// every delta that was published before it was asked.
    pub(super) fn drain_requests(&mut self, net: &mut impl Net) -> bool {
        let mut busy = false;
        for peer in 0..self.ports.peers() {
            let Some(mut lane) = self.ports.requests_in[peer].take() else {
                continue;
            };
            for _ in 0..RECORDS_PER_TURN_MAX {
                let Some(record) = lane.peek() else { break };
                if self.on_request(net, peer, record.kind, record.body) == Took::Stalled {
                    break;
                }
                busy = true;
                lane.advance();
            }
            lane.release();
            self.ports.requests_in[peer] = Some(lane);
        }
        busy
    }

    fn on_request(&mut self, net: &mut impl Net, peer: usize, kind: u32, body: &[u8]) -> Took {
        match kind {
            request::SUB_BATCH => return self.on_sub_batch(peer, body),
            request::PRODUCER_ASK => {
                let (ask, name) = ProducerAsk::read(body);
                let Some(tell) = self.look_up(peer, &ask, name) else {
                    return Took::Stalled;
                };
                let lsn = self.appended();
                self.wait_durable(lsn, Waiter::Tell { peer, tell });
            }
            request::QUERY => self.on_query(peer, body),
            request::CORRECTION => {
                if !self.on_correction(peer, body) {
                    return Took::Stalled;
                }
            }
            request::WATERMARK => {
                let note = WatermarkNote::read(body);
                let stream = &mut self.streams[usize::from(note.stream)];
                stream.note_of_peer(peer, &note, self.turn_ns);
            }
            request::DELTA => {
                self.on_delta(peer, body);
            }
            request::ADOPT => {
                let fd = Adopt::read(body).fd;
                self.adopt(net, take_descriptor(fd));
            }
            request::STOP => self.stopping = true,
            kind => panic!("a request of unknown kind {kind}"),
        }
        Took::Whole
    }

    /// Takes a piece of a delta; with the last one the delta is whole. Most are one piece.
    fn on_delta(&mut self, peer: usize, body: &[u8]) {
        let (header, piece) = DeltaHeader::read(body);
        let gathered = &mut self.delta_pieces[peer];
        let bytes = match (header.last, gathered.is_empty()) {
            (true, true) => piece,
            _ => {
                gathered.extend_from_slice(piece);
                gathered.as_slice()
            }
        };
        if !header.last {
            return;
        }
        let (delta, _) = Delta::decode(bytes).expect("invariant: a shard encoded it");
        let applied = self.state.apply_delta(&delta);
        debug_assert!(
            applied,
            "a delta came to a shard that does not own its member"
        );
        gathered.clear();
    }

    fn on_sub_batch(&mut self, peer: usize, body: &[u8]) -> Took {
        let (header, offsets, rows) = SubBatchHeader::read(body);
        let stage = &self.metrics.stages[Stage::Hop as usize];
        stage.record_n(
            self.turn_ns.saturating_sub(header.sent_ns),
            u64::from(header.count),
        );
        let producer = ProducerId(header.producer);
        if let Some(status) = self.refusal(peer, producer, header.ticket) {
            self.refuse_part(peer, header.ticket, status);
            return Took::Whole;
        }
        let begun_ns = self.clock.mono_ns();
        let batch = Batch {
            producer,
            epoch: header.epoch,
            stream: header.stream,
            schema_id: header.schema_id,
            first_sequence: header.first_sequence,
            count: header.count,
            offsets,
            rows,
        };
        let done = match self.store(&batch) {
            Stored::NoRoom => return Took::Stalled,
            Stored::Fenced { .. } => {
                self.refuse_part(peer, header.ticket, AckStatus::Fenced);
                return Took::Whole;
            }
            Stored::IdsFull => {
                // Behind a later row an earlier one would count as a duplicate.
                self.take_voice_away(producer);
                self.refuse_part(peer, header.ticket, AckStatus::IdsFull);
                return Took::Whole;
            }
            Stored::Done(done) => done,
        };
        let applied_ns = self.clock.mono_ns();
        let level = self.level(usize::from(header.stream));
        let (reject_sequence, reject_reason, reject_field) =
            done.first_reject.unwrap_or((0, 0, 255));
        let reply = AckReply {
            ticket: header.ticket,
            accepted: done.accepted,
            rejected: done.rejected,
            reject_sequence,
            reject_reason,
            reject_field,
            status: AckStatus::Ok,
            level: level.code(),
            duplicates: done.duplicates,
            spent: OwnerTimes {
                apply_ns: applied_ns.saturating_sub(begun_ns).min(u64::from(u32::MAX)) as u32,
                ..OwnerTimes::default()
            },
        };
        self.wait_for(
            level,
            done.lsn,
            Waiter::SubBatch {
                peer,
                reply,
                applied_ns,
            },
        );
        Took::Whole
    }

    /// Why a sub-batch is not even looked at.
    fn refusal(&mut self, peer: usize, producer: ProducerId, ticket: u64) -> Option<AckStatus> {
        if self.flags.failed() {
            Some(AckStatus::Unknown)
        } else if !self.has_voice(producer, peer, ticket) {
            Some(AckStatus::Fenced)
        } else if self.flags.disk_full() {
            self.take_voice_away(producer);
            Some(AckStatus::DiskFull)
        } else {
            None
        }
    }

    /// Whether this connection of this peer still speaks for the producer. A producer that never
    /// said Hello on any connection (a batch over HTTP without a name) has no voice to lose.
    fn has_voice(&self, producer: ProducerId, peer: usize, ticket: u64) -> bool {
        let key = Ticket {
            number: 0,
            ..Ticket::unpack(ticket)
        }
        .pack();
        self.sessions.get(&producer).is_none_or(|voice| {
            let control = self.ports.control();
            *voice == (peer, key) || (peer == control && voice.0 == control)
        })
    }

    fn on_query(&mut self, peer: usize, body: &[u8]) {
        let (ticket, query) = read_query(body);
        let failed = self.flags.failed();
        let bytes = match Query::from_bytes(query) {
            // After a failure the state holds events that a restart may not bring back.
            Ok(_) if failed => Vec::new(),
            Ok(query) => self.state.query(&query).to_bytes().into_vec(),
            Err(error) => panic!("a peer of this process sent an invalid query: {error}"),
        };
        let lsn = self.appended();
        self.wait_durable(
            lsn,
            Waiter::Answer {
                peer,
                ticket,
                bytes,
            },
        );
    }

    /// Hands answers over as far as the lanes have room.
    pub(super) fn hand_over_answers(&mut self) {
        while let Some(answer) = self.answers.front_mut() {
            let lane = self.ports.requests_out[answer.peer].as_mut();
            let lane = lane.expect("invariant: a lane to each peer");
            let rest = answer.bytes.len() - answer.sent;
            let piece = rest
                .min(ANSWER_PIECE_BYTES)
                .min(lane.max_body() - AnswerHeader::BYTES);
            let bytes = AnswerHeader::BYTES + piece;
            let Some(body) = lane.reserve(request::ANSWER, bytes) else {
                return;
            };
            let last = piece == rest;
            AnswerHeader {
                ticket: answer.ticket,
                last,
            }
            .write(body);
            body[AnswerHeader::BYTES..]
                .copy_from_slice(&answer.bytes[answer.sent..answer.sent + piece]);
            lane.commit();
            answer.sent += piece;
            if last {
                self.answers.pop_front();
            }
        }
    }

    /// Ships board deltas whose events are durable to the shards that own their members.
    pub(super) fn ship_deltas(&mut self) {
        if self.shards == 1 {
            return;
        }
        let durable = self.log.durable_lsn();
        let deltas = self.state.deltas();
        while let Some((delta, bytes)) = deltas.first_durable(durable) {
            let lane = self.ports.requests_out[usize::from(delta.owner)].as_mut();
            let lane = lane.expect("invariant: own members are applied at once");
            let rest = &bytes[self.delta_sent..];
            let piece = rest.len().min(lane.max_body() - DeltaHeader::BYTES);
            let Some(body) = lane.reserve(request::DELTA, DeltaHeader::BYTES + piece) else {
                return;
            };
            let last = piece == rest.len();
            DeltaHeader { last }.write(body);
            body[DeltaHeader::BYTES..].copy_from_slice(&rest[..piece]);
            lane.commit();
            self.delta_sent += piece;
            if last {
                self.delta_sent = 0;
                deltas.pop();
            }
        }
        // No ack of a weaker level asks for a flush, so these would wait for one for ever.
        if self.flush_due_ns.is_none() && !self.state.deltas().is_empty() {
            self.flush_due_ns = Some(self.turn_ns + DELTA_WAIT_NS);
        }
    }
}

/// The socket that travelled in a record.
#[allow(unsafe_code)]
fn take_descriptor(fd: i32) -> OwnedFd {
    // SAFETY: the sender gave the descriptor up when it wrote the record, and a record is read
    // once.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
