//! A board whose member is the stream's key. Most scores need no record but the rank index: the
//! sort keys *are* the scores; what others need stands in [`beside`].

mod beside;
mod rules;

use super::divided::{Divided, Place, SplitPart, SplitPlan};
use super::notes::{NotePlan, Notes};
use super::order::OrderPlan;
use super::ranks::Ranks;
use super::score::ScorePlan;
use super::seasons::{At, Part, PartScratch, Seasons};
use super::{BoardCounters, BoardRead, Origin};
use crate::gate::Gate;
use crate::pipeline::{Board, Stream};
use crate::query::{SeasonRow, SplitsAnswer};
use crate::schema::{Field, Schema};
use crate::table::KeyTable;
use crate::window::Accepted;
use beside::Beside;
use rules::{Pass, Rules};

#[derive(Debug, Clone)]
pub(crate) struct KeyBoard {
    rules: Rules,
    seasons: Seasons<Divided<KeyPart>>,
    split: Option<SplitPlan>,
    overflow: u64,
    splits_refused: u64,
    gate: Gate,
}

/// The members of one season, or of a board without.
#[derive(Debug, Clone)]
struct KeyPart {
    /// Of a season or split, so that it is no larger than what it holds; else the stream's keys are
    /// used.
    members: Option<KeyTable>,
    rank: Ranks,
    beside: Beside,
    notes: Option<Notes>,
}

impl KeyBoard {
    pub(crate) fn new(stream: &Stream, board: &Board, gate: Gate) -> Self {
        let field = &stream.schema.fields[board.member];
        let order = OrderPlan::new(stream, board);
        let notes = NotePlan::new(stream, board);
        let part = KeyPart {
            members: board.season.as_ref().map(|_| KeyTable::of_field(field)),
            rank: Ranks::new(order.words()),
            beside: Beside::new(&order.columns),
            notes: notes.as_ref().map(Notes::new),
        };
        let split = SplitPlan::new(stream, board);
        Self {
            seasons: Seasons::new(board, field, Divided::new(part, split.as_ref())),
            split,
            rules: Rules {
                order,
                notes,
                optional_member: field.optional.then_some(board.member),
                member: board.member,
            },
            overflow: 0,
            splits_refused: 0,
            gate,
        }
    }

    /// The board in a season and split; `keys` are those of the stream.
    pub(crate) fn read<'a>(&'a self, at: At, split: &[u8], keys: &'a KeyTable) -> BoardRead<'a> {
        let part = self.seasons.part(at).part(split);
        self.rules
            .read(part.unwrap_or(self.seasons.empty().whole()), keys)
    }

    pub(crate) fn splits(&self, at: At, split: &[u8]) -> SplitsAnswer {
        self.seasons.part(at).answer(split)
    }

    /// Every season with its splits and what they hold, and with what the scores need beside that.
    pub(crate) fn all<'a>(
        &'a self,
        keys: &'a KeyTable,
    ) -> impl Iterator<Item = (Place<'a>, BoardRead<'a>, &'a Beside)> {
        let all = super::divided::places(self.seasons.all());
        all.map(|(place, part)| (place, self.rules.read(part, keys), &part.beside))
    }

    pub(crate) fn columns(&self) -> &[ScorePlan] {
        &self.rules.order.columns
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

    /// Asks for the records of these members, some time before they are applied.
    pub(crate) fn prefetch(&self, members: &[u32]) {
        if !self.seasons.is_seasonal() {
            self.seasons
                .part(At::ALL_TIME)
                .whole()
                .rank
                .prefetch(members);
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
        let (split, refused) = (self.split.as_ref(), &mut self.splits_refused);
        let batch = self.gate.pass(batch);
        self.seasons.apply(&batch, |divided, _, events, scratch| {
            let apply = |part: &mut KeyPart, _: &[u8], events: &Accepted<'_>, scratch: &mut _| {
                *overflow += part.apply(rules, schema, events, keys, origin, scratch);
            };
            *refused += divided.apply(split, schema, events, scratch, apply);
        });
    }
}

impl KeyPart {
    /// Applies events; returns those that would have overflowed.
    fn apply(
        &mut self,
        rules: &Rules,
        schema: &Schema,
        events: &Accepted<'_>,
        keys: &KeyTable,
        origin: Origin,
        scratch: &mut PartScratch,
    ) -> u64 {
        let Self {
            members,
            rank,
            beside,
            notes,
        } = self;
        let (ids, table) = match members {
            None => (events.members, keys),
            Some(table) => {
                rules.find_members(schema, events, table, scratch);
                rank.prefetch(&scratch.ids);
                (scratch.ids.as_slice(), &*table)
            }
        };
        let pass = Pass {
            schema,
            batch: events,
            members: ids,
            origin,
        };
        if let Some(notes) = notes {
            rules.note(notes, pass, &mut scratch.note);
        }
        rules.apply(rank, beside, table, pass)
    }
}

impl SplitPart for KeyPart {
    fn fresh_split(&self, member: &Field) -> Self {
        Self {
            members: Some(KeyTable::of_field(member)),
            ..self.fresh(member)
        }
    }
}

impl Part for KeyPart {
    fn fresh(&self, field: &Field) -> Self {
        Self {
            members: self.members.as_ref().map(|_| KeyTable::of_field(field)),
            rank: self.rank.fresh(),
            beside: self.beside.fresh(),
            notes: self.notes.as_ref().map(Notes::fresh),
        }
    }

    fn free_some(&mut self, pieces: &mut usize) -> bool {
        let (of_table, notes) = (self.members.as_mut(), self.notes.as_mut());
        of_table.is_none_or(|members| members.free_some(pieces))
            && self.rank.free_some(pieces)
            && self.beside.free_some(pieces)
            && notes.is_none_or(|notes| notes.free_some(pieces))
    }

    fn members(&self) -> u64 {
        self.rank.len()
    }
}
