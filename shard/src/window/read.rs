//! Reads of a view: rows of windows, counters, late events.

use super::page::{Ask, Page, WORK_MAX};
use super::{Pane, Panes, Span, ViewCounters};
use crate::aggregate::RowPartials;
use crate::query::{WindowCursor, WindowRow};
use std::ops::Range;

/// A group in a pane.
#[derive(Clone, Copy)]
struct Part {
    pane: usize,
    id: u32,
}

/// A window with the panes that it is made of.
struct Found {
    number: i64,
    span: Span,
    panes: Range<usize>,
}

impl Panes {
    /// Panes that a readable window has.
    pub(crate) fn readable_panes(&self) -> impl Iterator<Item = &Pane> {
        self.panes.range(self.first_readable()..)
    }

    fn first_readable(&self) -> usize {
        let expired_by = self.expired_by(self.watermark_ms);
        self.panes
            .partition_point(|pane| pane.last_end_ms <= expired_by)
    }

    /// Number of the first window over a pane that has not expired.
    fn unexpired(&self, pane: &Pane) -> i64 {
        let expired_by = self.expired_by(self.watermark_ms);
        let expired = self.grid.ended(pane.span, pane.windows, expired_by);
        pane.windows.first + i64::from(expired)
    }

    /// The first window with a number of `at_least` or more that has events.
    fn next_window(&self, at_least: i64) -> Option<Found> {
        let reaching = self
            .panes
            .partition_point(|pane| pane.windows.last() < at_least);
        let mut best: Option<(i64, Span)> = None;
        for pane in self.panes.range(reaching..) {
            // A later pane may be over an earlier window, if what came first was late for it.
            if best.is_some_and(|(number, _)| number <= pane.windows.first) {
                break;
            }
            let number = pane.first_taking().max(at_least);
            if best.is_none_or(|(best, _)| number < best) {
                best = Some((number, pane.span));
            }
        }
        let (number, pane) = best?;
        let span = self.grid.window(number, pane);
        let place = |ms: i64| self.panes.partition_point(|pane| pane.span.start_ms < ms);
        Some(Found {
            number,
            span,
            panes: place(span.start_ms)..place(span.end_ms),
        })
    }

    /// Rows of the windows that are asked for; true if there may be more.
    pub(crate) fn rows(&self, ask: &Ask<'_>) -> (Vec<WindowRow>, bool) {
        let mut out = Page::new(&self.columns, ask);
        let more = self.fill(&mut out, ask);
        (out.rows, more)
    }

    /// Appends rows until the page is full; true if it is and there may be more.
    fn fill(&self, out: &mut Page<'_>, ask: &Ask<'_>) -> bool {
        let Some(first) = self.panes.get(self.first_readable()) else {
            return false;
        };
        let mut at_least = self.unexpired(first).max(self.grid.first_from(ask.from_ms));
        if let Some(after) = ask.after {
            at_least = at_least.max(self.grid.number_of(after.start_ms, after.end_ms));
        }
        let mut work = 0;
        while let Some(window) = self.next_window(at_least) {
            let Span { start_ms, end_ms } = window.span;
            if start_ms >= ask.to_ms {
                break;
            }
            at_least = window.number + 1;
            let of_window =
                |after: &&WindowCursor| (after.start_ms, after.end_ms) >= (start_ms, end_ms);
            let seen = ask.after.filter(of_window).map(|after| &after.group[..]);
            let parts = self.parts(&window, seen);
            if out.is_full() && !parts.is_empty() {
                return true;
            }
            work += parts.len();
            let more = self.merge_parts(&window, parts, out);
            if more || (work > WORK_MAX && !out.rows.is_empty()) {
                return true;
            }
        }
        false
    }

    /// All parts of a window whose groups come behind `seen`.
    fn parts(&self, window: &Found, seen: Option<&[u8]>) -> Vec<Part> {
        let mut parts = Vec::new();
        for place in window.panes.clone() {
            let pane = &self.panes[place];
            if pane.is_in(window.number) {
                let ids = 0..pane.groups.len() as u32;
                let unseen = ids.filter(|&id| seen.is_none_or(|seen| pane.groups.key(id) > seen));
                parts.extend(unseen.map(|id| Part { pane: place, id }));
            }
        }
        parts
    }

    /// Merges the parts of each group, in the order of groups, until the page is full; true if there
    /// are more.
    fn merge_parts(&self, window: &Found, mut parts: Vec<Part>, out: &mut Page<'_>) -> bool {
        let key = |part: &Part| self.panes[part.pane].groups.key(part.id);
        // A group has at most one part in each pane.
        let enough = out.wanted().saturating_mul(window.panes.len());
        let more = parts.len() > enough;
        if more {
            parts.select_nth_unstable_by_key(enough, key);
            parts.truncate(enough);
        }
        parts.sort_unstable_by(|a, b| (key(a), a.pane).cmp(&(key(b), b.pane)));
        for of_group in parts.chunk_by(|a, b| key(a) == key(b)) {
            if out.is_full() {
                return true;
            }
            self.merge_group(window, of_group, out);
        }
        more
    }

    fn merge_group(&self, window: &Found, parts: &[Part], out: &mut Page<'_>) {
        let rows = parts.iter();
        let rows = rows.map(|part| self.panes[part.pane].group_rows[part.id as usize]);
        let revised = |part: &Part| self.panes[part.pane].revised(window.number, part.id);
        let row = WindowRow {
            start_ms: window.span.start_ms,
            end_ms: window.span.end_ms,
            group: self.panes[parts[0].pane].groups.key(parts[0].id).to_vec(),
            partials: out.merge(&self.store, rows),
            revision: parts.iter().map(revised).sum(),
        };
        out.push(row);
    }

    pub(crate) fn counters(&self) -> ViewCounters {
        let mut counters = ViewCounters {
            late: self.late.counts,
            amended: self.amended,
            ..ViewCounters::default()
        };
        let closed_by = self.watermark_ms.saturating_sub(self.late_ms);
        // Per pane: the first and last window that its events are in, and how many are closed.
        let mut ranges: Vec<(i64, i64, i64)> = Vec::new();
        for pane in self.readable_panes() {
            counters.groups += pane.groups.len() as u64;
            let first = pane.first_taking().max(self.unexpired(pane));
            let closed = self.grid.ended(pane.span, pane.windows, closed_by);
            let first_open = pane.windows.first + i64::from(closed);
            ranges.push((first, pane.windows.last(), first_open));
        }
        ranges.sort_unstable();
        let mut next = i64::MIN;
        for (first, last, first_open) in ranges {
            let first = first.max(next);
            if first <= last {
                let closed = (first_open - first).clamp(0, last - first + 1);
                counters.closed_windows += closed as u64;
                counters.open_windows += (last - first + 1 - closed) as u64;
                next = last + 1;
            }
        }
        counters
    }

    /// Calls `with` for the groups of a pane, by their bytes, with the number of their amending events
    /// and words that are equal for equal sets of events.
    pub(crate) fn each_group(&self, pane: &Pane, mut with: impl FnMut(&[u8], u64, &[u64])) {
        let mut ids: Vec<u32> = (0..pane.groups.len() as u32).collect();
        ids.sort_unstable_by_key(|&id| pane.groups.key(id));
        let (mut partials, mut words) = (RowPartials::default(), Vec::new());
        for id in ids {
            self.store
                .export(pane.group_rows[id as usize], &mut partials);
            words.clear();
            partials.canonical(&self.columns, &mut words);
            let of_group = pane.corrected.range((id, i64::MIN)..=(id, i64::MAX));
            of_group.for_each(|(&(_, first_open), &events)| {
                words.extend([first_open.cast_unsigned(), events]);
            });
            let amending = pane.amending.get(id as usize).copied().unwrap_or(0);
            with(pane.groups.key(id), amending, &words);
        }
    }
}
