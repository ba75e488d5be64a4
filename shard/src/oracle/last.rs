//! The last events of a group: all that are kept, sorted.

use super::rows::{ViewTruth, is_dropped, labels};
use super::{Full, Oracle};
use crate::pipeline::View;
use crate::window::LateReason;
use std::collections::BTreeMap;

impl Oracle<'_> {
    pub(super) fn last(
        &self,
        view: &View,
        count: u32,
        events: Vec<Full<'_>>,
        truth: &mut ViewTruth,
    ) {
        let watermark_ms = self.watermarks_ms[view.stream];
        let mut groups: BTreeMap<Vec<String>, Vec<Full<'_>>> = BTreeMap::new();
        for full in events {
            let event = full.recorded;
            let time_ms = event.time_ms(self.pipeline);
            if is_dropped(view, time_ms, event.watermark_ms) {
                let gone_ms = time_ms + view.window.keep_ms + 1;
                let reason = match event.idle.covers(gone_ms) {
                    true => LateReason::AfterIdle,
                    false => LateReason::Expired,
                };
                truth.miss(event, vec![(reason, (time_ms, time_ms + 1))]);
            } else if !is_dropped(view, time_ms, watermark_ms) {
                groups.entry(labels(view, &full)).or_default().push(full);
            }
        }
        let time_ms = |full: &Full<'_>| full.recorded.time_ms(self.pipeline);
        for mut events in groups.into_values() {
            events.sort_by_key(|full| (time_ms(full), full.recorded.tie));
            let older = events.len().saturating_sub(count as usize);
            let last = events.split_off(older);
            let start_ms = last.iter().map(time_ms).min().expect("a group has events");
            let end_ms = last.iter().map(time_ms).max().expect("a group has events") + 1;
            let mut last: Vec<_> = last.into_iter().map(|full| (full, false)).collect();
            last.sort_by_key(|(full, _)| full.recorded.tie);
            truth.rows.extend(self.row(view, start_ms, end_ms, &last));
        }
        truth.rows.sort_by_key(|row| (row.start_ms, row.end_ms));
    }
}
