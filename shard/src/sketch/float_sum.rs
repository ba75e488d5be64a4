//! Sums of `f64` without any rounding: a fixed-point number as wide as it has to be.
//!
//! Every finite `f64` is a whole multiple of 2^-1074 below 2^1024, so a two's complement integer of
//! 2,176 bits holds any sum of fewer than 2^63 of them exactly (Kulisch; in limbs that are kept
//! only where they are needed, as in Neal, "Fast exact summation using small and large
//! superaccumulators", 2015). Order therefore changes nothing, and the result is the exact sum
//! rounded once. The state is the index of the first limb that is held; above the highest limb that
//! a number has touched there is always one more, for the carries.

use super::{Partial, Sketch};
use crate::aggregate::Cell;
use crate::sketch::slab::{Block, Slab};

/// Limbs that a sum can need: 33 for numbers and one for carries, rounded up to whole blocks.
const LIMBS_MAX: usize = 64;
/// Limbs of the smallest block.
const LIMBS_MIN: usize = 4;
/// Weight of the lowest bit: 2^-1074.
const LOWEST_EXPONENT: i32 = -1074;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FloatSum;

impl FloatSum {
    /// Adds a finite number.
    #[inline]
    pub(crate) fn add(self, cell: &mut Cell, slab: &mut Slab, value: f64) {
        let bits = value.to_bits();
        let exponent = (bits >> 52 & 0x7ff) as usize;
        let fraction = bits & ((1 << 52) - 1);
        let (mantissa, shift) = match exponent {
            0 => (fraction, 0),
            _ => (fraction | 1 << 52, exponent - 1),
        };
        if mantissa == 0 {
            return;
        }
        let (limb, offset) = (shift / 64, shift % 64);
        let limbs = self.reach(cell, slab, limb, limb + 3);
        let wide = u128::from(mantissa) << offset;
        let parts = [wide as u64, (wide >> 64) as u64];
        if value > 0.0 {
            add_limbs(limbs, &parts, 0);
        } else {
            subtract_limbs(limbs, parts);
        }
    }

    /// The limbs from `low` on, of which there are enough to reach `high`.
    #[inline]
    fn reach<'s>(
        self,
        cell: &mut Cell,
        slab: &'s mut Slab,
        low: usize,
        high: usize,
    ) -> &'s mut [u64] {
        let first = cell.words[1] as usize;
        let block = Block::of_word(cell.words[0]);
        let held = slab.len(block);
        if held == 0 || low < first || high > first + held {
            self.widen(cell, slab, low, high);
        }
        let first = cell.words[1] as usize;
        &mut slab.words_mut(Block::of_word(cell.words[0]))[low - first..]
    }

    #[cold]
    fn widen(self, cell: &mut Cell, slab: &mut Slab, low: usize, high: usize) {
        let old_first = cell.words[1] as usize;
        let block = Block::of_word(cell.words[0]);
        let held = slab.len(block);
        let (low, high) = match held {
            0 => (low, high),
            _ => (low.min(old_first), high.max(old_first + held)),
        };
        let class = slab.class_for(high - low);
        // What there is of room goes below, where small numbers still have bits.
        let limbs = LIMBS_MIN << class;
        let first = high.saturating_sub(limbs).min(LIMBS_MAX - limbs);
        let block = slab.replace(block, class, |old, new| {
            let at = old_first.saturating_sub(first);
            let (body, above) = new[at..].split_at_mut(old.len());
            body.copy_from_slice(old);
            above.fill(sign_of(old));
        });
        cell.words = [block.word(), first as u64];
    }

    /// The sum, rounded to the nearest number, ties to even; infinite beyond the type.
    pub(crate) fn finish(self, partial: &Partial<'_>) -> f64 {
        let mut limbs = [0; LIMBS_MAX];
        let limbs = &mut limbs[..partial.words.len()];
        limbs.copy_from_slice(partial.words);
        let is_negative = sign_of(limbs) != 0;
        if is_negative {
            negate(limbs);
        }
        let magnitude = round(limbs, partial.state as usize);
        if is_negative { -magnitude } else { magnitude }
    }
}

/// All ones for a negative number, else 0.
fn sign_of(limbs: &[u64]) -> u64 {
    let top = limbs.last().copied().unwrap_or(0);
    (top.cast_signed() >> 63).cast_unsigned()
}

/// Adds limbs, and behind them as many of `sign` as there are.
#[inline]
fn add_limbs(limbs: &mut [u64], parts: &[u64], sign: u64) {
    let mut carry = false;
    for (index, limb) in limbs.iter_mut().enumerate() {
        let part = match parts.get(index) {
            Some(part) => *part,
            None if sign == 0 && !carry => return,
            None => sign,
        };
        let (sum, over) = limb.overflowing_add(part);
        let (sum, over_carry) = sum.overflowing_add(u64::from(carry));
        *limb = sum;
        carry = over | over_carry;
    }
}

#[inline]
fn subtract_limbs(limbs: &mut [u64], parts: [u64; 2]) {
    let mut borrow = false;
    for (index, limb) in limbs.iter_mut().enumerate() {
        let part = match parts.get(index) {
            Some(part) => *part,
            None if !borrow => return,
            None => 0,
        };
        let (difference, under) = limb.overflowing_sub(part);
        let (difference, under_borrow) = difference.overflowing_sub(u64::from(borrow));
        *limb = difference;
        borrow = under | under_borrow;
    }
}

fn negate(limbs: &mut [u64]) {
    let mut carry = true;
    for limb in limbs {
        let (sum, over) = (!*limb).overflowing_add(u64::from(carry));
        *limb = sum;
        carry = over;
    }
}

/// The nearest `f64` to a magnitude whose lowest limb is number `first`.
fn round(limbs: &[u64], first: usize) -> f64 {
    let Some(top) = limbs.iter().rposition(|&limb| limb != 0) else {
        return 0.0;
    };
    let bit = |index: usize| limbs[index / 64] >> (index % 64) & 1;
    let highest = top * 64 + 63 - limbs[top].leading_zeros() as usize;
    // Bits of the number that this is a whole multiple of: the type's lowest or its 53rd.
    let global = first * 64 + highest;
    let lowest = (global.saturating_sub(52)).max(first * 64) - first * 64;
    let mut mantissa = (lowest..=highest)
        .rev()
        .fold(0_u64, |mantissa, index| mantissa << 1 | bit(index));
    if lowest > 0 && bit(lowest - 1) == 1 {
        let is_tie = (0..lowest - 1).all(|index| bit(index) == 0);
        mantissa += u64::from(!is_tie || mantissa & 1 == 1);
    }
    // A mantissa of 2^53 is even, so the product is exact or beyond the type.
    scale(mantissa as f64, first * 64 + lowest)
}

/// `number * 2^(shift - 1074)`, exact wherever it is finite.
fn scale(number: f64, shift: usize) -> f64 {
    let exponent = shift as i32 + LOWEST_EXPONENT;
    let power = |exponent: i32| f64::from_bits(((exponent + 1023) as u64) << 52);
    match exponent {
        // Below 2^-1022 there are no normal powers; the two factors are.
        ..=-1022 => number * power(-1022) * power(exponent + 1022),
        -1021..=1023 => number * power(exponent),
        _ => f64::INFINITY,
    }
}

impl Sketch for FloatSum {
    fn unit_words(&self) -> usize {
        LIMBS_MIN
    }

    fn is_valid(&self, partial: &Partial<'_>) -> bool {
        let limbs = partial.words.len();
        if limbs == 0 {
            // Nothing but zeros went in.
            return partial.state == 0;
        }
        let blocks = limbs / LIMBS_MIN;
        limbs == blocks * LIMBS_MIN
            && blocks.is_power_of_two()
            && limbs <= LIMBS_MAX
            && partial.state <= (LIMBS_MAX - limbs) as u64
    }

    fn merge(&self, cell: &mut Cell, slab: &mut Slab, other: &Partial<'_>) {
        if other.words.is_empty() {
            return;
        }
        let low = other.state as usize;
        let limbs = self.reach(cell, slab, low, low + other.words.len());
        add_limbs(limbs, other.words, sign_of(other.words));
    }

    /// The number without what a wider block holds too.
    fn canonical(&self, partial: &Partial<'_>, out: &mut Vec<u64>) {
        let sign = sign_of(partial.words);
        let Some(low) = partial.words.iter().position(|&limb| limb != 0) else {
            return;
        };
        let high = partial.words.iter().rposition(|&limb| limb != sign);
        out.push(partial.state + low as u64);
        out.push(sign);
        out.extend_from_slice(&partial.words[low..high.map_or(low, |high| high + 1).max(low)]);
    }
}
