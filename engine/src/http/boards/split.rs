//! Which split of a board is read, and the list of those that there are.

use std::sync::Arc;

use axum::extract::{Path, State, rejection::PathRejection};
use axum::http::Uri;
use axum::response::Response;
use ringmill_shard::cells::{read_cells, write_cell};
use ringmill_shard::limits::TOP_MAX;
use ringmill_shard::merge::{SplitsPage, merge_splits};
use ringmill_shard::pipeline::{Board, Pipeline, Stream};
use ringmill_shard::query::{Answer, BoardSeason, Query};
use ringmill_shard::value::Value;
use serde_json::{Map, Value as Json, json};

use super::{find, season};
use crate::http::answers::ask_all;
use crate::http::params::Params;
use crate::http::problem::Problem;
use crate::http::{App, path, reply};

/// Splits of an answer without `n`.
const SPLITS_DEFAULT: usize = 1_000;

/// The season and split that a request names.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) season: Option<String>,
    /// Cells; empty for the whole.
    pub(super) split: Vec<u8>,
    /// The values of the split by their names.
    pub(super) values: Option<Json>,
}

impl Wanted {
    /// Takes `season`, which only boards with seasons have, and the fields of a split by their
    /// names: all of them, or none for the whole.
    pub(super) fn take(
        params: &mut Params,
        pipeline: &Pipeline,
        board: &Board,
    ) -> Result<Self, Problem> {
        let mut wanted = Self::default();
        if board.season.is_some() {
            wanted.season = params.take("season")?;
        }
        let stream = &pipeline.streams[board.stream];
        let names = board.split.iter().map(|&column| stream.column(column).name);
        let texts: Vec<Option<String>> = names
            .clone()
            .map(|name| params.take(name))
            .collect::<Result<_, _>>()?;
        if texts.iter().all(Option::is_none) {
            return Ok(wanted);
        }
        let mut values = Map::new();
        for ((&column, name), text) in board.split.iter().zip(names.clone()).zip(&texts) {
            let Some(text) = text else {
                let all: Vec<&str> = names.collect();
                let detail = format!(
                    "a split of the board `{}` is named by all of {}",
                    board.name,
                    all.join(", ")
                );
                return Err(Problem::bad_parameter(name, detail));
            };
            let kind = stream.column(column).kind;
            let refused = |reason| {
                let detail = format!("`{text}` is no {kind} ({reason})");
                Problem::bad_parameter(name, detail)
            };
            let value = Value::parse_text(kind, text).map_err(refused)?;
            if !write_cell(kind, &value, &mut wanted.split) {
                return Err(Problem::bad_parameter(
                    name,
                    format!("`{text}` is no {kind}"),
                ));
            }
            values.insert(name.to_owned(), value.to_json());
        }
        wanted.values = Some(values.into());
        Ok(wanted)
    }
}

/// The split that an answer is of.
pub(super) struct Split {
    values: Json,
    /// Whether a shard may have refused events of it.
    lacking: bool,
}

impl Split {
    pub(super) async fn ask(app: &App, of: &BoardSeason, values: Json) -> Result<Self, Problem> {
        let (page, _) = ask_splits(app, of).await?;
        let lacking = page.lacking;
        Ok(Self { values, lacking })
    }

    pub(super) fn describe(&self, body: &mut Json) {
        body["split"] = self.values.clone();
        if self.lacking {
            body["lacking"] = true.into();
        }
    }
}

async fn ask_splits(app: &App, of: &BoardSeason) -> Result<(SplitsPage, Vec<usize>), Problem> {
    let board = of.clone();
    let answers = ask_all(app, &Query::Splits { board }, |answer| match answer {
        Answer::Splits(splits) => Some(splits),
        _ => None,
    })
    .await?;
    let splits = answers.replies.into_iter().map(|(_, splits)| splits);
    Ok((merge_splits(splits.collect()), answers.missing))
}

pub(in crate::http) async fn get_splits(
    State(app): State<Arc<App>>,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let (index, board) = find(&app.pipeline, &path(name)?)?;
    if board.split.is_empty() {
        let detail = format!("the board `{}` has no splits", board.name);
        return Err(Problem::bad_request(detail).with("board", &*board.name));
    }
    let mut params = Params::read(&uri)?;
    let n = params.take_count("n", SPLITS_DEFAULT, 1, TOP_MAX)?;
    let offset = params.take_count("offset", 0, 0, usize::MAX)?;
    let season = match board.season {
        Some(_) => params.take("season")?,
        None => None,
    };
    let numbers_as_text = params.numbers_as_text;
    params.finish()?;
    let wanted = Wanted {
        season,
        ..Wanted::default()
    };
    let chosen = season::choose(&app, index, board, wanted).await?;
    let (page, missing) = ask_splits(&app, &chosen.of).await?;
    let stream = &app.pipeline.streams[board.stream];
    let rows = page.splits.iter().skip(offset).take(n).map(|split| {
        let values = values_json(board, stream, &split.split)?;
        Ok(json!({ "split": values, "members": split.members }))
    });
    let mut body = json!({
        "board": board.name,
        "rows": rows.collect::<Result<Vec<_>, Problem>>()?,
        "splits": page.splits.len(),
        "most_per_shard": board.splits,
        "refused": page.refused,
        "shards": app.cores.shards(),
        "final": false,
    });
    chosen.describe(&mut body, &missing);
    Ok(reply(body, numbers_as_text))
}

fn values_json(board: &Board, stream: &Stream, split: &[u8]) -> Result<Map<String, Json>, Problem> {
    let values = read_cells(stream, &board.split, split)
        .ok_or_else(|| Problem::internal("a shard gave a split that cannot be read"))?;
    let columns = board.split.iter().zip(values);
    let entry = |(column, value): (&usize, Value<'_>)| {
        (stream.column(*column).name.to_owned(), value.to_json())
    };
    Ok(columns.map(entry).collect())
}
