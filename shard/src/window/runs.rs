//! Short ordered sequences, one per group: its sessions, or its last events.
//!
//! A run is a ring of entries in a block of a slab. What is added at the end or goes at the front,
//! which is nearly everything, moves nothing; in the middle the shorter side moves. Blocks grow and
//! shrink by halves and are used again, so a steady flow allocates nothing.

use crate::sketch::slab::{Block, Slab};

/// Words of an entry.
const ENTRY_WORDS: usize = 4;

/// One entry of a run.
pub(super) type Entry = [u64; ENTRY_WORDS];

/// Where the entries of a group are.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Run {
    /// Word of the block; 0 where there are no entries.
    block: u64,
    /// Place of the first entry.
    head: u32,
    len: u32,
}

impl Run {
    pub(super) const fn len(&self) -> usize {
        self.len as usize
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// The entries of all groups.
#[derive(Debug, Clone)]
pub(super) struct Runs {
    slab: Slab,
}

impl Runs {
    pub(super) fn new() -> Self {
        Self {
            slab: Slab::new(ENTRY_WORDS),
        }
    }

    /// Entries that the block of a run has room for, a power of two; 0 if there is none.
    fn room(&self, run: Run) -> usize {
        self.slab.len(Block::of_word(run.block)) / ENTRY_WORDS
    }

    #[inline]
    fn place(run: Run, room: usize, index: usize) -> usize {
        ((run.head as usize + index) & (room - 1)) * ENTRY_WORDS
    }

    /// The entry at `index`, which must be below the length.
    #[inline]
    pub(super) fn at(&self, run: Run, index: usize) -> Entry {
        debug_assert!(index < run.len());
        let words = self.slab.words(Block::of_word(run.block));
        let at = Self::place(run, words.len() / ENTRY_WORDS, index);
        let entry = words[at..].first_chunk();
        *entry.expect("invariant: blocks hold whole entries")
    }

    /// All entries in order.
    pub(super) fn iter(&self, run: Run) -> impl DoubleEndedIterator<Item = Entry> + '_ {
        (0..run.len()).map(move |index| self.at(run, index))
    }

    #[inline]
    pub(super) fn set(&mut self, run: Run, index: usize, entry: Entry) {
        debug_assert!(index < run.len());
        let words = self.slab.words_mut(Block::of_word(run.block));
        let at = Self::place(run, words.len() / ENTRY_WORDS, index);
        words[at..at + ENTRY_WORDS].copy_from_slice(&entry);
    }

    /// The first index whose entry is not `before`, which must hold for a first part of the run.
    #[inline]
    pub(super) fn partition_point(&self, run: Run, before: impl Fn(&Entry) -> bool) -> usize {
        let (mut low, mut high) = (0, run.len());
        while low < high {
            let middle = low.midpoint(high);
            if before(&self.at(run, middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Puts an entry in front of the one at `index`, or at the end.
    pub(super) fn insert(&mut self, run: &mut Run, index: usize, entry: Entry) {
        if run.len() == self.room(*run) {
            self.resize(run, run.len() + 1);
        }
        let (room, len) = (self.room(*run), run.len());
        run.len += 1;
        if index < len / 2 {
            run.head = (run.head as usize + room - 1) as u32 & (room as u32 - 1);
            for place in 0..index {
                self.set(*run, place, self.at(*run, place + 1));
            }
        } else {
            for place in (index..len).rev() {
                self.set(*run, place + 1, self.at(*run, place));
            }
        }
        self.set(*run, index, entry);
    }

    /// Takes the entry at `index` out.
    pub(super) fn remove(&mut self, run: &mut Run, index: usize) {
        let len = run.len();
        if index < len / 2 {
            for place in (0..index).rev() {
                self.set(*run, place + 1, self.at(*run, place));
            }
            self.drop_first(run, 1);
            return;
        }
        for place in index + 1..len {
            self.set(*run, place - 1, self.at(*run, place));
        }
        run.len -= 1;
        self.fit(run);
    }

    /// Takes the first `count` entries out.
    pub(super) fn drop_first(&mut self, run: &mut Run, count: usize) {
        let room = self.room(*run);
        run.len -= count as u32;
        run.head = (run.head as usize + count) as u32 & (room as u32).wrapping_sub(1);
        self.fit(run);
    }

    /// Gives a block back that is mostly empty; half of it stays, so that nothing goes to and fro.
    fn fit(&mut self, run: &mut Run) {
        if run.is_empty() {
            self.slab.give_back(Block::of_word(run.block));
            *run = Run::default();
        } else if run.len() * 4 <= self.room(*run) {
            self.resize(run, run.len() * 2);
        }
    }

    /// Moves a run to a block with room for so many entries, in their order.
    #[cold]
    fn resize(&mut self, run: &mut Run, entries: usize) {
        let class = self.slab.class_for(entries * ENTRY_WORDS);
        let (head, len) = (run.head as usize * ENTRY_WORDS, run.len() * ENTRY_WORDS);
        let block = self
            .slab
            .replace(Block::of_word(run.block), class, |old, new| {
                let straight = len.min(old.len() - head);
                new[..straight].copy_from_slice(&old[head..head + straight]);
                new[straight..len].copy_from_slice(&old[..len - straight]);
            });
        (run.block, run.head) = (block.word(), 0);
    }

    /// Blocks that were ever made.
    #[cfg(test)]
    pub(super) fn blocks(&self) -> usize {
        self.slab.blocks()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    fn next(state: &mut u64) -> u64 {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        *state >> 33
    }

    #[test]
    fn runs_are_deques_whatever_is_done_to_them() {
        let mut runs = Runs::new();
        let mut all: Vec<(Run, VecDeque<Entry>)> = vec![(Run::default(), VecDeque::new()); 7];
        let mut seed = 11;
        for step in 0..60_000_u64 {
            let (run, model) = &mut all[next(&mut seed) as usize % 7];
            // Runs grow for a while, then shrink to nothing.
            let grows = (step / 3_000).is_multiple_of(2);
            let len = model.len();
            match next(&mut seed) % 8 {
                0..=4 if grows || len == 0 => {
                    let index = match next(&mut seed) % 3 {
                        0 => next(&mut seed) as usize % (len + 1),
                        _ => len,
                    };
                    runs.insert(run, index, [step; 4]);
                    model.insert(index, [step; 4]);
                }
                5 => {
                    let index = next(&mut seed) as usize % len.max(1);
                    if index < len {
                        runs.set(*run, index, [step, 1, 2, 3]);
                        model[index] = [step, 1, 2, 3];
                    }
                }
                6 if len > 0 => {
                    let index = next(&mut seed) as usize % len;
                    runs.remove(run, index);
                    model.remove(index);
                }
                _ => {
                    let count = (next(&mut seed) as usize % 3).min(len);
                    if count > 0 {
                        runs.drop_first(run, count);
                        model.drain(..count);
                    }
                }
            }
            assert_eq!(run.len(), model.len());
            assert!(runs.iter(*run).eq(model.iter().copied()), "step {step}");
        }
        let blocks = runs.blocks();
        for (run, model) in &mut all {
            let len = run.len();
            runs.drop_first(run, len);
            model.clear();
            for step in 0..40 {
                runs.insert(run, step as usize, [step; 4]);
            }
            let point = runs.partition_point(*run, |entry| entry[0] < 17);
            assert_eq!(point, 17);
        }
        assert!(runs.blocks() <= blocks + 7, "blocks are used again");
    }
}
