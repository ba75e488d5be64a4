//! A board whose member is the stream's key. Its scores need no record but the rank index: the
//! sort key *is* the score.

use super::score::ScorePlan;
use super::{BoardCounters, BoardRead, Origin};
use crate::aggregate::{CompensatedSum, Number};
use crate::gate::Gate;
use crate::pipeline::ScoreRule;
use crate::rank::{AIM_CHUNK, Aim, OrderKey, RankIndex, Tie};
use crate::schema::Schema;
use crate::table::KeyTable;
use crate::table::chunks::Chunks;
use crate::window::Accepted;

#[derive(Debug, Clone)]
pub(crate) struct KeyBoard {
    score: ScorePlan,
    rank: RankIndex<3>,
    /// The key field, if it may be null: such events touch no board.
    optional_member: Option<usize>,
    /// Compensated sums by member, for sums of f64 only.
    float_sums: Chunks<CompensatedSum>,
    overflow: u64,
    gate: Gate,
}

impl KeyBoard {
    pub(crate) fn new(schema: &Schema, member: usize, score: ScorePlan, gate: Gate) -> Self {
        Self {
            score,
            rank: RankIndex::new(),
            optional_member: schema.fields[member].optional.then_some(member),
            float_sums: Chunks::new(),
            overflow: 0,
            gate,
        }
    }

    pub(crate) fn read<'a>(&'a self, members: &'a KeyTable) -> BoardRead<'a> {
        BoardRead {
            score: &self.score,
            rank: &self.rank,
            members,
        }
    }

    pub(crate) fn counters(&self) -> BoardCounters {
        BoardCounters {
            members: self.rank.len(),
            overflow: self.overflow,
            errors: self.gate.errors(),
        }
    }

    /// Asks for the records of these members, some time before they are applied.
    pub(crate) fn prefetch(&self, members: &[u32]) {
        self.rank.prefetch(members);
    }

    /// Applies the accepted rows of a batch.
    pub(crate) fn apply(&mut self, schema: &Schema, batch: &Accepted<'_>, origin: Origin) {
        if self.gate.is_open() {
            return self.apply_passed(schema, batch, origin);
        }
        let mut gate = std::mem::take(&mut self.gate);
        self.apply_passed(schema, &gate.pass(batch), origin);
        self.gate = gate;
    }

    fn apply_passed(&mut self, schema: &Schema, batch: &Accepted<'_>, origin: Origin) {
        let score = self.score;
        match (score.rule, score.number) {
            (ScoreRule::Sum, Number::F64) => self.apply_float_sum(schema, batch, origin),
            (ScoreRule::Sum, Number::U64) => {
                self.each(schema, batch, origin, |current, bits| {
                    let Some(current) = current else {
                        return Some(score.sort_key(bits));
                    };
                    let sum = score.score_bits(current).checked_add(bits)?;
                    Some(score.sort_key(sum))
                });
            }
            (ScoreRule::Sum, _) => {
                self.each(schema, batch, origin, |current, bits| {
                    let Some(current) = current else {
                        return Some(score.sort_key(bits));
                    };
                    let sum = score.score_bits(current).cast_signed();
                    let sum = sum.checked_add(bits.cast_signed())?;
                    Some(score.sort_key(sum.cast_unsigned()))
                });
            }
            (ScoreRule::Best, _) => {
                self.each(schema, batch, origin, |current, bits| {
                    let offered = score.sort_key(bits);
                    Some(current.map_or(offered, |current| current.min(offered)))
                });
            }
            (ScoreRule::Latest, _) => {
                self.each(schema, batch, origin, |_, bits| Some(score.sort_key(bits)));
            }
        }
    }

    /// Runs `step`, current sort key and event to new sort key (`None` on overflow), over a batch.
    /// An event that leaves the score as it is keeps the tie.
    ///
    /// Goes in chunks of a few dozen events, each in two passes, so that cache misses overlap:
    /// where to, then the updates in order. The records were asked for before.
    #[inline]
    fn each(
        &mut self,
        schema: &Schema,
        batch: &Accepted<'_>,
        origin: Origin,
        step: impl Fn(Option<u64>, u64) -> Option<u64>,
    ) {
        let members = batch.members.chunks(AIM_CHUNK);
        let chunks = batch.picks.chunks(AIM_CHUNK).zip(members);
        let mut aims = [Aim::NONE; AIM_CHUNK];
        let mut scores = [None; AIM_CHUNK];
        for (picks, members) in chunks {
            for (index, (&pick, &member)) in picks.iter().zip(members).enumerate() {
                let bits = self.event_bits(schema, batch, pick);
                scores[index] = bits;
                let aimed = bits.and_then(|bits| step(self.rank.first_word(member), bits));
                aims[index] = aimed.map_or(Aim::NONE, |sort_key| {
                    self.rank.aim(member, &origin.order(sort_key, pick))
                });
            }
            for (index, (&pick, &member)) in picks.iter().zip(members).enumerate() {
                let Some(bits) = scores[index] else { continue };
                // An earlier event of the chunk may have moved the same member: read again.
                let current = self.rank.first_word(member);
                match step(current, bits) {
                    None => self.overflow += 1,
                    Some(sort_key) if current == Some(sort_key) => {}
                    Some(sort_key) => {
                        let words = origin.order(sort_key, pick);
                        self.rank.update_aimed(member, &words, aims[index]);
                    }
                }
            }
        }
    }

    /// The score of an event, `None` if it touches no board.
    #[inline]
    fn event_bits(&self, schema: &Schema, batch: &Accepted<'_>, pick: u32) -> Option<u64> {
        let at = pick as usize * schema.row_len();
        let row = &batch.rows[at..at + schema.row_len()];
        let absent = |field| schema.is_null(row, field);
        if self.optional_member.is_some_and(absent) {
            return None;
        }
        self.score.bits(schema, batch, row, pick)
    }

    fn apply_float_sum(&mut self, schema: &Schema, batch: &Accepted<'_>, origin: Origin) {
        let members = batch.members;
        let highest = members
            .iter()
            .max()
            .map_or(0, |&member| member as usize + 1);
        self.float_sums.grow_to(highest, CompensatedSum::default());
        let mut sums = std::mem::take(&mut self.float_sums);
        for (&pick, &member) in batch.picks.iter().zip(members) {
            let Some(bits) = self.event_bits(schema, batch, pick) else {
                continue;
            };
            let mut sum = *sums.at(member as usize);
            sum.add(f64::from_bits(bits));
            if !sum.value().is_finite() {
                self.overflow += 1;
                continue;
            }
            *sums.at_mut(member as usize) = sum;
            let sort_key = self.score.sort_key((sum.value() + 0.0).to_bits());
            if self.rank.first_word(member) != Some(sort_key) {
                self.rank.update(member, &origin.order(sort_key, pick));
            }
        }
        self.float_sums = sums;
    }

    /// Sum and compensation of a member, where scores are such sums.
    pub(crate) fn float_sum(&self, member: u32) -> Option<CompensatedSum> {
        let kept = self.score.is_float_sum() && (member as usize) < self.float_sums.len();
        kept.then(|| *self.float_sums.at(member as usize))
    }
}

impl Origin {
    /// The tie of the event at `index` of the batch.
    #[inline]
    pub(crate) fn tie(&self, index: u32) -> Tie {
        Tie {
            stamp_ns: self.stamp_ns,
            log_stream: self.log_stream,
            index,
        }
    }

    /// The order of a score that the event at `index` of the batch has reached.
    #[inline]
    fn order(&self, sort_key: u64, index: u32) -> [u64; 3] {
        let tie = self.tie(index);
        OrderKey { sort_key, tie }.words()
    }
}
