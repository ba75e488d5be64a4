//! The seasons of a board over all shards.

use crate::query::SeasonsAnswer;
use crate::season::{SeasonPlan, SeasonState};
use crate::watermark::NO_WATERMARK;
use crate::window::grid::Span;
use std::collections::BTreeMap;

/// A season of a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoardSeasonInfo {
    /// Its bounds.
    pub span: Span,
    /// How far it is: final if it is so on all shards.
    pub state: SeasonState,
    /// Members that have a score in it.
    pub members: u64,
    /// Events that were taken back or put back after it was final.
    pub corrected: u64,
}

/// The seasons of a board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeasonsPage {
    /// The least watermark of all shards, ms; `i64::MIN` if one has none.
    pub watermark_ms: i64,
    /// Where event time is: the season of the greatest watermark.
    pub current: Option<Span>,
    /// The season that is current and those that hold members, or were corrected, and are kept, by
    /// start.
    pub seasons: Vec<BoardSeasonInfo>,
    /// Start of the oldest season that is kept, ms.
    pub oldest_ms: i64,
}

/// Joins the seasons that the shards have.
pub fn merge_seasons(plan: &SeasonPlan, answers: &[SeasonsAnswer]) -> SeasonsPage {
    let watermarks = answers.iter().map(|answer| answer.watermark_ms);
    let watermark_ms = watermarks.clone().min().unwrap_or(NO_WATERMARK);
    let newest_ms = watermarks.max().unwrap_or(NO_WATERMARK);
    let current = (newest_ms != NO_WATERMARK).then(|| plan.at(newest_ms));
    let oldest_ms = plan.oldest_kept_ms(newest_ms);
    let mut held: BTreeMap<(i64, i64), (u64, u64)> = BTreeMap::new();
    for season in answers.iter().flat_map(|answer| &answer.seasons) {
        if season.start_ms >= oldest_ms && (season.members > 0 || season.corrected > 0) {
            let sums = held.entry((season.start_ms, season.end_ms)).or_default();
            *sums = (sums.0 + season.members, sums.1 + season.corrected);
        }
    }
    if let Some(Span { start_ms, end_ms }) = current {
        held.entry((start_ms, end_ms)).or_default();
    }
    let season = |((start_ms, end_ms), (members, corrected))| {
        let span = Span { start_ms, end_ms };
        BoardSeasonInfo {
            span,
            state: plan.state(span, watermark_ms),
            members,
            corrected,
        }
    };
    SeasonsPage {
        watermark_ms,
        current,
        seasons: held.into_iter().map(season).collect(),
        oldest_ms,
    }
}
