//! What a log does for its user, one behaviour per test.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod log_support;

use log_support::{IDENTITY, KIND, dir, entry, open, open_with, options, write_through};
use ringmill_storage::disk::Disk;
use ringmill_storage::disk::sim::{Crash, Fault, PlannedFault, SimDisk, SimWorld};
use ringmill_storage::error::{ReplayError, StorageError};
use ringmill_storage::layout::BLOCK_BYTES;
use ringmill_storage::log::{
    FlushPolicy, FrameDone, Log, LogIdentity, LogOptions, MARK_PAUSE_NS, entry_bytes_max,
};
use ringmill_storage::planted::{PlantedBug, plant};
use ringmill_storage::recovery::Next;
use ringmill_storage::segment::prepare_segment;
use ringmill_storage::verify::verify_dir;

/// Polls until the flight is over; the report of the last frame.
fn land(log: &mut Log<SimDisk>, now_ns: u64) -> Option<FrameDone> {
    let mut done = None;
    while log.in_flight() {
        done = log.poll(now_ns).unwrap().or(done);
    }
    done
}

#[test]
fn a_frame_is_reported_once_with_its_times_and_moves_every_sequence() {
    let world = SimWorld::new(1);
    let flush = FlushPolicy::AfterWrite;
    let (mut log, report, _) = open_with(&world, LogOptions { flush, ..options() }).unwrap();
    assert_eq!((report.last_lsn, report.incarnation), (0, 1));
    assert_eq!(log.append(KIND, &[b"a", b"bc"]), Some(1));
    assert_eq!(log.append(KIND, &[b"d"]), Some(2));
    assert_eq!((log.pending_bytes(), log.in_flight()), (8 + 16 + 16, false));
    assert!(log.submit(10, true));
    assert!(!log.submit(11, true), "one frame in flight");
    assert_eq!(
        (log.appended_lsn(), log.written_lsn(), log.durable_lsn()),
        (2, 0, 0)
    );
    assert_eq!(
        log.poll(20).unwrap(),
        None,
        "the write landed, its flush is on its way"
    );
    let expected = FrameDone {
        through_lsn: 2,
        entries: 2,
        bytes: BLOCK_BYTES,
        durable: true,
        submitted_ns: 10,
        written_ns: 20,
        synced_ns: 30,
    };
    assert_eq!(log.poll(30).unwrap(), Some(expected));
    assert_eq!((log.written_lsn(), log.durable_lsn()), (2, 2));
    assert_eq!(log.poll(40).unwrap(), None);
    assert!(!log.submit(50, true), "nothing is pending");
}

#[test]
fn a_flush_makes_durable_what_was_written_without_one() {
    for flush in [FlushPolicy::WithWrite, FlushPolicy::AfterWrite] {
        for pending in [false, true] {
            let world = SimWorld::new(3);
            let (mut log, ..) = open_with(&world, LogOptions { flush, ..options() }).unwrap();
            log.append(KIND, &[&entry(1)]);
            log.submit(1, false);
            assert!(!land(&mut log, 1).unwrap().durable);
            assert_eq!((log.written_lsn(), log.durable_lsn()), (1, 0));
            if pending {
                log.append(KIND, &[&entry(2)]);
            }
            assert!(log.submit(2, true));
            let done = land(&mut log, 2).unwrap();
            assert!(done.durable);
            assert_eq!(
                (done.entries, log.durable_lsn()),
                (u32::from(pending), 1 + done.through_lsn - 1)
            );
            for _ in 0..20 {
                world.crash(Crash::PowerLoss);
            }
            let (.., entries) = open(&world).unwrap();
            assert_eq!(entries.len() as u64, 1 + u64::from(pending));
        }
    }
}

#[test]
fn the_longest_entry_fits_and_one_byte_more_is_the_callers_mistake() {
    let world = SimWorld::new(1);
    let (mut log, ..) = open(&world).unwrap();
    let longest = vec![7; entry_bytes_max(options().frame_bytes)];
    assert_eq!(log.room(), longest.len());
    assert_eq!(log.append(KIND, &[&longest]), Some(1));
    assert_eq!((log.room(), log.append(KIND, &[b""])), (0, None));
    log.submit(1, true);
    land(&mut log, 1);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        log.append(KIND, &[&longest, b"x"])
    }));
    assert!(result.is_err());
    world.crash(Crash::Kill);
    assert_eq!(open(&world).unwrap().2, [longest]);
}

#[test]
fn without_a_next_segment_nothing_more_is_taken_and_nothing_is_lost() {
    let world = SimWorld::new(1);
    let (mut log, ..) = open(&world).unwrap();
    assert_eq!(log.wanted_segment(), Some(2));
    let mut appended = 0;
    for _ in 0..20 {
        appended = log.append(KIND, &[&[5; 5000]]).unwrap_or(appended);
        log.submit(1, true);
        land(&mut log, 1);
    }
    assert_eq!((log.room(), log.append(KIND, &[b"x"])), (0, None));
    assert_eq!(
        log.durable_lsn(),
        appended - 1,
        "the last one waits for a segment"
    );
    assert!(log.pending_bytes() > 0);

    let wrong = prepare_segment(log.disk_mut(), &dir(), 3, options().segment_bytes).unwrap();
    assert!(matches!(log.supply(wrong), Err(StorageError::Options(_))));
    let next = prepare_segment(log.disk_mut(), &dir(), 2, options().segment_bytes).unwrap();
    log.supply(next).unwrap();
    assert!(log.room() > 0 || log.pending_bytes() > 0);
    assert!(log.submit(2, true));
    assert_eq!(land(&mut log, 2).unwrap().through_lsn, appended);
    assert_eq!(log.durable_lsn(), appended);
    world.crash(Crash::PowerLoss);
    assert_eq!(open(&world).unwrap().2.len() as u64, appended);
}

#[test]
fn an_idle_log_writes_its_mark_and_then_a_lost_last_frame_is_noticed() {
    let world = SimWorld::new(1);
    let (mut log, ..) = open(&world).unwrap();
    let mut marked = [0, 0];
    for (index, now_ns) in [MARK_PAUSE_NS, 2 * MARK_PAUSE_NS].into_iter().enumerate() {
        log.append(KIND, &[&entry(index as u64 + 1)]);
        log.submit(now_ns, true);
        land(&mut log, now_ns);
        log.idle_mark(now_ns);
        log.poll(now_ns).unwrap();
        log.append(KIND, &[b"x"]);
        log.idle_mark(now_ns + 2 * MARK_PAUSE_NS);
        log.submit(now_ns, true);
        land(&mut log, now_ns);
        log.idle_mark(now_ns + 1);
        marked[index] = verify_dir(&mut world.disk(), &dir())
            .unwrap()
            .marked_sequence;
    }
    assert_eq!(
        marked,
        [1, 3],
        "not while something is pending, not before the pause is over"
    );
    world.crash(Crash::Kill);
    world.settle();
    world.damage(&dir().join("00000001.seg"), |bytes| {
        bytes[3 * BLOCK_BYTES..].fill(0)
    });
    let error = open(&world).err().unwrap();
    let StorageError::Corrupt {
        offset,
        sequence,
        evidence,
        ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!(
        (*offset, *sequence, evidence.mark),
        (3 * BLOCK_BYTES as u64, 2, true)
    );
    assert!(error.to_string().contains("00000001.seg"), "{error}");
}

#[test]
fn a_marked_frame_of_another_history_is_refused() {
    let history = |last: &[u8]| {
        let world = SimWorld::new(1);
        let (mut log, ..) = open(&world).unwrap();
        write_through(&mut log, 2, 1).unwrap();
        log.append(KIND, &[last]);
        log.submit(1, true);
        land(&mut log, 1);
        log.idle_mark(MARK_PAUSE_NS);
        log.poll(MARK_PAUSE_NS).unwrap();
        world.crash(Crash::Kill);
        world.settle();
        world
    };
    let (world, other) = (history(b"one"), history(b"two"));
    let path = dir().join("00000001.seg");
    let last = 3 * BLOCK_BYTES..4 * BLOCK_BYTES;
    let foreign = other.contents(&path).unwrap()[last.clone()].to_vec();
    world.damage(&path, |bytes| bytes[last].copy_from_slice(&foreign));
    let error = open(&world).err().unwrap();
    assert!(
        matches!(&error, StorageError::Corrupt { evidence, .. } if evidence.mark),
        "{error}"
    );
}

/// Opens a log whose second frame was replaced by its twin of another history: the same place,
/// sequence and LSN, a valid header and payload, other bytes.
fn open_with_twin() -> Result<Vec<Vec<u8>>, StorageError> {
    let history = |second: &[u8]| {
        let world = SimWorld::new(1);
        let (mut log, ..) = open(&world).unwrap();
        for part in [b"abc", second, b"ghi"] {
            log.append(KIND, &[part]);
            log.submit(1, true);
            land(&mut log, 1);
        }
        world.crash(Crash::Kill);
        world.settle();
        world
    };
    let (world, other) = (history(b"def"), history(b"xyz"));
    let path = dir().join("00000001.seg");
    let second = 2 * BLOCK_BYTES..3 * BLOCK_BYTES;
    let twin = other.contents(&path).unwrap()[second.clone()].to_vec();
    world.damage(&path, |bytes| bytes[second].copy_from_slice(&twin));
    open(&world).map(|(.., entries)| entries)
}

#[test]
fn a_frame_of_another_history_breaks_the_chain() {
    let error = open_with_twin().err().unwrap();
    let StorageError::Corrupt {
        sequence: 2, found, ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(*found, Next::Contradiction);
    plant(Some(PlantedBug::IgnoreChain));
    let entries = open_with_twin();
    plant(None);
    assert_eq!(
        entries.unwrap()[1],
        b"xyz",
        "without the chain nobody would notice"
    );
}

#[test]
fn one_frame_behind_a_damaged_segment_header_is_evidence_enough() {
    let world = SimWorld::new(1);
    let (mut log, ..) = open(&world).unwrap();
    let mark = dir().join("mark");
    write_through(&mut log, 5, 1).unwrap();
    let old_mark = world.contents(&mark).unwrap();
    let second = dir().join("00000002.seg");
    let mut lsn = 5;
    while world.contents(&second).unwrap()[BLOCK_BYTES..]
        .iter()
        .all(|&byte| byte == 0)
    {
        lsn += 1;
        write_through(&mut log, lsn, 1).unwrap();
    }
    world.crash(Crash::Kill);
    world.settle();
    world.damage(&mark, |bytes| bytes.clone_from(&old_mark));
    assert_eq!(
        open(&world).unwrap().2.len() as u64,
        lsn,
        "an old mark alone does no harm"
    );
    world.crash(Crash::Kill);
    world.damage(&mark, |bytes| bytes.clone_from(&old_mark));
    world.damage(&second, |bytes| bytes[40] ^= 1);
    let error = open(&world).err().unwrap();
    let found = matches!(&error, StorageError::Corrupt { evidence, offset: 0, .. }
        if evidence.later_frame && !evidence.mark);
    assert!(found, "{error}");
}

#[test]
fn a_failed_write_ends_the_log_for_good_and_says_what_is_in_doubt() {
    for fault in [Fault::WriteError, Fault::FlushError, Fault::NoSpace] {
        let world = SimWorld::new(1);
        let (mut log, ..) = open(&world).unwrap();
        write_through(&mut log, 2, 1).unwrap();
        log.append(KIND, &[&entry(3)]);
        world.plan(Some(PlannedFault {
            operation: 0,
            fault,
            sticky: true,
        }));
        log.submit(1, true);
        let error = log.poll(1).unwrap_err();
        world.plan(None);
        let StorageError::Failed {
            first_sequence: 3,
            last_sequence: 3,
            path,
            ..
        } = &error
        else {
            panic!("{error}");
        };
        assert!(path.ends_with("00000001.seg"));
        assert!(log.failed() && log.room() == 0 && log.append(KIND, &[b"x"]).is_none());
        assert!(!log.submit(2, true) && log.poll(2).is_err());
        assert_eq!(log.durable_lsn(), 2);
        assert!(log.close().is_err());
        world.crash(Crash::Kill);
        assert!(open(&world).unwrap().2.len() >= 2);
    }
}

#[test]
fn another_log_another_process_and_a_missing_log_are_told_apart() {
    let world = SimWorld::new(1);
    let required = LogOptions {
        must_exist: true,
        ..options()
    };
    let error = open_with(&world, required).err().unwrap();
    assert!(matches!(&error, StorageError::Missing { path, .. } if path.ends_with("mark")));

    let (mut log, ..) = open(&world).unwrap();
    write_through(&mut log, 3, 1).unwrap();
    let error = open(&world).err().unwrap();
    assert!(error.to_string().contains("another ringmill"), "{error}");
    world.crash(Crash::Kill);

    let other = LogIdentity {
        stream: 6,
        ..IDENTITY
    };
    let opened = Log::open(
        world.disk(),
        &dir(),
        other,
        options(),
        &mut |_, _, _| Ok(()),
    );
    assert!(matches!(
        opened.err().unwrap(),
        StorageError::Identity { .. }
    ));
    world.crash(Crash::Kill);

    let needs = LogOptions {
        required_lsn: 4,
        ..options()
    };
    let error = open_with(&world, needs).err().unwrap();
    assert!(matches!(&error, StorageError::Corrupt { evidence, .. } if evidence.required));
    world.crash(Crash::Kill);
    assert_eq!(
        open_with(
            &world,
            LogOptions {
                required_lsn: 3,
                ..required
            }
        )
        .unwrap()
        .2
        .len(),
        3
    );
    world.crash(Crash::Kill);

    world.settle();
    world.remove(&dir().join("mark"));
    assert!(matches!(
        open(&world).err().unwrap(),
        StorageError::Missing { .. }
    ));
}

#[test]
fn an_entry_that_the_layer_above_refuses_stops_the_open_and_is_named() {
    let world = SimWorld::new(1);
    let (mut log, ..) = open(&world).unwrap();
    write_through(&mut log, 5, 2).unwrap();
    world.crash(Crash::Kill);
    let refuse = &mut |lsn, _, _: &[u8]| match lsn {
        4 => Err(ReplayError::new("no such stream")),
        _ => Ok(()),
    };
    let error = Log::open(world.disk(), &dir(), IDENTITY, options(), refuse)
        .err()
        .unwrap();
    assert!(
        matches!(error, StorageError::Replay { lsn: 4, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("no such stream"));
}

#[test]
fn bad_sectors_are_refused_by_block_and_read_errors_that_go_away_are_not() {
    let world = SimWorld::new(1);
    let (mut log, ..) = open(&world).unwrap();
    write_through(&mut log, 9, 2).unwrap();
    world.crash(Crash::Kill);
    for operation in 0..12 {
        world.plan(Some(PlannedFault {
            operation,
            fault: Fault::ReadError,
            sticky: false,
        }));
        assert_eq!(
            open(&world).unwrap().2.len(),
            9,
            "one bad read at {operation}"
        );
        world.crash(Crash::Kill);
    }
    world.plan(Some(PlannedFault {
        operation: 0,
        fault: Fault::ReadError,
        sticky: true,
    }));
    let error = open(&world).err().unwrap();
    assert!(
        matches!(error, StorageError::Unreadable { offset: 0, .. }),
        "{error}"
    );
}

#[test]
fn options_may_change_from_one_open_to_the_next() {
    let world = SimWorld::new(1);
    let mut written = 0;
    for (frame_blocks, segment_blocks) in [(2, 7), (1, 4), (8, 40), (3, 9), (1, 5)] {
        let options = LogOptions {
            frame_bytes: frame_blocks * BLOCK_BYTES,
            segment_bytes: (segment_blocks * BLOCK_BYTES) as u64,
            ..options()
        };
        let (mut log, _, entries) = open_with(&world, options).unwrap();
        assert_eq!(entries.len() as u64, written);
        written += 11;
        write_through(&mut log, written, 3).unwrap();
        log.close().unwrap();
        world.crash(Crash::PowerLoss);
    }
}

#[test]
fn the_disk_reports_a_second_holder_of_the_lock() {
    let world = SimWorld::new(1);
    let (_log, ..) = open(&world).unwrap();
    let mut disk = world.disk();
    let file = disk.open(&dir().join("mark")).unwrap();
    assert_eq!(
        disk.lock(file).unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock
    );
}
