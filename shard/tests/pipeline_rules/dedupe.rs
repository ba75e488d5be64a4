//! `[stream.NAME.dedupe]`.

use crate::base::{BASE, accepted, refused, with};
use ringmill_shard::pipeline::{DedupeMode, Pipeline};

/// The base with this rule on line 10.
fn rule(rule: &str) -> String {
    format!("durability = \"interval:500ms\"\ndedupe = {{ {rule} }}")
}

#[track_caller]
fn check(text: &str, expected: &str) {
    refused("durability =", &rule(text), expected);
}

/// As [`check`], with a u64 field `seq` beside the others.
#[track_caller]
fn check_place(text: &str, message: &str) {
    check(text, &format!("line 10, column {message}"));
}

#[test]
fn rules_that_hold() {
    let of = |text: &str| {
        let mut pipeline = accepted("durability =", &rule(text));
        pipeline.streams.remove(0).dedupe.unwrap()
    };
    let sequence = of("by = [\"at\", \"player\"], mode = \"sequence\"");
    assert_eq!(
        (sequence.by, sequence.mode),
        (vec![1, 0], DedupeMode::Sequence)
    );
    assert_eq!(sequence.memory_bytes, 1 << 30);
    let id = of(
        "by = [\"flag\", \"points\"], mode = \"id\", horizon = \"10m\", scope = \"key\", \
         memory = \"8MiB\"",
    );
    assert_eq!(
        id.mode,
        DedupeMode::Id {
            horizon_ms: 600_000
        }
    );
    assert_eq!((id.by, id.memory_bytes), (vec![6, 2], 8 << 20));
}

#[test]
fn keys_and_modes() {
    check_place("mode = \"sequence\"", "1: [stream.finds.dedupe] needs `by`");
    check_place("by = [\"player\"]", "1: [stream.finds.dedupe] needs `mode`");
    check_place(
        "by = [\"player\"], mode = \"sequense\"",
        "36: `mode` in [stream.finds.dedupe]: unknown mode `sequense`; did you mean `sequence`?",
    );
    check_place(
        "by = [\"player\"], mode = \"id\"",
        "1: [stream.finds.dedupe] needs `horizon`",
    );
    check_place(
        "by = [\"player\"], mode = \"id\", horizon = \"999ms\"",
        "52: `horizon` in [stream.finds.dedupe] must be at least 1s",
    );
    check_place(
        "by = [\"player\"], mode = \"sequence\", horizon = \"1m\"",
        "58: `horizon` in [stream.finds.dedupe] belongs to mode `id`; leave it out: the last \
         sequences of a source are remembered for ever",
    );
    check_place(
        "by = [\"player\"], mode = \"sequence\", horison = \"1m\"",
        "48: unknown key `horison` in [stream.finds.dedupe]; did you mean `horizon`?",
    );
    refused(
        "durability =",
        "dedupe = \"id\"",
        "line 9, column 10: `dedupe` in [stream.finds] must be a table, not text",
    );
}

#[test]
fn fields_of_an_id() {
    let by = |names: &str| format!("by = [{names}], mode = \"sequence\"");
    check_place(
        &by(""),
        "17: `by` in [stream.finds.dedupe] names 0 fields; it is 1 to 16",
    );
    check_place(
        &by("\"plyer\""),
        "18: [stream.finds.dedupe]: stream `finds` has no field `plyer`; did you mean `player`?",
    );
    check_place(
        &by("\"ratio\", \"player\""),
        "18: [stream.finds.dedupe]: field `ratio` is f64, which cannot be part of an id; use a \
         u64, i64, bool, time, uuid or text field",
    );
    check_place(
        &by("\"region\", \"player\""),
        "18: [stream.finds.dedupe]: field `region` must not be optional; an event without an id \
         could not be told apart",
    );
    check_place(
        &by("\"player\", \"points\""),
        "28: [stream.finds.dedupe]: field `points` is i64, which is no sequence; name a u64 field \
         last, which each source counts up",
    );
    check_place(
        &by("\"at\", \"at\", \"player\""),
        "24: `by` in [stream.finds.dedupe] names `at` twice",
    );
    check_place(
        &by("1"),
        "18: `by` in [stream.finds.dedupe] must be a list of texts, not a whole number",
    );
    let computed = with(
        "durability =",
        "dedupe = { by = [\"double\"], mode = \"sequence\" }\ncomputed = { double = \"points * 2\" }",
    );
    let problems = Pipeline::parse(&computed).unwrap_err();
    let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "line 9, column 18: [stream.finds.dedupe]: `double` is computed, and cannot be part of \
             an id; name a field"
        ]
    );
}

#[test]
fn scope_and_memory() {
    let with = |more: &str| format!("by = [\"player\"], mode = \"sequence\", {more}");
    check_place(
        &with("scope = \"global\""),
        "56: `scope` in [stream.finds.dedupe]: `global` is not supported; use `key`, and see to \
         it that a retry has the key of its event",
    );
    check_place(
        &with("scope = \"keys\""),
        "56: `scope` in [stream.finds.dedupe]: unknown scope `keys`; did you mean `key`?",
    );
    check_place(
        &with("memory = \"7MiB\""),
        "57: `memory` in [stream.finds.dedupe] is less than 8MiB; a single batch may need so much",
    );
    check_place(
        &with("memory = \"lots\""),
        "57: `memory` in [stream.finds.dedupe]: `lots` is no size; write a whole number and a \
         unit: 512MiB, 8GiB, 16GB",
    );
}

/// The warnings of the base with a rule, and with other text in place of one part.
fn warnings(horizon: &str, part: &str, other: &str) -> Vec<String> {
    assert!(BASE.contains(part));
    let by = format!("by = [\"player\"], mode = \"id\", horizon = \"{horizon}\"");
    let text = with("durability =", &rule(&by)).replace(part, other);
    let checked = Pipeline::check(&text).unwrap_or_else(|problems| panic!("{problems:?}"));
    checked.warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_horizon_shorter_than_lateness_is_warned_of() {
    let none: [String; 0] = [];
    assert_eq!(Pipeline::check(BASE).unwrap().warnings, []);
    assert_eq!(warnings("6s", "late = \"1s\"", "late = \"1s\""), none);
    assert_eq!(
        warnings("5s", "late = \"1s\"", "late = \"1s\""),
        [
            "line 10, column 52: `horizon` in [stream.finds.dedupe] is 5s, but view `by_region` \
             takes events that are 6s behind the newest one; make it at least 6s: a retry that \
             comes later counts twice"
        ]
    );
    assert_eq!(
        warnings("10m", "keep = \"1h\"", "keep = \"1h\", after = \"amend\""),
        [
            "line 10, column 52: `horizon` in [stream.finds.dedupe] is 10m, but view `by_region` \
             takes events that are 3605s behind the newest one; make it at least 3605s: a retry \
             that comes later counts twice"
        ]
    );
    let season = "season = { every = \"1h\", grace = \"2m\" }\nties =";
    assert_eq!(
        warnings("10s", "ties =", season),
        [
            "line 10, column 52: `horizon` in [stream.finds.dedupe] is 10s, but board `players` \
             takes events that are 125s behind the newest one; make it at least 125s: a retry \
             that comes later counts twice"
        ]
    );
}
