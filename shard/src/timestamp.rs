//! RFC 3339 text to and from milliseconds since the epoch, UTC.
//!
//! Proleptic Gregorian calendar, years 0 to 9999, no leap seconds (second 60 is refused). Digits
//! behind the millisecond are cut off.

use std::fmt;

use crate::limits::{TIME_MS_MAX, TIME_MS_MIN};

const DAY_MS: i64 = 86_400_000;

/// Reads `2013-01-01T05:15:00Z`, with an optional fraction and a `+hh:mm` offset in place of `Z`.
pub fn parse_ms(text: &str) -> Option<i64> {
    let mut cursor = Cursor {
        rest: text.as_bytes(),
    };
    let year = cursor.digits(4)?;
    cursor.one_of(b"-")?;
    let month = cursor.digits(2)?;
    cursor.one_of(b"-")?;
    let day = cursor.digits(2)?;
    cursor.one_of(b"Tt ")?;
    let hour = cursor.digits(2)?;
    cursor.one_of(b":")?;
    let minute = cursor.digits(2)?;
    cursor.one_of(b":")?;
    let second = cursor.digits(2)?;
    let fraction_ms = cursor.fraction_ms()?;
    let offset_ms = cursor.offset_ms()?;
    let in_range = (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !in_range || !cursor.rest.is_empty() {
        return None;
    }
    let clock_ms = ((hour * 60 + minute) * 60 + second) * 1000 + fraction_ms;
    let ms = days_from_civil(year, month, day) * DAY_MS + clock_ms - offset_ms;
    (TIME_MS_MIN..=TIME_MS_MAX).contains(&ms).then_some(ms)
}

/// Writes RFC 3339 with milliseconds; a time outside the years 0 to 9999 is written as a number.
pub(crate) fn write_ms(f: &mut fmt::Formatter<'_>, ms: i64) -> fmt::Result {
    if !(TIME_MS_MIN..=TIME_MS_MAX).contains(&ms) {
        return write!(f, "{ms}");
    }
    let (year, month, day) = civil_from_days(ms.div_euclid(DAY_MS));
    let clock = ms.rem_euclid(DAY_MS);
    write!(
        f,
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        clock / 3_600_000,
        clock / 60_000 % 60,
        clock / 1000 % 60,
        clock % 1000
    )
}

/// RFC 3339 text of `ms`, with milliseconds and `Z`.
pub fn to_text(ms: i64) -> String {
    struct Shown(i64);
    impl fmt::Display for Shown {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write_ms(f, self.0)
        }
    }
    Shown(ms).to_string()
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl Cursor<'_> {
    fn digits(&mut self, count: usize) -> Option<i64> {
        let (head, rest) = self.rest.split_at_checked(count)?;
        if !head.iter().all(u8::is_ascii_digit) {
            return None;
        }
        self.rest = rest;
        Some(head.iter().fold(0, |sum, b| sum * 10 + i64::from(b - b'0')))
    }

    fn one_of(&mut self, bytes: &[u8]) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        bytes.contains(first).then(|| {
            self.rest = rest;
            *first
        })
    }

    fn fraction_ms(&mut self) -> Option<i64> {
        if self.one_of(b".").is_none() {
            return Some(0);
        }
        let count = self.rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at(count);
        self.rest = rest;
        let place = [100, 10, 1];
        let ms = digits
            .iter()
            .zip(place)
            .map(|(b, unit)| i64::from(b - b'0') * unit)
            .sum();
        (count > 0).then_some(ms)
    }

    fn offset_ms(&mut self) -> Option<i64> {
        let sign = match self.one_of(b"Zz+-")? {
            b'+' => 1,
            b'-' => -1,
            _ => return Some(0),
        };
        let hours = self.digits(2)?;
        self.one_of(b":")?;
        let minutes = self.digits(2)?;
        (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60_000)
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since the epoch. Years are counted from March, so that the leap day ends its year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        let known = [
            ("1970-01-01T00:00:00Z", 0),
            ("2013-01-01T10:15:00Z", 1_357_035_300_000),
            ("2013-01-01T05:15:00-05:00", 1_357_035_300_000),
            ("2000-02-29T23:59:59.999Z", 951_868_799_999),
            ("1969-12-31T23:59:59.5Z", -500),
            ("2024-06-30t12:00:00.1239999z", 1_719_748_800_123),
            ("0000-01-01T00:00:00Z", TIME_MS_MIN),
            ("9999-12-31T23:59:59.999Z", TIME_MS_MAX),
        ];
        for (text, ms) in known {
            assert_eq!(parse_ms(text), Some(ms), "{text}");
            assert_eq!(parse_ms(&to_text(ms)), Some(ms), "{text}");
        }
    }

    #[test]
    fn refused_texts() {
        for text in [
            "",
            "2013",
            "2013-13-01T00:00:00Z",
            "2013-02-29T00:00:00Z",
            "2013-01-01T24:00:00Z",
            "2013-01-01T00:00:60Z",
            "2013-01-01T00:00:00",
            "2013-01-01T00:00:00.Z",
            "2013-01-01T00:00:00Zx",
            "2013-01-01T00:00:00+24:00",
            "0000-01-01T00:00:00+00:01",
            "+013-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_ms(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_of_eight_centuries_round_trips() {
        let mut expected = (1600, 1, 1);
        let first = days_from_civil(1600, 1, 1);
        for days in first..first + 2 * 146_097 {
            assert_eq!(civil_from_days(days), expected);
            let (year, month, day) = expected;
            assert_eq!(days_from_civil(year, month, day), days);
            expected = if day < days_in_month(year, month) {
                (year, month, day + 1)
            } else if month < 12 {
                (year, month + 1, 1)
            } else {
                (year + 1, 1, 1)
            };
        }
    }
}
