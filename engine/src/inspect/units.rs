//! Figures as people read them: three significant digits at most, unit attached.

/// A time: `850ns`, `4.2us`, `212us`, `1.0ms`, `31ms`, `1.5s`.
pub(crate) fn time(ns: u64) -> String {
    let value = ns as f64;
    match ns {
        0..1_000 => format!("{ns}ns"),
        1_000..999_500 => scaled(value / 1e3, "us"),
        999_500..999_500_000 => scaled(value / 1e6, "ms"),
        _ => scaled(value / 1e9, "s"),
    }
}

/// A count: `999`, `12.3k`, `1.50M`, `2.10G`.
pub(crate) fn count(n: u64) -> String {
    let value = n as f64;
    match n {
        0..1_000 => n.to_string(),
        1_000..999_500 => format!("{}k", three_digits(value / 1e3)),
        999_500..999_500_000 => format!("{}M", three_digits(value / 1e6)),
        _ => format!("{}G", three_digits(value / 1e9)),
    }
}

/// A size in bytes: `512B`, `4.0KiB`, `1.5GiB`.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1_023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{n}B")
    } else {
        scaled(value, UNITS[unit])
    }
}

/// A share of a whole as a percentage, with a decimal where it is small.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent != 0.0 && percent.abs() < 0.05 {
        "<0.1%".to_owned()
    } else if percent == 0.0 || percent.abs() >= 9.95 {
        format!("{percent:.0}%")
    } else {
        format!("{percent:.1}%")
    }
}

/// A wall clock in UTC, to the second.
pub(crate) fn wall(ns: u64) -> String {
    let seconds = ns / 1_000_000_000;
    let (year, month, day) = crate::dump::civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

fn scaled(value: f64, unit: &str) -> String {
    if value < 9.95 {
        format!("{value:.1}{unit}")
    } else {
        format!("{value:.0}{unit}")
    }
}

fn three_digits(value: f64) -> String {
    let decimals = if value < 9.995 {
        2
    } else {
        usize::from(value < 99.95)
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_change_where_the_figure_would_get_a_fourth_digit() {
        let times = [
            (0, "0ns"),
            (999, "999ns"),
            (1_000, "1.0us"),
            (9_949, "9.9us"),
            (9_950, "10us"),
            (999_499, "999us"),
            (999_500, "1.0ms"),
            (31_000_000, "31ms"),
            (999_500_000, "1.0s"),
            (60_000_000_000, "60s"),
        ];
        for (ns, text) in times {
            assert_eq!(time(ns), text);
        }
        let counts = [
            (999, "999"),
            (1_000, "1.00k"),
            (9_995, "10.0k"),
            (99_950, "100k"),
            (999_500, "1.00M"),
            (1_500_113, "1.50M"),
            (2_100_000_000, "2.10G"),
        ];
        for (n, text) in counts {
            assert_eq!(count(n), text);
        }
        let sizes = [
            (1_023, "1023B"),
            (1_024, "1.0KiB"),
            (1_048_575, "1.0MiB"),
            (3 << 30, "3.0GiB"),
        ];
        for (n, text) in sizes {
            assert_eq!(bytes(n), text);
        }
    }

    #[test]
    fn shares_and_dates_are_short() {
        assert_eq!(
            [percent(0.0), percent(0.0021), percent(0.54)],
            ["0%", "0.2%", "54%"]
        );
        assert_eq!(percent(-0.0021), "-0.2%");
        assert_eq!(wall(1_795_170_677_250_000_000), "2026-11-20 10:31:17 UTC");
    }
}
