//! One pane of a view: groups and partials of the events that went into it.

use super::grid::{Numbers, Span};
use crate::aggregate::CellStore;
use crate::table::KeyTable;
use std::collections::BTreeMap;

/// Pieces of a large table that are given back in one go.
const PIECES: usize = 16;

/// Events of one span of time that found the same windows closed.
///
/// Of the windows over a pane those that are closed are always the first ones. So all that sets a
/// late event apart is how many windows it missed; window number `i` of the pane is the merge of
/// those whose events missed `i` or fewer, and nothing is ever copied to close a window.
#[derive(Debug, Clone)]
pub(crate) struct Pane {
    pub(super) span: Span,
    pub(super) windows: Numbers,
    /// End of the last window over the pane, ms: it is freed after that one.
    pub(super) last_end_ms: i64,
    /// How many of the windows do not take these events.
    pub(super) missed: u32,
    /// How many of the windows were closed. Those from `missed` on were amended.
    pub(super) closed: u32,
    pub(super) groups: KeyTable,
    /// Row in the cell store by id in `groups`.
    pub(super) group_rows: Vec<u32>,
    /// Events by id in `groups`, where they amend closed windows.
    pub(super) amending: Vec<u64>,
    /// Events that were taken back or put back after windows were closed: by id in `groups` and the
    /// number of the first window that was open then.
    pub(super) corrected: BTreeMap<(u32, i64), u64>,
}

/// What panes are ordered by.
pub(crate) type PaneKey = (i64, u32, u32);

impl Pane {
    pub(super) fn new(group_bytes: usize) -> Self {
        let nowhere = Span {
            start_ms: 0,
            end_ms: 0,
        };
        Self {
            span: nowhere,
            windows: Numbers { first: 0, count: 1 },
            last_end_ms: 0,
            missed: 0,
            closed: 0,
            groups: KeyTable::fixed(group_bytes),
            group_rows: Vec::new(),
            amending: Vec::new(),
            corrected: BTreeMap::new(),
        }
    }

    pub(crate) fn key(&self) -> PaneKey {
        (self.span.start_ms, self.missed, self.closed)
    }

    pub(crate) const fn groups(&self) -> &KeyTable {
        &self.groups
    }

    pub(super) const fn amends(&self) -> bool {
        self.missed < self.closed
    }

    /// Number of the first window that takes these events.
    pub(super) fn first_taking(&self) -> i64 {
        self.windows.first + i64::from(self.missed)
    }

    /// Whether window `number`, which is one over the pane, takes these events.
    pub(super) fn is_in(&self, number: i64) -> bool {
        self.first_taking() <= number
    }

    /// Events by which group `id` of window `number`, which takes them, was amended or corrected.
    pub(super) fn revised(&self, number: i64, id: u32) -> u64 {
        let behind = (id, number.saturating_add(1))..=(id, i64::MAX);
        let corrected: u64 = self.corrected.range(behind).map(|(_, events)| events).sum();
        corrected + self.amended(number, id)
    }

    fn amended(&self, number: i64, id: u32) -> u64 {
        let was_closed = number < self.windows.first + i64::from(self.closed);
        if self.amends() && was_closed {
            self.amending[id as usize]
        } else {
            0
        }
    }

    /// Gives at most `rows` rows back to the store and takes them off `rows`; true once the pane
    /// is empty and may be used again.
    pub(super) fn free(&mut self, store: &mut CellStore, rows: &mut usize) -> bool {
        let left = self.group_rows.len().saturating_sub(*rows);
        *rows -= self.group_rows.len() - left;
        for row in self.group_rows.drain(left..) {
            store.give_back(row);
        }
        if left > 0 || !self.groups.shrink(PIECES) {
            return false;
        }
        self.groups.clear();
        self.amending.clear();
        self.corrected.clear();
        true
    }
}
