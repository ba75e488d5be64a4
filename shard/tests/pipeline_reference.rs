//! `docs/formats/pipeline.md` has exactly the keys, defaults, types and functions of the code.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ringmill_shard::dedupe::SEQUENCE_WINDOW;
use ringmill_shard::limits;
use ringmill_shard::pipeline::{CalendarUnit, Pipeline, RankStyle, Ties, duration_text, keys};
use ringmill_shard::schema::FieldType;

const DOC: &str = include_str!("../../docs/formats/pipeline.md");

/// The rows of the table below `heading` whose head begins with `head`.
fn table(heading: &str, head: &str) -> Vec<Vec<&'static str>> {
    let start = DOC
        .find(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("no {heading}"));
    let section = &DOC[start..];
    let start = section
        .find(&format!("\n| {head} |"))
        .unwrap_or_else(|| panic!("no | {head} |"));
    section[start + 1..]
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

fn quoted(text: &str) -> String {
    format!("`{text}`")
}

#[test]
fn keys_are_those_of_the_code() {
    let sections: [(&str, &[&str]); 13] = [
        ("## The file", &keys::FILE),
        ("## `[engine]`", &keys::ENGINE),
        ("## `[stream.NAME]`", &keys::STREAM),
        ("### `[stream.NAME.time]`", &keys::TIME),
        ("### `[stream.NAME.dedupe]`", &keys::DEDUPE),
        ("### `[stream.NAME.fields]`", &keys::FIELD),
        ("## `[view.NAME]`", &keys::VIEW),
        ("### `[view.NAME.window]`", &keys::WINDOW),
        ("## `[board.NAME]`", &keys::BOARD),
        ("### `[board.NAME.season]`", &keys::SEASON),
        ("## `[[test]]`", &keys::TEST),
        ("### `send` in `[[test]]`", &keys::SEND),
        ("### `expect` in `[[test]]`", &keys::EXPECT),
    ];
    for (heading, expected) in sections {
        let shown: Vec<_> = table(heading, "key").iter().map(|row| row[0]).collect();
        let expected: Vec<_> = expected.iter().map(|key| quoted(key)).collect();
        assert_eq!(shown, expected, "{heading}");
    }
}

#[test]
fn defaults_are_those_of_the_code() {
    let default = |heading: &str, key: &str| {
        let rows = table(heading, "key");
        rows.iter().find(|row| row[0] == quoted(key)).unwrap()[1].to_owned()
    };
    let duration = |ms| quoted(&duration_text(ms));
    for (heading, key, expected) in [
        (
            "### `[stream.NAME.time]`",
            "disorder",
            duration(keys::DISORDER_MS_DEFAULT),
        ),
        (
            "### `[stream.NAME.time]`",
            "max_future",
            duration(keys::MAX_FUTURE_MS_DEFAULT),
        ),
        (
            "### `[stream.NAME.time]`",
            "idle",
            duration(keys::IDLE_MS_DEFAULT),
        ),
        (
            "### `[stream.NAME.dedupe]`",
            "scope",
            quoted(keys::DEDUPE_SCOPE),
        ),
        (
            "### `[stream.NAME.dedupe]`",
            "memory",
            quoted(&format!("{}GiB", keys::DEDUPE_MEMORY_BYTES_DEFAULT >> 30)),
        ),
        (
            "### `[view.NAME.window]`",
            "late",
            duration(keys::LATE_MS_DEFAULT),
        ),
        (
            "### `[view.NAME.window]`",
            "keep",
            duration(keys::KEEP_MS_DEFAULT),
        ),
        (
            "### `[view.NAME.window]`",
            "kind",
            quoted(keys::WINDOW_KIND),
        ),
        ("### `[view.NAME.window]`", "zone", quoted(keys::ZONE)),
        ("### `[view.NAME.window]`", "after", quoted(keys::AFTER)),
        ("## `[board.NAME]`", "ties", quoted(Ties::default().name())),
        (
            "### `[board.NAME.season]`",
            "grace",
            duration(keys::GRACE_MS_DEFAULT),
        ),
        (
            "### `[board.NAME.season]`",
            "keep",
            quoted(&keys::SEASONS_KEPT_DEFAULT.to_string()),
        ),
        (
            "## `[board.NAME]`",
            "splits",
            quoted(&keys::SPLITS_DEFAULT.to_string()),
        ),
    ] {
        assert_eq!(default(heading, key), expected, "{heading} {key}");
    }
}

#[test]
fn modes_of_dedupe_are_those_of_the_code() {
    let rows = table("### `[stream.NAME.dedupe]`", "mode");
    let shown: Vec<_> = rows.iter().map(|row| row[0].to_owned()).collect();
    assert_eq!(shown, keys::DEDUPE_MODES.map(quoted));
}

#[test]
fn kinds_of_windows_are_those_of_the_code() {
    let rows = table("### `[view.NAME.window]`", "kind");
    let shown: Vec<_> = rows.iter().map(|row| row[0].to_owned()).collect();
    assert_eq!(shown, keys::WINDOW_KINDS.map(quoted));
    let key_rows = table("### `[view.NAME.window]`", "key");
    let content = |key: &str| {
        let row = key_rows.iter().find(|row| row[0] == quoted(key));
        row.unwrap()[2]
    };
    for unit in CalendarUnit::ALL {
        assert!(content("unit").contains(&quoted(unit.name())));
    }
    for after in keys::AFTERS {
        assert!(content("after").contains(&quoted(after)));
    }
}

/// A file in which one field of the type stands where the page says it may or may not.
fn file(kind: &str, key: bool, column: &str, score: &str) -> String {
    let key = if key { "f" } else { "at" };
    format!(
        "ringmill = 1\n[stream.s]\nkey = \"{key}\"\ntime = {{ field = \"at\" }}\n\
         [stream.s.fields]\nat = {{ id = 1, type = \"time\" }}\n\
         f = {{ id = 2, type = \"{kind}\" }}\n\
         [view.v]\nfrom = \"s\"\nwindow = {{ size = \"1m\" }}\n\
         [view.v.columns]\nc = \"{column}\"\n\
         [board.b]\nfrom = \"s\"\nmember = \"at\"\nscore = \"{score}\"\n"
    )
}

#[test]
fn types_may_stand_where_the_page_says() {
    let rows = table("### `[stream.NAME.fields]`", "type");
    assert_eq!(rows.len(), 7);
    for row in rows {
        let kind = row[0].trim_matches('`').replace("(n)", "(9)");
        assert!(FieldType::parse(&kind).is_some(), "{kind}");
        let accepted = |key, column: &str, score: &str| {
            Pipeline::parse(&file(&kind, key, column, score)).is_ok()
        };
        let count = "count()";
        assert_eq!(
            accepted(true, count, count),
            row[2] == "yes",
            "{kind} as key"
        );
        for call in ["sum(f)", "avg(f)"] {
            assert_eq!(
                accepted(false, call, count),
                row[3] == "yes",
                "{kind} {call}"
            );
        }
        for call in ["min(f)", "max(f)"] {
            assert_eq!(
                accepted(false, call, count),
                row[4] == "yes",
                "{kind} {call}"
            );
        }
        assert_eq!(
            accepted(false, count, "sum(f)"),
            row[5] == "yes",
            "{kind} sum"
        );
        for call in ["best(f)", "latest(f)"] {
            assert_eq!(
                accepted(false, count, call),
                row[5] != "no",
                "{kind} {call}"
            );
        }
    }
}

#[test]
fn functions_take_what_the_page_says() {
    let kinds = ["u64", "i64", "f64", "bool", "time", "uuid", "text(9)"];
    let check = |heading: &str, head: &str, is_score: bool| {
        for row in table(heading, head) {
            let call = row[0].trim_matches('`');
            for kind in kinds {
                let text = match is_score {
                    true => file(kind, false, "count()", call),
                    false => file(kind, false, call, "count()"),
                };
                let takes = |one: &str| one.replace("(n)", "(9)") == kind;
                let expected = row[1] == "events" || row[1].split(", ").any(takes);
                assert_eq!(
                    Pipeline::parse(&text).is_ok(),
                    expected,
                    "{call} over {kind}"
                );
            }
        }
    };
    check("### `[view.NAME.columns]`", "aggregate", false);
    check("## `[board.NAME]`", "score", true);
}

#[test]
fn tie_rules_and_ranks_are_those_of_the_code() {
    let shown = |head: &str| -> Vec<_> {
        let rows = table("## `[board.NAME]`", head);
        rows.iter().map(|row| row[0].to_owned()).collect()
    };
    assert_eq!(shown("ties"), Ties::ALL.map(|ties| quoted(ties.name())));
    assert_eq!(
        shown("rank"),
        RankStyle::ALL.map(|rank| quoted(rank.name()))
    );
    for (row, ties) in table("## `[board.NAME]`", "ties").iter().zip(Ties::ALL) {
        assert_eq!(row[2], quoted(ties.usual_rank().name()));
    }
}

#[test]
fn limits_are_those_of_the_code() {
    for needed in [
        format!("both at most {} bytes", limits::NAME_BYTES_MAX),
        format!("1 to {} |", limits::STREAMS_MAX),
        format!("`[view.NAME]`, at most {}", limits::VIEWS_MAX),
        format!("`[board.NAME]`, at most {}", limits::BOARDS_MAX),
        format!("At most {} fields", limits::FIELDS_MAX),
        format!("rows of at most {} bytes", limits::ROW_BYTES_MAX),
        format!("list of 1 to {} different fields", limits::GROUP_FIELDS_MAX),
        format!("which of its last {SEQUENCE_WINDOW} sequences"),
        format!("at least {}", duration_text(keys::HORIZON_MS_MIN)),
        format!("at least {}MiB", keys::DEDUPE_MEMORY_BYTES_MIN >> 20),
        format!("at most {} different fields", limits::GROUP_FIELDS_MAX),
        format!("At most\n{}; what no view", limits::COMPUTED_MAX),
        format!("1 to {} of them", limits::COLUMNS_MAX),
        format!("At most {} windows", limits::WINDOWS_MAX),
        format!("A group has at most {} sessions", limits::SESSIONS_MAX),
        format!("how many events, 1 to {}", limits::LAST_EVENTS_MAX),
        format!("up to k values, 1 to {}", limits::TOP_VALUES_MAX),
        format!("at most\n{} of them", limits::WINDOW_PANES_MAX),
        format!("n from 1 to {}", limits::TEXT_BYTES_MAX),
        format!("or a list of at most {}", limits::SCORES_MAX),
        format!("At most {} seasons", limits::SEASONS_MAX),
        format!(
            "at most {} different fields or computed columns, any type but f64, of at most {} bytes",
            limits::SPLIT_FIELDS_MAX,
            limits::SPLIT_BYTES_MAX
        ),
        format!("in each season; 1 to {} |", limits::SPLITS_MAX),
        format!(
            "at most {} different fields or computed columns, of at most {} bytes",
            limits::WITH_FIELDS_MAX,
            limits::WITH_BYTES_MAX
        ),
        format!("at most so many, 1 to {}", limits::MEAN_BEST_MAX),
    ] {
        assert!(DOC.contains(&needed), "`{needed}` is missing");
    }
}
