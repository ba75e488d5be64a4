//! Decimal numbers of a file as whole millionths: no rounding, and equal texts are equal numbers.

/// Decimals of a share: `0.999999`.
const SHARE_DECIMALS: u32 = 6;
/// Decimals of a percent: `0.0001%` is a millionth.
const PERCENT_DECIMALS: u32 = 4;

/// Reads a share of one, `0.99`, in millionths; `None` if it is none from 0 to 1.
pub(super) fn parse_share(text: &str) -> Option<u32> {
    parse(text, SHARE_DECIMALS).filter(|ppm| *ppm <= 1_000_000)
}

/// Reads `0.5%` in millionths.
pub(super) fn parse_percent(text: &str) -> Option<u32> {
    parse(text.strip_suffix('%')?.trim_end(), PERCENT_DECIMALS)
}

/// Undoes [`parse_share`].
pub(super) fn share_text(ppm: u32) -> String {
    text(ppm, SHARE_DECIMALS)
}

/// Undoes [`parse_percent`].
pub(super) fn percent_text(ppm: u32) -> String {
    text(ppm, PERCENT_DECIMALS) + "%"
}

fn parse(text: &str, decimals: u32) -> Option<u32> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) || fraction.len() > decimals as usize {
        return None;
    }
    let missing = decimals - fraction.len() as u32;
    let fraction = fraction.parse::<u32>().ok()? * 10_u32.pow(missing);
    let whole: u32 = whole.parse().ok()?;
    whole
        .checked_mul(10_u32.pow(decimals))?
        .checked_add(fraction)
}

fn text(number: u32, decimals: u32) -> String {
    let unit = 10_u32.pow(decimals);
    let width = decimals as usize;
    let text = format!("{}.{:0width$}", number / unit, number % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_percents_read_back() {
        for (text, ppm) in [
            ("0", 0),
            ("1", 1_000_000),
            ("0.5", 500_000),
            ("0.000001", 1),
        ] {
            assert_eq!(parse_share(text), Some(ppm));
            assert_eq!(share_text(ppm), text);
        }
        for (text, ppm) in [
            ("1%", 10_000),
            ("0.1%", 1_000),
            ("10%", 100_000),
            ("0.0001%", 1),
        ] {
            assert_eq!(parse_percent(text), Some(ppm));
            assert_eq!(percent_text(ppm), text);
        }
        assert_eq!(parse_percent("1.50 %"), Some(15_000));
        for bad in [
            "",
            ".",
            "1.",
            ".5",
            "-0.5",
            "0.0000001",
            "1.1",
            "1e-1",
            "99999999999",
        ] {
            assert_eq!(parse_share(bad), None, "{bad}");
        }
        for bad in ["1", "%", "0.00001%", "1%%", "999999999%"] {
            assert_eq!(parse_percent(bad), None, "{bad}");
        }
    }
}
