//! `RankIndex`: exact order statistics under heavy updates.
//!
//! Members lie in buckets of a key range each. Inside a bucket the list is *unsorted and
//! append-only*: a member that moves is appended to its new bucket's list, and its old entry stays
//! behind as garbage, told by the member's own record, which names its bucket and position. So an
//! update touches the record, two counters and the tail of one list, and never searches or shifts.
//! Only reads order things, one bucket at a time:
//!
//! ```text
//! records  member -> key, bucket, position                      (32 bytes each)
//! pages    lower bounds of <= 128 buckets, members per page     (searched by binary search)
//! buckets  members per bucket, list of up to 512 members, some of them stale
//!
//! rank = members of the pages before + of the buckets before + better ones in the own bucket
//! ```
//!
//! A list that is full is cleared of stale entries and, if more than 256 members are left, split at
//! the median of the *whole* key, so a million equal scores are no special case. Small neighbours
//! merge. The order is total: sort key, tie, then member id.

mod page;

use crate::table::chunks::Chunks;
use page::{Directory, Spot};
use rkyv::{Archive, Deserialize, Serialize};

/// Entries of a bucket's list, stale ones included; a full list is tidied.
const LIST_ENTRIES_MAX: usize = 512;
/// Members above which a tidied bucket splits.
const BUCKET_MEMBERS_MAX: usize = LIST_ENTRIES_MAX / 2;
/// Neighbouring buckets with together at most this many members become one.
const BUCKET_MERGE_MEMBERS: u32 = 128;
/// A bucket that falls to a power of two up to this many members looks for a neighbour to join.
const BUCKET_SPARSE_MEMBERS: u32 = 32;
/// Bucket of a member that has no score.
const NO_BUCKET: u32 = u32::MAX;

/// Which of two equal scores is better: the one reached earlier, in recorded ingest order.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Archive,
    Serialize,
    Deserialize,
)]
pub struct Tie {
    /// Ingest stamp of the batch that holds the deciding event, ns.
    pub stamp_ns: u64,
    /// Log stream that holds the batch.
    pub log_stream: u32,
    /// Index of the deciding event in its batch.
    pub index: u32,
}

/// Place of a member on a board: smaller is better.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Archive,
    Serialize,
    Deserialize,
)]
pub struct OrderKey {
    /// The score, encoded so that a better score is a smaller number.
    pub sort_key: u64,
    /// Decides between equal scores.
    pub tie: Tie,
}

/// An order key made total by the member's id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct FullKey {
    order: OrderKey,
    member: u32,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    order: OrderKey,
    bucket: u32,
    position: u32,
}

const ABSENT: Record = Record {
    order: OrderKey {
        sort_key: 0,
        tie: Tie {
            stamp_ns: 0,
            log_stream: 0,
            index: 0,
        },
    },
    bucket: NO_BUCKET,
    position: 0,
};

#[derive(Debug, Clone)]
struct Bucket {
    members: u32,
    page: u32,
    list: Vec<u32>,
}

/// Exact ranks of up to 2^32 - 1 members, each with one order key.
#[derive(Debug, Clone)]
pub struct RankIndex {
    records: Chunks<Record>,
    buckets: Vec<Bucket>,
    free: Vec<u32>,
    directory: Directory,
    len: u64,
    scratch: Vec<FullKey>,
}

impl Default for RankIndex {
    fn default() -> Self {
        Self::new()
    }
}

impl RankIndex {
    /// An index without members.
    pub fn new() -> Self {
        let first = Bucket {
            members: 0,
            page: 0,
            list: Vec::new(),
        };
        Self {
            records: Chunks::new(),
            buckets: vec![first],
            free: Vec::new(),
            directory: Directory::new(0),
            len: 0,
            scratch: Vec::new(),
        }
    }

    /// Members with a score.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether no member has a score.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The order key of `member`, if it has a score.
    #[inline]
    pub fn get(&self, member: u32) -> Option<OrderKey> {
        if member as usize >= self.records.len() {
            return None;
        }
        let record = self.records.at(member as usize);
        (record.bucket != NO_BUCKET).then_some(record.order)
    }

    /// Reads the record of every member, so that the updates that follow find them in the cache.
    ///
    /// The reads do not depend on each other and overlap; inside an update they would not.
    pub fn touch(&self, members: &[u32]) {
        let mut sum = 0_u32;
        for &member in members {
            if (member as usize) < self.records.len() {
                sum = sum.wrapping_add(self.records.at(member as usize).bucket);
            }
        }
        std::hint::black_box(sum);
    }

    /// Sets the order key of each member in turn, see [`RankIndex::update`].
    pub fn update_batch(&mut self, updates: &[(u32, u64, Tie)]) {
        let mut sum = 0_u32;
        for &(member, ..) in updates {
            if (member as usize) < self.records.len() {
                sum = sum.wrapping_add(self.records.at(member as usize).bucket);
            }
        }
        std::hint::black_box(sum);
        for &(member, sort_key, tie) in updates {
            self.update(member, sort_key, tie);
        }
    }

    /// Sets the order key of `member`, adding it if it has none.
    ///
    /// Members should be dense: memory follows the highest one.
    #[inline]
    pub fn update(&mut self, member: u32, sort_key: u64, tie: Tie) {
        let key = FullKey {
            order: OrderKey { sort_key, tie },
            member,
        };
        let spot = self.directory.locate(&key);
        let bucket_id = self.directory.bucket(spot);
        if member as usize >= self.records.len() {
            self.records.grow_to(member as usize + 1, ABSENT);
        }
        let record = self.records.at_mut(member as usize);
        let left = record.bucket;
        record.order = key.order;
        if left == bucket_id {
            return;
        }
        let bucket = &mut self.buckets[bucket_id as usize];
        record.bucket = bucket_id;
        record.position = bucket.list.len() as u32;
        bucket.list.push(member);
        bucket.members += 1;
        let full = bucket.list.len() >= LIST_ENTRIES_MAX;
        let page_id = bucket.page;
        self.directory.page_mut(page_id).members += 1;
        if full {
            self.tidy(spot, bucket_id);
        }
        if left == NO_BUCKET {
            self.len += 1;
        } else {
            self.leave(left);
        }
    }

    /// Takes the score of `member` away; true if it had one.
    pub fn remove(&mut self, member: u32) -> bool {
        if self.get(member).is_none() {
            return false;
        }
        let left = std::mem::replace(self.records.at_mut(member as usize), ABSENT).bucket;
        self.len -= 1;
        self.leave(left);
        true
    }

    /// How many members are strictly better than `member`: its 0-based rank.
    pub fn rank(&self, member: u32) -> Option<u64> {
        let order = self.get(member)?;
        Some(self.count_below(&FullKey { order, member }))
    }

    /// How many members are strictly better than `key`.
    pub fn count_better(&self, key: &OrderKey) -> u64 {
        self.count_below(&FullKey {
            order: *key,
            member: 0,
        })
    }

    fn count_below(&self, key: &FullKey) -> u64 {
        let spot = self.directory.locate(key);
        let mut count = 0;
        for (at, page) in self.directory.in_order().enumerate().take(spot.at + 1) {
            if at < spot.at {
                count += page.members;
                continue;
            }
            for &bucket in &page.buckets[..spot.slot] {
                count += u64::from(self.buckets[bucket as usize].members);
            }
        }
        let bucket_id = self.directory.bucket(spot);
        let mut inside = 0;
        for (position, &member) in self.buckets[bucket_id as usize].list.iter().enumerate() {
            let record = self.records.at(member as usize);
            let valid = (record.bucket == bucket_id) & (record.position == position as u32);
            let below = FullKey {
                order: record.order,
                member,
            } < *key;
            inside += u64::from(valid & below);
        }
        count + inside
    }

    /// Appends up to `n` members to `out`, best first, from 0-based rank `start` on.
    pub fn range(&self, start: u64, n: usize, out: &mut Vec<u32>) {
        let mut skip = start;
        let mut wanted = n;
        let mut keys = Vec::new();
        for page in self.directory.in_order() {
            if wanted == 0 {
                return;
            }
            if skip >= page.members {
                skip -= page.members;
                continue;
            }
            for &bucket in &page.buckets {
                let members = u64::from(self.buckets[bucket as usize].members);
                if wanted == 0 || skip >= members {
                    skip = skip.saturating_sub(members);
                    continue;
                }
                keys.clear();
                self.keys_of(bucket, &mut keys);
                keys.sort_unstable();
                let taken = keys.iter().skip(skip as usize).take(wanted);
                let before = out.len();
                out.extend(taken.map(|key| key.member));
                wanted -= out.len() - before;
                skip = 0;
            }
        }
    }

    /// Appends the `above` members closest above `key` and the `below` members at or below it
    /// (`key` itself first, if a member has it) to `out`, best first; returns how many of them are
    /// above and the 0-based rank of `key`.
    pub fn neighbours(
        &self,
        key: &OrderKey,
        above: usize,
        below: usize,
        out: &mut Vec<u32>,
    ) -> (usize, u64) {
        let better = self.count_better(key);
        let above = usize::try_from(better).map_or(above, |better| better.min(above));
        self.range(better - above as u64, above + below, out);
        (above, better)
    }

    /// Appends the keys of the members of `bucket`, in no order.
    fn keys_of(&self, bucket: u32, out: &mut Vec<FullKey>) {
        for (position, &member) in self.buckets[bucket as usize].list.iter().enumerate() {
            let record = self.records.at(member as usize);
            if record.bucket == bucket && record.position == position as u32 {
                out.push(FullKey {
                    order: record.order,
                    member,
                });
            }
        }
    }

    /// Clears a full list of stale entries and splits the bucket if it holds many members.
    #[cold]
    fn tidy(&mut self, spot: Spot, bucket_id: u32) {
        self.compact(bucket_id);
        if self.buckets[bucket_id as usize].list.len() <= BUCKET_MEMBERS_MAX {
            return;
        }
        let mut keys = std::mem::take(&mut self.scratch);
        keys.clear();
        self.keys_of(bucket_id, &mut keys);
        let middle = keys.len() / 2;
        keys.select_nth_unstable(middle);
        let upper_id = self.new_bucket();
        self.refill(bucket_id, &keys[..middle]);
        self.refill(upper_id, &keys[middle..]);

        let Self {
            directory, buckets, ..
        } = self;
        let pages = std::cell::RefCell::new(buckets);
        directory.insert_after(
            spot,
            keys[middle],
            upper_id,
            |bucket| pages.borrow()[bucket as usize].members,
            |bucket, page| pages.borrow_mut()[bucket as usize].page = page,
        );
        self.scratch = keys;
    }

    /// Removes stale entries from a list.
    ///
    /// Without branches on validity: about half of the entries are stale at random, and each
    /// wrong guess would wait for a record out of memory instead of overlapping those reads.
    fn compact(&mut self, bucket_id: u32) {
        let bucket = &mut self.buckets[bucket_id as usize];
        let mut kept = 0;
        for position in 0..bucket.list.len() {
            let member = bucket.list[position];
            let record = self.records.at_mut(member as usize);
            let valid = (record.bucket == bucket_id) & (record.position == position as u32);
            let mask = u32::from(valid).wrapping_neg();
            record.position = (kept as u32 & mask) | (record.position & !mask);
            bucket.list[kept] = member;
            kept += usize::from(valid);
        }
        bucket.list.truncate(kept);
    }

    /// Makes `keys` the members of a bucket.
    fn refill(&mut self, bucket_id: u32, keys: &[FullKey]) {
        let bucket = &mut self.buckets[bucket_id as usize];
        bucket.members = keys.len() as u32;
        bucket.list.clear();
        for (position, key) in keys.iter().enumerate() {
            let record = self.records.at_mut(key.member as usize);
            record.bucket = bucket_id;
            record.position = position as u32;
            bucket.list.push(key.member);
        }
    }

    fn new_bucket(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            let list = Vec::with_capacity(LIST_ENTRIES_MAX);
            self.buckets.push(Bucket {
                members: 0,
                page: 0,
                list,
            });
            (self.buckets.len() - 1) as u32
        })
    }

    /// Accounts for a member that left `bucket_id`; its entry in the list is stale by now.
    #[inline]
    fn leave(&mut self, bucket_id: u32) {
        let bucket = &mut self.buckets[bucket_id as usize];
        bucket.members -= 1;
        let members = bucket.members;
        self.directory.page_mut(bucket.page).members -= 1;
        let may_join = members == 0 || members.is_power_of_two();
        if may_join && members <= BUCKET_SPARSE_MEMBERS {
            self.shrink(bucket_id);
        }
    }

    /// Drops an empty bucket, or joins a sparse one with a small neighbour.
    #[cold]
    fn shrink(&mut self, bucket_id: u32) {
        let Bucket { members, page, .. } = self.buckets[bucket_id as usize];
        if self.directory.is_single() {
            return;
        }
        let spot = self.directory.spot_of(page, bucket_id);
        if members == 0 {
            self.drop_bucket(spot, bucket_id);
            return;
        }
        for right in [true, false] {
            let Some(other) = self.directory.neighbour(spot, right) else {
                continue;
            };
            if members + self.buckets[other as usize].members <= BUCKET_MERGE_MEMBERS {
                self.merge(spot, bucket_id, other, right);
                return;
            }
        }
    }

    /// Moves the members of the sparse bucket at `spot` to its neighbour `other`.
    fn merge(&mut self, spot: Spot, sparse: u32, other: u32, other_is_right: bool) {
        let mut keys = std::mem::take(&mut self.scratch);
        keys.clear();
        self.keys_of(sparse, &mut keys);
        if self.buckets[other as usize].list.len() + keys.len() >= LIST_ENTRIES_MAX {
            self.compact(other);
        }
        let bucket = &mut self.buckets[other as usize];
        for key in &keys {
            let record = self.records.at_mut(key.member as usize);
            record.bucket = other;
            record.position = bucket.list.len() as u32;
            bucket.list.push(key.member);
        }
        bucket.members += keys.len() as u32;
        self.buckets[sparse as usize].members = 0;
        self.scratch = keys;
        if other_is_right {
            // The left of the two slots keeps its lower bound and gets the joint bucket.
            self.directory.replace(spot, other);
            self.drop_bucket(
                Spot {
                    at: spot.at,
                    slot: spot.slot + 1,
                },
                sparse,
            );
        } else {
            self.drop_bucket(spot, sparse);
        }
    }

    /// Takes the slot at `spot` out of the directory and keeps the bucket for later use.
    fn drop_bucket(&mut self, spot: Spot, bucket_id: u32) {
        let Self {
            directory, buckets, ..
        } = self;
        directory.remove(spot, |bucket, page| buckets[bucket as usize].page = page);
        self.buckets[bucket_id as usize].list.clear();
        self.free.push(bucket_id);
    }

    /// Verifies every invariant; for tests.
    #[doc(hidden)]
    pub fn check(&self) {
        self.directory.check();
        let mut total = 0;
        for (at, page) in self.directory.in_order().enumerate() {
            let mut members = 0;
            for (slot, &bucket_id) in page.buckets.iter().enumerate() {
                let bucket = &self.buckets[bucket_id as usize];
                assert!(bucket.list.len() < LIST_ENTRIES_MAX);
                assert_eq!(bucket.page, self.directory.page_id(at));
                let mut keys = Vec::new();
                self.keys_of(bucket_id, &mut keys);
                assert_eq!(keys.len(), bucket.members as usize);
                members += u64::from(bucket.members);
                for key in keys {
                    assert_eq!(self.directory.locate(&key), Spot { at, slot });
                }
            }
            assert_eq!(members, page.members);
            total += members;
        }
        assert_eq!(total, self.len);
    }
}
