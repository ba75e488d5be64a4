//! Reads of a board on one shard.

use super::notes::Notes;
use super::order::OrderPlan;
use super::ranks::Ranks;
use crate::partition::key_hash;
use crate::query::{BoardRow, MemberAnswer};
use crate::rank::OrderKey;
use crate::table::KeyTable;

/// Members whose scores are compared at a time where different scores are counted.
const DISTINCT_CHUNK: usize = 4_096;

/// A board with the table that names its members.
#[derive(Clone, Copy)]
pub(crate) struct BoardRead<'a> {
    pub(crate) order: &'a OrderPlan,
    pub(crate) rank: &'a Ranks,
    pub(crate) members: &'a KeyTable,
    pub(crate) notes: Option<&'a Notes>,
}

impl BoardRead<'_> {
    fn names(&self) -> Option<&KeyTable> {
        self.order.names(self.members)
    }

    fn find(&self, member: &[u8]) -> Option<u32> {
        let id = self.members.find(key_hash(member), member)?;
        self.rank.key(id).map(|_| id)
    }

    fn row(&self, id: u32) -> BoardRow {
        let key = self.rank.key(id);
        let key = key.expect("invariant: only ranked members are read");
        BoardRow {
            member: self.members.key(id).to_vec(),
            key,
            scores: self.order.scores(&key),
            note: self.notes.map_or(&[][..], |notes| notes.note(id)).to_vec(),
        }
    }

    pub(crate) fn find_row(&self, member: &[u8]) -> Option<BoardRow> {
        self.find(member).map(|id| self.row(id))
    }

    pub(crate) fn member(&self, member: &[u8]) -> MemberAnswer {
        let id = self.find(member);
        let row = id.map(|id| self.row(id));
        let score = row.as_ref().map(|row| self.start_of_score(&row.key));
        MemberAnswer {
            better: id
                .and_then(|id| self.rank.rank(id, self.names()))
                .unwrap_or(0),
            better_score: score.map_or(0, |score| self.count_better(&score, &[])),
            row,
            members: self.rank.len(),
        }
    }

    fn start_of_score(&self, key: &OrderKey) -> OrderKey {
        key.start_of_score(self.order.score_words)
    }

    pub(crate) fn range(&self, start: u64, n: usize) -> Vec<BoardRow> {
        let ids = self.rank.range(start, n, self.names());
        ids.into_iter().map(|id| self.row(id)).collect()
    }

    pub(crate) fn ids(&self) -> Vec<u32> {
        self.rank.range(0, usize::MAX, self.names())
    }

    pub(crate) fn count_better(&self, key: &OrderKey, member: &[u8]) -> u64 {
        self.rank.count_better(key, member, self.names())
    }

    /// How many different scores are better than that of each key. Reads all members above the
    /// worst of them.
    pub(crate) fn count_better_scores(&self, keys: &[OrderKey]) -> Vec<u64> {
        let mut asked: Vec<_> = keys.iter().map(|key| self.start_of_score(key)).collect();
        asked.sort_unstable();
        asked.dedup();
        let better = asked
            .last()
            .map_or(0, |worst| self.count_better(worst, &[]));
        // Scores above each of those that were met already.
        let mut counts = Vec::with_capacity(asked.len());
        let (mut scores, mut last) = (0, None);
        for start in (0..better).step_by(DISTINCT_CHUNK) {
            let n = DISTINCT_CHUNK.min((better - start) as usize);
            for id in self.rank.range(start, n, self.names()) {
                let score = self.rank.key(id).map(|key| self.start_of_score(&key));
                if score == last {
                    continue;
                }
                last = score;
                let passed = asked[counts.len()..].iter();
                let passed = passed.take_while(|asked| Some(**asked) <= score).count();
                counts.resize(counts.len() + passed, scores);
                scores += 1;
            }
        }
        counts.resize(asked.len(), scores);
        let count = |key: &OrderKey| {
            let at = asked.binary_search(&self.start_of_score(key));
            at.map_or(0, |at| counts[at])
        };
        keys.iter().map(count).collect()
    }

    /// Rows above a key, rows at or below it, and how many are better.
    pub(crate) fn neighbours(
        &self,
        key: &OrderKey,
        member: &[u8],
        above: usize,
        below: usize,
    ) -> (Vec<BoardRow>, Vec<BoardRow>, u64) {
        let better = self.count_better(key, member);
        let above = usize::try_from(better).map_or(above, |better| better.min(above));
        let mut rows = self.range(better - above as u64, above + below);
        let below = rows.split_off(above);
        (rows, below, better)
    }
}
