//! The wire protocol: frames over a byte stream.

/// What an acknowledgement promises, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    /// In memory.
    Memory = 0,
    /// Handed to the disk.
    Written = 1,
    /// Handed to the disk, which is flushed at an interval.
    Interval = 2,
    /// Flushed.
    Commit = 3,
}
