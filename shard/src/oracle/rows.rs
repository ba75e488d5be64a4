//! What a view shows: every event against every window that it lies in. Windows that events make
//! are in [`super::sessions`] and [`super::last`].

use super::expected::{Expected, expect};
use super::windows::windows_of;
use super::{Errors, Full, Oracle, Recorded, Row};
use crate::merge::RowState;
use crate::pipeline::{After, View, WindowKind};
use crate::rank::Tie;
use crate::window::LateReason;
use std::collections::BTreeMap;

/// An event that windows did not take.
#[derive(Debug, Clone, PartialEq)]
pub struct Missed {
    /// Its place in the order of all events.
    pub tie: Tie,
    /// Position of its entry in the log.
    pub lsn: u64,
    /// Why.
    pub reason: LateReason,
    /// Start and end of every window that it missed, by end.
    pub windows: Vec<(i64, i64)>,
    /// The row, as it stands in the log.
    pub row: Vec<u8>,
}

/// Start and end of a window, and labels of a group.
type GroupInWindow = (i64, i64, Vec<String>);

/// All that a view shows.
#[derive(Debug, Clone, Default)]
pub struct ViewTruth {
    /// Pairs of event and window that did not come together, by reason.
    pub late: [u64; LateReason::COUNT],
    /// Pairs of late event and window that did.
    pub amended: u64,
    /// Errors of the expressions of the view.
    pub errors: Errors,
    /// In recorded order.
    pub missed: Vec<Missed>,
    /// By start and end and then in no order.
    pub rows: Vec<Row<Expected>>,
}

impl ViewTruth {
    /// Pairs of event and window that did not come together.
    pub fn late_total(&self) -> u64 {
        self.late.iter().sum()
    }

    /// Notes that an event missed windows, each for a reason.
    pub(super) fn miss(&mut self, event: &Recorded, missed: Vec<(LateReason, (i64, i64))>) {
        let reasons: Vec<LateReason> = missed.iter().map(|(reason, _)| *reason).collect();
        for reason in &reasons {
            self.late[reason.index()] += 1;
        }
        let Some(&first) = reasons.first() else {
            return;
        };
        let after_idle = reasons.contains(&LateReason::AfterIdle);
        self.missed.push(Missed {
            tie: event.tie,
            lsn: event.lsn,
            reason: if after_idle {
                LateReason::AfterIdle
            } else {
                first
            },
            windows: missed.into_iter().map(|(_, window)| window).collect(),
            row: event.event.row.clone(),
        });
    }
}

/// The labels of an event's group.
pub(super) fn labels(view: &View, full: &Full<'_>) -> Vec<String> {
    let group = view.group.iter();
    group.map(|&field| full.value(field).label()).collect()
}

impl Oracle<'_> {
    /// What a view shows.
    pub fn view(&self, view: &View) -> ViewTruth {
        let arguments = view.columns.iter();
        let arguments: Vec<usize> = arguments.filter_map(|c| c.aggregate.field()).collect();
        let (errors, events) = self.passed(
            view.stream,
            view.filter,
            &view.group,
            &arguments,
            view.retract,
        );
        let mut truth = ViewTruth {
            errors,
            ..ViewTruth::default()
        };
        match view.window.kind {
            WindowKind::Session { gap_ms } => self.sessions(view, gap_ms, events, &mut truth),
            WindowKind::Last { count } => self.last(view, count, events, &mut truth),
            _ => self.known_windows(view, events, &mut truth),
        }
        truth
    }

    /// Every event against every window that it lies in.
    fn known_windows(&self, view: &View, events: Vec<Full<'_>>, truth: &mut ViewTruth) {
        let mut windows: BTreeMap<GroupInWindow, Vec<(Full<'_>, bool)>> = BTreeMap::new();
        for full in events {
            let event = full.recorded;
            let new = event.took_effect(view.retract);
            let labels = labels(view, &full);
            let mut missed = Vec::new();
            for (start_ms, end_ms) in windows_of(&view.window.kind, event.time_ms(self.pipeline)) {
                match fate(view, end_ms, event) {
                    Fate::InTime | Fate::Amends => {
                        let amends = new && fate(view, end_ms, event) == Fate::Amends;
                        truth.amended += u64::from(amends);
                        let of_group = windows.entry((start_ms, end_ms, labels.clone()));
                        of_group.or_default().push((full, amends));
                    }
                    Fate::Missed(_) if !new => {}
                    Fate::Missed(reason) => missed.push((reason, (start_ms, end_ms))),
                }
            }
            truth.miss(event, missed);
        }
        for ((start_ms, end_ms, _), events) in windows {
            truth.rows.extend(self.row(view, start_ms, end_ms, &events));
        }
    }

    /// The row of a group in a window, unless the window is no longer kept.
    pub(super) fn row(
        &self,
        view: &View,
        start_ms: i64,
        end_ms: i64,
        events: &[(Full<'_>, bool)],
    ) -> Option<Row<Expected>> {
        let watermark_ms = self.watermarks_ms[view.stream];
        if is_dropped(view, end_ms, watermark_ms) {
            return None;
        }
        let amended = events.iter().filter(|(_, amends)| *amends).count();
        let moves = events.iter();
        let moves = moves.flat_map(|(event, _)| event.recorded.moves(view.retract));
        let corrected = moves.filter(|one| is_closed(view, end_ms, one.watermark_ms));
        let revision = (amended + corrected.count()) as u64;
        let state = match is_closed(view, end_ms, watermark_ms) {
            false => RowState::Early,
            true if revision == 0 => RowState::Final,
            true => RowState::Amended,
        };
        let group = view.group.iter().map(|&f| events[0].0.value(f).clone());
        let there = |event: &Full<'_>| event.recorded.is_there(view.retract);
        let events = events.iter().map(|(event, _)| *event).filter(there);
        let events: Vec<Full<'_>> = events.collect();
        let columns = view.columns.iter();
        let time_field = self.pipeline.streams[view.stream].time.field;
        Some(Row {
            start_ms,
            end_ms,
            group: group.collect(),
            values: columns
                .map(|column| expect(column.aggregate, time_field, &events))
                .collect(),
            state,
            revision,
        })
    }
}

/// What becomes of an event in one of the windows that it lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    InTime,
    Amends,
    Missed(LateReason),
}

pub(super) fn is_closed(view: &View, end_ms: i64, watermark_ms: i64) -> bool {
    if let WindowKind::Last { .. } = view.window.kind {
        return false;
    }
    watermark_ms != i64::MIN && end_ms + view.window.late_ms <= watermark_ms
}

pub(super) fn is_dropped(view: &View, end_ms: i64, watermark_ms: i64) -> bool {
    let keep_ms = view.window.keep_ms.max(view.window.late_ms);
    watermark_ms != i64::MIN && watermark_ms - end_ms > keep_ms
}

pub(super) fn fate(view: &View, end_ms: i64, event: &Recorded) -> Fate {
    if !is_closed(view, end_ms, event.watermark_ms) {
        return Fate::InTime;
    }
    let (stopped_ms, reason) = match view.window.after {
        After::Drop => (end_ms + view.window.late_ms, LateReason::Late),
        After::Amend if !is_dropped(view, end_ms, event.watermark_ms) => return Fate::Amends,
        After::Amend => {
            let keep_ms = view.window.keep_ms.max(view.window.late_ms);
            (end_ms + keep_ms + 1, LateReason::Expired)
        }
    };
    if event.idle.covers(stopped_ms) {
        Fate::Missed(LateReason::AfterIdle)
    } else {
        Fate::Missed(reason)
    }
}
