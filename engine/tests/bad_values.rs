//! Values that no pipeline wants, over HTTP, the native protocol and `ringmill test`: each gets a
//! clear answer, nothing else is lost, and no core stalls.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::client::Client;
use common::http::Http;
use common::server::{Server, ringmill};
use ringmill_shard::schema::Schema;
use ringmill_shard::value::Value as Cell;
use ringmill_shard::wire::ErrorCode;
use serde_json::{Value, json};

const PIPELINE: &str = r#"ringmill = 1

[stream.finds]
key = "player"
time = { field = "at", disorder = "1d", max_future = "1d", idle = "3650d" }
dedupe = { by = ["id"], mode = "id", horizon = "30d" }

[stream.finds.fields]
player = { id = 1, type = "text(16)" }
at = { id = 2, type = "time" }
id = { id = 3, type = "u64" }
points = { id = 4, type = "i64", max = 9000000000000000000 }
parts = { id = 5, type = "i64", default = 1 }
weight = { id = 6, type = "f64", default = 0.5 }
kind = { id = 7, type = "text(5)", default = "chest" }

[stream.finds.computed]
share = "points / parts"
double = "points * 2"

[view.by_kind]
from = "finds"
group = ["kind"]
window = { kind = "tumbling", size = "365d", keep = "3650d" }

[view.by_kind.columns]
finds = "count()"
share = "sum(share)"
double = "max(double)"
known = "count()"

[board.players]
from = "finds"
member = "player"
score = "sum(points) desc"
"#;

const AT_MS: i64 = 1_767_225_600_000;
const YEARS_AHEAD_MS: i64 = 4_000_000_000_000;

fn start(dir: &std::path::Path, shards: &str) -> Server {
    let file = dir.join("finds.toml");
    std::fs::write(&file, PIPELINE).unwrap();
    Server::start(&file, &dir.join("data"), &["--shards", shards])
}

struct Finds {
    http: Http,
    sent: u64,
}

impl Finds {
    /// Posts one find with an id of its own; these members replace or add to it.
    fn post(&mut self, changes: Value) -> (u16, Value) {
        self.sent += 1;
        let mut find = json!({ "player": "ann", "at": AT_MS, "id": self.sent, "points": 10 });
        for (name, value) in changes.as_object().unwrap() {
            find[name] = value.clone();
        }
        let body = find.to_string();
        let answer = self
            .http
            .post("/v1/streams/finds/events", &[], body.as_bytes());
        (answer.status, answer.body)
    }

    #[track_caller]
    fn accepted(&mut self, changes: Value) {
        let (status, body) = self.post(changes);
        assert_eq!((status, &body["accepted"]), (200, &json!(1)), "{body}");
    }

    /// The event is kept with its reason and field, and its request is answered.
    #[track_caller]
    fn rejected(&mut self, changes: Value, field: &str, reason: &str) {
        let (status, body) = self.post(changes);
        assert_eq!((status, &body["rejected"]), (200, &json!(1)), "{body}");
        let first = &body["first_rejected"];
        assert_eq!(
            (&first["field"], &first["reason"]),
            (&json!(field), &json!(reason)),
            "{body}"
        );
        let kept = self.http.get("/v1/streams/finds/rejected?n=1").ok();
        let newest = &kept["rows"][0];
        assert_eq!(
            (&newest["field"], &newest["reason"]),
            (&json!(field), &json!(reason)),
            "{kept}"
        );
        assert!(
            newest["lsn"].is_u64() && (newest["event"].is_object() || newest["row"].is_string()),
            "{kept}"
        );
    }

    /// The line is no event: its request is refused as a whole and names line and field.
    #[track_caller]
    fn malformed(&mut self, changes: Value, field: &str, reason: &str) {
        let (status, body) = self.post(changes);
        let told = (status, &body["line"], &body["field"], &body["reason"]);
        assert_eq!(
            told,
            (400, &json!(1), &json!(field), &json!(reason)),
            "{body}"
        );
    }

    fn stream(&self) -> Value {
        self.http.get("/v1/streams/finds").ok()
    }
}

#[test]
fn over_http_each_has_a_clear_answer_and_nothing_is_lost() {
    for shards in ["1", "2"] {
        let dir = common::scratch();
        let mut server = start(dir.path(), shards);
        let http = Http::new(server.http);
        let mut finds = Finds { http, sent: 0 };
        // What an expression cannot compute is counted; the event counts where it can.
        finds.accepted(json!({ "parts": 0 }));
        finds.accepted(json!({ "points": i64::MIN, "parts": -1, "player": "low" }));
        finds.accepted(json!({ "points": 9_000_000_000_000_000_000_i64, "player": "top" }));
        let errors = &finds.stream()["expression_errors"]["view by_kind"];
        assert_eq!(errors["division_by_zero"], 1, "{errors}");
        assert!(errors["overflow"].as_u64() >= Some(2), "{errors}");
        // A sum that would leave its type leaves the board as it was.
        finds.accepted(json!({ "points": 9_000_000_000_000_000_000_i64, "player": "top" }));
        let top = finds.http.get("/v1/boards/players/top?n=1").ok();
        assert_eq!(
            top["rows"][0]["score"],
            json!(9_000_000_000_000_000_000_i64),
            "{top}"
        );
        finds.rejected(
            json!({ "points": 9_000_000_000_000_000_001_i64 }),
            "points",
            "out_of_range",
        );
        finds.rejected(json!({ "at": YEARS_AHEAD_MS }), "at", "future_time");
        no_events(&mut finds);
        // A name of no bytes is a name, and text that nobody has seen before is a group.
        finds.accepted(json!({ "player": "", "points": 3 }));
        finds.accepted(json!({ "kind": "\u{e9}?" }));
        let members = finds.http.board("players");
        assert!(
            members
                .iter()
                .any(|row| row["member"] == "" && row["score"] == 3),
            "{members:?}"
        );
        assert!(
            finds
                .http
                .view("by_kind")
                .iter()
                .any(|row| row["kind"] == "\u{e9}?")
        );
        repeats(&mut finds);
        let stream = finds.stream();
        assert_eq!(
            (&stream["accepted"], &stream["rejected"]),
            (&json!(7), &json!(3)),
            "{stream}"
        );
        server.assert_running();
        assert_eq!(finds.http.get("/healthz").status, 200);
        server.stop();
        // All of it comes from the log.
        let server = start(dir.path(), shards);
        let again = Http::new(server.http).get("/v1/streams/finds").ok();
        let recorded = [
            "accepted",
            "rejected_by_reason",
            "duplicates_by_cause",
            "watermark_ms",
        ];
        for figure in recorded {
            assert_eq!(again[figure], stream[figure], "{figure}: {again}");
        }
        server.stop();
    }
}

/// Lines that no event can be made of.
fn no_events(finds: &mut Finds) {
    finds.malformed(json!({ "at": i64::MAX }), "at", "out_of_range");
    finds.malformed(
        json!({ "points": "9223372036854775808" }),
        "points",
        "out_of_range",
    );
    finds.malformed(json!({ "weight": "NaN" }), "weight", "not_finite");
    finds.malformed(json!({ "weight": "inf" }), "weight", "not_finite");
    finds.malformed(json!({ "kind": "lighthouse" }), "kind", "text_too_long");
    finds.malformed(
        json!({ "player": "x".repeat(10_000) }),
        "player",
        "text_too_long",
    );
    finds.malformed(json!({ "player": null }), "player", "missing");
}

/// The same id again, with the same content and with another.
fn repeats(finds: &mut Finds) {
    let id = 1_000_000;
    finds.accepted(json!({ "id": id, "kind": "again" }));
    let (status, body) = finds.post(json!({ "id": id, "kind": "again" }));
    assert_eq!((status, &body["duplicates"]), (200, &json!(1)), "{body}");
    let shown = finds.http.get("/v1/streams/finds/duplicates?n=1").ok();
    let newest = &shown["rows"][0];
    assert_eq!(
        (&newest["cause"], &newest["event"]["id"]),
        (&json!("id"), &json!(id)),
        "{shown}"
    );
    assert!(
        newest["lsn"].is_u64() && newest["log_stream"].is_u64(),
        "{shown}"
    );
    finds.rejected(json!({ "id": id, "kind": "other" }), "id", "conflict");
    assert_eq!(finds.stream()["duplicates_by_cause"], json!({ "id": 1 }));
    let metrics = finds.http.get("/metrics").body.to_string();
    assert!(metrics.contains("cause=\\\"id\\\"} 1"), "{metrics}");
}

/// A find as a row, with one cell written over.
fn row(schema: &Schema, id: u64, spoil: impl Fn(&mut [u8], &dyn Fn(&str) -> usize)) -> Vec<u8> {
    let mut row = vec![0; schema.row_len()];
    let cells = [
        ("player", Cell::Text("bob")),
        ("at", Cell::Time(AT_MS)),
        ("id", Cell::U64(id)),
        ("points", Cell::I64(5)),
        ("parts", Cell::I64(1)),
        ("weight", Cell::F64(1.0)),
        ("kind", Cell::Text("chest")),
    ];
    for (name, value) in cells {
        schema
            .set(&mut row, schema.field(name).unwrap(), &value)
            .unwrap();
    }
    let place = |name: &str| usize::from(schema.fields[schema.field(name).unwrap()].offset);
    spoil(&mut row, &place);
    row
}

fn put(row: &mut [u8], at: usize, value: i64) {
    row[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

#[test]
fn over_the_native_protocol_each_has_a_clear_answer_and_nothing_is_lost() {
    type Spoil = fn(&mut [u8], &dyn Fn(&str) -> usize);
    let spoils: [(&str, &str, Spoil); 5] = [
        ("weight", "not_finite", |row, at| {
            put(row, at("weight"), f64::NAN.to_bits().cast_signed());
        }),
        ("points", "out_of_range", |row, at| {
            put(row, at("points"), i64::MAX)
        }),
        ("at", "future_time", |row, at| {
            put(row, at("at"), YEARS_AHEAD_MS)
        }),
        // The length of a text is one byte: no more than 255 can be said.
        ("player", "text_too_long", |row, at| row[at("player")] = 255),
        ("id", "conflict", |row, at| {
            put(row, at("id"), 1);
            put(row, at("points"), 6);
        }),
    ];
    for shards in ["1", "2"] {
        let dir = common::scratch();
        let mut server = start(dir.path(), shards);
        let mut client = Client::hello(server.listen, "native", 0);
        let schema = client.schema().clone();
        let good = |id| row(&schema, id, |_, _| {});
        assert_eq!(client.publish(1, &good(1)).rejected, 0);
        let mut sequence = 2;
        for (field, reason, spoil) in spoils {
            let rows = [row(&schema, 100 + sequence, spoil), good(sequence)].concat();
            client.wire.send(&client.frame(sequence, &rows)).unwrap();
            let error = client.wire.expect_error();
            assert_eq!(
                (error.code, error.fatal),
                (ErrorCode::Rejected, false),
                "{error:?}"
            );
            assert_eq!(error.sequence, sequence, "{error:?}");
            for part in [field, reason] {
                assert!(error.message.contains(part), "no {part} in {error:?}");
            }
            let ack = client.wire.expect_ack();
            assert_eq!((ack.sequence, ack.rejected), (sequence + 1, 1), "{ack:?}");
            sequence += 2;
        }
        // Division by zero, overflow and an empty name are events; a repeat is acknowledged too.
        let odd = |id, spoil: Spoil| row(&schema, id, spoil);
        let rows = [
            odd(200, |row, at| put(row, at("parts"), 0)),
            odd(201, |row, at| put(row, at("points"), i64::MIN)),
            odd(202, |row, at| row[at("player")..at("player") + 17].fill(0)),
            good(1),
        ];
        assert_eq!(client.publish(sequence, &rows.concat()).rejected, 0);
        let http = Http::new(server.http);
        let stream = http.get("/v1/streams/finds").ok();
        assert_eq!(stream["accepted"], 1 + spoils.len() + 3, "{stream}");
        assert_eq!(
            stream["duplicates_by_cause"],
            json!({ "id": 1 }),
            "{stream}"
        );
        let producer = http.get("/v1/producers/native").ok();
        assert_eq!(producer["duplicates"], 1, "{producer}");
        assert!(http.board("players").iter().any(|row| row["member"] == ""));
        server.assert_running();
        server.stop();
    }
}

/// Finds of a test: when, the event, and what else is said of it.
const SENDS: [(&str, &str, &str); 11] = [
    ("0", "player = 'ann', id = 1, points = 10, parts = 0", ""),
    (
        "1",
        "player = 'ann', id = 2, points = 9000000000000000001",
        "refused = 'out_of_range'",
    ),
    (
        "2",
        "player = 'ann', id = 3, points = 1",
        "ahead = '3650d', refused = 'future_time'",
    ),
    (
        "3",
        "player = 'ann', id = 4, points = 1, weight = 'NaN'",
        "refused = 'not_finite'",
    ),
    (
        "4",
        "player = 'a name beyond its sixteen bytes', id = 5, points = 1",
        "refused = 'text_too_long'",
    ),
    (
        "5",
        "player = '', id = 6, points = 4, at = 1767225600000",
        "",
    ),
    (
        "6",
        "player = '', id = 6, points = 4, at = 1767225600000",
        "",
    ),
    (
        "7",
        "player = '', id = 6, points = 5, at = 1767225600000",
        "refused = 'conflict'",
    ),
    ("8", "player = 'bob', id = 7, points = 2", "id = 'a'"),
    ("9", "player = 'bob', id = 7, points = 2", "id = 'a'"),
    (
        "'34d'",
        "player = '', id = 6, points = 4, at = 1767225600000",
        "",
    ),
];

const EXPECTS: &str = r#"expect = [
  { at = 9, top = "players", is = [["ann", 10], ["", 4], ["bob", 2]] },
  { at = 9, counter = "finds.duplicates", is = 2 },
  { at = 9, counter = "finds.id", is = 1 },
  { at = 9, counter = "finds.producer", is = 1 },
  { counter = "finds.accepted", is = 4 },
  { counter = "finds.conflict", is = 1 },
  { counter = "finds.rejected", is = 3 },
  { counter = "finds.behind", is = 0 },
  { rank = "players", member = "bob", is = 3 },
  { get = "/v1/streams/finds", is = { duplicates_by_cause = { id = 1, producer = 1 } } },
]
"#;

fn test_block() -> String {
    let send = |(at, event, more): &(&str, &str, &str)| {
        let more = if more.is_empty() {
            String::new()
        } else {
            format!(", {more}")
        };
        format!("  {{ at = {at}, to = 'finds', event = {{ {event} }}{more} }},\n")
    };
    let sends: String = SENDS.iter().map(send).collect();
    format!("[[test]]\nname = 'odd values'\nsend = [\n{sends}]\n{EXPECTS}")
}

#[test]
fn in_tests_of_a_pipeline_each_has_the_same_answer() {
    let dir = common::scratch();
    let file = dir.path().join("finds.toml");
    std::fs::write(&file, format!("{PIPELINE}{}", test_block())).unwrap();
    for shards in ["1", "3"] {
        let mut command = ringmill();
        command.arg("test").arg(&file).args(["--shards", shards]);
        let output = command.output().unwrap();
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{shown}");
        assert!(shown.contains(" 0 failed, "), "{shown}");
    }
}

#[test]
fn check_warns_and_forecasts() {
    let dir = common::scratch();
    let file = dir.path().join("finds.toml");
    let text = PIPELINE.replace("horizon = \"30d\"", "horizon = \"1h\"");
    std::fs::write(&file, text).unwrap();
    let output = ringmill().arg("check").arg(&file).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{shown}");
    let warning = "warning: line 6, column 48: `horizon` in [stream.finds.dedupe] is 1h, but view \
                   `by_kind` takes events that are 1d behind the newest one; make it at least 1d";
    assert!(shown.contains(warning), "{shown}");
    assert!(shown.contains("ids of stream finds"), "{shown}");
}
