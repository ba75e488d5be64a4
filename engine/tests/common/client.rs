//! A blocking client of the wire protocol.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use ringmill_shard::limits::FRAME_HEADER_BYTES;
use ringmill_shard::schema::Schema;
use ringmill_shard::wire::{
    Ack, ErrorCode, ErrorReply, FrameHeader, FrameKind, Hello, HelloAck, encode_ping,
    encode_publish, verify,
};

/// A server that says nothing for so long has lost something.
const SILENCE: Duration = Duration::from_secs(60);

/// A frame of the server.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    HelloAck(Box<HelloAck>),
    Ack(Ack),
    Error(ErrorReply),
    Pong(u64),
    /// The connection has ended.
    Closed,
}

/// One connection, read frame by frame.
#[derive(Debug)]
pub struct Wire {
    pub stream: TcpStream,
    unread: Vec<u8>,
}

impl Wire {
    pub fn connect(address: SocketAddr) -> Wire {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(SILENCE)).unwrap();
        Wire {
            stream,
            unread: Vec::new(),
        }
    }

    /// The same connection for another thread, which then is the only reader.
    pub fn reader(&self) -> Wire {
        Wire {
            stream: self.stream.try_clone().unwrap(),
            unread: Vec::new(),
        }
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends what the server may refuse before it has read all of it.
    pub fn send_lossy(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    fn fill(&mut self, bytes: usize) -> io::Result<bool> {
        let mut piece = [0; 16 * 1024];
        while self.unread.len() < bytes {
            match self.stream.read(&mut piece)? {
                0 => return Ok(false),
                count => self.unread.extend_from_slice(&piece[..count]),
            }
        }
        Ok(true)
    }

    /// The next frame. A broken connection is a closed one; silence and bytes that are no frame
    /// fail the test.
    #[track_caller]
    pub fn next(&mut self) -> Reply {
        match self.read_frame() {
            Ok(reply) => reply,
            Err(error) if is_silence(&error) => panic!("no reply within {SILENCE:?}"),
            Err(_) => Reply::Closed,
        }
    }

    fn read_frame(&mut self) -> io::Result<Reply> {
        if !self.fill(FRAME_HEADER_BYTES)? {
            return Ok(Reply::Closed);
        }
        let head: [u8; FRAME_HEADER_BYTES] = self.unread[..FRAME_HEADER_BYTES].try_into().unwrap();
        let header = FrameHeader::decode(&head).unwrap();
        let end = FRAME_HEADER_BYTES + header.payload_bytes as usize;
        if !self.fill(end)? {
            return Ok(Reply::Closed);
        }
        let payload = &self.unread[FRAME_HEADER_BYTES..end];
        verify(&head, payload).unwrap();
        let reply = match header.kind {
            FrameKind::HelloAck => Reply::HelloAck(Box::new(HelloAck::decode(payload).unwrap())),
            FrameKind::Ack => Reply::Ack(Ack::decode(&header).unwrap()),
            FrameKind::Error => Reply::Error(ErrorReply::decode(&header, payload).unwrap()),
            FrameKind::Pong => Reply::Pong(header.sequence),
            kind => panic!("a server sends no {kind:?}"),
        };
        self.unread.drain(..end);
        Ok(reply)
    }

    #[track_caller]
    pub fn expect_error(&mut self) -> ErrorReply {
        match self.next() {
            Reply::Error(error) => error,
            other => panic!("no error but {other:?}"),
        }
    }

    /// The next frame is this error, and nothing follows it.
    #[track_caller]
    pub fn expect_end(&mut self, code: ErrorCode) -> ErrorReply {
        let error = self.expect_error();
        assert_eq!(error.code, code, "{error:?}");
        assert!(error.fatal, "{error:?}");
        assert_eq!(self.next(), Reply::Closed, "after {error:?}");
        error
    }

    #[track_caller]
    pub fn expect_ack(&mut self) -> Ack {
        match self.next() {
            Reply::Ack(ack) => ack,
            other => panic!("no ack but {other:?}"),
        }
    }
}

fn is_silence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// A connection that has said Hello.
#[derive(Debug)]
pub struct Client {
    pub wire: Wire,
    pub hello: HelloAck,
}

impl Client {
    #[track_caller]
    pub fn hello(address: SocketAddr, name: &str, epoch: u32) -> Client {
        let mut wire = Wire::connect(address);
        let mut out = Vec::new();
        Hello { epoch, name }.encode(&mut out);
        wire.send(&out).unwrap();
        match wire.next() {
            Reply::HelloAck(hello) => Client {
                wire,
                hello: *hello,
            },
            other => panic!("Hello was answered with {other:?}"),
        }
    }

    pub fn schema(&self) -> &Schema {
        &self.hello.streams[0].schema
    }

    /// A Publish frame of stream 0.
    pub fn frame(&self, first_sequence: u64, rows: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let schema = self.schema();
        let count = (rows.len() / schema.row_len()) as u32;
        encode_publish(&mut out, 0, schema.id, first_sequence, count, rows);
        out
    }

    /// Publishes and waits for the ack of all of it.
    #[track_caller]
    pub fn publish(&mut self, first_sequence: u64, rows: &[u8]) -> Ack {
        let frame = self.frame(first_sequence, rows);
        let last = first_sequence + (rows.len() / self.schema().row_len()) as u64 - 1;
        self.wire.send(&frame).unwrap();
        loop {
            let ack = self.wire.expect_ack();
            if ack.sequence >= last {
                return ack;
            }
        }
    }

    /// The server still listens to this connection.
    #[track_caller]
    pub fn ping(&mut self, token: u64) {
        let mut ping = [0; FRAME_HEADER_BYTES];
        encode_ping(&mut ping, token);
        self.wire.send(&ping).unwrap();
        assert_eq!(self.wire.next(), Reply::Pong(token));
    }
}
