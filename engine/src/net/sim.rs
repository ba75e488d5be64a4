//! Sockets made of byte pipes in memory, for tests that drive every core in one thread: the test
//! is the peer, decides how the bytes are cut, and when a connection breaks.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use super::{Chunk, Net, NetCounters, NetEvent, SocketId};

/// The two directions of one simulated connection.
#[derive(Debug, Default)]
pub struct SimPipe {
    /// Towards the engine; each element arrives as one chunk.
    pub to_engine: VecDeque<Vec<u8>>,
    /// Bytes that the engine has sent.
    pub from_engine: Vec<u8>,
    /// The engine closed its side.
    pub closed_by_engine: bool,
    /// The peer has gone.
    pub closed_by_peer: bool,
    /// Sent bytes are on their way until the peer has taken them all.
    pub slow: bool,
}

/// The shared end of a pipe.
pub type SharedPipe = Rc<RefCell<SimPipe>>;

#[derive(Debug, Default)]
struct Socket {
    pipe: Option<SharedPipe>,
    generation: u32,
    paused: bool,
    close_told: bool,
    /// Sent bytes have not left yet.
    sending: bool,
}

/// Simulated sockets of one core.
#[derive(Debug, Default)]
pub struct SimNet {
    sockets: Vec<Socket>,
    buffers: Vec<Vec<u8>>,
    free_buffers: Vec<u32>,
    connecting: VecDeque<SharedPipe>,
    counters: NetCounters,
}

impl SimNet {
    /// No sockets yet.
    pub fn new() -> SimNet {
        SimNet::default()
    }

    /// Connects a pipe to this core, in the slot of a closed connection if there is one.
    pub fn connect(&mut self, pipe: SharedPipe) -> SocketId {
        let free = self.sockets.iter().position(|socket| socket.pipe.is_none());
        let index = free.unwrap_or_else(|| {
            self.sockets.push(Socket::default());
            self.sockets.len() - 1
        });
        let socket = &mut self.sockets[index];
        let generation = socket.generation + u32::from(free.is_some());
        *socket = Socket {
            pipe: Some(pipe),
            generation,
            ..Socket::default()
        };
        SocketId {
            index: index as u32,
            generation,
        }
    }

    fn current(&mut self, id: SocketId) -> Option<&mut Socket> {
        let socket = self.sockets.get_mut(id.index as usize)?;
        (socket.generation == id.generation && socket.pipe.is_some()).then_some(socket)
    }
}

impl Net for SimNet {
    fn poll(&mut self, events: &mut Vec<NetEvent>) {
        for index in 0..self.sockets.len() {
            let socket = &mut self.sockets[index];
            let id = SocketId {
                index: index as u32,
                generation: socket.generation,
            };
            let Some(pipe) = &socket.pipe else { continue };
            let mut pipe = pipe.borrow_mut();
            if socket.sending && pipe.from_engine.is_empty() {
                socket.sending = false;
                events.push(NetEvent::Sent(id));
            }
            if !socket.paused
                && let Some(bytes) = pipe.to_engine.pop_front()
            {
                let buffer = self.free_buffers.pop().unwrap_or_else(|| {
                    self.buffers.push(Vec::new());
                    self.buffers.len() as u32 - 1
                });
                self.counters.bytes_in += bytes.len() as u64;
                let chunk = Chunk {
                    buffer,
                    bytes: bytes.len() as u32,
                };
                self.buffers[buffer as usize] = bytes;
                events.push(NetEvent::Data(id, chunk));
            } else if pipe.closed_by_peer && pipe.to_engine.is_empty() && !socket.close_told {
                socket.close_told = true;
                events.push(NetEvent::Closed(id, None));
            }
        }
    }

    fn bytes(&self, chunk: &Chunk) -> &[u8] {
        &self.buffers[chunk.buffer as usize][..chunk.bytes as usize]
    }

    fn recycle(&mut self, chunk: Chunk) {
        self.free_buffers.push(chunk.buffer);
    }

    fn adopt(&mut self, _fd: OwnedFd) -> io::Result<SocketId> {
        let pipe = self.connecting.pop_front();
        let pipe = pipe.ok_or_else(|| io::Error::other("simulated sockets carry no descriptor"))?;
        Ok(self.connect(pipe))
    }

    fn send(&mut self, id: SocketId, out: &mut Vec<u8>) -> bool {
        let sent = out.len() as u64;
        if let Some(socket) = self.current(id)
            && let Some(pipe) = &socket.pipe
        {
            let mut pipe = pipe.borrow_mut();
            if socket.sending && !pipe.from_engine.is_empty() {
                return false;
            }
            socket.sending = pipe.slow;
            pipe.from_engine.extend_from_slice(out);
            drop(pipe);
            self.counters.bytes_out += sent;
        }
        out.clear();
        true
    }

    fn pause(&mut self, id: SocketId) {
        if let Some(socket) = self.current(id) {
            socket.paused = true;
        }
    }

    fn resume(&mut self, id: SocketId) {
        if let Some(socket) = self.current(id) {
            socket.paused = false;
        }
    }

    fn close(&mut self, id: SocketId) {
        if let Some(socket) = self.current(id)
            && let Some(pipe) = socket.pipe.take()
        {
            pipe.borrow_mut().closed_by_engine = true;
        }
    }

    fn flush(&mut self) {}

    fn park(&mut self, _wait: Duration) {}

    fn stop_accepting(&mut self) {}

    fn counters(&self) -> NetCounters {
        self.counters
    }
}
