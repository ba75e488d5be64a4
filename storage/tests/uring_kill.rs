//! A process that is killed in the middle of its writing loses nothing that it acknowledged.
//!
//! The test starts itself again as a writer, which prints every durable LSN, kills it after a
//! seeded time, and opens what it left behind, over and over on one log. `RINGMILL_KILLS` sets
//! the number of kills, `RINGMILL_SEED` the seed.

#![allow(clippy::unwrap_used)] // A test binary: the helpers are tests as well.

mod uring_support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use ringmill_storage::disk::Disk;
use ringmill_storage::disk::posix::PosixDisk;
use ringmill_storage::disk::uring::UringDisk;
use ringmill_storage::log::{Log, LogIdentity, LogOptions};
use ringmill_storage::probe::SyncWay;
use ringmill_storage::segment::prepare_segment;
use uring_support::{Random, dir, ring};

const IDENTITY: LogIdentity = LogIdentity {
    log_id: 11,
    stream: 0,
};
const KIND: u32 = 9;
const WRITER: &str = "RINGMILL_TEST_WRITER_DIR";
const WAY: &str = "RINGMILL_TEST_WRITER_WAY";

fn options(way: SyncWay) -> LogOptions {
    LogOptions {
        frame_bytes: 256 * 1024,
        segment_bytes: 2 << 20,
        flush: way.flush_policy(),
        ..LogOptions::default()
    }
}

/// The entry with this LSN; its length and bytes follow from it.
fn entry(lsn: u64) -> Vec<u8> {
    let mut random = Random(lsn);
    let bytes = 1 + usize::try_from(random.below(5000)).unwrap();
    (0..bytes)
        .map(|_| u8::try_from(random.next() & 0xff).unwrap())
        .collect()
}

/// Opens the log and checks every entry in it; returns how many there are.
fn open<D: Disk>(disk: D, dir: &Path, way: SyncWay) -> (Log<D>, u64) {
    let mut entries = 0;
    let mut replay = |lsn: u64, kind: u32, found: &[u8]| {
        assert_eq!((lsn, kind), (entries + 1, KIND));
        assert!(
            found == entry(lsn),
            "the entry with LSN {lsn} is not what was written"
        );
        entries = lsn;
        Ok(())
    };
    let (log, _report) = Log::open(disk, dir, IDENTITY, options(way), &mut replay).unwrap();
    (log, entries)
}

/// Not a test of its own: the writing process, for ever until it is killed.
#[test]
fn writer() {
    let Ok(dir) = std::env::var(WRITER) else {
        return;
    };
    let way = SyncWay::ALL[usize::from(std::env::var(WAY).unwrap() == "1")];
    let ring = ring().unwrap();
    let disk = UringDisk::new(Rc::clone(&ring), way);
    let (mut log, mut last) = open(disk, Path::new(&dir), way);
    tell("recovered", last);
    let mut told = 0;
    loop {
        for _ in 0..20 {
            if log.append(KIND, &[&entry(last + 1)]).is_none() {
                break;
            }
            last += 1;
        }
        log.submit(0, true);
        if log.in_flight() {
            log.disk_mut().wait().unwrap();
        }
        log.poll(0).unwrap();
        if log.durable_lsn() > told {
            told = log.durable_lsn();
            tell("durable", told);
        }
        if let Some(sequence) = log.wanted_segment() {
            let bytes = log.options().segment_bytes;
            let dir = log.dir().to_path_buf();
            let prepared = prepare_segment(&mut PosixDisk::new(), &dir, sequence, bytes).unwrap();
            log.supply(prepared).unwrap();
        }
    }
}

fn tell(word: &str, lsn: u64) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{word} {lsn}").unwrap();
    out.flush().unwrap();
}

/// Runs a writer for `life` after its first acknowledgement; returns what it recovered and
/// what it last acknowledged.
fn run_and_kill(dir: &Path, way: usize, life: Duration) -> (u64, u64) {
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writer", "--nocapture"])
        .env(WRITER, dir)
        .env(WAY, way.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let mut recovered = 0;
    let mut acknowledged = 0;
    let mut told = |line: std::io::Result<String>| {
        let line = line.unwrap();
        if let Some((_, lsn)) = line.split_once("recovered ") {
            recovered = lsn.parse().unwrap();
        }
        if let Some((_, lsn)) = line.split_once("durable ") {
            acknowledged = lsn.parse().unwrap();
            return true;
        }
        false
    };
    let started = lines.by_ref().any(&mut told);
    let killer = std::thread::spawn(move || {
        std::thread::sleep(life);
        writer.kill().unwrap();
        writer.wait().unwrap()
    });
    lines.for_each(|line| {
        told(line);
    });
    killer.join().unwrap();
    assert!(started, "the writer ended before its first acknowledgement");
    (recovered, acknowledged)
}

#[test]
fn a_killed_writer_loses_nothing_that_it_acknowledged() {
    if ring().is_none() {
        return;
    }
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seed = number("RINGMILL_SEED").unwrap_or(1);
    let kills = number("RINGMILL_KILLS").unwrap_or(6);
    let mut random = Random(seed);
    let dir = dir();
    let mut log_dir = dir.path().join("log-0");
    let mut before = 0;
    for kill in 0..kills {
        if kill % 10 == 9 {
            // The log grows, and every writer reads all of it.
            log_dir = dir.path().join(format!("log-{kill}"));
            before = 0;
        }
        let way = usize::try_from(random.below(2)).unwrap();
        let life = Duration::from_millis(random.below(120));
        let (recovered, acknowledged) = run_and_kill(&log_dir, way, life);
        assert_eq!(
            recovered, before,
            "seed {seed}, kill {kill}: two openings differ"
        );
        let (log, found) = open(PosixDisk::new(), &log_dir, SyncWay::WriteDsync);
        println!("kill {kill}: {acknowledged} acknowledged, {found} found");
        assert!(
            found >= acknowledged,
            "seed {seed}, kill {kill}: {acknowledged} acknowledged, {found} found"
        );
        before = found;
        drop(log);
    }
}
