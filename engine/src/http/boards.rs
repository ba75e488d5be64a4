//! Reading boards: the top, the rank of a member, who stands around it, and how a list of members
//! stand among themselves.
//!
//! Every shard answers with order keys, and the pages are joined from those. A member's place is
//! asked of the shard that owns it; all others tell how many of theirs are better.

mod among;
mod explain;
mod rows;
mod season;
mod split;

use std::sync::Arc;

use axum::extract::{Path, State, rejection::PathRejection};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use ringmill_shard::limits::TOP_MAX;
use ringmill_shard::merge::{Above, BoardPage, RankNumber, merge_neighbours, merge_tops};
use ringmill_shard::partition::{group_of, key_hash, shard_of};
use ringmill_shard::pipeline::{Board, Pipeline, RankStyle};
use ringmill_shard::query::{
    Answer, BetterAnswer, BoardPlace, BoardRow, NeighboursAnswer, Query, TopAnswer,
};
use ringmill_shard::rank::OrderKey;
use ringmill_shard::reject::RejectReason;
use ringmill_shard::schema::Field;
use ringmill_shard::value::Value;

use super::answers::{ask_all, ask_one};
use super::params::Params;
use super::problem::Problem;
use super::{App, lookup, path, reply};
pub(super) use among::post_among;
pub(super) use explain::get_explain;
use rows::{member_json, number_json, page_body, row_json};
use season::Chosen;
pub(super) use season::get_seasons;
use split::Wanted;
pub(super) use split::get_splits;

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
    let wanted = Wanted::take(&mut params, &app.pipeline, board)?;
    let numbers_as_text = params.numbers_as_text;
    params.finish()?;
    if offset + n > TOP_MAX {
        let detail = format!("`offset` and `n` reach at most rank {TOP_MAX}");
        return Err(Problem::bad_parameter("offset", detail));
    }
    let chosen = season::choose(&app, index, board, wanted).await?;
    let query = Query::Top {
        board: chosen.of.clone(),
        offset: 0,
        n: (offset + n) as u32,
    };
    let answers = ask_all(&app, &query, |answer| match answer {
        Answer::Top(top) => Some(top),
        _ => None,
    })
    .await?;
    let tops: Vec<TopAnswer> = answers.replies.into_iter().map(|(_, top)| top).collect();
    let (page, above) = merge_tops(tops, board.score_words(), offset, n);
    let mut body = page_body(&app.pipeline, board, &page, above)?;
    body["shards"] = app.cores.shards().into();
    chosen.describe(&mut body, &answers.missing);
    Ok(reply(body, numbers_as_text))
}

pub(super) async fn get_rank(
    State(app): State<Arc<App>>,
    names: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let (name, member) = path(names)?;
    let (index, board) = find(&app.pipeline, &name)?;
    let mut params = Params::read(&uri)?;
    let wanted = Wanted::take(&mut params, &app.pipeline, board)?;
    let numbers_as_text = params.numbers_as_text;
    params.finish()?;
    let chosen = season::choose(&app, index, board, wanted).await?;
    let body = rank_body(&app, &chosen, board, &member).await?;
    Ok(reply(body, numbers_as_text))
}

/// Score and rank of a member.
async fn rank_body(
    app: &App,
    chosen: &Chosen,
    board: &Board,
    member: &str,
) -> Result<serde_json::Value, Problem> {
    let place = find_member(app, chosen, board, member).await?;
    let (mut better, asked) = match board.rank {
        RankStyle::Ordinal => (place.better, place.row.place()),
        _ => (
            place.better_score,
            place.row.start_of_score(board.score_words()),
        ),
    };
    let mut members = place.members;
    let answers = ask_neighbours(app, &neighbours(chosen, asked, 0)).await?;
    for (shard, answer) in &answers.replies {
        // The owner told its share together with the score.
        if *shard != place.owner {
            better += answer.better;
            members += answer.members;
        }
    }
    let above = Above {
        members: better,
        scores: better_scores(app, chosen, board, vec![place.row.key]).await?[0],
    };
    let mut body = row_json(&app.pipeline, board, &place.row)?;
    body["board"] = board.name.as_str().into();
    body["rank"] = number_json(RankNumber::new(board.rank, better, above, members));
    body["members"] = members.into();
    body["shards"] = app.cores.shards().into();
    body["final"] = false.into();
    chosen.describe(&mut body, &answers.missing);
    Ok(body)
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
    let wanted = Wanted::take(&mut params, &app.pipeline, board)?;
    let numbers_as_text = params.numbers_as_text;
    params.finish()?;
    let chosen = season::choose(&app, index, board, wanted).await?;
    let place = find_member(&app, &chosen, board, &member).await?;
    let query = neighbours(&chosen, place.row.place(), n as u32);
    let answers = ask_neighbours(&app, &query).await?;
    let around: Vec<NeighboursAnswer> = answers.replies.into_iter().map(|(_, one)| one).collect();
    let page = merge_neighbours(around, n);
    let above = above_first(&app, &chosen, board, &page).await?;
    let mut body = page_body(&app.pipeline, board, &page, above)?;
    body["member"] = member_json(&app.pipeline, board, &place.row);
    body["shards"] = app.cores.shards().into();
    chosen.describe(&mut body, &answers.missing);
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
    better: u64,
    better_score: u64,
    members: u64,
}

async fn find_member(
    app: &App,
    chosen: &Chosen,
    board: &Board,
    text: &str,
) -> Result<Place, Problem> {
    let field = member_field(&app.pipeline, board);
    let value =
        Value::parse_text(field.kind, text).map_err(|reason| no_member(field, text, reason))?;
    let mut member = Vec::new();
    value.write_canonical(&mut member);
    let owner = shard_of(group_of(key_hash(&member)), app.cores.shards());
    let query = Query::Member {
        board: chosen.of.clone(),
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
        better: answer.better,
        better_score: answer.better_score,
        members: answer.members,
    })
}

/// Text that cannot be a member of the board.
fn no_member(field: &Field, text: &str, reason: RejectReason) -> Problem {
    let detail = format!(
        "`{text}` is no {} ({reason}), as members of the board are",
        field.kind
    );
    Problem::bad_request(detail).with("field", &*field.name)
}

/// `n` rows above and `n` at or below a place.
fn neighbours(chosen: &Chosen, place: BoardPlace, n: u32) -> Query {
    Query::Neighbours {
        board: chosen.of.clone(),
        place,
        above: n,
        below: n,
    }
}

/// What stands above the first row of a page, as far as its number needs it.
async fn above_first(
    app: &App,
    chosen: &Chosen,
    board: &Board,
    page: &BoardPage,
) -> Result<Above, Problem> {
    let Some(first) = page.rows.first() else {
        return Ok(Above::default());
    };
    let mut above = Above::default();
    if board.rank != RankStyle::Ordinal {
        let places = vec![first.start_of_score(board.score_words())];
        let better = count_better(app, chosen, places).await?;
        // Asked some moments later than the page.
        above.members = better.better[0].min(page.first_rank);
        above.scores = better_scores(app, chosen, board, vec![first.key]).await?[0];
    }
    Ok(above)
}

/// How many members of all shards that answer are better than each place.
async fn count_better(
    app: &App,
    chosen: &Chosen,
    places: Vec<BoardPlace>,
) -> Result<BetterAnswer, Problem> {
    let mut sum = BetterAnswer {
        better: vec![0; places.len()],
        members: 0,
    };
    let count = places.len();
    let board = chosen.of.clone();
    let answers = ask_all(
        app,
        &Query::CountBetter { board, places },
        |answer| match answer {
            Answer::CountBetter(answer) if answer.better.len() == count => Some(answer),
            _ => None,
        },
    )
    .await?;
    for (_, answer) in answers.replies {
        sum.members += answer.members;
        let counts = sum.better.iter_mut().zip(answer.better);
        counts.for_each(|(sum, count)| *sum += count);
    }
    Ok(sum)
}

/// How many different scores are better than each key's, for dense ranks: those have one shard.
async fn better_scores(
    app: &App,
    chosen: &Chosen,
    board: &Board,
    keys: Vec<OrderKey>,
) -> Result<Vec<u64>, Problem> {
    let count = keys.len();
    if board.rank != RankStyle::Dense {
        return Ok(vec![0; count]);
    }
    let board = chosen.of.clone();
    let query = Query::CountBetterScores { board, keys };
    ask_one(app, 0, &query, |answer| match answer {
        Answer::CountBetterScores(counts) if counts.len() == count => Some(counts),
        _ => None,
    })
    .await
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
