//! Sending the events of a file in their order, as one producer.
//!
//! Lines are JSON objects; the schema comes from the server. A line that is no event is reported
//! with its number and passed over. Because the sequence of an event is its number among the good
//! lines, a replay under the same producer name goes on where an earlier one ended, and a replay
//! that is repeated adds nothing.

mod input;
mod sender;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ringmill_shard::ndjson::parse_line;
use ringmill_shard::schema::{FieldType, Schema};
use ringmill_shard::value::Value;
use serde::Serialize;

use crate::error::LoadError;
use crate::greet::{greet, pick_stream};
use crate::recorder::Recorder;
use crate::report::LatencyBlock;
use input::Lines;
use sender::Sender;

/// Bad lines that are reported one by one.
const REPORTED_MAX: usize = 10;
/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// What to replay.
#[derive(Clone, Debug)]
pub struct Replay {
    /// Server address.
    pub addr: String,
    /// Stream.
    pub stream: String,
    /// Producer name.
    pub producer: String,
    /// Infinite for as fast as possible, else how many times faster than the time field.
    pub speed: f64,
    /// Field that the speed goes by; the first time field if not given.
    pub time_field: Option<String>,
    /// Events per frame.
    pub batch: usize,
    /// Unacknowledged frames.
    pub inflight: usize,
    /// Whether a lost connection is made again.
    pub reconnect: bool,
    /// For connections and acknowledgements.
    pub timeout: Duration,
}

/// A line that is no event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BadLine {
    /// From 1.
    pub line: u64,
    /// Why.
    pub message: String,
}

/// What became of it.
#[derive(Clone, Debug, Serialize)]
pub struct Replayed {
    /// Version of this form.
    pub schema: u32,
    /// Producer name; a later replay under it goes on where this one ended.
    pub producer: String,
    /// Lines read.
    pub lines: u64,
    /// Lines that are events.
    pub events: u64,
    /// Events that the server had before.
    pub already_stored: u64,
    /// Events sent and acknowledged.
    pub acked_events: u64,
    /// Acknowledged events that the server refused for their content.
    pub rejected: u64,
    /// Lines that are no events.
    pub bad_lines: u64,
    /// The first of them.
    pub first_bad_lines: Vec<BadLine>,
    /// What the server refused, in its words.
    pub refusals: Vec<String>,
    /// Connections made again.
    pub reconnects: u64,
    /// From the first to the last event, in ns.
    pub elapsed_ns: u64,
    /// Acknowledged events per second.
    pub acked_per_s: f64,
    /// Acknowledgement minus send of each frame's events.
    pub service_ns: LatencyBlock,
    /// Actual minus intended send, with --speed.
    pub send_lag_ns: LatencyBlock,
    /// Whether it was interrupted.
    pub interrupted: bool,
}

/// When each event is due.
struct Pace {
    field: Option<usize>,
    speed: f64,
    first_ms: Option<i64>,
    last_ns: u64,
}

impl Pace {
    fn new(schema: &Schema, replay: &Replay) -> Result<Pace, LoadError> {
        let field = match &replay.time_field {
            _ if replay.speed.is_infinite() => None,
            Some(name) => {
                Some(schema.field(name).ok_or_else(|| {
                    LoadError::Settings(format!("the stream has no field `{name}`"))
                })?)
            }
            None => {
                let time = |field: &ringmill_shard::schema::Field| field.kind == FieldType::Time;
                Some(schema.fields.iter().position(time).ok_or_else(|| {
                    let text = "the stream has no time field that --speed could go by";
                    LoadError::Settings(text.to_owned())
                })?)
            }
        };
        Ok(Pace {
            field,
            speed: replay.speed,
            first_ms: None,
            last_ns: 0,
        })
    }

    /// When the event is due, in ns since the start; one before its predecessor is due with it.
    fn due_ns(&mut self, schema: &Schema, row: &[u8]) -> Option<u64> {
        let at_ms = match schema.value(row, self.field?) {
            Value::Time(ms) | Value::I64(ms) => ms,
            _ => return Some(self.last_ns),
        };
        let since_ms = at_ms
            .saturating_sub(*self.first_ms.get_or_insert(at_ms))
            .max(0);
        let due_ns = (since_ms as f64 * 1e6 / self.speed) as u64;
        self.last_ns = self.last_ns.max(due_ns);
        Some(self.last_ns)
    }
}

/// Counts of the lines that were read.
#[derive(Default)]
struct Tallied {
    lines: u64,
    events: u64,
    bad: u64,
    first_bad: Vec<BadLine>,
}

impl Tallied {
    /// Reads one line into `row`; `false` if it is no event.
    fn take(&mut self, schema: &Schema, line: &[u8], row: &mut [u8]) -> bool {
        self.lines += 1;
        if line.iter().all(u8::is_ascii_whitespace) {
            return false;
        }
        match parse_line(schema, line, row) {
            Ok(()) => {
                self.events += 1;
                true
            }
            Err(error) => {
                self.bad += 1;
                if self.first_bad.len() < REPORTED_MAX {
                    let (line, message) = (self.lines, error.message);
                    self.first_bad.push(BadLine { line, message });
                }
                false
            }
        }
    }
}

/// Replays `file`. `progress` is told now and then.
pub fn replay(
    file: &Path,
    replay: &Replay,
    progress: &mut dyn FnMut(&str),
    stop: &AtomicBool,
) -> Result<Replayed, LoadError> {
    let mut lines = Lines::open(file)?;
    let greeting = greet(&replay.addr, &replay.producer, replay.timeout)?;
    let stream = pick_stream(&greeting.ack, Some(&replay.stream))?.clone();
    let schema = &stream.schema;
    let mut pace = Pace::new(schema, replay)?;
    let mut sender = Sender::new(replay, &stream, greeting)?;
    let stored = sender.first_sequence() - 1;
    let mut row = vec![0u8; schema.row_len()];
    let mut tallied = Tallied::default();
    let mut send_lag = Recorder::new();
    let started = Instant::now();
    let mut told = started;
    // Ordering: a flag that only ever rises.
    while !stop.load(Ordering::Relaxed) {
        let Some(line) = lines.next_line()? else {
            break;
        };
        if !tallied.take(schema, line, &mut row) {
            continue;
        }
        let due_ns = pace.due_ns(schema, &row);
        if tallied.events <= stored {
            continue;
        }
        if let Some(due_ns) = due_ns {
            wait_until(started, due_ns, &mut sender, stop)?;
            send_lag.record((started.elapsed().as_nanos() as u64).saturating_sub(due_ns));
        }
        sender.push(&row)?;
        if told.elapsed() >= PROGRESS_EVERY {
            told = Instant::now();
            progress(&format!(
                "t={:.0}s lines={} events={} acked={} bad={}",
                started.elapsed().as_secs_f64(),
                tallied.lines,
                tallied.events,
                sender.acked(),
                tallied.bad,
            ));
        }
    }
    sender.finish()?;
    let elapsed_ns = started.elapsed().as_nanos() as u64;
    let interrupted = stop.load(Ordering::Relaxed);
    Ok(summary(
        replay,
        tallied,
        sender,
        &send_lag,
        elapsed_ns,
        interrupted,
    ))
}

fn summary(
    replay: &Replay,
    tallied: Tallied,
    sender: Sender<'_>,
    send_lag: &Recorder,
    elapsed_ns: u64,
    interrupted: bool,
) -> Replayed {
    let stored = sender.first_sequence() - 1;
    let acked_events = sender.acked().saturating_sub(stored);
    Replayed {
        schema: 1,
        producer: replay.producer.clone(),
        lines: tallied.lines,
        events: tallied.events,
        already_stored: stored.min(tallied.events),
        acked_events,
        rejected: sender.rejected,
        bad_lines: tallied.bad,
        first_bad_lines: tallied.first_bad,
        refusals: sender.refusals,
        reconnects: sender.reconnects,
        elapsed_ns,
        acked_per_s: acked_events as f64 * 1e9 / elapsed_ns.max(1) as f64,
        service_ns: LatencyBlock::of(&sender.service),
        send_lag_ns: LatencyBlock::of(send_lag),
        interrupted,
    }
}

/// Sends what is batched before it sleeps: an event does not wait for the next one.
fn wait_until(
    started: Instant,
    due_ns: u64,
    sender: &mut Sender<'_>,
    stop: &AtomicBool,
) -> Result<(), LoadError> {
    /// Longest sleep, so that an interrupt is seen.
    const SLEEP_MAX: Duration = Duration::from_millis(50);
    let due = Duration::from_nanos(due_ns);
    loop {
        let left = due.saturating_sub(started.elapsed());
        if left.is_zero() || stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        sender.flush()?;
        std::thread::sleep(left.min(SLEEP_MAX));
    }
}
