//! The report for people. Plain ASCII without control characters.

use super::document::{Document, VerifyBlock};
use super::{CLAIMED_ABOVE, PRINTED_ABOVE, samples_above};
use crate::recorder::Recorder;
use crate::units::{grouped, human_ns, short_count, short_duration};

/// The whole report of a run. `files` names what was written.
pub fn text(document: &Document, files: &[String]) -> String {
    let mut out = String::new();
    head(&mut out, document);
    result(&mut out, document);
    latencies(&mut out, document);
    proofs(&mut out, document);
    rest(&mut out, document);
    if !files.is_empty() {
        line(&mut out, "files", &files.join(" "));
    }
    line(&mut out, "repeat", &document.command);
    out
}

fn line(out: &mut String, name: &str, value: &str) {
    out.push_str(&format!("  {name:<9}{value}\n"));
}

fn head(out: &mut String, document: &Document) {
    let options = &document.options;
    let load = match options.rate_per_s {
        Some(rate) => format!("open/{} {}/s", options.arrival, short_count(rate)),
        None => format!("CLOSED LOOP max ({} frames in flight)", options.inflight),
    };
    let cpus = match options.cpus.as_slice() {
        [] => "not pinned".to_owned(),
        cpus => {
            let cpus: Vec<String> = cpus.iter().map(usize::to_string).collect();
            format!("on cpu {}", cpus.join(","))
        }
    };
    let time = |ns| short_duration(std::time::Duration::from_nanos(ns));
    out.push_str(&format!(
        "ringmill loadgen  {load}  batch {}  {} conns  {} thread{} {cpus}  {} warm-up + {}  \
         {} keys {}  seed {}\n",
        options.batch,
        options.connections,
        options.threads,
        if options.threads == 1 { "" } else { "s" },
        time(options.warmup_ns),
        time(options.duration_ns),
        short_count(options.keys as f64),
        options.key_dist,
        document.seed,
    ));
    let facts = &document.host.facts;
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "n/a".to_owned());
    out.push_str(&format!(
        "host {} CPUs{} {}, kernel {}, clock {}, governor {}   server {} shard{}, \
         stream {}, level {}\n\n",
        facts.cpus,
        if facts.virtual_machine == Some(true) {
            " (virtual)"
        } else {
            ""
        },
        or_none(&facts.cpu_model),
        or_none(&facts.kernel),
        or_none(&facts.clock),
        or_none(&facts.governor),
        document.server.shards,
        if document.server.shards == 1 { "" } else { "s" },
        document.server.stream,
        document.server.level,
    ));
}

fn result(out: &mut String, document: &Document) {
    let valid = if document.reasons.is_empty() {
        "valid"
    } else {
        "INVALID"
    };
    let achieved = document.acked_per_s / document.offered_per_s.max(1e-9);
    let achieved = match document.options.rate_per_s {
        Some(_) => format!("   achieved {:.1}%", achieved.min(1.0) * 100.0),
        None => String::new(),
    };
    out.push_str(&format!(
        "RESULT {valid}   {} acked/s   {} offered   {} acked   {} errors{achieved}\n",
        short_count(document.acked_per_s.round()),
        grouped(document.offered_events),
        grouped(document.acked_events),
        grouped(document.errors),
    ));
    for reason in &document.reasons {
        line(out, "INVALID", reason);
    }
    if document.interrupted {
        line(out, "PARTIAL", "interrupted");
    }
    for note in &document.notes {
        line(out, "note", note);
    }
    if !document.reasons.is_empty() || document.options.limits != default_limits() {
        line(out, "limits", &document.options.limits);
    }
}

/// What a proof found, in one line.
pub fn verify_text(verify: &VerifyBlock) -> String {
    format!(
        "stored once {}   lost {}   duplicate {}   indeterminate {}   scores compared {}, wrong {}",
        grouped(verify.stored_once),
        grouped(verify.lost),
        grouped(verify.duplicate),
        grouped(verify.indeterminate),
        grouped(verify.members_compared),
        grouped(verify.scores_wrong)
    )
}

fn default_limits() -> String {
    crate::verdict::Limits::default().to_string()
}

fn latencies(out: &mut String, document: &Document) {
    let floor = document.floor.as_ref();
    out.push_str("              response      service     send lag");
    out.push_str(if floor.is_some() {
        "        floor    ratio\n"
    } else {
        "\n"
    });
    let response = document.response();
    let floor_rows = floor.map(|floor| floor.response_ns.rows());
    let services = document.service_ns.rows();
    let lags = document.send_lag_ns.rows();
    for (index, (name, quantile, value)) in document.response_ns.rows().into_iter().enumerate() {
        let above = samples_above(&response, quantile);
        if above < PRINTED_ABOVE {
            continue;
        }
        let mut row = format!(
            "  {name:<9}{:>11}  {:>11}  {:>11}",
            human_ns(value),
            human_ns(services[index].2),
            human_ns(lags[index].2)
        );
        if let Some(rows) = floor_rows {
            let floor_ns = rows[index].2;
            let ratio = value as f64 / floor_ns.max(1) as f64;
            row.push_str(&format!("  {:>11}  {ratio:>6.2}x", human_ns(floor_ns)));
            if floor_ns * 2 > value {
                row.push_str("   the floor is over half of this");
            }
        }
        if above < CLAIMED_ABOVE {
            row.push_str(&format!("   {above} samples above: shown, not claimed"));
        }
        out.push_str(row.trim_end());
        out.push('\n');
    }
    out.push_str(&format!(
        "  {:<9}{:>11}  {:>11}  {:>11}\n",
        "max",
        human_ns(document.response_ns.max),
        human_ns(document.service_ns.max),
        human_ns(document.send_lag_ns.max)
    ));
}

/// The floor and the proof of what is stored, if there are any.
fn proofs(out: &mut String, document: &Document) {
    if let Some(floor) = &document.floor {
        let ratios: Vec<String> = floor
            .ratios
            .iter()
            .map(|(name, ratio, low, high)| format!("{name} {ratio:.2} ({low:.2}..{high:.2})"))
            .collect();
        let text = format!(
            "{} acked/s   engine/floor over {} pairs: {}",
            short_count(floor.acked_per_s),
            floor.pairs,
            ratios.join("  ")
        );
        line(out, "floor", &text);
        if floor.verdict != "valid" {
            line(out, "floor", &format!("INVALID: {}", floor.verdict));
        }
    }
    if let Some(verify) = &document.verify {
        line(out, "verify", &verify_text(verify));
        for problem in &verify.problems {
            line(out, "FAILED", problem);
        }
        for skipped in &verify.skipped {
            line(out, "skipped", skipped);
        }
    }
}

fn rest(out: &mut String, document: &Document) {
    let errors = &document.error_counts;
    if document.errors > 0 || errors.held > 0 || errors.reconnects > 0 {
        let text = format!(
            "rejected {}  timed out {}  unsent {}  connections lost {}  reconnects {}  \
             refusals {}  held {}",
            grouped(errors.rejected),
            grouped(errors.timed_out),
            grouped(errors.unsent),
            errors.connections_lost,
            errors.reconnects,
            errors.faults,
            grouped(errors.held)
        );
        line(out, "errors", &text);
    }
    for fault in document.faults.iter().take(3) {
        line(out, "fault", fault);
    }
    let host = &document.host;
    let share = |share: Option<f64>| {
        share.map_or_else(
            || "n/a".to_owned(),
            |share| format!("{:.1}%", share * 100.0),
        )
    };
    let throttled = host.throttled_ns.map_or_else(|| "n/a".to_owned(), human_ns);
    let text = format!(
        "steal {}  throttled {throttled}  generator: cpu {}  busy {:.0}%  run queue {}  \
         pacing p99 {}  {:.0} events/send",
        share(host.steal_share),
        share(host.cpu_share),
        document.busy_share * 100.0,
        share(host.run_queue_share),
        human_ns(document.pacing_lag_ns.p99),
        document.events_per_send,
    );
    line(out, "host", &text);
    let mut text = format!(
        "{:.3} over {} connections",
        document.fairness,
        document.producers.len()
    );
    if let Some(slo) = &document.slo {
        let met = if document.slo_missed.is_empty() {
            "met".to_owned()
        } else {
            format!("MISSED ({})", document.slo_missed.join("; "))
        };
        text.push_str(&format!("      SLO {slo} {met}"));
    }
    line(out, "fairness", &text);
}

const CURVE_CELLS: usize = 50;

/// The percentile curve as text: one bar per percentile, on a logarithmic scale from the median's
/// decade to the maximum.
pub fn curve(recorder: &Recorder) -> String {
    if recorder.count() == 0 {
        return String::new();
    }
    let log = |ns: u64| (ns.max(1) as f64).log10();
    let low = log(recorder.quantile(0.01)).floor();
    let high = log(recorder.max()).ceil().max(low + 1.0);
    let mut out = String::new();
    for (name, quantile) in [
        ("p1", 0.01),
        ("p25", 0.25),
        ("p50", 0.5),
        ("p75", 0.75),
        ("p90", 0.9),
        ("p95", 0.95),
        ("p99", 0.99),
        ("p99.5", 0.995),
        ("p99.9", 0.999),
        ("p99.95", 0.9995),
        ("p99.99", 0.9999),
        ("max", 1.0),
    ] {
        let value = recorder.quantile(quantile);
        let filled = ((log(value) - low) / (high - low) * CURVE_CELLS as f64).round() as usize;
        let bar = "#".repeat(filled.min(CURVE_CELLS));
        out.push_str(&format!("  {name:<7}{:>9} |{bar}\n", human_ns(value)));
    }
    out
}
