//! One seeded run: lives of an engine on a faulty disk, with clients that see it die and return.

mod control;

use std::sync::atomic::Ordering;

use ringmill_engine::clock::ManualClock;
use ringmill_engine::metrics::Counter;
use ringmill_shard::pipeline::Durability;
use ringmill_shard::state::ShardState;
use ringmill_storage::disk::sim::{Crash, Fault, FaultRates, SimWorld};
use ringmill_storage::error::StorageError;

use super::book::Book;
use super::check::Contents;
use super::client::{Around, Producer};
use super::corrections::Corrector;
use super::cover::{Cover, Point};
use super::engine::Engine;
use super::model::random::Random;
use super::plan::{Plan, SHARDS};

const START_MS: u64 = 1_700_000_000_000;

/// Rounds within which everything must be acknowledged once nothing goes wrong any more.
const CALM_ROUNDS: u32 = 3_000;

/// What a seed came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) trace: u64,
    pub(crate) steps: u64,
    pub(crate) events: u64,
    pub(crate) safe: u64,
    pub(crate) starts: u64,
    pub(crate) crashes: u64,
    pub(crate) answers: u64,
}

impl Outcome {
    pub(crate) fn add(&mut self, other: &Outcome) {
        self.steps += other.steps;
        self.events += other.events;
        self.safe += other.safe;
        self.starts += other.starts;
        self.crashes += other.crashes;
        self.answers += other.answers;
    }
}

struct Run<'a> {
    random: Random,
    plan: Plan,
    world: SimWorld,
    clock: ManualClock,
    producers: Vec<Producer>,
    book: Book,
    corrector: Corrector,
    cover: &'a mut Cover,
    outcome: Outcome,
    every_commit: bool,
}

/// How a life ended.
enum End {
    Crash,
    Over,
}

/// Runs `seed`; the error says which promise was broken.
pub(crate) fn run(seed: u64, cover: &mut Cover) -> Result<Outcome, String> {
    let mut random = Random(seed.wrapping_mul(0x5851_f42d_4c95_7f2d) ^ 0x51e0);
    let plan = Plan::draw(&mut random);
    let world = SimWorld::new(seed);
    world.set_finish_rate(plan.finish_rate);
    let every_commit = plan
        .pipeline
        .streams
        .iter()
        .all(|stream| stream.durability == Durability::Commit);
    let mut run = Run {
        random,
        world,
        clock: ManualClock::new(1_000_000_000, START_MS * 1_000_000),
        producers: (0..plan.producers).map(Producer::new).collect(),
        book: Book::default(),
        corrector: Corrector::default(),
        cover,
        outcome: Outcome {
            trace: seed,
            ..Outcome::default()
        },
        every_commit,
        plan,
    };
    let note = format!(
        "{} shards, {} producers, {:?}",
        run.plan.shards, run.plan.producers, run.plan.mesh
    );
    run.lives().map_err(|error| format!("({note}) {error}"))?;
    run.cover.add(
        Point::ShortWrite,
        u64::from(run.world.injected(Fault::ShortWrite)),
    );
    run.outcome.events = run.book.sent.len() as u64;
    run.outcome.safe = run.book.sent.iter().filter(|sent| sent.safe).count() as u64;
    run.outcome.trace ^= run.world.trace_hash();
    Ok(run.outcome)
}

impl Run<'_> {
    fn lives(&mut self) -> Result<(), String> {
        loop {
            let mut engine = self.start()?;
            let end = self.live(&mut engine);
            self.note_counters(&engine);
            match end? {
                End::Crash => self.crash(engine)?,
                End::Over => {
                    // The last word: one more loss of power, and everything must be there.
                    self.world.set_rates(FaultRates::NONE);
                    self.crash(engine)?;
                    let engine = self.start()?;
                    return self.check_logs(&engine).map(drop);
                }
            }
        }
    }

    fn around<'s>(
        random: &'s mut Random,
        book: &'s mut Book,
        cover: &'s mut Cover,
        plan: &'s Plan,
        state: (i64, bool, bool, bool),
    ) -> Around<'s> {
        let (now_ms, calm, any_failed, every_commit) = state;
        Around {
            random,
            book,
            cover,
            pipeline: &plan.pipeline,
            now_ms,
            keys: plan.keys,
            frame_rows_bytes: plan.frame_rows_bytes,
            frame_events_max: if plan.many_frames { 1 } else { 8 },
            unacked_max: if plan.many_frames { 400 } else { 120 },
            calm,
            any_failed,
            every_commit,
        }
    }

    fn now_ms(&self) -> i64 {
        use ringmill_engine::clock::Clock;
        (self.clock.wall_ns() / 1_000_000) as i64
    }

    fn crash(&mut self, engine: Engine) -> Result<(), String> {
        let any_failed = engine.any_failed();
        drop(engine);
        self.corrector.server_died();
        let kind = *self.random.pick(&[Crash::Kill, Crash::PowerLoss]);
        self.world.crash(kind);
        self.outcome.crashes += 1;
        self.cover.hit(Point::Crash);
        let state = (self.now_ms(), false, any_failed, self.every_commit);
        let Run {
            random,
            book,
            cover,
            plan,
            producers,
            ..
        } = self;
        for producer in producers {
            let mut around = Self::around(random, book, cover, plan, state);
            producer.server_died(&mut around)?;
        }
        Ok(())
    }

    /// Starts the engine until it works, then holds what it recovered against the book.
    fn start(&mut self) -> Result<Engine, String> {
        if self.outcome.starts > 0 && self.plan.layouts > 0 && self.random.chance(35) {
            self.plan.layouts -= 1;
            self.plan.shards = *self.random.pick(&SHARDS);
        }
        for attempt in 0..12 {
            let calm = attempt >= 8;
            self.world.set_rates(if calm {
                FaultRates::NONE
            } else {
                self.plan.rates
            });
            if !calm && self.random.chance(20) {
                self.world.die_after(Some(self.random.below(60)));
            }
            let started = Engine::start(&self.world, &self.plan, self.plan.shards, &self.clock);
            self.world.die_after(None);
            self.outcome.starts += 1;
            match started {
                Ok(engine) => {
                    self.cover
                        .add(Point::LayoutChanged, u64::from(engine.began_layout));
                    self.check_logs(&engine)?;
                    return Ok(engine);
                }
                Err(error) => self.refused(&error)?,
            }
            self.cover.hit(Point::CrashInRecovery);
            self.world
                .crash(*self.random.pick(&[Crash::Kill, Crash::PowerLoss]));
        }
        Err("the engine did not start although the faults had stopped".to_owned())
    }

    fn refused(&self, error: &StorageError) -> Result<(), String> {
        let expected = matches!(error, StorageError::Io { .. } | StorageError::Failed { .. })
            || matches!(error, StorageError::Unreadable { .. });
        if expected {
            Ok(())
        } else {
            Err(format!("refused to start: {error}"))
        }
    }

    /// Holds the logs against the book.
    fn check_logs(&mut self, engine: &Engine) -> Result<Contents, String> {
        self.world.set_rates(FaultRates::NONE);
        let (mut disk, pipeline) = (self.world.disk(), &self.plan.pipeline);
        let contents = Contents::read(&mut disk, &engine.layout, pipeline, &self.book)?;
        contents.check_book(&self.book, pipeline)?;
        contents.check_corrections(&self.corrector.promised, self.cover)?;
        Ok(contents)
    }

    /// Holds the state against the logs too; the engine is at rest.
    fn check_state(&mut self, engine: &Engine) -> Result<(), String> {
        let contents = self.check_logs(engine)?;
        let states: Vec<&ShardState> = engine.cores.iter().map(|core| core.state()).collect();
        let pipeline = &self.plan.pipeline;
        contents.check_state(&states, &engine.layout, pipeline, &self.book, self.cover)
    }

    fn live(&mut self, engine: &mut Engine) -> Result<End, String> {
        self.settle(engine, "after the start")?;
        self.check_state(engine)
            .map_err(|error| format!("after a start: {error}"))?;
        self.world.set_rates(self.plan.rates);
        let mut dying = false;
        loop {
            if self.plan.steps == 0 {
                return self.calm_down(engine);
            }
            self.plan.steps -= 1;
            self.outcome.steps += 1;
            if !dying && self.random.below(10_000) < self.plan.crash_rate {
                if self.random.chance(30) {
                    return Ok(End::Crash);
                }
                dying = true;
                self.world.die_after(Some(self.random.below(20)));
            }
            self.step(engine, false)?;
            if engine.cores[0].log().disk_mut().is_dead() {
                return Ok(End::Crash);
            }
            // A failed shard is left alone for a while, then somebody restarts the server.
            if engine.any_failed() && self.random.chance(4) {
                self.hear_out(engine)?;
                return Ok(End::Crash);
            }
        }
    }

    fn step(&mut self, engine: &mut Engine, calm: bool) -> Result<bool, String> {
        self.clock.advance_ns(match self.random.below(100) {
            0 => self.random.below(4_000_000_000),
            1..5 => self.random.below(60_000_000),
            _ => self.random.below(200_000),
        });
        self.clients(engine, calm)?;
        let mut busy = false;
        for shard in 0..engine.shards() {
            if calm || self.random.chance(self.plan.turn) {
                busy |= engine.cores[shard].tick();
            }
            if calm || self.random.chance(self.plan.supply) {
                self.cover
                    .add(Point::SegmentRoll, u64::from(engine.supply(shard)));
            } else if engine.cores[shard].log().needs_segment()
                && engine.cores[shard].log().room() == 0
            {
                self.cover.hit(Point::SegmentStarved);
            }
        }
        self.control(engine, calm)?;
        if !calm && self.random.below(10_000) < self.plan.disk_full_rate {
            let full = engine.disk_full.load(Ordering::Relaxed);
            engine.disk_full.store(!full, Ordering::Relaxed);
        }
        Ok(busy)
    }

    fn clients(&mut self, engine: &mut Engine, calm: bool) -> Result<(), String> {
        let state = (self.now_ms(), calm, engine.any_failed(), self.every_commit);
        let Run {
            random,
            book,
            cover,
            plan,
            producers,
            ..
        } = self;
        for producer in producers {
            let mut around = Self::around(random, book, cover, plan, state);
            producer.read(&mut around, calm)?;
            let again = if calm {
                false
            } else {
                around.random.below(250) == 0
            };
            if producer.is_cut_off() && (calm || around.random.chance(30)) || again {
                if let Some(connection) = &producer.connection
                    && around.random.chance(50)
                {
                    connection.pipe.borrow_mut().closed_by_peer = true;
                }
                let slow = plan.slow_sockets && around.random.chance(50);
                around.cover.add(Point::SlowSocket, u64::from(slow));
                let pipe = producer.connect(&mut around, slow);
                let cores = if plan.many_frames {
                    1
                } else {
                    engine.cores.len() as u64
                };
                let core = around.random.below(cores) as usize;
                let socket = engine.cores[core].net().connect(pipe);
                around
                    .cover
                    .add(Point::SlotReused, u64::from(socket.generation > 0));
            } else if producer.is_ready() {
                let frames = if plan.many_frames { 30 } else { 4 };
                for _ in 0..around.random.below(frames) {
                    producer.send(&mut around);
                }
            }
        }
        Ok(())
    }

    /// Lets the engine come to rest with nobody sending.
    fn settle(&mut self, engine: &mut Engine, when: &str) -> Result<(), String> {
        self.world.set_rates(FaultRates::NONE);
        self.world.set_finish_rate(65_536);
        let mut quiet = 0;
        for _ in 0..CALM_ROUNDS {
            self.clock.advance_ns(10_000_000);
            let mut busy = false;
            for shard in 0..engine.shards() {
                busy |= engine.cores[shard].tick();
                engine.supply(shard);
            }
            quiet = if busy || !engine.is_settled() {
                0
            } else {
                quiet + 1
            };
            if quiet == 20 {
                self.world.set_finish_rate(self.plan.finish_rate);
                return Ok(());
            }
        }
        Err(format!("the engine does not come to rest {when}"))
    }

    /// A shard has failed: nobody is left without a word, be it that the outcome is unknown.
    fn hear_out(&mut self, engine: &mut Engine) -> Result<(), String> {
        self.world.set_rates(FaultRates::NONE);
        self.world.die_after(None);
        let mut quiet = 0;
        for _ in 0..CALM_ROUNDS {
            self.clock.advance_ns(1_000_000);
            let state = (self.now_ms(), true, true, self.every_commit);
            let Run {
                random,
                book,
                cover,
                plan,
                producers,
                ..
            } = self;
            for producer in producers {
                let mut around = Self::around(random, book, cover, plan, state);
                producer.read(&mut around, true)?;
            }
            let mut busy = false;
            for shard in 0..engine.shards() {
                busy |= engine.cores[shard].tick();
                engine.supply(shard);
            }
            self.control(engine, true)?;
            quiet = if busy { 0 } else { quiet + 1 };
            let open = self.producers.iter().filter(|producer| producer.waits());
            if quiet > 20 && open.count() == 0 && engine.control.waiting() == 0 {
                return Ok(());
            }
        }
        let open = self.producers.iter().filter(|producer| producer.waits());
        let open: Vec<String> = open.map(Producer::describe).collect();
        Err(format!(
            "no word after a shard failed: {} questions open, quiet {quiet}, {}",
            engine.control.waiting(),
            open.join("; ")
        ))
    }

    /// Nothing goes wrong any more: everything sent must be acknowledged, every question answered.
    fn calm_down(&mut self, engine: &mut Engine) -> Result<End, String> {
        if engine.any_failed() || engine.cores[0].log().disk_mut().is_dead() {
            return Ok(End::Crash);
        }
        self.world.set_rates(FaultRates::NONE);
        self.world.die_after(None);
        self.world.set_finish_rate(65_536);
        engine.disk_full.store(false, Ordering::Relaxed);
        for _ in 0..CALM_ROUNDS {
            self.step(engine, true)?;
            if engine.any_failed() {
                return Err("a shard failed without a fault".to_owned());
            }
            let done = self.producers.iter().all(Producer::is_done);
            if done && engine.control.waiting() == 0 {
                self.settle(engine, "at the end")?;
                self.check_state(engine)?;
                return Ok(End::Over);
            }
        }
        let open: Vec<String> = self
            .producers
            .iter()
            .filter(|producer| !producer.is_done())
            .map(Producer::describe)
            .collect();
        let waiting = engine.control.waiting();
        Err(format!(
            "stalled: {waiting} questions open, {}",
            open.join("; ")
        ))
    }

    fn note_counters(&mut self, engine: &Engine) {
        for (point, counter) in [
            (Point::LaneFull, Counter::LaneFull),
            (Point::LogFull, Counter::LogFull),
            (Point::Duplicate, Counter::EventsDuplicate),
        ] {
            self.cover.add(point, engine.counter(counter));
        }
        self.cover
            .add(Point::ShardFailed, u64::from(engine.any_failed()));
    }
}
