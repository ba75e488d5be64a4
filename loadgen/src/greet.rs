//! Making a connection: connect, say Hello, read what the server has.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use ringmill_shard::wire::{ErrorReply, FrameKind, FrameReader, Hello, HelloAck, StreamInfo};

use crate::error::LoadError;

/// A connection that was accepted.
#[derive(Debug)]
pub struct Greeting {
    /// The socket, blocking and without Nagle's delay.
    pub socket: TcpStream,
    /// What the server has, and how far it knows the producer.
    pub ack: HelloAck,
}

/// Connects as `name`, keeping the epoch that the server knows.
pub fn greet(addr: &str, name: &str, timeout: Duration) -> Result<Greeting, LoadError> {
    let connect = |source| LoadError::Connect {
        addr: addr.to_owned(),
        source,
    };
    let greeting = |source| LoadError::Greeting {
        addr: addr.to_owned(),
        source,
    };
    let mut socket = connect_any(addr, timeout).map_err(connect)?;
    socket.set_nodelay(true).map_err(greeting)?;
    let mut frame = Vec::new();
    Hello { epoch: 0, name }.encode(&mut frame);
    socket.write_all(&frame).map_err(greeting)?;

    let deadline = Instant::now() + timeout;
    let mut reader = FrameReader::new();
    let mut chunk = vec![0u8; 16 * 1024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        socket
            .set_read_timeout(Some(left.max(Duration::from_millis(1))))
            .map_err(greeting)?;
        let read = match socket.read(&mut chunk) {
            Ok(0) => return Err(greeting(std::io::ErrorKind::UnexpectedEof.into())),
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                return Err(greeting(std::io::ErrorKind::TimedOut.into()));
            }
            Err(error) => return Err(greeting(error)),
        };
        let mut consumed = 0;
        let wire = |source| LoadError::Wire {
            addr: addr.to_owned(),
            source,
        };
        if let Some(frame) = reader.next(&chunk[..read], &mut consumed) {
            let frame = frame.map_err(wire)?;
            let ack = match frame.header.kind {
                FrameKind::HelloAck => HelloAck::decode(frame.payload).map_err(wire)?,
                FrameKind::Error => {
                    let error = ErrorReply::decode(&frame.header, frame.payload).map_err(wire)?;
                    return Err(LoadError::Refused {
                        addr: addr.to_owned(),
                        name: name.to_owned(),
                        code: error.code.name(),
                        message: error.message,
                    });
                }
                other => {
                    let kind = other.code();
                    return Err(wire(ringmill_shard::wire::WireError::UnknownKind { kind }));
                }
            };
            socket.set_read_timeout(None).map_err(greeting)?;
            return Ok(Greeting { socket, ack });
        }
    }
}

fn connect_any(addr: &str, timeout: Duration) -> std::io::Result<TcpStream> {
    let mut last = std::io::ErrorKind::AddrNotAvailable.into();
    for address in addr.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The stream to publish to: by name, or the first.
pub fn pick_stream<'a>(ack: &'a HelloAck, name: Option<&str>) -> Result<&'a StreamInfo, LoadError> {
    let found = match name {
        Some(name) => ack.streams.iter().find(|stream| stream.name == name),
        None => ack.streams.first(),
    };
    found.ok_or_else(|| {
        let known: Vec<&str> = ack
            .streams
            .iter()
            .map(|stream| stream.name.as_str())
            .collect();
        let known = if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        };
        LoadError::NoStream {
            name: name.unwrap_or("(any)").to_owned(),
            known,
        }
    })
}
