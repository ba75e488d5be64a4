//! `KeyTable`: canonical key bytes to a dense `u32` id, with a bounded worst insert.
//!
//! A directory, indexed by hash bits 39 and below, points to segments of 2,560 slots. A full
//! segment splits in two, which moves at most one segment's entries; no insert ever rehashes the
//! whole table. Bits 40..52 choose the group and with it the shard, so all keys of one shard may
//! share them: neither the directory nor the slots use them.
//!
//! Ids are given in order of first sight, so that whoever looks keys up can keep records in plain
//! arrays beside the table. The id of a key that is removed goes to the next new key.

pub(crate) mod arena;
pub(crate) mod chunks;
mod segment;

use crate::prefetch::prefetch;
use crate::schema::{Field, FieldType};
use arena::{KeyArena, same_bytes};
use segment::{NO_ID, Segment, Slot};

/// Lines of a segment that takes part in splitting: 32 KiB.
const SEGMENT_LINES: usize = 512;
/// Lines of the first segment; it doubles up to `SEGMENT_LINES`, so that small tables are small.
const SEGMENT_LINES_MIN: usize = 4;
/// The directory takes its bits from here downwards, the slots from bit 0 upwards.
const DIRECTORY_TOP_BIT: u32 = 40;
/// Keys that share many hash bits must not blow the directory up: beyond this many directory
/// entries per segment the full segment doubles instead.
const DIRECTORY_PER_SEGMENT_MAX: usize = 16;

/// How many lookups ahead a line is asked for.
const LINES_AHEAD: usize = 24;

/// Canonical key bytes to dense ids.
#[derive(Debug, Clone)]
pub struct KeyTable {
    /// Segment by the top `depth` bits below `DIRECTORY_TOP_BIT`.
    directory: Vec<u32>,
    segments: Vec<Segment>,
    arena: KeyArena,
    depth: u8,
    /// Whether equal hashes mean equal keys, see [`KeyTable::fixed_u64`].
    hash_is_key: bool,
    /// Entries moved by splits and doublings so far.
    moved: u64,
    /// Ids of removed keys.
    free: Vec<u32>,
    scratch: Vec<Slot>,
}

impl KeyTable {
    /// A table for keys of 0..=`key_bytes_max` bytes (at most 255).
    pub fn varying(key_bytes_max: usize) -> Self {
        Self::with(KeyArena::new(key_bytes_max, true), false)
    }

    /// A table for keys of exactly `key_bytes` bytes.
    pub fn fixed(key_bytes: usize) -> Self {
        Self::with(KeyArena::new(key_bytes, false), false)
    }

    /// A table for keys of exactly 8 bytes whose hash is `partition::key_hash`.
    ///
    /// XXH3-64 maps 8-byte inputs one to one (every step of that path can be undone), so equal
    /// hashes are equal keys and a lookup need not touch the key bytes.
    pub fn fixed_u64() -> Self {
        Self::with(KeyArena::new(8, false), true)
    }

    /// A table for the canonical bytes of a field, hashed by `partition::key_hash`.
    pub fn of_field(field: &Field) -> Self {
        match field.kind {
            FieldType::Text(capacity) => Self::varying(usize::from(capacity)),
            kind if field.optional => Self::varying(kind.canonical_bytes_max()),
            FieldType::U64 | FieldType::I64 | FieldType::Time | FieldType::F64 => Self::fixed_u64(),
            kind => Self::fixed(kind.canonical_bytes_max()),
        }
    }

    /// An empty table for keys of the same kind.
    pub(crate) fn fresh(&self) -> Self {
        Self::with(self.arena.fresh(), self.hash_is_key)
    }

    fn with(arena: KeyArena, hash_is_key: bool) -> Self {
        Self {
            directory: vec![0],
            segments: vec![Segment::new(SEGMENT_LINES_MIN, 0)],
            arena,
            depth: 0,
            hash_is_key,
            moved: 0,
            free: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Ids that were given out, `0..len`: the keys of the table and those removed since.
    pub const fn len(&self) -> usize {
        self.arena.len()
    }

    /// Whether no key was ever added.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of key `id`.
    ///
    /// # Panics
    /// If `id` was not given out by this table.
    #[inline]
    pub fn key(&self, id: u32) -> &[u8] {
        self.arena.get(id)
    }

    /// Entries that splits and doublings have moved in all, for tests of the worst insert.
    #[doc(hidden)]
    pub const fn moved(&self) -> u64 {
        self.moved
    }

    /// Entries of the directory, for tests of its bound.
    #[doc(hidden)]
    pub const fn directory_len(&self) -> usize {
        self.directory.len()
    }

    #[inline]
    fn directory_index(&self, hash: u64) -> usize {
        let field = (hash << (64 - DIRECTORY_TOP_BIT)) >> 32;
        ((field << self.depth) >> 32) as usize
    }

    #[inline]
    fn segment_of(&self, hash: u64) -> usize {
        self.directory[self.directory_index(hash)] as usize
    }

    /// The id of `key`, if it is known. `hash` must always be the same function of the key.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        let segment = &self.segments[self.segment_of(hash)];
        segment.find(hash, |id| {
            self.hash_is_key || same_bytes(self.arena.get(id), key)
        })
    }

    /// The id of `key`, added if unknown; true if it was added.
    #[inline]
    pub fn find_or_insert(&mut self, hash: u64, key: &[u8]) -> (u32, bool) {
        match self.find(hash, key) {
            Some(id) => (id, false),
            None => (self.insert(hash, key), true),
        }
    }

    /// Removes the key that has `id`, which is given to a later key.
    ///
    /// # Panics
    /// If `id` was not given out by this table.
    pub fn remove(&mut self, hash: u64, id: u32) {
        let segment = self.segment_of(hash);
        self.segments[segment].remove(hash, id);
        self.free.push(id);
    }

    /// Looks up or adds `keys(0..hashes.len())`, ids to `out` (cleared first).
    ///
    /// The line that a lookup starts at follows from the hash alone, so it is asked for a few
    /// lookups ahead.
    pub fn lookup_batch<'k>(
        &mut self,
        hashes: &[u64],
        keys: impl Fn(usize) -> &'k [u8],
        out: &mut Vec<u32>,
    ) {
        out.clear();
        for &hash in hashes.iter().take(LINES_AHEAD) {
            self.prefetch(hash);
        }
        for (index, &hash) in hashes.iter().enumerate() {
            if let Some(&ahead) = hashes.get(index + LINES_AHEAD) {
                self.prefetch(ahead);
            }
            out.push(self.find_or_insert(hash, keys(index)).0);
        }
    }

    /// Asks for the line that the lookup of `hash` will start at.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        prefetch(self.segments[self.segment_of(hash)].home(hash));
    }

    /// Gives some of a large table's memory back; true once what is left is small. The table is
    /// of no use from the first call until it is cleared.
    pub(crate) fn shrink(&mut self, pieces: usize) -> bool {
        let kept = self.segments.len().saturating_sub(pieces).max(1);
        self.segments.truncate(kept);
        self.arena.shrink(pieces) && kept == 1
    }

    /// Frees up to `pieces` pieces of the memory of a table that is not used any more, and counts
    /// them down; true if hardly anything is left.
    pub(crate) fn free_some(&mut self, pieces: &mut usize) -> bool {
        self.arena.free_some(pieces) && chunks::free_last(&mut self.segments, pieces)
    }

    /// Forgets all keys, keeping the memory of a small table.
    pub(crate) fn clear(&mut self) {
        self.arena.clear();
        self.free.clear();
        self.segments.truncate(1);
        if self.segments[0].lines() > SEGMENT_LINES {
            self.segments[0] = Segment::new(SEGMENT_LINES_MIN, 0);
        }
        self.segments[0].clear();
        self.segments[0].depth = 0;
        self.directory.clear();
        self.directory.push(0);
        self.depth = 0;
    }

    #[cold]
    fn insert(&mut self, hash: u64, key: &[u8]) -> u32 {
        while self.segments[self.segment_of(hash)].is_full() {
            self.make_room(hash);
        }
        let id = match self.free.pop() {
            Some(id) => {
                self.arena.replace(id, key);
                id
            }
            None => {
                let id = u32::try_from(self.arena.len()).unwrap_or(NO_ID);
                assert!(id < NO_ID, "a table holds fewer than 2^32 - 1 keys");
                self.arena.push(key);
                id
            }
        };
        let segment = self.segment_of(hash);
        self.segments[segment].insert(hash, id);
        id
    }

    /// Splits the full segment of `hash`, or doubles it where splitting is not to be had.
    fn make_room(&mut self, hash: u64) {
        let index = self.segment_of(hash);
        let depth = self.segments[index].depth;
        let directory_would_grow = depth == self.depth;
        let directory_max = DIRECTORY_PER_SEGMENT_MAX * (self.segments.len() + 1);
        let too_wide = directory_would_grow && self.directory.len() * 2 > directory_max;
        if self.segments[index].lines() < SEGMENT_LINES || depth >= 28 || too_wide {
            self.double_segment(index);
        } else {
            if directory_would_grow {
                self.double_directory();
            }
            self.split(index, hash);
        }
    }

    fn double_segment(&mut self, index: usize) {
        let segment = &mut self.segments[index];
        self.scratch.clear();
        segment.drain_into(&mut self.scratch);
        self.moved += self.scratch.len() as u64;
        *segment = Segment::new(segment.lines() * 2, segment.depth);
        for slot in &self.scratch {
            segment.insert(slot.hash, slot.id);
        }
    }

    fn double_directory(&mut self) {
        self.depth += 1;
        self.directory = self
            .directory
            .iter()
            .flat_map(|&segment| [segment, segment])
            .collect();
    }

    fn split(&mut self, index: usize, hash: u64) {
        let added = self.segments.len();
        let segment = &mut self.segments[index];
        self.scratch.clear();
        segment.drain_into(&mut self.scratch);
        self.moved += self.scratch.len() as u64;
        segment.depth += 1;
        let depth = segment.depth;
        let mut upper = Segment::new(segment.lines(), depth);
        let deciding_bit = DIRECTORY_TOP_BIT - u32::from(depth);
        for slot in &self.scratch {
            let half = if slot.hash >> deciding_bit & 1 == 1 {
                &mut upper
            } else {
                &mut *segment
            };
            half.insert(slot.hash, slot.id);
        }
        self.segments.push(upper);

        // The entries of one segment are neighbours in the directory; the upper half moves over.
        let entries = 1 << (self.depth + 1 - depth);
        let first = self.directory_index(hash) & !(entries - 1);
        for entry in &mut self.directory[first + entries / 2..first + entries] {
            *entry = added as u32;
        }
    }
}
