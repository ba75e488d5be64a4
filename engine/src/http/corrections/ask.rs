//! What a correction asks for.

use std::sync::Arc;

use axum::http::StatusCode;
use ringmill_shard::dedupe::Layout;
use ringmill_shard::entry::{EventName, ProducerId};
use ringmill_shard::limits::CORRECTION_TEXT_BYTES_MAX;
use ringmill_shard::pipeline::{Pipeline, Stream};
use ringmill_shard::query::{Answer, Query};
use ringmill_shard::schema::FieldType;
use ringmill_shard::selection::{Selection, Wanted};
use ringmill_shard::value::Value;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::http::answers::ask_all;
use crate::http::problem::Problem;
use crate::http::{App, lookup};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    stream: String,
    select: Json,
    reason: String,
    author: String,
    #[serde(default)]
    dry_run: bool,
    id: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Select {
    event: Option<EventSelect>,
    key: Option<Json>,
    range: Option<Range>,
    #[serde(rename = "where")]
    filter: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventSelect {
    producer: Option<String>,
    producer_id: Option<String>,
    epoch: Option<u32>,
    sequence: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    from: Option<Json>,
    to: Option<Json>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Why {
    reason: String,
    author: String,
}

/// A correction that is asked for.
pub(super) struct Ask {
    pub(super) stream: usize,
    pub(super) wanted: Wanted,
    pub(super) filter: Option<String>,
    pub(super) reason: String,
    pub(super) author: String,
    pub(super) selector: String,
    pub(super) dry_run: bool,
    /// Of a correction that was cut off.
    pub(super) id: Option<u64>,
    /// Whether the epoch of the event is that which its producer has now.
    current_epoch: bool,
}

impl Ask {
    pub(super) fn read(pipeline: &Arc<Pipeline>, body: &[u8]) -> Result<Ask, Problem> {
        let body: Body = serde_json::from_slice(body).map_err(no_correction)?;
        let names = pipeline.streams.iter().map(|stream| &*stream.name);
        let index = lookup("stream", &body.stream, names)?;
        let stream = &pipeline.streams[index];
        let select: Select = serde_json::from_value(body.select.clone()).map_err(no_correction)?;
        let Select {
            event,
            key,
            range,
            filter,
        } = select;
        let is_named = event.is_some();
        let others = key.is_some() || range.is_some() || filter.is_some();
        if is_named == others {
            return Err(Problem::bad_request(
                "`select` has either `event`, or one or more of `key`, `range` and `where`",
            ));
        }
        let current_epoch = event.as_ref().is_some_and(|event| event.epoch.is_none());
        let range = range.unwrap_or(Range {
            from: None,
            to: None,
        });
        let key = key.map(|key| canonical(stream, stream.key, &key));
        let wanted = Wanted {
            event: event.map(event_name).transpose()?,
            field: key.transpose()?.map(|key| (stream.key, key)),
            from_ms: range.from.map(|from| time("from", &from)).transpose()?,
            to_ms: range.to.map(|to| time("to", &to)).transpose()?,
        };
        // Whether the condition can be read does not wait for the logs.
        Selection::new(pipeline, index, wanted.clone(), filter.as_deref(), &[])
            .map_err(|fault| Problem::bad_request(format!("`where`: {fault}")))?;
        let (reason, author) = why(body.reason, body.author)?;
        let selector = bounded("select", body.select.to_string())?;
        Ok(Ask {
            stream: index,
            wanted,
            filter,
            reason,
            author,
            selector,
            dry_run: body.dry_run,
            id: body.id,
            current_epoch,
        })
    }

    /// Takes the epoch that the producer has, if none was given.
    pub(super) async fn settle_epoch(&mut self, app: &App) -> Result<(), Problem> {
        let Some(EventName::Sequence {
            producer, epoch, ..
        }) = &mut self.wanted.event
        else {
            return Ok(());
        };
        if !self.current_epoch {
            return Ok(());
        }
        let answers = ask_all(
            app,
            &Query::Producer { id: *producer },
            |answer| match answer {
                Answer::Producer(view) => Some(view),
                _ => None,
            },
        )
        .await?;
        let views = answers.replies.into_iter().filter_map(|(_, view)| view);
        *epoch = views.map(|view| view.epoch).max().unwrap_or(0);
        Ok(())
    }

    pub(super) fn selection(
        &self,
        pipeline: &Arc<Pipeline>,
        older: &[Layout],
    ) -> Result<Selection, Problem> {
        let wanted = self.wanted.clone();
        Selection::new(pipeline, self.stream, wanted, self.filter.as_deref(), older)
            .map_err(|fault| Problem::bad_request(format!("`where`: {fault}")))
    }
}

/// Reason and author of an undo.
pub(super) fn read_why(body: &[u8]) -> Result<(String, String), Problem> {
    let body: Why = serde_json::from_slice(body).map_err(no_correction)?;
    why(body.reason, body.author)
}

fn why(reason: String, author: String) -> Result<(String, String), Problem> {
    for (name, text) in [("reason", &reason), ("author", &author)] {
        if text.trim().is_empty() {
            let detail = format!("a correction is never silent: `{name}` must not be empty");
            return Err(Problem::bad_request(detail));
        }
    }
    Ok((bounded("reason", reason)?, bounded("author", author)?))
}

fn bounded(name: &str, text: String) -> Result<String, Problem> {
    if text.len() > CORRECTION_TEXT_BYTES_MAX {
        let bytes = text.len();
        return Err(Problem::too_large(format!(
            "`{name}` has {bytes} bytes; at most {CORRECTION_TEXT_BYTES_MAX} are kept"
        )));
    }
    Ok(text)
}

fn no_correction(error: serde_json::Error) -> Problem {
    let example = json!({
        "stream": "finds",
        "select": { "key": 42 },
        "reason": "exploit 17",
        "author": "referee",
    });
    Problem::new(
        StatusCode::BAD_REQUEST,
        "bad-request",
        "The request is malformed",
        format!("the body is no correction: {error}; it looks like {example}"),
    )
}

fn event_name(event: EventSelect) -> Result<EventName, Problem> {
    let producer = match (event.producer, event.producer_id) {
        (Some(name), None) => ProducerId::of_name(&name).0,
        (None, Some(id)) => u128::from_str_radix(&id, 16).map_err(|_| {
            Problem::bad_request(format!("`producer_id`: `{id}` is no hexadecimal number"))
        })?,
        _ => {
            let detail = "`event` has either `producer`, its name, or `producer_id`";
            return Err(Problem::bad_request(detail));
        }
    };
    if event.sequence == 0 {
        return Err(Problem::bad_request("sequences begin with 1"));
    }
    Ok(EventName::Sequence {
        producer,
        epoch: event.epoch.unwrap_or(0),
        sequence: event.sequence,
    })
}

/// The canonical bytes of a field's value.
fn canonical(stream: &Stream, field: usize, given: &Json) -> Result<Vec<u8>, Problem> {
    let field = &stream.schema.fields[field];
    let text = match given {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    let value = Value::parse_text(field.kind, &text).map_err(|reason| {
        let detail = format!("`key`: `{text}` is no {} ({reason})", field.kind);
        Problem::bad_request(detail).with("field", &*field.name)
    })?;
    let mut bytes = Vec::new();
    value.write_canonical(&mut bytes);
    Ok(bytes)
}

/// A moment: ms since the epoch, or a date.
fn time(name: &str, given: &Json) -> Result<i64, Problem> {
    let text = match given {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    match Value::parse_text(FieldType::Time, &text) {
        Ok(Value::Time(ms)) => Ok(ms),
        _ => Err(Problem::bad_request(format!(
            "`{name}`: `{text}` is no time; write ms since the epoch or 2026-01-01T00:00:00Z"
        ))),
    }
}
