//! A guess at the bucket of a key: one load instead of a search.
//!
//! Scores are cut into cells of equal width; a cell remembers the bucket that its last search
//! found. Guesses are checked against the bucket's own bounds, so a cell may be stale or shared by
//! scores far apart: that costs a search, which puts it right.

use super::bucket::NO_BUCKET;

/// Cells per bucket: enough that a cell seldom meets a border.
const CELLS_PER_BUCKET: usize = 4;
const CELLS_MIN: usize = 64;
const CELLS_MAX: usize = 1 << 20;
/// So many misses per cell call for another width. Filling the cells takes one each.
const MISSES_PER_CELL: usize = 8;

#[derive(Debug, Clone)]
pub(super) struct Guide {
    /// A power of two of them.
    cells: Vec<u32>,
    /// log2 of the width of a cell.
    shift: u32,
    misses: usize,
}

impl Guide {
    pub(super) fn new() -> Self {
        Self {
            cells: vec![NO_BUCKET; CELLS_MIN],
            shift: 0,
            misses: 0,
        }
    }

    #[inline]
    fn cell(&self, first_word: u64) -> usize {
        (first_word >> self.shift) as usize & (self.cells.len() - 1)
    }

    /// The bucket that a key with this first word was last found in, perhaps.
    #[inline]
    pub(super) fn guess(&self, first_word: u64) -> u32 {
        self.cells[self.cell(first_word)]
    }

    /// Remembers what a search found; true if searches are so many that a new width may help.
    pub(super) fn learn(&mut self, first_word: u64, bucket: u32) -> bool {
        let cell = self.cell(first_word);
        self.cells[cell] = bucket;
        self.misses += 1;
        self.misses >= self.cells.len() * MISSES_PER_CELL
    }

    /// Takes the width that suits so many buckets between these first words.
    pub(super) fn fit(&mut self, buckets: usize, least: u64, greatest: u64) {
        self.misses = 0;
        let cells = (buckets * CELLS_PER_BUCKET)
            .next_power_of_two()
            .clamp(CELLS_MIN, CELLS_MAX);
        let range_bits = u64::BITS - (greatest - least).leading_zeros();
        let shift = range_bits.saturating_sub(cells.trailing_zeros());
        if cells != self.cells.len() || shift != self.shift {
            self.cells.clear();
            self.cells.resize(cells, NO_BUCKET);
            self.shift = shift;
        }
    }
}
