//! The kernel's side of the calls that the ring makes itself: numbers and layouts from
//! `include/uapi/linux/io_uring.h`, which never change.

/// `IORING_REGISTER_RING_FDS`.
pub(super) const REGISTER_RING_FDS: libc::c_uint = 20;
/// `IORING_UNREGISTER_RING_FDS`.
pub(super) const UNREGISTER_RING_FDS: libc::c_uint = 21;

/// `struct __kernel_timespec`.
#[repr(C)]
pub(super) struct KernelTimespec {
    pub(super) seconds: i64,
    pub(super) nanoseconds: i64,
}

/// `struct io_uring_getevents_arg`.
#[repr(C)]
pub(super) struct GeteventsArguments {
    pub(super) sigmask: u64,
    pub(super) sigmask_bytes: u32,
    pub(super) min_wait_us: u32,
    pub(super) time: u64,
}

/// `struct io_uring_rsrc_update`.
#[repr(C)]
pub(super) struct ResourceUpdate {
    pub(super) offset: u32,
    pub(super) reserved: u32,
    pub(super) data: u64,
}

const _: () = assert!(size_of::<KernelTimespec>() == 16);
const _: () = assert!(size_of::<GeteventsArguments>() == 24);
const _: () = assert!(size_of::<ResourceUpdate>() == 16);
