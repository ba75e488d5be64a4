//! Why a row was refused: one reason and the field it lies in.

use std::fmt;

/// Marks a [`Reject`] that concerns the row as a whole.
pub const NO_FIELD: u8 = 255;

/// The reason of a refusal. The numbers are part of the wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum RejectReason {
    /// An `f64` that is NaN or infinite.
    NotFinite = 1,
    /// A `bool` byte other than 0 and 1.
    BadBool,
    /// Text that is not UTF-8, or with bytes behind its end that are not zero.
    BadText,
    /// Text longer than the capacity of its field.
    TextTooLong,
    /// A required field that is absent or null.
    Missing,
    /// A value of another type than its field.
    WrongType,
    /// A number that its field cannot hold, or a time outside the years 0 to 9999.
    OutOfRange,
    /// An event time further ahead of the clock than `max_future`.
    FutureTime,
    /// Padding, or the bytes of a null field, that are not zero.
    BadPadding,
    /// A null bit that belongs to no field.
    UnknownNull,
    /// A sum that left the range of its result.
    Overflow,
    /// The id of an earlier event, with other content.
    Conflict,
}

impl RejectReason {
    /// Number of reasons; `reason.index()` is below it.
    pub const COUNT: usize = 12;

    /// All reasons, in the order of their numbers.
    pub const ALL: [RejectReason; RejectReason::COUNT] = [
        RejectReason::NotFinite,
        RejectReason::BadBool,
        RejectReason::BadText,
        RejectReason::TextTooLong,
        RejectReason::Missing,
        RejectReason::WrongType,
        RejectReason::OutOfRange,
        RejectReason::FutureTime,
        RejectReason::BadPadding,
        RejectReason::UnknownNull,
        RejectReason::Overflow,
        RejectReason::Conflict,
    ];

    /// The number on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The reason of a number on the wire.
    pub fn from_code(code: u8) -> Option<RejectReason> {
        let index = usize::from(code).checked_sub(1)?;
        RejectReason::ALL.get(index).copied()
    }

    /// Position in [`RejectReason::ALL`], for counters.
    pub const fn index(self) -> usize {
        self as usize - 1
    }

    /// The name used in metrics and messages.
    pub const fn name(self) -> &'static str {
        match self {
            RejectReason::NotFinite => "not_finite",
            RejectReason::BadBool => "bad_bool",
            RejectReason::BadText => "bad_text",
            RejectReason::TextTooLong => "text_too_long",
            RejectReason::Missing => "missing",
            RejectReason::WrongType => "wrong_type",
            RejectReason::OutOfRange => "out_of_range",
            RejectReason::FutureTime => "future_time",
            RejectReason::BadPadding => "bad_padding",
            RejectReason::UnknownNull => "unknown_null",
            RejectReason::Overflow => "overflow",
            RejectReason::Conflict => "conflict",
        }
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A refused row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{reason}")]
pub struct Reject {
    /// Why.
    pub reason: RejectReason,
    /// Index of the field in its schema; [`NO_FIELD`] if the row as a whole is meant.
    pub field: u8,
}

impl Reject {
    /// A refusal because of one field.
    pub const fn of_field(reason: RejectReason, field: u8) -> Reject {
        Reject { reason, field }
    }

    /// A refusal of the row as a whole.
    pub const fn of_row(reason: RejectReason) -> Reject {
        Reject {
            reason,
            field: NO_FIELD,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip_and_names_are_distinct() {
        let mut names = std::collections::HashSet::new();
        for (index, reason) in RejectReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index);
            assert_eq!(RejectReason::from_code(reason.code()), Some(reason));
            assert!(names.insert(reason.name()));
        }
        assert_eq!(RejectReason::from_code(0), None);
        assert_eq!(RejectReason::from_code(RejectReason::COUNT as u8 + 1), None);
    }
}
