//! Joining what the threads report: intervals as they end, and everything at the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use super::{IntervalRow, Outcome, ProducerEnd, ServerFacts};
use crate::acks::AckLog;
use crate::clock::RunClock;
use crate::error::LoadError;
use crate::host::{HostFacts, HostSample};
use crate::plan::RunPlan;
use crate::progress::Live;
use crate::recorder::Recorder;
use crate::tally::{Counts, IntervalSet, Phase};
use crate::worker::{Progress, Times, WorkerEnd};

/// How often the ack log is appended to.
const ACK_LOG_EVERY: Duration = Duration::from_millis(100);

/// An interval that not all threads have reported yet.
struct Pending {
    set: IntervalSet,
    threads: usize,
}

pub(super) struct Collector {
    threads: usize,
    times: Times,
    acks: Option<AckLog>,
    progress: Vec<Arc<Progress>>,
    pending: BTreeMap<(u8, u64), Pending>,
    pool: Vec<IntervalSet>,
    rows: Vec<IntervalRow>,
    response: Recorder,
    service: Recorder,
    send_lag: Recorder,
    pacing_lag: Recorder,
    host: [Option<HostSample>; 2],
}

impl Collector {
    pub(super) fn new(
        threads: usize,
        times: Times,
        acks: Option<AckLog>,
        progress: Vec<Arc<Progress>>,
    ) -> Collector {
        let host = if times.measure_from_ns == times.start_ns {
            [Some(HostSample::read()), None]
        } else {
            [None, None]
        };
        Collector {
            threads,
            times,
            acks,
            progress,
            pending: BTreeMap::new(),
            pool: vec![IntervalSet::default(), IntervalSet::default()],
            rows: Vec::new(),
            response: Recorder::new(),
            service: Recorder::new(),
            send_lag: Recorder::new(),
            pacing_lag: Recorder::new(),
            host,
        }
    }

    /// Takes intervals until all threads have ended.
    pub(super) fn run(
        &mut self,
        finished: &Receiver<(usize, Box<IntervalSet>)>,
        spares: &[SyncSender<Box<IntervalSet>>],
        live: &mut dyn Live,
    ) -> Result<(), LoadError> {
        loop {
            match finished.recv_timeout(ACK_LOG_EVERY) {
                Ok((thread, set)) => {
                    self.take(&set, live);
                    let _ = spares[thread].try_send(set);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if let Some(acks) = &mut self.acks {
                acks.append(&self.progress)?;
            }
        }
        while let Some((_, pending)) = self.pending.pop_first() {
            self.emit(&pending.set, live);
        }
        if let Some(acks) = &mut self.acks {
            acks.append(&self.progress)?;
            acks.finish()?;
        }
        live.end();
        Ok(())
    }

    /// Threads cut their intervals by the same clock, each a little late.
    fn key_of(&self, set: &IntervalSet) -> (u8, u64) {
        let interval_ns = self.times.interval_ns;
        let since_ns = set.to_ns.saturating_sub(self.times.start_ns);
        (set.phase as u8, (since_ns + interval_ns / 2) / interval_ns)
    }

    fn take(&mut self, set: &IntervalSet, live: &mut dyn Live) {
        if set.to_ns >= self.times.measure_from_ns && self.host[0].is_none() {
            self.host[0] = Some(HostSample::read());
        }
        if set.phase == Phase::Measured {
            self.host[1] = Some(HostSample::read());
        }
        let key = self.key_of(set);
        let pool = &mut self.pool;
        let pending = self.pending.entry(key).or_insert_with(|| {
            let mut empty = pool.pop().unwrap_or_default();
            empty.reset(set.from_ns);
            empty.phase = set.phase;
            Pending {
                set: empty,
                threads: 0,
            }
        });
        pending.set.merge(set);
        pending.threads += 1;
        while let Some(entry) = self.pending.first_entry() {
            if entry.get().threads < self.threads {
                break;
            }
            let pending = entry.remove();
            self.emit(&pending.set, live);
            self.pool.push(pending.set);
        }
    }

    fn emit(&mut self, set: &IntervalSet, live: &mut dyn Live) {
        if set.phase != Phase::WarmUp {
            self.response.merge(&set.response);
            self.service.merge(&set.service);
            self.send_lag.merge(&set.send_lag);
            self.pacing_lag.merge(&set.pacing_lag);
        }
        let is_empty_drain =
            set.phase == Phase::Drain && set.response.count() == 0 && set.counts.acked == 0;
        if !is_empty_drain {
            live.interval(set, set.to_ns.saturating_sub(self.times.start_ns));
        }
        // Encoded only after the run: compressing now would take the CPU from the threads.
        self.rows.push(IntervalRow {
            from_ns: set.from_ns,
            to_ns: set.to_ns,
            phase: set.phase,
            counts: set.counts,
            in_flight: set.in_flight,
            response: set.response.to_sparse(),
            service: set.service.to_sparse(),
            send_lag: set.send_lag.to_sparse(),
        });
    }

    /// The result, once all threads have ended.
    pub(super) fn outcome(
        self,
        plan: &RunPlan,
        run_id: String,
        server: ServerFacts,
        clock: &RunClock,
        ends: Vec<WorkerEnd>,
        stop: &AtomicBool,
    ) -> Outcome {
        let ended_ns = ends
            .iter()
            .map(|end| end.ended_ns)
            .max()
            .unwrap_or_default();
        let mut counts = Counts::default();
        for row in self.rows.iter().filter(|row| row.phase != Phase::WarmUp) {
            counts.add(&row.counts);
        }
        // A counted run ends with its last acknowledgement, a timed one with its time.
        let is_counted = plan.events.is_some();
        let measured_to_ns = if is_counted {
            self.rows.last().map_or(ended_ns, |row| row.to_ns)
        } else {
            ended_ns
        };
        let acked_in_window = self
            .rows
            .iter()
            .filter(|row| row.phase == Phase::Measured || (is_counted && row.phase == Phase::Drain))
            .map(|row| row.counts.acked)
            .sum();
        let measured_ns = measured_to_ns.saturating_sub(self.times.measure_from_ns);
        let usage: Vec<_> = ends.iter().filter_map(|end| end.usage).collect();
        let share = |ns: u64| ns as f64 / measured_ns.max(1) as f64;
        let steal = |[from, to]: [Option<HostSample>; 2]| to?.steal_since(&from?);
        let throttled = |[from, to]: [Option<HostSample>; 2]| to?.throttled_since(&from?);
        let (producers, faults) = ends_of_connections(&ends);
        Outcome {
            plan: plan.clone(),
            run_id,
            started: clock.wall(self.times.start_ns),
            host: HostFacts::read(),
            server,
            steal: steal(self.host),
            throttled_ns: throttled(self.host),
            run_queue_share: usage
                .iter()
                .map(|usage| share(usage.run_queue_ns))
                .reduce(f64::max),
            cpu_share: usage
                .iter()
                .map(|usage| share(usage.cpu_ns))
                .reduce(f64::max),
            intervals: self.rows,
            response: self.response,
            service: self.service,
            send_lag: self.send_lag,
            pacing_lag: self.pacing_lag,
            counts,
            acked_in_window,
            measured_ns,
            producers,
            faults,
            failure: ends.into_iter().find_map(|end| end.failure),
            interrupted: stop.load(Ordering::Relaxed),
        }
    }
}

/// What became of each producer, and the distinct faults in words.
fn ends_of_connections(ends: &[WorkerEnd]) -> (Vec<ProducerEnd>, Vec<String>) {
    let mut faults: Vec<String> = Vec::new();
    let mut producers = Vec::new();
    for connection in ends.iter().flat_map(|end| &end.connections) {
        let fault = connection.last_fault.as_ref();
        faults.extend(fault.filter(|fault| !faults.contains(fault)).cloned());
        producers.push(ProducerEnd {
            name: connection.plan.name.clone(),
            first: connection.first_sequence,
            acked: connection.window.acked(),
        });
    }
    (producers, faults)
}
