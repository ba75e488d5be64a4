//! A board whose member is not the stream's key.
//!
//! Every shard keeps its own partial of each member it has seen. The member's owner, found by
//! hashing the member as if it were a key, also keeps the latest partial of every other shard and
//! ranks the merged score. Partials travel as whole values, never as increments, so a delta that
//! arrives twice or after a newer one's restatement does no harm.

use super::order::OrderPlan;
use super::partial::{Held, Partial};
use super::ranks::Ranks;
use super::seasons::{At, Part, Seasons};
use super::{BoardCounters, BoardRead, Origin};
use crate::delta::{Delta, DeltaQueue, Name, Partials};
use crate::gate::Gate;
use crate::limits::SCORES_MAX;
use crate::partition::{group_of, key_hash, shard_of};
use crate::pipeline::{Board, Stream};
use crate::query::SeasonRow;
use crate::rank::Tie;
use crate::schema::{Field, Schema};
use crate::table::KeyTable;
use crate::table::chunks::Chunks;
use crate::window::Accepted;
use crate::window::grid::Span;

#[derive(Debug, Clone)]
pub(crate) struct ForeignBoard {
    rules: Rules,
    seasons: Seasons<Pool>,
    overflow: u64,
    gate: Gate,
    touched: Vec<u32>,
}

/// How events become partials, and whose they are.
#[derive(Debug, Clone)]
struct Rules {
    order: OrderPlan,
    member_field: usize,
    optional_member: bool,
    board: u16,
    shard: u16,
    shards: u16,
}

/// The members of one season, or of a board without.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    /// All members seen here, own or not.
    members: KeyTable,
    owners: Chunks<u16>,
    /// This shard's partials, one per member and column.
    locals: Chunks<Partial>,
    /// Partials of the other shards, for members owned here.
    remotes: Vec<Chunks<Partial>>,
    rank: Ranks,
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
        let pool = Pool::new(field, Ranks::new(order.words()), usize::from(shards));
        Self {
            seasons: Seasons::new(board, field, pool),
            rules: Rules {
                order,
                member_field: board.member,
                optional_member: field.optional,
                board: index,
                shard,
                shards,
            },
            overflow: 0,
            gate,
            touched: Vec::new(),
        }
    }

    pub(crate) fn read(&self, at: At) -> BoardRead<'_> {
        self.rules.read(self.seasons.part(at))
    }

    /// Every season with what it holds, and with this shard's partials by member and column.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Span, BoardRead<'_>, &Pool)> {
        let all = self.seasons.all();
        all.map(|(span, pool)| (span, self.rules.read(pool), pool))
    }

    /// This shard's partials in a season with their members, one per column.
    pub(crate) fn partials<'a>(
        &self,
        pool: &'a Pool,
    ) -> impl Iterator<Item = (&'a [u8], &'a Partial)> {
        let columns = self.rules.order.columns.len();
        let with_key = move |(at, partial)| (pool.members.key((at / columns) as u32), partial);
        let held = |(_, partial): &(&[u8], &Partial)| partial.held != Held::Nothing;
        pool.locals.iter().enumerate().map(with_key).filter(held)
    }

    pub(crate) fn counters(&self) -> BoardCounters {
        BoardCounters {
            members: self.seasons.members(),
            overflow: self.overflow,
            late: self.seasons.late(),
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

    /// Applies the accepted rows of a batch. Changed partials of members owned elsewhere go to
    /// `deltas`, once per member and batch; replay passes `None` and restates them all afterwards.
    pub(crate) fn apply(
        &mut self,
        schema: &Schema,
        batch: &Accepted<'_>,
        origin: Origin,
        mut deltas: Option<&mut DeltaQueue>,
    ) {
        let (rules, touched, overflow) = (&self.rules, &mut self.touched, &mut self.overflow);
        let batch = self.gate.pass(batch);
        self.seasons.apply(&batch, |pool, season_ms, events, _| {
            touched.clear();
            rules.merge_events(pool, schema, events, origin, touched);
            touched.sort_unstable();
            touched.dedup();
            for &id in touched.iter() {
                if *pool.owners.at(id as usize) == rules.shard {
                    *overflow += u64::from(rules.refresh(pool, id));
                } else if let Some(deltas) = deltas.as_deref_mut() {
                    deltas.push(&rules.delta(pool, id, season_ms, origin.lsn));
                }
            }
        });
    }

    /// States the partials of all members that are owned elsewhere.
    pub(crate) fn restate(&self, lsn: u64, deltas: &mut DeltaQueue) {
        for (span, pool) in self.seasons.all() {
            for id in 0..pool.members.len() as u32 {
                let is_mine = *pool.owners.at(id as usize) == self.rules.shard;
                if !is_mine && pool.locals.at(self.rules.first(id)).held != Held::Nothing {
                    deltas.push(&self.rules.delta(pool, id, span.start_ms, lsn));
                }
            }
        }
    }

    /// Takes another shard's partials over; false if the delta does not belong here. One of a
    /// season that is not kept any more changes nothing.
    pub(crate) fn apply_delta(&mut self, delta: &Delta) -> bool {
        let rules = &self.rules;
        let source = usize::from(delta.source);
        let is_other = delta.source != rules.shard && source < usize::from(rules.shards);
        if !is_other || delta.owner != rules.shard || rules.owner(delta.member()) != rules.shard {
            return false;
        }
        let Some(pool) = self.seasons.part_mut(delta.season_ms) else {
            return true;
        };
        let id = rules.member_id(pool, delta.member());
        let (first, behind) = (rules.first(id), rules.first(id + 1));
        pool.remotes[source].grow_to(behind, Partial::default());
        for (at, partial) in (first..behind).zip(delta.partials.all()) {
            *pool.remotes[source].at_mut(at) = *partial;
        }
        self.overflow += u64::from(rules.refresh(pool, id));
        true
    }
}

impl Pool {
    fn new(field: &Field, rank: Ranks, shards: usize) -> Self {
        Self {
            members: KeyTable::of_field(field),
            owners: Chunks::new(),
            locals: Chunks::new(),
            remotes: vec![Chunks::new(); shards],
            rank,
        }
    }
}

impl Part for Pool {
    fn fresh(&self, member: &Field) -> Self {
        Self::new(member, self.rank.fresh(), self.remotes.len())
    }

    fn free_some(&mut self, pieces: &mut usize) -> bool {
        let mut remotes = self.remotes.iter_mut();
        self.members.free_some(pieces)
            && self.owners.free_some(pieces)
            && self.locals.free_some(pieces)
            && remotes.all(|remote| remote.free_some(pieces))
            && self.rank.free_some(pieces)
    }

    fn members(&self) -> u64 {
        self.rank.len()
    }
}

impl Rules {
    fn read<'a>(&'a self, pool: &'a Pool) -> BoardRead<'a> {
        BoardRead {
            order: &self.order,
            rank: &pool.rank,
            members: &pool.members,
        }
    }

    /// Merges each event into the partials of its member.
    fn merge_events(
        &self,
        pool: &mut Pool,
        schema: &Schema,
        events: &Accepted<'_>,
        origin: Origin,
        touched: &mut Vec<u32>,
    ) {
        let row_bytes = schema.row_len();
        for &pick in events.picks {
            let at = pick as usize * row_bytes;
            let row = &events.rows[at..at + row_bytes];
            if self.optional_member && schema.is_null(row, self.member_field) {
                continue;
            }
            let Some(event) = self.partials_of(schema, events, row, origin.tie(pick)) else {
                continue;
            };
            let id = self.member_id(pool, schema.canonical_bytes(row, self.member_field));
            let first = self.first(id);
            for (at, column) in self.order.columns.iter().enumerate() {
                pool.locals.at_mut(first + at).merge(column, &event[at]);
            }
            touched.push(id);
        }
    }

    /// What an event gives each column, `None` if it touches no board. An event takes part in all
    /// columns or in none.
    fn partials_of(
        &self,
        schema: &Schema,
        events: &Accepted<'_>,
        row: &[u8],
        tie: Tie,
    ) -> Option<[Partial; SCORES_MAX]> {
        let mut partials = [Partial::default(); SCORES_MAX];
        for (column, partial) in self.order.columns.iter().zip(&mut partials) {
            *partial = Partial::of_event(column, column.bits(schema, events, row, tie.index)?, tie);
        }
        Some(partials)
    }

    /// Where the partials of a member begin.
    fn first(&self, id: u32) -> usize {
        id as usize * self.order.columns.len()
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
            pool.locals.grow_to(self.first(id + 1), Partial::default());
        }
        id
    }

    fn delta(&self, pool: &Pool, id: u32, season_ms: i64, lsn: u64) -> Delta {
        let columns = self.order.columns.len();
        let mut partials = [Partial::default(); SCORES_MAX];
        for (at, partial) in partials[..columns].iter_mut().enumerate() {
            *partial = *pool.locals.at(self.first(id) + at);
        }
        Delta {
            lsn,
            source: self.shard,
            owner: *pool.owners.at(id as usize),
            board: self.board,
            season_ms,
            partials: Partials::new(&partials[..columns]),
            member: Name::new(pool.members.key(id)),
        }
    }

    /// Merges all partials of a member, in the order of shards so that floating-point sums come
    /// out the same each time, and ranks the result; true if a score had to be held at the end of
    /// its type.
    fn refresh(&self, pool: &mut Pool, id: u32) -> bool {
        let first = self.first(id);
        let mut sort_keys = [0; SCORES_MAX];
        let (mut tie, mut held_back) = (Tie::default(), false);
        for (at, column) in self.order.columns.iter().enumerate() {
            let mut merged = Partial::default();
            for (shard, remote) in pool.remotes.iter().enumerate() {
                if shard == usize::from(self.shard) {
                    merged.merge(column, pool.locals.at(first + at));
                } else if first + at < remote.len() {
                    merged.merge(column, remote.at(first + at));
                }
            }
            if merged.held == Held::Nothing {
                return false;
            }
            let (sort_key, held) = merged.sort_key(column);
            sort_keys[at] = sort_key;
            // The scores as they stand were reached when the last of them was.
            tie = tie.max(merged.tie);
            held_back |= held;
        }
        let sort_keys = &sort_keys[..self.order.columns.len()];
        let key = self.order.key(sort_keys, tie, pool.members.key(id));
        let names = self.order.names(&pool.members);
        pool.rank.update(id, &key, names);
        held_back
    }
}
