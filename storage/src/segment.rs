//! A segment: one file of frames. Its header, its name, and how it is prepared ahead of need.
//!
//! A segment gets its final name when it is *prepared*: zero-written, flushed, named, directory
//! flushed. It becomes part of the log when it is *begun*: block 0 is written and flushed after
//! the seal of its predecessor. So the existence of the file proves nothing, its header does.

use std::path::{Path, PathBuf};

use crate::aligned::AlignedBuf;
use crate::checksum::{CHECKSUM_KIND, digest, header_crc};
use crate::disk::{Disk, FileId};
use crate::error::StorageError;
use crate::layout::segment_header as at;
use crate::layout::{
    BLOCK_BYTES, FORMAT_VERSION, get_u16, get_u32, get_u64, get_u128, put_u16, put_u32, put_u64,
    put_u128,
};
use crate::planted::{PlantedBug, planted};

/// Unit in which segments are zero-written and read.
pub const ZERO_WRITE_BYTES: usize = 1 << 20;

/// How often a blocking write is tried before its error is believed.
const WRITE_TRIES: u32 = 64;

/// The fields of block 0; see the byte table in `docs/formats/log.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Identity of the log.
    pub log_id: u128,
    /// Stream of the log.
    pub stream: u32,
    /// Position of the segment in the log, from 1.
    pub segment_sequence: u64,
    /// Length of the file.
    pub segment_bytes: u64,
    /// LSN of the first entry in it.
    pub first_lsn: u64,
    /// Sequence of the first frame in it.
    pub first_frame_sequence: u64,
    /// Incarnation that began it.
    pub incarnation: u64,
    /// Link of the predecessor's seal; 0 in the first segment.
    pub previous_link: u128,
}

/// Why a block 0 is no segment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentHeaderFault {
    /// Magic or CRC do not match.
    Invalid,
    /// Whole, but of another format version.
    Version(u32),
}

impl SegmentHeader {
    /// Writes the header over `block` and returns the link that the first frame continues.
    pub fn encode(&self, block: &mut [u8]) -> u128 {
        let block = &mut block[..BLOCK_BYTES];
        block.fill(0);
        put_u64(block, at::MAGIC, at::MAGIC_VALUE);
        put_u32(block, at::VERSION, FORMAT_VERSION);
        put_u16(block, at::CHECKSUM_KIND, CHECKSUM_KIND);
        put_u32(block, at::BLOCK_BYTES, BLOCK_BYTES as u32);
        put_u32(block, at::STREAM, self.stream);
        put_u128(block, at::LOG_ID, self.log_id);
        put_u64(block, at::SEGMENT_SEQUENCE, self.segment_sequence);
        put_u64(block, at::SEGMENT_BYTES, self.segment_bytes);
        put_u64(block, at::FIRST_LSN, self.first_lsn);
        put_u64(block, at::FIRST_FRAME_SEQUENCE, self.first_frame_sequence);
        put_u64(block, at::INCARNATION, self.incarnation);
        put_u128(block, at::PREVIOUS_LINK, self.previous_link);
        put_u32(block, at::HEADER_CRC, header_crc(block, at::HEADER_CRC));
        digest(block)
    }

    /// Reads block 0.
    pub fn decode(block: &[u8]) -> Result<SegmentHeader, SegmentHeaderFault> {
        let block = &block[..BLOCK_BYTES];
        if get_u64(block, at::MAGIC) != at::MAGIC_VALUE
            || get_u32(block, at::HEADER_CRC) != header_crc(block, at::HEADER_CRC)
        {
            return Err(SegmentHeaderFault::Invalid);
        }
        let version = get_u32(block, at::VERSION);
        if version != FORMAT_VERSION {
            return Err(SegmentHeaderFault::Version(version));
        }
        if get_u16(block, at::CHECKSUM_KIND) != CHECKSUM_KIND
            || get_u32(block, at::BLOCK_BYTES) != BLOCK_BYTES as u32
        {
            return Err(SegmentHeaderFault::Invalid);
        }
        Ok(SegmentHeader {
            log_id: get_u128(block, at::LOG_ID),
            stream: get_u32(block, at::STREAM),
            segment_sequence: get_u64(block, at::SEGMENT_SEQUENCE),
            segment_bytes: get_u64(block, at::SEGMENT_BYTES),
            first_lsn: get_u64(block, at::FIRST_LSN),
            first_frame_sequence: get_u64(block, at::FIRST_FRAME_SEQUENCE),
            incarnation: get_u64(block, at::INCARNATION),
            previous_link: get_u128(block, at::PREVIOUS_LINK),
        })
    }
}

/// Link that block 0 gives to the first frame.
#[must_use]
pub fn header_link(block: &[u8]) -> u128 {
    digest(&block[..BLOCK_BYTES])
}

/// File name of a segment.
#[must_use]
pub fn segment_name(segment_sequence: u64) -> String {
    format!("{segment_sequence:08}.seg")
}

/// Sequence in a segment's file name; `None` for any other file.
#[must_use]
pub fn parse_segment_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    let canonical = digits.len() >= 8 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let sequence = canonical.then(|| digits.parse().ok()).flatten()?;
    (sequence > 0 && segment_name(sequence) == name).then_some(sequence)
}

/// Path of a segment.
#[must_use]
pub fn segment_path(dir: &Path, segment_sequence: u64) -> PathBuf {
    dir.join(segment_name(segment_sequence))
}

/// Path that a segment has while it is being zero-written.
#[must_use]
pub fn segment_path_unfinished(dir: &Path, segment_sequence: u64) -> PathBuf {
    dir.join(format!("{segment_sequence:08}.new"))
}

/// A segment file that is zero-written, flushed and durably named, ready for `Log::supply`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedSegment {
    /// Its final path.
    pub path: PathBuf,
    /// Position that it was prepared for.
    pub segment_sequence: u64,
    /// Length of the file.
    pub segment_bytes: u64,
}

/// Prepares a segment with blocking calls: writes zeros under a temporary name, flushes, renames,
/// flushes the directory. A leftover of an earlier try is replaced.
///
/// Another writer of zeros (the background plane) follows the same steps, in this order, with
/// [`segment_path_unfinished`] and [`segment_path`].
pub fn prepare_segment<D: Disk>(
    disk: &mut D,
    dir: &Path,
    segment_sequence: u64,
    segment_bytes: u64,
) -> Result<PreparedSegment, StorageError> {
    let unfinished = segment_path_unfinished(dir, segment_sequence);
    let path = segment_path(dir, segment_sequence);
    let file = create_anew(disk, &unfinished, segment_bytes)?;
    let filled = zero_fill(disk, file, &unfinished, 0, segment_bytes).and_then(|()| {
        disk.datasync(file)
            .map_err(StorageError::io("flush", &unfinished))
    });
    disk.close(file);
    filled?;
    disk.rename(&unfinished, &path)
        .map_err(StorageError::io("rename", &unfinished))?;
    if !planted(PlantedBug::SkipDirSync) {
        disk.sync_dir(dir)
            .map_err(StorageError::io("flush directory", dir))?;
    }
    Ok(PreparedSegment {
        path,
        segment_sequence,
        segment_bytes,
    })
}

/// Creates a file under a temporary name, over the leftover of an earlier try. The removal is made
/// durable first: else a power loss could keep the leftover and the rename that is to follow, and
/// give the leftover's bytes the final name.
pub(crate) fn create_anew<D: Disk>(
    disk: &mut D,
    path: &Path,
    bytes: u64,
) -> Result<FileId, StorageError> {
    match disk.remove(path) {
        Ok(()) if planted(PlantedBug::LeftoverNotFlushed) => {}
        Ok(()) => {
            let dir = path.parent().unwrap_or(Path::new("."));
            disk.sync_dir(dir)
                .map_err(StorageError::io("flush directory", dir))?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(StorageError::io("remove", path)(error)),
    }
    disk.create(path, bytes)
        .map_err(StorageError::io("create", path))
}

/// Writes zeros over `offset..end`, both on a block.
pub(crate) fn zero_fill<D: Disk>(
    disk: &mut D,
    file: FileId,
    path: &Path,
    offset: u64,
    end: u64,
) -> Result<(), StorageError> {
    let zeros = AlignedBuf::zeroed(
        ZERO_WRITE_BYTES
            .min((end - offset) as usize)
            .max(BLOCK_BYTES),
    );
    let mut offset = offset;
    while offset < end {
        let bytes = zeros.len().min((end - offset) as usize);
        write_whole(disk, file, path, offset, &zeros[..bytes])?;
        offset += bytes as u64;
    }
    Ok(())
}

/// Writes all of `bytes` or fails: a short or interrupted write is repeated whole.
pub(crate) fn write_whole<D: Disk>(
    disk: &mut D,
    file: FileId,
    path: &Path,
    offset: u64,
    bytes: &[u8],
) -> Result<(), StorageError> {
    for _ in 0..WRITE_TRIES {
        match disk.write_at(file, offset, bytes) {
            Ok(written) if written == bytes.len() => return Ok(()),
            Ok(_) => {}
            Err(error) if is_transient(&error) => {}
            Err(error) => return Err(StorageError::io("write", path)(error)),
        }
    }
    let error = std::io::Error::from(std::io::ErrorKind::WriteZero);
    Err(StorageError::io("write", path)(error))
}

/// True for errors that say "nothing happened, ask again".
pub(crate) fn is_transient(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{Interrupted, WouldBlock};
    matches!(error.kind(), Interrupted | WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_back_and_any_changed_bit_of_the_block_hides_it() {
        let header = SegmentHeader {
            log_id: 1 << 100,
            stream: 2,
            segment_sequence: 3,
            segment_bytes: 4,
            first_lsn: 5,
            first_frame_sequence: 6,
            incarnation: 7,
            previous_link: 8,
        };
        let mut block = vec![0xff; BLOCK_BYTES];
        let link = header.encode(&mut block);
        assert_eq!(SegmentHeader::decode(&block), Ok(header));
        assert_eq!(header_link(&block), link);
        for bit in (0..1024).chain(32_700..BLOCK_BYTES * 8) {
            block[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&block).is_err(), "bit {bit}");
            block[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn names_have_one_spelling() {
        assert_eq!(parse_segment_name(&segment_name(7)), Some(7));
        assert_eq!(
            parse_segment_name(&segment_name(123_456_789)),
            Some(123_456_789)
        );
        for name in [
            "7.seg",
            "00000000.seg",
            "000000007.seg",
            "00000007.new",
            "+0000007.seg",
            "mark",
        ] {
            assert_eq!(parse_segment_name(name), None, "{name}");
        }
    }
}
