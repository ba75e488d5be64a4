//! A column of a row, as it is served, against what is expected of it.

use ringmill_shard::merge::{ColumnValue, Frequent};
use ringmill_shard::oracle::expected::Expected;
use ringmill_shard::query::Scalar;
use ringmill_shard::schema::FieldType;
use ringmill_shard::value::{OwnedValue, Value as Typed};
use serde_json::{Value, json};

use crate::http::answers::scalar;

/// Whether `found` says what is expected. `kind` is the type of what the column reads.
pub(super) fn says(found: &Value, expected: &Expected, kind: Option<FieldType>) -> bool {
    match expected {
        Expected::Number(number) => *found == scalar(number),
        Expected::Value(value) => *found == value.value().to_json(),
        Expected::Distinct(..) => {
            let figures = found["value"].as_u64().zip(found["error"].as_u64());
            let estimate = |(value, error)| ColumnValue::Estimate {
                value: Scalar::U64(value),
                error: Scalar::U64(error),
            };
            figures.is_some_and(|figures| estimate(figures) == *expected)
        }
        Expected::Quantile(..) => {
            let figures = found["value"].as_f64().zip(found["error"].as_f64());
            let estimate = |(value, error)| ColumnValue::Estimate {
                value: Scalar::F64(value),
                error: Scalar::F64(error),
            };
            figures.is_some_and(|figures| estimate(figures) == *expected)
        }
        Expected::Top(..) => {
            let frequent = kind.and_then(|kind| frequent(found, kind));
            frequent.is_some_and(|frequent| frequent == *expected)
        }
    }
}

fn frequent(found: &Value, kind: FieldType) -> Option<ColumnValue> {
    let one = |one: &Value| {
        Some(Frequent {
            value: typed(&one["value"], kind)?,
            count: one["count"].as_u64()?,
            error: one["error"].as_u64()?,
        })
    };
    let values = found["values"].as_array()?.iter().map(one);
    Some(ColumnValue::Frequent {
        values: values.collect::<Option<_>>()?,
        others_at_most: found["others_at_most"].as_u64()?,
    })
}

/// A value of a type in its JSON form.
fn typed(found: &Value, kind: FieldType) -> Option<OwnedValue> {
    let text = match found {
        Value::Null => return Some(OwnedValue::Plain(Typed::Null)),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let value = Typed::parse_text(kind, &text).ok()?;
    Some(OwnedValue::from(value))
}

/// What is expected, for people.
pub(super) fn describe(expected: &Expected) -> Value {
    match expected {
        Expected::Number(number) => scalar(number),
        Expected::Value(value) => value.value().to_json(),
        Expected::Distinct(count, within) => json!({ "exactly": count, "within": within }),
        Expected::Quantile(exact, within) => {
            json!({ "exactly": exact.value().to_json(), "within": within })
        }
        Expected::Top(all, k) => {
            let most = all.iter().take(*k);
            let most = most
                .map(|(value, count)| json!({ "value": value.value().to_json(), "count": count }));
            json!({ "of_values": all.len(), "most_frequent": most.collect::<Vec<_>>() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringmill_shard::oracle::Datum;

    #[test]
    fn numbers_and_values_are_exact() {
        let big = (1_u64 << 53) + 1;
        let wide = Expected::Number(Scalar::Wide(i128::from(u64::MAX) + 1));
        for (found, expected) in [
            (json!(big), Expected::Number(Scalar::U64(big))),
            (json!(-1), Expected::Number(Scalar::I64(-1))),
            (json!(0.1), Expected::Number(Scalar::F64(0.1))),
            (json!("overflow"), Expected::Number(Scalar::Overflow)),
            (json!("18446744073709551616"), wide),
            (Value::Null, Expected::Number(Scalar::Null)),
            (json!("x"), Expected::Value(Datum::Text("x".to_owned()))),
        ] {
            assert!(says(&found, &expected, None), "{found} {expected:?}");
            for other in [json!(big - 1), json!(1), json!(0.100_000_1), json!("y")] {
                assert!(!says(&other, &expected, None), "{other} {expected:?}");
            }
        }
    }

    #[test]
    fn estimates_are_as_near_as_they_say() {
        let expected = Expected::Distinct(1_000, 0.05);
        let is = |value: i64, error: i64| {
            let found = json!({ "value": value, "error": error });
            says(&found, &expected, Some(FieldType::U64))
        };
        assert!(is(1_000, 0) && is(1_030, 20) && is(960, 40));
        assert!(!is(1_001, 0) && !is(1_200, 50) && !is(1_000, 90) && !is(-1, 0));
        let expected = Expected::Quantile(Datum::I64(200), 0.01);
        let is = |value: f64, error: f64| {
            let found = json!({ "value": value, "error": error });
            says(&found, &expected, Some(FieldType::I64))
        };
        assert!(is(200.0, 0.0) && is(201.5, 2.0));
        assert!(!is(203.0, 2.0) && !is(201.0, 0.5) && !is(202.0, 4.0));
    }

    #[test]
    fn frequent_values_are_those_and_in_order() {
        let all = [("a", 5_u64), ("b", 3), ("c", 1)];
        let all = all.map(|(text, count)| (Datum::Text(text.to_owned()), count));
        let expected = Expected::Top(all.to_vec(), 2);
        let found = |values: &[(&str, u64)]| {
            let one = |(value, count): &(&str, u64)| json!({ "value": value, "count": count, "error": 0 });
            let values: Vec<Value> = values.iter().map(one).collect();
            json!({ "values": values, "others_at_most": 0 })
        };
        let is = |values: &[(&str, u64)]| says(&found(values), &expected, Some(FieldType::Text(9)));
        assert!(is(&[("a", 5), ("b", 3)]));
        assert!(!is(&[("b", 3), ("a", 5)]) && !is(&[("a", 5)]) && !is(&[("a", 5), ("b", 4)]));
        let kind = Some(FieldType::Text(9));
        assert!(!says(&json!({ "values": 3 }), &expected, kind));
    }
}
