//! Events that are taken back from the pane that they went into, or put back.

use super::Panes;
use super::group::group_hash;
use crate::correction::Change;
use crate::schema::Schema;
use crate::window::Accepted;

impl Panes {
    /// Takes the one event of `event` back, or puts it back; `watermark_ms` is the one in effect. Windows that it has closed get a revision. A group stays, even without events: its
    /// row says what has become of it.
    pub(crate) fn correct(
        &mut self,
        schema: &Schema,
        event: &Accepted<'_>,
        change: Change,
        watermark_ms: i64,
    ) {
        let entrance = self.enter(event.times_ms[0], event.watermark_ms);
        let Some(place) = entrance.place else {
            return;
        };
        let mut key_scratch = std::mem::take(&mut self.key);
        let key = self.group.key(schema, event, 0, &mut key_scratch);
        let hash = group_hash(key);
        let id = match change {
            Change::TakeBack => self.panes[place].groups.find(hash, key),
            Change::PutBack => Some(self.group_id(place, hash, key)),
        };
        self.key = key_scratch;
        // What was passed over in replay, because it has no effect any more, is not there.
        let Some(id) = id else {
            return;
        };
        let pane = &mut self.panes[place];
        let closed_by = watermark_ms.saturating_sub(self.late_ms);
        let closed = self.grid.ended(pane.span, pane.windows, closed_by);
        if closed > pane.missed {
            let first_open = pane.windows.first + i64::from(closed);
            *pane.corrected.entry((id, first_open)).or_default() += 1;
        }
        let group = pane.group_rows[id as usize];
        for (index, column) in self.columns.iter().enumerate() {
            match change {
                Change::TakeBack => column.take_back(index, schema, event, group, &mut self.store),
                Change::PutBack => {
                    column.accumulate(index, schema, event, &[(0, group)], &mut self.store);
                }
            }
        }
    }
}
