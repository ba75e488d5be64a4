//! The typed plan of an expression: operations in the order of evaluation.
//!
//! A plan is flat, operands before the operations that use them, so nothing behind the parser
//! recurses. Equal operations stand in it once.

use std::collections::HashMap;
use std::fmt;

use crate::schema::{FieldType, Schema};
use crate::value::{OwnedValue, Value};

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// An operation on two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// A way to make an f64 whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Rounding {
    Floor,
    Ceil,
    Round,
}

/// What a node does. The types of its operands are those of their nodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    /// A field of the row.
    Field(usize),
    /// A column of the stream that was computed before.
    Computed(usize),
    /// The null of any type.
    Null,
    /// A number, a time, true or false, as its bits.
    Bits(u64),
    /// A uuid.
    Uuid([u8; 16]),
    /// A text.
    Text(Box<str>),
    Arithmetic(Arithmetic),
    Negate,
    Abs,
    Round(Rounding),
    Compare(Comparison),
    /// Whether a text fits a pattern.
    Like(Box<str>),
    Not,
    And,
    Or,
    IsNull,
    /// The second operand where the first is true, else the third.
    Select,
    /// The second operand where the first is null.
    Coalesce,
    /// Null where the first operand is true, else the second.
    NullWhere,
    Least,
    Greatest,
    Length,
    Lower,
    Upper,
    /// To the type of the node.
    Cast,
}

/// An absent operand.
const NONE: u32 = u32::MAX;

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) op: Op,
    pub(crate) kind: FieldType,
    /// Whether it may be null.
    pub(crate) optional: bool,
    args: [u32; 3],
}

impl Node {
    pub(crate) fn new(op: Op, kind: FieldType, optional: bool, args: &[u32]) -> Self {
        let mut all = [NONE; 3];
        all[..args.len()].copy_from_slice(args);
        let args = all;
        Self {
            op,
            kind,
            optional,
            args,
        }
    }

    /// Indexes of the operands.
    pub(crate) fn args(&self) -> impl Iterator<Item = u32> {
        self.args.into_iter().filter(|&arg| arg != NONE)
    }

    /// The value that it is, if it is one and not null.
    pub(crate) fn constant(&self) -> Option<OwnedValue> {
        let plain = |value| Some(OwnedValue::Plain(value));
        match (&self.op, self.kind) {
            (Op::Text(text), _) => Some(OwnedValue::Text(text.clone())),
            (Op::Uuid(bytes), _) => plain(Value::Uuid(*bytes)),
            (Op::Bits(bits), FieldType::U64) => plain(Value::U64(*bits)),
            (Op::Bits(bits), FieldType::I64) => plain(Value::I64(bits.cast_signed())),
            (Op::Bits(bits), FieldType::F64) => plain(Value::F64(f64::from_bits(*bits))),
            (Op::Bits(bits), FieldType::Time) => plain(Value::Time(bits.cast_signed())),
            (Op::Bits(bits), FieldType::Bool) => plain(Value::Bool(*bits != 0)),
            _ => None,
        }
    }

    /// The same node with other operands.
    pub(crate) fn with_args(&self, of: impl Fn(u32) -> u32) -> Self {
        let args = self
            .args
            .map(|arg| if arg == NONE { NONE } else { of(arg) });
        Self {
            args,
            ..self.clone()
        }
    }
}

/// The operations of an expression; the last one is its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) nodes: Vec<Node>,
}

impl Plan {
    pub(crate) fn root(&self) -> &Node {
        self.nodes.last().expect("invariant: a plan has a result")
    }

    /// A canonical text: equal plans have equal texts. Fields are named by their ids, which outlive
    /// their names, computed columns as `computed` does.
    pub(crate) fn describe(&self, schema: &Schema, computed: &dyn Fn(usize) -> String) -> String {
        let mut out = String::new();
        for (index, node) in self.nodes.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            let op = match &node.op {
                Op::Field(field) => format!("field {}", schema.fields[*field].id),
                Op::Computed(column) => computed(*column),
                other => other.to_string(),
            };
            out.push_str(&format!("{separator}{op}"));
            for arg in node.args() {
                out.push_str(&format!(" ${arg}"));
            }
            out.push_str(&format!(": {}", node.kind));
        }
        out
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Op::Field(field) => return write!(f, "field {field}"),
            Op::Computed(column) => return write!(f, "computed {column}"),
            Op::Bits(bits) => return write!(f, "bits {bits}"),
            Op::Uuid(bytes) => return write!(f, "uuid {}", u128::from_be_bytes(*bytes)),
            Op::Text(text) => return write!(f, "text {text:?}"),
            Op::Like(pattern) => return write!(f, "like {pattern:?}"),
            Op::Null => "null",
            Op::Arithmetic(Arithmetic::Add) => "add",
            Op::Arithmetic(Arithmetic::Subtract) => "subtract",
            Op::Arithmetic(Arithmetic::Multiply) => "multiply",
            Op::Arithmetic(Arithmetic::Divide) => "divide",
            Op::Arithmetic(Arithmetic::Remainder) => "remainder",
            Op::Negate => "negate",
            Op::Abs => "abs",
            Op::Round(Rounding::Floor) => "floor",
            Op::Round(Rounding::Ceil) => "ceil",
            Op::Round(Rounding::Round) => "round",
            Op::Compare(Comparison::Equal) => "equal",
            Op::Compare(Comparison::NotEqual) => "not_equal",
            Op::Compare(Comparison::Less) => "less",
            Op::Compare(Comparison::LessOrEqual) => "less_or_equal",
            Op::Compare(Comparison::Greater) => "greater",
            Op::Compare(Comparison::GreaterOrEqual) => "greater_or_equal",
            Op::Not => "not",
            Op::And => "and",
            Op::Or => "or",
            Op::IsNull => "is_null",
            Op::Select => "select",
            Op::Coalesce => "coalesce",
            Op::NullWhere => "null_where",
            Op::Least => "least",
            Op::Greatest => "greatest",
            Op::Length => "length",
            Op::Lower => "lower",
            Op::Upper => "upper",
            Op::Cast => "cast",
        };
        f.write_str(name)
    }
}

/// Collects nodes, each once.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    pub(crate) nodes: Vec<Node>,
    known: HashMap<Node, u32>,
}

impl Builder {
    /// The index of a node, added if it is new.
    pub(crate) fn add(&mut self, node: Node) -> u32 {
        if let Some(&index) = self.known.get(&node) {
            return index;
        }
        let index = self.nodes.len() as u32;
        self.known.insert(node.clone(), index);
        self.nodes.push(node);
        index
    }

    pub(crate) fn node(&self, index: u32) -> &Node {
        &self.nodes[index as usize]
    }

    /// The plan whose result is `root`, without what does not lead to it.
    pub(crate) fn plan(&self, root: u32) -> Plan {
        let mut needed = vec![false; root as usize + 1];
        needed[root as usize] = true;
        for index in (0..needed.len()).rev() {
            if needed[index] {
                for arg in self.nodes[index].args() {
                    needed[arg as usize] = true;
                }
            }
        }
        let mut place = vec![NONE; needed.len()];
        let mut nodes = Vec::new();
        for index in (0..needed.len()).filter(|&index| needed[index]) {
            place[index] = nodes.len() as u32;
            nodes.push(self.nodes[index].with_args(|arg| place[arg as usize]));
        }
        Plan { nodes }
    }
}
