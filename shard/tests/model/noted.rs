//! What the world reads back beside the answers: duplicates that a shard noted, and runs of moves
//! by the clock in a log.

use super::world::{Log, World, producer_id};
use ringmill_shard::dedupe::DuplicateCause;
use ringmill_shard::entry::{Entry, decode_entry};
use ringmill_shard::limits::SIDE_EVENTS_MAX;
use ringmill_shard::oracle::ClockRun;
use ringmill_shard::oracle::repeats::Fate;
use ringmill_shard::oracle::{Event, Oracle};
use ringmill_shard::query::{Answer, DuplicateEvent, DuplicatesAnswer, Query};

impl World {
    /// Counts what a shard found to be stored, and looks at how it remembers that.
    pub(crate) fn count_duplicates(
        &mut self,
        producer: usize,
        stream: usize,
        shard: usize,
        indexes: &[usize],
        duplicates: u32,
    ) {
        if duplicates == 0 {
            return;
        }
        self.duplicates += u64::from(duplicates);
        let mut state = self.shards[shard].clone();
        self.batch(producer, stream, indexes, |batch| {
            state.count_duplicates(batch, duplicates);
        });
        self.shards[shard] = state;
        let query = Query::Duplicates {
            stream: stream as u16,
            n: 1,
        };
        let Answer::Duplicates(DuplicatesAnswer { runs, .. }) = self.shards[shard].query(&query)
        else {
            panic!("not duplicates");
        };
        let (first, last) = (indexes[0] as u64 + 1, indexes[indexes.len() - 1] as u64 + 1);
        let run = runs[0];
        assert_eq!(
            (
                run.producer,
                run.first_sequence,
                run.last_sequence,
                run.duplicates
            ),
            (producer_id(producer).0, first, last, duplicates),
            "{}",
            self.note
        );
    }

    /// Now and then an event that some producer sent before, for another to send under a sequence
    /// of its own.
    pub(crate) fn repeated(&mut self, stream: usize) -> Option<Event> {
        if self.pipeline.streams[stream].dedupe.is_none() || !self.random.chance(20) {
            return None;
        }
        let producer = self.random.below(self.producers.len() as u64) as usize;
        let sent = &self.producers[producer].sent;
        let newest = sent.iter().rev().take(100);
        let of_stream: Vec<&Event> = newest
            .filter(|(of, _)| *of == stream)
            .map(|(_, event)| event)
            .collect();
        let at = self.random.below(of_stream.len().max(1) as u64) as usize;
        of_stream.get(at).map(|event| (*event).clone())
    }

    /// Duplicates by fields of all shards, by cause, and the latest of each shard.
    pub(crate) fn check_repeats(&self, oracle: &Oracle<'_>, stream: usize) {
        let note = format!(
            "{} stream {stream} {:?}",
            self.note, self.pipeline.streams[stream]
        );
        let mut repeated = std::collections::BTreeMap::new();
        let mut shown = Vec::new();
        for shard in &self.shards {
            let counters = shard.counters().streams[stream];
            for cause in DuplicateCause::ALL {
                *repeated.entry(cause.name()).or_default() += counters.duplicates[cause.index()];
            }
            let query = Query::Duplicates {
                stream: stream as u16,
                n: SIDE_EVENTS_MAX as u32,
            };
            let Answer::Duplicates(DuplicatesAnswer { events, .. }) = shard.query(&query) else {
                panic!("not duplicates");
            };
            let newest_first = |event: &_| std::cmp::Reverse(place(event));
            assert!(events.is_sorted_by_key(newest_first), "{note}");
            shown.extend(events);
        }
        repeated.remove(DuplicateCause::Producer.name());
        repeated.retain(|_, count| *count > 0);
        assert_eq!(repeated, oracle.repeated(stream), "{note}");
        let truth: Vec<_> = oracle
            .of_stream(stream)
            .filter_map(|(event, fate)| match fate {
                Fate::Repeats(cause) => Some((event, cause)),
                _ => None,
            })
            .collect();
        if truth.len() <= SIDE_EVENTS_MAX {
            assert_eq!(shown.len(), truth.len(), "{note}");
        }
        for event in &shown {
            let found = truth.iter().any(|(recorded, cause)| {
                let tie = recorded.tie;
                (tie.stamp_ns, tie.log_stream, tie.index)
                    == (event.stamp_ns, event.log_stream, event.index)
                    && (recorded.lsn, cause.code()) == (event.lsn, event.cause)
                    && recorded.event.row == event.row
            });
            assert!(found, "{note}: {event:?}");
        }
    }

    /// The last run of moves by the clock in a log, up to its end.
    pub(crate) fn clock_run(&self, shard: usize, stream: usize) -> ClockRun {
        let watermarks = |log: &Log| {
            let mut found = Vec::new();
            for (_, kind, bytes) in &log.0 {
                match decode_entry(*kind, bytes).unwrap() {
                    Entry::Batch(batch) if usize::from(batch.stream) == stream => {
                        found.push((batch.watermark_ms, false));
                    }
                    Entry::Watermark(entry) if usize::from(entry.stream) == stream => {
                        found.push((entry.watermark_ms, true));
                    }
                    _ => {}
                }
            }
            found
        };
        let older = self.old_logs.iter().flat_map(|(_, logs)| logs);
        let base_ms = older.flat_map(watermarks).map(|(ms, _)| ms).max();
        let own = watermarks(&self.logs[shard]);
        ClockRun::last(base_ms.unwrap_or(i64::MIN), own.into_iter())
    }
}

fn place(event: &DuplicateEvent) -> (u64, u128, u64) {
    (event.stamp_ns, event.producer, event.sequence)
}
