//! Operators: the types that they take and the operations that they become.

use sqlparser::ast::{BinaryOperator, CaseWhen, Expr, Value as Literal};

use super::like::LikePattern;
use super::literal::{join, mixed_hint};
use super::lower::{Lower, Operand, Part};
use super::plan::{Arithmetic, Comparison, Node, Op};
use super::{Fault, Refusal, syntax};
use crate::limits::LIKE_CHARACTERS_MAX;
use crate::schema::FieldType;

fn is_number(kind: FieldType) -> bool {
    matches!(kind, FieldType::U64 | FieldType::I64 | FieldType::F64)
}

fn is_integer(kind: FieldType) -> bool {
    matches!(kind, FieldType::U64 | FieldType::I64)
}

impl Lower<'_> {
    pub(super) fn binary(
        &mut self,
        op: &BinaryOperator,
        left: Part,
        right: Part,
    ) -> Result<Operand, Refusal> {
        use BinaryOperator as B;
        match op {
            B::Plus => self.arithmetic(Arithmetic::Add, "+", left, right),
            B::Minus => self.arithmetic(Arithmetic::Subtract, "-", left, right),
            B::Multiply => self.arithmetic(Arithmetic::Multiply, "*", left, right),
            B::Divide => self.arithmetic(Arithmetic::Divide, "/", left, right),
            B::Modulo => self.arithmetic(Arithmetic::Remainder, "%", left, right),
            B::Eq => self.compare(Comparison::Equal, left, right),
            B::NotEq => self.compare(Comparison::NotEqual, left, right),
            B::Lt => self.compare(Comparison::Less, left, right),
            B::LtEq => self.compare(Comparison::LessOrEqual, left, right),
            B::Gt => self.compare(Comparison::Greater, left, right),
            B::GtEq => self.compare(Comparison::GreaterOrEqual, left, right),
            B::And => self.connect(Op::And, "and", left, right),
            B::Or => self.connect(Op::Or, "or", left, right),
            other => {
                let message = format!("`{other}` is not part of the language");
                Err(Fault::new(right.at, message).into())
            }
        }
    }

    fn arithmetic(
        &mut self,
        op: Arithmetic,
        sign: &str,
        left: Part,
        right: Part,
    ) -> Result<Operand, Refusal> {
        if let (Operand::Integer(a), Operand::Integer(b)) = (left.operand, right.operand) {
            return fold(op, a, b, right.at);
        }
        let time = Some(FieldType::Time);
        if self.kind(left) == time || self.kind(right) == time {
            return self.time_arithmetic(op, sign, left, right);
        }
        self.require_number(sign, left)?;
        self.require_number(sign, right)?;
        if let (Some(a), Some(b)) = (self.kind(left), self.kind(right))
            && join(a, b).is_none()
        {
            let message = format!("`{sign}` takes two integers or two f64, not {a} and {b}");
            return Err(mixed_hint(Fault::new(right.at, message), a, b).into());
        }
        let kind = self.common_kind(&format!("`{sign}`"), &[left, right])?;
        let args = self.operands(left, right, kind)?;
        Ok(Operand::Node(self.add(Op::Arithmetic(op), kind, &args)))
    }

    /// The nodes of two numbers, of which integers keep their own types: mixtures of u64 and i64
    /// are computed exactly.
    fn operands(&mut self, left: Part, right: Part, kind: FieldType) -> Result<[u32; 2], Refusal> {
        let mut node = |part: Part, other: Part| match (part.operand, self.kind(other)) {
            (Operand::Node(node), _) => Ok(node),
            (Operand::Integer(number), Some(FieldType::U64)) if number >= 0 => {
                self.fix(part, FieldType::U64)
            }
            (Operand::Integer(number), Some(FieldType::I64)) if number > i64::MAX.into() => {
                self.fix(part, FieldType::U64)
            }
            _ => self.fix(part, kind),
        };
        Ok([node(left, right)?, node(right, left)?])
    }

    /// Time less time is milliseconds; time and milliseconds are a time.
    fn time_arithmetic(
        &mut self,
        op: Arithmetic,
        sign: &str,
        left: Part,
        right: Part,
    ) -> Result<Operand, Refusal> {
        let is_shift = |kind: Option<FieldType>| kind.is_none_or(is_integer);
        let time = Some(FieldType::Time);
        let (a, b) = (self.kind(left), self.kind(right));
        let kinds = match op {
            Arithmetic::Subtract if a == time && b == time => {
                Some((FieldType::Time, FieldType::Time, FieldType::I64))
            }
            Arithmetic::Add | Arithmetic::Subtract if a == time && is_shift(b) => Some((
                FieldType::Time,
                b.unwrap_or(FieldType::I64),
                FieldType::Time,
            )),
            Arithmetic::Add if b == time && is_shift(a) => Some((
                a.unwrap_or(FieldType::I64),
                FieldType::Time,
                FieldType::Time,
            )),
            _ => None,
        };
        let Some((a, b, kind)) = kinds else {
            let (a, b) = (self.shown(left), self.shown(right));
            let message = format!("`{sign}` does not take {a} and {b}");
            let hint = "a time takes + and - milliseconds, and - another time";
            return Err(Fault::new(right.at, message).hint(hint).into());
        };
        let args = [self.fix(left, a)?, self.fix(right, b)?];
        Ok(Operand::Node(self.add(Op::Arithmetic(op), kind, &args)))
    }

    pub(super) fn require_number(&self, sign: &str, part: Part) -> Result<(), Refusal> {
        match self.kind(part) {
            Some(kind) if !is_number(kind) => {
                Err(Fault::new(part.at, format!("`{sign}` takes numbers, not {kind}")).into())
            }
            _ => Ok(()),
        }
    }

    fn compare(&mut self, op: Comparison, left: Part, right: Part) -> Result<Operand, Refusal> {
        if let (Some(a), Some(b)) = (self.kind(left), self.kind(right))
            && join(a, b).is_none()
        {
            let message = format!("{a} and {b} cannot be compared");
            return Err(mixed_hint(Fault::new(right.at, message), a, b).into());
        }
        let kind = self.common_kind("a comparison", &[left, right])?;
        let args = self.operands(left, right, kind)?;
        Ok(Operand::Node(self.add(
            Op::Compare(op),
            FieldType::Bool,
            &args,
        )))
    }

    fn connect(&mut self, op: Op, word: &str, left: Part, right: Part) -> Result<Operand, Refusal> {
        let args = [self.truth(word, left)?, self.truth(word, right)?];
        Ok(Operand::Node(self.add(op, FieldType::Bool, &args)))
    }

    pub(super) fn not(&mut self, part: Part) -> Result<Operand, Refusal> {
        let arg = self.truth("not", part)?;
        Ok(Operand::Node(self.add(Op::Not, FieldType::Bool, &[arg])))
    }

    /// A part that is true, false or null.
    fn truth(&mut self, word: &str, part: Part) -> Result<u32, Refusal> {
        if self.kind(part) == Some(FieldType::Bool) || part.operand == Operand::Null {
            return self.fix(part, FieldType::Bool);
        }
        let shown = self.shown(part);
        let message = format!("`{word}` takes true or false, not {shown}");
        Err(Fault::new(part.at, message).into())
    }

    pub(super) fn negate(&mut self, part: Part) -> Result<Operand, Refusal> {
        if let Operand::Integer(number) = part.operand {
            return Ok(Operand::Integer(-number));
        }
        self.require_number("-", part)?;
        let kind = match self.common_kind("`-`", &[part])? {
            FieldType::U64 => FieldType::I64,
            kind => kind,
        };
        let Operand::Node(arg) = part.operand else {
            unreachable!("invariant: null alone has no common type");
        };
        Ok(Operand::Node(self.add(Op::Negate, kind, &[arg])))
    }

    pub(super) fn is_null(&mut self, inner: &Expr, negated: bool) -> Result<Operand, Refusal> {
        let part = self.part(inner)?;
        let kind = self.common_kind("`is null`", &[part])?;
        let arg = self.fix(part, kind)?;
        let node = Node::new(Op::IsNull, FieldType::Bool, false, &[arg]);
        let node = self.builder.add(node);
        Ok(self.negated(node, negated))
    }

    fn negated(&mut self, node: u32, negated: bool) -> Operand {
        Operand::Node(match negated {
            true => self.add(Op::Not, FieldType::Bool, &[node]),
            false => node,
        })
    }

    pub(super) fn in_list(
        &mut self,
        inner: &Expr,
        list: &[Expr],
        negated: bool,
    ) -> Result<Operand, Refusal> {
        let part = self.part(inner)?;
        let mut found: Option<u32> = None;
        for item in list {
            let item = self.part(item)?;
            let equal = self.compare(Comparison::Equal, part, item)?;
            let Operand::Node(equal) = equal else {
                unreachable!("invariant: a comparison is a node");
            };
            found = Some(match found {
                None => equal,
                Some(found) => self.add(Op::Or, FieldType::Bool, &[found, equal]),
            });
        }
        match found {
            Some(found) => Ok(self.negated(found, negated)),
            None => Err(Fault::new(part.at, "`in` takes at least one value".to_owned()).into()),
        }
    }

    pub(super) fn between(
        &mut self,
        inner: &Expr,
        low: &Expr,
        high: &Expr,
        negated: bool,
    ) -> Result<Operand, Refusal> {
        let (part, low, high) = (self.part(inner)?, self.part(low)?, self.part(high)?);
        let bounds = [
            self.compare(Comparison::GreaterOrEqual, part, low)?,
            self.compare(Comparison::LessOrEqual, part, high)?,
        ];
        let [Operand::Node(low), Operand::Node(high)] = bounds else {
            unreachable!("invariant: a comparison is a node");
        };
        let within = self.add(Op::And, FieldType::Bool, &[low, high]);
        Ok(self.negated(within, negated))
    }

    pub(super) fn like(
        &mut self,
        inner: &Expr,
        pattern: &Expr,
        negated: bool,
    ) -> Result<Operand, Refusal> {
        let part = self.part(inner)?;
        let Some(kind @ FieldType::Text(_)) = self.kind(part) else {
            let shown = self.shown(part);
            let message = format!("`like` takes a text, not {shown}");
            return Err(Fault::new(part.at, message).into());
        };
        let at = syntax::start(self.text, pattern);
        let literal = match pattern {
            Expr::Value(value) => match &value.value {
                Literal::SingleQuotedString(text) => Some(text),
                _ => None,
            },
            _ => None,
        };
        let Some(text) = literal else {
            let message = "the pattern of `like` must be a text as it stands".to_owned();
            return Err(Fault::new(at, message).into());
        };
        if LikePattern::new(text).is_none() {
            let message =
                format!("a pattern has at most {LIKE_CHARACTERS_MAX} characters, `%` not counted");
            return Err(Fault::new(at, message).into());
        }
        let arg = self.fix(part, kind)?;
        let fits = self.add(Op::Like(text.as_str().into()), FieldType::Bool, &[arg]);
        Ok(self.negated(fits, negated))
    }

    /// `case`, from its last branch to its first: a chain of selections.
    pub(super) fn case(
        &mut self,
        subject: Option<&Expr>,
        branches: &[CaseWhen],
        otherwise: Option<&Expr>,
    ) -> Result<Operand, Refusal> {
        let subject = subject.map(|subject| self.part(subject)).transpose()?;
        let (mut conditions, mut results) = (Vec::new(), Vec::new());
        for branch in branches {
            let condition = self.part(&branch.condition)?;
            conditions.push(match subject {
                None => self.truth("when", condition)?,
                Some(subject) => match self.compare(Comparison::Equal, subject, condition)? {
                    Operand::Node(node) => node,
                    _ => unreachable!("invariant: a comparison is a node"),
                },
            });
            results.push(self.part(&branch.result)?);
        }
        let otherwise = match otherwise {
            Some(otherwise) => self.part(otherwise)?,
            None => Part {
                operand: Operand::Null,
                at: results.first().map_or(0, |result| result.at),
            },
        };
        let all: Vec<Part> = results.iter().copied().chain([otherwise]).collect();
        let kind = self.common_kind("`case`", &all)?;
        let mut chosen = self.fix(otherwise, kind)?;
        for (condition, result) in conditions.into_iter().zip(results).rev() {
            let result = self.fix(result, kind)?;
            let either = [result, chosen].map(|node| self.builder.node(node).optional);
            let optional = either.contains(&true);
            let args = [condition, result, chosen];
            let node = Node::new(Op::Select, kind, optional, &args);
            chosen = self.builder.add(node);
        }
        Ok(Operand::Node(chosen))
    }
}

/// Whole numbers as they stand are computed exactly, and take a type afterwards.
fn fold(op: Arithmetic, a: i128, b: i128, at: usize) -> Result<Operand, Refusal> {
    let result = match op {
        Arithmetic::Add => a.checked_add(b),
        Arithmetic::Subtract => a.checked_sub(b),
        Arithmetic::Multiply => a.checked_mul(b),
        Arithmetic::Divide if b == 0 => None,
        Arithmetic::Remainder if b == 0 => None,
        Arithmetic::Divide => a.checked_div(b),
        Arithmetic::Remainder => a.checked_rem(b),
    };
    let result = result.map(Operand::Integer);
    let message = if b == 0 {
        "division by zero"
    } else {
        "the number is beyond 64 bits"
    };
    result.ok_or_else(|| Fault::new(at, message.to_owned()).into())
}
