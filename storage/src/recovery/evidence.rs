//! What proves that the log went on behind the position where the walk stopped.
//!
//! The rest of the current segment is looked at in full: one segment bounds the work. Of every
//! later segment file the header and the place of the first frame are: a begun segment has its
//! first frame at block 1, and prepared files need no more than that at every start.

use super::Evidence;
use super::scan::{Begun, Scan};
use crate::disk::{Disk, FileId};
use crate::error::StorageError;
use crate::frame::FrameHeader;
use crate::layout::{BLOCK_BYTES, FRAME_BYTES_MAX};
use crate::planted::{PlantedBug, planted};
use crate::segment::{SegmentHeader, segment_path};

/// Bytes looked at in a later segment file: its header and the longest possible first frame.
const LATER_SEGMENT_BYTES: u64 = (FRAME_BYTES_MAX + BLOCK_BYTES) as u64;

/// Evidence, and what stands behind the end besides.
#[derive(Default)]
pub(super) struct Found {
    pub(super) evidence: Evidence,
    /// Later frames that were never flushed.
    pub(super) dropped_frames: u64,
}

/// Gathers all evidence against an end at the position of `scan`.
pub(super) fn gather<D: Disk>(scan: &mut Scan<'_>, disk: &mut D) -> Result<Found, StorageError> {
    let mut found = Found::default();
    let last_begun = scan.next_segment() - 1;
    let (mark, position) = (scan.mark, scan.position);
    let beyond = mark.durable_sequence > position.sequence || mark.last_segment > last_begun;
    if !planted(PlantedBug::IgnoreMark) {
        found.evidence.mark = beyond;
        found.evidence.closed = mark.clean && mark.durable_sequence > position.sequence;
    }
    found.evidence.required = scan.required_lsn > position.lsn;
    if let Some(begun) = scan.begun.clone().filter(|_| !scan.sealed) {
        let from = u64::from(begun.next_block) * BLOCK_BYTES as u64;
        look_for_frames(scan, disk, &begun, from, begun.bytes(), &mut found)?;
    }
    let later: Vec<u64> = scan.listed.range(last_begun + 1..).copied().collect();
    for segment_sequence in later {
        look_at_later_segment(scan, disk, segment_sequence, &mut found)?;
    }
    if planted(PlantedBug::IgnoreLaterFrames) {
        found.evidence.later_frame = false;
    }
    Ok(found)
}

/// Looks at a segment file behind the end: its header, then its first frames.
fn look_at_later_segment<D: Disk>(
    scan: &mut Scan<'_>,
    disk: &mut D,
    segment_sequence: u64,
    found: &mut Found,
) -> Result<(), StorageError> {
    let path = segment_path(scan.dir, segment_sequence);
    let Some(file) = scan.access.open(disk, &path)? else {
        return Ok(());
    };
    let looked = look_inside(scan, disk, segment_sequence, file, found);
    looked.and(scan.reader.close(disk, &path, file))
}

fn look_inside<D: Disk>(
    scan: &mut Scan<'_>,
    disk: &mut D,
    segment_sequence: u64,
    file: FileId,
    found: &mut Found,
) -> Result<(), StorageError> {
    let path = segment_path(scan.dir, segment_sequence);
    let bytes = disk
        .len(file)
        .map_err(StorageError::io("read length of", &path))?;
    let blocks = (bytes / BLOCK_BYTES as u64) as u32;
    if blocks == 0 {
        return Ok(());
    }
    let segment = Begun {
        segment_sequence,
        file,
        path,
        blocks,
        next_block: 0,
        unproven_block: 0,
    };
    // The direct successor of a sealed segment may hold the whole rest of the log.
    let is_successor = scan.sealed && segment_sequence == scan.next_segment();
    let end = match is_successor {
        true => segment.bytes(),
        false => LATER_SEGMENT_BYTES.min(segment.bytes()),
    };
    scan.reader.turn_to(disk, &segment.path, file, 0..end)?;
    let block = scan.reader.slice(disk, &segment.path, 0, BLOCK_BYTES)?;
    if let Ok(header) = SegmentHeader::decode(block) {
        let ours = header.log_id == scan.mark.log_id && header.stream == scan.mark.stream;
        found.evidence.later_segment |= ours && header.segment_sequence >= scan.next_segment();
    }
    look_for_frames(scan, disk, &segment, BLOCK_BYTES as u64, end, found)
}

/// Looks at every block of `from..end` for headers of this log; the reader stands there.
fn look_for_frames<D: Disk>(
    scan: &mut Scan<'_>,
    disk: &mut D,
    segment: &Begun,
    from: u64,
    end: u64,
    found: &mut Found,
) -> Result<(), StorageError> {
    let is_later = segment.segment_sequence >= scan.next_segment();
    let mut offset = from;
    while offset < end {
        let block_index = (offset / BLOCK_BYTES as u64) as u32;
        let expected = scan.expected(segment.segment_sequence, segment.blocks, block_index);
        let block = scan
            .reader
            .slice(disk, &segment.path, offset, BLOCK_BYTES)?;
        if let Some(header) = FrameHeader::decode(block) {
            found.evidence.later_frame |=
                expected.is_evidence(&header, segment.segment_sequence, block_index)
                    || is_later && expected.is_behind_header(&header);
            found.dropped_frames += u64::from(expected.is_dropped(&header));
        }
        offset += BLOCK_BYTES as u64;
    }
    Ok(())
}
