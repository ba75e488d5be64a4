//! Seasons of a board: spans of event time, and how far each of them is.
//!
//! A season is *open* until the watermark reaches its end, then *frozen*: it still takes late events
//! of its own, for as long as its grace. Then it is *final*, and never changes again. So many final
//! seasons as the board keeps stay readable, counted by the calendar and not by what they hold: all
//! shards agree on them without a word.

use crate::limits::TIME_MS_MIN;
use crate::pipeline::Season;
use crate::watermark::NO_WATERMARK;
use crate::window::grid::{Grid, Span};

/// How far a season is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeasonState {
    /// It takes events.
    Open,
    /// It has ended, and still takes late events.
    Frozen,
    /// It does not change any more.
    Final,
}

impl SeasonState {
    /// The name in answers.
    pub const fn name(self) -> &'static str {
        match self {
            SeasonState::Open => "open",
            SeasonState::Frozen => "frozen",
            SeasonState::Final => "final",
        }
    }
}

/// The seasons of a board.
#[derive(Debug, Clone)]
pub struct SeasonPlan {
    grid: Grid,
    grace_ms: i64,
    keep: u32,
}

impl SeasonPlan {
    /// The seasons that a board declares.
    pub fn new(season: &Season) -> Self {
        Self {
            grid: Grid::new(&season.every),
            grace_ms: season.grace_ms,
            keep: season.keep,
        }
    }

    /// The season that a time lies in.
    #[inline]
    pub fn at(&self, time_ms: i64) -> Span {
        self.grid.pane_at(time_ms)
    }

    /// How far a season is at a watermark.
    pub fn state(&self, season: Span, watermark_ms: i64) -> SeasonState {
        if self.is_final(season, watermark_ms) {
            SeasonState::Final
        } else if season.end_ms <= watermark_ms {
            SeasonState::Frozen
        } else {
            SeasonState::Open
        }
    }

    /// Whether no event can change a season any more at a watermark.
    #[inline]
    pub fn is_final(&self, season: Span, watermark_ms: i64) -> bool {
        season.end_ms.saturating_add(self.grace_ms) <= watermark_ms
    }

    /// Whether a season or its grace ends above one watermark and at or below another.
    pub(crate) fn is_crossed(&self, from_ms: i64, to_ms: i64) -> bool {
        let starts = |to_ms: i64, from_ms: i64| {
            let last = self.at(to_ms.max(TIME_MS_MIN));
            last.start_ms > from_ms
        };
        let grace_ms = self.grace_ms;
        from_ms == NO_WATERMARK
            || starts(to_ms, from_ms)
            || starts(
                to_ms.saturating_sub(grace_ms),
                from_ms.saturating_sub(grace_ms),
            )
    }

    /// The first season that is not final at a watermark.
    fn first_live(&self, watermark_ms: i64) -> Span {
        self.at(watermark_ms.saturating_sub(self.grace_ms).max(TIME_MS_MIN))
    }

    /// Start of the oldest season that is kept at a watermark, ms.
    pub fn oldest_kept_ms(&self, watermark_ms: i64) -> i64 {
        if watermark_ms == NO_WATERMARK {
            return i64::MIN;
        }
        let mut start_ms = self.first_live(watermark_ms).start_ms;
        for _ in 0..self.keep {
            if start_ms <= TIME_MS_MIN {
                return i64::MIN;
            }
            start_ms = self.at(start_ms - 1).start_ms;
        }
        start_ms
    }
}

/// What is kept of the seasons at the watermark in effect; it only moves on.
#[derive(Debug, Clone)]
pub(crate) struct Horizon {
    /// Start of the oldest season that is kept, ms.
    pub(crate) oldest_ms: i64,
    /// The first season that is not final, once there is a watermark.
    first_live: Option<Span>,
}

impl Horizon {
    pub(crate) const fn new() -> Self {
        Self {
            oldest_ms: i64::MIN,
            first_live: None,
        }
    }

    /// Moves to a watermark; true if seasons are final now that were not before. From a season to
    /// the next it takes one step, whatever is kept.
    pub(crate) fn advance(&mut self, plan: &SeasonPlan, watermark_ms: i64) -> bool {
        if let Some(live) = self.first_live
            && !plan.is_final(live, watermark_ms)
        {
            return false;
        }
        let live = plan.first_live(watermark_ms);
        let is_next = self
            .first_live
            .is_some_and(|before| before.end_ms == live.start_ms);
        self.oldest_ms = if is_next && self.oldest_ms != i64::MIN {
            plan.at(self.oldest_ms).end_ms
        } else {
            plan.oldest_kept_ms(watermark_ms)
        };
        self.first_live = Some(live);
        true
    }
}

/// Most seasons that a board may have at one moment, from the oldest that it keeps to the one of
/// the newest event.
pub(crate) fn at_once(season: &Season, ahead_ms: i64) -> i64 {
    let every_ms = season.every.lengths_ms().1;
    (season.grace_ms + ahead_ms) / every_ms + i64::from(season.keep) + 2
}
