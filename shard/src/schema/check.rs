//! The compiled checks of a row.
//!
//! Required integers, uuids and whole rows without padding need none. Each check is one entry; the
//! list runs front to back, the null bits first, because the others depend on them.

use crate::limits::{TIME_MS_MAX, TIME_MS_MIN};
use crate::reject::{Reject, RejectReason};
use crate::row::{self, Layout};
use crate::schema::{Field, FieldType};

/// No null bit: the field is required.
const REQUIRED: u16 = u16::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// Bits of the last byte of null bits that belong to no field.
    NullTail { offset: u16, mask: u8 },
    /// Zeros at the end of the row, at most 7.
    Padding { offset: u16 },
    /// An f64.
    Finite {
        field: u8,
        offset: u16,
        null_bit: u16,
    },
    /// A time in the years 0 to 9999.
    Time {
        field: u8,
        offset: u16,
        null_bit: u16,
    },
    /// A byte that is 0 or 1.
    Bool {
        field: u8,
        offset: u16,
        null_bit: u16,
    },
    /// A text.
    Text {
        field: u8,
        offset: u16,
        capacity: u8,
        null_bit: u16,
    },
    /// An optional cell whose every content is a value: zero if null.
    ZeroIfNull {
        field: u8,
        offset: u16,
        bytes: u8,
        null_bit: u16,
    },
}

pub(super) fn compile(layout: &Layout) -> Box<[Check]> {
    let mut checks = Vec::new();
    let optional_count = layout.fields.iter().filter(|field| field.optional).count();
    if !optional_count.is_multiple_of(8) {
        let offset = (layout.null_offset + layout.null_bytes - 1) as u16;
        checks.push(Check::NullTail {
            offset,
            mask: u8::MAX << (optional_count % 8),
        });
    }
    if layout.used_bytes < layout.row_bytes {
        checks.push(Check::Padding {
            offset: layout.used_bytes as u16,
        });
    }
    let fields = layout.fields.iter().enumerate();
    checks.extend(fields.filter_map(|(index, field)| compile_field(index as u8, field)));
    checks.into_boxed_slice()
}

fn compile_field(index: u8, field: &Field) -> Option<Check> {
    let offset = field.offset;
    let null_bit = field.null_bit.unwrap_or(REQUIRED);
    Some(match field.kind {
        FieldType::F64 => Check::Finite {
            field: index,
            offset,
            null_bit,
        },
        FieldType::Time => Check::Time {
            field: index,
            offset,
            null_bit,
        },
        FieldType::Bool => Check::Bool {
            field: index,
            offset,
            null_bit,
        },
        FieldType::Text(capacity) => Check::Text {
            field: index,
            offset,
            capacity,
            null_bit,
        },
        FieldType::U64 | FieldType::I64 | FieldType::Uuid if field.optional => {
            let bytes = field.kind.cell_bytes() as u8;
            Check::ZeroIfNull {
                field: index,
                offset,
                bytes,
                null_bit,
            }
        }
        FieldType::U64 | FieldType::I64 | FieldType::Uuid => return None,
    })
}

#[inline]
pub(super) fn null_bit(row: &[u8], null_offset: u16, bit: u16) -> bool {
    row[usize::from(null_offset + bit / 8)] >> (bit % 8) & 1 == 1
}

pub(super) fn set_null_bit(row: &mut [u8], null_offset: u16, bit: u16, null: bool) {
    let byte = &mut row[usize::from(null_offset + bit / 8)];
    let mask = 1u8 << (bit % 8);
    *byte = if null { *byte | mask } else { *byte & !mask };
}

impl Check {
    #[inline]
    pub(super) fn run(&self, row: &[u8], null_offset: u16) -> Result<(), Reject> {
        let is_null = |bit: u16| bit != REQUIRED && null_bit(row, null_offset, bit);
        match *self {
            Check::NullTail { offset, mask } => match row[usize::from(offset)] & mask {
                0 => Ok(()),
                _ => Err(Reject::of_row(RejectReason::UnknownNull)),
            },
            Check::Padding { offset } => match any_set(&row[usize::from(offset)..]) {
                false => Ok(()),
                true => Err(Reject::of_row(RejectReason::BadPadding)),
            },
            Check::Finite {
                field,
                offset,
                null_bit,
            } => {
                if is_null(null_bit) {
                    zero(row, offset, 8, field)
                } else if row::read_f64(row, offset).is_finite() {
                    Ok(())
                } else {
                    Err(Reject::of_field(RejectReason::NotFinite, field))
                }
            }
            Check::Time {
                field,
                offset,
                null_bit,
            } => {
                if is_null(null_bit) {
                    zero(row, offset, 8, field)
                } else if (TIME_MS_MIN..=TIME_MS_MAX).contains(&row::read_i64(row, offset)) {
                    Ok(())
                } else {
                    Err(Reject::of_field(RejectReason::OutOfRange, field))
                }
            }
            Check::Bool {
                field,
                offset,
                null_bit,
            } => {
                if is_null(null_bit) {
                    zero(row, offset, 1, field)
                } else if row[usize::from(offset)] <= 1 {
                    Ok(())
                } else {
                    Err(Reject::of_field(RejectReason::BadBool, field))
                }
            }
            Check::Text {
                field,
                offset,
                capacity,
                null_bit,
            } => {
                if is_null(null_bit) {
                    return zero(row, offset, 1 + usize::from(capacity), field);
                }
                let at = usize::from(offset);
                let cell = &row[at..at + 1 + usize::from(capacity)];
                check_text(cell).map_err(|reason| Reject::of_field(reason, field))
            }
            Check::ZeroIfNull {
                field,
                offset,
                bytes,
                null_bit,
            } => {
                if is_null(null_bit) {
                    zero(row, offset, usize::from(bytes), field)
                } else {
                    Ok(())
                }
            }
        }
    }
}

#[inline]
fn zero(row: &[u8], offset: u16, bytes: usize, field: u8) -> Result<(), Reject> {
    let at = usize::from(offset);
    match any_set(&row[at..at + bytes]) {
        false => Ok(()),
        true => Err(Reject::of_field(RejectReason::BadPadding, field)),
    }
}

#[inline]
fn any_set(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |seen, byte| seen | byte) != 0
}

/// Checks a text cell: its length byte, its UTF-8, the zeros behind it.
#[inline]
fn check_text(cell: &[u8]) -> Result<(), RejectReason> {
    let (length, text) = (usize::from(cell[0]), &cell[1..]);
    if length > text.len() {
        return Err(RejectReason::TextTooLong);
    }
    if (8..=16).contains(&text.len()) && is_short_ascii(text, length) {
        return Ok(());
    }
    let (head, tail) = text.split_at(length);
    // Most text is ASCII, which needs no decoder; what is not takes the exact way.
    if any_set(tail) || !(head.is_ascii() || std::str::from_utf8(head).is_ok()) {
        return Err(RejectReason::BadText);
    }
    Ok(())
}

/// Whether 8 to 16 bytes are ASCII up to `length` and zero behind it, in two overlapping words.
#[inline]
fn is_short_ascii(text: &[u8], length: usize) -> bool {
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    let word = |at: usize| {
        u64::from_le_bytes(text[at..at + 8].try_into().expect("invariant: eight bytes"))
    };
    let behind = |kept: usize| if kept >= 8 { 0 } else { u64::MAX << (8 * kept) };
    let overlap_offset = text.len() - 8;
    let (front, back) = (word(0), word(overlap_offset));
    let stray = (front & behind(length)) | (back & behind(length.saturating_sub(overlap_offset)));
    ((front | back) & HIGH_BITS) | stray == 0
}
