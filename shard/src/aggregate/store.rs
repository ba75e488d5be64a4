//! The cells of a view, and the form in which they travel.

use super::ColumnPlan;
use crate::sketch::Partial;
use crate::sketch::slab::{Block, Slab};
use crate::table::chunks::Chunks;

/// A partial of one column, group and window. What the words hold is up to the column.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
)]
pub struct Cell {
    /// Halves of an `i128`, one order-preserving number, or a block and a word of its state.
    pub words: [u64; 2],
    /// Values that went in; nulls did not, except into `count()`.
    pub count: u64,
}

/// The partials of one group of one window, on their own.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
)]
pub struct RowPartials {
    /// One per column. The first word of a cell with a block is the length of the block in words.
    pub cells: Vec<Cell>,
    /// The words of the blocks, column after column.
    pub blocks: Vec<u64>,
}

impl RowPartials {
    /// Each column's cell and its partial; an empty one where there is no block.
    ///
    /// What does not fit together ends the iteration early.
    pub(crate) fn partials<'a>(
        &'a self,
        columns: &'a [ColumnPlan],
    ) -> impl Iterator<Item = (&'a ColumnPlan, &'a Cell, Partial<'a>)> {
        let mut rest = &self.blocks[..];
        columns
            .iter()
            .zip(&self.cells)
            .map_while(move |(column, cell)| {
                let length = match column.sketch() {
                    Some(_) => usize::try_from(cell.words[0]).ok()?,
                    None => 0,
                };
                let words;
                (words, rest) = rest.split_at_checked(length)?;
                let (state, count) = (cell.words[1], cell.count);
                let partial = Partial {
                    words,
                    state,
                    count,
                };
                Some((column, cell, partial))
            })
    }

    /// Whether a shard with such columns may have these partials.
    pub(crate) fn is_valid(&self, columns: &[ColumnPlan]) -> bool {
        let (mut valid, mut words) = (0, 0);
        for (column, cell, partial) in self.partials(columns) {
            let fits = match column.sketch() {
                None => true,
                Some(_) if cell.count == 0 => cell.words == [0; 2],
                Some(sketch) => sketch.is_valid(&partial),
            };
            valid += usize::from(fits);
            words += partial.words.len();
        }
        (valid, self.cells.len(), words) == (columns.len(), columns.len(), self.blocks.len())
    }

    /// Appends words that are equal for equal sets of values.
    pub(crate) fn canonical(&self, columns: &[ColumnPlan], out: &mut Vec<u64>) {
        for (column, cell, partial) in self.partials(columns) {
            out.push(cell.count);
            match column.sketch() {
                None => out.extend(cell.words),
                Some(_) if cell.count == 0 => {}
                Some(sketch) => sketch.canonical(&partial, out),
            }
        }
    }
}

/// The cells of all groups of all windows of a view; a group row is one cell per column.
///
/// Rows and the blocks of their cells are reused, so that a steady flow of windows allocates
/// nothing.
#[derive(Debug, Clone)]
pub(crate) struct CellStore {
    cells: Chunks<Cell>,
    /// Per column.
    slabs: Vec<Slab>,
    free: Vec<u32>,
}

impl CellStore {
    pub(crate) fn new(columns: &[ColumnPlan]) -> Self {
        let unit = |column: &ColumnPlan| column.sketch().map_or(0, |sketch| sketch.unit_words());
        Self {
            cells: Chunks::new(),
            slabs: columns
                .iter()
                .map(|column| Slab::new(unit(column)))
                .collect(),
            free: Vec::new(),
        }
    }

    fn columns(&self) -> usize {
        self.slabs.len().max(1)
    }

    /// A row of empty cells.
    pub(crate) fn take(&mut self) -> u32 {
        let columns = self.columns();
        if let Some(group) = self.free.pop() {
            for column in 0..columns {
                *self.cell_mut(group, column) = Cell::default();
            }
            return group;
        }
        let group = self.cells.len() / columns;
        self.cells.grow_to((group + 1) * columns, Cell::default());
        u32::try_from(group).expect("invariant: groups in memory are fewer than 2^32")
    }

    /// Rows that there are, taken or not.
    #[cfg(test)]
    pub(crate) fn rows_made(&self) -> usize {
        self.cells.len() / self.columns()
    }

    pub(crate) fn give_back(&mut self, group: u32) {
        let first = group as usize * self.columns();
        for (column, slab) in self.slabs.iter_mut().enumerate() {
            if slab.is_used() {
                slab.give_back(Block::of_word(self.cells.at(first + column).words[0]));
            }
        }
        self.free.push(group);
    }

    #[inline]
    pub(crate) fn cell_mut(&mut self, group: u32, column: usize) -> &mut Cell {
        let index = group as usize * self.columns() + column;
        self.cells.at_mut(index)
    }

    /// A cell and the slab of its block.
    #[inline]
    pub(crate) fn block_cell_mut(&mut self, group: u32, column: usize) -> (&mut Cell, &mut Slab) {
        let index = group as usize * self.columns() + column;
        (self.cells.at_mut(index), &mut self.slabs[column])
    }

    /// Copies a row out, over what `row` held.
    pub(crate) fn export(&self, group: u32, row: &mut RowPartials) {
        row.cells.clear();
        row.blocks.clear();
        let first = group as usize * self.columns();
        for (column, slab) in self.slabs.iter().enumerate() {
            let mut cell = *self.cells.at(first + column);
            if slab.is_used() {
                let words = slab.words(Block::of_word(cell.words[0]));
                row.blocks.extend_from_slice(words);
                cell.words[0] = words.len() as u64;
            }
            row.cells.push(cell);
        }
    }

    /// Merges partials of the same columns, which must be valid, into a row.
    pub(crate) fn merge(&mut self, columns: &[ColumnPlan], group: u32, row: &RowPartials) {
        for (index, (column, cell, partial)) in row.partials(columns).enumerate() {
            let (into, slab) = self.block_cell_mut(group, index);
            match column.sketch() {
                Some(sketch) if cell.count > 0 => sketch.merge(into, slab, &partial),
                Some(_) => {}
                None => column.merge(into, cell),
            }
            into.count = into.count.saturating_add(cell.count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::Origin;
    use crate::expression::Evaluated;
    use crate::pipeline::{Aggregate, Pipeline};
    use crate::watermark::ClockMove;
    use crate::window::Accepted;

    const PIPELINE: &str = r#"
        ringmill = 1
        [stream.s]
        key = "k"
        time = { field = "at" }
        [stream.s.fields]
        k = { id = 1, type = "u64" }
        at = { id = 2, type = "time" }
        x = { id = 3, type = "f64" }
    "#;

    #[test]
    fn rows_that_come_back_bring_their_blocks() {
        let pipeline = Pipeline::parse(PIPELINE).unwrap();
        let stream = &pipeline.streams[0];
        let (q_ppm, within_ppm) = (500_000, 100_000);
        let aggregates = [
            Aggregate::Count,
            Aggregate::Sum(2),
            Aggregate::First(2),
            Aggregate::Distinct {
                field: 0,
                within_ppm,
            },
            Aggregate::Quantile {
                field: 2,
                q_ppm,
                within_ppm,
            },
            Aggregate::Top { field: 0, k: 3 },
        ];
        let columns = aggregates.map(|aggregate| ColumnPlan::new(stream, aggregate));
        let row_bytes = stream.schema.row_len();
        let mut rows = vec![0; 600 * row_bytes];
        for (index, row) in rows.chunks_exact_mut(row_bytes).enumerate() {
            let number = index as u64;
            let cells = [number, 0, (number as f64).powi(9).to_bits()];
            for (field, bits) in stream.schema.fields.iter().zip(cells) {
                let at = usize::from(field.offset);
                row[at..at + 8].copy_from_slice(&bits.to_le_bytes());
            }
        }
        let computed = Evaluated::default();
        let batch = Accepted {
            rows: &rows,
            members: &[],
            computed: &computed,
            picks: &[],
            times_ms: &[],
            watermark_ms: 0,
            origin: Origin {
                stamp_ns: 1,
                log_stream: 0,
                lsn: 1,
            },
            clock_move: ClockMove::NONE,
        };
        let mut store = CellStore::new(&columns);
        let (mut blocks, mut first) = (None, RowPartials::default());
        for round in 0..5 {
            let groups: Vec<u32> = (0..4).map(|_| store.take()).collect();
            let picks: Vec<(u32, u32)> = (0..600)
                .map(|index| (index, groups[index as usize % 4]))
                .collect();
            for (column, plan) in columns.iter().enumerate() {
                plan.accumulate(column, &stream.schema, &batch, &picks, &mut store);
            }
            let mut row = RowPartials::default();
            store.export(groups[0], &mut row);
            assert!(row.is_valid(&columns));
            if round == 0 {
                first = row.clone();
            }
            assert_eq!(row, first, "an earlier row shows through in round {round}");
            groups.into_iter().for_each(|group| store.give_back(group));
            let made: usize = store.slabs.iter().map(Slab::blocks).sum();
            assert_eq!(*blocks.get_or_insert(made), made, "round {round}");
        }
    }
}
