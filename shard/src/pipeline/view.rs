//! `[view.NAME]`.

use std::ops::Range;

use toml::de::DeTable;

use crate::limits::{COLUMNS_MAX, GROUP_FIELDS_MAX, NAME_BYTES_MAX};
use crate::pipeline::aggregate::read_aggregate;
use crate::pipeline::computed::read_where;
use crate::pipeline::parse::read_from;
use crate::pipeline::problem::Report;
use crate::pipeline::retract;
use crate::pipeline::section::{Section, Text};
use crate::pipeline::stream::StreamDraft;
use crate::pipeline::window::read_window;
use crate::pipeline::{Column, View, Window, WindowKind, keys};
use crate::schema::is_identifier;

pub(super) fn read_view(
    report: &mut Report<'_>,
    drafts: &mut [StreamDraft],
    name: &str,
    span: Range<usize>,
    table: &DeTable<'_>,
) -> Option<View> {
    let path = format!("[view.{name}]");
    let section = Section::open(report, path, span, table, &keys::VIEW);
    let from = read_from(report, &section, drafts);
    let (stream, mut draft) = from.unzip();
    let filter = read_where(report, &section, draft.as_deref_mut());
    let group_texts = section.texts(report, "group").unwrap_or_default();
    let group = read_group(report, &section, draft.as_deref(), &group_texts);
    let window = read_window(report, &section, name, draft.as_deref());
    if let (Some(window), Some(group)) = (&window, &group)
        && group.len() == group_texts.len()
    {
        check_key(report, &section, window, group, draft.as_deref());
    }
    let columns = read_columns(report, &section, name, draft, &group_texts)?;
    let retract = retract::read_of_view(report, &section, window.as_ref(), &columns);
    let (window, group) = (window?, group?);
    Some(View {
        name: name.to_owned(),
        stream: stream?,
        filter: filter?,
        group,
        window,
        columns,
        retract: retract?,
    })
}

fn read_group(
    report: &mut Report<'_>,
    section: &Section<'_, '_>,
    draft: Option<&StreamDraft>,
    texts: &[Text<'_>],
) -> Option<Vec<usize>> {
    let mut fields = Vec::new();
    for (position, text) in texts.iter().enumerate() {
        if texts[..position]
            .iter()
            .any(|before| before.text == text.text)
        {
            let message = format!("{}: `group` names `{}` twice", section.path, text.text);
            report.add(text.span.clone(), message);
        }
        if let Some(draft) = draft {
            let role = "a group";
            fields.extend(draft.resolve_identity(report, &section.path, role, text.clone()));
        }
    }
    if texts.len() > GROUP_FIELDS_MAX {
        let (path, count) = (&section.path, texts.len());
        let message =
            format!("{path}: {count} group fields; at most {GROUP_FIELDS_MAX} are possible");
        report.add(texts[0].span.clone(), message);
    }
    Some(fields)
}

/// Windows that the events of a group make belong to one shard: that of the stream's key.
fn check_key(
    report: &mut Report<'_>,
    section: &Section<'_, '_>,
    window: &Window,
    group: &[usize],
    draft: Option<&StreamDraft>,
) {
    let Some((key, name)) = draft.and_then(StreamDraft::key) else {
        return;
    };
    if !window.kind.is_of_key() || group.contains(&key) {
        return;
    }
    let reason = match window.kind {
        WindowKind::Session { .. } => "none knows when a session ends",
        _ => "none knows which events are the last",
    };
    let given = section.value("group");
    report.add_hint(
        given.map_or(section.span.clone(), |value| value.span()),
        format!(
            "{}: `{}` windows need the stream's key `{name}` in `group`: the events of a group \
             would be on several shards, and {reason}",
            section.path,
            window.kind.name()
        ),
        format!("add `{name}` to `group`"),
    );
}

fn read_columns(
    report: &mut Report<'_>,
    view: &Section<'_, '_>,
    name: &str,
    mut draft: Option<&mut StreamDraft>,
    group: &[Text<'_>],
) -> Option<Vec<Column>> {
    view.require(report, "columns")?;
    let (span, table) = view.table(report, "columns")?;
    let section = Section::free(format!("[view.{name}.columns]"), span.clone(), table);
    let entries = section.entries();
    if entries.is_empty() {
        report.add(
            span.clone(),
            format!("{} needs at least one column", section.path),
        );
    }
    if entries.len() > COLUMNS_MAX {
        let count = entries.len();
        let message = format!(
            "{}: {count} columns; at most {COLUMNS_MAX} are possible",
            section.path
        );
        report.add(span, message);
    }
    let mut columns = Vec::new();
    for (column, span, _) in entries {
        if !is_identifier(column) {
            report.add_hint(
                span.clone(),
                format!("`{column}` in {} is no column name", section.path),
                format!(
                    "use a letter, then letters, digits and `_`, at most {NAME_BYTES_MAX} bytes"
                ),
            );
        }
        if group.iter().any(|field| field.text == column) {
            let message = format!("column `{column}` in {} is a group field too", section.path);
            report.add(span, message);
        }
        let Some(text) = section.text(report, column) else {
            continue;
        };
        let aggregate = read_aggregate(report, &section, draft.as_deref_mut(), text);
        columns.extend(aggregate.map(|aggregate| Column {
            name: column.to_owned(),
            aggregate,
        }));
    }
    Some(columns)
}
