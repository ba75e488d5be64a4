//! The ring between two threads: one producer, one consumer, records in 64-byte slots.
//!
//! A record is an 8-byte header (body bytes u32, kind u32) at the start of a slot and its body
//! right behind it, rounded up to whole slots. A record never wraps: where it would not fit before
//! the end of the memory, a pad record fills the rest. Records are staged by the producer and
//! become visible together with one store; the consumer gives slots back with one store too.
//!
//! ```text
//!        released     head            tail (published)   tail (staged)
//!   ...free | consumed | to be consumed | staged            | free...
//!            <- consumer's, read only -> <- producer's -----------------
//! ```
//!
//! Indices count slots, run freely and wrap with the integer, so full and empty differ. Each side
//! keeps a copy of the other's index and reads the shared one only when the ring looks full or
//! empty: in a stream the two lines change owner once per batch.
//!
//! The two ends move between threads, but can be neither cloned nor shared:
//!
//! ```compile_fail
//! let (producer, _consumer) = ringmill_engine::ring::ring(64);
//! let second = producer.clone();
//! ```
//! ```compile_fail,E0277
//! fn shared<T: Sync>(_: &T) {}
//! let (_producer, consumer) = ringmill_engine::ring::ring(64);
//! shared(&consumer);
//! ```
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::fmt;
use std::ptr::NonNull;
use std::slice;

use crossbeam::utils::CachePadded;

use crate::sync::{Arc, AtomicUsize, Ordering, SlotWatch};

/// Bytes of one slot: a cache line.
pub const SLOT_BYTES: usize = 64;
/// Bytes of a record's header; a body of `SLOT_BYTES - HEADER_BYTES` takes exactly one slot.
pub const HEADER_BYTES: usize = 8;
/// The smallest ring.
pub const SLOTS_MIN: usize = 64;
/// The largest ring: a body's length has to fit the header's u32.
pub const SLOTS_MAX: usize = 1 << 24;

/// Kind of the record that fills the end of the memory; never handed to a caller.
const KIND_PAD: u32 = u32::MAX;

const _: () = assert!(SLOTS_MAX * SLOT_BYTES / 4 <= u32::MAX as usize);
const _: () = assert!(HEADER_BYTES == size_of::<u64>() && SLOT_BYTES.is_multiple_of(HEADER_BYTES));

/// Makes a ring of `slots` 64-byte slots, a power of two from [`SLOTS_MIN`] to [`SLOTS_MAX`].
///
/// # Panics
/// If `slots` is anything else: sizes are checked where they are configured.
#[must_use]
pub fn ring(slots: usize) -> (Producer, Consumer) {
    assert!(slots.is_power_of_two() && (SLOTS_MIN..=SLOTS_MAX).contains(&slots));
    ring_from(slots, 0)
}

/// The number of slots that a record with a body of `bytes` takes.
#[must_use]
#[inline]
pub const fn record_slots(bytes: usize) -> usize {
    (HEADER_BYTES + bytes).div_ceil(SLOT_BYTES)
}

/// A ring whose free-running indices start at `start`; at least 4 slots. Tests put the start just
/// before a wrap and keep the memory small.
pub(crate) fn ring_from(slots: usize, start: usize) -> (Producer, Consumer) {
    assert!(slots.is_power_of_two() && slots >= 4);
    let shared = Arc::new(Shared {
        head: CachePadded::new(AtomicUsize::new(start)),
        tail: CachePadded::new(AtomicUsize::new(start)),
        slots: (0..slots)
            .map(|_| Slot(UnsafeCell::new([0; SLOT_BYTES])))
            .collect(),
        watch: SlotWatch::new(slots),
    });
    let producer = Producer {
        memory: Memory::new(Arc::clone(&shared)),
        tail: start,
        published: start,
        head_seen: start,
        reserved: 0,
        looked_at: start,
        look_every: slots.max(SLOTS_MIN) / 8,
        high_water: 0,
    };
    let consumer = Consumer {
        memory: Memory::new(shared),
        head: start,
        released: start,
        tail_seen: start,
        peeked: 0,
    };
    (producer, consumer)
}

#[repr(C, align(64))]
struct Slot(UnsafeCell<[u8; SLOT_BYTES]>);

/// What both ends reach. The indices stand on lines of their own: each is written by one side.
struct Shared {
    /// Slots before it are free. Written by the consumer.
    head: CachePadded<AtomicUsize>,
    /// Slots from `head` up to it hold records. Written by the producer.
    tail: CachePadded<AtomicUsize>,
    slots: Box<[Slot]>,
    watch: SlotWatch,
}

// SAFETY: a slot is touched by the consumer alone from `head` to `tail` and by the producer alone
// elsewhere; the Release stores and Acquire loads of the two indices order the handing over.
unsafe impl Sync for Shared {}

/// One end's way to the slots.
struct Memory {
    shared: Arc<Shared>,
    /// First byte of the slots; kept here to save two dependent loads per record.
    base: NonNull<u8>,
    mask: usize,
}

// SAFETY: `base` points into the slots that `shared` keeps alive, and those may be reached from any
// thread by the rule at `Sync for Shared`. The pointer makes both ends `!Sync`, which is wanted.
unsafe impl Send for Memory {}

impl Memory {
    fn new(shared: Arc<Shared>) -> Self {
        let base = NonNull::from(&*shared.slots).cast();
        let mask = shared.slots.len() - 1;
        Self { shared, base, mask }
    }

    #[inline]
    fn slots(&self) -> usize {
        self.mask + 1
    }

    /// First byte of the slot of a free-running index.
    #[inline]
    fn at(&self, index: usize) -> *mut u8 {
        // SAFETY: the mask keeps the offset inside the allocation of `mask + 1` slots.
        unsafe { self.base.as_ptr().add((index & self.mask) * SLOT_BYTES) }
    }

    /// # Safety
    /// The slot at `index` belongs to the calling producer.
    #[inline]
    unsafe fn write_header(&self, index: usize, kind: u32, bytes: usize) {
        self.shared.watch.wrote(index & self.mask, 1);
        let header = u64::from(kind) << 32 | bytes as u64;
        // SAFETY: `at` is aligned to a slot and in bounds; the caller owns the slot.
        unsafe { self.at(index).cast::<u64>().write(header) }
    }

    /// # Safety
    /// The slot at `index` belongs to the calling consumer and starts a record.
    #[inline]
    unsafe fn read_header(&self, index: usize) -> (u32, usize) {
        self.shared.watch.read(index & self.mask, 1);
        // SAFETY: `at` is aligned to a slot and in bounds; the caller owns the slot.
        let header = unsafe { self.at(index).cast::<u64>().read() };
        ((header >> 32) as u32, header as u32 as usize)
    }
}

/// The writing end.
///
/// Aligned to two lines so that ends that live in neighbouring allocations of different threads
/// never share one.
#[repr(align(128))]
pub struct Producer {
    memory: Memory,
    /// Where the next record goes; what lies from `published` to here is staged.
    tail: usize,
    published: usize,
    /// Copy of `Shared::head`, never ahead of it.
    head_seen: usize,
    /// Slots of the reserved record with its pad; 0 if nothing is reserved.
    reserved: usize,
    /// The tail when `head_seen` was read.
    looked_at: usize,
    look_every: usize,
    high_water: usize,
}

impl Producer {
    /// Reserves a record with a contiguous body of `bytes` bytes and returns the body, which holds
    /// whatever was there before. The record counts only after [`Producer::commit`]; another
    /// `reserve` drops it. `None`: there is no room now, and nothing changed.
    ///
    /// # Panics
    /// If `bytes > max_body()`, or if `kind` is `u32::MAX`.
    #[inline]
    pub fn reserve(&mut self, kind: u32, bytes: usize) -> Option<&mut [u8]> {
        assert!(kind != KIND_PAD && bytes <= self.max_body());
        self.reserved = 0;
        let need = record_slots(bytes);
        let to_end = self.memory.slots() - (self.tail & self.memory.mask);
        let pad = if need > to_end { to_end } else { 0 };
        if !self.has_room(pad + need) {
            return None;
        }
        let index = self.tail.wrapping_add(pad);
        self.reserved = pad + need;
        self.memory
            .shared
            .watch
            .wrote(index & self.memory.mask, need);
        // SAFETY: `has_room` found the slots from `tail` to the end of this record free, so they
        // are this producer's until `publish`; `need` slots from `index` do not cross the end, so
        // the body is in bounds. Every byte was initialised when the ring was made.
        unsafe {
            if pad > 0 {
                self.memory
                    .write_header(self.tail, KIND_PAD, pad * SLOT_BYTES - HEADER_BYTES);
            }
            self.memory.write_header(index, kind, bytes);
            let body = self.memory.at(index).add(HEADER_BYTES);
            Some(slice::from_raw_parts_mut(body, bytes))
        }
    }

    /// The reserved record joins the staged ones.
    ///
    /// # Panics
    /// If nothing is reserved.
    #[inline]
    pub fn commit(&mut self) {
        assert!(self.reserved > 0, "commit without reserve");
        self.tail = self.tail.wrapping_add(self.reserved);
        self.reserved = 0;
    }

    /// Makes all staged records visible with one store. True if there were any.
    #[inline]
    pub fn publish(&mut self) -> bool {
        if self.tail == self.published {
            return false;
        }
        // Ordering: Release, so that a consumer that sees this tail sees the records before it.
        self.memory.shared.tail.store(self.tail, Ordering::Release);
        self.published = self.tail;
        if self.tail.wrapping_sub(self.looked_at) >= self.look_every {
            self.refresh_head();
        }
        true
    }

    /// The longest body in bytes: a quarter of the ring, so that a record with its pad always fits
    /// once the consumer has caught up.
    #[must_use]
    #[inline]
    pub fn max_body(&self) -> usize {
        self.memory.slots() * SLOT_BYTES / 4 - HEADER_BYTES
    }

    /// Slots of the ring.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.memory.slots()
    }

    /// Whether a record with a body of `bytes` would be given room now.
    #[must_use]
    pub fn has_room_for(&mut self, bytes: usize) -> bool {
        let need = record_slots(bytes);
        let to_end = self.memory.slots() - (self.tail & self.memory.mask);
        self.has_room(if need > to_end { to_end + need } else { need })
    }

    /// Whether records are staged that the consumer cannot see yet.
    #[must_use]
    #[inline]
    pub fn has_staged(&self) -> bool {
        self.tail != self.published
    }

    /// The most slots that were in use when this end looked: when the ring seemed full, and once
    /// per eighth of the ring. More looks would take the consumer's line from it too often.
    #[must_use]
    pub fn high_water_slots(&self) -> usize {
        self.high_water
    }

    #[inline]
    fn has_room(&mut self, slots: usize) -> bool {
        let free = |tail: usize, head, all| all - tail.wrapping_sub(head);
        if free(self.tail, self.head_seen, self.memory.slots()) >= slots {
            return true;
        }
        self.refresh_head();
        free(self.tail, self.head_seen, self.memory.slots()) >= slots
    }

    fn refresh_head(&mut self) {
        // Ordering: Acquire, so that the consumer's last reads of a slot come before its reuse.
        self.head_seen = self.memory.shared.head.load(Ordering::Acquire);
        self.looked_at = self.tail;
        self.high_water = self.high_water.max(self.tail.wrapping_sub(self.head_seen));
    }
}

/// A record as the consumer sees it, in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The producer's kind.
    pub kind: u32,
    /// Exactly the bytes that were reserved.
    pub body: &'a [u8],
}

/// The reading end; aligned like [`Producer`] and for the same reason.
#[repr(align(128))]
pub struct Consumer {
    memory: Memory,
    /// The next record; what lies from `released` to here is consumed but not given back.
    head: usize,
    released: usize,
    /// Copy of `Shared::tail`, never ahead of it.
    tail_seen: usize,
    /// Slots of the record at `head` if `peek` has shown it, else 0.
    peeked: usize,
}

impl Consumer {
    /// The oldest record that was not advanced over; `None` if there is none now.
    #[inline]
    pub fn peek(&mut self) -> Option<Record<'_>> {
        loop {
            if self.is_empty() {
                return None;
            }
            // SAFETY: the ring is not empty, so the slot at `head` is this consumer's; records are
            // published whole, so it starts one.
            let (kind, bytes) = unsafe { self.memory.read_header(self.head) };
            let slots = record_slots(bytes);
            debug_assert!(slots <= self.tail_seen.wrapping_sub(self.head));
            if kind == KIND_PAD {
                self.head = self.head.wrapping_add(slots);
                continue;
            }
            self.peeked = slots;
            self.memory
                .shared
                .watch
                .read(self.head & self.memory.mask, slots);
            // SAFETY: the record's slots lie before `tail_seen`, so they are this consumer's until
            // `release`, which the borrow of `self` keeps away; a record does not cross the end.
            let body = unsafe {
                slice::from_raw_parts(self.memory.at(self.head).add(HEADER_BYTES), bytes)
            };
            return Some(Record { kind, body });
        }
    }

    /// Goes past the record that `peek` has shown.
    ///
    /// # Panics
    /// If `peek` has shown none since the last call.
    #[inline]
    pub fn advance(&mut self) {
        assert!(self.peeked > 0, "advance without peek");
        self.head = self.head.wrapping_add(self.peeked);
        self.peeked = 0;
    }

    /// Gives every record advanced over back to the producer with one store.
    #[inline]
    pub fn release(&mut self) {
        if self.head != self.released {
            // Ordering: Release, so that our reads of the slots come before the producer's reuse.
            self.memory.shared.head.store(self.head, Ordering::Release);
            self.released = self.head;
        }
    }

    /// Whether there is no record to peek at; looks at the producer's index if it seems so.
    #[must_use]
    #[inline]
    pub fn is_empty(&mut self) -> bool {
        if self.head == self.tail_seen {
            // Ordering: Acquire, to see the records that were published with this tail.
            self.tail_seen = self.memory.shared.tail.load(Ordering::Acquire);
        }
        self.head == self.tail_seen
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Producer {{ tail: {}, published: {} }}",
            self.tail, self.published
        )
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Consumer {{ head: {}, released: {} }}",
            self.head, self.released
        )
    }
}

#[cfg(all(test, not(ringmill_loom)))]
#[path = "ring/tests.rs"]
mod tests;
