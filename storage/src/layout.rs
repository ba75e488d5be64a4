//! Where every byte of the on-disk format stands. Little endian throughout.
//!
//! Each table is a chain of offsets, every one built from the one before, with the same facts as
//! data in `FIELDS`: `docs/formats/log.md` prints them, and a test holds the two equal.

/// Alignment and unit of every access.
pub const BLOCK_BYTES: usize = 4096;
/// Longest frame, header and padding included: bounds the latency of one write.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
/// Header in front of a frame's payload; keeps the payload 16-aligned.
pub const FRAME_HEADER_BYTES: usize = 128;
/// Length of a segment file unless configured otherwise.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;
/// Version of everything in this file. Readers refuse any other.
pub const FORMAT_VERSION: u32 = 2;
/// Blocks of a segment that never hold data frames: its header and the reserve for its seal.
pub const SEGMENT_BLOCKS_RESERVED: u32 = 2;
/// Slots of a mark or manifest file.
pub const SLOTS: usize = 2;

const _: () = assert!(BLOCK_BYTES.is_power_of_two());
const _: () = assert!(FRAME_BYTES_MAX.is_multiple_of(BLOCK_BYTES));
const _: () = assert!(SEGMENT_BYTES_DEFAULT.is_multiple_of(BLOCK_BYTES as u64));
const _: () = assert!(FRAME_HEADER_BYTES.is_multiple_of(entry::ALIGNMENT));
const _: () = assert!(SEGMENT_BYTES_DEFAULT as usize > 2 * FRAME_BYTES_MAX + BLOCK_BYTES);

/// One row of a byte table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Byte offset in the structure.
    pub offset: usize,
    /// Length in bytes.
    pub bytes: usize,
    /// Name, as in the code.
    pub name: &'static str,
    /// What it holds.
    pub meaning: &'static str,
}

const fn field(offset: usize, bytes: usize, name: &'static str, meaning: &'static str) -> Field {
    Field {
        offset,
        bytes,
        name,
        meaning,
    }
}

/// True if the fields follow each other without gap or overlap and end at `total`.
const fn is_gapless(fields: &[Field], total: usize) -> bool {
    let mut index = 0;
    let mut end = 0;
    while index < fields.len() {
        if fields[index].offset != end {
            return false;
        }
        end += fields[index].bytes;
        index += 1;
    }
    end == total
}

/// Entries inside a frame's payload.
pub mod entry {
    /// Every entry's bytes start on a multiple of this, counted from the frame's start.
    pub const ALIGNMENT: usize = 16;
    /// Zero bytes in front of the first prefix, so that entry bytes are aligned.
    pub const PREAMBLE_BYTES: usize = 8;
    /// Prefix in front of each entry's bytes.
    pub const PREFIX_BYTES: usize = 8;
    /// Length of the entry's bytes, without prefix and padding.
    pub const BYTES: usize = 0;
    /// Kind of entry, a number of the layer above.
    pub const KIND: usize = BYTES + 4;
    /// The number that is no kind, so that zeros are no entry.
    pub const KIND_NONE: u32 = 0;

    /// The table.
    pub const FIELDS: &[super::Field] = &[
        super::field(
            BYTES,
            4,
            "bytes",
            "length of the entry, without prefix and padding",
        ),
        super::field(KIND, 4, "kind", "number of the layer above, never 0"),
    ];
    const _: () = assert!(super::is_gapless(FIELDS, PREFIX_BYTES));
    const _: () = assert!((PREAMBLE_BYTES + PREFIX_BYTES).is_multiple_of(ALIGNMENT));

    /// Bytes that an entry of `bytes` takes in the payload: prefix, bytes, padding.
    #[inline]
    #[must_use]
    pub const fn footprint(bytes: usize) -> usize {
        (PREFIX_BYTES + bytes).next_multiple_of(ALIGNMENT)
    }
}

/// Header of a frame, in front of its payload.
pub mod frame_header {
    /// "RMFR".
    pub const MAGIC_VALUE: u32 = u32::from_le_bytes(*b"RMFR");

    pub(crate) const MAGIC: usize = 0;
    pub(crate) const KIND: usize = MAGIC + 4;
    pub(crate) const FLAGS: usize = KIND + 2;
    pub(crate) const LOG_ID_LOW: usize = FLAGS + 2;
    pub(crate) const SEGMENT_SEQUENCE: usize = LOG_ID_LOW + 8;
    pub(crate) const BLOCK_INDEX: usize = SEGMENT_SEQUENCE + 8;
    pub(crate) const BLOCK_COUNT: usize = BLOCK_INDEX + 4;
    pub(crate) const STREAM: usize = BLOCK_COUNT + 4;
    pub(crate) const ENTRY_COUNT: usize = STREAM + 4;
    pub(crate) const FRAME_SEQUENCE: usize = ENTRY_COUNT + 4;
    pub(crate) const FIRST_LSN: usize = FRAME_SEQUENCE + 8;
    pub(crate) const PAYLOAD_BYTES: usize = FIRST_LSN + 8;
    pub(crate) const SCHEMA_ID: usize = PAYLOAD_BYTES + 4;
    pub(crate) const INCARNATION: usize = SCHEMA_ID + 4;
    pub(crate) const DURABLE_SEQUENCE: usize = INCARNATION + 8;
    pub(crate) const PREVIOUS_LINK: usize = DURABLE_SEQUENCE + 8;
    pub(crate) const PAYLOAD_DIGEST: usize = PREVIOUS_LINK + 16;
    pub(crate) const HEADER_CRC: usize = PAYLOAD_DIGEST + 16;
    pub(crate) const RESERVE: usize = HEADER_CRC + 4;

    /// The table.
    pub const FIELDS: &[super::Field] = &[
        super::field(MAGIC, 4, "magic", "\"RMFR\""),
        super::field(KIND, 2, "kind", "1 data, 2 seal, 3 clean close"),
        super::field(FLAGS, 2, "flags", "0"),
        super::field(LOG_ID_LOW, 8, "log_id_low", "low half of the log id"),
        super::field(
            SEGMENT_SEQUENCE,
            8,
            "segment_sequence",
            "segment that it was written for",
        ),
        super::field(
            BLOCK_INDEX,
            4,
            "block_index",
            "block of the segment that it starts on",
        ),
        super::field(
            BLOCK_COUNT,
            4,
            "block_count",
            "blocks, header and padding included",
        ),
        super::field(STREAM, 4, "stream", "stream of the log"),
        super::field(
            ENTRY_COUNT,
            4,
            "entry_count",
            "entries; 0 unless kind is data",
        ),
        super::field(
            FRAME_SEQUENCE,
            8,
            "frame_sequence",
            "1 for the first frame, no gaps",
        ),
        super::field(
            FIRST_LSN,
            8,
            "first_lsn",
            "LSN of the first entry, or of the next one",
        ),
        super::field(PAYLOAD_BYTES, 4, "payload_bytes", "payload without padding"),
        super::field(SCHEMA_ID, 4, "schema_id", "number of the layer above"),
        super::field(
            INCARNATION,
            8,
            "incarnation",
            "raised by every open of the log",
        ),
        super::field(
            DURABLE_SEQUENCE,
            8,
            "durable_sequence",
            "last frame known as durable when this one was built",
        ),
        super::field(
            PREVIOUS_LINK,
            16,
            "previous_link",
            "XXH3-128 of the header before: of the previous frame, or of block 0",
        ),
        super::field(
            PAYLOAD_DIGEST,
            16,
            "payload_digest",
            "XXH3-128 of payload and padding",
        ),
        super::field(
            HEADER_CRC,
            4,
            "header_crc",
            "CRC32C of the header without this field",
        ),
        super::field(RESERVE, 12, "reserve", "0"),
    ];
    const _: () = assert!(super::is_gapless(FIELDS, super::FRAME_HEADER_BYTES));
}

/// Block 0 of a segment.
pub mod segment_header {
    /// "RMSEGMT1".
    pub const MAGIC_VALUE: u64 = u64::from_le_bytes(*b"RMSEGMT1");

    pub(crate) const MAGIC: usize = 0;
    pub(crate) const VERSION: usize = MAGIC + 8;
    pub(crate) const CHECKSUM_KIND: usize = VERSION + 4;
    pub(crate) const FLAGS: usize = CHECKSUM_KIND + 2;
    pub(crate) const BLOCK_BYTES: usize = FLAGS + 2;
    pub(crate) const STREAM: usize = BLOCK_BYTES + 4;
    pub(crate) const LOG_ID: usize = STREAM + 4;
    pub(crate) const SEGMENT_SEQUENCE: usize = LOG_ID + 16;
    pub(crate) const SEGMENT_BYTES: usize = SEGMENT_SEQUENCE + 8;
    pub(crate) const FIRST_LSN: usize = SEGMENT_BYTES + 8;
    pub(crate) const FIRST_FRAME_SEQUENCE: usize = FIRST_LSN + 8;
    pub(crate) const INCARNATION: usize = FIRST_FRAME_SEQUENCE + 8;
    pub(crate) const PREVIOUS_LINK: usize = INCARNATION + 8;
    pub(crate) const HEADER_CRC: usize = PREVIOUS_LINK + 16;
    pub(crate) const RESERVE: usize = HEADER_CRC + 4;

    /// The table.
    pub const FIELDS: &[super::Field] = &[
        super::field(MAGIC, 8, "magic", "\"RMSEGMT1\""),
        super::field(VERSION, 4, "version", "format version, 2"),
        super::field(CHECKSUM_KIND, 2, "checksum_kind", "1: CRC32C and XXH3-128"),
        super::field(FLAGS, 2, "flags", "0"),
        super::field(BLOCK_BYTES, 4, "block_bytes", "unit of every access, 4096"),
        super::field(STREAM, 4, "stream", "stream of the log"),
        super::field(LOG_ID, 16, "log_id", "random identity of the log"),
        super::field(
            SEGMENT_SEQUENCE,
            8,
            "segment_sequence",
            "1 for the first segment",
        ),
        super::field(SEGMENT_BYTES, 8, "segment_bytes", "length of the file"),
        super::field(
            FIRST_LSN,
            8,
            "first_lsn",
            "LSN of the first entry in this segment",
        ),
        super::field(
            FIRST_FRAME_SEQUENCE,
            8,
            "first_frame_sequence",
            "sequence of the first frame in this segment",
        ),
        super::field(
            INCARNATION,
            8,
            "incarnation",
            "incarnation that began the segment",
        ),
        super::field(
            PREVIOUS_LINK,
            16,
            "previous_link",
            "XXH3-128 of the header of the previous segment's seal; 0 in the first",
        ),
        super::field(
            HEADER_CRC,
            4,
            "header_crc",
            "CRC32C of the block without this field",
        ),
        super::field(RESERVE, super::BLOCK_BYTES - RESERVE, "reserve", "0"),
    ];
    const _: () = assert!(super::is_gapless(FIELDS, super::BLOCK_BYTES));
}

/// One of the two slots of the `mark` file.
pub mod mark_slot {
    /// "RMMARK01".
    pub const MAGIC_VALUE: u64 = u64::from_le_bytes(*b"RMMARK01");
    /// Flag: the log was closed, and its last frame is a clean close.
    pub const FLAG_CLEAN: u32 = 1;

    pub(crate) const MAGIC: usize = 0;
    pub(crate) const VERSION: usize = MAGIC + 8;
    pub(crate) const FLAGS: usize = VERSION + 4;
    pub(crate) const LOG_ID: usize = FLAGS + 4;
    pub(crate) const STREAM: usize = LOG_ID + 16;
    pub(crate) const CHECKSUM_KIND: usize = STREAM + 4;
    pub(crate) const GENERATION: usize = CHECKSUM_KIND + 4;
    pub(crate) const INCARNATION: usize = GENERATION + 8;
    pub(crate) const INCARNATION_FIRST_SEQUENCE: usize = INCARNATION + 8;
    pub(crate) const FIRST_SEGMENT: usize = INCARNATION_FIRST_SEQUENCE + 8;
    pub(crate) const LAST_SEGMENT: usize = FIRST_SEGMENT + 8;
    pub(crate) const DURABLE_SEQUENCE: usize = LAST_SEGMENT + 8;
    pub(crate) const DURABLE_LSN: usize = DURABLE_SEQUENCE + 8;
    pub(crate) const DURABLE_LINK: usize = DURABLE_LSN + 8;
    pub(crate) const RESERVE: usize = DURABLE_LINK + 16;
    pub(crate) const DIGEST: usize = super::BLOCK_BYTES - 16;

    /// The table.
    pub const FIELDS: &[super::Field] = &[
        super::field(MAGIC, 8, "magic", "\"RMMARK01\""),
        super::field(VERSION, 4, "version", "format version, 2"),
        super::field(FLAGS, 4, "flags", "bit 0: closed cleanly"),
        super::field(LOG_ID, 16, "log_id", "random identity of the log"),
        super::field(STREAM, 4, "stream", "stream of the log"),
        super::field(CHECKSUM_KIND, 4, "checksum_kind", "1: CRC32C and XXH3-128"),
        super::field(
            GENERATION,
            8,
            "generation",
            "highest valid one counts; slot = its parity",
        ),
        super::field(
            INCARNATION,
            8,
            "incarnation",
            "raised by every open of the log",
        ),
        super::field(
            INCARNATION_FIRST_SEQUENCE,
            8,
            "incarnation_first_sequence",
            "first frame sequence of this incarnation",
        ),
        super::field(
            FIRST_SEGMENT,
            8,
            "first_segment",
            "oldest segment that must exist",
        ),
        super::field(
            LAST_SEGMENT,
            8,
            "last_segment",
            "newest segment known as begun, 0: none",
        ),
        super::field(
            DURABLE_SEQUENCE,
            8,
            "durable_sequence",
            "last frame known as durable",
        ),
        super::field(DURABLE_LSN, 8, "durable_lsn", "last entry known as durable"),
        super::field(
            DURABLE_LINK,
            16,
            "durable_link",
            "XXH3-128 of that frame's header",
        ),
        super::field(RESERVE, DIGEST - RESERVE, "reserve", "0"),
        super::field(DIGEST, 16, "digest", "XXH3-128 of everything before"),
    ];
    const _: () = assert!(super::is_gapless(FIELDS, super::BLOCK_BYTES));
}

/// One of the two slots of the `manifest` file.
pub mod manifest_slot {
    /// "RMMANIF1".
    pub const MAGIC_VALUE: u64 = u64::from_le_bytes(*b"RMMANIF1");
    /// Most layout epochs that a store can have.
    pub const EPOCHS_MAX: usize = 64;
    /// Most bytes that the layer above can keep here.
    pub const BLOB_BYTES_MAX: usize = 3000;
    /// Flag: the logs of every epoch were created, so a missing one is damage.
    pub const FLAG_STREAMS_CREATED: u32 = 1;
    /// Bytes of one epoch: first stream, streams.
    pub const EPOCH_BYTES: usize = 8;

    pub(crate) const MAGIC: usize = 0;
    pub(crate) const VERSION: usize = MAGIC + 8;
    pub(crate) const FLAGS: usize = VERSION + 4;
    pub(crate) const STORE_ID: usize = FLAGS + 4;
    pub(crate) const GENERATION: usize = STORE_ID + 16;
    pub(crate) const INCARNATION: usize = GENERATION + 8;
    pub(crate) const EPOCH_COUNT: usize = INCARNATION + 8;
    pub(crate) const BLOB_BYTES: usize = EPOCH_COUNT + 4;
    pub(crate) const EPOCHS: usize = BLOB_BYTES + 4;
    pub(crate) const BLOB: usize = EPOCHS + EPOCHS_MAX * EPOCH_BYTES;
    pub(crate) const RESERVE: usize = BLOB + BLOB_BYTES_MAX;
    pub(crate) const DIGEST: usize = super::BLOCK_BYTES - 16;

    /// The table.
    pub const FIELDS: &[super::Field] = &[
        super::field(MAGIC, 8, "magic", "\"RMMANIF1\""),
        super::field(VERSION, 4, "version", "format version, 2"),
        super::field(
            FLAGS,
            4,
            "flags",
            "bit 0: the logs of every epoch were created",
        ),
        super::field(STORE_ID, 16, "store_id", "random identity of the store"),
        super::field(
            GENERATION,
            8,
            "generation",
            "highest valid one counts; slot = its parity",
        ),
        super::field(
            INCARNATION,
            8,
            "incarnation",
            "raised by every open of the store",
        ),
        super::field(EPOCH_COUNT, 4, "epoch_count", "epochs in use, at most 64"),
        super::field(
            BLOB_BYTES,
            4,
            "blob_bytes",
            "bytes of the blob in use, at most 3000",
        ),
        super::field(
            EPOCHS,
            EPOCHS_MAX * EPOCH_BYTES,
            "epochs",
            "per epoch: first stream (4), streams (4); only the newest is written",
        ),
        super::field(BLOB, BLOB_BYTES_MAX, "blob", "bytes of the layer above"),
        super::field(RESERVE, DIGEST - RESERVE, "reserve", "0"),
        super::field(DIGEST, 16, "digest", "XXH3-128 of everything before"),
    ];
    const _: () = assert!(super::is_gapless(FIELDS, super::BLOCK_BYTES));
}

/// Every table of the format, by the title it has in `docs/formats/log.md`.
pub const TABLES: &[(&str, &[Field])] = &[
    ("Segment header", segment_header::FIELDS),
    ("Frame header", frame_header::FIELDS),
    ("Entry prefix", entry::FIELDS),
    ("Mark slot", mark_slot::FIELDS),
    ("Manifest slot", manifest_slot::FIELDS),
];

macro_rules! accessors {
    ($($get:ident, $put:ident, $type:ty, $bytes:literal;)*) => {$(
        /// Reads the little-endian value at `offset`.
        #[inline]
        pub(crate) fn $get(bytes: &[u8], offset: usize) -> $type {
            let field = bytes[offset..offset + $bytes].try_into();
            <$type>::from_le_bytes(field.expect("invariant: the slice has the field's length"))
        }

        /// Writes `value` at `offset`, little endian.
        #[inline]
        pub(crate) fn $put(bytes: &mut [u8], offset: usize, value: $type) {
            bytes[offset..offset + $bytes].copy_from_slice(&value.to_le_bytes());
        }
    )*};
}

accessors! {
    get_u16, put_u16, u16, 2;
    get_u32, put_u32, u32, 4;
    get_u64, put_u64, u64, 8;
    get_u128, put_u128, u128, 16;
}

/// True if every byte of a block is zero.
#[inline]
#[must_use]
pub fn is_zero(block: &[u8]) -> bool {
    const ZERO: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
    block
        .chunks(BLOCK_BYTES)
        .all(|chunk| chunk == &ZERO[..chunk.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_overlaps_are_noticed() {
        let fields = [field(0, 4, "a", ""), field(4, 4, "b", "")];
        assert!(is_gapless(&fields, 8) && !is_gapless(&fields, 9));
        assert!(!is_gapless(
            &[field(0, 4, "a", ""), field(5, 3, "b", "")],
            8
        ));
        assert!(!is_gapless(
            &[field(0, 4, "a", ""), field(3, 5, "b", "")],
            8
        ));
    }

    #[test]
    fn a_block_with_one_bit_is_not_zero() {
        let mut block = [0; BLOCK_BYTES];
        assert!(is_zero(&block));
        block[BLOCK_BYTES - 1] = 1;
        assert!(!is_zero(&block));
    }

    #[test]
    fn entries_take_their_prefix_and_keep_the_alignment() {
        assert_eq!(entry::footprint(0), 16);
        assert_eq!(entry::footprint(8), 16);
        assert_eq!(entry::footprint(9), 32);
    }
}
