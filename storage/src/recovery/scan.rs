//! The walk over the log: segments in order, frames in order, until one is not the next.

use std::collections::{BTreeSet, VecDeque};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::evidence;
use super::judge::Expected;
use super::reader::{Reader, read_whole};
use super::{Next, RecoveryReport, Verdict, verdict};
use crate::aligned::AlignedBuf;
use crate::disk::{Disk, FileId};
use crate::error::{ReplayError, StorageError};
use crate::frame::{FrameHeader, FrameKind, entries, link_of};
use crate::layout::BLOCK_BYTES;
use crate::mark::Mark;
use crate::planted::{PlantedBug, planted};
use crate::segment::{header_link, parse_segment_name, segment_path};

/// Takes every entry, in order: its LSN, its kind and its bytes.
pub type Replay<'a> = &'a mut dyn FnMut(u64, u32, &[u8]) -> Result<(), ReplayError>;

/// How files are opened.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Access {
    /// For writing, locked: late writes of a dead process have landed once the lock is ours.
    Exclusive {
        /// Attempts at a lock.
        tries: u32,
        /// Pause between them.
        wait: Duration,
    },
    /// For reading only.
    ReadOnly,
}

impl Access {
    /// Opens `path`, locked if exclusive. `None` if there is no such file.
    pub(crate) fn open<D: Disk>(
        self,
        disk: &mut D,
        path: &Path,
    ) -> Result<Option<FileId>, StorageError> {
        let opened = match self {
            Access::Exclusive { .. } => disk.open(path),
            Access::ReadOnly => disk.open_read(path),
        };
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StorageError::io("open", path)(error)),
        };
        match self.lock(disk, file, path) {
            Ok(()) => Ok(Some(file)),
            Err(error) => {
                disk.close(file);
                Err(error)
            }
        }
    }

    fn lock<D: Disk>(self, disk: &mut D, file: FileId, path: &Path) -> Result<(), StorageError> {
        let Access::Exclusive { tries, wait } = self else {
            return Ok(());
        };
        if planted(PlantedBug::SkipSegmentLock) && path.extension().is_some() {
            return Ok(());
        }
        let mut left = tries.max(1);
        loop {
            left -= 1;
            match disk.lock(file) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::WouldBlock && left > 0 => {
                    if !wait.is_zero() {
                        std::thread::sleep(wait);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Err(StorageError::Locked {
                        path: path.to_path_buf(),
                    });
                }
                Err(error) => return Err(StorageError::io("lock", path)(error)),
            }
        }
    }
}

/// A segment whose header is part of the chain.
#[derive(Clone, Debug)]
pub(crate) struct Begun {
    pub(crate) segment_sequence: u64,
    pub(crate) file: FileId,
    pub(crate) path: PathBuf,
    pub(crate) blocks: u32,
    /// Block behind the last valid frame.
    pub(crate) next_block: u32,
    /// First block that nothing proves to be durable.
    pub(crate) unproven_block: u32,
}

impl Begun {
    pub(crate) fn bytes(&self) -> u64 {
        u64::from(self.blocks) * BLOCK_BYTES as u64
    }
}

/// A segment that continues the chain.
struct Judged {
    begun: Begun,
    /// Link of its header.
    link: u128,
    incarnation: u64,
}

/// The last valid frame and what must follow it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// Sequence of the last frame, *k*.
    pub(crate) sequence: u64,
    /// LSN of the last entry.
    pub(crate) lsn: u64,
    /// Link of the last frame.
    pub(crate) link: u128,
}

/// A walk. Built, [`Scan::run`], then judged by its fields.
pub(crate) struct Scan<'a> {
    pub(super) dir: &'a Path,
    pub(super) mark: Mark,
    pub(super) required_lsn: u64,
    pub(super) access: Access,
    /// Sequences of the segment files that exist.
    pub(super) listed: BTreeSet<u64>,
    pub(super) reader: Reader,
    pub(crate) position: Position,
    /// Link that the next header must name: of the last frame or of block 0.
    pub(super) chain: u128,
    pub(crate) begun: Option<Begun>,
    /// The last frame is a seal: the log goes on in the next segment.
    pub(crate) sealed: bool,
    /// Highest frame that something proves to be durable.
    proven_sequence: u64,
    /// Frames of the current segment behind the proven one: sequence and block.
    unproven: VecDeque<(u64, u32)>,
    pub(crate) report: RecoveryReport,
}

impl<'a> Scan<'a> {
    /// A walk over the segments among `names` in `dir`, held against `mark`, that reads
    /// `piece_bytes` at once.
    pub(crate) fn new(
        dir: &'a Path,
        mark: Mark,
        access: Access,
        required_lsn: u64,
        names: &[String],
        piece_bytes: usize,
    ) -> Scan<'a> {
        Scan {
            dir,
            mark,
            required_lsn,
            access,
            listed: names
                .iter()
                .filter_map(|name| parse_segment_name(name))
                .collect(),
            reader: Reader::new(piece_bytes),
            position: Position::default(),
            chain: 0,
            begun: None,
            sealed: false,
            proven_sequence: mark.durable_sequence,
            unproven: VecDeque::new(),
            report: RecoveryReport {
                incarnation: mark.incarnation,
                ..RecoveryReport::default()
            },
        }
    }

    /// Walks to the end and decides about it. Writes nothing, and leaves nothing in flight.
    pub(crate) fn run<D: Disk>(
        &mut self,
        disk: &mut D,
        replay: Replay<'_>,
    ) -> Result<(), StorageError> {
        let walked = self.walk(disk, replay);
        walked.and(self.reader.leave(disk, self.dir))
    }

    fn walk<D: Disk>(&mut self, disk: &mut D, replay: Replay<'_>) -> Result<(), StorageError> {
        let next = loop {
            match self.enter_segment(disk)? {
                Next::Whole => {}
                next => break next,
            }
            match self.walk_frames(disk, replay)? {
                Next::Whole => {}
                next => break next,
            }
        };
        self.check_mark_reached()?;
        let found = evidence::gather(self, disk)?;
        let verdict = match verdict(next, &found.evidence) {
            Verdict::Corrupt if planted(PlantedBug::TruncateOnCorruption) => Verdict::TornEnd,
            verdict => verdict,
        };
        match verdict {
            Verdict::Take => unreachable!("the walk goes on behind a whole frame"),
            Verdict::Corrupt => return Err(self.corrupt(next, found.evidence)),
            Verdict::End => {}
            Verdict::TornEnd => self.report.torn = true,
        }
        self.report.end = next;
        self.report.dropped_frames = found.dropped_frames;
        self.report.last_sequence = self.position.sequence;
        self.report.last_lsn = self.position.lsn;
        Ok(())
    }

    /// Segment that would continue the log.
    pub(crate) fn next_segment(&self) -> u64 {
        self.begun
            .as_ref()
            .map_or(self.mark.first_segment, |begun| begun.segment_sequence + 1)
    }

    /// Directory of the log.
    pub(crate) fn dir(&self) -> &'a Path {
        self.dir
    }

    /// The mark that the walk is held against.
    pub(crate) fn mark(&self) -> &Mark {
        &self.mark
    }

    /// Link that the next header must name.
    pub(crate) fn chain(&self) -> u128 {
        self.chain
    }

    /// Path of the position that the walk stopped at, and its byte offset.
    pub(super) fn place(&self) -> (PathBuf, u64) {
        match &self.begun {
            Some(begun) if !self.sealed => (
                begun.path.clone(),
                u64::from(begun.next_block) * BLOCK_BYTES as u64,
            ),
            _ => (segment_path(self.dir, self.next_segment()), 0),
        }
    }

    pub(super) fn expected(&self, segment_sequence: u64, blocks: u32, block: u32) -> Expected {
        Expected {
            log_id: self.mark.log_id,
            stream: self.mark.stream,
            segment_sequence,
            segment_blocks: blocks,
            block_index: block,
            frame_sequence: self.position.sequence + 1,
            lsn: self.position.lsn + 1,
            link: self.chain,
            incarnation_first_sequence: self.mark.incarnation_first_sequence,
            incarnation: self.mark.incarnation,
        }
    }

    /// Reads block 0 of the next segment; on `Whole` it is the current one.
    pub(super) fn enter_segment<D: Disk>(&mut self, disk: &mut D) -> Result<Next, StorageError> {
        let segment_sequence = self.next_segment();
        if !self.listed.contains(&segment_sequence) {
            return Ok(Next::Zero);
        }
        let path = segment_path(self.dir, segment_sequence);
        let Some(file) = self.access.open(disk, &path)? else {
            return Ok(Next::Zero);
        };
        match self.judge_segment(disk, file, &path, segment_sequence) {
            Ok((Next::Whole, Some(next))) => self.begin_segment(disk, next).map(|()| Next::Whole),
            other => {
                disk.close(file);
                other.map(|(next, _)| next)
            }
        }
    }

    fn judge_segment<D: Disk>(
        &mut self,
        disk: &mut D,
        file: FileId,
        path: &Path,
        segment_sequence: u64,
    ) -> Result<(Next, Option<Judged>), StorageError> {
        let bytes = disk
            .len(file)
            .map_err(StorageError::io("read length of", path))?;
        if bytes < BLOCK_BYTES as u64 {
            return Ok((Next::Zero, None));
        }
        let mut block = AlignedBuf::zeroed(BLOCK_BYTES);
        read_whole(disk, file, path, 0, &mut block)?;
        let mut expected = self.expected(segment_sequence, 0, 0);
        expected.link = self.position.link;
        let (next, header) =
            expected
                .segment(&block, bytes)
                .map_err(|found| StorageError::Version {
                    path: path.to_path_buf(),
                    found,
                })?;
        let judged = header.map(|header| Judged {
            link: header_link(&block),
            incarnation: header.incarnation,
            begun: Begun {
                segment_sequence,
                file,
                path: path.to_path_buf(),
                blocks: (bytes / BLOCK_BYTES as u64) as u32,
                next_block: 1,
                unproven_block: 0,
            },
        });
        Ok((next, judged))
    }

    /// Goes on in a segment that continues the chain.
    fn begin_segment<D: Disk>(&mut self, disk: &mut D, next: Judged) -> Result<(), StorageError> {
        self.close(disk)?;
        self.chain = next.link;
        self.sealed = false;
        self.unproven.clear();
        self.report.segments += 1;
        self.report.incarnation = self.report.incarnation.max(next.incarnation);
        let begun = self.begun.insert(next.begun);
        let frames = BLOCK_BYTES as u64..begun.bytes();
        self.reader.turn_to(disk, &begun.path, begun.file, frames)
    }

    /// Closes the current segment, if there is one.
    pub(crate) fn close<D: Disk>(&mut self, disk: &mut D) -> Result<(), StorageError> {
        match self.begun.take() {
            Some(begun) => self.reader.close(disk, &begun.path, begun.file),
            None => Ok(()),
        }
    }

    /// Takes frames until the seal (`Whole`) or a position that holds no next frame.
    fn walk_frames<D: Disk>(
        &mut self,
        disk: &mut D,
        replay: Replay<'_>,
    ) -> Result<Next, StorageError> {
        loop {
            match self.walk_frame(disk, replay)? {
                Next::Whole if self.sealed => return Ok(Next::Whole),
                Next::Whole => {}
                next => return Ok(next),
            }
        }
    }

    pub(super) fn walk_frame<D: Disk>(
        &mut self,
        disk: &mut D,
        replay: Replay<'_>,
    ) -> Result<Next, StorageError> {
        let begun = self
            .begun
            .as_ref()
            .expect("invariant: frames are read in a begun segment");
        if begun.next_block >= begun.blocks {
            return Ok(Next::Contradiction);
        }
        let (blocks, block) = (begun.blocks, begun.next_block);
        let expected = self.expected(begun.segment_sequence, blocks, block);
        let offset = u64::from(block) * BLOCK_BYTES as u64;
        let first = self.reader.slice(disk, &begun.path, offset, BLOCK_BYTES)?;
        let (next, header) = expected.frame(first);
        let Some(header) = header.filter(|_| next == Next::Whole) else {
            return Ok(next);
        };
        if header.block_count > blocks - block {
            return Ok(Next::Contradiction);
        }
        let frame = self
            .reader
            .slice(disk, &begun.path, offset, header.frame_bytes())?;
        if !header.covers(frame) && !planted(PlantedBug::IgnorePayloadDigest) {
            return Ok(Next::TornPayload);
        }
        hand_out(&begun.path, offset, &header, frame, replay)?;
        let link = link_of(frame);
        self.take(&header, link)?;
        Ok(Next::Whole)
    }

    /// Moves behind a whole frame.
    fn take(&mut self, header: &FrameHeader, link: u128) -> Result<(), StorageError> {
        let sequence = header.frame_sequence;
        if sequence == self.mark.durable_sequence && link != self.mark.durable_link {
            return Err(self.corrupt(Next::Contradiction, self.mark_evidence()));
        }
        let begun = self
            .begun
            .as_mut()
            .expect("invariant: frames are read in a begun segment");
        self.proven_sequence = self.proven_sequence.max(header.durable_sequence);
        self.unproven.push_back((sequence, begun.next_block));
        while self
            .unproven
            .front()
            .is_some_and(|(first, _)| *first <= self.proven_sequence)
        {
            self.unproven.pop_front();
        }
        begun.next_block += header.block_count;
        begun.unproven_block = self
            .unproven
            .front()
            .map_or(begun.next_block, |(_, block)| *block);
        let lsn = self.position.lsn + u64::from(header.entry_count);
        self.position = Position {
            sequence,
            lsn,
            link,
        };
        self.chain = link;
        self.sealed = header.kind == FrameKind::Seal;
        let report = &mut self.report;
        report.closed_cleanly = header.kind == FrameKind::Close;
        report.frames += 1;
        report.entries += u64::from(header.entry_count);
        report.bytes += header.frame_bytes() as u64;
        report.incarnation = report.incarnation.max(header.incarnation);
        Ok(())
    }

    /// The mark's frame was passed with another LSN: one of the two is damaged.
    fn check_mark_reached(&self) -> Result<(), StorageError> {
        let reached = self.position.sequence >= self.mark.durable_sequence;
        match reached && self.position.lsn < self.mark.durable_lsn {
            true => Err(self.corrupt(Next::Contradiction, self.mark_evidence())),
            false => Ok(()),
        }
    }

    fn mark_evidence(&self) -> super::Evidence {
        super::Evidence {
            mark: true,
            ..super::Evidence::default()
        }
    }

    pub(super) fn corrupt(&self, next: Next, evidence: super::Evidence) -> StorageError {
        let (path, offset) = self.place();
        StorageError::Corrupt {
            path,
            offset,
            sequence: self.position.sequence,
            lsn: self.position.lsn,
            found: next,
            evidence,
        }
    }
}

/// Hands the entries of a whole frame to the layer above, in place.
fn hand_out(
    path: &Path,
    offset: u64,
    header: &FrameHeader,
    frame: &[u8],
    replay: Replay<'_>,
) -> Result<(), StorageError> {
    let mut lsn = header.first_lsn;
    let end = lsn + u64::from(header.entry_count);
    for entry in entries(header.payload(frame), header.entry_count) {
        let entry = entry.map_err(|_| StorageError::Malformed {
            path: path.to_path_buf(),
            offset,
            sequence: header.frame_sequence,
        })?;
        if planted(PlantedBug::DropLastEntry) && lsn + 1 == end {
            continue;
        }
        replay(lsn, entry.kind, entry.bytes).map_err(|source| StorageError::Replay {
            path: path.to_path_buf(),
            offset,
            lsn,
            source,
        })?;
        lsn += 1;
    }
    Ok(())
}
