//! Runs a program over a batch, column by column.
//!
//! A batch goes through in chunks that stay in the nearest cache: every step runs over a chunk
//! before the next step begins. Registers, columns and the arena of made-up texts are kept from
//! batch to batch, so nothing is allocated once they have grown.

use super::Expression;
use super::kernels::{self, Bytes, CHUNK, Register};
use super::plan::Op;
use super::program::{Program, Step};
use super::reason::{ErrorReason, state};
use crate::schema::{FieldType, Schema};
use crate::value::Value;

/// A column of the last batch.
#[derive(Clone, Debug, Default)]
struct Output {
    /// Bits of numbers, times and truths; references of texts and uuids.
    values: Vec<u64>,
    states: Vec<u8>,
    failed: bool,
}

/// The computed columns of a batch, by their place among the columns of the stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evaluated {
    outputs: Vec<Output>,
    texts: kernels::Texts,
}

impl Evaluated {
    /// The bits of a column at a row of the batch; `None` for null and errors.
    #[inline]
    pub(crate) fn bits(&self, column: usize, row: usize) -> Option<u64> {
        let output = &self.outputs[column];
        (output.states[row] == state::VALUE).then(|| output.values[row])
    }

    /// The bytes of a text or uuid column; `None` for null and errors.
    pub(crate) fn bytes<'a>(
        &'a self,
        rows: &'a [u8],
        column: usize,
        row: usize,
    ) -> Option<&'a [u8]> {
        let bits = self.bits(column, row)?;
        Some(self.texts.get(rows, Bytes(bits)))
    }

    /// Why a column has neither value nor null at a row.
    #[inline]
    pub(crate) fn error(&self, column: usize, row: usize) -> Option<ErrorReason> {
        state::reason(self.outputs[column].states[row])
    }

    /// Whether any row of the batch, accepted or not, has an error in a column.
    pub(crate) fn has_errors(&self, column: usize) -> bool {
        self.outputs[column].failed
    }
}

/// Computes columns of a stream.
#[derive(Clone, Debug, Default)]
pub struct Evaluator {
    program: Program,
    kinds: Vec<FieldType>,
    registers: Vec<Register>,
    evaluated: Evaluated,
}

impl Evaluator {
    /// An evaluator of `wanted` columns. Columns are the fields of the schema, then `computed`, of
    /// which each may use those before it.
    pub fn new(schema: &Schema, computed: &[&Expression], wanted: &[usize]) -> Self {
        let program = Program::new(schema, computed, wanted);
        let fields = schema.fields.iter().map(|field| field.kind);
        let kinds = fields.chain(computed.iter().map(|expression| expression.kind()));
        let mut evaluated = Evaluated::default();
        let mut registers = vec![Register::default(); program.steps.len()];
        for (step, register) in program.steps.iter().zip(&mut registers) {
            fill_constant(step, register, &mut evaluated.texts);
        }
        let kinds: Vec<_> = kinds.collect();
        if !program.outputs.is_empty() {
            evaluated.outputs.resize_with(kinds.len(), Output::default);
        }
        Self {
            program,
            kinds,
            registers,
            evaluated,
        }
    }

    /// Computes the columns of all rows of a batch. Rows that were not validated give values
    /// without meaning.
    ///
    /// # Panics
    /// If `rows` is not a whole number of rows of `schema`, the schema of [`Evaluator::new`].
    pub fn evaluate(&mut self, schema: &Schema, rows: &[u8]) {
        if self.program.outputs.is_empty() {
            return;
        }
        let row_bytes = schema.row_len();
        assert!(
            rows.len().is_multiple_of(row_bytes),
            "invariant: a batch is whole rows"
        );
        let count = rows.len() / row_bytes;
        self.evaluated.texts.clear();
        for &(column, _) in &self.program.outputs {
            let output = &mut self.evaluated.outputs[column];
            output.values.clear();
            output.states.clear();
            output.failed = false;
        }
        for first in (0..count).step_by(CHUNK) {
            let batch = kernels::Batch {
                schema,
                rows,
                first,
                count: (count - first).min(CHUNK),
            };
            self.run(&batch);
        }
    }

    fn run(&mut self, batch: &kernels::Batch<'_>) {
        for (index, step) in self.program.steps.iter().enumerate() {
            let (args, rest) = self.registers.split_at_mut(index);
            kernels::run(step, batch, args, &mut rest[0], &mut self.evaluated.texts);
        }
        for &(column, register) in &self.program.outputs {
            let (register, output) = (
                &self.registers[register],
                &mut self.evaluated.outputs[column],
            );
            let states = &register.states[..batch.count];
            output
                .values
                .extend_from_slice(&register.values[..batch.count]);
            output.states.extend_from_slice(states);
            output.failed |= states.iter().any(|&state| state >= state::FIRST_ERROR);
        }
    }

    /// The columns of the last batch.
    pub(crate) fn evaluated(&self) -> &Evaluated {
        &self.evaluated
    }

    /// The value of a column at a row of the last batch, whose rows are given again.
    ///
    /// # Panics
    /// If the column is none of those wanted, or the batch had no such row.
    pub fn value<'a>(
        &'a self,
        rows: &'a [u8],
        column: usize,
        row: usize,
    ) -> Result<Value<'a>, ErrorReason> {
        if let Some(reason) = self.evaluated.error(column, row) {
            return Err(reason);
        }
        let Some(bits) = self.evaluated.bits(column, row) else {
            return Ok(Value::Null);
        };
        let bytes = || self.evaluated.texts.get(rows, Bytes(bits));
        Ok(match self.kinds[column] {
            FieldType::U64 => Value::U64(bits),
            FieldType::I64 => Value::I64(bits.cast_signed()),
            FieldType::F64 => Value::F64(f64::from_bits(bits)),
            FieldType::Bool => Value::Bool(bits != 0),
            FieldType::Time => Value::Time(bits.cast_signed()),
            FieldType::Uuid => Value::Uuid(bytes().try_into().unwrap_or_default()),
            FieldType::Text(_) => Value::Text(std::str::from_utf8(bytes()).unwrap_or_default()),
        })
    }
}

/// Constants stand in their registers from the start.
fn fill_constant(step: &Step, register: &mut Register, texts: &mut kernels::Texts) {
    match &step.node.op {
        Op::Null => register.states.fill(state::NULL),
        Op::Bits(bits) => register.values.fill(*bits),
        Op::Uuid(bytes) => register.values.fill(texts.add_constant(bytes).0),
        Op::Text(text) => register.values.fill(texts.add_constant(text.as_bytes()).0),
        _ => {}
    }
}
