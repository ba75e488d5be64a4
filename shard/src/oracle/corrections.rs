//! Events that were taken back and put back: what is left of them, and when it changed.

use super::Recorded;
use super::boards::{Given, Place, is_zero, sum_of_set};
use super::worth::Worth;
use crate::pipeline::{Board, Retract};
use crate::rank::Tie;

/// What corrections did to an event.
#[derive(Debug, Clone, Default)]
pub struct Corrected {
    /// Whether it was taken back before it came.
    pub annulled: bool,
    /// Whether it is away in the end.
    pub away: bool,
    /// Each time that it was taken back or put back. One that was taken back before it came is put
    /// back as of when it came.
    pub moves: Vec<Move>,
}

/// A moment in which an event was taken back or put back.
#[derive(Debug, Clone, Copy)]
pub struct Move {
    /// Its place in the order of all events.
    pub tie: Tie,
    /// The watermark in effect, ms.
    pub watermark_ms: i64,
}

impl Recorded {
    /// Whether it is counted in the end.
    pub(super) fn is_there(&self, retract: Retract) -> bool {
        retract != Retract::Exact || !self.corrected.away
    }

    /// Whether it was counted when it came.
    pub(super) fn took_effect(&self, retract: Retract) -> bool {
        retract != Retract::Exact || !self.corrected.annulled
    }

    /// Whether it was ever counted.
    pub(super) fn was_counted(&self, retract: Retract) -> bool {
        self.took_effect(retract) || !self.corrected.moves.is_empty()
    }

    /// When it was taken back or put back.
    pub(super) fn moves(&self, retract: Retract) -> &[Move] {
        match retract {
            Retract::Exact => &self.corrected.moves,
            Retract::Refuse | Retract::Ignore => &[],
        }
    }
}

/// A member of a board that follows corrections; `None` if nothing of it is left. Its scores were
/// reached with the last event or correction that changed one of them.
pub(super) fn of_member(board: &Board, events: &[Given<'_>]) -> Option<Place> {
    let there: Vec<_> = events
        .iter()
        .filter(|(_, event)| event.recorded.is_there(board.retract))
        .collect();
    let (_, one) = there.first()?;
    let mut worths = Vec::new();
    let mut tie = None;
    for at in 0..board.scores.len() {
        let values: Vec<_> = there
            .iter()
            .map(|(values, event)| (values[at].clone(), event.recorded.tie))
            .collect();
        worths.push(Worth::Value(sum_of_set(&values).0));
        let ever = |(values, event): &Given<'_>| (!is_zero(&values[at]), event.recorded.tie);
        let moved = events.iter().filter(|given| ever(given).0);
        let moments = moved.flat_map(|given| {
            let moves = given.1.recorded.moves(board.retract);
            moves
                .iter()
                .map(|one| one.tie)
                .chain([given.1.recorded.tie])
        });
        let first = events.iter().map(|(_, event)| event.recorded.tie).min();
        tie = tie.max(moments.max().or(first));
    }
    Some(Place {
        member: one.value(board.member).clone(),
        worths,
        tie: tie?,
        note: Vec::new(),
    })
}
