//! A range of keys and the members in it.

/// Entries of a bucket's list, holes included; a full list is tidied.
pub(super) const LIST_ENTRIES_MAX: usize = 1024;
/// No bucket: of a member that has no score.
pub(super) const NO_BUCKET: u32 = u32::MAX;

/// The members of a bucket, in no order, and entries of such as have left.
pub(super) type List = Box<[u32; LIST_ENTRIES_MAX]>;

pub(super) fn empty_list() -> List {
    Box::new([0; LIST_ENTRIES_MAX])
}

/// Which entries of a list are members; the others are holes, or behind its end.
///
/// A member that leaves clears its bit. So leaving does not touch the list, which of a large index
/// is far away, whereas the bits of all its buckets are one part in 32 of that.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct Present([u64; LIST_ENTRIES_MAX / WORD_BITS]);

const WORD_BITS: usize = u64::BITS as usize;

impl Present {
    pub(super) const NONE: Self = Self([0; LIST_ENTRIES_MAX / WORD_BITS]);

    /// Entries `0..entries`, without holes.
    pub(super) fn first(entries: usize) -> Self {
        let mut present = Self::NONE;
        for (word, bits) in present.0.iter_mut().enumerate() {
            let before = entries.saturating_sub(word * WORD_BITS).min(WORD_BITS);
            *bits = u64::MAX
                .checked_shr((WORD_BITS - before) as u32)
                .unwrap_or(0);
        }
        present
    }

    #[inline]
    fn place(position: usize) -> (usize, u64) {
        let position = position % LIST_ENTRIES_MAX;
        (position / WORD_BITS, 1 << (position % WORD_BITS))
    }

    /// Where the bit of an entry stands.
    #[inline]
    pub(super) fn word(&self, position: usize) -> &u64 {
        &self.0[Self::place(position).0]
    }

    #[inline]
    pub(super) fn set(&mut self, position: usize) {
        let (word, bit) = Self::place(position);
        self.0[word] |= bit;
    }

    #[inline]
    pub(super) fn clear(&mut self, position: usize) {
        let (word, bit) = Self::place(position);
        self.0[word] &= !bit;
    }

    #[inline]
    pub(super) fn has(&self, position: usize) -> bool {
        let (word, bit) = Self::place(position);
        self.0[word] & bit != 0
    }

    /// Positions of the members, in ascending order.
    pub(super) fn positions(&self) -> impl Iterator<Item = usize> {
        let words = self.0.iter().enumerate();
        words.flat_map(|(word, &bits)| {
            let mut left = bits;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros() as usize)?;
                left &= left - 1;
                Some(word * WORD_BITS + bit)
            })
        })
    }
}

/// What updates need of a bucket: one cache line. Its list lies elsewhere, under the same number.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct Bucket {
    /// Every key whose pair is in `pair_from..pair_to` belongs here; of those outside, some may.
    pub(super) pair_from: u128,
    pub(super) pair_to: u128,
    /// No member has a greater pair.
    pub(super) top: u128,
    /// The page that the bucket stands in.
    pub(super) page: u32,
    pub(super) members: u16,
    /// Entries of the list in use, holes included.
    pub(super) entries: u16,
    /// How many of the latest arrivals came in ascending order of their pairs, with no other
    /// member reaching the top since.
    pub(super) ascending: u16,
}

impl Bucket {
    /// A bucket that covers every key.
    pub(super) const WHOLE: Self = Self {
        pair_from: 0,
        pair_to: u128::MAX,
        ..Self::UNUSED
    };
    /// A bucket that covers nothing.
    pub(super) const UNUSED: Self = Self {
        pair_from: u128::MAX,
        pair_to: 0,
        top: 0,
        page: 0,
        members: 0,
        entries: 0,
        ascending: 0,
    };

    #[inline]
    pub(super) fn covers(&self, pair: u128) -> bool {
        (self.pair_from <= pair) & (pair < self.pair_to)
    }
}

#[cfg(test)]
mod tests {
    use super::{LIST_ENTRIES_MAX, Present};

    #[test]
    fn positions_are_those_that_were_set_and_not_cleared() {
        for entries in [0, 1, 63, 64, 65, 127, 1000, LIST_ENTRIES_MAX] {
            let mut present = Present::first(entries);
            assert!(present.positions().eq(0..entries), "{entries}");
            for position in (0..entries).step_by(3) {
                present.clear(position);
            }
            assert!(present.positions().eq((0..entries).filter(|p| p % 3 != 0)));
            assert!((0..LIST_ENTRIES_MAX).all(|p| present.has(p) == (p < entries && p % 3 != 0)));
            (0..entries).for_each(|position| present.set(position));
            assert!(present.positions().eq(0..entries), "{entries}");
        }
    }
}
