//! A range of keys and the members in it.

/// Entries of a bucket's list, holes included; a full list is tidied.
pub(super) const LIST_ENTRIES_MAX: usize = 1024;
/// Entry of a member that left.
pub(super) const HOLE: u32 = u32::MAX;
/// No bucket: of a member that has no score.
pub(super) const NO_BUCKET: u32 = u32::MAX;

/// The members of a bucket, in no order, some of them holes.
pub(super) type List = Box<[u32; LIST_ENTRIES_MAX]>;

pub(super) fn empty_list() -> List {
    Box::new([HOLE; LIST_ENTRIES_MAX])
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
