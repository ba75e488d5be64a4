//! A built-in server that speaks the wire protocol and keeps nothing but sequences.
//!
//! One blocking thread per connection; every frame is acknowledged as soon as it is parsed. It can
//! be told to stall, to take time per event, and to drop connections, which is what the self-test
//! and the tests need.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ringmill_shard::limits::{FRAME_HEADER_BYTES, FRAME_PAYLOAD_BYTES_MAX};
use ringmill_shard::reject::NO_FIELD;
use ringmill_shard::schema::{FieldSpec, FieldType, Schema};
use ringmill_shard::wire::{
    Ack, ErrorCode, ErrorReply, Frame, FrameKind, FrameReader, Hello, HelloAck, Level, Publish,
    StreamInfo, encode_ack, encode_error, encode_pong,
};

/// The schema of the treasure hunt: rows of 64 bytes, keyed by `player`.
pub fn treasure_hunt() -> Schema {
    let fields = [
        ("player", FieldType::U64),
        ("at", FieldType::Time),
        ("hunt", FieldType::U64),
        ("points", FieldType::I64),
        ("device", FieldType::U64),
        ("region", FieldType::Text(11)),
        ("kind", FieldType::Text(11)),
    ];
    let specs = fields
        .into_iter()
        .zip(1..)
        .map(|((name, kind), id)| FieldSpec {
            id,
            name: name.to_owned(),
            kind,
            optional: false,
        })
        .collect();
    Schema::new(specs).expect("invariant: a fixed schema")
}

/// A stall of the whole server, again and again.
#[derive(Clone, Copy, Debug)]
pub struct Stall {
    /// From one beginning to the next.
    pub every: Duration,
    /// How long nothing happens.
    pub length: Duration,
}

/// How the server behaves.
#[derive(Clone, Debug)]
pub struct EchoOptions {
    /// Its stream.
    pub stream: StreamInfo,
    /// Stalls, if any; the first begins one period after the start.
    pub stall: Option<Stall>,
    /// Time that each event takes, spent on the CPU.
    pub service_per_event: Duration,
    /// Break a connection after so many of its frames, unacknowledged.
    pub break_after_frames: Option<u64>,
    /// Say that the last this many acknowledged events are unknown when a producer comes back.
    pub forget_events: u64,
}

impl Default for EchoOptions {
    fn default() -> EchoOptions {
        EchoOptions::new("finds", treasure_hunt(), 0)
    }
}

impl EchoOptions {
    /// A well-behaved server with one stream.
    pub fn new(stream: &str, schema: Schema, key: usize) -> EchoOptions {
        let stream = StreamInfo {
            index: 0,
            name: stream.to_owned(),
            level: Level::Memory,
            key,
            schema,
        };
        EchoOptions {
            stream,
            stall: None,
            service_per_event: Duration::ZERO,
            break_after_frames: None,
            forget_events: 0,
        }
    }
}

/// A row sink for tests: (producer, first sequence, rows).
pub type Sink = Arc<Mutex<dyn FnMut(&str, u64, &[u8]) + Send>>;

/// A running server; it ends when dropped.
pub struct Echo {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    options: EchoOptions,
    started: Instant,
    stop: AtomicBool,
    events: AtomicU64,
    /// Highest sequence by producer.
    producers: Mutex<HashMap<String, u64>>,
    sink: Option<Sink>,
}

impl Echo {
    /// Listens on `addr` (port 0 for any) and serves in threads of its own.
    pub fn start(addr: &str, options: EchoOptions) -> std::io::Result<Echo> {
        Echo::start_with_sink(addr, options, None)
    }

    /// As [`Echo::start`], with every new row handed to `sink`.
    pub fn start_with_sink(
        addr: &str,
        options: EchoOptions,
        sink: Option<Sink>,
    ) -> std::io::Result<Echo> {
        let listener = TcpListener::bind(addr)?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            options,
            started: Instant::now(),
            stop: AtomicBool::new(false),
            events: AtomicU64::new(0),
            producers: Mutex::default(),
            sink,
        });
        let accepting = shared.clone();
        std::thread::Builder::new()
            .name("echo".to_owned())
            .spawn(move || accepting.accept(&listener))?;
        Ok(Echo { addr, shared })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// New events so far.
    pub fn events(&self) -> u64 {
        self.shared.events.load(Ordering::Relaxed)
    }

    /// Highest sequence by producer.
    pub fn producers(&self) -> HashMap<String, u64> {
        self.shared
            .producers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.addr);
    }
}

impl Shared {
    fn accept(self: Arc<Shared>, listener: &TcpListener) {
        for socket in listener.incoming() {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let Ok(socket) = socket else { continue };
            let shared = self.clone();
            let _ = std::thread::Builder::new()
                .name("echo-connection".to_owned())
                .spawn(move || {
                    Session {
                        shared: &shared,
                        name: String::new(),
                        frames: 0,
                    }
                    .serve(socket)
                });
        }
    }
}

/// One connection.
struct Session<'s> {
    shared: &'s Shared,
    name: String,
    frames: u64,
}

/// What ends a session.
enum End {
    Refused(ErrorReply),
    Broken,
}

impl Session<'_> {
    fn serve(mut self, mut socket: TcpStream) {
        let _ = socket.set_nodelay(true);
        // Lets the thread see that the server has ended.
        let _ = socket.set_read_timeout(Some(Duration::from_millis(200)));
        let mut reader = FrameReader::new();
        let mut chunk = vec![0u8; 256 * 1024];
        let mut out = Vec::with_capacity(64 * 1024);
        while !self.shared.stop.load(Ordering::Relaxed) {
            let read = match socket.read(&mut chunk) {
                Ok(0) => return,
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            out.clear();
            let mut consumed = 0;
            while let Some(frame) = reader.next(&chunk[..read], &mut consumed) {
                let result = match frame {
                    Ok(frame) => self.take(&frame, &mut out),
                    Err(error) => Err(End::Refused(ErrorReply::of_wire(&error))),
                };
                match result {
                    Ok(()) => {}
                    Err(End::Broken) => return,
                    Err(End::Refused(error)) => {
                        encode_error(&mut out, &error);
                        let _ = socket.write_all(&out);
                        return;
                    }
                }
            }
            if socket.write_all(&out).is_err() {
                return;
            }
        }
    }

    fn take(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) -> Result<(), End> {
        match frame.header.kind {
            FrameKind::Hello => self.greet(frame, out),
            FrameKind::Publish if !self.name.is_empty() => self.publish(frame, out),
            FrameKind::Ping => {
                let mut pong = [0u8; FRAME_HEADER_BYTES];
                encode_pong(&mut pong, frame.header.sequence);
                out.extend_from_slice(&pong);
                Ok(())
            }
            _ => Err(refuse(ErrorCode::HelloRequired, "say Hello first")),
        }
    }

    fn greet(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) -> Result<(), End> {
        let hello = Hello::decode(frame.payload)
            .map_err(|error| End::Refused(ErrorReply::of_wire(&error)))?;
        self.name = hello.name.to_owned();
        let options = &self.shared.options;
        let mut producers = self
            .shared
            .producers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let known = producers.entry(self.name.clone()).or_default();
        *known = known.saturating_sub(options.forget_events);
        let ack = HelloAck {
            shards: 1,
            epoch: 1,
            durable_through: *known,
            highest_seen: *known,
            frame_payload_bytes_max: FRAME_PAYLOAD_BYTES_MAX as u32,
            inflight_frames_max: 65_536,
            streams: vec![options.stream.clone()],
        };
        ack.encode(out);
        Ok(())
    }

    fn publish(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) -> Result<(), End> {
        let shared = self.shared;
        let stream = &shared.options.stream;
        let publish = Publish::decode(frame, &stream.schema)
            .map_err(|error| End::Refused(ErrorReply::of_wire(&error)))?;
        self.frames += 1;
        shared.stall();
        if shared
            .options
            .break_after_frames
            .is_some_and(|most| self.frames > most)
        {
            return Err(End::Broken);
        }
        shared.work(publish.count);
        let mut producers = shared
            .producers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let known = producers.entry(self.name.clone()).or_default();
        let last = publish.first_sequence + u64::from(publish.count) - 1;
        if publish.first_sequence > *known + 1 {
            return Err(refuse(ErrorCode::SequenceGap, "a sequence is missing"));
        }
        if last > *known {
            let skipped = (*known + 1 - publish.first_sequence) as usize;
            let rows = &publish.rows[skipped * stream.schema.row_len()..];
            if let Some(sink) = &shared.sink {
                let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
                sink(&self.name, *known + 1, rows);
            }
            shared.events.fetch_add(last - *known, Ordering::Relaxed);
            *known = last;
        }
        let mut reply = [0u8; FRAME_HEADER_BYTES];
        encode_ack(
            &mut reply,
            &Ack {
                sequence: *known,
                level: stream.level,
                rejected: 0,
            },
        );
        out.extend_from_slice(&reply);
        Ok(())
    }
}

fn refuse(code: ErrorCode, message: &str) -> End {
    let message = message.to_owned();
    End::Refused(ErrorReply {
        code,
        fatal: true,
        sequence: 0,
        field: NO_FIELD,
        message,
    })
}

impl Shared {
    fn stall(&self) {
        let Some(stall) = self.options.stall else {
            return;
        };
        let since = self.started.elapsed();
        if since < stall.every {
            return;
        }
        let into = since.as_nanos() % stall.every.as_nanos();
        let left = stall.length.as_nanos().saturating_sub(into);
        if left > 0 {
            std::thread::sleep(Duration::from_nanos(left as u64));
        }
    }

    fn work(&self, events: u32) {
        let time = self.options.service_per_event * events;
        if time.is_zero() {
            return;
        }
        let from = Instant::now();
        while from.elapsed() < time {
            std::hint::spin_loop();
        }
    }
}
