//! The JSON document of a run. All times are integers in ns.

use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::Judged;
use crate::host::HostFacts;
use crate::plan::RunPlan;
use crate::recorder::{Recorder, Sparse};
use crate::run::{IntervalRow, Outcome};
use crate::tally::Phase;
use crate::units::Rate;
use crate::verify::Findings;

/// Version of the document.
pub const VERSION: u32 = 1;

/// A run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Document {
    /// Version of this form.
    pub schema: u32,
    /// `valid`, or why not.
    pub verdict: String,
    /// The same, one by one.
    pub reasons: Vec<String>,
    /// What should be known beside the figures.
    pub notes: Vec<String>,
    /// `open` or `closed`.
    pub mode: String,
    /// Events per second that were due.
    pub offered_per_s: f64,
    /// Events per second that were acknowledged.
    pub acked_per_s: f64,
    /// Events that were due.
    pub offered_events: u64,
    /// Events that were acknowledged.
    pub acked_events: u64,
    /// Rejected, timed out and unsent events, lost connections and refusals.
    pub errors: u64,
    /// The same, one by one.
    pub error_counts: ErrorCounts,
    /// What the server or the sockets said.
    pub faults: Vec<String>,
    /// Acknowledgement minus intended time.
    pub response_ns: LatencyBlock,
    /// Acknowledgement minus actual send.
    pub service_ns: LatencyBlock,
    /// Actual send minus intended time.
    pub send_lag_ns: LatencyBlock,
    /// Actual send minus the moment at which the frame was due; decides validity.
    pub pacing_lag_ns: LatencyBlock,
    /// Length of the measured part.
    pub measured_ns: u64,
    /// Jain's index over connections.
    pub fairness: f64,
    /// Events per system call that sends.
    pub events_per_send: f64,
    /// Share of the time that the generator worked.
    pub busy_share: f64,
    /// The objective, if there was one.
    pub slo: Option<String>,
    /// Conditions of it that were not met.
    pub slo_missed: Vec<String>,
    /// The proof of what is stored, if it was asked for.
    pub verify: Option<VerifyBlock>,
    /// The floor, if it was measured.
    pub floor: Option<FloorBlock>,
    /// The machine.
    pub host: HostBlock,
    /// The server.
    pub server: ServerBlock,
    /// All effective options.
    pub options: OptionsBlock,
    /// Seed of arrivals and content.
    pub seed: u64,
    /// Names the run.
    pub run_id: String,
    /// When load began, in ns since the epoch.
    pub started_ns: u64,
    /// Whether the run was interrupted.
    pub interrupted: bool,
    /// A command that repeats it.
    pub command: String,
    /// The producers: name, first sequence, acknowledged through.
    pub producers: Vec<(String, u64, u64)>,
    /// One row per interval.
    pub intervals: Vec<IntervalBlock>,
    /// Slots of the response times: (highest value, count), 3 digits.
    pub response_slots: Vec<(u64, u64)>,
}

/// Errors by kind.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ErrorCounts {
    /// Events that the server refused for their content.
    pub rejected: u64,
    /// Sent events without acknowledgement.
    pub timed_out: u64,
    /// Due events that were never sent.
    pub unsent: u64,
    /// Connections lost.
    pub connections_lost: u64,
    /// Connections made again.
    pub reconnects: u64,
    /// Refusals of the server.
    pub faults: u64,
    /// Events that waited for a full in-flight window; no error.
    pub held: u64,
    /// Events that the generator itself sent more than 100 us late; no error.
    pub late_over_100us: u64,
}

impl ErrorCounts {
    fn of(outcome: &Outcome) -> ErrorCounts {
        let counts = &outcome.counts;
        ErrorCounts {
            rejected: counts.rejected,
            timed_out: counts.timed_out,
            unsent: counts.unsent,
            connections_lost: counts.lost,
            reconnects: counts.reconnects,
            faults: counts.faults,
            held: counts.held,
            late_over_100us: outcome.pacing_lag.count_above(100_000),
        }
    }
}

/// A distribution.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencyBlock {
    /// Number of events.
    pub count: u64,
    /// Mean.
    pub mean: u64,
    /// Percentiles and the exact maximum.
    pub p50: u64,
    /// 90%.
    pub p90: u64,
    /// 99%.
    pub p99: u64,
    /// 99.9%.
    pub p999: u64,
    /// 99.99%.
    pub p9999: u64,
    /// Maximum.
    pub max: u64,
}

impl LatencyBlock {
    /// The figures of a recorder.
    pub fn of(recorder: &Recorder) -> LatencyBlock {
        LatencyBlock {
            count: recorder.count(),
            mean: recorder.mean().round() as u64,
            p50: recorder.quantile(0.5),
            p90: recorder.quantile(0.9),
            p99: recorder.quantile(0.99),
            p999: recorder.quantile(0.999),
            p9999: recorder.quantile(0.9999),
            max: recorder.max(),
        }
    }

    /// The percentiles that reports show: name, share, value.
    pub fn rows(&self) -> [(&'static str, f64, u64); 5] {
        [
            ("p50", 0.5, self.p50),
            ("p90", 0.9, self.p90),
            ("p99", 0.99, self.p99),
            ("p99.9", 0.999, self.p999),
            ("p99.99", 0.9999, self.p9999),
        ]
    }
}

/// The machine during the run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostBlock {
    /// Fixed facts.
    #[serde(flatten)]
    pub facts: HostFacts,
    /// Share of CPU time that the hypervisor took.
    pub steal_share: Option<f64>,
    /// Time that the control group was throttled for.
    pub throttled_ns: Option<u64>,
    /// Share of its time that the worst generator thread waited for a CPU.
    pub run_queue_share: Option<f64>,
    /// Share of its time that the busiest generator thread was on a CPU.
    pub cpu_share: Option<f64>,
}

impl HostBlock {
    fn of(outcome: &Outcome) -> HostBlock {
        HostBlock {
            facts: outcome.host.clone(),
            steal_share: outcome.steal,
            throttled_ns: outcome.throttled_ns,
            run_queue_share: outcome.run_queue_share,
            cpu_share: outcome.cpu_share,
        }
    }
}

/// The server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServerBlock {
    /// Number of shards.
    pub shards: u16,
    /// Stream that was loaded.
    pub stream: String,
    /// What its acknowledgements promise.
    pub level: String,
    /// Bytes of a row.
    pub row_bytes: usize,
}

impl ServerBlock {
    fn of(outcome: &Outcome) -> ServerBlock {
        ServerBlock {
            shards: outcome.server.shards,
            stream: outcome.server.stream.clone(),
            level: outcome.server.level.to_owned(),
            row_bytes: outcome.server.row_bytes,
        }
    }
}

/// All effective options.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the option of its name")]
pub struct OptionsBlock {
    pub addr: String,
    pub rate_per_s: Option<f64>,
    pub arrival: String,
    pub batch: u64,
    pub connections: u64,
    pub inflight: u64,
    pub keys: u64,
    pub key_dist: String,
    pub threads: u64,
    pub cpus: Vec<usize>,
    pub pacing: String,
    pub reconnect: bool,
    pub timeout_ns: u64,
    pub duration_ns: u64,
    pub warmup_ns: u64,
    pub interval_ns: u64,
    pub events: Option<u64>,
    pub limits: String,
}

impl OptionsBlock {
    fn of(plan: &RunPlan) -> OptionsBlock {
        OptionsBlock {
            addr: plan.addr.clone(),
            rate_per_s: match plan.rate {
                Rate::PerSecond(rate) => Some(rate),
                Rate::Max => None,
            },
            arrival: format!("{:?}", plan.arrival).to_lowercase(),
            batch: plan.batch,
            connections: plan.connections,
            inflight: plan.inflight,
            keys: plan.keys,
            key_dist: plan.key_dist.to_string(),
            threads: plan.threads,
            cpus: plan.cpus.clone(),
            pacing: format!("{:?}", plan.pacing).to_lowercase(),
            reconnect: plan.reconnect,
            timeout_ns: plan.timeout.as_nanos() as u64,
            duration_ns: plan.duration.as_nanos() as u64,
            warmup_ns: plan.warmup.as_nanos() as u64,
            interval_ns: plan.interval.as_nanos() as u64,
            events: plan.events,
            limits: plan.limits.to_string(),
        }
    }
}

/// One interval.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IntervalBlock {
    /// Since load began.
    pub from_ns: u64,
    /// Since load began.
    pub to_ns: u64,
    /// `warm-up`, `measured` or `drain`.
    pub phase: String,
    /// Events that were due.
    pub offered: u64,
    /// Events acknowledged in it.
    pub acked: u64,
    /// Unacknowledged events at its end.
    pub in_flight: u64,
    /// Response times of the events acknowledged in it.
    pub response_p50_ns: u64,
    /// 99%.
    pub response_p99_ns: u64,
    /// Maximum.
    pub response_max_ns: u64,
    /// 99% of the actual send minus the intended time.
    pub send_lag_p99_ns: u64,
    /// Errors in it.
    pub errors: u64,
}

impl IntervalBlock {
    fn of(row: &IntervalRow, start_ns: u64) -> IntervalBlock {
        let phase = match row.phase {
            Phase::WarmUp => "warm-up",
            Phase::Measured => "measured",
            Phase::Drain => "drain",
        };
        IntervalBlock {
            from_ns: row.from_ns.saturating_sub(start_ns),
            to_ns: row.to_ns.saturating_sub(start_ns),
            phase: phase.to_owned(),
            offered: row.counts.offered,
            acked: row.counts.acked,
            in_flight: row.in_flight,
            response_p50_ns: row.response.quantile(0.5),
            response_p99_ns: row.response.quantile(0.99),
            response_max_ns: row.response.max,
            send_lag_p99_ns: row.send_lag.quantile(0.99),
            errors: row.counts.errors(),
        }
    }
}

/// What is stored, compared with what was acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyBlock {
    /// Whether nothing is lost, doubled or wrong.
    pub ok: bool,
    /// Events stored once.
    pub stored_once: u64,
    /// Acknowledged events that are missing.
    pub lost: u64,
    /// Events stored more than once.
    pub duplicate: u64,
    /// Events that are stored though their acknowledgement never arrived; allowed.
    pub indeterminate: u64,
    /// Members whose score was compared.
    pub members_compared: u64,
    /// Scores that differ.
    pub scores_wrong: u64,
    /// What else differs, in words.
    pub problems: Vec<String>,
    /// What could not be compared, and why.
    pub skipped: Vec<String>,
}

impl From<&Findings> for VerifyBlock {
    fn from(findings: &Findings) -> VerifyBlock {
        VerifyBlock {
            ok: findings.is_ok(),
            stored_once: findings.stored_once,
            lost: findings.lost,
            duplicate: findings.duplicate,
            indeterminate: findings.indeterminate,
            members_compared: findings.members_compared,
            scores_wrong: findings.scores_wrong,
            problems: findings.problems.clone(),
            skipped: findings.skipped.clone(),
        }
    }
}

/// The floor, measured in alternating blocks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FloorBlock {
    /// Address of the floor server.
    pub addr: String,
    /// Whether its own runs are valid.
    pub verdict: String,
    /// Pairs of blocks.
    pub pairs: usize,
    /// Its rate.
    pub acked_per_s: f64,
    /// Its response times.
    pub response_ns: LatencyBlock,
    /// Engine over floor, median over the pairs: rate, p50, p99, p99.9.
    pub ratios: Vec<(String, f64, f64, f64)>,
}

impl Document {
    /// The document of a judged run.
    pub fn of(judged: &Judged) -> Document {
        let Judged {
            outcome,
            verdict,
            slo_missed,
            slo,
        } = judged;
        let plan = &outcome.plan;
        let counts = &outcome.counts;
        let start_ns = outcome.intervals.first().map_or(0, |row| row.from_ns);
        let mut notes = verdict.notes.clone();
        notes.extend(
            outcome
                .failure
                .iter()
                .map(|failure| format!("broke off: {failure}")),
        );
        Document {
            schema: VERSION,
            verdict: verdict.text(),
            reasons: verdict.reasons.clone(),
            notes,
            mode: if plan.rate == Rate::Max {
                "closed"
            } else {
                "open"
            }
            .to_owned(),
            offered_per_s: outcome.offered_per_s(),
            acked_per_s: outcome.acked_per_s(),
            offered_events: counts.offered,
            acked_events: outcome.acked_events(),
            errors: counts.errors(),
            error_counts: ErrorCounts::of(outcome),
            faults: outcome.faults.clone(),
            response_ns: LatencyBlock::of(&outcome.response),
            service_ns: LatencyBlock::of(&outcome.service),
            send_lag_ns: LatencyBlock::of(&outcome.send_lag),
            pacing_lag_ns: LatencyBlock::of(&outcome.pacing_lag),
            measured_ns: outcome.measured_ns,
            fairness: outcome.fairness(),
            events_per_send: counts.offered as f64 / counts.sends.max(1) as f64,
            busy_share: outcome.busy_share(),
            slo: slo.as_ref().map(ToString::to_string),
            slo_missed: slo_missed.clone(),
            verify: None,
            floor: None,
            host: HostBlock::of(outcome),
            server: ServerBlock::of(outcome),
            options: OptionsBlock::of(plan),
            seed: plan.seed,
            run_id: outcome.run_id.clone(),
            started_ns: outcome
                .started
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_nanos() as u64,
            interrupted: outcome.interrupted,
            command: plan.command(),
            producers: outcome
                .producers
                .iter()
                .map(|p| (p.name.clone(), p.first, p.acked))
                .collect(),
            intervals: outcome
                .intervals
                .iter()
                .map(|row| IntervalBlock::of(row, start_ns))
                .collect(),
            response_slots: outcome.response.to_sparse().slots,
        }
    }

    /// The response times again.
    pub fn response(&self) -> Recorder {
        let sum = u128::from(self.response_ns.mean) * u128::from(self.response_ns.count);
        let slots = self.response_slots.clone();
        Sparse {
            slots,
            max: self.response_ns.max,
            sum,
        }
        .to_recorder()
    }
}
