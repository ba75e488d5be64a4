//! Exit codes, the same for every command.

/// How a command ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// Something is lost, doubled or wrong.
    pub verification_failed: bool,
    /// The run broke off.
    pub failed: bool,
    /// The measurement may not be believed.
    pub invalid: bool,
    /// The objective was missed.
    pub slo_missed: bool,
    /// A comparison found a regression.
    pub regression: bool,
    /// It was interrupted.
    pub interrupted: bool,
}

/// A run-time error.
pub const EXIT_ERROR: u8 = 1;
/// Wrong or contradictory options.
pub const EXIT_USAGE: u8 = 2;

impl Ending {
    /// The code; when several apply, the first of 4, 1, 130, 5, 3, 6.
    pub fn code(self) -> u8 {
        [
            (self.verification_failed, 4),
            (self.failed, EXIT_ERROR),
            (self.interrupted, crate::signal::EXIT_INTERRUPTED),
            (self.invalid, 5),
            (self.slo_missed, 3),
            (self.regression, 6),
        ]
        .into_iter()
        .find_map(|(applies, code)| applies.then_some(code))
        .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gravest_code_wins() {
        let all = Ending {
            verification_failed: true,
            failed: true,
            invalid: true,
            slo_missed: true,
            regression: true,
            interrupted: true,
        };
        assert_eq!(all.code(), 4);
        let rest = Ending {
            verification_failed: false,
            failed: false,
            ..all
        };
        assert_eq!(rest.code(), 130);
        assert_eq!(
            Ending {
                interrupted: false,
                ..rest
            }
            .code(),
            5
        );
        assert_eq!(
            Ending {
                regression: true,
                ..Ending::default()
            }
            .code(),
            6
        );
        assert_eq!(Ending::default().code(), 0);
    }
}
