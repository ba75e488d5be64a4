//! The order of the buckets: exact lower bounds, searched in two levels.
//!
//! Pages hold up to 128 buckets in key order, so that a new bucket moves few neighbours.

use super::key::{FullKey, Names, pair};
use std::cmp::Ordering;

/// Buckets per page; a full page splits in two halves.
pub(super) const PAGE_BUCKETS_MAX: usize = 128;
/// Two neighbours with together fewer buckets than this become one page.
const PAGE_MERGE_BUCKETS: usize = PAGE_BUCKETS_MAX * 3 / 4;

#[derive(Debug, Clone)]
pub(super) struct Page<const WORDS: usize> {
    /// Lower bounds of the buckets.
    lowers: Bounds<WORDS>,
    pub(super) buckets: Vec<u32>,
}

/// Lower bounds in ascending order; what nearly every search is decided by apart from the rest.
#[derive(Debug, Clone)]
struct Bounds<const WORDS: usize> {
    pairs: Vec<u128>,
    full: Vec<FullKey<WORDS>>,
}

impl<const WORDS: usize> Bounds<WORDS> {
    fn with_capacity(capacity: usize) -> Self {
        Self {
            pairs: Vec::with_capacity(capacity),
            full: Vec::with_capacity(capacity),
        }
    }

    /// Index of the last bound at or below a key with this pair, 0 if there is none.
    fn last_at_or_below(&self, pair: u128, at_or_below: impl Fn(&FullKey<WORDS>) -> bool) -> usize {
        let found = self.pairs.partition_point(|bound| *bound <= pair);
        let candidate = found.saturating_sub(1);
        if self.pairs[candidate] < pair || candidate == 0 {
            return candidate;
        }
        self.full[..=candidate]
            .partition_point(at_or_below)
            .saturating_sub(1)
    }

    fn insert(&mut self, at: usize, bound: FullKey<WORDS>) {
        self.pairs.insert(at, pair(&bound.words));
        self.full.insert(at, bound);
    }

    fn set(&mut self, at: usize, bound: FullKey<WORDS>) {
        self.pairs[at] = pair(&bound.words);
        self.full[at] = bound;
    }

    fn remove(&mut self, at: usize) {
        self.pairs.remove(at);
        self.full.remove(at);
    }

    fn move_tail(&mut self, at: usize, target: &mut Self) {
        target.pairs.extend(self.pairs.drain(at..));
        target.full.extend(self.full.drain(at..));
    }
}

impl<const WORDS: usize> Page<WORDS> {
    fn new() -> Self {
        Self {
            lowers: Bounds::with_capacity(PAGE_BUCKETS_MAX),
            buckets: Vec::with_capacity(PAGE_BUCKETS_MAX),
        }
    }

    fn insert(&mut self, slot: usize, lower: FullKey<WORDS>, bucket: u32) {
        self.lowers.insert(slot, lower);
        self.buckets.insert(slot, bucket);
    }

    fn remove(&mut self, slot: usize) {
        self.lowers.remove(slot);
        self.buckets.remove(slot);
    }

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
pub(super) struct Directory<const WORDS: usize> {
    pages: Vec<Page<WORDS>>,
    /// Members in all buckets of a page, by page id.
    members: Vec<u64>,
    free: Vec<u32>,
    /// Page ids in key order, with the lower bound of each page's first bucket.
    order: Vec<u32>,
    lowers: Bounds<WORDS>,
}

impl<const WORDS: usize> Directory<WORDS> {
    /// One page with `bucket` covering every key.
    pub(super) fn new(bucket: u32) -> Self {
        let mut page = Page::new();
        page.insert(0, FullKey::LEAST, bucket);
        let mut lowers = Bounds::with_capacity(1);
        lowers.insert(0, FullKey::LEAST);
        Self {
            pages: vec![page],
            members: vec![0],
            free: Vec::new(),
            order: vec![0],
            lowers,
        }
    }

    /// Where the bucket stands that covers `key`.
    pub(super) fn locate(&self, key: &FullKey<WORDS>, names: impl Names) -> Spot {
        self.locate_by(pair(&key.words), |bound| {
            bound.compare(key, names) != Ordering::Greater
        })
    }

    /// Where the bucket stands that covers a key, of which is known the pair and whether a bound is
    /// at or below it.
    pub(super) fn locate_by(
        &self,
        pair: u128,
        at_or_below: impl Fn(&FullKey<WORDS>) -> bool,
    ) -> Spot {
        let at = self.lowers.last_at_or_below(pair, &at_or_below);
        let slot = self.page(at).lowers.last_at_or_below(pair, &at_or_below);
        Spot { at, slot }
    }

    fn page(&self, at: usize) -> &Page<WORDS> {
        &self.pages[self.order[at] as usize]
    }

    pub(super) fn bucket(&self, spot: Spot) -> u32 {
        self.page(spot.at).buckets[spot.slot]
    }

    /// Members in all buckets of a page.
    #[inline]
    pub(super) fn members_mut(&mut self, page_id: u32) -> &mut u64 {
        &mut self.members[page_id as usize]
    }

    /// The pages in key order, each with its number of members.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (&Page<WORDS>, u64)> {
        let page = |&id: &u32| (&self.pages[id as usize], self.members[id as usize]);
        self.order.iter().map(page)
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

    /// The bucket before the one at `spot`.
    pub(super) fn previous(&self, Spot { at, slot }: Spot) -> Option<u32> {
        match slot.checked_sub(1) {
            Some(slot) => Some(self.bucket(Spot { at, slot })),
            None => self.page(at.checked_sub(1)?).buckets.last().copied(),
        }
    }

    /// The bucket after the one at `spot`.
    pub(super) fn next(&self, Spot { at, slot }: Spot) -> Option<u32> {
        match self.page(at).buckets.get(slot + 1) {
            Some(&bucket) => Some(bucket),
            None => self
                .page(self.order.get(at + 1).map(|_| at + 1)?)
                .buckets
                .first()
                .copied(),
        }
    }

    /// How many buckets there are, and the first words of the least and the greatest border
    /// between two.
    pub(super) fn extent(&self) -> (usize, u64, u64) {
        let buckets = self.in_order().map(|(page, _)| page.buckets.len()).sum();
        let borders = |at: usize| self.page(at).lowers.full.iter().map(|key| key.words[0]);
        let least = borders(0)
            .nth(1)
            .or_else(|| borders(self.order.get(1).map(|_| 1)?).next());
        let greatest = borders(self.order.len() - 1).next_back();
        let greatest = greatest.expect("invariant: a page has a bucket");
        (buckets, least.unwrap_or(greatest), greatest)
    }

    /// Adds `bucket` to the right of `spot`. Buckets that changed page are reported to `moved`
    /// with their new page id.
    pub(super) fn insert_after(
        &mut self,
        spot: Spot,
        lower: FullKey<WORDS>,
        bucket: u32,
        members_of: impl Fn(u32) -> u16,
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
            self.members.push(0);
            (self.pages.len() - 1) as u32
        });
        let mut upper = std::mem::replace(&mut self.pages[upper_id as usize], Page::new());
        let page = &mut self.pages[page_id as usize];
        page.move_tail(PAGE_BUCKETS_MAX / 2, &mut upper);
        let mut members = 0;
        for &bucket in &upper.buckets {
            members += u64::from(members_of(bucket));
            moved(bucket, upper_id);
        }
        self.members[page_id as usize] -= members;
        self.members[upper_id as usize] = members;
        self.order.insert(spot.at + 1, upper_id);
        self.lowers.insert(spot.at + 1, upper.lowers.full[0]);
        self.pages[upper_id as usize] = upper;
    }

    /// Gives the place of `spot` to `bucket`, which covers what the old one covered.
    pub(super) fn replace(&mut self, spot: Spot, bucket: u32) {
        self.pages[self.order[spot.at] as usize].buckets[spot.slot] = bucket;
    }

    /// Whether only one bucket is left.
    pub(super) fn is_single(&self) -> bool {
        self.order.len() == 1 && self.page(0).buckets.len() == 1
    }

    /// Takes the bucket at `spot` out; its left neighbour covers its range from now on (for the
    /// very first bucket, its right neighbour does).
    pub(super) fn remove(&mut self, spot: Spot, moved: impl FnMut(u32, u32)) {
        let page_id = self.order[spot.at];
        let page = &mut self.pages[page_id as usize];
        page.remove(spot.slot);
        if page.buckets.is_empty() {
            let members = self.members[page_id as usize];
            assert!(members == 0, "an empty page has no members");
            self.drop_page(spot.at);
        } else {
            self.refresh_lower(spot.at);
            self.merge_pages(spot.at, moved);
        }
    }

    fn refresh_lower(&mut self, at: usize) {
        let lower = self.page(at).lowers.full[0];
        self.lowers.set(at, lower);
    }

    fn drop_page(&mut self, at: usize) {
        self.free.push(self.order.remove(at));
        self.lowers.remove(at);
    }

    fn merge_pages(&mut self, at: usize, mut moved: impl FnMut(u32, u32)) {
        let buckets = |at: usize| self.page(at).buckets.len();
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
        self.members[left_id as usize] += std::mem::take(&mut self.members[right_id as usize]);
        right.move_tail(0, &mut self.pages[left_id as usize]);
        self.drop_page(left + 1);
    }

    /// Verifies every invariant and hands out each bucket with its lower bound, in key order.
    pub(super) fn check(&self, names: impl Names) -> Vec<(u32, FullKey<WORDS>)> {
        assert_eq!(self.order.len(), self.lowers.full.len());
        let mut all: Vec<(u32, FullKey<WORDS>)> = Vec::new();
        for (at, (page, _)) in self.in_order().enumerate() {
            assert!(!page.buckets.is_empty() && page.buckets.len() < PAGE_BUCKETS_MAX);
            assert_eq!(self.lowers.full[at], page.lowers.full[0]);
            assert_eq!(self.lowers.pairs[at], page.lowers.pairs[0]);
            for (slot, lower) in page.lowers.full.iter().enumerate() {
                assert_eq!(page.lowers.pairs[slot], pair(&lower.words));
                let is_above = |previous: &FullKey<WORDS>| previous.compare(lower, names).is_lt();
                assert!(all.last().is_none_or(|(_, previous)| is_above(previous)));
                all.push((page.buckets[slot], *lower));
            }
        }
        all
    }
}
