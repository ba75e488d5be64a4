//! Greetings: who publishes on a connection, and from where it goes on.
//!
//! A producer has one voice at a time. A Hello asks every shard what it holds of the producer, and
//! with that question takes the voice from any older connection: a shard refuses sub-batches of
//! a connection that no longer speaks for the producer. Lanes keep their order, so the answer of a
//! shard covers everything that it will ever accept from the older one.

use ringmill_shard::entry::{self, ProducerId, ProducerSession};
use ringmill_shard::limits::FRAME_PAYLOAD_BYTES_MAX;
use ringmill_shard::pipeline::{Pipeline, Stream};
use ringmill_shard::wire::{ErrorCode, Frame, Hello, HelloAck, StreamInfo};
use ringmill_storage::disk::Disk;

use super::Core;
use super::receive::Flow;
use crate::clock::Clock;
use crate::commit::Waiter;
use crate::connection::{Greeting, INFLIGHT_FRAMES_MAX, Session, Ticket};
use crate::message::{ProducerAsk, ProducerTell, request};
use crate::net::SocketId;

/// The voice of a producer that has to ask again: no peer has this number.
const NOBODY: (usize, u64) = (usize::MAX, 0);

/// What every HelloAck of this server says.
pub(super) fn template(pipeline: &Pipeline, shards: usize) -> HelloAck {
    let stream = |(index, stream): (usize, &Stream)| StreamInfo {
        index: index as u16,
        name: stream.name.clone(),
        level: stream.durability.level(),
        key: stream.key,
        schema: stream.schema.clone(),
    };
    HelloAck {
        shards: shards as u16,
        epoch: 0,
        durable_through: 0,
        highest_seen: 0,
        frame_payload_bytes_max: FRAME_PAYLOAD_BYTES_MAX as u32,
        inflight_frames_max: INFLIGHT_FRAMES_MAX as u32,
        streams: pipeline.streams.iter().enumerate().map(stream).collect(),
    }
}

impl<D: Disk, C: Clock> Core<D, C> {
    /// Takes a Hello in. The frame stalls until every shard could be asked and has answered, so
    /// nothing that follows it is read before.
    pub(super) fn on_hello(&mut self, socket: SocketId, frame: &Frame<'_>) -> Flow {
        let Some(connection) = self.connection(socket) else {
            return Flow::Over;
        };
        if connection.greeting.is_some() {
            return Flow::Stalled;
        }
        if connection.session.is_some() {
            let message = "this connection has said Hello already";
            return self.refuse(socket, ErrorCode::HelloRepeated, 0, message);
        }
        let hello = match Hello::decode(frame.payload) {
            Ok(hello) => hello,
            Err(error) => return self.refuse(socket, error.code(), 0, &error.to_string()),
        };
        let producer = ProducerId::of_name(hello.name);
        let others = (0..self.shards).filter(|shard| *shard != self.me);
        let mut credited = Vec::new();
        for shard in others {
            let room = self.ports.requests_out[shard]
                .as_mut()
                .is_some_and(|lane| lane.has_room_for(ProducerAsk::BYTES + hello.name.len()));
            if !room || !self.ports.take_credit(shard) {
                for shard in credited {
                    self.ports.give_credit(shard);
                }
                return Flow::Stalled;
            }
            credited.push(shard);
        }
        let ticket = Ticket { socket, number: 0 }.pack();
        let ask = ProducerAsk {
            ticket,
            producer: producer.0,
            epoch: hello.epoch,
        };
        let Some(tell) = self.look_up(self.me, &ask, hello.name) else {
            for shard in credited {
                self.ports.give_credit(shard);
            }
            return Flow::Stalled;
        };
        for shard in credited {
            let lane = self.ports.requests_out[shard].as_mut();
            let lane = lane.expect("invariant: a lane to each peer");
            let bytes = ProducerAsk::BYTES + hello.name.len();
            let body = lane.reserve(request::PRODUCER_ASK, bytes);
            let body = body.expect("invariant: room was seen and nothing was staged since");
            ask.write(body);
            body[ProducerAsk::BYTES..].copy_from_slice(hello.name.as_bytes());
            lane.commit();
        }
        let greeting = Greeting {
            producer,
            epoch: hello.epoch,
            missing: self.shards,
            epoch_seen: 0,
            highest: 0,
            lowest: u64::MAX,
        };
        if let Some(connection) = self.connection(socket) {
            connection.greeting = Some(greeting);
        }
        let lsn = self.appended();
        self.wait_durable(lsn, Waiter::Greeting { socket, tell });
        Flow::Taken
    }

    /// Answers what this shard holds of a producer and gives the voice to the asker; opens a new
    /// epoch when one is announced. `None`: the log has no room for that now.
    pub(super) fn look_up(
        &mut self,
        peer: usize,
        ask: &ProducerAsk,
        name: &str,
    ) -> Option<ProducerTell> {
        let producer = ProducerId(ask.producer);
        let known = self.state.producer(producer);
        let epoch_known = known.as_ref().map_or(0, |view| view.epoch);
        if ask.epoch > epoch_known && self.floor.is_none() && !self.flags.failed() {
            let session = ProducerSession {
                producer: ask.producer,
                epoch: ask.epoch,
                stamp_ns: self.next_stamp(),
                name: name.to_owned(),
            };
            let kind = entry::KIND_PRODUCER_SESSION;
            self.log.append(kind, &[&session.to_bytes()])?;
            self.last_stamp_ns = session.stamp_ns;
            self.state.begin_epoch(producer, ask.epoch);
        }
        if ask.epoch == 0 || ask.epoch >= epoch_known {
            self.take_voice(producer, peer, ask.ticket);
        }
        let view = self.state.producer(producer).unwrap_or_default();
        Some(ProducerTell {
            ticket: ask.ticket,
            last_sequence: view.last_sequence.max(view.inherited_max),
            complete_through: view.last_sequence,
            epoch: view.epoch,
        })
    }

    /// From now on only this connection speaks for the producer.
    fn take_voice(&mut self, producer: ProducerId, peer: usize, ticket: u64) {
        let old = self.sessions.insert(producer, (peer, ticket));
        if let Some((old_peer, old_ticket)) = old
            && old_peer == self.me
            && (old_peer, old_ticket) != (peer, ticket)
        {
            let socket = Ticket::unpack(old_ticket).socket;
            let message = "another connection has said Hello with this producer name";
            self.refuse(socket, ErrorCode::Fenced, 0, message);
        }
    }

    /// Rows of the producer were refused, so what follows them on the same lane would leave a hole
    /// that its retry could not fill: nobody speaks for it until somebody has asked again.
    pub(super) fn take_voice_away(&mut self, producer: ProducerId) {
        if let Some(voice) = self.sessions.get_mut(&producer) {
            *voice = NOBODY;
        }
    }

    /// A shard's answer has come and is durable there.
    pub(super) fn on_tell(&mut self, socket: SocketId, tell: &ProducerTell) {
        let shards = self.shards;
        let Some(connection) = self.connection(socket) else {
            return;
        };
        let Some(greeting) = &mut connection.greeting else {
            return;
        };
        let is_first = greeting.missing == shards;
        greeting.missing -= 1;
        if tell.epoch > greeting.epoch_seen {
            greeting.epoch_seen = tell.epoch;
            greeting.highest = 0;
            greeting.lowest = if is_first { u64::MAX } else { 0 };
        }
        // A shard that knows nothing of this epoch holds nothing of it.
        let is_current = tell.epoch == greeting.epoch_seen;
        let last = if is_current { tell.last_sequence } else { 0 };
        let complete = if is_current { tell.complete_through } else { 0 };
        greeting.highest = greeting.highest.max(last);
        greeting.lowest = greeting.lowest.min(complete);
        if greeting.missing == 0 {
            self.finish_greeting(socket);
        }
    }

    fn finish_greeting(&mut self, socket: SocketId) {
        let Some(connection) = self.connection(socket) else {
            return;
        };
        let Some(greeting) = connection.greeting.take() else {
            return;
        };
        if greeting.epoch != 0 && greeting.epoch < greeting.epoch_seen {
            let message = format!(
                "epoch {} is older than {} of this producer",
                greeting.epoch, greeting.epoch_seen
            );
            self.refuse(socket, ErrorCode::Fenced, 0, &message);
            return;
        }
        let epoch = greeting.epoch_seen.max(greeting.epoch);
        connection.session = Some(Session {
            producer: greeting.producer,
            epoch,
            next_sequence: greeting.highest + 1,
            taken_through: greeting.lowest.min(greeting.highest),
        });
        let mut ack = self.hello_ack.clone();
        ack.epoch = epoch;
        ack.durable_through = greeting.lowest.min(greeting.highest);
        ack.highest_seen = greeting.highest;
        if let Some(connection) = self.connection(socket) {
            ack.encode(&mut connection.out);
        }
        self.mark_dirty(socket);
    }
}
