//! The plain, slow, obviously right computation: all recorded events at once, in maps and vectors.

use super::computed::{columns, trees_of};
use super::expected::Expected;
use super::generate::{Datum, Event};
use super::tree::Outcome;
use ringmill_shard::expression::ErrorReason;
use ringmill_shard::merge::{ColumnValue, RowState};
use ringmill_shard::pipeline::Pipeline;
use ringmill_shard::query::Scalar;
use ringmill_shard::rank::Tie;
use ringmill_shard::reject::RejectReason;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// An event as it was recorded.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) stream: usize,
    pub(crate) event: Event,
    pub(crate) tie: Tie,
    /// Position of its entry in the log.
    pub(crate) lsn: u64,
    /// Watermark recorded with its batch, ms.
    pub(crate) watermark_ms: i64,
    /// The last time before it that the clock moved the watermark in its log.
    pub(crate) idle: ClockRun,
    /// The latest event time that its batch admits, ms.
    pub(crate) future_limit_ms: i64,
}

impl Recorded {
    pub(crate) fn time_ms(&self, pipeline: &Pipeline) -> i64 {
        match self.event.data[pipeline.streams[self.stream].time.field] {
            Datum::Time(time_ms) => time_ms,
            _ => panic!("the time field holds a time"),
        }
    }

    fn reject(&self, pipeline: &Pipeline) -> Option<RejectReason> {
        let future = self.time_ms(pipeline) > self.future_limit_ms;
        self.event
            .bad
            .or(future.then_some(RejectReason::FutureTime))
    }
}

/// Moves of a watermark by the clock without an event in between: from where to where, ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClockRun {
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
}

impl ClockRun {
    /// There was none.
    pub(crate) const NONE: ClockRun = ClockRun {
        from_ms: i64::MIN,
        to_ms: i64::MIN,
    };

    /// The last run of a log: watermarks in its order, and whether the clock set them. `base_ms` is
    /// the watermark before the log began.
    pub(crate) fn last(base_ms: i64, entries: impl Iterator<Item = (i64, bool)>) -> Self {
        let mut run = None;
        let mut at_ms = base_ms;
        for (watermark_ms, by_clock) in entries {
            if watermark_ms <= at_ms {
                continue;
            }
            run = match run {
                Some(Self { from_ms, to_ms }) if by_clock && to_ms == at_ms => Some(Self {
                    from_ms,
                    to_ms: watermark_ms,
                }),
                _ if by_clock => Some(Self {
                    from_ms: at_ms,
                    to_ms: watermark_ms,
                }),
                run => run,
            };
            at_ms = watermark_ms;
        }
        run.unwrap_or(Self::NONE)
    }

    pub(crate) fn covers(&self, time_ms: i64) -> bool {
        self.from_ms < time_ms && time_ms <= self.to_ms
    }
}

/// A row of a view; the oracle has what is expected in place of the values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row<V = ColumnValue> {
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) group: Vec<Datum>,
    pub(crate) values: Vec<V>,
    pub(crate) state: RowState,
    pub(crate) revision: u64,
}

impl PartialEq<Row<Expected>> for Row {
    fn eq(&self, expected: &Row<Expected>) -> bool {
        (self.start_ms, self.end_ms) == (expected.start_ms, expected.end_ms)
            && (self.state, self.revision) == (expected.state, expected.revision)
            && self.group == expected.group
            && self.values == expected.values
    }
}

/// Errors of expressions by reason.
pub(crate) type Errors = [u64; ErrorReason::COUNT];

/// An event with all columns of its stream.
#[derive(Clone, Copy)]
pub(crate) struct Full<'a> {
    pub(crate) recorded: &'a Recorded,
    pub(crate) columns: &'a [Outcome],
}

impl Full<'_> {
    /// The value of a column that is no error.
    pub(crate) fn value(&self, column: usize) -> &Datum {
        self.columns[column].as_ref().expect("no error")
    }
}

pub(crate) struct Oracle<'a> {
    pub(crate) pipeline: &'a Pipeline,
    /// Sorted by tie: the order in which they were taken in.
    pub(crate) events: Vec<Recorded>,
    /// All columns of each of them.
    columns: Vec<Vec<Outcome>>,
    /// Final watermark per stream, ms.
    pub(crate) watermarks_ms: Vec<i64>,
}

pub(crate) fn number(datum: &Datum) -> i128 {
    match *datum {
        Datum::U64(v) => i128::from(v),
        Datum::I64(v) | Datum::Time(v) => i128::from(v),
        _ => panic!("{datum:?} is no integer"),
    }
}

pub(crate) fn compare(a: &Datum, b: &Datum) -> Ordering {
    match (a, b) {
        (Datum::F64(a), Datum::F64(b)) => a.partial_cmp(b).expect("finite"),
        _ => number(a).cmp(&number(b)),
    }
}

pub(crate) fn scalar(datum: &Datum) -> Scalar {
    match *datum {
        Datum::U64(v) => Scalar::U64(v),
        Datum::I64(v) => Scalar::I64(v),
        Datum::F64(v) => Scalar::F64(v),
        Datum::Time(v) => Scalar::Time(v),
        _ => panic!("{datum:?} is no number"),
    }
}

impl<'a> Oracle<'a> {
    pub(crate) fn new(
        pipeline: &'a Pipeline,
        mut events: Vec<Recorded>,
        watermarks_ms: Vec<i64>,
    ) -> Self {
        events.sort_by_key(|event| event.tie);
        let trees: Vec<_> = pipeline.streams.iter().map(trees_of).collect();
        let all = |event: &Recorded| columns(&trees[event.stream], &event.event.data);
        Self {
            pipeline,
            columns: events.iter().map(all).collect(),
            events,
            watermarks_ms,
        }
    }

    pub(crate) fn accepted(&self, stream: usize) -> impl Iterator<Item = &Recorded> {
        let of_stream = move |event: &&Recorded| event.stream == stream;
        self.events
            .iter()
            .filter(of_stream)
            .filter(|event| event.reject(self.pipeline).is_none())
    }

    pub(crate) fn accepted_count(&self, stream: usize) -> u64 {
        self.accepted(stream).count() as u64
    }

    pub(crate) fn rejected(&self, stream: usize) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        for event in self.events.iter().filter(|event| event.stream == stream) {
            if let Some(reason) = event.reject(self.pipeline) {
                *counts.entry(reason.name()).or_default() += 1;
            }
        }
        counts
    }

    /// The accepted events of a stream for which `filter` is true and no `required` column is an
    /// error. Errors are counted: of the filter, and once per column of the events it lets through.
    pub(crate) fn passed(
        &self,
        stream: usize,
        filter: Option<usize>,
        required: &[usize],
        read: &[usize],
    ) -> (Errors, Vec<Full<'_>>) {
        let mut looked_at: Vec<usize> = required.iter().chain(read).copied().collect();
        looked_at.sort_unstable();
        looked_at.dedup();
        let (mut errors, mut passed) = (Errors::default(), Vec::new());
        for (recorded, columns) in self.events.iter().zip(&self.columns) {
            if recorded.stream != stream || recorded.reject(self.pipeline).is_some() {
                continue;
            }
            match filter.map(|filter| &columns[filter]) {
                None | Some(Ok(Datum::Bool(true))) => {}
                Some(Ok(_)) => continue,
                Some(Err(reason)) => {
                    errors[reason.index()] += 1;
                    continue;
                }
            }
            for &column in &looked_at {
                if let Err(reason) = &columns[column] {
                    errors[reason.index()] += 1;
                }
            }
            if required.iter().all(|&column| columns[column].is_ok()) {
                passed.push(Full { recorded, columns });
            }
        }
        (errors, passed)
    }
}
