//! How an event becomes a score, and a score a sort key.

use crate::aggregate::Number;
use crate::pipeline::{Score, ScoreRule, Stream};
use crate::query::Scalar;
use crate::schema::Schema;
use crate::source::Source;
use crate::window::Accepted;

/// A score rule, compiled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScorePlan {
    pub(crate) rule: ScoreRule,
    pub(crate) number: Number,
    /// `None` is `count()`.
    source: Option<Source>,
    /// All ones for descending boards: complementing turns the order around.
    flip: u64,
}

impl ScorePlan {
    pub(crate) fn new(stream: &Stream, score: Score) -> Self {
        let kind = score.field.map(|column| stream.column(column).kind);
        let number = kind.map_or(Number::U64, |kind| {
            Number::of(kind).expect("invariant: the pipeline checked the types of scores")
        });
        Self {
            rule: score.rule,
            number,
            source: score.field.map(|column| Source::new(stream, column)),
            flip: if score.descending { u64::MAX } else { 0 },
        }
    }

    /// Words of an order key that the score takes.
    pub(crate) fn words(&self) -> usize {
        self.rule.words()
    }

    /// How many values a mean is of at most.
    #[inline]
    pub(crate) fn mean_of(&self) -> Option<usize> {
        match self.rule {
            ScoreRule::MeanBest { n } => Some(usize::from(n)),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn flip(&self) -> u64 {
        self.flip
    }

    /// The same plan, told its rule and type once more, so that the compiler knows them.
    #[inline]
    pub(crate) fn knowing(self, rule: ScoreRule, number: Number) -> Self {
        Self {
            rule,
            number,
            ..self
        }
    }

    /// Whether scores are compensated floating-point sums.
    pub(crate) fn is_float_sum(&self) -> bool {
        self.rule == ScoreRule::Sum && self.number == Number::F64
    }

    /// Whether a member needs more than its sort key for the next score.
    #[inline]
    pub(crate) fn is_more_than_key(&self) -> bool {
        self.is_float_sum() || self.mean_of().is_some()
    }

    /// The bits of the score of the event at index `pick`, whose row is `row`: 1 for `count()`,
    /// `None` without a value. -0.0 is turned into 0.0, because equal scores have equal bits.
    #[inline]
    pub(crate) fn bits(
        &self,
        schema: &Schema,
        batch: &Accepted<'_>,
        row: &[u8],
        pick: u32,
    ) -> Option<u64> {
        let Some(source) = self.source else {
            return Some(1);
        };
        let bits = source.bits(schema, batch, row, pick)?;
        Some(match self.number {
            Number::F64 => (f64::from_bits(bits) + 0.0).to_bits(),
            _ => bits,
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

    /// The sort key behind an event, from the current one; `None` if the score would overflow. Not
    /// for sums of f64 and means, which a sort key does not tell all of.
    #[inline]
    pub(crate) fn step(&self, current: Option<u64>, bits: u64) -> Option<u64> {
        let offered = self.sort_key(bits);
        let Some(current) = current else {
            return Some(offered);
        };
        Some(match (self.rule, self.number) {
            (ScoreRule::Sum, Number::U64) => {
                self.sort_key(self.score_bits(current).checked_add(bits)?)
            }
            (ScoreRule::Sum, _) => {
                let sum = self.score_bits(current).cast_signed();
                let sum = sum.checked_add(bits.cast_signed())?;
                self.sort_key(sum.cast_unsigned())
            }
            (ScoreRule::Best, _) => current.min(offered),
            (ScoreRule::Latest | ScoreRule::MeanBest { .. }, _) => offered,
        })
    }

    /// What an event gives, as a number.
    pub(crate) fn value(&self, bits: u64) -> Scalar {
        self.number.scalar(bits)
    }

    /// The sort key of a sum of integers, held at the ends of its type.
    pub(crate) fn held(&self, sum: i128) -> u64 {
        let bits = match self.number {
            Number::U64 => sum.clamp(0, i128::from(u64::MAX)) as u64,
            _ => (sum.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64).cast_unsigned(),
        };
        self.sort_key(bits)
    }

    /// The score that the first of these words are of.
    pub(crate) fn scalar(&self, words: &[u64]) -> Scalar {
        match self.mean_of() {
            Some(n) => self.mean_scalar(n, [words[0], words[1]]),
            None => self.number.scalar(self.score_bits(words[0])),
        }
    }
}
