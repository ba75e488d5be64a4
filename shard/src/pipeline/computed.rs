//! Expressions in the file: `[stream.NAME.computed]`, `where`, and arguments of aggregates and
//! scores.

use crate::expression::{Expression, Named, Refusal, Scope};
use crate::limits::{COMPUTED_MAX, NAME_BYTES_MAX};
use crate::pipeline::Computed;
use crate::pipeline::call::{Call, is_word};
use crate::pipeline::problem::Report;
use crate::pipeline::section::{Section, Text};
use crate::pipeline::stream::{FieldDraft, StreamDraft};
use crate::schema::{FieldType, is_identifier};

/// A computed column as far as it could be read.
pub(super) struct ComputedDraft {
    pub(super) name: Option<String>,
    /// `None` if it has a fault, which was reported.
    pub(super) expression: Option<Expression>,
}

impl ComputedDraft {
    pub(super) fn finish(self) -> Option<Computed> {
        Some(Computed {
            name: self.name,
            expression: self.expression?,
        })
    }
}

/// What a call reads.
pub(super) struct Argument {
    /// Column of the stream.
    pub(super) column: usize,
    /// Its type; `None` if it has a fault, which was reported.
    pub(super) kind: Option<FieldType>,
    /// As messages name it.
    pub(super) shown: String,
}

/// Reads `[stream.NAME.computed]` into the draft of the stream.
pub(super) fn read_computed(
    report: &mut Report<'_>,
    stream: &Section<'_, '_>,
    draft: &mut StreamDraft,
) {
    let Some((span, table)) = stream.table(report, "computed") else {
        return;
    };
    let path = format!("[stream.{}.computed]", draft.name);
    let section = Section::free(path, span.clone(), table);
    let entries = section.entries();
    if entries.len() > COMPUTED_MAX {
        let count = entries.len();
        let message = format!(
            "{}: {count} computed columns; at most {COMPUTED_MAX} are possible",
            section.path
        );
        report.add(span, message);
    }
    let names: Vec<&str> = entries.iter().map(|(name, ..)| *name).collect();
    for (index, (name, span, _)) in entries.iter().enumerate() {
        if !is_identifier(name) {
            report.add_hint(
                span.clone(),
                format!("`{name}` in {} is no column name", section.path),
                format!(
                    "use a letter, then letters, digits and `_`, at most {NAME_BYTES_MAX} bytes"
                ),
            );
        }
        if draft.fields.iter().any(|field| field.name == **name) {
            let message = format!("`{name}` in {} is a field too", section.path);
            report.add(span.clone(), message);
        }
        let text = section.text(report, name);
        let expression =
            text.and_then(|text| draft.expression(report, &section.path, &text, &names[index..]));
        draft.computed.push(ComputedDraft {
            name: Some((*name).to_owned()),
            expression,
        });
    }
}

/// Reads `where` of a view or board: the column of its truths. The outer `Option` is `None` after a
/// fault, the inner one without a `where`.
pub(super) fn read_where(
    report: &mut Report<'_>,
    section: &Section<'_, '_>,
    draft: Option<&mut StreamDraft>,
) -> Option<Option<usize>> {
    if section.value("where").is_none() {
        return Some(None);
    }
    let text = section.text(report, "where")?;
    let path = format!("`where` in {}", section.path);
    let draft = draft?;
    let parsed = Expression::parse(text.text, &draft.scope(&[]), Some(FieldType::Bool));
    let expression = accept(report, &path, &text, 0, parsed)?;
    Some(Some(draft.hoist(expression)))
}

/// Reads what stands in the parentheses of a call: a column by its name, or an expression.
pub(super) fn read_argument(
    report: &mut Report<'_>,
    path: &str,
    draft: &mut StreamDraft,
    text: &Text<'_>,
    call: &Call<'_>,
) -> Option<Argument> {
    let starts_as_name = call.argument.starts_with(|c: char| c.is_ascii_alphabetic());
    if starts_as_name && is_word(call.argument) {
        let resolved = draft.resolve(report, path, call.argument, text.span.clone())?;
        return Some(Argument {
            column: resolved.index,
            kind: resolved.kind,
            shown: format!("field `{}`", call.argument),
        });
    }
    let parsed = Expression::parse(call.argument, &draft.scope(&[]), None);
    let expression = accept(report, path, text, call.argument_at, parsed)?;
    Some(Argument {
        kind: Some(expression.kind()),
        column: draft.hoist(expression),
        shown: format!("`{}`", call.argument),
    })
}

/// Reports the fault of an expression that begins at `offset` of a text.
fn accept(
    report: &mut Report<'_>,
    path: &str,
    text: &Text<'_>,
    offset: usize,
    parsed: Result<Expression, Refusal>,
) -> Option<Expression> {
    match parsed {
        Ok(expression) => Some(expression),
        Err(Refusal::FaultyColumn) => None,
        Err(Refusal::Fault(fault)) => {
            report.fault(path, text, offset, fault);
            None
        }
    }
}

impl StreamDraft {
    /// The names that an expression may use, and those that stand too far down for it.
    pub(super) fn scope<'s>(&'s self, later: &'s [&'s str]) -> Scope<'s> {
        let field = |(place, field): (usize, &'s FieldDraft)| {
            let column = self
                .schema
                .as_ref()
                .and_then(|schema| schema.field(&field.name))
                .unwrap_or(place);
            let FieldDraft { kind, optional, .. } = *field;
            let named = Named {
                column,
                kind,
                optional,
            };
            (&*field.name, named)
        };
        let fields = self.fields.len();
        let computed = |(place, draft): (usize, &'s ComputedDraft)| {
            let expression = draft.expression.as_ref();
            let named = Named {
                column: fields + place,
                kind: expression.map(Expression::kind),
                optional: expression.is_some_and(Expression::optional),
            };
            draft.name.as_deref().map(|name| (name, named))
        };
        let known = self.fields.iter().enumerate().map(field);
        let computed = self.computed.iter().enumerate().filter_map(computed);
        Scope {
            stream: &self.name,
            fields,
            columns: known.chain(computed).collect(),
            later,
        }
    }

    fn expression(
        &self,
        report: &mut Report<'_>,
        path: &str,
        text: &Text<'_>,
        later: &[&str],
    ) -> Option<Expression> {
        let parsed = Expression::parse(text.text, &self.scope(later), None);
        accept(report, path, text, 0, parsed)
    }

    /// The column that an expression is: one that there is, if it computes the same, or a new one.
    fn hoist(&mut self, expression: Expression) -> usize {
        let fields = self.fields.len();
        if let Some(column) = expression.column(fields) {
            return column;
        }
        let same = |draft: &ComputedDraft| {
            let known = draft.expression.as_ref();
            known.is_some_and(|known| known.computes_the_same(&expression))
        };
        let place = self.computed.iter().position(same).unwrap_or_else(|| {
            self.computed.push(ComputedDraft {
                name: None,
                expression: Some(expression),
            });
            self.computed.len() - 1
        });
        fields + place
    }
}
