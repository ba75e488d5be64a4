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

mod expire;
mod receive;
mod send;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringmill_shard::pipeline::Pipeline;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::cores::{AskDone, Command, PublishError, QueryDone, ReadError};
use super::publish::{Chunk, Chunks, Publishes};
use super::split;
use crate::clock::RealClock;
use crate::mesh::Ports;

/// How often lanes are looked at while something is outstanding.
const TICK: Duration = Duration::from_millis(1);
/// The same when only replies that nobody waits for are outstanding.
const TICK_SLOW: Duration = Duration::from_millis(50);
/// Queries and questions that one shard may have before it at a time; answers take memory.
const READS_IN_FLIGHT_MAX: usize = 32;
/// Bytes of the largest answer that is believed: a full page of the widest rows is far below.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Bytes of a query's ticket, which stands before the query.
pub(super) const QUERY_TICKET_BYTES: usize = 8;

/// What the driver needs beside the lanes.
pub(super) struct DriverSetup {
    pub(super) ports: Ports,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) shard_failed: Arc<[AtomicBool]>,
    pub(super) clock: RealClock,
    /// Identity of the control plane as a producer; unique per incarnation.
    pub(super) anonymous: u128,
    pub(super) pace: Pace,
}

/// What is answered by an answer.
struct Question {
    /// Kind of the record, see [`crate::message::request`].
    kind: u32,
    query: Arc<[u8]>,
    deadline: Instant,
    done: QueryDone,
}

enum Read {
    Query(Question),
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
            Read::Query(question) => question.deadline,
            Read::Ask { deadline, .. } => *deadline,
        }
    }

    fn fail(self, error: ReadError) {
        // Nobody may be waiting any more.
        match self {
            Read::Query(question) => drop(question.done.send(Err(error))),
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

/// When the lanes are looked at again while something is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// After a moment: the cores work meanwhile, each on its own thread.
    Moments,
    /// As often as everyone else on this thread had a turn, the cores among them. Nothing then
    /// depends on how fast the machine is.
    Turns,
}

/// See the head of the file.
pub(super) struct Driver {
    pace: Pace,
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
            pace,
        } = setup;
        let shards = shard_failed.len();
        assert_eq!(
            ports.me, shards,
            "invariant: the control plane is the last peer"
        );
        Driver {
            pace,
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
        let next = match self.pace {
            Pace::Moments => {
                let next = tokio::time::timeout(tick, self.commands.recv()).await;
                next.ok()
            }
            Pace::Turns => tokio::select! {
                biased;
                next = self.commands.recv() => Some(next),
                () = tokio::task::yield_now() => None,
            },
        };
        match next {
            Some(Some(command)) => self.enqueue(command),
            Some(None) => return false,
            None => {}
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
                kind,
                query,
                deadline,
                done,
            } => {
                self.enqueue_read(
                    shard,
                    Read::Query(Question {
                        kind,
                        query,
                        deadline,
                        done,
                    }),
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
}
