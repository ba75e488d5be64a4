//! `[board.NAME]`.

use crate::base::{accepted, refused};
use ringmill_shard::pipeline::{Score, ScoreRule};

#[test]
fn boards() {
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
}

#[test]
fn scores_that_are_refused() {
    let check = |score: &str, expected: &str| {
        refused("score", &format!("score = \"{score}\""), expected);
    };
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
}

#[test]
fn scores() {
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
