//! Making the chosen end true before anyone believes it. Safe to be interrupted at any step.
//!
//! In this order:
//! 1. blocks that nothing proves to be durable are written again, with the same bytes: after a
//!    flush that failed, a later flush may succeed without having stored anything;
//! 2. everything behind the end becomes zeros, unless the log was closed there in order;
//! 3. one flush of the segment, one of the directory;
//! 4. the mark is written again in place, then raised to the new incarnation in its other slot.

use std::path::Path;

use super::scan::{Begun, Scan};
use crate::aligned::AlignedBuf;
use crate::disk::{Disk, FileId};
use crate::error::StorageError;
use crate::layout::BLOCK_BYTES;
use crate::mark::Mark;
use crate::planted::{PlantedBug, planted};
use crate::segment::{ZERO_WRITE_BYTES, write_whole, zero_fill};
use crate::slots::{slot_offset, write_slot, write_slot_at};

/// Steps 1 to 3.
pub(crate) fn adopt<D: Disk>(scan: &mut Scan<'_>, disk: &mut D) -> Result<(), StorageError> {
    let dir = scan.dir;
    let Some(begun) = scan.begun.clone() else {
        return disk
            .sync_dir(dir)
            .map_err(StorageError::io("flush directory", dir));
    };
    let proven = scan.mark.clean && scan.mark.durable_sequence == scan.position.sequence;
    if !planted(PlantedBug::SkipSyncAtOpen) && !planted(PlantedBug::BelieveFailedFlush) {
        rewrite_unproven(scan, disk, &begun)?;
    }
    if !proven && !scan.sealed && !planted(PlantedBug::TailNotZeroed) {
        let from = u64::from(begun.next_block) * BLOCK_BYTES as u64;
        zero_fill(disk, begun.file, &begun.path, from, begun.bytes())?;
        scan.report.zeroed_bytes = begun.bytes() - from;
    }
    if !planted(PlantedBug::SkipSyncAtOpen) {
        disk.datasync(begun.file)
            .map_err(StorageError::io("flush", &begun.path))?;
    }
    disk.sync_dir(dir)
        .map_err(StorageError::io("flush directory", dir))
}

fn rewrite_unproven<D: Disk>(
    scan: &mut Scan<'_>,
    disk: &mut D,
    begun: &Begun,
) -> Result<(), StorageError> {
    let mut offset = u64::from(begun.unproven_block) * BLOCK_BYTES as u64;
    let end = u64::from(begun.next_block) * BLOCK_BYTES as u64;
    if offset == end {
        return Ok(());
    }
    let mut copy = AlignedBuf::zeroed(ZERO_WRITE_BYTES.min((end - offset) as usize));
    scan.reader
        .turn_to(disk, &begun.path, begun.file, offset..end)?;
    while offset < end {
        let bytes = copy.len().min((end - offset) as usize);
        copy[..bytes].copy_from_slice(scan.reader.slice(disk, &begun.path, offset, bytes)?);
        write_whole(disk, begun.file, &begun.path, offset, &copy[..bytes])?;
        scan.report.adopted_bytes += bytes as u64;
        offset += bytes as u64;
    }
    scan.reader.leave(disk, &begun.path)
}

/// Step 4. `found` is the mark as read, `raised` the one to continue with.
pub(crate) fn raise_mark<D: Disk>(
    disk: &mut D,
    file: FileId,
    path: &Path,
    found: &Mark,
    raised: &Mark,
) -> Result<(), StorageError> {
    if !planted(PlantedBug::MarkNotRewritten) {
        write_slot_at(disk, file, path, found, slot_offset(found.generation))?;
    }
    write_slot(disk, file, path, raised)
}
