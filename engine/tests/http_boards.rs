//! Boards with several scores, shared ties, percentages, seasons, splits and what stands beside a
//! score, over HTTP, on 1 and 3 shards.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not seen as tests")]

mod http_support;

use http_support::{Fake, find};
use ringmill_engine::control::ControlLimits;
use serde_json::{Value, json};

const EVENTS: &str = "/v1/streams/finds/events";
/// The start of a season.
const AT: i64 = 1_700_000_000_000;
/// So much later that the watermark is in that season too.
const LATER: i64 = AT + 6_000;

const BOARDS: &str = r#"
[board.daily]
from = "finds"
member = "player"
score = ["sum(points) desc", "count() asc"]
ties = "shared"
season = { every = "10s", keep = 1 }
[board.share]
from = "finds"
member = "player"
score = "sum(points) desc"
ties = "member"
rank = "percentile"
[board.areas]
from = "finds"
member = "player"
score = "mean_best(points, 2) desc"
ties = "member"
season = { every = "10s", keep = 1 }
split = ["region"]
splits = 2
with = ["note", "points"]
"#;

fn fake(shards: usize) -> Fake {
    let limits = ControlLimits {
        signals: false,
        ..ControlLimits::default()
    };
    let pipeline = format!("{}{BOARDS}", http_support::HUNT);
    Fake::with(&pipeline, shards, limits)
}

/// Every one of 30 players finds so many points at this time.
fn wave(fake: &Fake, at: i64, points: impl Fn(u64) -> i64) {
    let lines: String = (0..30).map(|p| find(p, at, points(p), "x")).collect();
    assert_eq!(fake.post(EVENTS, &[], &lines).ok()["accepted"], 30);
}

/// Three seasons, the first of which is not kept any more.
fn seasons(shards: usize) -> Fake {
    let fake = fake(shards);
    wave(&fake, AT, |player| player as i64);
    wave(&fake, AT + 12_000, |player| -(player as i64 / 10));
    for _ in 0..2 {
        wave(&fake, AT + 25_000, |player| player as i64 / 10);
    }
    fake
}

#[test]
fn a_season_is_read_by_time_or_by_how_long_ago_it_was() {
    for shards in [1, 3] {
        let fake = seasons(shards);
        let list = fake.get("/v1/boards/daily/seasons").ok();
        let row = |start: i64, state: &str, current: bool| {
            json!({
                "start_ms": AT + start, "end_ms": AT + start + 10_000, "state": state,
                "members": 30, "current": current, "corrected": 0,
            })
        };
        let expected = json!([row(10_000, "final", false), row(20_000, "open", true)]);
        assert_eq!(list["rows"], expected, "{shards} shards");
        assert_eq!(list["next_reset_ms"], AT + 30_000);

        let now = fake.get("/v1/boards/daily/top?n=2&offset=9").ok();
        let expected = json!([
            { "rank": 1, "member": 29, "score": [4, 2] },
            { "rank": 11, "member": 10, "score": [2, 2] },
        ]);
        assert_eq!(now["rows"], expected, "{shards} shards");
        assert_eq!(
            (&now["final"], &now["season"]["state"]),
            (&json!(false), &json!("open"))
        );

        for season in ["-1", &(AT + 19_999).to_string(), "2023-11-14T22:13:30Z"] {
            let path = format!("/v1/boards/daily/top?n=1&offset=10&season={season}");
            let past = fake.get(&path).ok();
            let expected = json!([{ "rank": 11, "member": 10, "score": [-1, 1] }]);
            assert_eq!(past["rows"], expected, "{shards} shards, {season}");
            assert_eq!(
                (&past["final"], &past["members"]),
                (&json!(true), &json!(30))
            );
        }
        let place = fake.get("/v1/boards/daily/rank/25?season=-1").ok();
        assert_eq!(
            (&place["rank"], &place["score"]),
            (&json!(21), &json!([-2, 1]))
        );
        let around = fake.get("/v1/boards/daily/around/11?season=-1&n=3").ok();
        let ranks: Vec<&Value> = around["rows"].as_array().unwrap().iter().collect();
        let ranks: Vec<_> = ranks
            .iter()
            .map(|row| (&row["rank"], &row["member"]))
            .collect();
        let expected = [10, 11, 12].map(|member| (json!(11), json!(member)));
        assert_eq!(
            ranks,
            expected.each_ref().map(|(rank, member)| (rank, member))
        );
    }
}

#[test]
fn seasons_that_cannot_be_read_are_refused() {
    let fake = seasons(3);
    for season in ["-2", &AT.to_string()] {
        let problem = fake.get(&format!("/v1/boards/daily/top?season={season}"));
        let problem = problem.problem(404, "unknown-season");
        assert_eq!(problem["oldest_ms"], AT + 10_000);
    }
    for season in ["yesterday", "-0x1", "-1001", ""] {
        let problem = fake.get(&format!("/v1/boards/daily/rank/1?season={season}"));
        assert_eq!(problem.problem(400, "bad-parameter")["parameter"], "season");
    }
    // A board without seasons does not know the parameter.
    let problem = fake.get("/v1/boards/players/top?season=-1");
    assert_eq!(problem.problem(400, "bad-parameter")["parameter"], "season");
    fake.get("/v1/boards/players/seasons")
        .problem(400, "bad-request");
    let empty = self::fake(1).get("/v1/boards/daily/top").ok();
    assert_eq!((&empty["members"], &empty["rows"]), (&json!(0), &json!([])));
}

#[test]
fn members_stand_among_themselves() {
    for shards in [1, 3] {
        let fake = seasons(shards);
        let among = |board: &str, members: &str| {
            fake.post(&format!("/v1/boards/{board}/among"), &[], members)
        };
        let body = among("daily", r#"[5, "25", 99, 21, 21, 11]"#).ok();
        let row = |among, rank, member, score: i64| json!({ "among": among, "rank": rank, "member": member, "score": [score, 2] });
        let expected = json!([
            row(1, 1, 21, 4),
            row(1, 1, 25, 4),
            row(3, 11, 11, 2),
            row(4, 21, 5, 0)
        ]);
        assert_eq!(body["rows"], expected, "{shards} shards");
        assert_eq!(
            (&body["absent"], &body["final"]),
            (&json!([99]), &json!(false))
        );
        assert_eq!(body["season"]["start_ms"], AT + 20_000);

        let body = among("share", "[29, 0]").ok();
        let rows = json!([
            { "among": 100.0, "rank": 100.0, "member": 29, "score": 29 - 2 + 4 },
            { "among": 50.0, "rank": body["rows"][1]["rank"], "member": 0, "score": 0 },
        ]);
        assert_eq!(body["rows"], rows, "{shards} shards");
        assert_eq!(among("share", "[]").ok()["rows"], json!([]));
        for bad in ["", "7", "[null]", "[1.5]", "[\"x\"]", "[[1]]"] {
            among("share", bad).problem(400, "bad-request");
        }
        let many: Vec<u64> = (0..1_001).collect();
        among("share", &json!(many).to_string()).problem(400, "bad-request");
        let long = format!("[{}1]", " ".repeat(1024 * 1024));
        among("share", &long).problem(413, "too-large");
    }
}

#[test]
fn a_split_is_read_like_the_whole() {
    for shards in [1, 3] {
        let fake = fake(shards);
        let finds = [
            (1, 30, "north"),
            (1, 40, "north"),
            (1, 35, "south"),
            (2, 36, "south"),
            (3, 10, "north"),
        ];
        for (at, (player, points, region)) in (0..).zip(finds) {
            fake.post(EVENTS, &[], &find(player, LATER + at, points, region))
                .ok();
        }
        let row = |rank, member, score: f64, points| json!({ "rank": rank, "member": member, "score": score, "with": { "note": null, "points": points } });
        let top = |more: &str| fake.get(&format!("/v1/boards/areas/top?n=9{more}")).ok();
        let whole = top("");
        let rows = [
            row(1, 1, 37.5, 35),
            row(2, 2, 36.0, 36),
            row(3, 3, 10.0, 10),
        ];
        assert_eq!(
            (&whole["rows"], &whole["split"]),
            (&json!(rows), &Value::Null)
        );
        let north = top("&region=north");
        let rows = [row(1, 1, 35.0, 40), row(2, 3, 10.0, 10)];
        assert_eq!(
            (&north["rows"], &north["members"]),
            (&json!(rows), &json!(2))
        );
        assert_eq!(north["split"], json!({ "region": "north" }));
        assert_eq!(north["lacking"], Value::Null);
        assert_eq!(north["season"]["start_ms"], AT);

        let place = fake.get("/v1/boards/areas/rank/1?region=south").ok();
        assert_eq!((&place["rank"], &place["score"]), (&json!(2), &json!(35.0)));
        assert_eq!(place["with"], json!({ "note": null, "points": 35 }));
        let around = fake.get("/v1/boards/areas/around/3?region=north&n=1").ok();
        assert_eq!(around["rows"], json!([row(2, 3, 10.0, 10)]));
        let among = fake
            .post("/v1/boards/areas/among?region=south", &[], "[3,2,1]")
            .ok();
        let mut rows = [row(1, 2, 36.0, 36), row(2, 1, 35.0, 35)];
        (rows[0]["among"], rows[1]["among"]) = (json!(1), json!(2));
        assert_eq!(
            (&among["rows"], &among["absent"]),
            (&json!(rows), &json!([3]))
        );
        assert_eq!(top("&region=east")["rows"], json!([]), "no split, no error");
        fake.get("/v1/boards/areas/rank/2?region=north")
            .problem(404, "unknown-member");

        let list = fake.get("/v1/boards/areas/splits").ok();
        let split = |region: &str| json!({ "split": { "region": region }, "members": 2 });
        assert_eq!(
            list["rows"],
            json!([split("north"), split("south")]),
            "{shards} shards"
        );
        assert_eq!((&list["splits"], &list["refused"]), (&json!(2), &json!(0)));
        let list = fake.get("/v1/boards/areas/splits?n=1&offset=1").ok();
        assert_eq!(list["rows"], json!([split("south")]));
    }
}

#[test]
fn a_split_too_many_is_counted_and_said() {
    let fake = fake(1);
    for region in ["north", "south", "east", "east"] {
        fake.post(EVENTS, &[], &find(1, LATER, 5, region)).ok();
    }
    let list = fake.get("/v1/boards/areas/splits").ok();
    let counts = (&list["splits"], &list["refused"], &list["most_per_shard"]);
    assert_eq!(counts, (&json!(2), &json!(2), &json!(2)));
    let east = fake.get("/v1/boards/areas/top?region=east").ok();
    assert_eq!(
        (&east["lacking"], &east["rows"]),
        (&json!(true), &json!([]))
    );
    let north = fake.get("/v1/boards/areas/top?region=north").ok();
    assert_eq!(north["lacking"], Value::Null, "that one lacks nothing");
    let metrics = fake.get("/metrics").text;
    let line = "ringmill_board_splits_refused_total{core=\"0\",board=\"areas\"} 2";
    assert!(metrics.contains(line), "{metrics}");
}

#[test]
fn splits_that_cannot_be_read_are_refused() {
    let fake = fake(1);
    let problem = fake.get("/v1/boards/areas/top?region=northwestern");
    assert_eq!(problem.problem(400, "bad-parameter")["parameter"], "region");
    let problem = fake.get("/v1/boards/players/top?region=north");
    assert_eq!(problem.problem(400, "bad-parameter")["parameter"], "region");
    fake.get("/v1/boards/players/splits")
        .problem(400, "bad-request");
    let problem = fake.get("/v1/boards/areas/splits?region=north");
    assert_eq!(problem.problem(400, "bad-parameter")["parameter"], "region");
}

#[test]
fn a_member_without_characters_is_a_member_and_null_is_none() {
    let pipeline = format!(
        "{}[board.notes]\nfrom = \"finds\"\nmember = \"note\"\nscore = \"count() desc\"\n",
        http_support::HUNT
    );
    let limits = ControlLimits {
        signals: false,
        ..ControlLimits::default()
    };
    let fake = Fake::with(&pipeline, 1, limits);
    let line = |note: Value| {
        let find = json!({ "player": 1, "at": AT, "points": 1, "region": "x", "note": note });
        format!("{find}\n")
    };
    let lines = [json!(""), Value::Null, json!(""), json!("a")].map(line);
    assert_eq!(fake.post(EVENTS, &[], &lines.concat()).ok()["accepted"], 4);
    let top = fake.get("/v1/boards/notes/top").ok();
    let expected = json!([
        { "rank": 1, "member": "", "score": 2 },
        { "rank": 2, "member": "a", "score": 1 },
    ]);
    assert_eq!(top["rows"], expected);
}
