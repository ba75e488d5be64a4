//! A look at what a durable frame costs here, by each way; prints and asserts nothing about time.
//!
//! `cargo test --release -p ringmill-storage --test uring_micro -- --ignored --nocapture`

mod uring_support;

use std::io;
use std::path::Path;
use std::time::Instant;

use ringmill_storage::aligned::AlignedBuf;
use ringmill_storage::disk::posix::{Access, PosixDisk};
use ringmill_storage::disk::{Completion, Disk, FileId, Op};
use ringmill_storage::probe::{Backend, SyncWay};
use ringmill_storage::ring::RingOptions;
use ringmill_storage::zeroes::write_zeroes;
use uring_support::{BLOCK, dir, disk_on, ring_with, write_op};

const FRAMES: usize = 1000;

fn finish<D: Disk>(disk: &mut D, op: Op, out: &mut Vec<Completion>) -> Completion {
    disk.submit(0, op);
    loop {
        disk.wait().expect("the disk can be waited for");
        disk.reap(out);
        if let Some(completion) = out.pop() {
            return completion;
        }
    }
}

/// Writes the frames; prints the percentiles and hands the buffer back.
fn run<D: Disk>(
    disk: &mut D,
    file: FileId,
    mut buffer: AlignedBuf,
    way: SyncWay,
    name: &str,
) -> AlignedBuf {
    let mut taken_ns = Vec::with_capacity(FRAMES);
    let mut out = Vec::with_capacity(1);
    for frame in 0..FRAMES {
        buffer[..8].copy_from_slice(&(frame as u64).to_le_bytes());
        let started = Instant::now();
        let flush = way == SyncWay::WriteDsync;
        let offset = (frame * BLOCK) as u64;
        let done = finish(disk, write_op(file, offset, buffer, flush), &mut out);
        assert_eq!(done.result.expect("the write succeeds"), BLOCK);
        buffer = done.buffer.expect("the buffer comes home");
        if way == SyncWay::RingDatasync {
            finish(disk, Op::Datasync { file }, &mut out)
                .result
                .expect("the flush succeeds");
        }
        taken_ns.push(started.elapsed().as_nanos());
    }
    taken_ns.sort_unstable();
    let at = |index: usize| taken_ns[index] / 1000;
    println!(
        "{name:<28} p50 {:>6} us   p99 {:>6} us",
        at(FRAMES / 2),
        at(FRAMES * 99 / 100)
    );
    buffer
}

fn segment(path: &Path) -> io::Result<()> {
    write_zeroes(path, (FRAMES * BLOCK) as u64, Access::Direct, &mut |_| {
        Ok(())
    })
}

#[test]
#[ignore = "a measurement, not a test"]
fn what_a_durable_frame_costs_by_each_way() {
    let dir = dir();
    let path = dir.path().join("segment");
    segment(&path).expect("a zero-written file");
    let options = RingOptions {
        iowq_cpu: current_cpu(),
        ..RingOptions::default()
    };
    for way in SyncWay::ALL {
        let Some(ring) = ring_with(&options) else {
            break;
        };
        let mut disk = disk_on(&ring);
        let file = disk.open(&path).expect("the file opens");
        let name = way.name(Backend::Uring);
        let plain = AlignedBuf::zeroed(BLOCK);
        run(&mut disk, file, plain, way, name);
        let mut buffers = [AlignedBuf::zeroed(BLOCK)];
        disk.register_buffers(&mut buffers);
        let [buffer] = buffers;
        run(&mut disk, file, buffer, way, &format!("{name}, registered"));
    }
    for way in SyncWay::ALL {
        let mut disk = PosixDisk::new();
        let file = disk.open(&path).expect("the file opens");
        run(
            &mut disk,
            file,
            AlignedBuf::zeroed(BLOCK),
            way,
            way.name(Backend::Posix),
        );
    }
}

/// Binds this thread to the CPU it is on, as a shard is.
fn current_cpu() -> Option<usize> {
    let cpu = rustix::thread::sched_getcpu();
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    rustix::thread::sched_setaffinity(None, &set)
        .ok()
        .map(|()| cpu)
}
