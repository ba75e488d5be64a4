//! A board whose member is the stream's key. Its scores need no record but the rank index: the
//! sort keys *are* the scores.

mod rules;

use super::order::OrderPlan;
use super::ranks::Ranks;
use super::score::ScorePlan;
use super::seasons::{At, Part, Seasons};
use super::{BoardCounters, BoardRead, Origin};
use crate::aggregate::CompensatedSum;
use crate::gate::Gate;
use crate::pipeline::{Board, Stream};
use crate::query::SeasonRow;
use crate::schema::{Field, Schema};
use crate::table::KeyTable;
use crate::table::chunks::Chunks;
use crate::window::Accepted;
use crate::window::grid::Span;
use rules::{Pass, Rules, Step};

#[derive(Debug, Clone)]
pub(crate) struct KeyBoard {
    rules: Rules,
    seasons: Seasons<KeyPart>,
    overflow: u64,
    gate: Gate,
}

/// The members of one season, or of a board without.
#[derive(Debug, Clone)]
struct KeyPart {
    /// Of a season, so that it is no larger than what it holds; else the stream's keys are used.
    members: Option<KeyTable>,
    rank: Ranks,
    sums: FloatSums,
}

/// Compensated sums by member, of the columns that sum f64.
#[derive(Debug, Clone, Default)]
pub(crate) struct FloatSums {
    sums: Chunks<CompensatedSum>,
    /// Such columns.
    columns: usize,
}

impl KeyBoard {
    pub(crate) fn new(stream: &Stream, board: &Board, gate: Gate) -> Self {
        let field = &stream.schema.fields[board.member];
        let order = OrderPlan::new(stream, board);
        let is_float = |column: &&ScorePlan| column.is_float_sum();
        let part = KeyPart {
            members: board.season.as_ref().map(|_| KeyTable::of_field(field)),
            rank: Ranks::new(order.words()),
            sums: FloatSums {
                sums: Chunks::new(),
                columns: order.columns.iter().filter(is_float).count(),
            },
        };
        Self {
            seasons: Seasons::new(board, field, part),
            rules: Rules {
                order,
                optional_member: field.optional.then_some(board.member),
                member: board.member,
            },
            overflow: 0,
            gate,
        }
    }

    /// The board in a season; `keys` are those of the stream.
    pub(crate) fn read<'a>(&'a self, at: At, keys: &'a KeyTable) -> BoardRead<'a> {
        self.rules.read(self.seasons.part(at), keys)
    }

    /// Every season with what it holds, and with the floating-point sums of each member.
    pub(crate) fn all<'a>(
        &'a self,
        keys: &'a KeyTable,
    ) -> impl Iterator<Item = (Span, BoardRead<'a>, &'a FloatSums)> {
        let all = self.seasons.all();
        all.map(|(span, part)| (span, self.rules.read(part, keys), &part.sums))
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

    /// Asks for the records of these members, some time before they are applied.
    pub(crate) fn prefetch(&self, members: &[u32]) {
        if !self.seasons.is_seasonal() {
            self.seasons.part(At::ALL_TIME).rank.prefetch(members);
        }
    }

    /// Applies the accepted rows of a batch; `keys` are those of the stream.
    pub(crate) fn apply(
        &mut self,
        schema: &Schema,
        batch: &Accepted<'_>,
        keys: &KeyTable,
        origin: Origin,
    ) {
        let (rules, overflow) = (&self.rules, &mut self.overflow);
        let batch = self.gate.pass(batch);
        self.seasons.apply(&batch, |part, _, events, scratch| {
            let KeyPart {
                members,
                rank,
                sums,
            } = part;
            let (ids, table) = match members {
                None => (events.members, keys),
                Some(table) => {
                    rules.find_members(schema, events, table, scratch);
                    (scratch.ids.as_slice(), &*table)
                }
            };
            let pass = Pass {
                schema,
                batch: events,
                members: ids,
                origin,
            };
            *overflow += rules.apply(rank, sums, table, pass);
        });
    }
}

impl Part for KeyPart {
    fn fresh(&self, field: &Field) -> Self {
        Self {
            members: self.members.as_ref().map(|_| KeyTable::of_field(field)),
            rank: self.rank.fresh(),
            sums: FloatSums {
                sums: Chunks::new(),
                columns: self.sums.columns,
            },
        }
    }

    fn free_some(&mut self, pieces: &mut usize) -> bool {
        let of_table = self.members.as_mut();
        of_table.is_none_or(|members| members.free_some(pieces))
            && self.rank.free_some(pieces)
            && self.sums.sums.free_some(pieces)
    }

    fn members(&self) -> u64 {
        self.rank.len()
    }
}

impl FloatSums {
    /// Sums and compensations of a member, of the columns that have such.
    pub(crate) fn of_member(&self, member: u32) -> impl Iterator<Item = CompensatedSum> {
        let first = member as usize * self.columns;
        let known = self.sums.len() >= first + self.columns;
        let columns = if known { self.columns } else { 0 };
        (first..first + columns).map(|index| *self.sums.at(index))
    }

    /// Makes room for these members.
    fn grow_for(&mut self, members: &[u32]) {
        if self.columns > 0
            && let Some(&highest) = members.iter().max()
        {
            let len = (highest as usize + 1) * self.columns;
            self.sums.grow_to(len, CompensatedSum::default());
        }
    }

    fn of(&self, member: u32, float: usize) -> CompensatedSum {
        *self.sums.at(member as usize * self.columns + float)
    }

    fn keep(&mut self, columns: &[ScorePlan], member: u32, step: &Step) {
        let mut at = member as usize * self.columns;
        for (column, sum) in columns.iter().zip(&step.sums) {
            if column.is_float_sum() {
                *self.sums.at_mut(at) = *sum;
                at += 1;
            }
        }
    }
}
