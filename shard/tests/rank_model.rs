//! `RankIndex` against a plain sorted vector.

use proptest::prelude::*;
use ringmill_shard::rank::{RankIndex, Tie};
use std::collections::BTreeMap;

/// A score and what decides between equal ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct OrderKey {
    sort_key: u64,
    tie: Tie,
}

impl OrderKey {
    fn words(&self) -> [u64; 3] {
        let [stamp, minor] = self.tie.words();
        [self.sort_key, stamp, minor]
    }

    fn from_words([sort_key, stamp, minor]: [u64; 3]) -> Self {
        let tie = Tie::from_words([stamp, minor]);
        Self { sort_key, tie }
    }
}

/// The obviously right index: all keys in one sorted vector.
#[derive(Default)]
struct Model {
    keys: BTreeMap<u32, OrderKey>,
}

impl Model {
    fn sorted(&self) -> Vec<(OrderKey, u32)> {
        let mut all: Vec<_> = self
            .keys
            .iter()
            .map(|(&member, &key)| (key, member))
            .collect();
        all.sort_unstable();
        all
    }
}

/// A small reproducible generator, so that a failure's seed is enough to repeat it.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

fn tie(n: u64) -> Tie {
    Tie {
        stamp_ns: n / 7,
        log_stream: (n % 3) as u32,
        index: (n % 7) as u32,
    }
}

fn compare(index: &RankIndex<3>, model: &Model, random: &mut Random, note: &str) {
    index.check();
    let sorted = model.sorted();
    let members = sorted.len() as u64;
    assert_eq!(index.len(), members, "{note}");
    let mut all = Vec::new();
    index.range(0, usize::MAX, &mut all);
    let expected: Vec<u32> = sorted.iter().map(|&(_, member)| member).collect();
    assert_eq!(all, expected, "{note}");
    for _ in 0..40.min(members) {
        let rank = random.below(members);
        let (key, member) = sorted[rank as usize];
        assert_eq!(index.rank(member), Some(rank), "{note}");
        assert_eq!(index.get(member), Some(key.words()), "{note}");
        let better = sorted.partition_point(|(other, _)| *other < key);
        assert_eq!(index.count_better(&key.words()), better as u64, "{note}");

        let n = random.below(30) as usize;
        let mut page = Vec::new();
        index.range(rank, n, &mut page);
        let end = (rank as usize + n).min(sorted.len());
        assert_eq!(page, expected[rank as usize..end], "{note}");

        let mut around = Vec::new();
        let (above, better) = index.neighbours(&key.words(), n, n + 1, &mut around);
        assert_eq!(above as u64, better.min(n as u64), "{note}");
        let first = better as usize - above;
        let end = (better as usize + n + 1).min(sorted.len());
        assert_eq!(around, expected[first..end], "{note}");
    }
    for key in [
        OrderKey::default(),
        OrderKey {
            sort_key: u64::MAX,
            tie: Tie {
                stamp_ns: u64::MAX,
                log_stream: 9,
                index: 9,
            },
        },
        OrderKey {
            sort_key: random.next(),
            tie: tie(random.below(9)),
        },
    ] {
        let better = sorted.partition_point(|(other, _)| *other < key);
        assert_eq!(index.count_better(&key.words()), better as u64, "{note}");
    }
}

/// Runs `ops` operations drawn by `draw` and compares every so often.
fn run(name: &str, seed: u64, ops: u64, members: u64, draw: impl Fn(&mut Random, u64) -> u64) {
    let mut random = Random(seed);
    let (mut index, mut model) = (RankIndex::new(), Model::default());
    for op in 0..ops {
        let member = random.below(members) as u32;
        if random.below(20) == 0 {
            assert_eq!(index.remove(member), model.keys.remove(&member).is_some());
        } else {
            let key = OrderKey {
                sort_key: draw(&mut random, op),
                tie: tie(op),
            };
            index.update(member, &key.words());
            model.keys.insert(member, key);
        }
        if op % (ops / 12) == 0 || op + 1 == ops {
            compare(
                &index,
                &model,
                &mut random,
                &format!("{name} seed {seed} op {op}"),
            );
        }
    }
}

#[test]
fn random_scores() {
    for seed in 0..4 {
        run("random", seed, 40_000, 6_000, |random, _| random.next());
    }
}

#[test]
fn massive_ties() {
    for seed in 0..4 {
        run("one score", seed, 30_000, 5_000, |_, _| 7);
        run("two scores", seed, 30_000, 5_000, |random, _| {
            random.below(2) * u64::MAX
        });
        run("few scores", seed, 60_000, 9_000, |random, _| {
            random.below(40)
        });
    }
}

#[test]
fn extremes_of_the_sort_key() {
    for seed in 0..3 {
        run("extremes", seed, 30_000, 4_000, |random, _| {
            match random.below(6) {
                0 => 0,
                1 => 1,
                2 => u64::MAX,
                3 => u64::MAX - 1,
                4 => 1 << 63,
                _ => (1 << 63) - 1,
            }
        });
    }
}

#[test]
fn rising_and_falling_scores() {
    run("rising", 1, 60_000, 9_000, |_, op| op);
    run("falling", 2, 60_000, 9_000, |_, op| u64::MAX - op);
    run("drifting", 3, 90_000, 9_000, |random, op| {
        op * 3 + random.below(1_000)
    });
    run("narrow", 4, 60_000, 3_000, |random, op| {
        op / 20_000 * 1_000_000 + random.below(50)
    });
}

#[test]
fn equal_order_keys_fall_back_to_the_member() {
    let mut index = RankIndex::new();
    for member in (0..3_000).rev() {
        index.update(member, &[5, 0, 0]);
    }
    index.check();
    let mut all = Vec::new();
    index.range(0, usize::MAX, &mut all);
    assert!(all.iter().copied().eq(0..3_000));
    assert_eq!(index.rank(1_234), Some(1_234));
    let key = index.get(9).unwrap();
    assert_eq!(index.count_better(&key), 0, "equal keys are not better");
}

/// Arrivals of one batch share score and stamp; so may a member that was there all along.
#[test]
fn a_member_that_rose_in_place_goes_with_the_arrivals_that_equal_it() {
    let (mut index, mut model) = (RankIndex::new(), Model::default());
    let mut set = |member: u32, words: [u64; 3]| {
        index.update(member, &words);
        model.keys.insert(member, OrderKey::from_words(words));
    };
    for member in 0..700 {
        set(member, [5, u64::from(member), 0]);
    }
    set(0, [7, 100_000, 0]);
    for member in 700..1_500 {
        set(member, [7, 100_000, u64::from(member)]);
    }
    compare(&index, &model, &mut Random(1), "risen in place");
}

#[test]
fn growth_and_complete_removal() {
    let mut index = RankIndex::new();
    for round in 0..3_u64 {
        for member in 0..30_000_u32 {
            let sort_key = u64::from(member).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let tie = tie(round);
            index.update(member, &OrderKey { sort_key, tie }.words());
        }
        index.check();
        assert_eq!(index.len(), 30_000);
        for member in 0..30_000_u32 {
            assert!(index.remove((member * 7_919) % 30_000));
        }
        index.check();
        assert!(index.is_empty() && index.rank(5).is_none());
    }
}

#[test]
fn a_batch_is_the_same_as_its_updates_one_by_one() {
    let mut random = Random(11);
    let (mut one, mut other) = (RankIndex::new(), RankIndex::new());
    for round in 0..200 {
        let batch: Vec<_> = (0..50)
            .map(|i| {
                let (member, sort_key) = (random.below(500) as u32, random.below(90));
                let tie = tie(round * 50 + i);
                (member, OrderKey { sort_key, tie }.words())
            })
            .collect();
        one.update_batch(&batch);
        for (member, words) in &batch {
            other.update(*member, words);
        }
    }
    let (mut a, mut b) = (Vec::new(), Vec::new());
    one.range(0, 500, &mut a);
    other.range(0, 500, &mut b);
    assert_eq!(a, b);
}

#[derive(Debug, Clone)]
enum Op {
    Update(u16, u8, u8),
    Remove(u16),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        12 => (0..700_u16, any::<u8>(), any::<u8>()).prop_map(|(m, s, t)| Op::Update(m, s, t)),
        1 => (0..700_u16).prop_map(Op::Remove),
    ];
    prop::collection::vec(op, 0..4_000)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_operations_agree_with_a_sorted_vector(ops in ops(), coarse in 1..60_u64) {
        let (mut index, mut model) = (RankIndex::new(), Model::default());
        for op in ops {
            match op {
                Op::Update(member, score, tie) => {
                    let tie = Tie { stamp_ns: u64::from(tie / 16), log_stream: 0, index: 0 };
                    let key = OrderKey { sort_key: u64::from(score) / coarse, tie };
                    index.update(u32::from(member), &key.words());
                    model.keys.insert(u32::from(member), key);
                }
                Op::Remove(member) => {
                    let was = index.remove(u32::from(member));
                    prop_assert_eq!(was, model.keys.remove(&u32::from(member)).is_some());
                }
            }
        }
        compare(&index, &model, &mut Random(coarse), "proptest");
    }
}
