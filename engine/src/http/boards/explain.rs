//! The receipt of a score: the log positions that make it up, and those that do not.

use std::sync::Arc;

use axum::extract::{Path, State, rejection::PathRejection};
use axum::http::Uri;
use axum::response::Response;
use ringmill_shard::limits::SIDE_EVENTS_MAX;
use ringmill_shard::pipeline::Retract;
use ringmill_shard::query::{Answer, DuplicateRun, Query, Scalar};
use ringmill_shard::receipt::{BoardReader, Part, ReceiptLine};
use ringmill_shard::selection::{Found, Selection, Wanted};
use ringmill_shard::value::Value;
use serde_json::{Value as Json, json};

use super::{Wanted as Asked, find, member_field, no_member, rank_body, season};
use crate::http::answers::{ask_all, scalar};
use crate::http::corrections::{away, read_logs};
use crate::http::params::Params;
use crate::http::problem::Problem;
use crate::http::{App, path, reply};

/// Lines of a receipt that does not ask for a number.
const LINES_DEFAULT: usize = 1_000;
/// Events of a member that are read.
const EVENTS_MAX: usize = 100_000;

pub(in crate::http) async fn get_explain(
    State(app): State<Arc<App>>,
    names: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let (name, text) = path(names)?;
    let (index, board) = find(&app.pipeline, &name)?;
    let mut params = Params::read(&uri)?;
    let n = params.take_count("n", LINES_DEFAULT, 1, EVENTS_MAX)?;
    let wanted = Asked::take(&mut params, &app.pipeline, board)?;
    let numbers_as_text = params.numbers_as_text;
    params.finish()?;
    let field = member_field(&app.pipeline, board);
    let value = Value::parse_text(field.kind, &text).map_err(|r| no_member(field, &text, r))?;
    let mut member = Vec::new();
    value.write_canonical(&mut member);
    let chosen = season::choose(&app, index, board, wanted).await?;
    // The score first: what the logs hold by then is all of it, and maybe more.
    let mut body = match rank_body(&app, &chosen, board, &text).await {
        Ok(body) => body,
        Err(problem) if problem.name() == "unknown-member" => {
            let mut body = json!({ "board": board.name, "member": value.to_json(), "score": null });
            body["rank"] = Json::Null;
            chosen.describe(&mut body, &[]);
            body
        }
        Err(problem) => return Err(problem),
    };
    let through = through(&app).await?;
    let wanted = Wanted {
        field: Some((board.member, member)),
        ..Wanted::default()
    };
    let selection = Selection::new(&app.pipeline, board.stream, wanted, None, &app.logs.older());
    let mut selection = selection.map_err(Problem::internal)?;
    let found = read_logs(&app, &through, move |log, lsn, batch, found| {
        if found.len() <= EVENTS_MAX {
            selection.find(batch, log, lsn, found);
        }
    })
    .await?;
    if found.len() > EVENTS_MAX {
        let detail = format!("`{text}` has more than {EVENTS_MAX} events; a receipt has no more");
        return Err(Problem::too_large(detail));
    }
    let mut reader = BoardReader::new(&app.pipeline, index);
    let (season, split) = (chosen.span(), chosen.of.split.clone());
    let lines = found.into_iter().filter_map(|found| {
        let line = reader.line(&found)?;
        let is_in = split.is_empty() || line.split == split;
        (line.season == season && is_in).then_some((found, line))
    });
    let (found, lines): (Vec<Found>, Vec<ReceiptLine>) = lines.unzip();
    let by = away(&app, &found).await?;
    let duplicates = duplicates(&app, board.stream).await?;
    let exact = board.retract == Retract::Exact;
    let mut receipt = Receipt::default();
    for ((found, line), by) in found.iter().zip(&lines).zip(&by) {
        receipt.add(found, line, by, exact, &duplicates);
    }
    receipt.describe(&mut body, n);
    body["retract"] = board.retract.name().into();
    Ok(reply(body, numbers_as_text))
}

/// Durable LSN by shard.
async fn through(app: &App) -> Result<Vec<u64>, Problem> {
    let query = Query::Corrections { after: 0, n: 0 };
    let answers = ask_all(app, &query, |answer| match answer {
        Answer::Corrections(answer) => Some(answer.last_lsn),
        _ => None,
    })
    .await?;
    match answers.missing.first() {
        Some(&shard) => Err(Problem::shard_failed(shard)),
        None => Ok(answers.replies.into_iter().map(|(_, lsn)| lsn).collect()),
    }
}

/// The latest batches with events that had been stored before.
async fn duplicates(app: &App, stream: usize) -> Result<Vec<DuplicateRun>, Problem> {
    let query = Query::Duplicates {
        stream: stream as u16,
        n: SIDE_EVENTS_MAX as u32,
    };
    let answers = ask_all(app, &query, |answer| match answer {
        Answer::Duplicates(runs) => Some(runs),
        _ => None,
    })
    .await?;
    Ok(answers
        .replies
        .into_iter()
        .flat_map(|(_, answer)| answer.runs)
        .collect())
}

#[derive(Default)]
struct Receipt {
    lines: Vec<(u64, Json)>,
    counts: std::collections::BTreeMap<&'static str, u64>,
    /// Sums of what counts, where it is integers.
    sums: Vec<i128>,
}

impl Receipt {
    fn add(
        &mut self,
        found: &Found,
        line: &ReceiptLine,
        by: &[u64],
        exact: bool,
        duplicates: &[DuplicateRun],
    ) {
        let is_away = exact && !by.is_empty() && line.part == Part::Counted;
        let part = if is_away {
            "retracted"
        } else {
            line.part.name()
        };
        *self.counts.entry(part).or_default() += 1;
        if part == "counted" {
            self.sums.resize(line.values.len(), 0);
            for (sum, value) in self.sums.iter_mut().zip(&line.values) {
                *sum += match *value {
                    Scalar::U64(value) => i128::from(value),
                    Scalar::I64(value) => i128::from(value),
                    _ => 0,
                };
            }
        }
        let again = duplicates.iter().filter(|run| {
            (run.producer, run.epoch) == (found.producer, found.epoch)
                && (run.first_sequence..=run.last_sequence).contains(&found.sequence)
        });
        let again: Vec<u64> = again.map(|run| run.stamp_ns).collect();
        let place = found.event.place;
        let mut body = json!({
            "part": part,
            "log_stream": place.log_stream,
            "lsn": place.lsn,
            "index": place.index,
            "stamp_ns": found.event.stamp_ns,
            "time_ms": found.time_ms,
            "producer_id": format!("{:032x}", found.producer),
            "epoch": found.epoch,
            "sequence": found.sequence,
            "values": line.values.iter().map(scalar).collect::<Vec<_>>(),
        });
        if let Some(void) = found.void {
            body["reason"] = void.name().into();
        }
        if !by.is_empty() {
            body["retracted_by"] = by.into();
        }
        if !again.is_empty() {
            body["duplicates_ns"] = again.into();
        }
        self.lines.push((found.event.stamp_ns, body));
    }

    /// Adds the newest lines, oldest first, and the counts of all.
    fn describe(mut self, body: &mut Json, n: usize) {
        self.lines.sort_by_key(|(stamp_ns, _)| *stamp_ns);
        let skipped = self.lines.len().saturating_sub(n);
        let shown = self.lines.into_iter().skip(skipped).map(|(_, line)| line);
        body["events"] = shown.collect();
        body["events_left_out"] = skipped.into();
        body["counts"] = json!(self.counts);
        let sums = self.sums.iter();
        body["sums"] = sums
            .map(|&sum| i64::try_from(sum).map_or_else(|_| sum.to_string().into(), Json::from))
            .collect();
    }
}
