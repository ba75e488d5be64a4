//! One store under 1, 3 and 2 shards: the same answers, and a retry of an old event stays a retry.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::client::Client;
use common::http::Http;
use common::hunt::{self, Expected};
use common::server::Server;

const PRODUCERS: u64 = 3;
const BATCH: u64 = 400;

fn name(producer: u64) -> String {
    format!("reshard-{producer}")
}

fn publish(server: &Server, producer: u64, first: u64, count: u64) {
    let mut client = Client::hello(server.listen, &name(producer), 0);
    let end = first + count;
    for first in (first..end).step_by(BATCH as usize) {
        let rows = hunt::rows(client.schema(), producer, first, BATCH.min(end - first));
        assert_eq!(client.publish(first, &rows).rejected, 0);
    }
}

#[test]
fn the_number_of_shards_changes_no_answer() {
    let dir = common::scratch();
    let pipeline = hunt::pipeline_file(dir.path());
    let data = dir.path().join("data");
    let mut expected = Expected::default();
    let mut through = 0;
    for shards in ["1", "3", "2", "2", "1"] {
        let context = format!("{shards} shards");
        let server = Server::start(&pipeline, &data, &["--shards", shards]);
        assert_eq!(server.ready_word("shards"), shards);
        assert_eq!(
            server.ready_word("recovered"),
            expected.events.to_string(),
            "{context}"
        );
        let http = Http::new(server.http);
        expected.check(&http, &format!("{context}, recovered"));
        // Old events again, some batches across the border of old and new.
        for producer in 0..PRODUCERS {
            publish(&server, producer, 1, through);
            check_producer(&http, producer, through, &context);
        }
        expected.check(&http, &format!("{context}, after retries"));
        for producer in 0..PRODUCERS {
            straddle(&server, producer, through);
            publish(&server, producer, through + BATCH / 2 + 1, 2 * BATCH);
        }
        through += BATCH / 2 + 2 * BATCH;
        for producer in 0..PRODUCERS {
            expected.extend(producer, through);
            check_producer(&http, producer, through, &context);
        }
        expected.check(&http, &format!("{context}, after new events"));
        server.stop();
    }
}

/// A batch whose first half is stored already, if anything is.
fn straddle(server: &Server, producer: u64, through: u64) {
    let mut client = Client::hello(server.listen, &name(producer), 0);
    assert_eq!(client.hello.highest_seen, through);
    let first = through.saturating_sub(BATCH / 2) + 1;
    let count = through + BATCH / 2 + 1 - first;
    let rows = hunt::rows(client.schema(), producer, first, count);
    client.publish(first, &rows);
}

#[track_caller]
fn check_producer(http: &Http, producer: u64, through: u64, context: &str) {
    if through == 0 {
        return;
    }
    let body = http.get(&format!("/v1/producers/{}", name(producer))).ok();
    assert_eq!(body["accepted"], through, "{context}: {body}");
    assert_eq!(body["last_sequence"], through, "{context}: {body}");
    assert_eq!(body["rejected"], 0, "{context}: {body}");
}

/// A store grown from one shard to several in the middle of a producer's events, over HTTP too.
#[test]
fn retries_over_http_are_duplicates_under_another_number_of_shards() {
    let dir = common::scratch();
    let pipeline = hunt::pipeline_file(dir.path());
    let data = dir.path().join("data");
    let body: String = (1..=100)
        .map(|sequence| {
            let find = hunt::find(9, sequence);
            format!(
                "{{\"player\":{},\"at\":{},\"hunt\":1,\"points\":{},\"device\":2,\
                 \"region\":\"{}\",\"kind\":\"chest\"}}\n",
                find.player, find.at_ms, find.points, find.region
            )
        })
        .collect();
    let headers = [("Ringmill-Producer", "http-9"), ("Ringmill-Sequence", "1")];
    let mut first = None;
    for shards in ["1", "3", "2"] {
        let server = Server::start(&pipeline, &data, &["--shards", shards]);
        let http = Http::new(server.http);
        if first.is_some() {
            check_position(&http, &body);
        }
        let answer = http
            .post("/v1/streams/finds/events", &headers, body.as_bytes())
            .ok();
        let is_first = first.is_none();
        let (accepted, duplicates) = if is_first { (100, 0) } else { (0, 100) };
        assert_eq!(answer["accepted"], accepted, "{shards} shards: {answer}");
        assert_eq!(
            answer["duplicates"], duplicates,
            "{shards} shards: {answer}"
        );
        assert_eq!(answer["durable_through"], 100, "{shards} shards: {answer}");
        let position = http.get("/v1/producers/http-9").ok();
        for member in ["durable_through", "highest_seen", "accepted"] {
            assert_eq!(position[member], 100, "{shards} shards: {position}");
        }
        let answers = (http.board("players"), windows(&http));
        assert_eq!(
            &answers,
            first.get_or_insert(answers.clone()),
            "{shards} shards"
        );
        server.stop();
    }
}

/// What a restart with another number of shards says of a producer before it has sent anything:
/// never more than is stored, and a gap is still one.
#[track_caller]
fn check_position(http: &Http, body: &str) {
    let position = http.get("/v1/producers/http-9").ok();
    assert_eq!(position["highest_seen"], 100, "{position}");
    assert!(
        position["durable_through"].as_u64().unwrap() <= 100,
        "{position}"
    );
    let headers = [
        ("Ringmill-Producer", "http-9"),
        ("Ringmill-Sequence", "102"),
    ];
    let problem = http
        .post("/v1/streams/finds/events", &headers, body.as_bytes())
        .problem(409, "sequence-gap");
    assert_eq!(problem["expected"], 101, "{problem}");
}

/// Windows without the order and finality that arrival decides.
fn windows(http: &Http) -> Vec<String> {
    let mut rows: Vec<String> = http
        .view("by_region")
        .iter()
        .map(|row| row.to_string())
        .collect();
    rows.sort_unstable();
    rows
}
