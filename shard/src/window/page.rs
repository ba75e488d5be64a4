//! What is asked of the windows of a view, and the answer as it grows.

use crate::aggregate::{CellStore, ColumnPlan, RowPartials};
use crate::query::{WindowCursor, WindowRow};

/// Parts of rows that an answer looks at, more or less: then it is cut.
pub(super) const WORK_MAX: usize = 1_000_000;

/// Which rows are wanted: those of windows that start in `[from_ms, to_ms)`, by start, end and
/// group bytes, behind `after`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
    pub(crate) after: Option<&'a WindowCursor>,
    /// At most so many,
    pub(crate) limit: usize,
    /// and no more once their blocks have so many words.
    pub(crate) block_words_max: usize,
}

/// The rows of an answer so far, and memory to merge their parts in.
pub(super) struct Page<'a> {
    pub(super) rows: Vec<WindowRow>,
    limit: usize,
    block_words: usize,
    block_words_max: usize,
    columns: &'a [ColumnPlan],
    merging: CellStore,
    part: RowPartials,
}

impl<'a> Page<'a> {
    pub(super) fn new(columns: &'a [ColumnPlan], ask: &Ask<'_>) -> Self {
        Self {
            rows: Vec::new(),
            limit: ask.limit,
            block_words: 0,
            block_words_max: ask.block_words_max,
            columns,
            merging: CellStore::new(columns),
            part: RowPartials::default(),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= self.limit || self.block_words >= self.block_words_max
    }

    /// Rows that there is room for.
    pub(super) fn wanted(&self) -> usize {
        self.limit - self.rows.len()
    }

    pub(super) fn push(&mut self, row: WindowRow) {
        self.block_words += row.partials.blocks.len();
        self.rows.push(row);
    }

    /// The merge of some rows of a store.
    pub(super) fn merge(
        &mut self,
        store: &CellStore,
        rows: impl ExactSizeIterator<Item = u32>,
    ) -> RowPartials {
        let mut partials = RowPartials::default();
        if rows.len() == 1 {
            rows.for_each(|only| store.export(only, &mut partials));
            return partials;
        }
        let merged = self.merging.take();
        for row in rows {
            store.export(row, &mut self.part);
            self.merging.merge(self.columns, merged, &self.part);
        }
        self.merging.export(merged, &mut partials);
        self.merging.give_back(merged);
        partials
    }
}
