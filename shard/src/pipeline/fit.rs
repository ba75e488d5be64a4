//! What a pipeline means, as a canonical text, and whether it means the same on several shards.

use crate::pipeline::problem::Problem;
use crate::pipeline::{
    Aggregate, Board, Column, Computed, DedupeMode, DedupeRule, Durability, Pipeline, RankStyle,
    Retract, Score, ScoreRule, Season, Stream, Ties, TimeRule, View,
};
use crate::schema::Schema;

/// A canonical text of everything but `[engine]`: equal pipelines have equal texts. Fields are
/// named by their ids, which outlive their names, and computed columns by what they compute.
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

fn describe_stream(stream: &Stream, line: &mut dyn FnMut(String)) {
    let Stream {
        name,
        key,
        time,
        durability,
        dedupe,
        schema,
        computed,
        former: _,
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
    for (index, field) in schema.fields.iter().enumerate() {
        if let Some(limits) = schema.limits(index) {
            line(format!("limits {} {limits}", field.id));
        }
        if let Some(default) = schema.default_of(index) {
            line(format!("default {} {default}", field.id));
        }
    }
    for (Computed { name, .. }, meaning) in computed.iter().zip(meanings(stream)) {
        let name = name.as_deref().unwrap_or_default();
        line(format!("computed {name} = {meaning}"));
    }
}

/// What replay depends on: the memory only bounds what is taken in.
pub(super) fn describe_dedupe(rule: &DedupeRule, schema: &Schema) -> String {
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

/// What the computed columns of a stream compute, wherever they stand and whatever they are called:
/// digests, because a column that names others twice would double their texts.
fn meanings(stream: &Stream) -> Vec<String> {
    let mut meanings: Vec<String> = Vec::new();
    for Computed { expression, .. } in &stream.computed {
        let known = |column: usize| meanings[column].clone();
        let text = expression.describe(&stream.schema, &known);
        let digest = xxhash_rust::xxh3::xxh3_128(text.as_bytes());
        meanings.push(format!("computed {digest:032x}"));
    }
    meanings
}

/// A column by the id of its field, or by what it computes.
fn column_text(stream: &Stream, column: usize) -> String {
    let fields = &stream.schema.fields;
    match fields.get(column) {
        Some(field) => field.id.to_string(),
        None => meanings(stream).swap_remove(column - fields.len()),
    }
}

/// What a view computes, whatever it is called.
pub(super) fn view_meaning(pipeline: &Pipeline, view: &View) -> String {
    let nameless = View {
        name: String::new(),
        ..view.clone()
    };
    let of = &pipeline.streams[view.stream];
    text_of(|line| describe_view(&nameless, of, line))
}

/// What a board ranks, whatever it is called.
pub(super) fn board_meaning(pipeline: &Pipeline, board: &Board) -> String {
    let nameless = Board {
        name: String::new(),
        ..board.clone()
    };
    let of = &pipeline.streams[board.stream];
    text_of(|line| describe_board(&nameless, of, line))
}

fn text_of(describe: impl FnOnce(&mut dyn FnMut(String))) -> String {
    let mut out = String::new();
    describe(&mut |text| {
        out.push_str(&text);
        out.push('\n');
    });
    out
}

fn describe_filter(stream: &Stream, filter: Option<usize>, line: &mut dyn FnMut(String)) {
    if let Some(filter) = filter {
        line(format!("where {}", column_text(stream, filter)));
    }
}

fn describe_view(view: &View, of: &Stream, line: &mut dyn FnMut(String)) {
    let View {
        name,
        stream,
        filter,
        group,
        window,
        columns,
        retract,
    } = view;
    let group: Vec<String> = group.iter().map(|field| column_text(of, *field)).collect();
    let group = group.join(", ");
    line(format!("view {name} stream {stream} group [{group}]"));
    describe_filter(of, *filter, line);
    line(window.description());
    columns
        .iter()
        .for_each(|column| line(describe_column(column, of)));
    describe_retract(*retract, line);
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

fn describe_board(board: &Board, of: &Stream, line: &mut dyn FnMut(String)) {
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
        retract,
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
    describe_retract(*retract, line);
}

fn describe_retract(retract: Retract, line: &mut dyn FnMut(String)) {
    if retract != Retract::Refuse {
        line(format!("retract {}", retract.name()));
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

fn problem(message: String, hint: &str) -> Problem {
    Problem {
        line: 0,
        column: 0,
        message,
        hint: Some(hint.to_owned()),
    }
}
