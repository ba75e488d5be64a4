//! The state of a view, whatever kind its windows are.

use super::last::LastEvents;
use super::page::Ask;
use super::session::Sessions;
use super::{Accepted, LateEvent, Panes, ViewCounters};
use crate::correction::Change;
use crate::gate::Gate;
use crate::pipeline::{Stream, View, WindowKind};
use crate::query::WindowRow;
use crate::schema::Schema;

/// State of one view.
#[derive(Debug, Clone)]
pub(crate) struct ViewState {
    gate: Gate,
    windows: Windows,
}

/// Its windows.
#[derive(Debug, Clone)]
pub(crate) enum Windows {
    /// Their bounds are known before any event.
    Panes(Box<Panes>),
    /// Events make them.
    Sessions(Box<Sessions>),
    /// They move with every event.
    Last(Box<LastEvents>),
}

macro_rules! each_kind {
    ($windows:expr, $of_kind:ident => $result:expr) => {
        match $windows {
            Windows::Panes($of_kind) => $result,
            Windows::Sessions($of_kind) => $result,
            Windows::Last($of_kind) => $result,
        }
    };
}

impl ViewState {
    /// An empty view of a shard that writes `own_log`.
    pub(crate) fn new(view: &View, stream: &Stream, own_log: u32) -> Self {
        let read = view.columns.iter();
        let read = read.filter_map(|column| column.aggregate.field());
        Self {
            gate: Gate::new(stream, view.filter, &view.group, read),
            windows: match view.window.kind {
                WindowKind::Session { gap_ms } => {
                    Windows::Sessions(Box::new(Sessions::new(view, stream, gap_ms, own_log)))
                }
                WindowKind::Last { count } => {
                    Windows::Last(Box::new(LastEvents::new(view, stream, count)))
                }
                _ => Windows::Panes(Box::new(Panes::new(view, stream))),
            },
        }
    }

    pub(crate) const fn windows(&self) -> &Windows {
        &self.windows
    }

    /// Puts the accepted rows of a batch into their windows.
    #[inline]
    pub(crate) fn apply(&mut self, schema: &Schema, batch: &Accepted<'_>) {
        let Self { gate, windows } = self;
        if gate.is_open() {
            each_kind!(windows, of_kind => of_kind.apply(schema, batch));
        } else {
            let passed = gate.pass(batch);
            each_kind!(windows, of_kind => of_kind.apply(schema, &passed));
        }
    }

    /// Takes the one event of `event` back, or puts it back, if it counts; `watermark_ms` is the one
    /// in effect. Windows that events make cannot say that they follow.
    pub(crate) fn correct(
        &mut self,
        schema: &Schema,
        event: &Accepted<'_>,
        change: Change,
        watermark_ms: i64,
    ) {
        if let Windows::Panes(panes) = &mut self.windows
            && self.gate.lets(event)
        {
            panes.correct(schema, event, change, watermark_ms);
        }
    }

    /// Takes a moved watermark over: closes windows and lets expired ones go.
    pub(crate) fn advance(&mut self, watermark_ms: i64) {
        each_kind!(&mut self.windows, of_kind => of_kind.advance(watermark_ms));
    }

    /// Ends replay.
    pub(crate) fn finish_replay(&mut self) {
        if let Windows::Sessions(sessions) = &mut self.windows {
            sessions.finish_replay();
        }
    }

    /// Whether a later watermark would close a window.
    pub(crate) fn has_open_windows(&self) -> bool {
        match &self.windows {
            Windows::Panes(panes) => panes.has_open_windows(),
            Windows::Sessions(sessions) => sessions.has_open(),
            Windows::Last(_) => false,
        }
    }

    /// Rows of the windows that are asked for; true if there may be more.
    pub(crate) fn rows(&self, ask: &Ask<'_>) -> (Vec<WindowRow>, bool) {
        each_kind!(&self.windows, of_kind => of_kind.rows(ask))
    }

    pub(crate) fn counters(&self) -> ViewCounters {
        let counters = each_kind!(&self.windows, of_kind => of_kind.counters());
        ViewCounters {
            errors: self.gate.errors(),
            ..counters
        }
    }

    /// The latest late events, newest first.
    pub(crate) fn late_events(&self) -> impl Iterator<Item = &LateEvent> {
        each_kind!(&self.windows, of_kind => of_kind.late.newest())
    }
}
