//! What scores need beside their sort keys, by member: compensated sums of f64, and the best
//! contributions of means.

use super::rules::Step;
use crate::aggregate::CompensatedSum;
use crate::board::mean::{List, unit_words};
use crate::board::score::ScorePlan;
use crate::sketch::slab::Slab;
use crate::table::chunks::Chunks;

#[derive(Debug, Clone)]
pub(crate) struct Beside {
    /// Two words per member and column that needs them.
    words: Chunks<[u64; 2]>,
    /// One for each of these columns; used by means.
    slabs: Vec<Slab>,
}

impl Beside {
    pub(super) fn new(columns: &[ScorePlan]) -> Self {
        let slab = |column: &ScorePlan| Slab::new(column.mean_of().map_or(0, unit_words::<1>));
        let needing = columns.iter().filter(|column| column.is_more_than_key());
        Self {
            words: Chunks::new(),
            slabs: needing.map(slab).collect(),
        }
    }

    /// An empty one for the same columns.
    pub(super) fn fresh(&self) -> Self {
        Self {
            words: Chunks::new(),
            slabs: self.slabs.iter().map(Slab::fresh).collect(),
        }
    }

    pub(super) fn free_some(&mut self, pieces: &mut usize) -> bool {
        let mut slabs = self.slabs.iter_mut();
        self.words.free_some(pieces) && slabs.all(|slab| slab.free_some(pieces))
    }

    /// Words that are equal for equal states of a member.
    pub(crate) fn canonical(&self, columns: &[ScorePlan], member: u32) -> Vec<u64> {
        let first = member as usize * self.slabs.len();
        let known = self.words.len() >= first + self.slabs.len();
        let mut out = Vec::new();
        let needing = columns
            .iter()
            .filter(|column| known && column.is_more_than_key());
        for (nth, column) in needing.enumerate() {
            let words = *self.words.at(first + nth);
            match column.mean_of() {
                None => out.extend_from_slice(&words),
                Some(_) => out.extend(List::<1> { words }.sort_keys(&self.slabs[nth])),
            }
        }
        out
    }

    /// Makes room for these members.
    pub(super) fn grow_for(&mut self, members: &[u32]) {
        if !self.slabs.is_empty()
            && let Some(&highest) = members.iter().max()
        {
            let len = (highest as usize + 1) * self.slabs.len();
            self.words.grow_to(len, [0; 2]);
        }
    }

    fn of(&self, member: u32, nth: usize) -> [u64; 2] {
        *self.words.at(member as usize * self.slabs.len() + nth)
    }

    /// The sum of the `nth` column that needs more than its key.
    #[inline]
    pub(super) fn sum(&self, member: u32, nth: usize) -> CompensatedSum {
        CompensatedSum::from_words(self.of(member, nth))
    }

    /// The list of the `nth` column that needs more than its key, and its slab.
    #[inline]
    pub(super) fn list(&self, member: u32, nth: usize) -> (List<1>, &Slab) {
        let words = self.of(member, nth);
        (List { words }, &self.slabs[nth])
    }

    /// Keeps what an event makes of the state of its member.
    pub(super) fn keep(&mut self, columns: &[ScorePlan], member: u32, bits: &[u64], step: &Step) {
        let needing = columns.iter().enumerate();
        let needing = needing.filter(|(_, column)| column.is_more_than_key());
        for (nth, (at, column)) in needing.enumerate() {
            let place = member as usize * self.slabs.len() + nth;
            let words = self.words.at_mut(place);
            match column.mean_of() {
                None => *words = step.sums[at].to_words(),
                Some(n) => {
                    let mut list = List { words: *words };
                    list.insert(&mut self.slabs[nth], n, &[column.sort_key(bits[at])]);
                    *words = list.words;
                }
            }
        }
    }
}
