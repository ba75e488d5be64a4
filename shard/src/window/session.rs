//! Sessions: spans of time that the events of a group make themselves.
//!
//! An event at `t` is the session `[t, t + gap)`, and sessions of a group whose spans overlap are
//! one: events less than `gap` apart. So a session is `[first event, last event + gap)`, half-open
//! as every window, and nothing at or behind the watermark can reach one that ends there: it is
//! closed when the watermark is `late` behind its end. An event may lengthen a session, or bridge
//! two, which become one in one step.
//!
//! The group holds the stream's key, so all events of a group stand in one log at a time, in the
//! order in which they took effect. What becomes of an event depends on the sessions of its group
//! and on the watermark recorded with its batch, on nothing else: not on when memory is freed, not
//! on other logs that are replayed side by side.

mod book;
mod read;
mod rule;
#[cfg(test)]
mod tests;

use super::group::{GroupPlan, group_hash};
use super::late::{LateLog, Missed};
use super::{Accepted, FREE_ROWS, column_plans};
use crate::aggregate::{CellStore, ColumnPlan, RowPartials};
use crate::pipeline::{Stream, View};
use crate::schema::Schema;
use crate::table::arena::same_bytes;
use book::Book;
use rule::{Fate, Marks, Rule};

/// Sessions of one view.
#[derive(Debug, Clone)]
pub(crate) struct Sessions {
    rule: Rule,
    group: GroupPlan,
    columns: Vec<ColumnPlan>,
    store: CellStore,
    book: Book,
    /// The log that the shard writes.
    own_log: u32,
    /// The log whose entries are applied.
    log: u32,
    watermark_ms: i64,
    pub(super) late: LateLog,
    amended: u64,
    picks: Vec<(u32, u32)>,
    key: Vec<u8>,
    part: RowPartials,
}

/// The group of the event before, where it is known: its hash and id.
type Known = Option<(u64, u32)>;

impl Sessions {
    pub(super) fn new(view: &View, stream: &Stream, gap_ms: i64, own_log: u32) -> Self {
        let rule = Rule::new(gap_ms, &view.window);
        let group = GroupPlan::new(stream, &view.group);
        let columns = column_plans(view, stream);
        Self {
            rule,
            book: Book::new(rule, group.bytes),
            group,
            store: CellStore::new(&columns),
            columns,
            own_log,
            log: own_log,
            watermark_ms: i64::MIN,
            late: LateLog::default(),
            amended: 0,
            picks: Vec::new(),
            key: Vec::new(),
            part: RowPartials::default(),
        }
    }

    /// Puts the accepted rows of a batch into their sessions.
    pub(super) fn apply(&mut self, schema: &Schema, batch: &Accepted<'_>) {
        self.follow(batch.origin.log_stream);
        self.find_sessions(schema, batch);
        self.flush(schema, batch);
        // Other logs that are replayed beside an older one may have gone on further.
        let by_ms = match self.log == self.own_log {
            true => self.watermark_ms,
            false => batch.watermark_ms,
        };
        self.free(by_ms, 2 * batch.picks.len());
    }

    fn find_sessions(&mut self, schema: &Schema, batch: &Accepted<'_>) {
        let marks = self.rule.marks(batch.watermark_ms);
        let mut key_scratch = std::mem::take(&mut self.key);
        let mut known: Known = None;
        for (&pick, &time_ms) in batch.picks.iter().zip(batch.times_ms) {
            let key = self.group.key(schema, batch, pick, &mut key_scratch);
            let hash = group_hash(key);
            let same = |(before, id)| before == hash && same_bytes(self.book.name(id), key);
            if !known.is_some_and(same) {
                known = self.book.find(hash, key).map(|id| (hash, id));
            }
            let lengthened =
                known.and_then(|(_, id)| self.book.lengthen_latest(id, time_ms, &marks));
            if let Some(row) = lengthened {
                self.picks.push((pick, row));
                continue;
            }
            let fate = self.book.judge(known.map(|(_, id)| id), time_ms, &marks);
            if let Fate::Missed(ends) = fate {
                let missed = self.rule.missed(&ends, batch.clock_move);
                self.note_late(schema, batch, pick, &missed);
                continue;
            }
            let id = known.map_or_else(|| self.book.add(hash, key), |(_, id)| id);
            known = Some((hash, id));
            let row = self.take(id, time_ms, fate, &marks, (schema, batch));
            self.picks.push((pick, row));
        }
        self.key = key_scratch;
    }

    /// Gives an event its place; the row of its session.
    #[cold]
    fn take(
        &mut self,
        id: u32,
        time_ms: i64,
        fate: Fate,
        marks: &Marks,
        of: (&Schema, &Accepted<'_>),
    ) -> u32 {
        let (row, amends) = match fate {
            Fate::Begins { index, amends } => {
                let row = self.store.take();
                self.book.begin(id, index, time_ms, (row, amends));
                (row, amends)
            }
            Fate::Joins { index, amends } => {
                (self.book.stretch(id, index, time_ms, amends), amends)
            }
            Fate::Bridges { index, amends } => {
                // Events of this batch go in first, as they stand in the log.
                self.flush(of.0, of.1);
                let (row, gone) = self.book.bridge(id, index, amends);
                self.store.export(gone, &mut self.part);
                self.store.merge(&self.columns, row, &self.part);
                self.store.give_back(gone);
                (row, amends)
            }
            Fate::Missed(_) => unreachable!("these have no session"),
        };
        self.amended += u64::from(amends);
        self.book.settle(id, marks);
        row
    }

    #[cold]
    fn note_late(&mut self, schema: &Schema, batch: &Accepted<'_>, pick: u32, missed: &Missed) {
        self.late
            .note(schema, batch, pick, missed, self.rule.late_reason());
    }

    /// Accumulates the events that have their place.
    fn flush(&mut self, schema: &Schema, batch: &Accepted<'_>) {
        for (index, column) in self.columns.iter().enumerate() {
            column.accumulate(index, schema, batch, &self.picks, &mut self.store);
        }
        self.picks.clear();
    }

    /// Turns to the entries of a log. Of an older layout, those of each log come with watermarks of
    /// their own: only groups that are seen in a log are freed while it is replayed.
    #[inline]
    fn follow(&mut self, log: u32) {
        if self.log != log {
            self.log = log;
            self.book.forget_dues();
            if log == self.own_log {
                self.book.schedule_all();
            }
        }
    }

    /// Ends replay.
    pub(super) fn finish_replay(&mut self) {
        self.follow(self.own_log);
    }

    /// Takes a moved watermark over.
    pub(super) fn advance(&mut self, watermark_ms: i64) {
        self.watermark_ms = watermark_ms;
        if self.log == self.own_log {
            self.free(watermark_ms, FREE_ROWS);
        }
    }

    /// Looks at groups that are due at a watermark, and frees sessions that are not remembered any
    /// more, at most so many of both.
    fn free(&mut self, by_ms: i64, limit: usize) {
        let store = &mut self.store;
        self.book.free(by_ms, limit, |row| store.give_back(row));
    }

    /// Whether a later watermark would close a session.
    pub(super) fn has_open(&self) -> bool {
        self.book.latest_end_ms() > self.rule.marks(self.watermark_ms).closed_by
    }
}
