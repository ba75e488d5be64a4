//! `/metrics` in the Prometheus text format, written by hand.
//!
//! Histograms have bounds at powers of two of a nanosecond, which fall on the borders of the
//! recorded slots: every bucket count is exact. A bound counts what took less than it.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::App;
use super::problem::Problem;
use super::streams::ask_stats;
use crate::latency::Stage;
use crate::metrics::{CoreSnapshot, Counter, CounterKind};
use ringmill_shard::dedupe::DuplicateCause;
use ringmill_shard::expression::ErrorReason;
use ringmill_shard::query::Stats;
use ringmill_shard::reject::RejectReason;
use ringmill_shard::window::LateReason;

/// Smallest bound is 2^10 ns, about 1 microsecond.
const BOUND_BITS_MIN: u32 = 10;
/// Largest bound is 2^34 ns, about 17 s.
const BOUND_BITS_MAX: u32 = 34;
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn get_metrics(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let cores: Vec<CoreSnapshot> = app.metrics.iter().map(|core| core.snapshot()).collect();
    let mut text = Text(String::with_capacity(64 << 10));
    write_health(&mut text, &app);
    write_counters(&mut text, &cores);
    // A core that does not answer must not hide the figures of the others, nor its own.
    let stats = ask_stats(&app)
        .await
        .map(|stats| stats.replies)
        .unwrap_or_default();
    write_events(&mut text, &app, &stats);
    write_views(&mut text, &app, &stats);
    write_boards(&mut text, &app, &stats);
    write_stages(&mut text, &cores);
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text.0).into_response())
}

struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            self.0.push(if index == 0 { '{' } else { ',' });
            let _ = write!(self.0, "{label}=\"{}\"", Escaped(text));
        }
        self.0.push_str(if labels.is_empty() { "" } else { "}" });
        let _ = writeln!(self.0, " {value}");
    }
}

/// A label value: the three characters that need it are escaped.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            other => f.write_char(other),
        })
    }
}

fn write_health(text: &mut Text, app: &App) {
    let failed = app.failed_shards();
    text.head(
        "ringmill_info",
        "gauge",
        "Constant 1; how this process runs",
    );
    let labels = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("backend", &app.facts.backend),
        ("sync", &app.facts.sync_way),
    ];
    text.sample("ringmill_info", &labels, 1);
    text.head(
        "ringmill_shard_failed",
        "gauge",
        "1 if the log of the shard failed",
    );
    for shard in 0..app.cores.shards() {
        let value = u8::from(failed.contains(&shard));
        text.sample(
            "ringmill_shard_failed",
            &[("core", &shard.to_string())],
            value,
        );
    }
    text.head(
        "ringmill_disk_full",
        "gauge",
        "1 while events are refused for lack of space",
    );
    let full = app.disk_full.load(std::sync::atomic::Ordering::Relaxed);
    text.sample("ringmill_disk_full", &[], u8::from(full));
    text.head("ringmill_uptime_seconds", "gauge", "Time since the start");
    text.sample(
        "ringmill_uptime_seconds",
        &[],
        app.facts.uptime_ms() as f64 / 1e3,
    );
    text.head(
        "ringmill_recovered_events",
        "gauge",
        "Events replayed at the start",
    );
    text.sample("ringmill_recovered_events", &[], app.facts.recovered_events);
}

fn write_counters(text: &mut Text, cores: &[CoreSnapshot]) {
    for counter in Counter::ALL {
        let (suffix, kind) = match counter.kind() {
            CounterKind::Total => ("_total", "counter"),
            CounterKind::Level | CounterKind::Peak => ("", "gauge"),
        };
        let name = format!("ringmill_{}{suffix}", counter.name());
        text.head(&name, kind, counter.meaning());
        for (core, snapshot) in cores.iter().enumerate() {
            text.sample(
                &name,
                &[("core", &core.to_string())],
                snapshot.counter(counter),
            );
        }
    }
}

/// What each live shard told, by its index.
type ShardStats = [(usize, Stats)];

/// One sample per shard and object of the pipeline.
fn write_each(
    text: &mut Text,
    (name, kind, help): (&str, &str, &str),
    stats: &ShardStats,
    (label, objects): (&str, &[&str]),
    value: impl Fn(&Stats, usize) -> i128,
) {
    text.head(name, kind, help);
    for (shard, stats) in stats {
        let core = shard.to_string();
        for (index, object) in objects.iter().enumerate() {
            text.sample(
                name,
                &[("core", &core), (label, object)],
                value(stats, index),
            );
        }
    }
}

fn write_events(text: &mut Text, app: &App, stats: &ShardStats) {
    let streams: Vec<&str> = app
        .pipeline
        .streams
        .iter()
        .map(|stream| &*stream.name)
        .collect();
    let label = ("stream", &*streams);
    let name = "ringmill_stream_events_accepted_total";
    let head = (name, "counter", "Events that took effect");
    write_each(text, head, stats, label, |s, i| {
        s.counters.streams[i].accepted.into()
    });
    let name = "ringmill_stream_events_duplicate_total";
    let help = "Events that one before them had taken the effect of, by what told so";
    text.head(name, "counter", help);
    for (shard, stats) in stats {
        let core = shard.to_string();
        for (stream, counters) in streams.iter().zip(&stats.counters.streams) {
            for cause in DuplicateCause::ALL {
                let labels = [
                    ("core", &*core),
                    ("stream", stream),
                    ("cause", cause.name()),
                ];
                text.sample(name, &labels, counters.duplicates[cause.index()]);
            }
        }
    }
    let name = "ringmill_stream_ids";
    let head = (name, "gauge", "Ids or sources that tell duplicates apart");
    write_each(text, head, stats, label, |s, i| s.remembered[i].into());
    let name = "ringmill_stream_events_rejected_total";
    text.head(name, "counter", "Events refused for their content");
    for (shard, stats) in stats {
        let core = shard.to_string();
        for (stream, counters) in streams.iter().zip(&stats.counters.streams) {
            for reason in RejectReason::ALL {
                let labels = [
                    ("core", &*core),
                    ("stream", stream),
                    ("reason", reason.name()),
                ];
                text.sample(name, &labels, counters.rejected[reason.index()]);
            }
        }
    }
    write_progress(text, stats, &streams);
}

/// What is no count of events as they came.
fn write_progress(text: &mut Text, stats: &ShardStats, streams: &[&str]) {
    let label = ("stream", streams);
    let name = "ringmill_stream_events_retracted";
    let head = (name, "gauge", "Accepted events that are taken back");
    write_each(text, head, stats, label, |s, i| {
        s.counters.streams[i].retracted.into()
    });
    let name = "ringmill_stream_watermark_ms";
    text.head(
        name,
        "gauge",
        "Watermark in effect, ms since the epoch; absent while there is none",
    );
    for (shard, stats) in stats {
        for (stream, watermark_ms) in streams.iter().zip(&stats.watermarks_ms) {
            if *watermark_ms != i64::MIN {
                let labels = [("core", &*shard.to_string()), ("stream", *stream)];
                text.sample(name, &labels, watermark_ms);
            }
        }
    }
    text.head("ringmill_producers", "gauge", "Producers known");
    for (shard, stats) in stats {
        text.sample(
            "ringmill_producers",
            &[("core", &shard.to_string())],
            stats.producers,
        );
    }
}

fn write_views(text: &mut Text, app: &App, stats: &ShardStats) {
    let views: Vec<&str> = app.pipeline.views.iter().map(|view| &*view.name).collect();
    let label = ("view", &*views);
    let name = "ringmill_view_late_total";
    text.head(name, "counter", "Windows that events came too late for");
    for (shard, stats) in stats {
        let core = shard.to_string();
        for (view, counters) in views.iter().zip(&stats.counters.views) {
            for reason in LateReason::ALL {
                let labels = [("core", &*core), ("view", view), ("reason", reason.name())];
                text.sample(name, &labels, counters.late[reason.index()]);
            }
        }
    }
    let head = (
        "ringmill_view_amended_total",
        "counter",
        "Closed windows that late events changed",
    );
    write_each(text, head, stats, label, |s, i| {
        s.counters.views[i].amended.into()
    });
    let head = (
        "ringmill_view_windows_open",
        "gauge",
        "Windows that still take events",
    );
    write_each(text, head, stats, label, |s, i| {
        s.counters.views[i].open_windows.into()
    });
    let head = (
        "ringmill_view_windows_closed",
        "gauge",
        "Final windows that can be read",
    );
    write_each(text, head, stats, label, |s, i| {
        s.counters.views[i].closed_windows.into()
    });
    let head = (
        "ringmill_view_groups",
        "gauge",
        "Groups in all panes of readable windows",
    );
    write_each(text, head, stats, label, |s, i| {
        s.counters.views[i].groups.into()
    });
    let name = "ringmill_view_expression_errors_total";
    write_errors(text, name, stats, label, |s, i| s.counters.views[i].errors);
}

/// Counters of expressions: one sample per core, object and reason.
fn write_errors(
    text: &mut Text,
    name: &str,
    stats: &ShardStats,
    (label, objects): (&str, &[&str]),
    errors: impl Fn(&Stats, usize) -> [u64; ErrorReason::COUNT],
) {
    let help = "Events for which an expression could not be computed";
    text.head(name, "counter", help);
    for (shard, stats) in stats {
        let core = shard.to_string();
        for (index, object) in objects.iter().enumerate() {
            let errors = errors(stats, index);
            for reason in ErrorReason::ALL {
                let labels = [
                    ("core", &*core),
                    (label, *object),
                    ("reason", reason.name()),
                ];
                text.sample(name, &labels, errors[reason.index()]);
            }
        }
    }
}

fn write_boards(text: &mut Text, app: &App, stats: &ShardStats) {
    let boards: Vec<&str> = app
        .pipeline
        .boards
        .iter()
        .map(|board| &*board.name)
        .collect();
    let label = ("board", &*boards);
    let head = ("ringmill_board_members", "gauge", "Members on the board");
    write_each(text, head, stats, label, |s, i| {
        s.counters.boards[i].members.into()
    });
    let name = "ringmill_board_overflow_total";
    let head = (
        name,
        "counter",
        "Events left out because the score would leave its type",
    );
    write_each(text, head, stats, label, |s, i| {
        s.counters.boards[i].overflow.into()
    });
    let name = "ringmill_board_expression_errors_total";
    write_errors(text, name, stats, label, |s, i| s.counters.boards[i].errors);
    let name = "ringmill_board_late_total";
    let head = (name, "counter", "Events after their season was final");
    write_each(text, head, stats, label, |s, i| {
        s.counters.boards[i].late.into()
    });
    let head = ("ringmill_board_splits", "gauge", "Splits of the board");
    write_each(text, head, stats, label, |s, i| {
        s.counters.boards[i].splits.into()
    });
    let name = "ringmill_board_splits_refused_total";
    let help = "Events on the whole board only, because there were too many splits";
    write_each(text, (name, "counter", help), stats, label, |s, i| {
        s.counters.boards[i].splits_refused.into()
    });
}

fn write_stages(text: &mut Text, cores: &[CoreSnapshot]) {
    let name = "ringmill_stage_seconds";
    text.head(name, "histogram", "Time of events per core and stage");
    for (core, snapshot) in cores.iter().enumerate() {
        let core = core.to_string();
        for stage in Stage::ALL {
            let recorded = snapshot.stage(stage);
            let count = recorded.count();
            let labels = [("core", &*core), ("stage", stage.name())];
            for bits in BOUND_BITS_MIN..=BOUND_BITS_MAX {
                let bound_ns = 1u64 << bits;
                let le = seconds(u128::from(bound_ns));
                let labels = [labels[0], labels[1], ("le", &*le)];
                text.sample(
                    &format!("{name}_bucket"),
                    &labels,
                    recorded.count_below(bound_ns),
                );
            }
            let last = [labels[0], labels[1], ("le", "+Inf")];
            text.sample(&format!("{name}_bucket"), &last, count);
            text.sample(&format!("{name}_sum"), &labels, seconds(recorded.sum_ns()));
            text.sample(&format!("{name}_count"), &labels, count);
        }
    }
    let name = "ringmill_unattributed_seconds";
    text.head(
        name,
        "gauge",
        "Total time that no stage accounts for; near 0",
    );
    for (core, snapshot) in cores.iter().enumerate() {
        let value = snapshot.unattributed_ns() as f64 / 1e9;
        text.sample(name, &[("core", &core.to_string())], value);
    }
}

/// Nanoseconds as exact decimal seconds.
fn seconds(ns: u128) -> String {
    let (whole, fraction) = (ns / 1_000_000_000, ns % 1_000_000_000);
    let text = format!("{whole}.{fraction:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_exact_and_labels_escaped() {
        assert_eq!(seconds(0), "0");
        assert_eq!(seconds(1 << 10), "0.000001024");
        assert_eq!(seconds(1_000_000_000), "1");
        assert_eq!(seconds(17_179_869_184), "17.179869184");
        let mut text = Text(String::new());
        text.sample("a", &[], 1);
        text.sample("b", &[("c", "x\\\"\n"), ("d", "")], 2.5);
        assert_eq!(text.0, "a 1\nb{c=\"x\\\\\\\"\\n\",d=\"\"} 2.5\n");
    }
}
