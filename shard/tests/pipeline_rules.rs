//! Every rule of the pipeline file, with the exact message that breaking it gives.

use ringmill_shard::pipeline::{
    Aggregate, Cores, Durability, Pipeline, Problem, Score, ScoreRule, TimeRule,
};

/// A correct file; the tests change one line of it.
const BASE: &str = r#"ringmill = 1
[engine]
cores = "all-but-1"
memory = "8GiB"
data = "./data"
[stream.finds]
key = "player"
time = { field = "at", disorder = "5s", max_future = "10s", idle = "3s" }
durability = "interval:500ms"
[stream.finds.fields]
player = { id = 1, type = "u64" }
at = { id = 2, type = "time" }
points = { id = 3, type = "i64" }
region = { id = 4, type = "text(11)", optional = true }
ratio = { id = 5, type = "f64" }
seen = { id = 6, type = "time", optional = true }
flag = { id = 7, type = "bool" }
[view.by_region]
from = "finds"
group = ["region", "flag"]
window = { kind = "tumbling", size = "10s", late = "1s", keep = "1h" }
[view.by_region.columns]
finds = "count()"
points = "sum(points)"
[board.players]
from = "finds"
member = "player"
score = "sum(points) desc"
ties = "first-to-reach"
"#;

fn problems(text: &str) -> Vec<String> {
    match Pipeline::parse(text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(Problem::to_string).collect(),
    }
}

/// The base with the one line that begins with `line` (after blanks) replaced.
fn with(line: &str, replacement: &str) -> String {
    let count = BASE.lines().filter(|one| one.starts_with(line)).count();
    assert_eq!(count, 1, "`{line}` must name one line");
    let lines = BASE.lines().map(|one| {
        if one.starts_with(line) {
            replacement
        } else {
            one
        }
    });
    lines.map(|one| format!("{one}\n")).collect()
}

#[track_caller]
fn refused(line: &str, replacement: &str, expected: &str) {
    assert_eq!(
        problems(&with(line, replacement)),
        [expected],
        "{replacement}"
    );
}

#[track_caller]
fn accepted(line: &str, replacement: &str) -> Pipeline {
    Pipeline::parse(&with(line, replacement))
        .unwrap_or_else(|problems| panic!("{replacement}: {problems:?}"))
}

#[test]
fn the_base_is_correct() {
    let pipeline = Pipeline::parse(BASE).unwrap();
    assert_eq!(pipeline.engine.cores, Some(Cores::AllBut(1)));
    assert_eq!(pipeline.engine.memory_bytes, Some(8 << 30));
    assert_eq!(pipeline.engine.data.as_deref(), Some("./data"));
    assert_eq!(
        pipeline.streams[0].durability,
        Durability::Interval { ms: 500 }
    );
    assert_eq!(pipeline.views[0].group, [3, 6]);
}

#[test]
fn all_problems_are_reported_at_once_in_the_order_of_the_file() {
    let text = BASE
        .replace("disorder =", "disordr =")
        .replace("\"text(11)\"", "\"text(0)\"")
        .replace("group = [\"region\"", "group = [\"regoin\"")
        .replace("sum(points) desc", "sum(points) down")
        .replace("id = 7", "id = 1");
    assert_eq!(
        problems(&text),
        [
            "line 8, column 24: unknown key `disordr` in [stream.finds.time]; \
             did you mean `disorder`?",
            "line 14, column 27: `text(0)` of field `region` of stream `finds` is no text type; \
             write text(n) with n bytes from 1 to 255",
            "line 17, column 15: field `flag` of stream `finds` has id 1, which field `player` \
             has; give every field an id of its own",
            "line 20, column 10: [view.by_region]: stream `finds` has no field `regoin`; \
             did you mean `region`?",
            "line 28, column 9: [board.players]: unknown direction `down`; known: `asc`, `desc`",
        ]
    );
}

#[test]
fn syntax() {
    let found = problems("ringmill = 1\n[stream.finds\nkey = 5");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("line 2, column 14: "), "{found:?}");
    let found = problems("ringmill = 1\nringmill = 1\n");
    assert!(
        found[0].starts_with("line 2, column 1: duplicate key"),
        "{found:?}"
    );
    // Columns are characters, not bytes.
    let found = problems("ringmill = 1\n\"\u{e9}\u{e9}\" = 1");
    assert_eq!(
        found[1],
        "line 2, column 1: unknown key `\u{e9}\u{e9}` in the file; known: \
        `ringmill`, `engine`, `stream`, `view`, `board`"
    );
}

#[test]
fn the_file() {
    assert_eq!(
        problems(""),
        [
            "line 1, column 1: the file does not say its format; begin it with `ringmill = 1`",
            "line 1, column 1: the file needs at least one [stream.NAME]",
        ]
    );
    refused(
        "ringmill",
        "ringmill = 2",
        "line 1, column 12: file format 2 is not supported, only format 1 is",
    );
    refused(
        "ringmill",
        "ringmill = \"1\"",
        "line 1, column 12: `ringmill` in the file must be a whole number, not text",
    );
    let text = BASE.replace("[board.players]", "[board]\nplayers = 5\n[board.more]");
    assert_eq!(
        problems(&text),
        ["line 26, column 11: [board.players] must be a table, not a whole number"]
    );
    assert_eq!(
        problems(&BASE[..BASE.find("[view").unwrap()].replacen('\n', "\nview = 5\n", 1)),
        ["line 2, column 8: `view` in the file must be a table, not a whole number"]
    );
    let found = problems(&format!("{BASE}[streams.other]\n"));
    assert_eq!(
        found,
        ["line 30, column 2: unknown key `streams` in the file; did you mean `stream`?"]
    );
}

#[test]
fn names_and_counts() {
    let text = BASE.replace("[board.players]", "[board.\"top 10\"]");
    assert_eq!(
        problems(&text),
        [
            "line 25, column 8: `top 10` is no name of a board; use a letter, then letters, digits, \
          `_` and `-`, at most 64 bytes"
        ]
    );
    let long = "x".repeat(65);
    let text = BASE.replace("[board.players]", &format!("[board.{long}]"));
    assert_eq!(problems(&text).len(), 1);
    let boards: String = (0..64)
        .map(|i| format!("[board.b{i}]\nfrom=\"finds\"\nmember=\"player\"\nscore=\"count()\"\n"))
        .collect();
    assert_eq!(
        problems(&format!("{BASE}{boards}")),
        ["line 25, column 2: 65 boards; a pipeline has at most 64"]
    );
}

#[test]
fn engine() {
    refused(
        "cores",
        "core = 2",
        "line 3, column 1: unknown key `core` in [engine]; did you mean `cores`?",
    );
    for faulty in [
        "0",
        "-1",
        "70000",
        "\"most\"",
        "\"all-but-\"",
        "1.5",
        "\"all-but-x\"",
    ] {
        refused(
            "cores",
            &format!("cores = {faulty}"),
            "line 3, column 9: `cores` in [engine] is no number of cores; \
             write a number from 1, \"all\" or \"all-but-1\"",
        );
    }
    assert_eq!(
        accepted("cores", "cores = 4").engine.cores,
        Some(Cores::Count(4))
    );
    assert_eq!(
        accepted("cores", "cores = \"all\"").engine.cores,
        Some(Cores::AllBut(0))
    );
    assert_eq!(accepted("cores", "").engine.cores, None);
    refused(
        "memory",
        "memory = \"8G\"",
        "line 4, column 10: `memory` in [engine]: `8G` is no size; \
         write a whole number and a unit: 512MiB, 8GiB, 16GB",
    );
    refused(
        "memory",
        "memory = 8",
        "line 4, column 10: `memory` in [engine] must be text, not a whole number",
    );
    refused(
        "data",
        "data = \"\"",
        "line 5, column 8: `data` in [engine] is empty",
    );
}

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

#[test]
fn view_source_and_group() {
    let from = "[view.by_region]\nfrom = \"fnds\"";
    let text = BASE.replace("[view.by_region]\nfrom = \"finds\"", from);
    assert_eq!(
        problems(&text),
        ["line 19, column 8: [view.by_region]: there is no stream `fnds`; did you mean `finds`?"]
    );
    let text = BASE.replace("[view.by_region]\nfrom = \"finds\"", "[view.by_region]");
    assert_eq!(
        problems(&text),
        ["line 18, column 7: [view.by_region] needs `from`"]
    );
    assert!(accepted("group", "").views[0].group.is_empty());
    assert!(accepted("group", "group = []").views[0].group.is_empty());
    refused(
        "group",
        "group = \"region\"",
        "line 20, column 9: `group` in [view.by_region] must be a list of texts, not text",
    );
    refused(
        "group",
        "group = [\"region\", 5]",
        "line 20, column 20: `group` in [view.by_region] must be a list of texts, \
         not a whole number",
    );
    refused(
        "group",
        "group = [\"region\", \"flag\", \"region\"]",
        "line 20, column 28: [view.by_region]: `group` names `region` twice",
    );
    refused(
        "group",
        "group = [\"ratio\"]",
        "line 20, column 10: [view.by_region]: field `ratio` is f64, which cannot be a group; \
         use a u64, i64, bool, time, uuid or text field",
    );
    let fields: String = (8..=24)
        .map(|id| format!("g{id} = {{ id = {id}, type = \"u64\" }}\n"))
        .collect();
    let names: Vec<String> = (8..=24).map(|id| format!("\"g{id}\"")).collect();
    let group = format!("group = [{}]", names.join(", "));
    let text =
        with("group", &group).replace("[view.by_region]\n", &format!("{fields}[view.by_region]\n"));
    assert_eq!(
        problems(&text),
        ["line 37, column 10: [view.by_region]: 17 group fields; at most 16 are possible"]
    );
}

#[test]
fn view_window() {
    let check = |window: &str, expected: &str| {
        refused("window", &format!("window = {{ {window} }}"), expected);
    };
    refused(
        "window",
        "",
        "line 18, column 7: [view.by_region] needs `window`",
    );
    check(
        "kind = \"tumbling\"",
        "line 21, column 1: [view.by_region.window] needs `size`",
    );
    check(
        "kind = \"tumblng\", size = \"1m\"",
        "line 21, column 19: [view.by_region.window]: unknown kind `tumblng`; \
         did you mean `tumbling`?",
    );
    check(
        "kind = \"session\", size = \"1m\"",
        "line 21, column 19: [view.by_region.window]: unknown kind `session`; \
         the only one is `tumbling`",
    );
    check(
        "size = \"0s\"",
        "line 21, column 19: `size` in [view.by_region.window] must be at least 1ms",
    );
    check(
        "size = \"1m\", lat = \"0s\"",
        "line 21, column 25: unknown key `lat` in [view.by_region.window]; did you mean `late`?",
    );
    check(
        "size = \"1ms\", keep = \"1d\"",
        "line 21, column 1: [view.by_region.window]: 86405000 windows at once; \
         at most 1000000 are possible; shorten `keep` or lengthen `size`",
    );
    let view = &accepted("window", "window = { size = \"1m\" }").views[0];
    assert_eq!(
        (view.size_ms, view.late_ms, view.keep_ms),
        (60_000, 0, 86_400_000)
    );
}

#[test]
fn view_columns() {
    let check = |column: &str, expected: &str| refused("points = \"", column, expected);
    check(
        "points = \"summ(points)\"",
        "line 24, column 10: [view.by_region.columns]: unknown aggregate `summ`; \
         did you mean `sum`?",
    );
    check(
        "points = \"median(points)\"",
        "line 24, column 10: [view.by_region.columns]: unknown aggregate `median`; \
         known: `count`, `sum`, `min`, `max`, `avg`",
    );
    for faulty in ["sum", "sum(points) desc", "sum(points", "sum(a + b)", ""] {
        check(
            &format!("points = \"{faulty}\""),
            &format!(
                "line 24, column 10: [view.by_region.columns]: `{faulty}` is no aggregate; \
                 write for example `sum(points)` or `count()`"
            ),
        );
    }
    check(
        "points = \"count(points)\"",
        "line 24, column 10: [view.by_region.columns]: count() takes no field",
    );
    check(
        "points = \"sum()\"",
        "line 24, column 10: [view.by_region.columns]: sum() needs a field",
    );
    check(
        "points = \"sum(pionts)\"",
        "line 24, column 10: [view.by_region.columns]: stream `finds` has no field `pionts`; \
         did you mean `points`?",
    );
    for (call, kind, wanted) in [
        ("sum(at)", "time", "sum takes u64, i64 or f64"),
        ("avg(at)", "time", "avg takes u64, i64 or f64"),
        ("sum(region)", "text(11)", "sum takes u64, i64 or f64"),
        ("min(region)", "text(11)", "min takes u64, i64, f64 or time"),
        ("max(flag)", "bool", "max takes u64, i64, f64 or time"),
    ] {
        let field = &call[4..call.len() - 1];
        check(
            &format!("points = \"{call}\""),
            &format!(
                "line 24, column 10: [view.by_region.columns]: field `{field}` is {kind}; {wanted}"
            ),
        );
    }
    check(
        "points = 5",
        "line 24, column 10: `points` in [view.by_region.columns] must be text, \
         not a whole number",
    );
    check(
        "region = \"count()\"",
        "line 24, column 1: column `region` in [view.by_region.columns] is a group field too",
    );
    check(
        "\"a b\" = \"count()\"",
        "line 24, column 1: `a b` in [view.by_region.columns] is no column name; \
         use a letter, then letters, digits and `_`, at most 64 bytes",
    );
    for (call, aggregate) in [
        ("sum(ratio)", Aggregate::Sum(4)),
        ("min(seen)", Aggregate::Min(5)),
        ("max(at)", Aggregate::Max(1)),
        ("avg( player )", Aggregate::Avg(0)),
    ] {
        let view = &accepted("points = \"", &format!("points = \"{call}\"")).views[0];
        assert_eq!(view.columns[1].aggregate, aggregate);
    }
    let text = BASE.replace("finds = \"count()\"\npoints = \"sum(points)\"\n", "");
    assert_eq!(
        problems(&text),
        ["line 22, column 17: [view.by_region.columns] needs at least one column"]
    );
    let text = text.replace("[view.by_region.columns]\n", "");
    assert_eq!(
        problems(&text),
        ["line 18, column 7: [view.by_region] needs `columns`"]
    );
    let columns: String = (0..63).map(|i| format!("c{i} = \"count()\"\n")).collect();
    let text = BASE.replace("[board.players]", &format!("{columns}[board.players]"));
    assert_eq!(
        problems(&text),
        ["line 22, column 17: [view.by_region.columns]: 65 columns; at most 64 are possible"]
    );
}

#[test]
fn boards() {
    let check = |score: &str, expected: &str| {
        refused("score", &format!("score = \"{score}\""), expected);
    };
    refused(
        "member",
        "",
        "line 25, column 8: [board.players] needs `member`",
    );
    refused(
        "score",
        "",
        "line 25, column 8: [board.players] needs `score`",
    );
    refused(
        "member",
        "member = \"ratio\"",
        "line 27, column 10: [board.players]: field `ratio` is f64, which cannot be a member; \
         use a u64, i64, bool, time, uuid or text field",
    );
    refused(
        "ties",
        "ties = \"member\"",
        "line 29, column 8: [board.players]: unknown rule of ties `member`; \
         the only one is `first-to-reach`",
    );
    refused(
        "ties",
        "tie = \"first-to-reach\"",
        "line 29, column 1: unknown key `tie` in [board.players]; did you mean `ties`?",
    );
    check(
        "points",
        "line 28, column 9: [board.players]: `points` is no score; \
         write for example `sum(points) desc` or `best(time_ms) asc`",
    );
    check(
        "bets(points)",
        "line 28, column 9: [board.players]: unknown score `bets`; did you mean `best`?",
    );
    check(
        "count(points)",
        "line 28, column 9: [board.players]: count() takes no field",
    );
    check(
        "best() asc",
        "line 28, column 9: [board.players]: best() needs a field",
    );
    check(
        "sum(at)",
        "line 28, column 9: [board.players]: field `at` is time; sum takes u64, i64 or f64",
    );
    check(
        "latest(region)",
        "line 28, column 9: [board.players]: field `region` is text(11); \
         latest takes u64, i64, f64 or time",
    );
    check(
        "sum(points) dsc",
        "line 28, column 9: [board.players]: unknown direction `dsc`; did you mean `asc`?",
    );
    let score = |rule, field, descending| Score {
        rule,
        field,
        descending,
    };
    for (text, expected) in [
        ("sum(points) desc", score(ScoreRule::Sum, Some(2), true)),
        ("sum(ratio) asc", score(ScoreRule::Sum, Some(4), false)),
        ("best(at) asc", score(ScoreRule::Best, Some(1), false)),
        ("best(points)", score(ScoreRule::Best, Some(2), true)),
        ("latest(seen)", score(ScoreRule::Latest, Some(5), true)),
        ("count()", score(ScoreRule::Sum, None, true)),
        ("count() asc", score(ScoreRule::Sum, None, false)),
    ] {
        let board = &accepted("score", &format!("score = \"{text}\"")).boards[0];
        assert_eq!(board.score, expected, "{text}");
    }
}
