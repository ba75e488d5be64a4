//! Functions and casts.

use sqlparser::ast::{
    CastKind, CeilFloorKind, DataType, DateTimeField, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, TimezoneInfo,
};

use super::lower::{Lower, Operand, Part};
use super::plan::{Comparison, Node, Op, Rounding};
use super::{Fault, Refusal, syntax};
use crate::schema::FieldType;
use crate::suggest;

/// The functions of the language.
pub const FUNCTIONS: [&str; 11] = [
    "abs", "ceil", "coalesce", "floor", "greatest", "least", "length", "lower", "nullif", "round",
    "upper",
];

impl Lower<'_> {
    pub(super) fn function(&mut self, function: &Function, at: usize) -> Result<Operand, Refusal> {
        let written = function.name.to_string();
        let name = written.to_ascii_lowercase();
        if !FUNCTIONS.contains(&&*name) {
            let message = format!("unknown function `{written}`");
            let hint = suggest::hint(&name, FUNCTIONS);
            return Err(Fault { at, message, hint }.into());
        }
        let parts = self.arguments(function, &name, at)?;
        match (&*name, &*parts) {
            ("coalesce", [_, _, ..]) => self.coalesce(&parts),
            ("least", [_, _, ..]) => self.extreme(Op::Least, &name, &parts),
            ("greatest", [_, _, ..]) => self.extreme(Op::Greatest, &name, &parts),
            ("nullif", &[value, other]) => self.nullif(value, other),
            ("abs", &[part]) => self.abs(part),
            ("round", &[part]) => self.round(Rounding::Round, &name, part),
            ("length", &[part]) => {
                let (arg, _) = self.text_argument(&name, part)?;
                Ok(Operand::Node(self.add(Op::Length, FieldType::U64, &[arg])))
            }
            ("lower", &[part]) => {
                let (arg, kind) = self.text_argument(&name, part)?;
                Ok(Operand::Node(self.add(Op::Lower, kind, &[arg])))
            }
            ("upper", &[part]) => {
                let (arg, kind) = self.text_argument(&name, part)?;
                Ok(Operand::Node(self.add(Op::Upper, kind, &[arg])))
            }
            _ => {
                let wanted = match &*name {
                    "coalesce" | "least" | "greatest" => "two values or more",
                    "nullif" => "two values",
                    _ => "one value",
                };
                let count = parts.len();
                let message = format!("`{name}` takes {wanted}, not {count}");
                Err(Fault::new(at, message).into())
            }
        }
    }

    fn arguments(
        &mut self,
        function: &Function,
        name: &str,
        at: usize,
    ) -> Result<Vec<Part>, Refusal> {
        let odd = || {
            Fault::new(
                at,
                format!("`{name}` takes values in parentheses and no more"),
            )
        };
        let plain = function.over.is_none()
            && function.filter.is_none()
            && function.null_treatment.is_none()
            && function.within_group.is_empty()
            && function.parameters == FunctionArguments::None;
        let FunctionArguments::List(list) = &function.args else {
            return Err(odd().into());
        };
        if !plain || list.duplicate_treatment.is_some() || !list.clauses.is_empty() {
            return Err(odd().into());
        }
        let mut parts = Vec::new();
        for arg in &list.args {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) => parts.push(self.part(arg)?),
                _ => return Err(odd().into()),
            }
        }
        Ok(parts)
    }

    fn coalesce(&mut self, parts: &[Part]) -> Result<Operand, Refusal> {
        let kind = self.common_kind("`coalesce`", parts)?;
        let mut value = self.fix(parts[0], kind)?;
        for &part in &parts[1..] {
            let next = self.fix(part, kind)?;
            let optional = self.builder.node(value).optional && self.builder.node(next).optional;
            let node = Node::new(Op::Coalesce, kind, optional, &[value, next]);
            value = self.builder.add(node);
        }
        Ok(Operand::Node(value))
    }

    fn extreme(&mut self, op: Op, name: &str, parts: &[Part]) -> Result<Operand, Refusal> {
        let kind = self.common_kind(&format!("`{name}`"), parts)?;
        if matches!(kind, FieldType::Bool | FieldType::Uuid | FieldType::Text(_)) {
            let message = format!("`{name}` takes numbers or times, not {kind}");
            return Err(Fault::new(parts[0].at, message).into());
        }
        let mut value = self.fix(parts[0], kind)?;
        for &part in &parts[1..] {
            let next = self.fix(part, kind)?;
            value = self.add(op.clone(), kind, &[value, next]);
        }
        Ok(Operand::Node(value))
    }

    fn nullif(&mut self, value: Part, other: Part) -> Result<Operand, Refusal> {
        let kind = self.common_kind("`nullif`", &[value, other])?;
        let (value, other) = (self.fix(value, kind)?, self.fix(other, kind)?);
        let equal = Op::Compare(Comparison::Equal);
        let equal = self.add(equal, FieldType::Bool, &[value, other]);
        let node = Node::new(Op::NullWhere, kind, true, &[equal, value]);
        Ok(Operand::Node(self.builder.add(node)))
    }

    fn abs(&mut self, part: Part) -> Result<Operand, Refusal> {
        self.require_number("abs", part)?;
        let kind = self.common_kind("`abs`", &[part])?;
        let arg = self.fix(part, kind)?;
        Ok(Operand::Node(self.add(Op::Abs, kind, &[arg])))
    }

    fn round(&mut self, how: Rounding, name: &str, part: Part) -> Result<Operand, Refusal> {
        match self.kind(part) {
            Some(FieldType::F64) => {
                let arg = self.fix(part, FieldType::F64)?;
                let node = self.add(Op::Round(how), FieldType::F64, &[arg]);
                Ok(Operand::Node(node))
            }
            _ => {
                let shown = self.shown(part);
                Err(Fault::new(part.at, format!("`{name}` takes f64, not {shown}")).into())
            }
        }
    }

    fn text_argument(&mut self, name: &str, part: Part) -> Result<(u32, FieldType), Refusal> {
        match self.kind(part) {
            Some(kind @ FieldType::Text(_)) => Ok((self.fix(part, kind)?, kind)),
            _ => {
                let shown = self.shown(part);
                Err(Fault::new(part.at, format!("`{name}` takes a text, not {shown}")).into())
            }
        }
    }

    /// `ceil` and `floor`, which the grammar knows as words of its own.
    pub(super) fn ceil_or_floor(&mut self, tree: &Expr, at: usize) -> Result<Operand, Refusal> {
        let (how, name, inner, field) = match tree {
            Expr::Ceil { expr, field } => (Rounding::Ceil, "ceil", expr, field),
            Expr::Floor { expr, field } => (Rounding::Floor, "floor", expr, field),
            _ => unreachable!("invariant: the caller looked"),
        };
        if *field != CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) {
            return Err(Fault::new(at, format!("`{name}` takes one value")).into());
        }
        let part = self.part(inner)?;
        self.round(how, name, part)
    }

    pub(super) fn cast(&mut self, tree: &Expr, at: usize) -> Result<Operand, Refusal> {
        let Expr::Cast {
            kind: CastKind::Cast,
            expr: inner,
            data_type,
            format: None,
        } = tree
        else {
            return Err(Fault::new(at, "write cast(... as TYPE)".to_owned()).into());
        };
        let Some(kind) = cast_kind(data_type) else {
            let written = data_type.to_string();
            let message = format!("no cast to `{written}`");
            let hint = suggest::hint(&written, ["u64", "i64", "f64", "time"]);
            return Err(Fault { at, message, hint }.into());
        };
        let part = self.part(inner)?;
        let found = match part.operand {
            Operand::Null => kind,
            _ => self.common_kind("a cast", &[part])?,
        };
        let numbers = |kind| matches!(kind, FieldType::U64 | FieldType::I64 | FieldType::F64);
        let integers = |kind| matches!(kind, FieldType::U64 | FieldType::I64);
        let possible = match (found, kind) {
            (FieldType::Time, kind) => kind == FieldType::Time || integers(kind),
            (found, FieldType::Time) => integers(found),
            (found, _) => numbers(found),
        };
        if !possible {
            let at = syntax::start(self.text, inner);
            return Err(Fault::new(at, format!("no cast from {found} to {kind}")).into());
        }
        let arg = self.fix(part, found)?;
        if found == kind {
            return Ok(Operand::Node(arg));
        }
        Ok(Operand::Node(self.add(Op::Cast, kind, &[arg])))
    }
}

fn cast_kind(data_type: &DataType) -> Option<FieldType> {
    match data_type {
        DataType::Time(None, TimezoneInfo::None) => Some(FieldType::Time),
        DataType::Custom(name, modifiers) if modifiers.is_empty() => {
            let kind = FieldType::parse(&name.to_string().to_ascii_lowercase())?;
            matches!(kind, FieldType::U64 | FieldType::I64 | FieldType::F64).then_some(kind)
        }
        _ => None,
    }
}
