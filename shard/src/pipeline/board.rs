//! `[board.NAME]`.

use std::ops::Range;

use toml::de::DeTable;

use crate::pipeline::call::{is_number, is_ordered, is_word, parse_call};
use crate::pipeline::computed::{read_argument, read_where};
use crate::pipeline::parse::read_from;
use crate::pipeline::problem::Report;
use crate::pipeline::section::{Section, Text};
use crate::pipeline::stream::StreamDraft;
use crate::pipeline::{Board, Score, ScoreRule, keys, suggest};

pub(super) fn read_board(
    report: &mut Report<'_>,
    drafts: &mut [StreamDraft],
    name: &str,
    span: Range<usize>,
    table: &DeTable<'_>,
) -> Option<Board> {
    let path = format!("[board.{name}]");
    let section = Section::open(report, path, span, table, &keys::BOARD);
    if let Some(ties) = section.text(report, "ties")
        && ties.text != keys::TIES
    {
        let message = format!("{}: unknown rule of ties `{}`", section.path, ties.text);
        report.push(ties.span, message, suggest::hint(ties.text, [keys::TIES]));
    }
    let from = read_from(report, &section, drafts);
    let (stream, mut draft) = from.unzip();
    let filter = read_where(report, &section, draft.as_deref_mut());
    let member = section.required_text(report, "member");
    let member = member
        .zip(draft.as_deref())
        .and_then(|(text, draft)| draft.resolve_owner(report, &section.path, "a member", text));
    let score = section.required_text(report, "score");
    let score = score.and_then(|text| read_score(report, &section, draft, text));
    Some(Board {
        name: name.to_owned(),
        stream: stream?,
        filter: filter?,
        member: member?,
        score: score?,
    })
}

const FUNCTIONS: [&str; 4] = ["sum", "best", "latest", "count"];

fn read_score(
    report: &mut Report<'_>,
    section: &Section<'_, '_>,
    draft: Option<&mut StreamDraft>,
    written: Text<'_>,
) -> Option<Score> {
    let path = &section.path;
    let Text { text, span } = written.clone();
    let Some(call) = parse_call(text).filter(|call| is_word(call.suffix)) else {
        report.add_hint(
            span,
            format!("{path}: `{text}` is no score"),
            "write for example `sum(points) desc` or `best(time_ms) asc`".to_owned(),
        );
        return None;
    };
    let descending = match call.suffix {
        "" | "desc" => true,
        "asc" => false,
        other => {
            let message = format!("{path}: unknown direction `{other}`");
            report.push(span, message, suggest::hint(other, ["asc", "desc"]));
            return None;
        }
    };
    if !FUNCTIONS.contains(&call.function) {
        let message = format!("{path}: unknown score `{}`", call.function);
        report.push(span, message, suggest::hint(call.function, FUNCTIONS));
        return None;
    }
    if call.function == "count" {
        if call.argument.is_empty() {
            return Some(Score {
                rule: ScoreRule::Sum,
                field: None,
                descending,
            });
        }
        report.add(span, format!("{path}: count() takes no field"));
        return None;
    }
    if call.argument.is_empty() {
        report.add(span, format!("{path}: {}() needs a field", call.function));
        return None;
    }
    let argument = read_argument(report, path, draft?, &written, &call)?;
    let rule = match call.function {
        "sum" => ScoreRule::Sum,
        "best" => ScoreRule::Best,
        _ => ScoreRule::Latest,
    };
    let (fits, wanted): (fn(_) -> bool, _) = match rule {
        ScoreRule::Sum => (is_number, "u64, i64 or f64"),
        _ => (is_ordered, "u64, i64, f64 or time"),
    };
    if let Some(kind) = argument.kind
        && !fits(kind)
    {
        let message = format!("{path}: {} is {kind}", argument.shown);
        report.add_hint(span, message, format!("{} takes {wanted}", call.function));
        return None;
    }
    Some(Score {
        rule,
        field: Some(argument.column),
        descending,
    })
}
