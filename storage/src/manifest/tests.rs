//! The manifest on the simulated disk.

use super::*;
use crate::disk::sim::{Crash, SimWorld};
use crate::layout::{put_u32, put_u128};

const DIR: &str = "/store";

fn open(world: &SimWorld) -> Result<(crate::disk::sim::SimDisk, Manifest), StorageError> {
    let mut disk = world.disk();
    Manifest::open_or_create_as(&mut disk, Path::new(DIR), 4, 77).map(|open| (disk, open))
}

#[test]
fn a_store_keeps_its_identity_and_raises_its_incarnation() {
    let world = SimWorld::new(1);
    let (mut disk, mut manifest) = open(&world).unwrap();
    manifest.set_blob(&mut disk, b"pipeline").unwrap();
    manifest.note_streams_created(&mut disk).unwrap();
    let epoch = manifest.begin_epoch(&mut disk, 2).unwrap();
    assert_eq!(
        epoch,
        Epoch {
            first_stream: 4,
            streams: 2
        }
    );
    let state = manifest.state().clone();
    world.crash(Crash::PowerLoss);
    let (mut disk, manifest) = open(&world).unwrap();
    let expected = ManifestState {
        generation: state.generation + 1,
        incarnation: state.incarnation + 1,
        ..state
    };
    assert_eq!(manifest.state(), &expected);
    assert!(
        !manifest.state().streams_created,
        "the new epoch's logs are to be created"
    );
    assert_eq!(Manifest::read(&mut disk, Path::new(DIR)).unwrap(), expected);
}

#[test]
fn a_second_process_is_told_that_the_store_is_in_use() {
    let world = SimWorld::new(1);
    let (mut disk, manifest) = open(&world).unwrap();
    let access = Access::Exclusive {
        tries: 2,
        wait: Duration::ZERO,
    };
    let error = access.open(&mut disk, &manifest.path).unwrap_err();
    assert!(error.to_string().contains("another ringmill"), "{error}");
}

#[test]
fn groups_spread_evenly_and_in_order() {
    let epoch = Epoch {
        first_stream: 10,
        streams: 3,
    };
    let streams: Vec<u32> = (0..GROUPS).map(|group| epoch.stream_of(group)).collect();
    assert!(streams.is_sorted() && streams[0] == 10 && streams[4095] == 12);
    for stream in epoch.streams() {
        let groups = streams.iter().filter(|&&found| found == stream).count();
        assert!((1365..=1366).contains(&groups));
    }
}

#[test]
fn another_version_is_named_and_damage_to_both_slots_is_refused() {
    let world = SimWorld::new(1);
    drop(open(&world).unwrap());
    world.crash(Crash::Kill);
    world.settle();
    let path = Path::new(DIR).join(MANIFEST_NAME);
    let before = world.contents(&path).unwrap();
    world.damage(&path, |bytes| bytes[100] ^= 1);
    assert_eq!(open(&world).unwrap().1.slots_invalid(), 1);
    world.crash(Crash::Kill);
    world.damage(&path, |bytes| {
        bytes.clone_from(&before);
        bytes[100] ^= 1;
        bytes[4196] ^= 1;
    });
    assert!(matches!(
        open(&world),
        Err(StorageError::SlotsDamaged { .. })
    ));
    world.crash(Crash::Kill);
    world.damage(&path, |bytes| {
        bytes.clone_from(&before);
        for block in bytes.chunks_mut(4096) {
            put_u32(block, at::VERSION, 9);
            let digest = crate::checksum::digest(&block[..at::DIGEST]);
            put_u128(block, at::DIGEST, digest);
        }
    });
    let error = open(&world).err().unwrap().to_string();
    assert!(
        error.contains("version 9") && error.contains("version 2"),
        "{error}"
    );
}

#[test]
fn a_lost_manifest_is_not_replaced_by_an_empty_one() {
    let world = SimWorld::new(1);
    let (mut disk, manifest) = open(&world).unwrap();
    let log = manifest.stream_dir(0);
    disk.create_dir(&log).unwrap();
    disk.create(&log.join("mark"), 4096).unwrap();
    world.settle();
    world.crash(Crash::Kill);
    world.remove(&Path::new(DIR).join(MANIFEST_NAME));
    assert!(matches!(open(&world), Err(StorageError::Missing { .. })));
}

#[test]
fn ids_differ() {
    assert_ne!(random_id(), random_id());
}

/// Every change is whole or absent, whichever operation the power fails at.
#[test]
fn a_power_loss_at_any_operation_keeps_one_whole_state() {
    for (operations, seed) in (0..60).flat_map(|n| (0..40).map(move |seed| (n, seed))) {
        assert!(
            survives_power_loss(operations, seed),
            "operation {operations} seed {seed}"
        );
    }
}

fn survives_power_loss(operations: u64, seed: u64) -> bool {
    let world = SimWorld::new(seed);
    world.die_after(Some(operations));
    let mut acked = 0u8;
    if let Ok((mut disk, mut manifest)) = open(&world) {
        for step in 1..10u8 {
            if manifest.set_blob(&mut disk, &[step]).is_err() {
                break;
            }
            acked = step;
        }
    }
    world.crash(Crash::PowerLoss);
    let Ok((_, manifest)) = open(&world) else {
        return false;
    };
    let found = manifest.state().blob.first().copied().unwrap_or(0);
    found == acked || found == acked + 1
}

#[cfg(feature = "planted-bugs")]
#[test]
fn the_planted_bug_of_the_manifest_is_found() {
    crate::planted::plant(Some(PlantedBug::ManifestOverwritesSlot));
    let cases = (0..60).flat_map(|n| (0..40).map(move |seed| (n, seed)));
    let mut found = false;
    for (operations, seed) in cases {
        found |= !survives_power_loss(operations, seed);
    }
    crate::planted::plant(None);
    assert!(found);
}
