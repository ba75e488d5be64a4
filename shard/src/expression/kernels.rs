//! The loops that evaluate steps over a chunk of rows.

mod arithmetic;
mod compare;
mod convert;
mod load;
mod logic;
mod text;

use super::plan::Op;
use super::program::Step;
use super::reason::state;
use crate::schema::Schema;

pub(super) use text::{Bytes, Texts};

/// Rows of a chunk: a register of it is a few kilobytes, so the operands of a step stay close.
pub(super) const CHUNK: usize = 256;

/// What a step computes for a chunk.
#[derive(Clone, Debug)]
pub(super) struct Register {
    pub(super) values: Box<[u64; CHUNK]>,
    pub(super) states: Box<[u8; CHUNK]>,
}

impl Default for Register {
    fn default() -> Self {
        Self {
            values: Box::new([0; CHUNK]),
            states: Box::new([state::VALUE; CHUNK]),
        }
    }
}

/// The rows of a chunk.
pub(super) struct Batch<'a> {
    pub(super) schema: &'a Schema,
    /// All rows of the batch.
    pub(super) rows: &'a [u8],
    /// The first row of the chunk.
    pub(super) first: usize,
    pub(super) count: usize,
}

/// Runs a step: operands from `args`, result to `out`.
pub(super) fn run(
    step: &Step,
    batch: &Batch<'_>,
    args: &[Register],
    out: &mut Register,
    texts: &mut Texts,
) {
    let n = batch.count;
    let arg = |place: usize| &args[step.args[place]];
    let [a_kind, b_kind, _] = step.kinds;
    match &step.node.op {
        Op::Null | Op::Bits(_) | Op::Uuid(_) | Op::Text(_) => {}
        Op::Computed(_) => unreachable!("invariant: a program has no reference to a column"),
        Op::Field(field) => load::field(batch, *field, out),
        Op::Arithmetic(op) => {
            let (kinds, kind) = ((a_kind, b_kind), step.node.kind);
            arithmetic::run(*op, kinds, kind, arg(0), arg(1), out, n);
        }
        Op::Negate => arithmetic::negate(a_kind, arg(0), out, n),
        Op::Abs => arithmetic::abs(a_kind, arg(0), out, n),
        Op::Round(how) => arithmetic::round(*how, arg(0), out, n),
        Op::Least => arithmetic::extreme(true, a_kind, arg(0), arg(1), out, n),
        Op::Greatest => arithmetic::extreme(false, a_kind, arg(0), arg(1), out, n),
        Op::Cast => convert::cast(a_kind, step.node.kind, arg(0), out, n),
        Op::Compare(op) => {
            let bytes = |bits| texts.get(batch.rows, Bytes(bits));
            compare::run(*op, (a_kind, b_kind), arg(0), arg(1), out, n, bytes);
        }
        Op::Not => unary(arg(0), out, n, |bits| (bits ^ 1, state::VALUE)),
        Op::And => logic::and(arg(0), arg(1), out, n),
        Op::Or => logic::or(arg(0), arg(1), out, n),
        Op::IsNull => logic::is_null(arg(0), out, n),
        Op::Select => logic::select(arg(0), arg(1), arg(2), out, n),
        Op::Coalesce => logic::coalesce(arg(0), arg(1), out, n),
        Op::NullWhere => logic::null_where(arg(0), arg(1), out, n),
        Op::Length => text::length(arg(0), out, batch, texts),
        Op::Lower => text::map(u8::to_ascii_lowercase, arg(0), out, batch, texts),
        Op::Upper => text::map(u8::to_ascii_uppercase, arg(0), out, batch, texts),
        Op::Like(_) => {
            let pattern = step.pattern.as_ref();
            let pattern = pattern.expect("invariant: a `like` has its pattern");
            text::like(pattern, arg(0), out, batch, texts);
        }
    }
}

/// Applies `op` to every value; null and errors stay.
#[inline]
fn unary(a: &Register, out: &mut Register, n: usize, op: impl Fn(u64) -> (u64, u8)) {
    let operands = a.values[..n].iter().zip(&a.states[..n]);
    let results = out.values[..n].iter_mut().zip(&mut out.states[..n]);
    for ((&a, &a_state), (value, state)) in operands.zip(results) {
        let (result, own) = op(a);
        *value = result;
        *state = if a_state == state::VALUE {
            own
        } else {
            a_state
        };
    }
}

/// Applies `op` to every pair of values; the greater state of two operands that are not both values
/// stays.
#[inline]
fn binary(
    a: &Register,
    b: &Register,
    out: &mut Register,
    n: usize,
    op: impl Fn(u64, u64) -> (u64, u8),
) {
    let left = a.values[..n].iter().zip(&a.states[..n]);
    let right = b.values[..n].iter().zip(&b.states[..n]);
    let results = out.values[..n].iter_mut().zip(&mut out.states[..n]);
    for (((&a, &a_state), (&b, &b_state)), (value, state)) in left.zip(right).zip(results) {
        let (result, own) = op(a, b);
        let worse = a_state.max(b_state);
        *value = result;
        *state = if worse == state::VALUE { own } else { worse };
    }
}

/// A checked result as bits and state.
#[inline]
fn checked(result: Option<u64>, error: u8) -> (u64, u8) {
    match result {
        Some(bits) => (bits, state::VALUE),
        None => (0, error),
    }
}
