//! Literals, the types that they take, and the common type of several parts.

use sqlparser::ast::{DataType, Expr, Interval, TypedString, Value as Literal};

use super::lower::{Lower, Operand, Part};
use super::plan::{Node, Op};
use super::{Fault, Refusal};
use crate::limits::TEXT_BYTES_MAX;
use crate::pipeline::parse_duration_ms;
use crate::schema::FieldType;
use crate::value::Value;

impl Lower<'_> {
    pub(super) fn number(&mut self, text: &str, at: usize) -> Result<Operand, Refusal> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return match text.parse() {
                Ok(number) => Ok(Operand::Integer(number)),
                Err(_) => Err(Fault::new(at, format!("{text} is beyond 64 bits")).into()),
            };
        }
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(self.float(number)),
            Ok(_) => Err(Fault::new(at, format!("{text} is beyond the range of f64")).into()),
            Err(_) => Err(Fault::new(at, format!("`{text}` is no number")).into()),
        }
    }

    pub(super) fn float(&mut self, number: f64) -> Operand {
        let bits = Op::Bits((number + 0.0).to_bits());
        Operand::Node(
            self.builder
                .add(Node::new(bits, FieldType::F64, false, &[])),
        )
    }

    pub(super) fn text_literal(&mut self, text: &str, at: usize) -> Result<Operand, Refusal> {
        let Ok(capacity) = u8::try_from(text.len().max(1)) else {
            let length = text.len();
            let message =
                format!("a text of {length} bytes; at most {TEXT_BYTES_MAX} are possible");
            return Err(Fault::new(at, message).into());
        };
        let node = Node::new(Op::Text(text.into()), FieldType::Text(capacity), false, &[]);
        Ok(Operand::Node(self.builder.add(node)))
    }

    /// `timestamp '2026-01-01T00:00:00Z'` and `uuid '...'`.
    pub(super) fn typed_literal(
        &mut self,
        typed: &TypedString,
        at: usize,
    ) -> Result<Operand, Refusal> {
        let kind = match typed.data_type {
            DataType::Timestamp(..) => FieldType::Time,
            DataType::Uuid => FieldType::Uuid,
            _ => {
                let message = format!("`{}` is not part of the language", typed.data_type);
                let hint = "write timestamp '2026-01-01T00:00:00Z', uuid '...' or interval '5m'";
                return Err(Fault::new(at, message).hint(hint).into());
            }
        };
        let Literal::SingleQuotedString(text) = &typed.value.value else {
            return Err(Fault::new(at, format!("a {kind} is written as a text")).into());
        };
        let op = match Value::parse_text(kind, text) {
            Ok(Value::Time(ms)) => Op::Bits(ms.cast_unsigned()),
            Ok(Value::Uuid(bytes)) => Op::Uuid(bytes),
            _ => return Err(Fault::new(at, format!("`{text}` is no {kind}")).into()),
        };
        Ok(Operand::Node(self.builder.add(Node::new(
            op,
            kind,
            false,
            &[],
        ))))
    }

    /// `interval '5m'`: a whole number of milliseconds.
    pub(super) fn interval(&mut self, interval: &Interval, at: usize) -> Result<Operand, Refusal> {
        let plain = interval.leading_field.is_none() && interval.last_field.is_none();
        let text = match &*interval.value {
            Expr::Value(value) if plain => match &value.value {
                Literal::SingleQuotedString(text) => Some(text),
                _ => None,
            },
            _ => None,
        };
        match text.map(|text| parse_duration_ms(text)) {
            Some(Ok(ms)) => Ok(Operand::Integer(ms.into())),
            _ => {
                let hint = "write a whole number and a unit: interval '5m'";
                Err(Fault::new(at, "no interval".to_owned()).hint(hint).into())
            }
        }
    }

    /// The one type that all parts can take, for the message as operands of `what`.
    pub(super) fn common_kind(&self, what: &str, parts: &[Part]) -> Result<FieldType, Refusal> {
        let mut common: Option<FieldType> = None;
        for &part in parts {
            let Some(kind) = self.kind(part) else {
                continue;
            };
            common = Some(match common {
                None => kind,
                Some(common) => join(common, kind).ok_or_else(|| {
                    let message =
                        format!("{what} takes values of one type, not {common} and {kind}");
                    mixed_hint(Fault::new(part.at, message), common, kind)
                })?,
            });
        }
        let integers = || {
            parts.iter().filter_map(|part| match part.operand {
                Operand::Integer(number) => Some(number),
                Operand::Null | Operand::Node(_) => None,
            })
        };
        let signed = |number: i128| i64::try_from(number).is_ok();
        match common {
            Some(FieldType::U64) if integers().any(|number| number < 0) => Ok(FieldType::I64),
            Some(kind) => Ok(kind),
            None if integers().next().is_none() => {
                let at = parts.first().map_or(0, |part| part.at);
                let hint = "write a value beside it, or cast it";
                let message = "the type of null is unknown here".to_owned();
                Err(Fault::new(at, message).hint(hint).into())
            }
            None if integers().all(signed) => Ok(FieldType::I64),
            None => Ok(FieldType::U64),
        }
    }

    /// The node of a part as `kind`, to which it can be turned.
    pub(super) fn fix(&mut self, part: Part, kind: FieldType) -> Result<u32, Refusal> {
        let op = match part.operand {
            Operand::Node(node) => {
                let found = self.builder.node(node).kind;
                if found == FieldType::U64 && kind == FieldType::I64 {
                    return Ok(self.add(Op::Cast, kind, &[node]));
                }
                return Ok(node);
            }
            Operand::Null => Op::Null,
            Operand::Integer(number) => match integer_bits(number, kind) {
                Some(bits) => Op::Bits(bits),
                None => return Err(misfit(number, kind, part.at).into()),
            },
        };
        let optional = op == Op::Null;
        Ok(self.builder.add(Node::new(op, kind, optional, &[])))
    }
}

fn misfit(number: i128, kind: FieldType, at: usize) -> Fault {
    let is_integer = matches!(kind, FieldType::U64 | FieldType::I64);
    if is_integer && u64::try_from(number).is_err() && i64::try_from(number).is_err() {
        return Fault::new(at, format!("{number} is beyond 64 bits"));
    }
    let fault = Fault::new(at, format!("{number} is no {kind}"));
    match kind {
        FieldType::Time => fault.hint("write timestamp '2026-01-01T00:00:00Z'"),
        _ => fault,
    }
}

/// The bits of a whole number as `kind`; `None` if it is none exactly.
fn integer_bits(number: i128, kind: FieldType) -> Option<u64> {
    match kind {
        FieldType::U64 => u64::try_from(number).ok(),
        FieldType::I64 => i64::try_from(number).ok().map(i64::cast_unsigned),
        FieldType::F64 => {
            let float = number as f64;
            (float as i128 == number).then_some(float.to_bits())
        }
        _ => None,
    }
}

/// The type that holds values of both.
pub(super) fn join(one: FieldType, other: FieldType) -> Option<FieldType> {
    use FieldType::{I64, Text, U64};
    match (one, other) {
        (Text(a), Text(b)) => Some(Text(a.max(b))),
        (U64, I64) | (I64, U64) => Some(I64),
        _ => (one == other).then_some(one),
    }
}

/// The hint of the most frequent mixtures.
pub(super) fn mixed_hint(fault: Fault, one: FieldType, other: FieldType) -> Fault {
    let is_integer = |kind| matches!(kind, FieldType::U64 | FieldType::I64);
    let is_text = |kind| matches!(kind, FieldType::Text(_));
    let pair =
        |is: fn(FieldType) -> bool, kind| (is(one) && other == kind) || (is(other) && one == kind);
    if pair(is_integer, FieldType::F64) {
        fault.hint("write cast(... as f64) around the integer")
    } else if pair(is_text, FieldType::Time) {
        fault.hint("write timestamp '2026-01-01T00:00:00Z'")
    } else if pair(is_text, FieldType::Uuid) {
        fault.hint("write uuid '...'")
    } else {
        fault
    }
}
