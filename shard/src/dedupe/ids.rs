//! Ids that are spent, for a horizon that begins when an id is seen first.
//!
//! Time is cut into generations of an eighth of the horizon, counted from the epoch of the recorded
//! stamps. An id belongs to the generation of the event that brought it, and is remembered while
//! that is one of the last nine: for the horizon at least, and at most an eighth longer. Whether an
//! id is remembered follows from the two stamps alone, so batches, restarts and the number of
//! shards do not show. A generation is dropped whole, and its memory given back in slices.
//!
//! Each log stream that a shard inherits from has generations of its own: replay reads the log
//! streams of an older layout in any order, and what one of them has forgotten says nothing about
//! the others.

use crate::dedupe::Layout;
use crate::table::KeyTable;
use crate::table::chunks::Chunks;
use std::collections::{BTreeMap, VecDeque};

/// Generations of a horizon.
const GENERATIONS: u64 = 8;
/// What stands in place of a body where an id was spent without its event.
pub(crate) const NO_BODY: u64 = 0;
/// Pieces of memory, of some tens of KiB each, that a batch frees, and events for one more.
const PIECES: usize = 4;
const EVENTS_PER_PIECE: usize = 256;

/// The 128 bits that an id is compared by.
pub(crate) type IdBytes = [u8; 16];

/// The half of an id that says where to look; all of it is compared.
#[inline]
pub(super) fn place_of(id: &IdBytes) -> u64 {
    let half = id[..8].try_into().expect("invariant: eight bytes");
    u64::from_le_bytes(half)
}

/// Ids that were seen first in one stretch of time.
#[derive(Debug, Clone)]
struct Generation {
    number: u64,
    ids: KeyTable,
    /// Digest of the event of each, or [`NO_BODY`].
    bodies: Chunks<u64>,
}

impl Generation {
    fn new(number: u64) -> Self {
        Self {
            number,
            ids: KeyTable::fixed(size_of::<IdBytes>()),
            bodies: Chunks::new(),
        }
    }

    fn free_some(&mut self, pieces: &mut usize) -> bool {
        self.ids.free_some(pieces) && self.bodies.free_some(pieces)
    }
}

/// The generations of one log stream, oldest first.
#[derive(Debug, Clone, Default)]
struct Generations {
    kept: VecDeque<Generation>,
    retired: Vec<Generation>,
}

impl Generations {
    fn remembered(&self, now: u64) -> impl Iterator<Item = &Generation> {
        let newest_first = self.kept.iter().rev();
        newest_first.take_while(move |generation| is_remembered(generation.number, now))
    }

    fn find(&self, id: &IdBytes, now: u64) -> Option<u64> {
        self.remembered(now).find_map(|generation| {
            let place = generation.ids.find(place_of(id), id)?;
            Some(*generation.bodies.at(place as usize))
        })
    }

    fn insert(&mut self, id: &IdBytes, body: u64, now: u64) {
        if self.kept.back().is_none_or(|newest| newest.number < now) {
            self.kept.push_back(Generation::new(now));
        }
        let newest = self.kept.back_mut();
        let newest = newest.expect("invariant: a generation was pushed");
        let (place, added) = newest.ids.find_or_insert(place_of(id), id);
        if added {
            newest.bodies.push(body);
        } else {
            *newest.bodies.at_mut(place as usize) = body;
        }
    }

    /// Drops what is past its horizon.
    fn retire(&mut self, now: u64) {
        while let Some(oldest) = self.kept.front()
            && !is_remembered(oldest.number, now)
        {
            self.retired.extend(self.kept.pop_front());
        }
    }

    fn free_some(&mut self, pieces: &mut usize) {
        while *pieces > 0
            && let Some(last) = self.retired.last_mut()
        {
            if last.free_some(pieces) {
                self.retired.pop();
            }
        }
    }
}

const fn is_remembered(generation: u64, now: u64) -> bool {
    generation + GENERATIONS >= now
}

/// The spent ids of one stream.
#[derive(Debug, Clone)]
pub(crate) struct Ids {
    generation_ms: u64,
    own: Generations,
    inherited: BTreeMap<u32, Generations>,
}

/// An id in a digest of the state: log stream (`None` is the own one), generation, id, body.
pub(crate) type IdRecord = (Option<u32>, u64, IdBytes, u64);

impl Ids {
    pub(super) fn new(horizon_ms: i64) -> Self {
        Self {
            generation_ms: horizon_ms.unsigned_abs().div_ceil(GENERATIONS).max(1),
            own: Generations::default(),
            inherited: BTreeMap::new(),
        }
    }

    /// The generation that a stamp lies in.
    pub(super) fn generation(&self, stamp_ns: u64) -> u64 {
        stamp_ns / 1_000_000 / self.generation_ms
    }

    /// The body of an id that is spent. `group` is that of its key, which says who owned it before.
    pub(super) fn find(
        &self,
        id: &IdBytes,
        now: u64,
        older: &[Layout],
        group: impl Fn() -> u16,
    ) -> Option<u64> {
        let own = self.own.find(id, now);
        if own.is_some() || self.inherited.is_empty() {
            return own;
        }
        let group = group();
        older.iter().find_map(|layout| {
            let before = self.inherited.get(&layout.owner(group))?;
            before.find(id, now)
        })
    }

    /// Spends an id in the own log stream or in one that is inherited from.
    pub(super) fn insert(&mut self, id: &IdBytes, body: u64, now: u64, inherited: Option<u32>) {
        match inherited {
            None => self.own.insert(id, body, now),
            Some(log_stream) => {
                let generations = self.inherited.entry(log_stream).or_default();
                generations.insert(id, body, now);
            }
        }
    }

    /// Drops what is past its horizon at an entry of a log stream, and gives some memory back for a
    /// batch of so many events.
    pub(super) fn advance(&mut self, now: u64, inherited: Option<u32>, events: usize) {
        let mut pieces = PIECES + events / EVENTS_PER_PIECE;
        match inherited {
            None => {
                self.own.retire(now);
                self.own.free_some(&mut pieces);
                // Stamps go on above those of the log streams that are inherited from.
                self.inherited.retain(|_, generations| {
                    generations.retire(now);
                    generations.free_some(&mut pieces);
                    !(generations.kept.is_empty() && generations.retired.is_empty())
                });
            }
            Some(log_stream) => {
                if let Some(generations) = self.inherited.get_mut(&log_stream) {
                    generations.retire(now);
                    generations.free_some(&mut pieces);
                }
            }
        }
    }

    /// Asks for the lines that a lookup will start at.
    #[inline]
    pub(super) fn prefetch(&self, id: &IdBytes, now: u64) {
        for generation in self.own.remembered(now) {
            generation.ids.prefetch(place_of(id));
        }
    }

    /// Ids that are remembered.
    pub(super) fn len(&self, now: u64) -> u64 {
        let all = self.inherited.values().chain([&self.own]);
        let lengths = all.flat_map(|generations| {
            generations
                .remembered(now)
                .map(|generation| generation.ids.len())
        });
        lengths.sum::<usize>() as u64
    }

    /// The generation of the newest id.
    pub(super) fn newest(&self) -> u64 {
        let all = self.inherited.values().chain([&self.own]);
        let newest = all.filter_map(|generations| generations.kept.back());
        newest.map(|newest| newest.number).max().unwrap_or(0)
    }

    /// Everything that is kept, in a fixed order.
    pub(super) fn sorted(&self) -> Vec<IdRecord> {
        let inherited = self.inherited.iter();
        let inherited = inherited.map(|(&log_stream, generations)| (Some(log_stream), generations));
        let mut all = Vec::new();
        for (log_stream, generations) in [(None, &self.own)].into_iter().chain(inherited) {
            for generation in &generations.kept {
                for (place, &body) in generation.bodies.iter().enumerate() {
                    let id = generation.ids.key(place as u32);
                    let id = id.try_into().expect("invariant: sixteen bytes");
                    all.push((log_stream, generation.number, id, body));
                }
            }
        }
        all.sort_unstable();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_LAYOUTS: &[Layout] = &[];

    fn find(ids: &Ids, id: u128, now: u64) -> Option<u64> {
        ids.find(&id.to_le_bytes(), now, NO_LAYOUTS, || 0)
    }

    /// Two ids that share the half that says where to look are two ids.
    #[test]
    fn all_bits_of_an_id_are_compared() {
        let mut ids = Ids::new(8_000);
        let low_half = 0x1234_5678_9abc_def0_u128;
        for high_half in 0..100_u128 {
            let id = high_half << 64 | low_half;
            assert_eq!(find(&ids, id, 5), None);
            ids.insert(&id.to_le_bytes(), high_half as u64 + 1, 5, None);
        }
        for high_half in 0..100_u128 {
            let id = high_half << 64 | low_half;
            assert_eq!(find(&ids, id, 5), Some(high_half as u64 + 1));
        }
    }

    #[test]
    fn an_id_is_remembered_for_eight_generations_behind_its_own() {
        for first in [0, 1, 7, 8, 9, 1_000] {
            let mut ids = Ids::new(8_000);
            ids.insert(&[7; 16], 1, first, None);
            for now in first..first + 12 {
                ids.advance(now, None, 1);
                let expected = (now <= first + 8).then_some(1);
                assert_eq!(find(&ids, u128::from_le_bytes([7; 16]), now), expected);
                assert_eq!(ids.len(now), u64::from(expected.is_some()));
            }
        }
    }

    #[test]
    fn a_horizon_is_cut_into_eighths_and_never_falls_short() {
        for (horizon_ms, generation_ms) in [(1, 1), (7, 1), (8, 1), (9, 2), (600_000, 75_000)] {
            let ids = Ids::new(horizon_ms);
            assert_eq!(ids.generation_ms, generation_ms);
            let least_ms = GENERATIONS * generation_ms;
            assert!(least_ms as i64 >= horizon_ms, "{horizon_ms}");
            assert_eq!(ids.generation(generation_ms * 3_000_000 - 1), 2);
            assert_eq!(ids.generation(generation_ms * 3_000_000), 3);
        }
    }

    #[test]
    fn a_large_generation_is_freed_in_slices() {
        let mut ids = Ids::new(8_000);
        for id in 0..200_000_u128 {
            let spread = id.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
            ids.insert(&spread.to_le_bytes(), 1, 0, None);
        }
        ids.advance(9, None, 1);
        assert_eq!(ids.len(9), 0, "dropped at once");
        let mut batches = 0;
        while !ids.own.retired.is_empty() {
            ids.advance(9, None, 1);
            batches += 1;
        }
        assert!(batches > 20, "freed in {batches} slices");
    }
}
