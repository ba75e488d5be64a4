//! Recovery reads ahead: a guess that costs nothing when it is wrong.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod log_support;

use std::path::{Path, PathBuf};

use log_support::{dir, is_prefix, open_with, options, write_through};
use ringmill_storage::disk::sim::{Crash, SimWorld};
use ringmill_storage::error::{ReplayError, StorageError};
use ringmill_storage::frame::{FrameHeader, FrameKind};
use ringmill_storage::layout::BLOCK_BYTES;
use ringmill_storage::log::LogOptions;
use ringmill_storage::segment::segment_path;
use ringmill_storage::verify::{read_dir, verify_dir};

const ENTRIES: u64 = 90;

/// Pieces smaller than a frame, as long as one, uneven, and longer than a segment.
const PIECES: [usize; 5] = [1, 2, 3, 5, 64];

fn read_by(blocks: usize) -> LogOptions {
    LogOptions {
        replay_piece_bytes: blocks * BLOCK_BYTES,
        ..options()
    }
}

/// A log of several segments that was killed, everything durable.
fn world() -> SimWorld {
    world_of(options())
}

fn world_of(options: LogOptions) -> SimWorld {
    let world = SimWorld::new(7);
    let (mut log, ..) = open_with(&world, options).unwrap();
    write_through(&mut log, ENTRIES, 9).unwrap();
    drop(log);
    world.crash(Crash::Kill);
    world.settle();
    world
}

/// Blocks of a segment's frames with what they are of, in order.
fn frames(segment: &[u8]) -> Vec<(usize, FrameHeader)> {
    let mut found = Vec::new();
    let mut block = 1;
    while let Some(header) = segment
        .get(block * BLOCK_BYTES..)
        .and_then(FrameHeader::decode)
    {
        found.push((block, header));
        block += header.block_count as usize;
    }
    found
}

/// A sealed segment with blocks behind its seal: its path and the first of them.
fn behind_a_seal(world: &SimWorld) -> (PathBuf, usize) {
    for path in world.paths() {
        let bytes = world.contents(&path).unwrap();
        if let Some((block, header)) = frames(&bytes).last()
            && header.kind == FrameKind::Seal
            && (block + 1) * BLOCK_BYTES < bytes.len()
        {
            return (path, block + 1);
        }
    }
    panic!("no segment has room behind its seal");
}

#[test]
fn pieces_of_any_length_give_the_same_log() {
    for blocks in PIECES {
        for finish_rate in [65_536, 20_000, 3_000] {
            let world = world();
            world.set_finish_rate(finish_rate);
            let (_, report, entries) = open_with(&world, read_by(blocks)).unwrap();
            assert_eq!(entries.len() as u64, ENTRIES, "{blocks} blocks at once");
            assert!(is_prefix(&entries) && report.segments > 3);
        }
    }
}

#[test]
fn a_block_that_nobody_needs_may_be_unreadable() {
    let (path, block) = behind_a_seal(&world());
    for blocks in PIECES {
        let world = world();
        world.spoil(&path, block);
        let (_, _, entries) = open_with(&world, read_by(blocks)).unwrap();
        assert_eq!(entries.len() as u64, ENTRIES, "{blocks} blocks at once");
        assert!(is_prefix(&entries));
    }
}

#[test]
fn a_block_that_is_needed_and_unreadable_is_named_and_nothing_is_written() {
    for segment_sequence in 1..=2 {
        let path = segment_path(&dir(), segment_sequence);
        let used = frames(&world().contents(&path).unwrap());
        let (last, header) = *used.last().unwrap();
        for block in 0..last + header.block_count as usize {
            for blocks in PIECES {
                let world = world();
                let before = contents(&world);
                world.spoil(&path, block);
                let error = open_with(&world, read_by(blocks)).err().unwrap();
                check_unreadable(&error, &path, block);
                let error = verify_dir(&mut world.disk(), &dir()).unwrap_err();
                check_unreadable(&error, &path, block);
                assert_eq!(contents(&world), before);
            }
        }
    }
}

fn check_unreadable(error: &StorageError, expected: &Path, block: usize) {
    match error {
        StorageError::Unreadable { path, offset, .. } => {
            assert_eq!(path, expected);
            assert_eq!(*offset, (block * BLOCK_BYTES) as u64);
        }
        other => panic!("block {block}: {other}"),
    }
}

fn contents(world: &SimWorld) -> Vec<Option<Vec<u8>>> {
    let paths = world.paths();
    paths.iter().map(|path| world.contents(path)).collect()
}

#[test]
fn nothing_is_in_flight_when_the_walk_is_over_or_was_broken_off() {
    let long = LogOptions {
        segment_bytes: 16 << 20,
        ..options()
    };
    let world = world_of(long);
    world.set_finish_rate(2_000);
    for refused in [1, 2, ENTRIES / 2, ENTRIES, ENTRIES + 1] {
        let mut disk = world.disk();
        let read = read_dir(&mut disk, &dir(), &mut |lsn, _, _| match lsn == refused {
            true => Err(ReplayError::new("enough")),
            false => Ok(()),
        });
        assert_eq!(read.is_ok(), refused > ENTRIES);
        assert_eq!(disk.in_flight(), 0);
    }
}
