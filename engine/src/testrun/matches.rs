//! Whether an answer is what a test says.

use serde_json::Value;

/// Floating-point numbers that differ by less than this share are equal: sums of them are rounded.
const F64_SHARE: f64 = 1e-9;

/// Whether `found` is `expected`; objects may have members that are not expected.
pub(super) fn matches(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::Number(expected), Value::Number(found)) => {
            let exact = expected.as_i128().zip(found.as_i128());
            let rounded = expected.as_f64().zip(found.as_f64());
            match (exact, rounded) {
                (Some((expected, found)), _) => expected == found,
                (None, Some((expected, found))) => {
                    (expected - found).abs() <= F64_SHARE * expected.abs().max(found.abs())
                }
                (None, None) => false,
            }
        }
        (Value::Array(expected), Value::Array(found)) => {
            let mut pairs = expected.iter().zip(found);
            expected.len() == found.len() && pairs.all(|(expected, found)| matches(expected, found))
        }
        (Value::Object(expected), Value::Object(found)) => expected.iter().all(|(key, value)| {
            // What is null may as well be absent.
            matches(value, found.get(key).unwrap_or(&Value::Null))
        }),
        (expected, found) => expected == found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parts_of_objects_match_and_lists_only_as_a_whole() {
        let found =
            json!({"a": 1, "b": [{"c": 2.0, "d": "x"}], "e": 18_446_744_073_709_551_615_u64});
        for expected in [
            json!({}),
            json!({"a": 1}),
            json!({"b": [{"c": 2}]}),
            json!({"f": null}),
            json!({"e": 18_446_744_073_709_551_615_u64}),
        ] {
            assert!(matches(&expected, &found), "{expected}");
        }
        for expected in [
            json!({"a": 2}),
            json!({"a": "1"}),
            json!({"b": []}),
            json!({"b": [{"c": 2}, {}]}),
            json!({"b": [{"c": 2.000_000_1}]}),
            json!({"f": 0}),
            json!({"e": 18_446_744_073_709_551_614_u64}),
            json!([]),
        ] {
            assert!(!matches(&expected, &found), "{expected}");
        }
    }
}
