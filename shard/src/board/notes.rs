//! What a board shows beside a score: columns of the latest event of each member.
//!
//! A note is a flag and a cell for each column, of a fixed length. The latest event is the one with
//! the greatest moment in recorded order, so notes of several shards merge in any order.

use crate::cells::{CellsPlan, read_cell};
use crate::pipeline::{Board, Stream};
use crate::rank::Tie;
use crate::schema::Schema;
use crate::table::chunks::free_last;
use crate::value::Value;
use crate::window::Accepted;

/// Notes per chunk. Only the first chunk grows by doubling; later ones are allocated whole.
const CHUNK_NOTES: usize = 512;
/// Bytes of the moment in front of a note.
const MOMENT_BYTES: usize = 16;

/// What the notes of a board hold.
#[derive(Debug, Clone)]
pub(crate) struct NotePlan {
    cells: CellsPlan,
    /// Bytes of a note with its moment.
    bytes: usize,
}

/// Notes by member.
#[derive(Debug, Clone)]
pub(crate) struct Notes {
    /// Bytes of a note with its moment.
    bytes: usize,
    chunks: Vec<Vec<u8>>,
    notes: usize,
}

impl NotePlan {
    /// The plan of a board that has notes.
    pub(crate) fn new(stream: &Stream, board: &Board) -> Option<Self> {
        (!board.with.is_empty()).then(|| Self {
            cells: CellsPlan::new(stream, &board.with),
            bytes: MOMENT_BYTES + note_bytes(stream, board),
        })
    }

    /// Writes the note of the event at index `pick`, which came at this moment.
    pub(crate) fn write(
        &self,
        schema: &Schema,
        batch: &Accepted<'_>,
        pick: u32,
        moment: Tie,
        out: &mut Vec<u8>,
    ) {
        out.clear();
        for word in moment.words() {
            out.extend_from_slice(&word.to_be_bytes());
        }
        self.cells.append_nullable(schema, batch, pick, out);
    }
}

/// Bytes of a note without its moment.
pub(crate) fn note_bytes(stream: &Stream, board: &Board) -> usize {
    crate::cells::cells_bytes(stream, &board.with) + board.with.len()
}

impl Notes {
    pub(crate) fn new(plan: &NotePlan) -> Self {
        Self {
            bytes: plan.bytes,
            chunks: Vec::new(),
            notes: 0,
        }
    }

    /// An empty one with notes of the same length.
    pub(crate) fn fresh(&self) -> Self {
        Self {
            bytes: self.bytes,
            chunks: Vec::new(),
            notes: 0,
        }
    }

    /// See `Chunks::free_some`.
    pub(crate) fn free_some(&mut self, pieces: &mut usize) -> bool {
        let none_left = free_last(&mut self.chunks, pieces);
        self.notes = self.notes.min(self.chunks.len() * CHUNK_NOTES);
        none_left
    }

    /// Keeps a note, with its moment, if it is later than that of the member; false if it is none
    /// of this board.
    pub(crate) fn keep(&mut self, member: u32, note: &[u8]) -> bool {
        if note.len() != self.bytes {
            return false;
        }
        self.grow_for(member);
        let kept = self.at_mut(member);
        // Moments are written so that they compare as bytes.
        if kept[..MOMENT_BYTES] < note[..MOMENT_BYTES] {
            kept.copy_from_slice(note);
        }
        true
    }

    /// Takes the note of a member away.
    pub(crate) fn clear(&mut self, member: u32) {
        if (member as usize) < self.notes {
            self.at_mut(member).fill(0);
        }
    }

    /// The note of a member with its moment; none if it has none.
    pub(crate) fn whole(&self, member: u32) -> &[u8] {
        let index = member as usize;
        if index >= self.notes {
            return &[];
        }
        let at = index % CHUNK_NOTES * self.bytes;
        let note = &self.chunks[index / CHUNK_NOTES][at..at + self.bytes];
        let is_there = note[..MOMENT_BYTES].iter().any(|&byte| byte != 0);
        if is_there { note } else { &[] }
    }

    /// The note of a member; none if it has none.
    pub(crate) fn note(&self, member: u32) -> &[u8] {
        self.whole(member).get(MOMENT_BYTES..).unwrap_or(&[])
    }

    fn at_mut(&mut self, member: u32) -> &mut [u8] {
        let (index, bytes) = (member as usize, self.bytes);
        let at = index % CHUNK_NOTES * bytes;
        &mut self.chunks[index / CHUNK_NOTES][at..at + bytes]
    }

    fn grow_for(&mut self, member: u32) {
        while self.notes <= member as usize {
            if self.notes.is_multiple_of(CHUNK_NOTES) {
                let notes = if self.notes == 0 { 0 } else { CHUNK_NOTES };
                self.chunks.push(Vec::with_capacity(notes * self.bytes));
            }
            let chunk = &mut self.chunks[self.notes / CHUNK_NOTES];
            chunk.resize(chunk.len() + self.bytes, 0);
            self.notes += 1;
        }
    }
}

/// The values of a note, one for each column; `None` if it is none of the board.
pub fn note_values<'n>(
    board: &Board,
    stream: &Stream,
    mut note: &'n [u8],
) -> Option<Vec<Value<'n>>> {
    let mut values = Vec::with_capacity(board.with.len());
    for &column in &board.with {
        let (flag, rest) = note.split_first()?;
        let kind = stream.column(column).kind;
        if *flag == 0 {
            values.push(Value::Null);
            note = rest.get(kind.cell_bytes()..)?;
        } else {
            let (value, rest) = read_cell(kind, rest)?;
            values.push(value);
            note = rest;
        }
    }
    note.is_empty().then_some(values)
}
