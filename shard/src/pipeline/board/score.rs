//! Reading `score` of a board.

use std::ops::Range;

use toml::de::DeValue;

use super::{Score, ScoreRule};
use crate::limits::{MEAN_BEST_MAX, SCORES_MAX};
use crate::pipeline::call::{Call, commas, is_number, is_ordered, is_word, parse_call};
use crate::pipeline::computed::read_argument;
use crate::pipeline::problem::Report;
use crate::pipeline::section::{Section, Text};
use crate::pipeline::stream::StreamDraft;
use crate::pipeline::suggest;

/// One score, or a list of them.
pub(super) fn read_scores(
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
    let scores: Vec<Score> = scores.into_iter().collect::<Option<_>>()?;
    let words: usize = scores.iter().map(|score| score.rule.words()).sum();
    if words > SCORES_MAX {
        report.add_hint(
            value.span(),
            format!("{path}: scores take {words} places; at most {SCORES_MAX} are possible"),
            "each `mean_best` takes two".to_owned(),
        );
        return None;
    }
    Some(scores)
}

const FUNCTIONS: [&str; 5] = ["sum", "best", "latest", "count", "mean_best"];

fn read_score(
    report: &mut Report<'_>,
    section: &Section<'_, '_>,
    draft: Option<&mut StreamDraft>,
    written: Text<'_>,
) -> Option<Score> {
    let path = &section.path;
    let Text { text, span } = written.clone();
    let Some(mut call) = parse_call(text).filter(|call| is_word(call.suffix)) else {
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
    let rule = match call.function {
        "sum" => ScoreRule::Sum,
        "best" => ScoreRule::Best,
        "latest" => ScoreRule::Latest,
        _ => read_mean(report, path, &span, &mut call)?,
    };
    let argument = read_argument(report, path, draft?, &written, &call)?;
    let (fits, wanted): (fn(_) -> bool, _) = match rule {
        ScoreRule::Sum | ScoreRule::MeanBest { .. } => (is_number, "u64, i64 or f64"),
        ScoreRule::Best | ScoreRule::Latest => (is_ordered, "u64, i64, f64 or time"),
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

/// Takes the number off the arguments of `mean_best(points, 3)`.
fn read_mean(
    report: &mut Report<'_>,
    path: &str,
    span: &Range<usize>,
    call: &mut Call<'_>,
) -> Option<ScoreRule> {
    let argument = call.argument;
    let Some(&comma) = commas(argument).last() else {
        report.add_hint(
            span.clone(),
            format!("{path}: mean_best({argument}) does not say of how many"),
            format!("write for example `mean_best({argument}, 3)`"),
        );
        return None;
    };
    let text = argument[comma + 1..].trim();
    call.argument = argument[..comma].trim_end();
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let n = text.parse::<u16>().ok().filter(|_| digits);
    let n = n.filter(|n| (1..=MEAN_BEST_MAX).contains(&usize::from(*n)));
    if n.is_none() {
        report.add_hint(
            span.clone(),
            format!("{path}: `{text}` is no number of values"),
            format!("use a whole number from 1 to {MEAN_BEST_MAX}"),
        );
    }
    n.map(|n| ScoreRule::MeanBest { n })
}
