//! Boards of the engine against the oracle: every season that is kept, whole and split.

use crate::check::check;
use ringmill_shard::board::note_values;
use ringmill_shard::cells::write_cell;
use ringmill_shard::merge::merge_tops;
use ringmill_shard::oracle::boards::Place;
use ringmill_shard::oracle::{Datum, Oracle};
use ringmill_shard::pipeline::{Board, Stream, Ties};
use ringmill_shard::query::{Answer, BoardSeason, Query};
use ringmill_shard::rank::Tie;
use ringmill_shard::state::ShardState;

/// The seasons that every shard has kept.
pub(crate) fn check_board(
    states: &[&ShardState],
    oracle: &Oracle<'_>,
    board: usize,
) -> Result<(), String> {
    let of = &oracle.pipeline.boards[board];
    let stream = &oracle.pipeline.streams[of.stream];
    let watermarks = states.iter().map(|state| state.watermark_ms(of.stream));
    let (seasons, late) = oracle.board(of, watermarks.max().unwrap_or(i64::MIN));
    let counters = states.iter().map(|state| state.counters().boards[board]);
    let counted: u64 = counters.map(|counters| counters.late).sum();
    check(counted == late, || {
        format!("board {board} {of:?}: {counted} late, {late} by the log")
    })?;
    for season in &seasons {
        let mut part = BoardSeason {
            board: board as u16,
            season_ms: season.span.map(|(start_ms, _)| start_ms),
            split: Vec::new(),
        };
        check_places(states, (of, stream), &part, &season.places)?;
        for truth in &season.splits {
            part.split.clear();
            for (&column, value) in of.split.iter().zip(&truth.values) {
                write_cell(stream.column(column).kind, &value.value(), &mut part.split);
            }
            check_places(states, (of, stream), &part, &truth.places)?;
        }
    }
    Ok(())
}

fn check_places(
    states: &[&ShardState],
    (of, stream): (&Board, &Stream),
    part: &BoardSeason,
    places: &[Place],
) -> Result<(), String> {
    let (score_words, ties) = (of.score_words(), of.ties);
    // Where moments do not decide, no answer tells them.
    let tie = |tie| match ties {
        Ties::FirstToReach | Ties::LastToReach => tie,
        Ties::Member | Ties::Shared => Tie::default(),
    };
    let expected = places.iter().map(|place| {
        let member = place.member.canonical();
        (member, place.scores(), tie(place.tie), place.note.clone())
    });
    let expected: Vec<_> = expected.collect();
    let query = Query::Top {
        board: part.clone(),
        offset: 0,
        n: 10_000,
    };
    let tops = states.iter().map(|state| match state.query(&query) {
        Answer::Top(top) => top,
        other => panic!("{other:?}"),
    });
    let (page, _) = merge_tops(tops.collect(), score_words, 0, 10_000);
    let actual = page.rows.iter().map(|row| {
        let reached = row.reached(score_words, ties).unwrap_or_default();
        let note = note_values(of, stream, &row.note).unwrap_or_default();
        let note: Vec<_> = note.into_iter().map(Datum::of).collect();
        (row.member.clone(), row.scores.clone(), reached, note)
    });
    let actual: Vec<_> = actual.collect();
    check(actual == expected, || {
        let differs = actual.iter().zip(&expected).find(|(a, b)| a != b);
        format!(
            "{part:?} {of:?}: {} members, {} by the log; first difference {differs:?}",
            actual.len(),
            expected.len()
        )
    })
}
