//! Reading `[board.NAME]`.

use std::ops::Range;

use toml::de::DeTable;

use super::columns::{read_split, read_splits, read_with};
use super::score::read_scores;
use super::season::read_season;
use super::{Board, RankStyle, Ties};
use crate::pipeline::computed::read_where;
use crate::pipeline::parse::read_from;
use crate::pipeline::problem::Report;
use crate::pipeline::retract;
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
    let split = read_split(report, &section, draft.as_deref());
    let splits = read_splits(report, &section);
    let with = read_with(report, &section, draft.as_deref());
    let scores = read_scores(report, &section, draft);
    let known = scores.as_deref().unwrap_or_default();
    let retract = retract::read_of_board(report, &section, known);
    Some(Board {
        name: name.to_owned(),
        stream: stream?,
        filter: filter?,
        member: member?,
        scores: scores?,
        ties: ties?,
        rank: rank?,
        season: season?,
        split: split?,
        splits: splits?,
        with: with?,
        retract: retract?,
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
