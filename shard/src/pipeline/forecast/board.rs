//! Memory of boards.

use super::{ForecastLine, TABLE_SLOT_BYTES, name_bytes};
use crate::board::notes::note_bytes;
use crate::board::order::OrderPlan;
use crate::pipeline::{Board, Pipeline, Score, ScoreRule, Stream};
use crate::schema::FieldType;
use crate::season::at_once;

/// The share of a member of a rank index in a bucket's list.
const RANK_ENTRY_BYTES: u64 = 12;
/// Two words that a score needs beside its sort key: a sum over f64 with its compensation, or the
/// block of the best values.
const BESIDE_BYTES: u64 = 16;
/// One column of the share of a member that is not the stream's key.
const PARTIAL_BYTES: u64 = 40;
/// The smallest block of an exact sum over f64.
const FLOAT_SUM_BYTES: u64 = 32;
/// The owner of such a member.
const OWNER_BYTES: u64 = 2;
/// The moment of the event that what stands beside a score is of.
const MOMENT_BYTES: u64 = 16;
/// A split without members: an empty rank index and table.
const SPLIT_BYTES: u64 = 6_144;

/// The members of a board, whole and split, and how many bytes of each belong to a key of its
/// stream.
pub(super) fn board_lines(
    pipeline: &Pipeline,
    board: &Board,
    keys: u64,
) -> (Vec<ForecastLine>, u64) {
    let stream = &pipeline.streams[board.stream];
    let is_key = board.member == stream.key;
    let (name, seasons) = match &board.season {
        None => (board.name.clone(), 1),
        Some(season) => {
            let seasons = at_once(season, 0) as u64;
            (format!("{} in {seasons} seasons", board.name), seasons)
        }
    };
    let by_key = board.is_kept_by_key(stream);
    let own_bytes = member_bytes(stream, board, by_key);
    let table_bytes = name_bytes(stream, board.member) + TABLE_SLOT_BYTES;
    let has_table = !by_key || board.season.is_some();
    let whole_bytes = own_bytes + if has_table { table_bytes } else { 0 };
    let mut lines = vec![ForecastLine {
        name: format!("members of board {name}"),
        items: keys.saturating_mul(seasons),
        item_bytes: whole_bytes,
    }];
    let mut of_key = whole_bytes;
    if !board.split.is_empty() {
        of_key += own_bytes + table_bytes;
        lines.push(ForecastLine {
            name: format!("members of the splits of board {name}"),
            items: keys.saturating_mul(seasons),
            item_bytes: own_bytes + table_bytes,
        });
        lines.push(ForecastLine {
            name: format!("splits of board {name}"),
            items: u64::from(board.splits).saturating_mul(seasons),
            item_bytes: SPLIT_BYTES + crate::cells::cells_bytes(stream, &board.split) as u64,
        });
    }
    (lines, if is_key { of_key * seasons } else { 0 })
}

/// Bytes of a member without its name: in the rank index, whose records are a multiple of half a
/// cache line, and beside it.
fn member_bytes(stream: &Stream, board: &Board, is_key: bool) -> u64 {
    let words = OrderPlan::new(stream, board).words() as u64;
    let record_bytes = (words * 8 + 8).next_multiple_of(32);
    let beside: u64 = board
        .scores
        .iter()
        .map(|score| beside_bytes(stream, score, is_key))
        .sum();
    let note_bytes = match board.with.is_empty() {
        true => 0,
        false => MOMENT_BYTES + note_bytes(stream, board) as u64,
    };
    // The owner has the note of its own share, and that of all.
    let (notes, owner_bytes) = if is_key { (1, 0) } else { (2, OWNER_BYTES) };
    record_bytes + RANK_ENTRY_BYTES + beside + notes * note_bytes + owner_bytes
}

/// Bytes that a score needs beside its sort key.
fn beside_bytes(stream: &Stream, score: &Score, is_key: bool) -> u64 {
    let is_float = |column: usize| stream.column(column).kind == FieldType::F64;
    let sums_floats = score.rule == ScoreRule::Sum && score.field.is_some_and(is_float);
    match (score.rule, is_key) {
        (ScoreRule::MeanBest { n }, true) => BESIDE_BYTES + 8 * best_values(n),
        (ScoreRule::MeanBest { n }, false) => PARTIAL_BYTES + 24 * best_values(n),
        (_, true) if sums_floats => BESIDE_BYTES,
        (_, false) if sums_floats => PARTIAL_BYTES + FLOAT_SUM_BYTES,
        (_, true) => 0,
        (_, false) => PARTIAL_BYTES,
    }
}

/// Values that there is room for in a full block.
fn best_values(n: u16) -> u64 {
    u64::from(n.next_power_of_two())
}
