//! One seeded run: lives of a log on a faulty disk, each checked against the oracle.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringmill_storage::disk::sim::{Crash, Fault, FaultRates, Promise, SimDisk, SimRng, SimWorld};
use ringmill_storage::error::StorageError;
use ringmill_storage::frame::FrameHeader;
use ringmill_storage::layout::{BLOCK_BYTES, is_zero};
use ringmill_storage::log::{FlushPolicy, Log, LogIdentity, LogOptions, entry_bytes_max};
use ringmill_storage::recovery::Next;
use ringmill_storage::segment::{PreparedSegment, SegmentHeader, prepare_segment, segment_path};

use super::entries::{fill, kind};
use super::oracle::{Oracle, Tolerance, check};

pub(crate) const DIR: &str = "/log-0000";
pub(crate) const IDENTITY: LogIdentity = LogIdentity {
    log_id: 0x1234_5678_9abc_def0_1111,
    stream: 3,
};

/// What a seed came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) trace: u64,
    pub(crate) operations: u64,
    pub(crate) opens: u32,
    pub(crate) crashes: u32,
    pub(crate) entries: u64,
    pub(crate) refused: bool,
    pub(crate) torn: u32,
    pub(crate) dropped: u64,
    pub(crate) failed: u32,
    pub(crate) closed: u32,
    pub(crate) rolled: u64,
    /// States behind the last frame that were accepted as an end.
    pub(crate) ends: BTreeSet<Next>,
    /// States that were refused, with the evidence.
    pub(crate) refusals: BTreeSet<(Next, String)>,
}

/// Everything that the seed draws before the first step.
pub(crate) struct Plan {
    pub(crate) options: LogOptions,
    rates: FaultRates,
    finish_rate: u32,
    /// Chance in 65,536 that a submit asks for durability.
    flush_rate: u32,
    steps: u32,
    /// Prepared segments hold the remains of older ones.
    recycle: bool,
    /// Damage at rest is done once, after a crash or a close.
    pub(crate) damage: bool,
}

impl Plan {
    fn draw(rng: &mut SimRng) -> Plan {
        let frame_blocks = 1 + rng.below(3);
        let segment_blocks = 2 * frame_blocks + 2 + rng.below(6);
        let options = LogOptions {
            segment_bytes: segment_blocks * BLOCK_BYTES as u64,
            frame_bytes: frame_blocks as usize * BLOCK_BYTES,
            flush: rng.pick(&[FlushPolicy::WithWrite, FlushPolicy::AfterWrite]),
            segments_ready: 1 + rng.index(2),
            replay_piece_bytes: rng.pick(&[1, 2, 3, 16, 64]) * BLOCK_BYTES,
            lock_tries: 8,
            lock_wait: Duration::ZERO,
            ..LogOptions::default()
        };
        let mut rates = FaultRates::NONE;
        let uncovered = rng.chance(16_384);
        for fault in Fault::ALL {
            let enabled = rng.chance(20_000) && (uncovered || fault.promise() == Promise::Survive);
            let rate = rng.pick(&[100, 600, 2_500, 6_000]);
            if enabled {
                rates = rates.with(fault, rate);
            }
        }
        Plan {
            options,
            rates,
            finish_rate: rng.pick(&[65_536, 32_768, 10_000]),
            flush_rate: rng.pick(&[65_536, 65_536, 65_536, 16_384, 0]),
            steps: 40 + rng.below(120) as u32,
            recycle: rng.chance(16_384),
            damage: rng.chance(16_000),
        }
    }
}

/// Runs `seed`; the error says which promise was broken.
pub(crate) fn run(seed: u64) -> Result<Outcome, String> {
    let mut rng = SimRng::new(seed ^ 0x5eed);
    let plan = Plan::draw(&mut rng);
    let world = SimWorld::new(seed);
    world.set_finish_rate(plan.finish_rate);
    let longest = entry_bytes_max(plan.options.frame_bytes);
    let mut run = Run {
        rng,
        world,
        longest,
        plan,
        dir: PathBuf::from(DIR),
        oracle: Oracle::default(),
        outcome: Outcome::default(),
        now_ns: 1,
        damaged: false,
        prepared: None,
        buffer: Vec::new(),
        old_copies: Vec::new(),
        open_calls: 0,
    };
    run.lives()?;
    run.outcome.trace = run.world.trace_hash();
    run.outcome.operations = run.world.operations();
    run.outcome.entries = run.oracle.entries() as u64;
    Ok(run.outcome)
}

pub(crate) struct Run {
    pub(crate) rng: SimRng,
    pub(crate) world: SimWorld,
    longest: usize,
    pub(crate) plan: Plan,
    dir: PathBuf,
    pub(crate) oracle: Oracle,
    outcome: Outcome,
    now_ns: u64,
    pub(crate) damaged: bool,
    prepared: Option<PreparedSegment>,
    buffer: Vec<u8>,
    /// Segments as some process saw them before it crashed.
    pub(crate) old_copies: Vec<(PathBuf, Vec<u8>)>,
    /// Calls that the last attempt to open made.
    open_calls: u64,
}

/// How a life ended.
enum End {
    Crash,
    Closed,
    OutOfSteps,
}

impl Run {
    fn lives(&mut self) -> Result<(), String> {
        loop {
            let Some(log) = self.open()? else {
                return Ok(());
            };
            match self.live(log)? {
                End::OutOfSteps => return self.finish(),
                End::Closed => {
                    self.outcome.closed += 1;
                    self.world.crash(Crash::Kill);
                    self.damage_file_at_rest();
                }
                End::Crash => self.crash(),
            }
        }
    }

    /// The last word: no more faults, one more power loss, and everything must be there.
    fn finish(&mut self) -> Result<(), String> {
        self.world.set_rates(FaultRates::NONE);
        self.crash();
        self.open().map(|_| ())
    }

    fn crash(&mut self) {
        let crash = self.rng.pick(&[Crash::Kill, Crash::PowerLoss]);
        if crash == Crash::PowerLoss {
            self.oracle.lost_power();
        }
        self.keep_copy();
        self.world.crash(crash);
        self.outcome.crashes += 1;
        if self.rng.chance(24_000) {
            self.damage_block_at_rest();
        }
    }

    /// Uncovered faults so far.
    pub(crate) fn uncovered(&self) -> u32 {
        let struck =
            self.world.injected(Fault::LostWrite) + self.world.injected(Fault::MisdirectedWrite);
        struck + u32::from(self.damaged)
    }

    fn tolerance(&self) -> Tolerance {
        match self.uncovered() {
            0 => Tolerance::Nothing,
            1 => Tolerance::LastReport,
            _ => Tolerance::Suffix,
        }
    }

    /// Opens until it works. `None`: refused because of an uncovered fault, as promised.
    fn open(&mut self) -> Result<Option<Log<SimDisk>>, String> {
        for attempt in 0..12 {
            let calm = attempt >= 8;
            self.set_rates(calm);
            if !calm && self.rng.chance(13_000) {
                let death = self.death_in_open();
                self.world.die_after(Some(death));
            }
            let before = self.world.calls();
            let mut handed_out = Vec::new();
            let opened = Log::open(
                self.world.disk(),
                &self.dir,
                IDENTITY,
                self.plan.options,
                &mut |lsn, kind, bytes| {
                    handed_out.push((lsn, kind, bytes.to_vec()));
                    Ok(())
                },
            );
            self.world.die_after(None);
            self.open_calls = self.world.calls() - before;
            self.outcome.opens += 1;
            match opened {
                Ok((log, report)) => {
                    self.oracle
                        .reopened(&handed_out, self.longest, self.tolerance())?;
                    check(
                        report.incarnation > self.oracle.incarnation || self.uncovered() > 0,
                        || format!("incarnation {} again", report.incarnation),
                    )?;
                    check(log.appended_lsn() == handed_out.len() as u64, || {
                        "the log continues at another LSN".to_owned()
                    })?;
                    if !report.closed_cleanly && !self.plan.recycle {
                        self.check_zeros_behind_end()?;
                    }
                    self.oracle.incarnation = report.incarnation;
                    self.outcome.torn += u32::from(report.torn);
                    self.outcome.dropped += report.dropped_frames;
                    self.outcome.ends.insert(report.end);
                    self.outcome.rolled = self.outcome.rolled.max(report.segments);
                    return Ok(Some(log));
                }
                Err(error) => self.refused(&error)?,
            }
            if self.outcome.refused {
                return Ok(None);
            }
            self.crash();
        }
        Err("the log did not open although the faults had stopped".to_owned())
    }

    /// Call at which an open dies: among the first ones, or where the last open ended, which
    /// is where it begins to write.
    fn death_in_open(&mut self) -> u64 {
        match self.rng.below(3) {
            0 => self.rng.below(30),
            1 => self.rng.below(80),
            _ => (self.open_calls + 4).saturating_sub(self.rng.below(14)),
        }
    }

    /// After an unclean end nothing is left behind it that a later walk could stumble over.
    fn check_zeros_behind_end(&self) -> Result<(), String> {
        for path in self.world.paths() {
            let bytes = self.world.contents(&path).unwrap_or_default();
            if bytes.len() < BLOCK_BYTES || SegmentHeader::decode(&bytes).is_err() {
                continue;
            }
            let mut offset = BLOCK_BYTES;
            while let Some(frame) = bytes.get(offset..).and_then(FrameHeader::decode) {
                offset += frame.frame_bytes();
            }
            let behind = bytes.get(offset..).unwrap_or_default();
            check(self.uncovered() > 0 || is_zero(behind), || {
                format!(
                    "{} holds something behind its end at {offset}",
                    path.display()
                )
            })?;
        }
        Ok(())
    }

    fn refused(&mut self, error: &StorageError) -> Result<(), String> {
        if error.is_damage() || matches!(error, StorageError::Locked { .. }) {
            check(self.uncovered() > 0 && error.is_damage(), || {
                format!("refused: {error}")
            })?;
            self.outcome.refused = true;
            if let StorageError::Corrupt {
                found, evidence, ..
            } = error
            {
                self.outcome.refusals.insert((*found, evidence.to_string()));
            }
        }
        Ok(())
    }

    fn set_rates(&mut self, calm: bool) {
        // One uncovered fault per run: two can hide each other.
        self.world.set_rates(match (calm, self.uncovered()) {
            (true, _) => FaultRates::NONE,
            (false, 0) => self.plan.rates,
            (false, _) => self.plan.rates.survivable(),
        });
    }

    fn live(&mut self, mut log: Log<SimDisk>) -> Result<End, String> {
        self.prepared = None;
        loop {
            if self.plan.steps == 0 {
                return Ok(End::OutOfSteps);
            }
            self.plan.steps -= 1;
            self.now_ns += self.rng.below(30_000_000);
            self.set_rates(false);
            match self.rng.below(100) {
                0..45 => self.append(&mut log)?,
                45..65 => self.submit(&mut log),
                65..84 => {}
                84..90 => log.idle_mark(self.now_ns),
                90..96 => self.supply(&mut log)?,
                96..98 => return self.close(log),
                98 => return Ok(End::Crash),
                _ => self.world.die_after(Some(self.rng.below(12))),
            }
            match log.poll(self.now_ns) {
                Ok(_) => self.oracle.reported(log.written_lsn(), log.durable_lsn())?,
                Err(_) => self.outcome.failed += 1,
            }
            if log.failed() || log.disk_mut().is_dead() {
                return Ok(End::Crash);
            }
        }
    }

    fn append(&mut self, log: &mut Log<SimDisk>) -> Result<(), String> {
        for _ in 0..1 + self.rng.below(6) {
            let id = self.oracle.next_id();
            let mut buffer = std::mem::take(&mut self.buffer);
            fill(id, self.longest, &mut buffer);
            let (front, back) = buffer.split_at(buffer.len() / 2);
            let room = log.room() >= buffer.len();
            let lsn = log.append(kind(id), &[front, back]);
            self.buffer = buffer;
            check(room == lsn.is_some(), || {
                format!("room {room}, append {lsn:?}")
            })?;
            match lsn {
                Some(lsn) => self.oracle.appended(id, lsn)?,
                None => break,
            }
        }
        Ok(())
    }

    fn submit(&mut self, log: &mut Log<SimDisk>) {
        let flush = self.rng.chance(self.plan.flush_rate);
        let pending = log.pending_bytes() > 0;
        if log.submit(self.now_ns, flush) && pending {
            self.oracle.submitted();
        }
    }

    /// The part of the background plane: prepares what is wanted, sometimes from an old segment.
    fn supply(&mut self, log: &mut Log<SimDisk>) -> Result<(), String> {
        let Some(wanted) = log.wanted_segment() else {
            return Ok(());
        };
        if self
            .prepared
            .as_ref()
            .is_none_or(|ready| ready.segment_sequence != wanted)
        {
            let bytes = self.plan.options.segment_bytes;
            let Ok(prepared) = prepare_segment(log.disk_mut(), &self.dir, wanted, bytes) else {
                return Ok(());
            };
            // Far enough back that the log has left it: the active one, one being begun, two ready.
            if self.plan.recycle && wanted > 4 {
                let older = 1 + self.rng.below(wanted - 4);
                self.recycle(&prepared.path, older);
            }
            self.prepared = Some(prepared);
        }
        let prepared = self.prepared.clone().expect("just prepared");
        match log.supply(prepared) {
            Ok(()) => Ok(()),
            Err(error) => check(!error.is_damage(), || format!("supply: {error}")),
        }
    }

    /// Puts the bytes of an older segment under a prepared one.
    fn recycle(&self, path: &Path, older: u64) {
        if let Some(old) = self.world.contents(&segment_path(&self.dir, older)) {
            self.world.damage(path, |bytes| {
                let count = bytes.len().min(old.len());
                bytes[..count].copy_from_slice(&old[..count]);
            });
        }
    }

    fn close(&mut self, log: Log<SimDisk>) -> Result<End, String> {
        self.oracle.submitted();
        let appended = log.appended_lsn();
        // Faults while closing are faults like any other: the log is simply not closed.
        match log.close() {
            Ok(disk) => {
                check(disk.in_flight() == 0, || {
                    "closed with operations in flight".to_owned()
                })?;
                self.oracle.reported(appended, appended)?;
                Ok(End::Closed)
            }
            Err(_) => Ok(End::Crash),
        }
    }
}
