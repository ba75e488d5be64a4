//! A year of real departures: hourly, daily-in-New-York and hopping views, a quantile and two boards
//! equal what straight maps over the lines of the same file say. Zones are reckoned by jiff alone.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use common::client::Client;
use common::eventually;
use common::http::Http;
use common::server::Server;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};
use ringmill_shard::ndjson::parse_line;
use serde::Deserialize;
use serde_json::{Value, json};

/// Beside the repository; the month is part of it.
const YEAR: &str = "../../shared/data/flights-2013.ndjson.gz";
const MONTH: &str = "../docs/examples/flights-2013-01.ndjson.gz";
const YEAR_LINES: usize = 336_776;
const MONTH_LINES: usize = 26_865;

const BATCH_ROWS: usize = 2_000;
const HOUR_MS: i64 = 3_600_000;

/// Departures are up to 1,301 minutes out of order: within a day none is late.
const PIPELINE: &str = r#"
ringmill = 1

[stream.flights]
key = "tail"
time = { field = "at", disorder = "24h", max_future = "1d", idle = "3650d" }

[stream.flights.fields]
sched = { id = 1, type = "time" }
at = { id = 2, type = "time" }
carrier = { id = 3, type = "text(2)" }
flight = { id = 4, type = "u64" }
tail = { id = 5, type = "text(6)", optional = true }
origin = { id = 6, type = "text(3)" }
dest = { id = 7, type = "text(3)" }
distance = { id = 8, type = "u64" }
dep_delay = { id = 9, type = "i64", optional = true }
arr_delay = { id = 10, type = "i64", optional = true }
air_time = { id = 11, type = "u64", optional = true }

[view.hourly]
from = "flights"
group = ["origin"]
window = { kind = "tumbling", size = "1h", late = "0s", keep = "500d" }
[view.hourly.columns]
departures = "count()"
miles = "sum(distance)"
mean_delay = "avg(dep_delay)"

[view.daily]
from = "flights"
group = ["carrier"]
window = { kind = "calendar", unit = "day", zone = "America/New_York", late = "0s", keep = "500d" }
[view.daily.columns]
departures = "count()"
worst = "max(dep_delay)"
late_by = "quantile(dep_delay, 0.9) within 1%"

[view.by_six_hours]
from = "flights"
where = "dep_delay > 15"
group = ["origin"]
window = { kind = "hopping", size = "24h", hop = "6h", late = "0s", keep = "500d" }
[view.by_six_hours.columns]
late = "count()"
minutes = "sum(dep_delay)"

[board.aircraft]
from = "flights"
member = "tail"
score = ["sum(distance) desc", "count() asc"]
ties = "member"

[board.carriers]
from = "flights"
where = "dep_delay is not null"
member = "carrier"
score = "sum(dep_delay) desc"
ties = "shared"
season = { every = "month", zone = "America/New_York", grace = "2d", keep = 13 }
"#;

#[derive(Deserialize)]
struct Flight {
    at: i64,
    carrier: String,
    tail: Option<String>,
    origin: String,
    distance: u64,
    dep_delay: Option<i64>,
}

/// By start, end and group.
type Windows<T> = BTreeMap<(i64, i64, String), T>;

#[derive(Default)]
struct Hour {
    departures: u64,
    miles: u64,
    delays: Vec<i64>,
}

/// What the file says, counted by hand.
#[derive(Default)]
struct Plain {
    hours: Windows<Hour>,
    days: Windows<(u64, Vec<i64>)>,
    six_hours: Windows<(u64, i64)>,
    aircraft: BTreeMap<String, (u64, u64)>,
    /// By start of the month.
    carriers: BTreeMap<i64, BTreeMap<String, i64>>,
}

fn data() -> (PathBuf, usize) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let year = here.join(YEAR);
    if year.exists() {
        return (year, YEAR_LINES);
    }
    println!("../shared/data/flights-2013.ndjson.gz is absent: the month of January stands for it");
    (here.join(MONTH), MONTH_LINES)
}

fn lines(file: &Path) -> Vec<String> {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(file).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    text.lines().map(str::to_owned).collect()
}

fn ms(zoned: &Zoned) -> i64 {
    zoned.timestamp().as_millisecond()
}

impl Plain {
    fn add(&mut self, flight: Flight, zone: &TimeZone) {
        let Flight {
            at,
            carrier,
            tail,
            origin,
            distance,
            dep_delay,
        } = flight;
        let start = at - at.rem_euclid(HOUR_MS);
        let hour = self.hours.entry((start, start + HOUR_MS, origin.clone()));
        let hour = hour.or_default();
        hour.departures += 1;
        hour.miles += distance;
        hour.delays.extend(dep_delay);

        let local = Timestamp::from_millisecond(at)
            .unwrap()
            .to_zoned(zone.clone());
        let day = local.start_of_day().unwrap();
        let next = day.checked_add(1.day()).unwrap().start_of_day().unwrap();
        let of_day = self.days.entry((ms(&day), ms(&next), carrier.clone()));
        let (departures, delays) = of_day.or_default();
        *departures += 1;
        delays.extend(dep_delay);

        if let Some(delay) = dep_delay.filter(|delay| *delay > 15) {
            let first = at - at.rem_euclid(6 * HOUR_MS);
            for start in (0..4).map(|back| first - back * 6 * HOUR_MS) {
                let window = (start, start + 24 * HOUR_MS, origin.clone());
                let (late, minutes) = self.six_hours.entry(window).or_default();
                *late += 1;
                *minutes += delay;
            }
        }
        if let Some(tail) = tail {
            let (miles, flights) = self.aircraft.entry(tail).or_default();
            *miles += distance;
            *flights += 1;
        }
        if let Some(delay) = dep_delay {
            let month = day.first_of_month().unwrap().start_of_day().unwrap();
            let season = self.carriers.entry(ms(&month)).or_default();
            *season.entry(carrier).or_default() += delay;
        }
    }
}

fn compute(lines: &[String]) -> Plain {
    let zone = TimeZone::get("America/New_York").unwrap();
    let mut plain = Plain::default();
    for line in lines {
        plain.add(serde_json::from_str(line).unwrap(), &zone);
    }
    plain
}

fn window(row: &Value, group: &str) -> (i64, i64, String) {
    let number = |name: &str| row[name].as_i64().unwrap();
    let group = row[group].as_str().unwrap().to_owned();
    (number("start_ms"), number("end_ms"), group)
}

/// Every row of a view, each window once, and no window too many or too few.
#[track_caller]
fn check_view<T>(
    http: &Http,
    view: &str,
    group: &str,
    plain: &Windows<T>,
    is: impl Fn(&Value, &T),
) {
    let mut seen = BTreeSet::new();
    for row in http.view(view) {
        let window = window(&row, group);
        let expected = plain.get(&window);
        let expected = expected.unwrap_or_else(|| panic!("{view} has no such window: {row}"));
        is(&row, expected);
        assert!(seen.insert(window), "twice: {row}");
    }
    assert_eq!(seen.len(), plain.len(), "windows of {view}");
    let late = http.get(&format!("/v1/views/{view}/late")).ok();
    assert_eq!(late["rows"], json!([]), "late events of {view}");
}

fn check_views(http: &Http, plain: &Plain) {
    check_view(http, "hourly", "origin", &plain.hours, |row, hour| {
        assert_eq!(row["departures"], hour.departures, "{row}");
        assert_eq!(row["miles"], hour.miles, "{row}");
        let sum: i64 = hour.delays.iter().sum();
        match hour.delays.len() {
            0 => assert!(row["mean_delay"].is_null(), "{row}"),
            known => {
                let off = row["mean_delay"].as_f64().unwrap() - sum as f64 / known as f64;
                assert!(
                    off.abs() <= 1e-12 * sum.abs() as f64,
                    "{sum} of {known}: {row}"
                );
            }
        }
    });
    check_view(
        http,
        "daily",
        "carrier",
        &plain.days,
        |row, (departures, delays)| {
            assert_eq!(row["departures"], *departures, "{row}");
            assert_eq!(row["worst"], json!(delays.iter().max()), "{row}");
            let mut delays = delays.clone();
            delays.sort_unstable();
            let Some(last) = delays.len().checked_sub(1) else {
                assert!(row["late_by"].is_null(), "{row}");
                return;
            };
            let exact = delays[last * 9 / 10] as f64;
            let figure = |name: &str| row["late_by"][name].as_f64().unwrap();
            let (shown, error) = (figure("value"), figure("error"));
            assert!((shown - exact).abs() <= error, "{exact}: {row}");
            assert!(error <= exact.abs() * 0.01, "{row}");
        },
    );
    check_view(
        http,
        "by_six_hours",
        "origin",
        &plain.six_hours,
        |row, (late, minutes)| {
            assert_eq!(
                (&row["late"], &row["minutes"]),
                (&json!(late), &json!(minutes)),
                "{row}"
            );
        },
    );
}

/// Days that a clock was moved on have another length.
fn check_days(plain: &Plain, is_year: bool) {
    let days: BTreeSet<(i64, i64)> = plain.days.keys().map(|(s, e, _)| (*s, *e)).collect();
    let hours = |length: i64| {
        let of_length = days.iter().filter(|(s, e)| e - s == length * HOUR_MS);
        of_length.count()
    };
    let moved = usize::from(is_year);
    assert_eq!((hours(23), hours(25)), (moved, moved));
    assert_eq!(hours(24), days.len() - 2 * moved);
}

/// The boards follow the stream by moments where the member is not its key.
#[track_caller]
fn check_board(expected: &Value, served: impl Fn() -> Value) {
    if eventually(|| (served() == *expected).then_some(())).is_none() {
        assert_eq!(served(), *expected);
    }
}

fn check_boards(http: &Http, plain: &Plain) {
    let mut aircraft: Vec<_> = plain.aircraft.iter().collect();
    aircraft.sort_by_key(|(tail, (miles, flights))| (u64::MAX - miles, *flights, *tail));
    let place = |(place, (tail, (miles, flights))): (usize, &(&String, &(u64, u64)))| json!({ "rank": place + 1, "member": tail, "score": [miles, flights] });
    let expected = aircraft.iter().enumerate().map(place).collect();
    check_board(&expected, || http.board("aircraft").into());

    for (month, carriers) in &plain.carriers {
        let mut places: Vec<_> = carriers.iter().collect();
        places.sort_by_key(|(carrier, minutes)| (-**minutes, *carrier));
        let place = |(carrier, minutes): &(&String, &i64)| {
            let better = carriers.values().filter(|other| *other > minutes).count();
            json!({ "rank": better + 1, "member": carrier, "score": minutes })
        };
        let expected = places.iter().map(place).collect();
        let path = format!("/v1/boards/carriers/top?n=100&season={month}");
        check_board(&expected, || http.get(&path).ok()["rows"].take());
    }
    let seasons = http.get("/v1/boards/carriers/seasons").ok();
    let held = seasons["rows"].as_array().unwrap().iter();
    let held = held.filter(|season| season["members"] != 0);
    let starts: Vec<_> = held.map(|s| s["start_ms"].as_i64().unwrap()).collect();
    assert!(starts.iter().eq(plain.carriers.keys()), "{seasons}");
}

#[test]
fn the_flights_of_the_year_equal_a_plain_count() {
    let (file, expected_lines) = data();
    let lines = lines(&file);
    assert_eq!(lines.len(), expected_lines, "the file is whole");
    let plain = compute(&lines);
    check_days(&plain, expected_lines == YEAR_LINES);
    let dir = common::scratch();
    let pipeline = dir.path().join("year.toml");
    std::fs::write(&pipeline, PIPELINE).unwrap();
    let server = Server::start(&pipeline, &dir.path().join("data"), &["--shards", "2"]);
    let mut client = Client::hello(server.listen, "year", 0);
    let schema = client.schema().clone();
    for (index, batch) in lines.chunks(BATCH_ROWS).enumerate() {
        let mut rows = vec![0; batch.len() * schema.row_len()];
        for (line, row) in batch.iter().zip(rows.chunks_mut(schema.row_len())) {
            parse_line(&schema, line.as_bytes(), row).unwrap();
        }
        let first = (index * BATCH_ROWS + 1) as u64;
        assert_eq!(client.publish(first, &rows).rejected, 0);
    }
    let http = Http::new(server.http);
    let stream = http.get("/v1/streams/flights").ok();
    assert_eq!(
        (&stream["accepted"], &stream["rejected"]),
        (&json!(lines.len()), &json!(0))
    );
    check_views(&http, &plain);
    check_boards(&http, &plain);
    server.stop();
}
