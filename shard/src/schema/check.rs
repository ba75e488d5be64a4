//! The compiled checks of a row.
//!
//! Required integers, uuids and whole rows without padding need none. Each check is one entry; the
//! list runs front to back, the null bits first, because the others depend on them.

use crate::limits::{TIME_MS_MAX, TIME_MS_MIN};
use crate::reject::{Reject, RejectReason};
use crate::row::{self, Layout};
use crate::schema::{Field, FieldType, Limits};

/// No null bit: the field is required.
pub(super) const REQUIRED: u16 = u16::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// Bits of the last byte of null bits that belong to no field.
    NullTail { offset: u16, mask: u8 },
    /// Zeros at the end of the row, at most 7.
    Padding { offset: u16 },
    /// A cell: zeros if it is null, else what its rule says.
    Cell {
        field: u8,
        offset: u16,
        null_bit: u16,
        rule: Rule,
    },
    /// The value of a cell that is not null. Behind all others: the cell is one of its type.
    Limits {
        field: u8,
        offset: u16,
        null_bit: u16,
        limits: Limits,
    },
}

/// What the cell of a value that is not null must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// A finite f64.
    Finite,
    /// A time in the years 0 to 9999.
    Time,
    /// A byte that is 0 or 1.
    Bool,
    /// A text of this capacity.
    Text { capacity: u8 },
    /// Anything, in so many bytes: only listed for optional fields.
    Any { bytes: u8 },
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
    let rule = match field.kind {
        FieldType::F64 => Rule::Finite,
        FieldType::Time => Rule::Time,
        FieldType::Bool => Rule::Bool,
        FieldType::Text(capacity) => Rule::Text { capacity },
        FieldType::U64 | FieldType::I64 | FieldType::Uuid if field.optional => Rule::Any {
            bytes: field.kind.cell_bytes() as u8,
        },
        FieldType::U64 | FieldType::I64 | FieldType::Uuid => return None,
    };
    let null_bit = field.null_bit.unwrap_or(REQUIRED);
    Some(Check::Cell {
        field: index,
        offset: field.offset,
        null_bit,
        rule,
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
        match *self {
            Check::NullTail { offset, mask } => match row[usize::from(offset)] & mask {
                0 => Ok(()),
                _ => Err(Reject::of_row(RejectReason::UnknownNull)),
            },
            Check::Padding { offset } => match any_set(&row[usize::from(offset)..]) {
                false => Ok(()),
                true => Err(Reject::of_row(RejectReason::BadPadding)),
            },
            Check::Cell {
                field,
                offset,
                null_bit: bit,
                rule,
            } => {
                let checked = if bit != REQUIRED && null_bit(row, null_offset, bit) {
                    rule.run_null(row, offset)
                } else {
                    rule.run(row, offset)
                };
                checked.map_err(|reason| Reject::of_field(reason, field))
            }
            Check::Limits {
                field,
                offset,
                null_bit: bit,
                limits,
            } => {
                let is_null = bit != REQUIRED && null_bit(row, null_offset, bit);
                if is_null || limits.hold_cell(row, offset) {
                    return Ok(());
                }
                Err(Reject::of_field(RejectReason::OutOfRange, field))
            }
        }
    }
}

impl Rule {
    #[inline]
    fn run(self, row: &[u8], offset: u16) -> Result<(), RejectReason> {
        let at = usize::from(offset);
        let (holds, reason) = match self {
            Rule::Finite => (
                row::read_f64(row, offset).is_finite(),
                RejectReason::NotFinite,
            ),
            Rule::Time => {
                let in_range = (TIME_MS_MIN..=TIME_MS_MAX).contains(&row::read_i64(row, offset));
                (in_range, RejectReason::OutOfRange)
            }
            Rule::Bool => (row[at] <= 1, RejectReason::BadBool),
            Rule::Text { capacity } => return check_text(&row[at..at + 1 + usize::from(capacity)]),
            Rule::Any { .. } => return Ok(()),
        };
        if holds { Ok(()) } else { Err(reason) }
    }

    fn run_null(self, row: &[u8], offset: u16) -> Result<(), RejectReason> {
        let bytes = match self {
            Rule::Finite | Rule::Time => 8,
            Rule::Bool => 1,
            Rule::Text { capacity } => 1 + usize::from(capacity),
            Rule::Any { bytes } => usize::from(bytes),
        };
        let at = usize::from(offset);
        if any_set(&row[at..at + bytes]) {
            Err(RejectReason::BadPadding)
        } else {
            Ok(())
        }
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
