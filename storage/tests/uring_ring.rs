//! The ring itself: what enters, what comes out, and what it says when it cannot be made.

mod uring_support;

use std::os::fd::AsFd;
use std::time::Duration;

use ringmill_storage::aligned::AlignedBuf;
use ringmill_storage::ring::{DISK_TAG, Ring, RingError, RingOptions, memlock_needed_bytes};
use uring_support::{dir, ring, ring_with};

#[test]
fn completions_are_told_apart_by_the_tag_and_keep_their_order() {
    let Some(ring) = ring() else { return };
    let mut ring = ring.borrow_mut();
    for number in 0..10 {
        ring.push_nop(if number % 2 == 0 {
            number
        } else {
            DISK_TAG | number
        });
    }
    ring.enter(None).unwrap();
    ring.drain();
    for number in [0, 2, 4, 6, 8] {
        assert_eq!(ring.pop_other().unwrap().user_data, number);
    }
    for number in [1, 3, 5, 7, 9] {
        assert_eq!(ring.pop_disk().unwrap().user_data, DISK_TAG | number);
    }
    assert!(ring.pop_other().is_none() && ring.pop_disk().is_none());
    assert_eq!(ring.counters().cqes, 10);
    assert_eq!(ring.counters().submits, 10);
}

#[test]
fn an_idle_turn_makes_no_system_call() {
    let Some(ring) = ring() else { return };
    let mut ring = ring.borrow_mut();
    let before = ring.counters();
    for _ in 0..100 {
        ring.enter(None).unwrap();
        ring.drain();
    }
    assert_eq!(ring.counters(), before);
}

#[test]
fn a_wait_ends_by_itself_and_is_skipped_when_completions_are_there() {
    let Some(ring) = ring() else { return };
    let mut ring = ring.borrow_mut();
    ring.enter(Some(Duration::from_millis(1))).unwrap();
    assert_eq!(ring.counters().enters, 1);
    ring.push_nop(1);
    ring.enter(None).unwrap();
    // Not drained yet, then drained but not popped: both times the owner has work.
    ring.enter(Some(Duration::from_secs(3600))).unwrap();
    ring.drain();
    ring.enter(Some(Duration::from_secs(3600))).unwrap();
    assert_eq!(ring.counters().enters, 2);
    assert_eq!(ring.pop_other().unwrap().user_data, 1);
}

#[test]
fn a_full_submission_queue_submits_and_loses_nothing() {
    let options = RingOptions {
        entries: 8,
        ..RingOptions::default()
    };
    let Some(ring) = ring_with(&options) else {
        return;
    };
    let mut ring = ring.borrow_mut();
    const NOPS: u64 = 500;
    for number in 0..NOPS {
        ring.push_nop(number);
    }
    let mut seen = Vec::new();
    while seen.len() < usize::try_from(NOPS).unwrap() {
        ring.enter(Some(Duration::from_secs(10))).unwrap();
        ring.drain();
        while let Some(cqe) = ring.pop_other() {
            assert_eq!(cqe.result, 0);
            seen.push(cqe.user_data);
        }
    }
    assert_eq!(seen, (0..NOPS).collect::<Vec<_>>());
    // 500 completions do not fit 32 places: the kernel kept some back, and that was counted.
    assert!(ring.counters().overflow > 0);
    assert_eq!(ring.counters().submits, NOPS);
}

#[test]
fn a_ring_that_is_large_enough_never_overflows() {
    let Some(ring) = ring() else { return };
    let mut ring = ring.borrow_mut();
    for _ in 0..100 {
        for number in 0..64 {
            ring.push_nop(number);
        }
        ring.enter(None).unwrap();
        ring.drain();
        while ring.pop_other().is_some() {}
    }
    assert_eq!(ring.counters().overflow, 0);
    assert_eq!(ring.counters().deferred, 0);
    assert_eq!(ring.counters().cqes, 6400);
}

#[test]
fn slots_of_files_and_buffers_are_given_out_once_and_come_back() {
    let options = RingOptions {
        entries: 8,
        file_slots: 2,
        buffer_slots: 1,
        ..Default::default()
    };
    let Some(ring) = ring_with(&options) else {
        return;
    };
    let mut ring = ring.borrow_mut();
    let file = std::fs::File::create(dir().path().join("file")).unwrap();
    let first = ring.register_file(file.as_fd()).unwrap();
    let second = ring.register_file(file.as_fd()).unwrap();
    assert_ne!(first, second);
    assert_eq!(ring.register_file(file.as_fd()), None);
    ring.unregister_file(first);
    assert_eq!(ring.register_file(file.as_fd()), Some(first));

    let mut buffer = AlignedBuf::zeroed(8192);
    let slot = ring.register_buffer(&mut buffer).unwrap();
    let error = ring
        .register_buffer(&mut AlignedBuf::zeroed(4096))
        .unwrap_err();
    ring.unregister_buffer(slot);
    assert_eq!(ring.register_buffer(&mut buffer).unwrap(), slot);

    ring.warn_unregistered(8192, &error);
    assert!(
        ring.warnings()
            .last()
            .unwrap()
            .contains("8 KiB is not registered")
    );
}

#[test]
fn too_little_memlock_is_explained_with_both_figures() {
    let Some(ring) = ring() else { return };
    let mut ring = ring.borrow_mut();
    ring.warn_unregistered(1 << 20, &std::io::Error::from_raw_os_error(12));
    let needed = format!("{} KiB", memlock_needed_bytes(1) / 1024);
    let text = ring.warnings().last().unwrap();
    for part in [
        "1024 KiB is not registered",
        "RLIMIT_MEMLOCK is",
        &needed,
        "LimitMEMLOCK",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(memlock_needed_bytes(4), 4 * memlock_needed_bytes(1));
}

#[test]
fn sizes_that_make_no_sense_are_refused_in_words() {
    for entries in [0, 7, 16_385, u32::MAX] {
        let error = Ring::new(&RingOptions {
            entries,
            ..Default::default()
        })
        .unwrap_err();
        assert!(matches!(error, RingError::Entries { .. }));
        assert!(error.to_string().contains(&entries.to_string()));
    }
}

#[test]
fn a_helper_cpu_that_does_not_exist_is_a_warning_and_no_failure() {
    for cpu in [100_000, 1023] {
        let options = RingOptions {
            entries: 8,
            iowq_cpu: Some(cpu),
            ..Default::default()
        };
        let Some(ring) = ring_with(&options) else {
            return;
        };
        let warnings = ring.borrow().warnings().join("\n");
        assert!(warnings.contains(&format!("CPU {cpu}")), "{warnings:?}");
    }
    let options = RingOptions {
        entries: 8,
        ..Default::default()
    };
    let Some(ring) = ring_with(&options) else {
        return;
    };
    assert_eq!(ring.borrow().warnings(), Vec::<String>::new());
}

/// A registered ring descriptor holds the ring alive until its task ends; a task has 16 places.
#[test]
fn many_rings_may_be_made_and_dropped_on_one_thread() {
    for _ in 0..100 {
        let options = RingOptions {
            entries: 8,
            ..Default::default()
        };
        let Some(ring) = ring_with(&options) else {
            return;
        };
        assert_eq!(ring.borrow().warnings(), Vec::<String>::new());
    }
}
