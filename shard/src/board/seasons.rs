//! The seasons that a board has on one shard, each with its members and scores.
//!
//! A season begins with its first event: a part that stands ready takes its place, whatever the
//! others hold. One that is not kept any more is taken apart in slices, a few pieces per batch, so
//! that no event waits for it.

use super::divided::SplitScratch;
use crate::pipeline::Board;
use crate::query::SeasonRow;
use crate::schema::Field;
use crate::season::{Horizon, SeasonPlan};
use crate::watermark::NO_WATERMARK;
use crate::window::Accepted;
use crate::window::grid::Span;
use std::collections::VecDeque;

/// Pieces of memory that are freed with a batch, each of at most some hundred KiB.
const FREE_PIECES: usize = 16;
/// Start of no season: of events that are in none.
const NO_SEASON: i64 = i64::MAX;
/// The season of boards that have none.
const ALL_TIME: Span = Span {
    start_ms: i64::MIN,
    end_ms: i64::MAX,
};

/// What a season holds.
pub(crate) trait Part {
    /// An empty one with the same rules.
    fn fresh(&self, member: &Field) -> Self;
    /// Frees up to `pieces` pieces of memory and counts them down; true if nothing is left.
    fn free_some(&mut self, pieces: &mut usize) -> bool;
    /// Members that have a score.
    fn members(&self) -> u64;
    /// Events that were taken back or put back after the season was final.
    fn corrected(&self) -> u64 {
        0
    }
}

/// Which season of a board is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At {
    /// Start of the season; `None` for that of the watermark.
    pub(crate) season_ms: Option<i64>,
    pub(crate) watermark_ms: i64,
}

impl At {
    /// The only one of a board without seasons.
    pub(crate) const ALL_TIME: Self = Self {
        season_ms: None,
        watermark_ms: 0,
    };
}

#[derive(Debug, Clone)]
pub(crate) struct Seasons<P> {
    /// The member field.
    field: Field,
    plan: Option<SeasonPlan>,
    horizon: Horizon,
    /// The season of the latest event.
    recent: Span,
    /// By start.
    kept: VecDeque<(Span, P)>,
    /// Always empty: what stands where a season has nothing, and begins the next one.
    ready: P,
    leaving: Vec<P>,
    /// Events that came after their season was final.
    late: u64,
    scratch: Scratch,
}

#[derive(Debug, Clone, Default)]
struct Scratch {
    /// Start of the season and place in the batch, of each event.
    starts: Vec<(i64, u32)>,
    picks: Vec<u32>,
    part: PartScratch,
}

/// Vectors for applying events to a part, kept so that a batch allocates nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct PartScratch {
    pub(crate) hashes: Vec<u64>,
    pub(crate) ids: Vec<u32>,
    pub(crate) note: Vec<u8>,
    pub(crate) split: SplitScratch,
}

impl<P: Part> Seasons<P> {
    pub(crate) fn new(board: &Board, field: &Field, ready: P) -> Self {
        Self {
            field: field.clone(),
            plan: board.season.as_ref().map(SeasonPlan::new),
            horizon: Horizon::new(),
            recent: Span {
                start_ms: 0,
                end_ms: 0,
            },
            kept: VecDeque::new(),
            ready,
            leaving: Vec::new(),
            late: 0,
            scratch: Scratch::default(),
        }
    }

    /// The part of a season, by its start; an empty one if nothing is there. Boards without seasons
    /// have one.
    pub(crate) fn part(&self, at: At) -> &P {
        let start_ms = match (&self.plan, at.season_ms) {
            (None, _) => ALL_TIME.start_ms,
            (Some(_), Some(start_ms)) => start_ms,
            // Where event time is not known, the latest one is as good as any.
            (Some(_), None) if at.watermark_ms == NO_WATERMARK => {
                return self.kept.back().map_or(&self.ready, |(_, part)| part);
            }
            (Some(plan), None) => plan.at(at.watermark_ms).start_ms,
        };
        let found = self
            .kept
            .binary_search_by_key(&start_ms, |(span, _)| span.start_ms);
        found.map_or(&self.ready, |at| &self.kept[at].1)
    }

    /// The part that stands where a season has nothing.
    pub(crate) const fn empty(&self) -> &P {
        &self.ready
    }

    /// The part of a season to change; `None` if it is not kept any more.
    pub(crate) fn part_mut(&mut self, season_ms: i64) -> Option<&mut P> {
        if season_ms < self.horizon.oldest_ms {
            return None;
        }
        let at = self.place(season_ms);
        Some(&mut self.kept[at].1)
    }

    /// The part of the season that an event went into which was recorded with a watermark, its start
    /// and whether it is final at another one; `None` if the season was final then, or is not kept
    /// any more. One that is not there is only begun for events that are put back.
    pub(crate) fn part_of_recorded(
        &mut self,
        time_ms: i64,
        recorded_ms: i64,
        watermark_ms: i64,
        begin: bool,
    ) -> Option<(&mut P, i64, bool)> {
        let (start_ms, is_final) = match &self.plan {
            None => (ALL_TIME.start_ms, false),
            Some(plan) => {
                let span = plan.at(time_ms);
                if plan.is_final(span, recorded_ms) || span.start_ms < self.horizon.oldest_ms {
                    return None;
                }
                (span.start_ms, plan.is_final(span, watermark_ms))
            }
        };
        let found = self
            .kept
            .binary_search_by_key(&start_ms, |(kept, _)| kept.start_ms);
        let at = match found {
            Ok(at) => at,
            Err(_) if begin => self.place(start_ms),
            Err(_) => return None,
        };
        Some((&mut self.kept[at].1, start_ms, is_final))
    }

    /// Where the season that starts here stands, which begins if it is not there.
    fn place(&mut self, start_ms: i64) -> usize {
        let found = self
            .kept
            .binary_search_by_key(&start_ms, |(kept, _)| kept.start_ms);
        found.unwrap_or_else(|at| {
            let plan = self.plan.as_ref();
            let span = plan.map_or(ALL_TIME, |plan| plan.at(start_ms));
            let next = self.ready.fresh(&self.field);
            let part = std::mem::replace(&mut self.ready, next);
            self.kept.insert(at, (span, part));
            at
        })
    }

    /// Calls `apply` for each season with its start and its events.
    pub(crate) fn apply(
        &mut self,
        batch: &Accepted<'_>,
        mut apply: impl FnMut(&mut P, i64, &Accepted<'_>, &mut PartScratch),
    ) {
        self.free_some();
        let Some(plan) = &self.plan else {
            let at = self.place(ALL_TIME.start_ms);
            let part = &mut self.kept[at].1;
            apply(part, ALL_TIME.start_ms, batch, &mut self.scratch.part);
            return;
        };
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.starts.clear();
        // The calendar is dear to ask, and most events are of the season of those before.
        let mut span = self.recent;
        let mut is_late = plan.is_final(span, batch.watermark_ms);
        for (at, &time_ms) in batch.times_ms.iter().enumerate() {
            if !span.contains(time_ms) {
                span = plan.at(time_ms);
                is_late = plan.is_final(span, batch.watermark_ms);
            }
            self.late += u64::from(is_late);
            // Events of an older log, replayed behind a newer one, may be of a season that has gone
            // since.
            let start_ms = match is_late || span.start_ms < self.horizon.oldest_ms {
                true => NO_SEASON,
                false => span.start_ms,
            };
            scratch.starts.push((start_ms, at as u32));
        }
        self.recent = span;
        self.apply_parts(&mut scratch, batch, &mut apply);
        self.scratch = scratch;
    }

    /// Hands each season the events whose starts say so.
    fn apply_parts(
        &mut self,
        scratch: &mut Scratch,
        batch: &Accepted<'_>,
        apply: &mut impl FnMut(&mut P, i64, &Accepted<'_>, &mut PartScratch),
    ) {
        let Scratch {
            starts,
            picks,
            part: of_part,
        } = scratch;
        let Some(&(first_ms, _)) = starts.first() else {
            return;
        };
        if starts.iter().all(|(start_ms, _)| *start_ms == first_ms) {
            if let Some(part) = self.part_of(first_ms) {
                apply(part, first_ms, batch, of_part);
            }
            return;
        }
        starts.sort_unstable();
        for of_season in starts.chunk_by(|(one, _), (other, _)| one == other) {
            let start_ms = of_season[0].0;
            let Some(part) = self.part_of(start_ms) else {
                continue;
            };
            picks.clear();
            let of_season = of_season.iter();
            picks.extend(of_season.map(|(_, at)| batch.picks[*at as usize]));
            let events = Accepted {
                picks: picks.as_slice(),
                times_ms: &[],
                members: &[],
                ..*batch
            };
            apply(part, start_ms, &events, of_part);
        }
    }

    /// The part for events of the season that starts here.
    fn part_of(&mut self, start_ms: i64) -> Option<&mut P> {
        (start_ms != NO_SEASON).then(|| self.part_mut(start_ms))?
    }

    /// The effect of a watermark: seasons that are not kept any more leave. They are few unless
    /// event time jumps, and only moved.
    pub(crate) fn advance(&mut self, watermark_ms: i64) {
        let Some(plan) = &self.plan else { return };
        if self.horizon.advance(plan, watermark_ms) {
            let oldest_ms = self.horizon.oldest_ms;
            while self
                .kept
                .front()
                .is_some_and(|(span, _)| span.start_ms < oldest_ms)
            {
                let gone = self.kept.pop_front();
                self.leaving.extend(gone.map(|(_, part)| part));
            }
        }
    }

    /// Whether a watermark later than the one in effect would end a season, or its grace. Also of
    /// seasons that have nothing here: they are final once they are so on all shards.
    pub(crate) fn awaits(&self, in_effect_ms: i64, watermark_ms: i64) -> bool {
        let crossed = |plan: &SeasonPlan| plan.is_crossed(in_effect_ms, watermark_ms);
        self.plan.as_ref().is_some_and(crossed)
    }

    fn free_some(&mut self) {
        let mut pieces = FREE_PIECES;
        while pieces > 0
            && let Some(part) = self.leaving.last_mut()
        {
            if part.free_some(&mut pieces) {
                self.leaving.pop();
                pieces = pieces.saturating_sub(1);
            }
        }
    }

    /// Events that came after their season was final.
    pub(crate) const fn late(&self) -> u64 {
        self.late
    }

    /// Members of all seasons.
    pub(crate) fn members(&self) -> u64 {
        self.kept.iter().map(|(_, part)| part.members()).sum()
    }

    /// All seasons by start, with how many members they have.
    pub(crate) fn rows(&self) -> Vec<SeasonRow> {
        let row = |(span, part): (Span, &P)| SeasonRow {
            start_ms: span.start_ms,
            end_ms: span.end_ms,
            members: part.members(),
            corrected: part.corrected(),
        };
        self.all().map(row).collect()
    }

    /// All seasons by start, with what they hold.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Span, &P)> {
        self.kept.iter().map(|(span, part)| (*span, part))
    }

    /// Whether the board has seasons.
    pub(crate) const fn is_seasonal(&self) -> bool {
        self.plan.is_some()
    }
}

#[cfg(test)]
mod tests;
