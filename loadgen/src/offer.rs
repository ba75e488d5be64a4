//! What is due when: a schedule cut into batches.

use crate::schedule::Schedule;

/// The next batch of one thread, drawn ahead of its time.
///
/// The schedule is only drawn as far as the batch in hand. A generator that cannot send keeps the
/// batch, and finds the events behind it in the past once it can: nothing is skipped, and a backlog
/// takes no memory.
#[derive(Debug)]
pub struct Staging {
    schedule: Schedule,
    batch: usize,
    times: Vec<u64>,
    end_ns: u64,
    left: u64,
    exhausted: bool,
    was_held: bool,
}

impl Staging {
    /// Batches of `batch` events until `end_ns`, at most `events_max` events.
    pub fn new(schedule: Schedule, batch: usize, end_ns: u64, events_max: u64) -> Staging {
        let times = Vec::with_capacity(batch);
        let mut staging = Staging {
            schedule,
            batch,
            times,
            end_ns,
            left: events_max,
            exhausted: false,
            was_held: false,
        };
        staging.refill();
        staging
    }

    /// Drops the batch in hand and draws the next one.
    pub fn advance(&mut self) {
        self.times.clear();
        self.was_held = false;
        self.refill();
    }

    fn refill(&mut self) {
        while self.times.len() < self.batch && !self.exhausted {
            let at_ns = self.schedule.draw();
            if self.left == 0 || at_ns >= self.end_ns {
                self.exhausted = true;
            } else {
                self.left -= 1;
                self.times.push(at_ns);
            }
        }
    }

    /// When the batch in hand is due: with its last event. `None` if nothing is left.
    #[inline]
    pub fn due_ns(&self) -> Option<u64> {
        self.times.last().copied()
    }

    /// Intended times of the batch in hand.
    #[inline]
    pub fn times(&self) -> &[u64] {
        &self.times
    }

    /// Notes that the batch in hand was due and could not be sent.
    pub fn hold(&mut self) {
        self.was_held = true;
    }

    /// Whether the batch in hand had to wait for a window.
    #[inline]
    pub fn was_held(&self) -> bool {
        self.was_held
    }

    /// Whether the number of events, rather than the time, has ended the schedule.
    pub fn is_counted_out(&self) -> bool {
        self.left == 0 && self.times.is_empty()
    }

    /// Ends the schedule before its time: what is due later is not offered any more.
    pub fn end_at(&mut self, now_ns: u64) {
        self.end_ns = self.end_ns.min(now_ns);
        self.times.retain(|at_ns| *at_ns < now_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Arrival;

    fn staging(batch: usize, end_ns: u64, events_max: u64) -> Staging {
        let schedule = Schedule::new(Arrival::Constant, 1e6, 0, 1, 0);
        Staging::new(schedule, batch, end_ns, events_max)
    }

    #[test]
    fn batches_are_due_with_their_last_event_and_the_rest_is_a_short_one() {
        let mut staging = staging(4, 10_500, u64::MAX);
        let mut sizes = Vec::new();
        let mut last = 0;
        while let Some(due_ns) = staging.due_ns() {
            assert_eq!(due_ns, *staging.times().last().unwrap());
            assert!(due_ns > last);
            last = due_ns;
            sizes.push(staging.times().len());
            staging.advance();
        }
        assert_eq!((sizes, last), (vec![4, 4, 2], 10_000));
    }

    #[test]
    fn a_number_of_events_and_an_early_end_bound_the_schedule() {
        let mut limited = staging(2, u64::MAX, 3);
        assert_eq!(limited.times().len(), 2);
        limited.advance();
        assert_eq!(limited.times().len(), 1);
        limited.advance();
        assert_eq!(limited.due_ns(), None);
        let mut ended = staging(4, u64::MAX, u64::MAX);
        ended.end_at(2_500);
        assert_eq!(ended.times(), [1000, 2000]);
        ended.advance();
        assert_eq!(ended.due_ns(), None);
    }
}
