//! Side streams and rows of windows that overlap, are amended or follow a calendar, over HTTP.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not seen as tests")]

mod http_support;

use http_support::{Fake, HUNT, eventually, find};
use ringmill_engine::control::ControlLimits;
use serde_json::{Value, json};

const EVENTS: &str = "/v1/streams/finds/events";
/// A full ten seconds; a Tuesday in UTC, and in Berlin at a quarter past eleven at night.
const AT: i64 = 1_700_000_000_000;

fn start(window: &str) -> Fake {
    let plain = "window = { kind = \"tumbling\", size = \"10s\", late = \"0s\", keep = \"1h\" }";
    assert!(HUNT.contains(plain));
    let limits = ControlLimits {
        signals: false,
        ..ControlLimits::default()
    };
    let text = HUNT.replace(plain, &format!("window = {{ {window} }}"));
    Fake::with(&text, 1, limits)
}

/// Sends one event and waits until the watermark has followed it.
fn send(fake: &Fake, at: i64) {
    let before = fake.get("/v1/views/by_region").ok()["watermark_ms"].clone();
    fake.post(EVENTS, &[], &find(1, at, 5, "north")).ok();
    let expected = before.as_i64().unwrap_or(i64::MIN).max(at - 5_000);
    eventually("the watermark", || {
        fake.get("/v1/views/by_region").ok()["watermark_ms"] == expected
    });
}

/// Start and end after `AT`, number of finds, state and revision.
fn rows(fake: &Fake, query: &str) -> Vec<(i64, i64, u64, String, u64)> {
    let body = fake.get(&format!("/v1/views/by_region{query}")).ok();
    let show = |row: &Value| {
        let number = |name: &str| row[name].as_i64().unwrap();
        (
            number("start_ms") - AT,
            number("end_ms") - AT,
            row["finds"].as_u64().unwrap(),
            row["state"].as_str().unwrap().to_owned(),
            row["revision"].as_u64().unwrap(),
        )
    };
    body["rows"].as_array().unwrap().iter().map(show).collect()
}

fn row(
    start: i64,
    end: i64,
    finds: u64,
    state: &str,
    revision: u64,
) -> (i64, i64, u64, String, u64) {
    (start, end, finds, state.to_owned(), revision)
}

#[test]
fn late_events_are_readable_with_what_they_missed() {
    let fake = start("kind = \"hopping\", size = \"10s\", hop = \"5s\", keep = \"1h\"");
    assert_eq!(fake.get("/v1/views/by_region/late").ok()["rows"], json!([]));
    send(&fake, AT + 1_000);
    send(&fake, AT + 16_000);
    // The watermark is at 11,000: [-5, 5) and [0, 10) are closed, [5, 15) takes it.
    fake.post(EVENTS, &[], &find(2, AT + 2_000, 7, "south"))
        .ok();
    fake.post(EVENTS, &[], &find(2, AT + 7_000, 8, "south"))
        .ok();
    let body = fake.get("/v1/views/by_region/late").ok();
    assert_eq!(body["kept_per_shard"], 256);
    assert_eq!(
        (&body["view"], &body["shards"]),
        (&json!("by_region"), &json!(1))
    );
    let events = body["rows"].as_array().unwrap();
    assert_eq!(events.len(), 2);
    let (newest, oldest) = (&events[0], &events[1]);
    assert_eq!(
        newest["event"],
        json!({
            "player": 2, "at": AT + 7_000, "points": 8, "region": "south", "note": null,
        })
    );
    let bounds = |start: i64| json!({ "start_ms": AT + start, "end_ms": AT + start + 10_000 });
    assert_eq!(
        (&newest["windows"], &newest["first"]),
        (&json!(1), &bounds(0))
    );
    assert_eq!(
        (&oldest["windows"], &oldest["first"]),
        (&json!(2), &bounds(-5_000))
    );
    assert_eq!((&oldest["last"], &oldest["index"]), (&bounds(0), &json!(0)));
    assert_eq!(
        (&oldest["shard"], &oldest["log_stream"]),
        (&json!(0), &json!(0))
    );
    assert!(oldest["lsn"].as_u64() < newest["lsn"].as_u64());
    assert!(oldest["stamp_ns"].is_u64());
    // The cores of this test move the watermark by entries of their own, as an idle clock does.
    assert_eq!(oldest["reason"], "after_idle");
    let one = fake.get("/v1/views/by_region/late?limit=1").ok();
    assert_eq!(one["rows"], json!([newest]));
    let metrics = fake.get("/metrics").text;
    let line = "ringmill_view_late_total{core=\"0\",view=\"by_region\",reason=\"after_idle\"} 3\n";
    assert!(metrics.contains(line), "{metrics}");
    fake.get("/v1/views/by_region/late?limit=257")
        .problem(400, "bad-parameter");
    fake.get("/v1/views/by_regions/late")
        .problem(404, "unknown-name");
}

#[test]
fn rows_say_whether_they_are_early_final_or_amended() {
    let fake = start("size = \"10s\", keep = \"1h\", after = \"amend\"");
    send(&fake, AT + 1_000);
    send(&fake, AT + 12_000);
    send(&fake, AT + 31_000);
    send(&fake, AT + 2_000);
    send(&fake, AT + 3_000);
    let (amended, closed) = (
        row(0, 10_000, 3, "amended", 2),
        row(10_000, 20_000, 1, "final", 0),
    );
    let early = row(30_000, 40_000, 1, "early", 0);
    assert_eq!(
        rows(&fake, ""),
        [amended.clone(), closed.clone(), early.clone()]
    );
    assert_eq!(rows(&fake, "?state=amended"), [amended]);
    assert_eq!(rows(&fake, "?state=final"), [closed]);
    assert_eq!(rows(&fake, "?state=early"), [early]);
    let problem = fake
        .get("/v1/views/by_region?state=finl")
        .problem(400, "bad-parameter");
    assert_eq!(problem["parameter"], "state");
    assert_eq!(fake.get("/v1/views/by_region/late").ok()["rows"], json!([]));
    let line = "ringmill_view_amended_total{core=\"0\",view=\"by_region\"} 2\n";
    assert!(fake.get("/metrics").text.contains(line));
}

#[test]
fn pages_go_through_windows_that_begin_together() {
    let fake = start("kind = \"cumulative\", size = \"20s\", step = \"5s\", keep = \"1h\"");
    for at in [1_000, 6_000, 17_000, 22_000] {
        send(&fake, AT + at);
    }
    let expected = rows(&fake, "");
    let bounds: Vec<_> = expected.iter().map(|row| (row.0, row.1, row.2)).collect();
    assert_eq!(
        bounds,
        [
            (0, 5_000, 1),
            (0, 10_000, 2),
            (0, 15_000, 2),
            (0, 20_000, 3),
            (20_000, 25_000, 1),
            (20_000, 30_000, 1),
            (20_000, 35_000, 1),
            (20_000, 40_000, 1),
        ]
    );
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let query = format!("?limit=1{after}");
        seen.extend(rows(&fake, &query));
        let body = fake.get(&format!("/v1/views/by_region{query}")).ok();
        let Some(next) = body.get("next") else { break };
        after = format!("&after={}", next.as_str().unwrap());
    }
    assert_eq!(seen, expected);
}

#[test]
fn calendar_windows_say_whose_rules_they_follow() {
    let fake = start("kind = \"calendar\", unit = \"day\", zone = \"Europe/Berlin\"");
    send(&fake, AT);
    send(&fake, AT + 3_600_000);
    let bounds: Vec<_> = rows(&fake, "")
        .into_iter()
        .map(|row| (row.0, row.1))
        .collect();
    let (evening, midnight) = (AT - 1_699_916_400_000, 1_700_002_800_000 - AT);
    assert_eq!(
        bounds,
        [(-evening, midnight), (midnight, midnight + 86_400_000)]
    );
    let view = fake.get("/v1/pipeline").ok()["views"][0]["window"].clone();
    assert_eq!(
        (&view["kind"], &view["unit"], &view["zone"]),
        (&json!("calendar"), &json!("day"), &json!("Europe/Berlin"))
    );
    assert!(
        view["zone_rules"].as_str().unwrap().starts_with("20"),
        "{view}"
    );
}

#[test]
fn rejected_events_are_shown_whole() {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let far_ms = now.as_millis() as i64 + 3_600_000;
    let fake = start("size = \"10s\"");
    let lines = find(1, AT, 1, "north") + &find(2, far_ms, 9, "south");
    fake.post(EVENTS, &[], &lines).ok();
    let body = fake.get("/v1/streams/finds/rejected").ok();
    let event = &body["rows"][0];
    assert_eq!(
        (&event["reason"], &event["index"]),
        (&json!("future_time"), &json!(1))
    );
    assert_eq!(
        (&event["log_stream"], &event["lsn"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(event["event"]["points"], 9, "{event}");
    assert_eq!(event["event"]["at"], far_ms, "{event}");
}

#[test]
fn batches_that_were_stored_before_are_shown() {
    let fake = start("size = \"10s\"");
    let named = |first| {
        [
            ("Ringmill-Producer", "till-7"),
            ("Ringmill-Sequence", first),
        ]
    };
    let lines = find(1, AT, 1, "north") + &find(2, AT, 1, "south");
    fake.post(EVENTS, &named("1"), &lines).ok();
    assert_eq!(
        fake.get("/v1/streams/finds/duplicates").ok()["rows"],
        json!([])
    );
    fake.post(EVENTS, &named("1"), &lines).ok();
    fake.post(EVENTS, &named("2"), &lines).ok();
    let body = fake.get("/v1/streams/finds/duplicates").ok();
    let show = |row: &Value| {
        ["first_sequence", "last_sequence", "duplicates"].map(|name| row[name].as_u64().unwrap())
    };
    let rows: Vec<_> = body["rows"].as_array().unwrap().iter().map(show).collect();
    assert_eq!(rows, [[2, 3, 1], [1, 2, 2]], "{body}");
    let producer = &body["rows"][0]["producer_id"];
    assert_eq!(producer.as_str().map(str::len), Some(32));
    assert_eq!(body["rows"][0]["epoch"], 0);
}
