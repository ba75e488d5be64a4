//! A shard's thread allocates nothing for an event once it is warm: a whole server runs in this
//! process, on its own ring, sockets and files, and the allocator counts for its shards alone.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;
use common::client::Client;
use common::hunt;
use ringmill_engine::cli::{Cli, Command};
use ringmill_engine::serve;

/// Allocations of the shards' threads, which are told by their name.
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Whether this thread is a shard's: unknown until it has been looked at once.
    static IS_SHARD: Cell<Option<bool>> = const { Cell::new(None) };
}

struct Counting;

fn count() {
    let known = IS_SHARD.try_with(|known| {
        known.get().unwrap_or_else(|| {
            // Looking at the name may allocate: what is asked meanwhile is not counted.
            known.set(Some(false));
            let thread = std::thread::current();
            let number = thread
                .name()
                .and_then(|name| name.strip_prefix("ringmill-"));
            let is_shard = number.is_some_and(|number| number.parse::<u16>().is_ok());
            known.set(Some(is_shard));
            is_shard
        })
    });
    if known == Ok(true) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const BATCH: u64 = 50;
const WARM_UP_BATCHES: u64 = 3_000;
const MEASURED_BATCHES: u64 = 3_000;
/// Rounds of measured batches, of which one must be free of allocations.
const ROUNDS_MAX: u64 = 4;
/// Frames that wait for their ack, so that several share a commit.
const IN_FLIGHT: u64 = 8;

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// A server in this process; ends with [`stop`].
fn start(
    pipeline: &Path,
    data: &Path,
    more: &[&str],
) -> (SocketAddr, std::thread::JoinHandle<i32>) {
    let (listen, http) = (free_address(), free_address());
    let addresses = [listen.to_string(), http.to_string()];
    let mut line = vec![
        "ringmill",
        "serve",
        "--pipeline",
        pipeline.to_str().unwrap(),
    ];
    line.extend(["--data", data.to_str().unwrap(), "--segment-mib", "64"]);
    line.extend(["--listen", &addresses[0], "--http", &addresses[1]]);
    line.extend(more);
    let Command::Serve(args) = Cli::parse_from(line).command else {
        panic!("serve was asked")
    };
    let server = std::thread::spawn(move || serve::run(&args));
    let ready = common::eventually(|| {
        assert!(!server.is_finished(), "the server has ended");
        std::net::TcpStream::connect(http).is_ok().then_some(())
    });
    assert!(ready.is_some(), "the server did not become ready");
    (listen, server)
}

fn stop(server: std::thread::JoinHandle<i32>) {
    let this = rustix::process::getpid();
    rustix::process::kill_process(this, rustix::process::Signal::TERM).unwrap();
    assert_eq!(server.join().unwrap(), 0);
}

/// Publishes batches that are made before; returns the shards' allocations from the first to the
/// last ack.
fn drive(client: &mut Client, frames: &[Vec<u8>], last_sequence: u64) -> u64 {
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    let first_sequence = last_sequence - frames.len() as u64 * BATCH;
    let (mut sent, mut acked) = (0, first_sequence);
    while acked < last_sequence {
        while sent < frames.len() as u64
            && first_sequence + sent * BATCH < acked + IN_FLIGHT * BATCH
        {
            client.wire.send(&frames[sent as usize]).unwrap();
            sent += 1;
        }
        let ack = client.wire.expect_ack();
        assert_eq!(ack.rejected, 0, "{ack:?}");
        acked = ack.sequence;
    }
    ALLOCATIONS.load(Ordering::SeqCst) - before
}

/// Views and boards that read nothing but expressions, of all types.
const EXPRESSIONS: &str = r#"
[stream.finds.computed]
area = "upper(case when region like '%th' then lower(region) else kind end)"
bonus = "case when points > 50 then points * 2 else coalesce(nullif(points, 0), 1) end"
[view.areas]
from = "finds"
where = "points <> 13 and (region in ('north', 'south') or device % 3 = 1)"
group = ["area"]
window = { size = "1m", keep = "2d" }
[view.areas.columns]
bonus = "sum(bonus)"
mean = "avg(cast(bonus as f64) / cast(points as f64))"
[board.bonus]
from = "finds"
where = "length(area) > 3"
member = "player"
score = "sum(bonus + 1) desc"
[board.areas]
from = "finds"
where = "10 / points < 5"
member = "region"
score = "best(bonus * bonus) asc"
"#;

/// Boards that are split, with means and with what stands beside the scores.
const SPLITS: &str = r#"
[board.split]
from = "finds"
member = "player"
score = ["mean_best(points, 5) desc", "sum(points) desc"]
season = { every = "1d" }
split = ["region"]
with = ["kind", "device"]
[board.kinds]
from = "finds"
member = "region"
score = ["mean_best(points, 5) desc", "sum(cast(points as f64) / 3.0)"]
split = ["kind"]
with = ["player"]
"#;

fn measure(shards: &str, backend: &str) -> u64 {
    measure_with("", shards, backend)
}

/// Measures with more sections of the pipeline.
fn measure_with(sections: &str, shards: &str, backend: &str) -> u64 {
    let dir = common::scratch();
    let pipeline = dir.path().join("hunt.toml");
    std::fs::write(&pipeline, format!("{}{sections}", hunt::PIPELINE)).unwrap();
    let data = dir.path().join("data");
    let (listen, server) = start(
        &pipeline,
        &data,
        &["--shards", shards, "--backend", backend],
    );
    let mut client = Client::hello(listen, "warm", 0);
    let frames = |client: &Client, batches: std::ops::Range<u64>| -> Vec<Vec<u8>> {
        let frame = |batch| {
            let first = batch * BATCH + 1;
            client.frame(first, &hunt::rows(client.schema(), 1, first, BATCH))
        };
        batches.map(frame).collect()
    };
    let warm_up = frames(&client, 0..WARM_UP_BATCHES);
    let cold = drive(&mut client, &warm_up, WARM_UP_BATCHES * BATCH);
    assert!(cold > 0, "the allocator counts the shards' threads");
    // Queues grow to what the machine's worst moment asks of them, which a first round may not have
    // met. Whatever allocates for an event or a batch does so in every round.
    let mut warm = 0;
    for round in 0..ROUNDS_MAX {
        let from = WARM_UP_BATCHES + round * MEASURED_BATCHES;
        let measured = frames(&client, from..from + MEASURED_BATCHES);
        warm = drive(&mut client, &measured, (from + MEASURED_BATCHES) * BATCH);
        println!(
            "{shards} shards, {backend}: {cold} allocations while warming up, {warm} in {} events",
            MEASURED_BATCHES * BATCH
        );
        if warm == 0 {
            break;
        }
    }
    stop(server);
    warm
}

/// One test, because servers in one process share its signals.
#[test]
fn a_warm_shard_allocates_nothing_for_an_event() {
    if common::skip_uring() {
        println!("not checked with io_uring: RINGMILL_SKIP_URING=1");
    } else {
        assert_eq!(measure("1", "uring"), 0, "one shard");
        assert_eq!(measure("2", "uring"), 0, "two shards");
    }
    assert_eq!(measure("1", "posix"), 0, "one shard, posix");
    assert_eq!(measure_with(EXPRESSIONS, "1", "posix"), 0, "expressions");
    assert_eq!(
        measure_with(EXPRESSIONS, "2", "posix"),
        0,
        "expressions, two shards"
    );
    assert_eq!(measure_with(SPLITS, "1", "posix"), 0, "splits");
    assert_eq!(measure_with(SPLITS, "2", "posix"), 0, "splits, two shards");
}
