//! `KeyTable` against a `HashMap`, and the bound of its worst insert.

use ringmill_shard::partition::key_hash;
use ringmill_shard::table::KeyTable;
use std::collections::HashMap;

fn mixed(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn key_bytes(n: u64, longest: usize) -> Vec<u8> {
    let length = (mixed(n) % (longest as u64 + 1)) as usize;
    (0..length)
        .map(|i| (mixed(n + i as u64) % 3) as u8)
        .collect()
}

#[test]
fn agrees_with_a_hash_map_on_texts() {
    let (mut table, mut model) = (KeyTable::varying(11), HashMap::new());
    for n in 0..200_000 {
        let key = key_bytes(mixed(n) % 60_000, 11);
        let known = model.len() as u32;
        let id = *model.entry(key.clone()).or_insert(known);
        assert_eq!(
            table.find(key_hash(&key), &key).is_some(),
            id != known,
            "op {n}"
        );
        assert_eq!(
            table.find_or_insert(key_hash(&key), &key),
            (id, id == known),
            "op {n}"
        );
    }
    assert_eq!(table.len(), model.len());
    for (key, id) in model {
        assert_eq!(table.find(key_hash(&key), &key), Some(id));
        assert_eq!(table.key(id), key);
    }
    assert_eq!(table.find(key_hash(b"absent"), b"absent"), None);
}

#[test]
fn agrees_with_a_hash_map_on_numbers_in_batches() {
    let (mut table, mut model) = (KeyTable::fixed_u64(), HashMap::new());
    let mut out = Vec::new();
    for batch in 0..6_000_u64 {
        let keys: Vec<[u8; 8]> = (0..50)
            .map(|i| (mixed(batch * 50 + i) % 90_000).to_le_bytes())
            .collect();
        let hashes: Vec<u64> = keys.iter().map(|key| key_hash(key)).collect();
        table.lookup_batch(&hashes, |i| &keys[i], &mut out);
        for (key, &id) in keys.iter().zip(&out) {
            let known = model.len() as u32;
            assert_eq!(*model.entry(*key).or_insert(known), id);
        }
    }
    for (key, id) in model {
        assert_eq!(table.key(id), key);
    }
}

#[test]
fn different_keys_of_one_hash_stay_apart() {
    let mut table = KeyTable::varying(8);
    let ids: Vec<u32> = (0..40_u8)
        .map(|n| table.find_or_insert(77, &[n]).0)
        .collect();
    assert!(ids.iter().copied().eq(0..40));
    assert!((0..40_u8).all(|n| table.find(77, &[n]) == Some(u32::from(n))));
}

#[test]
fn keys_that_share_hash_bits_do_not_blow_up_the_directory() {
    // Same bits 12 and up: such a segment can not be split, only doubled.
    let mut table = KeyTable::varying(8);
    for n in 0..4_096_u64 {
        table.find_or_insert(0x5555_5555_5555_5000 | n, &n.to_le_bytes());
    }
    for n in 0..20_000_u64 {
        table.find_or_insert(mixed(n), &(n + 4_096).to_le_bytes());
    }
    for n in 0..4_096_u64 {
        assert_eq!(
            table.find(0x5555_5555_5555_5000 | n, &n.to_le_bytes()),
            Some(n as u32)
        );
    }
    assert!(table.directory_len() <= 1_024, "{}", table.directory_len());
}

#[test]
fn no_insert_moves_more_than_one_segment() {
    let mut table = KeyTable::fixed_u64();
    let mut worst = 0;
    for n in 0..300_000_u64 {
        let before = table.moved();
        let key = n.to_le_bytes();
        table.find_or_insert(key_hash(&key), &key);
        worst = worst.max(table.moved() - before);
    }
    assert!(
        worst > 0 && worst <= 2 * 2_048,
        "an insert moved {worst} entries"
    );
}

/// Undoes XXH3-64 of 8 bytes step by step. That this is possible is what lets a table of 8-byte
/// keys compare hashes instead of keys.
#[test]
fn the_hash_of_eight_bytes_can_be_undone() {
    fn inverse(odd: u64) -> u64 {
        let mut x = odd;
        for _ in 0..6 {
            x = x.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(x)));
        }
        x
    }
    const PRIME_MX2: u64 = 0x9fb2_1c65_1e98_df25;
    // The last step before the secret is mixed in; the secret is the same for all inputs, so it
    // cancels in the difference of two of them.
    let undo = |hash: u64| {
        let mut h = hash ^ (hash >> 28) ^ (hash >> 56);
        h = h.wrapping_mul(inverse(PRIME_MX2));
        h ^= (h >> 35).wrapping_add(8);
        h = h.wrapping_mul(inverse(PRIME_MX2));
        // The inverse of x ^ rotl(x, 49) ^ rotl(x, 24): its 64th power is the identity.
        let once = |x: u64| x ^ x.rotate_left(49) ^ x.rotate_left(24);
        let x = (0..63).fold(h, |x, _| once(x));
        x.rotate_left(32)
    };
    let base = undo(key_hash(&0_u64.to_le_bytes()));
    for n in 0..20_000_u64 {
        let key = if n < 1_000 { n } else { mixed(n) };
        assert_eq!(undo(key_hash(&key.to_le_bytes())) ^ base, key);
    }
}

#[test]
fn removed_keys_are_gone_and_their_ids_used_again() {
    let mut table = KeyTable::varying(11);
    let mut model: HashMap<Vec<u8>, u32> = HashMap::new();
    let mut most = 0;
    for n in 0..300_000 {
        let key = key_bytes(mixed(n) % 9_000, 11);
        let hash = key_hash(&key);
        if mixed(n + 1).is_multiple_of(2) {
            let (id, added) = table.find_or_insert(hash, &key);
            assert_eq!(added, !model.contains_key(&key), "op {n}");
            assert_eq!(*model.entry(key).or_insert(id), id, "op {n}");
        } else if let Some(id) = model.remove(&key) {
            table.remove(hash, id);
            assert_eq!(table.find(hash, &key), None, "op {n}");
        }
        most = most.max(model.len());
    }
    assert_eq!(table.len(), most, "no more ids than keys at one time");
    for (key, id) in model {
        assert_eq!(table.find(key_hash(&key), &key), Some(id));
        assert_eq!(table.key(id), key);
    }
}

#[test]
fn removing_keeps_keys_of_one_probe_sequence_reachable() {
    // All of one hash, so that every removal leaves a hole in the middle of a sequence.
    let mut table = KeyTable::fixed(1);
    for round in 0..50_u8 {
        let ids: Vec<u32> = (0..40).map(|n| table.find_or_insert(77, &[n]).0).collect();
        for n in (0..40).filter(|n| (n + round).is_multiple_of(3)) {
            table.remove(77, ids[usize::from(n)]);
        }
        for n in 0..40 {
            let there = !(n + round).is_multiple_of(3);
            assert_eq!(
                table.find(77, &[n]).is_some(),
                there,
                "round {round} key {n}"
            );
        }
    }
}
