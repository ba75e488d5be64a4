//! The upper level of the rank index: which bucket covers a key.
//!
//! Pages hold up to 128 buckets in key order. Lower bounds are kept as plain arrays of sort keys,
//! searched without branches; ties are compared only among equal sort keys.

use super::FullKey;

/// Buckets per page; a full page splits in two halves.
pub(super) const PAGE_BUCKETS_MAX: usize = 128;
/// Two neighbours with together fewer buckets than this become one page.
const PAGE_MERGE_BUCKETS: usize = PAGE_BUCKETS_MAX * 3 / 4;

#[derive(Debug, Clone)]
pub(super) struct Page {
    /// Members in all buckets of the page.
    pub(super) members: u64,
    /// Lower bounds of the buckets.
    lowers: Bounds,
    pub(super) buckets: Vec<u32>,
}

/// Lower bounds in ascending order, the parts that searches look at apart from the rest.
#[derive(Debug, Clone, Default)]
struct Bounds {
    sort_keys: Vec<u64>,
    stamps_ns: Vec<u64>,
    full: Vec<FullKey>,
}

impl Bounds {
    fn with_capacity(capacity: usize) -> Self {
        Self {
            sort_keys: Vec::with_capacity(capacity),
            stamps_ns: Vec::with_capacity(capacity),
            full: Vec::with_capacity(capacity),
        }
    }

    /// Index of the last bound at or below `key`, 0 if there is none.
    #[inline]
    fn last_at_or_below(&self, key: &FullKey) -> usize {
        let found = self
            .sort_keys
            .partition_point(|sort_key| *sort_key <= key.sort_key);
        let candidate = found.saturating_sub(1);
        // Most arrivals are the latest with their score, so the last bound with it is the one.
        let below =
            (self.sort_keys[candidate] < key.sort_key) | (self.stamps_ns[candidate] < key.stamp_ns);
        if below | (candidate == 0) {
            return candidate;
        }
        self.full[..=candidate]
            .partition_point(|bound| bound <= key)
            .saturating_sub(1)
    }

    fn insert(&mut self, at: usize, bound: FullKey) {
        self.sort_keys.insert(at, bound.sort_key);
        self.stamps_ns.insert(at, bound.stamp_ns);
        self.full.insert(at, bound);
    }

    fn set(&mut self, at: usize, bound: FullKey) {
        self.sort_keys[at] = bound.sort_key;
        self.stamps_ns[at] = bound.stamp_ns;
        self.full[at] = bound;
    }

    fn remove(&mut self, at: usize) {
        self.sort_keys.remove(at);
        self.stamps_ns.remove(at);
        self.full.remove(at);
    }

    fn move_tail(&mut self, at: usize, target: &mut Self) {
        target.sort_keys.extend(self.sort_keys.drain(at..));
        target.stamps_ns.extend(self.stamps_ns.drain(at..));
        target.full.extend(self.full.drain(at..));
    }
}

impl Page {
    fn new() -> Self {
        Self {
            members: 0,
            lowers: Bounds::with_capacity(PAGE_BUCKETS_MAX),
            buckets: Vec::with_capacity(PAGE_BUCKETS_MAX),
        }
    }

    #[inline]
    fn slot_of(&self, key: &FullKey) -> usize {
        self.lowers.last_at_or_below(key)
    }

    fn insert(&mut self, slot: usize, lower: FullKey, bucket: u32) {
        self.lowers.insert(slot, lower);
        self.buckets.insert(slot, bucket);
    }

    fn remove(&mut self, slot: usize) {
        self.lowers.remove(slot);
        self.buckets.remove(slot);
    }

    /// Moves the buckets from `slot` on to the end of `target`, but not their member count.
    fn move_tail(&mut self, slot: usize, target: &mut Self) {
        self.lowers.move_tail(slot, &mut target.lowers);
        target.buckets.extend(self.buckets.drain(slot..));
    }
}

/// Where a bucket stands: the place of its page in key order, and its slot there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) at: usize,
    pub(super) slot: usize,
}

/// All pages in key order. There is always at least one page with at least one bucket.
#[derive(Debug, Clone)]
pub(super) struct Directory {
    pages: Vec<Page>,
    free: Vec<u32>,
    /// Page ids in key order, with the lower bound of each page's first bucket.
    order: Vec<u32>,
    lowers: Bounds,
    /// Changes with every change of the buckets' places; an aim of another version is void.
    version: u32,
}

impl Directory {
    /// One page with `bucket` covering every key.
    pub(super) fn new(bucket: u32) -> Self {
        let mut page = Page::new();
        page.insert(0, FullKey::default(), bucket);
        let mut lowers = Bounds::default();
        lowers.insert(0, FullKey::default());
        Self {
            pages: vec![page],
            free: Vec::new(),
            version: 0,
            order: vec![0],
            lowers,
        }
    }

    /// Where the bucket stands that covers `key`.
    #[inline]
    pub(super) fn locate(&self, key: &FullKey) -> Spot {
        let at = self.lowers.last_at_or_below(key);
        Spot {
            at,
            slot: self.pages[self.order[at] as usize].slot_of(key),
        }
    }

    #[inline]
    pub(super) fn version(&self) -> u32 {
        self.version
    }

    #[inline]
    pub(super) fn bucket(&self, spot: Spot) -> u32 {
        self.pages[self.order[spot.at] as usize].buckets[spot.slot]
    }

    #[inline]
    pub(super) fn page_id(&self, at: usize) -> u32 {
        self.order[at]
    }

    #[inline]
    pub(super) fn page_mut(&mut self, page_id: u32) -> &mut Page {
        &mut self.pages[page_id as usize]
    }

    /// The pages in key order.
    pub(super) fn in_order(&self) -> impl Iterator<Item = &Page> {
        self.order
            .iter()
            .map(|&page_id| &self.pages[page_id as usize])
    }

    /// Where `bucket` of page `page_id` stands.
    pub(super) fn spot_of(&self, page_id: u32, bucket: u32) -> Spot {
        let at = self.order.iter().position(|&id| id == page_id);
        let slot = self.pages[page_id as usize]
            .buckets
            .iter()
            .position(|&b| b == bucket);
        let (at, slot) = at
            .zip(slot)
            .expect("invariant: a live bucket stands in its page");
        Spot { at, slot }
    }

    /// The bucket to the left or right of `spot` in the same page.
    pub(super) fn neighbour(&self, spot: Spot, right: bool) -> Option<u32> {
        let slot = if right {
            spot.slot + 1
        } else {
            spot.slot.checked_sub(1)?
        };
        self.pages[self.order[spot.at] as usize]
            .buckets
            .get(slot)
            .copied()
    }

    /// Adds `bucket` to the right of `spot`. Buckets that changed page are reported to `moved`
    /// with their new page id.
    pub(super) fn insert_after(
        &mut self,
        spot: Spot,
        lower: FullKey,
        bucket: u32,
        members_of: impl Fn(u32) -> u32,
        mut moved: impl FnMut(u32, u32),
    ) {
        self.version = self.version.wrapping_add(1);
        let page_id = self.order[spot.at];
        let page = &mut self.pages[page_id as usize];
        page.insert(spot.slot + 1, lower, bucket);
        moved(bucket, page_id);
        if page.buckets.len() < PAGE_BUCKETS_MAX {
            return;
        }
        let upper_id = self.free.pop().unwrap_or_else(|| {
            self.pages.push(Page::new());
            (self.pages.len() - 1) as u32
        });
        let mut upper = std::mem::replace(&mut self.pages[upper_id as usize], Page::new());
        let page = &mut self.pages[page_id as usize];
        page.move_tail(PAGE_BUCKETS_MAX / 2, &mut upper);
        for &bucket in &upper.buckets {
            upper.members += u64::from(members_of(bucket));
            moved(bucket, upper_id);
        }
        page.members -= upper.members;
        self.order.insert(spot.at + 1, upper_id);
        self.lowers.insert(spot.at + 1, upper.lowers.full[0]);
        self.pages[upper_id as usize] = upper;
    }

    /// Gives the place of `spot` to `bucket`, which covers what the old one covered.
    pub(super) fn replace(&mut self, spot: Spot, bucket: u32) {
        self.version = self.version.wrapping_add(1);
        self.pages[self.order[spot.at] as usize].buckets[spot.slot] = bucket;
    }

    /// Whether only one bucket is left.
    pub(super) fn is_single(&self) -> bool {
        self.order.len() == 1 && self.pages[self.order[0] as usize].buckets.len() == 1
    }

    /// Takes the bucket at `spot` out; its left neighbour covers its range from now on (for the
    /// very first bucket, its right neighbour does).
    pub(super) fn remove(&mut self, spot: Spot, moved: impl FnMut(u32, u32)) {
        self.version = self.version.wrapping_add(1);
        let page = &mut self.pages[self.order[spot.at] as usize];
        page.remove(spot.slot);
        if page.buckets.is_empty() {
            assert!(page.members == 0, "an empty page has no members");
            self.drop_page(spot.at);
        } else {
            self.refresh_lower(spot.at);
            self.merge_pages(spot.at, moved);
        }
    }

    fn refresh_lower(&mut self, at: usize) {
        let page = &self.pages[self.order[at] as usize];
        self.lowers.set(at, page.lowers.full[0]);
    }

    fn drop_page(&mut self, at: usize) {
        self.free.push(self.order.remove(at));
        self.lowers.remove(at);
    }

    fn merge_pages(&mut self, at: usize, mut moved: impl FnMut(u32, u32)) {
        let buckets = |at: usize| self.pages[self.order[at] as usize].buckets.len();
        let left =
            if at + 1 < self.order.len() && buckets(at) + buckets(at + 1) < PAGE_MERGE_BUCKETS {
                at
            } else if at > 0 && buckets(at - 1) + buckets(at) < PAGE_MERGE_BUCKETS {
                at - 1
            } else {
                return;
            };
        let left_id = self.order[left];
        let right_id = self.order[left + 1];
        let mut right = std::mem::replace(&mut self.pages[right_id as usize], Page::new());
        for &bucket in &right.buckets {
            moved(bucket, left_id);
        }
        let page = &mut self.pages[left_id as usize];
        page.members += right.members;
        right.move_tail(0, page);
        self.drop_page(left + 1);
    }

    pub(super) fn check(&self) {
        assert_eq!(self.order.len(), self.lowers.full.len());
        let mut previous: Option<FullKey> = None;
        for (at, page) in self.in_order().enumerate() {
            assert!(!page.buckets.is_empty() && page.buckets.len() < PAGE_BUCKETS_MAX);
            assert_eq!(self.lowers.full[at], page.lowers.full[0]);
            for (slot, lower) in page.lowers.full.iter().enumerate() {
                assert_eq!(page.lowers.sort_keys[slot], lower.sort_key);
                assert_eq!(page.lowers.stamps_ns[slot], lower.stamp_ns);
                assert!(previous.is_none_or(|previous| previous < *lower));
                previous = Some(*lower);
            }
        }
    }
}
