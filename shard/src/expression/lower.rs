//! From the syntax tree to the typed plan.

use sqlparser::ast::{Expr, UnaryOperator, Value as Literal};

use super::plan::{Builder, Node, Op, Plan};
use super::{Fault, Named, Refusal, Scope, syntax};
use crate::schema::FieldType;
use crate::suggest;

/// A part of the expression. Whole numbers and null take the type that their place asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    /// A whole number.
    Integer(i128),
    /// The literal null.
    Null,
    /// A node of the plan.
    Node(u32),
}

/// An operand and where it stands in the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) operand: Operand,
    pub(super) at: usize,
}

pub(super) struct Lower<'s> {
    pub(super) text: &'s str,
    pub(super) builder: Builder,
    scope: &'s Scope<'s>,
    depth: usize,
}

/// How deep the tree may nest. The grammar bounds what stands in parentheses, calls and cases; this
/// also bounds chains like `a is null is null`.
const TREE_DEPTH_MAX: usize = 128;

pub(super) fn lower(
    text: &str,
    tree: &Expr,
    scope: &Scope<'_>,
    wanted: Option<FieldType>,
) -> Result<Plan, Refusal> {
    let mut lower = Lower {
        text,
        builder: Builder::default(),
        scope,
        depth: 0,
    };
    let part = lower.part(tree)?;
    let kind = match wanted {
        Some(kind) => kind,
        None => lower.common_kind("the expression", &[part])?,
    };
    if let Some(found) = lower.kind(part)
        && let Some(wanted) = wanted
        && found != wanted
    {
        let message = format!("the expression is {found}, not {wanted}");
        return Err(Fault::new(0, message).into());
    }
    let root = lower.fix(part, kind)?;
    Ok(lower.builder.plan(root))
}

impl Lower<'_> {
    /// Lowers one part of the tree.
    pub(super) fn part(&mut self, tree: &Expr) -> Result<Part, Refusal> {
        let at = syntax::start(self.text, tree);
        if self.depth == TREE_DEPTH_MAX {
            return Err(syntax::too_deep(at).into());
        }
        self.depth += 1;
        let operand = self.operand(tree, at)?;
        self.depth -= 1;
        Ok(Part { operand, at })
    }

    fn operand(&mut self, tree: &Expr, at: usize) -> Result<Operand, Refusal> {
        match tree {
            Expr::Nested(inner) => Ok(self.part(inner)?.operand),
            Expr::Identifier(name) => self.column(&name.value, at),
            Expr::Value(value) => self.literal(&value.value, at),
            Expr::TypedString(typed) => self.typed_literal(typed, at),
            Expr::Interval(interval) => self.interval(interval, at),
            Expr::BinaryOp { .. } => self.chain(tree),
            Expr::UnaryOp { op, expr } => self.unary(*op, expr),
            Expr::IsNull(inner) => self.is_null(inner, false),
            Expr::IsNotNull(inner) => self.is_null(inner, true),
            Expr::InList {
                expr,
                list,
                negated,
            } => self.in_list(expr, list, *negated),
            Expr::Between {
                expr,
                negated,
                low,
                high,
            } => self.between(expr, low, high, *negated),
            Expr::Like {
                negated,
                any: false,
                expr,
                pattern,
                escape_char: None,
            } => self.like(expr, pattern, *negated),
            Expr::Case {
                operand,
                conditions,
                else_result,
                ..
            } => self.case(operand.as_deref(), conditions, else_result.as_deref()),
            Expr::Cast { .. } => self.cast(tree, at),
            Expr::Ceil { .. } | Expr::Floor { .. } => self.ceil_or_floor(tree, at),
            Expr::Function(function) => self.function(function, at),
            other => {
                let shown: String = other.to_string().chars().take(40).collect();
                Err(Fault::new(at, format!("`{shown}` is not part of the language")).into())
            }
        }
    }

    fn column(&mut self, name: &str, at: usize) -> Result<Operand, Refusal> {
        let columns = &self.scope.columns;
        let Some((_, found)) = columns.iter().find(|(known, _)| *known == name) else {
            if self.scope.later.contains(&name) {
                let message = format!("`{name}` is not computed yet");
                let hint = "an expression uses fields, and columns that stand above it";
                return Err(Fault::new(at, message).hint(hint).into());
            }
            let names = columns.iter().map(|(name, _)| *name);
            let message = format!("stream `{}` has no field `{name}`", self.scope.stream);
            let hint = suggest::hint(name, names);
            return Err(Fault { at, message, hint }.into());
        };
        let Named {
            column,
            kind,
            optional,
        } = *found;
        let kind = kind.ok_or(Refusal::FaultyColumn)?;
        let op = match column.checked_sub(self.scope.fields) {
            None => Op::Field(column),
            Some(computed) => Op::Computed(computed),
        };
        let node = Node::new(op, kind, optional, &[]);
        Ok(Operand::Node(self.builder.add(node)))
    }

    fn literal(&mut self, literal: &Literal, at: usize) -> Result<Operand, Refusal> {
        match literal {
            Literal::Number(number, _) => self.number(number, at),
            Literal::SingleQuotedString(text) => self.text_literal(text, at),
            Literal::Boolean(value) => {
                let node = Node::new(Op::Bits((*value).into()), FieldType::Bool, false, &[]);
                Ok(Operand::Node(self.builder.add(node)))
            }
            Literal::Null => Ok(Operand::Null),
            other => Err(Fault::new(at, format!("`{other}` is no literal of the language")).into()),
        }
    }

    /// A chain of binary operators. Its left side may be long, so it is walked and not recursed
    /// into.
    fn chain(&mut self, tree: &Expr) -> Result<Operand, Refusal> {
        let mut links = Vec::new();
        let mut tree = tree;
        while let Expr::BinaryOp { left, op, right } = tree {
            links.push((op, &**right));
            tree = left;
        }
        let mut left = self.part(tree)?;
        for (op, right) in links.into_iter().rev() {
            let right = self.part(right)?;
            left.operand = self.binary(op, left, right)?;
        }
        Ok(left.operand)
    }

    fn unary(&mut self, op: UnaryOperator, inner: &Expr) -> Result<Operand, Refusal> {
        let part = self.part(inner)?;
        match op {
            UnaryOperator::Not => self.not(part),
            UnaryOperator::Minus => self.negate(part),
            UnaryOperator::Plus => {
                self.require_number("+", part)?;
                Ok(part.operand)
            }
            other => {
                Err(Fault::new(part.at, format!("`{other}` is not part of the language")).into())
            }
        }
    }

    /// The type of a part, if it has one of its own.
    pub(super) fn kind(&self, part: Part) -> Option<FieldType> {
        match part.operand {
            Operand::Node(node) => Some(self.builder.node(node).kind),
            Operand::Integer(_) | Operand::Null => None,
        }
    }

    /// A part as messages name its type.
    pub(super) fn shown(&self, part: Part) -> String {
        match part.operand {
            Operand::Node(node) => self.builder.node(node).kind.to_string(),
            Operand::Integer(_) => "a whole number".to_owned(),
            Operand::Null => "null".to_owned(),
        }
    }

    /// Adds an operation on nodes; it may be null if an operand may.
    pub(super) fn add(&mut self, op: Op, kind: FieldType, args: &[u32]) -> u32 {
        let optional = args.iter().any(|&arg| self.builder.node(arg).optional);
        self.builder.add(Node::new(op, kind, optional, args))
    }
}
