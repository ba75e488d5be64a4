//! What must be true, kept as plain vectors.

use super::entries::{fill, kind};

/// The history of one log as its user saw it.
#[derive(Default)]
pub(crate) struct Oracle {
    /// Numbers of the entries, in order: entry `i` has LSN `i + 1`.
    ids: Vec<u64>,
    next_id: u64,
    /// LSNs that a submitted frame ended on.
    boundaries: Vec<u64>,
    /// Reported as durable.
    durable_lsn: u64,
    /// Reported as durable by the last but one report that moved it.
    durable_before_lsn: u64,
    /// Reported as written.
    written_lsn: u64,
    /// The power failed since the last successful open.
    power_lost: bool,
    pub(crate) incarnation: u64,
}

/// How much may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tolerance {
    /// Nothing that was reported.
    Nothing,
    /// What the last report of durability covered: an uncovered fault struck.
    LastReport,
    /// Anything, as long as a prefix is left: several uncovered faults struck.
    Suffix,
}

impl Oracle {
    /// Number for the next entry.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(crate) fn appended(&mut self, id: u64, lsn: u64) -> Result<(), String> {
        self.ids.push(id);
        check(lsn == self.ids.len() as u64, || {
            format!("LSN {lsn} for entry {}", self.ids.len())
        })
    }

    pub(crate) fn submitted(&mut self) {
        let end = self.ids.len() as u64;
        if self.boundaries.last() != Some(&end) {
            self.boundaries.push(end);
        }
    }

    /// A report of the log: it may move forward, never beyond what was submitted.
    pub(crate) fn reported(&mut self, written_lsn: u64, durable_lsn: u64) -> Result<(), String> {
        let submitted = self.boundaries.last().copied().unwrap_or(0);
        check(
            durable_lsn <= written_lsn && written_lsn <= submitted,
            || format!("durable {durable_lsn}, written {written_lsn}, submitted {submitted}"),
        )?;
        check(
            durable_lsn >= self.durable_lsn && written_lsn >= self.written_lsn,
            || "a report went backwards".to_owned(),
        )?;
        if durable_lsn > self.durable_lsn {
            self.durable_before_lsn = self.durable_lsn;
        }
        (self.written_lsn, self.durable_lsn) = (written_lsn, durable_lsn);
        Ok(())
    }

    pub(crate) fn lost_power(&mut self) {
        self.power_lost = true;
    }

    /// Judges what an open handed out, and goes on from there: whatever was handed out may have
    /// been acted on, so from now on it counts as durable.
    pub(crate) fn reopened(
        &mut self,
        handed_out: &[(u64, u32, Vec<u8>)],
        longest: usize,
        tolerance: Tolerance,
    ) -> Result<(), String> {
        let count = handed_out.len() as u64;
        let mut expected = Vec::new();
        for (index, (lsn, found, bytes)) in handed_out.iter().enumerate() {
            check(*lsn == index as u64 + 1, || {
                format!("entry {index} has LSN {lsn}")
            })?;
            let Some(&id) = self.ids.get(index) else {
                return Err(format!("LSN {lsn} was never appended"));
            };
            fill(id, longest, &mut expected);
            check(*bytes == expected && *found == kind(id), || {
                format!("LSN {lsn} holds another kind or other bytes")
            })?;
        }
        let least = match tolerance {
            Tolerance::Nothing if self.power_lost => self.durable_lsn,
            Tolerance::Nothing => self.written_lsn,
            Tolerance::LastReport => self.durable_before_lsn,
            Tolerance::Suffix => 0,
        };
        check(count >= least, || {
            format!(
                "{count} entries came back: durable {}, written {}, power lost: {}",
                self.durable_lsn, self.written_lsn, self.power_lost
            )
        })?;
        check(count == 0 || self.boundaries.contains(&count), || {
            format!("the log ends inside a frame, at LSN {count}")
        })?;
        self.ids.truncate(count as usize);
        self.boundaries.retain(|&end| end <= count);
        (self.written_lsn, self.durable_lsn) = (count, count);
        self.durable_before_lsn = self.durable_before_lsn.min(count);
        self.power_lost = false;
        Ok(())
    }

    pub(crate) fn entries(&self) -> usize {
        self.ids.len()
    }
}

pub(crate) fn check(holds: bool, message: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(message()) }
}
