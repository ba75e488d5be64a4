//! The walk behind a writer: no end is judged, only the way to an entry that must be there.

use super::scan::{Replay, Scan};
use super::{Evidence, Next};
use crate::disk::Disk;
use crate::error::StorageError;
use crate::layout::BLOCK_BYTES;
use crate::log::Lsn;
use crate::segment::parse_segment_name;

impl Scan<'_> {
    /// Takes frames until the entry `lsn` was handed out. Leaves nothing in flight.
    ///
    /// What was read ahead may be older than what is there by now, so a frame is missing only if it
    /// is missing again when it is read anew.
    pub(crate) fn follow<D: Disk>(
        &mut self,
        disk: &mut D,
        lsn: Lsn,
        replay: Replay<'_>,
    ) -> Result<(), StorageError> {
        let mut read_anew = self.position.lsn < lsn;
        if read_anew {
            self.turn_anew(disk)?;
        }
        while self.position.lsn < lsn {
            let next = if self.begun.is_none() || self.sealed {
                let names = disk.list(self.dir);
                let names = names.map_err(StorageError::io("list", self.dir))?;
                let segments = names.iter().filter_map(|name| parse_segment_name(name));
                self.listed = segments.collect();
                self.enter_segment(disk)?
            } else {
                self.walk_frame(disk, replay)?
            };
            match next {
                Next::Whole => read_anew = false,
                _ if !read_anew => {
                    self.turn_anew(disk)?;
                    read_anew = true;
                }
                missing => {
                    let evidence = Evidence {
                        required: true,
                        ..Evidence::default()
                    };
                    return Err(self.corrupt(missing, evidence));
                }
            }
        }
        self.reader.leave(disk, self.dir)
    }

    /// Reads on in the current segment from the position, forgetting what was read ahead of it.
    fn turn_anew<D: Disk>(&mut self, disk: &mut D) -> Result<(), StorageError> {
        match &self.begun {
            Some(begun) => {
                let rest = u64::from(begun.next_block) * BLOCK_BYTES as u64..begun.bytes();
                self.reader.turn_to(disk, &begun.path, begun.file, rest)
            }
            None => Ok(()),
        }
    }
}
