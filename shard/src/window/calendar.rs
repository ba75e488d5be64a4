//! Spans of the calendar in a time zone.
//!
//! Bounds are the first instants of civil dates, so a day has 23, 24 or 25 hours as its zone has
//! it. The zone rules are part of the program, never of the host. Looking a span up costs some
//! hundred nanoseconds to microseconds, which is why whoever asks keeps the answer.

use super::grid::Span;
use crate::pipeline::CalendarUnit;
use jiff::civil::Date;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan};

const HOUR_MS: i64 = 3_600_000;
/// Where the calendar ends: what lies behind is one span.
const END_MS: i64 = 253_402_207_200_000;
const _: () = assert!(END_MS <= crate::limits::TIME_MS_MAX);

/// Spans of one unit in one zone.
#[derive(Debug, Clone)]
pub struct Calendar {
    unit: CalendarUnit,
    zone: TimeZone,
}

impl Calendar {
    /// The calendar of a zone; `None` if there is no such zone.
    pub fn new(unit: CalendarUnit, zone: &str) -> Option<Self> {
        let zone = TimeZoneDatabase::bundled().get(zone).ok()?;
        Some(Self { unit, zone })
    }

    /// The span that a time lies in.
    pub fn span_at(&self, time_ms: i64) -> Span {
        let found = if time_ms < END_MS {
            Timestamp::from_millisecond(time_ms).ok()
        } else {
            None
        };
        match found {
            None => Span {
                start_ms: END_MS,
                end_ms: i64::MAX,
            },
            Some(at) if self.unit == CalendarUnit::Hour => self.hour_at(at),
            Some(at) => self.dates_at(at),
        }
    }

    /// From one full hour of the wall clock to the next. Where the clock is moved a new span
    /// begins, so the hour that comes twice is two spans, and each has one offset.
    fn hour_at(&self, at: Timestamp) -> Span {
        let offset = self.zone.to_offset(at);
        let time_ms = at.as_millisecond();
        let into_ms = (time_ms + offset_ms(offset)).rem_euclid(HOUR_MS);
        let (mut start_ms, mut end_ms) = (time_ms - into_ms, time_ms - into_ms + HOUR_MS);
        let just_behind = Timestamp::from_millisecond(time_ms + 1).unwrap_or(at);
        for change in self.zone.preceding(just_behind) {
            let change_ms = change.timestamp().as_millisecond();
            if change_ms <= start_ms {
                break;
            }
            if self.offset_before(change_ms) != offset {
                start_ms = change_ms;
                break;
            }
        }
        for change in self.zone.following(at) {
            let change_ms = change.timestamp().as_millisecond();
            if change_ms >= end_ms {
                break;
            }
            if change.offset() != offset {
                end_ms = change_ms;
                break;
            }
        }
        Span { start_ms, end_ms }
    }

    fn offset_before(&self, time_ms: i64) -> Offset {
        let before = Timestamp::from_millisecond(time_ms - 1).unwrap_or(Timestamp::MIN);
        self.zone.to_offset(before)
    }

    /// From the first instant of one date to that of another.
    ///
    /// Dates do not always rise with time: clocks are put back over midnight, and zones have repeated
    /// a whole day. What has begun stays begun, so the date only says where to begin looking.
    fn dates_at(&self, at: Timestamp) -> Span {
        let time_ms = at.as_millisecond();
        let mut first = self.first_date(self.zone.to_datetime(at).date());
        let mut start_ms = self.first_instant_ms(first);
        loop {
            let next = self.next(first);
            let end_ms = next.map_or(END_MS, |next| self.first_instant_ms(next));
            match next {
                Some(next) if time_ms >= end_ms => (first, start_ms) = (next, end_ms),
                _ => return Span { start_ms, end_ms },
            }
        }
    }

    fn first_date(&self, date: Date) -> Date {
        let moved = match self.unit {
            CalendarUnit::Hour | CalendarUnit::Day => return date,
            CalendarUnit::Week => {
                let days = date.weekday().to_monday_zero_offset();
                date.checked_sub(i64::from(days).days())
            }
            CalendarUnit::Month => return date.first_of_month(),
            CalendarUnit::Quarter => {
                let months = (date.month() - 1) % 3;
                date.first_of_month()
                    .checked_sub(i64::from(months).months())
            }
            CalendarUnit::Year => return date.first_of_year(),
        };
        moved.expect("invariant: years from 0 on")
    }

    /// The first date of the next span.
    fn next(&self, first: Date) -> Option<Date> {
        let span = match self.unit {
            CalendarUnit::Hour | CalendarUnit::Day => 1.day(),
            CalendarUnit::Week => 1.week(),
            CalendarUnit::Month => 1.month(),
            CalendarUnit::Quarter => 3.months(),
            CalendarUnit::Year => 1.year(),
        };
        first.checked_add(span).ok()
    }

    /// The first instant of a date. Midnight itself may be missing, or come twice; a date that the
    /// zone left out begins where the next one does.
    fn first_instant_ms(&self, date: Date) -> i64 {
        let midnight = date.at(0, 0, 0, 0);
        let at = |offset: Offset| offset.to_timestamp(midnight).ok();
        let found = match self.zone.to_ambiguous_timestamp(midnight).offset() {
            AmbiguousOffset::Unambiguous { offset } => at(offset),
            AmbiguousOffset::Fold { before, .. } => at(before),
            AmbiguousOffset::Gap { after, .. } => at(after).and_then(|earlier| {
                let changes = self.zone.following(earlier);
                let change = changes.take(2).find(|change| change.offset() == after);
                change.map(|change| change.timestamp())
            }),
        };
        found.map_or(END_MS, |at| at.as_millisecond().min(END_MS))
    }
}

fn offset_ms(offset: Offset) -> i64 {
    i64::from(offset.seconds()) * 1_000
}
