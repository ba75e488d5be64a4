//! From a key to the shard that owns it.
//!
//! XXH3-64 with seed 0 over the canonical bytes of the key is a format: clients may route by it,
//! and the log keeps each shard's groups. The group comes from the middle bits, because hash tables
//! take their tag from the top bits and their bucket from the low ones.

use crate::limits::GROUPS;

/// Bit of the hash at which the group begins.
const GROUP_SHIFT: u32 = 40;

/// The routing hash of a key's canonical bytes.
#[inline]
pub fn key_hash(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}

/// The group of a hash: its bits 40 to 51.
#[inline]
pub fn group_of(hash: u64) -> u16 {
    ((hash >> GROUP_SHIFT) as usize & (GROUPS - 1)) as u16
}

/// The shard that owns `group` when a store has `shards` of them. Contiguous ranges of groups,
/// which differ in length by at most one.
///
/// `shards` must be at least 1 and at most [`crate::limits::SHARDS_MAX`].
#[inline]
pub fn shard_of(group: u16, shards: usize) -> usize {
    debug_assert!((1..=crate::limits::SHARDS_MAX).contains(&shards));
    debug_assert!(usize::from(group) < GROUPS);
    usize::from(group) * shards / GROUPS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_contiguous_and_even() {
        for shards in [1usize, 2, 3, 5, 7, 64, 1000, 1024] {
            let mut counts = vec![0usize; shards];
            let mut previous = 0;
            for group in 0..GROUPS as u16 {
                let shard = shard_of(group, shards);
                assert!(shard == previous || shard == previous + 1);
                previous = shard;
                counts[shard] += 1;
            }
            let least = counts.iter().min().unwrap();
            let most = counts.iter().max().unwrap();
            assert!(most - least <= 1, "{shards} shards: {least} to {most}");
        }
    }

    #[test]
    fn pinned_vectors() {
        let one = 1u64.to_le_bytes();
        let million = 1_000_000u64.to_le_bytes();
        let long = [0xa5u8; 255];
        // The first three are published test vectors of XXH3-64; each length takes another path.
        let vectors: [(&[u8], u64, u16); 8] = [
            (b"", 0x2d06_8005_38d3_94c2, 1664),
            (b"a", 0xe6c6_32b6_1e96_4e1f, 1586),
            (b"abc", 0x78af_5f94_892f_3950, 3935),
            (&one, 0x2fbc_5935_64db_792e, 3161),
            (&million, 0x2c27_ac07_1308_6960, 1964),
            (b"N14228", 0x045b_f808_ce81_96a6, 3064),
            (b"00000000-0000-00", 0x1997_52b2_ef87_d343, 1874),
            (&long, 0xccd6_cb12_e28c_00a7, 1739),
        ];
        for (bytes, hash, group) in vectors {
            assert_eq!(key_hash(bytes), hash, "{bytes:?}");
            assert_eq!(group_of(hash), group, "{bytes:?}");
        }
    }
}
