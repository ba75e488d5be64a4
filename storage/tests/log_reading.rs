//! Reading a log without owning it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod log_support;

use log_support::{IDENTITY, dir, entry, kind, open, write_through};
use ringmill_storage::disk::sim::{Crash, SimWorld};
use ringmill_storage::error::StorageError;
use ringmill_storage::follow::Follower;
use ringmill_storage::verify::{read_dir, replay_closed};

#[test]
fn the_kind_of_every_entry_is_handed_back() {
    let world = SimWorld::new(1);
    let (mut log, ..) = open(&world).unwrap();
    write_through(&mut log, 30, 4).unwrap();
    world.crash(Crash::Kill);
    let mut kinds = Vec::new();
    read_dir(&mut world.disk(), &dir(), &mut |_, kind, _| {
        kinds.push(kind);
        Ok(())
    })
    .unwrap();
    assert_eq!(kinds, (1..=30).map(kind).collect::<Vec<_>>());
}

#[test]
fn a_closed_log_is_replayed_without_being_written() {
    let world = SimWorld::new(1);
    let (mut log, ..) = open(&world).unwrap();
    write_through(&mut log, 9, 2).unwrap();
    let replay = |world: &SimWorld| {
        let mut count = 0;
        let mut disk = world.disk();
        let report = replay_closed(&mut disk, &dir(), IDENTITY, &mut |_, _, _| {
            count += 1;
            Ok(())
        });
        report.map(|_| count)
    };
    assert!(matches!(
        replay(&world),
        Err(StorageError::NotClosed { .. })
    ));
    let disk = log.close().unwrap();
    assert_eq!(disk.in_flight(), 0);
    let before: Vec<_> = world
        .paths()
        .iter()
        .map(|path| world.contents(path))
        .collect();
    assert_eq!(replay(&world).unwrap(), 9);
    let after: Vec<_> = world
        .paths()
        .iter()
        .map(|path| world.contents(path))
        .collect();
    assert!(before == after);
    let (log, report, _) = open(&world).unwrap();
    assert!(report.closed_cleanly && report.zeroed_bytes == 0 && report.adopted_bytes == 0);
    drop(log);
}

#[test]
fn a_log_can_be_read_while_it_is_written() {
    let world = SimWorld::new(1);
    let (mut log, ..) = open(&world).unwrap();
    for end in 1..12 {
        write_through(&mut log, end, 1).unwrap();
        let mut count = 0;
        read_dir(&mut world.disk(), &dir(), &mut |_, _, _| {
            count += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(count, end);
    }
    assert!(world.is_locked(&dir().join("mark")));
}

/// Frame by frame, over the ends of segments, and in larger steps.
#[test]
fn a_follower_reads_on_where_the_writer_has_come_to() {
    for step in [1, 3, 50] {
        let world = SimWorld::new(1);
        let (mut log, ..) = open(&world).unwrap();
        write_through(&mut log, 2, 1).unwrap();
        let (dir, mut disk) = (dir(), world.disk());
        let mut follower = Follower::open(&mut disk, &dir, IDENTITY).unwrap();
        let mut found = Vec::new();
        for end in (2..60).step_by(step) {
            write_through(&mut log, end, 3).unwrap();
            let mut last = 0;
            let reached = follower.read_through(&mut disk, end, &mut |lsn, of_kind, bytes| {
                assert_eq!((of_kind, bytes), (kind(lsn), &entry(lsn)[..]));
                found.push(lsn);
                last = lsn;
                Ok(())
            });
            assert_eq!(reached.unwrap(), end);
            assert_eq!(disk.in_flight(), 0);
            // What was read already is not handed out again.
            let again = follower.read_through(&mut disk, end, &mut |_, _, _| panic!("again"));
            assert_eq!(again.unwrap(), end);
        }
        let end = log.durable_lsn();
        assert_eq!(found, (1..=end).collect::<Vec<_>>(), "step {step}");
        // An entry that is not there is no end but a fault.
        let beyond = follower.read_through(&mut disk, end + 1, &mut |_, _, _| Ok(()));
        assert!(
            matches!(beyond, Err(StorageError::Corrupt { .. })),
            "{beyond:?}"
        );
        follower.close(&mut disk).unwrap();
    }
}
