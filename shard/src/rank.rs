//! `RankIndex`: exact order statistics under heavy updates.
//!
//! Members lie in buckets of a key range each. Inside a bucket the list is *unsorted and
//! append-only*: a member that moves is appended to its new bucket's list and leaves a hole in its
//! old one. So an update touches the record, two counters and one entry each of two lists, and
//! never shifts or sorts. Only reads order things, one bucket at a time:
//!
//! ```text
//! records  member -> key, bucket, position                      (32 bytes each)
//! pages    lower bounds of <= 128 buckets, members per page     (searched by binary search)
//! buckets  members per bucket, list of up to 1,024 entries, some of them holes
//!
//! rank = members of the pages before + of the buckets before + better ones in the own bucket
//! ```
//!
//! A list that is full is cleared of holes or, if it has more than 512 members, split at the median
//! of the *whole* key, so a million equal scores are no special case. Small neighbours merge. The
//! order is total: sort key, tie, then member id.

mod page;

use crate::prefetch::prefetch;
use crate::table::chunks::Chunks;
use page::{Directory, Spot};
use rkyv::{Archive, Deserialize, Serialize};

/// Entries of a bucket's list, holes included; a full list is tidied.
const LIST_ENTRIES_MAX: usize = 1024;
/// Members above which a bucket with a full list splits.
const BUCKET_MEMBERS_MAX: usize = LIST_ENTRIES_MAX / 2;
/// Neighbouring buckets with together at most this many members become one.
const BUCKET_MERGE_MEMBERS: u32 = 128;
/// A bucket that falls to a power of two up to this many members looks for a neighbour to join.
const BUCKET_SPARSE_MEMBERS: u32 = 32;
/// Bucket of a member that has no score.
const NO_BUCKET: u32 = u32::MAX;
/// A split where a score ends leaves at least this share of the members on either side.
const SPLIT_SHARE_MIN: usize = 16;
/// So many arrivals in ascending order show that a bucket grows at its end.
const ASCENDING_MIN: u32 = LIST_ENTRIES_MAX as u32 / 4;
/// Entry of a member that left.
const HOLE: u32 = u32::MAX;

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

/// An order key made total by the member's id, in plain words: a tie that is taken apart into
/// halves and loaded as a whole again would stall every update.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct FullKey {
    sort_key: u64,
    stamp_ns: u64,
    /// Log stream and index.
    minor: u64,
    member: u32,
}

impl FullKey {
    fn new(order: &OrderKey, member: u32) -> Self {
        Self::of(member, order.sort_key, order.tie)
    }

    #[inline]
    fn of(member: u32, sort_key: u64, tie: Tie) -> Self {
        Self {
            sort_key,
            stamp_ns: tie.stamp_ns,
            minor: tie.minor(),
            member,
        }
    }
}

impl Tie {
    #[inline]
    fn minor(&self) -> u64 {
        u64::from(self.log_stream) << 32 | u64::from(self.index)
    }
}

/// Aligned to its size, so that no record costs two cache lines.
#[derive(Debug, Clone, Copy)]
#[repr(align(32))]
struct Record {
    sort_key: u64,
    stamp_ns: u64,
    minor: u64,
    bucket: u32,
    position: u32,
}

const ABSENT: Record = Record {
    sort_key: 0,
    stamp_ns: 0,
    minor: 0,
    bucket: NO_BUCKET,
    position: 0,
};

impl Record {
    #[inline]
    fn order(&self) -> OrderKey {
        let (log_stream, index) = ((self.minor >> 32) as u32, self.minor as u32);
        let tie = Tie {
            stamp_ns: self.stamp_ns,
            log_stream,
            index,
        };
        OrderKey {
            sort_key: self.sort_key,
            tie,
        }
    }

    #[inline]
    fn full_key(&self, member: u32) -> FullKey {
        let Self {
            sort_key,
            stamp_ns,
            minor,
            ..
        } = *self;
        FullKey {
            sort_key,
            stamp_ns,
            minor,
            member,
        }
    }
}

/// Updates that are aimed ahead at a time: enough for misses to overlap, few enough that a split
/// rarely voids an aim.
pub(crate) const AIM_CHUNK: usize = 64;

/// Where an update will go, as long as the directory stays at `version`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Aim {
    sort_key: u64,
    spot: Spot,
    bucket: u32,
    version: u32,
}

impl Aim {
    /// An aim that holds for nothing.
    pub(crate) const NONE: Self = Self {
        sort_key: 0,
        spot: Spot { at: 0, slot: 0 },
        bucket: NO_BUCKET,
        version: u32::MAX,
    };
}

/// One cache line.
#[derive(Debug, Clone)]
#[repr(align(64))]
struct Bucket {
    members: u32,
    page: u32,
    list: Vec<u32>,
    /// No member has a greater sort key, stamp and minor.
    top: (u64, u64, u64),
    /// How many of the latest arrivals came in ascending order.
    ascending: u32,
}

impl Bucket {
    fn new(list: Vec<u32>) -> Self {
        Self {
            members: 0,
            page: 0,
            list,
            top: (0, 0, 0),
            ascending: 0,
        }
    }
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
        let first = Bucket::new(Vec::new());
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
        (record.bucket != NO_BUCKET).then(|| record.order())
    }

    /// The sort key of `member`, if it has a score.
    #[inline]
    pub(crate) fn sort_key(&self, member: u32) -> Option<u64> {
        if member as usize >= self.records.len() {
            return None;
        }
        let record = self.records.at(member as usize);
        (record.bucket != NO_BUCKET).then_some(record.sort_key)
    }

    /// Asks for the records of these members, so that what follows finds them in the cache. The
    /// update of many members is three passes, this one, [`RankIndex::aim`] and
    /// [`RankIndex::update_aimed`], of which the first two ask for what the next one needs.
    #[inline]
    pub(crate) fn prefetch(&self, members: &[u32]) {
        for &member in members {
            if (member as usize) < self.records.len() {
                prefetch(self.records.at(member as usize));
            }
        }
    }

    /// Finds the bucket that an update will go to, and asks for the entries of the lists that the
    /// member will leave and join.
    #[inline]
    pub(crate) fn aim(&self, member: u32, sort_key: u64, tie: Tie) -> Aim {
        if (member as usize) < self.records.len() {
            let record = self.records.at(member as usize);
            if let Some(left) = self.buckets.get(record.bucket as usize) {
                prefetch(&left.list[record.position as usize]);
            }
        }
        let spot = self.directory.locate(&FullKey::of(member, sort_key, tie));
        let bucket = self.directory.bucket(spot);
        if let Some(last) = self.buckets[bucket as usize].list.last() {
            prefetch(last);
        }
        Aim {
            sort_key,
            spot,
            bucket,
            version: self.directory.version(),
        }
    }

    /// Sets the order key of each member in turn, see [`RankIndex::update`].
    pub fn update_batch(&mut self, updates: &[(u32, u64, Tie)]) {
        for chunk in updates.chunks(AIM_CHUNK) {
            let mut aims = [Aim::NONE; AIM_CHUNK];
            for update in chunk {
                self.prefetch(&[update.0]);
            }
            for (aim, &(member, sort_key, tie)) in aims.iter_mut().zip(chunk) {
                *aim = self.aim(member, sort_key, tie);
            }
            for (aim, &(member, sort_key, tie)) in aims.iter().zip(chunk) {
                self.update_aimed(member, sort_key, tie, aim);
            }
        }
    }

    /// [`RankIndex::update`] that goes where the aim says, if that still holds.
    #[inline]
    pub(crate) fn update_aimed(&mut self, member: u32, sort_key: u64, tie: Tie, aim: &Aim) {
        let key = FullKey::of(member, sort_key, tie);
        if aim.version == self.directory.version() && aim.sort_key == sort_key {
            self.place_at(&key, aim.spot, aim.bucket);
        } else {
            self.place(&key);
        }
    }

    /// Sets the order key of `member`, adding it if it has none.
    ///
    /// Members should be dense: memory follows the highest one.
    #[inline]
    pub fn update(&mut self, member: u32, sort_key: u64, tie: Tie) {
        self.place(&FullKey::of(member, sort_key, tie));
    }

    fn place(&mut self, key: &FullKey) {
        let spot = self.directory.locate(key);
        let bucket_id = self.directory.bucket(spot);
        self.place_at(key, spot, bucket_id);
    }

    #[inline]
    fn place_at(&mut self, key: &FullKey, spot: Spot, bucket_id: u32) {
        let FullKey {
            sort_key,
            stamp_ns,
            minor,
            member,
        } = *key;
        if member as usize >= self.records.len() {
            self.records.grow_to(member as usize + 1, ABSENT);
        }
        let record = self.records.at_mut(member as usize);
        let (left, left_position) = (record.bucket, record.position);
        let bucket = &mut self.buckets[bucket_id as usize];
        let is_top = (sort_key, stamp_ns, minor) > bucket.top;
        if is_top {
            bucket.top = (sort_key, stamp_ns, minor);
        }
        let stays = left == bucket_id;
        let position = if stays {
            left_position
        } else {
            bucket.list.len() as u32
        };
        *record = Record {
            sort_key,
            stamp_ns,
            minor,
            bucket: bucket_id,
            position,
        };
        if stays {
            return;
        }
        bucket.list.push(member);
        bucket.members += 1;
        bucket.ascending = if is_top { bucket.ascending + 1 } else { 0 };
        let full = bucket.list.len() >= LIST_ENTRIES_MAX;
        let page_id = bucket.page;
        self.directory.page_mut(page_id).members += 1;
        if full {
            self.make_room(spot, bucket_id);
        }
        if left == NO_BUCKET {
            self.len += 1;
        } else {
            self.leave(left, left_position);
        }
    }

    /// Takes the score of `member` away; true if it had one.
    pub fn remove(&mut self, member: u32) -> bool {
        if self.get(member).is_none() {
            return false;
        }
        let left = std::mem::replace(self.records.at_mut(member as usize), ABSENT);
        self.len -= 1;
        self.leave(left.bucket, left.position);
        true
    }

    /// How many members are strictly better than `member`: its 0-based rank.
    pub fn rank(&self, member: u32) -> Option<u64> {
        let order = self.get(member)?;
        Some(self.count_below(&FullKey::new(&order, member)))
    }

    /// How many members are strictly better than `key`.
    pub fn count_better(&self, key: &OrderKey) -> u64 {
        self.count_below(&FullKey::new(key, 0))
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
        for &member in self.buckets[bucket_id as usize]
            .list
            .iter()
            .filter(|m| **m != HOLE)
        {
            let other = self.records.at(member as usize).full_key(member);
            inside += u64::from(other < *key);
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
        for &member in self.buckets[bucket as usize]
            .list
            .iter()
            .filter(|m| **m != HOLE)
        {
            out.push(self.records.at(member as usize).full_key(member));
        }
    }

    /// Makes room in a full list: closes its holes, or splits the bucket if it has many members.
    #[cold]
    fn make_room(&mut self, spot: Spot, bucket_id: u32) {
        let Bucket {
            members, ascending, ..
        } = self.buckets[bucket_id as usize];
        if ascending >= ASCENDING_MIN {
            self.split_off_last(spot, bucket_id);
        } else if members as usize > BUCKET_MEMBERS_MAX {
            self.split_in_half(spot, bucket_id);
        } else {
            self.compact(bucket_id);
        }
    }

    /// Gives the member that came last, which is greater than all others of the bucket, a bucket of
    /// its own. Where arrivals ascend (equal scores do, by their ties) more will follow, and no
    /// member has to move.
    fn split_off_last(&mut self, spot: Spot, bucket_id: u32) {
        let upper_id = self.new_bucket();
        let bucket = &mut self.buckets[bucket_id as usize];
        let member = bucket.list.pop().expect("invariant: the list is full");
        bucket.members -= 1;
        bucket.ascending = 0;
        let lower = self.records.at(member as usize).full_key(member);
        self.refill(upper_id, &[lower]);
        self.buckets[upper_id as usize].ascending = ASCENDING_MIN;
        self.insert_bucket(spot, lower, upper_id);
    }

    fn split_in_half(&mut self, spot: Spot, bucket_id: u32) {
        let mut keys = std::mem::take(&mut self.scratch);
        keys.clear();
        self.keys_of(bucket_id, &mut keys);
        let (middle, lower) = split_point(&mut keys);
        let upper_id = self.new_bucket();
        self.refill(bucket_id, &keys[..middle]);
        self.refill(upper_id, &keys[middle..]);

        self.insert_bucket(spot, lower, upper_id);
        self.scratch = keys;
    }

    /// Puts a new bucket, whose members were counted in its left neighbour's page, into place.
    fn insert_bucket(&mut self, spot: Spot, lower: FullKey, bucket_id: u32) {
        let Self {
            directory, buckets, ..
        } = self;
        let buckets = std::cell::RefCell::new(buckets);
        directory.insert_after(
            spot,
            lower,
            bucket_id,
            |bucket| buckets.borrow()[bucket as usize].members,
            |bucket, page| buckets.borrow_mut()[bucket as usize].page = page,
        );
    }

    /// Closes the holes of a list. Holes are at random places, so no branch asks for them.
    fn compact(&mut self, bucket_id: u32) {
        let list = &mut self.buckets[bucket_id as usize].list;
        let first_hole = list
            .iter()
            .position(|&member| member == HOLE)
            .unwrap_or(list.len());
        let mut kept = first_hole;
        for position in first_hole..list.len() {
            let member = list[position];
            list[kept] = member;
            kept += usize::from(member != HOLE);
        }
        list.truncate(kept);
        for (position, &member) in list.iter().enumerate().skip(first_hole) {
            self.records.at_mut(member as usize).position = position as u32;
        }
    }

    /// Makes `keys` the members of a bucket.
    fn refill(&mut self, bucket_id: u32, keys: &[FullKey]) {
        let bucket = &mut self.buckets[bucket_id as usize];
        bucket.members = keys.len() as u32;
        bucket.list.clear();
        bucket.ascending = 0;
        bucket.top = (0, 0, 0);
        for (position, key) in keys.iter().enumerate() {
            bucket.top = bucket.top.max((key.sort_key, key.stamp_ns, key.minor));
            let record = self.records.at_mut(key.member as usize);
            record.bucket = bucket_id;
            record.position = position as u32;
            bucket.list.push(key.member);
        }
    }

    fn new_bucket(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            let list = Vec::with_capacity(LIST_ENTRIES_MAX);
            self.buckets.push(Bucket::new(list));
            (self.buckets.len() - 1) as u32
        })
    }

    /// Accounts for a member that left `bucket_id`, where it stood at `position`.
    #[inline]
    fn leave(&mut self, bucket_id: u32, position: u32) {
        let bucket = &mut self.buckets[bucket_id as usize];
        bucket.list[position as usize] = HOLE;
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
            bucket.top = bucket.top.max((key.sort_key, key.stamp_ns, key.minor));
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
                for (position, &member) in bucket.list.iter().enumerate() {
                    if member != HOLE {
                        let record = self.records.at(member as usize);
                        assert_eq!(record.bucket, bucket_id);
                        assert_eq!(record.position, position as u32);
                    }
                }
                let mut keys = Vec::new();
                self.keys_of(bucket_id, &mut keys);
                assert_eq!(keys.len(), bucket.members as usize);
                members += u64::from(bucket.members);
                for key in keys {
                    assert!((key.sort_key, key.stamp_ns, key.minor) <= bucket.top);
                    assert_eq!(self.directory.locate(&key), Spot { at, slot });
                }
            }
            assert_eq!(members, page.members);
            total += members;
        }
        assert_eq!(total, self.len);
    }
}

/// Where to split `keys`: how many of them go left, which stand first afterwards, and the lower
/// bound of the others.
///
/// The split is in the middle, but moved to where a score ends if there is such a place: members
/// come to the end of their score's run, and a bucket that ends there grows without moving anyone.
fn split_point(keys: &mut [FullKey]) -> (usize, FullKey) {
    let middle = keys.len() / 2;
    let (_, median, _) = keys.select_nth_unstable(middle);
    let (median, score) = (*median, median.sort_key);
    let worthwhile = keys.len() / SPLIT_SHARE_MIN;
    let below = keys.iter().filter(|key| key.sort_key < score).count();
    let above = keys.iter().filter(|key| key.sort_key > score).count();
    let start_of = |sort_key| FullKey {
        sort_key,
        ..FullKey::default()
    };
    let (left, lower) = if below >= above && below >= worthwhile {
        (below, start_of(score))
    } else if above >= worthwhile && above > 0 {
        (keys.len() - above, start_of(score + 1))
    } else {
        return (middle, median);
    };
    keys.select_nth_unstable(left);
    (left, lower)
}
