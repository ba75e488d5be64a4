//! Publishing over HTTP: what is stored, what is refused, and that a retry stores nothing twice.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not seen as tests")]

mod http_support;

use std::sync::atomic::Ordering;

use http_support::{Fake, Random, eventually, find};
use serde_json::json;

const EVENTS: &str = "/v1/streams/finds/events";
const AT: i64 = 1_700_000_000_000;

fn named<'a>(producer: &'a str, sequence: &'a str) -> [(&'a str, &'a str); 2] {
    [
        ("Ringmill-Producer", producer),
        ("Ringmill-Sequence", sequence),
    ]
}

#[test]
fn events_are_stored_and_can_be_read() {
    let fake = Fake::start(1);
    let body =
        find(1, AT, 50, "north") + &find(2, AT + 1, 70, "south") + &find(1, AT + 2, 30, "east");
    let stored = fake.post(EVENTS, &[], &body).ok();
    let expected = json!({
        "stream": "finds", "accepted": 3, "duplicates": 0, "rejected": 0, "first_rejected": null,
        "level": "commit",
    });
    assert_eq!(stored, expected);
    let top = fake.get("/v1/boards/players/top?n=5").ok();
    assert_eq!(
        top["rows"][0],
        json!({ "rank": 1, "member": 1, "score": 80 })
    );
    assert_eq!(
        top["rows"][1],
        json!({ "rank": 2, "member": 2, "score": 70 })
    );
    assert_eq!((&top["members"], &top["offset"]), (&json!(2), &json!(0)));
    let metrics = fake.get("/metrics");
    let line = "ringmill_stream_events_accepted_total{core=\"0\",stream=\"finds\"} 3\n";
    assert!(metrics.text.contains(line), "{}", metrics.text);
}

#[test]
fn anonymous_requests_at_the_same_time_are_all_stored() {
    for shards in [1, 3] {
        let fake = Fake::start(shards);
        std::thread::scope(|scope| {
            for client in 0..8u64 {
                let fake = &fake;
                scope.spawn(move || {
                    for request in 0..10u64 {
                        let lines: String = (0..40)
                            .map(|line| find(client * 1_000 + request * 40 + line, AT, 1, "x"))
                            .collect();
                        let stored = fake.post(EVENTS, &[], &lines).ok();
                        assert_eq!(stored["accepted"], 40, "{stored}");
                    }
                });
            }
        });
        let stream = fake.get("/v1/streams/finds").ok();
        assert_eq!(
            (&stream["accepted"], &stream["duplicates"]),
            (&json!(3_200), &json!(0))
        );
        assert_eq!(fake.get("/v1/boards/players/top").ok()["members"], 3_200);
    }
}

#[test]
fn a_retry_stores_nothing_twice_and_a_longer_one_stores_the_rest() {
    for shards in [1, 3] {
        let fake = Fake::start(shards);
        let lines: Vec<String> = (0..500).map(|i| find(i % 50, AT, 1, "x")).collect();
        let first = fake
            .post(EVENTS, &named("till-7", "1"), &lines[..300].concat())
            .ok();
        assert_eq!(first["accepted"], 300);
        assert_eq!(
            (&first["producer"], &first["last_sequence"]),
            (&json!("till-7"), &json!(300))
        );
        assert_eq!(first["durable_through"], 300);
        let again = fake
            .post(EVENTS, &named("till-7", "1"), &lines[..300].concat())
            .ok();
        assert_eq!(
            (&again["accepted"], &again["duplicates"]),
            (&json!(0), &json!(300))
        );
        let longer = fake
            .post(EVENTS, &named("till-7", "201"), &lines[200..].concat())
            .ok();
        assert_eq!(
            (&longer["accepted"], &longer["duplicates"]),
            (&json!(200), &json!(100))
        );
        assert_eq!(longer["durable_through"], 500);
        let producer = fake.get("/v1/producers/till-7").ok();
        for (member, value) in [
            ("last_sequence", 500),
            ("highest_seen", 500),
            ("durable_through", 500),
            ("accepted", 500),
            ("duplicates", 400),
            ("rejected", 0),
        ] {
            assert_eq!(
                producer[member], value,
                "{shards} shards, {member}: {producer}"
            );
        }
        let top = fake.get("/v1/boards/players/top?n=50").ok();
        assert!(
            top["rows"]
                .as_array()
                .unwrap()
                .iter()
                .all(|row| row["score"] == 10),
            "{top}"
        );
    }
}

#[test]
fn a_gap_is_refused_and_names_what_is_expected() {
    let fake = Fake::start(3);
    let gap = fake
        .post(EVENTS, &named("p", "2"), &find(1, AT, 1, "x"))
        .problem(409, "sequence-gap");
    assert_eq!(gap["expected"], 1);
    let lines: String = (0..20).map(|i| find(i, AT, 1, "x")).collect();
    fake.post(EVENTS, &named("p", "1"), &lines).ok();
    let gap = fake
        .post(EVENTS, &named("p", "22"), &lines)
        .problem(409, "sequence-gap");
    assert_eq!(
        (&gap["expected"], &gap["sequence"]),
        (&json!(21), &json!(22))
    );
    assert_eq!(fake.get("/v1/streams/finds").ok()["accepted"], 20);
    fake.post(EVENTS, &named("p", "21"), &lines).ok();
}

#[test]
fn a_newer_epoch_restarts_the_sequence_and_fences_the_older() {
    let fake = Fake::start(3);
    let with_epoch = |sequence, epoch: &'static str| {
        let [producer, sequence] = named("p", sequence);
        [producer, sequence, ("Ringmill-Epoch", epoch)]
    };
    let lines: String = (0..30).map(|i| find(i, AT, 1, "x")).collect();
    fake.post(EVENTS, &named("p", "1"), &lines).ok();
    let gap = fake
        .post(EVENTS, &with_epoch("31", "2"), &lines)
        .problem(409, "sequence-gap");
    assert_eq!(gap["expected"], 1);
    let restarted = fake.post(EVENTS, &with_epoch("1", "2"), &lines).ok();
    assert_eq!(
        (&restarted["accepted"], &restarted["epoch"]),
        (&json!(30), &json!(2))
    );
    let fenced = fake
        .post(EVENTS, &with_epoch("31", "1"), &lines)
        .problem(409, "fenced");
    assert_eq!(fenced["epoch"], 2);
    // Without an epoch the one in force holds.
    assert_eq!(
        fake.post(EVENTS, &named("p", "31"), &lines).ok()["epoch"],
        2
    );
    assert_eq!(fake.get("/v1/producers/p").ok()["last_sequence"], 60);
}

#[test]
fn a_batch_larger_than_a_lane_goes_out_in_chunks_and_order() {
    for shards in [1, 3] {
        let fake = Fake::start(shards);
        let count = 5_000;
        let lines: String = (0..count).map(|i| find(i, AT, i as i64, "x")).collect();
        let stored = fake.post(EVENTS, &named("bulk", "1"), &lines).ok();
        assert_eq!(
            (&stored["accepted"], &stored["duplicates"]),
            (&json!(count), &json!(0))
        );
        assert!(
            fake.behaviour.sub_batches.load(Ordering::Relaxed) > 50,
            "lanes are too wide"
        );
        let again = fake.post(EVENTS, &named("bulk", "1"), &lines).ok();
        assert_eq!(
            (&again["accepted"], &again["duplicates"]),
            (&json!(0), &json!(count))
        );
        let stored = fake.post(EVENTS, &[], &lines).ok();
        assert_eq!(
            (&stored["accepted"], &stored["duplicates"]),
            (&json!(count), &json!(0))
        );
        let top = fake.get("/v1/boards/players/top?n=1").ok();
        assert_eq!(top["rows"][0]["score"], 2 * (count - 1));
    }
}

#[test]
fn requests_of_one_producer_at_the_same_time_take_turns() {
    let fake = Fake::start(3);
    let lines: Vec<String> = (0..400).map(|i| find(i, AT, 1, "x")).collect();
    // Every thread sends the same 400 events, in pieces that do not line up.
    std::thread::scope(|scope| {
        for piece in [40, 50, 80, 100] {
            let (fake, lines) = (&fake, &lines);
            scope.spawn(move || {
                for (nth, chunk) in lines.chunks(piece).enumerate() {
                    let sequence = (nth * piece + 1).to_string();
                    fake.post(EVENTS, &named("p", &sequence), &chunk.concat())
                        .ok();
                }
            });
        }
    });
    let stream = fake.get("/v1/streams/finds").ok();
    assert_eq!(
        (&stream["accepted"], &stream["duplicates"]),
        (&json!(400), &json!(1_200))
    );
}

#[test]
fn malformed_lines_refuse_the_whole_request_with_line_and_field() {
    let fake = Fake::start(1);
    let good = find(1, AT, 1, "x");
    let cases = [
        (
            r#"{"player":1,"at":5,"points":"many","region":"x"}"#,
            json!("points"),
            "wrong_type",
        ),
        (
            r#"{"player":1,"at":5,"region":"x"}"#,
            json!("points"),
            "missing",
        ),
        (
            r#"{"player":-1,"at":5,"points":1,"region":"x"}"#,
            json!("player"),
            "out_of_range",
        ),
        (
            r#"{"player":1,"at":5,"points":1,"region":"123456789"}"#,
            json!("region"),
            "text_too_long",
        ),
        (r#"{"player":1,"#, json!(null), "wrong_type"),
        ("[1,2]", json!(null), "wrong_type"),
    ];
    for (line, field, reason) in cases {
        let body = format!("{good}\n{good}{line}\n{good}");
        let problem = fake
            .post(EVENTS, &[], &body)
            .problem(400, "malformed-event");
        // The blank line counts: it is a line of the file that a person looks at.
        assert_eq!(problem["line"], 4, "{problem}");
        assert_eq!(
            (&problem["field"], &problem["reason"]),
            (&field, &json!(reason)),
            "{line}"
        );
    }
    assert_eq!(fake.get("/v1/streams/finds").ok()["accepted"], 0);
    assert_eq!(fake.behaviour.sub_batches.load(Ordering::Relaxed), 0);
}

#[test]
fn rejected_events_are_counted_and_the_first_is_named() {
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_millis() as i64;
    for (shards, headers) in [(1, &[][..]), (3, &[]), (3, &named("p", "1"))] {
        let fake = Fake::start(shards);
        let mut lines: Vec<String> = (0..2_000).map(|i| find(i, now, 1, "x")).collect();
        for line in [1_234, 1_300, 1_999] {
            lines[line] = find(line as u64, now + 3_600_000, 1, "x");
        }
        let stored = fake.post(EVENTS, headers, &lines.concat()).ok();
        assert_eq!(
            (&stored["accepted"], &stored["rejected"]),
            (&json!(1_997), &json!(3))
        );
        let first = json!({ "line": 1_235, "field": "at", "reason": "future_time" });
        assert_eq!(
            stored["first_rejected"], first,
            "{shards} shards, {headers:?}"
        );
        let stream = fake.get("/v1/streams/finds").ok();
        assert_eq!(stream["rejected_by_reason"], json!({ "future_time": 3 }));
        let rejected = fake.get("/v1/streams/finds/rejected?n=2").ok();
        assert_eq!(rejected["rows"].as_array().unwrap().len(), 2, "{rejected}");
        assert_eq!(rejected["rows"][0]["reason"], "future_time");
        assert_eq!(rejected["rows"][0]["field"], "at");
    }
}

#[test]
fn an_empty_body_stores_nothing_and_is_no_error() {
    let fake = Fake::start(3);
    assert_eq!(fake.post(EVENTS, &[], "").ok()["accepted"], 0);
    assert_eq!(
        fake.post(EVENTS, &named("p", "1"), "\n\n").ok()["last_sequence"],
        0
    );
    assert_eq!(
        fake.post(EVENTS, &[], find(1, AT, 1, "x").trim_end()).ok()["accepted"],
        1
    );
}

#[test]
fn refusals_of_a_shard_reach_the_client_as_what_they_are() {
    let cases = [
        (1, 503, "outcome-unknown"),
        (2, 507, "disk-full"),
        (3, 409, "fenced"),
        (4, 503, "shutting-down"),
    ];
    for (refusal, status, name) in cases {
        let fake = Fake::start(3);
        fake.behaviour.refusing.store(1, Ordering::Relaxed);
        fake.behaviour.refusal.store(refusal, Ordering::Relaxed);
        let lines: String = (0..3_000).map(|i| find(i, AT, 1, "x")).collect();
        fake.post(EVENTS, &named("p", "1"), &lines)
            .problem(status, name);
        // The same again finds the stored part stored and stores the rest: each event once.
        fake.behaviour.refusal.store(0, Ordering::Relaxed);
        let retry = fake.post(EVENTS, &named("p", "1"), &lines).ok();
        let stored = retry["accepted"].as_u64().unwrap();
        assert!(stored > 500 && stored < 2_000, "{name}: {retry}");
        assert_eq!(
            fake.get("/v1/streams/finds").ok()["accepted"],
            3_000,
            "{name}"
        );
        let top = fake.get("/v1/boards/players/top?n=3000").ok();
        assert!(
            top["rows"]
                .as_array()
                .unwrap()
                .iter()
                .all(|row| row["score"] == 1),
            "{name}"
        );
    }
}

#[test]
fn nothing_is_sent_behind_a_refused_chunk() {
    // Shard 0 refuses a chunk in the middle and then takes events again. Were later chunks on their
    // way already, the retry would take the refused rows for duplicates.
    let fake = Fake::start(1);
    let lines: String = (0..4_000).map(|i| find(i, AT, 1, "x")).collect();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| fake.post(EVENTS, &named("p", "1"), &lines));
        let seen = || fake.behaviour.sub_batches.load(Ordering::Relaxed);
        eventually("some chunks", || seen() > 10);
        fake.behaviour.refusal.store(2, Ordering::Relaxed);
        let before = seen();
        eventually("a refused chunk", || seen() > before);
        fake.behaviour.refusal.store(0, Ordering::Relaxed);
        first.join().unwrap().problem(507, "disk-full");
    });
    fake.post(EVENTS, &named("p", "1"), &lines).ok();
    assert_eq!(fake.get("/v1/streams/finds").ok()["accepted"], 4_000);
    assert_eq!(fake.get("/v1/boards/players/top").ok()["members"], 4_000);
}

#[test]
fn random_batches_with_retries_add_up() {
    let seed = 11;
    let mut random = Random(seed);
    let fake = Fake::start(3);
    let mut scores = std::collections::BTreeMap::new();
    let mut sent: Vec<String> = Vec::new();
    for _ in 0..40 {
        let from = sent.len() - (random.below(30) as usize).min(sent.len());
        for _ in 0..random.below(60) {
            let (player, points) = (random.below(40), random.below(1_000) as i64 - 300);
            *scores.entry(player).or_insert(0) += points;
            sent.push(find(player, AT, points, "x"));
        }
        let sequence = (from + 1).to_string();
        let stored = fake
            .post(EVENTS, &named("p", &sequence), &sent[from..].concat())
            .ok();
        let total = stored["accepted"].as_u64().unwrap() + stored["duplicates"].as_u64().unwrap();
        assert_eq!(total, (sent.len() - from) as u64, "seed {seed}: {stored}");
    }
    for (player, score) in scores {
        let place = fake.get(&format!("/v1/boards/players/rank/{player}")).ok();
        assert_eq!(place["score"], score, "seed {seed}, player {player}");
    }
}
