use super::*;
use crate::schema::{FieldSpec, Limits};

fn schema() -> Schema {
    let spec = |id, name: &str, kind, optional| FieldSpec {
        id,
        name: name.into(),
        kind,
        optional,
    };
    Schema::new(vec![
        spec(1, "u", FieldType::U64, false),
        spec(2, "i", FieldType::I64, true),
        spec(3, "f", FieldType::F64, true),
        spec(4, "b", FieldType::Bool, true),
        spec(5, "t", FieldType::Time, true),
        spec(6, "id", FieldType::Uuid, true),
        spec(7, "s", FieldType::Text(4), true),
    ])
    .unwrap()
}

fn read(line: &str) -> Result<serde_json::Value, LineError> {
    let schema = schema();
    let mut row = vec![0xee; schema.row_len()];
    parse_line(&schema, line.as_bytes(), &mut row)?;
    assert_eq!(schema.validate(&row), Ok(()), "{line}");
    Ok(row_to_json(&schema, &row))
}

#[test]
fn every_type_and_form() {
    let uuid = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    let line = format!(
        r#"{{"u":18446744073709551615,"i":-5,"f":-0.0,"b":true,"t":"2013-01-01T10:15:00Z",
            "id":"{uuid}","s":"\u00e9y","more":[{{"deep":null}}]}}"#
    );
    let expected = serde_json::json!({
        "u": u64::MAX, "i": -5, "f": 0.0, "b": true, "t": 1_357_035_300_000i64,
        "id": uuid, "s": "\u{e9}y",
    });
    assert_eq!(read(&line).unwrap(), expected);
    let text = r#"{"u":"9007199254740993","i":"-9223372036854775808","f":"1.5","t":"-1"}"#;
    let row = read(text).unwrap();
    assert_eq!(row["u"], 9_007_199_254_740_993u64);
    assert_eq!(row["i"], i64::MIN);
    assert_eq!(row["f"], 1.5);
    assert_eq!(row["t"], -1);
    let row = read(r#"{"u":5.0,"i":null,"f":3}"#).unwrap();
    assert_eq!(row["u"], 5);
    assert_eq!(row["f"], 3.0);
    assert!(row["i"].is_null() && row["s"].is_null());
}

#[test]
fn what_a_line_leaves_out_has_its_default() {
    let mut schema = schema();
    schema.set_default(0, &Value::U64(7)).unwrap();
    let wrong = schema.set_default(0, &Value::Text("x"));
    assert_eq!(wrong.unwrap_err().reason, RejectReason::WrongType);
    schema.set_default(6, &Value::Text("none")).unwrap();
    let read = |line: &str| {
        let mut row = vec![0xee; schema.row_len()];
        parse_line(&schema, line.as_bytes(), &mut row).unwrap();
        assert_eq!(schema.validate(&row), Ok(()));
        let row = row_to_json(&schema, &row);
        (row["u"].clone(), row["i"].clone(), row["s"].clone())
    };
    let (seven, null, none) = (7.into(), serde_json::Value::Null, "none".into());
    assert_eq!(read("{}"), (seven, null.clone(), none));
    let read = read(r#"{"u":null,"s":""}"#);
    assert_eq!(
        read,
        (7.into(), null, "".into()),
        "null is absent, an empty text is not"
    );
}

#[test]
fn limits_are_for_the_shard_to_judge() {
    let mut schema = schema();
    let limits = Limits::of(FieldType::I64, Some(Value::I64(-3)), Some(Value::I64(4)));
    schema.limit(1, limits.unwrap());
    let limits = Limits::of(FieldType::F64, None, Some(Value::F64(0.5)));
    schema.limit(2, limits.unwrap());
    let judge = |line: &str| {
        let mut row = vec![0; schema.row_len()];
        parse_line(&schema, line.as_bytes(), &mut row).unwrap();
        schema
            .validate(&row)
            .map_err(|reject| (reject.reason, reject.field))
    };
    for line in [
        "{\"u\":1}",
        "{\"u\":1,\"i\":-3,\"f\":0.5}",
        "{\"u\":1,\"i\":4,\"f\":-1e300}",
    ] {
        assert_eq!(judge(line), Ok(()), "{line}");
    }
    for (line, field) in [
        ("{\"u\":1,\"i\":-4}", 1),
        ("{\"u\":1,\"i\":5}", 1),
        ("{\"u\":1,\"f\":0.5000001}", 2),
    ] {
        assert_eq!(
            judge(line),
            Err((RejectReason::OutOfRange, field)),
            "{line}"
        );
    }
}

#[test]
fn refusals_name_field_and_reason() {
    use RejectReason::{Missing, NotFinite, OutOfRange, TextTooLong, WrongType};
    let above = "is outside the range of u64; send whole numbers above 2^53 as text";
    for (line, field, reason, message) in [
        (r#"{"i":1}"#, "u", Missing, "is required and missing"),
        (r#"{"u":null}"#, "u", Missing, "is required and null"),
        (r#"{"u":-1}"#, "u", OutOfRange, above),
        (r#"{"u":1e30}"#, "u", OutOfRange, above),
        (r#"{"u":18446744073709551616}"#, "u", OutOfRange, above),
        (r#"{"u":"18446744073709551616"}"#, "u", OutOfRange, above),
        (r#"{"u":1.5}"#, "u", WrongType, "is no u64"),
        (r#"{"u":"x"}"#, "u", WrongType, "is no u64"),
        (r#"{"u":true}"#, "u", WrongType, "is no u64"),
        (r#"{"u":[1]}"#, "u", WrongType, "is no u64"),
        (r#"{"u":{}}"#, "u", WrongType, "is no u64"),
        (r#"{"u":1,"u":2}"#, "u", WrongType, "is given twice"),
        (
            r#"{"u":1,"f":"nan"}"#,
            "f",
            NotFinite,
            "is not a finite number",
        ),
        (r#"{"u":1,"b":1}"#, "b", WrongType, "is no bool"),
        (r#"{"u":1,"b":"true"}"#, "b", WrongType, "is no bool"),
        (r#"{"u":1,"s":5}"#, "s", WrongType, "is no text(4)"),
        (
            r#"{"u":1,"s":"fives"}"#,
            "s",
            TextTooLong,
            "is longer than the 4 bytes of text(4)",
        ),
        (r#"{"u":1,"id":"12"}"#, "id", WrongType, "is no uuid"),
        (
            r#"{"u":1,"t":"2013-02-30T00:00:00Z"}"#,
            "t",
            WrongType,
            "is no time: ms since the epoch, or RFC 3339 text",
        ),
        (
            r#"{"u":1,"t":253402300800000}"#,
            "t",
            OutOfRange,
            "is outside the years 0 to 9999",
        ),
    ] {
        let error = read(line).unwrap_err();
        assert_eq!(error.field.as_deref(), Some(field), "{line}");
        assert_eq!(error.reason, reason, "{line}");
        assert_eq!(
            error.message,
            format!("field `{field}` {message}"),
            "{line}"
        );
    }
}

#[test]
fn lines_that_are_no_objects() {
    for line in [
        "",
        "5",
        "[]",
        "null",
        r#"{"u":1"#,
        r#"{"u":1} {}"#,
        r#"{"u":01}"#,
        "\u{fffd}",
    ] {
        let error = read(line).unwrap_err();
        assert_eq!(
            (error.field, error.reason),
            (None, RejectReason::WrongType),
            "{line}"
        );
        assert!(
            error.message.starts_with("the line is no JSON object: "),
            "{}",
            error.message
        );
    }
    let deep = format!(r#"{{"x":{}"#, "[".repeat(100_000));
    assert!(read(&deep).is_err());
    let schema = schema();
    let mut row = vec![0; schema.row_len()];
    assert!(parse_line(&schema, b"{\"u\":1,\"s\":\"\xff\"}", &mut row).is_err());
}

#[test]
fn a_float_is_the_nearest_one_to_its_text() {
    for text in ["30821.823529411766", "0.1", "1e-310", "123456789.12345679"] {
        let value = read(&format!(r#"{{"u":1,"f":{text}}}"#)).unwrap();
        assert_eq!(value["f"].as_f64(), text.parse().ok(), "{text}");
    }
}
