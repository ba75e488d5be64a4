//! Rows of boards as JSON.

use ringmill_shard::board::note_values;
use ringmill_shard::merge::{Above, BoardPage, RankNumber};
use ringmill_shard::pipeline::{Board, Pipeline};
use ringmill_shard::query::BoardRow;
use ringmill_shard::value::Value;
use serde_json::{Map, Value as Json, json};

use crate::http::answers::scalar;
use crate::http::problem::Problem;

pub(super) fn member_json(pipeline: &Pipeline, board: &Board, row: &BoardRow) -> Json {
    // A board has no null member: no bytes are the empty text, in an optional field, too.
    let kind = pipeline.streams[board.stream].schema.fields[board.member].kind;
    let member = Value::from_canonical(kind, &row.member);
    member.map_or(Json::Null, |member| member.to_json())
}

/// One score, or the list of those of a board that has several.
fn score_json(row: &BoardRow) -> Json {
    match &row.scores[..] {
        [score] => scalar(score),
        scores => scores.iter().map(scalar).collect(),
    }
}

pub(super) fn number_json(number: RankNumber) -> Json {
    match number {
        RankNumber::Place(place) => place.into(),
        RankNumber::Percent(percent) => percent.into(),
    }
}

/// A member with its score, and what the board shows beside that.
pub(super) fn row_json(
    pipeline: &Pipeline,
    board: &Board,
    row: &BoardRow,
) -> Result<Json, Problem> {
    let mut object = json!({
        "member": member_json(pipeline, board, row),
        "score": score_json(row),
    });
    if !board.with.is_empty() {
        let stream = &pipeline.streams[board.stream];
        let values = note_values(board, stream, &row.note)
            .ok_or_else(|| Problem::internal("a shard gave a note that cannot be read"))?;
        let columns = board.with.iter().zip(values);
        let entry = |(column, value): (&usize, Value<'_>)| {
            (stream.column(*column).name.to_owned(), value.to_json())
        };
        object["with"] = columns.map(entry).collect::<Map<_, _>>().into();
    }
    Ok(object)
}

pub(super) fn page_body(
    pipeline: &Pipeline,
    board: &Board,
    page: &BoardPage,
    above: Above,
) -> Result<Json, Problem> {
    let numbers = page.numbers(board.rank, board.score_words(), above);
    let row = |(number, row): (RankNumber, &BoardRow)| {
        let mut object = row_json(pipeline, board, row)?;
        object["rank"] = number_json(number);
        Ok(object)
    };
    let rows = numbers.into_iter().zip(&page.rows).map(row);
    Ok(json!({
        "board": board.name,
        "rows": rows.collect::<Result<Vec<_>, Problem>>()?,
        "members": page.members,
        "offset": page.first_rank,
        "final": false,
    }))
}
