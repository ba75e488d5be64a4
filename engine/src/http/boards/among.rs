//! How a list of members stand among themselves: friends, a team, a table of finalists.

use std::collections::HashSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State, rejection::PathRejection};
use axum::http::Uri;
use axum::response::Response;
use ringmill_shard::limits::AMONG_MAX;
use ringmill_shard::merge::{Above, BoardPage, RankNumber};
use ringmill_shard::pipeline::{Board, RankStyle};
use ringmill_shard::query::{Answer, BoardRow, Query};
use ringmill_shard::schema::Field;
use ringmill_shard::value::Value;
use serde_json::{Value as Json, json};

use super::{
    Chosen, Wanted, better_scores, count_better, find, member_field, no_member, number_json,
    row_json, season,
};
use crate::http::answers::ask_all;
use crate::http::ndjson::read_whole;
use crate::http::params::Params;
use crate::http::problem::Problem;
use crate::http::{App, path, reply};

pub(in crate::http) async fn post_among(
    State(app): State<Arc<App>>,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
    body: Body,
) -> Result<Response, Problem> {
    let (index, board) = find(&app.pipeline, &path(name)?)?;
    let mut params = Params::read(&uri)?;
    let wanted = Wanted::take(&mut params, &app.pipeline, board)?;
    let numbers_as_text = params.numbers_as_text;
    params.finish()?;
    let body = read_whole(body, &app.limits.body).await?;
    let members = read_members(&body, member_field(&app.pipeline, board))?;
    let chosen = season::choose(&app, index, board, wanted).await?;
    let query = Query::Find {
        board: chosen.of.clone(),
        members: members.iter().map(|(_, member)| member.clone()).collect(),
    };
    let count = members.len();
    let answers = ask_all(&app, &query, |answer| match answer {
        Answer::Find(rows) if rows.len() == count => Some(rows),
        _ => None,
    })
    .await?;
    let mut found = vec![false; count];
    let mut rows = Vec::new();
    for (_, of_shard) in answers.replies {
        for (found, row) in found.iter_mut().zip(of_shard) {
            *found |= row.is_some();
            rows.extend(row);
        }
    }
    let page = BoardPage::among(rows);
    let among = page.numbers(board.rank, board.score_words(), Above::default());
    let overall = overall(&app, &chosen, board, &page.rows).await?;
    let shown = page.rows.iter().zip(among).zip(overall);
    let shown = shown.map(|((row, among), overall)| {
        let mut object = row_json(&app.pipeline, board, row)?;
        object["among"] = number_json(among);
        object["rank"] = number_json(overall);
        Ok(object)
    });
    let absent = members.iter().zip(&found).filter(|(_, found)| !**found);
    let mut body = json!({
        "board": board.name,
        "rows": shown.collect::<Result<Vec<_>, Problem>>()?,
        "absent": absent.map(|((given, _), _)| given).collect::<Vec<_>>(),
        "shards": app.cores.shards(),
        "final": false,
    });
    chosen.describe(&mut body, &answers.missing);
    Ok(reply(body, numbers_as_text))
}

/// The members of the list, each as it was given and as canonical bytes; one given twice counts
/// once.
fn read_members(body: &[u8], field: &Field) -> Result<Vec<(Json, Vec<u8>)>, Problem> {
    let list: Vec<Json> = serde_json::from_slice(body)
        .map_err(|error| Problem::bad_request(format!("the body is no JSON list: {error}")))?;
    if list.len() > AMONG_MAX {
        let detail = format!("a list has at most {AMONG_MAX} members, not {}", list.len());
        return Err(Problem::bad_request(detail));
    }
    let mut known = HashSet::new();
    let mut members = Vec::with_capacity(list.len());
    for given in list {
        let text = match &given {
            Json::String(text) => text.clone(),
            Json::Number(_) | Json::Bool(_) => given.to_string(),
            _ => {
                let detail =
                    format!("`{given}` is no member: neither text, number, true nor false");
                return Err(Problem::bad_request(detail));
            }
        };
        let value = Value::parse_text(field.kind, &text);
        let value = value.map_err(|reason| no_member(field, &text, reason))?;
        let mut member = Vec::new();
        value.write_canonical(&mut member);
        if known.insert(member.clone()) {
            members.push((given, member));
        }
    }
    Ok(members)
}

/// The numbers of rows on the whole board.
async fn overall(
    app: &App,
    chosen: &Chosen,
    board: &Board,
    rows: &[BoardRow],
) -> Result<Vec<RankNumber>, Problem> {
    let place = |row: &BoardRow| match board.rank {
        RankStyle::Ordinal => row.place(),
        _ => row.start_of_score(board.score_words()),
    };
    let better = count_better(app, chosen, rows.iter().map(place).collect()).await?;
    let keys = rows.iter().map(|row| row.key).collect();
    let scores = better_scores(app, chosen, board, keys).await?;
    let above = better.better.into_iter().zip(scores);
    let number = |(place, scores): (u64, u64)| {
        let above = Above {
            members: place,
            scores,
        };
        RankNumber::new(board.rank, place, above, better.members)
    };
    Ok(above.map(number).collect())
}
