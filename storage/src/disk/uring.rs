//! The disk on a core's io_uring.
//!
//! The ring is shared with the sockets of the core, so this disk never waits on it: `submit`
//! queues an entry, the owner's turn calls `Ring::enter` and `Ring::drain`, and `reap` takes what
//! arrived for this disk. The blocking half uses plain system calls.
//!
//! A buffer is owned by its slot from submission to completion. A dropped disk waits for its
//! operations; if they do not end, it leaks their buffers and files, because freeing memory that
//! the device still reads from or writes to is worse.
//!
//! Two ways of flushing stand side by side, and the owner of the log chooses by measurement: a
//! write with `flush` carries `RWF_DSYNC`, so that its one completion means durable; or a plain
//! write followed, once its full length is confirmed, by [`Op::Datasync`]. They are never linked:
//! a short write would let the flush go ahead of the rest.

use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, Instant};

use io_uring::{opcode, squeue, types};

use crate::aligned::{ALIGNMENT_BYTES, AlignedBuf};
use crate::disk::posix::Access;
use crate::disk::posix::files::{Files, names, place_index};
use crate::disk::{Completion, Disk, FileId, Op};
use crate::probe::SyncWay;
use crate::ring::{Cqe, SharedRing};

mod slots;

use slots::{InFlight, Slots};

/// Operations that may be in flight at once: a frame, its flush, a mark, and room for tools.
pub const URING_OPS_MAX: u16 = 32;

/// How long one blocking wait lasts at most; callers loop.
const WAIT_STEP: Duration = Duration::from_millis(50);
/// How long a dropped disk waits for operations in flight before it leaks their buffers. A device
/// that is stuck for longer has failed the log long before.
const DROP_WAIT: Duration = Duration::from_secs(30);

/// A buffer that the kernel knows by index.
#[derive(Debug)]
struct RegisteredBuffer {
    slot: u16,
    address: usize,
    bytes: usize,
}

/// Files behind a shared ring.
#[derive(Debug)]
pub struct UringDisk {
    slots: Slots,
    files: Files,
    /// Slot in the ring's fixed-file table, by place in `files`.
    fixed: Vec<Option<u32>>,
    registered: Vec<RegisteredBuffer>,
    sync: SyncWay,
    ring: SharedRing,
}

impl UringDisk {
    /// A disk on `ring`; its log is meant to flush by `sync`.
    #[must_use]
    pub fn new(ring: SharedRing, sync: SyncWay) -> UringDisk {
        let number = ring.borrow_mut().next_disk_number();
        UringDisk {
            slots: Slots::new(number, URING_OPS_MAX),
            files: Files::new(Access::Direct),
            fixed: Vec::new(),
            registered: Vec::new(),
            sync,
            ring,
        }
    }

    /// The way of flushing that was chosen for this disk. A write with `flush` is durable when it
    /// completes under either: the choice tells the log which of the two to ask for.
    #[must_use]
    pub fn sync_way(&self) -> SyncWay {
        self.sync
    }

    /// The ring this disk stands on.
    #[must_use]
    pub fn ring(&self) -> &SharedRing {
        &self.ring
    }

    /// Operations whose completion was not reaped yet.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.slots.in_flight()
    }

    /// One turn of the ring without waiting, for users that have no loop of their own.
    ///
    /// # Errors
    /// The kernel's refusal of the submit call.
    pub fn pump(&mut self) -> io::Result<()> {
        let mut ring = self.ring.borrow_mut();
        ring.enter(None)?;
        ring.drain();
        Ok(())
    }

    /// Hands the entry to the ring, addressed to the fixed slot of the file if it has one.
    fn push(&mut self, file: FileId, entry: squeue::Entry, user_data: u64) {
        debug_assert!(self.slots.uses(file));
        // SAFETY: the memory that the entry names is owned by the slot of `user_data`, which is
        // emptied only by the completion or, on drop, leaked; heap memory of a buffer does not
        // move when the buffer does. Nothing reads or writes the buffer while it is in the slot.
        unsafe { self.ring.borrow_mut().push(entry.user_data(user_data)) }
    }

    fn submit_write(&mut self, ticket: u64, write: Write) {
        let Write {
            file,
            offset,
            buffer,
            bytes,
            flush,
        } = write;
        check_range(&buffer, offset, bytes);
        let (fd, fixed) = self.target(file);
        let index = self.registered_index(&buffer);
        let entry = write_entry(fd, &buffer[..bytes], offset, index, flush).flags(fixed);
        let user_data = self.slots.insert(InFlight {
            ticket,
            file,
            buffer: Some(buffer),
        });
        self.push(file, entry, user_data);
    }

    fn submit_read(
        &mut self,
        ticket: u64,
        file: FileId,
        offset: u64,
        mut buffer: AlignedBuf,
        (start, bytes): (usize, usize),
    ) {
        check_range(&buffer[start..], offset, bytes);
        let length = u32::try_from(bytes).expect("invariant: a read is at most a few MiB");
        let address = buffer[start..].as_mut_ptr();
        let (fd, fixed) = self.target(file);
        let entry = opcode::Read::new(fd, address, length)
            .offset(offset)
            .build()
            .flags(fixed);
        let user_data = self.slots.insert(InFlight {
            ticket,
            file,
            buffer: Some(buffer),
        });
        self.push(file, entry, user_data);
    }

    fn submit_datasync(&mut self, ticket: u64, file: FileId) {
        let (fd, fixed) = self.target(file);
        let datasync = types::FsyncFlags::DATASYNC;
        let entry = opcode::Fsync::new(fd).flags(datasync).build().flags(fixed);
        let user_data = self.slots.insert(InFlight {
            ticket,
            file,
            buffer: None,
        });
        self.push(file, entry, user_data);
    }

    /// How an entry names its file: the slot in the fixed table, or the plain descriptor.
    fn target(&self, file: FileId) -> (types::Fd, squeue::Flags) {
        // Also proves that the file is open.
        let raw = self.files.fd(file).as_raw_fd();
        match self.fixed[place_index(file)] {
            Some(slot) => {
                let slot = i32::try_from(slot).expect("invariant: the table has few slots");
                (types::Fd(slot), squeue::Flags::FIXED_FILE)
            }
            None => (types::Fd(raw), squeue::Flags::empty()),
        }
    }

    /// The index under which the kernel knows exactly this memory. The note in the buffer is not
    /// enough: it may come from another ring.
    fn registered_index(&self, buffer: &AlignedBuf) -> Option<u16> {
        let slot = buffer.registered()?;
        let address = buffer.as_ptr() as usize;
        self.registered
            .iter()
            .any(|known| {
                known.slot == slot && known.address == address && known.bytes == buffer.len()
            })
            .then_some(slot)
    }

    fn adopt(&mut self, file: FileId) -> FileId {
        let slot = self.ring.borrow_mut().register_file(self.files.fd(file));
        let index = place_index(file);
        if self.fixed.len() <= index {
            self.fixed.resize(index + 1, None);
        }
        self.fixed[index] = slot;
        file
    }

    fn next_completion(&mut self) -> Option<Completion> {
        let slots = &self.slots;
        let cqe = self
            .ring
            .borrow_mut()
            .pop_disk_of(|user_data| slots.owns(user_data))?;
        let InFlight { ticket, buffer, .. } = self.slots.remove(cqe.user_data);
        Some(Completion {
            ticket,
            result: result_of(cqe),
            buffer,
        })
    }

    /// Waits for every operation; false if the ring or the device does not give them back.
    fn settle(&mut self) -> bool {
        let started = Instant::now();
        while self.slots.in_flight() > 0 {
            let turned = match self.ring.try_borrow_mut() {
                Ok(mut ring) => ring.wait_disk(WAIT_STEP),
                Err(_) => return false,
            };
            while self.next_completion().is_some() {}
            if turned.is_err() || started.elapsed() > DROP_WAIT {
                return self.slots.in_flight() == 0;
            }
        }
        true
    }

    fn release_kernel_references(&mut self) {
        let Ok(mut ring) = self.ring.try_borrow_mut() else {
            return;
        };
        for slot in self.fixed.drain(..).flatten() {
            ring.unregister_file(slot);
        }
        for known in self.registered.drain(..) {
            ring.unregister_buffer(known.slot);
        }
    }
}

/// The fields of [`Op::Write`].
struct Write {
    file: FileId,
    offset: u64,
    buffer: AlignedBuf,
    bytes: usize,
    flush: bool,
}

/// A write of `bytes` at `offset`; `index` is their place among the registered buffers.
fn write_entry(
    fd: types::Fd,
    bytes: &[u8],
    offset: u64,
    index: Option<u16>,
    flush: bool,
) -> squeue::Entry {
    let length = u32::try_from(bytes.len()).expect("invariant: a frame is at most 1 MiB");
    let flags = if flush { libc::RWF_DSYNC } else { 0 };
    let address = bytes.as_ptr();
    match index {
        Some(index) => opcode::WriteFixed::new(fd, address, length, index)
            .offset(offset)
            .rw_flags(flags)
            .build(),
        None => opcode::Write::new(fd, address, length)
            .offset(offset)
            .rw_flags(flags)
            .build(),
    }
}

fn check_range(buffer: &[u8], offset: u64, bytes: usize) {
    assert!(
        bytes <= buffer.len(),
        "invariant: an operation stays inside its buffer"
    );
    assert!(
        bytes.is_multiple_of(ALIGNMENT_BYTES),
        "invariant: lengths are whole blocks"
    );
    assert!(
        offset.is_multiple_of(ALIGNMENT_BYTES as u64),
        "invariant: offsets are whole blocks"
    );
}

fn result_of(cqe: Cqe) -> io::Result<usize> {
    usize::try_from(cqe.result).map_err(|_| io::Error::from_raw_os_error(cqe.result.wrapping_neg()))
}

impl Disk for UringDisk {
    fn submit(&mut self, ticket: u64, op: Op) {
        match op {
            Op::Write {
                file,
                offset,
                buffer,
                bytes,
                flush,
            } => {
                self.submit_write(
                    ticket,
                    Write {
                        file,
                        offset,
                        buffer,
                        bytes,
                        flush,
                    },
                );
            }
            Op::Datasync { file } => self.submit_datasync(ticket, file),
            Op::Read {
                file,
                offset,
                buffer,
                start,
                bytes,
            } => self.submit_read(ticket, file, offset, buffer, (start, bytes)),
        }
    }

    fn start(&mut self) -> io::Result<()> {
        self.pump()
    }

    fn reap(&mut self, out: &mut Vec<Completion>) {
        while let Some(completion) = self.next_completion() {
            out.push(completion);
        }
    }

    fn wait(&mut self) -> io::Result<()> {
        self.ring.borrow_mut().wait_disk(WAIT_STEP)
    }

    fn register_buffers(&mut self, buffers: &mut [AlignedBuf]) {
        let mut ring = self.ring.borrow_mut();
        for buffer in buffers {
            match ring.register_buffer(buffer) {
                Ok(slot) => {
                    buffer.set_registered(Some(slot));
                    let address = buffer.as_ptr() as usize;
                    self.registered.push(RegisteredBuffer {
                        slot,
                        address,
                        bytes: buffer.len(),
                    });
                }
                Err(error) => {
                    buffer.set_registered(None);
                    ring.warn_unregistered(buffer.len(), &error);
                }
            }
        }
    }

    fn open(&mut self, path: &Path) -> io::Result<FileId> {
        let file = self.files.open(path)?;
        Ok(self.adopt(file))
    }

    fn open_read(&mut self, path: &Path) -> io::Result<FileId> {
        let file = self.files.open_read(path)?;
        Ok(self.adopt(file))
    }

    fn create(&mut self, path: &Path, bytes: u64) -> io::Result<FileId> {
        let file = self.files.create(path, bytes)?;
        Ok(self.adopt(file))
    }

    fn close(&mut self, file: FileId) {
        assert!(
            !self.slots.uses(file),
            "invariant: no operation is in flight on a closed file"
        );
        if let Some(slot) = self.fixed[place_index(file)].take() {
            self.ring.borrow_mut().unregister_file(slot);
        }
        self.files.close(file);
    }

    fn len(&mut self, file: FileId) -> io::Result<u64> {
        self.files.len(file)
    }

    fn read_at(&mut self, file: FileId, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.files.read_at(file, offset, buffer)
    }

    fn write_at(&mut self, file: FileId, offset: u64, buffer: &[u8]) -> io::Result<usize> {
        self.files.write_at(file, offset, buffer)
    }

    fn datasync(&mut self, file: FileId) -> io::Result<()> {
        self.files.datasync(file)
    }

    fn lock(&mut self, file: FileId) -> io::Result<()> {
        self.files.lock(file)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        names::sync_dir(dir)
    }

    fn create_dir(&mut self, dir: &Path) -> io::Result<()> {
        names::create_dir(dir)
    }

    fn list(&mut self, dir: &Path) -> io::Result<Vec<String>> {
        names::list(dir)
    }

    fn free_bytes(&mut self, dir: &Path) -> io::Result<u64> {
        names::free_bytes(dir)
    }
}

impl Drop for UringDisk {
    fn drop(&mut self) {
        if self.settle() {
            self.release_kernel_references();
            for file in self.files.open_ids() {
                self.files.close(file);
            }
        } else {
            // The locks stay with the leaked files: they fence off the writes that may yet land.
            self.slots.leak();
            std::mem::forget(std::mem::take(&mut self.files));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Opcode, `rw_flags` and buffer index, by their place in `struct io_uring_sqe`.
    fn fields(entry: &squeue::Entry) -> (u8, i32, u16) {
        const SQE_BYTES: usize = 64;
        const { assert!(size_of::<squeue::Entry>() == SQE_BYTES) };
        // SAFETY: an entry is 64 bytes of plain integers, all of them initialised.
        let bytes = unsafe { &*std::ptr::from_ref(entry).cast::<[u8; SQE_BYTES]>() };
        let rw_flags = i32::from_le_bytes([bytes[28], bytes[29], bytes[30], bytes[31]]);
        (
            bytes[0],
            rw_flags,
            u16::from_le_bytes([bytes[40], bytes[41]]),
        )
    }

    #[test]
    fn a_flushed_write_tells_the_kernel_so_and_a_plain_one_does_not() {
        let buffer = AlignedBuf::zeroed(ALIGNMENT_BYTES);
        let entry = |index, flush| write_entry(types::Fd(3), &buffer, 0, index, flush);
        let write = opcode::Write::CODE;
        let write_fixed = opcode::WriteFixed::CODE;
        assert_eq!(fields(&entry(None, true)), (write, libc::RWF_DSYNC, 0));
        assert_eq!(fields(&entry(None, false)), (write, 0, 0));
        assert_eq!(
            fields(&entry(Some(7), true)),
            (write_fixed, libc::RWF_DSYNC, 7)
        );
        assert_eq!(fields(&entry(Some(7), false)), (write_fixed, 0, 7));
    }
}
