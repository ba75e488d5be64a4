//! Parking a core and waking it, without a wake-up that gets lost.
//!
//! ```text
//! sender: publish records; fence; if parked is set, take it and signal
//! owner:  set parked; fence; look at every lane; nothing there: wait for the signal
//! ```
//!
//! Each side writes one thing and then reads what the other wrote. Release and acquire allow both
//! reads to miss (the store may still be on its way, on x86 too), so each side has a SeqCst fence
//! in between: at least one of them then sees the other. The sender's fence is paid once per batch.
//! Taking the flag makes sure that one parking costs one signal, however many senders there are.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crossbeam::utils::CachePadded;

use crate::sync::{Arc, AtomicBool, Ordering, fence};

use event::Event;

/// Makes the two ends for one core: its own, and the one that others wake it with.
///
/// # Errors
/// If the kernel gives no eventfd (usually: too many open files).
pub fn sleeper() -> io::Result<(Sleeper, Waker)> {
    let bed = Arc::new(Bed {
        parked: CachePadded::new(AtomicBool::new(false)),
        event: Event::new()?,
    });
    Ok((
        Sleeper {
            bed: Arc::clone(&bed),
        },
        Waker { bed },
    ))
}

/// Orders the records published so far before the `claim`s that follow. Once per batch.
pub(crate) fn fence_before_claim() {
    // Ordering: SeqCst, the sender's half of the pair of fences that the head comment explains.
    fence(Ordering::SeqCst);
}

struct Bed {
    /// Set while the owner waits or is about to. On a line of its own: every sender reads it after
    /// every batch, and it must not change owner when anything else is written.
    parked: CachePadded<AtomicBool>,
    event: Event,
}

/// The owner's end.
pub struct Sleeper {
    bed: Arc<Bed>,
}

impl Sleeper {
    /// From now on senders signal. The caller must look at all its lanes after this and before it
    /// waits, and call [`Sleeper::withdraw`] if there is something or when it is back.
    pub fn announce(&mut self) {
        // Ordering: AcqRel, and an exchange: a claim that is late for an earlier parking then comes
        // either wholly before this one or takes it, and signals.
        self.bed.parked.swap(true, Ordering::AcqRel);
        // Ordering: SeqCst, the owner's half of the pair of fences.
        fence(Ordering::SeqCst);
    }

    /// Awake again: senders need not signal. A sender that took the flag before may still signal;
    /// the next wait then ends at once, which is harmless.
    pub fn withdraw(&mut self) {
        // Ordering: Relaxed, a sender that still reads the old value signals once too often.
        self.bed.parked.store(false, Ordering::Relaxed);
    }

    /// The eventfd to poll for input while parked. It does not block: poll it, don't read it.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.bed.event.fd()
    }

    /// Takes the signals that have come, so that the next poll waits for a new one.
    pub fn clear(&mut self) {
        self.bed.event.clear();
    }

    /// Waits for the signal as the models do it.
    #[cfg(ringmill_loom)]
    pub fn wait(&mut self) {
        self.bed.event.wait();
    }
}

/// The end that others wake the core with; clones wake the same core.
#[derive(Clone)]
pub struct Waker {
    bed: Arc<Bed>,
}

impl Waker {
    /// Wakes the owner if it is parked, after whatever the caller has done so far: for the senders
    /// that do not go through the mesh. True if it took a signal.
    pub fn wake(&self) -> bool {
        fence_before_claim();
        self.claim()
    }

    /// Signals if the owner is parked and nobody else has done so. [`fence_before_claim`] first.
    pub(crate) fn claim(&self) -> bool {
        // Ordering: Relaxed, ordered by the fence. The load spares awake owners the exchange,
        // which would take the line from them.
        if !self.bed.parked.load(Ordering::Relaxed) {
            return false;
        }
        // Ordering: AcqRel, though nothing but the flag is passed on: it is off the usual path.
        if !self.bed.parked.swap(false, Ordering::AcqRel) {
            return false;
        }
        self.bed.event.signal();
        true
    }
}

impl fmt::Debug for Sleeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sleeper")
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waker")
    }
}

#[cfg(not(ringmill_loom))]
mod event {
    use super::{AsFd, BorrowedFd, io};
    use rustix::event::{EventfdFlags, eventfd};
    use rustix::fd::OwnedFd;
    use rustix::io::{Errno, read, write};

    /// An eventfd: a counter in the kernel that is readable while it is not 0.
    pub(super) struct Event(OwnedFd);

    impl Event {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self(eventfd(
                0,
                EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK,
            )?))
        }

        #[expect(
            clippy::host_endian_bytes,
            reason = "the kernel takes a u64 in host order"
        )]
        pub(super) fn signal(&self) {
            match write(&self.0, &1_u64.to_ne_bytes()) {
                // Full means that nobody has cleared 2^64 signals: readable all the same.
                Ok(8) | Err(Errno::AGAIN) => {}
                other => panic!("invariant: an eventfd takes 8 bytes, got {other:?}"),
            }
        }

        pub(super) fn clear(&self) {
            match read(&self.0, &mut [0_u8; 8]) {
                Ok(8) | Err(Errno::AGAIN) => {}
                other => panic!("invariant: an eventfd gives 8 bytes, got {other:?}"),
            }
        }

        pub(super) fn fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
}

#[cfg(ringmill_loom)]
mod event {
    use super::{AsFd, BorrowedFd, io};
    use loom::sync::{Condvar, Mutex};

    /// What an eventfd does, as the models see it. A signal that nobody waits for is kept.
    pub(super) struct Event {
        signalled: Mutex<bool>,
        changed: Condvar,
    }

    impl Event {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self {
                signalled: Mutex::new(false),
                changed: Condvar::new(),
            })
        }

        pub(super) fn signal(&self) {
            *self.signalled.lock().expect("no model panics") = true;
            self.changed.notify_one();
        }

        pub(super) fn clear(&self) {
            *self.signalled.lock().expect("no model panics") = false;
        }

        pub(super) fn wait(&self) {
            let mut signalled = self.signalled.lock().expect("no model panics");
            while !*signalled {
                signalled = self.changed.wait(signalled).expect("no model panics");
            }
            *signalled = false;
        }

        /// The models never poll; any descriptor does.
        pub(super) fn fd(&self) -> BorrowedFd<'_> {
            static STDIN: std::sync::LazyLock<std::io::Stdin> = std::sync::LazyLock::new(io::stdin);
            STDIN.as_fd()
        }
    }
}
