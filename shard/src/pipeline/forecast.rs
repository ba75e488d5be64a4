//! Memory of the state, before anything runs.
//!
//! The sizes follow the structures of the state machine: key tables at their usual load, rank
//! records with their lists, cells of windows. They are an estimate with its assumptions stated,
//! not a limit.

mod board;

use std::fmt;

use crate::aggregate::ColumnPlan;
use crate::dedupe::fields::entry_bytes;
use crate::limits::{SHARDS_MAX, SIDE_EVENTS_MAX};
use crate::pipeline::{
    Board, Column, DedupeMode, Pipeline, Stream, View, WindowKind, duration_text,
};
use board::board_lines;

/// Hash-table slots of a key: five in 64 bytes, at the mean load of a segment that splits.
const TABLE_SLOT_BYTES: u64 = 25;
/// One column of one group of one window: a 128-bit accumulator and its count.
const CELL_BYTES: u64 = 32;
/// The place of a group's cells.
const GROUP_BYTES: u64 = 4;
/// A window without groups.
const WINDOW_BYTES: u64 = 512;
/// A group key names its fields by length and bytes.
const GROUP_FIELD_BYTES: u64 = 2;
/// What a group of sessions or last events has beside its name: its run, the time that it is due.
const RUN_BYTES: u64 = 60;
/// What a session has beside its cells: its place in the run of its group, and among all starts.
const PART_BYTES: u64 = 56;
/// Sessions of a group that are assumed to be open or kept, where so many have room.
const SESSIONS_ASSUMED: u64 = 10;
/// A late or rejected event beside its row: position, reason, bounds of windows.
const SIDE_EVENT_BYTES: u64 = 112;
/// A producer: name hash, epoch, sequence, counters.
const PRODUCER_BYTES: u64 = 96;
/// Producers that are assumed.
const PRODUCERS: u64 = 1_000;
/// Groups per window that are assumed where the group is not the stream's key.
const GROUPS_ASSUMED: u64 = 1_000;

/// Different values per group that are assumed in a column with a sketch.
const SKETCH_VALUES_ASSUMED: u64 = 100;

/// One item of a forecast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForecastLine {
    /// What: `keys of stream finds`.
    pub name: String,
    /// How many.
    pub items: u64,
    /// Bytes of each.
    pub item_bytes: u64,
}

impl ForecastLine {
    /// Bytes of all.
    pub fn total_bytes(&self) -> u64 {
        self.items.saturating_mul(self.item_bytes)
    }
}

/// Memory that a pipeline takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// Keys per stream that were asked for.
    pub keys: u64,
    /// The items.
    pub lines: Vec<ForecastLine>,
    /// Bytes of each key, over its stream's table and all boards that it is a member of.
    pub key_bytes: u64,
    /// Bytes of everything.
    pub total_bytes: u64,
    /// What the estimate rests on.
    pub assumptions: Vec<String>,
}

pub(super) fn forecast(pipeline: &Pipeline, keys: u64) -> Forecast {
    let mut lines = Vec::new();
    let mut key_bytes = 0;
    for (index, stream) in pipeline.streams.iter().enumerate() {
        let is_member = |board: &&Board| {
            // The members of a season stand in a table of its own.
            board.stream == index && board.is_kept_by_key(stream) && board.season.is_none()
        };
        if !pipeline.boards.iter().any(|board| is_member(&board)) {
            continue;
        }
        let item_bytes = name_bytes(stream, stream.key) + TABLE_SLOT_BYTES;
        key_bytes += item_bytes;
        lines.push(ForecastLine {
            name: format!("keys of stream {}", stream.name),
            items: keys,
            item_bytes,
        });
    }
    for board in &pipeline.boards {
        let (of_board, of_key) = board_lines(pipeline, board, keys);
        key_bytes += of_key;
        lines.extend(of_board);
    }
    for stream in &pipeline.streams {
        lines.push(ForecastLine {
            name: format!("latest rejected events of stream {}", stream.name),
            items: SIDE_EVENTS_MAX as u64,
            item_bytes: SIDE_EVENT_BYTES + u64::from(stream.schema.row_bytes),
        });
    }
    lines.extend(pipeline.streams.iter().filter_map(|s| ids_line(s, keys)));
    for view in &pipeline.views {
        lines.extend(view_lines(pipeline, view, keys));
    }
    let name = "producers".to_owned();
    lines.push(ForecastLine {
        name,
        items: PRODUCERS,
        item_bytes: PRODUCER_BYTES,
    });
    let total_bytes = lines
        .iter()
        .fold(0u64, |sum, line| sum.saturating_add(line.total_bytes()));
    Forecast {
        keys,
        lines,
        key_bytes,
        total_bytes,
        assumptions: assumptions(pipeline, keys),
    }
}

/// Bytes of a key or member in its table.
fn name_bytes(stream: &Stream, column: usize) -> u64 {
    let kind = stream.column(column).kind;
    let length = u64::from(kind.capacity() > 0);
    kind.canonical_bytes_max() as u64 + length
}

/// What tells duplicates by fields apart: a source per key, or as many ids as there is room for.
fn ids_line(stream: &Stream, keys: u64) -> Option<ForecastLine> {
    let rule = stream.dedupe.as_ref()?;
    let item_bytes = entry_bytes(rule.mode);
    let room = rule.memory_bytes / item_bytes;
    let (what, items) = match rule.mode {
        DedupeMode::Sequence => ("sources", keys.min(room)),
        DedupeMode::Id { .. } => ("ids", room),
    };
    Some(ForecastLine {
        name: format!("{what} of stream {}", stream.name),
        items,
        item_bytes,
    })
}

/// What the line of ids rests on.
fn ids_assumption(stream: &Stream) -> Option<String> {
    let rule = stream.dedupe.as_ref()?;
    let room = rule.memory_bytes / entry_bytes(rule.mode);
    let (name, size) = (&stream.name, size_text(rule.memory_bytes));
    Some(match rule.mode {
        DedupeMode::Sequence => format!(
            "one source per key of stream {name}; a shard takes no more than {room} ({size})"
        ),
        DedupeMode::Id { horizon_ms } => {
            let longest_ms = horizon_ms + horizon_ms / 8;
            let rate = room.saturating_mul(1_000) / longest_ms.unsigned_abs().max(1);
            format!(
                "ids of stream {name} fill their memory ({size} per shard): {rate} events per \
                 second and shard over {} and an eighth; what is beyond is refused",
                duration_text(horizon_ms)
            )
        }
    })
}

fn view_lines(pipeline: &Pipeline, view: &View, keys: u64) -> Vec<ForecastLine> {
    let stream = &pipeline.streams[view.stream];
    let group_bytes: u64 = view
        .group
        .iter()
        .map(|field| name_bytes(stream, *field) + GROUP_FIELD_BYTES)
        .sum();
    let groups = if view.group.is_empty() {
        1
    } else if view.group.contains(&stream.key) {
        keys
    } else {
        keys.min(GROUPS_ASSUMED)
    };
    let parts = Parts::of(view, stream);
    let (each, name) = (parts.each, &view.name);
    let cells_bytes = CELL_BYTES * view.columns.len() as u64;
    let name_bytes = TABLE_SLOT_BYTES + group_bytes;
    let line = |name: String, items, item_bytes| ForecastLine {
        name,
        items,
        item_bytes,
    };
    let all = groups.saturating_mul(each);
    let what = parts.what;
    let mut lines = match parts.of_group {
        true => vec![
            line(
                format!("groups of view {name}"),
                groups,
                name_bytes + RUN_BYTES,
            ),
            line(
                format!("{what} of view {name}, {each} per group"),
                all,
                PART_BYTES + cells_bytes,
            ),
        ],
        false => vec![
            line(format!("{what} of view {name}"), each, WINDOW_BYTES),
            line(
                format!("groups of view {name} in {each} {what}"),
                all,
                name_bytes + GROUP_BYTES + cells_bytes,
            ),
        ],
    };
    lines.push(line(
        format!("latest late events of view {name}"),
        SIDE_EVENTS_MAX as u64,
        SIDE_EVENT_BYTES + u64::from(stream.schema.row_bytes),
    ));
    let item_bytes = block_bytes(pipeline, view, parts.values);
    if item_bytes > 0 {
        let per = if parts.of_group { parts.one } else { "group" };
        lines.push(line(
            format!("sketches of view {name}, per {per}"),
            all,
            item_bytes,
        ));
    }
    lines
}

/// What a view holds of each group.
struct Parts {
    what: &'static str,
    one: &'static str,
    /// How many at one moment.
    each: u64,
    /// Whether each group has its own; else all groups are in the same.
    of_group: bool,
    /// Different values in a sketch of one.
    values: u64,
}

impl Parts {
    fn of(view: &View, stream: &Stream) -> Self {
        let window = &view.window;
        let (longest_ms, between_ms) = window.kind.lengths_ms();
        let kept_ms = window.keep_ms.max(window.late_ms) + stream.time.disorder_ms;
        match window.kind {
            WindowKind::Session { .. } => Self {
                what: "sessions",
                one: "session",
                each: SESSIONS_ASSUMED.min((kept_ms / between_ms) as u64 + 2),
                of_group: true,
                values: SKETCH_VALUES_ASSUMED,
            },
            WindowKind::Last { count } => Self {
                what: "last events",
                one: "event",
                each: u64::from(count),
                of_group: true,
                values: 1,
            },
            _ => {
                // A pane goes when the last window over it does. One is open at the newest event,
                // and the oldest one is only partly in reach.
                let pane_ms = window.kind.pane_ms();
                let over_ms = longest_ms - pane_ms;
                Self {
                    what: if over_ms > 0 { "panes" } else { "windows" },
                    one: "window",
                    each: ((over_ms + kept_ms) / pane_ms) as u64 + 2,
                    of_group: false,
                    values: SKETCH_VALUES_ASSUMED,
                }
            }
        }
    }
}

/// Bytes beside the cells of a group, with so many different values in every column.
fn block_bytes(pipeline: &Pipeline, view: &View, values: u64) -> u64 {
    let stream = &pipeline.streams[view.stream];
    let bytes = |column: &Column| {
        let plan = ColumnPlan::new(stream, column.aggregate);
        plan.sketch().map_or(0, |sketch| sketch.block_bytes(values))
    };
    view.columns.iter().map(bytes).sum()
}

fn assumptions(pipeline: &Pipeline, keys: u64) -> Vec<String> {
    let mut assumptions = vec![
        format!("{keys} keys per stream, and as many members per board"),
        format!("{GROUPS_ASSUMED} groups per window where a view does not group by the key"),
        "every window from `keep` to the newest event holds every group".to_owned(),
        "no late event opens a pane of its own".to_owned(),
        "every season that is kept holds every member".to_owned(),
        format!("{PRODUCERS} producers"),
        format!(
            "one shard; each further one (at most {SHARDS_MAX}) holds partial groups of its own"
        ),
        "rings, log buffers and connections are not included".to_owned(),
    ];
    assumptions.extend(pipeline.streams.iter().filter_map(ids_assumption));
    if pipeline.boards.iter().any(|board| !board.split.is_empty()) {
        assumptions.push("every member is in one split of each board".to_owned());
    }
    for view in &pipeline.views {
        let stream = &pipeline.streams[view.stream];
        let (parts, name) = (Parts::of(view, stream), &view.name);
        match view.window.kind {
            WindowKind::Session { .. } => assumptions.push(format!(
                "{} sessions of each group of view {name} from `keep` to the newest event",
                parts.each
            )),
            WindowKind::Last { .. } => assumptions.push(format!(
                "{} events of each group of view {name} within `keep`",
                parts.each
            )),
            _ => {}
        }
        let most = block_bytes(pipeline, view, u64::MAX);
        let is_last = matches!(view.window.kind, WindowKind::Last { .. });
        if most > block_bytes(pipeline, view, parts.values) && !is_last {
            assumptions.push(format!(
                "{SKETCH_VALUES_ASSUMED} different values per group in sketches of view {name}; \
                 with any number of them a group has at most {}",
                size_text(most)
            ));
        }
    }
    assumptions
}

impl fmt::Display for Forecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            let total = size_text(line.total_bytes());
            writeln!(
                f,
                "{:>12}  {} x {} bytes: {}",
                total, line.items, line.item_bytes, line.name
            )?;
        }
        writeln!(
            f,
            "{:>12}  in all, {} bytes per key",
            size_text(self.total_bytes),
            self.key_bytes
        )?;
        f.write_str("assuming\n")?;
        for assumption in &self.assumptions {
            writeln!(f, "  - {assumption}")?;
        }
        Ok(())
    }
}

fn size_text(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut scaled = bytes as f64;
    while scaled >= 1024.0 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} B")
    } else {
        format!("{scaled:.1} {}", UNITS[unit])
    }
}
