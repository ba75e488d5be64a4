//! Rows of one publication, dealt out to the shards that own their keys.

use ringmill_shard::limits::BATCH_EVENTS_MAX;
use ringmill_shard::partition::{group_of, key_hash, shard_of};
use ringmill_shard::pipeline::Stream;

use crate::message::SubBatchHeader;

/// Most bytes of rows in one record: a core applies a record in one go, and its other work waits.
const CHUNK_ROWS_BYTES_MAX: usize = 128 << 10;

/// The rows of a publication that one shard owns, in their order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PartRows {
    /// All rows, this many.
    All(usize),
    /// The rows with these indexes, ascending.
    Some(Vec<u32>),
}

impl PartRows {
    pub(super) fn len(&self) -> usize {
        match self {
            PartRows::All(count) => *count,
            PartRows::Some(indexes) => indexes.len(),
        }
    }

    /// Index in the publication of the `nth` row of this part.
    pub(super) fn row(&self, nth: usize) -> usize {
        match self {
            PartRows::All(_) => nth,
            PartRows::Some(indexes) => indexes[nth] as usize,
        }
    }

    /// Whether rows `from..from + count` of this part follow each other in the publication.
    pub(super) fn is_contiguous(&self, from: usize, count: usize) -> bool {
        count == 0 || self.row(from + count - 1) - self.row(from) == count - 1
    }
}

/// Deals out `rows`; shards without any have no part.
pub(super) fn split(stream: &Stream, rows: &[u8], shards: usize) -> Vec<(usize, PartRows)> {
    let row_len = stream.schema.row_len();
    let count = rows.len() / row_len;
    if shards == 1 {
        return if count == 0 {
            Vec::new()
        } else {
            vec![(0, PartRows::All(count))]
        };
    }
    let mut parts: Vec<Vec<u32>> = vec![Vec::new(); shards];
    for (index, row) in rows.chunks_exact(row_len).enumerate() {
        let hash = key_hash(stream.schema.canonical_bytes(row, stream.key));
        parts[shard_of(group_of(hash), shards)].push(index as u32);
    }
    let parts = parts
        .into_iter()
        .enumerate()
        .filter(|(_, indexes)| !indexes.is_empty());
    parts
        .map(|(shard, indexes)| {
            let whole = indexes.len() == count;
            (
                shard,
                if whole {
                    PartRows::All(count)
                } else {
                    PartRows::Some(indexes)
                },
            )
        })
        .collect()
}

/// Most rows in one record whose body may have `body_bytes_max` bytes, offsets included.
pub(super) fn chunk_rows_max(row_len: usize, body_bytes_max: usize) -> usize {
    // Offsets are padded to eight bytes, which may cost one more than there are rows.
    let room = body_bytes_max.saturating_sub(SubBatchHeader::BYTES + 4);
    (room.min(CHUNK_ROWS_BYTES_MAX) / (row_len + 4)).clamp(1, BATCH_EVENTS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_chunk_fits_its_record() {
        for row_len in [8, 64, 1024] {
            for body_bytes_max in [4096, 16 * 1024, 1 << 20] {
                let rows = chunk_rows_max(row_len, body_bytes_max);
                let bytes =
                    SubBatchHeader::BYTES + SubBatchHeader::offsets_bytes(rows) + rows * row_len;
                assert!(
                    bytes <= body_bytes_max,
                    "{row_len} {body_bytes_max}: {bytes}"
                );
            }
        }
    }

    #[test]
    fn contiguous_ranges_are_told_from_gaps() {
        let part = PartRows::Some(vec![2, 3, 4, 7]);
        assert!(part.is_contiguous(0, 3));
        assert!(!part.is_contiguous(0, 4));
        assert!(part.is_contiguous(3, 1));
        assert!(PartRows::All(9).is_contiguous(0, 9));
    }
}
