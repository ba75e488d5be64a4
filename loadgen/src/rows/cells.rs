//! Cells that take more than a plain number.

use crate::rng::mix;

/// Ready-made cells of a text field: length byte, text, zeros.
#[derive(Clone, Debug)]
pub(super) struct TextCells {
    bytes: Vec<u8>,
    width: usize,
    count: u16,
}

/// Width of a `text(11)` cell, which gets a copy of known length.
const COMMON_WIDTH: usize = 12;

impl TextCells {
    /// One cell per word; a word longer than the capacity is cut (words are ASCII).
    pub(super) fn new(words: &[&str], capacity: u8) -> TextCells {
        let width = 1 + usize::from(capacity);
        let mut bytes = vec![0u8; width * words.len()];
        for (cell, word) in bytes.chunks_exact_mut(width).zip(words) {
            assert!(word.is_ascii(), "invariant: words are cut at any byte");
            let text = &word.as_bytes()[..word.len().min(usize::from(capacity))];
            cell[0] = text.len() as u8;
            cell[1..1 + text.len()].copy_from_slice(text);
        }
        TextCells {
            bytes,
            width,
            count: words.len() as u16,
        }
    }

    #[inline]
    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// Copies the cell with this index into the row.
    #[inline]
    pub(super) fn write(&self, row: &mut [u8], at: usize, index: u64) {
        let from = index as usize * self.width;
        if self.width == COMMON_WIDTH {
            let cell: &[u8; COMMON_WIDTH] = self.bytes[from..from + COMMON_WIDTH]
                .try_into()
                .expect("invariant: a slice of this length");
            row[at..at + COMMON_WIDTH].copy_from_slice(cell);
        } else {
            row[at..at + self.width].copy_from_slice(&self.bytes[from..from + self.width]);
        }
    }
}

/// 16 bytes that tell numbers apart.
pub(super) fn uuid_of(number: u64) -> [u8; 16] {
    let mut bytes = [0u8; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes[8..].copy_from_slice(&mix(number).to_be_bytes());
    bytes
}

/// Writes a key as text: lower-case base 36, lowest digit first. Distinct keys below
/// 36^capacity give distinct texts.
pub(super) fn write_key_text(row: &mut [u8], at: usize, capacity: u8, key: u64) {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let cell = &mut row[at..at + 1 + usize::from(capacity)];
    cell.fill(0);
    let mut rest = key;
    let mut length = 0u8;
    while length < capacity && (length == 0 || rest > 0) {
        cell[1 + usize::from(length)] = DIGITS[(rest % 36) as usize];
        rest /= 36;
        length += 1;
    }
    cell[0] = length;
}
