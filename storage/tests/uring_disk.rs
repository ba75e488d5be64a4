//! The disk on a ring: ownership of buffers through success, error and drop; locks; tables.

mod uring_support;

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;

use ringmill_storage::aligned::AlignedBuf;
use ringmill_storage::disk::uring::{URING_OPS_MAX, UringDisk};
use ringmill_storage::disk::{Disk, Op};
use ringmill_storage::probe::SyncWay;
use ringmill_storage::ring::RingOptions;
use uring_support::{
    BLOCK, assert_content, collect, dir, disk_on, filled, ring, ring_with, write_op,
};

#[test]
fn writes_reads_and_flushes_complete_with_their_tickets_and_buffers() {
    let Some(ring) = ring() else { return };
    let dir = dir();
    let path = dir.path().join("file");
    let mut disk = disk_on(&ring);
    let file = disk.create(&path, 1 << 20).unwrap();
    disk.submit(1, write_op(file, 0, filled(BLOCK, 1), true));
    disk.submit(2, write_op(file, 8192, filled(2 * BLOCK, 2), false));
    let done = collect(&mut disk, 2);
    assert_eq!(done[0].ticket, 1);
    assert_eq!(*done[0].result.as_ref().unwrap(), BLOCK);
    assert_eq!(*done[1].result.as_ref().unwrap(), 2 * BLOCK);
    assert!(
        done[1]
            .buffer
            .as_ref()
            .unwrap()
            .iter()
            .all(|&byte| byte == 2)
    );
    disk.submit(3, Op::Datasync { file });
    let done = collect(&mut disk, 1);
    assert_eq!((done[0].ticket, *done[0].result.as_ref().unwrap()), (3, 0));
    assert!(done[0].buffer.is_none());

    let buffer = AlignedBuf::zeroed(4 * BLOCK);
    disk.submit(
        4,
        Op::Read {
            file,
            offset: 8192,
            buffer,
            start: 0,
            bytes: 2 * BLOCK,
        },
    );
    let done = collect(&mut disk, 1).remove(0);
    assert_eq!(done.result.unwrap(), 2 * BLOCK);
    let buffer = done.buffer.unwrap();
    assert!(buffer[..2 * BLOCK].iter().all(|&byte| byte == 2));
    assert!(
        buffer[2 * BLOCK..].iter().all(|&byte| byte == 0),
        "read past the length asked for"
    );
    assert_content(&path, 0, &[1; BLOCK]);
    assert_content(&path, 4096, &[0; BLOCK]);
}

/// A core that spins never sleeps in the ring: its turns alone must bring the completions, also
/// those of a flush that a helper thread of the kernel executes.
#[test]
fn turns_without_waiting_are_enough() {
    let Some(ring) = ring() else { return };
    let dir = dir();
    let mut disk = disk_on(&ring);
    let file = disk.create(&dir.path().join("file"), 1 << 16).unwrap();
    disk.submit(1, write_op(file, 0, filled(BLOCK, 1), true));
    disk.submit(2, Op::Datasync { file });
    let mut done = Vec::new();
    for _ in 0..30_000 {
        disk.pump().unwrap();
        disk.reap(&mut done);
        if done.len() == 2 {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("only {} of 2 completions came", done.len());
}

#[test]
fn a_part_of_a_registered_buffer_is_written_and_the_rest_is_not() {
    let Some(ring) = ring() else { return };
    let dir = dir();
    let path = dir.path().join("file");
    let mut disk = disk_on(&ring);
    let file = disk.create(&path, 1 << 20).unwrap();
    let mut buffers = [filled(16 * BLOCK, 7), filled(16 * BLOCK, 8)];
    disk.register_buffers(&mut buffers);
    assert!(buffers.iter().all(|buffer| buffer.registered().is_some()));
    assert_ne!(buffers[0].registered(), buffers[1].registered());
    let [first, _second] = buffers;
    disk.submit(
        1,
        Op::Write {
            file,
            offset: 4096,
            buffer: first,
            bytes: BLOCK,
            flush: true,
        },
    );
    assert_eq!(collect(&mut disk, 1)[0].result.as_ref().unwrap(), &BLOCK);
    assert_content(&path, 0, &[0; BLOCK]);
    assert_content(&path, 4096, &[7; BLOCK]);
    assert_content(&path, 8192, &[0; BLOCK]);
}

/// The note in the buffer is from another ring: taken at its word, the kernel would write other
/// memory than the caller's.
#[test]
fn a_buffer_registered_elsewhere_is_written_with_its_own_bytes() {
    let (Some(ring_a), Some(ring_b)) = (ring(), ring()) else {
        return;
    };
    let dir = dir();
    let path = dir.path().join("file");
    let mut disk_a = disk_on(&ring_a);
    let mut disk_b = disk_on(&ring_b);
    let mut buffers_a = [filled(BLOCK, 1)];
    let mut buffers_b = [filled(BLOCK, 2)];
    disk_a.register_buffers(&mut buffers_a);
    disk_b.register_buffers(&mut buffers_b);
    assert_eq!(buffers_a[0].registered(), buffers_b[0].registered());
    let file = disk_b.create(&path, 1 << 16).unwrap();
    let [foreign] = buffers_a;
    disk_b.submit(1, write_op(file, 0, foreign, false));
    assert_eq!(*collect(&mut disk_b, 1)[0].result.as_ref().unwrap(), BLOCK);
    assert_content(&path, 0, &[1; BLOCK]);
}

#[test]
fn buffers_come_home_with_every_error() {
    let Some(ring) = ring() else { return };
    let dir = dir();
    let path = dir.path().join("file");
    let mut disk = disk_on(&ring);
    let writable = disk.create(&path, 1 << 16).unwrap();
    let read_only = disk.open_read(&path).unwrap();
    let mut buffers = [filled(BLOCK, 5)];
    disk.register_buffers(&mut buffers);
    let [registered] = buffers;
    disk.submit(1, write_op(read_only, 0, filled(BLOCK, 3), true));
    disk.submit(2, write_op(read_only, 0, registered, true));
    disk.submit(3, write_op(writable, 1 << 60, filled(BLOCK, 4), false));
    let read = AlignedBuf::zeroed(BLOCK);
    disk.submit(
        4,
        Op::Read {
            file: writable,
            offset: 1 << 16,
            buffer: read,
            start: 0,
            bytes: BLOCK,
        },
    );
    let done = collect(&mut disk, 4);
    for completion in &done {
        assert_eq!(completion.buffer.as_ref().unwrap().len(), BLOCK);
    }
    let errno = |index: usize| {
        done[index]
            .result
            .as_ref()
            .unwrap_err()
            .raw_os_error()
            .unwrap()
    };
    assert_eq!([errno(0), errno(1)], [libc::EBADF; 2]);
    assert_eq!(errno(2), libc::EFBIG);
    assert_eq!(
        *done[3].result.as_ref().unwrap(),
        0,
        "a read at the end is short, not an error"
    );
    assert!(done[1].buffer.as_ref().unwrap().registered().is_some());
    assert_eq!(disk.in_flight(), 0);
}

#[test]
fn a_dropped_disk_waits_for_what_is_in_flight() {
    let Some(ring) = ring() else { return };
    let dir = dir();
    for submit_first in [true, false] {
        let path = dir.path().join(format!("file-{submit_first}"));
        let mut disk = disk_on(&ring);
        let file = disk.create(&path, 1 << 20).unwrap();
        disk.lock(file).unwrap();
        for ticket in 0..8u8 {
            let buffer = filled(16 * BLOCK, ticket + 1);
            disk.submit(
                u64::from(ticket),
                write_op(file, u64::from(ticket) * 16 * BLOCK as u64, buffer, true),
            );
        }
        if submit_first {
            disk.pump().unwrap();
        }
        drop(disk);
        for ticket in 0..8u8 {
            let expected = vec![ticket + 1; 16 * BLOCK];
            assert_content(&path, usize::from(ticket) * 16 * BLOCK, &expected);
        }
        let mut again = disk_on(&ring);
        let file = again.open(&path).unwrap();
        again.lock(file).unwrap();
    }
}

#[test]
fn the_ring_may_go_first_in_the_source_and_still_lives_until_its_disk_is_done() {
    let Some(ring) = ring() else { return };
    let dir = dir();
    let path = dir.path().join("file");
    let mut disk = disk_on(&ring);
    let file = disk.create(&path, 1 << 16).unwrap();
    disk.submit(1, write_op(file, 0, filled(BLOCK, 9), true));
    drop(ring);
    drop(disk);
    assert_content(&path, 0, &[9; BLOCK]);
}

#[test]
fn disks_on_one_ring_get_their_own_completions_only() {
    let Some(ring) = ring() else { return };
    let dir = dir();
    let mut disks = [disk_on(&ring), disk_on(&ring)];
    let mut files = Vec::new();
    for (index, disk) in disks.iter_mut().enumerate() {
        files.push(
            disk.create(&dir.path().join(format!("{index}")), 1 << 16)
                .unwrap(),
        );
    }
    for round in 0..10u64 {
        for (disk, &file) in disks.iter_mut().zip(&files) {
            disk.submit(round, write_op(file, round * 4096, filled(BLOCK, 1), false));
        }
    }
    ring.borrow_mut().push_nop(77);
    for disk in &mut disks {
        let tickets: Vec<u64> = collect(disk, 10).iter().map(|done| done.ticket).collect();
        assert_eq!(tickets, (0..10).collect::<Vec<_>>());
    }
    assert_eq!(ring.borrow_mut().pop_other().unwrap().user_data, 77);
}

#[test]
fn a_lock_is_exclusive_until_its_file_is_closed() {
    let Some(ring) = ring() else { return };
    let dir = dir();
    let path = dir.path().join("mark");
    let mut first = disk_on(&ring);
    let mut second = disk_on(&ring);
    let held = first.create(&path, 8192).unwrap();
    first.lock(held).unwrap();
    let wanted = second.open(&path).unwrap();
    assert_eq!(
        second.lock(wanted).unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
    first.close(held);
    second.lock(wanted).unwrap();
}

#[test]
fn the_blocking_half_does_what_its_names_say() {
    let Some(ring) = ring() else { return };
    let dir = dir();
    let mut disk = disk_on(&ring);
    let sub = dir.path().join("log-0000");
    disk.create_dir(&sub).unwrap();
    disk.create_dir(&sub).unwrap();
    let file = disk.create(&sub.join("a"), 3 * BLOCK as u64).unwrap();
    assert_eq!(disk.len(file).unwrap(), 3 * BLOCK as u64);
    let exists = disk.create(&sub.join("a"), 0).unwrap_err();
    assert_eq!(exists.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(disk.write_at(file, 4096, &filled(BLOCK, 6)).unwrap(), BLOCK);
    disk.datasync(file).unwrap();
    let mut buffer = AlignedBuf::zeroed(3 * BLOCK);
    assert_eq!(disk.read_at(file, 4096, &mut buffer).unwrap(), 2 * BLOCK);
    assert_eq!((buffer[0], buffer[BLOCK]), (6, 0));
    disk.close(file);
    disk.rename(&sub.join("a"), &sub.join("b")).unwrap();
    disk.sync_dir(&sub).unwrap();
    assert_eq!(disk.list(&sub).unwrap(), ["b"]);
    assert!(disk.free_bytes(&sub).unwrap() > 0);
    disk.remove(&sub.join("b")).unwrap();
    assert_eq!(
        disk.open(&sub.join("b")).unwrap_err().kind(),
        io::ErrorKind::NotFound
    );
}

#[test]
fn full_tables_cost_speed_and_nothing_else() {
    let options = RingOptions {
        entries: 8,
        file_slots: 1,
        buffer_slots: 1,
        ..Default::default()
    };
    let Some(ring) = ring_with(&options) else {
        return;
    };
    let dir = dir();
    let mut disk = disk_on(&ring);
    let mut buffers = [filled(BLOCK, 1), filled(BLOCK, 2)];
    disk.register_buffers(&mut buffers);
    assert!(buffers[0].registered().is_some() && buffers[1].registered().is_none());
    assert_eq!(ring.borrow().warnings().len(), 1);
    let paths = [dir.path().join("fixed"), dir.path().join("plain")];
    let files = paths
        .clone()
        .map(|path| disk.create(&path, 1 << 16).unwrap());
    let [first, second] = buffers;
    disk.submit(1, write_op(files[1], 0, first, true));
    disk.submit(2, write_op(files[0], 0, second, true));
    disk.submit(3, Op::Datasync { file: files[1] });
    assert!(collect(&mut disk, 3).iter().all(|done| done.result.is_ok()));
    assert_content(&paths[1], 0, &[1; BLOCK]);
    assert_content(&paths[0], 0, &[2; BLOCK]);
}

#[test]
fn slots_of_closed_files_and_dropped_disks_are_used_again() {
    let options = RingOptions {
        entries: 8,
        file_slots: 2,
        buffer_slots: 2,
        ..Default::default()
    };
    let Some(ring) = ring_with(&options) else {
        return;
    };
    let dir = dir();
    for round in 0..20 {
        let mut disk = disk_on(&ring);
        let mut buffers = [filled(BLOCK, round), filled(BLOCK, round)];
        disk.register_buffers(&mut buffers);
        let path = dir.path().join(format!("{round}"));
        let file = disk.create(&path, 1 << 16).unwrap();
        disk.close(file);
        let file = disk.open(&path).unwrap();
        let [buffer, _] = buffers;
        disk.submit(1, write_op(file, 0, buffer, false));
        assert!(collect(&mut disk, 1)[0].result.is_ok());
        assert_content(&path, 0, &[round; BLOCK]);
    }
    assert_eq!(
        ring.borrow().warnings(),
        Vec::<String>::new(),
        "a slot was not given back"
    );
    let file = fs::File::open(dir.path().join("0")).unwrap();
    for slot in 0..options.file_slots {
        let given = ring.borrow_mut().register_file(file.as_fd());
        assert!(given.is_some(), "file slot {slot} was not given back");
    }
}

#[test]
#[should_panic(expected = "bounds its operations")]
fn more_operations_than_slots_are_a_bug_of_the_caller() {
    let Some(ring) = ring() else {
        panic!("bounds its operations: skipped")
    };
    let dir = dir();
    let mut disk = disk_on(&ring);
    let file = disk.create(&dir.path().join("file"), 1 << 20).unwrap();
    for ticket in 0..=u64::from(URING_OPS_MAX) {
        disk.submit(ticket, write_op(file, 0, filled(BLOCK, 0), false));
    }
}

#[test]
#[should_panic(expected = "in flight on a closed file")]
fn closing_a_file_under_an_operation_is_a_bug_of_the_caller() {
    let Some(ring) = ring() else {
        panic!("in flight on a closed file: skipped")
    };
    let dir = dir();
    let mut disk = disk_on(&ring);
    let file = disk.create(&dir.path().join("file"), 1 << 16).unwrap();
    disk.submit(1, write_op(file, 0, filled(BLOCK, 0), false));
    disk.close(file);
}

#[test]
fn a_filesystem_without_direct_access_is_named_and_leaves_nothing_behind() {
    let Some(ring) = ring() else { return };
    let mut disk = UringDisk::new(Rc::clone(&ring), SyncWay::RingDatasync);
    assert_eq!(disk.sync_way(), SyncWay::RingDatasync);
    let error = disk
        .open(std::path::Path::new("/proc/self/status"))
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported, "{error}");
    let text = error.to_string();
    for part in ["/proc/self/status", "proc", "O_DIRECT", "ext4 or XFS"] {
        assert!(text.contains(part), "{text}");
    }
}
