//! What an expression means: the operations of its plan one after the other, over one row.
//!
//! The engine runs the same plans over batches of columns. What a plan has to be for a text is held
//! against trees of its own in the tests.

use super::Datum;
use super::operations::{
    Outcome, and, arithmetic, cast, compared, function, like, negative, not, strict,
};
use crate::expression::{Arithmetic, Comparison, Expression, Node, Op, Rounding};
use crate::pipeline::Stream;

/// All columns of an event: its fields, then the computed ones.
pub fn columns(stream: &Stream, data: &[Datum]) -> Vec<Outcome> {
    let mut columns: Vec<Outcome> = data.iter().cloned().map(Ok).collect();
    for computed in &stream.computed {
        let value = value(&computed.expression, data.len(), &columns);
        columns.push(value);
    }
    columns
}

/// The value of an expression for a row: its fields, then the columns that were computed before.
pub fn value(expression: &Expression, fields: usize, row: &[Outcome]) -> Outcome {
    let mut values: Vec<Outcome> = Vec::new();
    for node in expression.nodes() {
        let args: Vec<Outcome> = node
            .args()
            .map(|arg| values[arg as usize].clone())
            .collect();
        let value = match &node.op {
            Op::Field(field) => row[*field].clone(),
            Op::Computed(column) => row[fields + column].clone(),
            _ => operation(node, &args),
        };
        values.push(value);
    }
    values.pop().expect("invariant: a plan has a result")
}

fn operation(node: &Node, args: &[Outcome]) -> Outcome {
    let arg = |index: usize| args[index].clone();
    match &node.op {
        Op::Field(_) | Op::Computed(_) => unreachable!("invariant: the caller knows the row"),
        Op::Null => Ok(Datum::Null),
        Op::Bits(_) | Op::Uuid(_) | Op::Text(_) => {
            let constant = node.constant().expect("invariant: it is one");
            Ok(Datum::of(constant.as_value()))
        }
        Op::Arithmetic(of) => strict(arg(0), arg(1), |a, b| {
            arithmetic(sign_of(*of), node.kind, a, b)
        }),
        Op::Negate => negative(node.kind, arg(0)),
        Op::Compare(of) => compared(comparison(*of), arg(0), arg(1)),
        Op::Like(pattern) => like(arg(0), pattern),
        Op::Not => not(arg(0)),
        Op::And => and(arg(0), arg(1)),
        Op::Or => not(and(not(arg(0)), not(arg(1)))),
        Op::IsNull => Ok(Datum::Bool(arg(0)? == Datum::Null)),
        Op::Select => arg(if arg(0)? == Datum::Bool(true) { 1 } else { 2 }),
        Op::Coalesce => arg(usize::from(arg(0)? == Datum::Null)),
        Op::NullWhere if arg(0)? == Datum::Bool(true) => Ok(Datum::Null),
        Op::NullWhere => arg(1),
        Op::Abs => function("abs", args),
        Op::Round(Rounding::Floor) => function("floor", args),
        Op::Round(Rounding::Ceil) => function("ceil", args),
        Op::Round(Rounding::Round) => function("round", args),
        Op::Least => function("least", args),
        Op::Greatest => function("greatest", args),
        Op::Length => function("length", args),
        Op::Lower => function("lower", args),
        Op::Upper => function("upper", args),
        Op::Cast => cast(node.kind, arg(0)?),
    }
}

fn sign_of(of: Arithmetic) -> &'static str {
    match of {
        Arithmetic::Add => "+",
        Arithmetic::Subtract => "-",
        Arithmetic::Multiply => "*",
        Arithmetic::Divide => "/",
        Arithmetic::Remainder => "%",
    }
}

fn comparison(of: Comparison) -> &'static str {
    match of {
        Comparison::Equal => "=",
        Comparison::NotEqual => "<>",
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
    }
}
