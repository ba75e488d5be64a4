//! How an event becomes a score, and a score a sort key.

use crate::aggregate::Number;
use crate::pipeline::{Score, ScoreRule};
use crate::query::Scalar;
use crate::row;
use crate::schema::Schema;

/// A score rule, compiled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScorePlan {
    pub(crate) rule: ScoreRule,
    pub(crate) number: Number,
    /// `None` is `count()`.
    field: Option<usize>,
    offset: u16,
    optional: bool,
    /// All ones for descending boards: complementing turns the order around.
    flip: u64,
}

impl ScorePlan {
    pub(crate) fn new(schema: &Schema, score: Score) -> Self {
        let field = score.field.map(|index| &schema.fields[index]);
        let number = field.map_or(Number::U64, |field| {
            Number::of(field.kind).expect("invariant: the pipeline checked the types of scores")
        });
        Self {
            rule: score.rule,
            number,
            field: score.field,
            offset: field.map_or(0, |field| field.offset),
            optional: field.is_some_and(|field| field.optional),
            flip: if score.descending { u64::MAX } else { 0 },
        }
    }

    /// Whether scores are compensated floating-point sums.
    pub(crate) fn is_float_sum(&self) -> bool {
        self.rule == ScoreRule::Sum && self.number == Number::F64
    }

    /// The bits of the score field, 1 for `count()`; `None` for null.
    #[inline]
    pub(crate) fn bits(&self, schema: &Schema, row: &[u8]) -> Option<u64> {
        let Some(field) = self.field else {
            return Some(1);
        };
        if self.optional && schema.is_null(row, field) {
            return None;
        }
        Some(match self.number {
            Number::F64 => row::read_f64(row, self.offset).to_bits(),
            _ => row::read_u64(row, self.offset),
        })
    }

    #[inline]
    pub(crate) fn sort_key(&self, bits: u64) -> u64 {
        self.number.ordered(bits) ^ self.flip
    }

    #[inline]
    pub(crate) fn score_bits(&self, sort_key: u64) -> u64 {
        self.number.bits(sort_key ^ self.flip)
    }

    pub(crate) fn scalar(&self, sort_key: u64) -> Scalar {
        self.number.scalar(self.score_bits(sort_key))
    }
}
