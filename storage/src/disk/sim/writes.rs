//! What becomes of a write: it lands whole, in part, elsewhere, nowhere, or fails.

use std::io;

use super::BLOCK_BYTES;
use super::faults::Fault;
use super::world::World;
use crate::disk::FileId;

/// What happens to a write.
enum WriteFate {
    Whole,
    Part(usize),
    Nowhere,
    Elsewhere,
    Fails(io::Error, bool),
}

impl World {
    pub(super) fn write(
        &mut self,
        file: FileId,
        offset: u64,
        data: &[u8],
        flush: bool,
    ) -> io::Result<usize> {
        let inode = self.inode(file);
        assert!(
            offset as usize + data.len() <= self.files[inode].seen.len(),
            "a write never extends its file"
        );
        let offset = offset as usize;
        self.stamp += 1;
        let stamp = self.stamp;
        let mut landed = data.len();
        match self.write_fate(data.len()) {
            WriteFate::Whole => self.land(inode, offset, data, 65_536),
            WriteFate::Part(bytes) => {
                self.land(inode, offset, &data[..bytes], 65_536);
                landed = bytes;
            }
            WriteFate::Nowhere => return Ok(landed),
            WriteFate::Elsewhere => {
                self.misdirect(inode, offset, data);
                return Ok(landed);
            }
            WriteFate::Fails(error, lands) => {
                if lands {
                    self.land(inode, offset, data, 32_768);
                }
                return Err(error);
            }
        }
        if flush {
            if self.strikes(Fault::FlushError) {
                self.half_flush(inode, offset, landed, stamp);
                return Err(io::Error::from_raw_os_error(libc::EIO));
            }
            self.files[inode].flush(offset, landed, stamp, || true);
        }
        Ok(landed)
    }

    fn write_fate(&mut self, bytes: usize) -> WriteFate {
        if self.strikes(Fault::WriteError) {
            return WriteFate::Fails(io::Error::from_raw_os_error(libc::EIO), true);
        }
        if self.strikes(Fault::NoSpace) {
            return WriteFate::Fails(io::Error::from_raw_os_error(libc::ENOSPC), false);
        }
        if self.strikes(Fault::Transient) {
            return match self.rng.below(3) {
                0 => WriteFate::Part(0),
                1 => WriteFate::Fails(io::Error::from_raw_os_error(libc::EINTR), false),
                _ => WriteFate::Fails(io::Error::from_raw_os_error(libc::EAGAIN), false),
            };
        }
        if self.strikes(Fault::ShortWrite) {
            let blocks = (bytes / BLOCK_BYTES) as u64;
            return WriteFate::Part(self.rng.below(blocks) as usize * BLOCK_BYTES);
        }
        if self.strikes(Fault::LostWrite) {
            return WriteFate::Nowhere;
        }
        if self.strikes(Fault::MisdirectedWrite) {
            return WriteFate::Elsewhere;
        }
        WriteFate::Whole
    }

    pub(super) fn land(&mut self, inode: usize, offset: usize, data: &[u8], rate: u32) {
        let stamp = self.stamp;
        self.files[inode].write(offset, data, stamp, &mut self.rng, |rng| {
            rate == 65_536 || rng.chance(rate)
        });
    }

    /// The right content at the wrong place: another block of this file or of any other file.
    fn misdirect(&mut self, inode: usize, offset: usize, data: &[u8]) {
        let targets: Vec<usize> = if self.rng.chance(32_768) {
            vec![inode]
        } else {
            self.names.files().map(|(_, inode)| inode).collect()
        };
        let target = self.rng.pick(&targets);
        let room = self.files[target].seen.len().saturating_sub(data.len());
        let wrong = self.rng.below((room / BLOCK_BYTES) as u64 + 1) as usize;
        let wrong = wrong * BLOCK_BYTES;
        let fits = data.len().min(self.files[target].seen.len());
        if (target, wrong) != (inode, offset) && fits == data.len() {
            self.land(target, wrong, data, 65_536);
            let stamp = self.stamp;
            self.files[target].flush(wrong, data.len(), stamp, || true);
        }
    }
}
