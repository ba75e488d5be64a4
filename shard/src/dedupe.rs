//! Each event takes effect once, however often it is sent.
//!
//! By the sequences of its producer, here; by fields of its own, in [`fields`], where the stream
//! asks for it. Per log stream and producer, the epoch and the last sequence: about 64 bytes per producer, for
//! any horizon. Sequences of one producer reach a log stream in order, so "at most the last one"
//! means "seen", holes (events of other shards) included. The table follows from the log entries
//! that also hold the effects: an event whose entry was lost is new again, one that is there is
//! never applied twice.
//!
//! When a store changes its number of shards, a group moves from the log stream of its old owner
//! to that of its new one, and a retry may repeat events that stand in the old one. The shard
//! keeps the tables of the log streams that it inherits from, and asks the one that owned the
//! event's group. Batches above every inherited sequence, which is all but the first retries after
//! such a change, pay one comparison for this.

pub(crate) mod fields;
pub(crate) mod ids;
pub(crate) mod sequences;

pub use fields::EventId;
pub use sequences::SEQUENCE_WINDOW;

use crate::entry::{EventBatch, ProducerId};
use crate::partition::shard_of;
use crate::query::ProducerView;
use crate::state::Outcome;
use std::collections::BTreeMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Why an event did not take effect although nothing is wrong with it. The numbers are part of the
/// format of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DuplicateCause {
    /// Its producer had sent it before. It is not logged again.
    Producer = 1,
    /// Its source had sent the sequence before.
    Sequence,
    /// Its sequence lies so far behind its source that it cannot be told from a duplicate.
    Behind,
    /// An equal event with its id had taken effect.
    Id,
    /// Its id was spent without an event.
    Annulled,
}

impl DuplicateCause {
    /// Number of causes; `cause.index()` is below it.
    pub const COUNT: usize = 5;

    /// All causes, in the order of their numbers.
    pub const ALL: [DuplicateCause; DuplicateCause::COUNT] = [
        DuplicateCause::Producer,
        DuplicateCause::Sequence,
        DuplicateCause::Behind,
        DuplicateCause::Id,
        DuplicateCause::Annulled,
    ];

    /// The number in answers.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The cause of a number in answers.
    pub fn from_code(code: u8) -> Option<DuplicateCause> {
        let index = usize::from(code).checked_sub(1)?;
        DuplicateCause::ALL.get(index).copied()
    }

    /// Position in [`DuplicateCause::ALL`], for counters.
    pub const fn index(self) -> usize {
        self as usize - 1
    }

    /// The name used in metrics and answers.
    pub const fn name(self) -> &'static str {
        match self {
            DuplicateCause::Producer => "producer",
            DuplicateCause::Sequence => "sequence",
            DuplicateCause::Behind => "behind",
            DuplicateCause::Id => "id",
            DuplicateCause::Annulled => "annulled",
        }
    }
}

/// What is to become of a batch, before it is logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// All rows are new.
    All,
    /// The first so many rows are duplicates, the others new.
    Skip(usize),
    /// All rows are duplicates.
    Duplicate,
    /// Only the rows of these indexes, ascending, are new.
    Keep(Vec<u32>),
    /// The producer has a newer session.
    Fenced {
        /// Its epoch.
        epoch: u32,
    },
    /// The memory in which the stream tells duplicates by fields apart is full: nothing of the
    /// batch may be logged now.
    Full,
}

/// A former layout of the store: its log streams and how the groups lay on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Number of its first log stream.
    pub first_log_stream: u32,
    /// Log streams, one per shard of then.
    pub streams: u32,
}

impl Layout {
    /// The log stream that owned `group`.
    pub fn owner(&self, group: u16) -> u32 {
        self.first_log_stream + shard_of(group, self.streams as usize) as u32
    }

    /// Whether `log_stream` belongs to this layout.
    pub fn contains(&self, log_stream: u32) -> bool {
        (self.first_log_stream..self.first_log_stream + self.streams).contains(&log_stream)
    }
}

/// What one log stream knows of a producer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProducerRecord {
    /// Epoch of the current session.
    pub epoch: u32,
    /// Highest sequence in that epoch, 0 if none.
    pub last_sequence: u64,
    /// Events accepted, over all epochs.
    pub accepted: u64,
    /// Events rejected, over all epochs.
    pub rejected: u64,
    /// Events that were duplicates by fields, over all epochs.
    pub repeated: u64,
    /// Events refused as duplicates since the start. Not part of the recorded state.
    pub duplicates: u64,
}

/// Producer ids are digests already: take their low half as the hash.
#[derive(Debug, Clone, Copy, Default)]
struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u128(&mut self, digest: u128) {
        self.0 = digest as u64;
    }
}

type Producers = hashbrown::HashMap<ProducerId, ProducerRecord, BuildHasherDefault<DigestHasher>>;

/// The producers of the own log stream and of those inherited from.
#[derive(Debug, Clone, Default)]
pub struct Dedupe {
    own: Producers,
    inherited: BTreeMap<u32, Producers>,
    /// Per producer the highest epoch of all inherited tables and the highest sequence in it.
    inherited_max: Producers,
}

impl ProducerRecord {
    fn note(&mut self, epoch: u32, last_sequence: u64) {
        if epoch > self.epoch {
            self.epoch = epoch;
            self.last_sequence = last_sequence;
        } else if epoch == self.epoch {
            self.last_sequence = self.last_sequence.max(last_sequence);
        }
    }

    fn count(&mut self, outcome: &Outcome) {
        self.accepted += u64::from(outcome.accepted);
        self.rejected += u64::from(outcome.rejected);
        self.repeated += u64::from(outcome.duplicates);
    }

    /// The last sequence in `epoch`: 0 if the record is of another one.
    fn last_in(&self, epoch: u32) -> u64 {
        if self.epoch == epoch {
            self.last_sequence
        } else {
            0
        }
    }
}

impl Dedupe {
    /// Decides which rows of a batch are new. `group_of` gives the group of a row.
    pub fn admit(
        &self,
        batch: &EventBatch<'_>,
        older: &[Layout],
        group_of: impl Fn(usize) -> u16,
    ) -> Admission {
        let own = self.own.get(&batch.producer).copied().unwrap_or_default();
        let before = self
            .inherited_max
            .get(&batch.producer)
            .copied()
            .unwrap_or_default();
        let epoch = own.epoch.max(before.epoch);
        if batch.epoch < epoch {
            return Admission::Fenced { epoch };
        }
        let count = batch.count as usize;
        let skip = batch.rows_through(own.last_in(batch.epoch));
        if skip == count {
            return Admission::Duplicate;
        }
        if batch.sequence(skip) > before.last_in(batch.epoch) {
            return if skip == 0 {
                Admission::All
            } else {
                Admission::Skip(skip)
            };
        }
        let is_new = |row: &usize| !self.was_inherited(batch, *row, older, group_of(*row));
        let kept: Vec<u32> = (skip..count).filter(is_new).map(|row| row as u32).collect();
        match kept.first() {
            None => Admission::Duplicate,
            Some(0) if kept.len() == count => Admission::All,
            Some(&first) if kept.len() == count - first as usize => Admission::Skip(first as usize),
            Some(_) => Admission::Keep(kept),
        }
    }

    fn was_inherited(
        &self,
        batch: &EventBatch<'_>,
        row: usize,
        older: &[Layout],
        group: u16,
    ) -> bool {
        older.iter().any(|layout| {
            let record = self
                .inherited
                .get(&layout.owner(group))
                .and_then(|producers| producers.get(&batch.producer));
            record.is_some_and(|record| batch.sequence(row) <= record.last_in(batch.epoch))
        })
    }

    /// Takes note of an applied batch of the own log stream.
    pub(crate) fn applied(&mut self, batch: &EventBatch<'_>, outcome: &Outcome) {
        let record = self.own.entry(batch.producer).or_default();
        record.note(batch.epoch, batch.last_sequence());
        record.count(outcome);
    }

    /// Takes note of a batch of a log stream that is inherited from.
    pub(crate) fn inherit(
        &mut self,
        log_stream: u32,
        producer: ProducerId,
        epoch: u32,
        last_sequence: u64,
        outcome: &Outcome,
    ) {
        let producers = self.inherited.entry(log_stream).or_default();
        producers
            .entry(producer)
            .or_default()
            .note(epoch, last_sequence);
        let highest = self.inherited_max.entry(producer).or_default();
        highest.note(epoch, last_sequence);
        highest.count(outcome);
    }

    /// Begins a new epoch of a producer in the own log stream.
    pub(crate) fn begin_epoch(&mut self, producer: ProducerId, epoch: u32) {
        self.own.entry(producer).or_default().note(epoch, 0);
    }

    /// Counts duplicates that were refused.
    pub(crate) fn count_duplicates(&mut self, producer: ProducerId, duplicates: u32) {
        self.own.entry(producer).or_default().duplicates += u64::from(duplicates);
    }

    /// What is known of a producer, over the own log stream and those inherited from.
    pub fn view(&self, producer: ProducerId) -> Option<ProducerView> {
        let (own, before) = (self.own.get(&producer), self.inherited_max.get(&producer));
        if own.is_none() && before.is_none() {
            return None;
        }
        let own = own.copied().unwrap_or_default();
        let before = before.copied().unwrap_or_default();
        let epoch = own.epoch.max(before.epoch);
        Some(ProducerView {
            epoch,
            last_sequence: own.last_in(epoch),
            inherited_max: before.last_in(epoch),
            accepted: own.accepted + before.accepted,
            duplicates: own.duplicates,
            repeated: own.repeated + before.repeated,
            rejected: own.rejected + before.rejected,
        })
    }

    /// Producers of the own log stream.
    pub fn len(&self) -> usize {
        self.own.len()
    }

    /// Whether no producer was ever seen in the own log stream.
    pub fn is_empty(&self) -> bool {
        self.own.is_empty()
    }

    /// Everything recorded, in a fixed order: log stream (`None` is the own one), producer, record.
    pub(crate) fn sorted(&self) -> Vec<(Option<u32>, u128, ProducerRecord)> {
        let own = self.own.iter().map(|(id, record)| (None, id.0, *record));
        let inherited = self.inherited.iter().flat_map(|(&log_stream, producers)| {
            producers
                .iter()
                .map(move |(id, record)| (Some(log_stream), id.0, *record))
        });
        // A record that only counted duplicates is not recorded state.
        let recorded = |(_, _, record): &(_, _, ProducerRecord)| {
            *record
                != ProducerRecord {
                    duplicates: record.duplicates,
                    ..Default::default()
                }
        };
        let mut all: Vec<_> = own.chain(inherited).filter(recorded).collect();
        all.sort_unstable_by_key(|&(log_stream, id, _)| (log_stream, id));
        all
    }
}
