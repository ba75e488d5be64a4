//! Whether a store that was written with one pipeline may be opened with another.

use crate::pipeline::duration::duration_text;
use crate::pipeline::problem::Problem;
use crate::pipeline::{
    Aggregate, Board, Column, Durability, Pipeline, Score, Stream, TimeRule, View,
};
use crate::schema::{Field, Schema};

/// A canonical text of everything but `[engine]`: equal pipelines have equal texts. Fields are
/// named by their ids, which outlive their names.
pub(super) fn describe(pipeline: &Pipeline) -> String {
    let mut out = String::from("ringmill-pipeline 1\n");
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    for Stream {
        name,
        key,
        time,
        durability,
        schema,
    } in &pipeline.streams
    {
        let TimeRule {
            field,
            disorder_ms,
            max_future_ms,
            idle_ms,
        } = *time;
        let id = |field: usize| schema.fields[field].id;
        let interval_ms = match durability {
            Durability::Interval { ms } => *ms,
            Durability::Memory | Durability::Written | Durability::Commit => 0,
        };
        line(format!("stream {name} key {} time {}", id(*key), id(field)));
        line(format!(
            "disorder {disorder_ms} max_future {max_future_ms} idle {idle_ms}"
        ));
        line(format!(
            "durability {} {interval_ms}",
            durability.level().name()
        ));
        line(schema.description());
    }
    for view in &pipeline.views {
        let View {
            name,
            stream,
            group,
            size_ms,
            late_ms,
            keep_ms,
            columns,
        } = view;
        let id = |field: usize| pipeline.streams[*stream].schema.fields[field].id;
        let group: Vec<u16> = group.iter().map(|field| id(*field)).collect();
        line(format!("view {name} stream {stream} group {group:?}"));
        line(format!("size {size_ms} late {late_ms} keep {keep_ms}"));
        columns
            .iter()
            .for_each(|column| line(describe_column(column, id)));
    }
    for Board {
        name,
        stream,
        member,
        score,
    } in &pipeline.boards
    {
        let id = |field: usize| pipeline.streams[*stream].schema.fields[field].id;
        let Score {
            rule,
            field,
            descending,
        } = *score;
        let (rule, field) = (rule.name(), field.map_or(0, id));
        line(format!(
            "board {name} stream {stream} member {}",
            id(*member)
        ));
        line(format!("score {rule} {field} descending {descending}"));
    }
    out
}

fn describe_column(column: &Column, id: impl Fn(usize) -> u16) -> String {
    let Column { name, aggregate } = column;
    let field = aggregate.field().map_or(0, id);
    let call = format!("column {name} {} {field}", aggregate.name());
    match aggregate {
        Aggregate::Distinct { within_ppm, .. } => format!("{call} within {within_ppm}"),
        Aggregate::Quantile {
            q_ppm, within_ppm, ..
        } => format!("{call} at {q_ppm} within {within_ppm}"),
        Aggregate::Top { k, .. } => format!("{call} values {k}"),
        _ => call,
    }
}

/// Streams are the log, which is never rewritten: they must agree. Views and boards are rebuilt
/// from the log and may differ.
pub(super) fn check(new: &Pipeline, stored: &Pipeline) -> Result<(), Vec<Problem>> {
    let mut problems = Vec::new();
    for (index, old) in stored.streams.iter().enumerate() {
        let place = new
            .streams
            .iter()
            .position(|stream| stream.name == old.name);
        match place {
            None => problems.push(problem(
                format!(
                    "the store has a stream `{}`, which the file lacks",
                    old.name
                ),
                "keep the stream, or open another data directory",
            )),
            Some(place) if place != index => problems.push(problem(
                format!(
                    "stream `{}` is number {} in the store and number {} in the file",
                    old.name,
                    index + 1,
                    place + 1
                ),
                "keep the order of the streams and add new ones behind them",
            )),
            Some(place) => check_stream(&new.streams[place], old, &mut problems),
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems)
    }
}

fn check_stream(new: &Stream, old: &Stream, problems: &mut Vec<Problem>) {
    let name = &old.name;
    if new.schema.id != old.schema.id {
        problems.push(problem(
            format!(
                "the fields of stream `{name}` differ from the store: {}",
                difference(new, old)
            ),
            "the fields of a store cannot change; open another data directory",
        ));
        return;
    }
    let field = |schema: &Schema, index: usize| schema.fields[index].name.clone();
    if new.key != old.key {
        let (stored, given) = (field(&old.schema, old.key), field(&new.schema, new.key));
        problems.push(problem(
            format!(
                "stream `{name}` is keyed by `{stored}` in the store, by `{given}` in the file"
            ),
            "the key of a store cannot change; open another data directory",
        ));
    }
    if new.time.field != old.time.field {
        let stored = field(&old.schema, old.time.field);
        let given = field(&new.schema, new.time.field);
        problems.push(problem(
            format!(
                "the time of stream `{name}` is `{stored}` in the store, `{given}` in the file"
            ),
            "the time field of a store cannot change; open another data directory",
        ));
    }
    if new.time.max_future_ms != old.time.max_future_ms {
        let stored = duration_text(old.time.max_future_ms);
        let given = duration_text(new.time.max_future_ms);
        problems.push(problem(
            format!(
                "`max_future` of stream `{name}` is {stored} in the store, {given} in the file; \
                 replay would judge events anew that were acknowledged"
            ),
            "keep the value of the store, or open another data directory",
        ));
    }
}

fn difference(new: &Stream, old: &Stream) -> String {
    let shown = |field: &Field| {
        let optional = if field.optional { ", optional" } else { "" };
        format!(
            "`{}` (id {}, {}{optional})",
            field.name, field.id, field.kind
        )
    };
    let missing = |from: &Schema, other: &Schema| {
        let key = |field: &Field| (field.id, field.name.clone(), field.kind, field.optional);
        let known: Vec<_> = other.fields.iter().map(key).collect();
        let only: Vec<String> = from
            .fields
            .iter()
            .filter(|field| !known.contains(&key(field)))
            .map(shown)
            .collect();
        if only.is_empty() {
            "nothing".to_owned()
        } else {
            only.join(", ")
        }
    };
    let stored = missing(&old.schema, &new.schema);
    let given = missing(&new.schema, &old.schema);
    format!("only the store has {stored}, only the file has {given}")
}

fn problem(message: String, hint: &str) -> Problem {
    Problem {
        line: 0,
        column: 0,
        message,
        hint: Some(hint.to_owned()),
    }
}
