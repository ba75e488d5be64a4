//! A board whose member is not the stream's key.
//!
//! Every shard keeps its own partial of each member it has seen. The member's owner, found by
//! hashing the member as if it were a key, also keeps the latest partial of every other shard and
//! ranks the merged score. Partials travel as whole values, never as increments, so a delta that
//! arrives twice or after a newer one's restatement does no harm.

use super::partial::{Held, Partial};
use super::score::ScorePlan;
use super::{BoardCounters, BoardRead, Origin};
use crate::delta::{Delta, DeltaQueue};
use crate::gate::Gate;
use crate::partition::{group_of, key_hash, shard_of};
use crate::rank::{OrderKey, RankIndex};
use crate::schema::Schema;
use crate::table::KeyTable;
use crate::table::chunks::Chunks;
use crate::window::Accepted;

#[derive(Debug, Clone)]
pub(crate) struct ForeignBoard {
    score: ScorePlan,
    member_field: usize,
    optional_member: bool,
    shard: u16,
    shards: u16,
    /// All members seen here, own or not.
    members: KeyTable,
    owners: Chunks<u16>,
    /// This shard's partials.
    locals: Chunks<Partial>,
    /// Partials of the other shards, for members owned here.
    remotes: Vec<Chunks<Partial>>,
    rank: RankIndex<3>,
    overflow: u64,
    gate: Gate,
    touched: Vec<u32>,
}

impl ForeignBoard {
    pub(crate) fn new(
        schema: &Schema,
        member_field: usize,
        score: ScorePlan,
        gate: Gate,
        shard: u16,
        shards: u16,
    ) -> Self {
        let field = &schema.fields[member_field];
        Self {
            score,
            member_field,
            optional_member: field.optional,
            shard,
            shards,
            members: KeyTable::of_field(field),
            owners: Chunks::new(),
            locals: Chunks::new(),
            remotes: vec![Chunks::new(); usize::from(shards)],
            rank: RankIndex::new(),
            overflow: 0,
            gate,
            touched: Vec::new(),
        }
    }

    pub(crate) fn read(&self) -> BoardRead<'_> {
        BoardRead {
            score: &self.score,
            rank: &self.rank,
            members: &self.members,
        }
    }

    pub(crate) fn counters(&self) -> BoardCounters {
        BoardCounters {
            members: self.rank.len(),
            overflow: self.overflow,
            errors: self.gate.errors(),
        }
    }

    /// Applies the accepted rows of a batch. Changed partials of members owned elsewhere go to
    /// `deltas`, once per member and batch; replay passes `None` and restates them all afterwards.
    pub(crate) fn apply(
        &mut self,
        schema: &Schema,
        batch: &Accepted<'_>,
        origin: Origin,
        board: u16,
        deltas: Option<&mut DeltaQueue>,
    ) {
        self.touched.clear();
        if self.gate.is_open() {
            self.merge_events(schema, batch, origin);
        } else {
            let mut gate = std::mem::take(&mut self.gate);
            self.merge_events(schema, &gate.pass(batch), origin);
            self.gate = gate;
        }
        self.touched.sort_unstable();
        self.touched.dedup();
        let touched = std::mem::take(&mut self.touched);
        let mut deltas = deltas;
        for &id in &touched {
            if *self.owners.at(id as usize) == self.shard {
                self.refresh(id);
            } else if let Some(deltas) = deltas.as_deref_mut() {
                deltas.push(self.delta(id, board, origin.lsn));
            }
        }
        self.touched = touched;
    }

    /// Merges each event into the partial of its member.
    fn merge_events(&mut self, schema: &Schema, batch: &Accepted<'_>, origin: Origin) {
        let row_bytes = schema.row_len();
        for &pick in batch.picks {
            let at = pick as usize * row_bytes;
            let row = &batch.rows[at..at + row_bytes];
            if self.optional_member && schema.is_null(row, self.member_field) {
                continue;
            }
            let Some(bits) = self.score.bits(schema, batch, row, pick) else {
                continue;
            };
            let id = self.member_id(schema.canonical_bytes(row, self.member_field));
            let event = Partial::of_event(&self.score, bits, origin.tie(pick));
            self.locals.at_mut(id as usize).merge(&self.score, &event);
            self.touched.push(id);
        }
    }

    fn member_id(&mut self, member: &[u8]) -> u32 {
        let hash = key_hash(member);
        let (id, added) = self.members.find_or_insert(hash, member);
        if added {
            self.owners
                .push(shard_of(group_of(hash), usize::from(self.shards)) as u16);
            self.locals.push(Partial::default());
        }
        id
    }

    fn delta(&self, id: u32, board: u16, lsn: u64) -> Delta {
        let owner = *self.owners.at(id as usize);
        let partial = *self.locals.at(id as usize);
        Delta::new(lsn, self.shard, owner, board, self.members.key(id), partial)
    }

    /// States the partials of all members that are owned elsewhere.
    pub(crate) fn restate(&self, board: u16, lsn: u64, deltas: &mut DeltaQueue) {
        for id in 0..self.members.len() as u32 {
            let is_mine = *self.owners.at(id as usize) == self.shard;
            if !is_mine && self.locals.at(id as usize).held != Held::Nothing {
                deltas.push(self.delta(id, board, lsn));
            }
        }
    }

    /// Takes another shard's partial over; false if the delta does not belong here.
    pub(crate) fn apply_delta(&mut self, delta: &Delta) -> bool {
        let source = usize::from(delta.source);
        if source >= self.remotes.len() || delta.source == self.shard || delta.owner != self.shard {
            return false;
        }
        let id = self.member_id(delta.member());
        if *self.owners.at(id as usize) != self.shard {
            return false;
        }
        self.remotes[source].grow_to(id as usize + 1, Partial::default());
        *self.remotes[source].at_mut(id as usize) = delta.partial;
        self.refresh(id);
        true
    }

    /// Merges all partials of a member, in the order of shards so that floating-point sums come
    /// out the same each time, and ranks the result.
    fn refresh(&mut self, id: u32) {
        let mut merged = Partial::default();
        for (shard, remote) in self.remotes.iter().enumerate() {
            if shard == usize::from(self.shard) {
                merged.merge(&self.score, self.locals.at(id as usize));
            } else if (id as usize) < remote.len() {
                merged.merge(&self.score, remote.at(id as usize));
            }
        }
        if merged.held != Held::Nothing {
            let (sort_key, held_back) = merged.sort_key(&self.score);
            self.overflow += u64::from(held_back);
            let tie = merged.tie;
            self.rank.update(id, &OrderKey { sort_key, tie }.words());
        }
    }

    /// This shard's partials with their members.
    pub(crate) fn partials(&self) -> impl Iterator<Item = (&[u8], &Partial)> {
        let with_key = |(id, partial)| (self.members.key(id as u32), partial);
        let held = |(_, partial): &(&[u8], &Partial)| partial.held != Held::Nothing;
        self.locals.iter().enumerate().map(with_key).filter(held)
    }
}
