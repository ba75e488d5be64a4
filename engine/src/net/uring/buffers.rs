//! Receive buffers that the kernel picks from: one registered ring per core.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use ringmill_storage::ring::SharedRing;

use super::BufferOptions;
use crate::net::Chunk;

const PAGE_BYTES: usize = 4096;

/// The buffers and the ring that tells the kernel which of them are free.
#[derive(Debug)]
pub(super) struct ProvidedBuffers {
    entries: NonNull<BufRingEntry>,
    entries_layout: Layout,
    memory: NonNull<u8>,
    memory_layout: Layout,
    count: u16,
    bytes: u32,
    /// Next position of the ring to fill; free-running.
    tail: u16,
    /// Buffers that the kernel has not handed out, as far as this side knows.
    free: u16,
}

fn zeroed<T>(layout: Layout) -> NonNull<T> {
    // SAFETY: every layout here has a size above zero.
    let pointer = unsafe { alloc_zeroed(layout) };
    NonNull::new(pointer.cast()).unwrap_or_else(|| handle_alloc_error(layout))
}

fn page_aligned(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, PAGE_BYTES).expect("buffer sizes are far below isize::MAX")
}

impl ProvidedBuffers {
    /// The one buffer group of a core's ring.
    pub(super) const GROUP: u16 = 0;

    /// Allocates, registers and fills the ring.
    pub(super) fn new(ring: &SharedRing, options: BufferOptions) -> io::Result<ProvidedBuffers> {
        assert!(
            options.count.is_power_of_two(),
            "the buffer ring's length is a power of two"
        );
        let entries_layout = page_aligned(usize::from(options.count) * size_of::<BufRingEntry>());
        let memory_layout = page_aligned(usize::from(options.count) * options.bytes as usize);
        let mut buffers = ProvidedBuffers {
            entries: zeroed(entries_layout),
            entries_layout,
            memory: zeroed(memory_layout),
            memory_layout,
            count: options.count,
            bytes: options.bytes,
            tail: 0,
            free: 0,
        };
        let address = buffers.entries.as_ptr() as u64;
        // SAFETY: the page-aligned array of `count` entries lives until it is unregistered.
        unsafe {
            ring.borrow_mut()
                .io_uring()
                .submitter()
                .register_buf_ring_with_flags(address, options.count, Self::GROUP, 0)?;
        }
        for buffer in 0..u32::from(options.count) {
            buffers.recycle(Chunk { buffer, bytes: 0 });
        }
        buffers.publish();
        Ok(buffers)
    }

    /// Buffers that the kernel may still pick.
    pub(super) fn free(&self) -> u16 {
        self.free
    }

    /// Notes that the kernel handed one buffer out.
    pub(super) fn taken(&mut self) {
        self.free -= 1;
    }

    /// The bytes of a chunk.
    pub(super) fn bytes(&self, chunk: &Chunk) -> &[u8] {
        assert!(chunk.buffer < u32::from(self.count) && chunk.bytes <= self.bytes);
        let offset = chunk.buffer as usize * self.bytes as usize;
        // SAFETY: inside the allocation by the assertion; the kernel does not write a buffer that
        // it has handed out until it is recycled, and a chunk cannot be cloned.
        unsafe {
            std::slice::from_raw_parts(self.memory.as_ptr().add(offset), chunk.bytes as usize)
        }
    }

    /// Puts a buffer back; the kernel sees it with the next [`ProvidedBuffers::publish`].
    pub(super) fn recycle(&mut self, chunk: Chunk) {
        assert!(chunk.buffer < u32::from(self.count) && self.free < self.count);
        let position = usize::from(self.tail & (self.count - 1));
        let offset = chunk.buffer as usize * self.bytes as usize;
        // SAFETY: `position` is inside the ring and behind the published tail, so the kernel does
        // not read this entry now. The entry that shares bytes with the tail keeps them, because
        // only address, length and buffer id are written.
        unsafe {
            let entry = &mut *self.entries.as_ptr().add(position);
            entry.set_addr(self.memory.as_ptr().add(offset) as u64);
            entry.set_len(self.bytes);
            entry.set_bid(chunk.buffer as u16);
        }
        self.tail = self.tail.wrapping_add(1);
        self.free += 1;
    }

    /// Makes recycled buffers visible to the kernel.
    pub(super) fn publish(&mut self) {
        // SAFETY: the tail lies in the first entry of the registered, initialised array; the
        // kernel only reads it, and an atomic is the way to share it.
        let tail = unsafe { &*BufRingEntry::tail(self.entries.as_ptr()).cast::<AtomicU16>() };
        // Ordering: Release, the kernel must see the entries before the tail that covers them.
        tail.store(self.tail, Ordering::Release);
    }

    /// Gives the memory back if the kernel lets go of it, else lets it leak.
    pub(super) fn unregister(&mut self, ring: &SharedRing) {
        let unregistered = ring
            .borrow_mut()
            .io_uring()
            .submitter()
            .unregister_buf_ring(Self::GROUP);
        if unregistered.is_ok() {
            // SAFETY: both were allocated with these layouts, and the kernel no longer knows them.
            unsafe {
                dealloc(self.entries.as_ptr().cast(), self.entries_layout);
                dealloc(self.memory.as_ptr(), self.memory_layout);
            }
        }
    }
}
