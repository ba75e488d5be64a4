//! `min`, `max` and `default` of the fields of a stream.

use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

use crate::pipeline::problem::Report;
use crate::pipeline::section::Section;
use crate::reject::RejectReason;
use crate::schema::{FieldType, Limits, Schema};
use crate::value::{OwnedValue, Value};

/// What a field says beyond its type.
#[derive(Default)]
pub(super) struct FieldRules {
    limits: Option<Limits>,
    default: Option<OwnedValue>,
}

impl FieldRules {
    /// Adds the rules to the schema that has the field.
    pub(super) fn apply(self, schema: &mut Schema, field: &str) {
        const KNOWN: &str = "invariant: the rules were read for this field";
        let field = schema.field(field).expect(KNOWN);
        if let Some(limits) = self.limits {
            schema.limit(field, limits);
        }
        if let Some(default) = self.default {
            schema.set_default(field, &default.as_value()).expect(KNOWN);
        }
    }
}

/// Reads the rules of a field of this type; what is faulty is reported.
pub(super) fn read_rules(
    report: &mut Report<'_>,
    field: &Section<'_, '_>,
    kind: FieldType,
    optional: bool,
) -> FieldRules {
    let limits = read_limits(report, field, kind);
    let default = read_value(report, field, "default", kind);
    if let Some((value, span)) = &default {
        if optional {
            report.add_hint(
                span.clone(),
                format!("{} is optional and has a `default`", field.path),
                "leave out `optional`: what is absent has the default".to_owned(),
            );
        }
        if let Some(limits) = limits.filter(|limits| !limits.hold(value)) {
            let message = format!("`default` of {} is not within {limits}", field.path);
            report.add(span.clone(), message);
        }
    }
    FieldRules {
        limits,
        default: default.map(|(value, _)| value.into()),
    }
}

fn read_limits(
    report: &mut Report<'_>,
    field: &Section<'_, '_>,
    kind: FieldType,
) -> Option<Limits> {
    let given = ["min", "max"].map(|key| field.value(key));
    let span = given.iter().flatten().next()?.span();
    if !matches!(kind, FieldType::U64 | FieldType::I64 | FieldType::F64) {
        report.add_hint(
            span,
            format!("{} is {kind}, which has no `min` and `max`", field.path),
            "limit u64, i64 and f64 fields".to_owned(),
        );
        return None;
    }
    let [min, max] = ["min", "max"].map(|key| read_value(report, field, key, kind));
    if min.is_none() != given[0].is_none() || max.is_none() != given[1].is_none() {
        // What is faulty was reported.
        return None;
    }
    let bound = |value: &Option<(Value<'_>, _)>| value.as_ref().map(|(value, _)| bare(*value));
    let limits = Limits::of(kind, bound(&min), bound(&max))?;
    if limits.is_empty() {
        report.add(span, format!("`min` of {} is above its `max`", field.path));
        return None;
    }
    Some(limits)
}

/// A number without the life of the text that it was read from.
fn bare(value: Value<'_>) -> Value<'static> {
    match value {
        Value::U64(v) => Value::U64(v),
        Value::I64(v) => Value::I64(v),
        Value::F64(v) => Value::F64(v),
        _ => Value::Null,
    }
}

/// A value of the type, written as a number, true or false, or text.
fn read_value<'d>(
    report: &mut Report<'_>,
    field: &Section<'d, '_>,
    key: &str,
    kind: FieldType,
) -> Option<(Value<'d>, Range<usize>)> {
    let written = field.value(key)?;
    let reason = match parse(written, kind) {
        Ok(value) => return Some((value, written.span())),
        Err(reason) => reason,
    };
    let path = &field.path;
    let message = match reason {
        RejectReason::TextTooLong => {
            let capacity = kind.capacity();
            format!("`{key}` of {path} is longer than {capacity} bytes")
        }
        RejectReason::OutOfRange => format!("`{key}` of {path} is outside the range of {kind}"),
        _ => format!("`{key}` of {path} is no {kind}"),
    };
    report.add(written.span(), message);
    None
}

fn parse<'d>(
    written: &'d Spanned<DeValue<'_>>,
    kind: FieldType,
) -> Result<Value<'d>, RejectReason> {
    match (written.get_ref(), kind) {
        (DeValue::String(text), FieldType::Bool) if !text.is_empty() => {
            Err(RejectReason::WrongType)
        }
        (DeValue::String(text), kind) => Value::parse_text(kind, text),
        (DeValue::Boolean(value), FieldType::Bool) => Ok(Value::Bool(*value)),
        (DeValue::Integer(number), _) if number.radix() == 10 => match kind {
            FieldType::Bool | FieldType::Uuid | FieldType::Text(_) => Err(RejectReason::WrongType),
            kind => Value::parse_text(kind, number.as_str()),
        },
        (DeValue::Float(number), FieldType::F64) => Value::parse_text(kind, number.as_str()),
        _ => Err(RejectReason::WrongType),
    }
}
