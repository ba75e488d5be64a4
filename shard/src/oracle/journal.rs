//! What the logs of a store hold, as the oracle computes from it: every event with the time that
//! was recorded with it.

use super::{ClockRun, Corrected, Datum, Event, Oracle, Recorded};
use crate::entry::{Entry, EntryError, EventBatch, decode_entry};
use crate::pipeline::{Pipeline, Stream};
use crate::rank::Tie;
use std::collections::BTreeMap;

/// An event with what its producer called it.
#[derive(Debug, Clone)]
pub struct Logged {
    /// Who sent it.
    pub producer: u128,
    /// Epoch of the producer's session.
    pub epoch: u32,
    /// Its number.
    pub sequence: u64,
    /// All else.
    pub recorded: Recorded,
}

/// One log: its stream, and the first stream of the layout that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPlace {
    /// Number of the log.
    pub stream: u32,
    /// Logs below are of older layouts.
    pub first_of_layout: u32,
}

/// The entries of all logs of a store. Logs of older layouts are read first.
#[derive(Debug)]
pub struct Journal<'p> {
    pipeline: &'p Pipeline,
    /// Events in the order in which they were read.
    pub events: Vec<Logged>,
    /// Watermark and last run of moves by the clock, per log and stream.
    clocks: BTreeMap<(u32, usize), (i64, ClockRun)>,
}

impl<'p> Journal<'p> {
    /// Nothing read yet.
    pub fn new(pipeline: &'p Pipeline) -> Self {
        Self {
            pipeline,
            events: Vec::new(),
            clocks: BTreeMap::new(),
        }
    }

    /// Takes the next entry of a log.
    pub fn take(
        &mut self,
        log: LogPlace,
        lsn: u64,
        kind: u32,
        bytes: &[u8],
    ) -> Result<(), EntryError> {
        match decode_entry(kind, bytes)? {
            Entry::Batch(batch) => {
                let idle = self.note(log, usize::from(batch.stream), batch.watermark_ms, false);
                self.take_batch(log, lsn, idle, &batch);
            }
            Entry::Watermark(entry) => {
                self.note(log, usize::from(entry.stream), entry.watermark_ms, true);
            }
            Entry::Session(_) | Entry::Schema(_) => {}
            // Stores that are compared with the oracle by their logs are never corrected.
            Entry::Correction(_) => return Err(EntryError::UnknownKind(kind)),
        }
        Ok(())
    }

    fn take_batch(&mut self, log: LogPlace, lsn: u64, idle: ClockRun, batch: &EventBatch<'_>) {
        let stream = usize::from(batch.stream);
        let stream_of = &self.pipeline.streams[stream];
        let stamp_ms = (batch.stamp_ns / 1_000_000) as i64;
        for index in 0..batch.count as usize {
            let recorded = Recorded {
                stream,
                event: event_of(stream_of, batch.row(index)),
                tie: Tie {
                    stamp_ns: batch.stamp_ns,
                    log_stream: log.stream,
                    index: index as u32,
                },
                lsn,
                watermark_ms: batch.watermark_ms,
                idle,
                future_limit_ms: stamp_ms.saturating_add(stream_of.time.max_future_ms),
                corrected: Corrected::default(),
            };
            self.events.push(Logged {
                producer: batch.producer.0,
                epoch: batch.epoch,
                sequence: batch.sequence(index),
                recorded,
            });
        }
    }

    /// Moves the watermark of a log; returns the last run of moves by the clock so far.
    fn note(&mut self, log: LogPlace, stream: usize, to_ms: i64, by_clock: bool) -> ClockRun {
        let older = self.clocks.iter();
        let older = older.filter(|((of, s), _)| *of < log.first_of_layout && *s == stream);
        let base_ms = older.map(|(_, (at_ms, _))| *at_ms).max();
        let known = self.clocks.entry((log.stream, stream));
        let (at_ms, run) = known.or_insert((base_ms.unwrap_or(i64::MIN), ClockRun::NONE));
        run.note(*at_ms, to_ms, by_clock);
        *at_ms = to_ms.max(*at_ms);
        *run
    }

    /// The greatest watermark of a stream that any log has, ms; `i64::MIN` if there is none.
    pub fn watermark_ms(&self, stream: usize) -> i64 {
        let of_stream = self.clocks.iter().filter(|((_, s), _)| *s == stream);
        let watermarks = of_stream.map(|(_, (at_ms, _))| *at_ms);
        watermarks.max().unwrap_or(i64::MIN)
    }

    /// What is computed from all of it, for shards that have all come to the same watermarks.
    /// `pipeline` says what: that of the store, if nothing is to be found out about another.
    pub fn oracle<'a>(&self, pipeline: &'a Pipeline) -> Oracle<'a> {
        let streams = 0..self.pipeline.streams.len();
        let events = self.events.iter().map(|logged| logged.recorded.clone());
        let watermarks_ms = streams.map(|stream| self.watermark_ms(stream)).collect();
        Oracle::new(pipeline, events.collect(), watermarks_ms)
    }
}

/// The event that a row is. Of one that breaks the rules of its schema only the time is read.
pub fn event_of(stream: &Stream, row: &[u8]) -> Event {
    let schema = &stream.schema;
    let bad = schema.validate(row).err().map(|reject| reject.reason);
    let datum = |field: usize| match bad {
        _ if field == stream.time.field => Datum::Time(schema.time_ms(row, field)),
        None => Datum::of(schema.value(row, field)),
        Some(_) => Datum::Null,
    };
    Event {
        data: (0..schema.fields.len()).map(datum).collect(),
        row: row.to_vec(),
        bad,
    }
}
