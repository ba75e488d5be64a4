//! The crash simulator: seeded lives of a log on the simulated disk, held against an oracle.
//!
//! `RINGMILL_SIM_SEEDS` is the number of seeds, `RINGMILL_SIM_SEED` the first one. A failure
//! prints its seed; running that one seed alone gives the same run.

mod damage;
mod entries;
mod oracle;
mod planted;
mod run;

use ringmill_storage::recovery::Next;
use run::{Outcome, run};

fn from_env(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().expect("a number of seeds or a seed"),
        Err(_) => default,
    }
}

#[test]
fn every_seed_keeps_its_promises() {
    let first = from_env("RINGMILL_SIM_SEED", 0);
    let seeds = from_env("RINGMILL_SIM_SEEDS", 20_000);
    let mut total = Outcome::default();
    for seed in first..first + seeds {
        let outcome = run(seed).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        total.operations += outcome.operations;
        total.opens += outcome.opens;
        total.crashes += outcome.crashes;
        total.entries += outcome.entries;
        total.torn += outcome.torn;
        total.dropped += outcome.dropped;
        total.failed += outcome.failed;
        total.closed += outcome.closed;
        total.rolled += outcome.rolled;
        total.trace += u64::from(outcome.refused);
        total.ends.extend(outcome.ends);
        total.refusals.extend(outcome.refusals);
    }
    println!("{seeds} seeds from {first}: {total:?} (trace counts refusals)");
    if seeds >= 10_000 {
        check_coverage(&total, seeds);
    }
}

/// Rows of the truth table that the runs must have met, or they prove less than they seem to.
fn check_coverage(total: &Outcome, seeds: u64) {
    let counts = [total.torn, total.failed, total.closed, total.trace as u32];
    assert!(
        counts.iter().all(|&count| count > 0),
        "every kind of end occurs: {total:?}"
    );
    assert!(total.dropped > 0 && total.rolled > seeds, "{total:?}");
    for end in [
        Next::Zero,
        Next::LowerSegment,
        Next::TornPayload,
        Next::Rubbish,
    ] {
        assert!(total.ends.contains(&end), "no log ended with {end:?}");
    }
    for found in [
        Next::Zero,
        Next::TornPayload,
        Next::Rubbish,
        Next::Contradiction,
    ] {
        assert!(
            total.refusals.iter().any(|(next, _)| *next == found),
            "none refused {found:?}"
        );
    }
    for reason in [
        "later frames",
        "a later segment",
        "the mark names",
        "closed in order",
    ] {
        let met = total
            .refusals
            .iter()
            .any(|(_, evidence)| evidence.contains(reason));
        assert!(met, "no refusal because of {reason}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let first = from_env("RINGMILL_SIM_SEED", 0);
    for seed in first..first + 200 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}
