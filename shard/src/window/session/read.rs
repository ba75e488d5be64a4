//! Reads of sessions: rows, counters, and everything for a digest.

use super::Sessions;
use super::rule::Session;
use crate::aggregate::RowPartials;
use crate::query::{WindowCursor, WindowRow};
use crate::window::ViewCounters;
use crate::window::page::{Ask, Page};

impl Sessions {
    /// Rows of the sessions that are asked for; true if there may be more.
    pub(crate) fn rows(&self, ask: &Ask<'_>) -> (Vec<WindowRow>, bool) {
        let mut out = Page::new(&self.columns, ask);
        let more = self.fill(&mut out, ask);
        (out.rows, more)
    }

    fn fill(&self, out: &mut Page<'_>, ask: &Ask<'_>) -> bool {
        let expired_by = self.rule.marks(self.watermark_ms).expired_by;
        let from_ms = ask
            .after
            .map_or(ask.from_ms, |after| after.start_ms.max(ask.from_ms));
        let sessions = self.book.by_start(from_ms);
        let sessions = sessions.take_while(|(_, session)| session.first_ms < ask.to_ms);
        let readable = |(_, session): &(u32, Session)| self.rule.end_ms(session) > expired_by;
        let mut sessions = sessions.filter(readable).peekable();
        let mut together = Vec::new();
        while let Some(&(_, next)) = sessions.peek() {
            if out.is_full() {
                return true;
            }
            // Those that start together come by end and group.
            together.clear();
            while let Some(of_group) =
                sessions.next_if(|(_, session)| session.first_ms == next.first_ms)
            {
                together.push(of_group);
            }
            let place = |(id, session): &(u32, Session)| {
                let end_ms = self.rule.end_ms(session);
                (session.first_ms, end_ms, self.book.name(*id))
            };
            let seen = |after: &WindowCursor, of_group: &(u32, Session)| {
                place(of_group) <= (after.start_ms, after.end_ms, &after.group[..])
            };
            together.retain(|of_group| !ask.after.is_some_and(|after| seen(after, of_group)));
            together.sort_unstable_by(|a, b| place(a).cmp(&place(b)));
            for (id, session) in &together {
                if out.is_full() {
                    return true;
                }
                let row = WindowRow {
                    start_ms: session.first_ms,
                    end_ms: self.rule.end_ms(session),
                    group: self.book.name(*id).to_vec(),
                    partials: out.merge(&self.store, std::iter::once(session.row)),
                    revision: session.revision,
                };
                out.push(row);
            }
        }
        false
    }

    pub(crate) fn counters(&self) -> ViewCounters {
        let counts = self.book.counts(self.watermark_ms);
        ViewCounters {
            late: self.late.counts,
            amended: self.amended,
            open_windows: counts.sessions - counts.closed,
            closed_windows: counts.closed - counts.expired,
            groups: counts.sessions - counts.expired,
            ..ViewCounters::default()
        }
    }

    /// Calls `with` for every session that is not forgotten, by the bytes of its group and then in
    /// the order of time: with its group, bounds and revision, and words that are equal for equal
    /// sets of events.
    pub(crate) fn each_session(&self, mut with: impl FnMut(&[u8], [u64; 3], &[u64])) {
        let marks = self.rule.marks(self.watermark_ms);
        let (mut partials, mut words) = (RowPartials::default(), Vec::new());
        for (name, sessions) in self.book.by_name(&marks) {
            for session in sessions {
                self.store.export(session.row, &mut partials);
                words.clear();
                partials.canonical(&self.columns, &mut words);
                let bounds = [session.first_ms, session.last_ms].map(i64::cast_unsigned);
                with(name, [bounds[0], bounds[1], session.revision], &words);
            }
        }
    }
}
