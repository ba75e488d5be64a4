//! One simulated file: what reads see, what would survive a power loss, and the sectors between.

use std::collections::BTreeSet;

use super::rng::SimRng;
use crate::disk::FileId;
use crate::layout::BLOCK_BYTES;

/// The unit that a power loss keeps or drops as a whole.
pub const SECTOR_BYTES: usize = 512;

/// An inode. `seen` and `durable` have the same length; a sector whose stamp is 0 is clean.
pub(super) struct SimFile {
    pub(super) seen: Vec<u8>,
    pub(super) durable: Vec<u8>,
    /// Length that a power loss leaves, independent of the sectors.
    durable_bytes: usize,
    /// Per sector: number of the write that made it dirty, 0 if clean.
    stamps: Vec<u64>,
    dirty: bool,
    /// Blocks that cannot be read, until they are written.
    pub(super) spoilt: BTreeSet<usize>,
    /// Open file that holds the lock.
    pub(super) locked_by: Option<FileId>,
}

impl SimFile {
    pub(super) fn new(bytes: usize) -> SimFile {
        SimFile {
            seen: vec![0; bytes],
            durable: vec![0; bytes],
            durable_bytes: 0,
            stamps: vec![0; bytes.div_ceil(SECTOR_BYTES)],
            dirty: false,
            spoilt: BTreeSet::new(),
            locked_by: None,
        }
    }

    /// Writes the sectors of `data` that `keep` accepts. A sector that was dirty already may have
    /// been written back in between, so its older version becomes durable by a coin.
    pub(super) fn write(
        &mut self,
        offset: usize,
        data: &[u8],
        stamp: u64,
        rng: &mut SimRng,
        mut keep: impl FnMut(&mut SimRng) -> bool,
    ) {
        assert!(stamp > 0 && offset.is_multiple_of(SECTOR_BYTES));
        for (index, sector) in data.chunks(SECTOR_BYTES).enumerate() {
            if !keep(rng) {
                continue;
            }
            let start = offset + index * SECTOR_BYTES;
            let range = start..start + sector.len();
            let slot = start / SECTOR_BYTES;
            if self.stamps[slot] > 0 && rng.chance(32_768) {
                self.durable[range.clone()].copy_from_slice(&self.seen[range.clone()]);
            }
            self.seen[range].copy_from_slice(sector);
            self.stamps[slot] = stamp;
            self.dirty = true;
            self.spoilt.remove(&(start / BLOCK_BYTES));
        }
    }

    /// Makes durable the dirty sectors of `offset..offset + bytes` stamped at most `through`, and
    /// the length; `keep` decides per sector whether its content really made it.
    pub(super) fn flush(
        &mut self,
        offset: usize,
        bytes: usize,
        through: u64,
        mut keep: impl FnMut() -> bool,
    ) {
        self.durable_bytes = self.seen.len();
        if !self.dirty {
            return;
        }
        let slots = offset / SECTOR_BYTES..(offset + bytes).div_ceil(SECTOR_BYTES);
        for slot in slots {
            if self.stamps[slot] == 0 || self.stamps[slot] > through {
                continue;
            }
            if keep() {
                let range = self.sector(slot);
                self.durable[range.clone()].copy_from_slice(&self.seen[range]);
            }
            self.stamps[slot] = 0;
        }
        self.dirty = self.stamps.iter().any(|&stamp| stamp > 0);
    }

    /// Power loss: each dirty sector is kept with probability `rate`, and so is the length.
    pub(super) fn lose_power(&mut self, rate: u32, rng: &mut SimRng) {
        if self.durable_bytes != self.seen.len() && rng.chance(rate) {
            self.durable_bytes = self.seen.len();
        }
        if self.dirty {
            for slot in 0..self.stamps.len() {
                if self.stamps[slot] > 0 && rng.chance(rate) {
                    let range = self.sector(slot);
                    self.durable[range.clone()].copy_from_slice(&self.seen[range]);
                }
            }
        }
        self.durable.truncate(self.durable_bytes);
        self.restore_from_durable();
    }

    /// Changes the file at rest: `change` gets the bytes of the medium.
    pub(super) fn damage(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        change(&mut self.durable);
        self.durable_bytes = self.durable.len();
        self.restore_from_durable();
    }

    /// Makes the medium hold what reads see.
    pub(super) fn settle(&mut self) {
        self.durable.clone_from(&self.seen);
        self.damage(|_| ());
    }

    fn restore_from_durable(&mut self) {
        self.seen.clone_from(&self.durable);
        self.stamps.clear();
        self.stamps
            .resize(self.seen.len().div_ceil(SECTOR_BYTES), 0);
        self.dirty = false;
        self.locked_by = None;
    }

    fn sector(&self, slot: usize) -> std::ops::Range<usize> {
        let start = slot * SECTOR_BYTES;
        start..(start + SECTOR_BYTES).min(self.seen.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_loss_keeps_any_subset_of_dirty_sectors_and_all_flushed_ones() {
        let mut subsets = std::collections::BTreeSet::new();
        for seed in 0..400 {
            let mut rng = SimRng::new(seed);
            let mut file = SimFile::new(4096);
            file.flush(0, 4096, u64::MAX, || true);
            file.write(0, &[1; 1024], 1, &mut rng, |_| true);
            file.flush(0, 1024, 1, || true);
            file.write(1024, &[2; 1536], 2, &mut rng, |_| true);
            file.lose_power(32_768, &mut rng);
            assert!(file.seen[..1024].iter().all(|&byte| byte == 1));
            let kept: Vec<bool> = (2..5).map(|slot| file.seen[slot * 512] == 2).collect();
            subsets.insert(kept);
        }
        assert_eq!(subsets.len(), 8, "every subset of three sectors occurs");
    }

    #[test]
    fn a_flush_covers_only_writes_that_were_finished_when_it_began() {
        let mut rng = SimRng::new(1);
        let mut file = SimFile::new(4096);
        file.write(0, &[1; 512], 1, &mut rng, |_| true);
        file.write(512, &[1; 512], 2, &mut rng, |_| true);
        file.flush(0, 4096, 1, || true);
        file.lose_power(0, &mut rng);
        assert_eq!((file.seen[0], file.seen[512]), (1, 0));
    }

    #[test]
    fn a_length_that_was_never_flushed_can_be_lost() {
        let mut file = SimFile::new(4096);
        file.lose_power(0, &mut SimRng::new(1));
        assert_eq!(file.seen.len(), 0);
    }
}
