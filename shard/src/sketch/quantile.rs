//! Quantiles with a bounded relative error: DDSketch with buckets that are cut out of the bits.
//!
//! A bucket is an exponent and the first bits of a mantissa, so a bucket is at most 2^-bits of its
//! lower bound wide (Masson, Rim, Lee, "DDSketch", 2019, with the linearly interpolated logarithm;
//! finding a bucket is a shift, the same on every machine). Negative numbers have buckets of their
//! own, zero has one. Counters lie in pages of eight neighbours, in an open table by page.
//!
//! Memory is bounded: when there would be too many pages, neighbouring buckets become one
//! everywhere (Epicoco et al., "UDDSketch", 2020). That doubles the error, which the answer states,
//! and depends on the set of pages alone, not on the order in which they came. The state is the
//! number of such doublings and the number of pages.

use super::{Partial, Sketch, slots_for};
use crate::aggregate::{Cell, Number};
use crate::query::Scalar;
use crate::sketch::slab::{Block, Slab};
use crate::sketch::words::mix;

const PAGE_BUCKETS: usize = 8;
/// A slot is the key of its page and the counters.
const SLOT_WORDS: usize = 1 + PAGE_BUCKETS;
const SLOTS_MIN: usize = 4;
/// Slots per bucket of an octave: so many that any 96 octaves, 29 decades, fit.
const SLOTS_PER_BUCKET: usize = 16;
/// Doublings beyond which no two buckets are left to be joined.
const LEVEL_MAX: u32 = 32;

const POSITIVE: u64 = 1;
const NEGATIVE: u64 = 2;
const ZERO: u64 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quantile {
    pub(crate) number: Number,
    /// Which one: 0 is the least, 1,000,000 the greatest.
    pub(crate) q_ppm: u32,
    /// Bits of the mantissa that a bucket has.
    bits: u32,
}

/// A bucket of the finest level and the sign of its numbers.
type Spot = (u64, u64);

impl Quantile {
    /// The coarsest one whose error is at most `within_ppm`.
    pub(crate) fn new(number: Number, q_ppm: u32, within_ppm: u32) -> Self {
        // Half a bucket: 2^-(bits + 1).
        let fits = |bits: &u32| 1_000_000 <= u64::from(within_ppm) << (bits + 1);
        let bits = (3..=10).find(fits).unwrap_or(10);
        Self {
            number,
            q_ppm,
            bits,
        }
    }

    fn slots_max(self) -> usize {
        SLOTS_PER_BUCKET << self.bits
    }

    /// Adds a number, as the bits that a row holds.
    #[inline]
    pub(crate) fn add(&self, cell: &mut Cell, slab: &mut Slab, bits: u64) {
        let spot = self.spot(bits);
        let (at, level) = self.page(cell, slab, spot);
        let page = &mut slab.words_mut(Block::of_word(cell.words[0]))[at..at + SLOT_WORDS];
        page[1 + (spot.0 >> level) as usize % PAGE_BUCKETS] += 1;
    }

    /// Takes a number out again that was added. Its bucket is there, whatever was joined since.
    pub(crate) fn remove(&self, cell: &mut Cell, slab: &mut Slab, bits: u64) {
        let spot = self.spot(bits);
        let (at, level) = self.page(cell, slab, spot);
        let page = &mut slab.words_mut(Block::of_word(cell.words[0]))[at..at + SLOT_WORDS];
        let counter = &mut page[1 + (spot.0 >> level) as usize % PAGE_BUCKETS];
        *counter = counter.saturating_sub(1);
    }

    #[inline]
    fn spot(&self, bits: u64) -> Spot {
        match self.number {
            Number::F64 => {
                let magnitude = bits << 1 >> 1;
                // Numbers below the normal ones, 2.3e-308, count as zero.
                if magnitude >> 52 == 0 {
                    return (0, ZERO);
                }
                let sign = if bits >> 63 == 0 { POSITIVE } else { NEGATIVE };
                (magnitude >> (52 - self.bits), sign)
            }
            Number::U64 => (
                self.integer_bucket(bits),
                if bits == 0 { ZERO } else { POSITIVE },
            ),
            Number::I64 | Number::Time => {
                let number = bits.cast_signed();
                let sign = match number {
                    0 => ZERO,
                    1.. => POSITIVE,
                    _ => NEGATIVE,
                };
                (self.integer_bucket(number.unsigned_abs()), sign)
            }
        }
    }

    /// The bucket of the number as an `f64`, without rounding to one.
    #[inline]
    fn integer_bucket(&self, magnitude: u64) -> u64 {
        if magnitude == 0 {
            return 0;
        }
        let zeros = magnitude.leading_zeros();
        let exponent = u64::from(1023 + 63 - zeros);
        let fraction = (magnitude << zeros << 1) >> (64 - self.bits);
        exponent << self.bits | fraction
    }

    /// Where the page of a spot begins, made if need be, and the level then.
    #[inline]
    fn page(&self, cell: &mut Cell, slab: &mut Slab, spot: Spot) -> (usize, u32) {
        loop {
            let level = level_of(cell.words[1]);
            let slots = slab.words_mut(Block::of_word(cell.words[0]));
            if !slots.is_empty() {
                let key = key_of(spot, level);
                let at = find(slots, key);
                if slots[at] == key {
                    return (at, level);
                }
                if has_room(slots.len() / SLOT_WORDS, pages_of(cell.words[1])) {
                    slots[at] = key;
                    cell.words[1] += 1;
                    return (at, level);
                }
            }
            self.make_room(cell, slab);
        }
    }

    /// Twice the slots, or half the buckets.
    #[cold]
    fn make_room(&self, cell: &mut Cell, slab: &mut Slab) {
        let slots = slab.len(Block::of_word(cell.words[0])) / SLOT_WORDS;
        let level = level_of(cell.words[1]);
        if slots < self.slots_max() {
            self.rebuild(cell, slab, (slots * 2).max(SLOTS_MIN), level);
        } else {
            self.rebuild(cell, slab, slots, level + 1);
        }
    }

    /// Puts all pages into another table, of a level that is not finer.
    fn rebuild(&self, cell: &mut Cell, slab: &mut Slab, slots: usize, level: u32) {
        let old_level = level_of(cell.words[1]);
        let mut pages = 0;
        let class = slab.class_for(slots * SLOT_WORDS);
        let block = slab.replace(Block::of_word(cell.words[0]), class, |old, new| {
            for slot in old.chunks_exact(SLOT_WORDS).filter(|slot| slot[0] != 0) {
                for (spot, count) in buckets(slot, old_level) {
                    let key = key_of(spot, level);
                    let at = find(new, key);
                    pages += u64::from(new[at] == 0);
                    new[at] = key;
                    let counter = &mut new[at + 1 + (spot.0 >> level) as usize % PAGE_BUCKETS];
                    *counter = counter.saturating_add(count);
                }
            }
        });
        cell.words = [block.word(), state_of(level, pages)];
    }

    /// The number at the asked place in ascending order, and how far it may be off.
    pub(crate) fn finish(&self, partial: &Partial<'_>) -> (Scalar, Scalar) {
        let level = level_of(partial.state);
        let mut found: Vec<(i64, Spot, u64)> = Vec::new();
        for slot in partial
            .words
            .chunks_exact(SLOT_WORDS)
            .filter(|slot| slot[0] != 0)
        {
            for (spot, count) in buckets(slot, level) {
                let place = spot.0.cast_signed() + 1;
                let order = match spot.1 {
                    ZERO => 0,
                    POSITIVE => place,
                    _ => -place,
                };
                found.push((order, spot, count));
            }
        }
        found.sort_unstable_by_key(|&(order, ..)| order);
        let rank = u128::from(partial.count.saturating_sub(1)) * u128::from(self.q_ppm) / 1_000_000;
        let mut passed = 0;
        let holds_rank = |&&(_, _, count): &&(i64, Spot, u64)| {
            passed += u128::from(count);
            passed > rank
        };
        let spot = found
            .iter()
            .find(holds_rank)
            .map_or((0, ZERO), |&(_, spot, _)| spot);
        self.middle(spot, level)
    }

    /// The middle of a bucket and half its width, as the field's type has them.
    fn middle(&self, (bucket, sign): Spot, level: u32) -> (Scalar, Scalar) {
        if sign == ZERO {
            return match self.number {
                Number::U64 => (Scalar::U64(0), Scalar::U64(0)),
                Number::I64 | Number::Time => (Scalar::I64(0), Scalar::U64(0)),
                Number::F64 => (Scalar::F64(0.0), Scalar::F64(0.0)),
            };
        }
        let last = 2047 << self.bits;
        let bound =
            |bucket: u64| f64::from_bits(bucket.min(last) << (52 - self.bits)).min(f64::MAX);
        let (low, high) = (bound(bucket), bound(bucket + (1 << level)));
        if self.number == Number::F64 {
            let half = (high - low) / 2.0;
            let middle = if sign == NEGATIVE {
                -(low + half)
            } else {
                low + half
            };
            return (Scalar::F64(middle), Scalar::F64(half));
        }
        // Bounds of integers are whole numbers or apart by less than one.
        let end = match (self.number, sign) {
            (Number::U64, _) => u128::from(u64::MAX),
            (_, NEGATIVE) => 1 << 63,
            _ => (1 << 63) - 1,
        };
        let low = (low.ceil() as u128).min(end);
        let high = (high.ceil() as u128 - 1).clamp(low, end);
        let middle = low + (high - low) / 2;
        let off = Scalar::U64((high - middle) as u64);
        let middle = match (self.number, sign) {
            (Number::U64, _) => Scalar::U64(middle as u64),
            (_, NEGATIVE) => Scalar::I64((middle as u64).wrapping_neg().cast_signed()),
            _ => Scalar::I64(middle as i64),
        };
        (middle, off)
    }
}

fn level_of(state: u64) -> u32 {
    (state >> 32) as u32
}

fn pages_of(state: u64) -> u64 {
    state & u64::from(u32::MAX)
}

fn state_of(level: u32, pages: u64) -> u64 {
    u64::from(level) << 32 | pages
}

/// The key of a spot's page; 0 is none.
#[inline]
fn key_of((bucket, sign): Spot, level: u32) -> u64 {
    (bucket >> level) / PAGE_BUCKETS as u64 * 4 + sign
}

/// The buckets of a slot that are not empty, as spots of the finest level.
fn buckets(slot: &[u64], level: u32) -> impl Iterator<Item = (Spot, u64)> {
    let (page, sign) = (slot[0] / 4, slot[0] % 4);
    let spot = move |index: usize| ((page * PAGE_BUCKETS as u64 + index as u64) << level, sign);
    let counted = slot[1..]
        .iter()
        .enumerate()
        .filter(|&(_, &count)| count > 0);
    counted.map(move |(index, &count)| (spot(index), count))
}

/// Where the slot of a page begins, or the free one where it belongs. There is always a free one.
#[inline]
fn find(slots: &[u64], key: u64) -> usize {
    let count = slots.len() / SLOT_WORDS;
    let mut slot = mix(&[key]) as usize & (count - 1);
    loop {
        let at = slot * SLOT_WORDS;
        if slots[at] == key || slots[at] == 0 {
            return at;
        }
        slot = (slot + 1) & (count - 1);
    }
}

/// Tables are filled to three quarters.
#[inline]
fn has_room(slots: usize, pages: u64) -> bool {
    pages < slots as u64 / 4 * 3
}

impl Sketch for Quantile {
    fn unit_words(&self) -> usize {
        SLOTS_MIN * SLOT_WORDS
    }

    fn block_bytes(&self, values: u64) -> u64 {
        slots_for(values, self.slots_max()) * SLOT_WORDS as u64 * 8
    }

    fn is_valid(&self, partial: &Partial<'_>) -> bool {
        let slots = partial.words.len() / SLOT_WORDS;
        let level = level_of(partial.state);
        if partial.words.len() != slots * SLOT_WORDS
            || !slots.is_power_of_two()
            || !(SLOTS_MIN..=self.slots_max()).contains(&slots)
            || level > LEVEL_MAX
        {
            return false;
        }
        let highest = ((2047 << self.bits) - 1) >> level;
        let (mut pages, mut sum) = (0, 0_u128);
        for slot in partial
            .words
            .chunks_exact(SLOT_WORDS)
            .filter(|slot| slot[0] != 0)
        {
            let (page, sign) = (slot[0] / 4, slot[0] % 4);
            let zero = sign == ZERO && (page != 0 || slot[2..].iter().any(|&count| count > 0));
            let last = slot
                .iter()
                .rposition(|&count| count > 0)
                .unwrap_or(0)
                .max(1) as u64
                - 1;
            if sign == 0 || zero || page > highest / 8 || page * 8 + last > highest {
                return false;
            }
            pages += 1;
            sum += slot[1..]
                .iter()
                .map(|&count| u128::from(count))
                .sum::<u128>();
        }
        pages == pages_of(partial.state)
            && pages <= slots as u64 / 4 * 3
            && sum == u128::from(partial.count)
    }

    fn merge(&self, cell: &mut Cell, slab: &mut Slab, other: &Partial<'_>) {
        let other_level = level_of(other.state);
        if level_of(cell.words[1]) < other_level {
            let slots = slab.len(Block::of_word(cell.words[0])) / SLOT_WORDS;
            self.rebuild(cell, slab, slots.max(SLOTS_MIN), other_level);
        }
        for slot in other
            .words
            .chunks_exact(SLOT_WORDS)
            .filter(|slot| slot[0] != 0)
        {
            for (spot, count) in buckets(slot, other_level) {
                let (at, level) = self.page(cell, slab, spot);
                let counters = slab.words_mut(Block::of_word(cell.words[0]));
                let counter = &mut counters[at + 1 + (spot.0 >> level) as usize % PAGE_BUCKETS];
                *counter = counter.saturating_add(count);
            }
        }
    }

    fn canonical(&self, partial: &Partial<'_>, out: &mut Vec<u64>) {
        let level = level_of(partial.state);
        out.push(u64::from(level));
        let mut found: Vec<(Spot, u64)> = Vec::new();
        for slot in partial
            .words
            .chunks_exact(SLOT_WORDS)
            .filter(|slot| slot[0] != 0)
        {
            found.extend(buckets(slot, level));
        }
        found.sort_unstable();
        for ((bucket, sign), count) in found {
            out.extend([bucket, sign, count]);
        }
    }
}
