//! The disk on plain system calls: same contract as on a ring, also where direct I/O is refused.

mod uring_support;

use std::io;
use std::path::Path;

use ringmill_storage::aligned::AlignedBuf;
use ringmill_storage::disk::posix::{Access, POSIX_OPS_MAX, PosixDisk};
use ringmill_storage::disk::{Disk, Op};
use uring_support::{BLOCK, assert_content, collect, dir, filled, write_op};

#[test]
fn operations_complete_in_order_with_tickets_and_buffers() {
    let dir = dir();
    let path = dir.path().join("file");
    let mut disk = PosixDisk::new();
    let file = disk.create(&path, 1 << 16).unwrap();
    disk.submit(5, write_op(file, 0, filled(BLOCK, 1), true));
    disk.submit(4, write_op(file, 4096, filled(BLOCK, 2), false));
    disk.submit(3, Op::Datasync { file });
    let buffer = AlignedBuf::zeroed(2 * BLOCK);
    disk.submit(
        2,
        Op::Read {
            file,
            offset: 0,
            buffer,
            start: 0,
            bytes: 2 * BLOCK,
        },
    );
    let mut done = Vec::new();
    disk.reap(&mut done);
    let tickets: Vec<u64> = done.iter().map(|completion| completion.ticket).collect();
    assert_eq!(tickets, [5, 4, 3, 2]);
    assert!(done[2].buffer.is_none());
    let read = done[3].buffer.as_ref().unwrap();
    assert_eq!((read[0], read[BLOCK]), (1, 2));
    disk.reap(&mut done);
    assert_eq!(done.len(), 4, "a completion came twice");
}

#[test]
fn buffers_come_home_with_every_error() {
    let dir = dir();
    let path = dir.path().join("file");
    let mut disk = PosixDisk::new();
    let file = disk.create(&path, 1 << 16).unwrap();
    let read_only = disk.open_read(&path).unwrap();
    disk.submit(1, write_op(read_only, 0, filled(BLOCK, 3), true));
    disk.submit(2, write_op(read_only, 0, filled(BLOCK, 3), false));
    disk.submit(3, write_op(file, 1 << 60, filled(BLOCK, 3), true));
    let done = collect(&mut disk, 3);
    for completion in done {
        assert_eq!(completion.buffer.unwrap().len(), BLOCK);
        completion.result.unwrap_err();
    }
    assert_content(&path, 0, &[0; BLOCK]);
}

#[test]
fn a_filesystem_without_direct_access_is_named_with_the_fix_and_works_only_on_demand() {
    let path = Path::new("/proc/self/status");
    let error = PosixDisk::new().open_read(path).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    let text = error.to_string();
    for part in ["/proc/self/status", "(proc)", "O_DIRECT", "ext4 or XFS"] {
        assert!(text.contains(part), "{text}");
    }
    let mut buffered = PosixDisk::with_access(Access::Buffered);
    let file = buffered.open_read(path).unwrap();
    let mut buffer = AlignedBuf::zeroed(BLOCK);
    assert!(buffered.read_at(file, 0, &mut buffer).unwrap() > 0);
}

#[test]
fn a_refused_or_impossible_file_leaves_the_directory_as_it_was() {
    let dir = dir();
    let mut disk = PosixDisk::new();
    let missing = disk.open(&dir.path().join("missing")).unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    let too_large = disk
        .create(&dir.path().join("large"), u64::MAX >> 1)
        .unwrap_err();
    assert_eq!(too_large.raw_os_error(), Some(libc::EFBIG));
    assert!(disk.list(dir.path()).unwrap().is_empty());
    let file = disk.create(&dir.path().join("file"), 4096).unwrap();
    disk.close(file);
    let exists = disk.create(&dir.path().join("file"), 8192).unwrap_err();
    assert_eq!(exists.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(
        std::fs::metadata(dir.path().join("file")).unwrap().len(),
        4096
    );
    std::fs::write(dir.path().join("plain"), b"").unwrap();
    assert!(
        disk.create_dir(&dir.path().join("plain")).is_err(),
        "a file is no directory"
    );
}

#[test]
fn a_lock_is_exclusive_until_its_disk_is_dropped() {
    let dir = dir();
    let path = dir.path().join("mark");
    let mut first = PosixDisk::new();
    let held = first.create(&path, 8192).unwrap();
    first.lock(held).unwrap();
    let mut second = PosixDisk::new();
    let wanted = second.open(&path).unwrap();
    assert_eq!(
        second.lock(wanted).unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
    drop(first);
    second.lock(wanted).unwrap();
}

#[test]
#[should_panic(expected = "is open")]
fn a_file_that_is_not_open_is_a_bug_of_the_caller() {
    let mut disk = PosixDisk::new();
    disk.submit(1, Op::Datasync { file: 0 });
}

#[test]
#[should_panic(expected = "bounds its operations")]
fn more_operations_than_places_are_a_bug_of_the_caller() {
    let dir = dir();
    let mut disk = PosixDisk::new();
    let file = disk.create(&dir.path().join("file"), 4096).unwrap();
    for ticket in 0..=POSIX_OPS_MAX as u64 {
        disk.submit(ticket, Op::Datasync { file });
    }
}
