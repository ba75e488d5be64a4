//! Values that are taken out of accumulators again: exactly, where that is possible at all.

use super::{Cell, CellStore, ColumnPlan, Kind, Number, number_of, wide, words};
use crate::schema::Schema;
use crate::sketch::float_sum::FloatSum;
use crate::sketch::slab::{Block, Slab};
use crate::source::CELL_BYTES_MAX;
use crate::window::Accepted;

impl ColumnPlan {
    /// Takes the value of the one event of `event` out of a cell again. Columns that cannot do this
    /// stand in no view that says it can.
    pub(crate) fn take_back(
        &self,
        column: usize,
        schema: &Schema,
        event: &Accepted<'_>,
        group: u32,
        store: &mut CellStore,
    ) {
        if self.kind == Kind::Count {
            let cell = store.cell_mut(group, column);
            cell.count = cell.count.saturating_sub(1);
            return;
        }
        let mut buffer = [0; CELL_BYTES_MAX];
        let value = self
            .source
            .cell(schema, event, 0, self.value_type, &mut buffer);
        let Some(value) = value else { return };
        match self.kind {
            Kind::Sum(Number::F64) | Kind::Mean(Number::F64) => {
                let (cell, slab) = store.block_cell_mut(group, column);
                FloatSum.add(cell, slab, -(f64::from_bits(number_of(value)) + 0.0));
                one_less(cell, slab);
            }
            Kind::Quantile(quantile) => {
                let (cell, slab) = store.block_cell_mut(group, column);
                quantile.remove(cell, slab, number_of(value));
                one_less(cell, slab);
            }
            Kind::Sum(number) | Kind::Mean(number) => {
                let bits = number_of(value);
                let value = match number {
                    Number::U64 => i128::from(bits),
                    _ => i128::from(bits.cast_signed()),
                };
                let cell = store.cell_mut(group, column);
                cell.words = words(wide(cell.words) - value);
                cell.count = cell.count.saturating_sub(1);
            }
            Kind::Count
            | Kind::Least(_)
            | Kind::Greatest(_)
            | Kind::Edge(_)
            | Kind::Distinct(_)
            | Kind::Top(_) => {}
        }
    }
}

/// Takes one off the count. A cell without values has no block.
fn one_less(cell: &mut Cell, slab: &mut Slab) {
    cell.count = cell.count.saturating_sub(1);
    if cell.count == 0 {
        slab.give_back(Block::of_word(cell.words[0]));
        cell.words = [0; 2];
    }
}
