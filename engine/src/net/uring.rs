//! Sockets on the core's own io_uring: multishot receive into a provided-buffer ring, one send in
//! flight per socket, and a poll of the wake-up descriptor that ends a park.
#![allow(unsafe_code)]

mod buffers;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use io_uring::{cqueue, opcode, types};
use ringmill_storage::ring::{Cqe, SharedRing};

use super::{Chunk, Net, NetCounters, NetEvent, SocketId};
use buffers::ProvidedBuffers;

/// Kinds of operations, in bits 56 to 62 of `user_data`; bit 63 belongs to the disk.
const ACCEPT: u64 = 1;
const RECEIVE: u64 = 2;
const SEND: u64 = 3;
const WAKE: u64 = 4;
const CANCEL: u64 = 5;

const GENERATION_BITS: u32 = 24;
const GENERATION_MASK: u32 = (1 << GENERATION_BITS) - 1;

fn user_data(kind: u64, socket: SocketId) -> u64 {
    kind << 56 | u64::from(socket.generation & GENERATION_MASK) << 32 | u64::from(socket.index)
}

fn split(user_data: u64) -> (u64, SocketId) {
    let generation = (user_data >> 32) as u32 & GENERATION_MASK;
    (
        user_data >> 56,
        SocketId {
            index: user_data as u32,
            generation,
        },
    )
}

/// One slot of the socket table. A slot is free when `fd` is `None`; it is reused only when no
/// operation of its last use is still in the kernel.
#[derive(Debug, Default)]
struct Socket {
    fd: Option<OwnedFd>,
    generation: u32,
    /// A multishot receive is in the kernel.
    receiving: bool,
    /// The core wants data.
    wanted: bool,
    /// The core has let go of the socket.
    closing: bool,
    /// Bytes that the kernel may be reading: not touched while `in_flight`.
    outgoing: Vec<u8>,
    sent_bytes: usize,
    in_flight: bool,
}

/// Sockets on the core's ring.
#[derive(Debug)]
pub struct UringNet {
    ring: SharedRing,
    buffers: ProvidedBuffers,
    sockets: Vec<Socket>,
    free: Vec<u32>,
    /// Sockets whose receive ended because no buffer was free.
    starved: Vec<SocketId>,
    listener: Option<OwnedFd>,
    wake_fd: RawFd,
    counters: NetCounters,
}

/// Sizes of the receive buffers of one core.
#[derive(Clone, Copy, Debug)]
pub struct BufferOptions {
    /// Number of buffers, a power of two.
    pub count: u16,
    /// Bytes of each.
    pub bytes: u32,
}

impl Default for BufferOptions {
    fn default() -> Self {
        BufferOptions {
            count: 128,
            bytes: 64 * 1024,
        }
    }
}

impl UringNet {
    /// Sockets on `ring`. `listener` is given to the one core that accepts; `wake` is the
    /// descriptor that other cores write to.
    ///
    /// # Errors
    /// When the kernel refuses the buffer ring.
    pub fn new(
        ring: SharedRing,
        listener: Option<OwnedFd>,
        wake: BorrowedFd<'_>,
        options: BufferOptions,
    ) -> io::Result<UringNet> {
        let buffers = ProvidedBuffers::new(&ring, options)?;
        let mut net = UringNet {
            ring,
            buffers,
            sockets: Vec::new(),
            free: Vec::new(),
            starved: Vec::new(),
            listener,
            wake_fd: wake.as_raw_fd(),
            counters: NetCounters::default(),
        };
        net.submit_accept();
        net.submit_wake();
        Ok(net)
    }

    fn submit_accept(&mut self) {
        let Some(listener) = &self.listener else {
            return;
        };
        let entry = opcode::AcceptMulti::new(types::Fd(listener.as_raw_fd()))
            .flags(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)
            .build()
            .user_data(ACCEPT << 56);
        // SAFETY: the entry names no memory.
        unsafe { self.ring.borrow_mut().push(entry) };
    }

    /// Arms the poll that ends a park when another core or thread signals. The signal itself is
    /// cleared by whoever owns the descriptor.
    fn submit_wake(&mut self) {
        let entry = opcode::PollAdd::new(types::Fd(self.wake_fd), libc::POLLIN as u32)
            .multi(true)
            .build()
            .user_data(WAKE << 56);
        // SAFETY: the entry names no memory.
        unsafe { self.ring.borrow_mut().push(entry) };
    }

    fn submit_receive(&mut self, id: SocketId) {
        let socket = &mut self.sockets[id.index as usize];
        let Some(fd) = &socket.fd else { return };
        socket.receiving = true;
        let entry = opcode::RecvMulti::new(types::Fd(fd.as_raw_fd()), ProvidedBuffers::GROUP)
            .build()
            .user_data(user_data(RECEIVE, id));
        // SAFETY: the entry names only the registered buffer group, which outlives the ring's use.
        unsafe { self.ring.borrow_mut().push(entry) };
    }

    fn submit_send(&mut self, id: SocketId) {
        let socket = &mut self.sockets[id.index as usize];
        let Some(fd) = &socket.fd else { return };
        let rest = &socket.outgoing[socket.sent_bytes..];
        socket.in_flight = true;
        let entry = opcode::Send::new(types::Fd(fd.as_raw_fd()), rest.as_ptr(), rest.len() as u32)
            .flags(libc::MSG_NOSIGNAL)
            .build()
            .user_data(user_data(SEND, id));
        // SAFETY: `outgoing` is neither changed nor dropped while `in_flight` is set; a socket's
        // slot lives until its last operation came back, and `drop` waits for those.
        unsafe { self.ring.borrow_mut().push(entry) };
    }

    fn submit_cancel(&mut self, target: u64) {
        let entry = opcode::AsyncCancel::new(target)
            .build()
            .user_data(CANCEL << 56);
        // SAFETY: the entry names no memory.
        unsafe { self.ring.borrow_mut().push(entry) };
    }

    fn current(&mut self, id: SocketId) -> Option<&mut Socket> {
        let socket = self.sockets.get_mut(id.index as usize)?;
        (socket.generation == id.generation && socket.fd.is_some()).then_some(socket)
    }

    /// Frees the slot once the core has let go of it and the kernel has nothing of it any more.
    fn retire_if_done(&mut self, id: SocketId) {
        let Some(socket) = self.current(id) else {
            return;
        };
        if socket.closing && !socket.receiving && !socket.in_flight {
            socket.fd = None;
            socket.outgoing = Vec::new();
            socket.generation = (socket.generation + 1) & GENERATION_MASK;
            self.free.push(id.index);
        }
    }

    fn on_receive(&mut self, id: SocketId, cqe: Cqe, events: &mut Vec<NetEvent>) {
        let chunk = cqueue::buffer_select(cqe.flags).map(|buffer| Chunk {
            buffer: u32::from(buffer),
            bytes: cqe.result.max(0) as u32,
        });
        if chunk.is_some() {
            self.buffers.taken();
        }
        let more = cqueue::more(cqe.flags);
        let Some(socket) = self.current(id) else {
            if let Some(chunk) = chunk {
                self.recycle(chunk);
            }
            return;
        };
        socket.receiving = more;
        let closing = socket.closing;
        match (cqe.result, chunk) {
            (1.., Some(chunk)) if !closing => {
                self.counters.bytes_in += u64::from(chunk.bytes);
                events.push(NetEvent::Data(id, chunk));
                self.rearm(id);
            }
            (_, chunk) => {
                if let Some(chunk) = chunk {
                    self.recycle(chunk);
                }
                if !closing {
                    self.on_receive_end(id, cqe.result, events);
                }
            }
        }
        self.retire_if_done(id);
    }

    /// A receive ended without data: end of stream, starvation, cancellation or failure.
    fn on_receive_end(&mut self, id: SocketId, result: i32, events: &mut Vec<NetEvent>) {
        match -result {
            0 => events.push(NetEvent::Closed(id, None)),
            libc::ENOBUFS => {
                self.counters.buffer_empty += 1;
                self.starved.push(id);
            }
            libc::ECANCELED | libc::EINTR | libc::EAGAIN => self.rearm(id),
            errno => {
                let error = io::Error::from_raw_os_error(errno);
                events.push(NetEvent::Closed(id, Some(error)));
            }
        }
    }

    fn rearm(&mut self, id: SocketId) {
        if let Some(socket) = self.current(id)
            && socket.wanted
            && !socket.receiving
            && !socket.closing
        {
            self.counters.recv_rearms += 1;
            self.submit_receive(id);
        }
    }

    fn on_send(&mut self, id: SocketId, result: i32, events: &mut Vec<NetEvent>) {
        let Some(socket) = self.current(id) else {
            return;
        };
        socket.in_flight = false;
        if result >= 0 {
            socket.sent_bytes += result as usize;
            if socket.sent_bytes < socket.outgoing.len() {
                self.submit_send(id);
                return;
            }
            socket.outgoing.clear();
            if !socket.closing {
                events.push(NetEvent::Sent(id));
            }
        } else if matches!(-result, libc::EINTR | libc::EAGAIN) {
            self.submit_send(id);
            return;
        } else if !socket.closing {
            let error = io::Error::from_raw_os_error(-result);
            events.push(NetEvent::Closed(id, Some(error)));
        }
        self.finish_close(id);
        self.retire_if_done(id);
    }

    fn on_accept(&mut self, cqe: Cqe, events: &mut Vec<NetEvent>) {
        if cqe.result >= 0 {
            // SAFETY: the kernel has just made this descriptor and told nobody else.
            let fd = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(cqe.result) };
            events.push(NetEvent::Accepted(fd));
        }
        if !cqueue::more(cqe.flags) {
            self.submit_accept();
        }
    }

    /// Ends the receive of a socket that is closing and has nothing more to send.
    fn finish_close(&mut self, id: SocketId) {
        let Some(socket) = self.current(id) else {
            return;
        };
        if socket.closing
            && !socket.in_flight
            && let Some(fd) = &socket.fd
        {
            // Ends the multishot receive with a completion; that one frees the slot. A socket
            // that is already gone needs no shutdown, so the error says nothing.
            let _ = rustix::net::shutdown(fd, rustix::net::Shutdown::Both);
        }
    }
}

impl Net for UringNet {
    fn poll(&mut self, events: &mut Vec<NetEvent>) {
        self.ring.borrow_mut().drain();
        loop {
            let Some(cqe) = self.ring.borrow_mut().pop_other() else {
                break;
            };
            let (kind, id) = split(cqe.user_data);
            match kind {
                ACCEPT => self.on_accept(cqe, events),
                RECEIVE => self.on_receive(id, cqe, events),
                SEND => self.on_send(id, cqe.result, events),
                WAKE if !cqueue::more(cqe.flags) => self.submit_wake(),
                _ => {}
            }
        }
        if !self.starved.is_empty() && self.buffers.free() > 0 {
            for id in std::mem::take(&mut self.starved) {
                self.rearm(id);
            }
        }
    }

    fn bytes(&self, chunk: &Chunk) -> &[u8] {
        self.buffers.bytes(chunk)
    }

    fn recycle(&mut self, chunk: Chunk) {
        self.buffers.recycle(chunk);
    }

    fn adopt(&mut self, fd: OwnedFd) -> io::Result<SocketId> {
        rustix::net::sockopt::set_tcp_nodelay(&fd, true)?;
        let index = self.free.pop().unwrap_or_else(|| {
            self.sockets.push(Socket::default());
            self.sockets.len() as u32 - 1
        });
        let socket = &mut self.sockets[index as usize];
        let id = SocketId {
            index,
            generation: socket.generation,
        };
        *socket = Socket {
            fd: Some(fd),
            generation: socket.generation,
            wanted: true,
            ..Socket::default()
        };
        self.submit_receive(id);
        Ok(id)
    }

    fn send(&mut self, id: SocketId, out: &mut Vec<u8>) -> bool {
        let Some(socket) = self.current(id) else {
            out.clear();
            return true;
        };
        if socket.in_flight {
            return false;
        }
        std::mem::swap(&mut socket.outgoing, out);
        socket.sent_bytes = 0;
        let bytes = socket.outgoing.len() as u64;
        self.counters.bytes_out += bytes;
        self.submit_send(id);
        true
    }

    fn pause(&mut self, id: SocketId) {
        let Some(socket) = self.current(id) else {
            return;
        };
        socket.wanted = false;
        if socket.receiving {
            self.submit_cancel(user_data(RECEIVE, id));
        }
    }

    fn resume(&mut self, id: SocketId) {
        let Some(socket) = self.current(id) else {
            return;
        };
        socket.wanted = true;
        self.rearm(id);
    }

    fn close(&mut self, id: SocketId) {
        let Some(socket) = self.current(id) else {
            return;
        };
        socket.closing = true;
        socket.wanted = false;
        self.finish_close(id);
        self.retire_if_done(id);
    }

    fn flush(&mut self) {
        self.buffers.publish();
        // Only a defect of ours makes a non-waiting enter fail; the ring reports it by itself.
        if let Err(error) = self.ring.borrow_mut().enter(None) {
            panic!("io_uring_enter failed on a working ring: {error}");
        }
    }

    fn park(&mut self, wait: Duration) {
        self.buffers.publish();
        if let Err(error) = self.ring.borrow_mut().enter(Some(wait)) {
            panic!("io_uring_enter failed on a working ring: {error}");
        }
    }

    fn stop_accepting(&mut self) {
        if self.listener.take().is_some() {
            self.submit_cancel(ACCEPT << 56);
        }
    }

    fn counters(&self) -> NetCounters {
        let ring = self.ring.borrow().counters();
        NetCounters {
            enters: ring.enters,
            overflow: ring.overflow,
            submits: ring.submits,
            cqes: ring.cqes,
            sq_full: ring.deferred,
            ..self.counters
        }
    }
}

impl Drop for UringNet {
    /// Takes back every buffer that the kernel may still write to or read from: closes the
    /// sockets, cancels the rest, and waits for the completions a bounded time. What has not come
    /// home by then is leaked rather than freed under the kernel's hands.
    fn drop(&mut self) {
        let mut events = Vec::new();
        self.stop_accepting();
        self.submit_cancel(WAKE << 56);
        for index in 0..self.sockets.len() as u32 {
            let generation = self.sockets[index as usize].generation;
            self.close(SocketId { index, generation });
        }
        for _ in 0..50 {
            let busy = self.sockets.iter().any(|socket| socket.fd.is_some());
            if !busy {
                break;
            }
            self.park(Duration::from_millis(10));
            self.poll(&mut events);
            for event in events.drain(..) {
                if let NetEvent::Data(_, chunk) = event {
                    self.buffers.recycle(chunk);
                }
            }
        }
        for socket in self.sockets.iter_mut().filter(|socket| socket.in_flight) {
            std::mem::forget(std::mem::take(&mut socket.outgoing));
        }
        self.buffers.unregister(&self.ring);
    }
}
