//! Accumulators of view columns: mergeable partials, never finished numbers.
//!
//! Integers sum in 128 bits, so no order of events and no number of them overflows. A mean is kept
//! as sum and count. Least and greatest are kept in an order-preserving encoding, the same for
//! every type. What needs more than a cell is in [`crate::sketch`].

mod compensated;
mod number;
mod retract;
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
use crate::source::{CELL_BYTES_MAX, Source};
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

/// The bits of a cell of 8 bytes.
#[inline]
fn number_of(cell: &[u8]) -> u64 {
    row::read_u64(cell, 0)
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

/// One column of a view, compiled: where its values come from and what to do with them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ColumnPlan {
    kind: Kind,
    source: Source,
    value_type: FieldType,
    /// Where the event time lies.
    time_offset: u16,
}

/// What goes into a column: pairs of a row's index and the group row that it belongs to.
struct Feed<'a> {
    column: usize,
    schema: &'a Schema,
    batch: &'a Accepted<'a>,
    picks: &'a [(u32, u32)],
}

impl ColumnPlan {
    pub(crate) fn new(stream: &Stream, aggregate: Aggregate) -> Self {
        let column = aggregate.field().unwrap_or(0);
        let value_type = stream.column(column).kind;
        let number = || {
            Number::of(value_type)
                .expect("invariant: the pipeline checked the types of its columns")
        };
        let edge = |is_last| {
            Kind::Edge(Edge {
                is_last,
                kind: value_type,
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
                kind: value_type,
                k: usize::from(k),
            }),
        };
        Self {
            kind,
            source: Source::new(stream, column),
            value_type,
            time_offset: stream.schema.fields[stream.time.field].offset,
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
        let feed = Feed {
            column,
            schema,
            batch,
            picks,
        };
        match self.kind {
            Kind::Count => {
                for &(_, group) in picks {
                    store.cell_mut(group, column).count += 1;
                }
            }
            Kind::Sum(Number::F64) | Kind::Mean(Number::F64) => {
                self.accumulate_blocks(&feed, store);
            }
            Kind::Sum(Number::U64) | Kind::Mean(Number::U64) => {
                self.each(&feed, store, |cell, bits| {
                    cell.words = words(wide(cell.words) + i128::from(bits));
                });
            }
            Kind::Sum(_) | Kind::Mean(_) => {
                self.each(&feed, store, |cell, bits| {
                    cell.words = words(wide(cell.words) + i128::from(bits.cast_signed()));
                });
            }
            Kind::Least(number) => {
                self.each(&feed, store, |cell, bits| {
                    let ordered = number.ordered(bits);
                    if cell.count == 0 || ordered < cell.words[0] {
                        cell.words[0] = ordered;
                    }
                });
            }
            Kind::Greatest(number) => {
                self.each(&feed, store, |cell, bits| {
                    let ordered = number.ordered(bits);
                    if cell.count == 0 || ordered > cell.words[0] {
                        cell.words[0] = ordered;
                    }
                });
            }
            _ => self.accumulate_blocks(&feed, store),
        }
    }

    /// The same for what lives in blocks.
    fn accumulate_blocks(&self, feed: &Feed<'_>, store: &mut CellStore) {
        let mut buffer = [0; VALUE_WORDS_MAX];
        match self.kind {
            Kind::Sum(_) | Kind::Mean(_) => {
                self.each_value(feed, store, |cell, slab, _, value| {
                    FloatSum.add(cell, slab, f64::from_bits(number_of(value)) + 0.0);
                });
            }
            Kind::Quantile(quantile) => {
                self.each_value(feed, store, |cell, slab, _, value| {
                    quantile.add(cell, slab, number_of(value));
                });
            }
            Kind::Distinct(distinct) => {
                self.each_value(feed, store, |cell, slab, _, value| {
                    distinct.add(cell, slab, self.hash(value));
                });
            }
            Kind::Edge(edge) => {
                self.each_value(feed, store, |cell, slab, index, value| {
                    let words = read_words(self.value_type, value, &mut buffer);
                    edge.add(cell, slab, self.order(feed, index), words);
                });
            }
            Kind::Top(top) => {
                self.each_value(feed, store, |cell, slab, _, value| {
                    let words = read_words(self.value_type, value, &mut buffer);
                    top.add(cell, slab, words);
                });
            }
            Kind::Count | Kind::Least(_) | Kind::Greatest(_) => {
                unreachable!("these have no blocks")
            }
        }
    }

    #[inline]
    fn each(&self, feed: &Feed<'_>, store: &mut CellStore, op: impl Fn(&mut Cell, u64)) {
        let &Feed {
            column,
            schema,
            batch,
            picks,
        } = feed;
        let mut add = |group, bits| {
            let cell = store.cell_mut(group, column);
            op(cell, bits);
            cell.count += 1;
        };
        match self.source {
            Source::Cell { offset, optional } => {
                let row_bytes = schema.row_len();
                for &(index, group) in picks {
                    let at = index as usize * row_bytes;
                    let row = &batch.rows[at..at + row_bytes];
                    if optional.is_some_and(|field| schema.is_null(row, field)) {
                        continue;
                    }
                    add(group, row::read_u64(row, offset));
                }
            }
            Source::Computed(source) => {
                for &(index, group) in picks {
                    if let Some(bits) = batch.computed.bits(source, index as usize) {
                        add(group, bits);
                    }
                }
            }
        }
    }

    /// The same for columns with blocks; `op` gets the index of the row and the value as the cell
    /// of a field would hold it.
    #[inline]
    fn each_value(
        &self,
        feed: &Feed<'_>,
        store: &mut CellStore,
        mut op: impl FnMut(&mut Cell, &mut Slab, u32, &[u8]),
    ) {
        let &Feed {
            column,
            schema,
            batch,
            picks,
        } = feed;
        let mut buffer = [0; CELL_BYTES_MAX];
        for &(index, group) in picks {
            let value = self
                .source
                .cell(schema, batch, index, self.value_type, &mut buffer);
            let Some(value) = value else { continue };
            let (cell, slab) = store.block_cell_mut(group, column);
            op(cell, slab, index, value);
            cell.count += 1;
        }
    }

    /// XXH3-64 of the canonical bytes of the value.
    #[inline]
    fn hash(&self, value: &[u8]) -> u64 {
        use xxhash_rust::xxh3::xxh3_64;
        match self.value_type {
            FieldType::F64 => {
                let number = f64::from_bits(number_of(value)) + 0.0;
                xxh3_64(&number.to_le_bytes())
            }
            FieldType::Text(_) => xxh3_64(&value[1..1 + usize::from(value[0])]),
            _ => xxh3_64(value),
        }
    }

    /// Event time, then recorded order.
    #[inline]
    fn order(&self, feed: &Feed<'_>, index: u32) -> [u64; ORDER_WORDS] {
        let Feed { schema, batch, .. } = feed;
        let row = &batch.rows[index as usize * schema.row_len()..];
        let time_ms = row::read_u64(row, self.time_offset);
        [
            Number::Time.ordered(time_ms),
            batch.origin.stamp_ns,
            u64::from(batch.origin.log_stream) << 32 | u64::from(index),
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
