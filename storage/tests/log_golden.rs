//! The bytes of the format, pinned: a log written today is read by every later build.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod log_support;

use std::fmt::Write;
use std::path::Path;

use log_support::{dir, entry, open, write_through};
use ringmill_storage::checksum::digest;
use ringmill_storage::disk::sim::{Crash, SimWorld};
use ringmill_storage::layout::{BLOCK_BYTES, is_zero};
use ringmill_storage::manifest::Manifest;

const STORE_ID: u128 = 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10;

/// A manifest and a closed log of two segments.
fn golden_world() -> SimWorld {
    let world = SimWorld::new(1);
    let mut disk = world.disk();
    let mut manifest =
        Manifest::open_or_create_as(&mut disk, Path::new("/store"), 3, STORE_ID).unwrap();
    manifest.set_blob(&mut disk, b"pipeline digest").unwrap();
    manifest.note_streams_created(&mut disk).unwrap();
    let (mut log, ..) = open(&world).unwrap();
    write_through(&mut log, 14, 2).unwrap();
    log.close().unwrap();
    world.crash(Crash::Kill);
    world.settle();
    world
}

/// The first bytes of every used block in full, and the digest of every file.
fn dump(world: &SimWorld) -> String {
    let mut text = String::new();
    for path in world.paths() {
        let bytes = world.contents(&path).unwrap();
        writeln!(
            text,
            "{} {} {:032x}",
            path.display(),
            bytes.len(),
            digest(&bytes)
        )
        .unwrap();
        for (index, block) in bytes.chunks(BLOCK_BYTES).enumerate() {
            if is_zero(block) {
                continue;
            }
            writeln!(text, "  block {index}").unwrap();
            for row in block[..160].chunks(16) {
                let hex: Vec<String> = row.iter().map(|byte| format!("{byte:02x}")).collect();
                writeln!(text, "    {}", hex.join(" ")).unwrap();
            }
        }
    }
    text
}

#[test]
fn the_bytes_on_disk_are_those_of_version_1() {
    let found = dump(&golden_world());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/log-v1.txt");
    if std::env::var_os("RINGMILL_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let pinned = std::fs::read_to_string(&path).expect("the pinned bytes are in the repository");
    for (line, (found, pinned)) in found.lines().zip(pinned.lines()).enumerate() {
        assert_eq!(found, pinned, "line {} of {}", line + 1, path.display());
    }
    assert_eq!(found.len(), pinned.len());
}

#[test]
fn the_pinned_log_is_read_back() {
    let world = golden_world();
    let (_, report, entries) = open(&world).unwrap();
    assert!(report.closed_cleanly && report.segments >= 2);
    assert_eq!(entries, (1..=14).map(entry).collect::<Vec<_>>());
    let manifest = Manifest::read(&mut world.disk(), Path::new("/store")).unwrap();
    assert_eq!((manifest.store_id, manifest.incarnation), (STORE_ID, 1));
    assert_eq!(manifest.blob, b"pipeline digest");
    assert!(world.contents(&dir().join("mark")).is_some());
}
