//! Keeping buckets of a good size: the rare part of updates.
//!
//! A list that is full is cleared of holes or, if more than half of it is members, split at the
//! median of the *whole* key, so a million equal scores are no special case. Small neighbours merge.

use super::bucket::{Bucket, LIST_ENTRIES_MAX, Present, empty_list};
use super::key::{ById, FullKey, Names, pair};
use super::page::Spot;
use super::{RankIndex, Record};

/// Members above which a bucket with a full list splits.
const BUCKET_MEMBERS_MAX: usize = LIST_ENTRIES_MAX / 2;
/// Neighbouring buckets with together at most this many members become one.
const BUCKET_MERGE_MEMBERS: u16 = LIST_ENTRIES_MAX as u16 / 8;
/// A bucket that falls to a power of two up to this many members looks for a neighbour to join.
pub(super) const BUCKET_SPARSE_MEMBERS: u16 = BUCKET_MERGE_MEMBERS / 4;
/// A split where a score ends leaves at least this share of the members on either side.
const SPLIT_SHARE_MIN: usize = 16;
/// So many arrivals in ascending order show that a bucket grows at its end.
const ASCENDING_MIN: u16 = LIST_ENTRIES_MAX as u16 / 4;

impl<const WORDS: usize> RankIndex<WORDS> {
    /// Makes room in a full list: closes its holes, or splits the bucket if it has many members.
    #[cold]
    pub(super) fn make_room(&mut self, bucket_id: u32, names: impl Names) {
        let members = self.buckets[bucket_id as usize].members;
        if self.split_off_top(bucket_id) {
            return;
        }
        if usize::from(members) > BUCKET_MEMBERS_MAX {
            self.split_in_half(bucket_id, names);
        } else {
            self.compact(bucket_id);
        }
    }

    /// Gives the members that came last, if they are the greatest of the bucket, one of their own.
    /// Where arrivals ascend (equal scores do, by their ties) more will follow, and hardly any
    /// member has to move. False if it can not be done.
    ///
    /// While arrivals ascend, all members that have the greatest pair stand at the end of the list,
    /// unless every one of these arrivals has it.
    fn split_off_top(&mut self, bucket_id: u32) -> bool {
        let Bucket {
            ascending,
            top,
            entries,
            ..
        } = self.buckets[bucket_id as usize];
        if ascending < ASCENDING_MIN {
            return false;
        }
        let entries = usize::from(entries);
        let list = &self.lists[bucket_id as usize];
        let present = &mut self.present[bucket_id as usize];
        let below_top = |&position: &usize| {
            let member = list[position] as usize;
            present.has(position) && pair(&self.records.at(member).words) < top
        };
        let Some(last_below) = (0..entries).rev().find(below_top) else {
            return false;
        };
        let kept = last_below + 1;
        if entries - kept >= usize::from(ascending) {
            return false;
        }
        let mut keys = std::mem::take(&mut self.scratch);
        keys.clear();
        for position in kept..entries {
            if present.has(position) {
                let member = list[position];
                keys.push(FullKey::of(self.records.at(member as usize).words, member));
                present.clear(position);
            }
        }
        let spot = self.spot_of(bucket_id);
        let upper_id = self.new_bucket();
        let bucket = &mut self.buckets[bucket_id as usize];
        bucket.entries = kept as u16;
        bucket.members -= keys.len() as u16;
        bucket.ascending = 0;
        self.refill(upper_id, &keys);
        self.buckets[upper_id as usize].ascending = ASCENDING_MIN;
        self.insert_bucket(spot, FullKey::start_of_pair(top), upper_id);
        self.scratch = keys;
        true
    }

    fn split_in_half(&mut self, bucket_id: u32, names: impl Names) {
        let spot = self.spot_of(bucket_id);
        let mut keys = self.take_keys(bucket_id);
        let (middle, lower) = split_point(&mut keys, names);
        let upper_id = self.new_bucket();
        self.refill(bucket_id, &keys[..middle]);
        self.refill(upper_id, &keys[middle..]);
        self.insert_bucket(spot, lower, upper_id);
        self.scratch = keys;
    }

    /// The keys of a bucket's members, in the scratch vector, which the caller puts back.
    fn take_keys(&mut self, bucket_id: u32) -> Vec<FullKey<WORDS>> {
        let mut keys = std::mem::take(&mut self.scratch);
        keys.clear();
        self.keys_of(bucket_id, &mut keys);
        keys
    }

    /// Puts a new bucket, whose members were counted in its left neighbour's page, to the right of
    /// the one at `spot`, whose upper part it covers.
    fn insert_bucket(&mut self, spot: Spot, lower: FullKey<WORDS>, bucket_id: u32) {
        let left = &mut self.buckets[self.directory.bucket(spot) as usize];
        let pair_to = std::mem::replace(&mut left.pair_to, pair(&lower.words));
        let bucket = &mut self.buckets[bucket_id as usize];
        (bucket.pair_from, bucket.pair_to) = (lower.pair_from(), pair_to);
        let buckets = std::cell::RefCell::new(&mut self.buckets);
        self.directory.insert_after(
            spot,
            lower,
            bucket_id,
            |bucket| buckets.borrow()[bucket as usize].members,
            |bucket, page| buckets.borrow_mut()[bucket as usize].page = page,
        );
    }

    /// Closes the holes of a list.
    fn compact(&mut self, bucket_id: u32) {
        let list = &mut self.lists[bucket_id as usize];
        let present = &mut self.present[bucket_id as usize];
        let mut kept = 0;
        for position in present.positions() {
            let member = list[position];
            list[kept] = member;
            if kept != position {
                self.records.at_mut(member as usize).position = kept as u32;
            }
            kept += 1;
        }
        *present = Present::first(kept);
        self.buckets[bucket_id as usize].entries = kept as u16;
    }

    /// Makes `keys` the members of a bucket.
    fn refill(&mut self, bucket_id: u32, keys: &[FullKey<WORDS>]) {
        let bucket = &mut self.buckets[bucket_id as usize];
        bucket.members = keys.len() as u16;
        bucket.entries = keys.len() as u16;
        bucket.ascending = 0;
        bucket.top = keys.iter().map(|key| pair(&key.words)).max().unwrap_or(0);
        self.present[bucket_id as usize] = Present::first(keys.len());
        let list = &mut self.lists[bucket_id as usize];
        for (position, key) in keys.iter().enumerate() {
            list[position] = key.member();
            let record = self.records.at_mut(key.member() as usize);
            (record.bucket, record.position) = (bucket_id, position as u32);
        }
    }

    fn new_bucket(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.buckets.push(Bucket::UNUSED);
            self.lists.push(empty_list());
            self.present.push(Present::NONE);
            (self.buckets.len() - 1) as u32
        })
    }

    fn spot_of(&self, bucket_id: u32) -> Spot {
        let page = self.buckets[bucket_id as usize].page;
        self.directory.spot_of(page, bucket_id)
    }

    /// Drops an empty bucket, or joins a sparse one with a small neighbour.
    #[cold]
    pub(super) fn shrink(&mut self, bucket_id: u32) {
        if self.directory.is_single() {
            return;
        }
        let spot = self.spot_of(bucket_id);
        let members = self.buckets[bucket_id as usize].members;
        if members == 0 {
            self.drop_bucket(spot, bucket_id);
            return;
        }
        let page = self.buckets[bucket_id as usize].page;
        for right in [true, false] {
            let other = if right {
                self.directory.next(spot)
            } else {
                self.directory.previous(spot)
            };
            let joins = |other: &u32| {
                let other = &self.buckets[*other as usize];
                other.page == page && members + other.members <= BUCKET_MERGE_MEMBERS
            };
            if let Some(other) = other.filter(joins) {
                self.merge(spot, bucket_id, other, right);
                return;
            }
        }
    }

    /// Moves the members of the sparse bucket at `spot` to its neighbour `other`.
    fn merge(&mut self, spot: Spot, sparse: u32, other: u32, other_is_right: bool) {
        let keys = self.take_keys(sparse);
        if usize::from(self.buckets[other as usize].entries) + keys.len() >= LIST_ENTRIES_MAX {
            self.compact(other);
        }
        let bucket = &mut self.buckets[other as usize];
        for key in &keys {
            let record = self.records.at_mut(key.member() as usize);
            (record.bucket, record.position) = (other, u32::from(bucket.entries));
            self.lists[other as usize][usize::from(bucket.entries)] = key.member();
            self.present[other as usize].set(usize::from(bucket.entries));
            bucket.entries += 1;
            bucket.members += 1;
            bucket.top = bucket.top.max(pair(&key.words));
        }
        self.buckets[sparse as usize].members = 0;
        self.scratch = keys;
        if other_is_right {
            // The left of the two slots keeps its lower bound and gets the joint bucket.
            self.buckets[other as usize].pair_from = self.buckets[sparse as usize].pair_from;
            self.directory.replace(spot, other);
            let slot = spot.slot + 1;
            self.directory_remove(Spot { slot, ..spot });
            self.retire(sparse);
        } else {
            self.drop_bucket(spot, sparse);
        }
    }

    /// Takes the empty bucket at `spot` out; a neighbour covers its range from now on.
    fn drop_bucket(&mut self, spot: Spot, bucket_id: u32) {
        let Bucket {
            pair_from, pair_to, ..
        } = self.buckets[bucket_id as usize];
        if let Some(left) = self.directory.previous(spot) {
            self.buckets[left as usize].pair_to = pair_to;
        } else if let Some(right) = self.directory.next(spot) {
            self.buckets[right as usize].pair_from = pair_from;
        }
        self.directory_remove(spot);
        self.retire(bucket_id);
    }

    fn directory_remove(&mut self, spot: Spot) {
        let buckets = &mut self.buckets;
        self.directory
            .remove(spot, |bucket, page| buckets[bucket as usize].page = page);
    }

    /// Keeps a bucket that is out of the directory for later use.
    fn retire(&mut self, bucket_id: u32) {
        self.buckets[bucket_id as usize] = Bucket::UNUSED;
        self.present[bucket_id as usize] = Present::NONE;
        self.free.push(bucket_id);
    }

    /// Verifies every invariant; for tests.
    #[doc(hidden)]
    pub fn check(&self) {
        self.check_by(ById);
    }

    pub(super) fn check_by(&self, names: impl Names) {
        let all = self.directory.check(names);
        let mut total = 0;
        let mut pages = vec![0; self.directory.in_order().count()];
        for (place, (bucket_id, lower)) in all.iter().enumerate() {
            let bucket = &self.buckets[*bucket_id as usize];
            assert!(usize::from(bucket.entries) < LIST_ENTRIES_MAX);
            let from = if place == 0 { 0 } else { lower.pair_from() };
            assert_eq!(bucket.pair_from, from);
            let to = all.get(place + 1).map(|(_, next)| pair(&next.words));
            assert_eq!(bucket.pair_to, to.unwrap_or(u128::MAX));
            let spot = self.spot_of(*bucket_id);
            pages[spot.at] += u64::from(bucket.members);
            for position in self.present[*bucket_id as usize].positions() {
                assert!(position < usize::from(bucket.entries));
                let member = self.lists[*bucket_id as usize][position];
                let record: &Record<WORDS> = self.records.at(member as usize);
                assert_eq!(record.bucket, *bucket_id);
                assert_eq!(record.position, position as u32);
            }
            let mut keys = Vec::new();
            self.keys_of(*bucket_id, &mut keys);
            assert_eq!(keys.len(), usize::from(bucket.members));
            for key in &keys {
                assert!(pair(&key.words) <= bucket.top);
                assert_eq!(self.directory.locate(key, names), spot);
            }
            total += keys.len() as u64;
        }
        assert!(
            pages
                .iter()
                .copied()
                .eq(self.directory.in_order().map(|(_, members)| members))
        );
        assert_eq!(total, self.len);
    }
}

/// Where to split `keys`: how many of them go left, which stand first afterwards, and the lower
/// bound of the others.
///
/// The split is in the middle, but moved to where a score ends if there is such a place: members
/// come to the end of their score's run, and a bucket that ends there grows without moving anyone.
fn split_point<const WORDS: usize>(
    keys: &mut [FullKey<WORDS>],
    names: impl Names,
) -> (usize, FullKey<WORDS>) {
    let middle = keys.len() / 2;
    let (_, median, _) = keys.select_nth_unstable_by(middle, |a, b| a.compare(b, names));
    let (median, score) = (*median, median.words[0]);
    let worthwhile = keys.len() / SPLIT_SHARE_MIN;
    let below = keys.iter().filter(|key| key.words[0] < score).count();
    let above = keys.iter().filter(|key| key.words[0] > score).count();
    let (left, lower) = if below >= above && below >= worthwhile {
        (below, FullKey::start_of(score))
    } else if above >= worthwhile && above > 0 {
        (keys.len() - above, FullKey::start_of(score + 1))
    } else {
        return (middle, median);
    };
    keys.select_nth_unstable_by(left, |a, b| a.compare(b, names));
    (left, lower)
}
