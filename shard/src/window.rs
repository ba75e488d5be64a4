//! One view on one shard: windows, groups in them, partials of each column.
//!
//! Here are windows whose bounds are known before any event; those that events make are in
//! [`session`] and [`last`], and [`view`] tells them apart.
//!
//! Windows are half-open, `[start, end)`, and found by Euclidean division, so times before the
//! epoch are no special case. They are made of panes ([`grid`]): an event goes into exactly one
//! pane, however many windows it is in, and panes are merged when a window is read.
//!
//! A window is closed when the watermark reaches its end plus the allowed lateness; closing costs
//! nothing, because it is only a comparison. It stays readable until the watermark is `keep` beyond
//! its end. Lateness is judged per event and window against the watermark recorded with the batch:
//! a closed window takes no event, or, if the view says so, is amended until it is dropped. A
//! dropped window never comes back.

pub mod calendar;
mod correct;
pub mod grid;
mod group;
mod last;
mod late;
mod page;
mod pane;
mod read;
mod runs;
mod session;
mod times;
mod view;

use crate::aggregate::{CellStore, ColumnPlan};
use crate::board::Origin;
use crate::expression::{ErrorReason, Evaluated};
use crate::pipeline::{After, Stream, View};
use crate::schema::Schema;
use crate::table::arena::same_bytes;
use crate::watermark::ClockMove;
use grid::{Grid, Span};
use group::{GroupPlan, group_hash};
use late::{LateLog, Missed};
use pane::PaneKey;
use std::collections::VecDeque;

pub use group::group_values;
pub use late::{LateEvent, LateReason};
pub(crate) use page::Ask;
pub(crate) use pane::Pane;
pub(crate) use view::{ViewState, Windows};

/// Group rows of events that are in no window.
const NO_GROUP: u32 = u32::MAX;
/// Emptied panes that are kept for reuse.
const SPARE_PANES_MAX: usize = 4;
/// Rows of dropped windows that are freed at a time, beside twice the events of a batch: more than
/// a batch can add, and never so many that anyone waits for it.
const FREE_ROWS: usize = 1_024;

/// What a view counts.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
)]
pub struct ViewCounters {
    /// Windows that did not take an event because it was late, by [`LateReason::index`]: an event
    /// counts once for each window that it missed.
    pub late: [u64; LateReason::COUNT],
    /// Closed windows that took a late event, once for each event.
    pub amended: u64,
    /// Windows that still take events.
    pub open_windows: u64,
    /// Closed windows that are still readable.
    pub closed_windows: u64,
    /// Groups in all panes of readable windows.
    pub groups: u64,
    /// Events for which an expression of the view was an error, once per expression, by
    /// [`ErrorReason::index`].
    pub errors: [u64; ErrorReason::COUNT],
}

impl ViewCounters {
    /// Windows that did not take an event, for any reason.
    pub fn late_total(&self) -> u64 {
        self.late.iter().sum()
    }
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
    /// Where the batch stands in the log.
    pub(crate) origin: Origin,
    /// The last move of the watermark by the clock, in the log of the batch.
    pub(crate) clock_move: ClockMove,
}

/// Where events of one pane go.
#[derive(Debug, Clone, Copy)]
struct Entrance {
    span: Span,
    /// Place of the pane; `None` if no window takes the events.
    place: Option<usize>,
    /// How many windows do not take the events, and how many closed ones are amended.
    missed: u32,
    amended: u32,
}

impl Entrance {
    /// Leads nowhere, and no time lies in it.
    const NONE: Entrance = Entrance {
        span: Span {
            start_ms: 0,
            end_ms: 0,
        },
        place: None,
        missed: 0,
        amended: 0,
    };

    /// Whether every window over the pane takes the events, none of them closed.
    #[inline]
    const fn is_plain(&self) -> bool {
        self.missed == 0 && self.amended == 0 && self.place.is_some()
    }
}

/// Windows of one view that are made of panes.
#[derive(Debug, Clone)]
pub(crate) struct Panes {
    grid: Grid,
    late_ms: i64,
    keep_ms: i64,
    after: After,
    group: GroupPlan,
    columns: Vec<ColumnPlan>,
    /// Ascending by [`Pane::key`]. The first ones may be expired, waiting to be freed.
    panes: VecDeque<Pane>,
    store: CellStore,
    spare: Vec<Pane>,
    watermark_ms: i64,
    late: LateLog,
    amended: u64,
    /// The pane that was looked up last, where that is dear.
    span: Span,
    picks: Vec<(u32, u32)>,
    key: Vec<u8>,
}

impl Panes {
    pub(crate) fn new(view: &View, stream: &Stream) -> Self {
        let columns = column_plans(view, stream);
        Self {
            grid: Grid::new(&view.window.kind),
            late_ms: view.window.late_ms,
            keep_ms: view.window.keep_ms.max(view.window.late_ms),
            after: view.window.after,
            group: GroupPlan::new(stream, &view.group),
            store: CellStore::new(&columns),
            columns,
            panes: VecDeque::new(),
            spare: Vec::new(),
            watermark_ms: i64::MIN,
            late: LateLog::default(),
            amended: 0,
            span: Entrance::NONE.span,
            picks: Vec::new(),
            key: Vec::new(),
        }
    }

    /// Puts the accepted rows of a batch into their windows.
    pub(crate) fn apply(&mut self, schema: &Schema, batch: &Accepted<'_>) {
        self.find_groups(schema, batch);
        for (index, column) in self.columns.iter().enumerate() {
            column.accumulate(index, schema, batch, &self.picks, &mut self.store);
        }
        self.free(2 * batch.picks.len());
    }

    /// First pass: which group row each event belongs to. Events of one batch mostly share a
    /// pane, and neighbours often a group, so both are remembered from one to the next.
    fn find_groups(&mut self, schema: &Schema, batch: &Accepted<'_>) {
        let mut key_scratch = std::mem::take(&mut self.key);
        self.picks.clear();
        let mut entrance = Entrance::NONE;
        let mut group_row = NO_GROUP;
        // Hash and id of the last event's group.
        let mut last = (0, 0);
        for (&pick, &time_ms) in batch.picks.iter().zip(batch.times_ms) {
            if !entrance.span.contains(time_ms) {
                entrance = self.enter(time_ms, batch.watermark_ms);
                group_row = NO_GROUP;
            }
            if !entrance.is_plain() {
                self.note_late(schema, &entrance, batch, pick);
            }
            let Some(place) = entrance.place else {
                continue;
            };
            let key = self.group.key(schema, batch, pick, &mut key_scratch);
            let hash = group_hash(key);
            let groups = &self.panes[place].groups;
            if group_row == NO_GROUP || hash != last.0 || !same_bytes(groups.key(last.1), key) {
                last = (hash, self.group_id(place, hash, key));
                group_row = self.panes[place].group_rows[last.1 as usize];
            }
            if entrance.amended > 0 {
                self.panes[place].amending[last.1 as usize] += 1;
            }
            self.picks.push((pick, group_row));
        }
        self.key = key_scratch;
    }

    /// The pane that a time lies in.
    #[inline]
    fn pane_at(&mut self, time_ms: i64) -> Span {
        if !self.grid.is_dear() {
            return self.grid.pane_at(time_ms);
        }
        if !self.span.contains(time_ms) {
            let behind = self
                .panes
                .partition_point(|pane| pane.span.start_ms <= time_ms);
            let known = behind.checked_sub(1).map(|place| self.panes[place].span);
            self.span = known
                .filter(|span| span.contains(time_ms))
                .unwrap_or_else(|| self.grid.pane_at(time_ms));
        }
        self.span
    }

    /// Where an event of a batch with this watermark goes. A pane is opened if need be, but for an
    /// event (of an older log, replayed behind a newer one) whose windows have expired since.
    fn enter(&mut self, time_ms: i64, watermark_ms: i64) -> Entrance {
        let span = self.pane_at(time_ms);
        let windows = self.grid.windows_over(span);
        let closed_by = watermark_ms.saturating_sub(self.late_ms);
        let closed = self.grid.ended(span, windows, closed_by);
        let missed = match self.after {
            After::Drop => closed,
            After::Amend => self
                .grid
                .ended(span, windows, self.expired_by(watermark_ms)),
        };
        let last_end_ms = self.grid.window(windows.last(), span).end_ms;
        let mut place = None;
        if missed < windows.count && !self.is_expired(last_end_ms) {
            let key = (span.start_ms, missed, closed);
            let found = self.panes.partition_point(|pane| pane.key() < key);
            if self.panes.get(found).is_none_or(|pane| pane.key() != key) {
                self.open_pane(found, span, key, last_end_ms);
            }
            place = Some(found);
        }
        Entrance {
            span,
            place,
            missed,
            amended: closed - missed,
        }
    }

    #[cold]
    fn open_pane(&mut self, place: usize, span: Span, key: PaneKey, last_end_ms: i64) {
        let spare = self.spare.pop();
        let mut pane = spare.unwrap_or_else(|| Pane::new(self.group.bytes));
        pane.span = span;
        pane.windows = self.grid.windows_over(span);
        pane.last_end_ms = last_end_ms;
        (_, pane.missed, pane.closed) = key;
        self.panes.insert(place, pane);
    }

    #[inline]
    fn group_id(&mut self, place: usize, hash: u64, key: &[u8]) -> u32 {
        let pane = &mut self.panes[place];
        let (id, added) = pane.groups.find_or_insert(hash, key);
        if added {
            pane.group_rows.push(self.store.take());
            if pane.amends() {
                pane.amending.push(0);
            }
        }
        id
    }

    /// Counts an event for the windows that it missed or amended, and keeps it if it missed any.
    #[cold]
    fn note_late(
        &mut self,
        schema: &Schema,
        entrance: &Entrance,
        batch: &Accepted<'_>,
        index: u32,
    ) {
        self.amended += u64::from(entrance.amended);
        if entrance.missed == 0 {
            return;
        }
        let (grid, span) = (&self.grid, entrance.span);
        let windows = grid.windows_over(span);
        // A window stopped taking events when the watermark was so far behind its end.
        let (takes_ms, plain) = match self.after {
            After::Drop => (self.late_ms, LateReason::Late),
            After::Amend => (self.keep_ms.saturating_add(1), LateReason::Expired),
        };
        let stopped = |by_ms: i64| {
            let stopped = grid.ended(span, windows, by_ms.saturating_sub(takes_ms));
            stopped.min(entrance.missed)
        };
        let last = windows.first + i64::from(entrance.missed) - 1;
        let missed = Missed {
            windows: entrance.missed,
            by_clock: stopped(batch.clock_move.to_ms) - stopped(batch.clock_move.from_ms),
            first: grid.window(windows.first, span),
            last: grid.window(last, span),
        };
        self.late.note(schema, batch, index, &missed, plain);
    }

    /// Windows that end here or before are no longer kept at this watermark.
    #[inline]
    fn expired_by(&self, watermark_ms: i64) -> i64 {
        watermark_ms.saturating_sub(self.keep_ms).saturating_sub(1)
    }

    #[inline]
    fn is_expired(&self, end_ms: i64) -> bool {
        end_ms <= self.expired_by(self.watermark_ms)
    }

    /// Takes a moved watermark over: closes windows and lets expired ones go.
    pub(crate) fn advance(&mut self, watermark_ms: i64) {
        self.watermark_ms = watermark_ms;
        self.free(FREE_ROWS);
    }

    /// Frees at most so many rows of expired panes, and as many panes as that allows.
    fn free(&mut self, mut rows: usize) {
        let expired_by = self.expired_by(self.watermark_ms);
        while rows > 0
            && let Some(pane) = self.panes.front_mut()
            && pane.last_end_ms <= expired_by
        {
            if !pane.free(&mut self.store, &mut rows) {
                return;
            }
            rows = rows.saturating_sub(1);
            let empty = self.panes.pop_front();
            if self.spare.len() < SPARE_PANES_MAX {
                self.spare.extend(empty);
            }
        }
    }

    /// Whether a later watermark would close a window.
    pub(crate) fn has_open_windows(&self) -> bool {
        let closed_by = self.watermark_ms.saturating_sub(self.late_ms);
        self.panes
            .back()
            .is_some_and(|pane| pane.last_end_ms > closed_by)
    }
}

fn column_plans(view: &View, stream: &Stream) -> Vec<ColumnPlan> {
    let columns = view.columns.iter();
    let plans = columns.map(|column| ColumnPlan::new(stream, column.aggregate));
    plans.collect()
}

#[cfg(test)]
mod tests;
