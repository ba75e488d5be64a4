//! `RankIndex`: exact order statistics under heavy updates.
//!
//! Members lie in buckets of a key range each. Inside a bucket the list is *unsorted and
//! append-only*: a member that moves is appended to its new bucket's list and leaves a hole in its
//! old one, which is a bit that is cleared. So an update touches the record, two counters, an entry
//! and two bits, and never shifts or sorts. Only reads order things, one bucket at a time:
//!
//! ```text
//! records  member -> key, bucket, position
//! guide    score -> bucket, a guess that the bucket's own bounds prove or refute
//! buckets  bounds, members per bucket                           (one cache line each)
//! lists    members of a bucket and holes; a bit per entry tells which
//! pages    exact lower bounds of <= 128 buckets, members per page (searched if the guess fails)
//!
//! rank = members of the pages before + of the buckets before + better ones in the own bucket
//! ```
//!
//! Keys are `WORDS` numbers, the score first, compared in turn and made total by the member: by its
//! id, or by its name where words do not hold the whole of it.

mod balance;
mod bucket;
mod guide;
mod key;
mod page;
mod read;
#[cfg(test)]
mod tests;

use crate::prefetch::prefetch;
use crate::table::chunks::Chunks;
use balance::BUCKET_SPARSE_MEMBERS;
use bucket::{Bucket, LIST_ENTRIES_MAX, List, NO_BUCKET, Present, empty_list};
use guide::Guide;
pub(crate) use key::{ById, Names};
use key::{FullKey, pair};
pub use key::{ORDER_WORDS_MAX, OrderKey, Tie};
use page::Directory;

/// Aligned so that, with up to three words, no record costs two cache lines.
#[derive(Debug, Clone, Copy)]
#[repr(align(32))]
struct Record<const WORDS: usize> {
    words: [u64; WORDS],
    bucket: u32,
    position: u32,
}

impl<const WORDS: usize> Record<WORDS> {
    const ABSENT: Self = Self {
        words: [0; WORDS],
        bucket: NO_BUCKET,
        position: 0,
    };
}

/// Updates that are aimed ahead at a time, enough for their misses to overlap.
pub(crate) const AIM_CHUNK: usize = 64;

/// The bucket that an update will go to, if its key and the bucket's bounds stay as they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Aim(u32);

impl Aim {
    /// An aim that holds for nothing.
    pub(crate) const NONE: Self = Self(NO_BUCKET);
}

/// Exact ranks of up to 2^32 - 1 members, each with one order key of at least two words.
#[derive(Debug, Clone)]
pub struct RankIndex<const WORDS: usize> {
    records: Chunks<Record<WORDS>>,
    buckets: Vec<Bucket>,
    /// By number of the bucket.
    lists: Vec<List>,
    present: Vec<Present>,
    free: Vec<u32>,
    guide: Guide,
    directory: Directory<WORDS>,
    len: u64,
    scratch: Vec<FullKey<WORDS>>,
}

impl<const WORDS: usize> Default for RankIndex<WORDS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const WORDS: usize> RankIndex<WORDS> {
    /// An index without members.
    pub fn new() -> Self {
        const { assert!(WORDS >= 2, "guesses are proved by the first two words") };
        Self {
            records: Chunks::new(),
            buckets: vec![Bucket::WHOLE],
            lists: vec![empty_list()],
            present: vec![Present::NONE],
            free: Vec::new(),
            guide: Guide::new(),
            directory: Directory::new(0),
            len: 0,
            scratch: Vec::new(),
        }
    }

    /// Members with a key.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether no member has a key.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    fn record(&self, member: u32) -> Option<&Record<WORDS>> {
        let known = (member as usize) < self.records.len();
        let record = known.then(|| self.records.at(member as usize))?;
        (record.bucket != NO_BUCKET).then_some(record)
    }

    /// The key of `member`, if it has one.
    #[inline]
    pub fn get(&self, member: u32) -> Option<[u64; WORDS]> {
        self.record(member).map(|record| record.words)
    }

    /// The first word of the key of `member`, if it has one.
    #[inline]
    pub(crate) fn first_word(&self, member: u32) -> Option<u64> {
        self.record(member).map(|record| record.words[0])
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

    /// Finds the bucket that an update will go to, and asks for what the member will leave and join.
    #[inline]
    pub(crate) fn aim(&mut self, member: u32, words: &[u64; WORDS], names: impl Names) -> Aim {
        if let Some(record) = self.record(member) {
            let left = record.bucket as usize;
            prefetch(self.present[left].word(record.position as usize));
            prefetch(&self.buckets[left]);
        }
        let bucket = self.locate(member, words, names);
        let entries = self.buckets[bucket as usize].entries;
        prefetch(&self.lists[bucket as usize][usize::from(entries) % LIST_ENTRIES_MAX]);
        Aim(bucket)
    }

    /// The bucket that covers a key.
    #[inline]
    fn locate(&mut self, member: u32, words: &[u64; WORDS], names: impl Names) -> u32 {
        let guess = self.guide.guess(words[0]);
        match self.buckets.get(guess as usize) {
            Some(bucket) if bucket.covers(pair(words)) => guess,
            _ => self.search(member, words, names),
        }
    }

    #[inline(never)]
    fn search(&mut self, member: u32, words: &[u64; WORDS], names: impl Names) -> u32 {
        let spot = self.directory.locate(&FullKey::of(*words, member), names);
        let bucket = self.directory.bucket(spot);
        if self.guide.learn(words[0], bucket) {
            let (buckets, least, greatest) = self.directory.extent();
            self.guide.fit(buckets, least, greatest);
        }
        bucket
    }

    /// Sets the key of each member in turn, see [`RankIndex::update`].
    pub fn update_batch(&mut self, updates: &[(u32, [u64; WORDS])]) {
        for chunk in updates.chunks(AIM_CHUNK) {
            let mut aims = [Aim::NONE; AIM_CHUNK];
            for (member, _) in chunk {
                self.prefetch(&[*member]);
            }
            for (aim, (member, words)) in aims.iter_mut().zip(chunk) {
                *aim = self.aim(*member, words, ById);
            }
            for (aim, (member, words)) in aims.iter().zip(chunk) {
                self.update_aimed(*member, words, *aim, ById);
            }
        }
    }

    /// [`RankIndex::update`] that goes where the aim says, if that still holds.
    #[inline]
    pub(crate) fn update_aimed(
        &mut self,
        member: u32,
        words: &[u64; WORDS],
        aim: Aim,
        names: impl Names,
    ) {
        let bucket = match self.buckets.get(aim.0 as usize) {
            Some(bucket) if bucket.covers(pair(words)) => aim.0,
            _ => self.locate(member, words, names),
        };
        self.place(member, words, bucket, names);
    }

    /// Sets the key of `member`, adding it if it has none.
    ///
    /// Members should be dense: memory follows the highest one.
    #[inline]
    pub fn update(&mut self, member: u32, words: &[u64; WORDS]) {
        self.update_by(member, words, ById);
    }

    #[inline]
    pub(crate) fn update_by(&mut self, member: u32, words: &[u64; WORDS], names: impl Names) {
        let bucket = self.locate(member, words, names);
        self.place(member, words, bucket, names);
    }

    #[inline]
    fn place(&mut self, member: u32, words: &[u64; WORDS], bucket_id: u32, names: impl Names) {
        if member as usize >= self.records.len() {
            self.records.grow_to(member as usize + 1, Record::ABSENT);
        }
        let bucket = &mut self.buckets[bucket_id as usize];
        let pair = pair(words);
        let ascends = pair >= bucket.top;
        bucket.top = bucket.top.max(pair);
        let record = self.records.at_mut(member as usize);
        record.words = *words;
        let (left, left_position) = (record.bucket, record.position);
        if left == bucket_id {
            // It may be the greatest now, and stands anywhere in the list.
            bucket.ascending = if ascends { 0 } else { bucket.ascending };
            return;
        }
        let entry = usize::from(bucket.entries) % LIST_ENTRIES_MAX;
        (record.bucket, record.position) = (bucket_id, entry as u32);
        self.lists[bucket_id as usize][entry] = member;
        self.present[bucket_id as usize].set(entry);
        bucket.entries += 1;
        bucket.members += 1;
        bucket.ascending = if ascends {
            bucket.ascending.saturating_add(1)
        } else {
            0
        };
        let full = usize::from(bucket.entries) >= LIST_ENTRIES_MAX;
        *self.directory.members_mut(bucket.page) += 1;
        if full {
            self.make_room(bucket_id, names);
        }
        if left == NO_BUCKET {
            self.len += 1;
        } else {
            self.leave(left, left_position);
        }
    }

    /// Takes the key of `member` away; true if it had one.
    pub fn remove(&mut self, member: u32) -> bool {
        if self.get(member).is_none() {
            return false;
        }
        let left = std::mem::replace(self.records.at_mut(member as usize), Record::ABSENT);
        self.len -= 1;
        self.leave(left.bucket, left.position);
        true
    }

    /// Frees up to `pieces` pieces of the memory of an index that is not used any more, and counts
    /// them down; true if hardly anything is left.
    pub(crate) fn free_some(&mut self, pieces: &mut usize) -> bool {
        self.records.free_some(pieces) && crate::table::chunks::free_last(&mut self.lists, pieces)
    }

    /// Accounts for a member that left `bucket_id`, where it stood at `position`.
    #[inline]
    fn leave(&mut self, bucket_id: u32, position: u32) {
        self.present[bucket_id as usize].clear(position as usize);
        let bucket = &mut self.buckets[bucket_id as usize];
        bucket.members -= 1;
        let members = bucket.members;
        *self.directory.members_mut(bucket.page) -= 1;
        let may_join = members == 0 || members.is_power_of_two();
        if may_join && members <= BUCKET_SPARSE_MEMBERS {
            self.shrink(bucket_id);
        }
    }
}
