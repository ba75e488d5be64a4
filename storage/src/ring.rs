//! One io_uring per core, shared by its sockets and its log.
//!
//! A [`Ring`] belongs to the thread that made it: `SINGLE_ISSUER` binds the kernel's side to that
//! task, the registered ring descriptor and the io-wq affinity are per task as well. Pin the
//! thread first, then make the ring on it. The type is not `Send`, so this cannot be got wrong.
//!
//! One turn of the owner is `push* -> enter -> drain -> pop*`:
//!
//! ```text
//!   UringDisk::submit --push--> SQ --enter--> kernel --> CQ --drain--> disk queue  --> UringDisk
//!   sockets           --push-->                                   \--> other queue --> sockets
//! ```
//!
//! With `DEFER_TASKRUN` the kernel finishes an operation only inside an `enter` that asks for
//! events. [`Ring::enter`] always asks, and the kernel raises a flag in shared memory when work
//! waits, so that an idle poll costs no system call.
//!
//! The binding of the `io-uring` crate keeps the registered descriptor inside a borrowed
//! submitter, which a long-lived owner cannot hold; the two calls that need it are made here.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::path::Path;
use std::ptr;
use std::rc::Rc;
use std::time::Duration;

use io_uring::{EnterFlags, IoUring, opcode, squeue};
use rustix::process::{Resource, getrlimit};

use crate::aligned::AlignedBuf;

mod abi;
mod error;
mod options;

use abi::{
    GeteventsArguments, KernelTimespec, REGISTER_RING_FDS, ResourceUpdate, UNREGISTER_RING_FDS,
};
pub use error::{
    KERNEL_FLOOR, RingError, kernel_release, memlock_limit_bytes, memlock_needed_bytes,
    parse_release,
};
use error::{Surroundings, diagnose, memlock_text, missing_features};
pub use options::{Cqe, RingCounters, RingOptions};

/// Marks the `user_data` of disk operations; everybody else keeps this bit clear.
pub const DISK_TAG: u64 = 1 << 63;

/// A multishot receive posts completions that nobody asked for one by one, so the completion
/// queue is this many times as long as the submission queue.
const CQ_PER_SQ: u32 = 4;
const ENTRIES_MIN: u32 = 8;
const ENTRIES_MAX: u32 = 16_384;

/// A ring shared by the parts of one core, all on one thread. Nobody keeps a borrow across a call
/// into another part: the disk borrows the ring in `submit`, `reap` and `wait`.
pub type SharedRing = Rc<RefCell<Ring>>;

/// An io_uring with the flags of a core that owns its thread. It cannot leave that thread:
///
/// ```compile_fail,E0277
/// fn needs_send<T: Send>() {}
/// needs_send::<ringmill_storage::ring::Ring>();
/// ```
#[derive(Debug)]
pub struct Ring {
    tables: Tables,
    /// Entries that found the submission queue full even after a submit; they go first.
    backlog: VecDeque<squeue::Entry>,
    disk: VecDeque<Cqe>,
    other: VecDeque<Cqe>,
    counters: RingCounters,
    warnings: Vec<String>,
    disks_made: u16,
    /// Index of the ring's own descriptor in this task's table of registered rings.
    registered_fd: Option<u32>,
    flags_wait: u32,
    uring: IoUringDebug,
    /// The kernel binds the ring to the task that made it.
    _not_send: PhantomData<*const ()>,
}

/// Free places of the two kernel-side tables.
#[derive(Debug, Default)]
struct Tables {
    file_slots_free: Vec<u32>,
    buffer_slots_free: Vec<u16>,
}

/// `IoUring` has no `Debug` of its own.
struct IoUringDebug(IoUring);

impl std::fmt::Debug for IoUringDebug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IoUring({})", self.0.as_raw_fd())
    }
}

impl Ring {
    /// Makes a ring that belongs to the calling thread. Pin the thread before.
    ///
    /// # Errors
    /// Every way in which a system refuses, with cause and fix. Comforts that are missing
    /// (affinity of helper threads, registered descriptor) do not fail the ring; they are listed
    /// by [`Ring::warnings`].
    pub fn new(options: &RingOptions) -> Result<Ring, RingError> {
        if !(ENTRIES_MIN..=ENTRIES_MAX).contains(&options.entries) {
            return Err(RingError::Entries {
                entries: options.entries,
            });
        }
        let around = Surroundings::read(options.entries);
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(options.entries * CQ_PER_SQ)
            .build(options.entries)
            .map_err(|error| diagnose("io_uring_setup", error, &around))?;
        let missing = missing_features(&around.release);
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Err(RingError::KernelTooOld {
                release: around.release,
                missing,
            });
        }
        let cq_entries = (options.entries * CQ_PER_SQ) as usize;
        let mut flags_wait = EnterFlags::EXT_ARG.bits();
        if uring.params().is_feature_no_iowait() {
            // A parked shard is idle, not stuck behind a disk: keep it out of the iowait figures.
            flags_wait |= EnterFlags::NO_IOWAIT.bits();
        }
        let mut ring = Ring {
            tables: Tables::default(),
            backlog: VecDeque::new(),
            disk: VecDeque::with_capacity(cq_entries),
            other: VecDeque::with_capacity(cq_entries),
            counters: RingCounters::default(),
            warnings: Vec::new(),
            disks_made: 0,
            registered_fd: None,
            flags_wait,
            uring: IoUringDebug(uring),
            _not_send: PhantomData,
        };
        ring.register_tables(options, &around)?;
        ring.register_iowq(options);
        match ring.register_own_fd() {
            Ok(index) => ring.registered_fd = Some(index),
            Err(error) => ring.warnings.push(format!(
                "the ring's descriptor could not be registered ({error}): every system call of \
                 this shard looks it up again"
            )),
        }
        Ok(ring)
    }

    fn register_tables(
        &mut self,
        options: &RingOptions,
        around: &Surroundings,
    ) -> Result<(), RingError> {
        let files_limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let file_slots = options
            .file_slots
            .min(u32::try_from(files_limit).unwrap_or(u32::MAX));
        let submitter = self.uring.0.submitter();
        if file_slots > 0 {
            submitter
                .register_files_sparse(file_slots)
                .map_err(|error| diagnose("registering the file table", error, around))?;
        }
        if options.buffer_slots > 0 {
            submitter
                .register_buffers_sparse(u32::from(options.buffer_slots))
                .map_err(|error| diagnose("registering the buffer table", error, around))?;
        }
        // Taken from the end, so that the tables fill from slot 0.
        self.tables.file_slots_free = (0..file_slots).rev().collect();
        self.tables.buffer_slots_free = (0..options.buffer_slots).rev().collect();
        Ok(())
    }

    fn register_iowq(&mut self, options: &RingOptions) {
        let submitter = self.uring.0.submitter();
        let mut workers = options.iowq_workers;
        if let Err(error) = submitter.register_iowq_max_workers(&mut workers) {
            self.warnings.push(format!(
                "the number of kernel helper threads could not be limited ({error})"
            ));
        }
        let Some(cpu) = options.iowq_cpu else {
            return;
        };
        let result = match cpu_set(cpu) {
            Some(set) => submitter.register_iowq_aff(&set),
            None => Err(io::Error::from_raw_os_error(libc::EINVAL)),
        };
        if let Err(error) = result {
            self.warnings.push(format!(
                "kernel helper threads could not be bound to CPU {cpu} ({error}): flushes may \
                 wait for a busy CPU; check that the CPU is in this process's cpuset"
            ));
        }
    }

    /// Queues one entry; it reaches the kernel with the next [`Ring::enter`], or at once when
    /// the queue is full.
    ///
    /// # Safety
    /// Memory named by the entry must stay valid, and must not be used in a way that conflicts
    /// with the operation, until its completion was drained.
    pub unsafe fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: the caller's promise is handed on unchanged.
        if self.backlog.is_empty() && unsafe { self.try_push(&entry) } {
            return;
        }
        // An error shows again at the owner's next `enter`, where it can be answered.
        let _ = self.enter(None);
        // SAFETY: as above.
        if self.backlog.is_empty() && unsafe { self.try_push(&entry) } {
            return;
        }
        self.counters.deferred += 1;
        self.backlog.push_back(entry);
    }

    /// Queues an operation that does nothing but complete: a measure of the ring itself, and a
    /// way to wake its owner through its own completion queue.
    pub fn push_nop(&mut self, user_data: u64) {
        // SAFETY: the entry names no memory.
        unsafe { self.push(opcode::Nop::new().build().user_data(user_data)) }
    }

    /// # Safety
    /// As for [`Ring::push`].
    unsafe fn try_push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: the caller's promise is the one that the queue asks for.
        unsafe { self.uring.0.submission().push(entry).is_ok() }
    }

    /// Submits what is queued and runs the kernel's pending completion work. With `wait`, also
    /// sleeps until at least one completion is there or the time has passed; completions that
    /// are already there end the wait at once. Makes no system call when there is nothing to do.
    ///
    /// # Errors
    /// Whatever the kernel answers besides "timed out", "interrupted" and "try again later".
    pub fn enter(&mut self, wait: Option<Duration>) -> io::Result<()> {
        let wait = wait.filter(|_| !self.has_completions());
        self.enter_now(wait)
    }

    /// Turns the ring once and waits until a disk operation has ended, or for `wait`; what ends
    /// on the sockets meanwhile is kept for its owner.
    pub(crate) fn wait_disk(&mut self, wait: Duration) -> io::Result<()> {
        self.drain();
        let wait = self.disk.is_empty().then_some(wait);
        let result = self.enter_now(wait);
        self.drain();
        result
    }

    fn enter_now(&mut self, wait: Option<Duration>) -> io::Result<()> {
        self.refill();
        let (queued, taskrun, overflow) = {
            let queue = self.uring.0.submission();
            (queue.len(), queue.taskrun(), queue.cq_overflow())
        };
        if overflow {
            self.counters.overflow += 1;
        }
        if queued == 0 && !taskrun && !overflow && wait.is_none() {
            return Ok(());
        }
        self.counters.enters += 1;
        let queued = u32::try_from(queued).expect("invariant: queue length fits u32");
        match self.enter_call(queued, wait) {
            Ok(submitted) => {
                self.counters.submits += u64::from(submitted);
                Ok(())
            }
            // EAGAIN and EBUSY: entries stay queued and the next call tries again, by then with
            // completions read and memory free.
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY) => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// Moves kept-back entries to the submission queue, in order.
    fn refill(&mut self) {
        while let Some(entry) = self.backlog.pop_front() {
            // SAFETY: whoever pushed the entry promised that its memory outlives the completion.
            if !unsafe { self.try_push(&entry) } {
                self.backlog.push_front(entry);
                return;
            }
        }
    }

    fn enter_call(&self, queued: u32, wait: Option<Duration>) -> io::Result<u32> {
        let time;
        let arguments;
        let mut flags = EnterFlags::GETEVENTS.bits();
        let (min_complete, pointer, bytes) = match wait {
            None => (0u32, ptr::null(), 0),
            Some(duration) => {
                time = KernelTimespec {
                    seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
                    nanoseconds: i64::from(duration.subsec_nanos()),
                };
                arguments = GeteventsArguments {
                    sigmask: 0,
                    sigmask_bytes: 0,
                    min_wait_us: 0,
                    time: ptr::from_ref(&time) as u64,
                };
                flags |= self.flags_wait;
                (
                    1,
                    ptr::from_ref(&arguments),
                    size_of::<GeteventsArguments>(),
                )
            }
        };
        let fd = match self.registered_fd {
            Some(index) => {
                flags |= EnterFlags::REGISTERED_RING.bits();
                RawFd::try_from(index).expect("invariant: few rings per task")
            }
            None => self.uring.0.as_raw_fd(),
        };
        // SAFETY: `pointer` is null with length 0, or points to `arguments`, which with the time
        // it names lives until after the call. Queued entries carry the promise of `push`.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                fd,
                queued,
                min_complete,
                flags,
                pointer.cast::<libc::c_void>(),
                bytes,
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(u32::try_from(result).expect("invariant: at most the queue length is submitted"))
    }

    fn has_completions(&mut self) -> bool {
        !self.disk.is_empty() || !self.other.is_empty() || !self.uring.0.completion().is_empty()
    }

    /// Reads all posted completions into the two queues.
    pub fn drain(&mut self) {
        for entry in self.uring.0.completion() {
            let cqe = Cqe {
                user_data: entry.user_data(),
                result: entry.result(),
                flags: entry.flags(),
            };
            self.counters.cqes += 1;
            if cqe.user_data & DISK_TAG == 0 {
                self.other.push_back(cqe);
            } else {
                self.disk.push_back(cqe);
            }
        }
    }

    /// Oldest completion of a disk operation.
    pub fn pop_disk(&mut self) -> Option<Cqe> {
        self.disk.pop_front()
    }

    /// Oldest completion of anything else.
    pub fn pop_other(&mut self) -> Option<Cqe> {
        self.other.pop_front()
    }

    /// Oldest completion of one disk of several that share this ring.
    pub(crate) fn pop_disk_of(&mut self, is_mine: impl Fn(u64) -> bool) -> Option<Cqe> {
        let index = self.disk.iter().position(|cqe| is_mine(cqe.user_data))?;
        self.disk.remove(index)
    }

    /// A number that tells the disks on this ring apart.
    pub(crate) fn next_disk_number(&mut self) -> u16 {
        self.disks_made = self.disks_made.wrapping_add(1);
        self.disks_made
    }

    /// Puts a file into the fixed-file table and returns its slot; `None` when the table is
    /// full. The kernel holds its own reference until [`Ring::unregister_file`].
    pub fn register_file(&mut self, file: BorrowedFd<'_>) -> Option<u32> {
        let slot = self.tables.file_slots_free.pop()?;
        let fds = [file.as_raw_fd()];
        match self.uring.0.submitter().register_files_update(slot, &fds) {
            Ok(_) => Some(slot),
            Err(_) => {
                self.tables.file_slots_free.push(slot);
                None
            }
        }
    }

    /// Empties a slot of the fixed-file table. Entries that name it must have been submitted.
    pub fn unregister_file(&mut self, slot: u32) {
        if self
            .uring
            .0
            .submitter()
            .register_files_update(slot, &[-1])
            .is_ok()
        {
            self.tables.file_slots_free.push(slot);
        }
    }

    /// Puts a buffer into the registered-buffer table and returns its slot. The kernel pins its
    /// pages until [`Ring::unregister_buffer`], counted against the memlock limit.
    ///
    /// # Errors
    /// `ENOMEM` when the limit is too small (see [`Ring::warn_unregistered`]); `ENOSPC` when the
    /// table is full.
    pub fn register_buffer(&mut self, buffer: &mut AlignedBuf) -> io::Result<u16> {
        let Some(slot) = self.tables.buffer_slots_free.pop() else {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        };
        let part = libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len(),
        };
        // SAFETY: the range is live memory of the buffer. The kernel pins the pages, so that
        // they outlive even the buffer, and touches them only for entries that name the slot.
        let result = unsafe {
            self.uring
                .0
                .submitter()
                .register_buffers_update(u32::from(slot), &[part], None)
        };
        match result {
            Ok(()) => Ok(slot),
            Err(error) => {
                self.tables.buffer_slots_free.push(slot);
                Err(error)
            }
        }
    }

    /// Empties a slot of the registered-buffer table.
    pub fn unregister_buffer(&mut self, slot: u16) {
        let none = libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        };
        // SAFETY: an empty range clears the slot; no memory is named.
        let result = unsafe {
            self.uring
                .0
                .submitter()
                .register_buffers_update(u32::from(slot), &[none], None)
        };
        if result.is_ok() {
            self.tables.buffer_slots_free.push(slot);
        }
    }

    /// Notes that a buffer of `bytes` works unregistered, and what would change that.
    pub fn warn_unregistered(&mut self, bytes: usize, error: &io::Error) {
        let fix = match error.raw_os_error() {
            Some(libc::ENOMEM | libc::EPERM) => format!(
                "RLIMIT_MEMLOCK is {}, every shard needs {} KiB of it (`ulimit -l`, \
                 LimitMEMLOCK= in a unit)",
                memlock_text(memlock_limit_bytes()),
                memlock_needed_bytes(1) / 1024,
            ),
            _ => "the ring has no free place for it".to_string(),
        };
        self.warnings.push(format!(
            "a log buffer of {} KiB is not registered with the ring ({error}), so every write \
             pins its pages anew: {fix}",
            bytes / 1024,
        ));
    }

    /// What works less well than it could on this system, in words for the start-up log.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What the ring has done so far.
    #[must_use]
    pub fn counters(&self) -> RingCounters {
        self.counters
    }

    /// The ring itself, for registrations (provided buffers, sockets). File and buffer slots
    /// are given out by [`Ring::register_file`] and [`Ring::register_buffer`]: do not replace
    /// those tables.
    pub fn io_uring(&mut self) -> &mut IoUring {
        &mut self.uring.0
    }

    fn register_own_fd(&self) -> io::Result<u32> {
        let mut update = ResourceUpdate {
            offset: u32::MAX,
            reserved: 0,
            data: self.uring.0.as_raw_fd() as u64,
        };
        self.register_call(REGISTER_RING_FDS, &mut update)?;
        Ok(update.offset)
    }

    fn register_call(&self, opcode: libc::c_uint, update: &mut ResourceUpdate) -> io::Result<()> {
        // SAFETY: `update` is one element of the layout that both opcodes read and write.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_register,
                self.uring.0.as_raw_fd(),
                opcode,
                ptr::from_mut(update).cast::<libc::c_void>(),
                1,
            )
        };
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
}

impl Drop for Ring {
    /// The task's table holds a reference of its own: without this the ring would live on, with
    /// its files and pinned buffers, until the thread ends.
    fn drop(&mut self) {
        if let Some(offset) = self.registered_fd {
            let mut update = ResourceUpdate {
                offset,
                reserved: 0,
                data: 0,
            };
            let _ = self.register_call(UNREGISTER_RING_FDS, &mut update);
        }
    }
}

/// A set of one CPU; `None` if the machine has no such CPU. The kernel itself would silently take
/// a set without any of its CPUs.
fn cpu_set(cpu: usize) -> Option<libc::cpu_set_t> {
    let directory = format!("/sys/devices/system/cpu/cpu{cpu}");
    if cpu >= libc::CPU_SETSIZE as usize || !Path::new(&directory).exists() {
        return None;
    }
    // SAFETY: the set is plain bits, for which all zero is a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the index was checked against the size of the set.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    Some(set)
}

#[cfg(test)]
mod tests;
