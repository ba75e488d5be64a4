//! One segment of the key table: cache lines of five slots each, probed line by line.
//!
//! A hit nearly always costs one cache line, because the line holds the whole 64-bit hashes beside
//! the ids, and a batch can touch all its lines ahead of use, because the line follows from the
//! hash alone. Used slots of a line come first, so a line that is not full ends a search.

/// Id of an empty slot.
pub(crate) const NO_ID: u32 = u32::MAX;

/// Slots of a line.
const LINE_SLOTS: usize = 5;

/// What stands in a slot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    pub(crate) hash: u64,
    pub(crate) id: u32,
}

#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Line {
    hashes: [u64; LINE_SLOTS],
    ids: [u32; LINE_SLOTS],
}

const _: () = assert!(size_of::<Line>() == 64);

impl Line {
    const EMPTY: Self = Self {
        hashes: [0; LINE_SLOTS],
        ids: [NO_ID; LINE_SLOTS],
    };

    /// A bit per slot that holds `hash`; also an empty one, where that is 0.
    #[inline]
    fn matches(&self, hash: u64) -> u32 {
        let mut matches = 0;
        for (at, &found) in self.hashes.iter().enumerate() {
            matches |= u32::from(found == hash) << at;
        }
        matches
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.ids[LINE_SLOTS - 1] != NO_ID
    }

    /// How many slots are used.
    #[inline]
    fn used(&self) -> usize {
        let first_empty = self.ids.iter().position(|&id| id == NO_ID);
        first_empty.unwrap_or(LINE_SLOTS)
    }

    /// Fills the first empty slot, which there must be.
    fn put(&mut self, hash: u64, id: u32) {
        let at = self.used();
        (self.hashes[at], self.ids[at]) = (hash, id);
    }

    /// Empties a used slot, which the last one takes; true if the line was full.
    fn take(&mut self, at: usize) -> bool {
        let was_full = self.is_full();
        let last = self.used() - 1;
        (self.hashes[at], self.ids[at]) = (self.hashes[last], self.ids[last]);
        (self.hashes[last], self.ids[last]) = (Self::EMPTY.hashes[last], NO_ID);
        was_full
    }

    fn slots(&self) -> impl Iterator<Item = Slot> {
        let slots = self.hashes.iter().zip(&self.ids);
        let used = slots.take_while(|&(_, &id)| id != NO_ID);
        used.map(|(&hash, &id)| Slot { hash, id })
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Segment {
    lines: Box<[Line]>,
    used: u32,
    /// How many directory bits all keys of this segment share.
    pub(crate) depth: u8,
}

impl Segment {
    /// A segment of `lines` (a power of two) empty lines.
    pub(crate) fn new(lines: usize, depth: u8) -> Self {
        assert!(lines.is_power_of_two());
        Self {
            lines: vec![Line::EMPTY; lines].into_boxed_slice(),
            used: 0,
            depth,
        }
    }

    pub(crate) fn lines(&self) -> usize {
        self.lines.len()
    }

    /// Full means three quarters: beyond that, many keys stand behind their line.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.used as usize * 4 >= self.lines.len() * LINE_SLOTS * 3
    }

    /// The line that the search for `hash` starts at.
    #[inline]
    pub(crate) fn home(&self, hash: u64) -> &Line {
        &self.lines[hash as usize & (self.lines.len() - 1)]
    }

    /// The id whose hash is `hash` and for which `same` holds.
    #[inline]
    pub(crate) fn find(&self, hash: u64, same: impl Fn(u32) -> bool) -> Option<u32> {
        let mask = self.lines.len() - 1;
        let mut index = hash as usize & mask;
        loop {
            let line = &self.lines[index];
            // Which slot it is can not be foreseen, so no branch asks slot by slot.
            let mut matches = line.matches(hash);
            while matches != 0 {
                let id = line.ids[matches.trailing_zeros() as usize];
                if id != NO_ID && same(id) {
                    return Some(id);
                }
                matches &= matches - 1;
            }
            if !line.is_full() {
                return None;
            }
            index = (index + 1) & mask;
        }
    }

    /// Adds a key known to be absent. There is always room: callers split or grow when full.
    pub(crate) fn insert(&mut self, hash: u64, id: u32) {
        let mask = self.lines.len() - 1;
        let mut index = hash as usize & mask;
        while self.lines[index].is_full() {
            index = (index + 1) & mask;
        }
        self.lines[index].put(hash, id);
        self.used += 1;
    }

    /// Takes an entry out, if it is there.
    ///
    /// A search ends at a line that is not full. So a line that was full is filled again with an
    /// entry that had to pass it, which leaves the next place to fill.
    pub(crate) fn remove(&mut self, hash: u64, id: u32) {
        let mask = self.lines.len() - 1;
        let mut index = hash as usize & mask;
        let mut at = loop {
            let line = &self.lines[index];
            if let Some(at) = line.ids.iter().position(|&found| found == id) {
                break at;
            }
            if !line.is_full() {
                return;
            }
            index = (index + 1) & mask;
        };
        self.used -= 1;
        while self.lines[index].take(at) {
            let Some((next, passed)) = self.passed(index) else {
                return;
            };
            let Line { hashes, ids } = self.lines[next];
            self.lines[index].put(hashes[passed], ids[passed]);
            (index, at) = (next, passed);
        }
    }

    /// Line and place of an entry behind a line whose search begins there or before.
    fn passed(&self, index: usize) -> Option<(usize, usize)> {
        let mask = self.lines.len() - 1;
        let mut next = index;
        loop {
            next = (next + 1) & mask;
            let line = &self.lines[next];
            let came_by = |slot: Slot| {
                let home = slot.hash as usize;
                next.wrapping_sub(home) & mask >= next.wrapping_sub(index) & mask
            };
            if let Some(at) = line.slots().position(came_by) {
                return Some((next, at));
            }
            if !line.is_full() {
                return None;
            }
        }
    }

    /// Moves every entry to the end of `out`, leaving the segment empty.
    pub(crate) fn drain_into(&mut self, out: &mut Vec<Slot>) {
        for line in &mut self.lines {
            out.extend(line.slots());
            *line = Line::EMPTY;
        }
        self.used = 0;
    }

    pub(crate) fn clear(&mut self) {
        self.lines.fill(Line::EMPTY);
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::{LINE_SLOTS, Segment, Slot};

    /// Few lines and hashes that crowd into fewer still, so that entries pass lines all the time,
    /// also around the end.
    #[test]
    fn entries_are_found_after_any_insertions_and_removals() {
        for seed in 1..200_u64 {
            let mut segment = Segment::new(8, 0);
            let mut model: Vec<Slot> = Vec::new();
            let mut random = seed;
            for step in 0..400_u32 {
                random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                let draw = random >> 33;
                if !draw.is_multiple_of(3) && !segment.is_full() {
                    let slot = Slot {
                        hash: (draw >> 8) % 3 + 5 * (draw >> 20 & 1),
                        id: step,
                    };
                    segment.insert(slot.hash, slot.id);
                    model.push(slot);
                } else if !model.is_empty() {
                    let gone = model.swap_remove(draw as usize % model.len());
                    segment.remove(gone.hash, gone.id);
                    segment.remove(gone.hash, gone.id);
                    assert_eq!(segment.find(gone.hash, |id| id == gone.id), None);
                }
                for slot in &model {
                    let found = segment.find(slot.hash, |id| id == slot.id);
                    assert_eq!(found, Some(slot.id), "seed {seed} step {step}");
                }
                assert_eq!(segment.used as usize, model.len());
                assert!(model.len() <= 8 * LINE_SLOTS);
            }
            let mut drained = Vec::new();
            segment.drain_into(&mut drained);
            assert_eq!(drained.len(), model.len(), "seed {seed}");
        }
    }
}
