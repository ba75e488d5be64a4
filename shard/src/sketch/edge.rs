//! The first or last value: by event time, then in recorded order.
//!
//! The order (event time, stamp, log stream, index in the batch) stands in the log, is total and is
//! kept beside the value, so the first of several partials is the first of all events.

use super::words::{value_of, value_words};
use super::{Partial, Sketch};
use crate::aggregate::Cell;
use crate::schema::FieldType;
use crate::sketch::slab::{Block, Slab};
use crate::value::OwnedValue;

/// Words of the order, in front of those of the value.
pub(crate) const ORDER_WORDS: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) is_last: bool,
    pub(crate) kind: FieldType,
}

impl Edge {
    /// Takes a value over if it stands before (or behind) the one that is held.
    #[inline]
    pub(crate) fn add(
        &self,
        cell: &mut Cell,
        slab: &mut Slab,
        order: [u64; ORDER_WORDS],
        value: &[u64],
    ) {
        let mut block = Block::of_word(cell.words[0]);
        if block == Block::NONE {
            block = slab.take(0);
            cell.words[0] = block.word();
        } else if (order[..] > slab.words(block)[..ORDER_WORDS]) != self.is_last {
            return;
        }
        let (held_order, held_value) = slab.words_mut(block).split_at_mut(ORDER_WORDS);
        held_order.copy_from_slice(&order);
        held_value.copy_from_slice(value);
    }

    /// The value; `None` if the words are no value of the type.
    pub(crate) fn finish(&self, partial: &Partial<'_>) -> Option<OwnedValue> {
        value_of(self.kind, partial.words.get(ORDER_WORDS..)?)
    }
}

impl Sketch for Edge {
    fn unit_words(&self) -> usize {
        ORDER_WORDS + value_words(self.kind)
    }

    fn is_valid(&self, partial: &Partial<'_>) -> bool {
        partial.state == 0
            && partial.words.len() == self.unit_words()
            && self.finish(partial).is_some()
    }

    fn merge(&self, cell: &mut Cell, slab: &mut Slab, other: &Partial<'_>) {
        let (order, value) = other.words.split_at(ORDER_WORDS);
        self.add(cell, slab, [order[0], order[1], order[2]], value);
    }

    fn canonical(&self, partial: &Partial<'_>, out: &mut Vec<u64>) {
        out.extend_from_slice(partial.words);
    }
}
