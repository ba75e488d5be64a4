//! `compare`, and runs beside a floor.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::args::{CompareArgs, RunArgs};
use crate::compare::{self, is_regression, of_documents, of_pairs};
use crate::error::LoadError;
use crate::exit::Ending;
use crate::paired::{FIGURES, Pair, join, ratio_b_over_a, run_pairs};
use crate::plan::RunPlan;
use crate::progress::{Live, live};
use crate::report::{self, Document, FloorBlock, Judged, LatencyBlock};
use crate::run::Outcome;
use crate::say::print;
use crate::signal::on_interrupt;

/// `loadgen compare`.
pub(super) fn compare(args: &CompareArgs) -> Result<u8, LoadError> {
    let mut interrupted = false;
    let (rows, invalid) = match (&args.addr_a, &args.addr_b) {
        (Some(a), Some(b)) => {
            let stop = on_interrupt()?;
            let plan = live_plan(args, a)?;
            let pairs = live_pairs(&plan, b, args.pairs as usize, args.quiet, &stop)?;
            interrupted = stop.load(Ordering::Relaxed);
            let invalid = pairs.iter().filter(|pair| !is_valid(pair)).count();
            (of_pairs(&pairs), invalid)
        }
        _ => {
            let count = args.files.len();
            if count < 2 || count % 2 == 1 {
                let text = "give JSON files in pairs, A B A B, or two servers with -a and -b";
                return Err(LoadError::Settings(text.to_owned()));
            }
            let documents: Vec<Document> = args
                .files
                .iter()
                .map(|path| report::read(path))
                .collect::<Result<_, _>>()?;
            let invalid = documents
                .chunks_exact(2)
                .filter(|pair| pair.iter().any(|document| !document.reasons.is_empty()));
            let invalid = invalid.count();
            (of_documents(&documents), invalid)
        }
    };
    print(&compare::text(&rows, args.fail_over, args.noise))?;
    if invalid > 0 {
        print(&format!(
            "note: {invalid} pairs hold a run that is not valid\n"
        ))?;
    }
    let regression = args
        .fail_over
        .is_some_and(|fail_over| is_regression(&rows, fail_over, args.noise));
    Ok(Ending {
        regression,
        interrupted,
        ..Ending::default()
    }
    .code())
}

fn is_valid(pair: &Pair) -> bool {
    let valid = |run: &Outcome| crate::verdict::judge(run, &run.plan.limits).is_valid();
    valid(&pair.a) && valid(&pair.b)
}

/// The plan of a live comparison: that of `run` with the given options.
fn live_plan(args: &CompareArgs, addr: &str) -> Result<RunPlan, LoadError> {
    use clap::Parser;
    let cli = crate::args::Cli::parse_from(["loadgen", "run"]);
    let Some(crate::args::Command::Run(mut run)) = cli.command else {
        unreachable!("the command line above names it");
    };
    run.rate = args.rate;
    run.duration = args.block;
    run.warmup = std::time::Duration::from_secs(2);
    run.load.addr = addr.to_owned();
    run.load.batch = args.batch;
    run.load.connections = args.connections;
    run.load.keys = args.keys;
    run.load.cpus = args.cpus.clone();
    RunPlan::of_run(&run)
}

fn live_pairs(
    plan: &RunPlan,
    addr_b: &str,
    pairs: usize,
    quiet: bool,
    stop: &Arc<AtomicBool>,
) -> Result<Vec<Pair>, LoadError> {
    let total_ns = (plan.warmup + plan.duration).as_nanos() as u64;
    let mut output = |side: char, number: usize| -> Box<dyn Live> {
        if !quiet {
            say!("block {side}, pair {} of {pairs}", number + 1);
        }
        live(quiet, total_ns)
    };
    run_pairs(plan, addr_b, pairs, &mut output, stop)
}

/// A run beside a floor: the joined run of the server, and the floor's part of the report.
pub(super) fn with_floor(
    args: &RunArgs,
    plan: &RunPlan,
    floor: &str,
    stop: &Arc<AtomicBool>,
) -> Result<(Outcome, FloorBlock), LoadError> {
    let blocks = (plan.duration.as_secs_f64() / args.block.as_secs_f64())
        .round()
        .max(1.0);
    let mut block_plan = plan.clone();
    block_plan.duration = plan.duration.div_f64(blocks);
    let pairs = live_pairs(&block_plan, floor, blocks as usize, args.load.quiet, stop)?;
    // Engine over floor: the inverse of second over first.
    let ratios = FIGURES
        .iter()
        .filter_map(|figure| {
            let ratio = ratio_b_over_a(&pairs, figure)?;
            let name = figure.name.to_owned();
            Some((name, 1.0 / ratio.median, 1.0 / ratio.high, 1.0 / ratio.low))
        })
        .collect();
    let count = pairs.len();
    let (engine, floors): (Vec<Outcome>, Vec<Outcome>) =
        pairs.into_iter().map(|pair| (pair.a, pair.b)).unzip();
    let none = || LoadError::Failed("no block was measured".to_owned());
    let mut engine = join(engine).ok_or_else(none)?;
    engine.plan = plan.clone();
    let floor_run = Judged::new(join(floors).ok_or_else(none)?, None);
    let block = FloorBlock {
        addr: floor.to_owned(),
        verdict: floor_run.verdict.text(),
        pairs: count,
        acked_per_s: floor_run.outcome.acked_per_s(),
        response_ns: LatencyBlock::of(&floor_run.outcome.response),
        ratios,
    };
    Ok((engine, block))
}
