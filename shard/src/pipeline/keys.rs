//! The keys of the file and their defaults; `docs/formats/pipeline.md` is held equal to them.

/// At the top of the file.
pub const FILE: [&str; 6] = ["ringmill", "engine", "stream", "view", "board", "test"];
/// In `[engine]`.
pub const ENGINE: [&str; 3] = ["cores", "memory", "data"];
/// In `[stream.NAME]`.
pub const STREAM: [&str; 7] = [
    "key",
    "time",
    "durability",
    "dedupe",
    "fields",
    "computed",
    "was",
];
/// In `[stream.NAME.time]`.
pub const TIME: [&str; 4] = ["field", "disorder", "max_future", "idle"];
/// In `[stream.NAME.dedupe]`.
pub const DEDUPE: [&str; 5] = ["by", "mode", "horizon", "scope", "memory"];
/// In each field of `[stream.NAME.fields]`.
pub const FIELD: [&str; 7] = ["id", "type", "optional", "min", "max", "default", "was"];
/// In `[view.NAME]`.
pub const VIEW: [&str; 7] = [
    "from", "where", "group", "window", "columns", "retract", "was",
];
/// In `[view.NAME.window]`.
pub const WINDOW: [&str; 11] = [
    "kind", "size", "hop", "step", "unit", "zone", "gap", "count", "late", "keep", "after",
];
/// In `[board.NAME]`.
pub const BOARD: [&str; 12] = [
    "from", "where", "member", "score", "ties", "rank", "season", "split", "splits", "with",
    "retract", "was",
];
/// Parameters of the routes of a board, beside the fields that it is split by.
pub const BOARD_PARAMETERS: [&str; 4] = ["n", "offset", "season", "numbers"];
/// In `[board.NAME.season]`.
pub const SEASON: [&str; 4] = ["every", "zone", "grace", "keep"];
/// In `[[test]]`.
pub const TEST: [&str; 4] = ["name", "start", "send", "expect"];
/// In each step of `send` in `[[test]]`.
pub const SEND: [&str; 10] = [
    "at", "to", "event", "id", "ago", "ahead", "refused", "retract", "undo", "reason",
];
/// In each step of `expect` in `[[test]]`.
pub const EXPECT: [&str; 9] = [
    "at", "is", "top", "n", "rank", "member", "view", "counter", "get",
];

/// Format of the file that this version reads.
pub const FORMAT: i128 = 1;
/// `disorder`, in ms.
pub const DISORDER_MS_DEFAULT: i64 = 0;
/// `max_future`, in ms.
pub const MAX_FUTURE_MS_DEFAULT: i64 = 10_000;
/// `idle`, in ms.
pub const IDLE_MS_DEFAULT: i64 = 5_000;
/// All modes of `dedupe`.
pub const DEDUPE_MODES: [&str; 2] = ["sequence", "id"];
/// `scope` of `dedupe`.
pub const DEDUPE_SCOPE: &str = "key";
/// Least `horizon` of `dedupe`, in ms.
pub const HORIZON_MS_MIN: i64 = 1_000;
/// `memory` of `dedupe`, in bytes.
pub const DEDUPE_MEMORY_BYTES_DEFAULT: u64 = 1 << 30;
/// Least `memory` of `dedupe`, in bytes: the ids of the largest batch fit twice.
pub const DEDUPE_MEMORY_BYTES_MIN: u64 = 8 << 20;
/// `late`, in ms.
pub const LATE_MS_DEFAULT: i64 = 0;
/// `keep`, in ms.
pub const KEEP_MS_DEFAULT: i64 = 86_400_000;
/// `kind` of a window.
pub const WINDOW_KIND: &str = "tumbling";
/// All kinds of windows.
pub const WINDOW_KINDS: [&str; 6] = [
    "tumbling",
    "hopping",
    "cumulative",
    "calendar",
    "session",
    "last",
];
/// `zone`.
pub const ZONE: &str = "UTC";
/// `after`.
pub const AFTER: &str = "drop";
/// What `after` may be.
pub const AFTERS: [&str; 2] = ["drop", "amend"];
/// `grace` of a season, in ms.
pub const GRACE_MS_DEFAULT: i64 = 0;
/// `keep` of a season.
pub const SEASONS_KEPT_DEFAULT: u32 = 1;
/// `splits` of a board.
pub const SPLITS_DEFAULT: u32 = 100;
/// A flush interval beyond an hour is a slip.
pub const INTERVAL_MS_MAX: i64 = 3_600_000;
/// `start` of a test: the first moment of 2026, UTC.
pub const TEST_START: &str = "2026-01-01T00:00:00Z";
