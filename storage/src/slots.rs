//! Two alternating slots in one file: how the mark and the manifest change atomically.
//!
//! Slot `generation % 2` is written, so the newest valid slot is never touched: whatever a crash
//! leaves of the write, the generation before still stands.

use std::path::Path;

use crate::aligned::AlignedBuf;
use crate::checksum::digest;
use crate::disk::{Disk, FileId};
use crate::error::StorageError;
use crate::layout::{BLOCK_BYTES, FORMAT_VERSION, SLOTS, get_u128, is_zero, put_u128};
use crate::recovery::read_whole;
use crate::segment::{create_anew, write_whole};

/// Length of a file of slots.
pub(crate) const SLOT_FILE_BYTES: u64 = (SLOTS * BLOCK_BYTES) as u64;

/// Where the digest of every slot stands.
const DIGEST: usize = BLOCK_BYTES - 16;

/// The content of a slot.
pub(crate) trait Slot: Sized {
    /// Writes everything but the digest over a zeroed block.
    fn encode(&self, block: &mut [u8]);
    /// Reads a block whose digest matched; `Err` carries the version of another format, or `None`
    /// if it is no such slot at all.
    fn decode(block: &[u8]) -> Result<Self, Option<u32>>;
    /// Number of the change, from 1.
    fn generation(&self) -> u64;
}

/// What a file of slots says.
pub(crate) struct Newest<S> {
    /// Content of the valid slot with the highest generation.
    pub(crate) slot: S,
    /// Slots that are neither valid nor untouched.
    pub(crate) invalid: u32,
}

/// Byte offset of the slot that `generation` is written to.
pub(crate) fn slot_offset(generation: u64) -> u64 {
    (generation % SLOTS as u64) * BLOCK_BYTES as u64
}

/// Encodes a slot over `block`.
pub(crate) fn encode_slot<S: Slot>(slot: &S, block: &mut [u8]) {
    let block = &mut block[..BLOCK_BYTES];
    block.fill(0);
    slot.encode(block);
    let digest = digest(&block[..DIGEST]);
    put_u128(block, DIGEST, digest);
}

/// Reads both slots and picks the newest.
pub(crate) fn read_slots<D: Disk, S: Slot>(
    disk: &mut D,
    file: FileId,
    path: &Path,
) -> Result<Newest<S>, StorageError> {
    let damaged = || StorageError::SlotsDamaged {
        path: path.to_path_buf(),
    };
    let bytes = disk
        .len(file)
        .map_err(StorageError::io("read length of", path))?;
    if bytes != SLOT_FILE_BYTES {
        return Err(damaged());
    }
    let mut buffer = AlignedBuf::zeroed(SLOTS * BLOCK_BYTES);
    read_whole(disk, file, path, 0, &mut buffer)?;
    let mut newest: Option<S> = None;
    let mut invalid = 0;
    for (index, block) in buffer.chunks(BLOCK_BYTES).enumerate() {
        if is_zero(block) {
            continue;
        }
        let decoded = match digest(&block[..DIGEST]) == get_u128(block, DIGEST) {
            true => S::decode(block),
            false => Err(None),
        };
        match decoded {
            // A valid slot at the other slot's place is a misdirected write.
            Ok(slot) if slot_offset(slot.generation()) == (index * BLOCK_BYTES) as u64 => {
                if newest
                    .as_ref()
                    .is_none_or(|best| best.generation() < slot.generation())
                {
                    newest = Some(slot);
                }
            }
            Err(Some(found)) if found != FORMAT_VERSION => {
                return Err(StorageError::Version {
                    path: path.to_path_buf(),
                    found,
                });
            }
            Ok(_) | Err(_) => invalid += 1,
        }
    }
    Ok(Newest {
        slot: newest.ok_or_else(damaged)?,
        invalid,
    })
}

/// Writes a slot to its place and flushes, with blocking calls.
pub(crate) fn write_slot<D: Disk, S: Slot>(
    disk: &mut D,
    file: FileId,
    path: &Path,
    slot: &S,
) -> Result<(), StorageError> {
    write_slot_at(disk, file, path, slot, slot_offset(slot.generation()))
}

/// [`write_slot`] to a chosen place.
pub(crate) fn write_slot_at<D: Disk, S: Slot>(
    disk: &mut D,
    file: FileId,
    path: &Path,
    slot: &S,
    offset: u64,
) -> Result<(), StorageError> {
    let mut block = AlignedBuf::zeroed(BLOCK_BYTES);
    encode_slot(slot, &mut block);
    write_whole(disk, file, path, offset, &block)?;
    disk.datasync(file).map_err(StorageError::io("flush", path))
}

/// Creates the file with its first slot, so that it exists whole or not at all.
pub(crate) fn create_slots<D: Disk, S: Slot>(
    disk: &mut D,
    dir: &Path,
    path: &Path,
    slot: &S,
) -> Result<(), StorageError> {
    let unfinished = path.with_extension("new");
    let file = create_anew(disk, &unfinished, SLOT_FILE_BYTES)?;
    let other = slot_offset(slot.generation() + 1);
    let zeros = AlignedBuf::zeroed(BLOCK_BYTES);
    let written = write_whole(disk, file, &unfinished, other, &zeros)
        .and_then(|()| write_slot(disk, file, &unfinished, slot));
    disk.close(file);
    written?;
    disk.rename(&unfinished, path)
        .map_err(StorageError::io("rename", &unfinished))?;
    disk.sync_dir(dir)
        .map_err(StorageError::io("flush directory", dir))
}
