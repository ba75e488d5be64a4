//! A log on real files: what one back end wrote and acknowledged, any back end reads, also when
//! the writer went without closing.
//!
//! `RINGMILL_SEEDS` sets the number of seeds.

#![allow(clippy::unwrap_used)] // A test binary: the helpers are tests as well.

mod uring_support;

use std::path::Path;
use std::rc::Rc;

use ringmill_storage::disk::Disk;
use ringmill_storage::disk::posix::PosixDisk;
use ringmill_storage::disk::uring::UringDisk;
use ringmill_storage::log::{Log, LogIdentity, LogOptions};
use ringmill_storage::probe::SyncWay;
use ringmill_storage::ring::SharedRing;
use ringmill_storage::segment::prepare_segment;
use uring_support::{Random, dir, ring};

const IDENTITY: LogIdentity = LogIdentity {
    log_id: 7,
    stream: 3,
};
const KIND: u32 = 9;
const ENTRIES_PER_LIFE: usize = 400;
const ENTRY_BYTES_MAX: u64 = 3000;

fn options(way: SyncWay) -> LogOptions {
    LogOptions {
        frame_bytes: 64 * 1024,
        // Small, so that every life crosses several segments.
        segment_bytes: 256 * 1024,
        flush: way.flush_policy(),
        replay_piece_bytes: 3 * 4096,
        lock_tries: 5,
        ..LogOptions::default()
    }
}

fn open<D: Disk>(disk: D, dir: &Path, way: SyncWay) -> (Log<D>, Vec<Vec<u8>>) {
    let mut entries = Vec::new();
    let mut replay = |lsn: u64, kind: u32, entry: &[u8]| {
        entries.push(entry.to_vec());
        assert_eq!(kind, KIND);
        assert_eq!(lsn, entries.len() as u64);
        Ok(())
    };
    let (log, _report) = Log::open(disk, dir, IDENTITY, options(way), &mut replay).unwrap();
    (log, entries)
}

/// Appends entries and flushes them as a core does; returns how many were acknowledged.
fn write<D: Disk>(log: &mut Log<D>, model: &mut Vec<Vec<u8>>, random: &mut Random) -> u64 {
    for _ in 0..ENTRIES_PER_LIFE {
        let bytes = 1 + usize::try_from(random.below(ENTRY_BYTES_MAX)).unwrap();
        let entry = vec![u8::try_from(random.below(256)).unwrap(); bytes];
        let (front, back) = entry.split_at(bytes / 2);
        while log.append(KIND, &[front, back]).is_none() {
            turn(log);
        }
        model.push(entry);
        if random.below(4) == 0 {
            log.submit(0, true);
            log.poll(0).unwrap();
        }
    }
    // Part of the lives end with everything acknowledged, part with a frame on its way.
    let all = random.below(2) == 0;
    while all && log.durable_lsn() < log.appended_lsn() {
        turn(log);
    }
    log.durable_lsn()
}

fn turn<D: Disk>(log: &mut Log<D>) {
    log.submit(0, true);
    if log.in_flight() {
        log.disk_mut().wait().unwrap();
    }
    log.poll(0).unwrap();
    if let Some(sequence) = log.wanted_segment() {
        let dir = log.dir().to_path_buf();
        let bytes = log.options().segment_bytes;
        let prepared = prepare_segment(&mut PosixDisk::new(), &dir, sequence, bytes).unwrap();
        log.supply(prepared).unwrap();
    }
}

fn life<D: Disk>(disk: D, dir: &Path, way: SyncWay, state: &mut State) {
    let (mut log, found) = open(disk, dir, way);
    let State {
        seed,
        random,
        model,
        acknowledged,
    } = state;
    let known = usize::try_from(*acknowledged).unwrap();
    assert!(
        found.len() >= known,
        "seed {seed}: {} of {known} survived",
        found.len()
    );
    assert!(
        found.len() <= model.len(),
        "seed {seed}: entries from nowhere"
    );
    assert!(
        found[..] == model[..found.len()],
        "seed {seed}: an entry differs"
    );
    model.truncate(found.len());
    *acknowledged = write(&mut log, model, random);
    if random.below(2) == 0 {
        log.close().unwrap();
        *acknowledged = model.len() as u64;
    }
}

struct State {
    seed: u64,
    random: Random,
    model: Vec<Vec<u8>>,
    acknowledged: u64,
}

fn run_seed(seed: u64, ring: &SharedRing) {
    let dir = dir();
    let log_dir = dir.path().join("log-0003");
    let mut state = State {
        seed,
        random: Random(seed),
        model: Vec::new(),
        acknowledged: 0,
    };
    for _ in 0..6 {
        let way = SyncWay::ALL[usize::try_from(state.random.below(2)).unwrap()];
        if state.random.below(2) == 0 {
            life(
                UringDisk::new(Rc::clone(ring), way),
                &log_dir,
                way,
                &mut state,
            );
        } else {
            life(PosixDisk::new(), &log_dir, way, &mut state);
        }
    }
    assert_eq!(ring.borrow().warnings(), Vec::<String>::new());
    assert_eq!(ring.borrow().counters().overflow, 0);
}

#[test]
fn what_was_acknowledged_is_read_back_by_either_back_end() {
    let Some(ring) = ring() else { return };
    let seeds = std::env::var("RINGMILL_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok());
    for seed in 0..seeds.unwrap_or(6) {
        run_seed(seed, &ring);
    }
}
