//! The simulated disk: one thread, one seed, every fault of the [`faults`] atlas.
//!
//! What it models, and where:
//! - any subset of the 512-byte sectors that were not flushed survives a power loss, in any of the
//!   versions that were written; length, creation, rename and removal survive on their own until
//!   the file or its directory is flushed (`file`, `names`);
//! - a flush covers what had finished when it was submitted; a flushed write covers its own range;
//! - operations finish late and out of order; those of a killed process may still land until the
//!   lock of their file is granted to the next one (`world`);
//! - faults by rate, at one chosen operation, or at rest ([`SimWorld::damage`]).
//!
//! Cloning a [`SimWorld`] gives another handle of the same world; [`SimWorld::disk`] starts a
//! process on it.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

mod faults;
mod file;
mod names;
mod rng;
mod world;
mod writes;

pub use faults::{Fault, FaultRates, Promise};
pub use file::SECTOR_BYTES;
pub use rng::SimRng;
pub use world::{Crash, PlannedFault};

use super::{Completion, Disk, FileId, Op};
use crate::layout::BLOCK_BYTES;
use names::Node;
use world::World;

/// A machine with a disk. Outlives the processes on it.
#[derive(Clone)]
pub struct SimWorld {
    world: Rc<RefCell<World>>,
}

impl SimWorld {
    /// An empty disk whose every decision follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> SimWorld {
        SimWorld {
            world: Rc::new(RefCell::new(World::new(seed))),
        }
    }

    /// A process on this machine, or one more disk handle of the running one: completions go to
    /// the handle that submitted. Ends with the next crash.
    #[must_use]
    pub fn disk(&self) -> SimDisk {
        let mut world = self.world.borrow_mut();
        world.queues += 1;
        SimDisk {
            world: Rc::clone(&self.world),
            life: world.life,
            queue: world.queues,
        }
    }

    /// Ends every process now.
    pub fn crash(&self, crash: Crash) {
        self.world.borrow_mut().crash(crash);
    }

    /// The process dies at its call number `calls` from now; `None` takes that back.
    /// The caller then calls [`SimWorld::crash`].
    pub fn die_after(&self, calls: Option<u64>) {
        self.world.borrow_mut().calls_left = calls;
    }

    /// Replaces the rates of faults by chance.
    pub fn set_rates(&self, rates: FaultRates) {
        self.world.borrow_mut().rates = rates;
    }

    /// Puts a fault at one operation from now, and forgets an earlier one.
    pub fn plan(&self, fault: Option<PlannedFault>) {
        let mut world = self.world.borrow_mut();
        let now = world.operations;
        world.planned = fault.map(|plan| PlannedFault {
            operation: now + plan.operation,
            ..plan
        });
    }

    /// Chance in 65,536 that an operation in flight finishes at a given reap.
    pub fn set_finish_rate(&self, rate: u32) {
        assert!(rate > 0, "operations finish eventually");
        self.world.borrow_mut().finish_rate = rate;
    }

    /// Room for files; creation beyond it fails.
    pub fn set_capacity_bytes(&self, bytes: u64) {
        self.world.borrow_mut().capacity_bytes = bytes;
    }

    /// Everything written becomes durable, as on a machine that was left alone.
    pub fn settle(&self) {
        self.world.borrow_mut().settle();
    }

    /// Changes the bytes of a file on the medium. No process runs.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut world = self.world.borrow_mut();
        let inode = world.file_at(path).expect("the file to damage exists");
        world.files[inode].damage(change);
    }

    /// Bytes of a file as a process would read them.
    #[must_use]
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let world = self.world.borrow();
        world
            .file_at(path)
            .ok()
            .map(|inode| world.files[inode].seen.clone())
    }

    /// Makes a block of a file unreadable, until it is written again.
    pub fn spoil(&self, path: &Path, block: usize) {
        let mut world = self.world.borrow_mut();
        let inode = world.file_at(path).expect("the file to spoil exists");
        world.files[inode].spoilt.insert(block);
    }

    /// Makes a file vanish, durably.
    pub fn remove(&self, path: &Path) {
        let mut world = self.world.borrow_mut();
        world.names.remove(path);
        world.names.settle();
    }

    /// Every file, sorted by path.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.world.borrow().paths()
    }

    /// True while a process holds the lock of the file.
    #[must_use]
    pub fn is_locked(&self, path: &Path) -> bool {
        self.world.borrow().is_locked(path)
    }

    /// Calls of processes so far: what [`SimWorld::die_after`] counts.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.world.borrow().calls
    }

    /// Operations so far: calls, and the ends of what was submitted.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.world.borrow().operations
    }

    /// How often `fault` struck.
    #[must_use]
    pub fn injected(&self, fault: Fault) -> u32 {
        self.world.borrow().injected[fault as usize]
    }

    /// Hash of everything that happened, in order: equal for equal seeds and inputs.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.world.borrow().trace
    }
}

/// One process's view of a [`SimWorld`].
pub struct SimDisk {
    world: Rc<RefCell<World>>,
    life: u64,
    /// Which completions are its own.
    queue: u64,
}

impl SimDisk {
    /// Operations submitted and not yet reaped.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.world.borrow().in_flight(self.queue)
    }

    /// True once this process was ended by a crash.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.world.borrow().life != self.life
    }

    fn step<T>(
        &mut self,
        code: u64,
        details: u64,
        act: impl FnOnce(&mut World) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut world = self.world.borrow_mut();
        world.begin(self.life, code, details)?;
        act(&mut world)
    }
}

fn check_alignment(offset: u64, buffer: &[u8]) {
    assert!(
        offset.is_multiple_of(BLOCK_BYTES as u64),
        "direct access starts on a block"
    );
    assert!(
        buffer.len().is_multiple_of(BLOCK_BYTES),
        "direct access covers whole blocks"
    );
    assert!(
        (buffer.as_ptr() as usize).is_multiple_of(512),
        "direct access needs aligned memory"
    );
}

impl Disk for SimDisk {
    fn submit(&mut self, ticket: u64, op: Op) {
        match &op {
            Op::Write {
                offset,
                buffer,
                bytes,
                ..
            } => check_alignment(*offset, &buffer[..*bytes]),
            Op::Read {
                offset,
                buffer,
                start,
                bytes,
                ..
            } => check_alignment(*offset, &buffer[*start..*start + *bytes]),
            Op::Datasync { .. } => {}
        }
        self.world
            .borrow_mut()
            .submit(self.life, self.queue, ticket, op);
    }

    fn reap(&mut self, out: &mut Vec<Completion>) {
        self.world.borrow_mut().reap(self.life, self.queue, out);
    }

    fn wait(&mut self) -> io::Result<()> {
        self.step(4, 0, |world| {
            world.hurry();
            Ok(())
        })
    }

    fn open(&mut self, path: &Path) -> io::Result<FileId> {
        self.step(5, 0, |world| {
            world.file_at(path).map(|inode| world.open(inode))
        })
    }

    fn open_read(&mut self, path: &Path) -> io::Result<FileId> {
        self.open(path)
    }

    fn create(&mut self, path: &Path, bytes: u64) -> io::Result<FileId> {
        self.step(6, bytes, |world| world.create(path, bytes))
    }

    fn close(&mut self, file: FileId) {
        let mut world = self.world.borrow_mut();
        if world.life == self.life {
            world.close(file);
        }
    }

    fn len(&mut self, file: FileId) -> io::Result<u64> {
        self.step(7, u64::from(file), |world| {
            Ok(world.files[world.inode(file)].seen.len() as u64)
        })
    }

    fn read_at(&mut self, file: FileId, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        check_alignment(offset, buffer);
        self.step(8, offset, |world| world.read(file, offset, buffer))
    }

    fn write_at(&mut self, file: FileId, offset: u64, buffer: &[u8]) -> io::Result<usize> {
        check_alignment(offset, buffer);
        self.world
            .borrow_mut()
            .write_and_die(self.life, file, offset, buffer);
        self.step(9, offset, |world| world.write(file, offset, buffer, false))
    }

    fn datasync(&mut self, file: FileId) -> io::Result<()> {
        self.step(10, u64::from(file), |world| world.datasync_now(file))
    }

    fn lock(&mut self, file: FileId) -> io::Result<()> {
        self.step(11, u64::from(file), |world| world.lock(file))
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(12, 0, |world| {
            world.file_at(from)?;
            world.names.rename(from, to);
            Ok(())
        })
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.step(13, 0, |world| {
            world.file_at(path)?;
            world.names.remove(path);
            Ok(())
        })
    }

    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        self.step(14, 0, |world| {
            if world.strikes(Fault::FlushError) {
                return Err(io::Error::from_raw_os_error(libc::EIO));
            }
            world.names.sync(dir);
            Ok(())
        })
    }

    fn create_dir(&mut self, dir: &Path) -> io::Result<()> {
        self.step(15, 0, |world| {
            match world.names.get(dir) {
                Some(Node::Directory) => {}
                Some(Node::File(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
                None => world.names.add(dir, Node::Directory),
            }
            Ok(())
        })
    }

    fn list(&mut self, dir: &Path) -> io::Result<Vec<String>> {
        self.step(16, 0, |world| {
            let in_dir = world
                .names
                .files()
                .filter(|(path, _)| path.parent() == Some(dir));
            let name = |path: &Path| {
                path.file_name()
                    .map(|name| name.to_string_lossy().into_owned())
            };
            Ok(in_dir.filter_map(|(path, _)| name(path)).collect())
        })
    }

    fn free_bytes(&mut self, _dir: &Path) -> io::Result<u64> {
        self.step(17, 0, |world| Ok(world.free_bytes()))
    }
}
