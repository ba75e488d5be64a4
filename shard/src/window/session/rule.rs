//! What becomes of sessions and events at a watermark.

use crate::pipeline::{After, Window};
use crate::watermark::ClockMove;
use crate::window::LateReason;
use crate::window::grid::Span;
use crate::window::late::Missed;
use crate::window::runs::Entry;

/// Events of a group that are less than the gap apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Session {
    /// Times of its first and last event, ms.
    pub(super) first_ms: i64,
    pub(super) last_ms: i64,
    /// Its row in the cell store.
    pub(super) row: u32,
    /// Events that came after it was closed.
    pub(super) revision: u64,
}

impl Session {
    #[inline]
    pub(super) const fn of(entry: Entry) -> Self {
        Self {
            first_ms: entry[0].cast_signed(),
            last_ms: entry[1].cast_signed(),
            row: entry[2] as u32,
            revision: entry[3],
        }
    }

    #[inline]
    pub(super) const fn entry(&self) -> Entry {
        [
            self.first_ms.cast_unsigned(),
            self.last_ms.cast_unsigned(),
            self.row as u64,
            self.revision,
        ]
    }
}

/// Of which ends a watermark decides what: those at or before each mark.
#[derive(Debug, Clone, Copy)]
pub(super) struct Marks {
    /// The session is closed,
    pub(super) closed_by: i64,
    /// not readable any more,
    pub(super) expired_by: i64,
    /// takes no event and joins no other,
    pub(super) dead_by: i64,
    /// is of no consequence: no event that could touch it begins or joins a session.
    pub(super) forgotten_by: i64,
}

/// The rule of a view's sessions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    pub(super) gap_ms: i64,
    late_ms: i64,
    /// How far a watermark is behind the end of a session when it is not readable any more,
    expires_ms: i64,
    /// takes no events any more,
    takes_ms: i64,
    /// and is forgotten.
    forgets_ms: i64,
    after: After,
}

/// What becomes of an event. Sessions are meant by their index in the run of the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It begins a session, in front of this index.
    Begins {
        /// Where.
        index: usize,
        /// Whether the session is closed at once.
        amends: bool,
    },
    /// It goes into a session.
    Joins {
        /// Which.
        index: usize,
        /// Whether that was closed.
        amends: bool,
    },
    /// It makes one session of two.
    Bridges {
        /// The first of them.
        index: usize,
        /// Whether that was closed.
        amends: bool,
    },
    /// It came too late for one session or two.
    Missed(Ends),
}

/// The bounds of sessions that an event missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) first: Span,
    /// If it missed two, the second.
    pub(super) second: Option<Span>,
}

impl Rule {
    pub(super) fn new(gap_ms: i64, window: &Window) -> Self {
        let expires_ms = window.keep_ms.max(window.late_ms) + 1;
        let takes_ms = match window.after {
            After::Drop => window.late_ms,
            After::Amend => expires_ms,
        };
        Self {
            gap_ms,
            late_ms: window.late_ms,
            expires_ms,
            takes_ms,
            forgets_ms: expires_ms.max(takes_ms + gap_ms),
            after: window.after,
        }
    }

    #[inline]
    pub(super) const fn marks(&self, watermark_ms: i64) -> Marks {
        Marks {
            closed_by: watermark_ms.saturating_sub(self.late_ms),
            expired_by: watermark_ms.saturating_sub(self.expires_ms),
            dead_by: watermark_ms.saturating_sub(self.takes_ms),
            forgotten_by: watermark_ms.saturating_sub(self.forgets_ms),
        }
    }

    #[inline]
    pub(super) const fn end_ms(&self, session: &Session) -> i64 {
        session.last_ms.saturating_add(self.gap_ms)
    }

    pub(super) const fn span(&self, session: &Session) -> Span {
        Span {
            start_ms: session.first_ms,
            end_ms: self.end_ms(session),
        }
    }

    /// The watermarks at which a session that ends here is closed, expires and is forgotten.
    pub(super) const fn turns_ms(&self, end_ms: i64) -> [i64; 3] {
        [
            end_ms.saturating_add(self.late_ms),
            end_ms.saturating_add(self.expires_ms),
            end_ms.saturating_add(self.forgets_ms),
        ]
    }

    /// Why an event misses a session, where the clock is not the reason.
    pub(super) const fn late_reason(&self) -> LateReason {
        match self.after {
            After::Drop => LateReason::Late,
            After::Amend => LateReason::Expired,
        }
    }

    /// What an event missed, and whether by the clock.
    pub(super) fn missed(&self, ends: &Ends, clock_move: ClockMove) -> Missed {
        let by_clock = |span: Span| {
            let stopped_ms = span.end_ms.saturating_add(self.takes_ms);
            u32::from(clock_move.from_ms < stopped_ms && stopped_ms <= clock_move.to_ms)
        };
        let last = ends.second.unwrap_or(ends.first);
        Missed {
            windows: 1 + u32::from(ends.second.is_some()),
            by_clock: by_clock(ends.first) + ends.second.map_or(0, by_clock),
            first: ends.first,
            last,
        }
    }
}
