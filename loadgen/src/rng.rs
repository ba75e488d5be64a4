//! Seeded randomness.
//!
//! Event content comes from a counter-based mix, so that event number `n` of a producer can be made
//! again without the ones before it. Arrival times come from a plain generator of their own.

/// Increment of the counter: the golden ratio in 64 bits, as in SplitMix64.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The SplitMix64 finaliser: a bijection whose output bits all depend on all input bits.
#[inline]
pub const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The seed of one of several independent streams that belong to `seed`.
#[inline]
pub const fn derive(seed: u64, stream: u64) -> u64 {
    mix(mix(seed.wrapping_add(GOLDEN)) ^ mix(stream.wrapping_mul(GOLDEN).wrapping_add(1)))
}

/// The random bits of event `sequence` under a derived `seed`; `draw` tells several draws of one
/// event apart (below 256).
#[inline]
pub const fn draw(seed: u64, sequence: u64, draw: u64) -> u64 {
    mix(seed.wrapping_add((sequence << 8 | draw).wrapping_mul(GOLDEN)))
}

/// Maps 64 random bits to `0..bound` without a division; the bias is below `bound / 2^64`.
#[inline]
pub const fn below(bits: u64, bound: u64) -> u64 {
    ((bits as u128 * bound as u128) >> 64) as u64
}

/// Maps 64 random bits to the open interval (0, 1).
#[inline]
pub fn unit(bits: u64) -> f64 {
    ((bits >> 12) as f64 + 0.5) * (1.0 / (1u64 << 52) as f64)
}

/// SplitMix64 as a sequence.
#[derive(Clone, Debug)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// A generator that repeats exactly for the same seed.
    pub const fn new(seed: u64) -> SplitMix64 {
        SplitMix64 { state: seed }
    }

    /// The next 64 bits.
    #[inline]
    pub const fn next_bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix(self.state)
    }

    /// A draw from the exponential distribution with mean 1.
    #[inline]
    pub fn exponential(&mut self) -> f64 {
        -unit(self.next_bits()).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers_of_splitmix64() {
        let mut rng = SplitMix64::new(1234567);
        assert_eq!(rng.next_bits(), 6457827717110365317);
        assert_eq!(rng.next_bits(), 3203168211198807973);
    }

    #[test]
    fn draws_of_one_event_differ_and_repeat() {
        let seed = derive(42, 3);
        assert_eq!(draw(seed, 9, 1), draw(derive(42, 3), 9, 1));
        assert_ne!(draw(seed, 9, 1), draw(seed, 9, 2));
        assert_ne!(draw(seed, 9, 1), draw(seed, 10, 1));
        assert_ne!(draw(seed, 9, 1), draw(derive(42, 4), 9, 1));
    }

    #[test]
    fn below_and_unit_stay_inside() {
        assert_eq!(below(u64::MAX, 10), 9);
        assert_eq!(below(0, 10), 0);
        assert!(unit(0) > 0.0 && unit(u64::MAX) < 1.0);
    }
}
