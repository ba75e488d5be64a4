//! `run`, `verify` and `report`.

use std::path::Path;

use super::compare::with_floor;
use super::{print_document, to_json};
use crate::acks::{AckRecord, read_dir};
use crate::args::{Format, ReportArgs, RunArgs, VerifyArgs};
use crate::error::LoadError;
use crate::exit::Ending;
use crate::plan::RunPlan;
use crate::progress::live;
use crate::report::{self, Document, Files, FloorBlock, Judged, VerifyBlock};
use crate::run::{Outcome, execute};
use crate::say::print;
use crate::signal::on_interrupt;
use crate::verify;

/// Members whose rank `run --verify` asks for one by one.
const VERIFY_SAMPLE: usize = 20;

/// `loadgen run`.
pub(super) fn run(args: &RunArgs) -> Result<u8, LoadError> {
    let mut plan = RunPlan::of_run(args)?;
    let mut files = Files {
        json: args.json.clone(),
        hlog: args.hlog.clone(),
        hgrm: args.hlog.as_ref().map(|path| path.with_extension("hgrm")),
    };
    if let Some(dir) = &args.out {
        std::fs::create_dir_all(dir).map_err(LoadError::file(dir))?;
        files.json.get_or_insert_with(|| dir.join("run.json"));
        files.hlog.get_or_insert_with(|| dir.join("client.hlog"));
        files.hgrm.get_or_insert_with(|| dir.join("client.hgrm"));
        plan.acks.get_or_insert_with(|| dir.join("acks"));
    }
    // The proof needs a log; without a place of its own it does not outlive the run.
    let scratch = (args.verify && plan.acks.is_none()).then(scratch_dir);
    plan.acks = plan.acks.or_else(|| scratch.clone());
    files.check()?;
    let stop = on_interrupt()?;
    if !args.load.quiet {
        say!("ringmill loadgen  {}  seed {}", plan.headline(), plan.seed);
    }
    let total_ns = (plan.warmup + plan.duration).as_nanos() as u64;
    let result = match &args.floor {
        None => execute(&plan, live(args.load.quiet, total_ns).as_mut(), &stop)
            .map(|outcome| (outcome, None)),
        Some(floor) => {
            with_floor(args, &plan, floor, &stop).map(|(outcome, block)| (outcome, Some(block)))
        }
    };
    let result = result.and_then(|(outcome, floor)| finish(args, &plan, outcome, floor, &files));
    if let Some(dir) = &scratch {
        let _ = std::fs::remove_dir_all(dir);
    }
    result
}

fn scratch_dir() -> std::path::PathBuf {
    std::env::temp_dir().join(format!("ringmill-acks-{}", std::process::id()))
}

fn finish(
    args: &RunArgs,
    plan: &RunPlan,
    outcome: Outcome,
    floor: Option<FloorBlock>,
    files: &Files,
) -> Result<u8, LoadError> {
    let judged = Judged::new(outcome, args.slo.clone());
    let mut document = Document::of(&judged);
    document.floor = floor;
    let mut failure = None;
    if let (true, Some(dir)) = (args.verify, &plan.acks) {
        match prove(args, &judged.outcome, dir) {
            Ok(block) => document.verify = Some(block),
            Err(error) => failure = Some(error),
        }
    }
    files.write(&judged, &document)?;
    print_document(&document, args.format, &files.names())?;
    if let Some(error) = failure {
        return Err(error);
    }
    if let Some(failure) = &judged.outcome.failure {
        say!("loadgen: {failure}");
    }
    let ending = Ending {
        verification_failed: document.verify.as_ref().is_some_and(|verify| !verify.ok),
        failed: judged.outcome.failure.is_some(),
        invalid: !judged.verdict.is_valid(),
        slo_missed: !judged.slo_missed.is_empty(),
        regression: false,
        interrupted: judged.outcome.interrupted,
    };
    Ok(ending.code())
}

/// Proves this run, with the earlier ones of the directory that share its producers.
fn prove(args: &RunArgs, outcome: &Outcome, dir: &Path) -> Result<VerifyBlock, LoadError> {
    let all = read_dir(dir)?;
    let own: Vec<&str> = outcome
        .producers
        .iter()
        .map(|producer| &*producer.name)
        .collect();
    let shares = |record: &AckRecord| {
        record
            .head
            .producers
            .iter()
            .any(|producer| own.contains(&&*producer.name))
    };
    let records: Vec<AckRecord> = all.into_iter().filter(shares).collect();
    let load = &args.load;
    let findings = verify::verify(
        &load.addr,
        &args.http,
        &records,
        VERIFY_SAMPLE,
        load.timeout,
    )?;
    Ok(VerifyBlock::from(&findings))
}

/// `loadgen verify`.
pub(super) fn verify(args: &VerifyArgs) -> Result<u8, LoadError> {
    let records = read_dir(&args.acks)?;
    let findings = verify::verify(&args.addr, &args.http, &records, args.sample, args.timeout)?;
    let block = VerifyBlock::from(&findings);
    match args.format {
        Format::Text => {
            let mut text = format!(
                "verify {}   {} runs, {} producers\n  {}\n",
                if block.ok { "ok" } else { "FAILED" },
                records.len(),
                findings.producers,
                report::verify_text(&block)
            );
            block
                .problems
                .iter()
                .for_each(|problem| text.push_str(&format!("  FAILED   {problem}\n")));
            block
                .skipped
                .iter()
                .for_each(|skipped| text.push_str(&format!("  skipped  {skipped}\n")));
            print(&text)?;
        }
        Format::Json => print(&to_json(&block))?,
        Format::Csv => print(&format!(
            "ok,stored_once,lost,duplicate,indeterminate,members_compared,scores_wrong\n\
             {},{},{},{},{},{},{}\n",
            block.ok,
            block.stored_once,
            block.lost,
            block.duplicate,
            block.indeterminate,
            block.members_compared,
            block.scores_wrong
        ))?,
    }
    Ok(Ending {
        verification_failed: !block.ok,
        ..Ending::default()
    }
    .code())
}

/// `loadgen report`.
pub(super) fn report(args: &ReportArgs) -> Result<u8, LoadError> {
    let documents: Vec<Document> = args
        .files
        .iter()
        .map(|path| report::read(path))
        .collect::<Result<_, _>>()?;
    match args.format {
        Format::Json => print(&to_json(&documents))?,
        Format::Csv => print(&report::csv(&documents))?,
        Format::Text => {
            for document in &documents {
                print(&report::text(document, &[]))?;
                print(&report::curve(&document.response()))?;
                print("\n")?;
            }
        }
    }
    Ok(0)
}
