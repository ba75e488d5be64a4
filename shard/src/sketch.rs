//! Partials that do not fit in a cell: exact sums of `f64`, first and last values, and sketches.
//!
//! Each lives in a block of words in its column's [`slab::Slab`]; the cell holds the block and one
//! word of state. Everything here is a function of the *set* of values that went in (`top` once it
//! has dropped values excepted, see there), so the number of shards, the order of events and replay
//! change nothing. A partial of another shard arrives as the words of its block and is checked as a
//! whole before it is merged, so that merging and finishing cannot fail on its content.

pub(crate) mod distinct;
pub(crate) mod edge;
pub(crate) mod float_sum;
pub(crate) mod quantile;
pub(crate) mod slab;
pub(crate) mod top;
pub(crate) mod words;

use crate::aggregate::Cell;
use slab::Slab;

/// A partial as it stands in a block or has come from another shard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Partial<'a> {
    pub(crate) words: &'a [u64],
    pub(crate) state: u64,
    /// Values that went in.
    pub(crate) count: u64,
}

/// A kind of partial that lives in a block. The cell's count is kept by the caller.
pub(crate) trait Sketch {
    /// Words of the smallest block.
    fn unit_words(&self) -> usize;

    /// Bytes of the block that so many different values need, at most.
    fn block_bytes(&self, values: u64) -> u64 {
        let _ = values;
        self.unit_words() as u64 * 8
    }

    /// Whether the words are what a shard may have; all other functions rely on it.
    fn is_valid(&self, partial: &Partial<'_>) -> bool;

    /// Adds a partial of the same column that is not empty.
    fn merge(&self, cell: &mut Cell, slab: &mut Slab, other: &Partial<'_>);

    /// Appends words that are equal for equal sets of values.
    fn canonical(&self, partial: &Partial<'_>, out: &mut Vec<u64>);
}

/// Slots of a table that is filled to three quarters, with so many entries.
fn slots_for(entries: u64, slots_max: usize) -> u64 {
    let slots_max = slots_max as u64;
    (entries.min(slots_max) * 4 / 3 + 1)
        .next_power_of_two()
        .min(slots_max)
}

#[cfg(test)]
mod tests;
