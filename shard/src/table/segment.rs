//! One segment of the key table: open addressing with linear probing over 16-byte slots.
//!
//! A hit costs one cache line, because the slot holds the whole 64-bit hash beside the id, and a
//! batch can touch all its lines ahead of use, because the line follows from the hash alone.

/// Id of an empty slot.
pub(crate) const NO_ID: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    pub(crate) hash: u64,
    pub(crate) id: u32,
}

const EMPTY: Slot = Slot { hash: 0, id: NO_ID };

#[derive(Debug, Clone)]
pub(crate) struct Segment {
    slots: Box<[Slot]>,
    used: u32,
    /// How many directory bits all keys of this segment share.
    pub(crate) depth: u8,
}

impl Segment {
    /// A segment of `slots` (a power of two) empty slots.
    pub(crate) fn new(slots: usize, depth: u8) -> Self {
        assert!(slots.is_power_of_two());
        Self {
            slots: vec![EMPTY; slots].into_boxed_slice(),
            used: 0,
            depth,
        }
    }

    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Full means seven tenths: beyond that, linear probing gets long.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.used as usize * 10 >= self.slots.len() * 7
    }

    /// The first slot of the probe sequence of `hash`.
    #[inline]
    pub(crate) fn home(&self, hash: u64) -> &Slot {
        &self.slots[hash as usize & (self.slots.len() - 1)]
    }

    /// The id whose hash is `hash` and for which `same` holds.
    #[inline]
    pub(crate) fn find(&self, hash: u64, same: impl Fn(u32) -> bool) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut index = hash as usize & mask;
        loop {
            let slot = &self.slots[index];
            if slot.id == NO_ID {
                return None;
            }
            if slot.hash == hash && same(slot.id) {
                return Some(slot.id);
            }
            index = (index + 1) & mask;
        }
    }

    /// Adds a key known to be absent. There is always room: callers split or grow when full.
    pub(crate) fn insert(&mut self, hash: u64, id: u32) {
        let mask = self.slots.len() - 1;
        let mut index = hash as usize & mask;
        while self.slots[index].id != NO_ID {
            index = (index + 1) & mask;
        }
        self.slots[index] = Slot { hash, id };
        self.used += 1;
    }

    /// Takes an entry out, if it is there; entries behind it that it had pushed along move up.
    pub(crate) fn remove(&mut self, hash: u64, id: u32) {
        let mask = self.slots.len() - 1;
        let mut hole = hash as usize & mask;
        while self.slots[hole].id != id {
            if self.slots[hole].id == NO_ID {
                return;
            }
            hole = (hole + 1) & mask;
        }
        let mut next = (hole + 1) & mask;
        while self.slots[next].id != NO_ID {
            let home = self.slots[next].hash as usize;
            // It may move up unless its probe sequence begins behind the hole.
            if next.wrapping_sub(home) & mask >= next.wrapping_sub(hole) & mask {
                self.slots[hole] = self.slots[next];
                hole = next;
            }
            next = (next + 1) & mask;
        }
        self.slots[hole] = EMPTY;
        self.used -= 1;
    }

    /// Moves every entry to the end of `out`, leaving the segment empty.
    pub(crate) fn drain_into(&mut self, out: &mut Vec<Slot>) {
        for slot in &mut self.slots {
            if slot.id != NO_ID {
                out.push(*slot);
                *slot = EMPTY;
            }
        }
        self.used = 0;
    }

    pub(crate) fn clear(&mut self) {
        self.slots.fill(EMPTY);
        self.used = 0;
    }
}
