//! The shares of one shard in the scores of the members of a board, one partial per score column.
//!
//! Where a partial does not fit into two words it lies in a block of the column's slab: sums of f64
//! as exact as those of views, and the best contributions of a mean.

use super::mean::{List, MOMENT_ENTRY, unit_words};
use super::notes::{NotePlan, Notes};
use super::partial::{Held, Partial};
use super::score::ScorePlan;
use crate::aggregate::{Cell, Number};
use crate::pipeline::ScoreRule;
use crate::rank::Tie;
use crate::sketch::float_sum::FloatSum;
use crate::sketch::slab::{Block, Slab};
use crate::sketch::{self, Sketch};
use crate::table::chunks::Chunks;

/// Bytes of an encoded partial before the words of its block.
const PARTIAL_BYTES: usize = 44;

/// Where a column keeps its partials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// In two words.
    Inline,
    /// In a block: an exact sum of f64.
    FloatSum,
    /// In a block: the list of the `n` best.
    Best(usize),
}

#[derive(Debug, Clone)]
pub(crate) struct Shares {
    /// One per member and column.
    partials: Chunks<Partial>,
    /// One per column.
    slabs: Vec<Slab>,
    /// Of a board that has such.
    notes: Option<Notes>,
}

/// What all shares of a column make.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Merged {
    /// Of which the column has one or two.
    pub(crate) words: [u64; 2],
    /// When they were reached.
    pub(crate) tie: Tie,
    /// Whether the score had to be held at the end of its type.
    pub(crate) held_back: bool,
}

impl Shape {
    #[inline]
    fn of(column: &ScorePlan) -> Self {
        match (column.rule, column.number) {
            (ScoreRule::MeanBest { n }, _) => Self::Best(usize::from(n)),
            (ScoreRule::Sum, Number::F64) => Self::FloatSum,
            _ => Self::Inline,
        }
    }

    fn slab(self) -> Slab {
        Slab::new(match self {
            Self::Inline => 0,
            Self::FloatSum => FloatSum.unit_words(),
            Self::Best(n) => unit_words::<MOMENT_ENTRY>(n),
        })
    }
}

fn list(partial: &Partial) -> List<MOMENT_ENTRY> {
    List {
        words: partial.words,
    }
}

impl Shares {
    pub(crate) fn new(columns: &[ScorePlan], notes: Option<&NotePlan>) -> Self {
        let slab = |column| Shape::of(column).slab();
        Self {
            partials: Chunks::new(),
            slabs: columns.iter().map(slab).collect(),
            notes: notes.map(Notes::new),
        }
    }

    /// Empty ones with the same columns.
    pub(crate) fn fresh(&self) -> Self {
        Self {
            partials: Chunks::new(),
            slabs: self.slabs.iter().map(Slab::fresh).collect(),
            notes: self.notes.as_ref().map(Notes::fresh),
        }
    }

    /// See [`Chunks::free_some`].
    pub(crate) fn free_some(&mut self, pieces: &mut usize) -> bool {
        let (mut slabs, notes) = (self.slabs.iter_mut(), self.notes.as_mut());
        self.partials.free_some(pieces)
            && slabs.all(|slab| slab.free_some(pieces))
            && notes.is_none_or(|notes| notes.free_some(pieces))
    }

    fn first(&self, id: u32) -> usize {
        id as usize * self.slabs.len()
    }

    /// Makes room for all members up to this one.
    #[inline]
    pub(crate) fn grow_for(&mut self, id: u32) {
        let len = self.first(id) + self.slabs.len();
        self.partials.grow_to(len, Partial::default());
    }

    /// Whether the member has a share.
    pub(crate) fn holds(&self, id: u32) -> bool {
        let first = self.first(id);
        first < self.partials.len() && self.partials.at(first).held != Held::Nothing
    }

    /// Adds what an event gives each column, to a member that there is room for.
    #[inline]
    pub(crate) fn add(&mut self, columns: &[ScorePlan], id: u32, bits: &[u64], tie: Tie) {
        let first = self.first(id);
        let columns = columns.iter().zip(bits).zip(&mut self.slabs);
        for (at, ((column, &bits), slab)) in columns.enumerate() {
            let partial = self.partials.at_mut(first + at);
            match Shape::of(column) {
                Shape::Inline => partial.merge(column, &Partial::of_event(column, bits, tie)),
                Shape::FloatSum => {
                    partial.events = partial.events.saturating_add(1);
                    partial.reach(Held::of_sum(bits), tie);
                    let value = f64::from_bits(bits);
                    with_cell(partial, |cell| FloatSum.add(cell, slab, value));
                }
                Shape::Best(n) => {
                    let [stamp, minor] = tie.words();
                    let entry = [column.sort_key(bits), stamp, minor];
                    partial.events = partial.events.saturating_add(1);
                    insert_all(partial, slab, n, &entry);
                }
            }
        }
    }

    /// Takes back what an event gave each column, all of which are sums; `tie` is of the correction.
    /// False if the member has no share.
    pub(crate) fn take_back(
        &mut self,
        columns: &[ScorePlan],
        id: u32,
        bits: &[u64],
        tie: Tie,
    ) -> bool {
        if !self.holds(id) {
            return false;
        }
        let first = self.first(id);
        let columns = columns.iter().zip(bits).zip(&mut self.slabs);
        for (at, ((column, &bits), slab)) in columns.enumerate() {
            let partial = self.partials.at_mut(first + at);
            match Shape::of(column) {
                Shape::Inline => partial.subtract(&Partial::of_event(column, bits, tie)),
                Shape::FloatSum => {
                    let value = -f64::from_bits(bits);
                    with_cell(partial, |cell| FloatSum.add(cell, slab, value));
                }
                Shape::Best(_) => {}
            }
            partial.leave(Held::of_sum(bits), tie);
        }
        true
    }

    /// Of how many events the share of a member is made.
    pub(crate) fn events(&self, id: u32) -> u64 {
        let first = self.first(id);
        match first < self.partials.len() {
            true => u64::from(self.partials.at(first).events),
            false => 0,
        }
    }

    /// Keeps the note of an event, if it is the latest of the member.
    pub(crate) fn keep_note(&mut self, id: u32, note: &[u8]) {
        if let Some(notes) = &mut self.notes {
            notes.keep(id, note);
        }
    }

    /// The note of a member with its moment, on a board that has such.
    pub(crate) fn note(&self, id: u32) -> Option<&[u8]> {
        self.notes.as_ref().map(|notes| notes.whole(id))
    }

    /// Merges the share that another shard has of a member, into one that there is room for.
    pub(crate) fn merge(&mut self, columns: &[ScorePlan], id: u32, other: &Self, other_id: u32) {
        if !other.holds(other_id) {
            return;
        }
        let (first, other_first) = (self.first(id), other.first(other_id));
        for (at, column) in columns.iter().enumerate() {
            let share = other.partials.at(other_first + at);
            let partial = self.partials.at_mut(first + at);
            merge_one(
                column,
                (partial, &mut self.slabs[at]),
                share,
                other.block(at, share),
            );
        }
        if let Some(note) = other.note(other_id) {
            self.keep_note(id, note);
        }
    }

    /// Takes a member's share away.
    pub(crate) fn clear(&mut self, id: u32) {
        let first = self.first(id);
        for (at, slab) in self.slabs.iter_mut().enumerate() {
            let partial = std::mem::take(self.partials.at_mut(first + at));
            if slab.is_used() {
                slab.give_back(Block::of_word(partial.words[0]));
            }
        }
        if let Some(notes) = &mut self.notes {
            notes.clear(id);
        }
    }

    /// What the share of a member makes of a column; `None` if there is none, or all of its events were
    /// taken back.
    pub(crate) fn score(&self, (at, column): (usize, &ScorePlan), id: u32) -> Option<Merged> {
        let partial = self.partials.at(self.first(id) + at);
        if partial.events == 0 {
            return None;
        }
        let (slab, mut tie) = (&self.slabs[at], partial.tie);
        let (words, held_back) = match Shape::of(column) {
            Shape::Inline => {
                let (sort_key, held_back) = partial.sort_key(column);
                ([sort_key, 0], held_back)
            }
            Shape::FloatSum => {
                let sum = FloatSum.finish(&as_sketch(partial, self.block(at, partial)));
                let held = sum.clamp(f64::MIN, f64::MAX) + 0.0;
                ([column.sort_key(held.to_bits()), 0], held != sum)
            }
            Shape::Best(_) => {
                tie = list(partial).reached(slab);
                (column.mean_words(list(partial).sort_keys(slab)), false)
            }
        };
        Some(Merged {
            words,
            tie,
            held_back,
        })
    }

    /// The words of the block of a partial.
    fn block(&self, at: usize, partial: &Partial) -> &[u64] {
        let slab = &self.slabs[at];
        match slab.is_used() {
            true => slab.words(Block::of_word(partial.words[0])),
            false => &[],
        }
    }

    /// Appends words that are equal for equal shares.
    pub(crate) fn canonical(&self, columns: &[ScorePlan], id: u32, out: &mut Vec<u64>) {
        let first = self.first(id);
        for (at, column) in columns.iter().enumerate() {
            let partial = self.partials.at(first + at);
            out.push(held_word(partial));
            out.extend_from_slice(&partial.tie.words());
            match Shape::of(column) {
                Shape::Inline => out.extend_from_slice(&partial.words),
                Shape::FloatSum => {
                    FloatSum.canonical(&as_sketch(partial, self.block(at, partial)), out);
                }
                Shape::Best(_) => out.extend_from_slice(list(partial).entries(&self.slabs[at])),
            }
        }
        let note = self.note(id).unwrap_or_default();
        out.extend(note.iter().map(|&byte| u64::from(byte)));
    }

    /// Appends a member's share as bytes, for the shard that owns the member.
    pub(crate) fn export(&self, id: u32, out: &mut Vec<u8>) {
        let first = self.first(id);
        for at in 0..self.slabs.len() {
            let partial = self.partials.at(first + at);
            let block = self.block(at, partial);
            let [stamp, minor] = partial.tie.words();
            let held = held_word(partial);
            for word in [partial.words[0], partial.words[1], stamp, minor, held] {
                out.extend_from_slice(&word.to_le_bytes());
            }
            out.extend_from_slice(&(block.len() as u32).to_le_bytes());
            for word in block {
                out.extend_from_slice(&word.to_le_bytes());
            }
        }
        out.extend_from_slice(self.note(id).unwrap_or_default());
    }

    /// Puts an exported share in the place of a member's; false, with nothing or a part of it
    /// there, if the bytes are none of a board with these columns.
    pub(crate) fn import(
        &mut self,
        columns: &[ScorePlan],
        id: u32,
        mut bytes: &[u8],
        words: &mut Vec<u64>,
    ) -> bool {
        self.grow_for(id);
        self.clear(id);
        let first = self.first(id);
        for (at, column) in columns.iter().enumerate() {
            let Some((share, rest)) = decode(bytes, words) else {
                return false;
            };
            if !is_valid(column, &share, words) {
                return false;
            }
            let partial = self.partials.at_mut(first + at);
            merge_one(column, (partial, &mut self.slabs[at]), &share, words);
            bytes = rest;
        }
        match &mut self.notes {
            Some(notes) => notes.keep(id, bytes),
            None => bytes.is_empty(),
        }
    }
}

/// Merges a share whose block has these words.
fn merge_one(
    column: &ScorePlan,
    (partial, slab): (&mut Partial, &mut Slab),
    share: &Partial,
    words: &[u64],
) {
    match Shape::of(column) {
        Shape::Inline => partial.merge(column, share),
        Shape::FloatSum => {
            partial.events = partial.events.saturating_add(share.events);
            partial.reach(share.held, share.tie);
            let share = as_sketch(share, words);
            with_cell(partial, |cell| FloatSum.merge(cell, slab, &share));
        }
        Shape::Best(n) => {
            partial.events = partial.events.saturating_add(share.events);
            let entries = &words[..share.words[1] as usize * MOMENT_ENTRY];
            insert_all(partial, slab, n, entries);
        }
    }
}

/// What a partial holds, and of how many events.
fn held_word(partial: &Partial) -> u64 {
    u64::from(partial.events) << 8 | partial.held as u64
}

fn insert_all(partial: &mut Partial, slab: &mut Slab, n: usize, entries: &[u64]) {
    let (entries, _) = entries.as_chunks();
    let mut list = list(partial);
    entries.iter().for_each(|entry| list.insert(slab, n, entry));
    (partial.words, partial.held) = (list.words, Held::Score);
}

fn with_cell(partial: &mut Partial, change: impl FnOnce(&mut Cell)) {
    let mut cell = Cell {
        words: partial.words,
        count: 0,
    };
    change(&mut cell);
    partial.words = cell.words;
}

fn as_sketch<'w>(partial: &Partial, words: &'w [u64]) -> sketch::Partial<'w> {
    sketch::Partial {
        words,
        state: partial.words[1],
        count: 0,
    }
}

/// Reads one encoded partial from the front of `bytes`, the words of its block to `words`.
fn decode<'b>(bytes: &'b [u8], words: &mut Vec<u64>) -> Option<(Partial, &'b [u8])> {
    let (header, rest) = bytes.split_at_checked(PARTIAL_BYTES)?;
    let (numbers, length) = header.as_chunks::<8>();
    let number = |at: usize| u64::from_le_bytes(numbers[at]);
    let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
    let (block, rest) = rest.split_at_checked(length.checked_mul(8)?)?;
    words.clear();
    words.extend(
        block
            .as_chunks()
            .0
            .iter()
            .map(|word| u64::from_le_bytes(*word)),
    );
    let partial = Partial {
        words: [number(0), number(1)],
        tie: Tie::from_words([number(2), number(3)]),
        held: Held::from_code(number(4) as u8)?,
        events: u32::try_from(number(4) >> 8).ok()?,
    };
    Some((partial, rest))
}

/// Whether a share that came from elsewhere can be one of this column.
fn is_valid(column: &ScorePlan, share: &Partial, words: &[u64]) -> bool {
    share.held != Held::Nothing
        && match Shape::of(column) {
            Shape::Inline => words.is_empty(),
            Shape::FloatSum => FloatSum.is_valid(&as_sketch(share, words)),
            Shape::Best(n) => {
                let used = usize::try_from(share.words[1]).ok();
                let used = used.and_then(|len| words.get(..len.checked_mul(MOMENT_ENTRY)?));
                used.is_some_and(|entries| !entries.is_empty() && List::is_valid(entries, n))
            }
        }
}
