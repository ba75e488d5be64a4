//! Reading `[board.NAME]`.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::season::read_season;
use super::{Board, RankStyle, Score, ScoreRule, Ties};
use crate::limits::SCORES_MAX;
use crate::pipeline::call::{is_number, is_ordered, is_word, parse_call};
use crate::pipeline::computed::{read_argument, read_where};
use crate::pipeline::parse::read_from;
use crate::pipeline::problem::Report;
use crate::pipeline::section::{Section, Text};
use crate::pipeline::stream::StreamDraft;
use crate::pipeline::{Cores, EngineSection, keys, suggest};

pub(in crate::pipeline) fn read_board(
    report: &mut Report<'_>,
    engine: &EngineSection,
    drafts: &mut [StreamDraft],
    name: &str,
    span: Range<usize>,
    table: &DeTable<'_>,
) -> Option<Board> {
    let path = format!("[board.{name}]");
    let section = Section::open(report, path, span, table, &keys::BOARD);
    let ties = read_ties(report, &section);
    let rank = read_rank(report, &section, ties, engine);
    let from = read_from(report, &section, drafts);
    let (stream, mut draft) = from.unzip();
    let filter = read_where(report, &section, draft.as_deref_mut());
    let member = section.required_text(report, "member");
    let member = member
        .zip(draft.as_deref())
        .and_then(|(text, draft)| draft.resolve_owner(report, &section.path, "a member", text));
    let season = read_season(report, &section, draft.as_deref());
    let scores = read_scores(report, &section, draft);
    Some(Board {
        name: name.to_owned(),
        stream: stream?,
        filter: filter?,
        member: member?,
        scores: scores?,
        ties: ties?,
        rank: rank?,
        season: season?,
    })
}

fn read_ties(report: &mut Report<'_>, section: &Section<'_, '_>) -> Option<Ties> {
    if section.value("ties").is_none() {
        return Some(Ties::default());
    }
    let Text { text, span } = section.text(report, "ties")?;
    let known = Ties::ALL.into_iter().find(|ties| ties.name() == text);
    if known.is_none() {
        let message = format!("{}: unknown rule of ties `{text}`", section.path);
        report.push(
            span,
            message,
            suggest::hint(text, Ties::ALL.map(Ties::name)),
        );
    }
    known
}

fn read_rank(
    report: &mut Report<'_>,
    section: &Section<'_, '_>,
    ties: Option<Ties>,
    engine: &EngineSection,
) -> Option<RankStyle> {
    if section.value("rank").is_none() {
        return Some(ties?.usual_rank());
    }
    let path = &section.path;
    let Text { text, span } = section.text(report, "rank")?;
    let known = RankStyle::ALL.into_iter().find(|rank| rank.name() == text);
    let Some(rank) = known else {
        let message = format!("{path}: unknown rank `{text}`");
        let names = RankStyle::ALL.map(RankStyle::name);
        report.push(span, message, suggest::hint(text, names));
        return None;
    };
    if rank == RankStyle::Ordinal && ties == Some(Ties::Shared) {
        report.add_hint(
            span,
            format!("{path}: shared ties give equal scores one rank, `ordinal` gives each its own"),
            "use `ties = \"member\"`, or another `rank`".to_owned(),
        );
        return None;
    }
    if rank == RankStyle::Dense && engine.cores != Some(Cores::Count(1)) {
        report.add_hint(
            span,
            format!(
                "{path}: `dense` counts different scores, and the members may be on several \
                 shards, whose counts do not add up: an equal score on two would count twice"
            ),
            "use `competition`, or `cores = 1` in [engine]".to_owned(),
        );
        return None;
    }
    Some(rank)
}

/// One score, or a list of them.
fn read_scores(
    report: &mut Report<'_>,
    section: &Section<'_, '_>,
    mut draft: Option<&mut StreamDraft>,
) -> Option<Vec<Score>> {
    section.require(report, "score")?;
    let value = section.value("score")?;
    let texts = match value.get_ref() {
        DeValue::String(_) => vec![section.text(report, "score")?],
        DeValue::Array(_) => section.texts(report, "score")?,
        other => {
            section.wrong_type(
                report,
                "score",
                value.span(),
                "text or a list of texts",
                other,
            );
            return None;
        }
    };
    let path = &section.path;
    if texts.is_empty() {
        report.add(value.span(), format!("{path} needs at least one score"));
        return None;
    }
    if texts.len() > SCORES_MAX {
        let message = format!(
            "{path}: {} scores; at most {SCORES_MAX} are possible",
            texts.len()
        );
        report.add(value.span(), message);
        return None;
    }
    let scores: Vec<_> = texts
        .into_iter()
        .map(|text| read_score(report, section, draft.as_deref_mut(), text))
        .collect();
    scores.into_iter().collect()
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
