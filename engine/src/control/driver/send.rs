//! From queues to lanes: a question or the next chunk at a time, as far as there is room.

use ringmill_shard::entry::ProducerId;

use super::super::publish::{Chunks, Stamp};
use super::super::split;
use super::{Driver, Flight, QUERY_TICKET_BYTES, Question, READS_IN_FLIGHT_MAX, Read};
use crate::clock::Clock;
use crate::message::{ProducerAsk, request};

impl Driver {
    pub(super) fn send(&mut self) {
        for shard in 0..self.queues.len() {
            while self.queues[shard].reads_in_flight < READS_IN_FLIGHT_MAX
                && let Some(read) = self.queues[shard].reads.pop_front()
            {
                if let Some(unsent) = self.send_read(shard, read) {
                    self.queues[shard].reads.push_front(unsent);
                    break;
                }
            }
            while let Some(chunks) = self.queues[shard].chunks.pop_front() {
                if let Some(unsent) = self.send_chunk(shard, chunks) {
                    self.queues[shard].chunks.push_front(unsent);
                    break;
                }
            }
        }
        self.ports.publish_all();
    }

    fn ticket(&mut self) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        ticket
    }

    /// Gives the read back if there is no room for it now.
    fn send_read(&mut self, shard: usize, read: Read) -> Option<Read> {
        let ticket = self.ticket();
        let flight = match read {
            Read::Query(question) => {
                let bytes = QUERY_TICKET_BYTES + question.query.len();
                let lane = self.ports.requests_out[shard]
                    .as_mut()
                    .expect("invariant: a lane");
                let Some(body) = lane.reserve(question.kind, bytes) else {
                    return Some(Read::Query(question));
                };
                let Question {
                    query,
                    deadline,
                    done,
                    ..
                } = question;
                let (head, archived) = body.split_at_mut(QUERY_TICKET_BYTES);
                head.copy_from_slice(&ticket.to_le_bytes());
                archived.copy_from_slice(&query);
                lane.commit();
                Flight::Query {
                    shard,
                    deadline,
                    answer: Vec::new(),
                    done,
                }
            }
            Read::Ask {
                name,
                epoch,
                deadline,
                done,
            } => {
                if !self.ports.take_credit(shard) {
                    return Some(Read::Ask {
                        name,
                        epoch,
                        deadline,
                        done,
                    });
                }
                let lane = self.ports.requests_out[shard]
                    .as_mut()
                    .expect("invariant: a lane");
                let kind = request::PRODUCER_ASK;
                let Some(body) = lane.reserve(kind, ProducerAsk::BYTES + name.len()) else {
                    self.ports.give_credit(shard);
                    return Some(Read::Ask {
                        name,
                        epoch,
                        deadline,
                        done,
                    });
                };
                let producer = ProducerId::of_name(&name).0;
                ProducerAsk {
                    ticket,
                    producer,
                    epoch,
                }
                .write(body);
                body[ProducerAsk::BYTES..].copy_from_slice(name.as_bytes());
                lane.commit();
                Flight::Ask {
                    shard,
                    deadline,
                    done: Some(done),
                }
            }
        };
        self.queues[shard].reads_in_flight += 1;
        self.flights.insert(ticket, flight);
        None
    }

    /// Gives the chunks back if there is no room for the next one now.
    fn send_chunk(&mut self, shard: usize, mut chunks: Chunks) -> Option<Chunks> {
        // A publication that was given up sends no more.
        let publish = self.publishes.get_mut(chunks.publish)?;
        if !self.ports.take_credit(shard) {
            return Some(chunks);
        }
        let stream = &self.pipeline.streams[publish.stream()];
        let lane = self.ports.requests_out[shard]
            .as_mut()
            .expect("invariant: a lane");
        let rows_max = split::chunk_rows_max(stream.schema.row_len(), lane.max_body());
        let count = chunks.left().min(rows_max);
        let bytes = chunks.record_bytes(count, stream.schema.row_len());
        let Some(body) = lane.reserve(request::SUB_BATCH, bytes) else {
            self.ports.give_credit(shard);
            return Some(chunks);
        };
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let chunk = self.publishes.write(
            &mut chunks,
            count,
            &stream.schema,
            Stamp {
                ticket,
                sent_ns: self.clock.mono_ns(),
            },
            body,
        );
        lane.commit();
        self.flights.insert(
            ticket,
            Flight::Chunk {
                shard,
                chunk,
                rest: chunks,
            },
        );
        None
    }
}
