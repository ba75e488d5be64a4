//! `[stream.NAME.dedupe]`: what events of a stream are told apart by, beside the sequences of
//! their producers.

use std::ops::Range;

use crate::limits::GROUP_FIELDS_MAX;
use crate::pipeline::problem::Report;
use crate::pipeline::section::{Section, Text};
use crate::pipeline::stream::StreamDraft;
use crate::pipeline::{After, Pipeline, duration_text, keys, suggest};
use crate::schema::FieldType;

/// What events are told apart by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DedupeRule {
    /// The fields, of which each event has a value; with [`DedupeMode::Sequence`] the last one is
    /// the sequence. The key is always one of what tells apart, and need not be named.
    pub by: Vec<usize>,
    /// How.
    pub mode: DedupeMode,
    /// Most bytes that a shard remembers them in.
    pub memory_bytes: u64,
}

/// How events are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DedupeMode {
    /// Each source numbers its events in increasing order.
    Sequence,
    /// Each event has an id.
    Id {
        /// How long an id is remembered, from when it was seen first, in ms.
        horizon_ms: i64,
    },
}

impl DedupeMode {
    /// As it stands in a file.
    pub const fn name(self) -> &'static str {
        match self {
            DedupeMode::Sequence => keys::DEDUPE_MODES[0],
            DedupeMode::Id { .. } => keys::DEDUPE_MODES[1],
        }
    }
}

/// Reads the rule of a stream, and where its horizon stands in the file. A faulty rule is reported.
pub(super) fn read_dedupe(
    report: &mut Report<'_>,
    stream: &Section<'_, '_>,
    draft: &StreamDraft,
) -> Option<(DedupeRule, Option<Range<usize>>)> {
    let (span, table) = stream.table(report, "dedupe")?;
    let path = format!("[stream.{}.dedupe]", draft.name);
    let section = Section::open(report, path, span, table, &keys::DEDUPE);
    let mode = read_mode(report, &section);
    let by = read_fields(report, &section, draft, mode);
    let memory_bytes = read_memory(report, &section);
    read_scope(report, &section);
    let rule = DedupeRule {
        by: by?,
        mode: mode?,
        memory_bytes: memory_bytes?,
    };
    Some((rule, section.value("horizon").map(|value| value.span())))
}

/// Warns of horizons that end while a view or season may still take a late retry.
pub(super) fn warn_of_short_horizons(
    report: &mut Report<'_>,
    pipeline: &Pipeline,
    horizons_at: Vec<Option<Range<usize>>>,
) {
    for (index, span) in horizons_at.into_iter().enumerate() {
        let stream = &pipeline.streams[index];
        let Some(DedupeRule {
            mode: DedupeMode::Id { horizon_ms },
            ..
        }) = stream.dedupe
        else {
            continue;
        };
        let Some((lateness_ms, taker)) = greatest_lateness(pipeline, index) else {
            continue;
        };
        let behind_ms = stream.time.disorder_ms.saturating_add(lateness_ms);
        if horizon_ms >= behind_ms {
            continue;
        }
        let (horizon, behind) = (duration_text(horizon_ms), duration_text(behind_ms));
        report.warn(
            span.unwrap_or_default(),
            format!(
                "`horizon` in [stream.{}.dedupe] is {horizon}, but {taker} takes events that are \
                 {behind} behind the newest one",
                stream.name
            ),
            format!("make it at least {behind}: a retry that comes later counts twice"),
        );
    }
}

/// How far behind the watermark an event of the stream may be and still count, and for what.
fn greatest_lateness(pipeline: &Pipeline, stream: usize) -> Option<(i64, String)> {
    let views = pipeline.views.iter().filter(|view| view.stream == stream);
    let views = views.map(|view| {
        let lateness_ms = match view.window.after {
            After::Drop => view.window.late_ms,
            After::Amend => view.window.late_ms.max(view.window.keep_ms),
        };
        (lateness_ms, format!("view `{}`", view.name))
    });
    let boards = pipeline
        .boards
        .iter()
        .filter(|board| board.stream == stream);
    let seasons = boards.filter_map(|board| {
        let season = board.season.as_ref()?;
        Some((season.grace_ms, format!("board `{}`", board.name)))
    });
    // Of equal ones the first in the file.
    let all: Vec<_> = views.chain(seasons).collect();
    all.into_iter()
        .rev()
        .max_by_key(|(lateness_ms, _)| *lateness_ms)
}

fn read_mode(report: &mut Report<'_>, section: &Section<'_, '_>) -> Option<DedupeMode> {
    let Text { text, span } = section.required_text(report, "mode")?;
    let [sequence, id] = keys::DEDUPE_MODES;
    let horizon = section.value("horizon");
    if text == sequence {
        if let Some(horizon) = horizon {
            report.add_hint(
                horizon.span(),
                format!("`horizon` in {} belongs to mode `{id}`", section.path),
                "leave it out: the last sequences of a source are remembered for ever".to_owned(),
            );
            return None;
        }
        return Some(DedupeMode::Sequence);
    }
    if text == id {
        section.require(report, "horizon")?;
        let least_ms = keys::HORIZON_MS_MIN;
        let horizon_ms = section.duration_ms(report, "horizon", least_ms, least_ms);
        return Some(DedupeMode::Id { horizon_ms });
    }
    let message = format!("`mode` in {}: unknown mode `{text}`", section.path);
    report.push(span, message, suggest::hint(text, keys::DEDUPE_MODES));
    None
}

fn read_fields(
    report: &mut Report<'_>,
    section: &Section<'_, '_>,
    draft: &StreamDraft,
    mode: Option<DedupeMode>,
) -> Option<Vec<usize>> {
    section.require(report, "by")?;
    let names = section.texts(report, "by")?;
    let value = section.value("by")?;
    let (span, count) = (
        value.span(),
        value.get_ref().as_array().map_or(0, |a| a.len()),
    );
    if names.len() < count {
        // What is no text was reported.
        return None;
    }
    if !(1..=GROUP_FIELDS_MAX).contains(&count) {
        report.add(
            span,
            format!(
                "`by` in {} names {count} fields; it is 1 to {GROUP_FIELDS_MAX}",
                section.path
            ),
        );
        return None;
    }
    let last = names.len() - 1;
    let mut by = Vec::new();
    let mut whole = true;
    for (nth, name) in names.into_iter().enumerate() {
        let is_sequence = nth == last && mode == Some(DedupeMode::Sequence);
        match read_field(report, section, draft, name.clone(), is_sequence) {
            Some(field) if by.contains(&field) => {
                let message = format!("`by` in {} names `{}` twice", section.path, name.text);
                report.add(name.span, message);
                whole = false;
            }
            Some(field) => by.push(field),
            None => whole = false,
        }
    }
    whole.then_some(by)
}

fn read_field(
    report: &mut Report<'_>,
    section: &Section<'_, '_>,
    draft: &StreamDraft,
    name: Text<'_>,
    is_sequence: bool,
) -> Option<usize> {
    let Text { text, span } = name.clone();
    let field = draft.resolve_owner(report, &section.path, "part of an id", name)?;
    let declared = draft.fields.iter().find(|declared| declared.name == text)?;
    if declared.optional {
        report.add_hint(
            span,
            format!("{}: field `{text}` must not be optional", section.path),
            "an event without an id could not be told apart".to_owned(),
        );
        return None;
    }
    if let Some(kind) = declared.kind
        && is_sequence
        && kind != FieldType::U64
    {
        report.add_hint(
            span,
            format!(
                "{}: field `{text}` is {kind}, which is no sequence",
                section.path
            ),
            "name a u64 field last, which each source counts up".to_owned(),
        );
        return None;
    }
    Some(field)
}

fn read_memory(report: &mut Report<'_>, section: &Section<'_, '_>) -> Option<u64> {
    let Some(value) = section.value("memory") else {
        return Some(keys::DEDUPE_MEMORY_BYTES_DEFAULT);
    };
    let bytes = section.size_bytes(report, "memory")?;
    if bytes < keys::DEDUPE_MEMORY_BYTES_MIN {
        report.add_hint(
            value.span(),
            format!("`memory` in {} is less than 8MiB", section.path),
            "a single batch may need so much".to_owned(),
        );
        return None;
    }
    Some(bytes)
}

fn read_scope(report: &mut Report<'_>, section: &Section<'_, '_>) {
    let Some(Text { text, span }) = section.text(report, "scope") else {
        return;
    };
    match text {
        keys::DEDUPE_SCOPE => {}
        "global" => report.add_hint(
            span,
            format!("`scope` in {}: `global` is not supported", section.path),
            "use `key`, and see to it that a retry has the key of its event".to_owned(),
        ),
        _ => {
            let message = format!("`scope` in {}: unknown scope `{text}`", section.path);
            report.push(span, message, suggest::hint(text, [keys::DEDUPE_SCOPE]));
        }
    }
}
