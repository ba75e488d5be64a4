//! The frames of one connection that are not acknowledged yet.
//!
//! Three marks divide them: frames before `built` have their bytes in the send buffer or on the
//! wire, frames before `sent` have left. After a reconnect both marks go back to the start, and the
//! frames are made again from their sequences and intended times.
//!
//! Nothing is allocated after construction.

use std::collections::VecDeque;

use crate::tally::Tally;

/// One unacknowledged frame.
#[derive(Clone, Copy, Debug)]
pub struct FrameSlot {
    /// Sequence of its first unacknowledged event.
    pub first: u64,
    /// Unacknowledged events.
    pub count: u32,
    /// When it was due: the intended time of its last event, or when a full window opened again.
    /// In a closed loop it is the intended time of all its events.
    pub due_ns: u64,
    /// When its bytes were first offered to the socket; [`NOT_SENT`] before. A socket that takes
    /// none has a server behind it that reads none, which is no lag of the generator.
    pub sent_ns: u64,
}

/// Mark of a frame that has not left yet.
pub const NOT_SENT: u64 = u64::MAX;

/// Intended times of the events of a frame.
pub type Times<'w> = std::iter::Copied<std::collections::vec_deque::Iter<'w, u64>>;

/// The in-flight window.
#[derive(Debug)]
pub struct Window {
    frames: VecDeque<FrameSlot>,
    /// Intended time of each event of `frames`, in order; empty if frames carry one time.
    intended: VecDeque<u64>,
    per_event: bool,
    frames_max: usize,
    built: usize,
    sent: usize,
    events: u64,
    acked: u64,
}

impl Window {
    /// A window of at most `frames_max` frames of at most `batch` events. With `per_event`, each
    /// event has an intended time of its own.
    pub fn new(frames_max: usize, batch: usize, per_event: bool, acked: u64) -> Window {
        let events_max = if per_event { frames_max * batch } else { 0 };
        Window {
            frames: VecDeque::with_capacity(frames_max),
            intended: VecDeque::with_capacity(events_max),
            per_event,
            frames_max,
            built: 0,
            sent: 0,
            events: 0,
            acked,
        }
    }

    /// Whether another frame may enter.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.frames.len() < self.frames_max && self.built == self.frames.len()
    }

    /// Unacknowledged frames.
    pub fn frames(&self) -> usize {
        self.frames.len()
    }

    /// Unacknowledged events.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The highest sequence up to which everything is acknowledged.
    pub fn acked(&self) -> u64 {
        self.acked
    }

    /// The sequence of the next new event.
    pub fn next_sequence(&self) -> u64 {
        self.acked + self.events + 1
    }

    /// Enters a frame of new events with their intended times, or with `due_ns` for all of them.
    pub fn push(&mut self, count: u32, due_ns: u64, intended: &[u64]) {
        assert!(self.has_room(), "invariant: the caller asked for room");
        let first = self.next_sequence();
        if self.per_event {
            assert_eq!(
                intended.len(),
                count as usize,
                "invariant: one time per event"
            );
            self.intended.extend(intended);
        }
        let slot = FrameSlot {
            first,
            count,
            due_ns,
            sent_ns: NOT_SENT,
        };
        self.frames.push_back(slot);
        self.events += u64::from(count);
    }

    /// The first frame whose bytes are to be made, and the intended times of its events (empty if
    /// they share the frame's).
    pub fn unbuilt(&self) -> Option<(FrameSlot, Times<'_>)> {
        let slot = *self.frames.get(self.built)?;
        // New frames are made at once, so only a resend pays for walking the queue.
        let from = if !self.per_event {
            0
        } else if self.built + 1 == self.frames.len() {
            self.intended.len() - slot.count as usize
        } else {
            self.frames
                .iter()
                .take(self.built)
                .map(|frame| frame.count as usize)
                .sum()
        };
        let times = if self.per_event {
            slot.count as usize
        } else {
            0
        };
        Some((slot, self.intended.range(from..from + times).copied()))
    }

    /// The bytes of the first unbuilt frame are made.
    pub fn mark_built(&mut self) {
        assert!(
            self.built < self.frames.len(),
            "invariant: there was an unbuilt frame"
        );
        self.built += 1;
    }

    /// All bytes that are made are offered to the socket at `now_ns`.
    #[inline]
    pub fn mark_sent(&mut self, now_ns: u64) {
        while self.sent < self.built {
            let slot = &mut self.frames[self.sent];
            // A frame that is sent again keeps its first time: the outage is the server's.
            if slot.sent_ns == NOT_SENT {
                slot.sent_ns = now_ns;
            }
            self.sent += 1;
        }
    }

    /// Starts over on a new connection: every frame is to be made and sent again.
    pub fn rewind(&mut self) {
        self.built = 0;
        self.sent = 0;
    }

    /// Takes a cumulative acknowledgement. `Err` is a sequence that was never sent.
    pub fn acknowledge(
        &mut self,
        through: u64,
        now_ns: u64,
        tally: &mut Tally,
    ) -> Result<u64, u64> {
        if through >= self.next_sequence() {
            return Err(through);
        }
        let before = self.acked;
        while self.acked < through {
            let slot = self
                .frames
                .front_mut()
                .expect("invariant: events lie in frames");
            let count = (through - self.acked).min(u64::from(slot.count));
            let sent_ns = if slot.sent_ns == NOT_SENT {
                now_ns
            } else {
                slot.sent_ns
            };
            if self.per_event {
                let times = self.intended.drain(..count as usize);
                tally.acked_each(times, slot.due_ns, sent_ns, now_ns);
            } else {
                tally.acked_alike(slot.due_ns, count, sent_ns, now_ns);
            }
            slot.first += count;
            slot.count -= count as u32;
            if slot.count == 0 {
                self.frames.pop_front();
                self.built = self.built.saturating_sub(1);
                self.sent = self.sent.saturating_sub(1);
            }
            self.acked += count;
            self.events -= count;
        }
        Ok(self.acked - before.min(self.acked))
    }

    /// Gives up on everything in the window at `now_ns`: each event counts with its age.
    pub fn abandon(&mut self, now_ns: u64, tally: &mut Tally) -> u64 {
        let events = self.events;
        for slot in &self.frames {
            if self.per_event {
                let times = self.intended.drain(..slot.count as usize);
                tally.timed_out_each(times, now_ns);
            } else {
                tally.timed_out_alike(slot.due_ns, u64::from(slot.count), now_ns);
            }
        }
        self.frames.clear();
        self.events = 0;
        self.rewind();
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally() -> Tally {
        Tally::new(0, 1_000_000)
    }

    #[test]
    fn acknowledgements_split_frames_and_count_each_event_from_its_own_time() {
        let mut window = Window::new(4, 3, true, 10);
        let mut tally = tally();
        window.push(3, 0, &[100, 200, 300]);
        window.mark_built();
        window.mark_sent(700);
        window.push(3, 0, &[400, 500, 600]);
        window.mark_built();
        window.mark_sent(800);
        assert_eq!(
            (window.next_sequence(), window.frames(), window.events()),
            (17, 2, 6)
        );
        assert_eq!(window.acknowledge(12, 1000, &mut tally), Ok(2));
        assert_eq!(tally.set.response.max(), 900);
        assert_eq!(tally.set.send_lag.max(), 600);
        assert_eq!(tally.set.service.max(), 300);
        assert_eq!(window.acknowledge(14, 1100, &mut tally), Ok(2));
        assert_eq!(
            (window.frames(), window.events(), window.acked()),
            (1, 2, 14)
        );
        assert_eq!(window.acknowledge(14, 1100, &mut tally), Ok(0));
        assert_eq!(
            window.acknowledge(3, 1100, &mut tally),
            Ok(0),
            "an old ack changes nothing"
        );
        assert_eq!(window.acknowledge(17, 1100, &mut tally), Err(17));
        assert_eq!(tally.set.counts.acked, 4);
    }

    #[test]
    fn a_rewound_window_is_made_again_from_the_first_unacknowledged_event() {
        let mut window = Window::new(4, 2, true, 0);
        let mut tally = tally();
        window.push(2, 0, &[1, 2]);
        window.mark_built();
        window.push(2, 0, &[3, 4]);
        window.mark_built();
        window.mark_sent(50);
        window.acknowledge(1, 60, &mut tally).unwrap();
        window.rewind();
        assert!(
            !window.has_room(),
            "new frames wait until the old ones are out"
        );
        let (slot, times) = window.unbuilt().unwrap();
        assert_eq!(
            (slot.first, slot.count, times.collect::<Vec<_>>()),
            (2, 1, vec![2])
        );
        window.mark_built();
        let (slot, times) = window.unbuilt().unwrap();
        assert_eq!(
            (slot.first, slot.count, times.collect::<Vec<_>>()),
            (3, 2, vec![3, 4])
        );
        window.mark_built();
        window.mark_sent(500);
        assert!(window.unbuilt().is_none() && window.has_room());
        window.acknowledge(4, 600, &mut tally).unwrap();
        assert_eq!(
            tally.set.service.max(),
            550,
            "from the first time it was sent"
        );
        assert!(tally.set.send_lag.max() <= 49);
    }

    #[test]
    fn abandoned_events_count_with_their_age() {
        for per_event in [true, false] {
            let mut window = Window::new(4, 2, per_event, 0);
            let mut tally = tally();
            window.push(2, 100, if per_event { &[100, 100] } else { &[] });
            assert_eq!(window.abandon(1100, &mut tally), 2);
            assert_eq!(
                (tally.set.response.count(), tally.set.response.max()),
                (2, 1000)
            );
            assert_eq!((tally.set.counts.timed_out, tally.set.counts.acked), (2, 0));
            assert_eq!((window.events(), window.frames()), (0, 0));
        }
    }
}
