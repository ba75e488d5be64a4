//! Expressions: every way to be wrong, with its place in the file.

use crate::base::{accepted, problems, refused, with};
use ringmill_shard::pipeline::{Aggregate, Declarations, Pipeline};
use ringmill_shard::schema::FieldType;

/// A `where` of the view, with the column of the message in the expression, from 1.
#[track_caller]
fn filter(expression: &str, column: usize, expected: &str) {
    refused(
        "group",
        &format!("where = \"{expression}\""),
        &format!(
            "line 20, column {}: `where` in [view.by_region]: {expected}",
            column + 9
        ),
    );
}

fn computed(lines: &str) -> String {
    let section = format!("[stream.finds.computed]\n{lines}\n[view.by_region]");
    with("[view.by_region]", &section)
}

fn parse(text: &str) -> Pipeline {
    Pipeline::parse(text).unwrap_or_else(|problems| panic!("{text}\n{problems:?}"))
}

#[test]
fn grammar() {
    filter("", 1, "expected an expression, found the end");
    filter("points >", 9, "expected an expression, found the end");
    filter(
        "points > 1 points",
        12,
        "`points` does not continue the expression",
    );
    filter("points > 1;", 11, "`;` has no place in an expression");
    filter(
        "points > 1 -- all",
        12,
        "a comment has no place in an expression",
    );
    filter("points[1] > 1", 7, "`[` has no place in an expression");
    filter("region = 'north", 10, "unterminated string literal");
    filter(
        "exists (select 1)",
        9,
        "`EXISTS (SELECT 1)` is not part of the language",
    );
    filter(
        "points = any (1)",
        1,
        "`points = ANY(1)` is not part of the language",
    );
    filter("points xor 1", 12, "`XOR` is not part of the language");
    filter(
        &format!("{}flag{}", "(".repeat(33), ")".repeat(33)),
        1,
        "the expression nests more than 32 deep; name a part of it as a computed column",
    );
    filter(
        &format!("flag{}", " ".repeat(4093)),
        1,
        "an expression of 4097 bytes; at most 4096 are possible",
    );
    filter(
        &format!("points = 0{}", "+0".repeat(511)),
        1032,
        "an expression of 1025 words and signs; at most 1024 are possible",
    );
}

#[test]
fn names() {
    filter(
        "pionts > 1",
        1,
        "stream `finds` has no field `pionts`; did you mean `points`?",
    );
    filter(
        "points > 1 and x > 1",
        16,
        "stream `finds` has no field `x`; \
         known: `player`, `at`, `points`, `region`, `ratio`, `seen`, `flag`",
    );
    filter(
        "lengt(region) > 1",
        1,
        "unknown function `lengt`; did you mean `length`?",
    );
    filter(
        "sqrt(ratio) > 1",
        1,
        "unknown function `sqrt`; known: `abs`, `ceil`, `coalesce`, `floor`, `greatest`, `least`, \
         `length`, `lower`, `nullif`, `round`, `upper`",
    );
    filter("length() > 1", 1, "`length` takes one value, not 0");
    filter("nullif(points) > 1", 1, "`nullif` takes two values, not 1");
    filter(
        "coalesce(points) > 1",
        1,
        "`coalesce` takes two values or more, not 1",
    );
    filter(
        "abs(distinct points) > 1",
        1,
        "`abs` takes values in parentheses and no more",
    );
    filter(
        "abs(*) > 1",
        1,
        "`abs` takes values in parentheses and no more",
    );
    filter("floor(ratio, 2) > 1", 7, "`floor` takes one value");
}

#[test]
fn literals() {
    filter(
        "points = 5000000000000000000000",
        10,
        "5000000000000000000000 is beyond 64 bits",
    );
    filter(
        &format!("points = 5{}", "0".repeat(60)),
        10,
        &format!("5{} is beyond 64 bits", "0".repeat(60)),
    );
    filter("ratio = 1e999", 9, "1e999 is beyond the range of f64");
    filter("ratio = 9007199254740993", 9, "9007199254740993 is no f64");
    filter("points = 1 / 0", 14, "division by zero");
    filter(
        "at > 5",
        6,
        "5 is no time; write timestamp '2026-01-01T00:00:00Z'",
    );
    filter("at > timestamp 'noon'", 16, "`noon` is no time");
    filter(
        "at - seen > interval '5 m'",
        22,
        "no interval; write a whole number and a unit: interval '5m'",
    );
    filter(
        "at > date '2026-01-01'",
        11,
        "`DATE` is not part of the language; \
         write timestamp '2026-01-01T00:00:00Z', uuid '...' or interval '5m'",
    );
    filter(
        &format!("region = '{}'", "x".repeat(256)),
        10,
        "a text of 256 bytes; at most 255 are possible",
    );
    filter(
        "null is null",
        1,
        "the type of null is unknown here; write a value beside it, or cast it",
    );
}

#[test]
fn operators() {
    filter("points", 1, "the expression is i64, not bool");
    filter("5", 1, "5 is no bool");
    filter("points = region", 10, "i64 and text(11) cannot be compared");
    filter(
        "points > ratio",
        10,
        "i64 and f64 cannot be compared; write cast(... as f64) around the integer",
    );
    filter(
        "at > '2026-01-01'",
        6,
        "time and text(10) cannot be compared; write timestamp '2026-01-01T00:00:00Z'",
    );
    filter("flag = 1", 8, "1 is no bool");
    filter("flag and points", 10, "`and` takes true or false, not i64");
    filter(
        "flag or 1",
        9,
        "`or` takes true or false, not a whole number",
    );
    filter("not region", 5, "`not` takes true or false, not text(11)");
    filter("region + 1 > 1", 1, "`+` takes numbers, not text(11)");
    filter("-flag", 2, "`-` takes numbers, not bool");
    filter("+region = 1", 2, "`+` takes numbers, not text(11)");
    filter(
        "points * ratio > 1.0",
        10,
        "`*` takes two integers or two f64, not i64 and f64; write cast(... as f64) around the integer",
    );
    filter(
        "at * 2 > at",
        6,
        "`*` does not take time and a whole number; \
         a time takes + and - milliseconds, and - another time",
    );
    filter(
        "ratio + at > at",
        9,
        "`+` does not take f64 and time; a time takes + and - milliseconds, and - another time",
    );
}

#[test]
fn texts_lists_and_functions() {
    filter("points like '1%'", 1, "`like` takes a text, not i64");
    filter(
        "region like region",
        13,
        "the pattern of `like` must be a text as it stands",
    );
    filter(
        &format!("region like '{}'", "_".repeat(64)),
        13,
        "a pattern has at most 63 characters, `%` not counted",
    );
    filter(
        "region like 'a%' escape 'x'",
        1,
        "`region LIKE 'a%' ESCAPE 'x'` is not part of the language",
    );
    filter(
        "points in (1, 'a')",
        15,
        "i64 and text(1) cannot be compared",
    );
    filter(
        "points between 1 and 'a'",
        22,
        "i64 and text(1) cannot be compared",
    );
    filter(
        "case when points then flag end",
        11,
        "`when` takes true or false, not i64",
    );
    filter(
        "case when flag then 1 else 'a' end = 1",
        21,
        "1 is no text(1)",
    );
    filter(
        "case when flag then points else ratio end > 1",
        33,
        "`case` takes values of one type, not i64 and f64; write cast(... as f64) around the integer",
    );
    filter(
        "coalesce(region, points) = 'a'",
        18,
        "`coalesce` takes values of one type, not text(11) and i64",
    );
    filter(
        "least(region, 'a') = 'a'",
        7,
        "`least` takes numbers or times, not text(11)",
    );
    filter("abs(region) > 1", 5, "`abs` takes numbers, not text(11)");
    filter("round(points) > 1", 7, "`round` takes f64, not i64");
    filter("upper(points) = 'A'", 7, "`upper` takes a text, not i64");
    filter(
        "cast(points as u65) > 1",
        6,
        "no cast to `u65`; did you mean `u64`?",
    );
    filter("cast(region as i64) > 1", 6, "no cast from text(11) to i64");
    filter("cast(at as f64) > 1.0", 6, "no cast from time to f64");
    filter("try_cast(points as u64) > 1", 10, "write cast(... as TYPE)");
}

#[test]
fn places_are_those_of_the_file() {
    let text = with(
        "group",
        "where = \"\"\"\n  points > 1\n  and pionts > 1\"\"\"",
    );
    assert_eq!(
        problems(&text),
        [
            "line 22, column 7: `where` in [view.by_region]: stream `finds` has no field `pionts`; \
          did you mean `points`?"
        ]
    );
    let text = with(
        "group",
        "where = \"region = \\\"x\\\" or \\u0070ionts > 1\"",
    );
    assert_eq!(
        problems(&text),
        [
            "line 20, column 19: `where` in [view.by_region]: stream `finds` has no field `x`; \
          known: `player`, `at`, `points`, `region`, `ratio`, `seen`, `flag`"
        ]
    );
    let text = with("points = \"", "points = 'sum( points * pionts )'");
    assert_eq!(
        problems(&text),
        [
            "line 24, column 25: [view.by_region.columns]: stream `finds` has no field `pionts`; \
          did you mean `points`?"
        ]
    );
    let text = with("score", "score = \"sum(points * 1.5) desc\"");
    assert_eq!(
        problems(&text),
        [
            "line 28, column 23: [board.players]: `*` takes two integers or two f64, not i64 and f64; \
          write cast(... as f64) around the integer"
        ]
    );
    let text = with("member", "where = 'points >'\nmember = \"player\"");
    assert_eq!(
        problems(&text),
        ["line 27, column 18: `where` in [board.players]: expected an expression, found the end"]
    );
}

#[test]
fn arguments_have_the_type_that_their_function_takes() {
    refused(
        "points = \"",
        "points = \"sum(points > 1)\"",
        "line 24, column 10: [view.by_region.columns]: `points > 1` is bool; \
         sum takes u64, i64 or f64",
    );
    refused(
        "score",
        "score = \"latest(lower(region))\"",
        "line 28, column 9: [board.players]: `lower(region)` is text(11); \
         latest takes u64, i64, f64 or time",
    );
    refused(
        "points = \"",
        "points = \"count(points + 1)\"",
        "line 24, column 10: [view.by_region.columns]: count() takes no field",
    );
}

#[test]
fn computed_columns_that_are_refused() {
    let check = |lines: &str, expected: &str| {
        assert_eq!(problems(&computed(lines)), [expected], "{lines}");
    };
    check(
        "points = \"player\"",
        "line 19, column 1: `points` in [stream.finds.computed] is a field too",
    );
    check(
        "\"a b\" = \"player\"",
        "line 19, column 1: `a b` in [stream.finds.computed] is no column name; \
         use a letter, then letters, digits and `_`, at most 64 bytes",
    );
    check(
        "a = 5",
        "line 19, column 5: `a` in [stream.finds.computed] must be text, not a whole number",
    );
    check(
        "a = \"pionts\"",
        "line 19, column 6: [stream.finds.computed]: stream `finds` has no field `pionts`; \
         did you mean `points`?",
    );
    check(
        "a = \"b + 1\"\nb = \"points\"",
        "line 19, column 6: [stream.finds.computed]: `b` is not computed yet; \
         an expression uses fields, and columns that stand above it",
    );
    check(
        "a = \"a + 1\"",
        "line 19, column 6: [stream.finds.computed]: `a` is not computed yet; \
         an expression uses fields, and columns that stand above it",
    );
    check(
        "a = \"null\"",
        "line 19, column 6: [stream.finds.computed]: the type of null is unknown here; \
         write a value beside it, or cast it",
    );
    // One fault, one message: who uses a faulty column says nothing.
    check(
        "a = \"points +\"\nb = \"a + 1\"",
        "line 19, column 14: [stream.finds.computed]: expected an expression, found the end",
    );
    let many: String = (0..65).map(|i| format!("c{i} = \"points\"\n")).collect();
    check(
        &many,
        "line 18, column 15: [stream.finds.computed]: 65 computed columns; at most 64 are possible",
    );
}

#[test]
fn computed_columns_may_not_own_events() {
    let text = computed("a = \"points\"").replace("member = \"player\"", "member = \"a\"");
    assert_eq!(
        problems(&text),
        [
            "line 29, column 10: [board.players]: `a` is computed, and cannot be a member; name a field"
        ]
    );
    let text = computed("a = \"ratio * 2\"").replace("group = [", "group = [\"a\", ");
    assert_eq!(
        problems(&text),
        [
            "line 22, column 10: [view.by_region]: field `a` is f64, which cannot be a group; \
          use a u64, i64, bool, time, uuid or text field"
        ]
    );
    let text = computed("a = \"points\"").replace("key = \"player\"", "key = \"a\"");
    assert_eq!(
        problems(&text)[0],
        "line 7, column 7: [stream.finds]: stream `finds` has no field `a`; did you mean `at`?"
    );
}

#[test]
fn columns_are_shared_by_what_they_compute() {
    let text = computed("bonus = \"case when flag then points * 2 else points end\"")
        .replace("group = [", "where = \"points>1\"\ngroup = [\"bonus\", ")
        .replace(
            "points = \"sum(points)\"",
            "points = \"sum(bonus)\"\nmore = \"max(points * 2)\"",
        )
        .replace(
            "score = \"sum(points) desc\"",
            "score = \"sum( points*2 ) asc\"\nwhere = \"points > 1\"",
        );
    let pipeline = parse(&text);
    let stream = &pipeline.streams[0];
    let names: Vec<&str> = (7..7 + stream.computed.len())
        .map(|i| stream.column(i).name)
        .collect();
    assert_eq!(names, ["bonus", "points>1", "points * 2"]);
    assert_eq!(stream.column(7).kind, FieldType::I64);
    let view = &pipeline.views[0];
    assert_eq!((view.filter, &view.group[..]), (Some(8), &[7, 3, 6][..]));
    let aggregates: Vec<_> = view.columns.iter().map(|c| c.aggregate).collect();
    assert_eq!(
        aggregates,
        [Aggregate::Count, Aggregate::Sum(7), Aggregate::Max(9)]
    );
    let board = &pipeline.boards[0];
    assert_eq!((board.filter, board.scores[0].field), (Some(8), Some(9)));
    // A plain name in parentheses is the field itself.
    let plain = accepted("points = \"", "points = \"sum((points))\"");
    assert_eq!(plain.views[0].columns[1].aggregate, Aggregate::Sum(2));
    assert!(plain.streams[0].computed.is_empty());
    assert_eq!(
        accepted("group", "where = \"flag\"").views[0].filter,
        Some(6)
    );
}

#[test]
fn digests_follow_what_is_computed_and_not_how_it_is_written() {
    let base = computed("a = \"points * 2\"");
    let digest = |text: &str| parse(text).digest();
    assert_eq!(digest(&base), digest(&computed("a = \"  points*2\"")));
    assert_eq!(
        digest(&base),
        digest(&computed("a = \"(points) * (1 + 1)\""))
    );
    let mut seen = std::collections::HashSet::from([digest(&base)]);
    for lines in [
        "b = \"points * 2\"",
        "a = \"points * 3\"",
        "a = \"points + 2\"",
        "a = \"player * 2\"",
        "a = \"cast(points as u64) * 2\"",
        "a = \"ratio * 2\"",
        "a = \"region like 'a'\"",
        "a = \"region like 'b'\"",
        "a = \"'a'\"",
        "a = \"'b'\"",
        "a = \"points * 2\"\nb = \"a\"",
    ] {
        assert!(seen.insert(digest(&computed(lines))), "{lines}");
    }
    let filters = ["flag", "not flag", "points > 0"].map(|text| format!("where = \"{text}\""));
    for filter in &filters {
        let view = accepted("group", filter).digest();
        let board = accepted("ties", filter).digest();
        assert!(seen.insert(view) && seen.insert(board), "{filter}");
    }
    // Computed columns are derived: a store takes any of them.
    let plan = parse(&base).plan(
        &Declarations::default(),
        &parse(&computed("z = \"player\"")),
    );
    assert!(
        plan.refused.is_empty() && !plan.changes_anything(),
        "{plan:?}"
    );
}
