//! Which events took effect: every event against all before it.

use super::{Datum, Recorded, number};
use crate::dedupe::{DuplicateCause, SEQUENCE_WINDOW};
use crate::pipeline::{DedupeMode, DedupeRule, Pipeline};
use crate::reject::RejectReason;
use std::collections::BTreeMap;

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It took effect.
    Accepted,
    /// It was refused.
    Rejected(RejectReason),
    /// It repeats one that took effect.
    Repeats(DuplicateCause),
}

/// An event that took effect, with its id.
struct Spent<'a> {
    stamp_ms: u64,
    sequence: i128,
    row: &'a [u8],
}

/// The events that took effect, by stream and name.
type Before<'a> = BTreeMap<(usize, Vec<String>), Vec<Spent<'a>>>;

/// What became of events that are sorted by their ties.
pub(super) fn fates(pipeline: &Pipeline, events: &[Recorded]) -> Vec<Fate> {
    let mut before = Before::new();
    let fate = |event| fate(pipeline, event, &mut before);
    events.iter().map(fate).collect()
}

fn fate<'a>(pipeline: &Pipeline, event: &'a Recorded, before: &mut Before<'a>) -> Fate {
    if let Some(reason) = event.reject(pipeline) {
        return Fate::Rejected(reason);
    }
    let stream = &pipeline.streams[event.stream];
    let Some(rule) = &stream.dedupe else {
        return Fate::Accepted;
    };
    let data = &event.event.data;
    let (name, sequence) = name_of(rule, &data[stream.key], data);
    let now = Spent {
        stamp_ms: event.tie.stamp_ns / 1_000_000,
        sequence,
        row: &event.event.row,
    };
    let before = before.entry((event.stream, name)).or_default();
    let fate = match rule.mode {
        DedupeMode::Sequence => by_sequence(before, &now),
        DedupeMode::Id { horizon_ms } => by_id(before, &now, horizon_ms),
    };
    if fate == Fate::Accepted {
        before.push(now);
    }
    fate
}

/// The labels of the key and of the id or source, and the sequence.
fn name_of(rule: &DedupeRule, key: &Datum, data: &[Datum]) -> (Vec<String>, i128) {
    let mut name = vec![key.label()];
    name.extend(rule.by.iter().map(|&field| data[field].label()));
    if rule.mode != DedupeMode::Sequence {
        return (name, 0);
    }
    name.pop();
    let last = rule.by[rule.by.len() - 1];
    (name, number(&data[last]))
}

fn by_sequence(before: &[Spent<'_>], now: &Spent<'_>) -> Fate {
    let highest = before.iter().map(|one| one.sequence).max();
    match highest {
        Some(highest) if highest - now.sequence >= i128::from(SEQUENCE_WINDOW) => {
            Fate::Repeats(DuplicateCause::Behind)
        }
        _ if before.iter().any(|one| one.sequence == now.sequence) => {
            Fate::Repeats(DuplicateCause::Sequence)
        }
        _ => Fate::Accepted,
    }
}

/// An id is remembered until the eighth of a horizon in which it was seen first lies eight behind.
fn by_id(before: &[Spent<'_>], now: &Spent<'_>, horizon_ms: i64) -> Fate {
    let eighth_ms = horizon_ms.unsigned_abs().div_ceil(8);
    let eighths = |stamp_ms: u64| stamp_ms / eighth_ms;
    let remembered = |one: &&Spent<'_>| eighths(now.stamp_ms) - eighths(one.stamp_ms) <= 8;
    match before.iter().find(remembered) {
        None => Fate::Accepted,
        Some(first) if first.row == now.row => Fate::Repeats(DuplicateCause::Id),
        Some(_) => Fate::Rejected(RejectReason::Conflict),
    }
}
