//! The engine simulator: every core of an engine in one thread, through the very turn that runs in
//! production, on a simulated disk, simulated sockets and a clock that the seed moves.
//!
//! `RINGMILL_SIM_SEEDS` is the number of seeds, `RINGMILL_SIM_SEED` the first one. A failure
//! prints its seed; running that one seed alone gives the same run.
#![allow(clippy::unwrap_used)] // Helpers of tests, but not test functions themselves.

mod boards;
mod book;
mod check;
mod client;
mod control;
mod corrections;
mod cover;
mod engine;
mod model;
mod plan;
mod run;

use std::panic::{AssertUnwindSafe, catch_unwind};

use cover::Cover;
use run::{Outcome, run};

fn from_env(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a number of seeds or a seed"))
}

/// Seeds of the default run, over which every coverage point must be hit.
const SEEDS: u64 = 800;

#[test]
fn every_seed_keeps_its_promises() {
    let first = from_env("RINGMILL_SIM_SEED");
    let seeds = from_env("RINGMILL_SIM_SEEDS").unwrap_or(if first.is_some() { 1 } else { SEEDS });
    let first = first.unwrap_or(0);
    let mut cover = Cover::default();
    let mut total = Outcome::default();
    let mut failed = Vec::new();
    for seed in first..first + seeds {
        match catch_unwind(AssertUnwindSafe(|| run(seed, &mut cover))) {
            Ok(Ok(outcome)) => total.add(&outcome),
            Ok(Err(error)) => failed.push(format!("seed {seed}: {error}")),
            Err(_) => failed.push(format!("seed {seed}: panicked, see above")),
        }
    }
    println!("{seeds} seeds from {first}: {total:?}\n{cover}");
    assert!(
        failed.is_empty(),
        "{} of {seeds} seeds failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
    if seeds >= SEEDS {
        assert!(
            cover.missed().is_empty(),
            "never reached: {:?}",
            cover.missed()
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let first = from_env("RINGMILL_SIM_SEED").unwrap_or(0);
    for seed in first..first + 15 {
        let again = || run(seed, &mut Cover::default()).map(|outcome| outcome.trace);
        assert_eq!(again(), again(), "seed {seed}");
    }
}
