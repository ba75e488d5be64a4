//! Accepting connections: a bounded number of them, none of which may dawdle.
//!
//! A request has to be complete within a fixed time of its first byte, whatever it trickles, and an
//! idle or unread connection is closed. The limits sit below the HTTP parser, so that half a
//! request line costs no more than half a body.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// How many connections there may be, and how long they may take.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// Most connections at a time; more wait to be accepted.
    pub connections_max: usize,
    /// From the first byte of a request to its last.
    pub request_timeout: Duration,
    /// Without any request.
    pub idle_timeout: Duration,
    /// Without the client taking any byte of its response.
    pub write_timeout: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> ConnectionLimits {
        ConnectionLimits {
            connections_max: 512,
            request_timeout: Duration::from_secs(45),
            idle_timeout: Duration::from_secs(90),
            write_timeout: Duration::from_secs(20),
        }
    }
}

/// A listener whose connections obey [`ConnectionLimits`].
pub(crate) struct GuardedListener {
    listener: TcpListener,
    permits: Arc<Semaphore>,
    limits: ConnectionLimits,
}

impl GuardedListener {
    pub(crate) fn new(listener: TcpListener, limits: ConnectionLimits) -> GuardedListener {
        let permits = Arc::new(Semaphore::new(limits.connections_max));
        GuardedListener {
            listener,
            permits,
            limits,
        }
    }
}

impl axum::serve::Listener for GuardedListener {
    type Io = GuardedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (GuardedStream, SocketAddr) {
        let permits = Arc::clone(&self.permits);
        let permit = permits
            .acquire_owned()
            .await
            .expect("invariant: never closed");
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    // An answer is one small write; without this it may wait for the client's ack.
                    let _ = stream.set_nodelay(true);
                    return (
                        GuardedStream::new(stream, self.limits.clone(), permit),
                        address,
                    );
                }
                // The peer gave up already, or there is no descriptor for it: neither may spin.
                Err(_) => tokio::time::sleep(ACCEPT_RETRY).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

const ACCEPT_RETRY: Duration = Duration::from_millis(20);

/// What the connection is waiting for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The first byte of a request.
    Idle,
    /// The rest of a request, or its answer from the engine.
    Request,
    /// The client, to take the answer.
    Response,
}

/// A socket with a deadline.
pub(crate) struct GuardedStream {
    stream: TcpStream,
    phase: Phase,
    deadline: Pin<Box<Sleep>>,
    limits: ConnectionLimits,
    _permit: OwnedSemaphorePermit,
}

impl GuardedStream {
    fn new(stream: TcpStream, limits: ConnectionLimits, permit: OwnedSemaphorePermit) -> Self {
        let deadline = Box::pin(tokio::time::sleep(limits.request_timeout));
        GuardedStream {
            stream,
            phase: Phase::Idle,
            deadline,
            limits,
            _permit: permit,
        }
    }

    fn enter(&mut self, phase: Phase) {
        let allowed = match phase {
            Phase::Idle => self.limits.idle_timeout,
            Phase::Request => self.limits.request_timeout,
            Phase::Response => self.limits.write_timeout,
        };
        self.phase = phase;
        self.deadline.as_mut().reset(Instant::now() + allowed);
    }

    /// `Ready` when the deadline has passed.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.deadline
            .as_mut()
            .poll(cx)
            .map(|()| io::ErrorKind::TimedOut.into())
    }

    fn poll_sent(
        &mut self,
        cx: &mut Context<'_>,
        sent: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match sent {
            Poll::Ready(Ok(bytes)) => {
                // The answer is on its way: what comes next is another request, or none.
                self.enter(Phase::Idle);
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                if self.phase != Phase::Response {
                    self.enter(Phase::Response);
                }
                self.poll_deadline(cx).map(Err)
            }
        }
    }
}

impl AsyncRead for GuardedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Ready(result) => {
                if self.phase == Phase::Idle && buffer.filled().len() > before {
                    self.enter(Phase::Request);
                }
                // A trickle is always ready to be read, so the deadline is looked at here too.
                match self.poll_deadline(cx) {
                    Poll::Ready(error) => Poll::Ready(Err(error)),
                    Poll::Pending => Poll::Ready(result),
                }
            }
            Poll::Pending => self.poll_deadline(cx).map(Err),
        }
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.poll_sent(cx, sent)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.poll_sent(cx, sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
