//! The table of operations in flight. Its only user is the io_uring disk.
//!
//! It has four jobs: bound the operations in flight; own the buffer of each of them until the
//! kernel has said that it is done with it; give every operation a `user_data` that no other one
//! ever had; and prove, when a completion comes, that it belongs to an operation in flight.
//!
//! ```text
//!   user_data  63        62..48        47..16       15..0
//!              DISK_TAG  disk number   generation   index
//! ```
//!
//! The generation grows each time a place is used, so a completion that comes twice, or belongs
//! to an operation long forgotten, cannot be taken for the present one. Either would mean that
//! the kernel still uses memory that was handed back: the process stops.

use crate::aligned::AlignedBuf;
use crate::disk::FileId;
use crate::ring::DISK_TAG;

const NUMBER_SHIFT: u32 = 48;
const NUMBER_MASK: u64 = 0x7fff << NUMBER_SHIFT;
const GENERATION_SHIFT: u32 = 16;
const INDEX_MASK: u64 = 0xffff;

/// What is needed when the operation ends.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) ticket: u64,
    pub(super) file: FileId,
    pub(super) buffer: Option<AlignedBuf>,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    operation: Option<InFlight>,
}

/// A fixed number of places for operations.
#[derive(Debug)]
pub(super) struct Slots {
    tag: u64,
    slots: Vec<Slot>,
    free: Vec<u16>,
}

impl Slots {
    /// A table for the disk with this number on its ring.
    pub(super) fn new(disk_number: u16, slots_max: u16) -> Slots {
        Slots {
            tag: DISK_TAG | (u64::from(disk_number) << NUMBER_SHIFT & NUMBER_MASK),
            slots: (0..slots_max).map(|_| Slot::default()).collect(),
            free: (0..slots_max).rev().collect(),
        }
    }

    /// Takes an operation in and returns its `user_data`.
    pub(super) fn insert(&mut self, operation: InFlight) -> u64 {
        let index = self
            .free
            .pop()
            .expect("invariant: the log bounds its operations in flight");
        let slot = &mut self.slots[usize::from(index)];
        assert!(
            slot.operation.is_none(),
            "invariant: a free slot holds no operation"
        );
        slot.generation = slot.generation.wrapping_add(1);
        slot.operation = Some(operation);
        self.tag | u64::from(slot.generation) << GENERATION_SHIFT | u64::from(index)
    }

    /// Whether a completion belongs to this table.
    pub(super) fn owns(&self, user_data: u64) -> bool {
        user_data & (DISK_TAG | NUMBER_MASK) == self.tag
    }

    /// Gives the operation of a completion back.
    ///
    /// # Panics
    /// If no such operation is in flight: the kernel then writes to memory that it no longer
    /// owns, and nothing this process holds can be trusted.
    pub(super) fn remove(&mut self, user_data: u64) -> InFlight {
        let index = user_data & INDEX_MASK;
        let generation = (user_data & !(DISK_TAG | NUMBER_MASK)) >> GENERATION_SHIFT;
        let slot = usize::try_from(index)
            .ok()
            .and_then(|index| self.slots.get_mut(index));
        let operation = slot
            .filter(|slot| u64::from(slot.generation) == generation)
            .and_then(|slot| slot.operation.take())
            .unwrap_or_else(|| {
                panic!(
                    "memory safety: completion {user_data:#x} belongs to no operation in flight; \
                     its buffer may already be in other hands"
                )
            });
        self.free
            .push(u16::try_from(index).expect("invariant: the index has 16 bits"));
        operation
    }

    /// Operations in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether an operation on `file` is in flight.
    pub(super) fn uses(&self, file: FileId) -> bool {
        self.slots
            .iter()
            .filter_map(|slot| slot.operation.as_ref())
            .any(|op| op.file == file)
    }

    /// Gives up every buffer in flight without freeing it, for a kernel that may still use them.
    pub(super) fn leak(&mut self) {
        for slot in &mut self.slots {
            std::mem::forget(slot.operation.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(ticket: u64) -> InFlight {
        InFlight {
            ticket,
            file: 1,
            buffer: None,
        }
    }

    #[test]
    fn operations_come_back_by_their_user_data() {
        let mut slots = Slots::new(3, 4);
        let first = slots.insert(operation(10));
        let second = slots.insert(operation(11));
        assert_ne!(first, second);
        assert!(slots.owns(first) && slots.uses(1) && !slots.uses(2));
        assert_eq!(slots.in_flight(), 2);
        assert_eq!(slots.remove(second).ticket, 11);
        assert_eq!(slots.remove(first).ticket, 10);
        assert_eq!(slots.in_flight(), 0);
    }

    #[test]
    fn tables_on_one_ring_know_their_own() {
        let mut mine = Slots::new(1, 2);
        let other = Slots::new(2, 2);
        let user_data = mine.insert(operation(1));
        assert!(mine.owns(user_data) && !other.owns(user_data));
        assert!(
            !mine.owns(user_data & !DISK_TAG),
            "a socket's completion is never ours"
        );
    }

    #[test]
    #[should_panic(expected = "memory safety")]
    fn a_completion_that_comes_twice_stops_the_process() {
        let mut slots = Slots::new(1, 2);
        let user_data = slots.insert(operation(1));
        slots.remove(user_data);
        slots.remove(user_data);
    }

    #[test]
    #[should_panic(expected = "memory safety")]
    fn a_completion_of_an_earlier_use_of_the_slot_stops_the_process() {
        let mut slots = Slots::new(1, 1);
        let stale = slots.insert(operation(1));
        slots.remove(stale);
        slots.insert(operation(2));
        slots.remove(stale);
    }

    #[test]
    #[should_panic(expected = "bounds its operations")]
    fn more_operations_than_slots_are_a_mistake_of_the_caller() {
        let mut slots = Slots::new(1, 1);
        slots.insert(operation(1));
        slots.insert(operation(2));
    }
}
