//! Corrections from end to end: over HTTP and the command line, on a test's virtual clock, through
//! SIGKILL and a change of shards.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::http::Http;
use common::server::{Server, ringmill};
use serde_json::{Value, json};

const PIPELINE: &str = r#"ringmill = 1
[stream.finds]
key = "player"
time = { field = "at", max_future = "1d" }
[stream.finds.fields]
player = { id = 1, type = "u64" }
at = { id = 2, type = "time" }
points = { id = 3, type = "i64" }
team = { id = 4, type = "text(8)" }
[view.by_team]
from = "finds"
group = ["team"]
window = { size = "1m" }
retract = "exact"
[view.by_team.columns]
finds = "count()"
points = "sum(points)"
[view.extremes]
from = "finds"
window = { size = "1m" }
retract = "ignore"
[view.extremes.columns]
most = "max(points)"
[board.players]
from = "finds"
member = "player"
score = ["sum(points) desc", "count() asc"]
retract = "exact"
[board.teams]
from = "finds"
member = "team"
score = "sum(points)"
retract = "exact"
"#;

/// What [`PIPELINE`] is tested with: names, corrections, expectations.
const TEST: &str = r#"
[[test]]
name = "a retry counts once, a late retraction corrects the board"
send = [
  { at = 0, to = "finds", id = "a", event = { player = 1, team = "red", points = 50 } },
  { at = 5, to = "finds", id = "a", event = { player = 1, team = "red", points = 50 } },
  { at = 10, to = "finds", id = "b", event = { player = 2, team = "blue", points = 40 } },
  { at = 9000, retract = "a", reason = "exploit 17" },
  { at = 9600, to = "finds", id = "a", event = { player = 1, team = "red", points = 50 } },
  { at = 9700, undo = "a", reason = "it was none" },
  { at = 9800, retract = "c", reason = "known before it comes" },
  { at = 9900, to = "finds", id = "c", event = { player = 3, team = "red", points = 1000 } },
  { at = 10200, undo = "c" },
]
expect = [
  { at = 20, top = "teams", is = [["red", 50], ["blue", 40]] },
  { at = 9500, top = "teams", is = [["blue", 40]] },
  { at = 9500, rank = "players", member = 1, is = "none" },
  { at = 9500, view = "by_team", is = [{ team = "red", finds = 0 }, { team = "blue", finds = 1 }] },
  { at = 9650, top = "teams", is = [["blue", 40]] },
  { at = 9750, top = "teams", is = [["red", 50], ["blue", 40]] },
  { at = 10000, top = "teams", is = [["red", 50], ["blue", 40]] },
  { at = 10000, counter = "finds.annulled", is = 1 },
  { at = 10000, counter = "finds.duplicates", is = 2 },
  { at = 10300, top = "teams", is = [["red", 1050], ["blue", 40]] },
  { at = 10300, get = "/v1/corrections", is = { corrections = [{ id = 2, state = "undone" }, { id = 1, state = "undone" }] } },
]
"#;

#[test]
fn a_pipeline_tests_its_corrections() {
    let dir = common::scratch();
    let file = dir.path().join("finds.toml");
    std::fs::write(&file, format!("{PIPELINE}{TEST}")).unwrap();
    for shards in ["1", "2", "5"] {
        let mut command = ringmill();
        let output = command
            .arg("test")
            .arg(&file)
            .args(["--shards", shards])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{shards} shards: {text}");
    }
}

fn start(dir: &Path, shards: &str) -> (Server, Http) {
    let (pipeline, data) = (dir.join("finds.toml"), dir.join("data"));
    std::fs::write(&pipeline, PIPELINE).unwrap();
    let server = Server::start(&pipeline, &data, &["--shards", shards]);
    let http = Http::new(server.http);
    (server, http)
}

/// Posts finds of a producer: player, team, points; all of one minute.
fn post(http: &Http, first_sequence: u64, finds: &[(u64, &str, i64)]) -> Value {
    let lines = finds.iter().map(|(player, team, points)| {
        json!({ "player": player, "at": 1_700_000_000_000_u64, "team": team, "points": points })
    });
    let body: String = lines.map(|line| format!("{line}\n")).collect();
    let sequence = first_sequence.to_string();
    let headers = [
        ("ringmill-producer", "till"),
        ("ringmill-sequence", &*sequence),
    ];
    http.post("/v1/streams/finds/events", &headers, body.as_bytes())
        .ok()
}

fn correct(http: &Http, select: Value, dry_run: bool) -> Value {
    let body = json!({
        "stream": "finds", "select": select, "reason": "exploit 17", "author": "referee",
        "dry_run": dry_run,
    });
    http.post("/v1/corrections", &[], body.to_string().as_bytes())
        .ok()
}

fn undo(http: &Http, id: u64) -> Value {
    let body = json!({ "reason": "it was none", "author": "referee" });
    let path = format!("/v1/corrections/{id}/undo");
    http.post(&path, &[], body.to_string().as_bytes()).ok()
}

/// Members and scores of a board; deltas between shards take a moment.
#[track_caller]
fn expect_board(http: &Http, board: &str, expected: &Value) {
    let mut shown = Value::Null;
    for _ in 0..500 {
        let rows = http.board(board);
        let pair = |row: &Value| json!([row["member"], row["score"]]);
        shown = rows.iter().map(pair).collect();
        if shown == *expected {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(shown, *expected, "{board}");
}

const FINDS: [(u64, &str, i64); 6] = [
    (1, "red", 50),
    (2, "blue", 40),
    (3, "red", 30),
    (1, "blue", 5),
    (4, "red", -7),
    (2, "red", 0),
];

#[test]
fn corrections_survive_sigkill_and_other_numbers_of_shards() {
    let dir = common::scratch();
    let (server, http) = start(dir.path(), "2");
    assert_eq!(post(&http, 1, &FINDS)["accepted"], 6);
    // The fourth event, by name; then a player; then what a condition says.
    assert_eq!(
        correct(
            &http,
            json!({ "event": { "producer": "till", "sequence": 4 } }),
            false
        )["events"],
        1
    );
    assert_eq!(correct(&http, json!({ "key": 3 }), false)["events"], 1);
    let range = json!({ "range": { "from": 1_700_000_000_000_u64 }, "where": "points < 0" });
    assert_eq!(correct(&http, range, false)["events"], 1);
    let early = correct(
        &http,
        json!({ "event": { "producer": "till", "sequence": 7 } }),
        false,
    );
    assert_eq!((&early["events"], &early["early"]), (&json!(0), &json!(1)));
    let teams = json!([["red", 50], ["blue", 40]]);
    let players = json!([[1, [50, 1]], [2, [40, 2]]]);
    expect_board(&http, "teams", &teams);
    expect_board(&http, "players", &players);
    server.kill();
    for shards in ["2", "5", "1"] {
        let (server, http) = start(dir.path(), shards);
        expect_board(&http, "teams", &teams);
        expect_board(&http, "players", &players);
        let list = http.get("/v1/corrections").ok();
        let states: Vec<_> = list["corrections"].as_array().unwrap().iter().collect();
        assert_eq!(states.len(), 4);
        assert!(states.iter().all(|one| one["state"] == "done"), "{list}");
        server.kill();
    }
    let (server, http) = start(dir.path(), "2");
    // A retry of what was taken back is a duplicate, and what was announced has no effect.
    let again = post(&http, 1, &FINDS);
    assert_eq!(
        (&again["accepted"], &again["duplicates"]),
        (&json!(0), &json!(6))
    );
    assert_eq!(post(&http, 7, &[(9, "green", 1_000)])["accepted"], 1);
    expect_board(&http, "teams", &teams);
    for id in 1..=4 {
        undo(&http, id);
    }
    expect_board(
        &http,
        "teams",
        &json!([["green", 1_000], ["red", 73], ["blue", 45]]),
    );
    server.kill();
    let (_server, http) = start(dir.path(), "3");
    expect_board(
        &http,
        "teams",
        &json!([["green", 1_000], ["red", 73], ["blue", 45]]),
    );
    let players = json!([
        [9, [1_000, 1]],
        [1, [55, 2]],
        [2, [40, 2]],
        [3, [30, 1]],
        [4, [-7, 1]]
    ]);
    expect_board(&http, "players", &players);
}

#[test]
fn a_dry_run_says_who_would_move() {
    let dir = common::scratch();
    let (_server, http) = start(dir.path(), "2");
    post(&http, 1, &FINDS);
    let select = json!({ "where": "player = 1 or player = 3" });
    let preview = correct(&http, select.clone(), true);
    assert_eq!(
        (&preview["dry_run"], &preview["events"]),
        (&json!(true), &json!(3))
    );
    let moves = &preview["boards"][0]["moves"];
    assert_eq!(moves.as_array().unwrap().len(), 2, "{preview}");
    let one = &moves[0];
    assert_eq!(
        (&one["member"], &one["rank_before"], &one["rank_after"]),
        (&json!(1), &json!(1), &Value::Null)
    );
    let teams = preview["boards"][1]["moves"].as_array().unwrap();
    let shown: Vec<_> = teams
        .iter()
        .map(|one| {
            json!([
                one["member"],
                one["score_before"],
                one["score_after"],
                one["rank_before"],
                one["rank_after"]
            ])
        })
        .collect();
    assert_eq!(
        shown,
        [json!(["red", 73, -7, 1, 2]), json!(["blue", 45, 40, 2, 1])]
    );
    assert_eq!(
        preview["effect"]["not_corrected"],
        json!({ "views": ["extremes"], "boards": [] })
    );
    assert_eq!(
        http.get("/v1/corrections").ok()["corrections"],
        json!([]),
        "nothing was done"
    );
    expect_board(&http, "teams", &json!([["red", 73], ["blue", 45]]));
}

#[test]
fn a_receipt_says_what_a_score_is_made_of() {
    let dir = common::scratch();
    let (_server, http) = start(dir.path(), "2");
    post(&http, 1, &FINDS);
    correct(
        &http,
        json!({ "event": { "producer": "till", "sequence": 4 } }),
        false,
    );
    post(&http, 1, &FINDS[..1]);
    let receipt = http.get("/v1/boards/players/explain/1").ok();
    assert_eq!(
        (&receipt["score"], &receipt["rank"]),
        (&json!([50, 1]), &json!(1))
    );
    assert_eq!(receipt["sums"], receipt["score"], "{receipt}");
    assert_eq!(receipt["counts"], json!({ "counted": 1, "retracted": 1 }));
    let events = receipt["events"].as_array().unwrap();
    let of = |part: &str| events.iter().find(|event| event["part"] == part).unwrap();
    assert_eq!(of("retracted")["retracted_by"], json!([1]));
    assert_eq!(of("counted")["duplicates_ns"].as_array().unwrap().len(), 1);
    assert_eq!(of("counted")["values"], json!([50, 1]));
    assert!(of("counted")["lsn"].as_u64().unwrap() > 0);
    // A member that is not there has a receipt that says why.
    correct(&http, json!({ "key": 3 }), false);
    let receipt = http.get("/v1/boards/players/explain/3").ok();
    assert_eq!(
        (&receipt["score"], &receipt["counts"]),
        (&Value::Null, &json!({ "retracted": 1 }))
    );
}

#[test]
fn the_command_line_retracts_undoes_and_explains() {
    let dir = common::scratch();
    let (server, http) = start(dir.path(), "2");
    post(&http, 1, &FINDS);
    let run = |args: &[&str]| {
        let at = server.http.to_string();
        let output = ringmill()
            .args(args)
            .args(["--http", &at])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), text, error)
    };
    let why = ["--reason", "exploit 17", "--author", "referee"];
    let (code, text, _) =
        run(&[&["retract", "finds", "--key", "1", "--dry-run"][..], &why].concat());
    assert_eq!(code, Some(0));
    assert!(
        text.contains("2 events of finds would be taken back"),
        "{text}"
    );
    assert!(
        text.contains("red                  rank 1, score 73 -> rank 2, score 23"),
        "{text}"
    );
    assert!(
        text.contains("not corrected, as the pipeline says: extremes"),
        "{text}"
    );
    let (code, text, _) = run(&[&["retract", "finds", "--key", "1"][..], &why].concat());
    assert!(
        code == Some(0) && text.contains("correction 1: 2 events of finds"),
        "{text}"
    );
    let (code, text, _) = run(&["explain", "board", "players", "player=1"]);
    assert!(
        code == Some(0) && text.contains("by correction 1"),
        "{text}"
    );
    assert!(text.contains("2 retracted"), "{text}");
    let (code, text, _) = run(&[&["undo", "1"][..], &why].concat());
    assert!(
        code == Some(0) && text.contains("2 events are back"),
        "{text}"
    );
    let (code, _, error) = run(&[&["undo", "9"][..], &why].concat());
    assert!(
        code == Some(1) && error.contains("there is no correction 9"),
        "{error}"
    );
}

fn asked(name: &str, value: Value) -> Value {
    let mut body = json!({
        "stream": "finds", "select": { "key": 1 }, "reason": "exploit 17", "author": "referee",
    });
    body[name] = value;
    body
}

/// Posts a correction with one member changed; the detail of its refusal.
fn refused(http: &Http, name: &str, value: Value, status: u16, problem: &str) -> String {
    let body = asked(name, value).to_string();
    let answer = http.post("/v1/corrections", &[], body.as_bytes());
    let problem = answer.problem(status, problem);
    problem["detail"].as_str().unwrap().to_owned()
}

#[test]
fn what_is_no_correction_is_refused_with_the_reason() {
    let dir = common::scratch();
    let (_server, http) = start(dir.path(), "1");
    let both = json!({ "key": 1, "event": { "producer": "till", "sequence": 1 } });
    let zero = json!({ "event": { "producer": "till", "sequence": 0 } });
    for (name, value, says) in [
        ("reason", json!(" "), "never silent"),
        ("author", json!(""), "`author`"),
        ("select", json!({}), "either `event`"),
        ("select", both, "either `event`"),
        ("select", json!({ "key": "x" }), "`x` is no u64"),
        ("select", json!({ "kee": 1 }), "unknown field `kee`"),
        ("select", json!({ "where": "pints > 1" }), "`pints`"),
        ("select", json!({ "where": "points + 1" }), "where"),
        ("select", json!({ "range": { "from": "soon" } }), "no time"),
        ("select", zero, "begin with 1"),
    ] {
        let detail = refused(&http, name, value, 400, "bad-request");
        assert!(detail.contains(says), "{detail}");
    }
    let long = json!("x".repeat(1_025));
    let detail = refused(&http, "reason", long, 413, "too-large");
    assert!(detail.contains("1025 bytes"), "{detail}");
    let detail = refused(&http, "stream", json!("fins"), 404, "unknown-name");
    assert!(detail.contains("did you mean `finds`"), "{detail}");
    let detail = refused(&http, "id", json!(7), 404, "unknown-correction");
    assert!(detail.contains("no correction 7"), "{detail}");
    // Of what never was nothing is taken back, and the list says so.
    assert_eq!(correct(&http, json!({ "key": 99 }), false)["events"], 0);
    let list = http.get("/v1/corrections").ok();
    assert_eq!(list["corrections"][0]["events"], 0);
    let detail = refused(&http, "id", json!(1), 409, "correction-conflict");
    assert!(detail.contains("something else"), "{detail}");
}

#[test]
fn a_view_that_cannot_follow_stands_in_the_way() {
    let dir = common::scratch();
    let (server, http) = start(dir.path(), "1");
    post(&http, 1, &FINDS);
    correct(&http, json!({ "key": 1 }), false);
    server.stop();
    let file = dir.path().join("refusing.toml");
    std::fs::write(&file, PIPELINE.replace("retract = \"ignore\"\n", "")).unwrap();
    let server = Server::start(&file, &dir.path().join("other"), &["--shards", "1"]);
    let http = Http::new(server.http);
    let detail = refused(&http, "dry_run", json!(true), 409, "not-correctable");
    assert!(detail.contains("view `extremes`"), "{detail}");
    server.stop();
    // A log with corrections is not replayed into what would show them.
    let mut command = common::server::serve(&file, &dir.path().join("data"), &["--shards", "1"]);
    common::server::ended(&mut command).expect(1, &["view number 2 refuses", "retract"]);
}

#[test]
fn what_repeats_another_event_is_not_taken_back_a_second_time() {
    let dir = common::scratch();
    let file = dir.path().join("finds.toml");
    let by_team = "[stream.finds]\ndedupe = { by = [\"team\"], mode = \"id\", horizon = \"1d\" }";
    std::fs::write(&file, PIPELINE.replacen("[stream.finds]", by_team, 1)).unwrap();
    let server = Server::start(&file, &dir.path().join("data"), &["--shards", "2"]);
    let http = Http::new(server.http);
    let finds = [(1, "red", 50), (1, "red", 50), (1, "blue", 7)];
    post(&http, 1, &finds);
    expect_board(&http, "players", &json!([[1, [57, 2]]]));
    let select = json!({ "where": "team = 'red'" });
    let preview = correct(&http, select.clone(), true);
    assert_eq!(
        (&preview["events"], &preview["without_effect"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(correct(&http, select, false)["events"], 1);
    expect_board(&http, "players", &json!([[1, [7, 1]]]));
    let receipt = http.get("/v1/boards/players/explain/1").ok();
    let counts = json!({ "counted": 1, "duplicate": 1, "retracted": 1 });
    assert_eq!(receipt["counts"], counts, "{receipt}");
    undo(&http, 1);
    expect_board(&http, "players", &json!([[1, [57, 2]]]));
}
