//! The plain, slow, obviously right computation of the whole semantics: batch, sorted maps.
//!
//! Everything that was recorded goes in at once, in whatever order; what must be shown comes out:
//! the rows of every view ([`rows`]), the places on every board ([`boards`]), what was late, refused,
//! a duplicate ([`repeats`]) or an error. It shares the vocabulary with the engine and nothing of how the engine computes: no
//! panes, no partials, no merging, no columns, no state that is carried along. Where it and the
//! engine differ, one of them is wrong.
//!
//! Property tests and the simulator hold the engine against it. Nothing that serves depends on it.

pub mod boards;
mod corrections;
mod datum;
pub mod expected;
pub mod expression;
pub mod journal;
mod last;
pub mod operations;
pub mod repeats;
pub mod rows;
mod sessions;
pub mod windows;
pub mod worth;

use crate::expression::ErrorReason;
use crate::merge::{ColumnValue, RowState};
use crate::pipeline::{Pipeline, Retract};
use crate::query::Scalar;
use crate::rank::Tie;
use crate::reject::RejectReason;
use std::cmp::Ordering;
use std::collections::BTreeMap;

pub use corrections::{Corrected, Move};
pub use datum::{Datum, Event};
use expected::Expected;
use operations::Outcome;
use repeats::{Fate, fates};

/// An event as it was recorded.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Index of its stream.
    pub stream: usize,
    /// What was sent.
    pub event: Event,
    /// Its place in the order of all events.
    pub tie: Tie,
    /// Position of its entry in the log.
    pub lsn: u64,
    /// Watermark recorded with its batch, ms.
    pub watermark_ms: i64,
    /// The last time before it that the clock moved the watermark in its log.
    pub idle: ClockRun,
    /// The latest event time that its batch admits, ms.
    pub future_limit_ms: i64,
    /// What corrections did to it.
    pub corrected: Corrected,
}

impl Recorded {
    /// The time of the event, ms.
    pub fn time_ms(&self, pipeline: &Pipeline) -> i64 {
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
pub struct ClockRun {
    /// The watermark before the first of them.
    pub from_ms: i64,
    /// The watermark behind the last of them.
    pub to_ms: i64,
}

impl ClockRun {
    /// There was none.
    pub const NONE: ClockRun = ClockRun {
        from_ms: i64::MIN,
        to_ms: i64::MIN,
    };

    /// The last run of a log: watermarks in its order, and whether the clock set them. `base_ms` is
    /// the watermark before the log began.
    pub fn last(base_ms: i64, entries: impl Iterator<Item = (i64, bool)>) -> Self {
        let (mut run, mut at_ms) = (Self::NONE, base_ms);
        for (watermark_ms, by_clock) in entries {
            run.note(at_ms, watermark_ms, by_clock);
            at_ms = watermark_ms.max(at_ms);
        }
        run
    }

    /// A watermark behind one that stood at `at_ms`: a run goes on if it reached up to there.
    fn note(&mut self, at_ms: i64, watermark_ms: i64, by_clock: bool) {
        if watermark_ms <= at_ms || !by_clock {
            return;
        }
        let goes_on = *self != Self::NONE && self.to_ms == at_ms;
        *self = Self {
            from_ms: if goes_on { self.from_ms } else { at_ms },
            to_ms: watermark_ms,
        };
    }

    /// Whether it was the clock that brought the watermark to a time.
    pub fn covers(&self, time_ms: i64) -> bool {
        self.from_ms < time_ms && time_ms <= self.to_ms
    }
}

/// A row of a view; the oracle has what is expected in place of the values.
#[derive(Debug, Clone, PartialEq)]
pub struct Row<V = ColumnValue> {
    /// Start of the window, ms.
    pub start_ms: i64,
    /// End of the window, ms, exclusive.
    pub end_ms: i64,
    /// One value per group column.
    pub group: Vec<Datum>,
    /// One per column.
    pub values: Vec<V>,
    /// Open, closed, or closed and changed.
    pub state: RowState,
    /// How many late events changed it.
    pub revision: u64,
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
pub type Errors = [u64; ErrorReason::COUNT];

/// An event with all columns of its stream.
#[derive(Clone, Copy)]
pub struct Full<'a> {
    /// The event.
    pub recorded: &'a Recorded,
    /// Its fields, then the computed columns.
    pub columns: &'a [Outcome],
}

impl Full<'_> {
    /// The value of a column that is no error.
    pub fn value(&self, column: usize) -> &Datum {
        self.columns[column].as_ref().expect("no error")
    }
}

/// Everything that was recorded, to be computed from.
pub struct Oracle<'a> {
    /// What to compute.
    pub pipeline: &'a Pipeline,
    /// Sorted by tie: the order in which they were taken in.
    pub events: Vec<Recorded>,
    /// What became of each of them.
    fates: Vec<Fate>,
    /// All columns of each of them.
    columns: Vec<Vec<Outcome>>,
    /// Final watermark per stream, ms.
    pub watermarks_ms: Vec<i64>,
}

/// An integer or a time as a number.
pub fn number(datum: &Datum) -> i128 {
    match *datum {
        Datum::U64(v) => i128::from(v),
        Datum::I64(v) | Datum::Time(v) => i128::from(v),
        _ => panic!("{datum:?} is no integer"),
    }
}

/// The order of two numbers or times of a type.
pub fn compare(a: &Datum, b: &Datum) -> Ordering {
    match (a, b) {
        (Datum::F64(a), Datum::F64(b)) => a.partial_cmp(b).expect("finite"),
        _ => number(a).cmp(&number(b)),
    }
}

/// A number or time as answers hold it.
pub fn scalar(datum: &Datum) -> Scalar {
    match *datum {
        Datum::U64(v) => Scalar::U64(v),
        Datum::I64(v) => Scalar::I64(v),
        Datum::F64(v) => Scalar::F64(v),
        Datum::Time(v) => Scalar::Time(v),
        _ => panic!("{datum:?} is no number"),
    }
}

impl<'a> Oracle<'a> {
    /// `watermarks_ms` holds the last watermark of each stream.
    pub fn new(pipeline: &'a Pipeline, mut events: Vec<Recorded>, watermarks_ms: Vec<i64>) -> Self {
        events.sort_by_key(|event| event.tie);
        let all = |event: &Recorded| {
            expression::columns(&pipeline.streams[event.stream], &event.event.data)
        };
        Self {
            pipeline,
            columns: events.iter().map(all).collect(),
            fates: fates(pipeline, &events),
            events,
            watermarks_ms,
        }
    }

    /// The events of a stream that took effect, in the order of their ties.
    pub fn accepted(&self, stream: usize) -> impl Iterator<Item = &Recorded> {
        let of_stream = self.of_stream(stream);
        of_stream.filter_map(|(event, fate)| (fate == Fate::Accepted).then_some(event))
    }

    /// How many events of a stream took effect.
    pub fn accepted_count(&self, stream: usize) -> u64 {
        self.accepted(stream).count() as u64
    }

    /// The events of a stream and what became of them, in the order of their ties.
    pub fn of_stream(&self, stream: usize) -> impl Iterator<Item = (&Recorded, Fate)> {
        let all = self.events.iter().zip(self.fates.iter().copied());
        all.filter(move |(event, _)| event.stream == stream)
    }

    /// How many events of a stream were refused, by the name of the reason.
    pub fn rejected(&self, stream: usize) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        for (_, fate) in self.of_stream(stream) {
            if let Fate::Rejected(reason) = fate {
                *counts.entry(reason.name()).or_default() += 1;
            }
        }
        counts
    }

    /// How many events of a stream repeated one that took effect, by the name of the cause.
    pub fn repeated(&self, stream: usize) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        for (_, fate) in self.of_stream(stream) {
            if let Fate::Repeats(cause) = fate {
                *counts.entry(cause.name()).or_default() += 1;
            }
        }
        counts
    }

    /// The accepted events of a stream for which `filter` is true and no `required` column is an
    /// error. Errors are counted when events come: of the filter, and once per column of the events it
    /// lets through.
    pub fn passed(
        &self,
        stream: usize,
        filter: Option<usize>,
        required: &[usize],
        read: &[usize],
        retract: Retract,
    ) -> (Errors, Vec<Full<'_>>) {
        let mut looked_at: Vec<usize> = required.iter().chain(read).copied().collect();
        looked_at.sort_unstable();
        looked_at.dedup();
        let (mut errors, mut passed) = (Errors::default(), Vec::new());
        let events = self.events.iter().zip(&self.fates).zip(&self.columns);
        for ((recorded, fate), columns) in events {
            if recorded.stream != stream || *fate != Fate::Accepted {
                continue;
            }
            let new = u64::from(recorded.took_effect(retract));
            match filter.map(|filter| &columns[filter]) {
                None | Some(Ok(Datum::Bool(true))) => {}
                Some(Ok(_)) => continue,
                Some(Err(reason)) => {
                    errors[reason.index()] += new;
                    continue;
                }
            }
            for &column in &looked_at {
                if let Err(reason) = &columns[column] {
                    errors[reason.index()] += new;
                }
            }
            if recorded.was_counted(retract)
                && required.iter().all(|&column| columns[column].is_ok())
            {
                passed.push(Full { recorded, columns });
            }
        }
        (errors, passed)
    }
}
