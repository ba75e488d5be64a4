//! `ringmill sim`: a user's own pipeline through random events and faults, every answer compared with
//! a plain computation.
//!
//! ```text
//! seed -> scenario -> whole engine on simulated disk and clock -> answers of its routes --+
//!                             |                                                         equal?
//!                             +-> its logs -> oracle: batch, sorted maps ----------------+
//! ```
//!
//! Events are of the pipeline's own streams and late, early, out of order and sent again; clocks of
//! producers are off, sources fall silent, the power fails and the engine comes back on another
//! number of cores. A run that shows a difference is cut down to a small one and told step by step.

mod compare;
mod draw;
mod ledger;
mod play;
mod scenario;
mod shrink;
mod values;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use ringmill_shard::pipeline::Pipeline;

use crate::cli::{EXIT_FAILED, EXIT_OK, EXIT_USAGE, SimArgs};
use crate::{check, say};
use draw::draw;
use play::{Difference, Played, Tally, play};
use scenario::Scenario;
use shrink::shrink;

/// Runs the command; returns the exit code.
pub fn run(args: &SimArgs) -> i32 {
    let pipeline = match check::load(&args.pipeline) {
        Ok((pipeline, _)) => Arc::new(pipeline),
        Err(message) => {
            say!("{message}");
            return EXIT_USAGE;
        }
    };
    let started = Instant::now();
    let (mut printed, mut total) = (EXIT_OK, Tally::default());
    for seed in (0..args.runs).map(|run| args.seed.wrapping_add(run)) {
        let scenario = draw(&pipeline, seed, args.events);
        let played = play_once(&pipeline, &pipeline, seed, &scenario);
        printed = printed.max(say::print(&line(seed, &scenario, &played)));
        if let Some((at, difference)) = played.difference {
            // One panic was told; the same from smaller runs is no news.
            let hook = std::panic::take_hook();
            std::panic::set_hook(Box::new(|_| {}));
            let small = smallest(&pipeline, &pipeline, seed, &scenario, at);
            std::panic::set_hook(hook);
            let _ = say::print(&report(args, seed, &difference, &small));
            return EXIT_FAILED;
        }
        add(&mut total, &played.tally);
    }
    let took = started.elapsed().as_secs_f64();
    let Tally { events, values, .. } = total;
    let runs = args.runs;
    let noun = if runs == 1 { "run" } else { "runs" };
    let summary = format!(
        "{runs} {noun}, {events} events, {values} rows and figures compared, 0 differences, {took:.1} s\n"
    );
    printed.max(say::print(&summary))
}

fn add(total: &mut Tally, of: &Tally) {
    total.events += of.events;
    total.values += of.values;
}

/// What a run did, in one line.
fn line(seed: u64, scenario: &Scenario, played: &Played) -> String {
    let Tally {
        events,
        rejected,
        sent_again,
        losses,
        comparisons,
        values,
    } = played.tally;
    let cores = scenario.cores;
    let verdict = match played.difference {
        None => "ok",
        Some(_) => "DIFFERS",
    };
    format!(
        "seed {seed}: {cores} cores at first, {events} events ({rejected} refused), {sent_again} sent \
         again, engine lost {losses} times, {values} values compared in {comparisons} rounds: \
         {verdict}\n"
    )
}

/// Plays a run; a panic is a difference, too.
fn play_once(pipeline: &Arc<Pipeline>, truth: &Pipeline, seed: u64, scenario: &Scenario) -> Played {
    let last = scenario.steps.len() - 1;
    let failed = |found: String| Played {
        tally: Tally::default(),
        story: Vec::new(),
        difference: Some((last, Difference::new("the run", "an end", found))),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return failed(format!("no runtime for the handlers: {error}")),
    };
    let body = || runtime.block_on(play(pipeline, truth, seed, scenario));
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied());
        failed(format!("a panic: {}", text.unwrap_or("without a message")))
    })
}

/// The smallest run that was found to differ, played once more.
fn smallest(
    pipeline: &Arc<Pipeline>,
    truth: &Pipeline,
    seed: u64,
    scenario: &Scenario,
    at: usize,
) -> Played {
    say!(
        "looking for a smaller run that differs than {} events",
        scenario.events()
    );
    let small = shrink(scenario, at, |scenario| {
        play_once(pipeline, truth, seed, scenario).difference
    });
    play_once(pipeline, truth, seed, &small)
}

/// The difference, how to see it again, and what leads to it. `first` is the one that the whole run
/// showed.
fn report(args: &SimArgs, seed: u64, first: &Difference, played: &Played) -> String {
    let shown = played.difference.as_ref().map(|(_, difference)| difference);
    let Difference {
        at,
        expected,
        found,
    } = shown.unwrap_or(first);
    let mut text = format!("\n{at}\n  expected  {expected}\n  found     {found}\n");
    text += match shown {
        Some(_) => "\nsmallest run that was found:\n",
        None => {
            "\nthe run is not the same every time, which is a defect, too; once more it went:\n"
        }
    };
    for line in &played.story {
        text += &format!("  {line}\n");
    }
    let again = again(&args.pipeline, seed, args.events);
    text + &format!("\nsee it again: {again}\n")
}

fn again(file: &Path, seed: u64, events: u32) -> String {
    let file = file.display();
    format!("ringmill sim --pipeline {file} --seed {seed} --runs 1 --events {events}")
}

#[cfg(test)]
mod tests;
