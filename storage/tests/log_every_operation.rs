//! A fault, or a crash, at every single operation of a fixed workload and of recovery itself.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod log_support;

use log_support::{KIND, dir, entry, is_prefix, open, write_through};
use ringmill_storage::disk::sim::{Crash, Fault, PlannedFault, Promise, SimWorld};
use ringmill_storage::log::MARK_PAUSE_NS;
use ringmill_storage::planted::{PlantedBug, plant};
use ringmill_storage::verify::verify_dir;

const ENTRIES: u64 = 18;

/// Opens, writes through several segments, marks and closes. Returns the last durable LSN.
fn workload(world: &SimWorld) -> u64 {
    let Ok((mut log, ..)) = open(world) else {
        return 0;
    };
    if let Err(durable) = write_through(&mut log, ENTRIES, 2) {
        return durable;
    }
    log.idle_mark(2 * MARK_PAUSE_NS);
    let _ = log.close();
    ENTRIES
}

/// Operations of the workload when nothing goes wrong.
fn workload_operations() -> u64 {
    let world = SimWorld::new(0);
    assert_eq!(workload(&world), ENTRIES);
    world.operations()
}

/// The log opens, holds at least what was durable, and goes on.
fn check_reopens(world: &SimWorld, durable: u64, place: &str) {
    let (mut log, _, entries) = open(world).unwrap_or_else(|error| panic!("{place}: {error}"));
    assert!(is_prefix(&entries), "{place}: other bytes");
    assert!(
        entries.len() as u64 >= durable,
        "{place}: {} of {durable}",
        entries.len()
    );
    let more = log.appended_lsn() + 4;
    write_through(&mut log, more, 3).unwrap_or_else(|_| panic!("{place}: cannot go on"));
    log.close()
        .unwrap_or_else(|error| panic!("{place}: {error}"));
    world.crash(Crash::PowerLoss);
    let (.., entries) = open(world).unwrap_or_else(|error| panic!("{place}: {error}"));
    assert!(
        entries.len() as u64 == more && is_prefix(&entries),
        "{place}: after going on"
    );
}

#[test]
fn a_fault_at_any_operation_once_or_for_good_loses_nothing_durable() {
    let operations = workload_operations();
    let faults = Fault::ALL
        .into_iter()
        .filter(|fault| fault.promise() == Promise::Survive);
    let mut struck = 0;
    for fault in faults {
        for operation in 0..operations {
            for (sticky, crash) in [
                (false, Crash::Kill),
                (false, Crash::PowerLoss),
                (true, Crash::Kill),
                (true, Crash::PowerLoss),
            ] {
                let world = SimWorld::new(operation);
                world.plan(Some(PlannedFault {
                    operation,
                    fault,
                    sticky,
                }));
                let durable = workload(&world);
                struck += world.injected(fault);
                world.plan(None);
                world.crash(crash);
                let place = format!("{fault:?} at {operation}, sticky {sticky}, then {crash:?}");
                check_reopens(&world, durable, &place);
            }
        }
    }
    assert!(struck as u64 > operations, "the faults struck");
}

#[test]
fn a_crash_at_any_operation_loses_nothing_durable() {
    for operation in 0..workload_operations() {
        for seed in 0..6 {
            let world = SimWorld::new(seed);
            world.die_after(Some(operation));
            let durable = workload(&world);
            let crash = if seed % 2 == 0 {
                Crash::PowerLoss
            } else {
                Crash::Kill
            };
            world.crash(crash);
            check_reopens(
                &world,
                durable,
                &format!("{crash:?} at {operation}, seed {seed}"),
            );
        }
    }
}

/// A log with a torn tail, or with a seal as its last frame.
fn crashed_world(seed: u64) -> (SimWorld, u64) {
    let world = SimWorld::new(seed);
    let (mut log, ..) = open(&world).unwrap();
    let end = 3 + seed % 12;
    write_through(&mut log, end, 2).unwrap();
    for index in 1..=3 {
        log.append(KIND, &[&entry(end + index)]);
    }
    log.submit(1, true);
    world.crash(if seed.is_multiple_of(3) {
        Crash::Kill
    } else {
        Crash::PowerLoss
    });
    (world, end)
}

#[test]
fn recovery_survives_a_crash_at_each_of_its_steps_and_twice_gives_the_same() {
    let mut torn = 0;
    for seed in 0..120 {
        let (world, durable) = crashed_world(seed);
        let verified = verify_dir(&mut world.disk(), &dir()).unwrap();
        let (_, report, entries) = open(&world).unwrap();
        torn += u32::from(report.torn);
        assert!(entries.len() as u64 >= durable);
        // After a kill, what was in flight may land between the two.
        if !seed.is_multiple_of(3) {
            assert_eq!(
                verified.recovery.last_lsn, report.last_lsn,
                "a dry run sees the same"
            );
        }
        for operation in 0.. {
            let (world, durable) = crashed_world(seed);
            world.die_after(Some(operation));
            if open(&world).is_ok() {
                assert!(operation > 15, "recovery has more steps than {operation}");
                break;
            }
            world.crash(if operation % 2 == 0 {
                Crash::PowerLoss
            } else {
                Crash::Kill
            });
            let place = format!("recovery of seed {seed}, crash at {operation}");
            check_reopens(&world, durable, &place);
        }
    }
    assert!(torn > 10, "torn tails were among them: {torn}");
}

/// Dies twice while the log is being created, then loses power. True if it opens after that.
fn creation_survives(first: u64, second: u64, seed: u64) -> bool {
    let world = SimWorld::new(seed);
    for operations in [first, second] {
        world.die_after(Some(operations));
        let _ = open(&world);
        world.crash(Crash::Kill);
    }
    world.crash(Crash::PowerLoss);
    open(&world).is_ok()
}

fn creations() -> impl Iterator<Item = (u64, u64, u64)> {
    let deaths = (4..12).flat_map(|first| (4..20).map(move |second| (first, second)));
    deaths.flat_map(|(first, second)| (0..40).map(move |seed| (first, second, seed)))
}

#[test]
fn a_leftover_of_an_interrupted_creation_never_gets_the_final_name() {
    for (first, second, seed) in creations() {
        let place = format!("deaths at {first} and {second}, seed {seed}");
        assert!(creation_survives(first, second, seed), "{place}");
    }
}

#[test]
fn the_planted_bug_of_the_leftover_is_found() {
    plant(Some(PlantedBug::LeftoverNotFlushed));
    let all = creations().all(|(first, second, seed)| creation_survives(first, second, seed));
    plant(None);
    assert!(!all);
}
