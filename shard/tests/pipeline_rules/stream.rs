//! `[stream.NAME]`.

use crate::base::{accepted, problems, refused};
use ringmill_shard::pipeline::{Durability, TimeRule};

#[test]
fn stream_keys() {
    refused("key =", "", "line 6, column 9: [stream.finds] needs `key`");
    refused(
        "key =",
        "key = \"plyer\"",
        "line 7, column 7: [stream.finds]: stream `finds` has no field `plyer`; \
         did you mean `player`?",
    );
    refused(
        "key =",
        "key = \"ratio\"",
        "line 7, column 7: [stream.finds]: field `ratio` is f64, which cannot be a key; \
         use a u64, i64, bool, time, uuid or text field",
    );
    for key in ["player", "at", "points", "region", "seen", "flag"] {
        accepted("key =", &format!("key = \"{key}\""));
    }
    refused(
        "key =",
        "key = \"player\"\nkeys = 1",
        "line 8, column 1: unknown key `keys` in [stream.finds]; did you mean `key`?",
    );
}

#[test]
fn stream_time() {
    let time = |rule: &str| format!("time = {{ {rule} }}");
    let check = |rule: &str, expected: &str| refused("time =", &time(rule), expected);
    refused(
        "time =",
        "",
        "line 6, column 9: [stream.finds] needs `time`",
    );
    refused(
        "time =",
        "time = \"at\"",
        "line 8, column 8: `time` in [stream.finds] must be a table, not text",
    );
    check(
        "disorder = \"1s\"",
        "line 8, column 1: [stream.finds.time] needs `field`",
    );
    check(
        "field = \"points\"",
        "line 8, column 18: [stream.finds.time]: field `points` is i64, not time",
    );
    check(
        "field = \"seen\"",
        "line 8, column 18: [stream.finds.time]: field `seen` must not be optional",
    );
    check(
        "field = \"att\"",
        "line 8, column 18: [stream.finds.time]: stream `finds` has no field `att`; \
         did you mean `at`?",
    );
    check(
        "field = \"at\", disorder = \"5 s\"",
        "line 8, column 35: `disorder` in [stream.finds.time]: `5 s` is no duration; \
         write a whole number and a unit: 500ms, 5s, 10m, 1h, 7d, 2w",
    );
    check(
        "field = \"at\", max_future = \"36501d\"",
        "line 8, column 37: `max_future` in [stream.finds.time]: `36501d` is over 36500d",
    );
    check(
        "field = \"at\", idle = \"0s\"",
        "line 8, column 31: `idle` in [stream.finds.time] must be at least 1ms",
    );
    check(
        "field = \"at\", idle = 5",
        "line 8, column 31: `idle` in [stream.finds.time] must be text, not a whole number",
    );
    let defaults = accepted("time =", &time("field = \"at\"")).streams[0].time;
    let expected = TimeRule {
        field: 1,
        disorder_ms: 0,
        max_future_ms: 10_000,
        idle_ms: 5_000,
    };
    assert_eq!(defaults, expected);
}

#[test]
fn durability() {
    for (text, level) in [
        ("durability = \"memory\"", Durability::Memory),
        ("durability = \"written\"", Durability::Written),
        (
            "durability = \"interval:1h\"",
            Durability::Interval { ms: 3_600_000 },
        ),
        ("durability = \"commit\"", Durability::Commit),
        ("", Durability::Commit),
    ] {
        assert_eq!(accepted("durability", text).streams[0].durability, level);
    }
    refused(
        "durability",
        "durability = \"comit\"",
        "line 9, column 14: `durability` in [stream.finds]: unknown level `comit`; \
         did you mean `commit`?",
    );
    refused(
        "durability",
        "durability = \"group\"",
        "line 9, column 14: `durability` in [stream.finds]: unknown level `group`; \
         known: `memory`, `written`, `interval:500ms`, `commit`",
    );
    for faulty in ["0s", "61m"] {
        refused(
            "durability",
            &format!("durability = \"interval:{faulty}\""),
            "line 9, column 14: `durability` in [stream.finds]: an interval is 1ms to 1h",
        );
    }
    refused(
        "durability",
        "durability = \"interval:fast\"",
        "line 9, column 14: `durability` in [stream.finds]: `fast` is no duration; \
         write a whole number and a unit: 500ms, 5s, 10m, 1h, 7d, 2w",
    );
}

#[test]
fn fields() {
    let check = |field: &str, expected: &str| refused("points = {", field, expected);
    check(
        "points = { type = \"i64\" }",
        "line 13, column 1: field `points` of stream `finds` needs `id`",
    );
    check(
        "points = { id = 3 }",
        "line 13, column 1: field `points` of stream `finds` needs `type`",
    );
    for id in ["0", "65536", "-3"] {
        check(
            &format!("points = {{ id = {id}, type = \"i64\" }}"),
            &format!(
                "line 13, column 17: field `points` of stream `finds` has id {id}; \
                 ids are 1 to 65535"
            ),
        );
    }
    check(
        "points = { id = 2, type = \"i64\" }",
        "line 13, column 17: field `points` of stream `finds` has id 2, which field `at` has; \
         give every field an id of its own",
    );
    check(
        "points = { id = 3, type = \"u46\" }",
        "line 13, column 27: unknown type `u46` of field `points` of stream `finds`; \
         did you mean `u64`?",
    );
    check(
        "points = { id = 3, type = \"decimal\" }",
        "line 13, column 27: unknown type `decimal` of field `points` of stream `finds`; \
         known: `u64`, `i64`, `f64`, `bool`, `time`, `uuid`, `text(n)`",
    );
    check(
        "points = { id = 3, type = \"text(256)\" }",
        "line 13, column 27: `text(256)` of field `points` of stream `finds` is no text type; \
         write text(n) with n bytes from 1 to 255",
    );
    check(
        "points = { id = 3, type = \"i64\", optional = \"no\" }",
        "line 13, column 45: `optional` in field `points` of stream `finds` must be \
         true or false, not text",
    );
    check(
        "points = { id = 3, type = \"i64\", optinal = true }",
        "line 13, column 34: unknown key `optinal` in field `points` of stream `finds`; \
         did you mean `optional`?",
    );
    check(
        "points = \"i64\"",
        "line 13, column 10: field `points` of stream `finds` must be a table, not text",
    );
    check(
        "points = { id = 3, type = \"i64\" }\n\"in-game\" = { id = 9, type = \"i64\" }",
        "line 14, column 1: `in-game` in [stream.finds.fields] is no field name; \
         use a letter, then letters, digits and `_`, at most 64 bytes",
    );
}

#[test]
fn whole_schemas() {
    let file = |fields: &str| {
        format!(
            "ringmill = 1\n[stream.s]\nkey = \"at\"\ntime = {{ field = \"at\" }}\n\
             [stream.s.fields]\nat = {{ id = 1, type = \"time\" }}\n{fields}"
        )
    };
    assert_eq!(problems(&file("")), [""; 0]);
    let many = |count: usize, kind: &str| -> String {
        (2..=count)
            .map(|id| format!("f{id} = {{ id = {id}, type = \"{kind}\" }}\n"))
            .collect()
    };
    assert_eq!(
        problems(&file(&many(65, "u64"))),
        ["line 5, column 11: [stream.s.fields]: 65 fields; a stream has at most 64"]
    );
    assert_eq!(
        problems(&file(&many(5, "text(255)"))),
        [
            "line 5, column 11: [stream.s.fields]: a row takes 1032 bytes; \
          at most 1024 are possible"
        ]
    );
    assert_eq!(
        problems("ringmill = 1\n[stream.s]\nkey = \"at\"\ntime = { field = \"at\" }\n"),
        [
            "line 2, column 9: [stream.s] needs `fields`",
            "line 3, column 7: [stream.s]: stream `s` has no field `at`",
            "line 4, column 18: [stream.s.time]: stream `s` has no field `at`",
        ]
    );
}
