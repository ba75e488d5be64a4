//! From received bytes to whole frames, and what to do when one finds no room.
//!
//! Pressure flows backwards: a frame that finds no room stalls its connection, a stalled
//! connection stops receiving, and the client's own socket fills up. Nothing is dropped.

use std::mem;

use ringmill_shard::limits::FRAME_HEADER_BYTES;
use ringmill_shard::wire::{
    ErrorCode, ErrorReply, Frame, FrameKind, WireError, encode_error, encode_pong,
};
use ringmill_storage::disk::Disk;

use super::Core;
use super::advice::what_to_do;
use crate::clock::Clock;
use crate::connection::Unread;
use crate::metrics::Counter;
use crate::net::{Chunk, Net, SocketId};

/// Unread chunks of one stalled connection before it stops receiving.
const UNREAD_CHUNKS_MAX: usize = 2;

/// Bytes that one turn parses. What the disk and the peers have done meanwhile is looked at between
/// turns, so this bounds how long a finished commit waits to be seen.
pub(super) const TURN_BYTES_MAX: usize = 128 * 1024;

/// A frame may take this long from its first byte to its last, unless the caller says otherwise.
pub(super) const FRAME_TIMEOUT_NS: u64 = 30_000_000_000;

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// Taken in.
    Taken,
    /// No room now: offer the same frame again later.
    Stalled,
    /// The turn has done its share: go on in the next one.
    Enough,
    /// The connection is over; an error was queued.
    Over,
}

/// An error that ends the connection.
fn fatal(code: ErrorCode, sequence: u64, message: &str) -> ErrorReply {
    ErrorReply {
        code,
        fatal: true,
        sequence,
        field: NO_FIELD,
        message: message.to_owned(),
    }
}

/// Marks an error that no single field is to blame for.
pub(super) const NO_FIELD: u8 = 255;

impl<D: Disk, C: Clock> Core<D, C> {
    /// Takes in a chunk that arrived.
    pub(super) fn on_data(&mut self, net: &mut impl Net, socket: SocketId, chunk: Chunk) {
        let rx_ns = self.turn_ns;
        let connection = self.connection_or_new(socket);
        if connection.closing {
            net.recycle(chunk);
            return;
        }
        connection.unread.push_back(Unread {
            chunk,
            parsed: 0,
            rx_ns,
        });
        if connection.blocked {
            if connection.unread.len() > UNREAD_CHUNKS_MAX && !connection.paused {
                connection.paused = true;
                net.pause(socket);
            }
            return;
        }
        self.read_on(net, socket);
    }

    /// Offers stalled frames again, each connection once, in the order of their waiting.
    pub(super) fn retry_blocked(&mut self, net: &mut impl Net) -> bool {
        let mut progress = false;
        for _ in 0..self.blocked.len() {
            let Some(socket) = self.blocked.pop_front() else {
                break;
            };
            let Some(connection) = self.connection(socket) else {
                continue;
            };
            connection.blocked = false;
            let had = self.turn_bytes;
            self.read_on(net, socket);
            progress |= self.turn_bytes > had;
            match self.connection(socket) {
                Some(connection) if connection.blocked => {}
                Some(connection) => {
                    progress = true;
                    if mem::take(&mut connection.paused) {
                        net.resume(socket);
                    }
                }
                None => progress = true,
            }
        }
        progress
    }

    /// Parses what is unread until nothing is left or a frame finds no room.
    pub(super) fn read_on(&mut self, net: &mut impl Net, socket: SocketId) {
        let mut flow = self.offer_stalled(socket);
        while flow == Flow::Taken {
            let Some(connection) = self.connection(socket) else {
                return;
            };
            if connection.closing {
                flow = Flow::Over;
                break;
            }
            let Some(mut unread) = connection.unread.pop_front() else {
                break;
            };
            flow = self.read_chunk(net.bytes(&unread.chunk), socket, &mut unread);
            if matches!(flow, Flow::Stalled | Flow::Enough) {
                let connection = self.connection_or_new(socket);
                connection.unread.push_front(unread);
            } else {
                net.recycle(unread.chunk);
            }
        }
        match flow {
            Flow::Taken => {}
            Flow::Stalled | Flow::Enough => {
                if let Some(connection) = self.connection(socket) {
                    connection.blocked = true;
                    self.blocked.push_back(socket);
                }
            }
            Flow::Over => self.drop_unread(net, socket),
        }
    }

    /// Parses one chunk from where it was left.
    fn read_chunk(&mut self, bytes: &[u8], socket: SocketId, unread: &mut Unread) -> Flow {
        let Some(connection) = self.connection(socket) else {
            return Flow::Over;
        };
        let mut reader = mem::take(&mut connection.reader);
        let mut flow = Flow::Taken;
        // The time of a frame runs from its first byte, not from the end of the one before.
        let mut progress = !reader.is_partial();
        while flow == Flow::Taken && unread.parsed < bytes.len() {
            if self.turn_bytes >= TURN_BYTES_MAX {
                flow = Flow::Enough;
                break;
            }
            let mut consumed = 0;
            let frame = reader.next(&bytes[unread.parsed..], &mut consumed);
            unread.parsed += consumed;
            self.turn_bytes += consumed;
            flow = match frame {
                None => break,
                Some(Ok(frame)) => {
                    progress = true;
                    self.on_frame(socket, &frame, unread.rx_ns)
                }
                Some(Err(error)) => self.refuse_stream(socket, &error),
            };
        }
        let now = self.turn_ns;
        if let Some(connection) = self.connection(socket) {
            if progress {
                connection.progress_ns = now;
            }
            connection.reader = reader;
        }
        flow
    }

    fn on_frame(&mut self, socket: SocketId, frame: &Frame<'_>, rx_ns: u64) -> Flow {
        let flow = self.take_frame(socket, frame, rx_ns);
        if flow == Flow::Stalled
            && let Some(connection) = self.connection(socket)
        {
            let stalled = &mut connection.stalled;
            stalled.header = Some(frame.header);
            stalled.payload.clear();
            stalled.payload.extend_from_slice(frame.payload);
            stalled.rx_ns = rx_ns;
        }
        flow
    }

    /// Offers the frame that found no room before.
    fn offer_stalled(&mut self, socket: SocketId) -> Flow {
        let Some(connection) = self.connection(socket) else {
            return Flow::Over;
        };
        if connection.closing {
            return Flow::Over;
        }
        let Some(header) = connection.stalled.header else {
            return Flow::Taken;
        };
        let payload = mem::take(&mut connection.stalled.payload);
        let rx_ns = connection.stalled.rx_ns;
        let flow = self.take_frame(
            socket,
            &Frame {
                header,
                payload: &payload,
            },
            rx_ns,
        );
        if let Some(connection) = self.connection(socket) {
            connection.stalled.payload = payload;
            if flow != Flow::Stalled {
                connection.stalled.header = None;
            }
        }
        flow
    }

    fn take_frame(&mut self, socket: SocketId, frame: &Frame<'_>, rx_ns: u64) -> Flow {
        match frame.header.kind {
            FrameKind::Publish => self.on_publish(socket, frame, rx_ns),
            FrameKind::Hello => self.on_hello(socket, frame),
            FrameKind::Ping => self.on_ping(socket, frame),
            _ => {
                let message = "this kind of frame comes from the server only";
                self.refuse(
                    socket,
                    ErrorCode::UnknownKind,
                    frame.header.sequence,
                    message,
                )
            }
        }
    }

    fn on_ping(&mut self, socket: SocketId, frame: &Frame<'_>) -> Flow {
        let mut pong = [0; FRAME_HEADER_BYTES];
        encode_pong(&mut pong, frame.header.sequence);
        if let Some(connection) = self.connection(socket) {
            connection.out.extend_from_slice(&pong);
        }
        self.mark_dirty(socket);
        Flow::Taken
    }

    fn refuse_stream(&mut self, socket: SocketId, error: &WireError) -> Flow {
        self.refuse(socket, error.code(), 0, &error.to_string())
    }

    /// Queues a fatal error; the connection closes once it has left.
    pub(super) fn refuse(
        &mut self,
        socket: SocketId,
        code: ErrorCode,
        sequence: u64,
        message: &str,
    ) -> Flow {
        self.metrics.add(Counter::ProtocolErrors, 1);
        self.queue_error(socket, fatal(code, sequence, message));
        Flow::Over
    }

    /// Queues an error frame that also says what to do. A fatal one ends the reading.
    pub(super) fn queue_error(&mut self, socket: SocketId, mut error: ErrorReply) {
        error.message.push_str("; ");
        error.message.push_str(what_to_do(error.code));
        if let Some(connection) = self.connection(socket) {
            encode_error(&mut connection.out, &error);
            connection.closing |= error.fatal;
        }
        self.mark_dirty(socket);
    }

    fn drop_unread(&mut self, net: &mut impl Net, socket: SocketId) {
        let Some(connection) = self.connection(socket) else {
            return;
        };
        for unread in mem::take(&mut connection.unread) {
            net.recycle(unread.chunk);
        }
        connection.stalled.header = None;
        connection.stalled.routed = 0;
    }

    /// The peer has gone. What it published goes its way; nobody is told.
    pub(super) fn on_closed(&mut self, net: &mut impl Net, socket: SocketId) {
        self.read_on(net, socket);
        self.drop_unread(net, socket);
        if let Some(connection) = self.connection(socket) {
            connection.gone = true;
            connection.closing = true;
        }
        self.forget(net, socket);
    }

    /// Forgets a connection and closes its socket.
    pub(super) fn forget(&mut self, net: &mut impl Net, socket: SocketId) {
        let Some(connection) = self.connection(socket) else {
            return;
        };
        if let Some(session) = connection.session.take() {
            let key = crate::connection::Ticket { socket, number: 0 }.pack();
            if self.sessions.get(&session.producer) == Some(&(self.me, key)) {
                self.sessions.remove(&session.producer);
            }
        }
        self.connections[socket.index as usize] = None;
        net.close(socket);
    }

    /// Moves every connection's clock on by the time in which this core did not run; a frame that
    /// was begun in this turn has lost nothing of it.
    pub(super) fn give_time_back(&mut self, held_up_ns: u64) {
        let now = self.turn_ns;
        for connection in self.connections.iter_mut().flatten() {
            connection.progress_ns = (connection.progress_ns + held_up_ns).min(now);
        }
    }

    /// Ends connections whose half frame does not come on.
    pub(super) fn sweep(&mut self) {
        let now = self.turn_ns;
        let slow: Vec<SocketId> = self
            .connections
            .iter()
            .flatten()
            .filter(|connection| {
                connection.reader.is_partial()
                    && !connection.blocked
                    && !connection.closing
                    && now.saturating_sub(connection.progress_ns) > self.frame_timeout_ns
            })
            .map(|connection| connection.socket)
            .collect();
        for socket in slow {
            let limit_ms = self.frame_timeout_ns / 1_000_000;
            let message = format!("a frame was begun and not finished within {limit_ms} ms");
            self.refuse(socket, ErrorCode::SlowSender, 0, &message);
        }
    }
}
