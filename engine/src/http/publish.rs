//! `POST /v1/streams/{stream}/events`: NDJSON in, stored events out.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State, rejection::PathRejection};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::Response;
use ringmill_shard::entry::ProducerId;
use ringmill_shard::pipeline::Stream;
use ringmill_shard::wire::check_producer_name;
use serde_json::{Value, json};

use super::ndjson::{Rows, read_rows};
use super::params::Params;
use super::problem::Problem;
use super::producers::{Confirmed, Turn};
use super::{App, lookup, path, reply};
use crate::control::{Publication, PublishError, Published, ReadError, Source};

/// Header that names a producer.
const PRODUCER: &str = "ringmill-producer";
/// Header with the sequence of the first line.
const SEQUENCE: &str = "ringmill-sequence";
/// Header with the epoch of the producer.
const EPOCH: &str = "ringmill-epoch";

/// A producer that numbers its events.
#[derive(Debug, PartialEq, Eq)]
struct Numbered {
    name: String,
    sequence: u64,
    /// 0: the epoch in force.
    epoch: u32,
}

/// A publication is carried through even if the client goes away: a task of its own keeps the
/// producer's turn until no row of it can still be sent.
pub(super) async fn post_events(
    State(app): State<Arc<App>>,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let index = lookup(
        "stream",
        &path(name)?,
        app.pipeline.streams.iter().map(|s| &*s.name),
    )?;
    let params = Params::read(&uri)?;
    let numbers_as_text = params.numbers_as_text;
    params.finish()?;
    let numbered = read_headers(&headers)?;
    app.refuse_if_draining()?;
    app.refuse_if_disk_full()?;
    let stream = &app.pipeline.streams[index];
    let rows = read_rows(body, &stream.schema, &app.limits.body, app.rows.share()).await?;
    let publishing = tokio::spawn({
        let app = Arc::clone(&app);
        async move {
            match numbered {
                Some(numbered) => publish_numbered(&app, index, rows, numbered).await,
                None => publish_anonymous(&app, index, rows).await,
            }
        }
    });
    let outcome = publishing
        .await
        .map_err(|_| unknown_outcome("the publication was cut off"))?;
    Ok(reply(outcome?, numbers_as_text))
}

fn read_headers(headers: &HeaderMap) -> Result<Option<Numbered>, Problem> {
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
        && encoding != "identity"
    {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-encoding",
            "The body is encoded in a way that is not supported",
            "send the body without Content-Encoding",
        ));
    }
    let read = |name: &str| match headers.get(name).map(|value| value.to_str()) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text.trim())),
        Some(Err(_)) => Err(bad_header(name, "is not plain text")),
    };
    let (producer, sequence, epoch) = (read(PRODUCER)?, read(SEQUENCE)?, read(EPOCH)?);
    let (name, sequence) = match (producer, sequence) {
        (Some(name), Some(sequence)) => (name, sequence),
        (None, None) if epoch.is_none() => return Ok(None),
        (None, _) => {
            return Err(bad_header(
                PRODUCER,
                "is missing beside the sequence or epoch",
            ));
        }
        (Some(_), None) => return Err(bad_header(SEQUENCE, "is missing beside the producer")),
    };
    if check_producer_name(name).is_err() {
        let rule = "is 1 to 64 letters, digits and any of `.`, `_`, `:` and `-`";
        return Err(bad_header(PRODUCER, rule));
    }
    let sequence = sequence.parse().ok().filter(|sequence| *sequence >= 1);
    let sequence = sequence.ok_or_else(|| bad_header(SEQUENCE, "is a number from 1"))?;
    let epoch = match epoch {
        None => 0,
        Some(text) => text
            .parse()
            .map_err(|_| bad_header(EPOCH, "is a number below 2^32"))?,
    };
    Ok(Some(Numbered {
        name: name.to_owned(),
        sequence,
        epoch,
    }))
}

fn bad_header(name: &str, rule: &str) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "bad-header",
        "A header of the request cannot be used",
        format!("the header `{name}` {rule}"),
    )
    .with("header", name)
}

async fn publish_anonymous(app: &App, index: usize, rows: Rows) -> Result<Value, Problem> {
    let (published, rows) = publish(app, index, rows, Source::Anonymous).await?;
    Ok(summary(&app.pipeline.streams[index], &published, &rows))
}

async fn publish_numbered(
    app: &App,
    index: usize,
    rows: Rows,
    numbered: Numbered,
) -> Result<Value, Problem> {
    let Numbered {
        name,
        sequence,
        epoch,
    } = numbered;
    let producer = ProducerId::of_name(&name).0;
    let count = rows.count as u64;
    let last = sequence.checked_add(count.saturating_sub(1));
    let last = last.ok_or_else(|| bad_header(SEQUENCE, "leaves no room for the lines"))?;
    let mut turn = app.producers.turn(producer).await?;
    let known = Known::ask(app, &name, epoch).await?;
    known.check(sequence, epoch)?;
    let epoch = known.epoch.max(epoch);
    known.confirm(epoch, &mut turn);
    let mut published = Published::default();
    let mut blame = rows;
    if count > 0 {
        let source = Source::Named {
            producer,
            epoch,
            first_sequence: sequence,
        };
        (published, blame) = publish(app, index, blame, source).await?;
        if sequence <= turn.through.saturating_add(1) {
            turn.through = turn.through.max(last);
        }
    }
    let mut body = summary(&app.pipeline.streams[index], &published, &blame);
    body["producer"] = name.into();
    body["epoch"] = epoch.into();
    body["last_sequence"] = if count > 0 { last } else { sequence - 1 }.into();
    body["durable_through"] = turn.through.into();
    Ok(body)
}

/// What the shards know of a producer.
struct Known {
    epoch: u32,
    /// Greatest sequence that a shard holds in that epoch.
    highest: u64,
    /// Least of the shards' last sequences: each took its rows in order, so all is stored up to it.
    lowest: u64,
    missing: Option<usize>,
}

impl Known {
    async fn ask(app: &App, name: &str, epoch: u32) -> Result<Known, Problem> {
        let told = app
            .cores
            .ask_all(name, epoch)
            .await
            .map_err(|error| match error {
                ReadError::ShardFailed { shard } => Problem::shard_failed(shard),
                ReadError::ShuttingDown => Problem::shutting_down(),
                ReadError::Timeout { .. } => {
                    Problem::overloaded("the shards did not answer in time; nothing was stored")
                }
            })?;
        let missing = told.missing.first().copied();
        let epoch = told
            .replies
            .iter()
            .map(|(_, tell)| tell.epoch)
            .max()
            .unwrap_or(0);
        let last = |(_, tell): &(usize, crate::message::ProducerTell)| {
            if tell.epoch == epoch {
                tell.last_sequence
            } else {
                0
            }
        };
        let lasts = || told.replies.iter().map(last);
        let highest = lasts().max().unwrap_or(0);
        let lowest = if missing.is_none() {
            lasts().min().unwrap_or(0)
        } else {
            0
        };
        Ok(Known {
            epoch,
            highest,
            lowest,
            missing,
        })
    }

    fn check(&self, sequence: u64, epoch: u32) -> Result<(), Problem> {
        if epoch != 0 && epoch < self.epoch {
            return Err(fenced(Some(self.epoch)));
        }
        let highest = if epoch > self.epoch { 0 } else { self.highest };
        if sequence <= highest.saturating_add(1) {
            return Ok(());
        }
        // The failed shard may hold what seems to be missing.
        if let Some(shard) = self.missing {
            return Err(unknown_outcome(&format!("shard {shard} has failed")).with("shard", shard));
        }
        let expected = highest + 1;
        Err(Problem::new(
            StatusCode::CONFLICT,
            "sequence-gap",
            "Events of the producer are missing",
            format!("the first line is {sequence}, but {expected} comes next; nothing was stored"),
        )
        .with("expected", expected)
        .with("sequence", sequence))
    }

    fn confirm(&self, epoch: u32, turn: &mut Turn) {
        if turn.epoch != epoch {
            **turn = Confirmed { epoch, through: 0 };
        }
        if self.epoch == epoch {
            turn.through = turn.through.max(self.lowest);
        }
    }
}

async fn publish(
    app: &App,
    index: usize,
    mut rows: Rows,
    source: Source,
) -> Result<(Published, Rows), Problem> {
    let bytes = std::mem::take(&mut rows.bytes);
    let publication = Publication {
        stream: index,
        source,
        rows: bytes,
    };
    match app.cores.publish(publication).await {
        Ok(published) => Ok((published, rows)),
        Err(PublishError::OutcomeUnknown { shard }) => {
            let why = format!("shard {shard} did not confirm its events");
            Err(unknown_outcome(&why).with("shard", shard))
        }
        Err(PublishError::TimedOut) => Err(unknown_outcome("the shards took too long")),
        Err(PublishError::DiskFull { .. }) => Err(app.disk_full()),
        Err(PublishError::IdsFull { shard }) => {
            Err(ids_full(&app.pipeline.streams[index].name, shard))
        }
        Err(PublishError::Fenced) => Err(fenced(None)),
        Err(PublishError::ShuttingDown) => Err(Problem::shutting_down()),
        Err(PublishError::Overloaded) => Err(Problem::overloaded(
            "no shard took the events in time; nothing was stored",
        )),
    }
}

fn unknown_outcome(why: &str) -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "outcome-unknown",
        "It is not known whether the events were stored",
        format!(
            "{why}; a retry with the same producer and sequence stores each event once, \
             without them it may store some twice"
        ),
    )
    .retry_after(5)
}

fn ids_full(stream: &str, shard: usize) -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "dedupe-full",
        "The memory that tells duplicates apart is full",
        format!(
            "the `memory` of `dedupe` of stream `{stream}` is full on shard {shard}: give it more, \
             or wait for its horizon; other shards may have stored their events, which a retry \
             with the same producer and sequence does not store twice"
        ),
    )
    .with("shard", shard)
    .retry_after(5)
}

fn fenced(epoch: Option<u32>) -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "fenced",
        "The producer has a newer epoch",
        "another instance of the producer has taken over; nothing more is taken from this one",
    )
    .with_some("epoch", epoch)
}

fn summary(stream: &Stream, published: &Published, rows: &Rows) -> Value {
    let first = published.first_rejected.map(|first| {
        json!({
            "line": rows.line(first.row),
            "field": first.field.and_then(|field| stream.schema.fields.get(field)).map(|f| &f.name),
            "reason": first.reason.map(|reason| reason.name()),
        })
    });
    json!({
        "stream": stream.name,
        "accepted": published.accepted,
        "duplicates": published.duplicates,
        "rejected": published.rejected,
        "first_rejected": first,
        "level": stream.durability.level().name(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn headers_come_together_or_not_at_all() {
        assert_eq!(read_headers(&headers(&[])).unwrap(), None);
        let full = headers(&[(PRODUCER, "till-7"), (SEQUENCE, "12"), (EPOCH, "3")]);
        let expected = Numbered {
            name: "till-7".to_owned(),
            sequence: 12,
            epoch: 3,
        };
        assert_eq!(read_headers(&full).unwrap(), Some(expected));
        for bad in [
            &[(PRODUCER, "a")][..],
            &[(SEQUENCE, "1")],
            &[(EPOCH, "1")],
            &[(PRODUCER, "a"), (SEQUENCE, "0")],
            &[(PRODUCER, "a"), (SEQUENCE, "-1")],
            &[(PRODUCER, "a"), (SEQUENCE, "18446744073709551616")],
            &[(PRODUCER, "a b"), (SEQUENCE, "1")],
            &[(PRODUCER, ""), (SEQUENCE, "1")],
            &[(PRODUCER, "a"), (SEQUENCE, "1"), (EPOCH, "4294967296")],
        ] {
            assert_eq!(
                read_headers(&headers(bad)).unwrap_err().name(),
                "bad-header",
                "{bad:?}"
            );
        }
        let zipped = headers(&[("content-encoding", "gzip")]);
        assert_eq!(
            read_headers(&zipped).unwrap_err().name(),
            "unsupported-encoding"
        );
    }
}
