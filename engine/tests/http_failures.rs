//! Failed shards, a full disk, silent cores, clients that dawdle, and the end.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not seen as tests")]

mod http_support;

use std::io::{Read, Write};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http_support::{Fake, HUNT, eventually, find, read_response};
use ringmill_engine::control::{ControlLimits, CoreTimeouts};
use ringmill_engine::http::{BodyLimits, ConnectionLimits, HttpLimits};
use ringmill_engine::latency::Stage;
use serde_json::json;

const EVENTS: &str = "/v1/streams/finds/events";
const AT: i64 = 1_700_000_000_000;
const NAMED: [(&str, &str); 2] = [("Ringmill-Producer", "p"), ("Ringmill-Sequence", "1")];

fn impatient() -> ControlLimits {
    let ms = Duration::from_millis;
    ControlLimits {
        http: HttpLimits {
            connection: ConnectionLimits {
                connections_max: 64,
                request_timeout: ms(1_500),
                idle_timeout: ms(1_500),
                write_timeout: ms(1_500),
            },
            body: BodyLimits {
                body_bytes_max: 100_000,
                line_bytes_max: 500,
                rows_bytes_max: 48 * 1_000,
                piece_timeout: ms(300),
                body_timeout: ms(900),
                ..BodyLimits::default()
            },
        },
        cores: CoreTimeouts {
            publish: ms(400),
            query: ms(400),
        },
        signals: false,
        ..ControlLimits::default()
    }
}

fn lines(count: u64) -> String {
    (0..count).map(|i| find(i, AT, 1, "x")).collect()
}

#[test]
fn a_failed_shard_leaves_the_others_readable_and_the_outcome_unknown() {
    let fake = Fake::start(3);
    fake.post(EVENTS, &NAMED, &lines(300)).ok();
    assert_eq!(fake.get("/healthz").ok()["status"], "ok");
    // A minute later: the windows of the first events are final.
    let later: String = (0..300).map(|i| find(i, AT + 60_000, 1, "x")).collect();
    fake.post(EVENTS, &[], &later).ok();
    let is_final = |row: &serde_json::Value| row["state"] == "final";
    eventually("a final window", || {
        is_final(&fake.get("/v1/views/by_region").ok()["rows"][0])
    });
    let whole = fake.get("/v1/boards/players/top?n=1000").ok();
    assert_eq!(
        (&whole["members"], whole.get("missing_shards")),
        (&json!(300), None)
    );

    fake.shard_failed[1].store(true, Ordering::Relaxed);
    let problem = fake
        .post(EVENTS, &[], &lines(300))
        .problem(503, "outcome-unknown");
    assert_eq!(problem["shard"], 1);
    fake.post(EVENTS, &NAMED, &lines(300))
        .problem(503, "outcome-unknown");
    let problem = fake.get("/healthz").problem(503, "shard-failed");
    assert_eq!(problem["failed_shards"], json!([1]));
    fake.get("/readyz").problem(503, "shard-failed");

    let top = fake.get("/v1/boards/players/top?n=1000").ok();
    assert_eq!(top["missing_shards"], json!([1]));
    let members = top["members"].as_u64().unwrap();
    // The anonymous request stored its part on the shards that are alive: nobody new.
    assert!((100..300).contains(&members), "{members}");
    let view = fake.get("/v1/views/by_region").ok();
    assert_eq!(view["missing_shards"], json!([1]));
    assert!(
        view["rows"]
            .as_array()
            .unwrap()
            .iter()
            .all(|row| row["state"] == "early"),
        "{view}"
    );
    let metrics = fake.get("/metrics").text;
    assert!(metrics.contains("ringmill_shard_failed{core=\"1\"} 1\n"));
    assert!(metrics.contains("ringmill_stream_events_accepted_total{core=\"2\""));
    let (mut found, mut failed) = (0, 0);
    for player in 0..30 {
        let place = fake.get(&format!("/v1/boards/players/rank/{player}"));
        match place.status {
            200 => found += 1,
            _ => failed += u32::from(place.problem(503, "shard-failed")["shard"] == 1),
        }
    }
    assert!(
        found > 10 && failed > 3 && found + failed == 30,
        "{found} found, {failed} failed"
    );
    // What looks like a gap may be on the failed shard.
    let ahead = [NAMED[0], ("Ringmill-Sequence", "301")];
    let ahead_by_two = [NAMED[0], ("Ringmill-Sequence", "302")];
    fake.post(EVENTS, &ahead_by_two, &lines(3))
        .problem(503, "outcome-unknown");
    let _ = ahead;
}

#[test]
fn a_shard_that_fails_under_a_request_answers_it_at_once() {
    let fake = Fake::start(1);
    fake.behaviour.answering.store(0, Ordering::Relaxed);
    std::thread::scope(|scope| {
        let publishing = scope.spawn(|| fake.post(EVENTS, &[], &lines(10)));
        let reading = scope.spawn(|| fake.get("/v1/boards/players/top"));
        std::thread::sleep(Duration::from_millis(100));
        fake.shard_failed[0].store(true, Ordering::Relaxed);
        publishing.join().unwrap().problem(503, "outcome-unknown");
        reading.join().unwrap().problem(503, "shard-failed");
    });
}

#[test]
fn silent_cores_time_out_and_later_answers_harm_nothing() {
    let fake = Fake::with(HUNT, 2, impatient());
    fake.behaviour.answering.store(0, Ordering::Relaxed);
    let problem = fake.get("/v1/boards/players/top");
    assert!(problem.head.contains("retry-after:"), "{problem:?}");
    problem.problem(503, "overloaded");
    fake.post(EVENTS, &[], &lines(10))
        .problem(503, "outcome-unknown");
    fake.post(EVENTS, &NAMED, &lines(10))
        .problem(503, "overloaded");
    // More than the lanes hold: what was never handed over is known not to be stored.
    let waiting: Vec<_> = std::thread::scope(|scope| {
        let post = || scope.spawn(|| fake.post(EVENTS, &[], &lines(900)).status);
        let posts: Vec<_> = (0..40).map(|_| post()).collect();
        posts.into_iter().map(|post| post.join().unwrap()).collect()
    });
    assert!(waiting.iter().all(|status| *status == 503), "{waiting:?}");
    assert_eq!(fake.get("/healthz").status, 200);

    fake.behaviour.answering.store(2, Ordering::Relaxed);
    eventually("the cores answer", || {
        fake.get("/v1/streams/finds").status == 200
    });
    let before = fake.get("/v1/streams/finds").ok()["accepted"]
        .as_u64()
        .unwrap();
    assert_eq!(fake.post(EVENTS, &NAMED, &lines(500)).ok()["accepted"], 500);
    assert_eq!(fake.get("/v1/streams/finds").ok()["accepted"], before + 500);
}

#[test]
fn a_full_disk_names_what_is_free_and_what_is_needed() {
    let fake = Fake::start(1);
    fake.disk_full.store(true, Ordering::Relaxed);
    let problem = fake.post(EVENTS, &[], &lines(1)).problem(507, "disk-full");
    assert_eq!(problem["needed_bytes"], 64 << 20);
    assert!(problem["free_bytes"].as_u64().is_some(), "{problem}");
    fake.get("/readyz").problem(507, "disk-full");
    assert_eq!(fake.get("/healthz").status, 200);
    assert_eq!(fake.get("/v1/boards/players/top").status, 200);
    fake.disk_full.store(false, Ordering::Relaxed);
    fake.post(EVENTS, &[], &lines(1)).ok();
    assert_eq!(fake.get("/readyz").status, 200);
}

#[test]
fn bodies_lines_and_events_beyond_the_limits_are_refused() {
    let fake = Fake::with(HUNT, 1, impatient());
    let announced = fake
        .post(EVENTS, &[], &"x".repeat(100_001))
        .problem(413, "too-large");
    assert_eq!(announced["limit_bytes"], 100_000);
    let body = find(1, AT, 1, "x") + &format!("{{\"player\":1,\"pad\":\"{}\"}}\n", "x".repeat(500));
    let line = fake.post(EVENTS, &[], &body).problem(413, "too-large");
    assert_eq!(
        (&line["line"], &line["limit_bytes"]),
        (&json!(2), &json!(500))
    );
    let events = fake
        .post(EVENTS, &[], &lines(1_300))
        .problem(413, "too-large");
    assert_eq!(events["limit_events"], 1_000);
    fake.post(EVENTS, &[("content-encoding", "gzip")], "")
        .problem(415, "unsupported-encoding");
    fake.post(EVENTS, &[("Ringmill-Producer", "p")], "")
        .problem(400, "bad-header");
    assert_eq!(fake.get("/v1/streams/finds").ok()["accepted"], 0);
    assert_eq!(
        fake.post(EVENTS, &[], &lines(1_000)).ok()["accepted"],
        1_000
    );
}

#[test]
fn a_chunked_body_is_cut_at_the_limit_and_otherwise_read_whole() {
    let fake = Fake::with(HUNT, 1, impatient());
    let head = format!(
        "POST {EVENTS} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\
        connection: close\r\n\r\n"
    );
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let mut stream = fake.connect();
    stream.write_all(head.as_bytes()).unwrap();
    // Chunks that end within a line.
    let body = lines(50);
    for piece in body.as_bytes().chunks(37) {
        stream
            .write_all(chunk(std::str::from_utf8(piece).unwrap()).as_bytes())
            .unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(read_response(&mut stream).ok()["accepted"], 50);

    let mut stream = fake.connect();
    stream.write_all(head.as_bytes()).unwrap();
    for _ in 0..30 {
        if stream
            .write_all(chunk(&" ".repeat(10_000)).as_bytes())
            .is_err()
        {
            break;
        }
    }
    read_response(&mut stream).problem(413, "too-large");
}

#[test]
fn half_requests_and_slow_senders_are_cut_off() {
    let fake = Fake::with(HUNT, 1, impatient());
    let closed_within = |bytes: &[u8], least: u64, most: u64| {
        let mut stream = fake.connect();
        let begun = Instant::now();
        stream.write_all(bytes).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        let elapsed = begun.elapsed();
        assert!(elapsed >= Duration::from_millis(least), "{elapsed:?}");
        assert!(elapsed < Duration::from_millis(most), "{elapsed:?}");
        String::from_utf8(rest).unwrap()
    };
    // Nothing, half a request line, half a head: closed, after the time that they have.
    for half in [
        &b""[..],
        b"GET /v1/st",
        b"GET /healthz HTTP/1.1\r\nhost: x\r\n",
    ] {
        assert_eq!(closed_within(half, 1_000, 15_000), "");
    }
    // Half a body: an answer that says so.
    let head = format!("POST {EVENTS} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n");
    let answer = closed_within((head.clone() + "{\"player\":").as_bytes(), 250, 15_000);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(
        answer.contains("urn:ringmill:problem:slow-sender"),
        "{answer}"
    );
    // A body that never pauses for long and still never ends.
    let mut stream = fake.connect();
    stream.write_all(head.as_bytes()).unwrap();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) && stream.write_all(b" ").is_ok() {
        std::thread::sleep(Duration::from_millis(60));
        stream.set_nonblocking(true).unwrap();
        let answered = stream.peek(&mut [0; 1]).is_ok();
        stream.set_nonblocking(false).unwrap();
        if answered {
            break;
        }
    }
    read_response(&mut stream).problem(408, "slow-sender");
    // A head that trickles.
    let mut stream = fake.connect();
    stream.write_all(b"GET /healthz HTTP/1.1\r\n").unwrap();
    let begun = Instant::now();
    while stream.write_all(b"a: b\r\n").is_ok() {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "the head may trickle for ever"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    // A client that goes away in the middle of a body.
    let mut stream = fake.connect();
    stream
        .write_all((head + &find(1, AT, 1, "x")).as_bytes())
        .unwrap();
    drop(stream);
    assert_eq!(fake.get("/v1/streams/finds").ok()["accepted"], 0);
}

#[test]
fn garbage_is_answered_and_the_connection_closed() {
    let fake = Fake::start(1);
    let mut stream = fake.connect();
    stream
        .write_all(b"RMW1\x01\x00\x00\x00 this is the other port's protocol\r\n\r\n")
        .unwrap();
    assert_eq!(read_response(&mut stream).status, 400);
    let reply = fake.request("PUT", EVENTS, &[], b"");
    assert!(reply.head.contains("allow: post"), "{reply:?}");
    reply.problem(405, "wrong-method");
    assert!(fake.post("/healthz", &[], "").problem(405, "wrong-method")["detail"].is_string());
    let foreign = [("Origin", "https://example.org")];
    fake.post(EVENTS, &foreign, &lines(1))
        .problem(403, "foreign-origin");
    assert_eq!(fake.request("GET", "/healthz", &foreign, b"").status, 200);
    assert_eq!(fake.get("/v1/streams/finds").ok()["accepted"], 0);
}

#[test]
fn a_connection_serves_many_requests() {
    let fake = Fake::with(HUNT, 1, impatient());
    let mut stream = fake.connect();
    let begun = Instant::now();
    // Longer in all than one request may take: the time is each request's own.
    while begun.elapsed() < Duration::from_millis(2_500) {
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            .unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"}") {
            let mut piece = [0; 1_024];
            let count = stream.read(&mut piece).unwrap();
            assert_ne!(count, 0, "closed after {:?}", begun.elapsed());
            seen.extend_from_slice(&piece[..count]);
        }
        assert!(seen.starts_with(b"HTTP/1.1 200"));
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn shutdown_finishes_what_is_under_way_and_dumps_at_the_end() {
    let mut fake = Fake::start(1);
    fake.metrics[0].stages[Stage::Apply as usize].record(1_000);
    // A request whose body is still on its way when the order comes.
    let body = lines(20);
    let (first, rest) = body.split_at(300);
    let mut stream = fake.begin_post(EVENTS, body.len());
    stream.write_all(first.as_bytes()).unwrap();
    // The cores stop by themselves later: the control plane asks them once it has drained.
    fake.behaviour.ignore_stop.store(true, Ordering::Relaxed);
    fake.shutdown.request();
    let refused = || std::net::TcpStream::connect(fake.address).is_err();
    eventually("the listener closes", refused);
    stream.write_all(rest.as_bytes()).unwrap();
    assert_eq!(read_response(&mut stream).ok()["accepted"], 20);
    fake.behaviour.ignore_stop.store(false, Ordering::Relaxed);
    fake.join().unwrap();
    let dump = std::fs::read_dir(fake.dumps.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let summary = std::fs::read_to_string(dump.join("dump.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["finished"], true, "{summary}");
}

#[test]
fn dumps_are_written_on_demand_and_at_intervals() {
    let mut limits = impatient();
    limits.dump_interval = Duration::from_millis(50);
    let fake = Fake::with(HUNT, 1, limits);
    let dump = fake.post("/v1/dump", &[], "").ok();
    let dir = std::path::PathBuf::from(dump["dump"].as_str().unwrap());
    assert!(dir.starts_with(fake.dumps.path()), "{dir:?}");
    assert!(dir.join("core0.hlog").exists() && dir.join("all.hlog").exists());
    let size = || std::fs::metadata(dir.join("all.hlog")).unwrap().len();
    let before = size();
    eventually("another interval", || size() > before);
}
