//! Joins the answers of all shards into one, exactly.
//!
//! Every member of a board is on one shard, and all shards use one total order, so tops are merged,
//! and counts of better members added. Groups of views are on any number of shards: their partials
//! are merged per window and group, and only then finished.

mod boards;
mod seasons;
mod splits;

pub use crate::sketch::top::Frequent;
pub use boards::{Above, BoardPage, RankNumber, merge_neighbours, merge_tops};
pub use seasons::{BoardSeasonInfo, SeasonsPage, merge_seasons};
pub use splits::{SplitsPage, merge_splits};

use crate::aggregate::{CellStore, ColumnPlan, RowPartials};
use crate::pipeline::{Column, Pipeline};
use crate::query::{Scalar, WindowCursor, WindowRow, WindowsAnswer};
use crate::value::OwnedValue;
use crate::watermark::NO_WATERMARK;

/// The finished value of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnValue {
    /// An exact number, or null.
    Number(Scalar),
    /// A value as an event had it.
    Value(OwnedValue),
    /// A number that may be off.
    Estimate {
        /// The number.
        value: Scalar,
        /// By how much; 0 if it is exact.
        error: Scalar,
    },
    /// Values by how often they were seen.
    Frequent {
        /// The most frequent first.
        values: Vec<Frequent>,
        /// How often any value that was dropped can have been seen; 0 if none was.
        others_at_most: u64,
    },
}

impl PartialEq<Scalar> for ColumnValue {
    fn eq(&self, scalar: &Scalar) -> bool {
        matches!(self, ColumnValue::Number(number) if number == scalar)
    }
}

/// Partials that no shard with this pipeline can have sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a shard gave partials that its view cannot have")]
pub struct MalformedPartials;

/// A finished row of a view.
#[derive(Debug, Clone, PartialEq)]
pub struct FinishedRow {
    /// Start of the window, ms, inclusive.
    pub start_ms: i64,
    /// End of the window, ms, exclusive.
    pub end_ms: i64,
    /// Bytes of the group, see [`crate::window::group_values`].
    pub group: Vec<u8>,
    /// One value per column.
    pub values: Vec<ColumnValue>,
    /// How far the row is.
    pub state: RowState,
    /// How many events amended the row after its window was closed.
    pub revision: u64,
}

/// How far a row of a window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowState {
    /// The window takes events, on one shard at least.
    Early,
    /// The window is closed, and the row is as it was then.
    Final,
    /// The window is closed, and late events changed the row since.
    Amended,
}

impl RowState {
    /// All states.
    pub const ALL: [RowState; 3] = [RowState::Early, RowState::Final, RowState::Amended];

    /// The name in answers.
    pub const fn name(self) -> &'static str {
        match self {
            RowState::Early => "early",
            RowState::Final => "final",
            RowState::Amended => "amended",
        }
    }
}

/// Rows of a view over all shards.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowsPage {
    /// Rows by start, end and group.
    pub rows: Vec<FinishedRow>,
    /// Where the next page begins, if there may be more rows.
    pub next: Option<WindowCursor>,
    /// The least watermark of all shards, ms; `i64::MIN` if one has none.
    pub watermark_ms: i64,
}

/// Merges the answers of all shards for `view`, asked with the same range, cursor and limit.
///
/// # Panics
/// If the pipeline has no such view.
pub fn merge_windows(
    pipeline: &Pipeline,
    view: usize,
    answers: Vec<WindowsAnswer>,
    limit: usize,
) -> Result<WindowsPage, MalformedPartials> {
    let columns = column_plans(pipeline, view);
    let view = &pipeline.views[view];
    let watermark_ms = answers
        .iter()
        .map(|answer| answer.watermark_ms)
        .min()
        .unwrap_or(NO_WATERMARK);

    // A shard whose answer was cut says nothing of what lies behind its last row.
    let cut = answers.iter().filter(|answer| answer.more);
    let complete_through = cut.map(|answer| answer.rows.last().map(cursor)).min();
    let mut more = complete_through.is_some();
    let mut partials: Vec<_> = answers.into_iter().flat_map(|answer| answer.rows).collect();
    partials.sort_by(|a, b| place(a).cmp(&place(b)));

    let mut merger = Merger::new(&columns);
    let mut rows: Vec<FinishedRow> = Vec::new();
    for shares in partials.chunk_by(|a, b| place(a) == place(b)) {
        let row = &shares[0];
        let is_known = |last: &Option<WindowCursor>| Some(cursor(row)) <= *last;
        if !complete_through.as_ref().is_none_or(is_known) {
            break;
        }
        if rows.len() == limit {
            more = true;
            break;
        }
        let is_closed = view.window.is_closed(row.end_ms, watermark_ms);
        let revision = shares.iter().map(|share| share.revision).sum();
        rows.push(FinishedRow {
            start_ms: row.start_ms,
            end_ms: row.end_ms,
            group: row.group.clone(),
            values: merger.finish(shares).ok_or(MalformedPartials)?,
            state: match revision {
                _ if !is_closed => RowState::Early,
                0 => RowState::Final,
                _ => RowState::Amended,
            },
            revision,
        });
    }
    let last = rows.last();
    let next = last.map(|row| WindowCursor {
        start_ms: row.start_ms,
        end_ms: row.end_ms,
        group: row.group.clone(),
    });
    Ok(WindowsPage {
        next: next.filter(|_| more),
        rows,
        watermark_ms,
    })
}

fn column_plans(pipeline: &Pipeline, view: usize) -> Vec<ColumnPlan> {
    let view = &pipeline.views[view];
    let stream = &pipeline.streams[view.stream];
    let plan = |column: &Column| ColumnPlan::new(stream, column.aggregate);
    view.columns.iter().map(plan).collect()
}

fn place(row: &WindowRow) -> (i64, i64, &[u8]) {
    (row.start_ms, row.end_ms, &row.group)
}

fn cursor(row: &WindowRow) -> WindowCursor {
    WindowCursor {
        start_ms: row.start_ms,
        end_ms: row.end_ms,
        group: row.group.clone(),
    }
}

/// Merges the shares of one row after the other, in memory that is used again.
struct Merger<'a> {
    columns: &'a [ColumnPlan],
    store: CellStore,
    merged: RowPartials,
}

impl<'a> Merger<'a> {
    fn new(columns: &'a [ColumnPlan]) -> Self {
        Self {
            columns,
            store: CellStore::new(columns),
            merged: RowPartials::default(),
        }
    }

    /// The values of the row that several shards have shares of; `None` if one is malformed.
    fn finish(&mut self, shares: &[WindowRow]) -> Option<Vec<ColumnValue>> {
        let is_valid = |share: &WindowRow| share.partials.is_valid(self.columns);
        if !shares.iter().all(is_valid) {
            return None;
        }
        let merged = match shares {
            [only] => &only.partials,
            _ => {
                let row = self.store.take();
                for share in shares {
                    self.store.merge(self.columns, row, &share.partials);
                }
                self.store.export(row, &mut self.merged);
                self.store.give_back(row);
                &self.merged
            }
        };
        merged
            .partials(self.columns)
            .map(|(column, cell, partial)| column.finish(cell, &partial))
            .collect()
    }
}
