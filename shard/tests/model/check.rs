//! Compares merged answers of all shards with the oracle.

use super::world::World;
use ringmill_shard::limits::SIDE_EVENTS_MAX;
use ringmill_shard::merge::{RowState, merge_windows};
use ringmill_shard::oracle::Datum;
use ringmill_shard::oracle::rows::{Missed, ViewTruth};
use ringmill_shard::oracle::{Errors, Oracle, Recorded, Row};
use ringmill_shard::pipeline::WindowKind;
use ringmill_shard::query::{Answer, Query, WindowCursor};
use ringmill_shard::rank::Tie;
use ringmill_shard::window::{LateReason, group_values};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

impl World {
    pub(crate) fn ask(&self, query: &Query) -> Vec<Answer> {
        let query = Query::from_bytes(&query.to_bytes()).unwrap();
        let answer = |shard: &ringmill_shard::state::ShardState| {
            Answer::from_bytes(&shard.query(&query).to_bytes()).unwrap()
        };
        self.shards.iter().map(answer).collect()
    }

    /// All rows of a view, fetched in pages of `limit`.
    pub(crate) fn windows(&self, view: usize, limit: usize) -> Vec<Row> {
        let view_of = &self.pipeline.views[view];
        let stream = &self.pipeline.streams[view_of.stream];
        let (mut rows, mut after): (Vec<Row>, Option<WindowCursor>) = (Vec::new(), None);
        loop {
            let query = Query::Windows {
                view: view as u16,
                from_ms: i64::MIN,
                to_ms: i64::MAX,
                limit: limit as u32,
                after: after.clone(),
            };
            let answers = self.ask(&query).into_iter().map(|answer| match answer {
                Answer::Windows(answer) => answer,
                other => panic!("{other:?}"),
            });
            let page = merge_windows(&self.pipeline, view, answers.collect(), limit).unwrap();
            assert!(page.rows.len() <= limit);
            for row in page.rows {
                let group = group_values(view_of, stream, &row.group).unwrap();
                rows.push(Row {
                    start_ms: row.start_ms,
                    end_ms: row.end_ms,
                    group: group.into_iter().map(Datum::of).collect(),
                    values: row.values,
                    state: row.state,
                    revision: row.revision,
                });
            }
            after = page.next;
            if after.is_none() {
                return rows;
            }
        }
    }

    /// Compares everything with the oracle.
    pub(crate) fn check(&mut self) {
        self.settle();
        let pipeline = self.pipeline.clone();
        let oracle = Oracle::new(&pipeline, self.recorded.clone(), self.watermarks_ms.clone());
        self.check_counters(&oracle);
        for board in 0..pipeline.boards.len() {
            self.check_board(&oracle, board);
        }
        for view in 0..pipeline.views.len() {
            self.check_view(&oracle, view);
        }
        let digests = |shards: &[ringmill_shard::state::ShardState]| {
            shards
                .iter()
                .map(|shard| shard.digest())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            digests(&self.replayed()),
            digests(&self.shards),
            "{}: replay",
            self.note
        );
    }

    fn check_counters(&self, oracle: &Oracle<'_>) {
        for stream in 0..self.pipeline.streams.len() {
            let mut accepted = 0;
            let (mut annulled, mut retracted) = (0, 0);
            let mut rejected = std::collections::BTreeMap::new();
            for shard in &self.shards {
                let counters = shard.counters().streams[stream];
                accepted += counters.accepted;
                annulled += counters.annulled;
                retracted += counters.retracted;
                for reason in ringmill_shard::reject::RejectReason::ALL {
                    *rejected.entry(reason.name()).or_default() +=
                        counters.rejected[reason.index()];
                }
            }
            rejected.retain(|_, count| *count > 0);
            assert_eq!(accepted, oracle.accepted_count(stream), "{}", self.note);
            let count = |is: &dyn Fn(&Recorded) -> bool| {
                oracle.accepted(stream).filter(|event| is(event)).count() as u64
            };
            assert_eq!(
                annulled,
                count(&|event| event.corrected.annulled),
                "{}",
                self.note
            );
            assert_eq!(
                retracted,
                count(&|event| event.corrected.away),
                "{}",
                self.note
            );
            assert_eq!(rejected, oracle.rejected(stream), "{}", self.note);
            self.check_repeats(oracle, stream);
        }
    }

    fn check_view(&self, oracle: &Oracle<'_>, view: usize) {
        let note = format!("{} view {view} {:?}", self.note, self.pipeline.views[view]);
        let truth = oracle.view(&self.pipeline.views[view]);
        let (mut late, mut amended) = ([0; LateReason::COUNT], 0);
        for shard in &self.shards {
            let counters = shard.counters().views[view];
            amended += counters.amended;
            late.iter_mut()
                .zip(counters.late)
                .for_each(|(sum, count)| *sum += count);
        }
        assert_eq!((late, amended), (truth.late, truth.amended), "{note}");
        let errors = self
            .shards
            .iter()
            .map(|shard| shard.counters().views[view].errors);
        assert_eq!(errors.fold(Errors::default(), add), truth.errors, "{note}");
        self.check_late(&truth, view, &note);
        if let [shard] = &self.shards[..] {
            let kind = &self.pipeline.views[view].window.kind;
            let of = |open: bool| {
                let rows = truth.rows.iter();
                let rows = rows.filter(|row| (row.state == RowState::Early) == open);
                if kind.is_of_key() {
                    return rows.count() as u64;
                }
                rows.map(|row| (row.start_ms, row.end_ms))
                    .collect::<BTreeSet<_>>()
                    .len() as u64
            };
            let counters = shard.counters().views[view];
            let counted = (counters.open_windows, counters.closed_windows);
            assert_eq!(counted, (of(true), of(false)), "{note}");
            let waits = shard.has_open_windows(self.pipeline.views[view].stream);
            let may_close = !matches!(kind, WindowKind::Last { .. });
            let none_open = counters.open_windows == 0;
            assert!(waits || none_open || !may_close, "{note}");
            if kind.is_of_key() {
                assert_eq!(counters.groups, truth.rows.len() as u64, "{note}");
            }
        }
        let mut expected = truth.rows;
        expected.sort_by_key(by_group);
        for limit in [10_000, 3, 1] {
            if limit < 10 && expected.len() > 300 {
                continue;
            }
            let mut actual = self.windows(view, limit);
            let by_window = |row: &Row| (row.start_ms, row.end_ms);
            assert!(actual.is_sorted_by_key(by_window), "{note}");
            actual.sort_by_key(by_group);
            assert_eq!(actual, expected, "{note} limit {limit}");
        }
    }

    /// The late events of all shards, the latest of each.
    fn check_late(&self, truth: &ViewTruth, view: usize, note: &str) {
        let mut actual = Vec::new();
        for shard in &self.shards {
            let query = Query::Late {
                view: view as u16,
                n: SIDE_EVENTS_MAX as u32,
            };
            let Answer::Late(events) = shard.query(&query) else {
                panic!("not late events");
            };
            assert!(events.is_sorted_by_key(|event| {
                Reverse((event.stamp_ns, event.log_stream, event.index))
            }));
            actual.extend(events);
        }
        // With so few a shard none had to go.
        if truth.missed.len() <= SIDE_EVENTS_MAX {
            assert_eq!(actual.len(), truth.missed.len(), "{note}");
        }
        let mut left: BTreeMap<Tie, &Missed> = truth.missed.iter().map(|m| (m.tie, m)).collect();
        for event in actual {
            let tie = Tie {
                stamp_ns: event.stamp_ns,
                log_stream: event.log_stream,
                index: event.index,
            };
            let missed = left.remove(&tie);
            let missed = missed.unwrap_or_else(|| panic!("{note}: {event:?} is not late"));
            let last = missed.windows.len() - 1;
            assert_eq!(
                (event.reason, event.lsn, event.windows as usize, &event.row),
                (missed.reason, missed.lsn, last + 1, &missed.row),
                "{note}"
            );
            assert_eq!(
                (event.first_ms, event.last_ms),
                (missed.windows[0], missed.windows[last]),
                "{note}"
            );
        }
    }
}

pub(crate) fn add(mut sum: Errors, errors: Errors) -> Errors {
    sum.iter_mut()
        .zip(errors)
        .for_each(|(sum, count)| *sum += count);
    sum
}

fn by_group<V>(row: &Row<V>) -> (i64, i64, String) {
    (row.start_ms, row.end_ms, format!("{:?}", row.group))
}
