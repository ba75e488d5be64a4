//! Durations and sizes as text.

use crate::limits::DURATION_MS_MAX;

/// Why a text is no duration or size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuantityError {
    /// It is not a whole number and a unit.
    Malformed,
    /// It is larger than possible.
    TooLarge,
}

const DURATION_UNITS: [(&str, i64); 6] = [
    ("ms", 1),
    ("s", 1000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("w", 7 * 86_400_000),
];

const SIZE_UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// Reads `500ms`, `5s`, `10m`, `1h`, `7d` or `2w`; the result is in ms.
pub fn parse_duration_ms(text: &str) -> Result<i64, QuantityError> {
    let (number, unit) = split(text)?;
    let unit_ms = DURATION_UNITS
        .iter()
        .find_map(|(name, ms)| (*name == unit).then_some(*ms))
        .ok_or(QuantityError::Malformed)?;
    let number = i64::try_from(number).map_err(|_| QuantityError::TooLarge)?;
    number
        .checked_mul(unit_ms)
        .filter(|ms| *ms <= DURATION_MS_MAX)
        .ok_or(QuantityError::TooLarge)
}

/// Writes a duration in the largest unit that is exact.
pub fn duration_text(ms: i64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let units = DURATION_UNITS.iter().filter(|(name, _)| *name != "w");
    let (name, unit_ms) = units
        .rev()
        .find(|(_, unit_ms)| ms % unit_ms == 0)
        .expect("invariant: every number of ms is one of the unit ms");
    format!("{}{name}", ms / unit_ms)
}

/// Reads `512MiB`, `8GiB` or `16GB`; the result is in bytes.
pub fn parse_size_bytes(text: &str) -> Result<u64, QuantityError> {
    let (number, unit) = split(text)?;
    let unit_bytes = SIZE_UNITS
        .iter()
        .find_map(|(name, bytes)| (*name == unit).then_some(*bytes))
        .ok_or(QuantityError::Malformed)?;
    number
        .checked_mul(unit_bytes)
        .ok_or(QuantityError::TooLarge)
}

fn split(text: &str) -> Result<(u64, &str), QuantityError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return Err(QuantityError::Malformed);
    }
    let number = text[..digits]
        .parse()
        .map_err(|_| QuantityError::TooLarge)?;
    Ok((number, &text[digits..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("0s", 0),
            ("500ms", 500),
            ("5s", 5_000),
            ("10m", 600_000),
            ("24h", 86_400_000),
            ("7d", 604_800_000),
            ("2w", 1_209_600_000),
            ("36500d", DURATION_MS_MAX),
        ] {
            assert_eq!(parse_duration_ms(text), Ok(ms), "{text}");
            assert_eq!(parse_duration_ms(&duration_text(ms)), Ok(ms), "{text}");
        }
        assert_eq!(duration_text(86_400_000), "1d");
        assert_eq!(duration_text(1_500), "1500ms");
        for text in [
            "", "5", "s", "-5s", "5 s", "5S", "1.5s", "1h30m", "5sec", "+5s",
        ] {
            assert_eq!(
                parse_duration_ms(text),
                Err(QuantityError::Malformed),
                "{text}"
            );
        }
        for text in ["36501d", "99999999999999999999s", "18446744073709551615w"] {
            assert_eq!(
                parse_duration_ms(text),
                Err(QuantityError::TooLarge),
                "{text}"
            );
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size_bytes("8GiB"), Ok(8 << 30));
        assert_eq!(parse_size_bytes("512MiB"), Ok(512 << 20));
        assert_eq!(parse_size_bytes("16GB"), Ok(16_000_000_000));
        assert_eq!(parse_size_bytes("8G"), Err(QuantityError::Malformed));
        assert_eq!(
            parse_size_bytes("99999999999GiB"),
            Err(QuantityError::TooLarge)
        );
    }
}
