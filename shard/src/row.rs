//! The layout of a row, and the readers and writers of its cells.
//!
//! ```text
//! | u64 i64 f64 time: 8 | uuid: 16 | text: 1 + capacity | bool: 1 | null bits | zeros |
//! ```
//!
//! Inside a class the fields stand in the order of their ids. The null bits are one per optional
//! field, in the order of ids, lowest bit first, and absent if no field is optional. Zeros pad the
//! row to a multiple of 8 bytes. Everything that a value does not use is zero: the tail of a text
//! and all bytes of a null. Equal rows are therefore equal bytes.

use crate::limits::{FIELDS_MAX, ROW_ALIGN_BYTES, ROW_BYTES_MAX};
use crate::schema::{Field, FieldSpec, FieldType};

/// Where every cell of a row lies.
pub(crate) struct Layout {
    pub(crate) fields: Vec<Field>,
    /// Offset and count in bytes of the null bits.
    pub(crate) null_offset: usize,
    pub(crate) null_bytes: usize,
    /// Bytes in use; the rest of the row is padding.
    pub(crate) used_bytes: usize,
    pub(crate) row_bytes: usize,
}

/// Lays out fields that are sorted by id. `Err` is the size in bytes of a row that is too large.
pub(crate) fn layout(specs: Vec<FieldSpec>) -> Result<Layout, usize> {
    assert!(
        specs.len() <= FIELDS_MAX,
        "invariant: the schema limited its fields"
    );
    let mut fields: Vec<Field> = specs.into_iter().map(unplaced).collect();
    let mut offset = 0usize;
    for class in 0..CLASSES {
        for field in fields
            .iter_mut()
            .filter(|field| class_of(field.kind) == class)
        {
            // At most 64 fields of 256 bytes: far below the range of a u16.
            field.offset = offset as u16;
            offset += field.kind.cell_bytes();
        }
    }
    let mut optional_count = 0u16;
    for field in fields.iter_mut().filter(|field| field.optional) {
        field.null_bit = Some(optional_count);
        optional_count += 1;
    }
    let null_bytes = usize::from(optional_count).div_ceil(8);
    let used_bytes = offset + null_bytes;
    let row_bytes = used_bytes.next_multiple_of(ROW_ALIGN_BYTES);
    if row_bytes > ROW_BYTES_MAX {
        return Err(row_bytes);
    }
    Ok(Layout {
        fields,
        null_offset: offset,
        null_bytes,
        used_bytes,
        row_bytes,
    })
}

const CLASSES: u8 = 4;

fn class_of(kind: FieldType) -> u8 {
    match kind {
        FieldType::U64 | FieldType::I64 | FieldType::F64 | FieldType::Time => 0,
        FieldType::Uuid => 1,
        FieldType::Text(_) => 2,
        FieldType::Bool => 3,
    }
}

fn unplaced(spec: FieldSpec) -> Field {
    Field {
        id: spec.id,
        name: spec.name,
        kind: spec.kind,
        optional: spec.optional,
        offset: 0,
        null_bit: None,
    }
}

#[inline]
pub(crate) fn read_u64(row: &[u8], offset: u16) -> u64 {
    let at = usize::from(offset);
    let cell = row[at..at + 8].try_into().expect("invariant: eight bytes");
    u64::from_le_bytes(cell)
}

#[inline]
pub(crate) fn read_i64(row: &[u8], offset: u16) -> i64 {
    read_u64(row, offset).cast_signed()
}

/// -0.0 is read as 0.0, so that equal numbers have equal bits everywhere behind this point.
#[inline]
pub(crate) fn read_f64(row: &[u8], offset: u16) -> f64 {
    f64::from_bits(read_u64(row, offset)) + 0.0
}

#[inline]
pub(crate) fn read_uuid(row: &[u8], offset: u16) -> [u8; 16] {
    let at = usize::from(offset);
    row[at..at + 16]
        .try_into()
        .expect("invariant: sixteen bytes")
}

/// The bytes of a text. A length beyond the capacity, which `validate` refuses, is cut to it.
#[inline]
pub(crate) fn text_bytes(row: &[u8], offset: u16, capacity: u8) -> &[u8] {
    let at = usize::from(offset);
    let length = usize::from(row[at].min(capacity));
    &row[at + 1..at + 1 + length]
}

/// Writes a text that fits, and zeros behind it.
pub(crate) fn write_text(row: &mut [u8], offset: u16, capacity: u8, text: &[u8]) {
    let at = usize::from(offset);
    let length = u8::try_from(text.len()).expect("invariant: the caller checked the length");
    assert!(
        length <= capacity,
        "invariant: the caller checked the length"
    );
    row[at] = length;
    let (head, tail) =
        row[at + 1..at + 1 + usize::from(capacity)].split_at_mut(usize::from(length));
    head.copy_from_slice(text);
    tail.fill(0);
}
