//! Damage at rest: what happens to files while no process runs. Once per run.

use ringmill_storage::layout::{BLOCK_BYTES, is_zero};
use ringmill_storage::mark::MARK_NAME;

use super::run::Run;

impl Run {
    /// Keeps the newest segment as it is seen now, for [`Run::put_back_old_block`].
    pub(crate) fn keep_copy(&mut self) {
        if !self.plan.damage {
            return;
        }
        let mut paths = self.world.paths();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
        if paths.is_empty() {
            return;
        }
        let path = self.rng.pick(&paths.iter().collect::<Vec<_>>()).clone();
        if let Some(bytes) = self.world.contents(&path) {
            self.old_copies.push((path, bytes));
        }
    }

    /// One place of one file changes.
    pub(crate) fn damage_block_at_rest(&mut self) {
        if !self.plan.damage || self.uncovered() > 0 {
            return;
        }
        if self.rng.chance(40_000) {
            self.put_back_old_block();
        } else {
            self.flip_bit_at_rest();
        }
    }

    /// One block is what it once was, of a history that may have been cut off since.
    fn put_back_old_block(&mut self) {
        let mut choices = Vec::new();
        for (path, old) in &self.old_copies {
            let Some(now) = self
                .world
                .contents(path)
                .filter(|now| now.len() == old.len())
            else {
                continue;
            };
            let blocks = old
                .chunks(BLOCK_BYTES)
                .zip(now.chunks(BLOCK_BYTES))
                .enumerate();
            let differ = |(_, (old, now)): &(usize, (&[u8], &[u8]))| {
                old != now && !is_zero(old) && !is_zero(now)
            };
            choices.extend(
                blocks
                    .filter(differ)
                    .map(|(index, _)| (path.clone(), index)),
            );
        }
        if choices.is_empty() {
            return;
        }
        let (path, index) = choices.swap_remove(self.rng.index(choices.len()));
        let (_, old) = self
            .old_copies
            .iter()
            .find(|(kept, _)| *kept == path)
            .expect("kept");
        let range = index * BLOCK_BYTES..(index + 1) * BLOCK_BYTES;
        self.world.damage(&path, |bytes| {
            bytes[range.clone()].copy_from_slice(&old[range])
        });
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
