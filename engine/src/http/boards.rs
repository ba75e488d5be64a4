//! Reading boards: the top, the rank of a member, and who stands around it.
//!
//! Every shard answers with order keys, and the pages are joined from those. A member's place is
//! asked of the shard that owns it; all others tell how many of theirs are better.

use std::sync::Arc;

use axum::extract::{Path, State, rejection::PathRejection};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use ringmill_shard::limits::TOP_MAX;
use ringmill_shard::merge::{BoardPage, merge_neighbours, merge_tops};
use ringmill_shard::partition::{group_of, key_hash, shard_of};
use ringmill_shard::pipeline::{Board, Pipeline};
use ringmill_shard::query::{Answer, BoardRow, NeighboursAnswer, Query, TopAnswer};
use ringmill_shard::schema::Field;
use ringmill_shard::value::Value;
use serde_json::json;

use super::answers::{ask_all, ask_one, missing, scalar};
use super::params::Params;
use super::problem::Problem;
use super::{App, lookup, path, reply};

/// Rows of a top without `n`.
const TOP_DEFAULT: usize = 10;
/// Rows around a member without `n`: five on either side.
const AROUND_DEFAULT: usize = 11;

pub(super) async fn get_top(
    State(app): State<Arc<App>>,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let (index, board) = find(&app.pipeline, &path(name)?)?;
    let mut params = Params::read(&uri)?;
    let n = params.take_count("n", TOP_DEFAULT, 1, TOP_MAX)?;
    let offset = params.take_count("offset", 0, 0, TOP_MAX)?;
    let numbers_as_text = params.numbers_as_text;
    params.finish()?;
    if offset + n > TOP_MAX {
        let detail = format!("`offset` and `n` reach at most rank {TOP_MAX}");
        return Err(Problem::bad_parameter("offset", detail));
    }
    let query = Query::Top {
        board: index as u16,
        offset: 0,
        n: (offset + n) as u32,
    };
    let answers = ask_all(&app, &query, |answer| match answer {
        Answer::Top(top) => Some(top),
        _ => None,
    })
    .await?;
    let tops: Vec<TopAnswer> = answers.replies.into_iter().map(|(_, top)| top).collect();
    let page = merge_tops(tops, offset, n);
    let mut body = page_body(&app.pipeline, board, &page);
    body["shards"] = app.cores.shards().into();
    missing(&mut body, &answers.missing);
    Ok(reply(body, numbers_as_text))
}

pub(super) async fn get_rank(
    State(app): State<Arc<App>>,
    names: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let (name, member) = path(names)?;
    let params = Params::read(&uri)?;
    let numbers_as_text = params.numbers_as_text;
    params.finish()?;
    let (index, board) = find(&app.pipeline, &name)?;
    let place = find_member(&app, index, board, &member).await?;
    let mut better = place.local_rank;
    let mut members = place.members;
    let query = neighbours(index, &place.row, 0, 0);
    let answers = ask_neighbours(&app, &query).await?;
    for (shard, answer) in &answers.replies {
        // The owner told its share together with the score.
        if *shard != place.owner {
            better += answer.better;
            members += answer.members;
        }
    }
    let mut body = json!({
        "board": board.name,
        "member": member_json(&app.pipeline, board, &place.row),
        "score": scalar(&place.row.score),
        "rank": better + 1,
        "members": members,
        "shards": app.cores.shards(),
        "final": false,
    });
    missing(&mut body, &answers.missing);
    Ok(reply(body, numbers_as_text))
}

pub(super) async fn get_around(
    State(app): State<Arc<App>>,
    names: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let (name, member) = path(names)?;
    let (index, board) = find(&app.pipeline, &name)?;
    let mut params = Params::read(&uri)?;
    let n = params.take_count("n", AROUND_DEFAULT, 1, TOP_MAX)?;
    let numbers_as_text = params.numbers_as_text;
    params.finish()?;
    let place = find_member(&app, index, board, &member).await?;
    let query = neighbours(index, &place.row, n as u32, n as u32);
    let answers = ask_neighbours(&app, &query).await?;
    let around: Vec<NeighboursAnswer> = answers.replies.into_iter().map(|(_, one)| one).collect();
    let page = merge_neighbours(around, n);
    let mut body = page_body(&app.pipeline, board, &page);
    body["member"] = member_json(&app.pipeline, board, &place.row);
    body["shards"] = app.cores.shards().into();
    missing(&mut body, &answers.missing);
    Ok(reply(body, numbers_as_text))
}

fn find<'a>(pipeline: &'a Pipeline, name: &str) -> Result<(usize, &'a Board), Problem> {
    let index = lookup(
        "board",
        name,
        pipeline.boards.iter().map(|board| &*board.name),
    )?;
    Ok((index, &pipeline.boards[index]))
}

fn member_field<'a>(pipeline: &'a Pipeline, board: &Board) -> &'a Field {
    &pipeline.streams[board.stream].schema.fields[board.member]
}

/// A member where its owner has it.
struct Place {
    owner: usize,
    row: BoardRow,
    local_rank: u64,
    members: u64,
}

async fn find_member(app: &App, index: usize, board: &Board, text: &str) -> Result<Place, Problem> {
    let field = member_field(&app.pipeline, board);
    let value = Value::parse_text(field.kind, text).map_err(|reason| {
        let detail = format!(
            "`{text}` is no {} ({reason}), as members of the board are",
            field.kind
        );
        Problem::bad_request(detail).with("field", &*field.name)
    })?;
    let mut member = Vec::new();
    value.write_canonical(&mut member);
    let owner = shard_of(group_of(key_hash(&member)), app.cores.shards());
    let query = Query::Member {
        board: index as u16,
        member,
    };
    let answer = ask_one(app, owner, &query, |answer| match answer {
        Answer::Member(member) => Some(member),
        _ => None,
    })
    .await?;
    let Some(row) = answer.row else {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "unknown-member",
            "The member is not on the board",
            format!(
                "no event has given `{text}` a score on the board `{}`",
                board.name
            ),
        )
        .with("board", &*board.name));
    };
    Ok(Place {
        owner,
        row,
        local_rank: answer.local_rank,
        members: answer.members,
    })
}

fn neighbours(index: usize, row: &BoardRow, above: u32, below: u32) -> Query {
    Query::Neighbours {
        board: index as u16,
        key: row.key,
        above,
        below,
    }
}

async fn ask_neighbours(
    app: &App,
    query: &Query,
) -> Result<crate::control::Replies<NeighboursAnswer>, Problem> {
    ask_all(app, query, |answer| match answer {
        Answer::Neighbours(neighbours) => Some(neighbours),
        _ => None,
    })
    .await
}

fn member_json(pipeline: &Pipeline, board: &Board, row: &BoardRow) -> serde_json::Value {
    let schema = &pipeline.streams[board.stream].schema;
    let member = schema.value_of_canonical(board.member, &row.member);
    member.map_or(serde_json::Value::Null, |member| member.to_json())
}

fn page_body(pipeline: &Pipeline, board: &Board, page: &BoardPage) -> serde_json::Value {
    let row = |(nth, row): (usize, &BoardRow)| {
        json!({
            "rank": page.first_rank + nth as u64 + 1,
            "member": member_json(pipeline, board, row),
            "score": scalar(&row.score),
        })
    };
    json!({
        "board": board.name,
        "rows": page.rows.iter().enumerate().map(row).collect::<Vec<_>>(),
        "members": page.members,
        "offset": page.first_rank,
        "final": false,
    })
}
