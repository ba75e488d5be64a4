//! Means of the best contributions of a member.
//!
//! A list holds up to `n` contributions, best first, in a block of a slab. An entry is the sort key
//! of a value, and where shares of several shards are merged the moment of its event behind it, so
//! that of equal values the earlier ones are kept. A list is a function of the set of events.
//!
//! The mean of integers is a fraction, and compared as one: its order key is two words, the whole
//! part (which is never beyond the type) and the 32 bits behind the point. Two different fractions
//! whose denominators are at most 2^16 differ by more than that, so the words tell all means apart
//! and in the right order, and the fraction can be read back from them.

use super::score::ScorePlan;
use crate::aggregate::{CompensatedSum, Number};
use crate::limits::MEAN_BEST_MAX;
use crate::query::Scalar;
use crate::rank::Tie;
use crate::sketch::slab::{Block, Slab};

/// Words of an entry that has the moment of its event.
pub(crate) const MOMENT_ENTRY: usize = 3;
/// Bits behind the point of a mean.
const FRACTION_BITS: u32 = 32;
/// Entries of the smallest block.
const ENTRIES_MIN: usize = 4;
/// Makes room for the sum of as many of the greatest numbers as there may be.
const HEADROOM: f64 = 64.0;

const _: () = assert!(MEAN_BEST_MAX <= 64 && ENTRIES_MIN <= MEAN_BEST_MAX);

/// Words of the smallest block of lists of up to `n`.
pub(crate) const fn unit_words<const ENTRY: usize>(n: usize) -> usize {
    let entries = if n < ENTRIES_MIN { n } else { ENTRIES_MIN };
    entries * ENTRY
}

/// A list: its block and how many entries it has, as two words that are 0 if it is empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct List<const ENTRY: usize> {
    pub(crate) words: [u64; 2],
}

impl<const ENTRY: usize> List<ENTRY> {
    pub(crate) fn len(self) -> usize {
        self.words[1] as usize
    }

    /// The words of the entries.
    #[inline]
    pub(crate) fn entries(self, slab: &Slab) -> &[u64] {
        &slab.words(Block::of_word(self.words[0]))[..self.len() * ENTRY]
    }

    /// The sort keys, best first.
    #[inline]
    pub(crate) fn sort_keys(self, slab: &Slab) -> impl Iterator<Item = u64> {
        let (entries, _) = self.entries(slab).as_chunks::<ENTRY>();
        entries.iter().map(|entry| entry[0])
    }

    /// Where an entry goes in a list of at most `n`; `None` if it is not among the best.
    #[inline]
    pub(crate) fn place(self, slab: &Slab, n: usize, entry: &[u64; ENTRY]) -> Option<usize> {
        let (entries, _) = self.entries(slab).as_chunks::<ENTRY>();
        let place = entries.partition_point(|kept| kept <= entry);
        (place < n).then_some(place)
    }

    /// Takes an entry in if it is among the `n` best, in place of the worst.
    pub(crate) fn insert(&mut self, slab: &mut Slab, n: usize, entry: &[u64; ENTRY]) {
        let Some(place) = self.place(slab, n, entry) else {
            return;
        };
        let len = (self.len() + 1).min(n);
        let mut block = Block::of_word(self.words[0]);
        if slab.len(block) < len * ENTRY {
            let class = slab.class_for(len * ENTRY);
            block = slab.replace(block, class, |old, new| {
                new[..old.len()].copy_from_slice(old)
            });
        }
        let words = &mut slab.words_mut(block)[..len * ENTRY];
        words.copy_within(place * ENTRY..(len - 1) * ENTRY, (place + 1) * ENTRY);
        words[place * ENTRY..][..ENTRY].copy_from_slice(entry);
        self.words = [block.word(), len as u64];
    }
}

impl List<MOMENT_ENTRY> {
    /// When the last of the best came.
    pub(crate) fn reached(self, slab: &Slab) -> Tie {
        let (entries, _) = self.entries(slab).as_chunks::<MOMENT_ENTRY>();
        let ties = entries
            .iter()
            .map(|entry| Tie::from_words([entry[1], entry[2]]));
        ties.max().unwrap_or_default()
    }

    /// Whether words that came from elsewhere are a list of up to `n`.
    pub(crate) fn is_valid(entries: &[u64], n: usize) -> bool {
        let (entries, rest) = entries.as_chunks::<MOMENT_ENTRY>();
        rest.is_empty() && entries.len() <= n && entries.is_sorted()
    }
}

/// What a list would be with one more entry: its sort keys, best first, of at most `n`; `None` if
/// it would stay as it is.
#[inline]
pub(crate) fn with(
    list: List<1>,
    slab: &Slab,
    n: usize,
    sort_key: u64,
) -> Option<([u64; MEAN_BEST_MAX], usize)> {
    let place = list.place(slab, n, &[sort_key])?;
    let (len, kept) = ((list.len() + 1).min(n), list.entries(slab));
    let mut sort_keys = [0; MEAN_BEST_MAX];
    sort_keys[..place].copy_from_slice(&kept[..place]);
    sort_keys[place] = sort_key;
    sort_keys[place + 1..len].copy_from_slice(&kept[place..len - 1]);
    Some((sort_keys, len))
}

impl ScorePlan {
    /// The words of the mean of at least one value, given by their sort keys, best first.
    pub(crate) fn mean_words(&self, sort_keys: impl Iterator<Item = u64>) -> [u64; 2] {
        let bits = sort_keys.map(|sort_key| self.score_bits(sort_key));
        if self.number == Number::F64 {
            let mean = float_mean(bits.map(f64::from_bits));
            return [self.sort_key((mean + 0.0).to_bits()), 0];
        }
        let (mut sum, mut count) = (0, 0);
        for bits in bits {
            sum += self.integer(bits);
            count += 1;
        }
        let (whole, rest) = (sum.div_euclid(count), sum.rem_euclid(count));
        let fraction = (rest << FRACTION_BITS) / count;
        // The low half of a number that fits its type is its bits.
        [self.sort_key(whole as u64), fraction as u64 ^ self.flip()]
    }

    /// The mean of up to `n` values that these words are of.
    pub(crate) fn mean_scalar(&self, n: usize, words: [u64; 2]) -> Scalar {
        let bits = self.score_bits(words[0]);
        if self.number == Number::F64 {
            return Scalar::F64(f64::from_bits(bits));
        }
        let fraction = i128::from(words[1] ^ self.flip());
        let numerator = |count: i128| {
            let rest = (fraction * count + (1 << FRACTION_BITS) - 1) >> FRACTION_BITS;
            ((rest << FRACTION_BITS) / count == fraction).then_some((rest, count))
        };
        let (rest, count) = (1..=n as i128).find_map(numerator).unwrap_or((0, 1));
        Scalar::F64((self.integer(bits) * count + rest) as f64 / count as f64)
    }

    fn integer(&self, bits: u64) -> i128 {
        match self.number {
            Number::U64 => i128::from(bits),
            _ => i128::from(bits.cast_signed()),
        }
    }
}

/// The sum, best first and compensated, over the number of values: a function of their set.
fn float_mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (CompensatedSum::default(), 0.0);
    for value in values {
        sum.add(value / HEADROOM);
        count += 1.0;
    }
    (sum.value() / count * HEADROOM).clamp(f64::MIN, f64::MAX)
}

#[cfg(test)]
mod tests;
