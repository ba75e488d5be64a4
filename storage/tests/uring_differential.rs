//! The two real disks against each other and against a vector of bytes, under seeded random
//! operations: whatever one of them does differently from the model shows as a difference.
//!
//! `RINGMILL_SEEDS` sets the number of seeds.

#![allow(clippy::unwrap_used)] // A test binary: the helpers are tests as well.

mod uring_support;

use std::path::Path;

use ringmill_storage::aligned::AlignedBuf;
use ringmill_storage::disk::posix::PosixDisk;
use ringmill_storage::disk::{Disk, FileId, Op};
use uring_support::{BLOCK, Random, collect, dir, disk_on, ring, write_op};

const FILE_BLOCKS: u64 = 256;
const FILES: usize = 2;
const STEPS: usize = 60;
/// Operations in flight at once work on ranges of their own: overlapping ones have no order.
const BATCH_MAX: u64 = 6;
const RANGE_BLOCKS: u64 = FILE_BLOCKS / BATCH_MAX;

/// One disk under test with its files and its two registered buffers.
struct Subject<D> {
    disk: D,
    files: [FileId; FILES],
    spare: Vec<AlignedBuf>,
}

impl<D: Disk> Subject<D> {
    fn new(mut disk: D, dir: &Path, name: &str) -> Subject<D> {
        let mut spare = vec![
            AlignedBuf::zeroed(64 * BLOCK),
            AlignedBuf::zeroed(64 * BLOCK),
        ];
        disk.register_buffers(&mut spare);
        let files = [0, 1].map(|index| {
            let path = dir.join(format!("{name}-{index}"));
            disk.create(&path, FILE_BLOCKS * BLOCK as u64).unwrap()
        });
        Subject { disk, files, spare }
    }

    fn apply(&mut self, step: &Step, seed: u64) -> Vec<Outcome> {
        match step {
            Step::Batch(batch) => self.batch(batch, seed),
            Step::WriteAt {
                file,
                block,
                blocks,
                value,
            } => {
                let buffer = patterned(AlignedBuf::zeroed(*blocks * BLOCK), *blocks, *value);
                let offset = block * BLOCK as u64;
                let file = self.files[*file];
                let written = self.disk.write_at(file, offset, &buffer).unwrap();
                self.disk.datasync(file).unwrap();
                vec![(0, written, Vec::new())]
            }
            Step::ReadAt {
                file,
                block,
                blocks,
            } => {
                let mut buffer = AlignedBuf::zeroed(*blocks * BLOCK);
                let offset = block * BLOCK as u64;
                let read = self
                    .disk
                    .read_at(self.files[*file], offset, &mut buffer)
                    .unwrap();
                vec![(0, read, buffer[..read].to_vec())]
            }
        }
    }

    fn batch(&mut self, batch: &[BatchOp], seed: u64) -> Vec<Outcome> {
        let count = batch.len();
        for (ticket, op) in batch.iter().enumerate() {
            let file = self.files[op.file];
            let ticket = ticket as u64;
            let bytes = op.blocks * BLOCK;
            let offset = op.block * BLOCK as u64;
            let buffer = self
                .spare
                .pop()
                .unwrap_or_else(|| AlignedBuf::zeroed(64 * BLOCK));
            let op = match op.kind {
                Kind::Read => Op::Read {
                    file,
                    offset,
                    buffer,
                    start: 0,
                    bytes,
                },
                Kind::Datasync => {
                    self.spare.push(buffer);
                    Op::Datasync { file }
                }
                Kind::Write { value, flush } => {
                    let buffer = patterned(buffer, op.blocks, value);
                    Op::Write {
                        file,
                        offset,
                        buffer,
                        bytes,
                        flush,
                    }
                }
            };
            self.disk.submit(ticket, op);
        }
        let done = collect(&mut self.disk, count);
        let mut outcomes = Vec::new();
        for (completion, op) in done.into_iter().zip(batch) {
            let bytes = completion
                .result
                .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let mut content = Vec::new();
            if let Some(buffer) = completion.buffer {
                if matches!(op.kind, Kind::Read) {
                    content = buffer[..bytes].to_vec();
                }
                self.spare.push(buffer);
            }
            outcomes.push((completion.ticket, bytes, content));
        }
        self.spare
            .sort_by_key(|buffer| buffer.registered().is_some());
        outcomes
    }
}

/// Ticket, bytes done, bytes read.
type Outcome = (u64, usize, Vec<u8>);

#[derive(Debug)]
enum Kind {
    Write { value: u8, flush: bool },
    Read,
    Datasync,
}

#[derive(Debug)]
struct BatchOp {
    file: usize,
    block: u64,
    blocks: usize,
    kind: Kind,
}

#[derive(Debug)]
enum Step {
    Batch(Vec<BatchOp>),
    WriteAt {
        file: usize,
        block: u64,
        blocks: usize,
        value: u8,
    },
    ReadAt {
        file: usize,
        block: u64,
        blocks: usize,
    },
}

/// Every block of a write differs, so that a block in a wrong place shows.
fn patterned(mut buffer: AlignedBuf, blocks: usize, value: u8) -> AlignedBuf {
    for (index, block) in buffer.chunks_mut(BLOCK).take(blocks).enumerate() {
        block.fill(value.wrapping_add(u8::try_from(index % 251).unwrap()));
    }
    buffer
}

fn next_step(random: &mut Random) -> Step {
    let file = usize::try_from(random.below(FILES as u64)).unwrap();
    let blocks = 1 + usize::try_from(random.below(32)).unwrap();
    let block = random.below(FILE_BLOCKS - 32);
    let value = u8::try_from(random.below(256)).unwrap();
    match random.below(8) {
        0 => Step::WriteAt {
            file,
            block,
            blocks,
            value,
        },
        // Also across the end of the file, where a read is short.
        1 => Step::ReadAt {
            file,
            block: random.below(FILE_BLOCKS + 4),
            blocks,
        },
        _ => Step::Batch(
            (0..1 + random.below(BATCH_MAX))
                .map(|at| next_op(random, at))
                .collect(),
        ),
    }
}

fn next_op(random: &mut Random, at: u64) -> BatchOp {
    let blocks = 1 + random.below(RANGE_BLOCKS);
    BatchOp {
        file: usize::try_from(random.below(FILES as u64)).unwrap(),
        block: at * RANGE_BLOCKS + random.below(RANGE_BLOCKS - blocks + 1),
        blocks: usize::try_from(blocks).unwrap(),
        kind: match random.below(5) {
            0 => Kind::Datasync,
            1 | 2 => Kind::Read,
            _ => Kind::Write {
                value: u8::try_from(random.below(256)).unwrap(),
                flush: random.below(3) == 0,
            },
        },
    }
}

/// What the model says about a step, applied to plain vectors.
fn expect(model: &mut [Vec<u8>; FILES], step: &Step) -> Vec<Outcome> {
    let range = |block: u64, blocks: usize| {
        let start = (usize::try_from(block).unwrap() * BLOCK).min(FILE_BLOCKS as usize * BLOCK);
        start..(start + blocks * BLOCK).min(FILE_BLOCKS as usize * BLOCK)
    };
    let pattern = |blocks: usize, value| {
        patterned(AlignedBuf::zeroed(blocks * BLOCK), blocks, value).to_vec()
    };
    match step {
        Step::WriteAt {
            file,
            block,
            blocks,
            value,
        } => {
            model[*file][range(*block, *blocks)].copy_from_slice(&pattern(*blocks, *value));
            vec![(0, blocks * BLOCK, Vec::new())]
        }
        Step::ReadAt {
            file,
            block,
            blocks,
        } => {
            let content = model[*file][range(*block, *blocks)].to_vec();
            vec![(0, content.len(), content)]
        }
        Step::Batch(batch) => {
            let mut outcomes = Vec::new();
            for (ticket, op) in (0..).zip(batch) {
                let place = range(op.block, op.blocks);
                outcomes.push(match op.kind {
                    Kind::Datasync => (ticket, 0, Vec::new()),
                    Kind::Read => (ticket, place.len(), model[op.file][place].to_vec()),
                    Kind::Write { value, .. } => {
                        let bytes = place.len();
                        model[op.file][place].copy_from_slice(&pattern(op.blocks, value));
                        (ticket, bytes, Vec::new())
                    }
                });
            }
            outcomes
        }
    }
}

fn run_seed(seed: u64) {
    let Some(ring) = ring() else { return };
    let dir = dir();
    let mut random = Random(seed);
    let mut model = [(); FILES].map(|()| vec![0u8; FILE_BLOCKS as usize * BLOCK]);
    let mut uring = Subject::new(disk_on(&ring), dir.path(), "uring");
    let mut posix = Subject::new(PosixDisk::new(), dir.path(), "posix");
    for number in 0..STEPS {
        let step = next_step(&mut random);
        let expected = expect(&mut model, &step);
        let of_posix = posix.apply(&step, seed);
        assert!(
            of_posix == expected,
            "seed {seed}, step {number}: posix differs: {step:?}"
        );
        let of_uring = uring.apply(&step, seed);
        assert!(
            of_uring == expected,
            "seed {seed}, step {number}: uring differs: {step:?}"
        );
    }
    // An operation still under way when its disk goes must be on the device afterwards.
    let value = u8::try_from(random.below(256)).unwrap();
    let last = patterned(AlignedBuf::zeroed(BLOCK), 1, value);
    model[0][..BLOCK].copy_from_slice(&last);
    let file = uring.files[0];
    uring.disk.submit(0, write_op(file, 0, last, true));
    drop(uring);
    let last = patterned(AlignedBuf::zeroed(BLOCK), 1, value);
    let file = posix.files[0];
    posix.disk.submit(0, write_op(file, 0, last, true));
    drop(posix);
    for name in ["uring", "posix"] {
        for (index, expected) in model.iter().enumerate() {
            let content = std::fs::read(dir.path().join(format!("{name}-{index}"))).unwrap();
            assert!(
                content == *expected,
                "seed {seed}: {name}-{index} ends differently"
            );
        }
    }
}

#[test]
fn both_disks_do_exactly_what_a_vector_of_bytes_does() {
    let seeds = std::env::var("RINGMILL_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok());
    for seed in 0..seeds.unwrap_or(8) {
        run_seed(seed);
    }
}
