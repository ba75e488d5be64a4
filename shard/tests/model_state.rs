//! The whole state of one or more shards against the oracle, live, replayed and re-laid.

mod model;

use model::generate::random_pipeline;
use model::random::Random;
use model::world::World;

fn from_env(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a seed or a number of seeds"))
}

/// Seeds of a test: so many, unless `RINGMILL_MODEL_SEEDS` says how many and `RINGMILL_MODEL_SEED`
/// which is the first.
fn seeds(default: u64) -> std::ops::Range<u64> {
    let first = from_env("RINGMILL_MODEL_SEED");
    let count = from_env("RINGMILL_MODEL_SEEDS");
    let count = count.unwrap_or(if first.is_some() { 1 } else { default });
    let first = first.unwrap_or(0);
    first..first + count
}

fn run(seed: u64, shards: &[usize], steps: usize) -> World {
    let mut random = Random(seed.wrapping_mul(0x5851_f42d_4c95_7f2d) ^ 1);
    let pipeline = random_pipeline(&mut random);
    let mut world = World::new("random pipeline", pipeline, shards[0], seed);
    world.keys = *random.pick(&[3, 24, 200]);
    for &next in &shards[1..] {
        for _ in 0..steps {
            world.step();
        }
        world.check();
        world.change_shards(next);
        world.check();
    }
    for _ in 0..steps {
        world.step();
    }
    world.check();
    world
}

#[test]
fn one_shard_equals_the_oracle() {
    let mut duplicates = 0;
    for seed in seeds(40) {
        duplicates += run(seed, &[1], 120).duplicates;
    }
    assert!(duplicates > 0, "the world must retry");
}

#[test]
fn two_and_five_shards_equal_the_oracle() {
    for seed in seeds(25) {
        run(seed, &[2], 120);
        run(seed, &[5], 120);
    }
}

#[test]
fn a_change_of_shards_keeps_everything_and_dedupes_across_it() {
    for seed in seeds(20) {
        run(seed, &[2, 3], 60);
        run(seed, &[5, 1, 4], 50);
        run(seed, &[1, 5, 2, 2], 40);
    }
}

/// Numbers of shards that a store is opened with, one after the other.
const SHARDS: [&[usize]; 9] = [
    &[1],
    &[2],
    &[5],
    &[1, 5],
    &[2, 1],
    &[5, 2],
    &[2, 2],
    &[1, 2, 5],
    &[5, 1, 2],
];

/// The count that is asked of a release is `make model-10000`.
#[test]
fn random_pipelines_show_no_difference() {
    let seeds = seeds(45);
    let (mut differ, mut duplicates) = (Vec::new(), 0);
    for seed in seeds.clone() {
        let shards = SHARDS[(seed % SHARDS.len() as u64) as usize];
        let steps = 100 / shards.len();
        match std::panic::catch_unwind(|| run(seed, shards, steps).duplicates) {
            Ok(retried) => duplicates += retried,
            Err(_) => differ.push(seed),
        }
    }
    let count = seeds.end - seeds.start;
    println!(
        "{count} random pipelines, {duplicates} duplicates, {} differ",
        differ.len()
    );
    assert!(
        differ.is_empty(),
        "seeds that differ, told above: {differ:?}"
    );
}
