//! What a file would make of the pipeline of a store, and what it takes to tell events apart.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ringmill_shard::pipeline::{Fate, Pipeline, Problem, Step};

const STORED: &str = r#"ringmill = 1
[stream.finds]
key = "player"
time = { field = "at", disorder = "5s", max_future = "10s", idle = "3s" }
[stream.finds.fields]
player = { id = 1, type = "u64" }
at = { id = 2, type = "time" }
sent = { id = 3, type = "time" }
points = { id = 4, type = "i64" }
region = { id = 5, type = "text(8)", optional = true }
[stream.finds.computed]
double = "points * 2"
[stream.visits]
key = "player"
time = { field = "at" }
[stream.visits.fields]
player = { id = 1, type = "u64" }
at = { id = 2, type = "time" }
[view.per_team]
from = "finds"
group = ["region"]
window = { size = "1m" }
[view.per_team.columns]
n = "count()"
points = "sum(double)"
[board.best]
from = "finds"
member = "player"
score = "sum(points) desc"
"#;

fn parse(text: &str) -> Pipeline {
    Pipeline::parse(text).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// What a file would make of the store, line by line: refusals and warnings if there are any, else
/// the steps that are none of "kept".
fn planned(text: &str) -> Vec<String> {
    let (pipeline, declarations) =
        Pipeline::parse_declared(text).unwrap_or_else(|problems| panic!("{problems:?}"));
    let plan = pipeline.plan(&declarations, &parse(STORED));
    let problems = plan.refused.iter().chain(&plan.warnings);
    let problems: Vec<String> = problems.map(Problem::to_string).collect();
    if !problems.is_empty() {
        return problems;
    }
    let steps = plan.steps.iter().filter(|step| step.fate != Fate::Kept);
    steps.map(Step::to_string).collect()
}

fn replaced(from: &str, to: &str) -> String {
    assert!(STORED.contains(from), "{from}");
    STORED.replacen(from, to, 1)
}

/// Lines behind the view of the stored file.
fn with_view(name: &str, more: &str) -> String {
    format!(
        "{STORED}[view.{name}]\nfrom = \"finds\"\nwindow = {{ size = \"1m\" }}\n{more}\n\
         columns = {{ n = \"count()\" }}\n"
    )
}

#[test]
fn the_same_file_changes_nothing() {
    assert_eq!(planned(STORED), [""; 0]);
    let (pipeline, declarations) = Pipeline::parse_declared(STORED).unwrap();
    let plan = pipeline.plan(&declarations, &parse(STORED));
    assert!(!plan.changes_anything() && !plan.needs_log());
    let fates: Vec<String> = plan.steps.iter().map(Step::to_string).collect();
    let expected = [
        "kept stream finds",
        "kept stream visits",
        "kept view per_team",
        "kept board best",
    ];
    assert_eq!(fates, expected);
    // Neither the order of views nor what a computed column is called or where it stands matters.
    let text = replaced(
        "sent = {",
        "extra = { id = 9, type = \"u64\", optional = true }\nsent = {",
    )
    .replace("double =", "half = \"points - 2\"\ntwice =")
    .replace("sum(double)", "sum(points * 2)");
    assert_eq!(planned(&text), ["changed stream finds: field extra added"]);
}

#[test]
fn views_and_boards_are_built_rebuilt_renamed_and_dropped() {
    assert_eq!(planned(&with_view("more", "")), ["built view more"]);
    let text = replaced("size = \"1m\"", "size = \"2m\"");
    assert_eq!(planned(&text), ["rebuilt view per_team"]);
    let text = replaced("[view.per_team]", "[view.by_team]\nwas = \"per_team\"")
        .replace("[view.per_team.columns]", "[view.by_team.columns]");
    assert_eq!(planned(&text), ["renamed view by_team (was per_team)"]);
    let both = text.replace("size = \"1m\"", "size = \"2m\"");
    assert_eq!(planned(&both), ["rebuilt view by_team (was per_team)"]);
    let without_was = text.replace("was = \"per_team\"\n", "");
    assert_eq!(
        planned(&without_was),
        ["built view by_team", "dropped view per_team"]
    );
    let text = replaced("[board.best]", "[board.top]\nwas = \"best\"");
    assert_eq!(planned(&text), ["renamed board top (was best)"]);
    let text = replaced("sum(points) desc", "sum(points) asc");
    assert_eq!(planned(&text), ["rebuilt board best"]);
    let (head, _) = STORED.split_at(STORED.find("[board.best]").unwrap());
    assert_eq!(planned(head), ["dropped board best"]);
    let (pipeline, declarations) = Pipeline::parse_declared(head).unwrap();
    let plan = pipeline.plan(&declarations, &parse(STORED));
    assert_eq!(plan.dropped().count(), 1);
    assert!(plan.changes_anything() && !plan.needs_log());
}

#[test]
fn a_was_without_a_former_name_is_a_warning() {
    assert_eq!(
        planned(&with_view("more", "was = \"gone\"")),
        [
            "line 33, column 7: `was`: the store has no view `gone`, so `more` is new; \
             remove `was` if that is meant"
        ]
    );
    let text = replaced("[view.per_team]", "[view.per_team]\nwas = \"by_team\"");
    assert_eq!(
        planned(&text),
        [
            "line 20, column 7: `was`: view `by_team` is called `per_team` already; \
             remove `was`"
        ]
    );
    let text = replaced("points = { id = 4,", "points = { was = \"score\", id = 4,");
    assert_eq!(
        planned(&text),
        ["line 9, column 18: `was`: field `score` is called `points` already; remove `was`"]
    );
}

#[test]
fn two_names_of_the_store_do_not_become_one() {
    let text = with_view("per_team2", "").replace("[view.per_team2]", "[view.two]");
    let stored = parse(&text);
    let renamed = text.replace("[view.two]", "[view.two]\nwas = \"per_team\"");
    let begin = renamed.find("[view.per_team]").unwrap();
    let end = renamed.find("[board.best]").unwrap();
    let renamed = format!("{}{}", &renamed[..begin], &renamed[end..]);
    let (pipeline, declarations) = Pipeline::parse_declared(&renamed).unwrap();
    let plan = pipeline.plan(&declarations, &stored);
    let refused: Vec<String> = plan.refused.iter().map(Problem::to_string).collect();
    assert_eq!(
        refused,
        [
            "line 24, column 7: `was`: the store has a view `two` and a view `per_team`; \
             choose a name that the store does not have, or remove `was`"
        ]
    );
}

#[test]
fn clock_settings_and_durability_may_change() {
    let text = replaced("disorder = \"5s\"", "disorder = \"9s\"")
        .replace("idle = \"3s\"", "idle = \"1s\"")
        .replacen("key =", "durability = \"interval:20ms\"\nkey =", 1);
    let text = format!(
        "{text}[stream.more]\nkey = \"at\"\ntime = {{ field = \"at\" }}\n\
         [stream.more.fields]\nat = {{ id = 1, type = \"time\" }}\n"
    );
    assert_eq!(
        planned(&text),
        [
            "changed stream finds: disorder 5s -> 9s, idle 3s -> 1s, \
             durability commit -> interval:20ms",
            "built stream more",
        ]
    );
}

#[test]
fn fields_are_added_made_optional_and_renamed() {
    let text = replaced(
        "sent = { id = 3, type = \"time\" }",
        "sent = { id = 3, type = \"time\", optional = true }\n\
         team = { id = 2000, type = \"text(8)\", optional = true }",
    );
    assert_eq!(
        planned(&text),
        ["changed stream finds: field sent made optional, field team added"]
    );
    let text = replaced("points = { id = 4,", "score = { id = 4, was = \"points\",")
        .replace("(points)", "(score)")
        .replace("points * 2", "score * 2");
    assert_eq!(
        planned(&text),
        ["changed stream finds: field score (was points)"]
    );
}

#[test]
fn streams_are_renamed_in_place() {
    let text = replaced("[stream.finds]", "[stream.hits]\nwas = \"finds\"")
        .replace("[stream.finds.", "[stream.hits.")
        .replace("from = \"finds\"", "from = \"hits\"");
    assert_eq!(planned(&text), ["renamed stream hits (was finds)"]);
}

#[test]
fn fields_are_not_removed_retyped_or_required() {
    assert_eq!(
        planned(&replaced("sent = { id = 3, type = \"time\" }\n", "")),
        [
            "line 2, column 9: field `sent` (id 3) of stream `finds` is in the store and not in \
             the file; the log is made of rows that have it; keep the field; senders may leave \
             it out if it is optional"
        ]
    );
    assert_eq!(
        planned(&replaced("type = \"i64\"", "type = \"f64\"")),
        [
            "line 9, column 1: field `points` of stream `finds` is i64 in the store, f64 in the \
             file; keep the type, and add a field with an id of its own for the new one"
        ]
    );
    assert_eq!(
        planned(&replaced(", optional = true", "")),
        [
            "line 10, column 1: field `region` of stream `finds` is optional in the store, \
             required in the file; events of before may lack it; keep it optional"
        ]
    );
    let added = "sent = { id = 3, type = \"time\" }\nteam = { id = 9, type = \"u64\" }";
    assert_eq!(
        planned(&replaced("sent = { id = 3, type = \"time\" }", added)),
        [
            "line 9, column 1: field `team` of stream `finds` is new and required; make it \
             optional: events of before have no value for it"
        ]
    );
    assert_eq!(
        planned(&replaced("sent = { id = 3,", "posted = { id = 3,")),
        [
            "line 8, column 1: field `posted` of stream `finds` has id 3, which is `sent` in the \
             store; write `was = \"sent\"` if it is renamed, else take a new id"
        ]
    );
    let renamed = "posted = { id = 9, was = \"sent\", optional = true,";
    assert_eq!(
        planned(&replaced("sent = { id = 3,", renamed)),
        [
            "line 8, column 26: `was`: field `posted` of stream `finds` has id 9, which the \
             store does not have; give it the id of `sent`, or remove `was`",
            "line 2, column 9: field `sent` (id 3) of stream `finds` is in the store and not in \
             the file; the log is made of rows that have it; keep the field; senders may leave \
             it out if it is optional"
        ]
    );
}

#[test]
fn streams_keep_their_place() {
    let (head, tail) = STORED.split_at(STORED.find("[stream.visits]").unwrap());
    let (visits, derived) = tail.split_at(tail.find("[view.per_team]").unwrap());
    let (format, finds) = head.split_at(head.find("[stream.finds]").unwrap());
    assert_eq!(
        planned(&format!("{format}{finds}{derived}")),
        [
            "the store has a stream `visits`, which the file lacks; keep the stream, say with \
             `was` what it is called now, or open another data directory"
        ]
    );
    assert_eq!(
        planned(&format!("{format}{visits}{finds}{derived}")),
        [
            "line 2, column 9: stream `visits` is number 2 in the store and number 1 in the \
             file; keep the order of the streams and add new ones behind them",
            "line 8, column 9: stream `finds` is number 1 in the store and number 2 in the \
             file; keep the order of the streams and add new ones behind them",
        ]
    );
    let renamed = visits.replace("visits", "calls");
    assert_eq!(
        planned(&format!("{format}{finds}{renamed}{derived}")),
        [
            "line 13, column 9: stream `calls` is new and stands before streams of the store; \
             add new streams behind them, or say with `was` what it was called",
            "the store has a stream `visits`, which the file lacks; keep the stream, say with \
             `was` what it is called now, or open another data directory",
        ]
    );
}

#[test]
fn key_time_and_max_future_cannot_change() {
    let text = replaced("key = \"player\"", "key = \"sent\"")
        .replacen("field = \"at\"", "field = \"sent\"", 1)
        .replacen("max_future = \"10s\"", "max_future = \"5s\"", 1);
    assert_eq!(
        planned(&text),
        [
            "line 2, column 9: stream `finds` is keyed by `player` in the store, by `sent` in \
             the file: events of before would have other owners; open another data directory",
            "line 2, column 9: the time of stream `finds` is `at` in the store, `sent` in the \
             file; open another data directory",
            "line 2, column 9: `max_future` of stream `finds` is 10s in the store, 5s in the \
             file; replay would judge events anew that were acknowledged; keep the value of \
             the store, or open another data directory",
        ]
    );
}

#[test]
fn what_tells_events_apart_cannot_change_but_its_memory_may() {
    let id = |more: &str| {
        let rule = format!("dedupe = {{ by = [\"sent\"], mode = \"id\", horizon = {more} }}");
        STORED.replacen(
            "[stream.finds.fields]",
            &format!("{rule}\n[stream.finds.fields]"),
            1,
        )
    };
    let stored = parse(&id("\"10m\""));
    let planned = |text: &str| {
        let (pipeline, declarations) = Pipeline::parse_declared(text).unwrap();
        pipeline.plan(&declarations, &stored)
    };
    let plan = planned(&id("\"600s\", memory = \"64MiB\""));
    assert_eq!(plan.refused, []);
    let step = plan.steps[0].to_string();
    assert_eq!(step, "changed stream finds: memory of dedupe");
    let misfit = |text: &str| {
        let refused = planned(text).refused;
        let shown: Vec<String> = refused.iter().map(Problem::to_string).collect();
        shown.join("\n")
    };
    let expected = |given: &str| {
        format!(
            "line 2, column 9: `dedupe` of stream `finds` is id by `sent` for 10m in the store, {given} in the \
             file; replay would judge events anew that were acknowledged; keep the rule of the \
             store, or open another data directory"
        )
    };
    assert_eq!(misfit(STORED), expected("none"));
    assert_eq!(misfit(&id("\"11m\"")), expected("id by `sent` for 11m"));
    let other = id("\"10m\"").replace("by = [\"sent\"]", "by = [\"at\", \"sent\"]");
    assert_eq!(misfit(&other), expected("id by `at`, `sent` for 10m"));
    let sequence = id("\"10m\"").replace("mode = \"id\", horizon = \"10m\"", "mode = \"sequence\"");
    let sequence = sequence.replace("by = [\"sent\"]", "by = [\"player\"]");
    assert_eq!(misfit(&sequence), expected("sequence by `player`"));
    // Digests of pipelines that tell nothing apart by fields stay what they were.
    assert_ne!(parse(STORED).digest(), stored.digest());
}

#[test]
fn limits_of_fields_cannot_change_but_defaults_may() {
    let points = "id = 4, type = \"i64\"";
    let with = |rules: &str| replaced(points, &format!("{points}{rules}"));
    let planned = |stored: &str, text: &str| {
        let (pipeline, declarations) = Pipeline::parse_declared(text).unwrap();
        let plan = pipeline.plan(&declarations, &parse(stored));
        let refused: Vec<String> = plan.refused.iter().map(Problem::to_string).collect();
        (refused, plan.steps[0].to_string())
    };
    let stored = with(", min = 0, max = 9, default = 3");
    let (refused, step) = planned(&stored, &with(", min = 0, max = 9"));
    assert!(
        refused.is_empty() && step.contains("default of field points"),
        "{refused:?} {step}"
    );
    assert_ne!(
        parse(&with(", min = 0, max = 9")).digest(),
        parse(&stored).digest()
    );
    let expected = |given: &str| {
        format!(
            "line 2, column 9: `min` and `max` of field `points` of stream `finds` are 0 to 9 in \
             the store, {given} in the file; replay would judge events anew that were \
             acknowledged; keep the limits of the store, or open another data directory"
        )
    };
    let (refused, _) = planned(&stored, &with(", min = 0"));
    assert_eq!(refused, [expected("0 to 9223372036854775807")]);
    assert_eq!(planned(&stored, STORED).0, [expected("not there")]);
}

#[test]
fn forecast_names_what_tells_events_apart() {
    let rule = |rule: &str| {
        let rule = format!("dedupe = {{ {rule} }}\n[stream.finds.fields]");
        let text = STORED.replacen("[stream.finds.fields]", &rule, 1);
        parse(&text).forecast(1_000_000).to_string()
    };
    let shown = rule("by = [\"player\"], mode = \"sequence\"");
    assert!(
        shown.contains("1000000 x 62 bytes: sources of stream finds"),
        "{shown}"
    );
    assert!(
        shown.contains("one source per key of stream finds"),
        "{shown}"
    );
    let shown = rule("by = [\"sent\"], mode = \"id\", horizon = \"10m\"");
    assert!(
        shown.contains("19884107 x 54 bytes: ids of stream finds"),
        "{shown}"
    );
    let rate = "ids of stream finds fill their memory (1.0 GiB per shard): 29457 events per \
                second and shard over 10m and an eighth; what is beyond is refused";
    assert!(shown.contains(rate), "{shown}");
    let shown = rule("by = [\"player\"], mode = \"sequence\", memory = \"8MiB\"");
    assert!(
        shown.contains("135300 x 62 bytes"),
        "a shard takes no more: {shown}"
    );
}
