//! `search`, `replay` and `selftest`.

use std::time::Duration;

use super::to_json;
use crate::args::{LoadArgs, Pacing, ReplayArgs, SearchArgs, SelftestArgs, Switch};
use crate::error::LoadError;
use crate::exit::Ending;
use crate::keys::KeyDist;
use crate::plan::RunPlan;
use crate::progress::live;
use crate::replay::{Replay, replay as send_file};
use crate::report::check_writable;
use crate::say::print;
use crate::schedule::Arrival;
use crate::search::{Search, probe_line, search as find_rate};
use crate::selftest::{Settings, selftest as test_generator};
use crate::signal::on_interrupt;
use crate::units::{Rate, grouped, human_ns, short_count};
use crate::verdict::Limits;

/// `loadgen search`.
pub(super) fn search(args: &SearchArgs) -> Result<u8, LoadError> {
    if args.from > args.to {
        return Err(LoadError::Settings("--from is above --to".to_owned()));
    }
    let rate = Rate::PerSecond(args.from);
    let plan = RunPlan::of_load(&args.load, rate, args.warmup, args.duration)?;
    let settings = Search {
        slo: args.slo.clone(),
        from: args.from,
        to: args.to,
        resolution: args.resolution.max(0.001),
        confirm: args.confirm,
    };
    if let Some(path) = &args.json {
        check_writable(path)?;
    }
    let stop = on_interrupt()?;
    let quiet = args.load.quiet;
    let total_ns = (args.warmup + args.duration).as_nanos() as u64;
    let found = find_rate(
        &plan,
        &settings,
        &mut || live(quiet, total_ns),
        &mut |probe| {
            if !quiet {
                say!("{}", probe_line(probe));
            }
        },
        &stop,
    )?;
    if let Some(path) = &args.json {
        std::fs::write(path, to_json(&found)).map_err(LoadError::file(path))?;
    }
    for probe in &found.probes {
        print(&format!("  {}\n", probe_line(probe)))?;
    }
    let interrupted = stop.load(std::sync::atomic::Ordering::Relaxed);
    match found.rate_per_s {
        Some(rate) => {
            let limit = if found.at_limit {
                " (the highest rate allowed by --to)"
            } else {
                ""
            };
            let rate = short_count(rate.round());
            print(&format!(
                "RESULT {rate} events/s meet {}{limit}\n",
                found.slo
            ))?;
        }
        None => print(&format!("RESULT no rate meets {}\n", found.slo))?,
    }
    let slo_missed = found.rate_per_s.is_none();
    Ok(Ending {
        slo_missed,
        interrupted,
        ..Ending::default()
    }
    .code())
}

/// `loadgen replay`.
pub(super) fn replay(args: &ReplayArgs) -> Result<u8, LoadError> {
    let settings = Replay {
        addr: args.addr.clone(),
        stream: args.stream.clone(),
        producer: args.producer.clone().unwrap_or_else(fresh_name),
        speed: args.speed,
        time_field: args.time_field.clone(),
        batch: args.batch as usize,
        inflight: args.inflight as usize,
        reconnect: args.reconnect == Switch::On,
        timeout: args.timeout,
    };
    if let Some(path) = &args.json {
        check_writable(path)?;
    }
    let stop = on_interrupt()?;
    let quiet = args.quiet;
    let mut progress = |line: &str| {
        if !quiet {
            say!("{line}");
        }
    };
    let done = send_file(&args.file, &settings, &mut progress, &stop)?;
    if let Some(path) = &args.json {
        std::fs::write(path, to_json(&done)).map_err(LoadError::file(path))?;
    }
    print(&format!(
        "RESULT {} events acknowledged   {} already stored   {} rejected   {} bad lines   {}/s\n\
         \x20 producer {}   frames p50 {}  p99 {}   reconnects {}\n",
        grouped(done.acked_events),
        grouped(done.already_stored),
        grouped(done.rejected),
        grouped(done.bad_lines),
        short_count(done.acked_per_s.round()),
        done.producer,
        human_ns(done.service_ns.p50),
        human_ns(done.service_ns.p99),
        done.reconnects,
    ))?;
    for bad in &done.first_bad_lines {
        say!(
            "loadgen: {} line {}: {}",
            args.file.display(),
            bad.line,
            bad.message
        );
    }
    for refusal in &done.refusals {
        say!("loadgen: refused: {refusal}");
    }
    let failed = done.bad_lines > 0;
    Ok(Ending {
        failed,
        interrupted: done.interrupted,
        ..Ending::default()
    }
    .code())
}

fn fresh_name() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    format!(
        "replay-{:x}-{}",
        now.unwrap_or_default().as_nanos(),
        std::process::id()
    )
}

/// `loadgen selftest`.
pub(super) fn selftest(args: &SelftestArgs) -> Result<u8, LoadError> {
    if args.stall >= args.every {
        return Err(LoadError::Settings(
            "--stall must be shorter than --every".to_owned(),
        ));
    }
    let load = LoadArgs {
        addr: String::new(),
        stream: None,
        arrival: Arrival::Poisson,
        batch: 1,
        connections: 1,
        inflight: None,
        keys: 1000,
        key_dist: KeyDist::Uniform,
        threads: None,
        cpus: args.cpu.into_iter().collect(),
        seed: 42,
        pacing: Pacing::Hybrid,
        producer: None,
        reconnect: Switch::Off,
        timeout: Duration::from_secs(10),
        limits: Limits::default(),
        quiet: false,
    };
    let rate = Rate::PerSecond(args.rate);
    // One whole period, so that the measurement begins where a period does.
    let plan = RunPlan::of_load(&load, rate, args.every, args.duration)?;
    let settings = Settings {
        rate: args.rate,
        stall: args.stall,
        every: args.every,
        tolerance: args.tolerance,
    };
    let stop = on_interrupt()?;
    let total_ns = (args.every + args.duration).as_nanos() as u64;
    let tested = test_generator(&settings, plan, live(false, total_ns).as_mut(), &stop)?;
    print(&tested.text())?;
    let ok = tested.is_ok();
    match (ok, tested.excuse()) {
        (true, _) => print("RESULT ok\n")?,
        (false, Some(excuse)) => print(&format!("RESULT not decided: {excuse}\n"))?,
        (false, None) => print("RESULT the generator measures something else\n")?,
    }
    Ok(Ending {
        invalid: !ok,
        ..Ending::default()
    }
    .code())
}
