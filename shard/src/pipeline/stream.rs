//! `[stream.NAME]`, its fields and its time rule.

use std::ops::Range;

use toml::de::DeTable;

use crate::expression::Expression;
use crate::limits::{DURATION_MS_MAX, NAME_BYTES_MAX, TEXT_BYTES_MAX};
use crate::pipeline::computed::{ComputedDraft, read_computed};
use crate::pipeline::dedupe::{DedupeRule, read_dedupe};
use crate::pipeline::field::{FieldRules, read_rules};
use crate::pipeline::problem::Report;
use crate::pipeline::section::{Section, Text, as_table};
use crate::pipeline::{Durability, Stream, TimeRule, keys, suggest};
use crate::schema::{FieldSpec, FieldType, Schema, is_identifier};

/// A stream as far as it could be read. Views and boards are checked against it even if it has
/// problems of its own, so that one run shows them all.
pub(super) struct StreamDraft {
    pub(super) name: String,
    pub(super) fields: Vec<FieldDraft>,
    pub(super) computed: Vec<ComputedDraft>,
    pub(super) schema: Option<Schema>,
    key: Option<usize>,
    pub(super) time: Option<TimeRule>,
    durability: Option<Durability>,
    dedupe: Option<DedupeRule>,
    /// Where the horizon of its dedupe stands.
    pub(super) horizon_at: Option<Range<usize>>,
}

pub(super) struct FieldDraft {
    pub(super) name: String,
    /// `None` if its type is faulty, which was reported.
    pub(super) kind: Option<FieldType>,
    pub(super) optional: bool,
}

/// A column that a name resolved to.
#[derive(Clone, Copy)]
pub(super) struct Resolved {
    /// Index among the columns of the stream; of no meaning if the schema has problems.
    pub(super) index: usize,
    pub(super) kind: Option<FieldType>,
    pub(super) optional: bool,
}

impl StreamDraft {
    /// The field or computed column of a name; an unknown one is reported.
    pub(super) fn resolve(
        &self,
        report: &mut Report<'_>,
        path: &str,
        name: &str,
        span: Range<usize>,
    ) -> Option<Resolved> {
        let columns = self.scope(&[]).columns;
        let found = columns.iter().find(|(known, _)| *known == name);
        if found.is_none() {
            let names = columns.iter().map(|(name, _)| *name);
            let message = format!("{path}: stream `{}` has no field `{name}`", self.name);
            report.push(span, message, suggest::hint(name, names));
        }
        let (_, named) = found?;
        Some(Resolved {
            index: named.column,
            kind: named.kind,
            optional: named.optional,
        })
    }

    /// A field that routes: a key or a member. Computed columns have no owner.
    pub(super) fn resolve_owner(
        &self,
        report: &mut Report<'_>,
        path: &str,
        role: &str,
        text: Text<'_>,
    ) -> Option<usize> {
        let (name, span) = (text.text, text.span.clone());
        let index = self.resolve_identity(report, path, role, text)?;
        if index < self.fields.len() {
            return Some(index);
        }
        let message = format!("{path}: `{name}` is computed, and cannot be {role}");
        report.add_hint(span, message, "name a field".to_owned());
        None
    }

    /// A column that may be a key, a group or a member: of any type but f64, whose equality
    /// surprises.
    pub(super) fn resolve_identity(
        &self,
        report: &mut Report<'_>,
        path: &str,
        role: &str,
        Text { text, span }: Text<'_>,
    ) -> Option<usize> {
        let resolved = self.resolve(report, path, text, span.clone())?;
        if resolved.kind == Some(FieldType::F64) {
            report.add_hint(
                span,
                format!("{path}: field `{text}` is f64, which cannot be {role}"),
                "use a u64, i64, bool, time, uuid or text field".to_owned(),
            );
            return None;
        }
        Some(resolved.index)
    }

    /// The type of a column, unless it has a fault.
    pub(super) fn kind(&self, column: usize) -> Option<FieldType> {
        match self.schema.as_ref()?.fields.get(column) {
            Some(field) => Some(field.kind),
            None => {
                let computed = self.computed.get(column - self.fields.len())?;
                computed.expression.as_ref().map(Expression::kind)
            }
        }
    }

    /// The key's index and name.
    pub(super) fn key(&self) -> Option<(usize, &str)> {
        let key = self.key?;
        Some((key, &self.fields.get(key)?.name))
    }

    pub(super) fn finish(self) -> Option<Stream> {
        Some(Stream {
            name: self.name,
            key: self.key?,
            time: self.time?,
            durability: self.durability?,
            dedupe: self.dedupe,
            schema: self.schema?,
            former: Vec::new(),
            computed: self
                .computed
                .into_iter()
                .map(ComputedDraft::finish)
                .collect::<Option<_>>()?,
        })
    }
}

pub(super) fn read_stream(
    report: &mut Report<'_>,
    name: &str,
    span: Range<usize>,
    table: &DeTable<'_>,
) -> StreamDraft {
    let path = format!("[stream.{name}]");
    let section = Section::open(report, path, span, table, &keys::STREAM);
    let (fields, schema) = read_fields(report, &section, name);
    let mut draft = StreamDraft {
        name: name.to_owned(),
        fields,
        computed: Vec::new(),
        schema,
        key: None,
        time: None,
        durability: read_durability(report, &section),
        dedupe: None,
        horizon_at: None,
    };
    draft.key = section
        .required_text(report, "key")
        .and_then(|key| draft.resolve_owner(report, &section.path, "a key", key));
    draft.time = read_time(report, &section, &draft);
    read_computed(report, &section, &mut draft);
    if let Some((rule, horizon_at)) = read_dedupe(report, &section, &draft) {
        (draft.dedupe, draft.horizon_at) = (Some(rule), horizon_at);
    }
    draft
}

fn read_fields(
    report: &mut Report<'_>,
    stream: &Section<'_, '_>,
    name: &str,
) -> (Vec<FieldDraft>, Option<Schema>) {
    let Some(()) = stream.require(report, "fields") else {
        return (Vec::new(), None);
    };
    let Some((span, table)) = stream.table(report, "fields") else {
        return (Vec::new(), None);
    };
    let fields = Section::free(format!("[stream.{name}.fields]"), span.clone(), table);
    let (mut drafts, mut specs): (Vec<FieldDraft>, Vec<FieldSpec>) = (Vec::new(), Vec::new());
    let (mut whole, mut rules) = (true, Vec::new());
    for (field, span, value) in fields.entries() {
        if !is_identifier(field) {
            report.add_hint(
                span.clone(),
                format!("`{field}` in {} is no field name", fields.path),
                format!(
                    "use a letter, then letters, digits and `_`, at most {NAME_BYTES_MAX} bytes"
                ),
            );
            whole = false;
        }
        let path = format!("field `{field}` of stream `{name}`");
        let Some(table) = as_table(report, &path, value) else {
            drafts.push(FieldDraft {
                name: field.to_owned(),
                kind: None,
                optional: false,
            });
            whole = false;
            continue;
        };
        let section = Section::open(report, path, span, table, &keys::FIELD);
        let id = read_id(report, &section, &specs);
        let kind = read_type(report, &section);
        let optional = section.boolean(report, "optional").unwrap_or(false);
        if let Some(kind) = kind {
            let read = read_rules(report, &section, kind, optional);
            rules.push((field.to_owned(), read));
        }
        drafts.push(FieldDraft {
            name: field.to_owned(),
            kind,
            optional,
        });
        match (id, kind) {
            (Some(id), Some(kind)) => {
                specs.push(FieldSpec {
                    id,
                    name: field.to_owned(),
                    kind,
                    optional,
                });
            }
            _ => whole = false,
        }
    }
    if !whole {
        return (drafts, None);
    }
    let schema = Schema::new(specs)
        .map_err(|error| report.add(span, format!("{}: {error}", fields.path)))
        .ok();
    (drafts, schema.map(|schema| with_rules(schema, rules)))
}

/// The schema with what its fields allow.
fn with_rules(mut schema: Schema, rules: Vec<(String, FieldRules)>) -> Schema {
    for (field, rules) in rules {
        rules.apply(&mut schema, &field);
    }
    schema
}

fn read_id(report: &mut Report<'_>, field: &Section<'_, '_>, before: &[FieldSpec]) -> Option<u16> {
    field.require(report, "id")?;
    let (id, span) = field.integer(report, "id")?;
    let Some(id) = u16::try_from(id).ok().filter(|id| *id >= 1) else {
        report.add(
            span,
            format!("{} has id {id}; ids are 1 to 65535", field.path),
        );
        return None;
    };
    if let Some(first) = before.iter().find(|spec| spec.id == id) {
        let message = format!(
            "{} has id {id}, which field `{}` has",
            field.path, first.name
        );
        report.add_hint(
            span,
            message,
            "give every field an id of its own".to_owned(),
        );
        return None;
    }
    Some(id)
}

fn read_type(report: &mut Report<'_>, field: &Section<'_, '_>) -> Option<FieldType> {
    let Text { text, span } = field.required_text(report, "type")?;
    if let Some(kind) = FieldType::parse(text) {
        return Some(kind);
    }
    let types = ["u64", "i64", "f64", "bool", "time", "uuid", "text(n)"];
    let (message, hint) = if text.starts_with("text") {
        let message = format!("`{text}` of {} is no text type", field.path);
        (
            message,
            Some(format!(
                "write text(n) with n bytes from 1 to {TEXT_BYTES_MAX}"
            )),
        )
    } else {
        let message = format!("unknown type `{text}` of {}", field.path);
        (message, suggest::hint(text, types))
    };
    report.push(span, message, hint);
    None
}

fn read_time(
    report: &mut Report<'_>,
    stream: &Section<'_, '_>,
    draft: &StreamDraft,
) -> Option<TimeRule> {
    stream.require(report, "time")?;
    let (span, table) = stream.table(report, "time")?;
    let path = format!("[stream.{}.time]", draft.name);
    let section = Section::open(report, path, span, table, &keys::TIME);
    let disorder_ms = section.duration_ms(report, "disorder", 0, keys::DISORDER_MS_DEFAULT);
    let max_future_ms = section.duration_ms(report, "max_future", 0, keys::MAX_FUTURE_MS_DEFAULT);
    let idle_ms = section.duration_ms(report, "idle", 1, keys::IDLE_MS_DEFAULT);
    debug_assert!(disorder_ms.max(max_future_ms).max(idle_ms) <= DURATION_MS_MAX);
    let Text { text, span } = section.required_text(report, "field")?;
    let resolved = draft.resolve(report, &section.path, text, span.clone())?;
    match resolved.kind {
        Some(FieldType::Time) if resolved.optional => {
            report.add(
                span,
                format!("{}: field `{text}` must not be optional", section.path),
            );
        }
        Some(FieldType::Time) | None => {}
        Some(kind) => {
            let message = format!("{}: field `{text}` is {kind}, not time", section.path);
            report.add(span, message);
        }
    }
    Some(TimeRule {
        field: resolved.index,
        disorder_ms,
        max_future_ms,
        idle_ms,
    })
}

fn read_durability(report: &mut Report<'_>, stream: &Section<'_, '_>) -> Option<Durability> {
    if stream.value("durability").is_none() {
        return Some(Durability::Commit);
    }
    let Text { text, span } = stream.text(report, "durability")?;
    if let Some(interval) = text.strip_prefix("interval:") {
        let ms = stream.parse_duration(report, "durability", interval, span.clone())?;
        if !(1..=keys::INTERVAL_MS_MAX).contains(&ms) {
            let message = format!("`durability` in {}: an interval is 1ms to 1h", stream.path);
            report.add(span, message);
            return None;
        }
        return Some(Durability::Interval {
            ms: ms.unsigned_abs(),
        });
    }
    match text {
        "memory" => Some(Durability::Memory),
        "written" => Some(Durability::Written),
        "commit" => Some(Durability::Commit),
        _ => {
            let levels = ["memory", "written", "interval:500ms", "commit"];
            let message = format!("`durability` in {}: unknown level `{text}`", stream.path);
            report.push(span, message, suggest::hint(text, levels));
            None
        }
    }
}
