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
    /// Lower bounds of the buckets, sort keys apart from the rest. Ascending.
    sort_keys: Vec<u64>,
    lowers: Vec<FullKey>,
    pub(super) buckets: Vec<u32>,
}

/// Index of the last element at or below `key`, 0 if there is none.
#[inline]
fn last_at_or_below(sort_keys: &[u64], lowers: &[FullKey], key: &FullKey) -> usize {
    let found = sort_keys.partition_point(|sort_key| *sort_key <= key.sort_key);
    let candidate = found.saturating_sub(1);
    if lowers[candidate].at_or_below(key) | (candidate == 0) {
        return candidate;
    }
    // Several buckets start with this sort key and the tie belongs before the last of them.
    lowers[..candidate]
        .partition_point(|lower| lower <= key)
        .saturating_sub(1)
}

impl Page {
    fn new() -> Self {
        Self {
            members: 0,
            sort_keys: Vec::with_capacity(PAGE_BUCKETS_MAX),
            lowers: Vec::with_capacity(PAGE_BUCKETS_MAX),
            buckets: Vec::with_capacity(PAGE_BUCKETS_MAX),
        }
    }

    #[inline]
    fn slot_of(&self, key: &FullKey) -> usize {
        last_at_or_below(&self.sort_keys, &self.lowers, key)
    }

    fn insert(&mut self, slot: usize, lower: FullKey, bucket: u32) {
        self.sort_keys.insert(slot, lower.sort_key);
        self.lowers.insert(slot, lower);
        self.buckets.insert(slot, bucket);
    }

    fn remove(&mut self, slot: usize) {
        self.sort_keys.remove(slot);
        self.lowers.remove(slot);
        self.buckets.remove(slot);
    }

    /// Moves the buckets from `slot` on to the end of `target`, but not their member count.
    fn move_tail(&mut self, slot: usize, target: &mut Self) {
        target.sort_keys.extend(self.sort_keys.drain(slot..));
        target.lowers.extend(self.lowers.drain(slot..));
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
    sort_keys: Vec<u64>,
    lowers: Vec<FullKey>,
}

impl Directory {
    /// One page with `bucket` covering every key.
    pub(super) fn new(bucket: u32) -> Self {
        let mut page = Page::new();
        page.insert(0, FullKey::default(), bucket);
        Self {
            pages: vec![page],
            free: Vec::new(),
            order: vec![0],
            sort_keys: vec![0],
            lowers: vec![FullKey::default()],
        }
    }

    /// Where the bucket stands that covers `key`.
    #[inline]
    pub(super) fn locate(&self, key: &FullKey) -> Spot {
        let at = last_at_or_below(&self.sort_keys, &self.lowers, key);
        Spot {
            at,
            slot: self.pages[self.order[at] as usize].slot_of(key),
        }
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
        self.sort_keys.insert(spot.at + 1, upper.sort_keys[0]);
        self.lowers.insert(spot.at + 1, upper.lowers[0]);
        self.pages[upper_id as usize] = upper;
    }

    /// Gives the place of `spot` to `bucket`, which covers what the old one covered.
    pub(super) fn replace(&mut self, spot: Spot, bucket: u32) {
        self.pages[self.order[spot.at] as usize].buckets[spot.slot] = bucket;
    }

    /// Whether only one bucket is left.
    pub(super) fn is_single(&self) -> bool {
        self.order.len() == 1 && self.pages[self.order[0] as usize].buckets.len() == 1
    }

    /// Takes the bucket at `spot` out; its left neighbour covers its range from now on (for the
    /// very first bucket, its right neighbour does).
    pub(super) fn remove(&mut self, spot: Spot, moved: impl FnMut(u32, u32)) {
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
        self.sort_keys[at] = page.sort_keys[0];
        self.lowers[at] = page.lowers[0];
    }

    fn drop_page(&mut self, at: usize) {
        self.free.push(self.order.remove(at));
        self.sort_keys.remove(at);
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
        assert!(self.order.len() == self.lowers.len() && self.order.len() == self.sort_keys.len());
        let mut previous: Option<FullKey> = None;
        for (at, page) in self.in_order().enumerate() {
            assert!(!page.buckets.is_empty() && page.buckets.len() < PAGE_BUCKETS_MAX);
            assert_eq!(self.lowers[at], page.lowers[0]);
            for (slot, lower) in page.lowers.iter().enumerate() {
                assert_eq!(page.sort_keys[slot], lower.sort_key);
                assert!(previous.is_none_or(|previous| previous < *lower));
                previous = Some(*lower);
            }
        }
    }
}
