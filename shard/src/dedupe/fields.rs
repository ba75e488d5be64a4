//! Each event takes effect once, whoever sends it: duplicates by the fields of a stream.
//!
//! A row is told apart by its key and the fields that `dedupe` names, so an id is one event's
//! within its key. It is looked up and spent while its batch is applied: id and effect share one
//! log position, and an event that is refused for its content spends nothing. Rows that repeat one
//! that took effect stand in the log, and replay finds them again.

use super::ids::{IdBytes, IdRecord, Ids, NO_BODY};
use super::sequences::{Seen, Sequences, Window};
use super::{DuplicateCause, Layout};
use crate::partition::{group_of, key_hash};
use crate::pipeline::{DedupeMode, DedupeRule, Stream};
use crate::value::Value;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// Bytes of a spent id: a slot at the mean load of its table, the id, the digest of its event.
pub(crate) const ID_BYTES: u64 = 54;
/// Bytes of a source: a slot at the mean load of its table, its name, its window.
pub(crate) const SOURCE_BYTES: u64 = 62;

/// How many events ahead the lines of a lookup are asked for.
const EVENTS_AHEAD: usize = 4;

/// What an event of a stream is told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventId {
    /// XXH3-128 of the key and the fields of the id, or of the source of a sequence.
    name: IdBytes,
    /// The sequence of its source; 0 for an id.
    sequence: u64,
    /// Group of the key.
    group: u16,
}

impl EventId {
    /// The id of a row of the stream.
    pub(crate) fn of_row(
        stream: &Stream,
        rule: &DedupeRule,
        row: &[u8],
        buffer: &mut Vec<u8>,
    ) -> Self {
        let schema = &stream.schema;
        let key = schema.canonical_bytes(row, stream.key);
        let (named, sequence) = match (&rule.mode, rule.by.split_last()) {
            (DedupeMode::Sequence, Some((&last, source))) => {
                let Value::U64(sequence) = schema.value(row, last) else {
                    unreachable!("invariant: the field of a sequence is a required u64");
                };
                (source, sequence)
            }
            _ => (&rule.by[..], 0),
        };
        let fields = named
            .iter()
            .map(|&field| schema.canonical_bytes(row, field));
        buffer.clear();
        // Only a key may be null.
        buffer.push(u8::from(schema.is_null(row, stream.key)));
        for part in [key].into_iter().chain(fields) {
            buffer.push(part.len() as u8);
            buffer.extend_from_slice(part);
        }
        EventId {
            name: xxh3_128(buffer).to_le_bytes(),
            sequence,
            group: group_of(key_hash(key)),
        }
    }
}

/// Where in which log an event stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment<'a> {
    pub(crate) stamp_ns: u64,
    /// The log stream, if it is inherited from.
    pub(crate) inherited: Option<u32>,
    /// Former layouts of the store.
    pub(crate) older: &'a [Layout],
}

/// What becomes of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the first with its id, which is spent now.
    New,
    /// Its id is spent.
    Repeats(DuplicateCause),
    /// Its id is spent by an event with other content.
    Conflict,
}

/// What is spent of one stream.
#[derive(Debug, Clone)]
enum Memory {
    Sequences(Sequences),
    Ids(Ids),
}

/// The part of the state that tells duplicates by fields apart.
#[derive(Debug, Clone)]
pub(crate) struct FieldDedupe {
    memory: Memory,
    /// Ids of the batch that is being applied.
    names: Vec<EventId>,
    buffer: Vec<u8>,
}

/// Everything that is recorded, for the digest of the state.
pub(crate) enum Recorded {
    Sequences(Vec<(IdBytes, Window)>),
    Ids(Vec<IdRecord>),
}

impl FieldDedupe {
    pub(crate) fn new(rule: &DedupeRule) -> Self {
        Self {
            memory: match rule.mode {
                DedupeMode::Sequence => Memory::Sequences(Sequences::new()),
                DedupeMode::Id { horizon_ms } => Memory::Ids(Ids::new(horizon_ms)),
            },
            names: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// Takes the rows of a batch that may take effect, in order; [`FieldDedupe::judge`] them next.
    pub(crate) fn begin<'r>(
        &mut self,
        stream: &Stream,
        rule: &DedupeRule,
        rows: impl Iterator<Item = &'r [u8]>,
        moment: Moment<'_>,
    ) {
        let Self { names, buffer, .. } = self;
        names.clear();
        names.extend(rows.map(|row| EventId::of_row(stream, rule, row, buffer)));
        if let Memory::Ids(ids) = &mut self.memory {
            let now = ids.generation(moment.stamp_ns);
            ids.advance(now, moment.inherited, self.names.len());
        }
        for index in 0..EVENTS_AHEAD {
            self.prefetch(index, moment);
        }
    }

    /// Judges the row at `index` of those taken last, and spends its id if it is new.
    #[inline]
    pub(crate) fn judge(&mut self, index: usize, row: &[u8], moment: Moment<'_>) -> Verdict {
        self.prefetch(index + EVENTS_AHEAD, moment);
        let id = self.names[index];
        match &mut self.memory {
            Memory::Sequences(sequences) => match sequences.spend(&id.name, id.sequence) {
                Seen::No => Verdict::New,
                Seen::Yes => Verdict::Repeats(DuplicateCause::Sequence),
                Seen::Behind => Verdict::Repeats(DuplicateCause::Behind),
            },
            Memory::Ids(ids) => {
                let (now, body) = (ids.generation(moment.stamp_ns), body_of(row));
                match ids.find(&id.name, now, moment.older, || id.group) {
                    None => {
                        ids.insert(&id.name, body, now, moment.inherited);
                        Verdict::New
                    }
                    Some(NO_BODY) => Verdict::Repeats(DuplicateCause::Annulled),
                    Some(first) if first == body => Verdict::Repeats(DuplicateCause::Id),
                    Some(_) => Verdict::Conflict,
                }
            }
        }
    }

    #[inline]
    fn prefetch(&self, index: usize, moment: Moment<'_>) {
        let Some(id) = self.names.get(index) else {
            return;
        };
        match &self.memory {
            Memory::Sequences(sequences) => sequences.prefetch(&id.name),
            Memory::Ids(ids) => ids.prefetch(&id.name, ids.generation(moment.stamp_ns)),
        }
    }

    /// Whether an event with this id would not take effect.
    pub(crate) fn is_spent(&self, id: &EventId, moment: Moment<'_>) -> bool {
        match &self.memory {
            Memory::Sequences(sequences) => sequences.look(&id.name, id.sequence) != Seen::No,
            Memory::Ids(ids) => {
                let now = ids.generation(moment.stamp_ns);
                ids.find(&id.name, now, moment.older, || id.group).is_some()
            }
        }
    }

    /// Spends an id without an event, from this moment on.
    pub(crate) fn spend(&mut self, id: &EventId, moment: Moment<'_>) {
        match &mut self.memory {
            Memory::Sequences(sequences) => {
                sequences.spend(&id.name, id.sequence);
            }
            Memory::Ids(ids) => {
                let now = ids.generation(moment.stamp_ns);
                ids.insert(&id.name, NO_BODY, now, moment.inherited);
            }
        }
    }

    /// Whether these rows, stamped so, find room in the memory of the rule. What is remembered
    /// needs none.
    pub(crate) fn has_room<'r>(
        &self,
        stream: &Stream,
        rule: &DedupeRule,
        rows: impl ExactSizeIterator<Item = &'r [u8]>,
        moment: Moment<'_>,
    ) -> bool {
        let room = rule.memory_bytes / entry_bytes(rule.mode);
        let used = self.entries(moment.stamp_ns);
        if used + rows.len() as u64 <= room {
            return true;
        }
        let mut buffer = Vec::new();
        let needed = rows
            .filter(|row| stream.schema.validate(row).is_ok())
            .map(|row| EventId::of_row(stream, rule, row, &mut buffer))
            .filter(|id| match &self.memory {
                Memory::Sequences(sequences) => !sequences.knows(&id.name),
                Memory::Ids(_) => !self.is_spent(id, moment),
            })
            .count() as u64;
        needed == 0 || used + needed <= room
    }

    /// Ids or sources that are remembered at a stamp.
    fn entries(&self, stamp_ns: u64) -> u64 {
        match &self.memory {
            Memory::Sequences(sequences) => sequences.len(),
            Memory::Ids(ids) => ids.len(ids.generation(stamp_ns)),
        }
    }

    /// Ids or sources that were remembered when the last one was spent.
    pub(crate) fn len(&self) -> u64 {
        match &self.memory {
            Memory::Sequences(sequences) => sequences.len(),
            Memory::Ids(ids) => ids.len(ids.newest()),
        }
    }

    pub(crate) fn recorded(&self) -> Recorded {
        match &self.memory {
            Memory::Sequences(sequences) => Recorded::Sequences(sequences.sorted()),
            Memory::Ids(ids) => Recorded::Ids(ids.sorted()),
        }
    }
}

/// Bytes of an id or source.
pub(crate) const fn entry_bytes(mode: DedupeMode) -> u64 {
    match mode {
        DedupeMode::Sequence => SOURCE_BYTES,
        DedupeMode::Id { .. } => ID_BYTES,
    }
}

/// What two events with one id must share to be the same event. Equal rows are equal bytes.
fn body_of(row: &[u8]) -> u64 {
    match xxh3_64(row) {
        NO_BODY => 1,
        digest => digest,
    }
}
