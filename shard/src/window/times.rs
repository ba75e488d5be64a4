//! Ids in the order of times: which session starts when, which group is due when.
//!
//! Sorted chunks in a list. Adding at the end and taking from the front, which is nearly
//! everything, moves little; nothing ever moves more than one chunk, and chunks are used again.

use std::collections::VecDeque;

/// Most entries of a chunk.
const CHUNK: usize = 256;
/// Empty chunks that are kept for reuse.
const SPARE_MAX: usize = 64;

/// A time, and an id that may have any number of them.
pub(super) type At = (i64, u32);

#[derive(Debug, Clone)]
struct Chunk {
    /// No entry of this chunk is less, all of those before are.
    from: At,
    entries: Vec<At>,
}

/// A set of times with ids.
#[derive(Debug, Clone, Default)]
pub(super) struct Times {
    /// None of them is empty.
    chunks: VecDeque<Chunk>,
    spare: Vec<Vec<At>>,
}

impl Times {
    /// The chunk that an entry belongs into.
    #[inline]
    fn chunk_of(&self, at: At) -> usize {
        // New times are mostly the latest.
        match self.chunks.back() {
            Some(last) if last.from <= at => self.chunks.len() - 1,
            _ => {
                let behind = self.chunks.partition_point(|chunk| chunk.from <= at);
                behind.saturating_sub(1)
            }
        }
    }

    /// Adds an entry, if it is not there.
    pub(super) fn insert(&mut self, at: At) {
        let place = self.chunk_of(at);
        let is_last = place + 1 >= self.chunks.len();
        let Some(chunk) = self.chunks.get_mut(place) else {
            self.add_chunk(0, at);
            return;
        };
        let Err(index) = chunk.entries.binary_search(&at) else {
            return;
        };
        if chunk.entries.len() < CHUNK {
            chunk.from = chunk.from.min(at);
            chunk.entries.insert(index, at);
        } else if index == CHUNK && is_last {
            self.add_chunk(place + 1, at);
        } else {
            self.split(place);
            self.insert(at);
        }
    }

    fn add_chunk(&mut self, place: usize, at: At) {
        let mut entries = self.fresh();
        entries.push(at);
        self.chunks.insert(place, Chunk { from: at, entries });
    }

    fn fresh(&mut self) -> Vec<At> {
        self.spare
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(CHUNK))
    }

    #[cold]
    fn split(&mut self, place: usize) {
        let mut entries = self.fresh();
        entries.extend(self.chunks[place].entries.drain(CHUNK / 2..));
        let from = entries[0];
        self.chunks.insert(place + 1, Chunk { from, entries });
    }

    /// Takes an entry out, if it is there.
    pub(super) fn remove(&mut self, at: At) {
        let place = self.chunk_of(at);
        let Some(chunk) = self.chunks.get_mut(place) else {
            return;
        };
        if let Ok(index) = chunk.entries.binary_search(&at) {
            chunk.entries.remove(index);
            self.tidy(place);
            if place > 0 {
                self.tidy(place - 1);
            }
        }
    }

    /// Lets an empty chunk go, and joins it and the next if both are mostly empty.
    fn tidy(&mut self, place: usize) {
        let len = self.chunks[place].entries.len();
        let next = self.chunks.get(place + 1).map(|next| next.entries.len());
        let gone = match next {
            _ if len == 0 => self.chunks.remove(place),
            Some(next) if len + next <= CHUNK / 4 => {
                let gone = self.chunks.remove(place + 1);
                let behind = gone.iter().flat_map(|gone| &gone.entries);
                self.chunks[place].entries.extend(behind);
                gone
            }
            _ => return,
        };
        if let Some(mut gone) = gone
            && self.spare.len() < SPARE_MAX
        {
            gone.entries.clear();
            self.spare.push(gone.entries);
        }
    }

    /// The earliest entry, if its time is `by_ms` or before.
    pub(super) fn first_by(&self, by_ms: i64) -> Option<At> {
        let first = self.chunks.front()?.entries.first();
        first.copied().filter(|(ms, _)| *ms <= by_ms)
    }

    /// All entries from `at` on.
    pub(super) fn from(&self, at: At) -> impl Iterator<Item = At> + '_ {
        let place = self.chunk_of(at);
        let chunks = self.chunks.range(place.min(self.chunks.len())..);
        let entries = chunks.flat_map(|chunk| &chunk.entries).copied();
        entries.skip_while(move |entry| *entry < at)
    }

    /// All entries, the earliest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = At> + '_ {
        self.chunks.iter().flat_map(|chunk| &chunk.entries).copied()
    }

    pub(super) fn clear(&mut self) {
        self.chunks.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn times_are_an_ordered_set_in_bounded_chunks() {
        let (mut times, mut model) = (Times::default(), BTreeSet::new());
        let mut seed = 5_u64;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            seed >> 33
        };
        for step in 0..60_000_i64 {
            let id = next() as u32 % 3;
            let at = match next() % 4 {
                0 => (next() as i64 % 4_000 - 2_000, id),
                _ => (step / 4, id),
            };
            // It grows for a while, then shrinks.
            if (step / 9_000) % 3 < 2 {
                times.insert(at);
                model.insert(at);
            }
            if let Some(&first) = model.first()
                && next() % 3 == 0
            {
                assert_eq!(times.first_by(first.0), Some(first));
                assert_eq!(times.first_by(first.0 - 1), None);
                times.remove(first);
                model.remove(&first);
            }
            let other = model.range((next() as i64 % 20_000, 0)..).next().copied();
            if let Some(other) = other.filter(|_| next() % 2 == 0) {
                times.remove(other);
                model.remove(&other);
            }
            times.remove((step, 7));
            if step % 501 == 0 {
                assert!(times.iter().eq(model.iter().copied()), "step {step}");
                let from = (next() as i64 % 16_000 - 1_000, 1);
                assert!(times.from(from).eq(model.range(from..).copied()));
                assert!(times.chunks.iter().all(|chunk| !chunk.entries.is_empty()
                    && chunk.entries.len() <= CHUNK
                    && chunk.entries.is_sorted()));
                let filled = model.len() * 8 / CHUNK + 2;
                assert!(
                    times.chunks.len() <= filled,
                    "{} chunks",
                    times.chunks.len()
                );
            }
        }
        while let Some(&first) = model.first() {
            times.remove(first);
            model.remove(&first);
        }
        assert!(times.chunks.is_empty() && times.iter().next().is_none());
        times.insert((1, 1));
        times.clear();
        assert_eq!(times.first_by(i64::MAX), None);
    }
}
