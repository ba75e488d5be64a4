//! What a ring is made with, what it hands out, and what it counts.

/// What a ring is made with.
#[derive(Debug, Clone)]
pub struct RingOptions {
    /// Submission queue length, a power of two after rounding up by the kernel.
    pub entries: u32,
    /// Length of the fixed-file table, for log files and sockets together. Cut to the process's
    /// limit of open files.
    pub file_slots: u32,
    /// Length of the registered-buffer table.
    pub buffer_slots: u16,
    /// CPU that the kernel's helper threads of this ring are bound to; the shard's own.
    pub iowq_cpu: Option<usize>,
    /// Most helper threads for files and for sockets. Two for files: a flush must not hold up a
    /// write that could not be started without blocking.
    pub iowq_workers: [u32; 2],
}

impl Default for RingOptions {
    fn default() -> RingOptions {
        RingOptions {
            entries: 256,
            file_slots: 1024,
            buffer_slots: 16,
            iowq_cpu: None,
            iowq_workers: [2, 2],
        }
    }
}

/// One completion, as the kernel posted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cqe {
    /// The value that the entry was pushed with.
    pub user_data: u64,
    /// Result, or the negative error number.
    pub result: i32,
    /// `IORING_CQE_F_*` bits.
    pub flags: u32,
}

/// What a ring has done since it was made. Plain integers: one core owns them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RingCounters {
    /// Entries that the kernel took.
    pub submits: u64,
    /// System calls made to submit, wait or run completion work.
    pub enters: u64,
    /// Completions read.
    pub cqes: u64,
    /// Times the kernel had to keep completions back because the queue was full. Anything but
    /// zero says that `entries` is too small.
    pub overflow: u64,
    /// Entries kept back here because the kernel could not take more at once.
    pub deferred: u64,
}
