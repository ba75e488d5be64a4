//! Cells of rows as words, and the values that they are.

use crate::schema::FieldType;
use crate::value::{OwnedValue, Value};

/// Words of the largest cell, that of `text(255)`.
pub(crate) const VALUE_WORDS_MAX: usize = 32;

/// Words that hold a cell of the type.
pub(crate) fn value_words(kind: FieldType) -> usize {
    kind.cell_bytes().div_ceil(8)
}

/// The words of a cell; unused bytes are zero, so equal values are equal words.
#[inline]
pub(crate) fn read_words<'w>(
    kind: FieldType,
    cell: &[u8],
    buffer: &'w mut [u64; VALUE_WORDS_MAX],
) -> &'w [u64] {
    let (whole, tail) = cell.as_chunks::<8>();
    for (word, bytes) in buffer.iter_mut().zip(whole) {
        *word = u64::from_le_bytes(*bytes);
    }
    if kind == FieldType::F64 {
        // -0.0 is read as 0.0.
        buffer[0] = (f64::from_bits(buffer[0]) + 0.0).to_bits();
    }
    if !tail.is_empty() {
        let mut last = [0; 8];
        last[..tail.len()].copy_from_slice(tail);
        buffer[whole.len()] = u64::from_le_bytes(last);
    }
    &buffer[..cell.len().div_ceil(8)]
}

/// The value of a cell's words; `None` if they are none of this type.
pub(crate) fn value_of(kind: FieldType, words: &[u64]) -> Option<OwnedValue> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let (cell, padding) = bytes.split_at_checked(kind.cell_bytes())?;
    if padding.iter().any(|&byte| byte != 0) {
        return None;
    }
    let value = match kind {
        FieldType::Text(_) => {
            let text = cell.get(1..1 + usize::from(cell[0]))?;
            Value::Text(std::str::from_utf8(text).ok()?)
        }
        FieldType::F64 => {
            let number = f64::from_le_bytes(cell.try_into().ok()?);
            number.is_finite().then_some(Value::F64(number))?
        }
        _ => Value::from_canonical(kind, cell)?,
    };
    Some(OwnedValue::from(value))
}

/// A hash for tables inside one cell; no format, so that it may be cheap.
#[inline]
pub(crate) fn mix(words: &[u64]) -> u64 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    words.iter().fold(MIX, |hash, word| {
        let product = u128::from(hash ^ word) * u128::from(MIX);
        (product >> 64) as u64 ^ product as u64
    })
}
