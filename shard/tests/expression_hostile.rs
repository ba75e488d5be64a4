//! Texts that nobody should write: every one is an expression or a fault with a place in the text.

mod model;

use model::grow::{Grow, Leaf};
use model::random::Random;
use ringmill_shard::expression::{Expression, Fault, Named, Refusal, Scope};
use ringmill_shard::limits::{
    EXPRESSION_BYTES_MAX, EXPRESSION_DEPTH_MAX, EXPRESSION_TOKENS_MAX, TEXT_BYTES_MAX,
};
use ringmill_shard::schema::FieldType;

const COLUMNS: [(&str, FieldType); 6] = [
    ("n", FieldType::U64),
    ("points", FieldType::I64),
    ("ratio", FieldType::F64),
    ("flag", FieldType::Bool),
    ("at", FieldType::Time),
    ("kind", FieldType::Text(20)),
];

fn scope() -> Scope<'static> {
    let named = |(column, (name, kind)): (usize, (&'static str, FieldType))| {
        let kind = Some(kind);
        let optional = false;
        (
            name,
            Named {
                column,
                kind,
                optional,
            },
        )
    };
    Scope {
        stream: "s",
        fields: COLUMNS.len(),
        columns: COLUMNS.into_iter().enumerate().map(named).collect(),
        later: &[],
    }
}

/// Reads a text; whatever comes of it has its place inside of the text.
fn read(text: &str) -> Result<Expression, Fault> {
    match Expression::parse(text, &scope(), None) {
        Ok(expression) => Ok(expression),
        Err(Refusal::Fault(fault)) => {
            assert!(fault.at <= text.len(), "{text:?}: {fault:?}");
            assert!(text.is_char_boundary(fault.at), "{text:?}: {fault:?}");
            assert!(!fault.message.is_empty(), "{text:?}");
            Err(fault)
        }
        Err(Refusal::FaultyColumn) => panic!("no column is faulty"),
    }
}

fn message(text: &str) -> String {
    match read(text) {
        Ok(_) => panic!("{text:?} is an expression"),
        Err(fault) => fault.message,
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |open: &str, middle: &str, close: &str, depth: usize| {
        format!("{}{middle}{}", open.repeat(depth), close.repeat(depth))
    };
    for (open, middle, close) in [
        ("(", "points", ")"),
        ("abs(", "points", ")"),
        ("- ", "points", ""),
        ("+ ", "points", ""),
        ("not ", "flag", ""),
        ("case when flag then ", "1", " end"),
        ("case when ", "flag", " then true end"),
        ("case ", "flag", " when true then true end"),
        ("cast(", "points", " as i64)"),
        ("coalesce(1, ", "points", ")"),
        ("points in (", "points", ") = flag"),
        ("1 + (2 * ", "points", ")"),
        ("flag or flag and ", "flag", ""),
        ("points between 1 and ", "1", ""),
    ] {
        assert!(read(&nested(open, middle, close, 3)).is_ok() || open.starts_with("points"));
        for depth in [EXPRESSION_DEPTH_MAX + 1, 100, 400, 2_000] {
            // Whatever it is called, it ends, and a deep one is no expression.
            let result = read(&nested(open, middle, close, depth));
            let flat = open.starts_with("flag or") && result.is_ok();
            assert!(result.is_err() || flat, "{open} {depth}");
        }
    }
    for (open, close) in [
        ("(", ")"),
        ("abs(", ")"),
        ("coalesce(1, ", ")"),
        ("- ", ""),
        ("cast(", " as i64)"),
        ("case when flag then ", " end"),
    ] {
        let flat = nested(open, "points", close, EXPRESSION_DEPTH_MAX);
        assert!(read(&flat).is_ok(), "{flat}");
        // The grammar may go on to read a word like `cast` as a name, and find another fault.
        let deep = nested(open, "points", close, EXPRESSION_DEPTH_MAX + 1);
        assert!(read(&deep).is_err(), "{deep}");
    }
    let deep = nested("(", "points", ")", EXPRESSION_DEPTH_MAX + 1);
    assert_eq!(message(&deep), "the expression nests more than 32 deep");
    let odd = [
        "case ",
        "case when ",
        "((",
        "cast(",
        "interval ",
        "not ",
        "- ",
        "in (",
        "[",
        "{",
    ];
    for piece in odd {
        for times in [1, 10, 100, 800] {
            let _ = read(&piece.repeat(times));
            let _ = read(&format!("{}1", piece.repeat(times)));
            let _ = read(&format!("a{}", piece.repeat(times)));
        }
    }
}

#[test]
fn long_chains_are_read_without_depth() {
    let chain = |link: &str, first: &str, links: usize| format!("{first}{}", link.repeat(links));
    assert!(read(&chain(" + 1", "points", 500)).is_ok());
    assert!(read(&chain(" or flag", "flag", 500)).is_ok());
    assert!(read(&chain(" is null", "points", 100)).is_ok());
    assert_eq!(
        message(&chain(" is null", "points", 300)),
        "the expression nests more than 32 deep"
    );
}

#[test]
fn length_and_tokens_are_bounded() {
    let longest = format!("points{}", " ".repeat(EXPRESSION_BYTES_MAX - 6));
    assert!(read(&longest).is_ok());
    assert_eq!(
        message(&format!("{longest} ")),
        "an expression of 4097 bytes; at most 4096 are possible"
    );
    let tokens = |count: usize| format!("points{}", "+1".repeat((count - 1) / 2));
    assert!(read(&tokens(EXPRESSION_TOKENS_MAX - 1)).is_ok());
    assert_eq!(
        message(&tokens(EXPRESSION_TOKENS_MAX + 1)),
        "an expression of 1025 words and signs; at most 1024 are possible"
    );
    let text = |length: usize| format!("kind = '{}'", "x".repeat(length));
    assert!(read(&text(TEXT_BYTES_MAX)).is_ok());
    assert_eq!(
        message(&text(TEXT_BYTES_MAX + 1)),
        "a text of 256 bytes; at most 255 are possible"
    );
}

#[test]
fn odd_signs_are_refused_at_their_place() {
    for (text, at, expected) in [
        ("points [1]", 7, "`[` has no place in an expression"),
        ("points || kind", 7, "`||` has no place in an expression"),
        ("points -- 1", 7, "a comment has no place in an expression"),
        (
            "points /* 1 */",
            7,
            "a comment has no place in an expression",
        ),
        ("points = $1", 9, "`$1` has no place in an expression"),
        ("points; points", 6, "`;` has no place in an expression"),
        ("kind = x'41'", 7, "`X'41'` has no place in an expression"),
        ("s.points", 1, "`.` has no place in an expression"),
        ("points::i64", 6, "`::` has no place in an expression"),
        (
            "'\u{e9}\u{1f600}' = kind and \u{e9}",
            20,
            "`\u{e9}` has no place in an expression",
        ),
        ("kind = 'open", 7, "unterminated string literal"),
        ("", 0, "expected an expression, found the end"),
        ("points +", 8, "expected an expression, found the end"),
        ("points + )", 9, "expected an expression, found )"),
        (
            "points points",
            7,
            "`points` does not continue the expression",
        ),
        ("(select 1)", 1, "`(SELECT 1)` is not part of the language"),
        (
            "exists (select 1)",
            8,
            "`EXISTS (SELECT 1)` is not part of the language",
        ),
        (
            "extract(hour from at)",
            18,
            "`EXTRACT(HOUR FROM at)` is not part of the language",
        ),
        (
            "current_timestamp",
            0,
            "unknown function `current_timestamp`",
        ),
        ("points ^ 2", 7, "`^` has no place in an expression"),
        ("points and 1", 0, "`and` takes true or false, not i64"),
    ] {
        let fault = read(text).expect_err(text);
        assert_eq!((fault.at, &*fault.message), (at, expected), "{text:?}");
    }
}

#[test]
fn every_prefix_and_every_damaged_text_ends() {
    let mut random = Random(11);
    let leaf = |(place, (name, kind)): (usize, (&str, FieldType))| Leaf {
        name: name.to_owned(),
        place,
        kind,
    };
    let leaves: Vec<Leaf> = COLUMNS.into_iter().enumerate().map(leaf).collect();
    let pieces: [&str; 11] = [
        "'",
        "(",
        ")",
        "\u{0}",
        "\u{1f600}",
        " case ",
        " end ",
        "--",
        "1e999",
        "\\",
        "\n",
    ];
    for seed in 0..60 {
        let mut seeded = Random(seed);
        let mut grow = Grow {
            random: &mut seeded,
            leaves: leaves.clone(),
        };
        let text = grow.tree(FieldType::Bool, 3).to_string();
        if text.len() > 1_500 {
            continue;
        }
        for end in (0..text.len()).filter(|&end| text.is_char_boundary(end)) {
            let _ = read(&text[..end]);
        }
        for _ in 0..40 {
            let mut damaged = text.clone();
            for _ in 0..1 + random.below(3) {
                let places = damaged.char_indices().map(|(at, _)| at);
                let places: Vec<usize> = places.collect();
                let at = *random.pick(&places);
                let piece: &str = random.pick::<&str>(&pieces);
                damaged.insert_str(at, piece);
            }
            let _ = read(&damaged);
        }
    }
}

/// Words and signs that mean something to the grammar.
const WORDS: &str = "\
    case when then else end and or not is null in between like cast as u64 points kind flag \
    ratio ( ) , + - * / % = <> < 1 2.5 'a' interval timestamp floor coalesce exists select \
    from array substring position trim overlay over filter within group distinct all any at \
    time zone xml collate convert struct map date uuid escape similar to extract";

#[test]
fn random_words_of_the_language_end() {
    let words: Vec<&str> = WORDS.split(' ').collect();
    let mut random = Random(3);
    for _ in 0..30_000 {
        let count = 1 + random.below(14);
        let text: Vec<&str> = (0..count).map(|_| *random.pick(&words)).collect();
        let _ = read(&text.join(" "));
    }
}
