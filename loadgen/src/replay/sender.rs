//! A blocking publisher: frames in order, a window of unacknowledged ones, and the same frames
//! again after a lost connection.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ringmill_shard::wire::{Ack, ErrorReply, FrameKind, FrameReader, StreamInfo, encode_publish};

use super::Replay;
use crate::error::LoadError;
use crate::greet::{Greeting, greet};
use crate::recorder::Recorder;

/// Refusals that are kept in the server's words.
const REFUSALS_MAX: usize = 10;
/// Pause between attempts to connect again.
const PAUSE: Duration = Duration::from_millis(100);

/// A frame that is not acknowledged.
struct Pending {
    bytes: Vec<u8>,
    last: u64,
    count: u64,
    sent: Instant,
}

pub(super) struct Sender<'r> {
    replay: &'r Replay,
    stream: u16,
    schema_id: u32,
    row_bytes: usize,
    batch: usize,
    frames_max: usize,
    socket: TcpStream,
    reader: FrameReader,
    chunk: Vec<u8>,
    rows: Vec<u8>,
    pending: VecDeque<Pending>,
    first: u64,
    next: u64,
    acked: u64,
    pub(super) rejected: u64,
    pub(super) refusals: Vec<String>,
    pub(super) reconnects: u64,
    pub(super) service: Recorder,
}

/// Why an exchange ended.
enum Broken {
    /// The connection is gone.
    Lost(String),
    /// The server will not have it.
    Refused(LoadError),
}

impl<'r> Sender<'r> {
    pub(super) fn new(
        replay: &'r Replay,
        stream: &StreamInfo,
        greeting: Greeting,
    ) -> Result<Sender<'r>, LoadError> {
        let ack = &greeting.ack;
        let row_bytes = stream.schema.row_len();
        let bytes_max = ack.frame_payload_bytes_max as usize;
        let prefix = ringmill_shard::limits::PUBLISH_PREFIX_BYTES;
        let most = bytes_max.saturating_sub(prefix) / row_bytes;
        if replay.batch > most {
            let batch = replay.batch as u64;
            return Err(LoadError::BatchTooLarge {
                batch,
                row_bytes,
                bytes_max,
                most,
            });
        }
        let stored = ack.highest_seen.min(ack.durable_through);
        let mut sender = Sender {
            replay,
            stream: stream.index,
            schema_id: stream.schema.id,
            row_bytes,
            batch: replay.batch,
            frames_max: replay.inflight.min(ack.inflight_frames_max.max(1) as usize),
            socket: greeting.socket,
            reader: FrameReader::new(),
            chunk: vec![0u8; 16 * 1024],
            rows: Vec::with_capacity(replay.batch * row_bytes),
            pending: VecDeque::new(),
            first: stored + 1,
            next: stored + 1,
            acked: stored,
            rejected: 0,
            refusals: Vec::new(),
            reconnects: 0,
            service: Recorder::new(),
        };
        sender.set_timeouts()?;
        Ok(sender)
    }

    fn set_timeouts(&mut self) -> Result<(), LoadError> {
        let timeout = Some(self.replay.timeout.max(Duration::from_millis(1)));
        self.socket
            .set_read_timeout(timeout)
            .and_then(|()| self.socket.set_write_timeout(timeout))
            .map_err(LoadError::system("set a socket's time limit"))
    }

    pub(super) fn acked(&self) -> u64 {
        self.acked
    }

    pub(super) fn first_sequence(&self) -> u64 {
        self.first
    }

    /// Takes an event; a full batch is sent.
    pub(super) fn push(&mut self, row: &[u8]) -> Result<(), LoadError> {
        self.rows.extend_from_slice(row);
        if self.rows.len() >= self.batch * self.row_bytes {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Sends what is batched, after waiting for room in the window.
    pub(super) fn flush(&mut self) -> Result<(), LoadError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        while self.pending.len() >= self.frames_max {
            self.wait_for_ack()?;
        }
        let count = (self.rows.len() / self.row_bytes) as u64;
        let mut bytes = Vec::with_capacity(64 + self.rows.len());
        let (stream, schema_id) = (self.stream, self.schema_id);
        encode_publish(
            &mut bytes,
            stream,
            schema_id,
            self.next,
            count as u32,
            &self.rows,
        );
        self.rows.clear();
        self.next += count;
        self.pending.push_back(Pending {
            bytes,
            last: self.next - 1,
            count,
            sent: Instant::now(),
        });
        let sent = {
            let frame = self.pending.back().expect("invariant: pushed above");
            self.socket.write_all(&frame.bytes)
        };
        match sent {
            Ok(()) => Ok(()),
            Err(error) => self.recover(Broken::Lost(error.to_string())),
        }
    }

    /// Sends the rest and waits for all acknowledgements.
    pub(super) fn finish(&mut self) -> Result<(), LoadError> {
        self.flush()?;
        while !self.pending.is_empty() {
            self.wait_for_ack()?;
        }
        Ok(())
    }

    fn wait_for_ack(&mut self) -> Result<(), LoadError> {
        match self.read_some() {
            Ok(()) => Ok(()),
            Err(broken) => self.recover(broken),
        }
    }

    fn read_some(&mut self) -> Result<(), Broken> {
        let read = match self.socket.read(&mut self.chunk) {
            Ok(0) => return Err(Broken::Lost("closed by the server".to_owned())),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(Broken::Lost("no acknowledgement in time".to_owned()));
            }
            Err(error) => return Err(Broken::Lost(error.to_string())),
        };
        let mut consumed = 0;
        let mut through = self.acked;
        while let Some(frame) = self.reader.next(&self.chunk[..read], &mut consumed) {
            let wire = |source| {
                Broken::Refused(LoadError::Wire {
                    addr: self.replay.addr.clone(),
                    source,
                })
            };
            let frame = frame.map_err(wire)?;
            match frame.header.kind {
                FrameKind::Ack => {
                    let ack = Ack::decode(&frame.header).map_err(wire)?;
                    self.rejected += u64::from(ack.rejected);
                    through = through.max(ack.sequence);
                }
                FrameKind::Error => {
                    let error = ErrorReply::decode(&frame.header, frame.payload).map_err(wire)?;
                    if self.refusals.len() < REFUSALS_MAX {
                        self.refusals
                            .push(format!("{}: {}", error.code.name(), error.message));
                    }
                    if error.fatal {
                        return Err(Broken::Refused(LoadError::Refused {
                            addr: self.replay.addr.clone(),
                            name: self.replay.producer.clone(),
                            code: error.code.name(),
                            message: error.message,
                        }));
                    }
                }
                _ => {}
            }
        }
        self.acknowledge(through);
        Ok(())
    }

    fn acknowledge(&mut self, through: u64) {
        self.acked = self.acked.max(through);
        while self
            .pending
            .front()
            .is_some_and(|frame| frame.last <= through)
        {
            let frame = self
                .pending
                .pop_front()
                .expect("invariant: looked at above");
            self.service
                .record_n(frame.sent.elapsed().as_nanos() as u64, frame.count);
        }
    }

    /// Connects again and sends every unacknowledged frame again, with the sequences it had.
    fn recover(&mut self, broken: Broken) -> Result<(), LoadError> {
        let reason = match broken {
            Broken::Lost(reason) => reason,
            Broken::Refused(LoadError::Refused { code, message, .. }) if is_passing(code) => {
                message
            }
            Broken::Refused(error) => return Err(error),
        };
        if !self.replay.reconnect {
            return Err(LoadError::Failed(format!(
                "the connection was lost: {reason}"
            )));
        }
        let deadline = Instant::now() + self.replay.timeout;
        loop {
            let result = self.connect_again();
            match result {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() >= deadline => {
                    let text = format!("the connection was lost ({reason}) and not made again");
                    return Err(LoadError::Failed(format!("{text}: {error}")));
                }
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }

    fn connect_again(&mut self) -> Result<(), LoadError> {
        let greeting = greet(
            &self.replay.addr,
            &self.replay.producer,
            self.replay.timeout,
        )?;
        let ack = &greeting.ack;
        if ack.highest_seen < self.acked {
            let text = format!(
                "acknowledged through {}, known {}",
                self.acked, ack.highest_seen
            );
            return Err(LoadError::Failed(format!(
                "the server forgot events: {text}"
            )));
        }
        let through = ack.durable_through;
        self.socket = greeting.socket;
        self.reader = FrameReader::new();
        self.set_timeouts()?;
        self.reconnects += 1;
        self.acknowledge(through);
        for frame in &self.pending {
            self.socket
                .write_all(&frame.bytes)
                .map_err(LoadError::system("send again"))?;
        }
        Ok(())
    }
}

/// Whether the server refuses only for now.
fn is_passing(code: &str) -> bool {
    matches!(code, "shutting_down" | "overloaded" | "shard_failed")
}
