//! Members whose words are equal stand in the order of their names, whatever their ids.

use super::{AIM_CHUNK, Aim, RankIndex};
use crate::partition::key_hash;
use crate::table::KeyTable;

fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The index against a sorted vector of (words, name).
fn compare(index: &RankIndex<2>, names: &KeyTable, words: &[Option<[u64; 2]>], note: &str) {
    let ids = (0..words.len()).filter_map(|id| Some((words[id]?, names.key(id as u32), id as u32)));
    let mut sorted: Vec<_> = ids.collect();
    sorted.sort_unstable();
    let expected: Vec<u32> = sorted.iter().map(|&(_, _, id)| id).collect();
    let mut all = Vec::new();
    index.range_by(0, usize::MAX, names, &mut all);
    assert_eq!(all, expected, "{note}");
    for (rank, &(words, name, id)) in sorted.iter().enumerate().step_by(7) {
        assert_eq!(index.rank_by(id, names), Some(rank as u64), "{note}");
        assert_eq!(
            index.count_better_named(&words, name, names),
            rank as u64,
            "{note}"
        );
        let mut behind = name.to_vec();
        behind.push(0);
        let better = index.count_better_named(&words, &behind, names);
        assert_eq!(better, rank as u64 + 1, "{note}");
        let better = sorted.partition_point(|&(other, _, _)| other < words);
        assert_eq!(index.count_better(&words), better as u64, "{note}");
    }
}

#[test]
fn equal_words_are_ordered_by_name() {
    for seed in 0..3 {
        let mut random = seed;
        let mut names = KeyTable::varying(24);
        let mut words = Vec::new();
        let mut index = RankIndex::<2>::new();
        while words.len() < 9_000 {
            let name = format!("member-{:05}", next(&mut random) % 100_000);
            let (id, added) = names.find_or_insert(key_hash(name.as_bytes()), name.as_bytes());
            if added {
                assert_eq!(id as usize, words.len());
                words.push(None);
            }
        }
        for round in 0..40 {
            let mut updates = Vec::new();
            for _ in 0..1_000 {
                let id = (next(&mut random) % words.len() as u64) as u32;
                // Nearly all have the same words.
                let score = u64::from(next(&mut random).is_multiple_of(50));
                updates.push((id, [score, 5]));
            }
            for chunk in updates.chunks(AIM_CHUNK) {
                let mut aims = [Aim::NONE; AIM_CHUNK];
                for (aim, (id, to)) in aims.iter_mut().zip(chunk) {
                    *aim = index.aim(*id, to, &names);
                }
                for (aim, (id, to)) in aims.iter().zip(chunk) {
                    index.update_aimed(*id, to, *aim, &names);
                    words[*id as usize] = Some(*to);
                }
            }
            let gone = (next(&mut random) % words.len() as u64) as u32;
            assert_eq!(index.remove(gone), words[gone as usize].take().is_some());
            index.check_by(&names);
            if round % 8 == 7 {
                compare(
                    &index,
                    &names,
                    &words,
                    &format!("seed {seed} round {round}"),
                );
            }
        }
    }
}
