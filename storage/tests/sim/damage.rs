//! Damage at rest: what happens to files while no process runs. Once per run.

use ringmill_storage::frame::FrameHeader;
use ringmill_storage::layout::{BLOCK_BYTES, is_zero};
use ringmill_storage::mark::MARK_NAME;
use ringmill_storage::segment::SegmentHeader;

use super::run::Run;

impl Run {
    /// Keeps the newest segment as it is seen now, for [`Run::put_back_old_block`].
    pub(crate) fn keep_copy(&mut self) {
        if !self.plan.damage {
            return;
        }
        // The newest segment that was begun: what a power loss can cut off stands there.
        for path in self.world.paths().into_iter().rev() {
            let bytes = self.world.contents(&path).unwrap_or_default();
            if bytes.len() >= BLOCK_BYTES && SegmentHeader::decode(&bytes).is_ok() {
                self.old_copies.push((path, bytes));
                return;
            }
        }
    }

    /// One place of one file changes.
    pub(crate) fn damage_block_at_rest(&mut self) {
        if !self.plan.damage || self.uncovered() > 0 {
            return;
        }
        if self.rng.chance(50_000) {
            self.put_back_old_block();
        } else {
            self.flip_bit_at_rest();
        }
    }

    /// One block is what it once was, of a history that may have been cut off since. If there is
    /// one, a frame that fits its place in every respect but the chain.
    fn put_back_old_block(&mut self) {
        let (mut choices, mut twins) = (Vec::new(), Vec::new());
        for (path, copy) in &self.old_copies {
            let Some(now) = self
                .world
                .contents(path)
                .filter(|now| now.len() == copy.len())
            else {
                continue;
            };
            let blocks = copy.chunks(BLOCK_BYTES).zip(now.chunks(BLOCK_BYTES));
            for (index, (old, now)) in blocks.enumerate() {
                if old == now || is_zero(old) || is_zero(now) {
                    continue;
                }
                choices.push((path.clone(), index, old.to_vec()));
                if are_twins(old, now, self.oracle.incarnation) {
                    twins.push((path.clone(), index, old.to_vec()));
                }
            }
        }
        // Twins are rare: mostly wait for one.
        if !twins.is_empty() || self.rng.chance(50_000) {
            choices = twins;
        }
        if choices.is_empty() {
            return;
        }
        let (path, index, old) = choices.swap_remove(self.rng.index(choices.len()));
        let range = index * BLOCK_BYTES..(index + 1) * BLOCK_BYTES;
        self.world
            .damage(&path, |bytes| bytes[range].copy_from_slice(&old));
        self.damaged = true;
    }

    /// One bit of one file changes.
    fn flip_bit_at_rest(&mut self) {
        let paths = self.world.paths();
        if paths.is_empty() {
            return;
        }
        let path = self.rng.pick(&paths.iter().collect::<Vec<_>>());
        let rng = &mut self.rng;
        self.world.damage(path, |bytes| {
            if !bytes.is_empty() {
                let at = rng.index(bytes.len());
                bytes[at] ^= 1 << rng.below(8);
            }
        });
        self.damaged = true;
    }

    /// A whole file changes, after a close: then the mark is there to tell.
    pub(crate) fn damage_file_at_rest(&mut self) {
        if !self.plan.damage || self.uncovered() > 0 || !self.rng.chance(32_768) {
            return;
        }
        self.world.settle();
        let mut paths = self.world.paths();
        paths.retain(|path| path.file_name().is_some_and(|name| name != MARK_NAME));
        if paths.is_empty() {
            return;
        }
        let path = self.rng.pick(&paths.iter().collect::<Vec<_>>());
        match self.rng.below(3) {
            0 => self.world.remove(path),
            1 => {
                let blocks = self.plan.options.segment_bytes / BLOCK_BYTES as u64;
                let keep = self.rng.below(blocks) as usize * BLOCK_BYTES;
                self.world.damage(path, |bytes| bytes.truncate(keep));
            }
            _ => {
                let at = self.rng.below(self.plan.options.segment_bytes / 4096) as usize * 4096;
                self.world.damage(path, |bytes| bytes[at..].fill(0));
            }
        }
        self.damaged = true;
    }
}

/// True for two frames of one block that differ in their entries only, in a part of the log that
/// the running `incarnation` found: there the incarnation alone does not tell them apart.
fn are_twins(old: &[u8], now: &[u8], incarnation: u64) -> bool {
    let (Some(old), Some(now)) = (FrameHeader::decode(old), FrameHeader::decode(now)) else {
        return false;
    };
    let place = |frame: &FrameHeader| {
        (
            frame.frame_sequence,
            frame.first_lsn,
            frame.entry_count,
            frame.block_count,
        )
    };
    place(&old) == place(&now) && old.block_count == 1 && now.incarnation < incarnation
}
