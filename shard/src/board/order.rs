//! What a board orders its members by: the words of its order keys.

use super::score::ScorePlan;
use crate::aggregate::Number;
use crate::pipeline::{Board, Stream, Ties};
use crate::query::Scalar;
use crate::rank::{OrderKey, Tie};
use crate::schema::FieldType;
use crate::table::KeyTable;

/// What decides between equal scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decider {
    /// The moment in which the score was reached; with all ones the later one is better.
    Moment { flip: u64 },
    /// The member's value.
    Number(Number),
    /// The member's first 16 bytes, which are all of them.
    Bytes,
    /// The member's first 8 bytes; then all of them, which only its name has.
    Text,
}

/// Score columns and tie rule, compiled.
#[derive(Debug, Clone)]
pub(crate) struct OrderPlan {
    pub(crate) columns: Vec<ScorePlan>,
    /// Words of all scores.
    pub(crate) score_words: usize,
    decider: Decider,
}

impl OrderPlan {
    pub(crate) fn new(stream: &Stream, board: &Board) -> Self {
        let kind = stream.schema.fields[board.member].kind;
        let decider = match (board.ties, kind) {
            (Ties::FirstToReach, _) => Decider::Moment { flip: 0 },
            (Ties::LastToReach, _) => Decider::Moment { flip: u64::MAX },
            (_, FieldType::Text(_)) => Decider::Text,
            _ => Number::of(kind).map_or(Decider::Bytes, Decider::Number),
        };
        let column = |score| ScorePlan::new(stream, score);
        Self {
            columns: board.scores.iter().copied().map(column).collect(),
            score_words: board.score_words(),
            decider,
        }
    }

    /// Words of an order key: at least 2, at most `ORDER_WORDS_MAX`.
    pub(crate) fn words(&self) -> usize {
        let decider = match self.decider {
            Decider::Moment { .. } | Decider::Bytes => 2,
            Decider::Number(_) | Decider::Text => 1,
        };
        self.score_words + decider
    }

    /// All ones if the later of two moments is better, `None` if moments do not decide.
    pub(crate) fn moment_flip(&self) -> Option<u64> {
        match self.decider {
            Decider::Moment { flip } => Some(flip),
            _ => None,
        }
    }

    /// The words behind the scores; of the second, only those that the order has are meant.
    #[inline]
    pub(crate) fn tie_words(&self, tie: Tie, member: &[u8]) -> [u64; 2] {
        match self.decider {
            Decider::Moment { flip } => tie.words().map(|word| word ^ flip),
            Decider::Number(number) => {
                let bytes = member.first_chunk();
                let bytes = bytes.expect("invariant: numbers have eight bytes");
                [number.ordered(u64::from_le_bytes(*bytes)), 0]
            }
            Decider::Bytes => [leading_word(member, 0), leading_word(member, 8)],
            Decider::Text => [leading_word(member, 0), 0],
        }
    }

    /// The key of the words of all scores.
    pub(crate) fn key(&self, scores: &[u64], tie: Tie, member: &[u8]) -> OrderKey {
        let mut key = OrderKey::new(scores);
        let words = self.words();
        let tie_words = self.tie_words(tie, member);
        key.words[scores.len()..words].copy_from_slice(&tie_words[..words - scores.len()]);
        key
    }

    /// The table of names, where words do not hold the whole member and it decides.
    pub(crate) fn names<'t>(&self, members: &'t KeyTable) -> Option<&'t KeyTable> {
        (self.decider == Decider::Text).then_some(members)
    }

    pub(crate) fn scores(&self, key: &OrderKey) -> Vec<Scalar> {
        let mut words = &key.words[..];
        let scalar = |column: &ScorePlan| {
            let scalar = column.scalar(words);
            words = &words[column.words()..];
            scalar
        };
        self.columns.iter().map(scalar).collect()
    }
}

/// Eight bytes from `from` on as a number of the same order, zeros behind the end.
fn leading_word(bytes: &[u8], from: usize) -> u64 {
    let rest = bytes.get(from..).unwrap_or(&[]);
    match rest.first_chunk() {
        Some(chunk) => u64::from_be_bytes(*chunk),
        None => {
            let mut padded = [0; 8];
            padded[..rest.len()].copy_from_slice(rest);
            u64::from_be_bytes(padded)
        }
    }
}
