//! The whole state of one or more shards against the oracle, live, replayed and re-laid.

mod model;

use model::generate::random_pipeline;
use model::random::Random;
use model::world::World;

/// Seeds per test; `RINGMILL_MODEL_SEEDS` asks for more, `RINGMILL_MODEL_SEED` for one.
fn seeds(default: u64) -> std::ops::Range<u64> {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|v| v.parse::<u64>().expect("a number"))
    };
    match (
        number("RINGMILL_MODEL_SEED"),
        number("RINGMILL_MODEL_SEEDS"),
    ) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(count)) => 0..count,
        (None, None) => 0..default,
    }
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
