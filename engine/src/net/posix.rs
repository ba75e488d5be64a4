//! Sockets by epoll and plain system calls: slower than [`super::uring`], and it works where
//! io_uring is blocked.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags};

use super::{Chunk, Net, NetCounters, NetEvent, SocketId};

const LISTENER: u64 = u64::MAX;
const WAKE: u64 = u64::MAX - 1;
const EVENTS_PER_WAIT: usize = 256;
const BUFFER_BYTES: usize = 64 * 1024;
const BUFFERS: u32 = 128;

#[derive(Debug, Default)]
struct Socket {
    fd: Option<OwnedFd>,
    generation: u32,
    wanted: bool,
    readable: bool,
    closing: bool,
    outgoing: Vec<u8>,
    sent_bytes: usize,
    /// `Sent` is owed to the core.
    sending: bool,
}

/// Sockets by epoll.
pub struct PosixNet {
    epoll: OwnedFd,
    ready: Vec<epoll::Event>,
    sockets: Vec<Socket>,
    free: Vec<u32>,
    buffers: Vec<Box<[u8]>>,
    free_buffers: Vec<u32>,
    listener: Option<OwnedFd>,
    wake: OwnedFd,
    counters: NetCounters,
}

fn token(id: SocketId) -> epoll::EventData {
    epoll::EventData::new_u64(u64::from(id.generation) << 32 | u64::from(id.index))
}

impl PosixNet {
    /// Sockets of one core. `listener` (non-blocking) is given to the one core that accepts;
    /// `wake` is the descriptor that other cores write to.
    ///
    /// # Errors
    /// When epoll cannot be set up.
    pub fn new(listener: Option<OwnedFd>, wake: BorrowedFd<'_>) -> io::Result<PosixNet> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = wake.try_clone_to_owned()?;
        let wake_data = epoll::EventData::new_u64(WAKE);
        epoll::add(
            &epoll,
            &wake,
            wake_data,
            epoll::EventFlags::IN | epoll::EventFlags::ET,
        )?;
        if let Some(listener) = &listener {
            let data = epoll::EventData::new_u64(LISTENER);
            epoll::add(&epoll, listener, data, epoll::EventFlags::IN)?;
        }
        Ok(PosixNet {
            epoll,
            ready: Vec::with_capacity(EVENTS_PER_WAIT),
            sockets: Vec::new(),
            free: Vec::new(),
            buffers: (0..BUFFERS)
                .map(|_| vec![0; BUFFER_BYTES].into_boxed_slice())
                .collect(),
            free_buffers: (0..BUFFERS).rev().collect(),
            listener,
            wake,
            counters: NetCounters::default(),
        })
    }

    fn current(&mut self, id: SocketId) -> Option<&mut Socket> {
        let socket = self.sockets.get_mut(id.index as usize)?;
        (socket.generation == id.generation && socket.fd.is_some()).then_some(socket)
    }

    /// Waits for readiness and notes it; the work is done by the caller's next poll.
    fn wait(&mut self, wait: Duration) {
        self.counters.enters += 1;
        self.ready.clear();
        let timeout = Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        match epoll::wait(&self.epoll, spare_capacity(&mut self.ready), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => panic!("epoll_wait failed on a working descriptor: {error}"),
        }
    }

    fn accept_all(&mut self, events: &mut Vec<NetEvent>) {
        let Some(listener) = &self.listener else {
            return;
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        while let Ok(fd) = rustix::net::accept_with(listener, flags) {
            events.push(NetEvent::Accepted(fd));
        }
    }

    fn receive_all(&mut self, id: SocketId, events: &mut Vec<NetEvent>) {
        loop {
            let Some(socket) = self.sockets.get_mut(id.index as usize) else {
                return;
            };
            if socket.generation != id.generation || !socket.wanted || !socket.readable {
                return;
            }
            let Some(fd) = &socket.fd else { return };
            let Some(buffer) = self.free_buffers.pop() else {
                self.counters.buffer_empty += 1;
                return;
            };
            let bytes = &mut self.buffers[buffer as usize][..];
            match rustix::net::recv(fd, bytes, RecvFlags::empty()) {
                Ok((0, _)) => {
                    socket.readable = false;
                    socket.wanted = false;
                    self.free_buffers.push(buffer);
                    events.push(NetEvent::Closed(id, None));
                }
                Ok((received, _)) => {
                    self.counters.bytes_in += received as u64;
                    let chunk = Chunk {
                        buffer,
                        bytes: received as u32,
                    };
                    events.push(NetEvent::Data(id, chunk));
                }
                Err(Errno::INTR) => self.free_buffers.push(buffer),
                Err(Errno::AGAIN) => {
                    socket.readable = false;
                    self.free_buffers.push(buffer);
                }
                Err(error) => {
                    socket.readable = false;
                    socket.wanted = false;
                    self.free_buffers.push(buffer);
                    events.push(NetEvent::Closed(id, Some(error.into())));
                }
            }
        }
    }

    /// Sends what the kernel takes; true when all of it left.
    fn send_some(socket: &mut Socket) -> Result<bool, Errno> {
        let Some(fd) = &socket.fd else {
            return Ok(true);
        };
        while socket.sent_bytes < socket.outgoing.len() {
            let rest = &socket.outgoing[socket.sent_bytes..];
            match rustix::net::send(fd, rest, SendFlags::NOSIGNAL) {
                Ok(sent) => socket.sent_bytes += sent,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn continue_send(&mut self, id: SocketId, events: &mut Vec<NetEvent>) {
        let Some(socket) = self.current(id) else {
            return;
        };
        if !socket.sending {
            return;
        }
        let closing = socket.closing;
        match Self::send_some(socket) {
            Ok(false) => return,
            Ok(true) => {
                socket.sending = false;
                socket.outgoing.clear();
                if !closing {
                    events.push(NetEvent::Sent(id));
                }
            }
            Err(error) => {
                socket.sending = false;
                if !closing {
                    events.push(NetEvent::Closed(id, Some(error.into())));
                }
            }
        }
        if closing {
            self.retire(id);
        }
    }

    fn retire(&mut self, id: SocketId) {
        let Some(socket) = self.current(id) else {
            return;
        };
        socket.fd = None;
        socket.outgoing = Vec::new();
        socket.generation = (socket.generation + 1) & 0x00FF_FFFF;
        self.free.push(id.index);
    }
}

impl Net for PosixNet {
    fn poll(&mut self, events: &mut Vec<NetEvent>) {
        self.wait(Duration::ZERO);
        let ready = std::mem::take(&mut self.ready);
        for event in &ready {
            match event.data.u64() {
                LISTENER => self.accept_all(events),
                WAKE => {
                    let mut count = [0; 8];
                    // The counter only ends a wait; what it holds does not matter.
                    let _ = rustix::io::read(&self.wake, &mut count);
                }
                token => {
                    let id = SocketId {
                        index: token as u32,
                        generation: (token >> 32) as u32,
                    };
                    let flags = event.flags;
                    if let Some(socket) = self.current(id)
                        && flags.intersects(
                            epoll::EventFlags::IN
                                | epoll::EventFlags::RDHUP
                                | epoll::EventFlags::HUP
                                | epoll::EventFlags::ERR,
                        )
                    {
                        socket.readable = true;
                    }
                    self.continue_send(id, events);
                }
            }
        }
        self.ready = ready;
        for index in 0..self.sockets.len() as u32 {
            let socket = &self.sockets[index as usize];
            if socket.readable && socket.wanted && socket.fd.is_some() {
                let generation = socket.generation;
                self.receive_all(SocketId { index, generation }, events);
            }
        }
    }

    fn bytes(&self, chunk: &Chunk) -> &[u8] {
        &self.buffers[chunk.buffer as usize][..chunk.bytes as usize]
    }

    fn recycle(&mut self, chunk: Chunk) {
        self.free_buffers.push(chunk.buffer);
    }

    fn adopt(&mut self, fd: OwnedFd) -> io::Result<SocketId> {
        rustix::net::sockopt::set_tcp_nodelay(&fd, true)?;
        rustix::io::ioctl_fionbio(&fd, true)?;
        let index = self.free.pop().unwrap_or_else(|| {
            self.sockets.push(Socket::default());
            self.sockets.len() as u32 - 1
        });
        let generation = self.sockets[index as usize].generation;
        let id = SocketId { index, generation };
        let flags = epoll::EventFlags::IN
            | epoll::EventFlags::OUT
            | epoll::EventFlags::RDHUP
            | epoll::EventFlags::ET;
        epoll::add(&self.epoll, fd.as_fd(), token(id), flags)?;
        self.sockets[index as usize] = Socket {
            fd: Some(fd),
            generation,
            wanted: true,
            ..Socket::default()
        };
        Ok(id)
    }

    fn send(&mut self, id: SocketId, out: &mut Vec<u8>) -> bool {
        let Some(socket) = self.current(id) else {
            out.clear();
            return true;
        };
        if socket.sending {
            return false;
        }
        std::mem::swap(&mut socket.outgoing, out);
        socket.sent_bytes = 0;
        // What the kernel does not take now leaves when epoll says so; a failure comes back as
        // an event of the receiving side.
        socket.sending = !matches!(Self::send_some(socket), Ok(true) | Err(_));
        let bytes = socket.outgoing.len() as u64;
        if !socket.sending {
            socket.outgoing.clear();
        }
        self.counters.bytes_out += bytes;
        true
    }

    fn pause(&mut self, id: SocketId) {
        if let Some(socket) = self.current(id) {
            socket.wanted = false;
        }
    }

    fn resume(&mut self, id: SocketId) {
        if let Some(socket) = self.current(id) {
            socket.wanted = true;
        }
    }

    fn close(&mut self, id: SocketId) {
        let Some(socket) = self.current(id) else {
            return;
        };
        socket.closing = true;
        socket.wanted = false;
        if !socket.sending {
            self.retire(id);
        }
    }

    fn flush(&mut self) {}

    fn park(&mut self, wait: Duration) {
        // Level of the listener and edges of the sockets that were not taken up yet.
        if self
            .sockets
            .iter()
            .any(|s| s.readable && s.wanted && s.fd.is_some())
            && !self.free_buffers.is_empty()
        {
            return;
        }
        let mut pollfds = [rustix::event::PollFd::new(
            &self.epoll,
            rustix::event::PollFlags::IN,
        )];
        let timeout = Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        self.counters.enters += 1;
        // Only ends the wait: the next poll looks at everything.
        let _ = rustix::event::poll(&mut pollfds, Some(&timeout));
    }

    fn stop_accepting(&mut self) {
        if let Some(listener) = self.listener.take() {
            // Closing the listener takes it out of the set; an error would change nothing.
            let _ = epoll::delete(&self.epoll, &listener);
        }
    }

    fn counters(&self) -> NetCounters {
        self.counters
    }
}
