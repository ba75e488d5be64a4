//! Which windows there are, and the panes that they are made of.
//!
//! A pane is a span that no bound of a window divides, so an event goes into exactly one pane, and
//! a window is the merge of its panes. The windows over a pane are numbered without gap in the
//! order of their ends, which is the order of their starts too. Where windows do not overlap, pane
//! and window are the same, and its number is its start.

use super::calendar::Calendar;
use crate::pipeline::WindowKind;

/// A half-open span of time, `[start, end)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first ms of it.
    pub start_ms: i64,
    /// The first ms behind it.
    pub end_ms: i64,
}

impl Span {
    /// Whether a time lies in it.
    #[inline]
    pub const fn contains(&self, time_ms: i64) -> bool {
        self.start_ms <= time_ms && time_ms < self.end_ms
    }
}

/// Windows over one pane: numbers `first..first + count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// Number of the window that ends first.
    pub first: i64,
    /// How many there are, at least 1.
    pub count: u32,
}

impl Numbers {
    fn to(first: i64, last: i64) -> Self {
        Self {
            first,
            count: (last - first + 1) as u32,
        }
    }

    /// Number of the window that ends last.
    pub const fn last(&self) -> i64 {
        self.first + self.count as i64 - 1
    }
}

/// All windows of a view.
#[derive(Debug, Clone)]
pub enum Grid {
    /// See [`WindowKind::Tumbling`].
    Tumbling {
        /// Length, in ms.
        size_ms: i64,
    },
    /// See [`WindowKind::Hopping`].
    Hopping {
        /// Length, in ms.
        size_ms: i64,
        /// From one start to the next, in ms.
        hop_ms: i64,
        /// Length of a pane, in ms.
        pane_ms: i64,
    },
    /// See [`WindowKind::Cumulative`].
    Cumulative {
        /// Length of the longest, in ms.
        size_ms: i64,
        /// From one end to the next, in ms.
        step_ms: i64,
    },
    /// See [`WindowKind::Calendar`].
    Calendar(Calendar),
}

impl Grid {
    /// The windows of a kind.
    ///
    /// # Panics
    /// If the kind names a zone that does not exist, or its bounds depend on events.
    pub fn new(kind: &WindowKind) -> Self {
        match *kind {
            WindowKind::Tumbling { size_ms } => Self::Tumbling { size_ms },
            WindowKind::Hopping { size_ms, hop_ms } => Self::Hopping {
                size_ms,
                hop_ms,
                pane_ms: kind.pane_ms(),
            },
            WindowKind::Cumulative { size_ms, step_ms } => Self::Cumulative { size_ms, step_ms },
            WindowKind::Calendar { unit, ref zone } => Self::Calendar(
                Calendar::new(unit, zone).expect("invariant: the pipeline checked its zones"),
            ),
            WindowKind::Session { .. } | WindowKind::Last { .. } => {
                unreachable!("events make these")
            }
        }
    }

    /// Whether looking a pane up is dear.
    #[inline]
    pub(super) const fn is_dear(&self) -> bool {
        matches!(self, Self::Calendar(_))
    }

    /// The pane that a time lies in.
    #[inline]
    pub fn pane_at(&self, time_ms: i64) -> Span {
        let length_ms = match self {
            Self::Tumbling { size_ms } => *size_ms,
            Self::Hopping { pane_ms, .. } => *pane_ms,
            Self::Cumulative { step_ms, .. } => *step_ms,
            Self::Calendar(calendar) => return calendar.span_at(time_ms),
        };
        let start_ms = time_ms.div_euclid(length_ms) * length_ms;
        Span {
            start_ms,
            end_ms: start_ms + length_ms,
        }
    }

    /// The windows over a pane.
    #[inline]
    pub fn windows_over(&self, pane: Span) -> Numbers {
        match *self {
            Self::Tumbling { .. } | Self::Calendar(_) => Numbers {
                first: pane.start_ms,
                count: 1,
            },
            Self::Hopping {
                size_ms, hop_ms, ..
            } => {
                // The least k with k * hop + size >= the pane's end.
                let first = -(size_ms - pane.end_ms).div_euclid(hop_ms);
                Numbers::to(first, pane.start_ms.div_euclid(hop_ms))
            }
            Self::Cumulative { size_ms, step_ms } => {
                let end_ms = (pane.start_ms.div_euclid(size_ms) + 1) * size_ms;
                Numbers::to(pane.start_ms.div_euclid(step_ms), end_ms / step_ms - 1)
            }
        }
    }

    /// The bounds of a window; `pane` is one of its panes.
    #[inline]
    pub fn window(&self, number: i64, pane: Span) -> Span {
        match *self {
            Self::Tumbling { .. } | Self::Calendar(_) => pane,
            Self::Hopping {
                size_ms, hop_ms, ..
            } => Span {
                start_ms: number * hop_ms,
                end_ms: number * hop_ms + size_ms,
            },
            Self::Cumulative { size_ms, step_ms } => Span {
                start_ms: pane.start_ms.div_euclid(size_ms) * size_ms,
                end_ms: (number + 1) * step_ms,
            },
        }
    }

    /// How many of the windows over `pane` end at `by_ms` or before: the first ones.
    #[inline]
    pub fn ended(&self, pane: Span, windows: Numbers, by_ms: i64) -> u32 {
        let last_ended = match *self {
            Self::Tumbling { .. } | Self::Calendar(_) => return u32::from(pane.end_ms <= by_ms),
            Self::Hopping {
                size_ms, hop_ms, ..
            } => by_ms.saturating_sub(size_ms).div_euclid(hop_ms),
            Self::Cumulative { step_ms, .. } => by_ms.div_euclid(step_ms).saturating_sub(1),
        };
        let ended = last_ended.saturating_sub(windows.first).saturating_add(1);
        ended.clamp(0, i64::from(windows.count)) as u32
    }

    /// Number of the first window that starts at `from_ms` or later.
    pub fn first_from(&self, from_ms: i64) -> i64 {
        let ceil = |by_ms: i64| -(-within(from_ms)).div_euclid(by_ms);
        match *self {
            Self::Tumbling { .. } | Self::Calendar(_) => from_ms,
            Self::Hopping { hop_ms, .. } => ceil(hop_ms),
            Self::Cumulative { size_ms, step_ms } => ceil(size_ms) * (size_ms / step_ms),
        }
    }

    /// Number of the window with these bounds.
    pub fn number_of(&self, start_ms: i64, end_ms: i64) -> i64 {
        match *self {
            Self::Tumbling { .. } | Self::Calendar(_) => start_ms,
            Self::Hopping { hop_ms, .. } => within(start_ms).div_euclid(hop_ms),
            Self::Cumulative { step_ms, .. } => within(end_ms).div_euclid(step_ms) - 1,
        }
    }
}

/// Cut to a range in which nothing overflows; no event lies outside.
fn within(time_ms: i64) -> i64 {
    const FAR_MS: i64 = i64::MAX / 1024;
    time_ms.clamp(-FAR_MS, FAR_MS)
}
