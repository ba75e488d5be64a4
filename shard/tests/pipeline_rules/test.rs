//! `[[test]]`.

use crate::base::{BASE, problems};
use ringmill_shard::pipeline::{Pipeline, Question};
use serde_json::json;

fn with(test: &str) -> String {
    format!("{BASE}\n[[test]]\n{test}")
}

/// The messages without their places.
fn messages(test: &str) -> Vec<String> {
    let strip = |text: String| text.split_once(": ").map(|(_, rest)| rest.to_owned());
    problems(&with(test))
        .into_iter()
        .filter_map(strip)
        .collect()
}

#[test]
fn a_test_is_read_with_its_moments_values_and_lines() {
    let text = with(
        "name = \"t\"\nsend = [\n  { at = 5, to = \"finds\", id = \"a\", ago = \"2s\", \
         event = { player = 18446744073709551615, x = -1, f = 0.5, d = 2026-01-01T00:00:00Z } },\n]\n\
         expect = [\n  { at = \"1m\", top = \"players\", n = 2, is = [[1, 2]] },\n  \
         { rank = \"players\", member = \"a b\", is = 1 },\n  { view = \"v\", is = [] },\n  \
         { counter = \"finds.accepted\", is = 1 },\n  { get = \"/v1/status\", is = {} },\n]",
    );
    let (_, tests) = Pipeline::parse_with_tests(&text).unwrap();
    let test = &tests[0];
    assert_eq!(
        (test.name.as_str(), test.start_ms),
        ("t", 1_767_225_600_000)
    );
    let send = &test.sends[0];
    assert_eq!((send.at_ms, send.happened_ms), (5, -2_000));
    assert_eq!(
        json!(send.event),
        json!({"player": u64::MAX, "x": -1, "f": 0.5, "d": "2026-01-01T00:00:00Z"})
    );
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[send.line - 1].contains("id = \"a\""));
    assert!(lines[test.expects[0].line - 1].contains("n = 2"));
    assert_eq!(test.expects[0].at_ms, Some(60_000));
    assert_eq!(test.expects[1].at_ms, None);
    let questions: Vec<_> = test.expects.iter().map(|expect| &expect.question).collect();
    assert!(matches!(questions[0], Question::Top { n: Some(2), .. }));
    assert!(matches!(questions[1], Question::Rank { member, .. } if member == "a b"));
    assert!(matches!(questions[2], Question::View(view) if view == "v"));
    assert!(matches!(questions[3], Question::Counter { name, .. } if name == "accepted"));
    assert!(matches!(questions[4], Question::Get(path) if path == "/v1/status"));
}

#[test]
fn every_fault_of_a_test_is_named() {
    for (test, expected) in [
        ("name = \"t\"", "[[test]] needs `expect`"),
        ("expect = []", "[[test]] needs `name`"),
        (
            "name = \"t\"\nexpect = []\nstart = \"soon\"",
            "`start` in [[test]]: `soon` is no time; write it as \"2026-01-01T00:00:00Z\"",
        ),
        (
            "name = \"t\"\nexpect = 5",
            "`expect` in [[test]] must be a list of tables, not a whole number",
        ),
        (
            "name = \"t\"\nexpect = [5]",
            "`expect` in [[test]]: an entry must be a table, not a whole number",
        ),
        (
            "name = \"t\"\nexpect = []\nsend = [{ at = 0, to = \"finds\" }]",
            "`send` in [[test]] needs `event`",
        ),
        (
            "name = \"t\"\nexpect = []\nsend = [{ at = -1, to = \"finds\", event = {} }]",
            "`at` in `send` in [[test]] is no moment of a test; \
             write ms after its start, or a duration: 1500, \"90s\"",
        ),
        (
            "name = \"t\"\nexpect = [{ top = \"a\", view = \"b\", is = 1 }]",
            "`expect` in [[test]] asks one thing; \
             give it one of `top`, `rank`, `view`, `counter`, `get`",
        ),
        (
            "name = \"t\"\nexpect = [{ top = \"a\", n = 0, is = 1 }]",
            "`n` in `expect` in [[test]] is 1 to 10000",
        ),
        (
            "name = \"t\"\nexpect = [{ view = \"a\", member = 1, is = 1 }]",
            "`member` in `expect` in [[test]] belongs to `rank`",
        ),
        (
            "name = \"t\"\nexpect = [{ rank = \"a\", is = 1 }]",
            "`expect` in [[test]] needs `member`",
        ),
        (
            "name = \"t\"\nexpect = [{ counter = \"a\", is = 1 }]",
            "`counter` in `expect` in [[test]]: `a` is no counter; \
             write the stream, a dot and the counter: `finds.duplicates`",
        ),
        (
            "name = \"t\"\nexpect = []\nsend = [{ at = 1, retract = \"a\" }]",
            "`retract` in `send` in [[test]]: no event has the id `a`; \
             give the event that is meant an `id`",
        ),
        (
            "name = \"t\"\nexpect = []\nsend = [{ at = 1, id = \"a\", to = \"finds\", event = {} }, \
             { at = 2, undo = \"a\", to = \"finds\" }]",
            "`to` in `send` in [[test]] does not belong to `undo`",
        ),
        (
            "name = \"t\"\nexpect = [{ top = \"a\" }]",
            "`expect` in [[test]] needs `is`",
        ),
    ] {
        assert_eq!(messages(test), [expected], "{test}");
    }
}
