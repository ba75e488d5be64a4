//! The text of `ringmill inspect`: one table per core, one row per stage.
//!
//! A percentile is shown only if at least ten events lie above it; of fewer, the figure would be
//! that of single events. Shares are shares of time: the mean share tells where events spend it in
//! general, the slow share where those above the 99th percentile do.

use std::fmt::Write;
use std::path::Path;

use super::Block;
use super::units::{bytes, count, percent, time, wall};
use crate::dump::Summary;
use crate::latency::{Stage, StageSnapshot};
use crate::metrics::{CoreSnapshot, Counter};

const SAMPLES_ABOVE_MIN: f64 = 10.0;
const BAR_WIDTH: usize = 10;

/// More than this share of the total in no stage means that the stages are measured wrongly.
const UNATTRIBUTED_SHARE_MAX: f64 = 0.01;

/// The whole output.
pub(super) fn text(directory: &Path, summary: &Summary, blocks: &[Block]) -> String {
    let mut lines = head(directory, summary);
    for block in blocks {
        lines.push(String::new());
        lines.extend(block_lines(block, summary));
    }
    let mut text = String::new();
    for line in lines {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn head(directory: &Path, summary: &Summary) -> Vec<String> {
    let (run, host) = (&summary.run, &summary.host);
    let state = if summary.finished {
        "ended in order"
    } else {
        "running, or ended out of order"
    };
    let shards = if run.shards == 1 { "shard" } else { "shards" };
    let mut settings = format!("run    {} {shards}, backend {}", run.shards, run.backend);
    if let Some(floor) = &run.floor {
        let _ = write!(settings, ", floor {floor}");
    }
    if let Some(way) = &run.sync_way {
        let _ = write!(settings, ", sync {way}");
        if let (Some(p50), Some(p99)) = (run.sync_p50_ns, run.sync_p99_ns) {
            let _ = write!(settings, " (probe p50 {} p99 {})", time(p50), time(p99));
        }
    }
    let _ = write!(
        settings,
        ", durability {}, spin {}",
        or_na(&run.durability),
        or_na(&run.spin)
    );
    let cpus = host
        .cpus_online
        .map_or("n/a".to_owned(), |cpus| cpus.to_string());
    let guest = if host.guest == Some(true) {
        " (guest)"
    } else {
        ""
    };
    vec![
        format!(
            "dump   {}   ringmill {}",
            directory.display(),
            summary.version
        ),
        format!(
            "       from {}, {} in {} intervals, {state}",
            wall(summary.started_ns),
            seconds(summary.duration_ns),
            summary.intervals
        ),
        settings,
        format!(
            "host   {}, {cpus} CPUs{guest}, kernel {}, clock {}",
            or_na(host.cpu_model.as_deref().unwrap_or("")),
            or_na(host.kernel.as_deref().unwrap_or("")),
            or_na(host.clock.as_deref().unwrap_or(""))
        ),
    ]
}

fn block_lines(block: &Block, summary: &Summary) -> Vec<String> {
    let snapshot = &block.snapshot;
    let total = snapshot.stage(Stage::Total);
    let name = match block.core {
        None => "all".to_owned(),
        Some(core) => match summary.run.cpus.get(core).copied().flatten() {
            Some(cpu) => format!("core {core} (cpu {cpu})"),
            None => format!("core {core}"),
        },
    };
    let events = count(total.count());
    let title = format!(
        "{name}   {events} events   {}",
        seconds(summary.duration_ns)
    );
    if Stage::ALL
        .iter()
        .all(|stage| snapshot.stage(*stage).count() == 0)
    {
        return vec![title, "  nothing recorded yet".to_owned()];
    }
    let shows_slow = snapshot.slow().events > 0;
    let slow_title = if shows_slow { "slow share" } else { "" };
    let mut lines = vec![format!(
        "{title:<37}{:>8}{:>8}{:>8}{:>8}   {:<17}{slow_title}",
        "p50", "p99", "p99.9", "max", "mean share"
    )];
    let sum_ns = total.sum_ns() as f64;
    let slow_sum_ns = snapshot.slow().sums_ns.iter().sum::<u128>() as f64;
    for stage in Stage::path() {
        let mean = share(snapshot.stage(*stage).sum_ns() as f64, sum_ns);
        let slow = share(snapshot.slow().sums_ns[*stage as usize] as f64, slow_sum_ns);
        let slow = if shows_slow { bar(slow) } else { String::new() };
        lines.push(format!(
            "{}   {:<17}{slow}",
            row(snapshot, *stage),
            bar(mean)
        ));
    }
    let unattributed = share(snapshot.unattributed_ns() as f64, sum_ns);
    lines.push(format!(
        "  {:<67}   {:<width$} {:>5}",
        "unattributed",
        "",
        percent(unattributed),
        width = BAR_WIDTH
    ));
    lines.push(row(snapshot, Stage::Total));
    for stage in [Stage::Hop, Stage::Turn] {
        if snapshot.stage(stage).count() > 0 {
            lines.push(row(snapshot, stage));
        }
    }
    lines.extend(counter_lines(snapshot, summary.duration_ns));
    lines.extend(notes(snapshot, unattributed));
    lines
}

fn row(snapshot: &CoreSnapshot, stage: Stage) -> String {
    let times = snapshot.stage(stage);
    format!(
        "  {:<7}{:<28}{:>8}{:>8}{:>8}{:>8}",
        stage.name(),
        stage.meaning(),
        quantile(times, 0.5),
        quantile(times, 0.99),
        quantile(times, 0.999),
        if times.count() == 0 {
            "-".to_owned()
        } else {
            time(times.max_ns())
        }
    )
}

/// A percentile, or a dash if too few events lie above it.
fn quantile(times: &StageSnapshot, quantile: f64) -> String {
    // Rounding errors of the product must not hide a percentile that just has its ten events.
    let above = (times.count() as f64 * (1.0 - quantile) * 1e6).round() / 1e6;
    if above >= SAMPLES_ABOVE_MIN {
        time(times.quantile_ns(quantile))
    } else {
        "-".to_owned()
    }
}

fn counter_lines(snapshot: &CoreSnapshot, duration_ns: u64) -> Vec<String> {
    let of = |counter| snapshot.counter(counter);
    let ratio = |a, b| {
        if b == 0 {
            "-".to_owned()
        } else {
            format!("{:.1}", a as f64 / b as f64)
        }
    };
    let mut lines = Vec::new();
    if of(Counter::LaneSlots) > 0 {
        lines.push(format!(
            "  ring in: high water {}/{} slots, waits for room {}",
            of(Counter::LaneSlotsPeak),
            of(Counter::LaneSlots),
            of(Counter::LaneFull)
        ));
    }
    if of(Counter::Enters) > 0 {
        lines.push(format!(
            "  uring: {} cqe/enter, {} enters, sq full {}, cq overflow {}, buffers empty {}",
            ratio(of(Counter::Cqes), of(Counter::Enters)),
            count(of(Counter::Enters)),
            of(Counter::SqFull),
            of(Counter::CqOverflow),
            of(Counter::BufferEmpty)
        ));
    }
    let frames = of(Counter::FramesLogged);
    if frames > 0 {
        lines.push(format!(
            "  log: {} frames, {} events/frame, {}/frame, short writes {}, waits for a buffer {}",
            count(frames),
            ratio(of(Counter::EventsAccepted), frames),
            bytes(of(Counter::LogBytes) / frames),
            of(Counter::ShortWrites),
            of(Counter::LogFull)
        ));
    }
    if of(Counter::Turns) > 0 {
        let cpu = match (of(Counter::CpuNs), duration_ns) {
            (0, _) | (_, 0) => "n/a".to_owned(),
            (cpu_ns, duration_ns) => percent(cpu_ns as f64 / duration_ns as f64),
        };
        lines.push(format!(
            "  loop: {} turns, {} busy, {} parks, {} wakes of peers, cpu {cpu}",
            count(of(Counter::Turns)),
            count(of(Counter::TurnsBusy)),
            count(of(Counter::Parks)),
            count(of(Counter::Wakes))
        ));
    }
    lines
}

fn notes(snapshot: &CoreSnapshot, unattributed: f64) -> Vec<String> {
    let mut notes = Vec::new();
    let (slow, events) = (snapshot.slow().events, snapshot.stage(Stage::Total).count());
    if slow > 0 {
        notes.push(format!(
            "  slow: {} events ({}) above the p99 of the total known when they finished",
            count(slow),
            percent(share(slow as f64, events as f64))
        ));
    }
    if unattributed.abs() > UNATTRIBUTED_SHARE_MAX {
        notes.push(format!(
            "  note: {} of the time belongs to no stage; the rows above do not explain the total",
            percent(unattributed)
        ));
    }
    if events > 0 && (events as f64) * 0.001 < SAMPLES_ABOVE_MIN {
        notes.push("  -: fewer than 10 events above this percentile".to_owned());
    }
    notes
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn bar(share: f64) -> String {
    let filled = (share.clamp(0.0, 1.0) * BAR_WIDTH as f64).round() as usize;
    format!("{:<BAR_WIDTH$} {:>5}", "#".repeat(filled), percent(share))
}

fn seconds(ns: u64) -> String {
    format!("{:.1}s", ns as f64 / 1e9)
}

fn or_na(text: &str) -> &str {
    if text.is_empty() { "n/a" } else { text }
}
