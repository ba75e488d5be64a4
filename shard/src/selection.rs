//! Which stored events a correction is about: found by reading the log, entry by entry.

use crate::dedupe::fields::{FieldDedupe, Moment, Verdict};
use crate::dedupe::{DuplicateCause, Layout};
use crate::entry::{CorrectedEvent, EventBatch, EventName, EventPlace};
use crate::expression::{Evaluator, Expression, Named, Refusal, Scope};
use crate::partition::{group_of, key_hash};
use crate::pipeline::{DedupeRule, Pipeline, Stream};
use crate::reject::RejectReason;
use crate::schema::FieldType;
use std::sync::Arc;

/// What is looked for; all that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub event: Option<EventName>,
    /// One of its fields, and the canonical bytes of the value.
    pub field: Option<(usize, Vec<u8>)>,
    /// Its event time, ms: from one moment on,
    pub from_ms: Option<i64>,
    /// and before another one.
    pub to_ms: Option<i64>,
}

/// A stored event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it stands, and what was recorded with it.
    pub event: CorrectedEvent,
    /// Its producer.
    pub producer: u128,
    /// Epoch of the producer.
    pub epoch: u32,
    /// Its sequence.
    pub sequence: u64,
    /// Its time, ms.
    pub time_ms: i64,
    /// Group of its key.
    pub group: u16,
    /// Why it had no effect when it came, if it had none.
    pub void: Option<Void>,
    /// The row.
    pub row: Vec<u8>,
}

/// Why a stored event has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Void {
    /// It was refused.
    Refused(RejectReason),
    /// It repeats one that took effect.
    Repeats(DuplicateCause),
}

impl Void {
    /// The name of the reason or cause.
    pub const fn name(self) -> &'static str {
        match self {
            Void::Refused(reason) => reason.name(),
            Void::Repeats(cause) => cause.name(),
        }
    }
}

/// Finds events of one stream.
#[derive(Debug)]
pub struct Selection {
    pipeline: Arc<Pipeline>,
    stream: usize,
    wanted: Wanted,
    filter: Option<Evaluator>,
    repeats: Option<Repeats>,
    voids: Vec<Option<Void>>,
    widened: Vec<u8>,
}

impl Selection {
    /// Events of a stream; of those for which `filter` is true, if one is given.
    pub fn new(
        pipeline: &Arc<Pipeline>,
        stream: usize,
        wanted: Wanted,
        filter: Option<&str>,
        older: &[Layout],
    ) -> Result<Self, String> {
        let of = &pipeline.streams[stream];
        let filter = filter.map(|text| evaluator(of, text)).transpose()?;
        Ok(Self {
            pipeline: Arc::clone(pipeline),
            stream,
            wanted,
            filter,
            repeats: of.dedupe.as_ref().map(|rule| Repeats::new(rule, older)),
            voids: Vec::new(),
            widened: Vec::new(),
        })
    }

    /// Whether batches without any wanted event must be looked at, too: what repeats another event is
    /// known only from those before it.
    pub const fn needs_all(&self) -> bool {
        self.repeats.is_some()
    }

    /// Adds the wanted events of a batch, the entry at `lsn` of a log stream. Batches come log by log,
    /// those of older layouts first.
    pub fn find(
        &mut self,
        batch: &EventBatch<'_>,
        log_stream: u32,
        lsn: u64,
        found: &mut Vec<Found>,
    ) {
        let schema = &self.pipeline.streams[self.stream].schema;
        if usize::from(batch.stream) != self.stream {
            return;
        }
        let stream = &self.pipeline.streams[self.stream];
        if let Some(former) = stream.former(batch.schema_id) {
            if batch.row_bytes() == former.widening.from().row_len() {
                let mut rows = std::mem::take(&mut self.widened);
                former.widening.widen(batch.rows, &mut rows);
                let widened = EventBatch {
                    schema_id: stream.schema.id,
                    rows: &rows,
                    ..*batch
                };
                self.find_in(&widened, Some(batch), (log_stream, lsn), found);
                self.widened = rows;
            }
        } else if batch.schema_id == schema.id && batch.row_bytes() == schema.row_len() {
            self.find_in(batch, None, (log_stream, lsn), found);
        }
    }

    /// Adds those of a batch with rows of the schema in force; `came` is the batch as it was, if it
    /// had rows of a former one.
    fn find_in(
        &mut self,
        batch: &EventBatch<'_>,
        came: Option<&EventBatch<'_>>,
        (log_stream, lsn): (u32, u64),
        found: &mut Vec<Found>,
    ) {
        if self.repeats.is_none() && !self.may_hold(batch) {
            return;
        }
        self.judge(batch, came, log_stream);
        let schema = &self.pipeline.streams[self.stream].schema;
        if let Some(filter) = &mut self.filter {
            filter.evaluate(schema, batch.rows);
        }
        for index in 0..batch.count as usize {
            if self.is_wanted(batch, index) {
                found.push(self.found(batch, index, log_stream, lsn));
            }
        }
    }

    /// Which rows of a batch have no effect.
    fn judge(&mut self, batch: &EventBatch<'_>, came: Option<&EventBatch<'_>>, log_stream: u32) {
        let stream = &self.pipeline.streams[self.stream];
        let came = came.unwrap_or(batch);
        let voids = (0..batch.count as usize).map(|index| {
            let reason = refusal(stream, batch.row(index), (came, came.row(index)));
            reason.map(Void::Refused)
        });
        self.voids.clear();
        self.voids.extend(voids);
        if let Some(repeats) = &mut self.repeats {
            repeats.judge(stream, batch, log_stream, &mut self.voids);
        }
    }

    /// Whether a batch may hold an event of the name.
    fn may_hold(&self, batch: &EventBatch<'_>) -> bool {
        match self.wanted.event {
            None => true,
            Some(EventName::Sequence {
                producer,
                epoch,
                sequence,
            }) => {
                (batch.producer.0, batch.epoch) == (producer, epoch)
                    && (batch.first_sequence..=batch.last_sequence()).contains(&sequence)
            }
        }
    }

    fn is_wanted(&self, batch: &EventBatch<'_>, index: usize) -> bool {
        let Wanted {
            event,
            field,
            from_ms,
            to_ms,
        } = &self.wanted;
        let stream = &self.pipeline.streams[self.stream];
        let (schema, row) = (&stream.schema, batch.row(index));
        if let Some(EventName::Sequence { sequence, .. }) = event
            && batch.sequence(index) != *sequence
        {
            return false;
        }
        let time_ms = schema.time_ms(row, stream.time.field);
        let in_range = from_ms.is_none_or(|from_ms| from_ms <= time_ms)
            && to_ms.is_none_or(|to_ms| time_ms < to_ms);
        let has_value = |(field, value): &(usize, Vec<u8>)| {
            let is_null = schema.fields[*field].optional && schema.is_null(row, *field);
            !is_null && schema.canonical_bytes(row, *field) == &value[..]
        };
        if !in_range || !field.as_ref().is_none_or(has_value) {
            return false;
        }
        let Some(filter) = &self.filter else {
            return true;
        };
        let column = schema.fields.len() + stream.computed.len();
        filter
            .evaluated()
            .bits(column, index)
            .is_some_and(|truth| truth != 0)
    }

    fn found(&self, batch: &EventBatch<'_>, index: usize, log_stream: u32, lsn: u64) -> Found {
        let stream = &self.pipeline.streams[self.stream];
        let (schema, row) = (&stream.schema, batch.row(index));
        let time_ms = schema.time_ms(row, stream.time.field);
        Found {
            event: CorrectedEvent {
                place: EventPlace {
                    log_stream,
                    lsn,
                    index: index as u32,
                },
                stamp_ns: batch.stamp_ns,
                watermark_ms: batch.watermark_ms,
            },
            producer: batch.producer.0,
            epoch: batch.epoch,
            sequence: batch.sequence(index),
            time_ms,
            group: group_of(key_hash(schema.canonical_bytes(row, stream.key))),
            void: self.voids[index],
            row: row.to_vec(),
        }
    }
}

/// What tells duplicates by fields apart, once more, over all logs.
#[derive(Debug)]
struct Repeats {
    older: Vec<Layout>,
    /// Behind the logs of older layouts.
    before: FieldDedupe,
    /// Of the log that is read, if it is one of the newest layout.
    now: Option<(u32, FieldDedupe)>,
}

impl Repeats {
    fn new(rule: &DedupeRule, older: &[Layout]) -> Self {
        Self {
            older: older.to_vec(),
            before: FieldDedupe::new(rule),
            now: None,
        }
    }

    fn judge(
        &mut self,
        stream: &Stream,
        batch: &EventBatch<'_>,
        log_stream: u32,
        voids: &mut [Option<Void>],
    ) {
        let Some(rule) = &stream.dedupe else { return };
        let is_older = self.older.iter().any(|layout| layout.contains(log_stream));
        let dedupe = if is_older {
            &mut self.before
        } else {
            if self.now.as_ref().is_none_or(|(log, _)| *log != log_stream) {
                self.now = Some((log_stream, self.before.clone()));
            }
            match &mut self.now {
                Some((_, dedupe)) => dedupe,
                None => return,
            }
        };
        let moment = Moment {
            stamp_ns: batch.stamp_ns,
            inherited: is_older.then_some(log_stream),
            older: &self.older,
        };
        let obeys: Vec<usize> = (0..voids.len()).filter(|&at| voids[at].is_none()).collect();
        let rows = obeys.iter().map(|&at| batch.row(at));
        dedupe.begin(stream, rule, rows, moment);
        for (nth, at) in obeys.into_iter().enumerate() {
            voids[at] = match dedupe.judge(nth, batch.row(at), moment) {
                Verdict::New => None,
                Verdict::Repeats(cause) => Some(Void::Repeats(cause)),
                Verdict::Conflict => Some(Void::Refused(RejectReason::Conflict)),
            };
        }
    }
}

/// Why a row was refused when it came, as it came.
fn refusal(
    stream: &Stream,
    row: &[u8],
    (came, as_it_came): (&EventBatch<'_>, &[u8]),
) -> Option<RejectReason> {
    let former = stream.former(came.schema_id);
    let schema = former.map_or(&stream.schema, |former| former.widening.from());
    if let Err(reject) = schema.validate(as_it_came) {
        return Some(reject.reason);
    }
    let limit_ms = ((came.stamp_ns / 1_000_000) as i64).saturating_add(stream.time.max_future_ms);
    let is_future = stream.schema.time_ms(row, stream.time.field) > limit_ms;
    is_future.then_some(RejectReason::FutureTime)
}

/// Evaluates a condition as one more computed column of the stream.
fn evaluator(stream: &Stream, text: &str) -> Result<Evaluator, String> {
    let fields = stream.schema.fields.len();
    let columns = fields + stream.computed.len();
    let named = (0..columns).filter(|&column| {
        let unnamed = |computed: usize| stream.computed[computed].name.is_none();
        !column.checked_sub(fields).is_some_and(unnamed)
    });
    let named = named.map(|column| {
        let of = stream.column(column);
        let named = Named {
            column,
            kind: Some(of.kind),
            optional: of.optional,
        };
        (of.name, named)
    });
    let scope = Scope {
        stream: &stream.name,
        fields,
        columns: named.collect(),
        later: &[],
    };
    let parsed = Expression::parse(text, &scope, Some(FieldType::Bool));
    let condition = parsed.map_err(|refusal| match refusal {
        Refusal::Fault(fault) => match fault.hint {
            Some(hint) => format!("{}; {hint}", fault.message),
            None => fault.message,
        },
        Refusal::FaultyColumn => "it names a column that has a fault".to_owned(),
    })?;
    let computed = stream.computed.iter().map(|computed| &computed.expression);
    let all: Vec<&Expression> = computed.chain([&condition]).collect();
    Ok(Evaluator::new(&stream.schema, &all, &[columns]))
}
