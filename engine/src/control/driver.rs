//! The owner of the control peer's lanes.
//!
//! Cores never wake the control plane, so the driver looks at its lanes once a millisecond while
//! something is outstanding, and not at all while nothing is.
//!
//! Order is what deduplication rests on: a shard takes any sequence at or below the last one it has
//! seen for a duplicate. The rows that one publication has for one shard therefore go out chunk by
//! chunk, each after the acknowledgement of the one before, and nothing is sent behind a chunk that
//! was refused; a retry then finds exactly the stored rows stored. Publications take turns chunk by
//! chunk. The control plane's own sequences are drawn when a chunk is written, so that they ascend
//! on every lane whatever the turns are.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringmill_shard::entry::ProducerId;
use ringmill_shard::pipeline::Pipeline;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::cores::{AskDone, Command, PublishError, QueryDone, ReadError};
use super::publish::{Chunk, Chunks, Publishes};
use super::split;
use crate::clock::{Clock, RealClock};
use crate::mesh::Ports;
use crate::message::{self, AckReply, AckStatus, AnswerHeader, ProducerAsk, ProducerTell};

/// How often lanes are looked at while something is outstanding.
const TICK: Duration = Duration::from_millis(1);
/// The same when only replies that nobody waits for are outstanding.
const TICK_SLOW: Duration = Duration::from_millis(50);
/// Queries and questions that one shard may have before it at a time; answers take memory.
const READS_IN_FLIGHT_MAX: usize = 32;
/// Bytes of the largest answer that is believed: a full page of the widest rows is far below.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Bytes of a query's ticket, which stands before the query.
const QUERY_TICKET_BYTES: usize = 8;

/// What the driver needs beside the lanes.
pub(super) struct DriverSetup {
    pub(super) ports: Ports,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) shard_failed: Arc<[AtomicBool]>,
    pub(super) clock: RealClock,
    /// Identity of the control plane as a producer; unique per incarnation.
    pub(super) anonymous: u128,
}

enum Read {
    Query {
        query: Arc<[u8]>,
        deadline: Instant,
        done: QueryDone,
    },
    Ask {
        name: Arc<str>,
        epoch: u32,
        deadline: Instant,
        done: AskDone,
    },
}

impl Read {
    fn deadline(&self) -> Instant {
        match self {
            Read::Query { deadline, .. } | Read::Ask { deadline, .. } => *deadline,
        }
    }

    fn fail(self, error: ReadError) {
        // Nobody may be waiting any more.
        match self {
            Read::Query { done, .. } => drop(done.send(Err(error))),
            Read::Ask { done, .. } => drop(done.send(Err(error))),
        }
    }
}

/// What one shard is to be sent.
#[derive(Default)]
struct Queue {
    reads: VecDeque<Read>,
    reads_in_flight: usize,
    chunks: VecDeque<Chunks>,
}

/// What a shard has been sent and has not answered.
enum Flight {
    /// The rest of the publication's part travels with its chunk.
    Chunk {
        shard: usize,
        chunk: Chunk,
        rest: Chunks,
    },
    Query {
        shard: usize,
        deadline: Instant,
        answer: Vec<u8>,
        done: QueryDone,
    },
    /// `None` when the question has timed out: its reply will still bring back the credit.
    Ask {
        shard: usize,
        deadline: Instant,
        done: Option<AskDone>,
    },
}

/// See the head of the file.
pub(super) struct Driver {
    ports: Ports,
    commands: mpsc::Receiver<Command>,
    pipeline: Arc<Pipeline>,
    shard_failed: Arc<[AtomicBool]>,
    clock: RealClock,
    queues: Vec<Queue>,
    flights: HashMap<u64, Flight>,
    publishes: Publishes,
    next_ticket: u64,
}

impl Driver {
    pub(super) fn new(setup: DriverSetup) -> Driver {
        let DriverSetup {
            ports,
            commands,
            pipeline,
            shard_failed,
            clock,
            anonymous,
        } = setup;
        let shards = shard_failed.len();
        assert_eq!(
            ports.me, shards,
            "invariant: the control plane is the last peer"
        );
        Driver {
            ports,
            commands,
            pipeline,
            shard_failed,
            clock,
            queues: (0..shards).map(|_| Queue::default()).collect(),
            flights: HashMap::new(),
            publishes: Publishes::new(anonymous),
            next_ticket: 1,
        }
    }

    /// Serves commands until every [`super::Cores`] is gone.
    pub(super) async fn run(mut self) {
        while self.wait().await {
            while let Ok(command) = self.commands.try_recv() {
                self.enqueue(command);
            }
            self.receive();
            self.expire(Instant::now());
            self.send();
        }
    }

    /// Waits for a command or the next look at the lanes; `false` when it is time to end.
    async fn wait(&mut self) -> bool {
        let queued = self
            .queues
            .iter()
            .any(|q| !q.reads.is_empty() || !q.chunks.is_empty());
        let reads = self.queues.iter().any(|q| q.reads_in_flight > 0);
        let tick = if queued || reads || !self.publishes.is_empty() {
            TICK
        } else if !self.flights.is_empty() {
            TICK_SLOW
        } else {
            let command = self.commands.recv().await;
            return command.map(|command| self.enqueue(command)).is_some();
        };
        match tokio::time::timeout(tick, self.commands.recv()).await {
            Ok(Some(command)) => self.enqueue(command),
            Ok(None) => return false,
            Err(_) => {}
        }
        true
    }

    fn has_failed(&self, shard: usize) -> bool {
        // Ordering: a flag that only ever rises; nothing is read on the strength of it.
        self.shard_failed[shard].load(Ordering::Relaxed)
    }

    fn enqueue(&mut self, command: Command) {
        match command {
            Command::Publish {
                publication,
                deadline,
                done,
            } => {
                let stream = &self.pipeline.streams[publication.stream];
                let parts = split::split(stream, &publication.rows, self.queues.len());
                for part in self.publishes.open(publication, parts, deadline, done) {
                    if self.has_failed(part.shard) {
                        let error = PublishError::OutcomeUnknown { shard: part.shard };
                        self.publishes.part_failed(part.publish, error);
                    } else {
                        self.queues[part.shard].chunks.push_back(part);
                    }
                }
            }
            Command::Query {
                shard,
                query,
                deadline,
                done,
            } => {
                self.enqueue_read(
                    shard,
                    Read::Query {
                        query,
                        deadline,
                        done,
                    },
                );
            }
            Command::Ask {
                shard,
                name,
                epoch,
                deadline,
                done,
            } => {
                self.enqueue_read(
                    shard,
                    Read::Ask {
                        name,
                        epoch,
                        deadline,
                        done,
                    },
                );
            }
        }
    }

    fn enqueue_read(&mut self, shard: usize, read: Read) {
        if self.has_failed(shard) {
            read.fail(ReadError::ShardFailed { shard });
        } else {
            self.queues[shard].reads.push_back(read);
        }
    }

    fn send(&mut self) {
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
            Read::Query {
                query,
                deadline,
                done,
            } => {
                let bytes = QUERY_TICKET_BYTES + query.len();
                let lane = self.ports.requests_out[shard]
                    .as_mut()
                    .expect("invariant: a lane");
                let Some(body) = lane.reserve(message::request::QUERY, bytes) else {
                    return Some(Read::Query {
                        query,
                        deadline,
                        done,
                    });
                };
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
                let kind = message::request::PRODUCER_ASK;
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
        let Some(body) = lane.reserve(message::request::SUB_BATCH, bytes) else {
            self.ports.give_credit(shard);
            return Some(chunks);
        };
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let chunk = self.publishes.write(
            &mut chunks,
            count,
            &stream.schema,
            super::publish::Stamp {
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

    fn receive(&mut self) {
        for shard in 0..self.queues.len() {
            self.receive_replies(shard);
            self.receive_answers(shard);
        }
    }

    fn receive_replies(&mut self, shard: usize) {
        loop {
            let lane = self.ports.replies_in[shard]
                .as_mut()
                .expect("invariant: a lane");
            let Some(record) = lane.peek() else {
                lane.release();
                return;
            };
            match record.kind {
                message::reply::ACK => {
                    let ack = AckReply::read(record.body);
                    lane.advance();
                    self.acknowledged(ack);
                }
                message::reply::PRODUCER_TELL => {
                    let tell = ProducerTell::read(record.body);
                    lane.advance();
                    self.told(tell);
                }
                kind => panic!("invariant: reply kind {kind} is never sent to the control plane"),
            }
            self.ports.give_credit(shard);
        }
    }

    fn acknowledged(&mut self, ack: AckReply) {
        let Some(Flight::Chunk { shard, chunk, rest }) = self.flights.remove(&ack.ticket) else {
            panic!("invariant: ticket {} is a chunk in flight", ack.ticket);
        };
        let error = match ack.status {
            AckStatus::Ok => None,
            AckStatus::Unknown => Some(PublishError::OutcomeUnknown { shard }),
            AckStatus::DiskFull => Some(PublishError::DiskFull { shard }),
            AckStatus::Fenced => Some(PublishError::Fenced),
            AckStatus::ShuttingDown => Some(PublishError::ShuttingDown),
        };
        if let Some(error) = error {
            self.publishes.part_failed(rest.publish, error);
            return;
        }
        self.publishes.chunk_stored(&rest, &chunk, &ack);
        if rest.left() > 0 {
            self.queues[shard].chunks.push_back(rest);
        } else {
            self.publishes.part_stored(rest.publish);
        }
    }

    fn told(&mut self, tell: ProducerTell) {
        let Some(Flight::Ask { shard, done, .. }) = self.flights.remove(&tell.ticket) else {
            panic!("invariant: ticket {} is a question in flight", tell.ticket);
        };
        if let Some(done) = done {
            self.queues[shard].reads_in_flight -= 1;
            // Whoever asked may have gone.
            let _ = done.send(Ok(tell));
        }
    }

    fn receive_answers(&mut self, shard: usize) {
        let Driver {
            ports,
            flights,
            queues,
            ..
        } = self;
        let lane = ports.requests_in[shard]
            .as_mut()
            .expect("invariant: a lane");
        while let Some(record) = lane.peek() {
            assert_eq!(
                record.kind,
                message::request::ANSWER,
                "invariant: cores only answer"
            );
            let (header, piece) = AnswerHeader::read(record.body);
            // The ticket is gone when the query timed out.
            if let Some(Flight::Query { answer, .. }) = flights.get_mut(&header.ticket) {
                assert!(
                    answer.len() + piece.len() <= ANSWER_BYTES_MAX,
                    "invariant: a page"
                );
                answer.extend_from_slice(piece);
                if header.last
                    && let Some(Flight::Query { answer, done, .. }) = flights.remove(&header.ticket)
                {
                    queues[shard].reads_in_flight -= 1;
                    // A shard that has failed answers nothing: what it holds may not come back.
                    let failed = ReadError::ShardFailed { shard };
                    let _ = done.send(if answer.is_empty() {
                        Err(failed)
                    } else {
                        Ok(answer)
                    });
                }
            }
            lane.advance();
        }
        lane.release();
    }

    /// Gives up what took too long or lost its shard.
    fn expire(&mut self, now: Instant) {
        let Driver {
            queues,
            flights,
            publishes,
            shard_failed,
            ..
        } = self;
        let failed = |shard: usize| shard_failed[shard].load(Ordering::Relaxed);
        let verdict = |shard: usize, deadline: Instant| {
            if failed(shard) {
                Some(ReadError::ShardFailed { shard })
            } else {
                (deadline <= now).then_some(ReadError::Timeout { shard })
            }
        };
        for (shard, queue) in queues.iter_mut().enumerate() {
            for read in std::mem::take(&mut queue.reads) {
                match verdict(shard, read.deadline()) {
                    Some(error) => read.fail(error),
                    None => queue.reads.push_back(read),
                }
            }
            if failed(shard) {
                for part in queue.chunks.drain(..) {
                    publishes.part_failed(part.publish, PublishError::OutcomeUnknown { shard });
                }
            }
        }
        flights.retain(|_, flight| match flight {
            Flight::Chunk { shard, rest, .. } => {
                if failed(*shard) {
                    let error = PublishError::OutcomeUnknown { shard: *shard };
                    publishes.give_up(rest.publish, error);
                }
                true
            }
            Flight::Query {
                shard,
                deadline,
                done,
                ..
            } => {
                let Some(error) = verdict(*shard, *deadline) else {
                    return true;
                };
                queues[*shard].reads_in_flight -= 1;
                let (unused, _) = tokio::sync::oneshot::channel();
                let _ = std::mem::replace(done, unused).send(Err(error));
                false
            }
            Flight::Ask {
                shard,
                deadline,
                done,
            } => {
                if let Some(error) = verdict(*shard, *deadline)
                    && let Some(done) = done.take()
                {
                    queues[*shard].reads_in_flight -= 1;
                    let _ = done.send(Err(error));
                }
                true
            }
        });
        publishes.expire(now);
    }
}
