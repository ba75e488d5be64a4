//! Block-aligned heap buffers: the only memory that direct I/O is ever pointed at.
//!
//! A buffer is owned by exactly one party: its user, or, from submission to completion, the slot
//! of a disk. That is why it cannot be cloned, and why a completion hands it back by value.
//!
//! Invariants: the address is a multiple of [`ALIGNMENT_BYTES`]; every byte is initialised; the
//! address never changes during the buffer's life (a registered buffer is known to the kernel by
//! its address).

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::slice;

/// Alignment of every buffer. O_DIRECT needs the device's logical block size, which is at most
/// this on every filesystem that the log accepts; a whole page also keeps registration exact.
pub const ALIGNMENT_BYTES: usize = 4096;

/// A zero-initialised heap buffer whose address is a multiple of [`ALIGNMENT_BYTES`].
pub struct AlignedBuf {
    address: NonNull<u8>,
    bytes: usize,
    registered: Option<u16>,
}

// SAFETY: the buffer is uniquely owned memory with no interior mutability and no thread affinity.
unsafe impl Send for AlignedBuf {}
// SAFETY: a shared reference only allows reading plain initialised bytes.
unsafe impl Sync for AlignedBuf {}

impl AlignedBuf {
    /// Allocates `bytes` zero bytes.
    ///
    /// # Panics
    /// If `bytes` is 0 or exceeds the address space (a mistake of the caller); aborts when the
    /// machine has no memory left, like every allocation.
    #[must_use]
    pub fn zeroed(bytes: usize) -> AlignedBuf {
        let layout = AlignedBuf::layout(bytes);
        // SAFETY: the layout has a non-zero size (checked in `layout`).
        let address = unsafe { alloc_zeroed(layout) };
        let Some(address) = NonNull::new(address) else {
            handle_alloc_error(layout);
        };
        AlignedBuf {
            address,
            bytes,
            registered: None,
        }
    }

    /// Index of this buffer in the registered-buffer table of the ring that it belongs to.
    #[must_use]
    pub fn registered(&self) -> Option<u16> {
        self.registered
    }

    /// Notes where the buffer stands in a ring's table. A hint only: the io_uring disk checks the
    /// address against its own table before it makes use of it.
    pub fn set_registered(&mut self, index: Option<u16>) {
        self.registered = index;
    }

    /// The memory is rounded up to whole blocks, so that a device that writes whole blocks never
    /// touches a neighbour's allocation.
    fn layout(bytes: usize) -> Layout {
        assert!(bytes > 0, "an aligned buffer holds at least one byte");
        let bytes_rounded = bytes
            .checked_next_multiple_of(ALIGNMENT_BYTES)
            .expect("invariant: buffer size fits");
        Layout::from_size_align(bytes_rounded, ALIGNMENT_BYTES)
            .expect("invariant: buffer size fits the address space")
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `address` points to at least `bytes` initialised bytes owned by `self`.
        unsafe { slice::from_raw_parts(self.address.as_ptr(), self.bytes) }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `deref`, and `&mut self` makes the access exclusive.
        unsafe { slice::from_raw_parts_mut(self.address.as_ptr(), self.bytes) }
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeroed` with the same layout, and freed only here.
        unsafe { dealloc(self.address.as_ptr(), AlignedBuf::layout(self.bytes)) }
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuf")
            .field("bytes", &self.bytes)
            .field("registered", &self.registered)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_zeroed_and_exactly_as_long_as_asked() {
        for bytes in [1, 511, 4096, 4097, 1 << 20] {
            let buffer = AlignedBuf::zeroed(bytes);
            assert_eq!(buffer.as_ptr() as usize % ALIGNMENT_BYTES, 0);
            assert_eq!(buffer.len(), bytes);
            assert!(buffer.iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn what_is_written_is_read_back_also_after_a_move_to_another_thread() {
        let mut buffer = AlignedBuf::zeroed(8192);
        buffer[8191] = 7;
        buffer.set_registered(Some(3));
        let buffer = std::thread::spawn(move || buffer).join().unwrap();
        assert_eq!(buffer[8191], 7);
        assert_eq!(buffer.registered(), Some(3));
    }

    #[test]
    #[should_panic(expected = "at least one byte")]
    fn an_empty_buffer_is_a_mistake_of_the_caller() {
        let _ = AlignedBuf::zeroed(0);
    }
}
