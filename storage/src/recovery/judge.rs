//! What stands at a position of the log: pure functions from bytes to [`Next`].

use super::Next;
use crate::frame::FrameHeader;
use crate::layout::is_zero;
use crate::planted::{PlantedBug, planted};
use crate::segment::{SegmentHeader, SegmentHeaderFault};

/// What the next link of the chain must look like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub(super) log_id: u128,
    pub(super) stream: u32,
    /// Segment that is being read.
    pub(super) segment_sequence: u64,
    /// Its blocks.
    pub(super) segment_blocks: u32,
    /// Block of the position.
    pub(super) block_index: u32,
    /// Sequence of the next frame: *k* + 1.
    pub(super) frame_sequence: u64,
    /// LSN of the next entry.
    pub(super) lsn: u64,
    /// Link that the next header must name.
    pub(super) link: u128,
    /// From this sequence on, frames of an incarnation below `incarnation` are late writes.
    pub(super) incarnation_first_sequence: u64,
    pub(super) incarnation: u64,
}

impl Expected {
    /// Judges the block at a frame's position. `Whole` comes with the header and says nothing yet
    /// about the payload.
    pub(super) fn frame(&self, block: &[u8]) -> (Next, Option<FrameHeader>) {
        let Some(header) = FrameHeader::decode(block) else {
            return (
                if is_zero(block) {
                    Next::Zero
                } else {
                    Next::Rubbish
                },
                None,
            );
        };
        (self.frame_header(&header), Some(header))
    }

    fn frame_header(&self, header: &FrameHeader) -> Next {
        if header.log_id_low != self.log_id as u64 || header.stream != self.stream {
            return Next::Rubbish;
        }
        if header.segment_sequence < self.segment_sequence
            && !planted(PlantedBug::AcceptLowerSegment)
        {
            return Next::LowerSegment;
        }
        // An older frame of this log at a wrong place: the frame that belongs here was written
        // after it, so it says nothing about it.
        if header.frame_sequence < self.frame_sequence && !planted(PlantedBug::AcceptLowerSegment) {
            return Next::Rubbish;
        }
        if self.is_dead(header) {
            return Next::DeadIncarnation;
        }
        let in_place = header.segment_sequence == self.segment_sequence
            && header.block_index == self.block_index
            && header.block_count <= self.segment_blocks - self.block_index;
        let in_order = header.frame_sequence == self.frame_sequence && header.first_lsn == self.lsn;
        let chained = header.previous_link == self.link;
        if planted(PlantedBug::AcceptLowerSegment) && header.block_index == self.block_index {
            return Next::Whole;
        }
        match in_place && in_order && (chained || planted(PlantedBug::IgnoreChain)) {
            true => Next::Whole,
            false => Next::Contradiction,
        }
    }

    /// True if a header behind the end proves that the next frame was durable, or written to the
    /// wrong place.
    pub(super) fn is_evidence(&self, header: &FrameHeader, segment: u64, block: u32) -> bool {
        let ours = header.log_id_low == self.log_id as u64 && header.stream == self.stream;
        let in_place = header.segment_sequence == segment && header.block_index == block;
        let proves = header.frame_sequence > self.frame_sequence
            && header.durable_sequence >= self.frame_sequence;
        let misplaced = header.frame_sequence >= self.frame_sequence && !in_place;
        ours && (proves || misplaced) && !self.is_dead(header)
    }

    /// True if a header in a segment that does not seem to be begun proves that it was: frames are
    /// written only behind a durable segment header.
    pub(super) fn is_behind_header(&self, header: &FrameHeader) -> bool {
        header.log_id_low == self.log_id as u64
            && header.stream == self.stream
            && header.frame_sequence >= self.frame_sequence
            && !self.is_dead(header)
    }

    /// True if a header behind the end is a later frame of this log that was never flushed.
    pub(super) fn is_dropped(&self, header: &FrameHeader) -> bool {
        header.log_id_low == self.log_id as u64
            && header.stream == self.stream
            && header.frame_sequence > self.frame_sequence
    }

    /// Judges block 0 of the segment that would continue a sealed one.
    pub(super) fn segment(
        &self,
        block: &[u8],
        file_bytes: u64,
    ) -> Result<(Next, Option<SegmentHeader>), u32> {
        let header = match SegmentHeader::decode(block) {
            Ok(header) => header,
            Err(SegmentHeaderFault::Version(version)) => return Err(version),
            Err(SegmentHeaderFault::Invalid) => {
                return Ok((
                    if is_zero(block) {
                        Next::Zero
                    } else {
                        Next::Rubbish
                    },
                    None,
                ));
            }
        };
        if header.log_id != self.log_id || header.stream != self.stream {
            return Ok((Next::Rubbish, None));
        }
        if header.segment_sequence < self.segment_sequence {
            return Ok((Next::LowerSegment, None));
        }
        let continues = header.segment_sequence == self.segment_sequence
            && header.segment_bytes == file_bytes
            && header.first_frame_sequence == self.frame_sequence
            && header.first_lsn == self.lsn
            && header.previous_link == self.link;
        match continues {
            true => Ok((Next::Whole, Some(header))),
            false => Ok((Next::Contradiction, None)),
        }
    }

    fn is_dead(&self, header: &FrameHeader) -> bool {
        !planted(PlantedBug::IgnoreIncarnation)
            && header.incarnation < self.incarnation
            && header.frame_sequence >= self.incarnation_first_sequence
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FrameKind;
    use crate::layout::BLOCK_BYTES;

    const EXPECTED: Expected = Expected {
        log_id: 1 << 90 | 77,
        stream: 3,
        segment_sequence: 5,
        segment_blocks: 64,
        block_index: 10,
        frame_sequence: 100,
        lsn: 1000,
        link: 42,
        incarnation_first_sequence: 90,
        incarnation: 7,
    };

    fn next_header() -> FrameHeader {
        FrameHeader {
            kind: FrameKind::Data,
            log_id_low: 77,
            segment_sequence: 5,
            block_index: 10,
            block_count: 1,
            stream: 3,
            entry_count: 1,
            frame_sequence: 100,
            first_lsn: 1000,
            payload_bytes: 24,
            schema_id: 0,
            incarnation: 7,
            durable_sequence: 99,
            previous_link: 42,
            payload_digest: 0,
        }
    }

    fn judge(change: impl FnOnce(&mut FrameHeader)) -> Next {
        let mut header = next_header();
        change(&mut header);
        let mut block = vec![0; BLOCK_BYTES];
        header.encode(&mut block);
        EXPECTED.frame(&block).0
    }

    #[test]
    fn every_field_that_places_a_frame_is_judged() {
        assert_eq!(judge(|_| ()), Next::Whole);
        assert_eq!(judge(|h| h.log_id_low += 1), Next::Rubbish);
        assert_eq!(judge(|h| h.stream += 1), Next::Rubbish);
        assert_eq!(judge(|h| h.segment_sequence -= 1), Next::LowerSegment);
        assert_eq!(judge(|h| h.segment_sequence += 1), Next::Contradiction);
        assert_eq!(judge(|h| h.block_index += 1), Next::Contradiction);
        assert_eq!(judge(|h| h.frame_sequence -= 1), Next::Rubbish);
        assert_eq!(judge(|h| h.frame_sequence += 1), Next::Contradiction);
        assert_eq!(judge(|h| h.first_lsn += 1), Next::Contradiction);
        assert_eq!(judge(|h| h.previous_link += 1), Next::Contradiction);
        assert_eq!(judge(|h| h.incarnation -= 1), Next::DeadIncarnation);
        assert_eq!(judge(|h| h.incarnation += 1), Next::Whole);
        assert_eq!(EXPECTED.frame(&[0; BLOCK_BYTES]).0, Next::Zero);
        assert_eq!(EXPECTED.frame(&[1; BLOCK_BYTES]).0, Next::Rubbish);
    }

    #[test]
    fn a_frame_that_reaches_beyond_its_segment_cannot_stand_there() {
        let long = |h: &mut FrameHeader| (h.block_count, h.payload_bytes) = (55, 55 * 4096 - 128);
        assert_eq!(judge(long), Next::Contradiction);
    }

    #[test]
    fn evidence_needs_a_later_frame_that_knew_of_ours_or_stands_at_a_wrong_place() {
        let is_evidence = |change: fn(&mut FrameHeader), block| {
            let mut header = next_header();
            (header.frame_sequence, header.block_index) = (101, 20);
            header.durable_sequence = 100;
            change(&mut header);
            EXPECTED.is_evidence(&header, 5, block)
        };
        assert!(is_evidence(|_| (), 20));
        assert!(
            !is_evidence(|h| h.durable_sequence = 99, 20),
            "it was never flushed"
        );
        assert!(is_evidence(|h| h.durable_sequence = 99, 21), "misdirected");
        assert!(is_evidence(|h| h.frame_sequence = 100, 21), "misdirected");
        assert!(
            !is_evidence(|h| h.frame_sequence = 99, 21),
            "a copy of an old frame"
        );
        assert!(!is_evidence(|h| h.log_id_low = 0, 20));
        assert!(!is_evidence(|h| h.incarnation = 6, 20));
    }

    #[test]
    fn a_segment_header_must_continue_the_seal() {
        let header = SegmentHeader {
            log_id: EXPECTED.log_id,
            stream: 3,
            segment_sequence: 5,
            segment_bytes: 1 << 20,
            first_lsn: 1000,
            first_frame_sequence: 100,
            incarnation: 7,
            previous_link: 42,
        };
        let judge = |change: fn(&mut SegmentHeader)| {
            let mut header = header;
            change(&mut header);
            let mut block = vec![0; BLOCK_BYTES];
            header.encode(&mut block);
            EXPECTED.segment(&block, 1 << 20).map(|judged| judged.0)
        };
        assert_eq!(judge(|_| ()), Ok(Next::Whole));
        assert_eq!(judge(|h| h.log_id += 1), Ok(Next::Rubbish));
        assert_eq!(judge(|h| h.segment_sequence -= 1), Ok(Next::LowerSegment));
        assert_eq!(judge(|h| h.segment_sequence += 1), Ok(Next::Contradiction));
        assert_eq!(judge(|h| h.segment_bytes += 1), Ok(Next::Contradiction));
        assert_eq!(judge(|h| h.first_lsn += 1), Ok(Next::Contradiction));
        assert_eq!(
            judge(|h| h.first_frame_sequence += 1),
            Ok(Next::Contradiction)
        );
        assert_eq!(judge(|h| h.previous_link += 1), Ok(Next::Contradiction));
        assert_eq!(
            EXPECTED.segment(&[0; BLOCK_BYTES], 1 << 20).map(|j| j.0),
            Ok(Next::Zero)
        );
        assert_eq!(
            EXPECTED.segment(&[9; BLOCK_BYTES], 1 << 20).map(|j| j.0),
            Ok(Next::Rubbish)
        );
    }
}
