//! `docs/formats/expressions.md` has exactly the operators, functions, casts and reasons of the code,
//! with the types that they take.

#![allow(clippy::unwrap_used)] // Helpers of tests, but not test functions themselves.

use ringmill_shard::expression::{ErrorReason, Expression, FUNCTIONS, Named, Scope};
use ringmill_shard::limits;
use ringmill_shard::schema::FieldType;

const DOC: &str = include_str!("../../docs/formats/expressions.md");

const KINDS: [FieldType; 7] = [
    FieldType::U64,
    FieldType::I64,
    FieldType::F64,
    FieldType::Bool,
    FieldType::Time,
    FieldType::Uuid,
    FieldType::Text(9),
];

/// The rows of the table whose head begins with `head`.
fn table(head: &str) -> Vec<Vec<&'static str>> {
    let start = DOC.find(&format!("\n| {head} |")).unwrap();
    DOC[start + 1..]
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

/// The forms of a first column: what stands in backquotes.
fn forms(cell: &'static str) -> Vec<&'static str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// An expression over columns `a`, `b` and `c` of one type.
fn expression(text: &str, kind: FieldType) -> Option<Expression> {
    let named = |(column, name)| {
        let kind = Some(kind);
        let optional = true;
        (
            name,
            Named {
                column,
                kind,
                optional,
            },
        )
    };
    let scope = Scope {
        stream: "s",
        fields: 3,
        columns: ["a", "b", "c"].into_iter().enumerate().map(named).collect(),
        later: &[],
    };
    Expression::parse(text, &scope, None).ok()
}

fn parse(text: &str, kind: FieldType) -> Option<FieldType> {
    expression(text, kind).map(|expression| expression.kind())
}

fn lists(cell: &str, kind: FieldType) -> bool {
    let name = match kind {
        FieldType::Text(_) => "text".to_owned(),
        kind => kind.to_string(),
    };
    cell.split(", ").any(|one| one == name)
}

/// Whether a form may stand over a type, and the type of its result.
fn check(form: &str, operands: &str, result: &str) {
    for kind in KINDS {
        let found = parse(form, kind);
        // Times have their own arithmetic, which the page tells of in words.
        let times = kind == FieldType::Time && form == "a - b";
        assert_eq!(
            found.is_some(),
            lists(operands, kind) || times,
            "{form} over {kind}"
        );
        let Some(found) = found else { continue };
        let first = result.split([' ', ':', ';', ',']).next().unwrap();
        let expected = match first {
            "bool" => FieldType::Bool,
            "u64" => FieldType::U64,
            "i64" if kind == FieldType::U64 => FieldType::I64,
            _ if times => FieldType::I64,
            _ => kind,
        };
        assert_eq!(found, expected, "{form} over {kind}");
    }
}

#[test]
fn operators_take_what_the_page_says() {
    let rows = table("operator");
    assert_eq!(rows.len(), 11);
    for row in rows {
        for form in forms(row[0]) {
            check(form, row[1], row[2]);
        }
    }
}

#[test]
fn operators_bind_as_the_page_says() {
    for (text, same) in [
        ("a or b and c", "a or (b and c)"),
        ("not a and b", "(not a) and b"),
        ("not a = b", "not (a = b)"),
        ("not a is null", "not (a is null)"),
        ("a = b is null", "(a = b) is null"),
    ] {
        same_meaning(text, same, FieldType::Bool);
    }
    for (text, same) in [
        (
            "a = b and b < c or c >= a",
            "((a = b) and (b < c)) or (c >= a)",
        ),
        ("a + b between b and c", "(a + b) between b and c"),
        (
            "a between b and c and a = b",
            "(a between b and c) and a = b",
        ),
        ("a in (b, c) or a = b", "(a in (b, c)) or (a = b)"),
        ("a + b = c", "(a + b) = c"),
        ("a - b - c", "(a - b) - c"),
        ("a + b * c", "a + (b * c)"),
        ("a * b / c % a", "((a * b) / c) % a"),
        ("- a * b", "(- a) * b"),
        ("- a + b", "(- a) + b"),
        ("a - - b", "a - (- b)"),
        ("a != b", "a <> b"),
        (
            "CASE WHEN a > b THEN a ELSE b END",
            "case when a > b then a else b end",
        ),
        ("ABS(a)", "abs(a)"),
    ] {
        same_meaning(text, same, FieldType::I64);
    }
}

fn same_meaning(text: &str, same: &str, kind: FieldType) {
    let read = |text: &str| expression(text, kind).unwrap_or_else(|| panic!("{text}"));
    assert!(
        read(text).computes_the_same(&read(same)),
        "{text} is not {same}"
    );
}

#[test]
fn functions_are_those_of_the_code() {
    let rows = table("function");
    let names: Vec<&str> = rows
        .iter()
        .map(|row| forms(row[0])[0].split('(').next().unwrap())
        .collect();
    assert_eq!(names, FUNCTIONS);
    for row in rows {
        check(forms(row[0])[0], row[1], row[2]);
    }
}

#[test]
fn casts_are_those_of_the_code() {
    let rows = table("cast");
    assert_eq!(rows.len(), 4);
    for row in rows {
        let form = forms(row[0])[0];
        let to = form.trim_end_matches(')').rsplit(' ').next().unwrap();
        for kind in KINDS {
            let found = parse(form, kind);
            assert_eq!(found.is_some(), lists(row[1], kind), "{form} of {kind}");
            assert!(
                found.is_none_or(|found| found.to_string() == to),
                "{form} of {kind}"
            );
        }
    }
}

#[test]
fn literals_have_the_types_of_the_page() {
    for row in table("literal") {
        for form in forms(row[0]) {
            let expected = match row[1].split([' ', ';', ',']).next().unwrap() {
                "text" => FieldType::Text(u8::try_from(form.len() - 2).unwrap()),
                "the" if form == "null" => {
                    assert_eq!(parse(form, FieldType::I64), None);
                    assert!(parse("coalesce(a, null)", FieldType::Uuid).is_some());
                    continue;
                }
                "the" | "a" => FieldType::I64,
                other => FieldType::parse(other).unwrap(),
            };
            let found = parse(form, FieldType::I64).unwrap_or_else(|| panic!("{form}"));
            match (found, expected) {
                (FieldType::Text(_), FieldType::Text(_)) => {}
                _ => assert_eq!(found, expected, "{form}"),
            }
        }
    }
    assert_eq!(
        parse("18446744073709551615", FieldType::I64),
        Some(FieldType::U64)
    );
}

#[test]
fn reasons_and_limits_are_those_of_the_code() {
    let shown: Vec<&str> = table("reason").iter().map(|row| forms(row[0])[0]).collect();
    assert_eq!(shown, ErrorReason::ALL.map(ErrorReason::name));
    for needed in [
        format!("at most {} bytes", limits::EXPRESSION_BYTES_MAX),
        format!("{} words and signs", limits::EXPRESSION_TOKENS_MAX),
        format!("at most {} deep", limits::EXPRESSION_DEPTH_MAX),
        format!("at most {} characters", limits::LIKE_CHARACTERS_MAX),
    ] {
        assert!(DOC.contains(&needed), "`{needed}` is missing");
    }
}
