//! Asking the cores: what the HTTP layer calls, whatever thread it is on.
//!
//! A [`Cores`] is a cheap handle. The lanes themselves have one owner, the driver
//! (`control/driver.rs`), which takes commands from a bounded channel: a full channel makes callers
//! wait, and a caller that waited too long is told so.

use std::sync::Arc;
use std::time::Duration;

use ringmill_shard::reject::RejectReason;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::message::{ProducerTell, request};

/// Rows to be published.
#[derive(Debug)]
pub struct Publication {
    /// Index of the stream in the pipeline.
    pub stream: usize,
    /// Where the sequence numbers come from.
    pub source: Source,
    /// Whole, validated rows of the stream's schema.
    pub rows: Vec<u8>,
}

/// The producer of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A producer that numbers its events: sending them again stores nothing twice.
    ///
    /// One publication at a time and producer, or a later one may overtake an earlier one, whose
    /// rows then count as stored.
    Named {
        /// Durable identity.
        producer: u128,
        /// Epoch.
        epoch: u32,
        /// Sequence of the first row; the others follow without gap.
        first_sequence: u64,
    },
    /// Numbered by the control plane.
    Anonymous,
}

/// What became of a publication. Every row is in exactly one of the three counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Rows that took effect now.
    pub accepted: u64,
    /// Rows that had been stored before.
    pub duplicates: u64,
    /// Rows refused for their content.
    pub rejected: u64,
    /// The first refused row.
    pub first_rejected: Option<FirstRejected>,
}

/// The first refused row of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstRejected {
    /// Index of the row in the publication.
    pub row: usize,
    /// Why; `None` if the shard gave no reason.
    pub reason: Option<RejectReason>,
    /// Index of the field to blame, if it is one.
    pub field: Option<usize>,
}

/// Why a publication was not confirmed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Some rows may be stored and some not; only a retry with the same sequences tells.
    #[error("the outcome is unknown: shard {shard} did not confirm its rows")]
    OutcomeUnknown {
        /// The shard that did not confirm.
        shard: usize,
    },
    /// The shards did not confirm in time; some rows may be stored and some not.
    #[error("the outcome is unknown: the shards did not confirm in time")]
    TimedOut,
    /// A shard had no space left; rows of other shards may be stored.
    #[error("no space is left for the log of shard {shard}")]
    DiskFull {
        /// The shard that refused.
        shard: usize,
    },
    /// The ids of the rows for a shard found no room; rows of other shards may be stored.
    #[error("the memory for ids of shard {shard} is full")]
    IdsFull {
        /// The shard that refused.
        shard: usize,
    },
    /// A newer epoch of the producer exists.
    #[error("a newer epoch of the producer exists")]
    Fenced,
    /// The engine is stopping.
    #[error("the engine is shutting down")]
    ShuttingDown,
    /// No row was handed to any shard in time.
    #[error("the engine has no room")]
    Overloaded,
}

/// Why a read has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The shard has failed.
    #[error("shard {shard} has failed")]
    ShardFailed {
        /// The shard.
        shard: usize,
    },
    /// The shard did not answer in time.
    #[error("shard {shard} did not answer in time")]
    Timeout {
        /// The shard.
        shard: usize,
    },
    /// The engine is stopping.
    #[error("the engine is shutting down")]
    ShuttingDown,
}

/// What the driver is asked to do.
pub(super) enum Command {
    Publish {
        publication: Publication,
        deadline: Instant,
        done: PublishDone,
    },
    /// A question, or a part of a correction: whatever is answered by an answer.
    Query {
        shard: usize,
        /// Kind of the record, see [`request`].
        kind: u32,
        query: Arc<[u8]>,
        deadline: Instant,
        done: QueryDone,
    },
    Ask {
        shard: usize,
        name: Arc<str>,
        epoch: u32,
        deadline: Instant,
        done: AskDone,
    },
}

pub(super) type PublishDone = oneshot::Sender<Result<Published, PublishError>>;
pub(super) type QueryDone = oneshot::Sender<Result<Vec<u8>, ReadError>>;
pub(super) type AskDone = oneshot::Sender<Result<ProducerTell, ReadError>>;

/// Longest waits for the cores.
#[derive(Clone, Copy, Debug)]
pub struct CoreTimeouts {
    /// For a publication to be durable on every shard.
    pub publish: Duration,
    /// For the answer to a query.
    pub query: Duration,
}

impl Default for CoreTimeouts {
    fn default() -> CoreTimeouts {
        CoreTimeouts {
            publish: Duration::from_secs(10),
            query: Duration::from_secs(5),
        }
    }
}

/// Replies of all shards to one question.
#[derive(Debug)]
pub struct Replies<T> {
    /// One reply per shard that is alive, by ascending shard.
    pub replies: Vec<(usize, T)>,
    /// Shards that have failed.
    pub missing: Vec<usize>,
}

/// A handle to the cores.
#[derive(Clone, Debug)]
pub struct Cores {
    commands: mpsc::Sender<Command>,
    shards: usize,
    timeouts: CoreTimeouts,
    part_bytes_max: usize,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Command::Publish { .. } => "Publish",
            Command::Query { .. } => "Query",
            Command::Ask { .. } => "Ask",
        })
    }
}

impl Cores {
    pub(super) fn new(
        commands: mpsc::Sender<Command>,
        shards: usize,
        timeouts: CoreTimeouts,
        part_bytes_max: usize,
    ) -> Cores {
        Cores {
            commands,
            shards,
            timeouts,
            part_bytes_max,
        }
    }

    /// Bytes of the largest query, or part of a correction.
    pub fn part_bytes_max(&self) -> usize {
        self.part_bytes_max
    }

    /// Number of shards.
    pub fn shards(&self) -> usize {
        self.shards
    }

    /// Stores rows on the shards that own their keys, and waits until each is as safe as its
    /// stream asks for.
    pub async fn publish(&self, publication: Publication) -> Result<Published, PublishError> {
        let deadline = Instant::now() + self.timeouts.publish;
        let (done, outcome) = oneshot::channel();
        let command = Command::Publish {
            publication,
            deadline,
            done,
        };
        match tokio::time::timeout_at(deadline, self.commands.send(command)).await {
            Err(_) => return Err(PublishError::Overloaded),
            Ok(Err(_)) => return Err(PublishError::ShuttingDown),
            Ok(Ok(())) => {}
        }
        // The driver is gone with the rows half sent: nobody can tell any more.
        outcome
            .await
            .unwrap_or(Err(PublishError::OutcomeUnknown { shard: 0 }))
    }

    /// Sends an archived query to one shard.
    pub async fn query_one(&self, shard: usize, query: Vec<u8>) -> Result<Vec<u8>, ReadError> {
        self.send_query(shard, request::QUERY, query.into())
            .await?
            .await
            .unwrap_or(Err(ReadError::ShuttingDown))
    }

    /// Stores a part of a correction on one shard, durably; the answer of the shard.
    pub async fn correct(&self, shard: usize, part: Vec<u8>) -> Result<Vec<u8>, ReadError> {
        self.send_query(shard, request::CORRECTION, part.into())
            .await?
            .await
            .unwrap_or(Err(ReadError::ShuttingDown))
    }

    /// Sends an archived query to every shard. A failed shard is listed, a slow one is an error.
    pub async fn query_all(&self, query: Vec<u8>) -> Result<Replies<Vec<u8>>, ReadError> {
        let query: Arc<[u8]> = query.into();
        let mut waiting = Vec::with_capacity(self.shards);
        for shard in 0..self.shards {
            let query = Arc::clone(&query);
            waiting.push(self.send_query(shard, request::QUERY, query).await?);
        }
        gather(waiting).await
    }

    /// Asks every shard what it knows of a producer; an epoch above the known one opens it.
    pub async fn ask_all(
        &self,
        name: &str,
        epoch: u32,
    ) -> Result<Replies<ProducerTell>, ReadError> {
        let name: Arc<str> = name.into();
        let mut waiting = Vec::with_capacity(self.shards);
        for shard in 0..self.shards {
            let deadline = Instant::now() + self.timeouts.query;
            let (done, outcome) = oneshot::channel();
            let name = Arc::clone(&name);
            self.send(
                shard,
                deadline,
                Command::Ask {
                    shard,
                    name,
                    epoch,
                    deadline,
                    done,
                },
            )
            .await?;
            waiting.push(outcome);
        }
        gather(waiting).await
    }

    async fn send_query(
        &self,
        shard: usize,
        kind: u32,
        query: Arc<[u8]>,
    ) -> Result<oneshot::Receiver<Result<Vec<u8>, ReadError>>, ReadError> {
        let deadline = Instant::now() + self.timeouts.query;
        let (done, outcome) = oneshot::channel();
        self.send(
            shard,
            deadline,
            Command::Query {
                shard,
                kind,
                query,
                deadline,
                done,
            },
        )
        .await?;
        Ok(outcome)
    }

    async fn send(
        &self,
        shard: usize,
        deadline: Instant,
        command: Command,
    ) -> Result<(), ReadError> {
        match tokio::time::timeout_at(deadline, self.commands.send(command)).await {
            Err(_) => Err(ReadError::Timeout { shard }),
            Ok(Err(_)) => Err(ReadError::ShuttingDown),
            Ok(Ok(())) => Ok(()),
        }
    }
}

async fn gather<T>(
    waiting: Vec<oneshot::Receiver<Result<T, ReadError>>>,
) -> Result<Replies<T>, ReadError> {
    let mut all = Replies {
        replies: Vec::with_capacity(waiting.len()),
        missing: Vec::new(),
    };
    for (shard, outcome) in waiting.into_iter().enumerate() {
        match outcome.await.unwrap_or(Err(ReadError::ShuttingDown)) {
            Ok(reply) => all.replies.push((shard, reply)),
            Err(ReadError::ShardFailed { shard }) => all.missing.push(shard),
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}
