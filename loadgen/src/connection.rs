//! One producer's connection: its send buffer, its window, its socket.
//!
//! Frames are written into the send buffer in place and leave in as few system calls as the socket
//! takes. Nothing is allocated after construction while the connection holds.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use ringmill_shard::limits::{FRAME_HEADER_BYTES, PUBLISH_PREFIX_BYTES};
use ringmill_shard::wire::{Ack, ErrorReply, FrameKind, FrameReader, HelloAck, seal_publish};

use crate::clock::RunClock;
use crate::rows::{RowPlan, RowSeed};
use crate::tally::Tally;
use crate::window::Window;

/// Bytes before the rows of a frame.
const FRAME_PREFIX_BYTES: usize = FRAME_HEADER_BYTES + PUBLISH_PREFIX_BYTES;
/// Frames that the send buffer holds at least.
const BUFFERED_FRAMES: usize = 4;
/// Room in the send buffer beyond those, so that small frames coalesce.
const BUFFERED_BYTES: usize = 32 * 1024;

/// What a connection is made of.
#[derive(Clone, Debug)]
pub struct ConnectionPlan {
    /// Durable name of the producer.
    pub name: String,
    /// Index of the producer in the run: with the seed, what its rows depend on.
    pub index: usize,
    /// The seed of the run.
    pub seed: u64,
    /// Index of the stream on the server.
    pub stream: u16,
    /// Events per frame.
    pub batch: usize,
    /// Unacknowledged frames.
    pub frames_max: usize,
    /// Whether events have intended times of their own.
    pub per_event: bool,
}

/// Why a connection cannot be used any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It broke; another one may do.
    Broken(String),
    /// Another one would meet the same.
    ForGood(String),
}

/// A producer and its connection.
#[derive(Debug)]
pub struct Connection {
    /// What it was made from.
    pub plan: ConnectionPlan,
    /// Its unacknowledged frames.
    pub window: Window,
    /// First sequence of this run.
    pub first_sequence: u64,
    /// The last refusal of the server, for the report.
    pub last_fault: Option<String>,
    /// Whether the socket refused bytes and is waited for.
    pub is_blocked: bool,
    socket: Option<TcpStream>,
    reader: FrameReader,
    buffer: Box<[u8]>,
    head: usize,
    tail: usize,
    seed: RowSeed,
    row_bytes: usize,
    schema_id: u32,
}

impl Connection {
    /// A producer that is not connected yet. `seen` is the highest sequence that the server has.
    pub fn new(plan: ConnectionPlan, rows: &RowPlan, seen: u64) -> Connection {
        let row_bytes = rows.schema().row_len();
        let frame_bytes = FRAME_PREFIX_BYTES + plan.batch * row_bytes;
        // Written once, so that no page fault falls into the run.
        let mut buffer = vec![1u8; BUFFERED_FRAMES * frame_bytes + BUFFERED_BYTES];
        buffer.fill(0);
        Connection {
            window: Window::new(plan.frames_max, plan.batch, plan.per_event, seen),
            first_sequence: seen + 1,
            last_fault: None,
            is_blocked: false,
            socket: None,
            reader: FrameReader::new(),
            buffer: buffer.into_boxed_slice(),
            head: 0,
            tail: 0,
            seed: RowSeed::new(plan.seed, plan.index as u64),
            row_bytes,
            schema_id: rows.schema().id,
            plan,
        }
    }

    /// Takes a fresh socket; what is in the window is made and sent again on it.
    pub fn attach(
        &mut self,
        socket: TcpStream,
        ack: &HelloAck,
        now_ns: u64,
        tally: &mut Tally,
    ) -> Result<(), Lost> {
        let acked = self.window.acked();
        if ack.highest_seen < acked {
            return Err(Lost::ForGood(format!(
                "the server forgot {} acknowledged events of {}: it knows {}, not {acked}",
                acked - ack.highest_seen,
                self.plan.name,
                ack.highest_seen
            )));
        }
        let known = ack
            .streams
            .iter()
            .find(|stream| stream.index == self.plan.stream);
        if known.is_none_or(|stream| stream.schema.id != self.schema_id) {
            return Err(Lost::ForGood("the server's schema changed".to_owned()));
        }
        self.take_ack(ack.durable_through, now_ns, tally)?;
        socket
            .set_nonblocking(true)
            .map_err(|error| Lost::Broken(error.to_string()))?;
        self.window.rewind();
        self.reader = FrameReader::new();
        (self.head, self.tail) = (0, 0);
        self.is_blocked = false;
        self.socket = Some(socket);
        Ok(())
    }

    /// Lets the socket go.
    pub fn detach(&mut self) {
        self.socket = None;
        self.is_blocked = false;
    }

    /// The socket, while there is one.
    pub fn socket(&self) -> Option<&TcpStream> {
        self.socket.as_ref()
    }

    /// Whether a new frame can be made right now.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.socket.is_some() && self.window.has_room() && self.fits(self.plan.batch)
    }

    fn frame_bytes(&self, count: usize) -> usize {
        FRAME_PREFIX_BYTES + count * self.row_bytes
    }

    fn fits(&self, count: usize) -> bool {
        self.tail - self.head + self.frame_bytes(count) <= self.buffer.len()
    }

    /// Whether bytes wait for the socket.
    #[inline]
    pub fn has_bytes(&self) -> bool {
        self.tail > self.head
    }

    /// Makes the bytes of frames that have none, as far as the buffer holds them. Returns how many.
    pub fn build(&mut self, rows: &RowPlan, clock: &RunClock) -> u64 {
        let mut built = 0;
        while let Some((slot, times)) = self.window.unbuilt() {
            let count = slot.count as usize;
            let bytes = FRAME_PREFIX_BYTES + count * self.row_bytes;
            if self.tail + bytes > self.buffer.len() {
                if self.tail - self.head + bytes > self.buffer.len() {
                    break;
                }
                self.buffer.copy_within(self.head..self.tail, 0);
                self.tail -= self.head;
                self.head = 0;
            }
            let frame = &mut self.buffer[self.tail..self.tail + bytes];
            let cells = frame[FRAME_PREFIX_BYTES..].chunks_exact_mut(self.row_bytes);
            if self.plan.per_event {
                for ((row, at_ns), sequence) in cells.zip(times).zip(slot.first..) {
                    rows.write(row, self.seed, sequence, clock.wall_ms(at_ns));
                }
            } else {
                let time_ms = clock.wall_ms(slot.due_ns);
                for (row, sequence) in cells.zip(slot.first..) {
                    rows.write(row, self.seed, sequence, time_ms);
                }
            }
            seal_publish(
                frame,
                self.plan.stream,
                self.schema_id,
                slot.first,
                slot.count,
            );
            self.tail += bytes;
            self.window.mark_built();
            built += 1;
        }
        built
    }

    /// The socket takes no bytes: what is made for it counts as offered at `now_ns`.
    #[inline]
    pub fn offer_blocked(&mut self, now_ns: u64) {
        self.window.mark_sent(now_ns);
    }

    /// Hands the buffer to the socket. `Ok` is the number of system calls.
    pub fn flush(&mut self, clock: &RunClock) -> Result<u64, Lost> {
        let mut calls = 0;
        while self.head < self.tail {
            let Some(socket) = self.socket.as_mut() else {
                return Ok(calls);
            };
            self.window.mark_sent(clock.now_ns());
            calls += 1;
            match socket.write(&self.buffer[self.head..self.tail]) {
                Ok(0) => return Err(Lost::Broken("the socket takes no bytes".to_owned())),
                Ok(bytes) => {
                    self.head += bytes;
                    if self.head < self.tail {
                        self.is_blocked = true;
                        return Ok(calls);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.is_blocked = true;
                    return Ok(calls);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Lost::Broken(error.to_string())),
            }
        }
        self.head = 0;
        self.tail = 0;
        Ok(calls)
    }

    /// Reads what the socket has. `Ok` tells whether there was anything.
    pub fn receive(
        &mut self,
        chunk: &mut [u8],
        clock: &RunClock,
        tally: &mut Tally,
    ) -> Result<bool, Lost> {
        let mut any = false;
        loop {
            let Some(socket) = self.socket.as_mut() else {
                return Ok(any);
            };
            let read = match socket.read(chunk) {
                Ok(0) => return Err(Lost::Broken("closed by the server".to_owned())),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(any),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Lost::Broken(error.to_string())),
            };
            any = true;
            self.take(&chunk[..read], clock.now_ns(), tally)?;
            if read < chunk.len() {
                return Ok(true);
            }
        }
    }

    fn take(&mut self, bytes: &[u8], now_ns: u64, tally: &mut Tally) -> Result<(), Lost> {
        let mut consumed = 0;
        // Acknowledgements are cumulative: only the last one of a read moves the window.
        let mut through = None;
        let mut fault = None;
        while let Some(frame) = self.reader.next(bytes, &mut consumed) {
            let broken = |error: ringmill_shard::wire::WireError| Lost::Broken(error.to_string());
            let frame = frame.map_err(broken)?;
            match frame.header.kind {
                FrameKind::Ack => {
                    let ack = Ack::decode(&frame.header).map_err(broken)?;
                    tally.set.counts.rejected += u64::from(ack.rejected);
                    through = Some(ack.sequence);
                }
                FrameKind::Error => {
                    let error = ErrorReply::decode(&frame.header, frame.payload).map_err(broken)?;
                    fault = Some(error);
                }
                FrameKind::Pong => {}
                other => {
                    return Err(Lost::ForGood(format!("a server does not send {other:?}")));
                }
            }
        }
        if let Some(through) = through {
            self.take_ack(through, now_ns, tally)?;
        }
        match fault {
            Some(error) => self.take_fault(&error, tally),
            None => Ok(()),
        }
    }

    fn take_ack(&mut self, through: u64, now_ns: u64, tally: &mut Tally) -> Result<(), Lost> {
        match self.window.acknowledge(through, now_ns, tally) {
            Ok(_) => Ok(()),
            Err(through) => Err(Lost::ForGood(format!(
                "the server acknowledged event {through} of {}, which was never sent: \
                 is another client using this name?",
                self.plan.name
            ))),
        }
    }

    #[cold]
    fn take_fault(&mut self, error: &ErrorReply, tally: &mut Tally) -> Result<(), Lost> {
        use ringmill_shard::wire::ErrorCode as Code;
        let text = format!("{}: {}", error.code.name(), error.message);
        self.last_fault = Some(text.clone());
        // A refused event is counted by the acknowledgement that covers it.
        if error.code != Code::Rejected {
            tally.set.counts.faults += 1;
        }
        if !error.fatal {
            return Ok(());
        }
        let passing = matches!(
            error.code,
            Code::ShuttingDown
                | Code::Overloaded
                | Code::ShardFailed
                | Code::DiskFull
                | Code::SlowSender
        );
        Err(if passing {
            Lost::Broken(text)
        } else {
            Lost::ForGood(text)
        })
    }
}
