//! Event time of one stream.
//!
//! A watermark W says: nothing earlier than W is expected. The watermark *in effect* moves only by
//! values that stand in the log, with a batch or on its own, so lateness never depends on the size
//! of a batch or the number of cores. What this shard has seen gives a *proposal*, which the engine
//! combines with those of the other cores and records in a later batch.

use crate::pipeline::TimeRule;

/// Value of a watermark that was never set.
pub const NO_WATERMARK: i64 = i64::MIN;

/// The event clock of one stream on one shard.
#[derive(Debug, Clone)]
pub struct StreamClock {
    in_effect_ms: i64,
    proposed_ms: i64,
    disorder_ms: i64,
    max_future_ms: i64,
}

impl StreamClock {
    /// A clock that has seen nothing.
    pub const fn new(rule: &TimeRule) -> Self {
        Self {
            in_effect_ms: NO_WATERMARK,
            proposed_ms: NO_WATERMARK,
            disorder_ms: rule.disorder_ms,
            max_future_ms: rule.max_future_ms,
        }
    }

    /// The highest recorded watermark, ms.
    pub const fn in_effect_ms(&self) -> i64 {
        self.in_effect_ms
    }

    /// The greatest accepted event time less the disorder, or what is in effect if that is later.
    pub const fn proposed_ms(&self) -> i64 {
        self.proposed_ms
    }

    /// The latest event time that a batch stamped `stamp_ns` may hold.
    pub const fn future_limit_ms(&self, stamp_ns: u64) -> i64 {
        ((stamp_ns / 1_000_000) as i64).saturating_add(self.max_future_ms)
    }

    /// Takes a recorded watermark over; true if it moved. Watermarks never move back.
    pub fn record(&mut self, watermark_ms: i64) -> bool {
        if watermark_ms <= self.in_effect_ms {
            return false;
        }
        self.in_effect_ms = watermark_ms;
        self.proposed_ms = self.proposed_ms.max(watermark_ms);
        true
    }

    /// Takes note of the greatest accepted event time of a batch.
    pub fn observe(&mut self, event_time_ms: i64) {
        self.proposed_ms = self
            .proposed_ms
            .max(event_time_ms.saturating_sub(self.disorder_ms));
    }
}
