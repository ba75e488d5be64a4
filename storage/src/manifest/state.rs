//! What a manifest says, and its bytes.

use super::GROUPS;
use crate::layout::manifest_slot as at;
use crate::layout::{FORMAT_VERSION, get_u32, get_u64, get_u128, put_u32, put_u64, put_u128};
use crate::slots::Slot;

/// A layout of the groups on streams. Only the newest one is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// First stream of the epoch.
    pub first_stream: u32,
    /// Streams of the epoch.
    pub streams: u32,
}

impl Epoch {
    /// Stream that holds the events of `group` in this epoch.
    #[must_use]
    pub fn stream_of(&self, group: u32) -> u32 {
        assert!(group < GROUPS, "a group of this store");
        self.first_stream + (u64::from(group) * u64::from(self.streams) / u64::from(GROUPS)) as u32
    }

    /// Streams of the epoch, in order.
    pub fn streams(&self) -> std::ops::Range<u32> {
        self.first_stream..self.first_stream + self.streams
    }
}

/// What the manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestState {
    /// Random identity of the store; the log id of its streams.
    pub store_id: u128,
    /// Number of the change.
    pub generation: u64,
    /// Raised by every open.
    pub incarnation: u64,
    /// The logs of every epoch were created: a missing one is damage.
    pub streams_created: bool,
    /// Layouts, oldest first.
    pub epochs: Vec<Epoch>,
    /// Bytes of the layer above, at most 3000.
    pub blob: Vec<u8>,
}

impl Slot for ManifestState {
    fn encode(&self, block: &mut [u8]) {
        put_u64(block, at::MAGIC, at::MAGIC_VALUE);
        put_u32(block, at::VERSION, FORMAT_VERSION);
        put_u32(
            block,
            at::FLAGS,
            if self.streams_created {
                at::FLAG_STREAMS_CREATED
            } else {
                0
            },
        );
        put_u128(block, at::STORE_ID, self.store_id);
        put_u64(block, at::GENERATION, self.generation);
        put_u64(block, at::INCARNATION, self.incarnation);
        put_u32(block, at::EPOCH_COUNT, self.epochs.len() as u32);
        put_u32(block, at::BLOB_BYTES, self.blob.len() as u32);
        for (index, epoch) in self.epochs.iter().enumerate() {
            let offset = at::EPOCHS + index * at::EPOCH_BYTES;
            put_u32(block, offset, epoch.first_stream);
            put_u32(block, offset + 4, epoch.streams);
        }
        block[at::BLOB..at::BLOB + self.blob.len()].copy_from_slice(&self.blob);
    }

    fn decode(block: &[u8]) -> Result<ManifestState, Option<u32>> {
        if get_u64(block, at::MAGIC) != at::MAGIC_VALUE {
            return Err(None);
        }
        let version = get_u32(block, at::VERSION);
        if version != FORMAT_VERSION {
            return Err(Some(version));
        }
        let epoch_count = get_u32(block, at::EPOCH_COUNT) as usize;
        let blob_bytes = get_u32(block, at::BLOB_BYTES) as usize;
        if !(1..=at::EPOCHS_MAX).contains(&epoch_count) || blob_bytes > at::BLOB_BYTES_MAX {
            return Err(None);
        }
        let epoch = |index| {
            let offset = at::EPOCHS + index * at::EPOCH_BYTES;
            Epoch {
                first_stream: get_u32(block, offset),
                streams: get_u32(block, offset + 4),
            }
        };
        Ok(ManifestState {
            store_id: get_u128(block, at::STORE_ID),
            generation: get_u64(block, at::GENERATION),
            incarnation: get_u64(block, at::INCARNATION),
            streams_created: get_u32(block, at::FLAGS) & at::FLAG_STREAMS_CREATED != 0,
            epochs: (0..epoch_count).map(epoch).collect(),
            blob: block[at::BLOB..at::BLOB + blob_bytes].to_vec(),
        })
    }

    fn generation(&self) -> u64 {
        self.generation
    }
}
