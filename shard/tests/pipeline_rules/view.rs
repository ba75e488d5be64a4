//! `[view.NAME]`.

use crate::base::{BASE, accepted, problems, refused, with};
use ringmill_shard::pipeline::{After, Aggregate, Window, WindowKind};

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
        "kind = \"sliding\", size = \"1m\"",
        "line 21, column 19: [view.by_region.window]: unknown kind `sliding`; \
         known: `tumbling`, `hopping`, `cumulative`, `calendar`, `session`, `last`",
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
    let expected = Window {
        kind: WindowKind::Tumbling { size_ms: 60_000 },
        late_ms: 0,
        keep_ms: 86_400_000,
        after: After::Drop,
    };
    assert_eq!(view.window, expected);
}

#[test]
fn view_aggregates_that_are_refused() {
    let check = |column: &str, expected: &str| refused("points = \"", column, expected);
    check(
        "points = \"summ(points)\"",
        "line 24, column 10: [view.by_region.columns]: unknown aggregate `summ`; \
         did you mean `sum`?",
    );
    check(
        "points = \"median(points)\"",
        "line 24, column 10: [view.by_region.columns]: unknown aggregate `median`; \
         known: `count`, `sum`, `min`, `max`, `avg`, `first`, `last`, `distinct`, `quantile`, \
         `top`",
    );
    for faulty in ["sum", "sum(points) desc", "sum(points", "sum(points))", ""] {
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
}

#[track_caller]
fn refused_column(column: &str, expected: &str) {
    refused(
        "points = \"",
        &format!("points = \"{column}\""),
        &format!("line 24, column 10: [view.by_region.columns]: {expected}"),
    );
}

#[test]
fn quantiles_and_errors_that_are_refused() {
    let check = refused_column;
    check(
        "quantile(points) within 1%",
        "quantile(points) does not say which one; \
         write for example `quantile(points, 0.99) within 1%`",
    );
    for share in ["99", "1.000001", "-0.5", "0.1234567", "p99", ""] {
        check(
            &format!("quantile(points, {share}) within 1%"),
            &format!(
                "`{share}` is no quantile; \
                 use a number from 0 to 1 with at most 6 decimals, for example 0.99"
            ),
        );
    }
    check(
        "quantile(points, 0.99)",
        "quantile() does not say how exact it is to be; add for example `within 1%`",
    );
    check(
        "distinct(points)",
        "distinct() does not say how exact it is to be; add for example `within 1%`",
    );
    for within in ["1", "0.09%", "10.1%", "-1%", "%", "", "one percent"] {
        check(
            &format!("quantile(points, 0.5) within {within}"),
            &format!("`within {within}` is no error that quantile() can have; use 0.1% to 10%"),
        );
    }
    check(
        "distinct(points) within 0.4%",
        "`within 0.4%` is no error that distinct() can have; use 0.5% to 10%",
    );
}

#[test]
fn numbers_of_values_and_arguments_that_are_refused() {
    let check = refused_column;
    check(
        "top(points)",
        "top(points) does not say how many; write for example `top(points, 10)`",
    );
    for k in ["0", "1001", "ten", "-1", "+1", "1.5", "99999999", ""] {
        check(
            &format!("top(points, {k})"),
            &format!("`{k}` is no number of values; use a whole number from 1 to 1000"),
        );
    }
    check(
        "top(points, 10) within 1%",
        "top() states its own errors and takes no `within`",
    );
    for exact in ["sum", "min", "max", "avg", "first", "last"] {
        check(
            &format!("{exact}(points) within 1%"),
            &format!("{exact}() is exact and takes no `within`"),
        );
    }
    for function in ["sum", "last", "distinct"] {
        check(
            &format!("{function}(points, 3)"),
            &format!("{function}() takes a field and nothing else"),
        );
    }
    check(
        "count() within 1%",
        "count() is exact and takes no `within`",
    );
    check("count(, 1)", "count() takes no field");
    check("quantile(, 0.5) within 1%", "quantile() needs a field");
    check(
        "quantile(seen, 0.5) within 1%",
        "field `seen` is time; quantile takes u64, i64 or f64",
    );
    check(
        "top(pionts, 3)",
        "stream `finds` has no field `pionts`; did you mean `points`?",
    );
    for faulty in [
        "top(points, 3, 4)",
        "top(points, (3)",
        "distinct(points) inside 1%",
    ] {
        check(
            faulty,
            &format!("`{faulty}` is no aggregate; write for example `sum(points)` or `count()`"),
        );
    }
}

#[test]
fn view_aggregates_with_arguments() {
    for (call, text, aggregate) in [
        ("first(region)", "first(region)", Aggregate::First(3)),
        ("last( flag )", "last(flag)", Aggregate::Last(6)),
        (
            "distinct(ratio) within 0.5%",
            "distinct(ratio) within 0.5%",
            Aggregate::Distinct {
                field: 4,
                within_ppm: 5_000,
            },
        ),
        (
            "quantile( points,0.990 )within 10 %",
            "quantile(points, 0.99) within 10%",
            Aggregate::Quantile {
                field: 2,
                q_ppm: 990_000,
                within_ppm: 100_000,
            },
        ),
        (
            "top(region, 1000)",
            "top(region, 1000)",
            Aggregate::Top { field: 3, k: 1_000 },
        ),
    ] {
        let pipeline = accepted("points = \"", &format!("points = \"{call}\""));
        let found = pipeline.views[0].columns[1].aggregate;
        assert_eq!(found, aggregate);
        let field = &pipeline.streams[0].schema.fields[found.field().unwrap()];
        assert_eq!(found.text(&field.name), text);
    }
}

#[test]
fn view_columns() {
    let check = |column: &str, expected: &str| refused("points = \"", column, expected);
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
fn what_cannot_be_taken_back_is_refused() {
    let check = |column: &str, expected: &str| {
        let text = with(
            "group = ",
            "group = [\"region\", \"flag\"]\nretract = \"exact\"",
        );
        let text = text.replace(
            "points = \"sum(points)\"",
            &format!("points = \"{column}\""),
        );
        let expected = format!(
            "line 21, column 11: [view.by_region]: `retract = \"exact\"`, but `points` is {expected}; \
             leave it out, or say `retract = \"ignore\"`"
        );
        assert_eq!(problems(&text), [expected], "{column}");
    };
    check("max(points)", "max, which does not keep what was second");
    check("min(points)", "min, which does not keep what was second");
    check("first(points)", "first, which does not keep what was next");
    check("last(points)", "last, which does not keep what was next");
    check(
        "distinct(points) within 1%",
        "distinct, which does not keep who else had a value",
    );
    check("top(points, 3)", "top, which does not keep all values");
    for column in [
        "sum(points)",
        "avg(ratio)",
        "sum(ratio)",
        "quantile(points, 0.5) within 1%",
    ] {
        let text = with("group = ", "group = [\"region\"]\nretract = \"exact\"");
        let text = text.replace(
            "points = \"sum(points)\"",
            &format!("points = \"{column}\""),
        );
        assert_eq!(problems(&text), [""; 0], "{column}");
    }
    refused(
        "group = ",
        "retract = \"exakt\"",
        "line 20, column 11: [view.by_region]: unknown `retract` `exakt`; did you mean `exact`?",
    );
}
