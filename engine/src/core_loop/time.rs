//! Progress in event time, as the core combines it and records it in the log.
//!
//! The shard only knows recorded values. What they are is decided here: the least of what the
//! shards' own events allow, without the shards that are idle; when all are idle, the wall clock
//! moves time on, and that move is logged as an entry of its own.

use ringmill_shard::entry::{self, WatermarkEntry};
use ringmill_storage::disk::Disk;

use super::Core;
use crate::clock::Clock;
use crate::message::{WatermarkNote, request};

/// A watermark moves without events at most this often: each move is a log entry.
const MOVE_PAUSE_NS: u64 = 1_000_000_000;

/// No watermark yet.
pub(super) const NONE: i64 = i64::MIN;

/// Event time of one stream as seen from one core.
#[derive(Debug)]
pub(super) struct StreamClock {
    /// What each shard's own events allow; this shard's own entry included.
    allowed: Vec<i64>,
    /// When each shard was last heard of with news, monotonic ns.
    heard_ns: Vec<u64>,
    /// The greatest watermark in effect on any other shard.
    recorded_elsewhere: i64,
    /// What was last told to the others: allowed and in effect.
    told: (i64, i64),
    /// When this shard last moved the watermark without an event, monotonic ns.
    moved_ns: u64,
}

impl StreamClock {
    /// Silence counts from the start of the core, not from before.
    pub(super) fn new(shards: usize, now_ns: u64) -> StreamClock {
        StreamClock {
            allowed: vec![NONE; shards],
            heard_ns: vec![now_ns; shards],
            recorded_elsewhere: NONE,
            told: (NONE, NONE),
            moved_ns: now_ns,
        }
    }

    /// Notes what a shard's events allow.
    pub(super) fn note(&mut self, shard: usize, watermark_ms: i64, now_ns: u64) {
        if watermark_ms > self.allowed[shard] {
            self.allowed[shard] = watermark_ms;
        }
        self.heard_ns[shard] = now_ns;
    }

    /// Notes what another shard told. Only what its events allow is a sign of life.
    pub(super) fn note_of_peer(&mut self, shard: usize, note: &WatermarkNote, now_ns: u64) {
        self.recorded_elsewhere = self.recorded_elsewhere.max(note.recorded_ms);
        if note.allowed_ms > self.allowed[shard] {
            self.note(shard, note.allowed_ms, now_ns);
        }
    }

    /// The watermark that all active shards allow; [`NONE`] when no shard is active.
    fn active_least(&self, now_ns: u64, idle_ns: u64) -> i64 {
        let active = |shard: &usize| {
            self.allowed[*shard] != NONE && now_ns.saturating_sub(self.heard_ns[*shard]) < idle_ns
        };
        let shards = (0..self.allowed.len()).filter(active);
        shards
            .map(|shard| self.allowed[shard])
            .min()
            .unwrap_or(NONE)
    }
}

impl<D: Disk, C: Clock> Core<D, C> {
    /// The watermark to record with the next batch of `stream`: never less than the last one.
    pub(super) fn watermark_for_batch(&mut self, stream: usize) -> i64 {
        let current = self.state.watermark_ms(stream);
        if self.shards == 1 {
            return current.max(self.state.next_watermark_ms(stream));
        }
        let idle_ns = self.idle_ns(stream);
        current.max(self.streams[stream].active_least(self.turn_ns, idle_ns))
    }

    /// Notes that this shard applied events of `stream`.
    pub(super) fn note_applied(&mut self, stream: usize) {
        let allowed = self.state.next_watermark_ms(stream);
        self.streams[stream].note(self.me, allowed, self.turn_ns);
    }

    fn idle_ns(&self, stream: usize) -> u64 {
        (self.pipeline.streams[stream].time.idle_ms as u64).saturating_mul(1_000_000)
    }

    /// Tells the other shards what this one's events allow and what is in effect here, if either
    /// moved. A full lane is tried again next turn: the news only grows.
    pub(super) fn exchange_watermarks(&mut self) {
        if self.shards == 1 {
            return;
        }
        for stream in 0..self.streams.len() {
            let allowed_ms = self.streams[stream].allowed[self.me];
            let recorded_ms = self.state.watermark_ms(stream);
            if (allowed_ms, recorded_ms) == self.streams[stream].told {
                continue;
            }
            let note = WatermarkNote {
                stream: stream as u16,
                allowed_ms,
                recorded_ms,
            };
            let mut told_all = true;
            for shard in (0..self.shards).filter(|shard| *shard != self.me) {
                let lane = &mut self.ports.requests_out[shard];
                let lane = lane.as_mut().expect("invariant: a lane to each peer");
                match lane.reserve(request::WATERMARK, WatermarkNote::BYTES) {
                    Some(body) => {
                        note.write(body);
                        lane.commit();
                    }
                    None => told_all = false,
                }
            }
            if told_all {
                self.streams[stream].told = (allowed_ms, recorded_ms);
            }
        }
    }

    /// Moves event time on where input has stopped and a window or season waits for it, here or on
    /// another shard: either is final once it is so on all of them. True if something was logged.
    pub(super) fn advance_idle_streams(&mut self) -> bool {
        let mut moved = false;
        for stream in 0..self.streams.len() {
            let clock = &self.streams[stream];
            let in_effect = self.state.watermark_ms(stream);
            // What another shard has recorded waited for this one's events too, or found it idle.
            let followed = clock.recorded_elsewhere;
            let by_windows = self.state.has_open_windows(stream)
                || (self.state.has_windows(stream) && followed > in_effect);
            let may_wait = by_windows || self.state.has_seasons(stream);
            if self.turn_ns < clock.moved_ns + MOVE_PAUSE_NS || !may_wait {
                continue;
            }
            let target = self.idle_target(stream).max(followed);
            if target <= in_effect {
                continue;
            }
            // A season may last for months: only what ends one is worth an entry, and nothing where
            // no event ever was.
            let is_begun = followed != NONE || self.state.next_watermark_ms(stream) != NONE;
            let by_seasons = is_begun && self.state.seasons_await(stream, target);
            if !by_windows && !by_seasons {
                continue;
            }
            let watermark = WatermarkEntry {
                stream: stream as u16,
                watermark_ms: target,
                stamp_ns: self.next_stamp(),
            };
            let kind = entry::KIND_WATERMARK;
            if self.log.append(kind, &[&watermark.to_bytes()]).is_some() {
                self.last_stamp_ns = watermark.stamp_ns;
                self.state.advance(stream, target);
                self.streams[stream].moved_ns = self.turn_ns;
                moved = true;
            }
        }
        moved
    }

    /// Where event time may stand although this shard gets no events.
    fn idle_target(&self, stream: usize) -> i64 {
        let idle_ns = self.idle_ns(stream);
        let clock = &self.streams[stream];
        if self.turn_ns.saturating_sub(clock.heard_ns[self.me]) < idle_ns {
            return NONE;
        }
        match clock.active_least(self.turn_ns, idle_ns) {
            NONE => {
                let wall_ms = (self.turn_wall_ns / 1_000_000) as i64;
                wall_ms - self.pipeline.streams[stream].time.disorder_ms
            }
            least => least,
        }
    }
}
