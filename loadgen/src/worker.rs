//! One generator thread: a schedule, its connections, and the loop that joins them.
//!
//! One turn: cut the interval if its time has come, read acknowledgements, make the frames that are
//! due, hand them to the sockets (one system call per connection), then wait. After construction a
//! turn allocates nothing while connections hold.

mod revive;
mod wait;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};

use rustix::event::epoll;

use crate::args::Pacing;
use crate::clock::RunClock;
use crate::connection::{Connection, Lost};
use crate::error::LoadError;
use crate::host::{ThreadProbe, ThreadUsage};
use crate::offer::Staging;
use crate::rows::RowPlan;
use crate::tally::{IntervalSet, Phase, Tally};
use revive::Reviver;

/// Frames made in one turn and per connection, so that acknowledgements are read in time. A thread
/// that is behind sends several frames per system call, up to so many.
const FRAMES_PER_TURN_MAX: usize = 32;
/// Socket events taken in one turn.
const EVENTS_PER_TURN_MAX: usize = 64;
/// Bytes read from a socket at a time: 512 acknowledgements.
const READ_BYTES: usize = 16 * 1024;

/// When the parts of a run begin and end, in ns since the origin.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Load begins.
    pub start_ns: u64,
    /// Warm-up ends.
    pub measure_from_ns: u64,
    /// Load ends.
    pub end_ns: u64,
    /// Length of an interval.
    pub interval_ns: u64,
    /// How long acknowledgements are waited for after the end.
    pub drain_ns: u64,
}

/// How a thread makes load.
#[derive(Debug)]
pub enum Load {
    /// By schedule.
    Open(Staging),
    /// By acknowledgements, until so many events are sent.
    Closed {
        /// Events left to send.
        left: u64,
    },
}

/// How far a producer is, for the ack log.
#[derive(Debug, Default)]
pub struct Progress {
    /// Highest acknowledged sequence.
    pub acked: AtomicU64,
    /// Highest sequence that may have been sent.
    pub sent: AtomicU64,
}

/// Everything a thread starts with.
pub struct WorkerPlan {
    /// The clock of the run.
    pub clock: RunClock,
    /// When what happens.
    pub times: Times,
    /// How rows are written.
    pub rows: Arc<RowPlan>,
    /// What to offer.
    pub load: Load,
    /// How to wait.
    pub pacing: Pacing,
    /// Pin to this CPU.
    pub cpu: Option<usize>,
    /// Server address, if lost connections are to be made again.
    pub reconnect_to: Option<String>,
    /// Set to end the run early.
    pub stop: Arc<AtomicBool>,
    /// Index of the thread.
    pub thread: usize,
    /// Finished intervals go here.
    pub finished: SyncSender<(usize, Box<IntervalSet>)>,
    /// Empty intervals come back from here.
    pub spare: Receiver<Box<IntervalSet>>,
    /// One per connection.
    pub progress: Vec<Arc<Progress>>,
}

/// What a thread ends with.
#[derive(Debug)]
pub struct WorkerEnd {
    /// Its connections.
    pub connections: Vec<Connection>,
    /// CPU use and waiting for a CPU while it measured; `None` where the kernel does not tell.
    pub usage: Option<ThreadUsage>,
    /// When load really ended, in ns since the origin.
    pub ended_ns: u64,
    /// Why it could not go on, if it could not.
    pub failure: Option<String>,
}

/// A running generator thread.
pub(crate) struct Worker {
    plan: WorkerPlan,
    connections: Vec<Connection>,
    tally: Tally,
    poll: OwnedFd,
    phase: Phase,
    next_cut_ns: u64,
    /// Where the round over the connections goes on.
    cursor: usize,
    end_ns: u64,
    failure: Option<String>,
    usage: Option<(ThreadUsage, Option<ThreadUsage>)>,
    reviver: Reviver,
    last_work_ns: u64,
    chunk: Box<[u8]>,
}

impl Worker {
    /// Prepares the thread's state. The sockets of `connections` are attached by
    /// [`Worker::adopt`].
    pub(crate) fn new(plan: WorkerPlan, connections: Vec<Connection>) -> Result<Worker, LoadError> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(LoadError::system("epoll_create"))?;
        let times = plan.times;
        let tally = Tally::new(times.start_ns, times.measure_from_ns);
        let phase = if times.start_ns >= times.measure_from_ns {
            Phase::Measured
        } else {
            Phase::WarmUp
        };
        let until_measured = times.measure_from_ns - times.start_ns;
        let first_cut_ns = match until_measured % times.interval_ns {
            0 => times.start_ns + times.interval_ns,
            rest => times.start_ns + rest,
        };
        Ok(Worker {
            connections,
            tally,
            poll,
            phase,
            next_cut_ns: first_cut_ns,
            cursor: 0,
            end_ns: times.end_ns,
            failure: None,
            usage: None,
            reviver: Reviver::new(plan.reconnect_to.clone()),
            last_work_ns: times.start_ns,
            chunk: vec![0u8; READ_BYTES].into_boxed_slice(),
            plan,
        })
    }

    /// Runs to the end. Called on the thread itself.
    pub(crate) fn run(mut self) -> WorkerEnd {
        if let Some(cpu) = self.plan.cpu {
            let pinned = core_affinity::set_for_current(core_affinity::CoreId { id: cpu });
            if !pinned {
                self.failure = Some(format!("cannot pin a thread to CPU {cpu}"));
            }
        }
        // The default of 50 us would make every short sleep late by that much.
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
        let host = ThreadProbe::open();
        let lead_ns = self
            .plan
            .times
            .start_ns
            .saturating_sub(self.plan.clock.now_ns());
        std::thread::sleep(std::time::Duration::from_nanos(lead_ns));
        let mut events = Vec::with_capacity(EVENTS_PER_TURN_MAX);
        while self.failure.is_none() && self.turn(host.as_ref(), &mut events) {}
        self.finish();
        let usage = self.usage.and_then(|(from, to)| Some(to?.since(&from)));
        WorkerEnd {
            connections: self.connections,
            usage,
            ended_ns: self.end_ns,
            failure: self.failure,
        }
    }

    /// One turn; `false` after the last.
    fn turn(&mut self, host: Option<&ThreadProbe>, events: &mut Vec<epoll::Event>) -> bool {
        let now_ns = self.plan.clock.now_ns();
        if self.phase != Phase::Drain && self.plan.stop.load(Ordering::Relaxed) {
            self.end_early(now_ns);
        }
        self.advance_phase(now_ns, host);
        if now_ns >= self.next_cut_ns {
            self.cut(now_ns);
        }
        let mut worked = self.receive(events);
        worked |= self.reviver.is_waiting() && self.revive(now_ns);
        match self.phase {
            Phase::WarmUp | Phase::Measured => worked |= self.offer(now_ns),
            Phase::Drain => {
                if self
                    .connections
                    .iter()
                    .all(|connection| connection.window.events() == 0)
                {
                    return false;
                }
                if now_ns >= self.end_ns + self.plan.times.drain_ns || self.is_hopeless() {
                    return false;
                }
            }
        }
        worked |= self.flush(now_ns);
        let after_ns = self.plan.clock.now_ns();
        if worked {
            self.tally.set.counts.busy_ns += after_ns - now_ns;
            self.last_work_ns = after_ns;
            self.publish();
        } else {
            self.wait(after_ns);
        }
        true
    }

    fn is_hopeless(&self) -> bool {
        !self.reviver.is_waiting() && self.connections.iter().all(|c| c.socket().is_none())
    }

    fn advance_phase(&mut self, now_ns: u64, host: Option<&ThreadProbe>) {
        if self.phase == Phase::WarmUp && now_ns >= self.plan.times.measure_from_ns {
            self.cut(now_ns);
            self.phase = Phase::Measured;
        }
        if self.phase == Phase::Measured && self.usage.is_none() {
            self.usage = host.and_then(|host| host.read()).map(|usage| (usage, None));
        }
        if self.phase != Phase::Drain && (now_ns >= self.end_ns || self.is_all_sent()) {
            self.end_ns = self.end_ns.min(now_ns);
            self.refuse_rest(now_ns);
            if let (Some((_, to)), Some(host)) = (&mut self.usage, host) {
                *to = host.read();
            }
            self.cut(now_ns);
            self.phase = Phase::Drain;
        }
        if self.phase != Phase::Drain && self.is_hopeless() {
            self.end_early(now_ns);
            self.failure = Some(self.hopeless_reason());
        }
    }

    fn hopeless_reason(&self) -> String {
        let fault = self.connections.iter().find_map(|c| c.last_fault.clone());
        format!(
            "no connection is left: {}",
            fault.unwrap_or_else(|| "closed".to_owned())
        )
    }

    /// Only a run with a number of events ends before its time.
    fn is_all_sent(&self) -> bool {
        match &self.plan.load {
            Load::Closed { left } => *left == 0,
            Load::Open(staging) => staging.is_counted_out(),
        }
    }

    fn end_early(&mut self, now_ns: u64) {
        self.end_ns = self.end_ns.min(now_ns);
        if let Load::Open(staging) = &mut self.plan.load {
            staging.end_at(now_ns);
        }
    }

    /// Counts everything that was due and never sent.
    fn refuse_rest(&mut self, now_ns: u64) {
        let Load::Open(staging) = &mut self.plan.load else {
            return;
        };
        staging.end_at(self.end_ns.saturating_add(1));
        // What fell due since the last turn still goes, the short last frame among it.
        while self.is_due(now_ns) {
            let Some(which) = self.next_with_room() else {
                break;
            };
            self.push(which, now_ns);
        }
        let Load::Open(staging) = &mut self.plan.load else {
            return;
        };
        while staging.due_ns().is_some() {
            for &at_ns in staging.times() {
                self.tally.set.counts.offered += 1;
                self.tally.unsent(at_ns, now_ns);
            }
            staging.advance();
        }
    }

    fn is_due(&self, now_ns: u64) -> bool {
        match &self.plan.load {
            Load::Open(staging) => staging.due_ns().is_some_and(|due_ns| due_ns <= now_ns),
            Load::Closed { left } => *left > 0,
        }
    }

    fn cut(&mut self, now_ns: u64) {
        let interval_ns = self.plan.times.interval_ns;
        while self.next_cut_ns <= now_ns {
            self.next_cut_ns += interval_ns;
        }
        // Without a spare the collector is behind, and the interval grows; the ends of phases must
        // be exact, and there an allocation does no harm.
        let is_boundary = now_ns >= self.end_ns
            || (self.phase == Phase::WarmUp && now_ns >= self.plan.times.measure_from_ns);
        let next = match self.plan.spare.try_recv() {
            Ok(next) => next,
            Err(_) if is_boundary => Box::default(),
            Err(_) => return,
        };
        self.tally.set.in_flight = self.connections.iter().map(|c| c.window.events()).sum();
        let done = self.tally.cut(now_ns, self.phase, next);
        // The collector holds more slots than there are sets; it is gone only after a failure.
        let _ = self.plan.finished.try_send((self.plan.thread, done));
    }

    fn receive(&mut self, events: &mut Vec<epoll::Event>) -> bool {
        events.clear();
        let spare = rustix::buffer::spare_capacity(events);
        if epoll::wait(&self.poll, spare, Some(&wait::ZERO)).is_err() {
            return false;
        }
        let mut worked = false;
        for event in events.iter() {
            let (which, flags) = (event.data.u64() as usize, event.flags);
            if flags.contains(epoll::EventFlags::OUT) {
                self.connections[which].is_blocked = false;
                self.watch(which);
            }
            let connection = &mut self.connections[which];
            match connection.receive(&mut self.chunk, &self.plan.clock, &mut self.tally) {
                Ok(any) => worked |= any,
                Err(lost) => self.lose(which, lost),
            }
        }
        worked
    }

    fn offer(&mut self, now_ns: u64) -> bool {
        let mut any = false;
        for _ in 0..FRAMES_PER_TURN_MAX * self.connections.len() {
            if !self.is_due(now_ns) {
                break;
            }
            let Some(which) = self.next_with_room() else {
                if let Load::Open(staging) = &mut self.plan.load {
                    staging.hold();
                }
                break;
            };
            self.push(which, now_ns);
            any = true;
        }
        any
    }

    /// Connections take turns; a full one is passed over.
    fn next_with_room(&mut self) -> Option<usize> {
        let count = self.connections.len();
        let found = (0..count)
            .map(|step| (self.cursor + step) % count)
            .find(|&which| self.connections[which].has_room())?;
        self.cursor = (found + 1) % count;
        Some(found)
    }

    fn push(&mut self, which: usize, now_ns: u64) {
        let connection = &mut self.connections[which];
        let counts = &mut self.tally.set.counts;
        let events = match &mut self.plan.load {
            Load::Open(staging) => {
                let events = staging.times().len();
                let due_ns = staging.due_ns().expect("invariant: the caller saw it due");
                let due_ns = if staging.was_held() { now_ns } else { due_ns };
                counts.held += if staging.was_held() { events as u64 } else { 0 };
                connection
                    .window
                    .push(events as u32, due_ns, staging.times());
                staging.advance();
                events
            }
            Load::Closed { left } => {
                let events = (connection.plan.batch as u64).min(*left);
                *left -= events;
                connection.window.push(events as u32, now_ns, &[]);
                events as usize
            }
        };
        counts.offered += events as u64;
        counts.frames += connection.build(&self.plan.rows, &self.plan.clock);
    }

    fn flush(&mut self, now_ns: u64) -> bool {
        let mut worked = false;
        for which in 0..self.connections.len() {
            let connection = &mut self.connections[which];
            if connection.is_blocked {
                connection.offer_blocked(now_ns);
                continue;
            }
            if connection.socket().is_none() {
                continue;
            }
            let result = loop {
                // Frames to be sent again may take more than one buffer.
                let built = connection.build(&self.plan.rows, &self.plan.clock);
                self.tally.set.counts.frames += built;
                if !connection.has_bytes() {
                    break Ok(());
                }
                worked = true;
                match connection.flush(&self.plan.clock) {
                    Ok(calls) => self.tally.set.counts.sends += calls,
                    Err(lost) => break Err(lost),
                }
                if connection.is_blocked {
                    break Ok(());
                }
            };
            match result {
                Ok(()) if self.connections[which].is_blocked => self.watch(which),
                Ok(()) => {}
                Err(lost) => self.lose(which, lost),
            }
        }
        worked
    }

    /// Asks epoll for reads, and for room to write if the socket refused bytes.
    fn watch(&mut self, which: usize) {
        let connection = &self.connections[which];
        let Some(socket) = connection.socket() else {
            return;
        };
        let mut flags = epoll::EventFlags::IN;
        if connection.is_blocked {
            flags |= epoll::EventFlags::OUT;
        }
        let data = epoll::EventData::new_u64(which as u64);
        let _ = epoll::modify(&self.poll, socket, data, flags);
    }

    fn publish(&self) {
        for (connection, progress) in self.connections.iter().zip(&self.plan.progress) {
            // Ordering: readers want recent values and no relation between them but that `sent` is
            // never behind what the socket got, for which it is enough that both only grow.
            progress
                .acked
                .store(connection.window.acked(), Ordering::Relaxed);
            progress
                .sent
                .store(connection.window.next_sequence() - 1, Ordering::Relaxed);
        }
    }

    fn finish(&mut self) {
        let now_ns = self.plan.clock.now_ns();
        self.publish();
        for connection in &mut self.connections {
            connection.window.abandon(now_ns, &mut self.tally);
        }
        self.reviver.end();
        self.cut(now_ns.max(self.end_ns));
    }

    fn lose(&mut self, which: usize, lost: Lost) {
        let connection = &mut self.connections[which];
        connection.detach();
        self.tally.set.counts.lost += 1;
        match lost {
            Lost::Broken(reason) => {
                connection.last_fault.get_or_insert(reason);
                self.reviver
                    .ask(which, &connection.plan.name, self.plan.times.drain_ns);
            }
            Lost::ForGood(reason) => {
                connection.last_fault = Some(reason);
            }
        }
    }
}
