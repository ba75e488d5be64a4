//! Real departures over HTTP and over the native protocol: every window and both boards equal a
//! plain computation from the lines of the file.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use common::client::Client;
use common::eventually;
use common::http::Http;
use common::server::Server;
use ringmill_shard::ndjson::parse_line;
use serde_json::{Value, json};

const HOUR_MS: i64 = 3_600_000;
const WEEK_MS: i64 = 7 * 24 * HOUR_MS;
const CHUNK_LINES: usize = 2_500;
const BATCH_ROWS: usize = 300;

/// By group and start of the window: departures, sum and number of known delays.
type Windows = BTreeMap<(String, i64), (u64, i64, u64)>;

/// What a carrier did in a week.
#[derive(Debug, Default)]
struct Week {
    aircraft: BTreeSet<String>,
    delays: Vec<i64>,
    places: BTreeMap<String, u64>,
    /// Event time, line and aircraft of all departures that name one.
    tails: Vec<(i64, usize, String)>,
    dests: Vec<(i64, usize, String)>,
}

/// What the file says, counted by hand.
#[derive(Debug, Default)]
struct Plain {
    by_origin: Windows,
    by_carrier: Windows,
    weeks: BTreeMap<(String, i64), Week>,
    /// Score, and the line that last changed it: of equal scores, the one reached first is first.
    aircraft: BTreeMap<String, (i64, usize)>,
    carriers: BTreeMap<String, (i64, usize)>,
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples")
}

fn lines() -> Vec<String> {
    let file = std::fs::File::open(examples().join("flights-2013-01.ndjson.gz")).unwrap();
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(file)
        .read_to_string(&mut text)
        .unwrap();
    text.lines().map(str::to_owned).collect()
}

fn text(event: &Value, member: &str) -> Option<String> {
    event[member].as_str().map(str::to_owned)
}

fn compute(lines: &[String]) -> Plain {
    let mut plain = Plain::default();
    for (line, json) in lines.iter().enumerate() {
        let event: Value = serde_json::from_str(json).unwrap();
        let at = event["at"].as_i64().unwrap();
        let start = at - at.rem_euclid(HOUR_MS);
        let delay = event["dep_delay"].as_i64();
        let carrier = text(&event, "carrier").unwrap();
        let groups = [
            (&mut plain.by_origin, text(&event, "origin").unwrap()),
            (&mut plain.by_carrier, carrier.clone()),
        ];
        for (windows, group) in groups {
            let window = windows.entry((group, start)).or_default();
            window.0 += 1;
            window.1 += delay.unwrap_or(0);
            window.2 += u64::from(delay.is_some());
        }
        let week = (carrier.clone(), at - at.rem_euclid(WEEK_MS));
        plain.weeks.entry(week).or_default().add(&event, at, line);
        if let Some(tail) = text(&event, "tail") {
            score(
                &mut plain.aircraft,
                tail,
                event["distance"].as_i64().unwrap(),
                line,
            );
        }
        if let Some(delay) = delay {
            score(&mut plain.carriers, carrier, delay, line);
        }
    }
    plain
}

impl Week {
    fn add(&mut self, event: &Value, at: i64, line: usize) {
        if let Some(tail) = text(event, "tail") {
            self.tails.push((at, line, tail.clone()));
            self.aircraft.insert(tail);
        }
        let dest = text(event, "dest").unwrap();
        *self.places.entry(dest.clone()).or_default() += 1;
        self.dests.push((at, line, dest));
        self.delays.extend(event["dep_delay"].as_i64());
    }

    /// Compares a row; among departures of one moment, several shards may have had another order.
    #[track_caller]
    fn check(&self, row: &Value) {
        let number = |value: &Value| value.as_f64().unwrap();
        let aircraft = &row["aircraft"];
        let (shown, error) = (number(&aircraft["value"]), number(&aircraft["error"]));
        let off = (shown - self.aircraft.len() as f64).abs();
        // The stated error is two standard errors.
        assert!(off <= 2.0 * error, "{}: {row}", self.aircraft.len());
        assert!(error <= shown * 0.05 + 1.0, "{row}");

        let mut delays = self.delays.clone();
        delays.sort_unstable();
        let exact = delays[(delays.len() - 1) * 9 / 10] as f64;
        let late_by = &row["late_by"];
        let (shown, error) = (number(&late_by["value"]), number(&late_by["error"]));
        assert!((shown - exact).abs() <= error, "{exact}: {row}");
        assert!(error <= exact.abs() * 0.01, "{row}");

        let mut places: Vec<_> = self.places.iter().collect();
        places.sort_by_key(|&(place, count)| (std::cmp::Reverse(count), place));
        let shown: Vec<_> = places.into_iter().take(3).collect();
        let shown: Vec<Value> = shown
            .into_iter()
            .map(|(place, count)| json!({ "value": place, "count": count, "error": 0 }))
            .collect();
        let expected = json!({ "values": shown, "others_at_most": 0 });
        assert_eq!(row["places"], expected, "{row}");

        let first = self.tails.iter().map(|(at, ..)| at).min();
        let may_be_first =
            |(at, _, tail): &(i64, usize, String)| Some(at) == first && row["first_tail"] == **tail;
        assert!(self.tails.iter().any(may_be_first), "{row}");
        let last = self.dests.iter().map(|(at, ..)| at).max();
        let may_be_last =
            |(at, _, dest): &(i64, usize, String)| Some(at) == last && row["last_dest"] == **dest;
        assert!(self.dests.iter().any(may_be_last), "{row}");
    }

    /// With one shard the lines have an order.
    #[track_caller]
    fn check_order(&self, row: &Value) {
        assert_eq!(
            row["first_tail"],
            *self.tails.iter().min().unwrap().2,
            "{row}"
        );
        assert_eq!(
            row["last_dest"],
            *self.dests.iter().max().unwrap().2,
            "{row}"
        );
    }
}

#[track_caller]
fn check_weeks(http: &Http, weeks: &BTreeMap<(String, i64), Week>, ties: bool) {
    let rows = http.view("weekly_by_carrier");
    assert_eq!(rows.len(), weeks.len());
    for row in rows {
        let start = row["start_ms"].as_i64().unwrap();
        let week = &weeks[&(text(&row, "carrier").unwrap(), start)];
        week.check(&row);
        if ties {
            week.check_order(&row);
        }
    }
}

fn score(board: &mut BTreeMap<String, (i64, usize)>, member: String, points: i64, line: usize) {
    let is_new = !board.contains_key(&member);
    let entry = board.entry(member).or_default();
    entry.0 += points;
    // A score that stays what it is was reached before.
    if is_new || points != 0 {
        entry.1 = line;
    }
}

/// A board from its first place to its last: member and score.
fn ranked(board: &BTreeMap<String, (i64, usize)>) -> Vec<(String, i64)> {
    let mut places: Vec<_> = board.iter().collect();
    places.sort_by_key(|(_, (score, line))| (-score, *line));
    places
        .into_iter()
        .map(|(member, (score, _))| (member.clone(), *score))
        .collect()
}

fn served_board(http: &Http, board: &str) -> Vec<(String, i64)> {
    let place = |(index, row): (usize, Value)| {
        assert_eq!(row["rank"], index + 1, "{row}");
        (
            text(&row, "member").unwrap(),
            row["score"].as_i64().unwrap(),
        )
    };
    http.board(board)
        .into_iter()
        .enumerate()
        .map(place)
        .collect()
}

/// A view as it is served: departures and the mean as it is printed, null if nothing is known.
#[track_caller]
fn check_view(http: &Http, view: &str, group: &str, expected: &Windows) {
    let mut served = BTreeMap::new();
    for row in http.view(view) {
        let start = row["start_ms"].as_i64().unwrap();
        assert_eq!(row["end_ms"], start + HOUR_MS, "{row}");
        let key = (text(&row, group).unwrap(), start);
        let cells = (
            row["departures"].as_u64().unwrap(),
            row["mean_delay"].clone(),
        );
        assert!(served.insert(key, cells).is_none(), "twice: {row}");
    }
    assert_eq!(served.len(), expected.len(), "{view}");
    for (key, (departures, sum, known)) in expected {
        let (served_departures, mean) = &served[key];
        assert_eq!(served_departures, departures, "{view} {key:?}");
        match known {
            0 => assert!(mean.is_null(), "{view} {key:?}: {mean}"),
            _ => assert_eq!(
                *mean,
                as_read(*sum as f64 / *known as f64),
                "{view} {key:?}"
            ),
        }
    }
}

/// A number as this test's JSON reader reads it, whose last bit is not always the nearest.
fn as_read(number: f64) -> Value {
    serde_json::from_str(&Value::from(number).to_string()).unwrap()
}

/// The whole content of a server. With several shards equal scores may have been reached in
/// another order than that of the lines, so `ties` says whether it is compared.
#[track_caller]
fn check(server: &Server, plain: &Plain, lines: usize, ties: bool) {
    let http = Http::new(server.http);
    let stream = http.get("/v1/streams/flights").ok();
    assert_eq!(stream["accepted"], lines, "{stream}");
    assert_eq!(stream["rejected"], 0, "{stream}");
    check_view(&http, "hourly_by_origin", "origin", &plain.by_origin);
    check_view(&http, "hourly_by_carrier", "carrier", &plain.by_carrier);
    check_weeks(&http, &plain.weeks, ties);
    let boards = [
        ("aircraft_by_miles", &plain.aircraft),
        ("carriers_by_delay", &plain.carriers),
    ];
    for (name, board) in boards {
        let expected = ranked(board);
        // A board whose member is not the key follows by moments.
        let served = || {
            let served = served_board(&http, name);
            if ties {
                served
            } else {
                by_name_among_equals(served)
            }
        };
        let expected = if ties {
            expected
        } else {
            by_name_among_equals(expected)
        };
        if eventually(|| (served() == expected).then_some(())).is_none() {
            assert_eq!(served(), expected, "{name}");
        }
    }
}

fn by_name_among_equals(mut places: Vec<(String, i64)>) -> Vec<(String, i64)> {
    let scores: Vec<i64> = places.iter().map(|(_, score)| *score).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "not in order of scores");
    places.sort_by_key(|(member, score)| (-score, member.clone()));
    places
}

fn serve(dir: &Path, shards: &str) -> Server {
    Server::start(
        &examples().join("flights.toml"),
        &dir.join("data"),
        &["--shards", shards],
    )
}

fn post(http: &Http, first: usize, chunk: &[String]) -> Value {
    let sequence = (first + 1).to_string();
    let headers = [
        ("Ringmill-Producer", "january"),
        ("Ringmill-Sequence", &sequence),
    ];
    http.post(
        "/v1/streams/flights/events",
        &headers,
        chunk.join("\n").as_bytes(),
    )
    .ok()
}

#[test]
fn the_flights_of_january_over_http() {
    let lines = lines();
    let plain = compute(&lines);
    assert!(
        lines.len() > 20_000 && plain.aircraft.len() > 1_000,
        "the extract is whole"
    );
    let dir = common::scratch();
    let server = serve(dir.path(), "1");
    let http = Http::new(server.http);
    for (index, chunk) in lines.chunks(CHUNK_LINES).enumerate() {
        let first = index * CHUNK_LINES;
        let answer = post(&http, first, chunk);
        assert_eq!(answer["accepted"], chunk.len(), "{answer}");
        if index == 3 {
            let again = post(&http, first, chunk);
            assert_eq!(again["accepted"], 0, "{again}");
            assert_eq!(again["duplicates"], chunk.len(), "{again}");
        }
    }
    check(&server, &plain, lines.len(), true);
    server.stop();
    let server = serve(dir.path(), "1");
    assert_eq!(server.ready_word("recovered"), lines.len().to_string());
    check(&server, &plain, lines.len(), true);
    server.stop();
}

#[test]
fn the_flights_of_january_over_the_wire_on_two_shards() {
    let lines = lines();
    let plain = compute(&lines);
    let dir = common::scratch();
    let server = serve(dir.path(), "2");
    let mut client = Client::hello(server.listen, "january", 0);
    let schema = client.schema().clone();
    for (index, batch) in lines.chunks(BATCH_ROWS).enumerate() {
        let mut rows = vec![0; batch.len() * schema.row_len()];
        for (line, row) in batch.iter().zip(rows.chunks_mut(schema.row_len())) {
            parse_line(&schema, line.as_bytes(), row).unwrap();
        }
        let first = (index * BATCH_ROWS + 1) as u64;
        assert_eq!(client.publish(first, &rows).rejected, 0);
    }
    check(&server, &plain, lines.len(), false);
    server.stop();
    let server = serve(dir.path(), "3");
    check(&server, &plain, lines.len(), false);
    server.stop();
}
