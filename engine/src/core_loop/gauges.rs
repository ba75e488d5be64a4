//! What one turn adds to the core's counters.

use ringmill_storage::disk::Disk;
use rustix::time::{ClockId, clock_gettime};

use super::{Core, SWEEP_NS};
use crate::clock::Clock;
use crate::latency::Stage;
use crate::metrics::Counter;
use crate::net::NetCounters;
use crate::ring::Producer;

impl<D: Disk, C: Clock> Core<D, C> {
    /// Counts the turn. Levels and processor time are looked at only now and then: they cost a
    /// system call or a walk.
    pub(super) fn end_turn(&mut self, net: NetCounters, busy: bool) {
        self.pending_peak = self
            .pending_peak
            .max(self.durable.len() + self.written.len());
        let metrics = &self.metrics;
        metrics.add(Counter::Turns, 1);
        if !busy {
            if self.turn_ns + SWEEP_NS == self.next_sweep_ns {
                self.measure_levels();
            }
            return;
        }
        metrics.add(Counter::TurnsBusy, 1);
        metrics.set(Counter::Enters, net.enters);
        metrics.set(Counter::BytesIn, net.bytes_in);
        metrics.set(Counter::BytesOut, net.bytes_out);
        metrics.set(Counter::BufferEmpty, net.buffer_empty);
        metrics.set(Counter::CqOverflow, net.overflow);
        metrics.set(Counter::Submits, net.submits);
        metrics.set(Counter::Cqes, net.cqes);
        metrics.set(Counter::SqFull, net.sq_full);
        metrics.set(Counter::RecvRearms, net.recv_rearms);
        let length_ns = self.clock.mono_ns().saturating_sub(self.turn_ns);
        metrics.stages[Stage::Turn as usize].record(length_ns);
        if self.turn_ns + SWEEP_NS == self.next_sweep_ns {
            self.measure_levels();
        }
    }

    fn measure_levels(&self) {
        let open = self.connections.iter().flatten().count();
        self.metrics.set(Counter::Connections, open as u64);
        self.metrics
            .set(Counter::PendingRepliesPeak, self.pending_peak as u64);
        let lanes = || self.ports.requests_out.iter().flatten();
        let slots = lanes().map(Producer::slots).max().unwrap_or(0);
        self.metrics.set(Counter::LaneSlots, slots as u64);
        let peak = lanes().map(Producer::high_water_slots).max().unwrap_or(0);
        self.metrics.set(Counter::LaneSlotsPeak, peak as u64);
        let cpu = clock_gettime(ClockId::ThreadCPUTime);
        let cpu_ns = cpu.tv_sec as u64 * 1_000_000_000 + cpu.tv_nsec as u64;
        self.metrics.set(Counter::CpuNs, cpu_ns);
    }
}
