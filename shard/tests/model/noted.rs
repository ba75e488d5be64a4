//! What the world reads back beside the answers: duplicates that a shard noted, and runs of moves
//! by the clock in a log.

use super::world::{Log, World, producer_id};
use ringmill_shard::entry::{Entry, decode_entry};
use ringmill_shard::oracle::ClockRun;
use ringmill_shard::query::{Answer, Query};

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
        let Answer::Duplicates(runs) = self.shards[shard].query(&query) else {
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
