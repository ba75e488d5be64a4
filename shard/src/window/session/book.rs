//! The sessions of all groups: where they are, in which order, and which groups are due.
//!
//! Sessions of a group stand in a run, ordered by time. All sessions stand in a list by their
//! start, for reads. A group stands in the list of dues once: at a time at which one of its
//! sessions was to be closed, expire or be forgotten. Events that lengthen a session leave that as
//! it is; the group is looked at then, and stands there again for a later time. So a timer costs
//! nothing per event, and what is due at once is worked off in slices.

use super::rule::{Ends, Fate, Marks, Rule, Session};
use crate::table::KeyTable;
use crate::table::chunks::Chunks;
use crate::window::grid::Span;
use crate::window::group::group_hash;
use crate::window::runs::{Run, Runs};
use crate::window::times::Times;

/// A group that has sessions.
#[derive(Debug, Clone, Copy, Default)]
struct Group {
    run: Run,
    /// When it is due, ms, if it stands in the list of dues: if `dues` is that of the book.
    due_ms: i64,
    dues: u32,
    /// Its sessions that are known to be closed, the first ones; and those that have expired.
    closed: u32,
    expired: u32,
}

/// How many sessions there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// All that are remembered.
    pub(super) sessions: u64,
    /// Those of them that are closed, and those that have expired.
    pub(super) closed: u64,
    pub(super) expired: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Book {
    rule: Rule,
    names: KeyTable,
    groups: Chunks<Group>,
    runs: Runs,
    /// Start of each session, with its group.
    starts: Times,
    due: Times,
    /// Number of the list of dues: one more each time that it was begun anew.
    dues: u32,
    counts: Counts,
    latest_end_ms: i64,
}

impl Book {
    pub(super) fn new(rule: Rule, group_bytes: usize) -> Self {
        Self {
            rule,
            names: KeyTable::fixed(group_bytes),
            groups: Chunks::new(),
            runs: Runs::new(),
            starts: Times::default(),
            due: Times::default(),
            dues: 1,
            counts: Counts::default(),
            latest_end_ms: i64::MIN,
        }
    }

    #[inline]
    pub(super) fn name(&self, id: u32) -> &[u8] {
        self.names.key(id)
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, name: &[u8]) -> Option<u32> {
        self.names.find(hash, name)
    }

    /// Adds a group, which is to have a session at once.
    pub(super) fn add(&mut self, hash: u64, name: &[u8]) -> u32 {
        let (id, _) = self.names.find_or_insert(hash, name);
        self.groups.grow_to(id as usize + 1, Group::default());
        *self.groups.at_mut(id as usize) = Group::default();
        id
    }

    #[inline]
    fn run(&self, id: u32) -> Run {
        self.groups.at(id as usize).run
    }

    #[inline]
    fn session(&self, run: Run, index: usize) -> Session {
        Session::of(self.runs.at(run, index))
    }

    /// Sessions of a run that end at a time or before: the first ones.
    fn ended(&self, run: Run, by_ms: i64) -> usize {
        let ended = |entry: &_| self.rule.end_ms(&Session::of(*entry)) <= by_ms;
        self.runs.partition_point(run, ended)
    }

    /// The usual event: it goes into the latest session of its group, which is open, and does not
    /// move its start. The row of the session.
    #[inline]
    pub(super) fn lengthen_latest(&mut self, id: u32, time_ms: i64, marks: &Marks) -> Option<u32> {
        let run = self.run(id);
        let latest = run.len().checked_sub(1)?;
        let mut session = self.session(run, latest);
        let end_ms = self.rule.end_ms(&session);
        if time_ms < session.first_ms || time_ms >= end_ms || end_ms <= marks.closed_by {
            return None;
        }
        if time_ms > session.last_ms {
            session.last_ms = time_ms;
            self.runs.set(run, latest, session.entry());
            self.latest_end_ms = self.latest_end_ms.max(self.rule.end_ms(&session));
        }
        Some(session.row)
    }

    /// What becomes of an event of a group, which may not be known yet.
    pub(super) fn judge(&self, id: Option<u32>, time_ms: i64, marks: &Marks) -> Fate {
        let own = Span {
            start_ms: time_ms,
            end_ms: time_ms.saturating_add(self.rule.gap_ms),
        };
        let run = id.map_or_else(Run::default, |id| self.run(id));
        // Forgotten sessions may still be there.
        let index = self.ended(run, time_ms.max(marks.forgotten_by));
        let touched = |index: usize| {
            let there = index < run.len();
            let touched = there.then(|| self.rule.span(&self.session(run, index)));
            touched.filter(|session| session.start_ms < own.end_ms)
        };
        let Some(first) = touched(index) else {
            return match own.end_ms <= marks.dead_by {
                true => Fate::Missed(Ends {
                    first: own,
                    second: None,
                }),
                false => Fate::Begins {
                    index,
                    amends: own.end_ms <= marks.closed_by,
                },
            };
        };
        let second = touched(index + 1);
        let amends = first.end_ms <= marks.closed_by;
        match second {
            _ if first.end_ms <= marks.dead_by => Fate::Missed(Ends {
                first,
                second: second.filter(|second| second.end_ms <= marks.dead_by),
            }),
            Some(_) => Fate::Bridges { index, amends },
            None => Fate::Joins { index, amends },
        }
    }

    /// A new session in front of `index`, with its row in the cell store, and whether it is closed.
    pub(super) fn begin(&mut self, id: u32, index: usize, time_ms: i64, row: (u32, bool)) {
        let session = Session {
            first_ms: time_ms,
            last_ms: time_ms,
            row: row.0,
            revision: u64::from(row.1),
        };
        let run = &mut self.groups.at_mut(id as usize).run;
        self.runs.insert(run, index, session.entry());
        self.starts.insert((time_ms, id));
        self.counts.sessions += 1;
        self.latest_end_ms = self.latest_end_ms.max(self.rule.end_ms(&session));
    }

    /// Takes an event into a session; the row of that.
    pub(super) fn stretch(&mut self, id: u32, index: usize, time_ms: i64, amends: bool) -> u32 {
        let run = self.run(id);
        let mut session = self.session(run, index);
        if time_ms < session.first_ms {
            self.starts.remove((session.first_ms, id));
            self.starts.insert((time_ms, id));
            session.first_ms = time_ms;
        }
        session.last_ms = session.last_ms.max(time_ms);
        session.revision += u64::from(amends);
        self.runs.set(run, index, session.entry());
        self.latest_end_ms = self.latest_end_ms.max(self.rule.end_ms(&session));
        session.row
    }

    /// Makes one session of the one at `index` and the next, between which an event lies; the row
    /// of it, and the row that is to be merged into that.
    pub(super) fn bridge(&mut self, id: u32, index: usize, amends: bool) -> (u32, u32) {
        let run = self.run(id);
        let mut session = self.session(run, index);
        let next = self.session(run, index + 1);
        session.last_ms = next.last_ms;
        session.revision += next.revision + u64::from(amends);
        self.runs.set(run, index, session.entry());
        let run = &mut self.groups.at_mut(id as usize).run;
        self.runs.remove(run, index + 1);
        self.starts.remove((next.first_ms, id));
        self.counts.sessions -= 1;
        (session.row, next.row)
    }

    /// Takes account of a change in the sessions of a group.
    pub(super) fn settle(&mut self, id: u32, marks: &Marks) {
        self.recount(id, marks);
        self.schedule(id);
    }

    fn recount(&mut self, id: u32, marks: &Marks) {
        let run = self.run(id);
        let closed = self.ended(run, marks.closed_by) as u32;
        let expired = self.ended(run, marks.expired_by) as u32;
        let group = self.groups.at_mut(id as usize);
        self.counts.closed = self.counts.closed - u64::from(group.closed) + u64::from(closed);
        self.counts.expired = self.counts.expired - u64::from(group.expired) + u64::from(expired);
        (group.closed, group.expired) = (closed, expired);
    }

    /// Puts a group into the list of dues, unless it stands there for an earlier time.
    fn schedule(&mut self, id: u32) {
        let group = *self.groups.at(id as usize);
        let turn_ms = |index: u32, turn: usize| {
            let session =
                (index < group.run.len() as u32).then(|| self.session(group.run, index as usize));
            session.map(|session| self.rule.turns_ms(self.rule.end_ms(&session))[turn])
        };
        let turns = [
            turn_ms(group.closed, 0),
            turn_ms(group.expired, 1),
            turn_ms(0, 2),
        ];
        let Some(due_ms) = turns.into_iter().flatten().min() else {
            return;
        };
        let stands = group.dues == self.dues;
        if stands && group.due_ms <= due_ms {
            return;
        }
        if stands {
            self.due.remove((group.due_ms, id));
        }
        self.due.insert((due_ms, id));
        let group = self.groups.at_mut(id as usize);
        (group.due_ms, group.dues) = (due_ms, self.dues);
    }

    /// Looks at groups that are due at a watermark, and lets go of sessions that are forgotten, at
    /// most so many of both; `free` gets their rows.
    pub(super) fn free(&mut self, by_ms: i64, mut limit: usize, mut free: impl FnMut(u32)) {
        let marks = self.rule.marks(by_ms);
        while limit > 0
            && let Some((due_ms, id)) = self.due.first_by(by_ms)
        {
            self.due.remove((due_ms, id));
            self.groups.at_mut(id as usize).dues = 0;
            self.recount(id, &marks);
            let mut run = self.run(id);
            let forgotten = self.ended(run, marks.forgotten_by).min(limit);
            for index in 0..forgotten {
                let session = self.session(run, index);
                self.starts.remove((session.first_ms, id));
                free(session.row);
            }
            limit = limit.saturating_sub(1 + forgotten);
            if forgotten > 0 {
                self.runs.drop_first(&mut run, forgotten);
                let counts = &mut self.counts;
                for count in [
                    &mut counts.sessions,
                    &mut counts.closed,
                    &mut counts.expired,
                ] {
                    *count -= forgotten as u64;
                }
                let group = self.groups.at_mut(id as usize);
                group.run = run;
                group.closed -= forgotten as u32;
                group.expired -= forgotten as u32;
            }
            if run.is_empty() {
                let hash = group_hash(self.names.key(id));
                self.names.remove(hash, id);
            } else {
                self.schedule(id);
            }
        }
    }

    /// Begins the list of dues anew, with no group in it.
    pub(super) fn forget_dues(&mut self) {
        self.due.clear();
        self.dues += 1;
    }

    /// Puts every group into the list of dues.
    pub(super) fn schedule_all(&mut self) {
        for id in 0..self.groups.len() as u32 {
            self.schedule(id);
        }
    }

    pub(super) const fn latest_end_ms(&self) -> i64 {
        self.latest_end_ms
    }

    /// How many sessions there are at a watermark, groups counted that are due and were not looked
    /// at yet.
    pub(super) fn counts(&self, watermark_ms: i64) -> Counts {
        let marks = self.rule.marks(watermark_ms);
        let mut counts = self.counts;
        let due = self
            .due
            .iter()
            .take_while(|(due_ms, _)| *due_ms <= watermark_ms);
        for (_, id) in due {
            let group = self.groups.at(id as usize);
            let closed = self.ended(group.run, marks.closed_by) as u64;
            let expired = self.ended(group.run, marks.expired_by) as u64;
            counts.closed = counts.closed - u64::from(group.closed) + closed;
            counts.expired = counts.expired - u64::from(group.expired) + expired;
        }
        counts
    }

    /// Groups and sessions by the start of these, from a start on.
    pub(super) fn by_start(&self, from_ms: i64) -> impl Iterator<Item = (u32, Session)> + '_ {
        self.starts.from((from_ms, 0)).map(|(first_ms, id)| {
            let run = self.run(id);
            let before = |entry: &_| Session::of(*entry).first_ms < first_ms;
            let index = self.runs.partition_point(run, before);
            (id, self.session(run, index))
        })
    }

    /// Groups by their name, with their sessions that are not forgotten.
    pub(super) fn by_name(&self, marks: &Marks) -> Vec<(&[u8], Vec<Session>)> {
        let ids = self.starts.iter().map(|(_, id)| id);
        let ids: std::collections::BTreeSet<u32> = ids.collect();
        let mut groups: Vec<_> = ids
            .into_iter()
            .map(|id| {
                let run = self.run(id);
                let forgotten = self.ended(run, marks.forgotten_by);
                let sessions = self.runs.iter(run).skip(forgotten).map(Session::of);
                (self.names.key(id), sessions.collect::<Vec<_>>())
            })
            .filter(|(_, sessions)| !sessions.is_empty())
            .collect();
        groups.sort_unstable_by_key(|(name, _)| *name);
        groups
    }

    /// Groups that there is a place for.
    #[cfg(test)]
    pub(super) fn groups_made(&self) -> usize {
        self.groups.len()
    }

    /// When the first group is due, ms.
    #[cfg(test)]
    pub(super) fn first_due_ms(&self) -> Option<i64> {
        self.due.first_by(i64::MAX).map(|(due_ms, _)| due_ms)
    }
}
