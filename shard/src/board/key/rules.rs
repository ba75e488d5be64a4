//! What events make of the scores of their members.

use super::KeyPart;
use super::beside::Beside;
use crate::aggregate::{CompensatedSum, Number};
use crate::board::mean;
use crate::board::notes::{NotePlan, Notes};
use crate::board::order::OrderPlan;
use crate::board::ranks::{Ranks, with_rank};
use crate::board::score::ScorePlan;
use crate::board::seasons::PartScratch;
use crate::board::{BoardRead, Origin};
use crate::limits::SCORES_MAX;
use crate::partition::key_hash;
use crate::pipeline::ScoreRule;
use crate::rank::{AIM_CHUNK, Aim, ById, Names, RankIndex};
use crate::schema::Schema;
use crate::table::KeyTable;
use crate::window::Accepted;

/// How events change scores.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) order: OrderPlan,
    pub(super) notes: Option<NotePlan>,
    /// The key field, if it may be null: such events touch no board.
    pub(super) optional_member: Option<usize>,
    pub(super) member: usize,
}

/// What is applied: accepted rows, and the id of each one's key.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub(super) schema: &'a Schema,
    pub(super) batch: &'a Accepted<'a>,
    pub(super) members: &'a [u32],
    pub(super) origin: Origin,
}

/// What an event makes of the scores of its member.
#[derive(Clone, Copy)]
pub(super) struct Step {
    /// Words of all columns.
    pub(super) scores: [u64; SCORES_MAX],
    /// By column.
    pub(super) sums: [CompensatedSum; SCORES_MAX],
    /// Whether it is among the best of a mean, which may stay as it is.
    pub(super) entered: bool,
}

impl Rules {
    pub(super) fn read<'a>(&'a self, part: &'a KeyPart, keys: &'a KeyTable) -> BoardRead<'a> {
        BoardRead {
            order: &self.order,
            rank: &part.rank,
            members: part.members.as_ref().unwrap_or(keys),
            notes: part.notes.as_ref(),
        }
    }

    /// Finds the ids of the events' keys in the table of a season.
    pub(super) fn find_members(
        &self,
        schema: &Schema,
        events: &Accepted<'_>,
        table: &mut KeyTable,
        scratch: &mut PartScratch,
    ) {
        let row_bytes = schema.row_len();
        let key = |pick: u32| {
            let at = pick as usize * row_bytes;
            schema.canonical_bytes(&events.rows[at..at + row_bytes], self.member)
        };
        let PartScratch { hashes, ids, .. } = scratch;
        hashes.clear();
        hashes.extend(events.picks.iter().map(|&pick| key_hash(key(pick))));
        table.lookup_batch(hashes, |index| key(events.picks[index]), ids);
    }

    /// Applies events; returns those that would have overflowed.
    pub(super) fn apply(
        &self,
        rank: &mut Ranks,
        beside: &mut Beside,
        members: &KeyTable,
        pass: Pass<'_>,
    ) -> u64 {
        match (rank, self.single()) {
            (Ranks::Three(rank), Some((score, flip))) => self.apply_single(rank, score, flip, pass),
            (rank, _) => with_rank!(rank, rank => match self.order.names(members) {
                None => self.apply_columns(rank, beside, pass, ById),
                Some(names) => self.apply_columns(rank, beside, pass, names),
            }),
        }
    }

    /// Keeps the notes of events that touch the board.
    pub(super) fn note(&self, notes: &mut Notes, pass: Pass<'_>, note: &mut Vec<u8>) {
        let Some(plan) = &self.notes else { return };
        for (&pick, &member) in pass.batch.picks.iter().zip(pass.members) {
            if self.scored(&pass, pick).is_some() {
                plan.write(pass.schema, pass.batch, pick, pass.origin.tie(pick), note);
                notes.keep(member, note);
            }
        }
    }

    /// The score, and the flip of moments, of the usual board: one column that its sort key tells
    /// all of, and ties decided by moments.
    fn single(&self) -> Option<(ScorePlan, u64)> {
        match self.order.columns[..] {
            [score] if !score.is_more_than_key() => Some((score, self.order.moment_flip()?)),
            _ => None,
        }
    }

    /// Applies a batch to a board of one column; returns the events that would have overflowed.
    fn apply_single(
        &self,
        rank: &mut RankIndex<3>,
        score: ScorePlan,
        flip: u64,
        pass: Pass<'_>,
    ) -> u64 {
        // A loop of its own for each rule, which knows it.
        let number = score.number;
        match (score.rule, number) {
            (ScoreRule::Sum, Number::U64) => self.each(rank, score, flip, pass, |now, bits| {
                score.knowing(ScoreRule::Sum, Number::U64).step(now, bits)
            }),
            (ScoreRule::Sum, _) => self.each(rank, score, flip, pass, |now, bits| {
                score.knowing(ScoreRule::Sum, Number::I64).step(now, bits)
            }),
            (ScoreRule::Best, _) => self.each(rank, score, flip, pass, |now, bits| {
                score.knowing(ScoreRule::Best, number).step(now, bits)
            }),
            (ScoreRule::Latest | ScoreRule::MeanBest { .. }, _) => {
                self.each(rank, score, flip, pass, |now, bits| {
                    score.knowing(ScoreRule::Latest, number).step(now, bits)
                })
            }
        }
    }

    /// Runs `step`, current sort key and event to new sort key (`None` on overflow), over a batch.
    /// An event that leaves the score as it is keeps the tie.
    ///
    /// Goes in chunks of a few dozen events, each in two passes, so that cache misses overlap: where
    /// to, then the updates in order. The records were asked for before.
    #[inline]
    fn each(
        &self,
        rank: &mut RankIndex<3>,
        score: ScorePlan,
        flip: u64,
        pass: Pass<'_>,
        step: impl Fn(Option<u64>, u64) -> Option<u64>,
    ) -> u64 {
        let words = |sort_key: u64, pick: u32| {
            let [stamp, minor] = pass.origin.tie(pick).words();
            [sort_key, stamp ^ flip, minor ^ flip]
        };
        let mut overflow = 0;
        let mut aims = [Aim::NONE; AIM_CHUNK];
        let mut scores = [None; AIM_CHUNK];
        for (picks, members) in pass.chunks() {
            for (index, (&pick, &member)) in picks.iter().zip(members).enumerate() {
                let row = self.row(&pass, pick);
                let bits = row.and_then(|row| score.bits(pass.schema, pass.batch, row, pick));
                scores[index] = bits;
                let aimed = bits.and_then(|bits| step(rank.first_word(member), bits));
                aims[index] = aimed.map_or(Aim::NONE, |sort_key| {
                    rank.aim(member, &words(sort_key, pick), ById)
                });
            }
            for (index, (&pick, &member)) in picks.iter().zip(members).enumerate() {
                let Some(bits) = scores[index] else { continue };
                // An earlier event of the chunk may have moved the same member: read again.
                let current = rank.first_word(member);
                match step(current, bits) {
                    None => overflow += 1,
                    Some(sort_key) if current == Some(sort_key) => {}
                    Some(sort_key) => {
                        rank.update_aimed(member, &words(sort_key, pick), aims[index], ById);
                    }
                }
            }
        }
        overflow
    }

    /// The row of an event, `None` if it touches no board.
    #[inline]
    fn row<'a>(&self, pass: &Pass<'a>, pick: u32) -> Option<&'a [u8]> {
        let row_bytes = pass.schema.row_len();
        let at = pick as usize * row_bytes;
        let row = &pass.batch.rows[at..at + row_bytes];
        let absent = |field| pass.schema.is_null(row, field);
        (!self.optional_member.is_some_and(absent)).then_some(row)
    }

    /// [`Rules::apply_single`] for any columns and ties.
    fn apply_columns<const WORDS: usize>(
        &self,
        rank: &mut RankIndex<WORDS>,
        beside: &mut Beside,
        pass: Pass<'_>,
        names: impl Names,
    ) -> u64 {
        let columns = self.order.score_words;
        let words = |step: &Step, row: &[u8], pick: u32| {
            let member = pass.schema.canonical_bytes(row, self.member);
            let tie = self.order.tie_words(pass.origin.tie(pick), member);
            std::array::from_fn::<u64, WORDS, _>(|at| match at.checked_sub(columns) {
                None => step.scores[at],
                Some(behind) => tie[behind],
            })
        };
        beside.grow_for(pass.members);
        let mut overflow = 0;
        let mut aims = [Aim::NONE; AIM_CHUNK];
        for (picks, members) in pass.chunks() {
            for (index, (&pick, &member)) in picks.iter().zip(members).enumerate() {
                let scored = self.scored(&pass, pick);
                let stepped = scored.and_then(|(row, bits)| {
                    let current = rank.get(member);
                    let step =
                        self.step(current.as_ref().map(|c| &c[..]), beside, member, &bits)?;
                    Some((row, step))
                });
                aims[index] = stepped.map_or(Aim::NONE, |(row, step)| {
                    rank.aim(member, &words(&step, row, pick), names)
                });
            }
            for (index, (&pick, &member)) in picks.iter().zip(members).enumerate() {
                let Some((row, bits)) = self.scored(&pass, pick) else {
                    continue;
                };
                let current = rank.get(member);
                let current = current.as_ref().map(|current| &current[..]);
                let Some(step) = self.step(current, beside, member, &bits) else {
                    overflow += 1;
                    continue;
                };
                beside.keep(&self.order.columns, member, &bits, &step);
                let moved = |now: &[u64]| step.entered || now[..columns] != step.scores[..columns];
                if current.is_none_or(moved) {
                    let words = words(&step, row, pick);
                    rank.update_aimed(member, &words, aims[index], names);
                }
            }
        }
        overflow
    }

    /// The row of an event and the bits of its columns, `None` if it touches no board. An event
    /// takes part in all columns or in none.
    #[inline]
    fn scored<'a>(&self, pass: &Pass<'a>, pick: u32) -> Option<(&'a [u8], [u64; SCORES_MAX])> {
        let row = self.row(pass, pick)?;
        let mut bits = [0; SCORES_MAX];
        for (column, bits) in self.order.columns.iter().zip(&mut bits) {
            *bits = column.bits(pass.schema, pass.batch, row, pick)?;
        }
        Some((row, bits))
    }

    /// What an event makes of the current words of its member; `None` if a score would overflow.
    #[inline]
    fn step(
        &self,
        current: Option<&[u64]>,
        beside: &Beside,
        member: u32,
        bits: &[u64; SCORES_MAX],
    ) -> Option<Step> {
        let mut step = Step {
            scores: [0; SCORES_MAX],
            sums: [CompensatedSum::default(); SCORES_MAX],
            entered: false,
        };
        let (mut filled, mut nth) = (0, 0);
        for (at, column) in self.order.columns.iter().enumerate() {
            let now = current.map(|words| &words[filled..]);
            let scores = &mut step.scores[filled..];
            if let Some(n) = column.mean_of() {
                let (list, slab) = beside.list(member, nth);
                let words = match mean::with(list, slab, n, column.sort_key(bits[at])) {
                    None => now.map_or([0; 2], |now| [now[0], now[1]]),
                    Some((sort_keys, len)) => {
                        step.entered = true;
                        column.mean_words(sort_keys[..len].iter().copied())
                    }
                };
                scores[..2].copy_from_slice(&words);
            } else if column.is_float_sum() {
                let mut sum = beside.sum(member, nth);
                sum.add(f64::from_bits(bits[at]));
                if !sum.value().is_finite() {
                    return None;
                }
                step.sums[at] = sum;
                scores[0] = column.sort_key((sum.value() + 0.0).to_bits());
            } else {
                scores[0] = column.step(now.map(|now| now[0]), bits[at])?;
            }
            filled += column.words();
            nth += usize::from(column.is_more_than_key());
        }
        Some(step)
    }
}

impl<'a> Pass<'a> {
    fn chunks(&self) -> impl Iterator<Item = (&'a [u32], &'a [u32])> {
        let picks = self.batch.picks.chunks(AIM_CHUNK);
        picks.zip(self.members.chunks(AIM_CHUNK))
    }
}
