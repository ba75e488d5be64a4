//! A part of a correction into log and state: log position and effect are one step, as for events.

use ringmill_shard::entry::{self, CorrectionEntry, Entry, decode_entry};
use ringmill_shard::query::{Answer, CorrectedAnswer};
use ringmill_storage::disk::Disk;

use super::Core;
use crate::clock::Clock;
use crate::commit::Waiter;
use crate::message::read_query;

impl<D: Disk, C: Clock> Core<D, C> {
    /// Stores a part of a correction, unless the log holds the whole of it; false if the log buffer
    /// is full, then nothing happened. The answer waits until the part is durable, whatever level
    /// its stream has.
    pub(super) fn on_correction(&mut self, peer: usize, body: &[u8]) -> bool {
        let (ticket, bytes) = read_query(body);
        let answer = if self.flags.failed() {
            // What the state holds may not come back.
            Vec::new()
        } else {
            let Ok(Entry::Correction(part)) = decode_entry(entry::KIND_CORRECTION, bytes) else {
                panic!("invariant: the control plane sends whole parts of corrections");
            };
            let Some(outcome) = self.store_correction(part) else {
                return false;
            };
            Answer::Corrected(outcome).to_bytes().into_vec()
        };
        let lsn = self.appended();
        let bytes = answer;
        self.wait_durable(
            lsn,
            Waiter::Answer {
                peer,
                ticket,
                bytes,
            },
        );
        true
    }

    fn store_correction(&mut self, part: CorrectionEntry) -> Option<CorrectedAnswer> {
        if self.state.is_corrected(part.id, part.action) {
            return Some(CorrectedAnswer::Known);
        }
        if self.flags.disk_full() {
            return Some(CorrectedAnswer::DiskFull);
        }
        let part = CorrectionEntry {
            stamp_ns: self.next_stamp(),
            watermark_ms: self.state.watermark_ms(usize::from(part.stream)),
            ..part
        };
        if self.state.check_correction(&part).is_err() {
            return Some(CorrectedAnswer::Refused);
        }
        let lsn = self
            .log
            .append(entry::KIND_CORRECTION, &[&part.to_bytes()])?;
        self.last_stamp_ns = part.stamp_ns;
        self.state
            .correct(&part, lsn)
            .expect("invariant: the part was checked");
        Some(CorrectedAnswer::Stored)
    }
}
