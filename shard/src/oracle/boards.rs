//! Boards by the plain computation: every member's events, in the order in which they came.

use super::datum::Datum;
use super::expected::floats;
use super::windows::windows_of;
use super::{Errors, Full, Oracle, compare, number, scalar};
use crate::merge::RankNumber;
use crate::pipeline::{Board, RankStyle, Score, ScoreRule, Season, Ties};
use crate::query::Scalar;
use crate::rank::Tie;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// A member on a board.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// Who.
    pub member: Datum,
    /// One per column.
    pub scores: Vec<Scalar>,
    /// When the scores were reached.
    pub tie: Tie,
}

/// A member with its scores, one per column.
struct Scored {
    member: Datum,
    scores: Vec<Datum>,
    tie: Tie,
}

/// A season of a board, or the whole of one without.
#[derive(Debug)]
pub struct SeasonTruth {
    /// Start and end, ms; `None` for a board without seasons.
    pub span: Option<(i64, i64)>,
    /// All members, best first.
    pub places: Vec<Place>,
}

impl Oracle<'_> {
    /// The seasons of a board that are kept at a watermark, by start, and how many events came
    /// after theirs was final.
    pub fn board(&self, board: &Board, watermark_ms: i64) -> (Vec<SeasonTruth>, u64) {
        let (_, events) = self.passed(board.stream, board.filter, &[], &columns(board));
        let Some(season) = &board.season else {
            let places = self.board_of(board, &events);
            return (vec![SeasonTruth { span: None, places }], 0);
        };
        let (mut seasons, mut late) = (BTreeMap::<_, Vec<_>>::new(), 0);
        for event in events {
            let recorded = event.recorded;
            let span = windows_of(&season.every, recorded.time_ms(self.pipeline))[0];
            if is_final(season, span, recorded.watermark_ms) {
                late += 1;
            } else {
                seasons.entry(span).or_default().push(event);
            }
        }
        seasons.retain(|span, _| is_kept(season, *span, watermark_ms));
        let truth = |(span, events): (_, Vec<_>)| SeasonTruth {
            span: Some(span),
            places: self.board_of(board, &events),
        };
        (seasons.into_iter().map(truth).collect(), late)
    }

    /// Errors of the expressions of a board.
    pub fn board_errors(&self, board: &Board) -> Errors {
        let columns = columns(board);
        self.passed(board.stream, board.filter, &[], &columns).0
    }

    fn board_of(&self, board: &Board, events: &[Full<'_>]) -> Vec<Place> {
        let mut members: BTreeMap<String, Vec<Given<'_>>> = BTreeMap::new();
        for event in events {
            let member = event.value(board.member);
            let scores = board.scores.iter().map(|score| given(score, event));
            let scores: Option<Vec<Datum>> = scores.collect();
            if let Some(scores) = scores.filter(|_| *member != Datum::Null) {
                let of_member = members.entry(member.label()).or_default();
                of_member.push((scores, *event));
            }
        }
        let is_key = board.member == self.pipeline.streams[board.stream].key;
        let scored = members.into_values().map(|events| {
            let (scores, tie) = match is_key {
                true => in_order(board, &events),
                false => of_set(board, &events),
            };
            let member = events[0].1.value(board.member).clone();
            Scored {
                member,
                scores,
                tie,
            }
        });
        let mut scored: Vec<_> = scored.collect();
        scored.sort_by(|one, other| order(board, one, other));
        let place = |scored: Scored| Place {
            scores: scored.scores.iter().map(scalar).collect(),
            member: scored.member,
            tie: scored.tie,
        };
        scored.into_iter().map(place).collect()
    }
}

/// Whether a season counts nothing any more.
pub fn is_final(season: &Season, (_, end_ms): (i64, i64), watermark_ms: i64) -> bool {
    watermark_ms != i64::MIN && end_ms + season.grace_ms <= watermark_ms
}

/// Whether fewer seasons behind this one are final than are kept.
fn is_kept(season: &Season, span: (i64, i64), watermark_ms: i64) -> bool {
    let (mut span, mut behind) = (span, 0);
    while is_final(season, span, watermark_ms) {
        if behind == season.keep {
            return false;
        }
        span = windows_of(&season.every, span.1)[0];
        behind += 1;
    }
    true
}

/// The scores of an event, and the event.
type Given<'a> = (Vec<Datum>, Full<'a>);

/// The columns that the scores of a board read.
fn columns(board: &Board) -> Vec<usize> {
    board
        .scores
        .iter()
        .filter_map(|score| score.field)
        .collect()
}

/// What an event gives a column; `None` if it has no value.
fn given(score: &Score, event: &Full<'_>) -> Option<Datum> {
    match score.field.map(|column| &event.columns[column]) {
        None => Some(Datum::U64(1)),
        Some(Ok(Datum::Null) | Err(_)) => None,
        Some(Ok(value)) => Some(value.clone()),
    }
}

/// A key's own events in order: one that would take a column beyond its type is left out of all of
/// them, one that changes nothing keeps the tie.
fn in_order(board: &Board, events: &[Given<'_>]) -> (Vec<Datum>, Tie) {
    let (mut scores, mut tie) = (events[0].0.clone(), events[0].1.recorded.tie);
    for (values, event) in &events[1..] {
        let columns = board.scores.iter().zip(scores.iter().zip(values));
        let next: Option<Vec<_>> = columns
            .map(|(score, (now, value))| changed(score, now, value))
            .collect();
        if let Some(next) = next
            && next != scores
        {
            (scores, tie) = (next, event.recorded.tie);
        }
    }
    (scores, tie)
}

/// A score behind an event; `None` if it would be beyond its type.
fn changed(score: &Score, now: &Datum, value: &Datum) -> Option<Datum> {
    match score.rule {
        ScoreRule::Sum => match (now, value) {
            (Datum::U64(a), Datum::U64(b)) => a.checked_add(*b).map(Datum::U64),
            (Datum::I64(a), Datum::I64(b)) => a.checked_add(*b).map(Datum::I64),
            (Datum::F64(a), Datum::F64(b)) => Some(Datum::F64(a + b)),
            _ => panic!("a sum of one type"),
        },
        ScoreRule::Best if is_better(score, value, now) => Some(value.clone()),
        ScoreRule::Best => Some(now.clone()),
        ScoreRule::Latest => Some(value.clone()),
    }
}

fn is_better(score: &Score, value: &Datum, than: &Datum) -> bool {
    let better = match score.descending {
        true => Ordering::Greater,
        false => Ordering::Less,
    };
    compare(value, than) == better
}

/// Events of many shards: each column on its own, and what they make was reached when the last of
/// them was.
fn of_set(board: &Board, events: &[Given<'_>]) -> (Vec<Datum>, Tie) {
    let columns = board.scores.iter().enumerate().map(|(at, score)| {
        let values: Vec<_> = events
            .iter()
            .map(|(values, event)| (values[at].clone(), event.recorded.tie))
            .collect();
        match score.rule {
            ScoreRule::Sum => sum_of_set(&values),
            ScoreRule::Best => best(score, &values),
            ScoreRule::Latest => values.last().expect("a member has an event").clone(),
        }
    });
    let columns: Vec<_> = columns.collect();
    let tie = columns.iter().map(|(_, tie)| *tie).max();
    let scores = columns.into_iter().map(|(score, _)| score).collect();
    (scores, tie.expect("a board has a column"))
}

/// The exact sum, held at the ends of its type; the tie is that of the last event that was not
/// zero, or of the first if all were.
fn sum_of_set(scored: &[(Datum, Tie)]) -> (Datum, Tie) {
    let is_zero = |datum: &Datum| {
        matches!(datum, Datum::U64(0) | Datum::I64(0))
            || matches!(datum, Datum::F64(v) if *v == 0.0)
    };
    let moving = scored
        .iter()
        .filter(|(value, _)| !is_zero(value))
        .map(|&(_, tie)| tie)
        .max();
    let tie = moving.unwrap_or(scored[0].1);
    let integers = || scored.iter().map(|(value, _)| number(value)).sum::<i128>();
    let sum = match scored[0].0 {
        Datum::U64(_) => Datum::U64(integers().clamp(0, i128::from(u64::MAX)) as u64),
        Datum::I64(_) => {
            Datum::I64(integers().clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64)
        }
        Datum::F64(_) => Datum::F64(floats(scored.iter().map(|(value, _)| value))),
        _ => panic!("a sum of numbers"),
    };
    (sum, tie)
}

fn best(score: &Score, scored: &[(Datum, Tie)]) -> (Datum, Tie) {
    let mut found = scored[0].clone();
    for (value, tie) in &scored[1..] {
        if is_better(score, value, &found.0) {
            found = (value.clone(), *tie);
        }
    }
    found
}

fn order(board: &Board, one: &Scored, other: &Scored) -> Ordering {
    for (at, score) in board.scores.iter().enumerate() {
        let ascending = compare(&one.scores[at], &other.scores[at]);
        let order = match score.descending {
            true => ascending.reverse(),
            false => ascending,
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    match board.ties {
        Ties::FirstToReach => one.tie.cmp(&other.tie),
        Ties::LastToReach => other.tie.cmp(&one.tie),
        Ties::Member | Ties::Shared => compare_members(&one.member, &other.member),
    }
}

fn compare_members(one: &Datum, other: &Datum) -> Ordering {
    match (one, other) {
        (Datum::Text(a), Datum::Text(b)) => a.cmp(b),
        (Datum::Uuid(a), Datum::Uuid(b)) => a.cmp(b),
        (Datum::Bool(a), Datum::Bool(b)) => a.cmp(b),
        _ => compare(one, other),
    }
}

/// The numbers of all rows.
pub fn numbers(places: &[Place], style: RankStyle) -> Vec<RankNumber> {
    let number = |at: usize| {
        let scores = &places[at].scores;
        let equal = |place: &Place| place.scores == *scores;
        let first = places.iter().position(equal).expect("it is there");
        let mut better: Vec<_> = places[..first].iter().map(|place| &place.scores).collect();
        better.dedup();
        match style {
            RankStyle::Ordinal => RankNumber::Place(at as u64 + 1),
            RankStyle::Competition => RankNumber::Place(first as u64 + 1),
            RankStyle::Dense => RankNumber::Place(better.len() as u64 + 1),
            RankStyle::Percentile => {
                let no_better = (places.len() - first) as f64;
                RankNumber::Percent(no_better * 100.0 / places.len() as f64)
            }
        }
    };
    (0..places.len()).map(number).collect()
}
