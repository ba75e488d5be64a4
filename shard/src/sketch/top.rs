//! The most frequent values: Space-Saving that evicts in batches.
//!
//! A held value has a count that is never too low, and how much too high it may be. A value that is
//! not held has been seen at most `floor` times (Metwally, Agrawal, El Abbadi, "Efficient
//! computation of frequent and top-k elements in data streams", 2005). Instead of one value per new
//! one, the lower half goes when the table is full, and the floor rises to the greatest count that
//! went (as in Anderson et al., "A high-performance algorithm for identifying frequent items in
//! data streams", 2017): no order has to be kept. The floor is at most N / (entries / 2) of N
//! values.
//!
//! While there were never more different values than entries, all is exact and does not depend on
//! order. Beyond that the counts that are held depend on which values stood side by side on a
//! shard; what holds in any order are the bounds. Merging adds counts, errors and floors and drops
//! nothing (below a bound of its own), so it commutes and associates exactly. The state is the
//! floor and the number of entries.

use super::words::{VALUE_WORDS_MAX, mix, value_of, value_words};
use super::{Partial, Sketch, slots_for};
use crate::aggregate::{Cell, Number};
use crate::schema::FieldType;
use crate::sketch::slab::{Block, Slab};
use crate::value::OwnedValue;
use std::cmp::Ordering;

/// Words of a slot in front of the value: its count, 0 in an empty slot, and the count's error.
const HEAD_WORDS: usize = 2;
const SLOTS_MIN: usize = 8;
/// Slots of the largest table, at least.
const SLOTS_FULL_MIN: usize = 128;
/// Slots per value that is asked for.
const SLOTS_PER_RANK: usize = 8;
/// Partials of at most so many full tables are merged without a loss.
const MERGED_FULL: usize = 64;
const ENTRIES_BITS: u32 = 24;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Top {
    pub(crate) kind: FieldType,
    pub(crate) k: usize,
}

/// A frequent value: its count is in `count - error ..= count`.
#[derive(Debug, Clone, PartialEq)]
pub struct Frequent {
    /// The value.
    pub value: OwnedValue,
    /// The count, never too low.
    pub count: u64,
    /// How much too high the count may be.
    pub error: u64,
}

impl Top {
    fn slots_max(self) -> usize {
        (self.k * SLOTS_PER_RANK)
            .max(SLOTS_FULL_MIN)
            .next_power_of_two()
    }

    fn slot_words(self) -> usize {
        HEAD_WORDS + value_words(self.kind)
    }

    /// Counts a value once.
    #[inline]
    pub(crate) fn add(&self, cell: &mut Cell, slab: &mut Slab, value: &[u64]) {
        loop {
            let slots = slab.words_mut(Block::of_word(cell.words[0]));
            if !slots.is_empty() {
                let at = self.find(slots, value);
                if slots[at] > 0 {
                    slots[at] += 1;
                    return;
                }
                if has_room(slots.len() / self.slot_words(), entries_of(cell.words[1])) {
                    let floor = floor_of(cell.words[1]);
                    put(&mut slots[at..], floor + 1, floor, value);
                    cell.words[1] += 1;
                    return;
                }
            }
            self.make_room(cell, slab);
        }
    }

    /// The slot of a value, or the free one where it belongs. There is always a free one.
    #[inline]
    fn find(&self, slots: &[u64], value: &[u64]) -> usize {
        let words = self.slot_words();
        let count = slots.len() / words;
        let mut slot = mix(value) as usize & (count - 1);
        loop {
            let at = slot * words;
            if slots[at] == 0 || &slots[at + HEAD_WORDS..at + words] == value {
                return at;
            }
            slot = (slot + 1) & (count - 1);
        }
    }

    /// Twice the slots, or half the entries.
    #[cold]
    fn make_room(&self, cell: &mut Cell, slab: &mut Slab) {
        let slots = slab.len(Block::of_word(cell.words[0])) / self.slot_words();
        if slots < self.slots_max() {
            self.rebuild(
                cell,
                slab,
                (slots * 2).max(SLOTS_MIN),
                floor_of(cell.words[1]),
            );
            return;
        }
        let floor = self.median(cell, slab);
        // A table that was merged may be larger than it has to be.
        self.rebuild(cell, slab, slots, floor);
    }

    /// A count that at least half of the entries do not exceed.
    fn median(&self, cell: &Cell, slab: &mut Slab) -> u64 {
        let mut counts = std::mem::take(&mut slab.scratch);
        counts.clear();
        let slots = slab
            .words(Block::of_word(cell.words[0]))
            .chunks_exact(self.slot_words());
        counts.extend(slots.map(|slot| slot[0]).filter(|&count| count > 0));
        let middle = counts.len() / 2;
        let median = *counts.select_nth_unstable(middle).1;
        slab.scratch = counts;
        median
    }

    /// Puts the entries above `floor` into another table.
    fn rebuild(&self, cell: &mut Cell, slab: &mut Slab, slots: usize, floor: u64) {
        let words = self.slot_words();
        let mut entries = 0;
        let class = slab.class_for(slots * words);
        let block = slab.replace(Block::of_word(cell.words[0]), class, |old, new| {
            for slot in old.chunks_exact(words).filter(|slot| slot[0] > floor) {
                let at = self.find(new, &slot[HEAD_WORDS..]);
                new[at..at + words].copy_from_slice(slot);
                entries += 1;
            }
        });
        cell.words = [block.word(), state_of(floor, entries)];
    }

    /// The most frequent values, and how often a value that is not held may have been seen; `None`
    /// if the words are no values of the type. Equal counts stand in the order of the values.
    pub(crate) fn finish(&self, partial: &Partial<'_>) -> Option<(Vec<Frequent>, u64)> {
        let slots = partial.words.chunks_exact(self.slot_words());
        let mut entries: Vec<&[u64]> = slots.filter(|slot| slot[0] > 0).collect();
        let order = |a: &&[u64], b: &&[u64]| {
            let values = || compare(self.kind, &a[HEAD_WORDS..], &b[HEAD_WORDS..]);
            b[0].cmp(&a[0]).then_with(values)
        };
        if entries.len() > self.k {
            entries.select_nth_unstable_by(self.k - 1, order);
            entries.truncate(self.k);
        }
        entries.sort_unstable_by(order);
        let frequent = |slot: &&[u64]| {
            Some(Frequent {
                value: value_of(self.kind, &slot[HEAD_WORDS..])?,
                count: slot[0],
                error: slot[1],
            })
        };
        let found = entries.iter().map(frequent).collect::<Option<_>>()?;
        Some((found, floor_of(partial.state)))
    }
}

fn put(slot: &mut [u64], count: u64, error: u64, value: &[u64]) {
    slot[0] = count;
    slot[1] = error;
    slot[HEAD_WORDS..HEAD_WORDS + value.len()].copy_from_slice(value);
}

/// The order of two values: of numbers as numbers, of text as bytes.
fn compare(kind: FieldType, a: &[u64], b: &[u64]) -> Ordering {
    if let Some(number) = Number::of(kind) {
        return number.ordered(a[0]).cmp(&number.ordered(b[0]));
    }
    // The first byte of a text is its length, and behind the text there are zeros.
    let skipped = usize::from(matches!(kind, FieldType::Text(_)));
    let bytes = |words: &[u64]| {
        let mut bytes = [0; VALUE_WORDS_MAX * 8];
        for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    };
    bytes(a)[skipped..].cmp(&bytes(b)[skipped..])
}

fn floor_of(state: u64) -> u64 {
    state >> ENTRIES_BITS
}

fn entries_of(state: u64) -> u64 {
    state & ((1 << ENTRIES_BITS) - 1)
}

fn state_of(floor: u64, entries: u64) -> u64 {
    floor.min(u64::MAX >> ENTRIES_BITS) << ENTRIES_BITS | entries
}

/// Tables are filled to three quarters.
#[inline]
fn has_room(slots: usize, entries: u64) -> bool {
    entries < slots as u64 / 4 * 3
}

impl Sketch for Top {
    fn unit_words(&self) -> usize {
        SLOTS_MIN * self.slot_words()
    }

    fn block_bytes(&self, values: u64) -> u64 {
        slots_for(values, self.slots_max()) * self.slot_words() as u64 * 8
    }

    fn is_valid(&self, partial: &Partial<'_>) -> bool {
        let words = self.slot_words();
        let slots = partial.words.len() / words;
        if partial.words.len() != slots * words
            || !slots.is_power_of_two()
            || !(SLOTS_MIN..1 << ENTRIES_BITS).contains(&slots)
        {
            return false;
        }
        let floor = floor_of(partial.state);
        let mut entries = 0;
        for slot in partial.words.chunks_exact(words).filter(|slot| slot[0] > 0) {
            let fits = slot[0] <= partial.count && slot[0] > floor && slot[1] <= floor;
            if !fits || value_of(self.kind, &slot[HEAD_WORDS..]).is_none() {
                return false;
            }
            entries += 1;
        }
        entries == entries_of(partial.state)
            && entries <= slots as u64 / 4 * 3
            && floor <= partial.count
    }

    fn merge(&self, cell: &mut Cell, slab: &mut Slab, other: &Partial<'_>) {
        let words = self.slot_words();
        let (floor, other_floor) = (floor_of(cell.words[1]), floor_of(other.state));
        let entries = entries_of(cell.words[1]) + entries_of(other.state);
        let held = slab.len(Block::of_word(cell.words[0])) / words;
        let mut slots = held.max(SLOTS_MIN);
        while !has_room(slots, entries) {
            slots *= 2;
        }
        if slots > held {
            self.rebuild(cell, slab, slots, floor);
        }
        let table = slab.words_mut(Block::of_word(cell.words[0]));
        for slot in table.chunks_exact_mut(words).filter(|slot| slot[0] > 0) {
            slot[0] = slot[0].saturating_add(other_floor);
            slot[1] = slot[1].saturating_add(other_floor);
        }
        let mut entries = entries_of(cell.words[1]);
        for slot in other.words.chunks_exact(words).filter(|slot| slot[0] > 0) {
            let value = &slot[HEAD_WORDS..];
            let at = self.find(table, value);
            let (count, error) = match table[at] {
                0 => (floor, floor),
                count => {
                    let error = table[at + 1];
                    (
                        count.saturating_sub(other_floor),
                        error.saturating_sub(other_floor),
                    )
                }
            };
            entries += u64::from(table[at] == 0);
            let (count, error) = (count.saturating_add(slot[0]), error.saturating_add(slot[1]));
            put(&mut table[at..], count, error, value);
        }
        cell.words[1] = state_of(floor.saturating_add(other_floor), entries);
        while entries_of(cell.words[1]) > (self.slots_max() * MERGED_FULL) as u64 {
            let floor = self.median(cell, slab);
            self.rebuild(cell, slab, slots, floor);
        }
    }

    /// Beyond the entries only what does not depend on order: that there were more.
    fn canonical(&self, partial: &Partial<'_>, out: &mut Vec<u64>) {
        if floor_of(partial.state) > 0 {
            out.push(1);
            return;
        }
        let slots = partial.words.chunks_exact(self.slot_words());
        let mut entries: Vec<&[u64]> = slots.filter(|slot| slot[0] > 0).collect();
        entries.sort_unstable_by_key(|slot| &slot[HEAD_WORDS..]);
        out.push(0);
        out.extend(entries.into_iter().flatten());
    }
}
