//! Accumulators of view columns: mergeable partials, never finished numbers.
//!
//! Integers sum in 128 bits, so no order of events and no number of them overflows; `f64` sums
//! carry Neumaier's compensation. A mean is kept as sum and count. Least and greatest are kept in
//! an order-preserving encoding, the same for every type.

use crate::pipeline::{Aggregate, Stream};
use crate::query::Scalar;
use crate::row;
use crate::schema::{FieldType, Schema};
use crate::source::Source;
use crate::table::chunks::Chunks;
use crate::window::Accepted;

/// A type that can be summed or compared as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    U64,
    I64,
    F64,
    Time,
}

const SIGN: u64 = 1 << 63;

impl Number {
    pub(crate) fn of(kind: FieldType) -> Option<Self> {
        match kind {
            FieldType::U64 => Some(Self::U64),
            FieldType::I64 => Some(Self::I64),
            FieldType::F64 => Some(Self::F64),
            FieldType::Time => Some(Self::Time),
            FieldType::Bool | FieldType::Uuid | FieldType::Text(_) => None,
        }
    }

    /// The cell's bits as an unsigned number of the same order. Undone by [`Number::bits`].
    #[inline]
    pub(crate) fn ordered(self, bits: u64) -> u64 {
        match self {
            Self::U64 => bits,
            Self::I64 | Self::Time => bits ^ SIGN,
            Self::F64 => ordered_f64(bits),
        }
    }

    /// The bits that [`Number::ordered`] was given.
    #[inline]
    pub(crate) fn bits(self, ordered: u64) -> u64 {
        match self {
            Self::U64 => ordered,
            Self::I64 | Self::Time => ordered ^ SIGN,
            Self::F64 if ordered & SIGN != 0 => ordered ^ SIGN,
            Self::F64 => !ordered,
        }
    }

    pub(crate) fn scalar(self, bits: u64) -> Scalar {
        match self {
            Self::U64 => Scalar::U64(bits),
            Self::I64 => Scalar::I64(bits.cast_signed()),
            Self::Time => Scalar::Time(bits.cast_signed()),
            Self::F64 => finite_scalar(f64::from_bits(bits)),
        }
    }
}

#[inline]
fn ordered_f64(bits: u64) -> u64 {
    if bits & SIGN == 0 { bits ^ SIGN } else { !bits }
}

fn finite_scalar(value: f64) -> Scalar {
    if value.is_finite() {
        Scalar::F64(value + 0.0)
    } else {
        Scalar::Overflow
    }
}

/// A compensated sum: its value is `sum + compensation`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct CompensatedSum {
    pub(crate) sum: f64,
    pub(crate) compensation: f64,
}

impl CompensatedSum {
    #[inline]
    pub(crate) fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        self.compensation += if self.sum.abs() >= value.abs() {
            (self.sum - sum) + value
        } else {
            (value - sum) + self.sum
        };
        self.sum = sum;
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.add(other.sum);
        self.compensation += other.compensation;
    }

    #[inline]
    pub(crate) fn value(self) -> f64 {
        self.sum + self.compensation
    }
}

/// A partial of one column, group and window. What the words hold is up to the column.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
)]
pub struct Cell {
    /// Halves of an `i128`, sum and compensation of an `f64` sum, or one order-preserving number.
    pub words: [u64; 2],
    /// Values that went in; nulls did not, except into `count()`.
    pub count: u64,
}

#[inline]
fn wide(words: [u64; 2]) -> i128 {
    (u128::from(words[0]) | u128::from(words[1]) << 64).cast_signed()
}

#[inline]
fn words(wide: i128) -> [u64; 2] {
    let wide = wide.cast_unsigned();
    [wide as u64, (wide >> 64) as u64]
}

impl CompensatedSum {
    #[inline]
    pub(crate) fn from_words(words: [u64; 2]) -> Self {
        Self {
            sum: f64::from_bits(words[0]),
            compensation: f64::from_bits(words[1]),
        }
    }

    #[inline]
    pub(crate) fn to_words(self) -> [u64; 2] {
        [self.sum.to_bits(), self.compensation.to_bits()]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Count,
    Sum(Number),
    Mean(Number),
    Least(Number),
    Greatest(Number),
}

/// One column of a view, compiled: where its values come from and what to do with them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ColumnPlan {
    kind: Kind,
    source: Source,
}

impl ColumnPlan {
    pub(crate) fn new(stream: &Stream, aggregate: Aggregate) -> Self {
        let column = aggregate.field().unwrap_or(0);
        let number = || {
            Number::of(stream.column(column).kind)
                .expect("invariant: the pipeline checked the types of its columns")
        };
        let kind = match aggregate {
            Aggregate::Count => Kind::Count,
            Aggregate::Sum(_) => Kind::Sum(number()),
            Aggregate::Avg(_) => Kind::Mean(number()),
            Aggregate::Min(_) => Kind::Least(number()),
            Aggregate::Max(_) => Kind::Greatest(number()),
        };
        Self {
            kind,
            source: Source::new(stream, column),
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
        match self.kind {
            Kind::Count => {
                for &(_, group) in picks {
                    store.cell_mut(group, column).count += 1;
                }
            }
            Kind::Sum(Number::F64) | Kind::Mean(Number::F64) => {
                self.each(column, schema, batch, picks, store, |cell, bits| {
                    let mut sum = CompensatedSum::from_words(cell.words);
                    sum.add(f64::from_bits(bits) + 0.0);
                    cell.words = sum.to_words();
                });
            }
            Kind::Sum(Number::U64) | Kind::Mean(Number::U64) => {
                self.each(column, schema, batch, picks, store, |cell, bits| {
                    cell.words = words(wide(cell.words) + i128::from(bits));
                });
            }
            Kind::Sum(_) | Kind::Mean(_) => {
                self.each(column, schema, batch, picks, store, |cell, bits| {
                    cell.words = words(wide(cell.words) + i128::from(bits.cast_signed()));
                });
            }
            Kind::Least(number) => {
                self.each(column, schema, batch, picks, store, |cell, bits| {
                    let ordered = number.ordered(bits);
                    if cell.count == 0 || ordered < cell.words[0] {
                        cell.words[0] = ordered;
                    }
                });
            }
            Kind::Greatest(number) => {
                self.each(column, schema, batch, picks, store, |cell, bits| {
                    let ordered = number.ordered(bits);
                    if cell.count == 0 || ordered > cell.words[0] {
                        cell.words[0] = ordered;
                    }
                });
            }
        }
    }

    #[inline]
    fn each(
        &self,
        column: usize,
        schema: &Schema,
        batch: &Accepted<'_>,
        picks: &[(u32, u32)],
        store: &mut CellStore,
        op: impl Fn(&mut Cell, u64),
    ) {
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

    /// Adds the partial of another shard.
    pub(crate) fn merge(&self, into: &mut Cell, other: &Cell) {
        match self.kind {
            Kind::Count => {}
            Kind::Sum(Number::F64) | Kind::Mean(Number::F64) => {
                let mut sum = CompensatedSum::from_words(into.words);
                sum.merge(CompensatedSum::from_words(other.words));
                into.words = sum.to_words();
            }
            Kind::Sum(_) | Kind::Mean(_) => {
                into.words = words(wide(into.words) + wide(other.words));
            }
            Kind::Least(_) | Kind::Greatest(_) => {
                let least = matches!(self.kind, Kind::Least(_));
                let better = (other.words[0] < into.words[0]) == least;
                if into.count == 0 || (other.count > 0 && better) {
                    into.words = other.words;
                }
            }
        }
        into.count += other.count;
    }

    /// The finished number: null if no value went in, [`Scalar::Wide`] or [`Scalar::Overflow`] if
    /// it is beyond its type.
    pub(crate) fn finish(&self, cell: &Cell) -> Scalar {
        if self.kind == Kind::Count {
            return Scalar::U64(cell.count);
        }
        if cell.count == 0 {
            return Scalar::Null;
        }
        let compensated = CompensatedSum::from_words(cell.words).value();
        match self.kind {
            Kind::Count => Scalar::U64(cell.count),
            Kind::Sum(Number::F64) => finite_scalar(compensated),
            Kind::Mean(Number::F64) => finite_scalar(compensated / cell.count as f64),
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
        }
    }
}

/// The cells of all groups of all windows of a view; a group row is one cell per column.
///
/// Rows are reused, so that a steady flow of windows allocates nothing.
#[derive(Debug, Clone)]
pub(crate) struct CellStore {
    cells: Chunks<Cell>,
    columns: usize,
    free: Vec<u32>,
}

impl CellStore {
    pub(crate) fn new(columns: usize) -> Self {
        Self {
            cells: Chunks::new(),
            columns,
            free: Vec::new(),
        }
    }

    /// A row of empty cells.
    pub(crate) fn take(&mut self) -> u32 {
        if let Some(group) = self.free.pop() {
            for column in 0..self.columns {
                *self.cell_mut(group, column) = Cell::default();
            }
            return group;
        }
        let group = self.cells.len() / self.columns;
        self.cells
            .grow_to((group + 1) * self.columns, Cell::default());
        u32::try_from(group).expect("invariant: groups in memory are fewer than 2^32")
    }

    pub(crate) fn give_back(&mut self, group: u32) {
        self.free.push(group);
    }

    #[inline]
    fn cell_mut(&mut self, group: u32, column: usize) -> &mut Cell {
        self.cells.at_mut(group as usize * self.columns + column)
    }

    pub(crate) fn row(&self, group: u32) -> impl Iterator<Item = Cell> {
        let first = group as usize * self.columns;
        (first..first + self.columns).map(|index| *self.cells.at(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordered_numbers_keep_order_and_come_back() {
        let floats = [
            f64::MIN,
            -1e300,
            -2.0,
            -1.0,
            -1e-300,
            0.0,
            1e-300,
            0.5,
            1.0,
            f64::MAX,
        ];
        let bits: Vec<u64> = floats.iter().map(|v| v.to_bits()).collect();
        let integers = [i64::MIN, -2, -1, 0, 1, i64::MAX].map(i64::cast_unsigned);
        let cases: [(Number, &[u64]); 3] = [
            (Number::F64, &bits),
            (Number::I64, &integers),
            (Number::U64, &[0, 1, u64::MAX - 1, u64::MAX]),
        ];
        for (number, ascending) in cases {
            let ordered: Vec<u64> = ascending.iter().map(|&bits| number.ordered(bits)).collect();
            assert!(ordered.is_sorted_by(|a, b| a < b), "{number:?}");
            for (&bits, &ordered) in ascending.iter().zip(&ordered) {
                assert_eq!(number.bits(ordered), bits);
            }
        }
    }

    #[test]
    fn compensation_keeps_what_a_plain_sum_loses() {
        let mut sum = CompensatedSum::default();
        for value in [1.0, 1e100, 1.0, -1e100] {
            sum.add(value);
        }
        assert_eq!(sum.value(), 2.0);
    }
}
