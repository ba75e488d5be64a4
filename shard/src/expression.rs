//! Expressions of the pipeline file: `points * 2`, `kind = 'gold' and delay is not null`.
//!
//! ```text
//! text -> syntax tree (sqlparser) -> typed plan -> program of a stream -> columns of a batch
//! ```
//!
//! A plan is checked against the columns of a stream when the file is read. The plans of all columns
//! that a stream needs become one program, in which equal parts stand once; it runs over a batch
//! column by column, never row by row. `docs/formats/expressions.md` is the reference of the
//! language.
//!
//! What cannot be computed (overflow, division by zero, a failed cast, a result that is not finite)
//! is an *error value* of that row, never a wrap and never a panic. Every operation is total over
//! values, null and errors, so evaluating a branch that was not asked for does no harm: `case`,
//! `and`, `or` and `coalesce` look at all their operands and then choose.

mod evaluate;
mod functions;
mod kernels;
mod like;
mod literal;
mod lower;
mod operators;
mod plan;
mod program;
mod reason;
mod syntax;

use crate::schema::{FieldType, Schema};
use crate::value::OwnedValue;

pub(crate) use evaluate::Evaluated;
pub use evaluate::Evaluator;
pub use functions::FUNCTIONS;
pub(crate) use plan::{Arithmetic, Comparison, Node, Op, Rounding};
pub use reason::ErrorReason;

/// What is wrong with the text of an expression, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Offset in the text, in bytes.
    pub at: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Fault {
    fn new(at: usize, message: String) -> Self {
        let hint = None;
        Self { at, message, hint }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Why there is no expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The text is wrong.
    Fault(Fault),
    /// It names a column that has a fault of its own.
    FaultyColumn,
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// A column that an expression may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its place among the columns of the stream: the fields, then the computed columns.
    pub column: usize,
    /// Its type; `None` if it has a fault, which was reported.
    pub kind: Option<FieldType>,
    /// Whether it may be null.
    pub optional: bool,
}

/// The names that an expression may use: those of one stream.
#[derive(Clone, Debug)]
pub struct Scope<'a> {
    /// Name of the stream.
    pub stream: &'a str,
    /// How many fields it has; columns behind them are computed.
    pub fields: usize,
    /// Its columns with their names, as far as this expression may know them.
    pub columns: Vec<(&'a str, Named)>,
    /// Names that stand at or below the expression.
    pub later: &'a [&'a str],
}

/// A checked expression over the columns of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    text: String,
    plan: plan::Plan,
}

impl Expression {
    /// Reads and checks an expression; `wanted` is the type that it must have, if only one will do.
    pub fn parse(
        text: &str,
        scope: &Scope<'_>,
        wanted: Option<FieldType>,
    ) -> Result<Expression, Refusal> {
        let tree = syntax::parse(text)?;
        let plan = lower::lower(text, &tree, scope, wanted)?;
        let text = text.to_owned();
        Ok(Expression { text, plan })
    }

    /// The text, as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The type of its values.
    pub fn kind(&self) -> FieldType {
        self.plan.root().kind
    }

    /// Whether it may be null.
    pub fn optional(&self) -> bool {
        self.plan.root().optional
    }

    /// The column that it is, if it is one and nothing more.
    pub fn column(&self, fields: usize) -> Option<usize> {
        match self.plan.root().op {
            Op::Field(field) => Some(field),
            Op::Computed(column) => Some(fields + column),
            _ => None,
        }
    }

    /// Whether another expression computes the same, however it is written.
    pub fn computes_the_same(&self, other: &Expression) -> bool {
        self.plan == other.plan
    }

    /// The numbers, texts and other values that it names.
    pub fn constants(&self) -> Vec<OwnedValue> {
        self.plan.nodes.iter().filter_map(Node::constant).collect()
    }

    /// The operations of its plan, operands first; the last is the result.
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.plan.nodes
    }

    /// A canonical text: equal expressions have equal texts. Fields are named by their ids, computed
    /// columns as `computed` does.
    pub(crate) fn describe(&self, schema: &Schema, computed: &dyn Fn(usize) -> String) -> String {
        self.plan.describe(schema, computed)
    }
}
