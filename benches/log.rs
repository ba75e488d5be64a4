//! What a durable group commit of 4 KiB, 64 KiB and 1 MiB takes: written in full, flushed, known.
//!
//! One commit at a time, over space that was filled with zeros before, with direct I/O.
//!
//! * `glommio`: `DmaFile::write_at`, then `fdatasync`, on an executor of its own.
//! * `pwrite`: a plain loop of `pwrite` and `fdatasync`: what the kernel takes at least.
//! * `uring_dsync`, `uring_fdatasync`: our log on its io_uring, by both ways of flushing. It also
//!   frames, digests and chains what it writes.
//! * `posix_dsync`, `posix_fdatasync`: the same log on plain system calls.
//!
//! `commit_*` is the mean, `p99_*` what one in a hundred takes at least. Files lie in the target
//! directory: set `CARGO_TARGET_DIR` to measure another device. Where io_uring is forbidden,
//! `RINGMILL_SKIP_URING=1` leaves out what needs it.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};
use ringmill_benches::{Bench, Better, Sample, Setup, mix};
use ringmill_storage::aligned::AlignedBuf;
use ringmill_storage::disk::Disk;
use ringmill_storage::disk::posix::{Access, PosixDisk};
use ringmill_storage::disk::uring::UringDisk;
use ringmill_storage::log::{Log, LogIdentity, LogOptions, entry_bytes_max};
use ringmill_storage::probe::SyncWay;
use ringmill_storage::ring::{Ring, RingOptions};
use ringmill_storage::zeroes::write_zeroes;
use rustix::fs::{Mode, OFlags};

const IDENTITY: LogIdentity = LogIdentity {
    log_id: 1,
    stream: 0,
};
/// Registered memory of glommio's executor: a few of the largest commits.
const GLOMMIO_BYTES: usize = 8 << 20;
/// Blocks of a segment that no frame of the run uses: its header and the room for its seal.
const SEGMENT_MARGIN_BYTES: u64 = 64 << 10;

/// A run of equal commits.
#[derive(Clone, Copy)]
struct Load {
    setup: Setup,
    commit_bytes: usize,
    commits: usize,
    figure: Figure,
}

#[derive(Clone, Copy, PartialEq)]
enum Figure {
    Mean,
    P99,
}

fn main() {
    let mut bench = Bench::start("log");
    bench.repeats(5);
    let sizes = [
        ("commit_4KiB", 4 << 10, 2_000, Figure::Mean),
        ("commit_1MiB", 1 << 20, 100, Figure::Mean),
        ("commit_64KiB", 64 << 10, 1_000, Figure::Mean),
        ("p99_4KiB", 4 << 10, 2_000, Figure::P99),
        ("p99_64KiB", 64 << 10, 1_000, Figure::P99),
    ];
    // The first two reach every line.
    for (name, commit_bytes, commits, figure) in sizes.into_iter().take(bench.size(5, 2)) {
        let load = Load {
            setup: bench.setup(),
            commit_bytes,
            commits: bench.size(commits, 2),
            figure,
        };
        commits_of(&mut bench, name, load);
    }
    bench.finish();
}

fn commits_of(bench: &mut Bench, name: &'static str, load: Load) {
    let uring = may_use_uring();
    let mut group = bench.group(name, "us", Better::Lower);
    group.same_results();
    if uring {
        group.baseline("glommio", move || alone(load, glommio_commits));
        group.row("pwrite", move || alone(load, pwrite_commits));
        group.row("uring_dsync", move || {
            alone(load, |load, dir| {
                uring_commits(load, dir, SyncWay::WriteDsync)
            })
        });
        group.row("uring_fdatasync", move || {
            alone(load, |load, dir| {
                uring_commits(load, dir, SyncWay::RingDatasync)
            })
        });
    } else {
        group.baseline("pwrite", move || alone(load, pwrite_commits));
    }
    group.row("posix_dsync", move || {
        alone(load, |load, dir| {
            posix_commits(load, dir, SyncWay::WriteDsync)
        })
    });
    group.row("posix_fdatasync", move || {
        alone(load, |load, dir| {
            posix_commits(load, dir, SyncWay::RingDatasync)
        })
    });
    group.run();
}

/// Whether rows that need io_uring are measured.
///
/// # Panics
/// With the diagnosis, if it is forbidden and leaving it out was not asked for: a table without
/// those rows looks like a complete one.
fn may_use_uring() -> bool {
    match Ring::new(&RingOptions::default()) {
        Ok(_) => true,
        Err(error) if std::env::var("RINGMILL_SKIP_URING").is_ok_and(|value| value == "1") => {
            println!("note: no rows that need io_uring: {error}");
            false
        }
        Err(error) => panic!("{error} (RINGMILL_SKIP_URING=1 leaves those rows out)"),
    }
}

/// Runs `work` in a directory and on a pinned thread of its own: rings and executors belong to the
/// thread that makes them.
fn alone(load: Load, work: impl FnOnce(Load, &Path) -> Vec<u64> + Send) -> Sample {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory for files");
    let path = dir.path();
    let mut taken_ns = std::thread::scope(|scope| {
        let worker = scope.spawn(move || {
            load.setup.pin(0);
            work(load, path)
        });
        worker.join().expect("the worker ends")
    });
    assert_eq!(taken_ns.len(), load.commits);
    taken_ns.sort_unstable();
    let value_ns = match load.figure {
        Figure::Mean => taken_ns.iter().sum::<u64>() as f64 / taken_ns.len() as f64,
        Figure::P99 => taken_ns[taken_ns.len() * 99 / 100] as f64,
    };
    Sample::new(
        value_ns / 1_000.0,
        mix(load.commits as u64, load.commit_bytes as u64),
    )
}

/// The CPU that the thread was pinned to, for the kernel's helpers.
fn own_cpu(setup: Setup) -> Option<usize> {
    setup.pin(0).then(rustix::thread::sched_getcpu)
}

/// Bytes of a file that holds the whole run.
fn run_bytes(load: Load) -> u64 {
    (load.commits * load.commit_bytes) as u64
}

fn timed(commits: usize, mut commit: impl FnMut(usize)) -> Vec<u64> {
    let mut taken_ns = Vec::with_capacity(commits);
    for number in 0..commits {
        let begun = Instant::now();
        commit(number);
        taken_ns.push(begun.elapsed().as_nanos() as u64);
    }
    taken_ns
}

fn uring_commits(load: Load, dir: &Path, way: SyncWay) -> Vec<u64> {
    let options = RingOptions {
        iowq_cpu: own_cpu(load.setup),
        ..RingOptions::default()
    };
    let ring = Ring::new(&options).expect("a ring, as there was one before");
    let disk = UringDisk::new(Rc::new(RefCell::new(ring)), way);
    log_commits(load, dir, way, disk)
}

fn posix_commits(load: Load, dir: &Path, way: SyncWay) -> Vec<u64> {
    log_commits(load, dir, way, PosixDisk::new())
}

/// The log as a core drives it, except that it waits for each commit.
fn log_commits<D: Disk>(load: Load, dir: &Path, way: SyncWay, disk: D) -> Vec<u64> {
    let segment_bytes = run_bytes(load) + 2 * load.commit_bytes as u64 + SEGMENT_MARGIN_BYTES;
    let options = LogOptions {
        segment_bytes,
        frame_bytes: load.commit_bytes,
        flush: way.flush_policy(),
        ..LogOptions::default()
    };
    let (mut log, _) =
        Log::open(disk, dir, IDENTITY, options, &mut |_, _, _| Ok(())).expect("a new log opens");
    let entry = vec![7; entry_bytes_max(load.commit_bytes)];
    let taken_ns = timed(load.commits, |_| {
        log.append(1, &[&entry]).expect("room for a commit");
        assert!(log.submit(0, true), "nothing is in flight");
        loop {
            log.disk_mut().wait().expect("the disk can be waited for");
            if let Some(done) = log.poll(0).expect("the disk works") {
                assert!(done.durable && done.bytes == load.commit_bytes);
                return;
            }
        }
    });
    assert_eq!(log.durable_lsn(), load.commits as u64);
    log.close().expect("the log closes");
    taken_ns
}

/// A file full of zeros for the whole run, like a prepared segment.
fn zeroes(load: Load, dir: &Path) -> std::path::PathBuf {
    let path = dir.join("zeroes");
    write_zeroes(&path, run_bytes(load), Access::Direct, &mut |_| Ok(())).expect("a file of zeros");
    path
}

fn pwrite_commits(load: Load, dir: &Path) -> Vec<u64> {
    let path = zeroes(load, dir);
    let flags = OFlags::WRONLY | OFlags::DIRECT | OFlags::CLOEXEC;
    let file = rustix::fs::open(&path, flags, Mode::empty()).expect("the file opens");
    let mut buffer = AlignedBuf::zeroed(load.commit_bytes);
    buffer.fill(7);
    let taken_ns = timed(load.commits, |number| {
        let offset = (number * load.commit_bytes) as u64;
        let written = rustix::io::pwrite(&file, &buffer, offset).expect("the write succeeds");
        assert_eq!(written, load.commit_bytes);
        rustix::fs::fdatasync(&file).expect("the flush succeeds");
    });
    check_written(&path, load);
    taken_ns
}

fn glommio_commits(load: Load, dir: &Path) -> Vec<u64> {
    let path = zeroes(load, dir);
    let placement = own_cpu(load.setup).map_or(Placement::Unbound, Placement::Fixed);
    let executor: LocalExecutor = LocalExecutorBuilder::new(placement)
        .io_memory(GLOMMIO_BYTES)
        .make()
        .expect("glommio's executor starts");
    let taken_ns = executor.run(glommio_loop(load, &path));
    check_written(&path, load);
    taken_ns
}

async fn glommio_loop(load: Load, path: &Path) -> Vec<u64> {
    let mut options = glommio::io::OpenOptions::new();
    let file = options
        .write(true)
        .dma_open(path)
        .await
        .expect("the file opens");
    let mut taken_ns = Vec::with_capacity(load.commits);
    for number in 0..load.commits {
        let begun = Instant::now();
        let mut buffer = file.alloc_dma_buffer(load.commit_bytes);
        buffer.as_bytes_mut().fill(7);
        let offset = (number * load.commit_bytes) as u64;
        let written = file
            .write_at(buffer, offset)
            .await
            .expect("the write succeeds");
        assert_eq!(written, load.commit_bytes);
        file.fdatasync().await.expect("the flush succeeds");
        taken_ns.push(begun.elapsed().as_nanos() as u64);
    }
    file.close().await.expect("the file closes");
    taken_ns
}

/// No figure for bytes that are not there.
fn check_written(path: &Path, load: Load) {
    let bytes = std::fs::read(path).expect("the file is readable");
    assert!(bytes.len() as u64 == run_bytes(load) && bytes.iter().all(|&byte| byte == 7));
}
