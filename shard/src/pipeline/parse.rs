//! From the text to a checked pipeline; all problems of a file at once.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use crate::limits::{BOARDS_MAX, NAME_BYTES_MAX, STREAMS_MAX, VIEWS_MAX};
use crate::pipeline::declared;
use crate::pipeline::dedupe::warn_of_short_horizons;
use crate::pipeline::problem::{Problem, Report};
use crate::pipeline::section::{Section, as_table};
use crate::pipeline::stream::{StreamDraft, read_stream};
use crate::pipeline::{Checked, Cores, EngineSection, Pipeline, board, keys, suggest, test, view};

pub(super) fn parse(text: &str) -> Result<Checked, Vec<Problem>> {
    let mut report = Report::new(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        report.add(span, error.message().trim_end().replace('\n', ", "));
    }
    if !report.is_empty() {
        // What a broken document seems to say would only add problems that are none.
        return Err(report.finish());
    }
    let root = Section::open(
        &mut report,
        "the file".to_owned(),
        0..0,
        document.get_ref(),
        &keys::FILE,
    );
    check_version(&mut report, &root);
    let engine = read_engine(&mut report, &root);
    let mut drafts: Vec<StreamDraft> = named(&mut report, &root, "stream", STREAMS_MAX)
        .into_iter()
        .map(|(name, span, table)| read_stream(&mut report, name, span, table))
        .collect();
    if drafts.is_empty() {
        report.add(0..0, "the file needs at least one [stream.NAME]".to_owned());
    }
    let views = named(&mut report, &root, "view", VIEWS_MAX);
    let views: Vec<_> = views
        .into_iter()
        .map(|(name, span, table)| view::read_view(&mut report, &mut drafts, name, span, table))
        .collect();
    let boards = named(&mut report, &root, "board", BOARDS_MAX);
    let boards: Vec<_> = boards
        .into_iter()
        .map(|(name, span, table)| {
            board::read_board(&mut report, &engine, &mut drafts, name, span, table)
        })
        .collect();
    let tests = test::read_tests(&mut report, &root);
    let declarations = declared::read(&mut report, &root);
    if !report.is_empty() {
        return Err(report.finish());
    }
    const WHOLE: &str = "invariant: what is absent was reported";
    let horizons = drafts.iter_mut().map(|draft| draft.horizon_at.take());
    let horizons_at = horizons.collect();
    let pipeline = Pipeline {
        engine,
        streams: drafts
            .into_iter()
            .map(|draft| draft.finish().expect(WHOLE))
            .collect(),
        views: views.into_iter().map(|view| view.expect(WHOLE)).collect(),
        boards: boards
            .into_iter()
            .map(|board| board.expect(WHOLE))
            .collect(),
    };
    warn_of_short_horizons(&mut report, &pipeline, horizons_at);
    Ok(Checked {
        pipeline,
        tests,
        warnings: report.into_warnings(),
        declarations,
    })
}

fn check_version(report: &mut Report<'_>, root: &Section<'_, '_>) {
    if root.value("ringmill").is_none() {
        report.add_hint(
            0..0,
            "the file does not say its format".to_owned(),
            "begin it with `ringmill = 1`".to_owned(),
        );
        return;
    }
    match root.integer(report, "ringmill") {
        Some((keys::FORMAT, _)) | None => {}
        Some((found, span)) => {
            report.add(
                span,
                format!("file format {found} is not supported, only format 1 is"),
            );
        }
    }
}

fn read_engine(report: &mut Report<'_>, root: &Section<'_, '_>) -> EngineSection {
    let Some((span, table)) = root.table(report, "engine") else {
        return EngineSection::default();
    };
    let section = Section::open(report, "[engine]".to_owned(), span, table, &keys::ENGINE);
    let data = section.text(report, "data").and_then(|data| {
        if data.text.is_empty() {
            report.add(data.span, "`data` in [engine] is empty".to_owned());
            return None;
        }
        Some(data.text.to_owned())
    });
    EngineSection {
        cores: read_cores(report, &section),
        memory_bytes: section.size_bytes(report, "memory"),
        data,
    }
}

fn read_cores(report: &mut Report<'_>, section: &Section<'_, '_>) -> Option<Cores> {
    let value = section.value("cores")?;
    let cores = match value.get_ref() {
        DeValue::Integer(_) => {
            let (count, _) = section.integer(report, "cores")?;
            u16::try_from(count)
                .ok()
                .filter(|count| *count >= 1)
                .map(Cores::Count)
        }
        DeValue::String(text) if text == "all" => Some(Cores::AllBut(0)),
        DeValue::String(text) => text
            .strip_prefix("all-but-")
            .filter(|count| count.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|count| count.parse().ok())
            .map(Cores::AllBut),
        _ => None,
    };
    if cores.is_none() {
        report.add_hint(
            value.span(),
            "`cores` in [engine] is no number of cores".to_owned(),
            "write a number from 1, \"all\" or \"all-but-1\"".to_owned(),
        );
    }
    cores
}

/// A named table: its name, the place of the name, the table.
pub(super) type Named<'d, 'i> = (&'d str, Range<usize>, &'d DeTable<'i>);

/// The tables `[KIND.NAME]` in the order of the file.
fn named<'d, 'i>(
    report: &mut Report<'_>,
    root: &Section<'d, 'i>,
    kind: &str,
    count_max: usize,
) -> Vec<Named<'d, 'i>> {
    let Some((span, table)) = root.table(report, kind) else {
        return Vec::new();
    };
    let section = Section::free(format!("[{kind}]"), span.clone(), table);
    let mut found = Vec::new();
    for (name, span, value) in section.entries() {
        if !is_object_name(name) {
            report.add_hint(
                span.clone(),
                format!("`{name}` is no name of a {kind}"),
                format!(
                    "use a letter, then letters, digits, `_` and `-`, at most \
                     {NAME_BYTES_MAX} bytes"
                ),
            );
        }
        if let Some(table) = as_table(report, &format!("[{kind}.{name}]"), value) {
            found.push((name, span, table));
        }
    }
    if found.len() > count_max {
        let count = found.len();
        report.add(
            span,
            format!("{count} {kind}s; a pipeline has at most {count_max}"),
        );
    }
    found
}

pub(super) fn is_object_name(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

/// The stream that `from` names.
pub(super) fn read_from<'s>(
    report: &mut Report<'_>,
    section: &Section<'_, '_>,
    drafts: &'s mut [StreamDraft],
) -> Option<(usize, &'s mut StreamDraft)> {
    let from = section.required_text(report, "from")?;
    let found = drafts.iter().position(|draft| draft.name == from.text);
    if found.is_none() {
        let names = drafts.iter().map(|draft| draft.name.as_str());
        let message = format!("{}: there is no stream `{}`", section.path, from.text);
        report.push(from.span, message, suggest::hint(from.text, names));
    }
    found.map(|index| (index, &mut drafts[index]))
}
