//! A vector in fixed chunks: growing never moves more than one chunk.
//!
//! A plain `Vec` of a million records copies all of them when it doubles, which is a stall of
//! milliseconds in the middle of a batch. Here only the first chunk grows by doubling (so that
//! small tables stay small); every later chunk is allocated whole and never moves.

/// log2 of the elements per chunk.
const CHUNK_SHIFT: usize = 11;
const CHUNK_LEN: usize = 1 << CHUNK_SHIFT;
const CHUNK_MASK: usize = CHUNK_LEN - 1;

/// A growable sequence whose elements never move more than 2,048 at a time.
#[derive(Debug, Clone)]
pub(crate) struct Chunks<T> {
    chunks: Vec<Vec<T>>,
    len: usize,
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Chunks<T> {
    pub(crate) const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            len: 0,
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn push(&mut self, value: T) {
        if self.len & CHUNK_MASK == 0 {
            let capacity = if self.len == 0 { 0 } else { CHUNK_LEN };
            self.chunks.push(Vec::with_capacity(capacity));
        }
        self.chunks[self.len >> CHUNK_SHIFT].push(value);
        self.len += 1;
    }

    /// The element at `index`, which must be below `len`.
    #[inline]
    pub(crate) fn at(&self, index: usize) -> &T {
        &self.chunks[index >> CHUNK_SHIFT][index & CHUNK_MASK]
    }

    /// The element at `index`, which must be below `len`.
    #[inline]
    pub(crate) fn at_mut(&mut self, index: usize) -> &mut T {
        &mut self.chunks[index >> CHUNK_SHIFT][index & CHUNK_MASK]
    }

    /// Frees up to `pieces` chunks at the end, and counts them down; true if none is left.
    pub(crate) fn free_some(&mut self, pieces: &mut usize) -> bool {
        let none_left = free_last(&mut self.chunks, pieces);
        self.len = self.len.min(self.chunks.len() * CHUNK_LEN);
        none_left
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten()
    }
}

impl<T: Clone> Chunks<T> {
    /// Appends copies of `value` until there are `len` elements.
    #[inline]
    pub(crate) fn grow_to(&mut self, len: usize, value: T) {
        while self.len < len {
            self.push(value.clone());
        }
    }
}

/// Frees up to `pieces` elements at the end, and counts them down; true if none is left.
pub(crate) fn free_last<T>(elements: &mut Vec<T>, pieces: &mut usize) -> bool {
    let freed = (*pieces).min(elements.len());
    elements.truncate(elements.len() - freed);
    *pieces -= freed;
    elements.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_keep_their_index_across_chunk_borders() {
        let mut chunks = Chunks::new();
        for value in 0..3 * CHUNK_LEN as u64 + 7 {
            chunks.push(value);
        }
        assert_eq!(chunks.len(), 3 * CHUNK_LEN + 7);
        for index in [
            0,
            1,
            CHUNK_LEN - 1,
            CHUNK_LEN,
            2 * CHUNK_LEN,
            3 * CHUNK_LEN + 6,
        ] {
            assert_eq!(*chunks.at(index), index as u64);
        }
        *chunks.at_mut(CHUNK_LEN) = 1;
        assert_eq!(*chunks.at(CHUNK_LEN), 1);
        assert_eq!(chunks.iter().count(), chunks.len());
    }
}
