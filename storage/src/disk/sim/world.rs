//! The machine below the simulated disk: files, names, operations in flight, crashes, trace.
//!
//! The world outlives the processes that use it. Each `SimDisk` is one process (a *life*): a crash
//! ends the lives and decides, sector by sector and name by name, what the medium keeps.

use std::io;
use std::path::{Path, PathBuf};

use super::faults::{Fault, FaultRates};
use super::file::SimFile;
use super::names::{Names, Node};
use super::rng::SimRng;
use crate::disk::{Completion, FileId, Op};
use crate::layout::BLOCK_BYTES;

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process is gone; what it wrote is seen by the next one, and what it had in flight may
    /// land until the lock of the file is free.
    Kill,
    /// Everything that was not flushed survives by sectors, or not at all.
    PowerLoss,
}

/// A fault put at one chosen operation instead of by chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedFault {
    /// Number of the operation, counted from 0 since the plan was set.
    pub operation: u64,
    /// Strikes if the operation is of a kind that can meet it.
    pub fault: Fault,
    /// Strikes every later operation, too.
    pub sticky: bool,
}

/// An open file of one life.
#[derive(Clone, Copy)]
struct Handle {
    inode: usize,
    life: u64,
}

pub(super) struct Flight {
    ticket: u64,
    op: Op,
    /// Writes finished when it was submitted: what a datasync covers.
    stamp: u64,
    life: u64,
    /// Disk handle that submitted it.
    queue: u64,
}

pub(super) struct World {
    pub(super) rng: SimRng,
    pub(super) files: Vec<SimFile>,
    pub(super) names: Names,
    pub(super) rates: FaultRates,
    pub(super) planned: Option<PlannedFault>,
    /// Crash after so many more calls: what follows fails.
    pub(super) calls_left: Option<u64>,
    pub(super) operations: u64,
    /// Operations that a process began.
    pub(super) calls: u64,
    pub(super) capacity_bytes: u64,
    /// Chance in 65,536 that an operation in flight finishes at a given reap.
    pub(super) finish_rate: u32,
    pub(super) injected: [u32; Fault::ALL.len()],
    pub(super) trace: u64,
    pub(super) life: u64,
    /// Disk handles so far.
    pub(super) queues: u64,
    handles: Vec<Option<Handle>>,
    flights: Vec<Flight>,
    /// Writes of killed lives that may still land.
    orphans: Vec<Flight>,
    pub(super) stamp: u64,
    lock_refusals: u32,
    hurry: bool,
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        World {
            rng: SimRng::new(seed),
            files: Vec::new(),
            names: Names::default(),
            rates: FaultRates::NONE,
            planned: None,
            calls_left: None,
            operations: 0,
            calls: 0,
            capacity_bytes: u64::MAX,
            finish_rate: 65_536,
            injected: [0; Fault::ALL.len()],
            trace: seed,
            life: 0,
            queues: 0,
            handles: Vec::new(),
            flights: Vec::new(),
            orphans: Vec::new(),
            stamp: 0,
            lock_refusals: 0,
            hurry: false,
        }
    }

    /// Counts an operation of `life`, notes it in the trace, and fails if the life is over.
    pub(super) fn begin(&mut self, life: u64, code: u64, details: u64) -> io::Result<()> {
        if life != self.life {
            return Err(io::Error::other("simulated crash: this process is dead"));
        }
        self.note(code, details);
        self.operations += 1;
        self.calls += 1;
        if let Some(left) = &mut self.calls_left {
            if *left == 0 {
                self.life += 1;
                return Err(io::Error::other("simulated crash: this process died"));
            }
            *left -= 1;
        }
        if !self.orphans.is_empty() && self.rng.chance(4_096) {
            self.land_orphan(None);
        }
        Ok(())
    }

    /// Folds one step into the trace hash.
    pub(super) fn note(&mut self, code: u64, details: u64) {
        let mixed =
            (self.trace ^ code.rotate_left(32) ^ details).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.trace = mixed ^ (mixed >> 29);
    }

    /// True if `fault` strikes now: by plan or by chance.
    pub(super) fn strikes(&mut self, fault: Fault) -> bool {
        let planned = self.planned.is_some_and(|plan| {
            let due = self.operations - 1 == plan.operation;
            plan.fault == fault && (due || plan.sticky && self.operations > plan.operation)
        });
        let struck = planned || self.rng.chance(self.rates.of(fault));
        if struck {
            self.injected[fault as usize] += 1;
            self.note(100, fault as u64);
        }
        struck
    }

    pub(super) fn open(&mut self, inode: usize) -> FileId {
        self.handles.push(Some(Handle {
            inode,
            life: self.life,
        }));
        (self.handles.len() - 1) as FileId
    }

    pub(super) fn close(&mut self, file: FileId) {
        let life = self.life;
        let uses = |flight: &Flight| flight.life == life && flight.op.file() == file;
        assert!(
            !self.flights.iter().any(uses),
            "no operation is in flight on a closed file"
        );
        let inode = self.inode(file);
        if self.files[inode].locked_by == Some(file) {
            self.files[inode].locked_by = None;
        }
        self.handles[file as usize] = None;
    }

    pub(super) fn inode(&self, file: FileId) -> usize {
        self.handles[file as usize]
            .expect("a closed file is not used")
            .inode
    }

    pub(super) fn file_at(&self, path: &Path) -> io::Result<usize> {
        match self.names.get(path) {
            Some(Node::File(inode)) => Ok(inode),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn create(&mut self, path: &Path, bytes: u64) -> io::Result<FileId> {
        if self.names.get(path).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if bytes > self.free_bytes() || self.strikes(Fault::NoSpace) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.files.push(SimFile::new(bytes as usize));
        self.names.add(path, Node::File(self.files.len() - 1));
        Ok(self.open(self.files.len() - 1))
    }

    pub(super) fn free_bytes(&self) -> u64 {
        let used: usize = self
            .names
            .files()
            .map(|(_, inode)| self.files[inode].seen.len())
            .sum();
        self.capacity_bytes.saturating_sub(used as u64)
    }

    pub(super) fn lock(&mut self, file: FileId) -> io::Result<()> {
        let inode = self.inode(file);
        if let Some(holder) = self.files[inode].locked_by
            && holder != file
            && self.handles[holder as usize].is_some_and(|handle| handle.life == self.life)
        {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        while self
            .orphans
            .iter()
            .any(|orphan| self.target(orphan) == Some(inode))
        {
            let wait = self.lock_refusals < 3 && self.rng.chance(32_768);
            self.land_orphan(Some(inode));
            if wait {
                self.lock_refusals += 1;
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        self.lock_refusals = 0;
        self.files[inode].locked_by = Some(file);
        Ok(())
    }

    /// A second process opens while the first one runs.
    pub(super) fn is_locked(&self, path: &Path) -> bool {
        self.file_at(path)
            .is_ok_and(|inode| self.files[inode].locked_by.is_some())
    }

    /// The process dies inside a blocking write: any subset of its sectors may have landed.
    pub(super) fn write_and_die(&mut self, life: u64, file: FileId, offset: u64, data: &[u8]) {
        if life == self.life && self.calls_left == Some(0) {
            let rate = self.rng.pick(&[0, 32_768, 65_536]);
            self.stamp += 1;
            self.land(self.inode(file), offset as usize, data, rate);
        }
    }

    pub(super) fn datasync(&mut self, file: FileId, through: u64) -> io::Result<()> {
        let inode = self.inode(file);
        let bytes = self.files[inode].seen.len();
        if self.strikes(Fault::FlushError) {
            self.half_flush(inode, 0, bytes, through);
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        self.files[inode].flush(0, bytes, through, || true);
        Ok(())
    }

    pub(super) fn datasync_now(&mut self, file: FileId) -> io::Result<()> {
        self.datasync(file, self.stamp)
    }

    pub(super) fn read(
        &mut self,
        file: FileId,
        offset: u64,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        if self.strikes(Fault::ReadError) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let inode = self.inode(file);
        let seen_bytes = self.files[inode].seen.len();
        let start = (offset as usize).min(seen_bytes);
        let mut bytes = buffer.len().min(seen_bytes - start);
        let blocks = start / BLOCK_BYTES..(start + bytes).div_ceil(BLOCK_BYTES);
        if self.files[inode].spoilt.range(blocks).next().is_some() {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        if bytes > 0 && self.strikes(Fault::ShortRead) {
            bytes = self.rng.index(bytes);
        }
        let seen = &self.files[inode].seen;
        buffer[..bytes].copy_from_slice(&seen[start..start + bytes]);
        Ok(bytes)
    }

    pub(super) fn submit(&mut self, life: u64, queue: u64, ticket: u64, op: Op) {
        let alive = life == self.life;
        if self.begin(life, 1, ticket).is_ok() || alive {
            self.flights.push(Flight {
                ticket,
                op,
                stamp: self.stamp,
                life,
                queue,
            });
        }
    }

    /// Lets operations of `life` finish: each by a coin, in a seeded order.
    pub(super) fn reap(&mut self, life: u64, queue: u64, out: &mut Vec<Completion>) {
        let own = self.in_flight(queue);
        if life != self.life || own == 0 {
            return;
        }
        let hurry = std::mem::take(&mut self.hurry);
        for index in 0..own {
            if hurry && index == 0 || self.rng.chance(self.finish_rate) {
                let pick = self.rng.index(self.in_flight(queue));
                let index = self.own_flight(queue, pick);
                let flight = self.flights.swap_remove(index);
                out.push(self.finish(flight));
            }
        }
    }

    pub(super) fn hurry(&mut self) {
        self.hurry = true;
    }

    pub(super) fn in_flight(&self, queue: u64) -> usize {
        let own = |flight: &&Flight| flight.queue == queue;
        self.flights.iter().filter(own).count()
    }

    /// Index of the operation number `pick` of those in flight from one handle.
    fn own_flight(&self, queue: u64, pick: usize) -> usize {
        let flights = self.flights.iter().enumerate();
        let mut own = flights.filter(|(_, flight)| flight.queue == queue);
        own.nth(pick)
            .map(|(index, _)| index)
            .expect("an operation in flight")
    }

    fn finish(&mut self, flight: Flight) -> Completion {
        self.operations += 1;
        let Flight {
            ticket, op, stamp, ..
        } = flight;
        let (result, buffer) = match op {
            Op::Write {
                file,
                offset,
                buffer,
                bytes,
                flush,
            } => (
                self.write(file, offset, &buffer[..bytes], flush),
                Some(buffer),
            ),
            Op::Datasync { file } => (self.datasync(file, stamp).map(|()| 0), None),
            Op::Read {
                file,
                offset,
                mut buffer,
                start,
                bytes,
            } => {
                let end = offset as usize + bytes;
                assert!(
                    end <= self.files[self.inode(file)].seen.len(),
                    "a read stays inside its file"
                );
                let target = &mut buffer[start..start + bytes];
                (self.read(file, offset, target), Some(buffer))
            }
        };
        self.note(2, ticket ^ *result.as_ref().unwrap_or(&usize::MAX) as u64);
        Completion {
            ticket,
            result,
            buffer,
        }
    }

    /// Ends the running life.
    pub(super) fn crash(&mut self, crash: Crash) {
        self.note(3, crash as u64);
        self.life += 1;
        self.calls_left = None;
        let flights = std::mem::take(&mut self.flights);
        self.orphans.extend(
            flights
                .into_iter()
                .filter(|flight| matches!(flight.op, Op::Write { .. })),
        );
        if crash == Crash::Kill {
            return;
        }
        let rate = self.rng.pick(&[0, 8_192, 32_768, 57_344, 65_536]);
        for orphan in std::mem::take(&mut self.orphans) {
            if let Op::Write {
                file,
                offset,
                buffer,
                bytes,
                ..
            } = &orphan.op
            {
                self.stamp += 1;
                self.land(self.inode(*file), *offset as usize, &buffer[..*bytes], rate);
            }
        }
        let rate = self.rng.pick(&[0, 8_192, 32_768, 57_344, 65_536]);
        for file in &mut self.files {
            file.lose_power(rate, &mut self.rng);
        }
        self.names.lose_power(rate, &mut self.rng);
    }

    /// Everything written becomes durable: a machine that was left alone for a while.
    pub(super) fn settle(&mut self) {
        self.names.settle();
        for file in &mut self.files {
            file.settle();
        }
    }

    pub(super) fn half_flush(&mut self, inode: usize, offset: usize, bytes: usize, through: u64) {
        let rate = self.rng.pick(&[0, 32_768, 65_536]);
        let World { files, rng, .. } = self;
        files[inode].flush(offset, bytes, through, || rng.chance(rate));
    }

    fn target(&self, orphan: &Flight) -> Option<usize> {
        match orphan.op {
            Op::Write { file, .. } => self.handles[file as usize].map(|handle| handle.inode),
            Op::Datasync { .. } | Op::Read { .. } => None,
        }
    }

    /// A late write of a killed life reaches the disk, whole, in part or not at all.
    fn land_orphan(&mut self, inode: Option<usize>) {
        let index = self
            .orphans
            .iter()
            .position(|orphan| inode.is_none() || self.target(orphan) == inode);
        let Some(index) = index else { return };
        let orphan = self.orphans.swap_remove(index);
        debug_assert!(orphan.life < self.life);
        if let Op::Write {
            file,
            offset,
            buffer,
            bytes,
            ..
        } = &orphan.op
        {
            let rate = self.rng.pick(&[0, 32_768, 65_536, 65_536]);
            self.stamp += 1;
            self.land(self.inode(*file), *offset as usize, &buffer[..*bytes], rate);
        }
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.names
            .files()
            .map(|(path, _)| path.to_path_buf())
            .collect()
    }
}
