//! The members of a season or split of a board, or of one without, on one shard.

use crate::board::divided::SplitPart;
use crate::board::notes::{NotePlan, Notes};
use crate::board::order::OrderPlan;
use crate::board::ranks::Ranks;
use crate::board::score::ScorePlan;
use crate::board::seasons::Part;
use crate::board::shares::Shares;
use crate::schema::Field;
use crate::table::KeyTable;
use crate::table::chunks::Chunks;

#[derive(Debug, Clone)]
pub(crate) struct Pool {
    /// All members seen here, own or not.
    pub(super) members: KeyTable,
    pub(super) owners: Chunks<u16>,
    /// This shard's shares.
    pub(super) locals: Shares,
    /// Shares of the other shards, of members owned here.
    pub(super) remotes: Vec<Shares>,
    /// Of one member, all shares merged; of several shards.
    pub(super) merged: Shares,
    pub(super) rank: Ranks,
    /// The latest of all shards, of members owned here.
    pub(super) notes: Option<Notes>,
    /// Events that were taken back or put back after the season was final.
    pub(super) corrected: u64,
}

impl Pool {
    pub(super) fn new(
        member: &Field,
        order: &OrderPlan,
        notes: Option<&NotePlan>,
        shards: usize,
    ) -> Self {
        let shares = Shares::new(&order.columns, notes);
        Self {
            members: KeyTable::of_field(member),
            owners: Chunks::new(),
            locals: shares.fresh(),
            remotes: vec![shares.fresh(); shards],
            merged: shares,
            rank: Ranks::new(order.words()),
            notes: notes.map(Notes::new),
            corrected: 0,
        }
    }

    /// Merges the shares that all shards have of a member; the result, and where in it. With one
    /// shard that is its own.
    pub(super) fn merge(&mut self, columns: &[ScorePlan], id: u32, own: usize) -> (&Shares, u32) {
        let (all, at) = match self.remotes.len() {
            1 => (&self.locals, id),
            _ => {
                self.merged.grow_for(0);
                self.merged.clear(0);
                for (shard, remote) in self.remotes.iter().enumerate() {
                    let shares = if shard == own { &self.locals } else { remote };
                    self.merged.merge(columns, 0, shares, id);
                }
                (&self.merged, 0)
            }
        };
        if let (Some(notes), Some(latest)) = (&mut self.notes, all.note(at)) {
            notes.keep(id, latest);
        }
        (all, at)
    }
}

impl Part for Pool {
    fn fresh(&self, member: &Field) -> Self {
        Self {
            members: KeyTable::of_field(member),
            owners: Chunks::new(),
            locals: self.locals.fresh(),
            remotes: vec![self.locals.fresh(); self.remotes.len()],
            merged: self.locals.fresh(),
            rank: self.rank.fresh(),
            notes: self.notes.as_ref().map(Notes::fresh),
            corrected: 0,
        }
    }

    fn free_some(&mut self, pieces: &mut usize) -> bool {
        let (mut remotes, notes) = (self.remotes.iter_mut(), self.notes.as_mut());
        self.members.free_some(pieces)
            && self.owners.free_some(pieces)
            && self.locals.free_some(pieces)
            && remotes.all(|remote| remote.free_some(pieces))
            && self.rank.free_some(pieces)
            && notes.is_none_or(|notes| notes.free_some(pieces))
    }

    fn members(&self) -> u64 {
        self.rank.len()
    }

    fn corrected(&self) -> u64 {
        self.corrected
    }
}

impl SplitPart for Pool {
    fn fresh_split(&self, member: &Field) -> Self {
        self.fresh(member)
    }
}
