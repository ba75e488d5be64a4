//! `min`, `max` and `default` in `[stream.NAME.fields]`.

use crate::base::{accepted, refused};
use ringmill_shard::schema::{FieldType, Limits};
use ringmill_shard::value::Value;

fn points(rules: &str) -> String {
    format!("points = {{ id = 3, {rules} }}")
}

#[track_caller]
fn check(rules: &str, expected: &str) {
    let expected = format!("line 13, column {expected}");
    // What reads the field is faulty too where its type does not fit.
    refused("points = {", &points(rules), &expected);
}

#[test]
fn limits_and_defaults_that_hold() {
    let schema = |rules: &str| {
        let mut pipeline = accepted("points = {", &points(rules));
        pipeline.streams.remove(0).schema
    };
    let plain = schema("type = \"i64\"");
    assert_eq!((plain.limits(2), plain.default_of(2)), (None, None));
    let both = schema("type = \"i64\", min = -1000, max = 100000, default = 0");
    assert_eq!(both.limits(2), Some(Limits::I64(-1_000, 100_000)));
    assert_eq!(both.default_of(2), Some(Value::I64(0)));
    assert_eq!(both.id, plain.id, "the bytes of rows are the same");
    let one = schema("type = \"u64\", min = \"18446744073709551615\"");
    assert_eq!(one.limits(2), Some(Limits::U64(u64::MAX, u64::MAX)));
    let float = schema("type = \"f64\", min = -0.5, max = 2");
    let limits = Limits::of(
        FieldType::F64,
        Some(Value::F64(-0.5)),
        Some(Value::F64(2.0)),
    );
    assert_eq!(float.limits(2), limits);
    assert_eq!(
        float.limits(2).map(|limits| limits.to_string()),
        Some("-0.5 to 2".into())
    );
}

#[test]
fn limits_and_defaults_that_do_not() {
    check(
        "type = \"i64\", min = 5, max = 4",
        "40: `min` of field `points` of stream `finds` is above its `max`",
    );
    check(
        "type = \"i64\", min = \"x\"",
        "40: `min` of field `points` of stream `finds` is no i64",
    );
    check(
        "type = \"i64\", max = 1.5",
        "40: `max` of field `points` of stream `finds` is no i64",
    );
    check(
        "type = \"i64\", max = 9223372036854775808",
        "40: `max` of field `points` of stream `finds` is outside the range of i64",
    );
    check(
        "type = \"u64\", min = -1",
        "40: `min` of field `points` of stream `finds` is outside the range of u64",
    );
    check(
        "type = \"i64\", max = 4, default = 5",
        "53: `default` of field `points` of stream `finds` is not within -9223372036854775808 to 4",
    );
    check(
        "type = \"i64\", default = true",
        "44: `default` of field `points` of stream `finds` is no i64",
    );
    check(
        "type = \"i64\", optional = true, default = 5",
        "61: field `points` of stream `finds` is optional and has a `default`; leave out `optional`: what is absent has the default",
    );
    check(
        "type = \"i64\", defalt = 5",
        "34: unknown key `defalt` in field `points` of stream `finds`; did you mean `default`?",
    );
}

#[test]
fn what_has_no_order_has_no_limits() {
    let flag = |rules: &str| format!("flag = {{ id = 7, {rules} }}");
    refused(
        "flag = {",
        &flag("type = \"bool\", max = true"),
        "line 17, column 39: field `flag` of stream `finds` is bool, which has no `min` and \
         `max`; limit u64, i64 and f64 fields",
    );
    refused(
        "flag = {",
        &flag("type = \"text(4)\", default = \"longer\""),
        "line 17, column 46: `default` of field `flag` of stream `finds` is longer than 4 bytes",
    );
    for rules in [
        "type = \"bool\", default = true",
        "type = \"text(4)\", default = \"none\"",
        "type = \"text(4)\", default = \"\"",
        "type = \"time\", default = \"2026-01-01T00:00:00Z\"",
        "type = \"uuid\", default = \"67e55044-10b1-426f-9247-bb680e5fe0c8\"",
    ] {
        accepted("flag = {", &flag(rules));
    }
}
