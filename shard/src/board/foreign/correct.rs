//! Events that are taken back from the shares of their members, or put back.

use super::ForeignBoard;
use crate::board::seasons::At;
use crate::correction::{Change, Moment};
use crate::delta::DeltaQueue;
use crate::partition::key_hash;
use crate::rank::Tie;
use crate::schema::Schema;
use crate::window::Accepted;

impl ForeignBoard {
    /// Takes the one event of `event` back, or puts it back, if it counts; [`ForeignBoard::settle`]
    /// is to follow.
    pub(crate) fn correct(
        &mut self,
        schema: &Schema,
        event: &Accepted<'_>,
        change: Change,
        moment: Moment,
        tie: Tie,
    ) {
        let (rules, row) = (&self.rules, event.rows);
        if !self.gate.lets(event) {
            return;
        }
        if rules.optional_member && schema.is_null(row, rules.member_field) {
            return;
        }
        let Some(bits) = rules.bits(schema, event, row, 0) else {
            return;
        };
        let comes = change == Change::PutBack;
        let (time_ms, recorded_ms) = (event.times_ms[0], event.watermark_ms);
        let part = self
            .seasons
            .part_of_recorded(time_ms, recorded_ms, moment.watermark_ms, comes);
        let Some((divided, season_ms, is_final)) = part else {
            return;
        };
        let (columns, corrected) = (&rules.order.columns, &mut self.corrected);
        let member = schema.canonical_bytes(row, rules.member_field);
        divided.correct(self.split.as_ref(), schema, event, comes, |pool, split| {
            let id = rules.member_id(pool, member);
            let changed = match change {
                // What was passed over in replay, because it has no effect any more, is not there.
                Change::TakeBack => pool.locals.take_back(columns, id, &bits, tie),
                Change::PutBack => {
                    pool.locals.add(columns, id, &bits, tie);
                    true
                }
            };
            if changed {
                pool.corrected += u64::from(is_final);
                corrected.push((season_ms, split.to_vec(), id));
            }
        });
    }

    /// Of how many events the score of a member is made that is owned here.
    pub(crate) fn weight(&self, at: At, split: &[u8], member: &[u8]) -> u64 {
        let rules = &self.rules;
        let Some(pool) = self.seasons.part(at).part(split) else {
            return 0;
        };
        let known = pool.members.find(key_hash(member), member);
        let Some(id) = known.filter(|&id| *pool.owners.at(id as usize) == rules.shard) else {
            return 0;
        };
        let shares = pool.remotes.iter().enumerate().map(|(shard, remote)| {
            let is_own = shard == usize::from(rules.shard);
            if is_own { &pool.locals } else { remote }.events(id)
        });
        shares.sum()
    }

    /// Ranks the members that a correction has touched; those owned elsewhere go to `deltas`.
    pub(crate) fn settle(&mut self, lsn: u64, mut deltas: Option<&mut DeltaQueue>) {
        let mut corrected = std::mem::take(&mut self.corrected);
        corrected.sort_unstable();
        corrected.dedup();
        let rules = &self.rules;
        for (season_ms, split, id) in corrected.drain(..) {
            let divided = self.seasons.part_mut(season_ms);
            let pool = divided.and_then(|divided| divided.part_mut(self.split.as_ref(), &split));
            let Some(pool) = pool else { continue };
            if *pool.owners.at(id as usize) == rules.shard {
                self.overflow += u64::from(rules.refresh(pool, id));
            } else if let Some(deltas) = deltas.as_deref_mut() {
                rules.state(pool, id, (season_ms, &split), lsn, deltas);
            }
        }
        self.corrected = corrected;
    }
}
