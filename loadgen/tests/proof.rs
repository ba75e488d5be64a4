//! The proof finds what it is there to find: planted losses, doubles and wrong scores.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use ringmill_loadgen::echo::{Echo, EchoOptions, Sink, treasure_hunt};
use ringmill_shard::value::Value;
use serde_json::json;
use support::{Bodies, loadgen, serve_http, show};

const ANY_MACHINE: &str = "send_lag=1h,send_lag_share=100%,busy=100%,steal=100%,run_queue=100%";

/// What an honest server would hold, by plain addition of the rows that arrived.
#[derive(Default)]
struct Held {
    scores: HashMap<u64, i64>,
    events: HashMap<String, u64>,
}

/// A server that acknowledges, and the HTTP side that tells what it holds.
struct World {
    echo: Echo,
    held: Arc<Mutex<Held>>,
    bodies: Bodies,
    http: String,
}

impl World {
    fn start() -> World {
        let held: Arc<Mutex<Held>> = Arc::default();
        let sink: Sink = {
            let held = held.clone();
            let schema = treasure_hunt();
            let player = schema.field("player").unwrap();
            let points = schema.field("points").unwrap();
            Arc::new(Mutex::new(
                move |producer: &str, _first: u64, rows: &[u8]| {
                    let mut held = held.lock().unwrap();
                    for row in rows.chunks_exact(schema.row_len()) {
                        let values = (schema.value(row, player), schema.value(row, points));
                        let (Value::U64(player), Value::I64(points)) = values else {
                            panic!()
                        };
                        *held.scores.entry(player).or_default() += points;
                        *held.events.entry(producer.to_owned()).or_default() += 1;
                    }
                },
            ))
        };
        let echo =
            Echo::start_with_sink("127.0.0.1:0", EchoOptions::default(), Some(sink)).unwrap();
        let bodies: Bodies = Arc::default();
        let http = serve_http(bodies.clone()).to_string();
        World {
            echo,
            held,
            bodies,
            http,
        }
    }

    /// Sends some events, with the ack log in `acks`.
    fn load(&self, acks: &Path, producer: &str, seed: &str) {
        let addr = self.echo.addr().to_string();
        let output = loadgen(&[
            "run",
            "-a",
            &addr,
            "-r",
            "10k",
            "-d",
            "200ms",
            "-w",
            "0s",
            "-c",
            "3",
            "--batch",
            "7",
            "--keys",
            "50",
            "-q",
            "--limits",
            ANY_MACHINE,
            "--producer",
            producer,
            "--seed",
            seed,
            "--acks",
            acks.to_str().unwrap(),
        ]);
        assert_eq!(output.status.code(), Some(0), "{}", show(&output));
    }

    /// Lets the HTTP side tell what is held, after `change`.
    fn publish(&self, change: impl FnOnce(&mut Held)) {
        let mut held = self.held.lock().unwrap();
        change(&mut held);
        let mut bodies = self.bodies.lock().unwrap();
        bodies.clear();
        let producers = self.echo.producers();
        for (name, events) in &held.events {
            let body = json!({
                "last_sequence": producers[name], "accepted": events, "rejected": 0,
                "duplicates": 0,
            });
            bodies.insert(format!("/v1/producers/{name}"), body.to_string());
        }
        let total: u64 = held.events.values().sum();
        let pipeline = json!({
            "boards": [{
                "board": "players", "from": "finds", "member": "player",
                "score": "sum(points) desc", "rank": "ordinal", "season": null,
            }],
            "views": [{
                "view": "minutes", "from": "finds", "window": {"kind": "tumbling"},
                "columns": [{"name": "n", "value": "count()"}],
            }],
        });
        bodies.insert("/v1/pipeline".to_owned(), pipeline.to_string());
        bodies.insert(
            "/v1/streams/finds".to_owned(),
            json!({"accepted": total}).to_string(),
        );
        let windows = json!({"rows": [{"n": total - 3}, {"n": 2}]});
        bodies.insert("/v1/views/minutes".to_owned(), windows.to_string());
        let metrics = "ringmill_view_late_total{view=\"minutes\"} 1\n";
        bodies.insert("/metrics".to_owned(), metrics.to_owned());
        let mut ranking: Vec<(u64, i64)> = held.scores.iter().map(|(k, v)| (*k, *v)).collect();
        ranking.sort_by_key(|(player, score)| (-score, *player));
        let rows: Vec<_> = ranking
            .iter()
            .zip(1..)
            .map(|((player, score), rank)| json!({"rank": rank, "member": player, "score": score}))
            .collect();
        for row in &rows {
            bodies.insert(
                format!("/v1/boards/players/rank/{}", row["member"]),
                row.to_string(),
            );
        }
        let top = json!({"rows": rows, "members": ranking.len()});
        bodies.insert("/v1/boards/players/top".to_owned(), top.to_string());
    }

    fn verify(&self, acks: &Path) -> (Option<i32>, serde_json::Value) {
        let addr = self.echo.addr().to_string();
        let acks = acks.to_str().unwrap();
        let output = loadgen(&[
            "verify", "-a", &addr, "--http", &self.http, "--acks", acks, "--format", "json",
        ]);
        let block = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
            panic!("{}", show(&output));
        });
        (output.status.code(), block)
    }
}

#[test]
fn what_is_stored_once_passes_also_over_several_runs_of_one_producer() {
    let world = World::start();
    let dir = tempfile::tempdir().unwrap();
    world.load(dir.path(), "shop", "1");
    world.load(dir.path(), "shop", "2");
    world.publish(|_| {});
    let (code, block) = world.verify(dir.path());
    assert_eq!(code, Some(0), "{block:#}");
    assert_eq!(block["stored_once"], world.echo.events());
    assert_eq!(block["skipped"].as_array().unwrap().len(), 0, "{block:#}");
    assert!(
        block["members_compared"].as_u64().unwrap() >= 50,
        "{block:#}"
    );
    assert_eq!(block["indeterminate"], 0);
}

#[test]
fn planted_faults_are_found() {
    type Fault = fn(&mut Held);
    let faults: [(&str, Fault, &str); 3] = [
        (
            "a lost event",
            |held| *held.events.values_mut().next().unwrap() -= 1,
            "lost",
        ),
        (
            "a doubled event",
            |held| *held.events.values_mut().next().unwrap() += 1,
            "duplicate",
        ),
        (
            "a wrong score",
            |held| *held.scores.values_mut().next().unwrap() += 1,
            "scores_wrong",
        ),
    ];
    for (what, fault, counter) in faults {
        let world = World::start();
        let dir = tempfile::tempdir().unwrap();
        world.load(dir.path(), "shop", "1");
        world.publish(fault);
        let (code, block) = world.verify(dir.path());
        assert_eq!(code, Some(4), "{what}: {block:#}");
        assert_eq!(block["ok"], false, "{what}");
        assert!(block[counter].as_u64().unwrap() >= 1, "{what}: {block:#}");
    }
}

#[test]
fn an_unknown_producer_and_a_wrong_view_are_found() {
    let world = World::start();
    let dir = tempfile::tempdir().unwrap();
    world.load(dir.path(), "shop", "1");
    world.publish(|_| {});
    let windows = json!({"rows": [{"n": world.echo.events()}]}).to_string();
    world
        .bodies
        .lock()
        .unwrap()
        .insert("/v1/views/minutes".to_owned(), windows);
    let (code, block) = world.verify(dir.path());
    assert_eq!(
        code,
        Some(4),
        "one event more in windows than there are: {block:#}"
    );
    world.publish(|_| {});
    world.bodies.lock().unwrap().remove("/v1/producers/shop-0");
    let (code, block) = world.verify(dir.path());
    assert_eq!(code, Some(4), "{block:#}");
    assert!(block["lost"].as_u64().unwrap() > 0);
}
