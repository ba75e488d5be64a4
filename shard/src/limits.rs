//! Every maximum of the vocabulary, and how they relate.
//!
//! The numbers are part of the formats: a peer that obeys them can size every buffer ahead of need.

/// Largest row of a stream, in bytes.
pub const ROW_BYTES_MAX: usize = 1024;
/// Rows are padded to a multiple of this: in an aligned buffer their 8-byte cells stay aligned.
pub const ROW_ALIGN_BYTES: usize = 8;
/// Most fields of one stream. A field index fits in a `u8` with 255 left over for "none".
pub const FIELDS_MAX: usize = 64;
/// Largest capacity of a `text(n)` field, in bytes of UTF-8.
pub const TEXT_BYTES_MAX: usize = 255;
/// Longest name of a producer, stream, field, view, column or board, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// Most streams of a pipeline.
pub const STREAMS_MAX: usize = 64;
/// Most views of a pipeline.
pub const VIEWS_MAX: usize = 64;
/// Most columns of a view.
pub const COLUMNS_MAX: usize = 64;
/// Most group fields of a view.
pub const GROUP_FIELDS_MAX: usize = 16;
/// Most windows of a view that are open or readable at one moment.
pub const WINDOWS_MAX: i64 = 1_000_000;
/// Most panes that a window is merged from when it is read.
pub const WINDOW_PANES_MAX: i64 = 4_096;
/// Most sessions of a group that are open or readable at one moment.
pub const SESSIONS_MAX: i64 = 100_000;
/// Most events of a group of `last` windows.
pub const LAST_EVENTS_MAX: u32 = 1_000;
/// Late and rejected events that are kept, each per view and stream of a shard.
pub const SIDE_EVENTS_MAX: usize = 256;
/// Most boards of a pipeline.
pub const BOARDS_MAX: usize = 64;
/// Most score columns of a board.
pub const SCORES_MAX: usize = 4;
/// Most seasons of a board at one moment, from the oldest that is kept to that of the newest event.
pub const SEASONS_MAX: i64 = 1_000;
/// Most contributions that `mean_best` is the mean of.
pub const MEAN_BEST_MAX: usize = 64;
/// Most fields that a board is split by.
pub const SPLIT_FIELDS_MAX: usize = 4;
/// Most bytes of their cells.
pub const SPLIT_BYTES_MAX: usize = 512;
/// Most fields that a board shows beside a score.
pub const WITH_FIELDS_MAX: usize = 16;
/// Most bytes of their cells.
pub const WITH_BYTES_MAX: usize = 512;
/// Most splits that a board may be given on a shard, in each of its seasons.
pub const SPLITS_MAX: u32 = 10_000;
/// Most members of one question for the ranks among them.
pub const AMONG_MAX: usize = 1_000;
/// Most computed columns of a stream that have a name.
pub const COMPUTED_MAX: usize = 64;
/// Longest text of an expression, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 4096;
/// Most words, numbers, texts and signs of an expression.
pub const EXPRESSION_TOKENS_MAX: usize = 1024;
/// How deep parentheses, calls and cases of an expression may nest.
pub const EXPRESSION_DEPTH_MAX: usize = 32;
/// Most characters of a `like` pattern, `%` aside: one bit of a word each.
pub const LIKE_CHARACTERS_MAX: usize = 63;
/// Groups that keys hash to; the unit in which a store is spread over shards.
pub const GROUPS: usize = 4096;
/// Most shards of a store: each needs a group of its own.
pub const SHARDS_MAX: usize = 1024;
/// Most events that one correction takes back on a shard, which takes them back in one go.
pub const CORRECTION_EVENTS_MAX: usize = 65_536;
/// Most events of one entry of a correction.
pub const CORRECTION_PART_EVENTS_MAX: usize = 4_096;
/// Most bytes of their rows.
pub const CORRECTION_PART_BYTES_MAX: usize = 256 * 1024;
/// Most events that a correction names before they come.
pub const CORRECTION_EARLY_MAX: usize = 1_000;
/// Most events that wait on a shard to be taken back when they come.
pub const EARLY_EVENTS_MAX: usize = 65_536;
/// Most events that are taken back on a shard.
pub const RETRACTED_EVENTS_MAX: usize = 4_000_000;
/// How long an event that was taken back before it came is waited for, in ns: 7 days.
pub const EARLY_HORIZON_NS: u64 = 7 * 86_400_000_000_000;
/// Corrections that can be listed and undone, the latest ones.
pub const CORRECTIONS_MAX: usize = 10_000;
/// Longest reason, author or selector of a correction, in bytes.
pub const CORRECTION_TEXT_BYTES_MAX: usize = 1_024;
/// Bytes of the header of a frame on the wire.
pub const FRAME_HEADER_BYTES: usize = 32;
/// Largest payload of a frame, in bytes.
pub const FRAME_PAYLOAD_BYTES_MAX: usize = 512 * 1024;
/// Bytes of a Publish payload before its rows.
pub const PUBLISH_PREFIX_BYTES: usize = 8;
/// Most events of one batch.
pub const BATCH_EVENTS_MAX: usize = 65_535;
/// Most rows of one answer of a board.
pub const TOP_MAX: usize = 10_000;
/// An answer of windows takes no more rows once their sketches have so many bytes.
pub const ANSWER_BLOCK_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Least and greatest `within` of a column, in millionths.
pub const WITHIN_PPM: std::ops::RangeInclusive<u32> = 1_000..=100_000;
/// Least `within` of `distinct`, in millionths: below, a count takes a MiB.
pub const DISTINCT_WITHIN_PPM_MIN: u32 = 5_000;
/// Most values of a `top` column.
pub const TOP_VALUES_MAX: u16 = 1_000;
/// Longest message of an Error frame, in bytes.
pub const ERROR_MESSAGE_BYTES_MAX: usize = 1024;

/// Earliest time of an event or `time` field: 0000-01-01T00:00:00Z, in ms since the epoch.
pub const TIME_MS_MIN: i64 = -62_167_219_200_000;
/// Latest time of an event or `time` field: 9999-12-31T23:59:59.999Z, in ms since the epoch.
pub const TIME_MS_MAX: i64 = 253_402_300_799_999;
/// Longest duration that a pipeline may state: 36,500 days, in ms.
pub const DURATION_MS_MAX: i64 = 36_500 * 86_400_000;

/// Bytes of a name on the wire: one length byte and the name.
const NAME_ON_WIRE_BYTES_MAX: usize = 1 + NAME_BYTES_MAX;

const _: () = {
    assert!(GROUPS.is_power_of_two());
    assert!(SHARDS_MAX <= GROUPS);
    assert!(FIELDS_MAX < u8::MAX as usize);
    assert!(COLUMNS_MAX <= u8::MAX as usize);
    assert!(ROW_BYTES_MAX.is_multiple_of(ROW_ALIGN_BYTES));
    assert!(TEXT_BYTES_MAX < ROW_BYTES_MAX);
    assert!(NAME_BYTES_MAX <= u8::MAX as usize);
    // A payload of the smallest rows is exactly a full batch; the largest row leaves room for many.
    assert!((FRAME_PAYLOAD_BYTES_MAX - PUBLISH_PREFIX_BYTES) / ROW_ALIGN_BYTES == BATCH_EVENTS_MAX);
    assert!(PUBLISH_PREFIX_BYTES + ROW_BYTES_MAX <= FRAME_PAYLOAD_BYTES_MAX);
    // The largest HelloAck (every stream with every field, all names at their longest) is a frame.
    assert!(
        32 + STREAMS_MAX
            * (11 + NAME_ON_WIRE_BYTES_MAX + FIELDS_MAX * (8 + NAME_ON_WIRE_BYTES_MAX))
            <= FRAME_PAYLOAD_BYTES_MAX
    );
    // Window arithmetic on times and durations stays far from the ends of an i64.
    assert!(TIME_MS_MAX < i64::MAX / 1024 && DURATION_MS_MAX < i64::MAX / 1024);
};
