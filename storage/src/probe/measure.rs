//! The measuring itself: a scratch file, busy threads, and a prober that acts like a shard.

use std::cell::RefCell;
use std::fs;
use std::hint::black_box;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_setaffinity};

use super::{Backend, ProbeError, ProbeOptions, SyncWay, WayLatency};
use crate::aligned::AlignedBuf;
use crate::disk::posix::{Access, PosixDisk};
use crate::disk::uring::UringDisk;
use crate::disk::{Completion, Disk, FileId, Op};
use crate::ring::{Ring, RingOptions};
use crate::zeroes::write_zeroes;

const SCRATCH_FILE: &str = "flush-probe.scratch";
const SCRATCH_BYTES: u64 = 1 << 20;
const FRAME_BYTES: usize = 4096;
/// Frames of one way before the other one has its turn: few, so that both see the same noise.
const ROUND_FRAMES: usize = 4;
/// More frames than this tell nothing new.
const SAMPLES_MAX: usize = 400;

pub(super) fn measure(options: &ProbeOptions) -> Result<Vec<WayLatency>, ProbeError> {
    let deadline = Instant::now() + options.budget;
    let scratch = Scratch::make(&options.dir)?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        // Dropped on every way out, also a panic, or the scope would wait for ever.
        let _stop = StopOnDrop(&stop);
        for cpu in busy_cpus(options) {
            let stop = &stop;
            scope.spawn(move || spin_on(cpu, stop));
        }
        let prober = scope.spawn(|| run_prober(options, &scratch.path, deadline));
        prober
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// All but the prober's own.
fn busy_cpus(options: &ProbeOptions) -> Vec<usize> {
    let left_out = options.cpu.or_else(|| options.busy_cpus.first().copied());
    options
        .busy_cpus
        .iter()
        .copied()
        .filter(|&cpu| Some(cpu) != left_out)
        .collect()
}

/// Keeps one CPU busy with plain arithmetic. A pause instruction would not do: hypervisors take
/// the CPU away from a guest that pauses in a loop.
fn spin_on(cpu: usize, stop: &AtomicBool) {
    if pin(cpu).is_err() {
        // Not ours to use, so no thread of ours will keep it busy later.
        return;
    }
    let mut value = 0u64;
    // Ordering: Relaxed, the flag carries no data with it.
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..1000 {
            value = black_box(value.wrapping_mul(3).wrapping_add(1));
        }
    }
}

fn pin(cpu: usize) -> io::Result<()> {
    if cpu >= CpuSet::MAX_CPU {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut set = CpuSet::new();
    set.set(cpu);
    Ok(sched_setaffinity(None, &set)?)
}

/// Runs on a thread of its own, because a ring belongs to the thread that made it.
fn run_prober(
    options: &ProbeOptions,
    path: &Path,
    deadline: Instant,
) -> Result<Vec<WayLatency>, ProbeError> {
    let flush_error = |source| ProbeError::Flush {
        path: path.to_path_buf(),
        source,
    };
    if let Some(cpu) = options.cpu {
        pin(cpu).map_err(|source| ProbeError::Cpu { cpu, source })?;
    }
    match options.backend {
        Backend::Uring => {
            let ring_options = RingOptions {
                entries: 16,
                iowq_cpu: options.cpu,
                ..RingOptions::default()
            };
            let ring = Rc::new(RefCell::new(Ring::new(&ring_options)?));
            let disk = UringDisk::new(ring, SyncWay::WriteDsync);
            rounds(
                Prober::new(disk, UringDisk::pump, path, options.spin),
                deadline,
            )
        }
        Backend::Posix => {
            let disk = PosixDisk::new();
            rounds(Prober::new(disk, |_| Ok(()), path, options.spin), deadline)
        }
    }
    .map_err(flush_error)
}

/// Both ways in turn until the time is up or enough is known. Each way gets at least one sample,
/// however slow it is.
fn rounds<D: Disk, P: FnMut(&mut D) -> io::Result<()>>(
    prober: io::Result<Prober<D, P>>,
    deadline: Instant,
) -> io::Result<Vec<WayLatency>> {
    let mut prober = prober?;
    let mut samples_ns: [Vec<u64>; 2] = Default::default();
    for way in SyncWay::ALL {
        // Starts helper threads and fills caches; not counted.
        prober.frame(way)?;
    }
    for round in 0.. {
        for turn in 0..SyncWay::ALL.len() {
            // Every other round begins with the other way.
            let index = (round + turn) % SyncWay::ALL.len();
            for _ in 0..ROUND_FRAMES {
                let out_of_time = Instant::now() >= deadline && !samples_ns[index].is_empty();
                if out_of_time || samples_ns[index].len() >= SAMPLES_MAX {
                    break;
                }
                let taken = prober.frame(SyncWay::ALL[index])?;
                let taken_ns = u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX);
                samples_ns[index].push(taken_ns);
            }
        }
        let enough = samples_ns
            .iter()
            .all(|samples| samples.len() >= SAMPLES_MAX);
        if enough || Instant::now() >= deadline {
            break;
        }
    }
    let ways = SyncWay::ALL.into_iter().zip(samples_ns);
    Ok(ways
        .map(|(way, samples_ns)| latency(way, samples_ns))
        .collect())
}

fn latency(way: SyncWay, mut samples_ns: Vec<u64>) -> WayLatency {
    samples_ns.sort_unstable();
    let last = samples_ns.len() - 1;
    let at = |percent: usize| samples_ns[(samples_ns.len() * percent / 100).min(last)];
    let samples = samples_ns.len() as u64;
    WayLatency {
        way,
        p50_ns: at(50),
        p99_ns: at(99),
        samples,
    }
}

/// Writes frames into the scratch file the way a log does.
struct Prober<D, P> {
    disk: D,
    /// One turn of whatever stands below the disk, without waiting.
    pump: P,
    file: FileId,
    /// At home between two operations.
    buffer: Option<AlignedBuf>,
    offset: u64,
    spin: Duration,
    completions: Vec<Completion>,
}

impl<D: Disk, P: FnMut(&mut D) -> io::Result<()>> Prober<D, P> {
    fn new(mut disk: D, pump: P, path: &Path, spin: Duration) -> io::Result<Prober<D, P>> {
        let file = disk.open(path)?;
        let mut buffers = [AlignedBuf::zeroed(FRAME_BYTES)];
        disk.register_buffers(&mut buffers);
        let [buffer] = buffers;
        let completions = Vec::with_capacity(1);
        Ok(Prober {
            disk,
            pump,
            file,
            buffer: Some(buffer),
            offset: 0,
            spin,
            completions,
        })
    }

    /// Writes one frame and makes it durable; returns how long that took.
    fn frame(&mut self, way: SyncWay) -> io::Result<Duration> {
        let started = Instant::now();
        loop {
            let written = match self.write(way == SyncWay::WriteDsync) {
                Ok(written) => written,
                Err(error) if is_passing(&error) => continue,
                Err(error) => return Err(error),
            };
            // As in the log: a short write is written again as a whole.
            if written == FRAME_BYTES {
                break;
            }
        }
        if way == SyncWay::RingDatasync {
            self.datasync()?;
        }
        let taken = started.elapsed();
        self.offset = (self.offset + FRAME_BYTES as u64) % SCRATCH_BYTES;
        Ok(taken)
    }

    fn datasync(&mut self) -> io::Result<()> {
        loop {
            match self.run(Op::Datasync { file: self.file }) {
                Err(error) if is_passing(&error) => {}
                result => return result.map(drop),
            }
        }
    }

    fn write(&mut self, flush: bool) -> io::Result<usize> {
        let buffer = self
            .buffer
            .take()
            .expect("invariant: the buffer is home between frames");
        let (file, offset) = (self.file, self.offset);
        self.run(Op::Write {
            file,
            offset,
            buffer,
            bytes: FRAME_BYTES,
            flush,
        })
    }

    /// One operation from submission to completion: spin briefly, then sleep.
    fn run(&mut self, op: Op) -> io::Result<usize> {
        let spin_until = Instant::now() + self.spin;
        self.disk.submit(0, op);
        loop {
            (self.pump)(&mut self.disk)?;
            self.disk.reap(&mut self.completions);
            if let Some(completion) = self.completions.pop() {
                if completion.buffer.is_some() {
                    self.buffer = completion.buffer;
                }
                return completion.result;
            }
            if Instant::now() >= spin_until {
                self.disk.wait()?;
            }
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
    )
}

/// The scratch file; gone when dropped.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn make(dir: &Path) -> Result<Scratch, ProbeError> {
        let path = dir.join(SCRATCH_FILE);
        // Left over from a probe that was killed.
        let _ = fs::remove_file(&path);
        match write_zeroes(&path, SCRATCH_BYTES, Access::Direct, &mut |_| Ok(())) {
            Ok(()) => Ok(Scratch { path }),
            Err(source) => Err(ProbeError::Scratch { path, source }),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        // Ordering: Relaxed, the flag carries no data with it.
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probers_own_cpu_is_never_kept_busy_by_another_thread() {
        let options = |cpu, busy: &[usize]| ProbeOptions {
            dir: PathBuf::new(),
            backend: Backend::Posix,
            cpu,
            busy_cpus: busy.to_vec(),
            budget: Duration::ZERO,
            spin: Duration::ZERO,
        };
        assert_eq!(busy_cpus(&options(Some(1), &[0, 1, 2])), [0, 2]);
        assert_eq!(busy_cpus(&options(None, &[0, 1, 2])), [1, 2]);
        assert!(busy_cpus(&options(None, &[3])).is_empty());
        assert!(busy_cpus(&options(None, &[])).is_empty());
    }

    #[test]
    fn percentiles_come_from_the_sorted_samples() {
        let samples: Vec<u64> = (1..=200).rev().collect();
        let found = latency(SyncWay::WriteDsync, samples);
        assert_eq!((found.p50_ns, found.p99_ns, found.samples), (101, 199, 200));
        let one = latency(SyncWay::WriteDsync, vec![7]);
        assert_eq!((one.p50_ns, one.p99_ns, one.samples), (7, 7, 1));
    }
}
