//! Every bit of a small log is flipped: what is handed out is right, or the log does not open.
//!
//! By default every bit of headers and entries (every third of the crashed log) and every 61st bit
//! of padding and unused blocks; `RINGMILL_FLIP_ALL=1` takes every bit of every file.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod log_support;

use std::path::PathBuf;

use log_support::{DIR, IDENTITY, dir, entry, is_prefix, open, write_through};
use ringmill_storage::disk::sim::{Crash, SimWorld};
use ringmill_storage::error::StorageError;
use ringmill_storage::layout::{BLOCK_BYTES, FRAME_HEADER_BYTES};
use ringmill_storage::verify::{VerifyReport, read_dir};

const ENTRIES: u64 = 24;

/// Files of a log of several segments, closed in order or crashed.
fn files(clean: bool) -> Vec<(PathBuf, Vec<u8>)> {
    let world = SimWorld::new(7);
    let (mut log, ..) = open(&world).unwrap();
    write_through(&mut log, ENTRIES, 2).unwrap();
    if clean {
        log.close().unwrap();
    }
    world.crash(Crash::Kill);
    world.settle();
    let read = |path: PathBuf| world.contents(&path).map(|bytes| (path, bytes));
    world.paths().into_iter().filter_map(read).collect()
}

/// A world that holds `files`.
fn world_of(files: &[(PathBuf, Vec<u8>)]) -> SimWorld {
    use ringmill_storage::disk::Disk;
    let world = SimWorld::new(1);
    let mut disk = world.disk();
    disk.create_dir(&dir()).unwrap();
    for (path, bytes) in files {
        let file = disk.create(path, bytes.len() as u64).unwrap();
        disk.close(file);
        world.damage(path, |target| target.clone_from(bytes));
    }
    world.settle();
    world
}

fn read(world: &SimWorld) -> (Result<VerifyReport, StorageError>, Vec<Vec<u8>>) {
    let mut entries = Vec::new();
    let report = read_dir(&mut world.disk(), &dir(), &mut |_, _, bytes| {
        entries.push(bytes.to_vec());
        Ok(())
    });
    (report, entries)
}

/// Bits worth flipping.
fn bits(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let all = std::env::var_os("RINGMILL_FLIP_ALL").is_some();
    let dense: Vec<bool> = bytes
        .chunks(8)
        .enumerate()
        .map(|(index, word)| {
            all || word.iter().any(|&byte| byte != 0)
                || index * 8 % BLOCK_BYTES < FRAME_HEADER_BYTES && index % 4 == 0
        })
        .collect();
    (0..bytes.len() * 8).filter(move |bit| dense[bit / 64] || bit % 61 == 0)
}

#[derive(Default, Debug)]
struct Counts {
    flips: u64,
    refused: u64,
    harmless: u64,
    last_frame: u64,
}

fn flip_all(clean: bool) -> Counts {
    let files = files(clean);
    let world = world_of(&files);
    let (report, entries) = read(&world);
    let frames = report.unwrap().recovery.frames;
    assert_eq!(entries.len() as u64, ENTRIES);
    let mut counts = Counts::default();
    for (path, bytes) in &files {
        // The closed log takes every bit; the crashed one differs from it at the end only.
        let stride = if clean { 1 } else { 3 };
        for bit in bits(bytes).step_by(stride) {
            counts.flips += 1;
            world.damage(path, |target| target[bit / 8] ^= 1 << (bit % 8));
            let (report, entries) = read(&world);
            let place = || format!("{} bit {bit}", path.display());
            assert!(
                is_prefix(&entries),
                "wrong bytes were handed out: {}",
                place()
            );
            match report {
                Err(error) => {
                    assert!(error.is_damage(), "{}: {error}", place());
                    counts.refused += 1;
                }
                Ok(_) if entries.len() as u64 == ENTRIES => counts.harmless += 1,
                Ok(report) => {
                    // The residual risk: the last frame, not yet named by a mark.
                    assert!(!clean, "silently cut: {}", place());
                    assert_eq!(report.recovery.frames, frames - 1, "{}", place());
                    counts.last_frame += 1;
                }
            }
            world.damage(path, |target| target[bit / 8] ^= 1 << (bit % 8));
        }
    }
    counts
}

#[test]
fn no_bit_of_a_closed_log_goes_unnoticed() {
    let counts = flip_all(true);
    println!("{counts:?}");
    assert!(
        counts.refused > 10_000 && counts.last_frame == 0,
        "{counts:?}"
    );
}

#[test]
fn a_bit_of_a_crashed_log_costs_at_most_its_last_unmarked_frame() {
    let counts = flip_all(false);
    println!("{counts:?}");
    assert!(
        counts.refused > 10_000 && counts.last_frame > 0,
        "{counts:?}"
    );
}

#[test]
fn the_fixture_is_what_it_claims() {
    let files = files(true);
    assert!(files.iter().all(|(path, _)| path.starts_with(DIR)));
    assert!(files.len() >= 4, "a mark and several segments");
    let (report, entries) = read(&world_of(&files));
    let report = report.unwrap();
    assert_eq!(report.identity, IDENTITY);
    assert!(report.recovery.closed_cleanly && report.recovery.segments >= 3);
    assert_eq!(entries, (1..=ENTRIES).map(entry).collect::<Vec<_>>());
}
