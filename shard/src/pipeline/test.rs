//! `[[test]]`: events to send at moments of a virtual clock, and what the answers must be then.

mod correction;

use std::ops::Range;

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::limits::TOP_MAX;
use crate::pipeline::keys;
use crate::pipeline::problem::Report;
use crate::pipeline::section::{Section, as_table};
use crate::timestamp;

pub use correction::TestCorrection;

/// One `[[test]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    /// What it shows.
    pub name: String,
    /// The moment that its steps count from, ms since the epoch.
    pub start_ms: i64,
    /// Events, in the order of the file.
    pub sends: Vec<Send>,
    /// Corrections, in the order of the file.
    pub corrections: Vec<TestCorrection>,
    /// Expectations, in the order of the file.
    pub expects: Vec<Expect>,
}

/// One event of a test.
#[derive(Clone, Debug, PartialEq)]
pub struct Send {
    /// Line of the file.
    pub line: usize,
    /// When, in ms after the start of the test.
    pub at_ms: i64,
    /// Name of the stream.
    pub to: String,
    /// The event, as it would be posted.
    pub event: Map<String, Value>,
    /// Names the event: sent again under the same name, it is a retry.
    pub id: Option<String>,
    /// When it happened, in ms after it was sent; negative: before.
    pub happened_ms: i64,
    /// The reason for which it must be refused.
    pub refused: Option<String>,
}

/// One expectation of a test.
#[derive(Clone, Debug, PartialEq)]
pub struct Expect {
    /// Line of the file.
    pub line: usize,
    /// When, in ms after the start of the test; `None`: after the last event.
    pub at_ms: Option<i64>,
    /// What is asked.
    pub question: Question,
    /// The answer.
    pub is: Value,
}

/// What an expectation asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    /// Members and scores of a board, best first: all of them, or the first `n`.
    Top {
        /// The board.
        board: String,
        /// How many rows.
        n: Option<usize>,
    },
    /// The rank of a member; `"none"` if it is not on the board.
    Rank {
        /// The board.
        board: String,
        /// The member as it is written in a path.
        member: String,
    },
    /// All rows of a view.
    View(String),
    /// A counter of a stream: `finds.duplicates`.
    Counter {
        /// The stream.
        stream: String,
        /// Its counter, or the reason of a rejection.
        name: String,
    },
    /// The answer to a GET, of which `is` may be a part.
    Get(String),
}

/// The `[[test]]` blocks of a file.
pub(super) fn read_tests(report: &mut Report<'_>, root: &Section<'_, '_>) -> Vec<Test> {
    let mut tests = Vec::new();
    for (span, table) in tables(report, root, "test") {
        let path = "[[test]]".to_owned();
        let section = Section::open(report, path, span, table, &keys::TEST);
        tests.extend(read_test(report, &section));
    }
    tests
}

/// The tables in the list under `key`; anything else is reported.
fn tables<'d, 'i>(
    report: &mut Report<'_>,
    section: &Section<'d, 'i>,
    key: &str,
) -> Vec<(Range<usize>, &'d DeTable<'i>)> {
    let Some(value) = section.value(key) else {
        return Vec::new();
    };
    let DeValue::Array(items) = value.get_ref() else {
        section.wrong_type(
            report,
            key,
            value.span(),
            "a list of tables",
            value.get_ref(),
        );
        return Vec::new();
    };
    let what = format!("`{key}` in {}: an entry", section.path);
    let table = |item: &'d Spanned<DeValue<'i>>| {
        as_table(report, &what, item).map(|table| (item.span(), table))
    };
    items.iter().filter_map(table).collect()
}

fn read_test(report: &mut Report<'_>, section: &Section<'_, '_>) -> Option<Test> {
    let name = section.required_text(report, "name");
    let start = section.text(report, "start");
    let (text, span) = start.map_or((keys::TEST_START, section.span.clone()), |start| {
        (start.text, start.span)
    });
    let start_ms = timestamp::parse_ms(text);
    if start_ms.is_none() {
        report.add_hint(
            span,
            format!("`start` in [[test]]: `{text}` is no time"),
            format!("write it as \"{}\"", keys::TEST_START),
        );
    }
    let steps = tables(report, section, "send").into_iter();
    let (corrections, sends): (Vec<_>, Vec<_>) =
        steps.partition(|(_, table)| correction::is_correction(table));
    let sends: Vec<_> = sends
        .into_iter()
        .map(|(span, table)| read_send(report, span, table))
        .collect();
    let sends: Option<Vec<Send>> = sends.into_iter().collect();
    let known = sends.as_deref().unwrap_or_default();
    let corrections: Vec<_> = corrections
        .into_iter()
        .map(|(span, table)| correction::read(report, span, table, known))
        .collect();
    section.require(report, "expect");
    let expects = tables(report, section, "expect");
    let expects: Vec<_> = expects
        .into_iter()
        .map(|(span, table)| read_expect(report, span, table))
        .collect();
    Some(Test {
        name: name?.text.to_owned(),
        start_ms: start_ms?,
        sends: sends?,
        corrections: corrections.into_iter().collect::<Option<_>>()?,
        expects: expects.into_iter().collect::<Option<_>>()?,
    })
}

fn read_send(report: &mut Report<'_>, span: Range<usize>, table: &DeTable<'_>) -> Option<Send> {
    let line = report.line(span.start);
    let path = "`send` in [[test]]".to_owned();
    let section = Section::open(report, path, span, table, &keys::SEND);
    let at_ms = read_moment(report, &section, "at");
    section.require(report, "at");
    let to = section.required_text(report, "to");
    section.require(report, "event");
    let event = section
        .table(report, "event")
        .map(|(_, event)| object(event));
    let id = section.text(report, "id").map(|id| id.text.to_owned());
    let ago_ms = section.duration_ms(report, "ago", 0, 0);
    let ahead_ms = section.duration_ms(report, "ahead", 0, 0);
    let refused = section.text(report, "refused");
    Some(Send {
        line,
        at_ms: at_ms?,
        to: to?.text.to_owned(),
        event: event?,
        id,
        happened_ms: ahead_ms - ago_ms,
        refused: refused.map(|reason| reason.text.to_owned()),
    })
}

fn read_expect(report: &mut Report<'_>, span: Range<usize>, table: &DeTable<'_>) -> Option<Expect> {
    let line = report.line(span.start);
    let path = "`expect` in [[test]]".to_owned();
    let section = Section::open(report, path, span, table, &keys::EXPECT);
    let at_ms = read_moment(report, &section, "at");
    section.require(report, "is");
    let question = read_question(report, &section);
    Some(Expect {
        line,
        at_ms,
        question: question?,
        is: json(section.value("is")?.get_ref()),
    })
}

fn read_question(report: &mut Report<'_>, section: &Section<'_, '_>) -> Option<Question> {
    const KINDS: [&str; 5] = ["top", "rank", "view", "counter", "get"];
    let asked = KINDS
        .into_iter()
        .filter(|kind| section.value(kind).is_some());
    let [kind] = asked.collect::<Vec<_>>()[..] else {
        report.add_hint(
            section.span.clone(),
            format!("{} asks one thing", section.path),
            "give it one of `top`, `rank`, `view`, `counter`, `get`".to_owned(),
        );
        return None;
    };
    let text = section.text(report, kind)?;
    let named = text.text.to_owned();
    for (key, of) in [("n", "top"), ("member", "rank")] {
        if section.value(key).is_some() && kind != of {
            let message = format!("`{key}` in {} belongs to `{of}`", section.path);
            report.add(section.value(key)?.span(), message);
        }
    }
    Some(match kind {
        "top" => {
            let n = section.integer(report, "n").map(|(n, span)| {
                let n = usize::try_from(n)
                    .ok()
                    .filter(|n| (1..=TOP_MAX).contains(n));
                if n.is_none() {
                    let message = format!("`n` in {} is 1 to {TOP_MAX}", section.path);
                    report.add(span, message);
                }
                n
            });
            let n = n.map_or(Some(None), |n| n.map(Some))?;
            Question::Top { board: named, n }
        }
        "rank" => {
            section.require(report, "member")?;
            let member = match json(section.value("member")?.get_ref()) {
                Value::String(text) => text,
                other => other.to_string(),
            };
            Question::Rank {
                board: named,
                member,
            }
        }
        "view" => Question::View(named),
        "counter" => {
            let Some((stream, name)) = named.split_once('.') else {
                report.add_hint(
                    text.span,
                    format!("`counter` in {}: `{named}` is no counter", section.path),
                    "write the stream, a dot and the counter: `finds.duplicates`".to_owned(),
                );
                return None;
            };
            let (stream, name) = (stream.to_owned(), name.to_owned());
            Question::Counter { stream, name }
        }
        _ => Question::Get(named),
    })
}

/// A moment after the start of a test: ms as a number, or a duration.
fn read_moment(report: &mut Report<'_>, section: &Section<'_, '_>, key: &str) -> Option<i64> {
    let value = section.value(key)?;
    match value.get_ref() {
        DeValue::String(text) => section.parse_duration(report, key, text, value.span()),
        _ => {
            let (ms, span) = section.integer(report, key)?;
            let ms = i64::try_from(ms).ok().filter(|ms| *ms >= 0);
            let ms = ms.filter(|ms| *ms <= crate::limits::DURATION_MS_MAX);
            if ms.is_none() {
                report.add_hint(
                    span,
                    format!("`{key}` in {} is no moment of a test", section.path),
                    "write ms after its start, or a duration: 1500, \"90s\"".to_owned(),
                );
            }
            ms
        }
    }
}

fn object(table: &DeTable<'_>) -> Map<String, Value> {
    let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let key: &std::borrow::Cow<'_, str> = key.get_ref();
        (key.to_string(), json(value.get_ref()))
    };
    table.iter().map(entry).collect()
}

/// The value as JSON: dates become text; what no JSON number holds stays text too.
fn json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(number) => {
            let read = i128::from_str_radix(number.as_str(), number.radix()).ok();
            let signed = read.and_then(|number| i64::try_from(number).ok());
            let unsigned = read.and_then(|number| u64::try_from(number).ok());
            match (signed, unsigned) {
                (Some(number), _) => number.into(),
                (None, Some(number)) => number.into(),
                (None, None) => number.as_str().into(),
            }
        }
        DeValue::Float(number) => {
            let read = number.as_str().parse::<f64>().ok();
            let read = read.and_then(serde_json::Number::from_f64);
            read.map_or_else(|| number.as_str().into(), Value::Number)
        }
        DeValue::Boolean(value) => (*value).into(),
        DeValue::Datetime(moment) => moment.to_string().into(),
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Table(table) => Value::Object(object(table)),
    }
}
