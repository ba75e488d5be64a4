//! The loop of one core: sockets, lanes, state and log of one shard, in turns.
//!
//! One turn ([`CoreLoop::tick`]) never blocks, and each phase feeds a later one of the same turn:
//!
//! ```text
//!  1 reap      sockets and log: what the kernel finished
//!  2 release   replies whose events are safe
//!  3 replies   reply lanes: remote parts of publications
//!  4 receive   parse frames, route rows; apply and log the local ones
//!  5 requests  request lanes: apply and log what other peers sent
//!  6 seal      submit the log frame if none is in flight
//!  7 publish   lanes, deltas, acks; everything to the kernel in one call
//! ```
//!
//! The loop knows sockets, disk, clock and peers only through [`Net`], [`Disk`], [`Clock`] and
//! [`Ports`], so that a test can drive every core of an engine in one thread.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringmill_shard::entry::ProducerId;
use ringmill_shard::pipeline::Pipeline;
use ringmill_shard::state::{Outcome, ShardState};
use ringmill_shard::wire::HelloAck;
use ringmill_storage::disk::Disk;
use ringmill_storage::log::Log;

use crate::background::SegmentPort;
use crate::clock::Clock;
use crate::commit::{CommitQueue, Lsn};
use crate::connection::Connection;
use crate::mesh::Ports;
use crate::message::{Adopt, request};
use crate::metrics::{CoreMetrics, Counter};
use crate::net::{Net, NetEvent, SocketId};

mod advice;
mod ahead;
mod apply;
mod correct;
mod gauges;
mod hello;
mod lanes;
mod publish;
mod receive;
mod release;
mod route;
mod stop;
mod time;

pub use apply::LogTimes;
use time::StreamClock;

/// A build of the floor that every figure is compared with: how much of the path is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floor {
    /// Acknowledge after framing.
    Echo,
    /// Log and flush the rows, with no decode and no apply.
    Log,
}

/// What one shard shares with other threads, as flags that carry no data.
#[derive(Clone, Debug)]
pub struct ShardFlags {
    failed: Arc<[AtomicBool]>,
    shard: usize,
    disk_full: Arc<AtomicBool>,
}

impl ShardFlags {
    /// The flags of `shard`: its place in `failed`, and the `disk_full` of the whole store.
    pub fn new(failed: Arc<[AtomicBool]>, shard: usize, disk_full: Arc<AtomicBool>) -> ShardFlags {
        ShardFlags {
            failed,
            shard,
            disk_full,
        }
    }

    /// Whether the log has failed: the shard takes no more writes.
    pub fn failed(&self) -> bool {
        // Ordering: Relaxed here and below; readers act on a flag some time later.
        self.failed[self.shard].load(Ordering::Relaxed)
    }

    /// Notes that the log has failed; false if that was known.
    fn set_failed(&self) -> bool {
        !self.failed[self.shard].swap(true, Ordering::Relaxed)
    }

    /// Whether new events are refused for want of space.
    pub fn disk_full(&self) -> bool {
        self.disk_full.load(Ordering::Relaxed)
    }
}

/// What a core is made of.
pub struct CoreParts<D: Disk, C> {
    /// Time.
    pub clock: C,
    /// This core's counters and histograms.
    pub metrics: Arc<CoreMetrics>,
    /// The pipeline.
    pub pipeline: Arc<Pipeline>,
    /// The recovered state.
    pub state: ShardState,
    /// The recovered log.
    pub log: Log<D>,
    /// Lanes to the other peers.
    pub ports: Ports,
    /// Where prepared segments come from; `None` in simulations, which supply them directly.
    pub segments: Option<SegmentPort>,
    /// Floor mode.
    pub floor: Option<Floor>,
    /// Shared flags.
    pub flags: ShardFlags,
    /// The kernel flushes on this core's own CPU: sleep while a frame is in flight.
    pub sleep_for_flush: bool,
}

/// Everything of a core but its sockets.
pub(crate) struct Core<D: Disk, C> {
    clock: C,
    metrics: Arc<CoreMetrics>,
    pipeline: Arc<Pipeline>,
    state: ShardState,
    log: Log<D>,
    ports: Ports,
    segments: Option<SegmentPort>,
    floor: Option<Floor>,
    flags: ShardFlags,
    /// This shard, and how many there are.
    me: usize,
    shards: usize,
    connections: Vec<Option<Connection>>,
    /// Which connection speaks for a producer: `(peer, ticket without its number)`.
    sessions: HashMap<ProducerId, (usize, u64)>,
    /// Replies that wait until the log is durable, and those that wait until it is written.
    durable: CommitQueue,
    written: CommitQueue,
    /// Connections with something to acknowledge or to send, in the order of their waiting.
    dirty: VecDeque<SocketId>,
    /// Connections with a frame that found no room, in the order of their waiting.
    blocked: VecDeque<SocketId>,
    /// Answers that are being handed over piece by piece.
    answers: VecDeque<lanes::OpenAnswer>,
    streams: Vec<StreamClock>,
    /// Bytes of the oldest delta that are on their way already.
    delta_sent: usize,
    /// Pieces of the delta that a peer has begun to send.
    delta_pieces: Vec<Vec<u8>>,
    log_times: LogTimes,
    /// When a flush is due for streams that are flushed at an interval.
    flush_due_ns: Option<u64>,
    /// Stamp of the last batch: strictly increasing within one log.
    last_stamp_ns: u64,
    turn_ns: u64,
    turn_wall_ns: u64,
    outcome: Outcome,
    router: route::Router,
    scratch: Vec<u8>,
    /// Bytes parsed in this turn.
    turn_bytes: usize,
    /// Most replies that have waited for the log at a time.
    pending_peak: usize,
    next_core: usize,
    next_sweep_ns: u64,
    frame_timeout_ns: u64,
    stopping: bool,
    stop_by_ns: u64,
    farewell_said: bool,
    sleep_for_flush: bool,
    hello_ack: HelloAck,
}

/// One core: sockets and everything behind them.
pub struct CoreLoop<N: Net, D: Disk, C: Clock> {
    net: N,
    core: Core<D, C>,
    events: Vec<NetEvent>,
}

/// How a core waits when there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spin {
    /// Look again for this long, then sleep.
    For(Duration),
    /// Never sleep.
    Always,
}

/// Longest sleep of an idle core: what only time makes due waits at most this long.
const PARK_MAX: Duration = Duration::from_millis(100);

/// How often connections are looked over for half frames that do not come on.
const SWEEP_NS: u64 = 1_000_000_000;

impl<N: Net, D: Disk, C: Clock> CoreLoop<N, D, C> {
    /// A core over its sockets and its recovered parts.
    pub fn new(net: N, parts: CoreParts<D, C>) -> CoreLoop<N, D, C> {
        let me = parts.ports.me;
        let shards = parts.ports.control();
        let now = parts.clock.mono_ns();
        let streams = parts
            .pipeline
            .streams
            .iter()
            .map(|_| StreamClock::new(shards, now))
            .collect();
        let router = route::Router::new(&parts.pipeline, shards);
        let core = Core {
            me,
            shards,
            streams,
            router,
            connections: Vec::new(),
            sessions: HashMap::new(),
            durable: CommitQueue::new(),
            written: CommitQueue::new(),
            dirty: VecDeque::new(),
            blocked: VecDeque::new(),
            answers: VecDeque::new(),
            delta_sent: 0,
            delta_pieces: vec![Vec::new(); shards],
            log_times: LogTimes::default(),
            flush_due_ns: None,
            last_stamp_ns: parts.state.last_stamp_ns(),
            turn_ns: now,
            turn_wall_ns: parts.clock.wall_ns(),
            outcome: Outcome::default(),
            scratch: Vec::new(),
            turn_bytes: 0,
            pending_peak: 0,
            next_core: 0,
            next_sweep_ns: now + SWEEP_NS,
            frame_timeout_ns: receive::FRAME_TIMEOUT_NS,
            stopping: false,
            stop_by_ns: u64::MAX,
            farewell_said: false,
            sleep_for_flush: parts.sleep_for_flush,
            hello_ack: hello::template(&parts.pipeline, shards),
            clock: parts.clock,
            metrics: parts.metrics,
            pipeline: parts.pipeline,
            state: parts.state,
            log: parts.log,
            ports: parts.ports,
            segments: parts.segments,
            floor: parts.floor,
            flags: parts.flags,
        };
        CoreLoop {
            net,
            core,
            events: Vec::new(),
        }
    }

    /// Sets how long a frame may take from its first byte to its last.
    #[must_use]
    pub fn with_frame_timeout(mut self, timeout: Duration) -> CoreLoop<N, D, C> {
        self.core.frame_timeout_ns = timeout.as_nanos().min(u128::from(u64::MAX)) as u64;
        self
    }

    /// One turn. Returns whether anything was done, so that the caller knows when to wait.
    pub fn tick(&mut self) -> bool {
        let CoreLoop { net, core, events } = self;
        core.begin_turn();
        net.poll(events);
        let mut busy = !events.is_empty();
        busy |= core.reap_log();
        core.release();
        busy |= core.drain_replies();
        core.look_ahead(net, events);
        for event in events.drain(..) {
            Self::on_event(net, core, event);
        }
        busy |= core.retry_blocked(net);
        core.sweep_if_due();
        busy |= core.drain_requests(net);
        busy |= core.seal();
        core.release_unlogged();
        core.ship_deltas();
        core.hand_over_answers();
        core.exchange_watermarks();
        core.acknowledge(net);
        core.publish_lanes();
        net.flush();
        busy |= core.has_acks_left();
        core.let_flush_run(busy);
        core.end_turn(net.counters(), busy);
        busy
    }

    fn on_event(net: &mut N, core: &mut Core<D, C>, event: NetEvent) {
        match event {
            NetEvent::Accepted(fd) => core.place(net, fd),
            NetEvent::Data(socket, chunk) => core.on_data(net, socket, chunk),
            NetEvent::Sent(socket) => core.on_sent(net, socket),
            NetEvent::Closed(socket, _) => core.on_closed(net, socket),
        }
    }

    /// Turns until `stop` is set and everything taken in is safe and acknowledged.
    pub fn run(mut self, spin: Spin, stop: &AtomicBool) {
        let mut idle_since = None;
        loop {
            let busy = self.tick();
            // Ordering: Relaxed, the flag carries no data; the control thread wakes a sleeper.
            if stop.load(Ordering::Relaxed) && self.core.stop(&mut self.net) {
                break;
            }
            if busy {
                idle_since = None;
                continue;
            }
            let since = *idle_since.get_or_insert(self.core.turn_ns);
            match spin {
                Spin::Always if !self.core.must_sleep_for_flush() => std::hint::spin_loop(),
                Spin::For(limit)
                    if !self.core.must_sleep_for_flush()
                        && self.core.turn_ns - since < limit.as_nanos() as u64 =>
                {
                    std::hint::spin_loop();
                }
                _ => self.park(),
            }
        }
        self.core.close_log();
    }

    /// Sleeps until the kernel or a peer has something, or something is due.
    fn park(&mut self) {
        if self.core.ports.prepare_park() {
            self.core.metrics.add(Counter::Parks, 1);
            let wait = self.core.next_due().min(PARK_MAX);
            self.net.park(wait);
            self.core.ports.unpark();
        }
    }

    /// The state, for tests that compare it with a model.
    pub fn state(&self) -> &ShardState {
        &self.core.state
    }

    /// The sockets, for tests that connect to them.
    pub fn net(&mut self) -> &mut N {
        &mut self.net
    }

    /// The log, for tests that supply segments.
    pub fn log(&mut self) -> &mut Log<D> {
        &mut self.core.log
    }
}

impl<D: Disk, C: Clock> Core<D, C> {
    fn begin_turn(&mut self) {
        self.turn_ns = self.clock.mono_ns();
        self.turn_wall_ns = self.clock.wall_ns();
        self.turn_bytes = 0;
    }

    /// Looks over the connections now and then; after what has arrived was read, so that a core
    /// that was held up itself does not blame its clients.
    fn sweep_if_due(&mut self) {
        if self.turn_ns >= self.next_sweep_ns {
            let held_up_ns = self.turn_ns - self.next_sweep_ns;
            self.next_sweep_ns = self.turn_ns + SWEEP_NS;
            if held_up_ns > SWEEP_NS {
                // Bytes that came meanwhile may need one more turn to be seen: the time in which
                // nobody looked is no client's fault.
                self.give_time_back(held_up_ns);
            } else {
                self.sweep();
            }
        }
    }

    fn connection(&mut self, socket: SocketId) -> Option<&mut Connection> {
        let connection = self.connections.get_mut(socket.index as usize)?.as_mut()?;
        (connection.socket == socket).then_some(connection)
    }

    /// The connection of a socket, made at its first event.
    fn connection_or_new(&mut self, socket: SocketId) -> &mut Connection {
        let index = socket.index as usize;
        if self.connections.len() <= index {
            self.connections.resize_with(index + 1, || None);
        }
        let slot = &mut self.connections[index];
        if slot.as_ref().is_none_or(|known| known.socket != socket) {
            self.metrics.add(Counter::ConnectionsOpened, 1);
            *slot = Some(Connection::new(socket, self.turn_ns));
        }
        slot.as_mut().expect("invariant: just filled")
    }

    fn mark_dirty(&mut self, socket: SocketId) {
        if let Some(connection) = self.connection(socket)
            && !connection.dirty
        {
            connection.dirty = true;
            self.dirty.push_back(socket);
        }
    }

    /// Gives an accepted socket to the cores in turn, so that few connections still use all.
    fn place(&mut self, net: &mut impl Net, fd: OwnedFd) {
        let core = self.next_core;
        self.next_core = (self.next_core + 1) % self.shards;
        if core == self.me {
            self.adopt(net, fd);
            return;
        }
        let lane = self.ports.requests_out[core]
            .as_mut()
            .expect("invariant: a lane to each peer");
        match lane.reserve(request::ADOPT, Adopt::BYTES) {
            Some(body) => {
                Adopt { fd: fd.as_raw_fd() }.write(body);
                lane.commit();
                // The descriptor travels in the record; its new core owns it from here on.
                let _ = fd.into_raw_fd();
            }
            // The lane is full, so that core is busy: this one takes the connection.
            None => self.adopt(net, fd),
        }
    }

    fn adopt(&mut self, net: &mut impl Net, fd: OwnedFd) {
        // A socket that cannot be set up has been closed by its peer already.
        if let Ok(socket) = net.adopt(fd) {
            self.connection_or_new(socket);
        }
    }

    fn publish_lanes(&mut self) {
        let woken = self.ports.publish_all();
        if woken > 0 {
            self.metrics.add(Counter::Wakes, woken as u64);
        }
    }

    /// Everything up to here is in the log buffer; a reply that depends on all state waits for it.
    fn appended(&self) -> Lsn {
        self.log.appended_lsn()
    }
}
