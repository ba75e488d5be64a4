//! The number of different values: exact while they are few, then HyperLogLog.
//!
//! A few values are kept as their 64-bit hashes in an open table; a set that outgrows the bytes of
//! the registers becomes registers (Flajolet, Fusy, Gandouet, Meunier, "HyperLogLog", 2007), one
//! byte each, estimated without bias correction by tables (Ertl, "New cardinality estimation
//! algorithms for HyperLogLog sketches", 2017, improved raw estimator). Which of the two it is
//! depends on the number of different hashes alone. The hash is XXH3-64 of the canonical bytes with
//! seed 0, the same on every shard. The state is the number of hashes, or [`REGISTERS`].

use super::{Partial, Sketch, slots_for};
use crate::aggregate::Cell;
use crate::sketch::slab::{Block, Slab};

/// State of a sketch whose block holds registers.
const REGISTERS: u64 = u64::MAX;
/// Slots of the smallest table.
const SLOTS_MIN: usize = 8;
/// The standard error of m registers is this by the root of m.
const ERROR_FACTOR: f64 = 1.04;
/// The stated error is so many standard errors: about 95 of 100 answers are within it.
const SIGMAS: f64 = 2.0;
/// The lowest bit of every byte.
const ONES: u64 = 0x0101_0101_0101_0101;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Distinct {
    /// log2 of the registers.
    precision: u32,
}

impl Distinct {
    /// The smallest one whose stated error is at most this.
    pub(crate) fn within(ppm: u32) -> Self {
        let fits = |precision: &u32| {
            Self {
                precision: *precision,
            }
            .error()
                * 1e6
                <= f64::from(ppm)
        };
        let precision = (9..=24).find(fits).unwrap_or(24);
        Self { precision }
    }

    /// The stated error of a large count, relative to it.
    pub(crate) fn error(self) -> f64 {
        SIGMAS * ERROR_FACTOR / f64::from(1_u32 << self.precision).sqrt()
    }

    /// Words of the registers, and slots of the largest table.
    fn slots_max(self) -> usize {
        (1 << self.precision) / 8
    }

    #[inline]
    pub(crate) fn add(&self, cell: &mut Cell, slab: &mut Slab, hash: u64) {
        // 0 marks an empty slot; one hash more in 2^64 is nothing beside the collisions.
        let hash = hash.max(1);
        if cell.words[1] == REGISTERS {
            self.raise(slab.words_mut(Block::of_word(cell.words[0])), hash);
            return;
        }
        let slots = slab.words_mut(Block::of_word(cell.words[0]));
        if !slots.is_empty() {
            let free = find(slots, hash);
            if slots[free] == hash {
                return;
            }
            if has_room(slots.len(), cell.words[1]) {
                slots[free] = hash;
                cell.words[1] += 1;
                return;
            }
        }
        self.grow(cell, slab);
        self.add(cell, slab, hash);
    }

    /// A table of twice the slots, or registers.
    #[cold]
    fn grow(&self, cell: &mut Cell, slab: &mut Slab) {
        let block = Block::of_word(cell.words[0]);
        let held = slab.len(block);
        if held >= self.slots_max() {
            self.make_registers(cell, slab);
            return;
        }
        let class = slab.class_for((held * 2).max(SLOTS_MIN));
        let block = slab.replace(block, class, |old, new| {
            for &hash in old.iter().filter(|&&hash| hash != 0) {
                let free = find(new, hash);
                new[free] = hash;
            }
        });
        cell.words[0] = block.word();
    }

    fn make_registers(&self, cell: &mut Cell, slab: &mut Slab) {
        let class = slab.class_for(self.slots_max());
        let block = Block::of_word(cell.words[0]);
        let block = slab.replace(block, class, |old, new| {
            for &hash in old.iter().filter(|&&hash| hash != 0) {
                self.raise(new, hash);
            }
        });
        cell.words = [block.word(), REGISTERS];
    }

    /// The register is chosen by the upper bits, its value is the place of the first 1 behind.
    #[inline]
    fn raise(&self, registers: &mut [u64], hash: u64) {
        let register = (hash >> (64 - self.precision)) as usize;
        let rank = u64::from((hash << self.precision | 1 << (self.precision - 1)).leading_zeros());
        let (word, shift) = (register / 8, register % 8 * 8);
        let held = registers[word] >> shift & 0xff;
        if rank + 1 > held {
            registers[word] ^= (held ^ (rank + 1)) << shift;
        }
    }

    /// The greatest value of a register.
    fn register_max(self) -> usize {
        65 - self.precision as usize
    }

    /// The count, and how far it may be off; that is 0 while it is exact.
    pub(crate) fn finish(&self, partial: &Partial<'_>) -> (u64, u64) {
        if partial.state != REGISTERS {
            return (partial.state, 0);
        }
        let estimate = self.estimate(partial.words);
        (
            estimate.round() as u64,
            (estimate * self.error()).ceil() as u64,
        )
    }

    fn estimate(&self, registers: &[u64]) -> f64 {
        let mut counts = [0_u32; 66];
        for word in registers {
            for byte in word.to_le_bytes() {
                counts[usize::from(byte)] += 1;
            }
        }
        let registers = f64::from(1_u32 << self.precision);
        let share = |count: u32| f64::from(count) / registers;
        let highest = self.register_max();
        let mut sum = registers * tau(1.0 - share(counts[highest]));
        for count in counts[1..highest].iter().rev() {
            sum = 0.5 * (sum + f64::from(*count));
        }
        sum += registers * sigma(share(counts[0]));
        registers * registers / (2.0 * std::f64::consts::LN_2 * sum)
    }
}

/// The slot of a hash, or the free one where it belongs. There is always a free one.
#[inline]
fn find(slots: &[u64], hash: u64) -> usize {
    let mask = slots.len() - 1;
    let mut at = hash as usize & mask;
    while slots[at] != 0 && slots[at] != hash {
        at = (at + 1) & mask;
    }
    at
}

/// Tables are filled to three quarters.
#[inline]
fn has_room(slots: usize, held: u64) -> bool {
    held < slots as u64 / 4 * 3
}

/// Correction for registers that are still 0: `x + sum of x^(2^k) 2^(k-1)`.
fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z <= before {
            return z;
        }
    }
}

/// Correction for registers that are full.
fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z >= before {
            return z / 3.0;
        }
    }
}

/// The greater of each byte; bytes are below 128.
#[inline]
fn max_bytes(a: u64, b: u64) -> u64 {
    // The high bit of a byte stays if `a` is at least `b` there.
    let at_least = ((a | ONES << 7) - b) >> 7 & ONES;
    let mask = at_least * 0xff;
    a & mask | b & !mask
}

impl Sketch for Distinct {
    fn unit_words(&self) -> usize {
        SLOTS_MIN
    }

    fn block_bytes(&self, values: u64) -> u64 {
        slots_for(values, self.slots_max()) * 8
    }

    fn is_valid(&self, partial: &Partial<'_>) -> bool {
        let words = partial.words;
        if partial.state == REGISTERS {
            let highest = self.register_max() as u8;
            let fits = |word: &u64| word.to_le_bytes().iter().all(|&byte| byte <= highest);
            return words.len() == self.slots_max() && words.iter().all(fits);
        }
        let held = words.iter().filter(|&&hash| hash != 0).count() as u64;
        words.len().is_power_of_two()
            && (SLOTS_MIN..=self.slots_max()).contains(&words.len())
            && held == partial.state
            && held <= words.len() as u64 / 4 * 3
    }

    fn merge(&self, cell: &mut Cell, slab: &mut Slab, other: &Partial<'_>) {
        if other.state == REGISTERS {
            if cell.words[1] != REGISTERS {
                self.make_registers(cell, slab);
            }
            let registers = slab.words_mut(Block::of_word(cell.words[0]));
            for (register, other) in registers.iter_mut().zip(other.words) {
                *register = max_bytes(*register, *other);
            }
            return;
        }
        for &hash in other.words.iter().filter(|&&hash| hash != 0) {
            self.add(cell, slab, hash);
        }
    }

    fn canonical(&self, partial: &Partial<'_>, out: &mut Vec<u64>) {
        out.push(partial.state);
        let first = out.len();
        if partial.state == REGISTERS {
            out.extend_from_slice(partial.words);
        } else {
            out.extend(partial.words.iter().filter(|&&hash| hash != 0));
            out[first..].sort_unstable();
        }
    }
}
