//! Integers that a reader with doubles would round.

use serde_json::Value;

/// Largest integer below which doubles hold every integer.
const EXACT_MAX: u64 = 1 << 53;

/// Turns every integer beyond 2^53 in `value` into text.
pub(crate) fn large_to_text(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let magnitude = number
                .as_u64()
                .or_else(|| number.as_i64().map(i64::unsigned_abs));
            if magnitude.is_some_and(|magnitude| magnitude > EXACT_MAX) {
                *value = Value::String(number.to_string());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(large_to_text),
        Value::Object(members) => members.values_mut().for_each(large_to_text),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::large_to_text;
    use serde_json::json;

    #[test]
    fn only_integers_beyond_the_exact_range_become_text() {
        let mut value = json!({
            "a": [9_007_199_254_740_992_u64, 9_007_199_254_740_993_u64, u64::MAX],
            "b": { "c": i64::MIN, "d": -9_007_199_254_740_992_i64, "e": 1e300, "f": "x" },
        });
        large_to_text(&mut value);
        let expected = json!({
            "a": [9_007_199_254_740_992_u64, "9007199254740993", "18446744073709551615"],
            "b": {
                "c": "-9223372036854775808", "d": -9_007_199_254_740_992_i64, "e": 1e300, "f": "x"
            },
        });
        assert_eq!(value, expected);
    }
}
