//! A board whose member is not the stream's key.
//!
//! Every shard keeps its own share of each member it has seen. The member's owner, found by
//! hashing the member as if it were a key, also keeps the latest share of every other shard and
//! ranks the merged score. Shares travel as whole values, never as increments, so a delta that
//! arrives twice or after a newer one's restatement does no harm.

mod correct;
mod pool;

use super::divided::{Divided, Place, SplitPlan, places};
use super::notes::NotePlan;
use super::order::OrderPlan;
use super::seasons::{At, PartScratch, Seasons};
use super::{BoardCounters, BoardRead, Origin};
use crate::delta::{Delta, DeltaQueue};
use crate::gate::Gate;
use crate::limits::SCORES_MAX;
use crate::partition::{group_of, key_hash, shard_of};
use crate::pipeline::{Board, Stream};
use crate::query::{SeasonRow, SplitsAnswer};
use crate::schema::Schema;
use crate::window::Accepted;
pub(crate) use pool::Pool;

#[derive(Debug, Clone)]
pub(crate) struct ForeignBoard {
    rules: Rules,
    seasons: Seasons<Divided<Pool>>,
    split: Option<SplitPlan>,
    overflow: u64,
    splits_refused: u64,
    gate: Gate,
    touched: Vec<u32>,
    /// Words of a block that came from another shard.
    words: Vec<u64>,
    /// Season, split and id of members that a correction has touched.
    corrected: Vec<(i64, Vec<u8>, u32)>,
}

/// How events become shares, and whose they are.
#[derive(Debug, Clone)]
struct Rules {
    order: OrderPlan,
    notes: Option<NotePlan>,
    member_field: usize,
    optional_member: bool,
    board: u16,
    shard: u16,
    shards: u16,
}

impl ForeignBoard {
    pub(crate) fn new(
        stream: &Stream,
        board: &Board,
        gate: Gate,
        index: u16,
        (shard, shards): (u16, u16),
    ) -> Self {
        let field = &stream.schema.fields[board.member];
        let order = OrderPlan::new(stream, board);
        let notes = NotePlan::new(stream, board);
        let pool = Pool::new(field, &order, notes.as_ref(), usize::from(shards));
        let split = SplitPlan::new(stream, board);
        Self {
            seasons: Seasons::new(board, field, Divided::new(pool, split.as_ref())),
            split,
            rules: Rules {
                order,
                notes,
                member_field: board.member,
                optional_member: field.optional,
                board: index,
                shard,
                shards,
            },
            overflow: 0,
            splits_refused: 0,
            gate,
            touched: Vec::new(),
            words: Vec::new(),
            corrected: Vec::new(),
        }
    }

    pub(crate) fn read(&self, at: At, split: &[u8]) -> BoardRead<'_> {
        let part = self.seasons.part(at).part(split);
        self.rules
            .read(part.unwrap_or(self.seasons.empty().whole()))
    }

    pub(crate) fn splits(&self, at: At, split: &[u8]) -> SplitsAnswer {
        self.seasons.part(at).answer(split)
    }

    /// Every season with its splits and what they hold.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Place<'_>, BoardRead<'_>, &Pool)> {
        let all = places(self.seasons.all());
        all.map(|(place, pool)| (place, self.rules.read(pool), pool))
    }

    /// Members that this shard has shares of, with words that are equal for equal shares.
    pub(crate) fn shares<'a>(&self, pool: &'a Pool) -> Vec<(&'a [u8], Vec<u64>)> {
        let canonical = |id| {
            let mut words = Vec::new();
            pool.locals
                .canonical(&self.rules.order.columns, id, &mut words);
            (pool.members.key(id), words)
        };
        let held = (0..pool.members.len() as u32).filter(|&id| pool.locals.holds(id));
        held.map(canonical).collect()
    }

    pub(crate) fn counters(&self) -> BoardCounters {
        BoardCounters {
            members: self.seasons.members(),
            overflow: self.overflow,
            late: self.seasons.late(),
            splits: self.seasons.all().map(|(_, part)| part.splits()).sum(),
            splits_refused: self.splits_refused,
            errors: self.gate.errors(),
        }
    }

    pub(crate) fn seasons(&self) -> Vec<SeasonRow> {
        self.seasons.rows()
    }

    pub(crate) fn advance(&mut self, watermark_ms: i64) {
        self.seasons.advance(watermark_ms);
    }

    pub(crate) fn awaits(&self, in_effect_ms: i64, watermark_ms: i64) -> bool {
        self.seasons.awaits(in_effect_ms, watermark_ms)
    }

    /// Applies the accepted rows of a batch. Changed shares of members owned elsewhere go to
    /// `deltas`, once per member and batch; replay passes `None` and restates them all afterwards.
    pub(crate) fn apply(
        &mut self,
        schema: &Schema,
        batch: &Accepted<'_>,
        origin: Origin,
        mut deltas: Option<&mut DeltaQueue>,
    ) {
        let (rules, touched, overflow) = (&self.rules, &mut self.touched, &mut self.overflow);
        let (split, refused) = (self.split.as_ref(), &mut self.splits_refused);
        let batch = self.gate.pass(batch);
        self.seasons
            .apply(&batch, |divided, season_ms, events, scratch| {
                let apply =
                    |pool: &mut Pool, split: &[u8], events: &Accepted<'_>, scratch: &mut _| {
                        touched.clear();
                        rules.merge_events(pool, schema, events, origin, (touched, scratch));
                        touched.sort_unstable();
                        touched.dedup();
                        for &id in touched.iter() {
                            if *pool.owners.at(id as usize) == rules.shard {
                                *overflow += u64::from(rules.refresh(pool, id));
                            } else if let Some(deltas) = deltas.as_deref_mut() {
                                rules.state(pool, id, (season_ms, split), origin.lsn, deltas);
                            }
                        }
                    };
                *refused += divided.apply(split, schema, events, scratch, apply);
            });
    }

    /// States the shares of all members that are owned elsewhere.
    pub(crate) fn restate(&self, lsn: u64, deltas: &mut DeltaQueue) {
        for (place, pool) in places(self.seasons.all()) {
            let of = (place.season.start_ms, place.split);
            for id in 0..pool.members.len() as u32 {
                let is_mine = *pool.owners.at(id as usize) == self.rules.shard;
                if !is_mine && pool.locals.holds(id) {
                    self.rules.state(pool, id, of, lsn, deltas);
                }
            }
        }
    }

    /// Takes another shard's share over; false if the delta does not belong here. One of a season
    /// that is not kept any more changes nothing.
    pub(crate) fn apply_delta(&mut self, delta: &Delta<'_>) -> bool {
        let rules = &self.rules;
        let source = usize::from(delta.source);
        let is_other = delta.source != rules.shard && source < usize::from(rules.shards);
        if !is_other || delta.owner != rules.shard || rules.owner(delta.member) != rules.shard {
            return false;
        }
        let Some(divided) = self.seasons.part_mut(delta.season_ms) else {
            return true;
        };
        let Some(pool) = divided.part_mut(self.split.as_ref(), delta.split) else {
            return false;
        };
        let id = rules.member_id(pool, delta.member);
        let (columns, words) = (&rules.order.columns, &mut self.words);
        let whole = pool.remotes[source].import(columns, id, delta.share, words);
        self.overflow += u64::from(rules.refresh(pool, id));
        whole
    }
}

impl Rules {
    fn read<'a>(&'a self, pool: &'a Pool) -> BoardRead<'a> {
        BoardRead {
            order: &self.order,
            rank: &pool.rank,
            members: &pool.members,
            notes: pool.notes.as_ref(),
        }
    }

    /// Adds each event to the share of its member.
    fn merge_events(
        &self,
        pool: &mut Pool,
        schema: &Schema,
        events: &Accepted<'_>,
        origin: Origin,
        (touched, scratch): (&mut Vec<u32>, &mut PartScratch),
    ) {
        let row_bytes = schema.row_len();
        let columns = &self.order.columns;
        for &pick in events.picks {
            let at = pick as usize * row_bytes;
            let row = &events.rows[at..at + row_bytes];
            if self.optional_member && schema.is_null(row, self.member_field) {
                continue;
            }
            let Some(bits) = self.bits(schema, events, row, pick) else {
                continue;
            };
            let id = self.member_id(pool, schema.canonical_bytes(row, self.member_field));
            pool.locals.add(columns, id, &bits, origin.tie(pick));
            if let Some(notes) = &self.notes {
                notes.write(schema, events, pick, origin.tie(pick), &mut scratch.note);
                pool.locals.keep_note(id, &scratch.note);
            }
            touched.push(id);
        }
    }

    /// What an event gives each column, `None` if it touches no board. An event takes part in all
    /// columns or in none.
    fn bits(
        &self,
        schema: &Schema,
        events: &Accepted<'_>,
        row: &[u8],
        pick: u32,
    ) -> Option<[u64; SCORES_MAX]> {
        let mut all = [0; SCORES_MAX];
        for (column, bits) in self.order.columns.iter().zip(&mut all) {
            *bits = column.bits(schema, events, row, pick)?;
        }
        Some(all)
    }

    fn owner(&self, member: &[u8]) -> u16 {
        shard_of(group_of(key_hash(member)), usize::from(self.shards)) as u16
    }

    fn member_id(&self, pool: &mut Pool, member: &[u8]) -> u32 {
        let hash = key_hash(member);
        let (id, added) = pool.members.find_or_insert(hash, member);
        if added {
            let owner = shard_of(group_of(hash), usize::from(self.shards)) as u16;
            pool.owners.push(owner);
            pool.locals.grow_for(id);
        }
        id
    }

    /// States this shard's share of a member, of a season and split.
    fn state(
        &self,
        pool: &Pool,
        id: u32,
        (season_ms, split): (i64, &[u8]),
        lsn: u64,
        deltas: &mut DeltaQueue,
    ) {
        let delta = Delta {
            lsn,
            season_ms,
            source: self.shard,
            owner: *pool.owners.at(id as usize),
            board: self.board,
            split,
            member: pool.members.key(id),
            share: &[],
        };
        deltas.push(&delta, |out| pool.locals.export(id, out));
    }

    /// Merges all shares of a member and ranks the result; true if a score had to be held at the
    /// end of its type.
    fn refresh(&self, pool: &mut Pool, id: u32) -> bool {
        let columns = &self.order.columns;
        let (shares, at) = pool.merge(columns, id, usize::from(self.shard));
        let mut scores = [0; SCORES_MAX];
        let (mut filled, mut held_back) = (0, false);
        let mut tie = None;
        for column in columns.iter().enumerate() {
            let Some(merged) = shares.score(column, at) else {
                pool.rank.remove(id);
                return false;
            };
            let words = column.1.words();
            scores[filled..filled + words].copy_from_slice(&merged.words[..words]);
            filled += words;
            // The scores as they stand were reached when the last of them was.
            tie = tie.max(Some(merged.tie));
            held_back |= merged.held_back;
        }
        let tie = tie.unwrap_or_default();
        let key = self.order.key(&scores[..filled], tie, pool.members.key(id));
        let names = self.order.names(&pool.members);
        pool.rank.update(id, &key, names);
        held_back
    }
}
