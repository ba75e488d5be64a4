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

/// The last move of a watermark that no event made: the clock moved it, because the sources were
/// idle. Windows that it closed are those whose time was up in `(from, to]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockMove {
    /// Watermark before, ms.
    pub from_ms: i64,
    /// Watermark after, ms.
    pub to_ms: i64,
}

impl ClockMove {
    /// There was none.
    pub const NONE: ClockMove = ClockMove {
        from_ms: NO_WATERMARK,
        to_ms: NO_WATERMARK,
    };
}

/// Moves of one stream's watermark in one log stream.
#[derive(Debug, Clone, Copy)]
struct LogMoves {
    log_stream: u32,
    at_ms: i64,
    clock: ClockMove,
}

/// Moves of one stream's watermark, per log stream: replay interleaves the log streams of an older
/// layout in any way, and what an event is told must not depend on that.
#[derive(Debug, Clone, Default)]
pub struct WatermarkMoves {
    /// The layout whose log streams are followed.
    layout: usize,
    /// Where the watermark stood when that layout began, ms.
    base_ms: Option<i64>,
    logs: Vec<LogMoves>,
}

impl WatermarkMoves {
    /// Takes an entry's watermark over, before it takes effect. `in_effect_ms` is the watermark so
    /// far over all log streams, `layout` is that of `log_stream`; layouts come one by one. Returns
    /// the last move by the clock.
    pub fn note(
        &mut self,
        layout: usize,
        log_stream: u32,
        in_effect_ms: i64,
        watermark_ms: i64,
        by_clock: bool,
    ) -> ClockMove {
        if self.layout != layout || self.base_ms.is_none() {
            self.layout = layout;
            self.base_ms = Some(in_effect_ms);
            self.logs.clear();
        }
        let known = self
            .logs
            .iter()
            .position(|log| log.log_stream == log_stream);
        let place = known.unwrap_or_else(|| {
            self.logs.push(LogMoves {
                log_stream,
                at_ms: self.base_ms.unwrap_or(NO_WATERMARK),
                clock: ClockMove::NONE,
            });
            self.logs.len() - 1
        });
        let log = &mut self.logs[place];
        if watermark_ms > log.at_ms {
            if by_clock {
                // Moves that follow each other are one.
                let goes_on = log.clock.to_ms == log.at_ms && log.clock != ClockMove::NONE;
                log.clock = ClockMove {
                    from_ms: if goes_on {
                        log.clock.from_ms
                    } else {
                        log.at_ms
                    },
                    to_ms: watermark_ms,
                };
            }
            log.at_ms = watermark_ms;
        }
        log.clock
    }
}
