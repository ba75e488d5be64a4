//! Sessions: lists of events, taken in one by one as they stand in the log.

use super::rows::{Fate, ViewTruth, fate, is_closed, is_dropped, labels};
use super::{Full, Oracle, Recorded};
use crate::pipeline::{After, View};
use crate::window::LateReason;
use std::collections::BTreeMap;

/// Events of a session, each with whether it changed what was closed.
struct Session<'a>(Vec<(Full<'a>, bool)>);

/// Start and end, ms.
type Bounds = (i64, i64);

impl Oracle<'_> {
    /// The first event of a session, and the gap behind the last.
    fn bounds(&self, gap_ms: i64, session: &Session<'_>) -> Bounds {
        let times = session.0.iter();
        let times = times.map(|(full, _)| full.recorded.time_ms(self.pipeline));
        let first_ms = times.clone().min().expect("a session has events");
        (
            first_ms,
            times.max().expect("a session has events") + gap_ms,
        )
    }

    pub(super) fn sessions(
        &self,
        view: &View,
        gap_ms: i64,
        events: Vec<Full<'_>>,
        truth: &mut ViewTruth,
    ) {
        let mut groups: BTreeMap<Vec<String>, Vec<Session<'_>>> = BTreeMap::new();
        for full in events {
            let event = full.recorded;
            let sessions = groups.entry(labels(view, &full)).or_default();
            let time_ms = event.time_ms(self.pipeline);
            let own = (time_ms, time_ms + gap_ms);
            // A session that is of no consequence any more is as if it had never been.
            sessions.retain(|session| {
                let (_, end_ms) = self.bounds(gap_ms, session);
                !is_dropped(view, end_ms, event.watermark_ms) || takes(view, end_ms + gap_ms, event)
            });
            let overlaps = |session: &Session<'_>| {
                let (start_ms, end_ms) = self.bounds(gap_ms, session);
                start_ms < own.1 && own.0 < end_ms
            };
            let (touched, others): (Vec<_>, Vec<_>) =
                std::mem::take(sessions).into_iter().partition(overlaps);
            *sessions = others;
            let mut bounds: Vec<Bounds> = touched
                .iter()
                .map(|session| self.bounds(gap_ms, session))
                .collect();
            bounds.sort_unstable();
            if bounds.is_empty() {
                bounds.push(own);
            }
            let closed = |bounds: &Bounds| is_closed(view, bounds.1, event.watermark_ms);
            let amends = bounds.iter().any(closed);
            bounds.retain(|bounds| !takes(view, bounds.1, event));
            if bounds.is_empty() {
                truth.amended += u64::from(amends);
                let mut whole = vec![(full, amends)];
                whole.extend(touched.into_iter().flat_map(|session| session.0));
                whole.sort_by_key(|(full, _)| full.recorded.tie);
                sessions.push(Session(whole));
            } else {
                sessions.extend(touched);
                let missed = bounds.into_iter();
                truth.miss(
                    event,
                    missed.map(|one| (reason(view, one, event), one)).collect(),
                );
            }
        }
        for session in groups.into_values().flatten() {
            let (start_ms, end_ms) = self.bounds(gap_ms, &session);
            truth
                .rows
                .extend(self.row(view, start_ms, end_ms, &session.0));
        }
        truth.rows.sort_by_key(|row| (row.start_ms, row.end_ms));
    }
}

/// Whether a session that ends here takes events.
fn takes(view: &View, end_ms: i64, event: &Recorded) -> bool {
    match view.window.after {
        After::Drop => !is_closed(view, end_ms, event.watermark_ms),
        After::Amend => !is_dropped(view, end_ms, event.watermark_ms),
    }
}

/// Why it does not.
fn reason(view: &View, (_, end_ms): Bounds, event: &Recorded) -> LateReason {
    match fate(view, end_ms, event) {
        Fate::Missed(reason) => reason,
        Fate::InTime | Fate::Amends => unreachable!("it takes the event"),
    }
}
