//! All computed columns that a stream needs, as one program.
//!
//! The plans are laid into one list of steps in which equal operations stand once, so what views
//! and boards share is computed once per batch. Each step has a register of its own.

use super::Expression;
use super::like::LikePattern;
use super::plan::{Builder, Node, Op};
use crate::schema::{FieldType, Schema};

/// One operation of a program; its register has the same index.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) node: Node,
    /// Types of the operands.
    pub(super) kinds: [FieldType; 3],
    /// Registers of the operands.
    pub(super) args: [usize; 3],
    /// Compiled pattern of a `like`.
    pub(super) pattern: Option<LikePattern>,
}

/// The steps, and the registers that hold columns at the end.
#[derive(Clone, Debug, Default)]
pub(super) struct Program {
    pub(super) steps: Vec<Step>,
    /// Column of the stream and its register.
    pub(super) outputs: Vec<(usize, usize)>,
}

impl Program {
    /// The program that computes `wanted` columns of a stream.
    pub(super) fn new(schema: &Schema, computed: &[&Expression], wanted: &[usize]) -> Self {
        let fields = schema.fields.len();
        let needed = needed(computed, fields, wanted);
        let mut builder = Builder::default();
        let mut roots = vec![u32::MAX; computed.len()];
        for (index, expression) in computed.iter().enumerate() {
            if needed[index] {
                roots[index] = lay(&mut builder, expression, &roots);
            }
        }
        let mut outputs: Vec<(usize, usize)> = Vec::new();
        for &column in wanted {
            let register = match column.checked_sub(fields) {
                Some(index) => roots[index],
                None => {
                    let field = &schema.fields[column];
                    let op = Op::Field(column);
                    builder.add(Node::new(op, field.kind, field.optional, &[]))
                }
            };
            outputs.push((column, register as usize));
        }
        outputs.sort_unstable();
        outputs.dedup();
        let steps = builder.nodes.iter().map(|node| step(&builder, node));
        Self {
            steps: steps.collect(),
            outputs,
        }
    }
}

/// Which computed columns are wanted, or used by such.
fn needed(computed: &[&Expression], fields: usize, wanted: &[usize]) -> Vec<bool> {
    let mut needed = vec![false; computed.len()];
    for index in wanted
        .iter()
        .filter_map(|column| column.checked_sub(fields))
    {
        needed[index] = true;
    }
    for index in (0..computed.len()).rev() {
        for node in &computed[index].plan.nodes {
            if let Op::Computed(used) = node.op
                && needed[index]
            {
                needed[used] = true;
            }
        }
    }
    needed
}

/// Adds the nodes of a plan and returns the one that is its result.
fn lay(builder: &mut Builder, expression: &Expression, roots: &[u32]) -> u32 {
    let mut places: Vec<u32> = Vec::new();
    for node in &expression.plan.nodes {
        places.push(match node.op {
            Op::Computed(column) => roots[column],
            _ => builder.add(node.with_args(|arg| places[arg as usize])),
        });
    }
    *places.last().expect("invariant: a plan has a result")
}

fn step(builder: &Builder, node: &Node) -> Step {
    let (mut kinds, mut args) = ([FieldType::Bool; 3], [0; 3]);
    for (place, arg) in node.args().enumerate() {
        kinds[place] = builder.node(arg).kind;
        args[place] = arg as usize;
    }
    let pattern = match &node.op {
        Op::Like(pattern) => {
            let pattern = LikePattern::new(pattern);
            Some(pattern.expect("invariant: the pattern was checked with its expression"))
        }
        _ => None,
    };
    Step {
        node: node.clone(),
        kinds,
        args,
        pattern,
    }
}
