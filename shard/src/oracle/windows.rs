//! Which windows a time lies in, by their definition: every window that might be it is looked at.

use crate::pipeline::{CalendarUnit, WindowKind};
use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use std::cell::RefCell;
use std::collections::HashMap;

/// Spans of the calendar that were found before: looking for them takes long.
type Known = HashMap<(CalendarUnit, String), Vec<(i64, i64)>>;

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::default();
}

/// Start and end of every window that the time lies in, by end.
pub fn windows_of(kind: &WindowKind, time_ms: i64) -> Vec<(i64, i64)> {
    let mut found = Vec::new();
    let mut take = |start_ms: i64, end_ms: i64| {
        if start_ms <= time_ms && time_ms < end_ms {
            found.push((start_ms, end_ms));
        }
    };
    match kind {
        WindowKind::Tumbling { size_ms } => {
            let near = time_ms / size_ms;
            for k in near - 2..=near + 2 {
                take(k * size_ms, (k + 1) * size_ms);
            }
        }
        WindowKind::Hopping { size_ms, hop_ms } => {
            let (near, reach) = (time_ms / hop_ms, size_ms / hop_ms);
            for k in near - reach - 2..=near + 2 {
                take(k * hop_ms, k * hop_ms + size_ms);
            }
        }
        WindowKind::Cumulative { size_ms, step_ms } => {
            let near = time_ms / size_ms;
            for k in near - 2..=near + 2 {
                for j in 1..=size_ms / step_ms {
                    take(k * size_ms, k * size_ms + j * step_ms);
                }
            }
        }
        WindowKind::Calendar { unit, zone } => {
            let key = (*unit, zone.clone());
            let known = KNOWN.with_borrow(|known| {
                let spans = known.get(&key)?;
                spans
                    .iter()
                    .find(|(s, e)| (*s..*e).contains(&time_ms))
                    .copied()
            });
            let (start_ms, end_ms) = known.unwrap_or_else(|| {
                let zone = TimeZoneDatabase::bundled()
                    .get(zone)
                    .expect("invariant: the zone was checked");
                let span = calendar_span(&zone, *unit, time_ms);
                KNOWN.with_borrow_mut(|known| known.entry(key).or_default().push(span));
                span
            });
            take(start_ms, end_ms);
        }
        WindowKind::Session { .. } | WindowKind::Last { .. } => {
            unreachable!("a time alone has none of these")
        }
    }
    found.sort_by_key(|(_, end_ms)| *end_ms);
    found
}

/// What is the same for all times of a calendar window, and different for its neighbours: the date
/// or hour. A clock that is put back over midnight does not take a day back that has begun.
pub fn label(zone: &TimeZone, unit: CalendarUnit, time_ms: i64) -> [i64; 3] {
    let now = on_the_clock(zone, unit, time_ms);
    if unit == CalendarUnit::Hour {
        return now;
    }
    const LONGEST_MS: i64 = 2 * 86_400_000;
    let behind = moment(time_ms + 1);
    let changes = zone.preceding(behind);
    changes
        .map(|change| change.timestamp().as_millisecond())
        .take_while(|change_ms| *change_ms > time_ms - LONGEST_MS)
        .map(|change_ms| on_the_clock(zone, unit, change_ms - 1))
        .fold(now, |latest, before| latest.max(before))
}

fn moment(time_ms: i64) -> Timestamp {
    Timestamp::from_millisecond(time_ms).expect("invariant: times are those of the calendar")
}

fn on_the_clock(zone: &TimeZone, unit: CalendarUnit, time_ms: i64) -> [i64; 3] {
    let at = moment(time_ms);
    let local = zone.to_datetime(at);
    let date = local.date();
    let (year, month) = (i64::from(date.year()), i64::from(date.month()));
    match unit {
        CalendarUnit::Hour => {
            let offset = i64::from(zone.to_offset(at).seconds());
            let days = (time_ms + offset * 1_000).div_euclid(86_400_000);
            [days, i64::from(local.hour()), offset]
        }
        CalendarUnit::Day => [year, month, i64::from(date.day())],
        CalendarUnit::Week => {
            let week = date.iso_week_date();
            [i64::from(week.year()), i64::from(week.week()), 0]
        }
        CalendarUnit::Month => [year, month, 0],
        CalendarUnit::Quarter => [year, (month - 1) / 3, 0],
        CalendarUnit::Year => [year, 0, 0],
    }
}

/// The longest span around a time with one label. Steps of a quarter of an hour, because clocks
/// are moved by whole ones at whole ones (in the years that are tested).
pub fn calendar_span(zone: &TimeZone, unit: CalendarUnit, time_ms: i64) -> (i64, i64) {
    const STEP_MS: i64 = 900_000;
    let wanted = label(zone, unit, time_ms);
    let same = |at_ms: i64| label(zone, unit, at_ms) == wanted;
    let mut start_ms = time_ms.div_euclid(STEP_MS) * STEP_MS;
    while same(start_ms - 1) {
        start_ms -= STEP_MS;
    }
    let mut end_ms = (time_ms.div_euclid(STEP_MS) + 1) * STEP_MS;
    while same(end_ms) {
        end_ms += STEP_MS;
    }
    (start_ms, end_ms)
}
