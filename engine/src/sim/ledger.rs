//! What the logs of a simulated store hold: the recorded time of every event, and that all is there
//! that was promised.

use std::collections::BTreeMap;

use ringmill_shard::entry::ProducerId;
use ringmill_shard::oracle::journal::{Journal, LogPlace};
use ringmill_shard::pipeline::Pipeline;
use ringmill_storage::disk::sim::SimDisk;
use ringmill_storage::verify::read_dir;

use super::play::Difference;
use crate::recovery::Layout;

/// The name of a producer.
pub(super) fn name_of(producer: usize) -> String {
    format!("producer-{producer}")
}

pub(super) struct Ledger<'p> {
    pub(super) journal: Journal<'p>,
}

impl<'p> Ledger<'p> {
    /// Reads all logs of a store.
    pub(super) fn read(
        disk: &mut SimDisk,
        layout: &Layout,
        pipeline: &'p Pipeline,
    ) -> Result<Ledger<'p>, Difference> {
        let mut journal = Journal::new(pipeline);
        for epoch in layout.epochs() {
            for stream in epoch.streams() {
                let log = LogPlace {
                    stream,
                    first_of_layout: epoch.first_stream,
                };
                let mut unread = None;
                let report = read_dir(disk, &layout.dir_of(stream), &mut |lsn, kind, entry| {
                    if let Err(error) = journal.take(log, lsn, kind, entry) {
                        unread.get_or_insert(error.to_string());
                    }
                    Ok(())
                });
                let unread = report.err().map(|error| error.to_string()).or(unread);
                if let Some(error) = unread {
                    return Err(Difference::new(format!("log {stream}"), "entries", error));
                }
            }
        }
        Ok(Ledger { journal })
    }

    /// Every event that was answered for stands in a log, once; `sent` is their number by producer.
    pub(super) fn check_complete(&self, sent: &[usize]) -> Result<(), Difference> {
        let mut stored: BTreeMap<(u128, u64), u32> = BTreeMap::new();
        for event in &self.journal.events {
            *stored.entry((event.producer, event.sequence)).or_default() += 1;
        }
        for (producer, sent) in sent.iter().enumerate() {
            let id = ProducerId::of_name(&name_of(producer)).0;
            for sequence in 1..=*sent as u64 {
                let times = stored.remove(&(id, sequence)).unwrap_or(0);
                if times != 1 {
                    let at = format!("event {sequence} of producer {producer} in the logs");
                    return Err(Difference::new(at, "once", format!("{times} times")));
                }
            }
        }
        match stored.first_key_value() {
            None => Ok(()),
            Some(((producer, sequence), _)) => {
                let found = format!("event {sequence} of {producer:032x}");
                Err(Difference::new("the logs", "only what was sent", found))
            }
        }
    }
}
