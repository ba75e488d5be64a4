//! Text forms of counts, rates, times and shares: `64k`, `1M`, `250us`, `5%`.

use std::fmt;
use std::time::Duration;

/// Parses a count with an optional decimal suffix: `100`, `64k`, `1M`, `2G`, `1.5M`.
pub fn parse_count(text: &str) -> Result<u64, String> {
    let value = parse_scaled(text)?;
    if value.fract() != 0.0 || value > 9.0e15 {
        return Err(format!("`{text}` is no whole number of a usable size"));
    }
    Ok(value as u64)
}

/// Parses a count that must be at least 1.
pub fn parse_positive(text: &str) -> Result<u64, String> {
    match parse_count(text)? {
        0 => Err("must be at least 1".to_owned()),
        value => Ok(value),
    }
}

/// How much load to offer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// Events per second over all threads, open loop.
    PerSecond(f64),
    /// As much as the window of unacknowledged frames lets through, closed loop.
    Max,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rate::PerSecond(rate) => f.write_str(&short_count(*rate)),
            Rate::Max => f.write_str("max"),
        }
    }
}

/// Parses `50k` or `max`.
pub fn parse_rate(text: &str) -> Result<Rate, String> {
    if text == "max" {
        return Ok(Rate::Max);
    }
    let rate = parse_scaled(text)?;
    if !(0.001..=1.0e10).contains(&rate) {
        return Err(format!(
            "a rate lies between 0.001 and 10G events/s, not `{text}`"
        ));
    }
    Ok(Rate::PerSecond(rate))
}

/// Parses `250us`, `1.5s`, `2m`, `100ns`; a bare number is refused.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .ok_or_else(|| format!("`{text}` needs a unit: ns, us, ms, s, m or h"))?;
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().map_err(|_| format!("`{text}` is no time"))?;
    let scale = match unit {
        "ns" => 1.0,
        "us" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3600e9,
        _ => {
            return Err(format!(
                "unknown unit `{unit}` in `{text}`; use ns, us, ms, s, m or h"
            ));
        }
    };
    let ns = number * scale;
    if !(0.0..=9.0e18).contains(&ns) {
        return Err(format!("`{text}` is no usable time"));
    }
    Ok(Duration::from_nanos(ns.round() as u64))
}

/// Parses a share: `5%` or `0.05`; the result lies in 0 to 1.
pub fn parse_share(text: &str) -> Result<f64, String> {
    let (number, scale) = match text.strip_suffix('%') {
        Some(number) => (number, 100.0),
        None => (text, 1.0),
    };
    let share = number
        .parse::<f64>()
        .map_err(|_| format!("`{text}` is no share"))?
        / scale;
    if !(0.0..=1.0).contains(&share) {
        return Err(format!("a share lies between 0 and 100%, not `{text}`"));
    }
    Ok(share)
}

fn parse_scaled(text: &str) -> Result<f64, String> {
    let (number, scale) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1e3),
        Some(b'M') => (&text[..text.len() - 1], 1e6),
        Some(b'G') => (&text[..text.len() - 1], 1e9),
        _ => (text, 1.0),
    };
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match number.parse::<f64>() {
        Ok(value) if plain => Ok(value * scale),
        _ => Err(format!("`{text}` is no number; write 500, 64k, 1.5M or 2G")),
    }
}

/// A time for people: `214us`, `1.04ms`, `2.50s`.
pub fn human_ns(ns: u64) -> String {
    let value = ns as f64;
    match ns {
        0..1_000 => format!("{ns}ns"),
        1_000..10_000 => format!("{:.1}us", value / 1e3),
        10_000..1_000_000 => format!("{:.0}us", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2}ms", value / 1e6),
        _ => format!("{:.2}s", value / 1e9),
    }
}

/// A duration in the shortest form that [`parse_duration`] reads back exactly.
pub fn short_duration(duration: Duration) -> String {
    let ns = duration.as_nanos();
    for (unit, scale) in [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)] {
        if ns >= scale && ns.is_multiple_of(scale) {
            return format!("{}{unit}", ns / scale);
        }
    }
    if ns == 0 {
        "0s".to_owned()
    } else {
        format!("{ns}ns")
    }
}

/// A count for people: `50.0k`, `8.31M`, `512`.
pub fn short_count(value: f64) -> String {
    match value {
        v if v >= 1e9 => format!("{:.2}G", v / 1e9),
        v if v >= 1e6 => format!("{:.2}M", v / 1e6),
        v if v >= 1e4 => format!("{:.1}k", v / 1e3),
        v if v.fract() == 0.0 => format!("{v:.0}"),
        v => format!("{v:.1}"),
    }
}

/// A count with thousands separated: `1,500,113`.
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_rates_and_times_are_read_and_nonsense_is_refused() {
        assert_eq!(parse_count("1M"), Ok(1_000_000));
        assert_eq!(parse_count("1.5k"), Ok(1_500));
        assert!(parse_count("1.5").is_err() && parse_count("-3").is_err());
        assert!(parse_count("").is_err() && parse_count("k").is_err());
        assert!(parse_count("infM").is_err() && parse_count("1e3").is_err());
        assert_eq!(parse_rate("max"), Ok(Rate::Max));
        assert_eq!(parse_rate("500k"), Ok(Rate::PerSecond(500_000.0)));
        assert!(parse_rate("0").is_err());
        assert_eq!(parse_duration("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert!(parse_duration("5").is_err() && parse_duration("5d").is_err());
        assert_eq!(parse_share("5%"), Ok(0.05));
        assert!(parse_share("101%").is_err() && parse_share("-1%").is_err());
    }

    #[test]
    fn times_and_counts_print_short() {
        assert_eq!(human_ns(214_300), "214us");
        assert_eq!(human_ns(1_040_000), "1.04ms");
        assert_eq!(grouped(1_500_113), "1,500,113");
        assert_eq!(grouped(12), "12");
        assert_eq!(short_count(8_310_000.0), "8.31M");
        for text in ["30s", "250us", "1500ms", "0s", "17ns"] {
            assert_eq!(short_duration(parse_duration(text).unwrap()), text);
        }
    }
}
