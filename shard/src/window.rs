//! One view on one shard: tumbling windows, groups in them, partials of each column.
//!
//! Windows are half-open, `[start, end)`, and found by Euclidean division, so times before the
//! epoch are no special case. A window is final when the watermark reaches its end plus the allowed
//! lateness; closing costs nothing, because it is only a comparison. It stays readable until the
//! watermark is `keep` beyond its end, and once it was closed no event can open it again: lateness
//! is judged per event and window against the watermark recorded with the batch.

mod group;

use crate::aggregate::{CellStore, ColumnPlan, RowPartials};
use crate::expression::{ErrorReason, Evaluated};
use crate::gate::Gate;
use crate::pipeline::{Stream, View};
use crate::query::{WindowCursor, WindowRow};
use crate::schema::Schema;
use crate::table::KeyTable;
use crate::table::arena::same_bytes;
use group::{GroupPlan, group_hash};
use std::collections::VecDeque;

pub use group::group_values;

/// Group rows of events that are in no window.
const NO_GROUP: u32 = u32::MAX;
/// Emptied windows that are kept for reuse.
const SPARE_WINDOWS_MAX: usize = 4;

/// What a view counts.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
)]
pub struct ViewCounters {
    /// Events that came after their window was final; they are in no window.
    pub late: u64,
    /// Windows that still take events.
    pub open_windows: u64,
    /// Final windows that are still readable.
    pub closed_windows: u64,
    /// Groups in all readable windows.
    pub groups: u64,
    /// Events for which an expression of the view was an error, once per expression, by
    /// [`ErrorReason::index`].
    pub errors: [u64; ErrorReason::COUNT],
}

/// The accepted rows of a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Accepted<'a> {
    /// All rows of the batch.
    pub(crate) rows: &'a [u8],
    /// Indexes of the accepted ones.
    pub(crate) picks: &'a [u32],
    /// Their event times, ms.
    pub(crate) times_ms: &'a [i64],
    /// Ids of their keys, where a board needs them.
    pub(crate) members: &'a [u32],
    /// Computed columns of all rows of the batch.
    pub(crate) computed: &'a Evaluated,
    /// Watermark recorded with the batch.
    pub(crate) watermark_ms: i64,
    /// Ingest stamp of the batch.
    pub(crate) stamp_ns: u64,
    /// Log stream that holds the batch.
    pub(crate) log_stream: u32,
}

#[derive(Debug, Clone)]
struct Window {
    start_ms: i64,
    end_ms: i64,
    groups: KeyTable,
    /// Row in the cell store by id in `groups`.
    group_rows: Vec<u32>,
}

/// State of one view.
#[derive(Debug, Clone)]
pub(crate) struct ViewState {
    size_ms: i64,
    late_ms: i64,
    keep_ms: i64,
    group: GroupPlan,
    columns: Vec<ColumnPlan>,
    /// Ascending by start.
    windows: VecDeque<Window>,
    /// How many of the first windows are final.
    closed: usize,
    store: CellStore,
    spare: Vec<Window>,
    watermark_ms: i64,
    late: u64,
    gate: Gate,
    picks: Vec<(u32, u32)>,
    key: Vec<u8>,
}

impl ViewState {
    pub(crate) fn new(view: &View, stream: &Stream) -> Self {
        let column = |column: &crate::pipeline::Column| ColumnPlan::new(stream, column.aggregate);
        let columns: Vec<_> = view.columns.iter().map(column).collect();
        let read = view.columns.iter();
        let read = read.filter_map(|column| column.aggregate.field());
        Self {
            gate: Gate::new(stream, view.filter, &view.group, read),
            size_ms: view.size_ms,
            late_ms: view.late_ms,
            keep_ms: view.keep_ms.max(view.late_ms),
            group: GroupPlan::new(stream, &view.group),
            store: CellStore::new(&columns),
            columns,
            windows: VecDeque::new(),
            closed: 0,
            spare: Vec::new(),
            watermark_ms: i64::MIN,
            late: 0,
            picks: Vec::new(),
            key: Vec::new(),
        }
    }

    /// Puts the accepted rows of a batch into their windows.
    pub(crate) fn apply(&mut self, schema: &Schema, batch: &Accepted<'_>) {
        if self.gate.is_open() {
            return self.apply_passed(schema, batch);
        }
        let mut gate = std::mem::take(&mut self.gate);
        self.apply_passed(schema, &gate.pass(batch));
        self.gate = gate;
    }

    fn apply_passed(&mut self, schema: &Schema, batch: &Accepted<'_>) {
        self.find_groups(schema, batch);
        let picks = std::mem::take(&mut self.picks);
        for (index, column) in self.columns.iter().enumerate() {
            column.accumulate(index, schema, batch, &picks, &mut self.store);
        }
        self.picks = picks;
    }

    /// First pass: which group row each event belongs to. Events of one batch mostly share a
    /// window, and neighbours often a group, so both are remembered from one to the next.
    fn find_groups(&mut self, schema: &Schema, batch: &Accepted<'_>) {
        let mut key_scratch = std::mem::take(&mut self.key);
        self.picks.clear();
        // An empty range: the first event looks its window up.
        let (mut start_ms, mut end_ms) = (0, 0);
        let mut window = None;
        let mut group_row = NO_GROUP;
        // Hash and id of the last event's group.
        let mut last = (0, 0);
        for (&pick, &time_ms) in batch.picks.iter().zip(batch.times_ms) {
            if time_ms < start_ms || time_ms >= end_ms {
                start_ms = time_ms.div_euclid(self.size_ms) * self.size_ms;
                end_ms = start_ms + self.size_ms;
                window = self.window_for(start_ms, batch.watermark_ms);
                group_row = NO_GROUP;
            }
            let Some(place) = window else {
                self.late += u64::from(self.is_final(end_ms, batch.watermark_ms));
                continue;
            };
            let key = self.group.key(schema, batch, pick, &mut key_scratch);
            let hash = group_hash(key);
            let groups = &self.windows[place].groups;
            if group_row == NO_GROUP || hash != last.0 || !same_bytes(groups.key(last.1), key) {
                last = (hash, self.group_id(place, hash, key));
                group_row = self.windows[place].group_rows[last.1 as usize];
            }
            self.picks.push((pick, group_row));
        }
        self.key = key_scratch;
    }

    #[inline]
    fn is_final(&self, end_ms: i64, watermark_ms: i64) -> bool {
        end_ms.saturating_add(self.late_ms) <= watermark_ms
    }

    fn is_expired(&self, end_ms: i64) -> bool {
        self.watermark_ms.saturating_sub(end_ms) > self.keep_ms
    }

    /// The place of the window that starts at `start_ms`, opened if need be; `None` if an event
    /// is late for it, or (replaying an older log behind a newer one) it has expired since.
    fn window_for(&mut self, start_ms: i64, watermark_ms: i64) -> Option<usize> {
        let end_ms = start_ms + self.size_ms;
        if self.is_final(end_ms, watermark_ms) || self.is_expired(end_ms) {
            return None;
        }
        let place = self
            .windows
            .partition_point(|window| window.start_ms < start_ms);
        if self
            .windows
            .get(place)
            .is_none_or(|window| window.start_ms != start_ms)
        {
            let mut window = self.spare.pop().unwrap_or_else(|| Window {
                start_ms,
                end_ms,
                groups: KeyTable::fixed(self.group.bytes),
                group_rows: Vec::new(),
            });
            window.start_ms = start_ms;
            window.end_ms = end_ms;
            self.windows.insert(place, window);
            self.closed += usize::from(self.is_final(end_ms, self.watermark_ms));
        }
        Some(place)
    }

    #[inline]
    fn group_id(&mut self, place: usize, hash: u64, key: &[u8]) -> u32 {
        let window = &mut self.windows[place];
        let (id, added) = window.groups.find_or_insert(hash, key);
        if added {
            window.group_rows.push(self.store.take());
        }
        id
    }

    /// Takes a moved watermark over: closes windows and lets expired ones go.
    pub(crate) fn advance(&mut self, watermark_ms: i64) {
        self.watermark_ms = watermark_ms;
        while self
            .windows
            .get(self.closed)
            .is_some_and(|w| self.is_final(w.end_ms, watermark_ms))
        {
            self.closed += 1;
        }
        while self
            .windows
            .front()
            .is_some_and(|window| self.is_expired(window.end_ms))
        {
            let mut window = self
                .windows
                .pop_front()
                .expect("invariant: there is a front");
            self.closed = self.closed.saturating_sub(1);
            for group_row in window.group_rows.drain(..) {
                self.store.give_back(group_row);
            }
            if self.spare.len() < SPARE_WINDOWS_MAX {
                window.groups.clear();
                self.spare.push(window);
            }
        }
    }

    pub(crate) fn has_open_windows(&self) -> bool {
        self.closed < self.windows.len()
    }

    pub(crate) fn counters(&self) -> ViewCounters {
        ViewCounters {
            late: self.late,
            open_windows: (self.windows.len() - self.closed) as u64,
            closed_windows: self.closed as u64,
            groups: self
                .windows
                .iter()
                .map(|window| window.groups.len() as u64)
                .sum(),
            errors: self.gate.errors(),
        }
    }

    /// Rows of the windows that start in `[from_ms, to_ms)`, by start and group bytes, at most
    /// `limit` behind `after`, and no more once their blocks have `block_words_max` words; true if
    /// there are more.
    pub(crate) fn rows(
        &self,
        from_ms: i64,
        to_ms: i64,
        after: Option<&WindowCursor>,
        limit: usize,
        block_words_max: usize,
    ) -> (Vec<WindowRow>, bool) {
        let (mut out, mut block_words) = (Vec::new(), 0);
        let from_ms = after.map_or(from_ms, |after| after.start_ms.max(from_ms));
        let first = self
            .windows
            .partition_point(|window| window.start_ms < from_ms);
        for window in self
            .windows
            .range(first..)
            .take_while(|window| window.start_ms < to_ms)
        {
            let seen = after.filter(|after| after.start_ms == window.start_ms);
            let mut ids: Vec<u32> = (0..window.groups.len() as u32)
                .filter(|&id| seen.is_none_or(|after| window.groups.key(id) > &after.group[..]))
                .collect();
            let wanted = limit - out.len();
            if ids.len() > wanted {
                if wanted == 0 {
                    return (out, true);
                }
                ids.select_nth_unstable_by_key(wanted - 1, |&id| window.groups.key(id));
            }
            let more = ids.len() > wanted;
            ids.truncate(wanted);
            ids.sort_unstable_by_key(|&id| window.groups.key(id));
            for id in ids {
                if block_words >= block_words_max {
                    return (out, true);
                }
                let row = self.window_row(window, id);
                block_words += row.partials.blocks.len();
                out.push(row);
            }
            if more {
                return (out, true);
            }
        }
        (out, false)
    }

    fn window_row(&self, window: &Window, id: u32) -> WindowRow {
        let mut partials = RowPartials::default();
        self.store
            .export(window.group_rows[id as usize], &mut partials);
        WindowRow {
            start_ms: window.start_ms,
            end_ms: window.end_ms,
            group: window.groups.key(id).to_vec(),
            partials,
        }
    }

    /// Appends words that are equal for rows of equal sets of events.
    pub(crate) fn canonical(&self, row: &WindowRow, out: &mut Vec<u64>) {
        row.partials.canonical(&self.columns, out);
    }
}
