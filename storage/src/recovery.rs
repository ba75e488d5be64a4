//! Recovery: where a log ends, and whether it may end there.
//!
//! `scan` walks the segments from the first, hands out the entries of every frame whose chain is
//! intact, and stops at the first position that holds no such frame. What stands there
//! ([`Next`], judged in `judge`) and what else proves that the log went on ([`Evidence`], gathered
//! in `evidence`) decide by the truth table [`verdict`]. Up to here nothing is written; verifying
//! a store is exactly this. `repair` then makes the chosen end durable before anyone believes it.

use std::fmt;

mod ahead;
mod chase;
mod evidence;
mod judge;
mod reader;
pub(crate) mod repair;
pub(crate) mod scan;

pub(crate) use reader::{PIECE_BYTES_DEFAULT, PIECE_BYTES_MAX, read_whole};
pub use scan::Replay;

/// What stands where the next frame, or the header of the next segment, would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Next {
    /// The next link of the chain, whole.
    Whole,
    /// Zeros, or for a segment no such file.
    #[default]
    Zero,
    /// A valid header of an earlier use of this file.
    LowerSegment,
    /// The right place in the chain, written by an incarnation that was over by then.
    DeadIncarnation,
    /// The next header, but its payload's digest does not match.
    TornPayload,
    /// Anything else that is no valid header of this log.
    Rubbish,
    /// A valid header of this log that cannot stand here: wrong chain, place or sequence.
    Contradiction,
}

impl Next {
    /// Every state.
    pub const ALL: [Next; 7] = [
        Next::Whole,
        Next::Zero,
        Next::LowerSegment,
        Next::DeadIncarnation,
        Next::TornPayload,
        Next::Rubbish,
        Next::Contradiction,
    ];

    /// The state in an operator's words.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Next::Whole => "the next valid header",
            Next::Zero => "nothing",
            Next::LowerSegment => "the remains of an earlier segment",
            Next::DeadIncarnation => "a late write of an earlier process",
            Next::TornPayload => "a frame whose content does not match its checksum",
            Next::Rubbish => "bytes that are no header of this log",
            Next::Contradiction => "a header of this log that cannot stand here",
        }
    }
}

/// What proves that the log went on behind the last valid frame *k*.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// e1: a header of this log with a sequence behind *k* + 1 that was built when *k* + 1 was
    /// durable, or one behind *k* that stands at another frame's place.
    pub later_frame: bool,
    /// e2: a later segment was begun.
    pub later_segment: bool,
    /// e3: the mark names a durable frame or a segment behind *k*.
    pub mark: bool,
    /// e4: the layer above needs entries behind *k* (snapshots, manifest).
    pub required: bool,
    /// e5: the mark says that the log was closed in order, behind *k*.
    pub closed: bool,
}

impl Evidence {
    /// True if anything proves it.
    #[must_use]
    pub fn any(&self) -> bool {
        self.later_frame || self.later_segment || self.mark || self.required || self.closed
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reasons = [
            (self.later_frame, "later frames of this log exist"),
            (self.later_segment, "a later segment was begun"),
            (self.mark, "the mark names later durable frames"),
            (self.required, "the store needs later entries"),
            (self.closed, "the log was closed in order behind it"),
        ];
        let mut separator = "";
        for (_, reason) in reasons.iter().filter(|(holds, _)| *holds) {
            write!(f, "{separator}{reason}")?;
            separator = " and ";
        }
        if separator.is_empty() {
            f.write_str("no crash can leave that")?;
        }
        Ok(())
    }
}

/// The decision about one position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on behind it.
    Take,
    /// The log ends here; nothing was lost.
    End,
    /// The log ends here; what follows was being written and never acknowledged.
    TornEnd,
    /// Refuse: something that was acknowledged may be damaged or missing.
    Corrupt,
}

/// The truth table.
///
/// | next | no evidence | any evidence |
/// |---|---|---|
/// | `Whole` | `Take` | `Take` |
/// | `Zero`, `LowerSegment` | `End` | `Corrupt` |
/// | `DeadIncarnation`, `TornPayload`, `Rubbish` | `TornEnd` | `Corrupt` |
/// | `Contradiction` | `Corrupt` | `Corrupt` |
#[must_use]
pub fn verdict(next: Next, evidence: &Evidence) -> Verdict {
    match next {
        Next::Whole => Verdict::Take,
        Next::Contradiction => Verdict::Corrupt,
        _ if evidence.any() => Verdict::Corrupt,
        Next::Zero | Next::LowerSegment => Verdict::End,
        Next::DeadIncarnation | Next::TornPayload | Next::Rubbish => Verdict::TornEnd,
    }
}

/// What an open or a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Incarnation that the log now runs under; when verifying, the highest one found.
    pub incarnation: u64,
    /// Segments that were begun.
    pub segments: u64,
    /// Valid frames, seals and clean closes included.
    pub frames: u64,
    /// Entries handed out.
    pub entries: u64,
    /// Bytes of the valid frames.
    pub bytes: u64,
    /// Last frame.
    pub last_sequence: u64,
    /// Last entry; 0 if there is none.
    pub last_lsn: u64,
    /// The last frame is a clean close.
    pub closed_cleanly: bool,
    /// What stood behind the last frame.
    pub end: Next,
    /// Something was being written at the end and was cut off.
    pub torn: bool,
    /// Whole frames behind the end that were never flushed and were cut off with it: possible
    /// below level `commit` only.
    pub dropped_frames: u64,
    /// Bytes written again because nothing proved that they were durable.
    pub adopted_bytes: u64,
    /// Bytes behind the end that were overwritten with zeros.
    pub zeroed_bytes: u64,
    /// Unreadable slots of the mark (0 or 1): a torn write, or damage.
    pub mark_slots_invalid: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence_from_bits(bits: u32) -> Evidence {
        Evidence {
            later_frame: bits & 1 != 0,
            later_segment: bits & 2 != 0,
            mark: bits & 4 != 0,
            required: bits & 8 != 0,
            closed: bits & 16 != 0,
        }
    }

    /// Every case, against the rows written out once more.
    #[test]
    fn the_truth_table_is_complete() {
        let rows = [
            (Next::Whole, Verdict::Take, Verdict::Take),
            (Next::Zero, Verdict::End, Verdict::Corrupt),
            (Next::LowerSegment, Verdict::End, Verdict::Corrupt),
            (Next::DeadIncarnation, Verdict::TornEnd, Verdict::Corrupt),
            (Next::TornPayload, Verdict::TornEnd, Verdict::Corrupt),
            (Next::Rubbish, Verdict::TornEnd, Verdict::Corrupt),
            (Next::Contradiction, Verdict::Corrupt, Verdict::Corrupt),
        ];
        assert_eq!(rows.map(|row| row.0), Next::ALL);
        for (next, without, with) in rows {
            for bits in 0..32 {
                let expected = if bits == 0 { without } else { with };
                assert_eq!(
                    verdict(next, &evidence_from_bits(bits)),
                    expected,
                    "{next:?} {bits}"
                );
            }
        }
    }

    #[test]
    fn evidence_is_named() {
        assert_eq!(
            evidence_from_bits(5).to_string(),
            "later frames of this log exist and the mark names later durable frames"
        );
    }
}
