//! Reads: counts down to one bucket, then its members.

use super::RankIndex;
use super::key::{ById, FullKey, Names, pair};
use crate::table::KeyTable;
use std::cmp::Ordering;

impl<const WORDS: usize> RankIndex<WORDS> {
    /// How many members are strictly better than `member`: its 0-based rank.
    pub fn rank(&self, member: u32) -> Option<u64> {
        self.rank_by(member, ById)
    }

    pub(crate) fn rank_by(&self, member: u32, names: impl Names) -> Option<u64> {
        let key = FullKey::of(self.get(member)?, member);
        let pair = pair(&key.words);
        Some(self.count_below(pair, |other| other.compare(&key, names)))
    }

    /// How many members are strictly better than `key`.
    pub fn count_better(&self, key: &[u64; WORDS]) -> u64 {
        let start = FullKey::start(*key);
        self.count_below(pair(key), |other| other.compare(&start, ById))
    }

    /// How many members are strictly better than a member of any index with this key and name.
    pub(crate) fn count_better_named(
        &self,
        key: &[u64; WORDS],
        name: &[u8],
        names: &KeyTable,
    ) -> u64 {
        self.count_below(pair(key), |other| other.compare_named(key, name, names))
    }

    /// How many members are below a key with this pair, given the order of any key and this one.
    fn count_below(&self, pair: u128, compare: impl Fn(&FullKey<WORDS>) -> Ordering) -> u64 {
        let at_or_below = |bound: &FullKey<WORDS>| compare(bound).is_le();
        let spot = self.directory.locate_by(pair, at_or_below);
        let mut count = 0;
        for (at, (page, members)) in self.directory.in_order().enumerate().take(spot.at + 1) {
            if at < spot.at {
                count += members;
                continue;
            }
            for &bucket in &page.buckets[..spot.slot] {
                count += u64::from(self.buckets[bucket as usize].members);
            }
        }
        let inside = self.members_of(self.directory.bucket(spot));
        let is_below = |&other: &u32| compare(&self.full_key(other)).is_lt();
        count + inside.filter(is_below).count() as u64
    }

    /// Appends up to `n` members to `out`, best first, from 0-based rank `start` on.
    pub fn range(&self, start: u64, n: usize, out: &mut Vec<u32>) {
        self.range_by(start, n, ById, out);
    }

    pub(crate) fn range_by(&self, start: u64, n: usize, names: impl Names, out: &mut Vec<u32>) {
        let mut skip = start;
        let mut wanted = n;
        let mut keys = Vec::new();
        for (page, members) in self.directory.in_order() {
            if wanted == 0 {
                return;
            }
            if skip >= members {
                skip -= members;
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
                keys.sort_unstable_by(|a, b| a.compare(b, names));
                let taken = keys.iter().skip(skip as usize).take(wanted);
                let before = out.len();
                out.extend(taken.map(FullKey::member));
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
        key: &[u64; WORDS],
        above: usize,
        below: usize,
        out: &mut Vec<u32>,
    ) -> (usize, u64) {
        let better = self.count_better(key);
        let above = usize::try_from(better).map_or(above, |better| better.min(above));
        self.range(better - above as u64, above + below, out);
        (above, better)
    }

    pub(super) fn members_of(&self, bucket: u32) -> impl Iterator<Item = u32> {
        let list = &self.lists[bucket as usize];
        let positions = self.present[bucket as usize].positions();
        positions.map(|position| list[position])
    }

    pub(super) fn full_key(&self, member: u32) -> FullKey<WORDS> {
        let words = self.records.at(member as usize).words;
        FullKey::of(words, member)
    }

    /// Appends the keys of the members of `bucket`, in no order.
    pub(super) fn keys_of(&self, bucket: u32, out: &mut Vec<FullKey<WORDS>>) {
        out.extend(self.members_of(bucket).map(|member| self.full_key(member)));
    }
}
