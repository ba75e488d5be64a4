//! Durability levels: what an acknowledgement of a stream means.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// When a batch may be acknowledged, from the weakest promise to the strongest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Applied in memory; nothing is promised.
    Memory,
    /// The write completed; survives a kill and a kernel crash.
    Written,
    /// Applied; everything older than the interval survives a power loss.
    Interval(Duration),
    /// Durable; survives a power loss.
    #[default]
    Commit,
}

/// A level that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown durability level \"{text}\": use memory, written, interval:500ms (1 ms to 60 s) or \
     commit"
)]
pub struct LevelError {
    text: String,
}

/// Shortest and longest interval that can be asked for.
const INTERVAL_RANGE: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(60);

impl FromStr for Level {
    type Err = LevelError;

    fn from_str(text: &str) -> Result<Level, LevelError> {
        let unknown = || LevelError {
            text: text.to_owned(),
        };
        match text {
            "memory" => return Ok(Level::Memory),
            "written" => return Ok(Level::Written),
            "commit" => return Ok(Level::Commit),
            _ => {}
        }
        let interval = text.strip_prefix("interval:").ok_or_else(unknown)?;
        let (digits, unit) = match interval.strip_suffix("ms") {
            Some(digits) => (digits, Duration::from_millis as fn(u64) -> Duration),
            None => (
                interval.strip_suffix('s').ok_or_else(unknown)?,
                Duration::from_secs as _,
            ),
        };
        if digits.is_empty() || digits.len() > 9 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(unknown());
        }
        let interval = unit(digits.parse().map_err(|_| unknown())?);
        if !INTERVAL_RANGE.contains(&interval) {
            return Err(unknown());
        }
        Ok(Level::Interval(interval))
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Level::Memory => f.write_str("memory"),
            Level::Written => f.write_str("written"),
            Level::Interval(interval) => write!(f, "interval:{}ms", interval.as_millis()),
            Level::Commit => f.write_str("commit"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_back() {
        let half = Duration::from_millis(500);
        for level in [
            Level::Memory,
            Level::Written,
            Level::Interval(half),
            Level::Commit,
        ] {
            assert_eq!(level.to_string().parse(), Ok(level));
        }
        assert_eq!(
            "interval:2s".parse(),
            Ok(Level::Interval(Duration::from_secs(2)))
        );
    }

    #[test]
    fn anything_else_is_refused_with_the_choices() {
        for text in [
            "",
            "Commit",
            "interval:",
            "interval:ms",
            "interval:0ms",
            "interval:61s",
            "interval:-1s",
        ] {
            let error = text.parse::<Level>().expect_err(text);
            assert!(error.to_string().contains("interval:500ms"), "{error}");
        }
    }
}
