//! Replaying a file: every good line once and in order, bad ones by number.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::Write;
use std::sync::{Arc, Mutex};

use ringmill_loadgen::echo::{Echo, EchoOptions, Sink, treasure_hunt};
use ringmill_shard::value::Value;
use support::{loadgen, show};

fn line(player: u64) -> String {
    format!(
        "{{\"player\":{player},\"at\":{},\"hunt\":1,\"points\":{},\"device\":3,\
         \"region\":\"north\",\"kind\":\"gem\",\"ignored\":true}}\n",
        1_700_000_000_000 + player,
        player % 100
    )
}

fn sink() -> (Arc<Mutex<Vec<u64>>>, Sink) {
    let players: Arc<Mutex<Vec<u64>>> = Arc::default();
    let schema = treasure_hunt();
    let field = schema.field("player").unwrap();
    let into = players.clone();
    let sink = move |_: &str, _: u64, rows: &[u8]| {
        for row in rows.chunks_exact(schema.row_len()) {
            match schema.value(row, field) {
                Value::U64(player) => into.lock().unwrap().push(player),
                other => panic!("{other:?}"),
            }
        }
    };
    (players, Arc::new(Mutex::new(sink)))
}

#[test]
fn a_file_arrives_once_in_order_over_broken_connections_and_repeated_replays() {
    let (players, sink) = sink();
    let options = EchoOptions {
        break_after_frames: Some(3),
        ..EchoOptions::default()
    };
    let echo = Echo::start_with_sink("127.0.0.1:0", options, Some(sink)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("finds.ndjson.gz");
    let file = std::fs::File::create(&path).unwrap();
    let mut file = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    for player in 0..500 {
        file.write_all(line(player).as_bytes()).unwrap();
    }
    file.finish().unwrap();
    let addr = echo.addr().to_string();
    let json = dir.path().join("replay.json");
    let args = [
        "replay",
        path.to_str().unwrap(),
        "--stream",
        "finds",
        "-a",
        &addr,
        "--batch",
        "20",
        "--inflight",
        "4",
        "--producer",
        "file",
        "--json",
        json.to_str().unwrap(),
    ];
    for already in [0, 500] {
        let output = loadgen(&args);
        assert_eq!(output.status.code(), Some(0), "{}", show(&output));
        let done: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
        assert_eq!(done["events"], 500);
        assert_eq!(done["already_stored"], already);
        assert_eq!(done["acked_events"], 500 - already);
        assert_eq!(done["reconnects"].as_u64().unwrap() > 0, already == 0);
    }
    assert_eq!(*players.lock().unwrap(), (0..500).collect::<Vec<u64>>());
}

#[test]
fn bad_lines_are_named_and_passed_over() {
    let (players, sink) = sink();
    let echo = Echo::start_with_sink("127.0.0.1:0", EchoOptions::default(), Some(sink)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("finds.ndjson");
    let bad = line(2).replace("\"north\"", "\"a region that is far too long\"");
    std::fs::write(&path, format!("{}\nnot json\n{bad}{}", line(1), line(3))).unwrap();
    let addr = echo.addr().to_string();
    let args = [
        "replay",
        path.to_str().unwrap(),
        "--stream",
        "finds",
        "-a",
        &addr,
        "--speed",
        "1000",
    ];
    let output = loadgen(&args);
    assert_eq!(output.status.code(), Some(1), "{}", show(&output));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("line 3:") && stderr.contains("line 4:"),
        "{stderr}"
    );
    assert!(stderr.contains("region"), "{stderr}");
    assert_eq!(*players.lock().unwrap(), [1, 3]);
    let missing = loadgen(&["replay", "/nonexistent", "--stream", "finds", "-a", &addr]);
    assert_eq!(missing.status.code(), Some(1));
}
