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
use ringmill_storage::probe::{
    Backend, PROBE_BUDGET, PROBE_SPIN, ProbeOptions, SyncWay, probe_with,
};
use ringmill_storage::ring::RingOptions;
use ringmill_storage::zeroes::write_zeroes;
use rustix::thread::CpuSet;
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

/// The same question as the probe of a start asks, with every other CPU kept busy.
#[test]
#[ignore = "a measurement, not a test"]
fn what_the_probe_of_a_start_finds() {
    let dir = dir();
    let set = rustix::thread::sched_getaffinity(None).expect("the affinity is readable");
    let cpus: Vec<usize> = (0..CpuSet::MAX_CPU)
        .filter(|&cpu| set.is_set(cpu))
        .collect();
    for backend in [Backend::Uring, Backend::Posix] {
        for cpu in cpus.iter().copied().map(Some).chain([None]) {
            let started = Instant::now();
            let report = probe_with(&ProbeOptions {
                dir: dir.path().to_path_buf(),
                backend,
                cpu,
                busy_cpus: cpus.clone(),
                budget: PROBE_BUDGET,
                spin: PROBE_SPIN,
            });
            let report = report.expect("the probe ends with a verdict");
            println!(
                "{cpu:?}: {report}, took {} ms",
                started.elapsed().as_millis()
            );
        }
    }
}

/// Binds this thread to the CPU it is on, as a shard is.
fn current_cpu() -> Option<usize> {
    let cpu = rustix::thread::sched_getcpu();
    let mut set = CpuSet::new();
    set.set(cpu);
    rustix::thread::sched_setaffinity(None, &set)
        .ok()
        .map(|()| cpu)
}
