//! One shard's share of a member's score, for boards whose member is not the key.
//!
//! Events of such a member lie on many shards, and their shares reach the owner in any order. So a
//! share is a state that merges commutatively, and everything is decided by recorded values: for
//! the same set of events the result is the same however they were spread.

use super::score::ScorePlan;
use crate::aggregate::Number;
use crate::pipeline::ScoreRule;
use crate::rank::Tie;

/// What a partial holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Held {
    /// Nothing.
    #[default]
    Nothing = 0,
    /// Only events that left the score at its start: a sum of zeros. The tie is of the first.
    Start = 1,
    /// A score; the tie is of the event that last changed it (sums), first reached it (best) or
    /// set it (latest).
    Score = 2,
}

impl Held {
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        [Self::Nothing, Self::Start, Self::Score]
            .into_iter()
            .find(|held| *held as u8 == code)
    }
}

/// A mergeable share of a score: an `i128` (sums), or a sort key. The words of a share that lies in
/// a block are the block and its state, see [`super::shares`], and not read here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Partial {
    pub(crate) words: [u64; 2],
    pub(crate) tie: Tie,
    pub(crate) held: Held,
    /// Events that it is made of: without any the member is not there. As many as fit are any
    /// number, and never less again.
    pub(crate) events: u32,
}

fn wide(words: [u64; 2]) -> i128 {
    (u128::from(words[0]) | u128::from(words[1]) << 64).cast_signed()
}

fn words(wide: i128) -> [u64; 2] {
    let wide = wide.cast_unsigned();
    [wide as u64, (wide >> 64) as u64]
}

impl Held {
    /// What an event gives a sum. The bits of 0.0 are zero too; -0.0 does not get here.
    #[inline]
    pub(crate) fn of_sum(bits: u64) -> Self {
        if bits == 0 { Self::Start } else { Self::Score }
    }

    fn max_of(self, other: Self) -> Self {
        if self as u8 >= other as u8 {
            self
        } else {
            other
        }
    }
}

impl Partial {
    /// The share of a single event.
    pub(crate) fn of_event(plan: &ScorePlan, bits: u64, tie: Tie) -> Self {
        let (words, held) = match (plan.rule, plan.number) {
            (ScoreRule::Sum, Number::U64) => (words(i128::from(bits)), Held::of_sum(bits)),
            (ScoreRule::Sum, _) => (words(i128::from(bits.cast_signed())), Held::of_sum(bits)),
            _ => ([plan.sort_key(bits), 0], Held::Score),
        };
        Self {
            words,
            tie,
            held,
            events: 1,
        }
    }

    /// Merges another share of the same member.
    pub(crate) fn merge(&mut self, plan: &ScorePlan, other: &Self) {
        if other.held == Held::Nothing {
            return;
        }
        if self.held == Held::Nothing {
            *self = *other;
            return;
        }
        let events = self.events.saturating_add(other.events);
        let is_better = match plan.rule {
            ScoreRule::Sum => {
                self.words = words(wide(self.words) + wide(other.words));
                self.reach(other.held, other.tie);
                false
            }
            ScoreRule::Best => (other.words[0], other.tie) < (self.words[0], self.tie),
            ScoreRule::Latest | ScoreRule::MeanBest { .. } => other.tie > self.tie,
        };
        if is_better {
            *self = *other;
        }
        self.events = events;
    }

    /// Takes one of the events of this share of a sum of integers back.
    pub(crate) fn subtract(&mut self, event: &Self) {
        self.words = words(wide(self.words) - wide(event.words));
    }

    /// Takes note of an event that was taken back from a sum; `tie` is of the correction. A score that
    /// changes is reached anew.
    pub(crate) fn leave(&mut self, held: Held, tie: Tie) {
        if held == Held::Score {
            self.tie = self.tie.max(tie);
        }
        if self.events < u32::MAX {
            self.events = self.events.saturating_sub(1);
        }
    }

    /// Merges what another share of a sum holds, and since when.
    #[inline]
    pub(crate) fn reach(&mut self, held: Held, tie: Tie) {
        self.tie = match (self.held, held) {
            (Held::Nothing, _) => tie,
            (_, Held::Nothing) => self.tie,
            (Held::Start, Held::Start) => self.tie.min(tie),
            (Held::Start, _) => tie,
            (_, Held::Start) => self.tie,
            _ => self.tie.max(tie),
        };
        self.held = self.held.max_of(held);
    }

    /// The sort key of the score; true if the score had to be held at the end of its type.
    pub(crate) fn sort_key(&self, plan: &ScorePlan) -> (u64, bool) {
        if plan.rule != ScoreRule::Sum {
            return (self.words[0], false);
        }
        let value = wide(self.words);
        let (bits, fits) = if plan.number == Number::U64 {
            let held = value.clamp(0, i128::from(u64::MAX));
            (held as u64, held == value)
        } else {
            let held = value.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
            ((held as i64).cast_unsigned(), held == value)
        };
        (plan.sort_key(bits), !fits)
    }
}
