//! Why an expression has no value for a row.

/// Why an expression has no value for a row: an error value. Of several errors that meet in one
/// operation the last one of this list counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ErrorReason {
    /// An integer result is beyond its type.
    Overflow = 0,
    /// A division or remainder by zero.
    DivisionByZero = 1,
    /// A cast to a type, or a time, that does not hold the value.
    OutOfRange = 2,
    /// An f64 result is infinite or no number.
    NotFinite = 3,
}

impl ErrorReason {
    /// How many there are.
    pub const COUNT: usize = 4;

    /// All of them, by index.
    pub const ALL: [ErrorReason; Self::COUNT] = [
        ErrorReason::Overflow,
        ErrorReason::DivisionByZero,
        ErrorReason::OutOfRange,
        ErrorReason::NotFinite,
    ];

    /// Its place in [`ErrorReason::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            ErrorReason::Overflow => "overflow",
            ErrorReason::DivisionByZero => "division_by_zero",
            ErrorReason::OutOfRange => "out_of_range",
            ErrorReason::NotFinite => "not_finite",
        }
    }
}

/// What a register holds for a row, as one byte: a value, null, or an error and its reason.
///
/// The numbers are in the order in which they absorb each other, so that the greatest one of the
/// operands is that of a strict operation.
pub(super) mod state {
    use super::ErrorReason;

    pub(crate) const VALUE: u8 = 0;
    pub(crate) const NULL: u8 = 1;
    pub(crate) const FIRST_ERROR: u8 = 2;

    pub(crate) const OVERFLOW: u8 = of(ErrorReason::Overflow);
    pub(crate) const DIVISION_BY_ZERO: u8 = of(ErrorReason::DivisionByZero);
    pub(crate) const OUT_OF_RANGE: u8 = of(ErrorReason::OutOfRange);
    pub(crate) const NOT_FINITE: u8 = of(ErrorReason::NotFinite);

    const fn of(reason: ErrorReason) -> u8 {
        FIRST_ERROR + reason as u8
    }

    /// The reason of an error; `None` for a value or null.
    pub(crate) fn reason(state: u8) -> Option<ErrorReason> {
        let index = usize::from(state).checked_sub(usize::from(FIRST_ERROR))?;
        ErrorReason::ALL.get(index).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_and_states_agree() {
        for (index, reason) in ErrorReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index);
            assert_eq!(
                state::reason(index as u8 + state::FIRST_ERROR),
                Some(reason)
            );
        }
        assert_eq!(state::reason(state::VALUE), None);
        assert_eq!(state::reason(state::NULL), None);
        assert_eq!(state::reason(u8::MAX), None);
    }
}
