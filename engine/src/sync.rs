//! The atomics of the ring and of the park protocol: the standard ones, or loom's when a model
//! is built with `--cfg ringmill_loom`. Nothing else in the crate names loom.

#[cfg(ringmill_loom)]
pub(crate) use loom::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering, fence},
};
#[cfg(not(ringmill_loom))]
pub(crate) use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering, fence},
};

pub(crate) use watch::SlotWatch;

/// Tells a model which slots are touched, so that loom sees a race on the plain bytes of the ring.
/// Slots are one contiguous allocation and so cannot be loom cells themselves.
#[cfg(ringmill_loom)]
mod watch {
    use loom::cell::UnsafeCell;

    pub(crate) struct SlotWatch(Box<[UnsafeCell<()>]>);

    impl SlotWatch {
        pub(crate) fn new(slots: usize) -> Self {
            Self((0..slots).map(|_| UnsafeCell::new(())).collect())
        }

        pub(crate) fn wrote(&self, first: usize, count: usize) {
            self.0[first..first + count]
                .iter()
                .for_each(|slot| slot.with_mut(|_| ()));
        }

        pub(crate) fn read(&self, first: usize, count: usize) {
            self.0[first..first + count]
                .iter()
                .for_each(|slot| slot.with(|_| ()));
        }
    }
}

#[cfg(not(ringmill_loom))]
mod watch {
    pub(crate) struct SlotWatch;

    impl SlotWatch {
        pub(crate) fn new(_slots: usize) -> Self {
            Self
        }

        #[inline(always)]
        pub(crate) fn wrote(&self, _first: usize, _count: usize) {}

        #[inline(always)]
        pub(crate) fn read(&self, _first: usize, _count: usize) {}
    }
}
