//! The seam to the sockets of one core.
//!
//! A turn of the core loop collects what finished ([`Net::poll`]), reads received bytes in place
//! ([`Net::bytes`]), hands outgoing bytes over ([`Net::send`]) and ends with one [`Net::flush`].
//! Nothing here blocks but [`Net::park`].
//!
//! Back ends: [`uring`] (the core's own ring, shared with its log), [`posix`] (epoll; where
//! io_uring is blocked), [`sim`] (seeded byte pipes, for tests that drive every core in one
//! thread).

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

pub mod posix;
pub mod sim;
pub mod uring;

/// A socket of this core: a slot in its table and the number of times the slot was used, so that
/// a late completion never meets the wrong connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketId {
    /// Slot; small and dense, so that it can index a table.
    pub index: u32,
    /// How often the slot had been used before; at most 24 bits.
    pub generation: u32,
}

/// Received bytes in a buffer of the back end; goes home through [`Net::recycle`].
#[derive(Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Buffer of the back end.
    pub buffer: u32,
    /// Bytes received.
    pub bytes: u32,
}

/// Something that happened to a socket.
#[derive(Debug)]
pub enum NetEvent {
    /// The listener accepted a connection that has no core yet.
    Accepted(OwnedFd),
    /// Bytes arrived.
    Data(SocketId, Chunk),
    /// The bytes of the last [`Net::send`] left; the next send may follow.
    Sent(SocketId),
    /// The peer closed, or the socket failed. Comes once, after the last data.
    Closed(SocketId, Option<io::Error>),
}

/// Plain counters of a back end, owned by its core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetCounters {
    /// System calls made to submit, poll or wait.
    pub enters: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes handed to the kernel for sending.
    pub bytes_out: u64,
    /// Times that no receive buffer was free.
    pub buffer_empty: u64,
    /// Completions that the kernel had to keep back.
    pub overflow: u64,
    /// Ring entries submitted, those of the log included.
    pub submits: u64,
    /// Ring completions reaped, those of the log included.
    pub cqes: u64,
    /// Entries that found the submission queue full.
    pub sq_full: u64,
    /// Receives armed again.
    pub recv_rearms: u64,
}

/// Sockets of one core.
pub trait Net {
    /// Collects what finished since the last call, without blocking.
    fn poll(&mut self, events: &mut Vec<NetEvent>);

    /// The bytes of a received chunk.
    fn bytes(&self, chunk: &Chunk) -> &[u8];

    /// Gives a chunk's buffer back.
    fn recycle(&mut self, chunk: Chunk);

    /// Makes an accepted socket one of this core and starts receiving.
    fn adopt(&mut self, fd: OwnedFd) -> io::Result<SocketId>;

    /// Takes the content of `out` for sending and leaves it empty, or returns false and leaves it
    /// alone while earlier bytes of this socket are still on their way.
    fn send(&mut self, socket: SocketId, out: &mut Vec<u8>) -> bool;

    /// Stops receiving; data that is already on its way may still arrive.
    fn pause(&mut self, socket: SocketId);

    /// Receives again.
    fn resume(&mut self, socket: SocketId);

    /// Closes once the bytes already taken by [`Net::send`] have left; no event follows.
    fn close(&mut self, socket: SocketId);

    /// Hands everything queued to the kernel.
    fn flush(&mut self);

    /// Waits until something happens, at most `wait`.
    fn park(&mut self, wait: Duration);

    /// Stops accepting new connections.
    fn stop_accepting(&mut self);

    /// Counters since the start.
    fn counters(&self) -> NetCounters;
}
