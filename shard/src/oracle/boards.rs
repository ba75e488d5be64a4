//! Boards by the plain computation: every member's events, in the order in which they came.

use super::corrections::of_member;
use super::datum::Datum;
use super::expected::floats;
use super::operations::Outcome;
use super::windows::windows_of;
use super::worth::{Worth, best_of, is_better, mean};
use super::{Errors, Full, Oracle, compare, number};
use crate::merge::RankNumber;
use crate::pipeline::{Board, RankStyle, Retract, Score, ScoreRule, Season, Ties};
use crate::query::Scalar;
use crate::rank::Tie;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// A member on a board.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// Who.
    pub member: Datum,
    /// What each score is worth.
    pub worths: Vec<Worth>,
    /// When the scores were reached.
    pub tie: Tie,
    /// What is shown of its latest event.
    pub note: Vec<Datum>,
}

impl Place {
    /// As answers show them.
    pub fn scores(&self) -> Vec<Scalar> {
        self.worths.iter().map(Worth::scalar).collect()
    }
}

/// A split of a board, by its values.
#[derive(Debug)]
pub struct SplitTruth {
    /// One per column of the split.
    pub values: Vec<Datum>,
    /// All its members, best first.
    pub places: Vec<Place>,
}

/// A season of a board, or the whole of one without.
#[derive(Debug)]
pub struct SeasonTruth {
    /// Start and end, ms; `None` for a board without seasons.
    pub span: Option<(i64, i64)>,
    /// All members, best first.
    pub places: Vec<Place>,
    /// The same of the events with each value of the fields that the board is split by.
    pub splits: Vec<SplitTruth>,
    /// How often events were taken back or put back after it was final.
    pub corrected: u64,
}

impl Oracle<'_> {
    /// The seasons of a board that are kept at a watermark, by start, and how many events came
    /// after theirs was final.
    pub fn board(&self, board: &Board, watermark_ms: i64) -> (Vec<SeasonTruth>, u64) {
        let columns = columns(board);
        let (_, events) = self.passed(board.stream, board.filter, &[], &columns, board.retract);
        let Some(season) = &board.season else {
            return (vec![self.season_of(board, None, &events)], 0);
        };
        let (mut seasons, mut late) = (BTreeMap::<_, Vec<_>>::new(), 0);
        for event in events {
            let recorded = event.recorded;
            let span = windows_of(&season.every, recorded.time_ms(self.pipeline))[0];
            if is_final(season, span, recorded.watermark_ms) {
                late += u64::from(recorded.took_effect(board.retract));
            } else {
                seasons.entry(span).or_default().push(event);
            }
        }
        seasons.retain(|span, _| is_kept(season, *span, watermark_ms));
        let truth = |(span, events): (_, Vec<_>)| self.season_of(board, Some(span), &events);
        (seasons.into_iter().map(truth).collect(), late)
    }

    fn season_of(
        &self,
        board: &Board,
        span: Option<(i64, i64)>,
        events: &[Full<'_>],
    ) -> SeasonTruth {
        let mut splits: BTreeMap<String, (Vec<Datum>, Vec<Full<'_>>)> = BTreeMap::new();
        for event in events {
            let values = board
                .split
                .iter()
                .map(|&column| value(&event.columns[column]));
            let values: Vec<Datum> = values.collect();
            if !values.is_empty() && !values.contains(&Datum::Null) {
                let of_split = splits.entry(format!("{values:?}"));
                of_split.or_insert((values, Vec::new())).1.push(*event);
            }
        }
        let split = |(values, events): (Vec<Datum>, Vec<Full<'_>>)| SplitTruth {
            values,
            places: self.board_of(board, &events),
        };
        let splits = splits.into_values().map(split);
        SeasonTruth {
            span,
            corrected: span.map_or(0, |span| corrected(board, span, events)),
            places: self.board_of(board, events),
            splits: splits.filter(|split| !split.places.is_empty()).collect(),
        }
    }

    /// Errors of the expressions of a board.
    pub fn board_errors(&self, board: &Board) -> Errors {
        let columns = columns(board);
        let retract = board.retract;
        self.passed(board.stream, board.filter, &[], &columns, retract)
            .0
    }

    fn board_of(&self, board: &Board, events: &[Full<'_>]) -> Vec<Place> {
        let mut members: BTreeMap<String, Vec<Given<'_>>> = BTreeMap::new();
        for event in events {
            if let Some(scores) = all_given(board, event) {
                let member = event.value(board.member).label();
                members.entry(member).or_default().push((scores, *event));
            }
        }
        let is_key = board.is_kept_by_key(&self.pipeline.streams[board.stream]);
        let scored = members.into_values().filter_map(|events| {
            if board.retract == Retract::Exact {
                return of_member(board, &events);
            }
            let (worths, tie) = match is_key {
                true => in_order(board, &events),
                false => of_set(board, &events),
            };
            let latest = events[events.len() - 1].1;
            let note = board
                .with
                .iter()
                .map(|&column| value(&latest.columns[column]));
            Some(Place {
                member: latest.value(board.member).clone(),
                worths,
                tie,
                note: note.collect(),
            })
        });
        let mut places: Vec<_> = scored.collect();
        places.sort_by(|one, other| order(board, one, other));
        places
    }
}

/// The value of a column; null for an error.
fn value(outcome: &Outcome) -> Datum {
    outcome.clone().unwrap_or(Datum::Null)
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
pub(super) type Given<'a> = (Vec<Datum>, Full<'a>);

/// The columns that a board reads beside its member.
fn columns(board: &Board) -> Vec<usize> {
    let scores = board.scores.iter().filter_map(|score| score.field);
    let beside = board.split.iter().chain(&board.with).copied();
    scores.chain(beside).collect()
}

/// What an event gives all columns; `None` if it does not touch the board.
fn all_given(board: &Board, event: &Full<'_>) -> Option<Vec<Datum>> {
    let scores = board.scores.iter().map(|score| given(score, event));
    let scores: Option<Vec<Datum>> = scores.collect();
    scores.filter(|_| *event.value(board.member) != Datum::Null)
}

/// How often events of a season were taken back or put back after it was final.
fn corrected(board: &Board, span: (i64, i64), events: &[Full<'_>]) -> u64 {
    let Some(season) = &board.season else {
        return 0;
    };
    let given = events
        .iter()
        .filter(|event| all_given(board, event).is_some());
    let moves = given.flat_map(|event| event.recorded.moves(board.retract));
    moves
        .filter(|one| is_final(season, span, one.watermark_ms))
        .count() as u64
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
/// them; one that changes nothing, and is not among the best of a mean, keeps the tie.
fn in_order(board: &Board, events: &[Given<'_>]) -> (Vec<Worth>, Tie) {
    let (mut scores, mut tie) = (events[0].0.clone(), events[0].1.recorded.tie);
    let mut counted = vec![&events[0].0];
    for (values, event) in &events[1..] {
        let columns = board.scores.iter().zip(scores.iter().zip(values));
        let next: Option<Vec<_>> = columns
            .map(|(score, (now, value))| changed(score, now, value))
            .collect();
        let Some(next) = next else { continue };
        counted.push(values);
        let mut columns = board.scores.iter().enumerate();
        let moves = columns.any(|(at, score)| match score.rule {
            ScoreRule::MeanBest { n } => {
                best_of(score, n, &column(&counted, at)).contains(&(counted.len() - 1))
            }
            _ => next[at] != scores[at],
        });
        tie = if moves { event.recorded.tie } else { tie };
        scores = next;
    }
    let columns = board.scores.iter().zip(scores).enumerate();
    let worth = |(at, (score, value)): (usize, (&Score, Datum))| match score.rule {
        ScoreRule::MeanBest { n } => {
            let values = column(&counted, at);
            let best = best_of(score, n, &values).into_iter();
            mean(&best.map(|place| values[place]).collect::<Vec<_>>())
        }
        _ => Worth::Value(value),
    };
    (columns.map(worth).collect(), tie)
}

fn column<'d>(values: &[&'d Vec<Datum>], at: usize) -> Vec<&'d Datum> {
    values.iter().map(|values| &values[at]).collect()
}

/// A score behind an event, a mean aside; `None` if it would be beyond its type.
fn changed(score: &Score, now: &Datum, value: &Datum) -> Option<Datum> {
    match score.rule {
        ScoreRule::Sum => match (now, value) {
            (Datum::U64(a), Datum::U64(b)) => a.checked_add(*b).map(Datum::U64),
            (Datum::I64(a), Datum::I64(b)) => a.checked_add(*b).map(Datum::I64),
            (Datum::F64(a), Datum::F64(b)) => Some(Datum::F64(a + b)),
            _ => panic!("a sum of one type"),
        },
        ScoreRule::Best if is_better(score, value, now) => Some(value.clone()),
        ScoreRule::Best | ScoreRule::MeanBest { .. } => Some(now.clone()),
        ScoreRule::Latest => Some(value.clone()),
    }
}

/// Events of many shards: each column on its own, and what they make was reached when the last of
/// them was.
fn of_set(board: &Board, events: &[Given<'_>]) -> (Vec<Worth>, Tie) {
    let columns = board.scores.iter().enumerate().map(|(at, score)| {
        let values: Vec<_> = events
            .iter()
            .map(|(values, event)| (values[at].clone(), event.recorded.tie))
            .collect();
        let (value, tie) = match score.rule {
            ScoreRule::Sum => sum_of_set(&values),
            ScoreRule::Best => best(score, &values),
            ScoreRule::Latest => values.last().expect("a member has an event").clone(),
            ScoreRule::MeanBest { n } => return mean_of_set(score, n, &values),
        };
        (Worth::Value(value), tie)
    });
    let columns: Vec<_> = columns.collect();
    let tie = columns.iter().map(|(_, tie)| *tie).max();
    let worths = columns.into_iter().map(|(worth, _)| worth).collect();
    (worths, tie.expect("a board has a column"))
}

/// The mean of the best, which was reached when the last of them came.
fn mean_of_set(score: &Score, n: u16, scored: &[(Datum, Tie)]) -> (Worth, Tie) {
    let values: Vec<&Datum> = scored.iter().map(|(value, _)| value).collect();
    let best = best_of(score, n, &values);
    let tie = best.iter().map(|&place| scored[place].1).max();
    let values: Vec<&Datum> = best.into_iter().map(|place| values[place]).collect();
    (mean(&values), tie.expect("a member has an event"))
}

/// Whether a number leaves a sum as it is.
pub(super) fn is_zero(datum: &Datum) -> bool {
    matches!(datum, Datum::U64(0) | Datum::I64(0)) || matches!(datum, Datum::F64(v) if *v == 0.0)
}

/// The exact sum, held at the ends of its type; the tie is that of the last event that was not
/// zero, or of the first if all were.
pub(super) fn sum_of_set(scored: &[(Datum, Tie)]) -> (Datum, Tie) {
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

fn order(board: &Board, one: &Place, other: &Place) -> Ordering {
    for (at, score) in board.scores.iter().enumerate() {
        let ascending = one.worths[at].compare(&other.worths[at]);
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
        let worths = &places[at].worths;
        let equal = |place: &Place| place.worths == *worths;
        let first = places.iter().position(equal).expect("it is there");
        let mut better: Vec<_> = places[..first].iter().map(|place| &place.worths).collect();
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
