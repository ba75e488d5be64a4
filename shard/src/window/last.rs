//! The last events of each group, by event time.
//!
//! What a group shows are its `count` greatest events in the order (event time, stamp, log stream,
//! index), those left out that are more than `keep` behind the watermark. That is a function of the
//! set of events and the watermark: the order in which they come, batches and replay do not show.
//! Partials cannot be taken apart, so each event has a row of cells of its own, and a group's are
//! merged when they are read, as panes are.

use super::grid::Span;
use super::group::{GroupPlan, group_hash};
use super::late::{LateLog, Missed};
use super::page::{Ask, Page, WORK_MAX};
use super::runs::{Entry, Run, Runs};
use super::times::Times;
use super::{Accepted, FREE_ROWS, LateReason, ViewCounters, column_plans};
use crate::aggregate::{CellStore, ColumnPlan, Number, RowPartials};
use crate::pipeline::{Stream, View};
use crate::query::WindowRow;
use crate::schema::Schema;
use crate::table::KeyTable;
use crate::table::arena::same_bytes;
use crate::table::chunks::Chunks;

/// A group that has events.
#[derive(Debug, Clone, Copy, Default)]
struct Group {
    /// Event time in order-preserving bits, stamp, log stream and index, row in the cell store.
    run: Run,
    /// The watermark at which it is to be looked at, ms, if it stands in the list of dues.
    due_ms: Option<i64>,
}

/// The last events of the groups of one view.
#[derive(Debug, Clone)]
pub(crate) struct LastEvents {
    count: usize,
    /// How far a watermark is behind an event when that is not kept any more, ms.
    expires_ms: i64,
    group: GroupPlan,
    columns: Vec<ColumnPlan>,
    store: CellStore,
    names: KeyTable,
    groups: Chunks<Group>,
    /// Groups that have events, freed ones not yet counted off.
    live: u64,
    runs: Runs,
    /// Every group that has events, when its oldest one expires or before.
    due: Times,
    watermark_ms: i64,
    pub(super) late: LateLog,
    picks: Vec<(u32, u32)>,
    /// Rows of events that were among the last for a part of a batch.
    gone: Vec<u32>,
    key: Vec<u8>,
}

fn time_ms(entry: &Entry) -> i64 {
    Number::Time.bits(entry[0]).cast_signed()
}

fn row(entry: &Entry) -> u32 {
    entry[3] as u32
}

/// The group of the event before: its hash and id.
type Known = Option<(u64, u32)>;

impl LastEvents {
    pub(super) fn new(view: &View, stream: &Stream, count: u32) -> Self {
        let group = GroupPlan::new(stream, &view.group);
        let columns = column_plans(view, stream);
        Self {
            count: count as usize,
            expires_ms: view.window.keep_ms + 1,
            names: KeyTable::fixed(group.bytes),
            group,
            store: CellStore::new(&columns),
            columns,
            groups: Chunks::new(),
            live: 0,
            runs: Runs::new(),
            due: Times::default(),
            watermark_ms: i64::MIN,
            late: LateLog::default(),
            picks: Vec::new(),
            gone: Vec::new(),
            key: Vec::new(),
        }
    }

    /// Events at this time or before are not kept at a watermark.
    const fn expired_by(&self, watermark_ms: i64) -> i64 {
        watermark_ms.saturating_sub(self.expires_ms)
    }

    /// Puts the accepted rows of a batch among the last of their groups.
    pub(super) fn apply(&mut self, schema: &Schema, batch: &Accepted<'_>) {
        let expired_by = self.expired_by(batch.watermark_ms);
        let mut key_scratch = std::mem::take(&mut self.key);
        let mut known: Known = None;
        self.picks.clear();
        for (&pick, &time_ms) in batch.picks.iter().zip(batch.times_ms) {
            if time_ms <= expired_by {
                self.note_late(schema, batch, pick, time_ms);
                continue;
            }
            let key = self.group.key(schema, batch, pick, &mut key_scratch);
            let hash = group_hash(key);
            let same = |(before, id)| before == hash && same_bytes(self.names.key(id), key);
            let (_, id) = match known.filter(|known| same(*known)) {
                Some(known) => known,
                None => (hash, self.id(hash, key)),
            };
            known = Some((hash, id));
            let ordered = Number::Time.ordered(time_ms.cast_unsigned());
            let place = u64::from(batch.origin.log_stream) << 32 | u64::from(pick);
            self.take(id, pick, [ordered, batch.origin.stamp_ns, place]);
        }
        self.key = key_scratch;
        for (index, column) in self.columns.iter().enumerate() {
            column.accumulate(index, schema, batch, &self.picks, &mut self.store);
        }
        // Not before: an event of this batch may have been put into one of them.
        for row in self.gone.drain(..) {
            self.store.give_back(row);
        }
        self.free(2 * batch.picks.len());
    }

    fn id(&mut self, hash: u64, key: &[u8]) -> u32 {
        let (id, added) = self.names.find_or_insert(hash, key);
        if added {
            self.groups.grow_to(id as usize + 1, Group::default());
            *self.groups.at_mut(id as usize) = Group::default();
            self.live += 1;
        }
        id
    }

    /// Puts an event into the run of its group, if it is among the last.
    fn take(&mut self, id: u32, pick: u32, order: [u64; 3]) {
        let mut run = self.groups.at(id as usize).run;
        let is_before = |entry: &Entry| entry[..3] < order[..];
        let latest = run.len().checked_sub(1);
        let is_latest = latest.is_none_or(|latest| is_before(&self.runs.at(run, latest)));
        let mut index = match is_latest {
            true => run.len(),
            false => self.runs.partition_point(run, is_before),
        };
        if run.len() == self.count {
            if index == 0 {
                return;
            }
            self.gone.push(row(&self.runs.at(run, 0)));
            self.runs.drop_first(&mut run, 1);
            index -= 1;
        }
        let row = self.store.take();
        let [time, stamp, place] = order;
        self.runs
            .insert(&mut run, index, [time, stamp, place, u64::from(row)]);
        self.groups.at_mut(id as usize).run = run;
        self.picks.push((pick, row));
        if index == 0 {
            self.schedule(id);
        }
    }

    /// Sees to it that a group is looked at when its oldest event expires, or before.
    fn schedule(&mut self, id: u32) {
        let group = *self.groups.at(id as usize);
        let oldest_ms = time_ms(&self.runs.at(group.run, 0));
        let due_ms = oldest_ms.saturating_add(self.expires_ms);
        if let Some(before_ms) = group.due_ms {
            if before_ms <= due_ms {
                return;
            }
            self.due.remove((before_ms, id));
        }
        self.due.insert((due_ms, id));
        self.groups.at_mut(id as usize).due_ms = Some(due_ms);
    }

    #[cold]
    fn note_late(&mut self, schema: &Schema, batch: &Accepted<'_>, pick: u32, time_ms: i64) {
        let own = Span {
            start_ms: time_ms,
            end_ms: time_ms + 1,
        };
        let gone_ms = time_ms.saturating_add(self.expires_ms);
        let clock = batch.clock_move;
        let missed = Missed {
            windows: 1,
            by_clock: u32::from(clock.from_ms < gone_ms && gone_ms <= clock.to_ms),
            first: own,
            last: own,
        };
        self.late
            .note(schema, batch, pick, &missed, LateReason::Expired);
    }

    /// Takes a moved watermark over.
    pub(super) fn advance(&mut self, watermark_ms: i64) {
        self.watermark_ms = watermark_ms;
        self.free(FREE_ROWS);
    }

    /// Lets go of expired events: looks at so many groups and frees so many rows, at most.
    fn free(&mut self, mut limit: usize) {
        let expired_by = self.expired_by(self.watermark_ms);
        while limit > 0
            && let Some((due_ms, id)) = self.due.first_by(self.watermark_ms)
        {
            self.due.remove((due_ms, id));
            let mut run = self.groups.at(id as usize).run;
            let expired = self.expired(run, expired_by).min(limit);
            for index in 0..expired {
                self.store.give_back(row(&self.runs.at(run, index)));
            }
            limit = limit.saturating_sub(1 + expired);
            self.runs.drop_first(&mut run, expired);
            *self.groups.at_mut(id as usize) = Group { run, due_ms: None };
            if run.is_empty() {
                self.names.remove(group_hash(self.names.key(id)), id);
                self.live -= 1;
            } else {
                self.schedule(id);
            }
        }
    }

    /// How many events of a run have expired: the first ones.
    fn expired(&self, run: Run, expired_by: i64) -> usize {
        self.runs
            .partition_point(run, |entry| time_ms(entry) <= expired_by)
    }

    /// The events of a group that have not expired.
    fn events(&self, id: u32) -> impl DoubleEndedIterator<Item = Entry> + '_ {
        let run = self.groups.at(id as usize).run;
        let expired = self.expired(run, self.expired_by(self.watermark_ms));
        (expired..run.len()).map(move |index| self.runs.at(run, index))
    }

    /// The bounds of what a group shows; `None` if that is nothing.
    fn span(&self, id: u32) -> Option<Span> {
        let mut events = self.events(id);
        let first = events.next()?;
        let last = events.next_back().unwrap_or(first);
        Some(Span {
            start_ms: time_ms(&first),
            end_ms: time_ms(&last) + 1,
        })
    }

    /// Rows of the groups that are asked for; true if there may be more.
    pub(crate) fn rows(&self, ask: &Ask<'_>) -> (Vec<WindowRow>, bool) {
        let mut out = Page::new(&self.columns, ask);
        let place = |span: &Span, id| (span.start_ms, span.end_ms, self.names.key(id));
        let ids = 0..self.groups.len() as u32;
        let mut found: Vec<(Span, u32)> = ids
            .filter_map(|id| Some((self.span(id)?, id)))
            .filter(|(span, _)| (ask.from_ms..ask.to_ms).contains(&span.start_ms))
            .filter(|(span, id)| {
                let behind = |after: &crate::query::WindowCursor| {
                    place(span, *id) > (after.start_ms, after.end_ms, &after.group[..])
                };
                ask.after.is_none_or(behind)
            })
            .collect();
        let mut more = found.len() > ask.limit;
        if more && ask.limit > 0 {
            found.select_nth_unstable_by_key(ask.limit, |(span, id)| place(span, *id));
        }
        found.truncate(ask.limit);
        found.sort_unstable_by_key(|(span, id)| place(span, *id));
        let mut work = 0;
        for (span, id) in found {
            if out.is_full() || work > WORK_MAX {
                more = true;
                break;
            }
            let rows: Vec<u32> = self.events(id).map(|entry| row(&entry)).collect();
            work += rows.len();
            let partials = out.merge(&self.store, rows.into_iter());
            out.push(WindowRow {
                start_ms: span.start_ms,
                end_ms: span.end_ms,
                group: self.names.key(id).to_vec(),
                partials,
                revision: 0,
            });
        }
        (out.rows, more)
    }

    pub(crate) fn counters(&self) -> ViewCounters {
        // Groups whose events have all expired may not be freed yet.
        let due = self.due.iter();
        let due = due.take_while(|(due_ms, _)| *due_ms <= self.watermark_ms);
        let empty = due.filter(|(_, id)| self.span(*id).is_none()).count() as u64;
        let groups = self.live - empty;
        ViewCounters {
            late: self.late.counts,
            open_windows: groups,
            groups,
            ..ViewCounters::default()
        }
    }

    /// Calls `with` for every event that a group shows, groups by their bytes: with those, the order
    /// of the event, and words that are equal for equal events.
    pub(crate) fn each_event(&self, mut with: impl FnMut(&[u8], [u64; 3], &[u64])) {
        let ids = self.due.iter().map(|(_, id)| id);
        let mut ids: Vec<u32> = ids.collect();
        ids.sort_unstable_by_key(|&id| self.names.key(id));
        let (mut partials, mut words) = (RowPartials::default(), Vec::new());
        for id in ids {
            for entry in self.events(id) {
                self.store.export(row(&entry), &mut partials);
                words.clear();
                partials.canonical(&self.columns, &mut words);
                with(self.names.key(id), [entry[0], entry[1], entry[2]], &words);
            }
        }
    }
}
