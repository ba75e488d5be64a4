//! Boards, views, streams and metrics over HTTP, equal to a plain computation on 1 and 3 shards.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not seen as tests")]

mod http_support;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use http_support::{Fake, Random, eventually, find};
use ringmill_shard::partition::{group_of, key_hash, shard_of};
use serde_json::{Value, json};

const EVENTS: &str = "/v1/streams/finds/events";
const AT: i64 = 1_700_000_000_000;
const REGIONS: [&str; 5] = ["north", "south", "east", "west", ""];

/// What was sent, and what a plain program makes of it.
struct World {
    fake: Fake,
    /// Points per player and, among equals, the place in the order of reaching them.
    players: Vec<(u64, i64)>,
    regions: BTreeMap<&'static str, i64>,
    windows: BTreeMap<(i64, &'static str), (u64, i64)>,
    watermark_ms: i64,
}

/// Sends random events, one request per event of a tie, and computes every answer by hand.
fn world(shards: usize, events: usize, seed: u64) -> World {
    let mut random = Random(seed);
    let mut scores: BTreeMap<u64, (i64, usize)> = BTreeMap::new();
    let mut regions = BTreeMap::new();
    let mut windows: BTreeMap<(i64, &'static str), (u64, i64)> = BTreeMap::new();
    let mut lines = String::new();
    let mut latest = vec![0; shards];
    for nth in 0..events {
        let player = random.below(80);
        // Scores of players differ for sure: ties are a test of their own.
        let points = (random.below(1_000) as i64 - 200) * 128 + player as i64;
        let region = REGIONS[random.below(5) as usize];
        let at = AT + (nth as i64) * 40 + random.below(4_000) as i64;
        let shard = shard_of(group_of(key_hash(&player.to_le_bytes())), shards);
        latest[shard] = latest[shard].max(at);
        let score = scores.entry(player).or_insert((0, 0));
        *score = (score.0 + points, nth);
        *regions.entry(region).or_insert(0) += points;
        let window = windows
            .entry((at.div_euclid(10_000) * 10_000, region))
            .or_default();
        *window = (window.0 + 1, window.1 + points);
        lines += &find(player, at, points, region);
    }
    let fake = Fake::start(shards);
    assert_eq!(fake.post(EVENTS, &[], &lines).ok()["accepted"], events);
    let mut players: Vec<_> = scores
        .into_iter()
        .map(|(player, (score, _))| (player, score))
        .collect();
    players.sort_by_key(|(_, score)| std::cmp::Reverse(*score));
    World {
        fake,
        players,
        regions,
        windows,
        watermark_ms: latest.into_iter().min().unwrap() - 5_000,
    }
}

fn rows(players: &[(u64, i64)], first_rank: usize) -> Vec<Value> {
    let row = |(nth, (player, score)): (usize, &(u64, i64))| {
        let rank = first_rank + nth;
        json!({ "rank": rank, "member": player, "score": score })
    };
    players.iter().enumerate().map(row).collect()
}

#[test]
fn boards_equal_a_plain_computation() {
    for shards in [1, 3] {
        let World { fake, players, .. } = world(shards, 3_000, 5);
        let members = players.len();
        for (query, from, to) in [
            ("", 0, 10),
            ("?n=1", 0, 1),
            ("?n=10000", 0, members),
            ("?n=7&offset=5", 5, 12),
            ("?n=9&offset=77", 77, members),
            ("?n=9&offset=900", members, members),
        ] {
            let top = fake.get(&format!("/v1/boards/players/top{query}")).ok();
            let expected = Value::from(rows(&players[from..to], from + 1));
            assert_eq!(top["rows"], expected, "{shards} shards, {query}");
            assert_eq!(
                (&top["members"], &top["shards"]),
                (&json!(members), &json!(shards))
            );
            assert_eq!(top["final"], false);
        }
        for (nth, (player, score)) in players.iter().enumerate() {
            let place = fake.get(&format!("/v1/boards/players/rank/{player}")).ok();
            let expected = json!({
                "board": "players", "member": player, "score": score, "rank": nth + 1,
                "members": members, "shards": shards, "final": false,
            });
            assert_eq!(place, expected);
        }
    }
}

#[test]
fn the_page_around_a_member_is_full_wherever_it_stands() {
    for shards in [1, 3] {
        let World { fake, players, .. } = world(shards, 2_000, 6);
        let members = players.len();
        for nth in [
            0,
            1,
            2,
            3,
            members / 2,
            members - 3,
            members - 2,
            members - 1,
        ] {
            for n in [1, 2, 5, 6, members, members + 9] {
                let member = players[nth].0;
                let page = fake
                    .get(&format!("/v1/boards/players/around/{member}?n={n}"))
                    .ok();
                let first = nth.saturating_sub(n / 2).min(members.saturating_sub(n));
                let last = members.min(first + n);
                let expected = Value::from(rows(&players[first..last], first + 1));
                assert_eq!(
                    page["rows"],
                    expected,
                    "{shards} shards, rank {}, n {n}",
                    nth + 1
                );
                assert_eq!(
                    (&page["offset"], &page["member"]),
                    (&json!(first), &json!(member))
                );
            }
        }
    }
}

#[test]
fn a_board_of_members_that_are_no_keys_is_exact() {
    for shards in [1, 3] {
        let World { fake, regions, .. } = world(shards, 2_000, 7);
        let mut expected: Vec<_> = regions.iter().collect();
        expected.sort_by_key(|(_, score)| std::cmp::Reverse(**score));
        let row = |(nth, (region, score)): (usize, &(&&str, &i64))| {
            let rank = nth + 1;
            json!({ "rank": rank, "member": region, "score": score })
        };
        let expected: Value = expected.iter().enumerate().map(row).collect();
        eventually("the regions", || {
            fake.get("/v1/boards/regions/top").ok()["rows"] == expected
        });
        let place = fake.get("/v1/boards/regions/rank/south").ok();
        assert_eq!(place["score"], regions["south"]);
        let place = fake.get("/v1/boards/regions/around/west?n=5").ok();
        assert_eq!(place["rows"], expected);
    }
}

#[test]
fn equal_scores_stand_in_the_order_in_which_they_were_reached() {
    for shards in [1, 3] {
        let fake = Fake::start(shards);
        let order: Vec<u64> = (0..12).map(|i| i * 7 % 12).collect();
        for player in &order {
            fake.post(EVENTS, &[], &find(*player, AT, 5, "x")).ok();
        }
        // Changed and restored: reached anew.
        fake.post(EVENTS, &[], &find(order[0], AT, 3, "x")).ok();
        fake.post(EVENTS, &[], &find(order[0], AT, -3, "x")).ok();
        let top = fake.get("/v1/boards/players/top?n=20").ok();
        let members: Vec<u64> = top["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["member"].as_u64().unwrap())
            .collect();
        let mut expected = order[1..].to_vec();
        expected.push(order[0]);
        assert_eq!(members, expected, "{shards} shards");
    }
}

fn window_row(((start, region), (finds, points)): (&(i64, &str), &(u64, i64)), w: i64) -> Value {
    let row = json!({
        "region": region, "finds": finds, "points": points,
        "mean": *points as f64 / *finds as f64,
        "start_ms": start, "end_ms": start + 10_000, "revision": 0,
        "state": if start + 10_000 <= w { "final" } else { "early" },
    });
    // The reader of these tests rounds some numbers: let it round both sides.
    serde_json::from_str(&row.to_string()).unwrap()
}

/// Rows in the order of the plain computation, whatever the order of groups within a window.
fn sorted(rows: &[Value]) -> Vec<Value> {
    let mut rows = rows.to_vec();
    rows.sort_by_key(|row| {
        (
            row["start_ms"].as_i64(),
            row["region"].as_str().map(str::to_owned),
        )
    });
    rows
}

#[test]
fn views_equal_a_plain_computation() {
    for shards in [1, 3] {
        let World {
            fake,
            windows,
            watermark_ms,
            ..
        } = world(shards, 3_000, 8);
        let all: Vec<Value> = windows
            .iter()
            .map(|row| window_row(row, watermark_ms))
            .collect();
        eventually("the watermark", || {
            fake.get("/v1/views/by_region?limit=1").ok()["watermark_ms"] == watermark_ms
        });
        let body = fake.get("/v1/views/by_region").ok();
        assert_eq!(
            sorted(body["rows"].as_array().unwrap()),
            all,
            "{shards} shards"
        );
        assert_eq!(body.get("next"), None);
        assert!(all.iter().any(|row| row["state"] == "final"));
        assert!(all.iter().any(|row| row["state"] == "early"));

        let (from, to) = (AT + 20_000, AT + 60_000);
        let body = fake
            .get(&format!("/v1/views/by_region?from={from}&to={to}"))
            .ok();
        let within = |row: &&Value| (from..to).contains(&row["start_ms"].as_i64().unwrap());
        let expected: Vec<Value> = all.iter().filter(within).cloned().collect();
        assert_eq!(sorted(body["rows"].as_array().unwrap()), expected);

        for region in REGIONS {
            let body = fake
                .get(&format!("/v1/views/by_region?region={region}"))
                .ok();
            let expected: Vec<Value> = all
                .iter()
                .filter(|row| row["region"] == region)
                .cloned()
                .collect();
            assert_eq!(
                sorted(body["rows"].as_array().unwrap()),
                expected,
                "region `{region}`"
            );
        }
    }
}

#[test]
fn pages_of_a_view_hold_every_row_once() {
    for shards in [1, 3] {
        let World {
            fake,
            windows,
            watermark_ms,
            ..
        } = world(shards, 1_500, 9);
        eventually("the watermark", || {
            fake.get("/v1/views/by_region?limit=1").ok()["watermark_ms"] == watermark_ms
        });
        let all: Vec<Value> = windows
            .iter()
            .map(|row| window_row(row, watermark_ms))
            .collect();
        for (limit, pick) in [
            (1, ""),
            (7, ""),
            (1_000, ""),
            (1, "&region=north"),
            (3, "&region="),
        ] {
            let region = pick.strip_prefix("&region=");
            let picked = |row: &&Value| region.is_none_or(|region| row["region"] == region);
            let expected: Vec<Value> = all.iter().filter(picked).cloned().collect();
            let mut seen = Vec::new();
            let mut after = String::new();
            loop {
                let path = format!("/v1/views/by_region?limit={limit}{pick}{after}");
                let body = fake.get(&path).ok();
                let rows = body["rows"].as_array().unwrap();
                assert!(rows.len() <= limit);
                seen.extend_from_slice(rows);
                let Some(next) = body.get("next") else { break };
                after = format!("&after={}", next.as_str().unwrap());
            }
            assert_eq!(seen.len(), expected.len(), "limit {limit}{pick}");
            assert_eq!(sorted(&seen), expected, "limit {limit}{pick}");
        }
    }
}

#[test]
fn answers_longer_than_a_lane_arrive_whole() {
    let fake = Fake::start(3);
    fake.behaviour.piece_bytes.store(3_000, Ordering::Relaxed);
    let lines: String = (0..9_000).map(|i| find(i, AT, i as i64, "x")).collect();
    fake.post(EVENTS, &[], &lines).ok();
    let top = fake.get("/v1/boards/players/top?n=9000").ok();
    let scores: Vec<i64> = top["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["score"].as_i64().unwrap())
        .collect();
    assert!(scores.iter().rev().copied().eq(0..9_000));
}

#[test]
fn large_numbers_are_text_on_request_and_sums_beyond_64_bits_always() {
    let fake = Fake::start(1);
    let large = i64::MAX - 5;
    fake.post(EVENTS, &[], &find(u64::MAX, AT, large, "x")).ok();
    fake.post(EVENTS, &[], &find(2, AT, large, "x")).ok();
    let path = format!("/v1/boards/players/rank/{}", u64::MAX);
    let place = fake.get(&path).ok();
    assert_eq!(
        (&place["member"], &place["score"]),
        (&json!(u64::MAX), &json!(large))
    );
    let place = fake.get(&(path + "?numbers=text")).ok();
    assert_eq!(place["member"], u64::MAX.to_string());
    assert_eq!(
        (&place["score"], &place["rank"]),
        (&json!(large.to_string()), &json!(1))
    );
    let row = &fake.get("/v1/views/by_region").ok()["rows"][0];
    assert_eq!(row["points"], (2 * i128::from(large)).to_string(), "{row}");
}

#[test]
fn unknown_names_are_refused_with_the_nearest() {
    let fake = Fake::start(1);
    let cases = [
        ("/v1/boards/player/top", "board", json!("players")),
        ("/v1/boards/zzz/rank/1", "board", json!(null)),
        ("/v1/views/by_regoin", "view", json!("by_region")),
        ("/v1/streams/find", "stream", json!("finds")),
        ("/v1/streams/find/rejected", "stream", json!("finds")),
    ];
    for (path, kind, nearest) in cases {
        let problem = fake.get(path).problem(404, "unknown-name");
        assert_eq!(
            (&problem["kind"], &problem["nearest"]),
            (&json!(kind), &nearest),
            "{path}"
        );
    }
    fake.post("/v1/streams/fnds/events", &[], "x")
        .problem(404, "unknown-name");
    fake.get("/v1/boards/players/rank/77")
        .problem(404, "unknown-member");
    fake.get("/v1/boards/players/around/77")
        .problem(404, "unknown-member");
    fake.get("/v1/boards/players/rank/seven")
        .problem(400, "bad-request");
    fake.get("/v1/boards/players/rank/%ff")
        .problem(400, "bad-request");
    fake.get("/v1/producers/nobody")
        .problem(404, "unknown-producer");
    fake.get("/v1/producers/no%20body")
        .problem(400, "bad-request");
    fake.get("/v2/streams").problem(404, "no-route");
}

#[test]
fn parameters_out_of_place_are_refused() {
    let fake = Fake::start(1);
    for path in [
        "/v1/boards/players/top?n=0",
        "/v1/boards/players/top?n=10001",
        "/v1/boards/players/top?n=10000&offset=1",
        "/v1/boards/players/top?m=1",
        "/v1/boards/players/top?numbers=1",
        "/v1/boards/players/around/1?n=x",
        "/v1/views/by_region?from=yesterday",
        "/v1/views/by_region?from=10&to=9",
        "/v1/views/by_region?limit=0",
        "/v1/views/by_region?after=5",
        "/v1/views/by_region?region=longer_than_8",
        "/v1/views/by_region?regoin=x",
        "/v1/streams/finds/rejected?n=257",
        "/v1/status?verbose=1",
        "/v1/pipeline?verbose=1",
    ] {
        let problem = fake.get(path).problem(400, "bad-parameter");
        assert!(problem["parameter"].is_string(), "{path}: {problem}");
    }
    let problem = fake.get("/v1/views/by_region?regoin=x").json();
    assert_eq!(problem["nearest"], "region");
}

#[test]
fn the_pipeline_and_the_status_describe_themselves() {
    let fake = Fake::start(3);
    let pipeline = fake.get("/v1/pipeline").ok();
    assert_eq!(pipeline["streams"][0]["fields"][4]["optional"], true);
    assert_eq!(
        pipeline["views"][0]["columns"][1],
        json!({ "name": "points", "value": "sum(points)" })
    );
    assert_eq!(pipeline["boards"][1]["member"], "region");
    assert_eq!(pipeline["boards"][0]["score"], "sum(points) desc");
    let stream = fake.get("/v1/streams/finds").ok();
    assert_eq!(
        (&stream["key"], &stream["watermark_ms"]),
        (&json!("player"), &json!(null))
    );
    assert_eq!(
        (&stream["views"], &stream["boards"]),
        (&json!(["by_region"]), &json!(["players", "regions"]))
    );
    let status = fake.get("/v1/status").ok();
    assert_eq!(
        (&status["shards"], &status["recovered_events"]),
        (&json!(3), &json!(7))
    );
    assert_eq!(
        (&status["draining"], &status["failed_shards"]),
        (&json!(false), &json!([]))
    );
    assert_eq!(status["cores"].as_array().unwrap().len(), 3);
    let head = fake.request("HEAD", "/healthz", &[], b"");
    assert_eq!((head.status, &*head.text), (200, ""));
}

#[test]
fn metrics_are_well_formed_and_hold_stages_counters_and_reasons() {
    use ringmill_engine::latency::Stage;
    use ringmill_engine::metrics::Counter;
    let fake = Fake::start(3);
    fake.metrics[1].add(Counter::LogBytes, 4_096);
    fake.metrics[1].stages[Stage::Apply as usize].record_n(1_500, 3);
    fake.metrics[1].stages[Stage::Apply as usize].record(3_000_000);
    fake.post(EVENTS, &[], &find(1, AT, 1, "x")).ok();
    let reply = fake.get("/metrics");
    assert!(
        reply
            .head
            .contains("content-type: text/plain; version=0.0.4")
    );
    let mut typed = std::collections::HashSet::new();
    for line in reply.text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(
                typed.insert(rest.split(' ').next().unwrap()),
                "twice: {line}"
            );
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let name = name.split('{').next().unwrap();
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|s| name.strip_suffix(s));
            assert!(
                typed.contains(name) || family.is_some_and(|f| typed.contains(f)),
                "{line}"
            );
        }
    }
    for line in [
        "ringmill_log_bytes_total{core=\"1\"} 4096",
        "ringmill_stage_seconds_bucket{core=\"1\",stage=\"apply\",le=\"0.000001024\"} 0",
        "ringmill_stage_seconds_bucket{core=\"1\",stage=\"apply\",le=\"0.000002048\"} 3",
        "ringmill_stage_seconds_bucket{core=\"1\",stage=\"apply\",le=\"0.002097152\"} 3",
        "ringmill_stage_seconds_bucket{core=\"1\",stage=\"apply\",le=\"0.004194304\"} 4",
        "ringmill_stage_seconds_bucket{core=\"1\",stage=\"apply\",le=\"+Inf\"} 4",
        "ringmill_stage_seconds_sum{core=\"1\",stage=\"apply\"} 0.0030045",
        "ringmill_stage_seconds_count{core=\"1\",stage=\"apply\"} 4",
        "ringmill_stream_events_rejected_total{core=\"0\",stream=\"finds\",reason=\"missing\"} 0",
        "ringmill_shard_failed{core=\"2\"} 0",
    ] {
        assert!(
            reply.text.contains(&format!("{line}\n")),
            "no {line} in\n{}",
            reply.text
        );
    }
}
