//! What it costs an event to belong to another core than the one it arrives at: a whole server with
//! two shards in this process, one connection flat out, the players of one shard at a time.
//!
//! * `stay`: all players belong to the shard that holds the connection.
//! * `cross`: all belong to the other one. Their frames are read by one core, handed over, applied
//!   and logged by the other, and acknowledged by the first.
//! * `half`: every second one, as with players drawn evenly.
//!
//! CPU time of both shards' threads together per event, parking and waking included. Both shards
//! and the client share the machine's CPUs unpinned, and nobody spins.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use ringmill_benches::{Bench, Better, Sample};
use ringmill_engine::cli::{Cli, Command};
use ringmill_engine::serve;
use ringmill_shard::limits::FRAME_HEADER_BYTES;
use ringmill_shard::partition::{group_of, key_hash, shard_of};
use ringmill_shard::value::Value;
use ringmill_shard::wire::{Ack, FrameHeader, FrameKind, Hello, encode_publish};
use rustix::process::{Signal, getpid, kill_process};

mod hunt;
use hunt::{Hunt, Random};

const SHARDS: usize = 2;
const PLAYERS: u64 = 100_000;
/// Rows of a frame.
const FRAME_ROWS: usize = 500;
/// Frames that wait for their ack.
const IN_FLIGHT: usize = 32;

fn main() {
    let mut bench = Bench::start("cross");
    let hunt = Hunt::new();
    let events = bench.size(2_000_000, 10_000) / FRAME_ROWS * FRAME_ROWS;
    let rows = [0, 1].map(|shard| rows_of(&hunt, events, Some(shard)));
    let mixed = rows_of(&hunt, events, None);

    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder for the log");
    let (address, server) = start(dir.path());
    let client = std::cell::RefCell::new(Client::hello(address));
    let measure = |rows: &[u8]| client.borrow_mut().publish_all(&hunt, rows);
    // The shard that is idle while the other one's players come in holds no connection.
    let [first, second] = measure(&rows[0]);
    let holder = usize::from(first < second);
    let (stay, cross) = (&rows[holder], &rows[1 - holder]);
    let per_event = |rows: &[u8]| {
        let cpu: Duration = measure(rows).iter().sum();
        Sample::new(cpu.as_nanos() as f64 / events as f64, events as u64)
    };

    let mut group = bench.group("event", "cpu-ns/event", Better::Lower);
    group.baseline("stay", || per_event(stay));
    group.row("half", || per_event(&mixed));
    group.row("cross", || per_event(cross));
    group.run();
    kill_process(getpid(), Signal::TERM).expect("a signal to this process");
    assert_eq!(server.join().expect("the server ends"), 0);
    bench.finish();
}

/// Rows of players that belong to `shard`, or to any.
fn rows_of(hunt: &Hunt, events: usize, shard: Option<usize>) -> Vec<u8> {
    let owner = |player: u64| shard_of(group_of(key_hash(&player.to_le_bytes())), SHARDS);
    let players: Vec<u64> = (0..PLAYERS)
        .filter(|&player| shard.is_none_or(|shard| owner(player) == shard))
        .collect();
    let draw = |_, draw: u64| players[draw as usize % players.len()];
    hunt.rows(events, &mut Random(5), draw)
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener
        .local_addr()
        .expect("a bound socket has an address")
}

/// The server, once it takes connections.
fn start(dir: &Path) -> (SocketAddr, JoinHandle<i32>) {
    let pipeline = dir.join("hunt.toml");
    fs::write(
        &pipeline,
        include_str!("../docs/examples/treasure_hunt.toml"),
    )
    .expect("a file in the folder");
    let (listen, http) = (free_address(), free_address());
    // Where io_uring is forbidden, the same variable as elsewhere says that this is known.
    let forbidden = std::env::var("RINGMILL_SKIP_URING").is_ok_and(|value| value == "1");
    let backend = if forbidden { "posix" } else { "uring" };
    let text = |path: PathBuf| {
        path.into_os_string()
            .into_string()
            .expect("a path in UTF-8")
    };
    let line = [
        "ringmill".to_owned(),
        "serve".to_owned(),
        format!("--pipeline={}", text(pipeline)),
        format!("--data={}", text(dir.join("data"))),
        format!("--listen={listen}"),
        format!("--http={http}"),
        format!("--shards={SHARDS}"),
        "--spin=0".to_owned(),
        format!("--backend={backend}"),
    ];
    let Command::Serve(args) = Cli::parse_from(line).command else {
        unreachable!("serve was asked for")
    };
    let server = thread::spawn(move || serve::run(&args));
    while TcpStream::connect(http).is_err() {
        assert!(!server.is_finished(), "the server has ended");
        thread::sleep(Duration::from_millis(20));
    }
    (listen, server)
}

struct Client {
    stream: TcpStream,
    published: u64,
}

impl Client {
    fn hello(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a TCP socket");
        let published = 0;
        let mut client = Client { stream, published };
        let mut frame = Vec::new();
        let (epoch, name) = (0, "cross");
        Hello { epoch, name }.encode(&mut frame);
        client.stream.write_all(&frame).expect("the server reads");
        assert_eq!(client.next_frame().kind, FrameKind::HelloAck);
        client
    }

    /// The header of the next frame; its payload is read and dropped.
    fn next_frame(&mut self) -> FrameHeader {
        let mut head = [0; FRAME_HEADER_BYTES];
        self.stream
            .read_exact(&mut head)
            .expect("the server answers");
        let header = FrameHeader::decode(&head).expect("a frame");
        let mut payload = vec![0; header.payload_bytes as usize];
        self.stream.read_exact(&mut payload).expect("a whole frame");
        header
    }

    /// Publishes the rows and waits for their acks: the CPU time that each shard took for it.
    fn publish_all(&mut self, hunt: &Hunt, rows: &[u8]) -> [Duration; SHARDS] {
        let frames = self.frames(hunt, rows);
        let before = shards_cpu();
        let first = self.published;
        let rows_of = |frames: usize| (frames * FRAME_ROWS) as u64;
        let mut sent = 0;
        let mut acked = first;
        while acked < first + rows_of(frames.len()) {
            while sent < frames.len() && first + rows_of(sent) < acked + rows_of(IN_FLIGHT) {
                self.stream
                    .write_all(&frames[sent])
                    .expect("the server reads");
                sent += 1;
            }
            let ack = Ack::decode(&self.next_frame()).expect("an ack");
            assert_eq!(ack.rejected, 0);
            acked = ack.sequence;
        }
        self.published = acked;
        let after = shards_cpu();
        std::array::from_fn(|shard| after[shard] - before[shard])
    }

    /// Frames of events that happen now.
    fn frames(&self, hunt: &Hunt, rows: &[u8]) -> Vec<Vec<u8>> {
        let schema = hunt.schema();
        let at = schema.field("at").expect("a field of the example");
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = Value::Time(now.expect("after 1970").as_millis() as i64);
        let mut rows = rows.to_vec();
        for row in rows.chunks_exact_mut(schema.row_len()) {
            schema.set(row, at, &now).expect("a time of this century");
        }
        let frame = |(number, rows): (usize, &[u8])| {
            let first_sequence = self.published + (number * FRAME_ROWS) as u64 + 1;
            let mut frame = Vec::new();
            encode_publish(
                &mut frame,
                0,
                schema.id,
                first_sequence,
                FRAME_ROWS as u32,
                rows,
            );
            frame
        };
        let chunks = rows.chunks_exact(FRAME_ROWS * schema.row_len());
        chunks.enumerate().map(frame).collect()
    }
}

/// CPU time of the shards' threads so far.
fn shards_cpu() -> [Duration; SHARDS] {
    let mut all = [Duration::ZERO; SHARDS];
    for task in fs::read_dir("/proc/self/task").expect("Linux") {
        let task = task.expect("a thread").path();
        let Ok(name) = fs::read_to_string(task.join("comm")) else {
            continue; // The thread has just ended.
        };
        let number = name.trim().strip_prefix("ringmill-");
        if let Some(shard) = number.and_then(|number| number.parse::<usize>().ok()) {
            let stat = fs::read_to_string(task.join("schedstat")).expect("a shard runs on");
            let cpu_ns = stat.split(' ').next().and_then(|ns| ns.parse().ok());
            all[shard] = Duration::from_nanos(cpu_ns.expect("the kernel keeps schedstat"));
        }
    }
    all
}
