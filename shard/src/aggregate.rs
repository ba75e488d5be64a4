//! Accumulators of view columns: mergeable partials, never finished numbers.
//!
//! Integers sum in 128 bits, so no order of events and no number of them overflows. A mean is kept
//! as sum and count. Least and greatest are kept in an order-preserving encoding, the same for
//! every type. What needs more than a cell is in [`crate::sketch`].

mod compensated;
mod number;
mod store;

pub(crate) use compensated::CompensatedSum;
pub(crate) use number::Number;
use number::finite_scalar;
pub(crate) use store::CellStore;
pub use store::{Cell, RowPartials};

use crate::merge::ColumnValue;
use crate::pipeline::{Aggregate, Stream};
use crate::query::Scalar;
use crate::row;
use crate::schema::{FieldType, Schema};
use crate::sketch::distinct::Distinct;
use crate::sketch::edge::{Edge, ORDER_WORDS};
use crate::sketch::float_sum::FloatSum;
use crate::sketch::quantile::Quantile;
use crate::sketch::slab::Slab;
use crate::sketch::top::Top;
use crate::sketch::words::{VALUE_WORDS_MAX, read_words};
use crate::sketch::{Partial, Sketch};
use crate::window::Accepted;

#[inline]
fn wide(words: [u64; 2]) -> i128 {
    (u128::from(words[0]) | u128::from(words[1]) << 64).cast_signed()
}

#[inline]
fn words(wide: i128) -> [u64; 2] {
    let wide = wide.cast_unsigned();
    [wide as u64, (wide >> 64) as u64]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Count,
    Sum(Number),
    Mean(Number),
    Least(Number),
    Greatest(Number),
    Edge(Edge),
    Distinct(Distinct),
    Quantile(Quantile),
    Top(Top),
}

/// One column of a view, compiled: where its field lies and what to do with it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ColumnPlan {
    kind: Kind,
    field: usize,
    field_type: FieldType,
    offset: u16,
    optional: bool,
    /// Where the event time lies.
    time_offset: u16,
}

impl ColumnPlan {
    pub(crate) fn new(stream: &Stream, aggregate: Aggregate) -> Self {
        let schema = &stream.schema;
        let field = aggregate.field().unwrap_or(0);
        let field_type = schema.fields[field].kind;
        let number = || {
            Number::of(field_type)
                .expect("invariant: the pipeline checked the types of its columns")
        };
        let edge = |is_last| {
            Kind::Edge(Edge {
                is_last,
                kind: field_type,
            })
        };
        let kind = match aggregate {
            Aggregate::Count => Kind::Count,
            Aggregate::Sum(_) => Kind::Sum(number()),
            Aggregate::Avg(_) => Kind::Mean(number()),
            Aggregate::Min(_) => Kind::Least(number()),
            Aggregate::Max(_) => Kind::Greatest(number()),
            Aggregate::First(_) => edge(false),
            Aggregate::Last(_) => edge(true),
            Aggregate::Distinct { within_ppm, .. } => Kind::Distinct(Distinct::within(within_ppm)),
            Aggregate::Quantile {
                q_ppm, within_ppm, ..
            } => Kind::Quantile(Quantile::new(number(), q_ppm, within_ppm)),
            Aggregate::Top { k, .. } => Kind::Top(Top {
                kind: field_type,
                k: usize::from(k),
            }),
        };
        let optional = aggregate.field().is_some() && schema.fields[field].optional;
        Self {
            kind,
            field,
            field_type,
            offset: schema.fields[field].offset,
            optional,
            time_offset: schema.fields[stream.time.field].offset,
        }
    }

    /// What the column keeps in a block, if it does.
    pub(crate) fn sketch(&self) -> Option<&dyn Sketch> {
        match &self.kind {
            Kind::Sum(Number::F64) | Kind::Mean(Number::F64) => Some(&FloatSum),
            Kind::Edge(edge) => Some(edge),
            Kind::Distinct(distinct) => Some(distinct),
            Kind::Quantile(quantile) => Some(quantile),
            Kind::Top(top) => Some(top),
            _ => None,
        }
    }

    /// Accumulates `picks`, pairs of a row index and the group row of `store` that it belongs to,
    /// into column `column`.
    ///
    /// The match stands outside of the loop, so that each loop is a tight one of its own.
    pub(crate) fn accumulate(
        &self,
        column: usize,
        schema: &Schema,
        batch: &Accepted<'_>,
        picks: &[(u32, u32)],
        store: &mut CellStore,
    ) {
        let rows = batch.rows;
        match self.kind {
            Kind::Count => {
                for &(_, group) in picks {
                    store.cell_mut(group, column).count += 1;
                }
            }
            Kind::Sum(Number::F64) | Kind::Mean(Number::F64) => {
                self.accumulate_blocks(column, schema, batch, picks, store);
            }
            Kind::Sum(Number::U64) | Kind::Mean(Number::U64) => {
                self.each(column, schema, rows, picks, store, |cell, bits| {
                    cell.words = words(wide(cell.words) + i128::from(bits));
                });
            }
            Kind::Sum(_) | Kind::Mean(_) => {
                self.each(column, schema, rows, picks, store, |cell, bits| {
                    cell.words = words(wide(cell.words) + i128::from(bits.cast_signed()));
                });
            }
            Kind::Least(number) => {
                self.each(column, schema, rows, picks, store, |cell, bits| {
                    let ordered = number.ordered(bits);
                    if cell.count == 0 || ordered < cell.words[0] {
                        cell.words[0] = ordered;
                    }
                });
            }
            Kind::Greatest(number) => {
                self.each(column, schema, rows, picks, store, |cell, bits| {
                    let ordered = number.ordered(bits);
                    if cell.count == 0 || ordered > cell.words[0] {
                        cell.words[0] = ordered;
                    }
                });
            }
            _ => self.accumulate_blocks(column, schema, batch, picks, store),
        }
    }

    /// The same for what lives in blocks.
    fn accumulate_blocks(
        &self,
        column: usize,
        schema: &Schema,
        batch: &Accepted<'_>,
        picks: &[(u32, u32)],
        store: &mut CellStore,
    ) {
        let rows = batch.rows;
        match self.kind {
            Kind::Sum(_) | Kind::Mean(_) => {
                self.each_block(column, schema, rows, picks, store, |cell, slab, _, row| {
                    FloatSum.add(cell, slab, row::read_f64(row, self.offset));
                });
            }
            Kind::Quantile(quantile) => {
                self.each_block(column, schema, rows, picks, store, |cell, slab, _, row| {
                    quantile.add(cell, slab, row::read_u64(row, self.offset));
                });
            }
            Kind::Distinct(distinct) => {
                self.each_block(column, schema, rows, picks, store, |cell, slab, _, row| {
                    distinct.add(cell, slab, self.hash(schema, row));
                });
            }
            Kind::Edge(edge) => {
                let mut buffer = [0; VALUE_WORDS_MAX];
                self.each_block(
                    column,
                    schema,
                    rows,
                    picks,
                    store,
                    |cell, slab, index, row| {
                        let value = read_words(self.field_type, self.cell_of(row), &mut buffer);
                        edge.add(cell, slab, self.order(batch, index, row), value);
                    },
                );
            }
            Kind::Top(top) => {
                let mut buffer = [0; VALUE_WORDS_MAX];
                self.each_block(column, schema, rows, picks, store, |cell, slab, _, row| {
                    let value = read_words(self.field_type, self.cell_of(row), &mut buffer);
                    top.add(cell, slab, value);
                });
            }
            Kind::Count | Kind::Least(_) | Kind::Greatest(_) => {
                unreachable!("these have no blocks")
            }
        }
    }

    #[inline]
    fn each(
        &self,
        column: usize,
        schema: &Schema,
        rows: &[u8],
        picks: &[(u32, u32)],
        store: &mut CellStore,
        op: impl Fn(&mut Cell, u64),
    ) {
        let row_bytes = schema.row_len();
        for &(index, group) in picks {
            let at = index as usize * row_bytes;
            let row = &rows[at..at + row_bytes];
            if self.optional && schema.is_null(row, self.field) {
                continue;
            }
            let cell = store.cell_mut(group, column);
            op(cell, row::read_u64(row, self.offset));
            cell.count += 1;
        }
    }

    /// The same for columns with blocks; `op` gets the index of the row and the row.
    #[inline]
    fn each_block(
        &self,
        column: usize,
        schema: &Schema,
        rows: &[u8],
        picks: &[(u32, u32)],
        store: &mut CellStore,
        mut op: impl FnMut(&mut Cell, &mut Slab, u32, &[u8]),
    ) {
        let row_bytes = schema.row_len();
        for &(index, group) in picks {
            let at = index as usize * row_bytes;
            let row = &rows[at..at + row_bytes];
            if self.optional && schema.is_null(row, self.field) {
                continue;
            }
            let (cell, slab) = store.block_cell_mut(group, column);
            op(cell, slab, index, row);
            cell.count += 1;
        }
    }

    #[inline]
    fn cell_of<'r>(&self, row: &'r [u8]) -> &'r [u8] {
        let at = usize::from(self.offset);
        &row[at..at + self.field_type.cell_bytes()]
    }

    /// XXH3-64 of the canonical bytes of the value.
    #[inline]
    fn hash(&self, schema: &Schema, row: &[u8]) -> u64 {
        use xxhash_rust::xxh3::xxh3_64;
        match self.field_type {
            FieldType::F64 => xxh3_64(&row::read_f64(row, self.offset).to_le_bytes()),
            FieldType::U64 | FieldType::I64 | FieldType::Time => {
                xxh3_64(&row::read_u64(row, self.offset).to_le_bytes())
            }
            _ => xxh3_64(schema.canonical_bytes(row, self.field)),
        }
    }

    /// Event time, then recorded order.
    #[inline]
    fn order(&self, batch: &Accepted<'_>, index: u32, row: &[u8]) -> [u64; ORDER_WORDS] {
        let time_ms = row::read_u64(row, self.time_offset);
        [
            Number::Time.ordered(time_ms),
            batch.stamp_ns,
            u64::from(batch.log_stream) << 32 | u64::from(index),
        ]
    }

    /// Adds the words of another shard's cell, of a column without a block.
    pub(crate) fn merge(&self, into: &mut Cell, other: &Cell) {
        match self.kind {
            Kind::Sum(_) | Kind::Mean(_) => {
                into.words = words(wide(into.words).wrapping_add(wide(other.words)));
            }
            Kind::Least(_) | Kind::Greatest(_) => {
                let least = matches!(self.kind, Kind::Least(_));
                let better = (other.words[0] < into.words[0]) == least;
                if into.count == 0 || (other.count > 0 && better) {
                    into.words = other.words;
                }
            }
            _ => {}
        }
    }

    /// The finished value: null if no value went in, [`Scalar::Wide`] or [`Scalar::Overflow`] if it
    /// is beyond its type. `None` if the partial is none of the column.
    pub(crate) fn finish(&self, cell: &Cell, partial: &Partial<'_>) -> Option<ColumnValue> {
        let scalar = match self.kind {
            Kind::Count => Scalar::U64(cell.count),
            Kind::Distinct(distinct) => {
                let (value, error) = distinct.finish(partial);
                return Some(ColumnValue::Estimate {
                    value: Scalar::U64(value),
                    error: Scalar::U64(error),
                });
            }
            Kind::Top(top) => {
                let (values, others_at_most) = top.finish(partial)?;
                return Some(ColumnValue::Frequent {
                    values,
                    others_at_most,
                });
            }
            _ if cell.count == 0 => Scalar::Null,
            Kind::Edge(edge) => return Some(ColumnValue::Value(edge.finish(partial)?)),
            Kind::Quantile(quantile) => {
                let (value, error) = quantile.finish(partial);
                return Some(ColumnValue::Estimate { value, error });
            }
            Kind::Sum(Number::F64) => finite_scalar(FloatSum.finish(partial)),
            Kind::Mean(Number::F64) => finite_scalar(FloatSum.finish(partial) / cell.count as f64),
            Kind::Sum(Number::U64) => {
                u64::try_from(wide(cell.words)).map_or(Scalar::Wide(wide(cell.words)), Scalar::U64)
            }
            Kind::Sum(_) => {
                i64::try_from(wide(cell.words)).map_or(Scalar::Wide(wide(cell.words)), Scalar::I64)
            }
            Kind::Mean(_) => finite_scalar(wide(cell.words) as f64 / cell.count as f64),
            Kind::Least(number) | Kind::Greatest(number) => {
                number.scalar(number.bits(cell.words[0]))
            }
        };
        Some(ColumnValue::Number(scalar))
    }
}
