//! Whether a store that was written with one pipeline may be opened with another.

use crate::pipeline::duration::duration_text;
use crate::pipeline::problem::Problem;
use crate::pipeline::{
    Aggregate, Board, Column, Computed, DedupeMode, DedupeRule, Durability, Pipeline, RankStyle,
    Score, ScoreRule, Season, Stream, Ties, TimeRule, View,
};
use crate::schema::{Field, Schema};

/// A canonical text of everything but `[engine]`: equal pipelines have equal texts. Fields are
/// named by their ids, which outlive their names, and computed columns by their place.
pub(super) fn describe(pipeline: &Pipeline) -> String {
    let mut out = String::from("ringmill-pipeline 1\n");
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    for stream in &pipeline.streams {
        describe_stream(stream, &mut line);
    }
    for view in &pipeline.views {
        describe_view(view, &pipeline.streams[view.stream], &mut line);
    }
    for board in &pipeline.boards {
        describe_board(board, &pipeline.streams[board.stream], &mut line);
    }
    out
}

fn describe_stream(stream: &Stream, line: &mut impl FnMut(String)) {
    let Stream {
        name,
        key,
        time,
        durability,
        dedupe,
        schema,
        computed,
    } = stream;
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
    if let Some(rule) = dedupe {
        line(format!(
            "{} memory {}",
            describe_dedupe(rule, schema),
            rule.memory_bytes
        ));
    }
    line(schema.description());
    for Computed { name, expression } in computed {
        let name = name.as_deref().unwrap_or_default();
        line(format!("computed {name} = {}", expression.describe(schema)));
    }
}

/// What replay depends on: the memory only bounds what is taken in.
fn describe_dedupe(rule: &DedupeRule, schema: &Schema) -> String {
    let by = rule
        .by
        .iter()
        .map(|&field| schema.fields[field].id.to_string());
    let by = by.collect::<Vec<_>>().join(", ");
    let mode = rule.mode.name();
    match rule.mode {
        DedupeMode::Sequence => format!("dedupe {mode} by [{by}]"),
        DedupeMode::Id { horizon_ms } => format!("dedupe {mode} by [{by}] horizon {horizon_ms}"),
    }
}

/// A column by the id of its field, or by its place among the computed ones.
fn column_text(stream: &Stream, column: usize) -> String {
    let fields = &stream.schema.fields;
    match fields.get(column) {
        Some(field) => field.id.to_string(),
        None => format!("computed {}", column - fields.len()),
    }
}

fn describe_filter(stream: &Stream, filter: Option<usize>, line: &mut impl FnMut(String)) {
    if let Some(filter) = filter {
        line(format!("where {}", column_text(stream, filter)));
    }
}

fn describe_view(view: &View, of: &Stream, line: &mut impl FnMut(String)) {
    let View {
        name,
        stream,
        filter,
        group,
        window,
        columns,
    } = view;
    let group: Vec<String> = group.iter().map(|field| column_text(of, *field)).collect();
    let group = group.join(", ");
    line(format!("view {name} stream {stream} group [{group}]"));
    describe_filter(of, *filter, line);
    line(window.description());
    columns
        .iter()
        .for_each(|column| line(describe_column(column, of)));
}

fn describe_column(column: &Column, of: &Stream) -> String {
    let Column { name, aggregate } = column;
    let argument = aggregate.field().map(|column| column_text(of, column));
    let argument = argument.unwrap_or_else(|| "0".to_owned());
    let call = format!("column {name} {} {argument}", aggregate.name());
    match aggregate {
        Aggregate::Distinct { within_ppm, .. } => format!("{call} within {within_ppm}"),
        Aggregate::Quantile {
            q_ppm, within_ppm, ..
        } => format!("{call} at {q_ppm} within {within_ppm}"),
        Aggregate::Top { k, .. } => format!("{call} values {k}"),
        _ => call,
    }
}

fn describe_board(board: &Board, of: &Stream, line: &mut impl FnMut(String)) {
    let Board {
        name,
        stream,
        filter,
        member,
        scores,
        ties,
        rank,
        season,
        split,
        splits,
        with,
    } = board;
    let member = column_text(of, *member);
    line(format!("board {name} stream {stream} member {member}"));
    describe_filter(of, *filter, line);
    for score in scores {
        let Score {
            rule,
            field,
            descending,
        } = *score;
        let argument = field.map(|column| column_text(of, column));
        let argument = argument.unwrap_or_else(|| "0".to_owned());
        let of = match rule {
            ScoreRule::MeanBest { n } => format!(" of {n}"),
            ScoreRule::Sum | ScoreRule::Best | ScoreRule::Latest => String::new(),
        };
        let rule = rule.name();
        line(format!(
            "score {rule} {argument}{of} descending {descending}"
        ));
    }
    if (*ties, *rank) != (Ties::FirstToReach, RankStyle::Ordinal) {
        line(format!("ties {} rank {}", ties.name(), rank.name()));
    }
    if let Some(Season {
        every,
        grace_ms,
        keep,
    }) = season
    {
        line(format!("season {every} grace {grace_ms} keep {keep}"));
    }
    let list = |columns: &[usize]| {
        let columns = columns.iter().map(|column| column_text(of, *column));
        columns.collect::<Vec<_>>().join(", ")
    };
    if !split.is_empty() {
        line(format!("split [{}] at most {splits}", list(split)));
    }
    if !with.is_empty() {
        line(format!("with [{}]", list(with)));
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

/// Different scores do not add up over shards.
pub(super) fn check_shards(pipeline: &Pipeline, shards: usize) -> Result<(), Problem> {
    let dense = |board: &&Board| board.rank == RankStyle::Dense;
    match pipeline.boards.iter().find(dense) {
        Some(board) if shards > 1 => Err(problem(
            format!(
                "[board.{}]: `dense` ranks need one shard, not {shards}: an equal score on two \
                 would count twice",
                board.name
            ),
            "use `competition`, or start with one shard",
        )),
        _ => Ok(()),
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
    check_dedupe(new, old, problems);
}

/// Replay tells duplicates apart again, which must not change what was acknowledged.
fn check_dedupe(new: &Stream, old: &Stream, problems: &mut Vec<Problem>) {
    let recorded = |stream: &Stream| {
        let rule = stream.dedupe.as_ref();
        rule.map(|rule| describe_dedupe(rule, &stream.schema))
    };
    if recorded(new) == recorded(old) {
        return;
    }
    let shown = |stream: &Stream| match &stream.dedupe {
        None => "none".to_owned(),
        Some(rule) => {
            let name = |&field: &usize| format!("`{}`", stream.schema.fields[field].name);
            let by: Vec<String> = rule.by.iter().map(name).collect();
            let horizon = match rule.mode {
                DedupeMode::Sequence => String::new(),
                DedupeMode::Id { horizon_ms } => format!(" for {}", duration_text(horizon_ms)),
            };
            format!("{} by {}{horizon}", rule.mode.name(), by.join(", "))
        }
    };
    problems.push(problem(
        format!(
            "`dedupe` of stream `{}` is {} in the store, {} in the file; replay would judge \
             events anew that were acknowledged",
            old.name,
            shown(old),
            shown(new)
        ),
        "keep the rule of the store, or open another data directory",
    ));
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
