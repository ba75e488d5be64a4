//! SIGKILL under load: what was acknowledged is there exactly once after the restart.
//!
//! `RINGMILL_KILLS=100` makes so many runs; `RINGMILL_SEED` repeats one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::client::{Client, Reply};
use common::http::Http;
use common::hunt::{self, Expected};
use common::random::{Random, mix, seed};
use common::server::Server;
use serde_json::Value;

const ROUNDS: u64 = 3;
/// Unacknowledged events of one producer at which it waits.
const WINDOW_EVENTS: u64 = 20_000;

/// One producer over all rounds of a run.
struct Producer {
    number: u64,
    name: String,
    /// Greatest sequence that any server acknowledged.
    acked: u64,
}

#[test]
fn acknowledged_events_survive_sigkill_exactly_once() {
    let seed = seed();
    let runs = common::setting("RINGMILL_KILLS", 4);
    println!("RINGMILL_SEED={seed} RINGMILL_KILLS={runs}");
    let (mut kills, mut acked) = (0, 0);
    for run in 0..runs {
        let mut random = Random(mix(seed ^ run << 32));
        let context = format!("seed {seed}, run {run}");
        let begun = Instant::now();
        let events = one_run(&mut random, run, &context);
        kills += ROUNDS;
        acked += events;
        println!(
            "run {run}: {events} events acknowledged, {} ms",
            begun.elapsed().as_millis()
        );
    }
    println!("{kills} kills, {acked} events acknowledged, 0 lost, 0 doubled");
}

/// Several kills of one store. Even runs keep one shard, odd ones change the number.
fn one_run(random: &mut Random, run: u64, context: &str) -> u64 {
    let dir = common::scratch();
    let pipeline = hunt::pipeline_file(dir.path());
    let data = dir.path().join("data");
    let mut producers: Vec<Producer> = (0..random.between(2, 4))
        .map(|number| Producer {
            number,
            name: format!("kill-{number}"),
            acked: 0,
        })
        .collect();
    let mut expected = Expected::default();
    let mut shards_before = 1;
    for round in 0..=ROUNDS {
        let shards = if run.is_multiple_of(2) {
            1
        } else {
            random.between(1, 3)
        };
        let context = format!("{context}, round {round}, {shards} shards after {shards_before}");
        let server = start(&pipeline, &data, shards);
        // One shard stores a publication as a whole or not at all. Several may have kept parts of
        // what was not acknowledged, until it is sent again.
        let whole = shards_before == 1 && shards == 1;
        settle(&server, &mut producers, &mut expected, whole, &context);
        if round == ROUNDS {
            server.stop();
            break;
        }
        load_and_kill(server, &mut producers, random);
        shards_before = shards;
    }
    assert!(expected.events > 0, "no event came through: {context}");
    expected.events
}

fn start(pipeline: &Path, data: &Path, shards: u64) -> Server {
    Server::start(pipeline, data, &["--shards", &shards.to_string()])
}

/// After a restart: nothing acknowledged is missing; what is unknown is sent again with the same
/// sequences; then everything is there once.
fn settle(
    server: &Server,
    producers: &mut [Producer],
    expected: &mut Expected,
    whole: bool,
    context: &str,
) {
    let http = Http::new(server.http);
    if whole {
        for producer in &*producers {
            expected.extend(producer.number, stored_whole(&http, producer, context));
        }
        expected.check(&http, context);
    }
    for producer in &mut *producers {
        let mut client = Client::hello(server.listen, &producer.name, 0);
        let (through, highest) = (client.hello.durable_through, client.hello.highest_seen);
        assert!(
            highest >= producer.acked,
            "{} fell back to {highest}: {context}",
            producer.name
        );
        assert!(through <= highest, "{through} of {highest}: {context}");
        if whole {
            assert_eq!(
                through, highest,
                "{} at one shard: {context}",
                producer.name
            );
        }
        resend(&mut client, producer, highest);
    }
    for producer in &mut *producers {
        let through = stored_whole(&http, producer, context);
        producer.acked = through;
        expected.extend(producer.number, through);
    }
    expected.check(&http, context);
}

/// Sends everything from the first unacknowledged event to the last that a shard has seen.
fn resend(client: &mut Client, producer: &Producer, highest: u64) {
    let mut next = producer.acked + 1;
    while next <= highest {
        let count = (highest + 1 - next).min(500);
        let rows = hunt::rows(client.schema(), producer.number, next, count);
        client.publish(next, &rows);
        next += count;
    }
}

/// The last sequence of a producer, all of whose events are stored once.
#[track_caller]
fn stored_whole(http: &Http, producer: &Producer, context: &str) -> u64 {
    let name = &producer.name;
    let answer = http.get(&format!("/v1/producers/{name}"));
    if answer.status == 404 && producer.acked == 0 {
        return 0;
    }
    let body: Value = answer.ok();
    let (last, accepted) = (&body["last_sequence"], &body["accepted"]);
    assert_eq!(last, accepted, "{name}: {body}, {context}");
    let last = last.as_u64().unwrap();
    assert!(
        last >= producer.acked,
        "{name}: {} were acknowledged: {body}, {context}",
        producer.acked
    );
    last
}

/// All producers publish as fast as they can until the server is killed.
fn load_and_kill(server: Server, producers: &mut [Producer], random: &mut Random) {
    let pause = Duration::from_millis(random.between(20, 400));
    let threads: Vec<JoinHandle<u64>> = producers
        .iter()
        .map(|producer| {
            let client = Client::hello(server.listen, &producer.name, 0);
            let (number, first) = (producer.number, producer.acked + 1);
            assert_eq!(client.hello.highest_seen + 1, first, "{}", producer.name);
            let random = Random(random.next());
            std::thread::spawn(move || produce(client, number, first, random))
        })
        .collect();
    std::thread::sleep(pause);
    server.kill();
    for (producer, thread) in producers.iter_mut().zip(threads) {
        producer.acked = thread.join().unwrap();
    }
}

/// Publishes from `first` on until the connection breaks. Returns the last acknowledged sequence.
fn produce(mut client: Client, number: u64, first: u64, mut random: Random) -> u64 {
    let acked = Arc::new(AtomicU64::new(first - 1));
    let mut reader = client.wire.reader();
    let seen = Arc::clone(&acked);
    let reading = std::thread::spawn(move || {
        loop {
            match reader.next() {
                Reply::Ack(ack) => {
                    assert_eq!(ack.rejected, 0, "{ack:?}");
                    let before = seen.swap(ack.sequence, Ordering::SeqCst);
                    assert!(before < ack.sequence, "acks go back from {before}: {ack:?}");
                }
                Reply::Closed => break,
                other => panic!("no ack but {other:?}"),
            }
        }
    });
    let largest = [1, 20, 300, 2_000][random.below(4) as usize];
    let mut next = first;
    while !reading.is_finished() {
        if next - acked.load(Ordering::SeqCst) > WINDOW_EVENTS {
            std::thread::sleep(Duration::from_micros(200));
            continue;
        }
        let count = random.between(1, largest);
        let rows = hunt::rows(client.schema(), number, next, count);
        if client.wire.send(&client.frame(next, &rows)).is_err() {
            break;
        }
        next += count;
    }
    reading.join().unwrap();
    let acked = acked.load(Ordering::SeqCst);
    assert!(
        acked < next,
        "an ack for what was never sent: {acked} of {next}"
    );
    acked
}
