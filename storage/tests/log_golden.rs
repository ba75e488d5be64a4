//! The bytes of the format, pinned: a log written today is read by every later build.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod log_support;

use std::fmt::Write;
use std::path::Path;

use log_support::{dir, entry, open, write_through};
use ringmill_storage::checksum::{digest, header_crc};
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
fn the_bytes_on_disk_are_those_of_version_2() {
    let found = dump(&golden_world());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/log-v2.txt");
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

/// Writes another version into a header that is otherwise whole, checksum included.
fn set_version(path: &Path, bytes: &mut [u8], version: u32) {
    let is_segment = path.extension().is_some_and(|end| end == "seg");
    let slots = if is_segment { 1 } else { 2 };
    for block in bytes.chunks_mut(BLOCK_BYTES).take(slots) {
        block[8..12].copy_from_slice(&version.to_le_bytes());
        if is_segment {
            let crc = header_crc(&block[..BLOCK_BYTES], 96);
            block[96..100].copy_from_slice(&crc.to_le_bytes());
        } else {
            let digest = digest(&block[..BLOCK_BYTES - 16]);
            block[BLOCK_BYTES - 16..].copy_from_slice(&digest.to_le_bytes());
        }
    }
}

#[test]
fn a_file_of_version_1_or_of_a_later_one_is_refused_by_name() {
    for name in ["mark", "00000001.seg", "00000002.seg"] {
        for version in [1, 3] {
            let world = golden_world();
            let path = dir().join(name);
            world.damage(&path, |bytes| set_version(&path, bytes, 2));
            assert!(open(&world).is_ok(), "{name} is as it was");
            world.crash(Crash::Kill);
            world.damage(&path, |bytes| set_version(&path, bytes, version));
            let before = world.contents(&path);
            let error = open(&world).err().unwrap();
            let expected =
                format!("{name} has format version {version}, this build reads version 2");
            assert!(error.to_string().contains(&expected), "{error}");
            assert!(error.is_damage() && world.contents(&path) == before);
        }
    }
}
