//! `[board.NAME]`.

use crate::base::{accepted, refused, with};
use ringmill_shard::pipeline::{
    CalendarUnit, Pipeline, RankStyle, Retract, Score, ScoreRule, Season, Ties, WindowKind,
};

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
        "ties = \"members\"",
        "line 29, column 8: [board.players]: unknown rule of ties `members`; did you mean `member`?",
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
fn score_columns_that_are_refused() {
    refused(
        "score",
        "score = []",
        "line 28, column 9: [board.players] needs at least one score",
    );
    refused(
        "score",
        "score = 1",
        "line 28, column 9: `score` in [board.players] must be text or a list of texts, \
         not a whole number",
    );
    refused(
        "score",
        "score = [\"count()\", 2]",
        "line 28, column 21: `score` in [board.players] must be a list of texts, \
         not a whole number",
    );
    refused(
        "score",
        "score = [\"count()\", \"count()\", \"count()\", \"count()\", \"count()\"]",
        "line 28, column 9: [board.players]: 5 scores; at most 4 are possible",
    );
    refused(
        "score",
        "score = [\"sum(points)\", \"count(points) asc\"]",
        "line 28, column 25: [board.players]: count() takes no field",
    );
}

#[test]
fn ranks_that_are_refused() {
    refused(
        "ties",
        "rank = \"densest\"",
        "line 29, column 8: [board.players]: unknown rank `densest`; did you mean `dense`?",
    );
    refused(
        "ties",
        "rank = \"dense\"",
        "line 29, column 8: [board.players]: `dense` counts different scores, and the members may \
         be on several shards, whose counts do not add up: an equal score on two would count twice; \
         use `competition`, or `cores = 1` in [engine]",
    );
    refused(
        "ties",
        "ties = \"shared\"\nrank = \"ordinal\"",
        "line 30, column 8: [board.players]: shared ties give equal scores one rank, `ordinal` \
         gives each its own; use `ties = \"member\"`, or another `rank`",
    );
}

#[test]
fn ties_and_ranks() {
    let board = |lines: &str| accepted("ties", lines).boards[0].clone();
    for (lines, ties, rank) in [
        ("", Ties::FirstToReach, RankStyle::Ordinal),
        (
            "ties = \"last-to-reach\"",
            Ties::LastToReach,
            RankStyle::Ordinal,
        ),
        ("ties = \"member\"", Ties::Member, RankStyle::Ordinal),
        ("ties = \"shared\"", Ties::Shared, RankStyle::Competition),
        (
            "ties = \"shared\"\nrank = \"percentile\"",
            Ties::Shared,
            RankStyle::Percentile,
        ),
        (
            "rank = \"competition\"",
            Ties::FirstToReach,
            RankStyle::Competition,
        ),
    ] {
        let board = board(lines);
        assert_eq!((board.ties, board.rank), (ties, rank), "{lines}");
    }
    let one_core = with("ties", "rank = \"dense\"").replace("\"all-but-1\"", "1");
    let pipeline = Pipeline::parse(&one_core).unwrap();
    assert_eq!(pipeline.boards[0].rank, RankStyle::Dense);
    // The command line may ask for more shards than the file.
    assert_eq!(pipeline.fits_shards(1), Ok(()));
    assert_eq!(
        pipeline.fits_shards(2).unwrap_err().to_string(),
        "[board.players]: `dense` ranks need one shard, not 2: an equal score on two would count \
         twice; use `competition`, or start with one shard"
    );
}

#[test]
fn score_columns() {
    let text =
        "score = [\"sum(points) desc\", \"count() asc\", \"best(at) asc\", \"latest(ratio)\"]";
    let board = &accepted("score", text).boards[0];
    let score = |rule, field, descending| Score {
        rule,
        field,
        descending,
    };
    let expected = [
        score(ScoreRule::Sum, Some(2), true),
        score(ScoreRule::Sum, None, false),
        score(ScoreRule::Best, Some(1), false),
        score(ScoreRule::Latest, Some(4), true),
    ];
    assert_eq!(board.scores, expected);
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
        assert_eq!(board.scores, [expected], "{text}");
    }
}

#[test]
fn seasons_that_are_refused() {
    let check = |season: &str, expected: &str| {
        refused("ties", &format!("season = {{ {season} }}"), expected);
    };
    check(
        "",
        "line 29, column 1: [board.players.season] needs `every`",
    );
    check(
        "evry = \"1d\", every = \"1d\"",
        "line 29, column 12: unknown key `evry` in [board.players.season]; did you mean `every`?",
    );
    check(
        "every = \"dai\"",
        "line 29, column 20: [board.players.season]: `dai` is no length of a season; write a \
         duration such as `1d`, or one of hour, day, week, month, quarter, year",
    );
    check(
        "every = \"0s\"",
        "line 29, column 20: [board.players.season]: `0s` is no length of a season; write a \
         duration such as `1d`, or one of hour, day, week, month, quarter, year",
    );
    check(
        "every = \"99999999d\"",
        "line 29, column 20: [board.players.season]: `99999999d` is too long for a season",
    );
    check(
        "every = \"6h\", zone = \"Europe/Berlin\"",
        "line 29, column 20: [board.players.season]: the calendar of a zone has no unit of `6h`; \
         use one of hour, day, week, month, quarter, year, or no `zone`",
    );
    check(
        "every = \"1d\", zone = \"Europe/Berlim\"",
        "line 29, column 33: [board.players.season]: unknown zone `Europe/Berlim`; \
         did you mean `Europe/Berlin`?",
    );
    check(
        "every = \"1d\", keep = -1",
        "line 29, column 33: [board.players.season]: `keep` is a number of seasons from 0 to 999",
    );
    check(
        "every = \"1d\", grace = \"soon\"",
        "line 29, column 34: `grace` in [board.players.season]: `soon` is no duration; \
         write a whole number and a unit: 500ms, 5s, 10m, 1h, 7d, 2w",
    );
    // 15 s of disorder and future, and half an hour of grace.
    check(
        "every = \"1s\", grace = \"30m\", keep = 100",
        "line 29, column 1: [board.players.season]: 1917 seasons at once; at most 1000 are \
         possible; lengthen `every`, or shorten `keep` or `grace`",
    );
    refused(
        "ties",
        "season = \"1d\"",
        "line 29, column 10: `season` in [board.players] must be a table, not text",
    );
}

#[test]
fn seasons() {
    let season = |text: &str| {
        let pipeline = accepted("ties", &format!("season = {{ {text} }}"));
        pipeline.boards[0].season.clone().unwrap()
    };
    let calendar = |unit, zone: &str| WindowKind::Calendar {
        unit,
        zone: zone.to_owned(),
    };
    let of = |every, grace_ms, keep| Season {
        every,
        grace_ms,
        keep,
    };
    let day = WindowKind::Tumbling {
        size_ms: 86_400_000,
    };
    for (text, expected) in [
        ("every = \"1d\"", of(day, 0, 1)),
        (
            "every = \"1d\", zone = \"europe/berlin\", grace = \"10m\", keep = 30",
            of(calendar(CalendarUnit::Day, "Europe/Berlin"), 600_000, 30),
        ),
        (
            "every = \"7d\", zone = \"Asia/Tokyo\", keep = 0",
            of(calendar(CalendarUnit::Week, "Asia/Tokyo"), 0, 0),
        ),
        (
            "every = \"month\"",
            of(calendar(CalendarUnit::Month, "UTC"), 0, 1),
        ),
        (
            "every = \"hour\", zone = \"Asia/Kolkata\"",
            of(calendar(CalendarUnit::Hour, "Asia/Kolkata"), 0, 1),
        ),
    ] {
        assert_eq!(season(text), expected, "{text}");
    }
    assert_eq!(accepted("ties", "").boards[0].season, None);
}

#[test]
fn scores_that_cannot_be_taken_back_are_refused() {
    let check = |score: &str, expected: &str| {
        refused(
            "score",
            &format!("retract = \"exact\"\nscore = \"{score}\""),
            &format!(
                "line 28, column 11: [board.players]: `retract = \"exact\"`, but a score is {expected}; \
                 leave it out, or say `retract = \"ignore\"`"
            ),
        );
    };
    check(
        "best(points)",
        "`best`, which does not keep what was second",
    );
    check(
        "latest(points)",
        "`latest`, which does not keep what was before",
    );
    for (name, retract) in [
        ("exact", Retract::Exact),
        ("ignore", Retract::Ignore),
        ("refuse", Retract::Refuse),
    ] {
        let pipeline = accepted("ties", &format!("retract = \"{name}\""));
        assert_eq!(pipeline.boards[0].retract, retract);
    }
}
