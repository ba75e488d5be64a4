//! A board as a whole, and beside it one board for each value of the fields that it is split by.
//!
//! A split is what the board would be if only the events with its value counted: it has members,
//! scores and ties of its own. An event goes to the whole and to its split in one step, so no
//! answer lies between the two.
//!
//! A shard admits only so many splits. Events of a further one count on the whole and are counted
//! as refused. What a shard admits follows from its own events alone; shares of other shards are
//! taken in any case, so that what is admitted does not depend on when they come.

use super::seasons::{Part, PartScratch};
use crate::cells::CellsPlan;
use crate::partition::key_hash;
use crate::pipeline::{Board, Stream};
use crate::query::{SplitRow, SplitsAnswer};
use crate::schema::{Field, Schema};
use crate::table::KeyTable;
use crate::window::Accepted;
use crate::window::grid::Span;

/// A part that can be a split.
pub(crate) trait SplitPart: Part {
    /// An empty one with the same rules, whose members are its own.
    fn fresh_split(&self, member: &Field) -> Self;
}

/// What a board is split by.
#[derive(Debug, Clone)]
pub(crate) struct SplitPlan {
    cells: CellsPlan,
    bytes: usize,
    /// Most splits that are admitted.
    most: u32,
    /// The member field.
    member: Field,
}

/// The whole and its splits, of one season.
#[derive(Debug, Clone)]
pub(crate) struct Divided<P> {
    whole: P,
    /// Of a board that is split.
    splits: Option<Box<Splits<P>>>,
}

#[derive(Debug, Clone)]
struct Splits<P> {
    /// The cells of each split.
    names: KeyTable,
    parts: Vec<Split<P>>,
    admitted: u32,
    /// Events whose split was not admitted.
    refused: u64,
}

#[derive(Debug, Clone)]
struct Split<P> {
    part: P,
    /// Whether an event of this shard made it, not only shares of others.
    admitted: bool,
}

/// Vectors for dealing events out to splits, kept so that a batch allocates nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct SplitScratch {
    /// Split and place in the batch, of each event that has one.
    places: Vec<(u32, u32)>,
    picks: Vec<u32>,
    name: Vec<u8>,
    last: Vec<u8>,
}

impl SplitPlan {
    /// The plan of a board that is split.
    pub(crate) fn new(stream: &Stream, board: &Board) -> Option<Self> {
        (!board.split.is_empty()).then(|| Self {
            cells: CellsPlan::new(stream, &board.split),
            bytes: crate::cells::cells_bytes(stream, &board.split),
            most: board.splits,
            member: stream.schema.fields[board.member].clone(),
        })
    }
}

impl<P: SplitPart> Divided<P> {
    /// `whole` and no splits yet.
    pub(crate) fn new(whole: P, plan: Option<&SplitPlan>) -> Self {
        let splits = plan.map(|plan| {
            Box::new(Splits {
                names: KeyTable::fixed(plan.bytes),
                parts: Vec::new(),
                admitted: 0,
                refused: 0,
            })
        });
        Self { whole, splits }
    }

    /// The whole.
    pub(crate) const fn whole(&self) -> &P {
        &self.whole
    }

    /// The part of a split, the whole for no cells; `None` if it is not there.
    pub(crate) fn part(&self, split: &[u8]) -> Option<&P> {
        if split.is_empty() {
            return Some(&self.whole);
        }
        self.splits.as_ref()?.find(split).map(|split| &split.part)
    }

    /// The whole, and then the splits by their cells.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&[u8], &P)> {
        let splits = self.splits.iter().flat_map(|splits| splits.all());
        let mut splits: Vec<_> = splits.map(|(name, split)| (name, &split.part)).collect();
        splits.sort_unstable_by_key(|(name, _)| *name);
        std::iter::once((&[][..], &self.whole)).chain(splits)
    }

    /// The part that takes a share of another shard; `None` if the board has no such splits.
    pub(crate) fn part_mut(&mut self, plan: Option<&SplitPlan>, split: &[u8]) -> Option<&mut P> {
        if split.is_empty() {
            return Some(&mut self.whole);
        }
        let (plan, splits) = (plan?, self.splits.as_mut()?);
        if split.len() != plan.bytes {
            return None;
        }
        let id = match splits.names.find(key_hash(split), split) {
            Some(id) => id,
            None => splits.add(split, self.whole.fresh_split(&plan.member)),
        };
        Some(&mut splits.parts[id as usize].part)
    }

    /// Calls `apply` for the whole with all events, then for each split with its cells and events.
    /// Returns how many events had a split that was not admitted.
    pub(crate) fn apply(
        &mut self,
        plan: Option<&SplitPlan>,
        schema: &Schema,
        events: &Accepted<'_>,
        scratch: &mut PartScratch,
        mut apply: impl FnMut(&mut P, &[u8], &Accepted<'_>, &mut PartScratch),
    ) -> u64 {
        apply(&mut self.whole, &[], events, scratch);
        let (Some(plan), Some(splits)) = (plan, &mut self.splits) else {
            return 0;
        };
        let mut of_split = std::mem::take(&mut scratch.split);
        let refused_before = splits.refused;
        splits.deal(plan, &self.whole, schema, events, &mut of_split);
        let SplitScratch { places, picks, .. } = &mut of_split;
        places.sort_unstable();
        for of_one in places.chunk_by(|(one, _), (other, _)| one == other) {
            let id = of_one[0].0;
            picks.clear();
            picks.extend(of_one.iter().map(|(_, at)| events.picks[*at as usize]));
            let events = Accepted {
                picks: picks.as_slice(),
                times_ms: &[],
                members: &[],
                ..*events
            };
            let part = &mut splits.parts[id as usize].part;
            apply(part, splits.names.key(id), &events, scratch);
        }
        scratch.split = of_split;
        splits.refused - refused_before
    }

    /// Calls `change` for the whole, and for the split that the one event of `event` went into, if it
    /// did; with `comes` as if it came now.
    pub(crate) fn correct(
        &mut self,
        plan: Option<&SplitPlan>,
        schema: &Schema,
        event: &Accepted<'_>,
        comes: bool,
        mut change: impl FnMut(&mut P, &[u8]),
    ) {
        change(&mut self.whole, &[]);
        let (Some(plan), Some(splits)) = (plan, &mut self.splits) else {
            return;
        };
        let mut name = Vec::new();
        if !plan.cells.append(schema, event, 0, &mut name) {
            return;
        }
        let id = match comes {
            true => splits.admit(plan, &self.whole, &name),
            false => splits
                .names
                .find(key_hash(&name), &name)
                .filter(|&id| splits.parts[id as usize].admitted),
        };
        if let Some(id) = id {
            change(&mut splits.parts[id as usize].part, &name);
        }
    }

    /// How many splits this shard admitted.
    pub(crate) fn splits(&self) -> u64 {
        self.splits
            .as_ref()
            .map_or(0, |splits| u64::from(splits.admitted))
    }

    /// The splits that have members here, or the one that is named.
    pub(crate) fn answer(&self, named: &[u8]) -> SplitsAnswer {
        let Some(splits) = &self.splits else {
            return SplitsAnswer::default();
        };
        let row = |(name, split): (&[u8], &Split<P>)| SplitRow {
            split: name.to_vec(),
            members: split.part.members(),
        };
        let one = splits.find(named);
        let rows: Vec<_> = match named {
            [] => splits.all().map(row).collect(),
            named => one.map(|split| row((named, split))).into_iter().collect(),
        };
        SplitsAnswer {
            splits: rows.into_iter().filter(|row| row.members > 0).collect(),
            refused: splits.refused,
            lacking: splits.refused > 0 && !one.is_some_and(|split| split.admitted),
        }
    }
}

impl<P: SplitPart> Splits<P> {
    fn find(&self, split: &[u8]) -> Option<&Split<P>> {
        let id = self.names.find(key_hash(split), split)?;
        Some(&self.parts[id as usize])
    }

    fn all(&self) -> impl Iterator<Item = (&[u8], &Split<P>)> {
        let parts = self.parts.iter().enumerate();
        parts.map(|(id, split)| (self.names.key(id as u32), split))
    }

    #[cold]
    fn add(&mut self, name: &[u8], part: P) -> u32 {
        let (id, _) = self.names.find_or_insert(key_hash(name), name);
        self.parts.push(Split {
            part,
            admitted: false,
        });
        id
    }

    /// Finds the split of each event. One that has no value for each field has none.
    fn deal(
        &mut self,
        plan: &SplitPlan,
        whole: &P,
        schema: &Schema,
        events: &Accepted<'_>,
        scratch: &mut SplitScratch,
    ) {
        let SplitScratch {
            places, name, last, ..
        } = scratch;
        places.clear();
        // Events of one batch are often of one split.
        let mut of_last = None;
        for (at, &pick) in events.picks.iter().enumerate() {
            name.clear();
            if !plan.cells.append(schema, events, pick, name) {
                continue;
            }
            let id = match of_last {
                Some(id) if name == last => id,
                _ => self.admit(plan, whole, name),
            };
            match id {
                Some(id) => places.push((id, at as u32)),
                None => self.refused += 1,
            }
            of_last = Some(id);
            std::mem::swap(name, last);
        }
    }

    /// The split of an event of this shard; `None` if there are too many.
    fn admit(&mut self, plan: &SplitPlan, whole: &P, name: &[u8]) -> Option<u32> {
        let known = self.names.find(key_hash(name), name);
        if let Some(id) = known.filter(|&id| self.parts[id as usize].admitted) {
            return Some(id);
        }
        if self.admitted == plan.most {
            return None;
        }
        let id = known.unwrap_or_else(|| self.add(name, whole.fresh_split(&plan.member)));
        self.admitted += 1;
        self.parts[id as usize].admitted = true;
        Some(id)
    }
}

/// A season and a split of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) season: Span,
    /// Cells; none for the whole.
    pub(crate) split: &'a [u8],
}

/// All parts of all seasons.
pub(crate) fn places<'a, P: SplitPart + 'a>(
    seasons: impl Iterator<Item = (Span, &'a Divided<P>)>,
) -> impl Iterator<Item = (Place<'a>, &'a P)> {
    let place = |season, (split, part)| (Place { season, split }, part);
    seasons.flat_map(move |(season, divided)| divided.all().map(move |of| place(season, of)))
}

impl<P: SplitPart> Part for Divided<P> {
    fn fresh(&self, member: &Field) -> Self {
        Self {
            whole: self.whole.fresh(member),
            splits: self.splits.as_ref().map(|splits| {
                Box::new(Splits {
                    names: splits.names.fresh(),
                    parts: Vec::new(),
                    admitted: 0,
                    refused: 0,
                })
            }),
        }
    }

    fn free_some(&mut self, pieces: &mut usize) -> bool {
        if let Some(splits) = &mut self.splits {
            while *pieces > 0
                && let Some(split) = splits.parts.last_mut()
            {
                if split.part.free_some(pieces) {
                    splits.parts.pop();
                    *pieces = pieces.saturating_sub(1);
                }
            }
            if !splits.parts.is_empty() || !splits.names.free_some(pieces) {
                return false;
            }
        }
        self.whole.free_some(pieces)
    }

    fn members(&self) -> u64 {
        self.whole.members()
    }

    fn corrected(&self) -> u64 {
        self.whole.corrected()
    }
}
