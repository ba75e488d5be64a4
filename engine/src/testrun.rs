//! `ringmill test`: the `[[test]]` blocks of a pipeline file, run on a whole engine over simulated
//! parts.
//!
//! Events are posted and answers asked for through the same routes, lanes and cores that serve, so
//! what a test shows is what a server does. Only the disk, the sockets and the clock are simulated,
//! which makes an hour of event time a matter of microseconds.

mod correction;
mod matches;
mod steps;

use std::sync::Arc;
use std::time::Instant;

use ringmill_shard::pipeline::{Pipeline, Test};

use crate::cli::{EXIT_FAILED, EXIT_USAGE, TestArgs};
use crate::stage::Stage;
use crate::{check, say};

/// Runs the command; returns the exit code.
pub fn run(args: &TestArgs) -> i32 {
    let (pipeline, tests) = match check::load_with_tests(&args.file) {
        Ok(loaded) => loaded,
        Err(message) => {
            say!("{message}");
            return EXIT_USAGE;
        }
    };
    let wanted = |test: &&Test| {
        args.only
            .as_ref()
            .is_none_or(|only| test.name.contains(only))
    };
    let tests: Vec<&Test> = tests.iter().filter(wanted).collect();
    if tests.is_empty() {
        let file = args.file.display();
        return say::print(&format!("{file}: no [[test]] block to run\n"));
    }
    let started = Instant::now();
    let mut failed = 0;
    for test in &tests {
        let failures = run_one(&pipeline, test, usize::from(args.shards));
        let verdict = if failures.is_empty() {
            "ok   "
        } else {
            "FAIL "
        };
        failed += usize::from(!failures.is_empty());
        let mut text = format!("{verdict} {}\n", test.name);
        for failure in failures {
            text += &format!("      {}\n", failure.replace('\n', "\n      "));
        }
        // The exit code speaks of the tests, whoever reads the lines.
        let _ = say::print(&text);
    }
    let noun = if tests.len() == 1 { "test" } else { "tests" };
    let took = started.elapsed().as_millis();
    let summary = format!("{} {noun}, {failed} failed, {took} ms\n", tests.len());
    let printed = say::print(&summary);
    if failed > 0 { EXIT_FAILED } else { printed }
}

/// Runs one test on a new engine; what it expected in vain.
fn run_one(pipeline: &Arc<Pipeline>, test: &Test, shards: usize) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return vec![format!("no runtime for the handlers: {error}")],
    };
    runtime.block_on(async {
        let stage = Stage::new(pipeline, test.start_ms, shards);
        match stage {
            Ok(mut stage) => steps::play(&mut stage, pipeline, test).await,
            Err(error) => vec![format!("the simulated engine does not start: {error}")],
        }
    })
}
