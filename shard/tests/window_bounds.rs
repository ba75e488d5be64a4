//! Bounds of windows, for every kind, against their definition: negative times, hops that do not
//! divide the size, days of 23 and 25 hours in several zones from 1970 to 2100.

#![allow(clippy::unwrap_used)] // Helpers of tests, but not test functions themselves.

mod model;

use jiff::Timestamp;
use jiff::tz::TimeZoneDatabase;
use model::random::Random;
use proptest::prelude::*;
use ringmill_shard::limits::{TIME_MS_MAX, TIME_MS_MIN};
use ringmill_shard::oracle::windows::{label, windows_of};
use ringmill_shard::pipeline::{CalendarUnit, WindowKind};
use ringmill_shard::window::calendar::Calendar;
use ringmill_shard::window::grid::Grid;

/// Zones with changes at midnight, by half an hour, by two hours and by whole days, without any,
/// with offsets that are no whole hours, and two that keep summer time the other way round.
const ZONES: [&str; 18] = [
    "UTC",
    "Europe/Berlin",
    "Europe/Dublin",
    "America/New_York",
    "America/St_Johns",
    "America/Sao_Paulo",
    "America/Asuncion",
    "Asia/Beirut",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Asia/Gaza",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "Pacific/Apia",
    "Pacific/Kwajalein",
    "Pacific/Kiritimati",
];

/// 1970-01-01 and 2100-01-01.
const YEARS_MS: std::ops::Range<i64> = 0..4_102_444_800_000;

/// All that a grid says of a time, held against the windows by definition.
fn check(kind: &WindowKind, time_ms: i64) {
    let grid = Grid::new(kind);
    let pane = grid.pane_at(time_ms);
    assert!(pane.contains(time_ms), "{kind:?} {time_ms}");
    for same in [pane.start_ms, pane.end_ms - 1] {
        assert_eq!(grid.pane_at(same), pane, "{kind:?} {same}");
    }
    let numbers = grid.windows_over(pane);
    let expected = windows_of(kind, time_ms);
    let windows: Vec<(i64, i64)> = (numbers.first..=numbers.last())
        .map(|number| {
            let window = grid.window(number, pane);
            assert_eq!(grid.number_of(window.start_ms, window.end_ms), number);
            (window.start_ms, window.end_ms)
        })
        .collect();
    assert_eq!(windows, expected, "{kind:?} {time_ms}");
    assert_eq!(numbers.count as usize, expected.len());
    // No bound of a window lies within the pane.
    for (start_ms, end_ms) in &expected {
        assert!(*start_ms <= pane.start_ms && pane.end_ms <= *end_ms);
        for by_ms in [*end_ms - 1, *end_ms, *end_ms + 1] {
            let ended = expected.iter().filter(|(_, end)| *end <= by_ms).count();
            assert_eq!(grid.ended(pane, numbers, by_ms) as usize, ended);
        }
        for from_ms in [*start_ms - 1, *start_ms, *start_ms + 1] {
            let first = grid.first_from(from_ms);
            let before = expected.iter().filter(|(start, _)| *start < from_ms);
            let before = before.count() as i64;
            if before > 0 {
                assert!(first >= numbers.first + before, "{kind:?} from {from_ms}");
            }
            if before < expected.len() as i64 {
                assert!(first <= numbers.first + before, "{kind:?} from {from_ms}");
            }
        }
    }
    for (by_ms, ended) in [(i64::MIN, 0), (i64::MAX, numbers.count)] {
        assert_eq!(grid.ended(pane, numbers, by_ms), ended);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn windows_of_fixed_lengths_are_those_of_the_definition(
        size_ms in 1_i64..5_000,
        hop in 1_i64..5_000,
        steps in 1_i64..40,
        time_ms in prop_oneof![-20_000_i64..20_000, TIME_MS_MIN..TIME_MS_MAX],
    ) {
        let hop_ms = (hop % size_ms) + 1;
        check(&WindowKind::Tumbling { size_ms }, time_ms);
        check(&WindowKind::Hopping { size_ms, hop_ms }, time_ms);
        let size_ms = size_ms * steps;
        let step_ms = size_ms / steps;
        check(&WindowKind::Cumulative { size_ms, step_ms }, time_ms);
    }
}

/// The span of a time has one label, and its neighbours have others.
fn check_span(calendar: &Calendar, zone: &str, unit: CalendarUnit, time_ms: i64) -> i64 {
    let database = TimeZoneDatabase::bundled();
    let zone_of = database.get(zone).unwrap();
    let span = calendar.span_at(time_ms);
    let note = format!("{zone} {unit:?} {time_ms} {span:?}");
    assert!(span.contains(time_ms), "{note}");
    let of = |at_ms: i64| label(&zone_of, unit, at_ms);
    for inside in [span.start_ms, span.end_ms - 1] {
        assert_eq!(of(inside), of(time_ms), "{note}");
        assert_eq!(calendar.span_at(inside), span, "{note}");
    }
    for outside in [span.start_ms - 1, span.end_ms] {
        assert_ne!(of(outside), of(time_ms), "{note}");
    }
    assert_eq!(
        calendar.span_at(span.end_ms).start_ms,
        span.end_ms,
        "{note}"
    );
    assert_eq!(
        calendar.span_at(span.start_ms - 1).end_ms,
        span.start_ms,
        "{note}"
    );
    span.end_ms - span.start_ms
}

#[test]
fn calendar_spans_are_the_longest_with_one_date() {
    let mut random = Random(31);
    for zone in ZONES {
        for unit in CalendarUnit::ALL {
            let calendar = Calendar::new(unit, zone).unwrap();
            for _ in 0..100 {
                let time_ms = random.below(YEARS_MS.end as u64) as i64;
                check_span(&calendar, zone, unit, time_ms);
            }
        }
    }
}

#[test]
fn calendar_spans_are_right_around_every_change_of_a_clock() {
    let database = TimeZoneDatabase::bundled();
    for zone in ZONES {
        let zone_of = database.get(zone).unwrap();
        let calendars = CalendarUnit::ALL.map(|unit| (unit, Calendar::new(unit, zone).unwrap()));
        let start = Timestamp::from_millisecond(YEARS_MS.start).unwrap();
        for change in zone_of.following(start) {
            let change_ms = change.timestamp().as_millisecond();
            if change_ms >= YEARS_MS.end {
                break;
            }
            for (unit, calendar) in &calendars {
                for near in [-1, 0, 1] {
                    check_span(calendar, zone, *unit, change_ms + near);
                }
            }
        }
    }
}

#[test]
fn days_have_23_24_or_25_hours_as_the_zone_has_it() {
    const HOUR_MS: i64 = 3_600_000;
    let hours = |zone: &str, time: &str| {
        let calendar = Calendar::new(CalendarUnit::Day, zone).unwrap();
        let at: Timestamp = time.parse().unwrap();
        let span = calendar.span_at(at.as_millisecond());
        let start = Timestamp::from_millisecond(span.start_ms).unwrap();
        (
            (span.end_ms - span.start_ms) as f64 / HOUR_MS as f64,
            start.to_string(),
        )
    };
    let expected = |hours: f64, start: &str| (hours, start.to_owned());
    assert_eq!(
        hours("Europe/Berlin", "2026-03-29T12:00:00Z"),
        expected(23.0, "2026-03-28T23:00:00Z")
    );
    assert_eq!(
        hours("Europe/Berlin", "2026-10-25T12:00:00Z"),
        expected(25.0, "2026-10-24T22:00:00Z")
    );
    assert_eq!(
        hours("Europe/Berlin", "2026-11-20T12:00:00Z"),
        expected(24.0, "2026-11-19T23:00:00Z")
    );
    assert_eq!(
        hours("Australia/Lord_Howe", "2026-04-04T20:00:00Z"),
        expected(24.5, "2026-04-04T13:00:00Z")
    );
    // The day begins at one o'clock: midnight is left out.
    assert_eq!(
        hours("America/Sao_Paulo", "2018-11-04T12:00:00Z"),
        expected(23.0, "2018-11-04T03:00:00Z")
    );
    // Here the clock went from half past eleven to half past twelve.
    assert_eq!(
        hours("America/Toronto", "1919-03-31T12:00:00Z"),
        expected(23.5, "1919-03-31T04:30:00Z")
    );
    // Samoa had no 30 December 2011.
    assert_eq!(
        hours("Pacific/Apia", "2011-12-30T09:59:59Z"),
        expected(24.0, "2011-12-29T10:00:00Z")
    );
    assert_eq!(
        hours("Pacific/Apia", "2011-12-30T10:00:00Z"),
        expected(24.0, "2011-12-30T10:00:00Z")
    );
}

#[test]
fn every_time_of_every_zone_has_a_span() {
    // Long before and after anyone made rules, and where a zone repeated a whole day.
    let ends = [
        TIME_MS_MIN,
        TIME_MS_MIN + 1,
        0,
        TIME_MS_MAX - 1,
        TIME_MS_MAX,
    ];
    let repeated: Timestamp = "1867-10-19T00:00:00Z".parse().unwrap();
    let database = TimeZoneDatabase::bundled();
    let mut zones = 0;
    for zone in database.available() {
        zones += 1;
        for unit in CalendarUnit::ALL {
            let calendar = Calendar::new(unit, zone.as_str()).unwrap();
            let around = (-60..60).map(|hour| repeated.as_millisecond() + hour * 3_600_000);
            let mut behind = i64::MIN;
            for time_ms in around {
                let span = calendar.span_at(time_ms);
                assert!(span.contains(time_ms), "{zone} {unit:?} {time_ms}");
                assert!(
                    span.start_ms >= behind || behind == span.end_ms,
                    "{zone} {unit:?}"
                );
                behind = span.end_ms;
            }
            for time_ms in ends {
                let span = calendar.span_at(time_ms);
                assert!(span.contains(time_ms), "{zone} {unit:?} {time_ms}");
                assert_eq!(
                    calendar.span_at(span.start_ms),
                    span,
                    "{zone} {unit:?} {time_ms}"
                );
            }
        }
    }
    assert!(zones > 400, "{zones} zones");
}
