//! The boards of a stream, computed again from the seeds: plain maps, nothing shared with the
//! server but the schema.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use ringmill_shard::schema::Schema;
use ringmill_shard::value::Value;
use serde_json::Value as Json;

use super::Findings;
use super::http::{BoardInfo, Client, Pipeline};
use crate::error::LoadError;
use crate::rng::{SplitMix64, below};
use crate::rows::{RowPlan, RowSeed};

/// Rows of a board that are compared at once.
const TOP_ROWS: usize = ringmill_shard::limits::TOP_MAX;

/// How a score comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Sum(usize),
    Count,
    Best(usize),
}

/// A board, computed again.
struct Board {
    name: String,
    member: usize,
    rule: Rule,
    descending: bool,
    /// Score by canonical bytes of the member.
    scores: HashMap<Vec<u8>, i128>,
}

/// A stream, computed again.
pub(super) struct Model {
    schema: Schema,
    boards: Vec<Board>,
    /// Boards that are not repeated, and why.
    beyond: Vec<(String, &'static str)>,
    events: u64,
    row: Vec<u8>,
}

impl Model {
    pub(super) fn new(schema: Schema, stream: &str, pipeline: &Pipeline) -> Model {
        let mut boards = Vec::new();
        let mut beyond = Vec::new();
        for info in pipeline.boards.iter().filter(|board| board.from == stream) {
            match parse_board(&schema, info) {
                Ok(board) => boards.push(board),
                Err(reason) => beyond.push((info.board.clone(), reason)),
            }
        }
        let row = vec![0u8; schema.row_len()];
        Model {
            schema,
            boards,
            beyond,
            events: 0,
            row,
        }
    }

    /// Adds the events of one producer.
    pub(super) fn add(&mut self, plan: &RowPlan, seed: RowSeed, sequences: RangeInclusive<u64>) {
        for sequence in sequences {
            plan.write(&mut self.row, seed, sequence, 0);
            self.events += 1;
            for board in &mut self.boards {
                let member = self.schema.canonical_bytes(&self.row, board.member);
                let amount = match board.rule {
                    Rule::Count => Some(1),
                    Rule::Sum(field) | Rule::Best(field) => {
                        integer(self.schema.value(&self.row, field))
                    }
                };
                if let Some(amount) = amount {
                    board.add(member, amount);
                }
            }
        }
    }

    /// Compares boards and views with what the server holds.
    pub(super) fn compare(
        &self,
        client: &Client,
        stream: &str,
        pipeline: &Pipeline,
        sample: usize,
        findings: &mut Findings,
    ) -> Result<(), LoadError> {
        let accepted = client.stream(stream)?.accepted;
        if accepted != self.events {
            findings.skipped.push(format!(
                "stream {stream}: {accepted} events in all and {} of these producers; boards and \
                 views hold others too",
                self.events
            ));
            return Ok(());
        }
        for (name, reason) in &self.beyond {
            findings.skipped.push(format!("board {name}: {reason}"));
        }
        for board in &self.boards {
            board.compare_top(&self.schema, client, findings)?;
            board.compare_ranks(&self.schema, client, sample, findings)?;
        }
        for view in pipeline.views.iter().filter(|view| view.from == stream) {
            if view.filter.is_some() {
                let reason = format!("view {}: it has a `where`", view.view);
                findings.skipped.push(reason);
                continue;
            }
            let Some(column) = view.columns.iter().find(|column| column.value == "count()") else {
                findings
                    .skipped
                    .push(format!("view {}: it has no count() column", view.view));
                continue;
            };
            if !view.window.has_each_once() {
                findings.skipped.push(format!(
                    "view {}: not every event is in one window of its own",
                    view.view
                ));
                continue;
            }
            let total = client.column_total(&view.view, &column.name)?;
            let late = client.late(&view.view)?.unwrap_or_default();
            if total + late > accepted {
                findings.problems.push(format!(
                    "view {}: {total} events in windows and {late} late, of {accepted}",
                    view.view
                ));
            } else if total + late < accepted {
                findings.skipped.push(format!(
                    "view {}: {total} events in windows and {late} late, of {accepted}; the rest \
                     may be in windows that are no longer kept",
                    view.view
                ));
            }
        }
        Ok(())
    }
}

/// A board that can be computed again, or why it is not.
fn parse_board(schema: &Schema, info: &BoardInfo) -> Result<Board, &'static str> {
    if info.filter.is_some() {
        return Err("it does not take every event");
    }
    let Json::String(score) = &info.score else {
        return Err("it has several scores");
    };
    if !info.season.is_null() {
        return Err("its seasons depend on event times");
    }
    if !matches!(info.rank.as_str(), "ordinal" | "competition") {
        return Err("its rows are not numbered by place");
    }
    parse_score(schema, info, score)
        .ok_or("its score is more than a count or a field of every event")
}

fn parse_score(schema: &Schema, info: &BoardInfo, score: &str) -> Option<Board> {
    let (rule, direction) = score.rsplit_once(' ')?;
    let (name, field) = rule.strip_suffix(')')?.split_once('(')?;
    let integer_field = || {
        use ringmill_shard::schema::FieldType::{I64, U64};
        let field = schema.field(field)?;
        matches!(schema.fields[field].kind, I64 | U64).then_some(field)
    };
    let rule = match name {
        "count" => Rule::Count,
        "sum" => Rule::Sum(integer_field()?),
        "best" => Rule::Best(integer_field()?),
        _ => return None,
    };
    Some(Board {
        name: info.board.clone(),
        member: schema.field(&info.member)?,
        rule,
        descending: direction == "desc",
        scores: HashMap::new(),
    })
}

fn integer(value: Value<'_>) -> Option<i128> {
    match value {
        Value::U64(v) => Some(v.into()),
        Value::I64(v) => Some(v.into()),
        _ => None,
    }
}

impl Board {
    fn add(&mut self, member: &[u8], amount: i128) {
        match self.scores.get_mut(member) {
            None => {
                self.scores.insert(member.to_owned(), amount);
            }
            Some(score) => match self.rule {
                Rule::Sum(_) | Rule::Count => *score += amount,
                Rule::Best(_) if self.descending => *score = amount.max(*score),
                Rule::Best(_) => *score = amount.min(*score),
            },
        }
    }

    /// Scores from the best on.
    fn ranking(&self) -> Vec<i128> {
        let mut scores: Vec<i128> = self.scores.values().copied().collect();
        scores.sort_unstable();
        if self.descending {
            scores.reverse();
        }
        scores
    }

    /// A board has no null member: no bytes are the empty text.
    fn value<'b>(&self, schema: &Schema, bytes: &'b [u8]) -> Option<Value<'b>> {
        Value::from_canonical(schema.fields[self.member].kind, bytes)
    }

    fn by_json(&self, schema: &Schema) -> HashMap<String, i128> {
        let text = |bytes: &[u8]| {
            self.value(schema, bytes)
                .map(|value| value.to_json().to_string())
        };
        self.scores
            .iter()
            .filter_map(|(bytes, score)| Some((text(bytes)?, *score)))
            .collect()
    }

    fn compare_top(
        &self,
        schema: &Schema,
        client: &Client,
        findings: &mut Findings,
    ) -> Result<(), LoadError> {
        let page = client.top(&self.name, TOP_ROWS)?;
        let own = self.by_json(schema);
        let ranking = self.ranking();
        let problems = &mut findings.problems;
        if page.members != own.len() as u64 {
            let (have, want) = (page.members, own.len());
            problems.push(format!("board {}: {have} members, not {want}", self.name));
        }
        let rows = ranking.len().min(TOP_ROWS);
        if page.rows.len() != rows {
            let have = page.rows.len();
            problems.push(format!("board {}: {have} rows, not {rows}", self.name));
        }
        for (row, best) in page.rows.iter().zip(&ranking) {
            findings.members_compared += 1;
            let score = json_integer(&row.score);
            let expected = own.get(&row.member.to_string()).copied();
            // Ties may stand in either order: the score at a rank is fixed, its member is not.
            if score.is_none() || score != expected || score != Some(*best) {
                findings.scores_wrong += 1;
                if findings.scores_wrong <= PRINTED_MAX {
                    findings.problems.push(format!(
                        "board {}: rank {} is {} with {}; expected {} for it and {best} there",
                        self.name,
                        row.rank,
                        row.member,
                        row.score,
                        expected.map_or_else(|| "nothing".to_owned(), |score| score.to_string()),
                    ));
                }
            }
        }
        Ok(())
    }

    fn compare_ranks(
        &self,
        schema: &Schema,
        client: &Client,
        sample: usize,
        findings: &mut Findings,
    ) -> Result<(), LoadError> {
        let mut members: Vec<(&Vec<u8>, &i128)> = self.scores.iter().collect();
        members.sort_unstable();
        let ranking = self.ranking();
        let mut rng = SplitMix64::new(members.len() as u64);
        for _ in 0..sample.min(members.len()) {
            let (bytes, score) = members[below(rng.next_bits(), members.len() as u64) as usize];
            let Some(value) = self.value(schema, bytes) else {
                continue;
            };
            let text = match value {
                Value::Text(text) => text.to_owned(),
                other => other.to_json().to_string(),
            };
            findings.members_compared += 1;
            let is_better = |other: &i128| {
                if self.descending {
                    other > score
                } else {
                    other < score
                }
            };
            let better = ranking.partition_point(is_better) as u64;
            let ties = ranking
                .iter()
                .skip(better as usize)
                .take_while(|s| *s == score)
                .count();
            let row = client.rank(&self.name, &text)?;
            let fits = row.as_ref().is_some_and(|row| {
                json_integer(&row.score) == Some(*score)
                    && (better + 1..=better + ties as u64).contains(&row.rank)
            });
            if !fits {
                findings.scores_wrong += 1;
                let have = row.map_or_else(
                    || "nothing".to_owned(),
                    |row| format!("rank {} with {}", row.rank, row.score),
                );
                findings.problems.push(format!(
                    "board {}: {text} has {have}; expected rank {} with {score}",
                    self.name,
                    better + 1
                ));
            }
        }
        Ok(())
    }
}

/// Wrong scores that are printed one by one.
const PRINTED_MAX: u64 = 5;

/// An integer, as a number or as text.
fn json_integer(value: &Json) -> Option<i128> {
    match value {
        Json::Number(number) => number
            .as_i64()
            .map(i128::from)
            .or_else(|| number.as_u64().map(i128::from)),
        Json::String(text) => text.parse().ok(),
        _ => None,
    }
}
