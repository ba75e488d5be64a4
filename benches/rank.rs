//! The rank index beside a tree: updates, ranks, the top, at a million members.
//!
//! Members are drawn evenly and gain 0 to 99 points each time, as on a board of sums; equal scores
//! are ordered by who reached them first.
//!
//! * `update`: `one_by_one` calls `RankIndex::update`, `batch_of_50` `update_batch`, which reads
//!   ahead. The tree removes and inserts.
//! * `rank`: the rank of a random member. A tree has no ranks: it counts from the front.
//! * `top_10`: the ten best members.
//!
//! At the end of the updates both orders are compared, all of them.

use std::cell::RefCell;
use std::collections::BTreeSet;

use ringmill_benches::{Bench, Better, Sample, mix};
use ringmill_shard::rank::RankIndex;

mod hunt;
use hunt::{BATCH_ROWS, Random};

const TOP: usize = 10;

fn main() {
    let mut bench = Bench::start("rank");
    bench.setup().pin(0);
    let members = bench.size(1_000_000, 5_000);
    let boards = Boards {
        tree: RefCell::new(Board::new(members)),
        single: RefCell::new(Board::new(members)),
        batch: RefCell::new(Board::new(members)),
    };
    let gains = gains(members, bench.size(5_000_000, 5_000));
    update(&mut bench, &boards, &gains);
    boards.compare();
    rank(&mut bench, &boards, members);
    top(&mut bench, &boards);
    bench.finish();
}

/// Who gains how much, event by event.
fn gains(members: usize, count: usize) -> Vec<(u32, u32)> {
    let mut random = Random(3);
    let gain = |draw: u64| ((draw % members as u64) as u32, (draw >> 40) as u32 % 100);
    (0..count).map(|_| gain(random.next())).collect()
}

/// An order of members by score, most points first, then who reached them first.
trait Order: Default {
    fn set(&mut self, member: u32, from: Option<(u64, u64)>, to: (u64, u64));
}

/// `(!score, event, member)`, best first.
type Tree = BTreeSet<(u64, u64, u32)>;

impl Order for Tree {
    #[inline]
    fn set(&mut self, member: u32, from: Option<(u64, u64)>, to: (u64, u64)) {
        if let Some((key, reached)) = from {
            self.remove(&(key, reached, member));
        }
        self.insert((to.0, to.1, member));
    }
}

impl Order for RankIndex<3> {
    #[inline]
    fn set(&mut self, member: u32, _: Option<(u64, u64)>, (key, reached): (u64, u64)) {
        self.update(member, &[key, reached, 0]);
    }
}

/// The scores of all members, and an order of them.
struct Board<O> {
    order: O,
    /// Sort key, and the event that reached it. A sort key is the complement of the score.
    keys: Vec<(u64, u64)>,
    events: u64,
}

impl<O: Order> Board<O> {
    /// Everybody has some points already, up to a thousand times the average gain.
    fn new(members: usize) -> Board<O> {
        let mut board = Board {
            order: O::default(),
            keys: Vec::with_capacity(members),
            events: 0,
        };
        let mut random = Random(4);
        for member in 0..members {
            board.events += 1;
            let key = (!(random.next() % 50_000), board.events);
            board.keys.push(key);
            board.order.set(member as u32, None, key);
        }
        board
    }

    /// The member's keys before and after a gain; none if that changes nothing.
    #[inline]
    fn gain(&mut self, (member, points): (u32, u32)) -> Option<((u64, u64), (u64, u64))> {
        self.events += 1;
        if points == 0 {
            return None;
        }
        let key = &mut self.keys[member as usize];
        let before = *key;
        *key = (before.0 - u64::from(points), self.events);
        Some((before, *key))
    }

    fn run(&mut self, gains: &[(u32, u32)]) {
        for &gain in gains {
            if let Some((from, to)) = self.gain(gain) {
                self.order.set(gain.0, Some(from), to);
            }
        }
    }

    /// The sum of all points gained by `run`, as a hash.
    fn measure(&mut self, gains: usize, run: impl FnOnce(&mut Self)) -> Sample {
        let before = self.points();
        let sample = Sample::millions_per_s(gains, || {
            run(self);
            0
        });
        Sample::new(sample.value, mix(1, self.points() - before))
    }

    fn points(&self) -> u64 {
        self.keys.iter().map(|(key, _)| !key).sum()
    }
}

impl Board<RankIndex<3>> {
    fn run_batches(&mut self, gains: &[(u32, u32)]) {
        let mut updates = Vec::with_capacity(BATCH_ROWS);
        for batch in gains.chunks(BATCH_ROWS) {
            updates.clear();
            for &gain in batch {
                if let Some((_, (key, reached))) = self.gain(gain) {
                    updates.push((gain.0, [key, reached, 0]));
                }
            }
            self.order.update_batch(&updates);
        }
    }
}

struct Boards {
    tree: RefCell<Board<Tree>>,
    single: RefCell<Board<RankIndex<3>>>,
    batch: RefCell<Board<RankIndex<3>>>,
}

impl Boards {
    /// All three hold the same members in the same order.
    fn compare(&self) {
        let (tree, single, batch) = (
            self.tree.borrow(),
            self.single.borrow(),
            self.batch.borrow(),
        );
        if tree.events != single.events || tree.events != batch.events {
            return; // A filter on the command line kept some group from running.
        }
        let expected: Vec<u32> = tree.order.iter().map(|&(_, _, member)| member).collect();
        for board in [&single, &batch] {
            let mut found = Vec::with_capacity(expected.len());
            board.order.range(0, expected.len(), &mut found);
            assert!(found == expected, "the orders differ");
        }
    }
}

fn update(bench: &mut Bench, boards: &Boards, gains: &[(u32, u32)]) {
    let count = gains.len();
    let mut group = bench.group("update", "M/s", Better::Higher);
    group.same_results();
    group.baseline("tree", || {
        let mut board = boards.tree.borrow_mut();
        board.measure(count, |board| board.run(gains))
    });
    group.row("one_by_one", || {
        let mut board = boards.single.borrow_mut();
        board.measure(count, |board| board.run(gains))
    });
    group.row("batch_of_50", || {
        let mut board = boards.batch.borrow_mut();
        board.measure(count, |board| board.run_batches(gains))
    });
    group.run();
}

fn rank(bench: &mut Bench, boards: &Boards, members: usize) {
    let (few, many) = (bench.size(20, 5), bench.size(200_000, 1_000));
    let mut random = Random(5);
    let asked: Vec<u32> = (0..many)
        .map(|_| (random.next() % members as u64) as u32)
        .collect();
    let (tree, index) = (boards.tree.borrow(), boards.single.borrow());
    let by_tree = |member: u32| {
        let (key, reached) = tree.keys[member as usize];
        tree.order.range(..(key, reached, member)).count() as u64
    };
    let by_index = |member: u32| index.order.rank(member).expect("everybody has a score");
    if tree.events == index.events {
        for &member in &asked[..few] {
            assert_eq!(by_tree(member), by_index(member), "rank of {member}");
        }
    }
    let hash = |members: &[u32], of: &dyn Fn(u32) -> u64| {
        members
            .iter()
            .fold(1, |hash, &member| mix(hash, of(member)))
    };
    let mut group = bench.group("rank", "ns", Better::Lower);
    group.baseline("tree_counts", || {
        Sample::ns_per_op(few, || hash(&asked[..few], &by_tree))
    });
    group.row("index", || {
        Sample::ns_per_op(many, || hash(&asked, &by_index))
    });
    group.run();
}

fn top(bench: &mut Bench, boards: &Boards) {
    let reads = bench.size(100_000, 100);
    let (tree, index) = (boards.tree.borrow(), boards.single.borrow());
    let mut out = Vec::with_capacity(TOP);
    let mut group = bench.group("top_10", "ns", Better::Lower);
    if tree.events == index.events {
        group.same_results();
    }
    group.baseline("tree", || {
        Sample::ns_per_op(reads, || {
            (0..reads).fold(1, |hash, _| {
                let best = std::hint::black_box(&tree.order).iter().take(TOP);
                best.fold(hash, |hash, &(_, _, member)| mix(hash, u64::from(member)))
            })
        })
    });
    group.row("index", || {
        Sample::ns_per_op(reads, || {
            (0..reads).fold(1, |hash, _| {
                out.clear();
                std::hint::black_box(&index.order).range(0, TOP, &mut out);
                out.iter()
                    .fold(hash, |hash, &member| mix(hash, u64::from(member)))
            })
        })
    });
    group.run();
}
