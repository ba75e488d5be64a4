//! From a query to the typed answers of the shards.

use ringmill_shard::merge::{ColumnValue, Frequent};
use ringmill_shard::query::{Answer, Query, Scalar};
use serde_json::{Value, json};

use super::App;
use super::problem::Problem;
use crate::control::{ReadError, Replies};

/// Asks every shard; `pick` takes the kind of answer that the query has.
pub(super) async fn ask_all<T>(
    app: &App,
    query: &Query,
    pick: impl Fn(Answer) -> Option<T>,
) -> Result<Replies<T>, Problem> {
    let all = app
        .cores
        .query_all(query.to_bytes().to_vec())
        .await
        .map_err(read_problem)?;
    // Without any shard there is no answer at all, and an empty one would look like one.
    if let (true, Some(&shard)) = (all.replies.is_empty(), all.missing.first()) {
        return Err(Problem::shard_failed(shard));
    }
    let replies = all
        .replies
        .into_iter()
        .map(|(shard, bytes)| Ok((shard, decode(&bytes, &pick)?)));
    Ok(Replies {
        replies: replies.collect::<Result<_, Problem>>()?,
        missing: all.missing,
    })
}

/// Asks one shard.
pub(super) async fn ask_one<T>(
    app: &App,
    shard: usize,
    query: &Query,
    pick: impl Fn(Answer) -> Option<T>,
) -> Result<T, Problem> {
    let bytes = app.cores.query_one(shard, query.to_bytes().to_vec()).await;
    decode(&bytes.map_err(read_problem)?, &pick)
}

fn decode<T>(bytes: &[u8], pick: impl Fn(Answer) -> Option<T>) -> Result<T, Problem> {
    let answer = Answer::from_bytes(bytes).ok().and_then(pick);
    answer.ok_or_else(|| Problem::internal("a shard gave an answer that cannot be read"))
}

fn read_problem(error: ReadError) -> Problem {
    match error {
        ReadError::ShardFailed { shard } => Problem::shard_failed(shard),
        ReadError::Timeout { shard } => {
            Problem::overloaded(format!("shard {shard} did not answer in time"))
        }
        ReadError::ShuttingDown => Problem::shutting_down(),
    }
}

/// Names the shards whose part an answer lacks; a whole answer does not mention them.
pub(super) fn missing(body: &mut Value, shards: &[usize]) {
    if !shards.is_empty() {
        body["missing_shards"] = shards.to_vec().into();
    }
}

/// The JSON form of a number. Sums beyond 64 bits are text, sums beyond their type `"overflow"`.
pub(crate) fn scalar(scalar: &Scalar) -> Value {
    match (scalar.value(), scalar) {
        (Some(value), _) => value.to_json(),
        (None, Scalar::Wide(wide)) => wide.to_string().into(),
        (None, _) => "overflow".into(),
    }
}

/// The JSON form of a column. What may be off has its error beside it.
pub(super) fn column_value(column: &ColumnValue) -> Value {
    match column {
        ColumnValue::Number(number) => scalar(number),
        ColumnValue::Value(value) => value.as_value().to_json(),
        ColumnValue::Estimate { value, error } => {
            json!({ "value": scalar(value), "error": scalar(error) })
        }
        ColumnValue::Frequent {
            values,
            others_at_most,
        } => {
            let frequent = |one: &Frequent| {
                json!({
                    "value": one.value.as_value().to_json(),
                    "count": one.count,
                    "error": one.error,
                })
            };
            json!({
                "values": values.iter().map(frequent).collect::<Vec<_>>(),
                "others_at_most": others_at_most,
            })
        }
    }
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    bytes
        .iter()
        .for_each(|byte| text.push_str(&format!("{byte:02x}")));
    text
}

/// A watermark; null while there is none.
pub(super) fn watermark(watermark_ms: i64) -> Value {
    if watermark_ms == i64::MIN {
        Value::Null
    } else {
        watermark_ms.into()
    }
}
