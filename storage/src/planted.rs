//! Deliberate defects, one at a time: the tests of the tests.
//!
//! Each is a mistake that a log like this one has made somewhere. The simulator must find every
//! one of them, except the last two, which have tests of their own; if it does not, it is the
//! simulator that is broken. Without the feature
//! `planted-bugs` every check below is the constant `false` and leaves nothing in the code.

/// A defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlantedBug {
    /// A frame counts as durable when it was submitted.
    AckBeforeCompletion,
    /// A short write counts as a whole one.
    IgnoreShortWrite,
    /// A frame that must be durable is written without a flush.
    DropFlush,
    /// A flushed frame leaves the unflushed frames before it as they are.
    FlushOnlyOwnRange,
    /// New names are used before their directory is flushed.
    SkipDirSync,
    /// What recovery read is not flushed before it is believed.
    SkipSyncAtOpen,
    /// The link to the previous frame is not compared.
    IgnoreChain,
    /// A frame of an earlier use of the segment is taken for a current one.
    AcceptLowerSegment,
    /// The payload's digest is not compared.
    IgnorePayloadDigest,
    /// Whatever follows the last valid frame is cut off.
    TruncateOnCorruption,
    /// The mark is not used as evidence.
    IgnoreMark,
    /// The mark names frames that are written but not durable.
    MarkAheadOfDurability,
    /// A failed flush is tried again, and its success believed.
    RetryFailedFlush,
    /// Segments are written to without their lock.
    SkipSegmentLock,
    /// The bytes behind the end are left as they are.
    TailNotZeroed,
    /// The next open writes under the incarnation of the last one.
    IncarnationNotRaised,
    /// The header of the next segment does not wait for the seal to be durable.
    HeaderBeforeSeal,
    /// A frame is replayed without the last of its entries.
    DropLastEntry,
    /// What recovery read is flushed, but not written again first.
    BelieveFailedFlush,
    /// The mark that was read is trusted to be durable.
    MarkNotRewritten,
    /// Later frames are not used as evidence.
    IgnoreLaterFrames,
    /// Late writes of an earlier process are taken for frames of the log.
    IgnoreIncarnation,
    /// What recovery reads ahead is taken in the order of its completions.
    ReadAheadOutOfOrder,
    /// A short read ahead counts as a whole one.
    IgnoreShortRead,
    /// A leftover file is removed, and its name used again, without a flush in between.
    LeftoverNotFlushed,
    /// The manifest is written over its only valid slot.
    ManifestOverwritesSlot,
}

impl PlantedBug {
    /// Every defect.
    pub const ALL: [PlantedBug; 26] = [
        PlantedBug::AckBeforeCompletion,
        PlantedBug::IgnoreShortWrite,
        PlantedBug::DropFlush,
        PlantedBug::FlushOnlyOwnRange,
        PlantedBug::SkipDirSync,
        PlantedBug::SkipSyncAtOpen,
        PlantedBug::IgnoreChain,
        PlantedBug::AcceptLowerSegment,
        PlantedBug::IgnorePayloadDigest,
        PlantedBug::TruncateOnCorruption,
        PlantedBug::IgnoreMark,
        PlantedBug::MarkAheadOfDurability,
        PlantedBug::RetryFailedFlush,
        PlantedBug::SkipSegmentLock,
        PlantedBug::TailNotZeroed,
        PlantedBug::IncarnationNotRaised,
        PlantedBug::HeaderBeforeSeal,
        PlantedBug::DropLastEntry,
        PlantedBug::BelieveFailedFlush,
        PlantedBug::MarkNotRewritten,
        PlantedBug::IgnoreLaterFrames,
        PlantedBug::IgnoreIncarnation,
        PlantedBug::ReadAheadOutOfOrder,
        PlantedBug::IgnoreShortRead,
        PlantedBug::LeftoverNotFlushed,
        PlantedBug::ManifestOverwritesSlot,
    ];
}

#[cfg(feature = "planted-bugs")]
mod switch {
    use super::PlantedBug;
    use std::cell::Cell;

    thread_local! {
        static ACTIVE: Cell<Option<PlantedBug>> = const { Cell::new(None) };
    }

    /// Plants `bug` in the logs of this thread, or none.
    pub fn plant(bug: Option<PlantedBug>) {
        ACTIVE.set(bug);
    }

    /// True if `bug` is planted.
    #[inline]
    pub(crate) fn planted(bug: PlantedBug) -> bool {
        ACTIVE.get() == Some(bug)
    }
}

#[cfg(not(feature = "planted-bugs"))]
mod switch {
    use super::PlantedBug;

    /// Never true in a product.
    #[inline(always)]
    pub(crate) fn planted(_bug: PlantedBug) -> bool {
        false
    }
}

#[cfg(feature = "planted-bugs")]
pub use switch::plant;
pub(crate) use switch::planted;

#[cfg(all(test, feature = "planted-bugs"))]
mod tests {
    use super::*;

    #[test]
    fn one_defect_at_a_time_and_none_by_default() {
        assert!(PlantedBug::ALL.iter().all(|&bug| !planted(bug)));
        plant(Some(PlantedBug::DropFlush));
        assert_eq!(
            PlantedBug::ALL.iter().filter(|&&bug| planted(bug)).count(),
            1
        );
        plant(None);
    }
}
