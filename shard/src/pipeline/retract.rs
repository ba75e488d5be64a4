//! `retract`: what a view or board does when events that it has counted are taken back.

use super::{Aggregate, Column, Score, ScoreRule, Window};
use crate::pipeline::problem::Report;
use crate::pipeline::section::{Section, Text};
use crate::pipeline::suggest;

/// What a view or board does with corrections of its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retract {
    /// It stands in their way: no event of the stream can be taken back.
    #[default]
    Refuse,
    /// It is as if the events had never been there.
    Exact,
    /// It stays as it is, and every correction says so.
    Ignore,
}

impl Retract {
    /// All, the default first.
    pub const ALL: [Retract; 3] = [Retract::Refuse, Retract::Exact, Retract::Ignore];

    /// The name in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Retract::Refuse => "refuse",
            Retract::Exact => "exact",
            Retract::Ignore => "ignore",
        }
    }
}

/// Reads `retract` as it stands.
fn read(report: &mut Report<'_>, section: &Section<'_, '_>) -> Option<Retract> {
    if section.value("retract").is_none() {
        return Some(Retract::default());
    }
    let Text { text, span } = section.text(report, "retract")?;
    let mut all = Retract::ALL.into_iter();
    let known = all.find(|retract| retract.name() == text);
    if known.is_none() {
        let message = format!("{}: unknown `retract` `{text}`", section.path);
        let names = Retract::ALL.map(Retract::name);
        report.push(span, message, suggest::hint(text, names));
    }
    known
}

/// Reads `retract` of a view, which must be able to do what it says.
pub(super) fn read_of_view(
    report: &mut Report<'_>,
    section: &Section<'_, '_>,
    window: Option<&Window>,
    columns: &[Column],
) -> Option<Retract> {
    let retract = read(report, section)?;
    if retract == Retract::Exact {
        if let Some(window) = window
            && window.kind.is_of_key()
        {
            let kind = window.kind.name();
            let lost = format!("its `{kind}` windows are made by the events themselves");
            refuse(report, section, vec![lost]);
        }
        let lost = columns.iter().filter_map(|column| {
            let why = why_lost(column.aggregate)?;
            Some(format!(
                "`{}` is {}, {why}",
                column.name,
                column.aggregate.name()
            ))
        });
        refuse(report, section, lost.collect());
    }
    Some(retract)
}

/// Why an aggregate cannot be as if an event had never been there.
fn why_lost(aggregate: Aggregate) -> Option<&'static str> {
    match aggregate {
        Aggregate::Count | Aggregate::Sum(_) | Aggregate::Avg(_) | Aggregate::Quantile { .. } => {
            None
        }
        Aggregate::Min(_) | Aggregate::Max(_) => Some("which does not keep what was second"),
        Aggregate::First(_) | Aggregate::Last(_) => Some("which does not keep what was next"),
        Aggregate::Distinct { .. } => Some("which does not keep who else had a value"),
        Aggregate::Top { .. } => Some("which does not keep all values"),
    }
}

/// Reads `retract` of a board, which must be able to do what it says.
pub(super) fn read_of_board(
    report: &mut Report<'_>,
    section: &Section<'_, '_>,
    scores: &[Score],
) -> Option<Retract> {
    let retract = read(report, section)?;
    if retract == Retract::Exact {
        let lost = scores.iter().filter_map(|score| {
            let why = match score.rule {
                ScoreRule::Sum => return None,
                ScoreRule::Best => "which does not keep what was second",
                ScoreRule::MeanBest { .. } => "which does not keep what was next",
                ScoreRule::Latest => "which does not keep what was before",
            };
            Some(format!("a score is `{}`, {why}", score.rule.name()))
        });
        let with = section.value("with").is_some();
        let beside =
            "what stands `with` a score is of the latest event, and what was before is not kept";
        let lost = lost.chain(with.then(|| beside.to_owned()));
        refuse(report, section, lost.collect());
    }
    Some(retract)
}

fn refuse(report: &mut Report<'_>, section: &Section<'_, '_>, lost: Vec<String>) {
    let Some(value) = section.value("retract") else {
        return;
    };
    for lost in lost {
        report.add_hint(
            value.span(),
            format!("{}: `retract = \"exact\"`, but {lost}", section.path),
            "leave it out, or say `retract = \"ignore\"`".to_owned(),
        );
    }
}
