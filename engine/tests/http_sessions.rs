//! Sessions and last events over HTTP: rows and their states, pages, late events, the pipeline.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not seen as tests")]

mod http_support;

use http_support::{Fake, HUNT, eventually, find};
use ringmill_engine::control::ControlLimits;
use serde_json::{Value, json};

const EVENTS: &str = "/v1/streams/finds/events";
const AT: i64 = 1_700_000_000_000;

fn start(window: &str) -> Fake {
    let plain = "window = { kind = \"tumbling\", size = \"10s\", late = \"0s\", keep = \"1h\" }";
    assert!(HUNT.contains(plain) && HUNT.contains("group = [\"region\"]"));
    let limits = ControlLimits {
        signals: false,
        ..ControlLimits::default()
    };
    let text = HUNT.replace(plain, &format!("window = {{ {window} }}"));
    let text = text.replace("group = [\"region\"]", "group = [\"region\", \"player\"]");
    Fake::with(&text, 1, limits)
}

/// Sends finds of one region by player and time after `AT`, and waits until the watermark has
/// followed them.
fn send(fake: &Fake, finds: &[(u64, i64)]) {
    let before = fake.get("/v1/views/by_region").ok()["watermark_ms"].clone();
    let lines: Vec<_> = finds
        .iter()
        .map(|&(player, at)| find(player, AT + at, 5, "north"))
        .collect();
    fake.post(EVENTS, &[], &lines.concat()).ok();
    let latest = finds.iter().map(|(_, at)| AT + at - 5_000).max().unwrap();
    let expected = before.as_i64().unwrap_or(i64::MIN).max(latest);
    eventually("the watermark", || {
        fake.get("/v1/views/by_region").ok()["watermark_ms"] == expected
    });
}

/// Player, start and end after `AT`, number of finds, state and revision.
fn rows(body: &Value) -> Vec<(u64, i64, i64, u64, String, u64)> {
    let show = |row: &Value| {
        let number = |name: &str| row[name].as_i64().unwrap();
        (
            row["player"].as_u64().unwrap(),
            number("start_ms") - AT,
            number("end_ms") - AT,
            row["finds"].as_u64().unwrap(),
            row["state"].as_str().unwrap().to_owned(),
            row["revision"].as_u64().unwrap(),
        )
    };
    body["rows"].as_array().unwrap().iter().map(show).collect()
}

fn get(fake: &Fake, query: &str) -> Value {
    fake.get(&format!("/v1/views/by_region{query}")).ok()
}

#[test]
fn sessions_are_early_then_final_then_amended() {
    let fake = start("kind = \"session\", gap = \"10s\", after = \"amend\"");
    send(&fake, &[(1, 0), (2, 2_000), (1, 9_999)]);
    let early = |player, from, to, finds| (player, from, to, finds, "early".to_owned(), 0);
    assert_eq!(
        rows(&get(&fake, "")),
        [early(1, 0, 19_999, 2), early(2, 2_000, 12_000, 1)]
    );
    send(&fake, &[(1, 25_000)]);
    assert_eq!(
        rows(&get(&fake, "?state=early")),
        [early(1, 25_000, 35_000, 1)]
    );
    let closed = rows(&get(&fake, "?state=final&player=1"));
    assert_eq!(closed, [(1, 0, 19_999, 2, "final".to_owned(), 0)]);
    // A bridge: neither of the two is there any more.
    send(&fake, &[(1, 16_000)]);
    let bridged = (1, 0, 35_000, 4, "early".to_owned(), 1);
    assert_eq!(rows(&get(&fake, "?player=1")), [bridged]);
    let shown = fake.get("/metrics").text;
    for (name, count) in [
        ("amended_total", 1),
        ("windows_open", 1),
        ("windows_closed", 1),
    ] {
        let line = format!("ringmill_view_{name}{{core=\"0\",view=\"by_region\"}} {count}\n");
        assert!(shown.contains(&line), "{line}");
    }
    let window = fake.get("/v1/pipeline").ok()["views"][0]["window"].clone();
    assert_eq!(
        (&window["kind"], &window["gap_ms"]),
        (&json!("session"), &json!(10_000))
    );
}

#[test]
fn a_late_event_shows_the_session_that_it_belongs_to() {
    let fake = start("kind = \"session\", gap = \"10s\"");
    send(&fake, &[(1, 0), (1, 5_000)]);
    send(&fake, &[(2, 30_000)]);
    fake.post(EVENTS, &[], &find(1, AT + 14_000, 5, "north"))
        .ok();
    let late = fake.get("/v1/views/by_region/late").ok();
    let event = &late["rows"][0];
    // The core of these tests moves the watermark on its own.
    assert_eq!(event["reason"], "after_idle");
    assert_eq!(
        event["first"],
        json!({ "start_ms": AT, "end_ms": AT + 15_000 })
    );
    assert_eq!(event["windows"], 1);
    assert_eq!(get(&fake, "")["rows"].as_array().unwrap().len(), 2);
}

#[test]
fn pages_go_through_sessions_that_begin_together() {
    let fake = start("kind = \"session\", gap = \"10s\"");
    let finds: Vec<_> = (0..7)
        .flat_map(|player| [(player, 0), (player, 20_000)])
        .collect();
    send(&fake, &finds);
    let expected = rows(&get(&fake, ""));
    assert_eq!(expected.len(), 14);
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let body = get(&fake, &format!("?limit=3{after}"));
        seen.extend(rows(&body));
        let Some(next) = body.get("next") else { break };
        after = format!("&after={}", next.as_str().unwrap());
    }
    assert_eq!(seen, expected);
    let from = rows(&get(&fake, &format!("?from={}&to={}", AT + 1, AT + 20_001)));
    assert_eq!(from, expected[7..]);
}

#[test]
fn the_last_events_of_a_group_are_one_row() {
    let fake = start("kind = \"last\", count = 3");
    let finds: Vec<_> = (0..10).map(|i| (i % 2, 1_000 * i as i64)).collect();
    send(&fake, &finds);
    let of = |player, from, to| (player, from, to, 3, "early".to_owned(), 0);
    assert_eq!(
        rows(&get(&fake, "")),
        [of(0, 4_000, 8_001), of(1, 5_000, 9_001)]
    );
    assert_eq!(rows(&get(&fake, "?player=1")), [of(1, 5_000, 9_001)]);
    // Never closed, whatever the watermark is; an older event changes nothing.
    send(&fake, &[(7, 600_000)]);
    send(&fake, &[(0, 3_000)]);
    assert_eq!(rows(&get(&fake, "?player=0")), [of(0, 4_000, 8_001)]);
    let window = fake.get("/v1/pipeline").ok()["views"][0]["window"].clone();
    assert_eq!(
        (&window["kind"], &window["count"]),
        (&json!("last"), &json!(3))
    );
}
