//! Reading the windows of a view.

use std::sync::Arc;

use axum::extract::{Path, State, rejection::PathRejection};
use axum::http::Uri;
use axum::response::Response;
use ringmill_shard::limits::{TIME_MS_MAX, TIME_MS_MIN, TOP_MAX};
use ringmill_shard::merge::{RowState, WindowsPage, merge_windows};
use ringmill_shard::pipeline::{Pipeline, Stream, View};
use ringmill_shard::query::{Answer, Query, WindowCursor};
use ringmill_shard::schema::FieldType;
use ringmill_shard::value::Value;
use ringmill_shard::window::group_values;
use serde_json::{Map, json};

use super::answers::{ask_all, column_value, hex, missing, watermark};
use super::params::Params;
use super::problem::Problem;
use super::streams::ask_stats;
use super::{App, lookup, path, reply};

/// Rows of an answer without `limit`.
const LIMIT_DEFAULT: usize = 1_000;
/// Rows that are looked at in one go when groups are picked.
const PICK_ROWS: usize = TOP_MAX;
/// Times that more rows are looked at; then the answer ends with a cursor, however short it is.
const ROUNDS_MAX: usize = 8;

/// Parameters of the route itself; a group field of such a name cannot be picked by.
const RESERVED: [&str; 6] = ["from", "to", "limit", "after", "state", "numbers"];

/// What is asked of a view.
struct Ask<'a> {
    from_ms: i64,
    to_ms: i64,
    limit: usize,
    after: Option<WindowCursor>,
    /// The state that rows must have.
    state: Option<RowState>,
    /// Position among the group fields, and the text that the value must have.
    picks: Vec<(usize, FieldType, &'a str)>,
}

pub(super) async fn get_view(
    State(app): State<Arc<App>>,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let names = app.pipeline.views.iter().map(|view| &*view.name);
    let index = lookup("view", &path(name)?, names)?;
    let view = &app.pipeline.views[index];
    let mut params = Params::read(&uri)?;
    let texts = take_picks(&app.pipeline, view, &mut params)?;
    let mut ask = read_ask(&app.pipeline, view, &mut params, &texts)?;
    let numbers_as_text = params.numbers_as_text;
    params.finish()?;
    if ask.state == Some(RowState::Early) {
        skip_closed(&app, view, &mut ask).await?;
    }
    let body = collect(&app, index, ask).await?;
    Ok(reply(body, numbers_as_text))
}

fn stream<'a>(pipeline: &'a Pipeline, view: &View) -> &'a Stream {
    &pipeline.streams[view.stream]
}

/// The parameters that are named like group fields.
fn take_picks(
    pipeline: &Pipeline,
    view: &View,
    params: &mut Params,
) -> Result<Vec<Option<String>>, Problem> {
    let stream = stream(pipeline, view);
    let mut take = |column: &usize| match stream.column(*column).name {
        reserved if RESERVED.contains(&reserved) => Ok(None),
        name => params.take(name),
    };
    view.group.iter().map(&mut take).collect()
}

fn read_ask<'a>(
    pipeline: &Pipeline,
    view: &View,
    params: &mut Params,
    texts: &'a [Option<String>],
) -> Result<Ask<'a>, Problem> {
    let stream = stream(pipeline, view);
    let mut picks = Vec::new();
    for (position, text) in texts.iter().enumerate() {
        let Some(text) = text else { continue };
        let column = stream.column(view.group[position]);
        Value::parse_text(column.kind, text).map_err(|reason| {
            let detail = format!("`{text}` is no {} ({reason})", column.kind);
            Problem::bad_parameter(column.name, detail)
        })?;
        picks.push((position, column.kind, &**text));
    }
    let from_ms = take_time(params, "from", TIME_MS_MIN)?;
    let to_ms = take_time(params, "to", TIME_MS_MAX)?;
    if from_ms > to_ms {
        return Err(Problem::bad_parameter("from", "`from` is later than `to`"));
    }
    let limit = params.take_count("limit", LIMIT_DEFAULT, 1, TOP_MAX)?;
    let after = match params.take("after")? {
        None => None,
        Some(text) => Some(read_cursor(&text).ok_or_else(|| {
            Problem::bad_parameter("after", "`after` is the `next` of an earlier answer")
        })?),
    };
    Ok(Ask {
        from_ms,
        to_ms,
        limit,
        after,
        state: take_state(params)?,
        picks,
    })
}

fn take_state(params: &mut Params) -> Result<Option<RowState>, Problem> {
    let Some(text) = params.take("state")? else {
        return Ok(None);
    };
    let known = RowState::ALL.into_iter().find(|state| state.name() == text);
    known.map(Some).ok_or_else(|| {
        let detail = format!("`state` is `early`, `final` or `amended`, not `{text}`");
        Problem::bad_parameter("state", detail)
    })
}

/// Begins behind all windows that are closed already: there may be very many of them. Watermarks
/// only grow, so none of these is early when the rows are read. Windows that events make may have
/// begun at any time.
async fn skip_closed(app: &App, view: &View, ask: &mut Ask<'_>) -> Result<(), Problem> {
    let Some(longest_ms) = view.window.kind.longest_ms() else {
        return Ok(());
    };
    let stats = ask_stats(app).await?;
    let of_shard = stats.replies.iter();
    let least = of_shard
        .map(|(_, shard)| shard.watermarks_ms[view.stream])
        .min();
    if let Some(watermark_ms) = least
        && stats.missing.is_empty()
    {
        let behind_ms = view.window.late_ms + longest_ms;
        ask.from_ms = ask.from_ms.max(watermark_ms.saturating_sub(behind_ms));
    }
    Ok(())
}

fn take_time(params: &mut Params, name: &str, default: i64) -> Result<i64, Problem> {
    let Some(text) = params.take(name)? else {
        return Ok(default);
    };
    match Value::parse_text(FieldType::Time, &text) {
        Ok(Value::Time(ms)) => Ok(ms),
        _ => {
            let detail = format!("`{name}` is a time in ms or RFC 3339, not `{text}`");
            Err(Problem::bad_parameter(name, detail))
        }
    }
}

/// Looks at pages of rows until enough of them are picked, or there are no more.
async fn collect(app: &App, index: usize, mut ask: Ask<'_>) -> Result<serde_json::Value, Problem> {
    let mut rows = Vec::new();
    for round in 1.. {
        let room = ask.limit - rows.len();
        let limit = if ask.picks.is_empty() && ask.state.is_none() {
            room
        } else {
            PICK_ROWS
        };
        let query = Query::Windows {
            view: index as u16,
            from_ms: ask.from_ms,
            to_ms: ask.to_ms,
            limit: limit as u32,
            after: ask.after.take(),
        };
        let answers = ask_all(app, &query, |answer| match answer {
            Answer::Windows(windows) => Some(windows),
            _ => None,
        })
        .await?;
        let whole = answers.missing.is_empty();
        let windows = answers
            .replies
            .into_iter()
            .map(|(_, windows)| windows)
            .collect();
        let mut page = merge_windows(&app.pipeline, index, windows, limit)
            .map_err(|error| Problem::internal(error.to_string()))?;
        // A failed shard may hold events of any window.
        if !whole {
            let rows = page.rows.iter_mut();
            rows.for_each(|row| row.state = RowState::Early);
        }
        let next = pick(&app.pipeline, index, &ask, &page, &mut rows)?;
        if next.is_none() || rows.len() >= ask.limit || round == ROUNDS_MAX {
            let mut body = json!({
                "view": app.pipeline.views[index].name,
                "rows": rows,
                "watermark_ms": watermark(page.watermark_ms),
                "shards": app.cores.shards(),
            });
            if let Some(next) = next {
                body["next"] = write_cursor(&next).into();
            }
            missing(&mut body, &answers.missing);
            return Ok(body);
        }
        ask.after = next;
    }
    unreachable!("the last round returns")
}

/// Appends the picked rows of a page up to the limit; returns where the next page begins.
fn pick(
    pipeline: &Pipeline,
    index: usize,
    ask: &Ask<'_>,
    page: &WindowsPage,
    rows: &mut Vec<serde_json::Value>,
) -> Result<Option<WindowCursor>, Problem> {
    let view = &pipeline.views[index];
    let stream = stream(pipeline, view);
    for (nth, row) in page.rows.iter().enumerate() {
        let unreadable = || Problem::internal("a shard gave a group that cannot be read");
        let group = group_values(view, stream, &row.group).ok_or_else(unreadable)?;
        let picked = |(position, kind, text): &(usize, FieldType, &str)| {
            Value::parse_text(*kind, text).is_ok_and(|wanted| wanted == group[*position])
        };
        let is_asked = ask.state.is_none_or(|state| state == row.state);
        if !is_asked || !ask.picks.iter().all(picked) {
            continue;
        }
        let mut object = Map::new();
        for (column, value) in view.group.iter().zip(&group) {
            object.insert(stream.column(*column).name.to_owned(), value.to_json());
        }
        for (column, value) in view.columns.iter().zip(&row.values) {
            object.insert(column.name.clone(), column_value(value));
        }
        object.insert("start_ms".to_owned(), row.start_ms.into());
        object.insert("end_ms".to_owned(), row.end_ms.into());
        object.insert("state".to_owned(), row.state.name().into());
        object.insert("revision".to_owned(), row.revision.into());
        rows.push(object.into());
        if rows.len() == ask.limit && nth + 1 < page.rows.len() {
            return Ok(Some(WindowCursor {
                start_ms: row.start_ms,
                end_ms: row.end_ms,
                group: row.group.clone(),
            }));
        }
    }
    Ok(page.next.clone())
}

/// `START.END.GROUP` with the group in hexadecimal.
fn write_cursor(cursor: &WindowCursor) -> String {
    format!(
        "{}.{}.{}",
        cursor.start_ms,
        cursor.end_ms,
        hex(&cursor.group)
    )
}

fn read_cursor(text: &str) -> Option<WindowCursor> {
    let (start, rest) = text.split_once('.')?;
    let (end, hex) = rest.split_once('.')?;
    let (start_ms, end_ms) = (start.parse().ok()?, end.parse().ok()?);
    if !hex.len().is_multiple_of(2) || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).ok();
    let group = (0..hex.len())
        .step_by(2)
        .map(byte)
        .collect::<Option<Vec<u8>>>()?;
    Some(WindowCursor {
        start_ms,
        end_ms,
        group,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_back_and_anything_else_is_refused() {
        let cursor = WindowCursor {
            start_ms: -60_000,
            end_ms: -1,
            group: vec![0, 255, 16],
        };
        assert_eq!(write_cursor(&cursor), "-60000.-1.00ff10");
        assert_eq!(read_cursor("-60000.-1.00ff10"), Some(cursor));
        assert_eq!(
            read_cursor("5.7."),
            Some(WindowCursor {
                start_ms: 5,
                end_ms: 7,
                group: Vec::new()
            })
        );
        for bad in [
            "",
            ".",
            "..",
            "5",
            "5.7",
            "x.7.00",
            "5.x.00",
            "5.7.0",
            "5.7.0g",
            "5.7.+1",
            "5.7.\u{e9}",
        ] {
            assert_eq!(read_cursor(bad), None, "{bad}");
        }
    }
}
