//! The steps of a test in the order of its clock.

use std::collections::HashMap;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use ringmill_shard::limits::TOP_MAX;
use ringmill_shard::pipeline::{Expect, Pipeline, Question, Send, Test, TestCorrection};
use serde_json::{Value, json};

use super::correction::{Made, correct};
use super::matches::matches;
use crate::stage::Stage;

/// Rows of an answer that are shown when it is wrong.
const SHOWN_BYTES_MAX: usize = 2_000;

/// Which events of a stream were sent under which name: its producer's sequences.
#[derive(Default)]
struct Sequences {
    last: u64,
    by_id: HashMap<String, u64>,
}

impl Sequences {
    fn of(&mut self, id: Option<&String>) -> u64 {
        if let Some(&known) = id.and_then(|id| self.by_id.get(id)) {
            return known;
        }
        self.last += 1;
        if let Some(id) = id {
            self.by_id.insert(id.clone(), self.last);
        }
        self.last
    }
}

enum Step<'t> {
    Send(&'t Send),
    Correct(&'t TestCorrection),
    Expect(&'t Expect),
}

/// Plays a test; every expectation that was not met, and every event that went another way.
pub(super) async fn play(stage: &mut Stage, pipeline: &Pipeline, test: &Test) -> Vec<String> {
    let corrections = test.corrections.iter();
    let moments = test.sends.iter().map(|send| send.at_ms);
    let moments = moments.chain(corrections.clone().map(|step| step.at_ms));
    let end_ms = moments.max().unwrap_or(0);
    let corrections = corrections.map(|step| (step.at_ms, Step::Correct(step)));
    let sends = test.sends.iter().map(|send| (send.at_ms, Step::Send(send)));
    let expects = test.expects.iter();
    let expects = expects.map(|e| (e.at_ms.unwrap_or(i64::MAX), Step::Expect(e)));
    let mut steps: Vec<_> = sends.chain(corrections).chain(expects).collect();
    // Of one moment, events come before what is done to them and expected of them.
    steps.sort_by_key(|(at_ms, _)| *at_ms);
    let numbered = number(&steps);
    let mut numbers = numbered.sends.into_iter();
    let mut made = Made::new();
    let mut failures = Vec::new();
    for (at_ms, step) in steps {
        stage.advance_to(if at_ms == i64::MAX { end_ms } else { at_ms });
        let (line, outcome) = match step {
            Step::Send(step) => {
                let number = numbers.next().unwrap_or_default();
                (step.line, send(stage, pipeline, step, number).await)
            }
            Step::Correct(step) => {
                let event = numbered.by_id.get(&*step.id).copied().unwrap_or_default();
                (step.line, correct(stage, step, event, &mut made).await)
            }
            Step::Expect(step) => (step.line, expect(stage, step).await),
        };
        if let Err(failure) = outcome {
            failures.push(format!("line {line}: {failure}"));
        }
    }
    failures
}

/// The producer of an event: each has one of its own, whose sequence it begins. So one that is no
/// event leaves no gap before the next, and the same event again is a retry.
pub(super) fn producer_of(stream: &str, number: u64) -> String {
    format!("test-{stream}-{number}")
}

/// The numbers of all events, in the order of the steps.
#[derive(Default)]
struct Numbered<'t> {
    sends: Vec<u64>,
    /// Stream and number of the events with an id, also before they are sent.
    by_id: HashMap<&'t str, (&'t str, u64)>,
}

fn number<'t>(steps: &[(i64, Step<'t>)]) -> Numbered<'t> {
    let mut streams: HashMap<&str, Sequences> = HashMap::new();
    let mut numbered = Numbered::default();
    for (_, step) in steps {
        if let Step::Send(step) = step {
            let number = streams.entry(&step.to).or_default().of(step.id.as_ref());
            numbered.sends.push(number);
            if let Some(id) = &step.id {
                numbered.by_id.insert(id, (&step.to, number));
            }
        }
    }
    numbered
}

async fn send(
    stage: &mut Stage,
    pipeline: &Pipeline,
    step: &Send,
    number: u64,
) -> Result<(), String> {
    let mut event = step.event.clone();
    if let Some(index) = pipeline.stream(&step.to) {
        let stream = &pipeline.streams[index];
        let time = &stream.schema.fields[stream.time.field].name;
        let happened_ms = stage.wall_ms() + step.happened_ms;
        event.entry(time.clone()).or_insert(happened_ms.into());
    }
    let request = Request::post(format!("/v1/streams/{}/events", step.to))
        .header("ringmill-producer", producer_of(&step.to, number))
        .header("ringmill-sequence", 1)
        .body(Body::from(Value::Object(event).to_string()));
    let request = request.map_err(|error| format!("`to`: {error}"))?;
    let (status, answer) = stage.ask(request).await;
    let reason = match (&answer["first_rejected"]["reason"], status) {
        (Value::String(reason), _) => Some(reason.as_str()),
        (_, StatusCode::OK) => None,
        (_, _) => Some(answer["reason"].as_str().unwrap_or("refused")),
    };
    match (&step.refused, reason) {
        (None, None) => Ok(()),
        (Some(wanted), Some(found)) if wanted == found => Ok(()),
        (None, Some(_)) => Err(format!("the event was refused: {answer}")),
        (Some(wanted), None) => Err(format!("the event was not refused as `{wanted}`: {answer}")),
        (Some(wanted), Some(found)) => Err(format!(
            "the event was refused as `{found}`, not as `{wanted}`: {answer}"
        )),
    }
}

async fn expect(stage: &mut Stage, step: &Expect) -> Result<(), String> {
    let path = match &step.question {
        Question::Top { board, n } => {
            let n = n.unwrap_or(TOP_MAX);
            let (board, more) = with_parameters(board);
            format!("/v1/boards/{board}/top?n={n}{more}")
        }
        Question::Rank { board, member } => {
            let (board, more) = with_parameters(board);
            let more = more.replacen('&', "?", 1);
            format!("/v1/boards/{board}/rank/{}{more}", escape(member))
        }
        Question::View(view) => {
            let mark = if view.contains('?') { '&' } else { '?' };
            format!("/v1/views/{view}{mark}limit={TOP_MAX}")
        }
        Question::Counter { stream, .. } => format!("/v1/streams/{stream}"),
        Question::Get(path) => path.clone(),
    };
    let request = Request::get(&path).body(Body::empty());
    let request = request.map_err(|error| format!("`{path}`: {error}"))?;
    let (status, answer) = stage.ask(request).await;
    let unknown_member = matches!(step.question, Question::Rank { .. })
        && answer["type"]
            .as_str()
            .is_some_and(|kind| kind.ends_with("unknown-member"));
    if status != StatusCode::OK && !unknown_member && !matches!(step.question, Question::Get(_)) {
        return Err(format!("{path} gives {status}: {answer}"));
    }
    let found = match &step.question {
        Question::Top { .. } => rows(&answer)
            .map(|row| json!([row["member"], row["score"]]))
            .collect(),
        // TOML has no null to expect.
        Question::Rank { .. } if unknown_member => "none".into(),
        Question::Rank { .. } => answer["rank"].clone(),
        Question::View(_) => answer["rows"].clone(),
        Question::Counter { name, .. } => counter(&answer, name),
        Question::Get(_) => answer,
    };
    if matches(&step.is, &found) {
        return Ok(());
    }
    let (wanted, found) = (step.is.to_string(), found.to_string());
    let shown = found
        .get(..SHOWN_BYTES_MAX)
        .map_or(found.clone(), |head| format!("{head}..."));
    Err(format!("{path}\nexpected {wanted}\nfound    {shown}"))
}

fn rows(answer: &Value) -> impl Iterator<Item = &Value> {
    answer["rows"].as_array().into_iter().flatten()
}

/// A figure of a stream, or the number of rejections for a reason or of duplicates by a cause.
fn counter(stream: &Value, name: &str) -> Value {
    let figures = [
        &stream[name],
        &stream["rejected_by_reason"][name],
        &stream["duplicates_by_cause"][name],
    ];
    let known = figures.into_iter().find(|figure| !figure.is_null());
    known.cloned().unwrap_or(0.into())
}

/// `daily?region=north`: the board, and its parameters as they stand behind others.
fn with_parameters(board: &str) -> (&str, String) {
    match board.split_once('?') {
        Some((board, more)) => (board, format!("&{more}")),
        None => (board, String::new()),
    }
}

/// A member as a path segment.
fn escape(member: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let byte = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    member.bytes().map(byte).collect()
}
