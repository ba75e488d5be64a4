//! Key bytes by dense id, stored inline in chunks of a fixed width per key.

use super::chunks::free_last;

/// Keys per chunk. Only the first chunk grows by doubling; later ones are allocated whole.
const CHUNK_KEYS: usize = 4_096;

/// Where the bytes of all keys of one table stand. Keys are only ever added.
#[derive(Debug, Clone)]
pub(crate) struct KeyArena {
    chunks: Vec<Vec<u8>>,
    keys: usize,
    /// Bytes of the longest key.
    key_bytes_max: usize,
    /// Keys of differing lengths carry one length byte in front.
    varying: bool,
}

impl KeyArena {
    pub(crate) fn new(key_bytes_max: usize, varying: bool) -> Self {
        assert!(
            !varying || key_bytes_max <= u8::MAX as usize,
            "one length byte per key"
        );
        Self {
            chunks: Vec::new(),
            keys: 0,
            key_bytes_max,
            varying,
        }
    }

    /// An empty arena for keys of the same lengths.
    pub(crate) fn fresh(&self) -> Self {
        Self::new(self.key_bytes_max, self.varying)
    }

    /// See `KeyTable::free_some`.
    pub(crate) fn free_some(&mut self, pieces: &mut usize) -> bool {
        free_last(&mut self.chunks, pieces)
    }

    pub(crate) const fn len(&self) -> usize {
        self.keys
    }

    const fn stride(&self) -> usize {
        self.key_bytes_max + self.varying as usize
    }

    pub(crate) fn push(&mut self, key: &[u8]) {
        let stride = self.stride();
        if self.keys.is_multiple_of(CHUNK_KEYS) {
            let capacity = if self.keys == 0 {
                0
            } else {
                CHUNK_KEYS * stride
            };
            self.chunks.push(Vec::with_capacity(capacity));
        }
        let chunk = &mut self.chunks[self.keys / CHUNK_KEYS];
        let filled = chunk.len() + stride;
        if self.varying {
            assert!(
                key.len() <= self.key_bytes_max,
                "a key is at most as long as its type"
            );
            chunk.push(key.len() as u8);
        } else {
            assert!(
                key.len() == self.key_bytes_max,
                "keys of this type have one length"
            );
        }
        chunk.extend_from_slice(key);
        chunk.resize(filled, 0);
        self.keys += 1;
    }

    /// Puts another key where key `id` was, which must have been pushed.
    pub(crate) fn replace(&mut self, id: u32, key: &[u8]) {
        let (index, stride) = (id as usize, self.stride());
        let start = (index % CHUNK_KEYS) * stride;
        let place = &mut self.chunks[index / CHUNK_KEYS][start..start + stride];
        let length = usize::from(self.varying);
        if self.varying {
            place[0] = key.len() as u8;
        }
        place[length..length + key.len()].copy_from_slice(key);
        place[length + key.len()..].fill(0);
    }

    /// The bytes of key `id`, which must have been pushed.
    #[inline]
    pub(crate) fn get(&self, id: u32) -> &[u8] {
        let index = id as usize;
        let chunk = &self.chunks[index / CHUNK_KEYS];
        let start = (index % CHUNK_KEYS) * self.stride();
        if self.varying {
            let bytes = chunk[start] as usize;
            &chunk[start + 1..start + 1 + bytes]
        } else {
            &chunk[start..start + self.key_bytes_max]
        }
    }

    /// Gives at most so many chunks back; true once at most one is left. The table is of no use
    /// until it is cleared.
    pub(crate) fn shrink(&mut self, chunks: usize) -> bool {
        let kept = self.chunks.len().saturating_sub(chunks).max(1);
        self.chunks.truncate(kept);
        kept == 1
    }

    pub(crate) fn clear(&mut self) {
        self.chunks.truncate(1);
        if let Some(first) = self.chunks.first_mut() {
            first.clear();
            self.chunks.swap_remove(0);
        }
        self.keys = 0;
    }
}

/// Equality of keys that are mostly short: two overlapping loads instead of a call.
#[inline]
pub(crate) fn same_bytes(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() || a.len() > 16 {
        return a == b;
    }
    match (a.first_chunk::<8>(), b.first_chunk::<8>()) {
        (Some(first), Some(other)) => first == other && a.last_chunk::<8>() == b.last_chunk::<8>(),
        _ => a.iter().zip(b).all(|(a, b)| a == b),
    }
}
