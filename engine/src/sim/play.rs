//! A run on a simulated engine: producers that number and retry what they send, an engine that is
//! lost and comes back, and comparisons in between.

use std::fmt;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use ringmill_shard::pipeline::{Durability, Pipeline};
use ringmill_storage::disk::sim::{Crash, SimWorld};
use serde_json::Value;

use super::compare::compare;
use super::ledger::Ledger;
use super::scenario::{Cut, Line, Scenario, Step};
use crate::clock::ManualClock;
use crate::stage::{FINISH_AT_ONCE, Stage};

/// Chance in 65,536 that a disk operation finishes at a turn while a loss is near.
const FINISH_SLOWLY: u32 = 16_000;
/// Events of one request at most.
const REQUEST_EVENTS_MAX: usize = 500;
/// Cores agree on event time by telling each other about once a second.
const REST_STEP_MS: i64 = 300;
const REST_STEPS_MAX: u32 = 60;

/// What is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// What was looked at.
    pub(super) at: String,
    pub(super) expected: String,
    pub(super) found: String,
}

impl Difference {
    pub(super) fn new(
        at: impl Into<String>,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Difference {
        Difference {
            at: at.into(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) events: u64,
    pub(super) rejected: u64,
    pub(super) sent_again: u64,
    pub(super) losses: u64,
    pub(super) comparisons: u64,
    pub(super) values: u64,
}

/// How a run ended.
pub(super) struct Played {
    pub(super) tally: Tally,
    /// What was done, for people.
    pub(super) story: Vec<String>,
    /// What was wrong, and at which step.
    pub(super) difference: Option<(usize, Difference)>,
}

/// A producer: events it sent, with the stream that each went to.
#[derive(Default)]
struct Producer {
    sent: Vec<(usize, String)>,
    /// The first so many were answered for.
    acked: usize,
}

struct Player<'p> {
    /// What is served.
    pipeline: &'p Arc<Pipeline>,
    /// What the answers must be those of.
    truth: &'p Pipeline,
    world: SimWorld,
    clock: ManualClock,
    stage: Stage,
    start_ms: i64,
    producers: Vec<Producer>,
    tally: Tally,
    story: Vec<String>,
}

/// Plays a run of `pipeline`, held against `truth`: the same pipeline, unless the comparison itself
/// is on trial.
pub(super) async fn play(
    pipeline: &Arc<Pipeline>,
    truth: &Pipeline,
    seed: u64,
    scenario: &Scenario,
) -> Played {
    let world = SimWorld::new(seed);
    world.set_finish_rate(FINISH_AT_ONCE);
    let start_ms = scenario.start_ms;
    let clock = ManualClock::new(1_000_000_000, start_ms.unsigned_abs() * 1_000_000);
    let stage = match Stage::start(&world, &clock, pipeline, start_ms, scenario.cores) {
        Ok(stage) => stage,
        Err(error) => {
            let difference = Difference::new("the first start", "an engine", error);
            return Played {
                tally: Tally::default(),
                story: Vec::new(),
                difference: Some((0, difference)),
            };
        }
    };
    let mut player = Player {
        pipeline,
        truth,
        world,
        clock,
        stage,
        start_ms,
        producers: Vec::new(),
        tally: Tally::default(),
        story: Vec::new(),
    };
    let cores = scenario.cores;
    player.tell(format!("starts on {}", count(cores, "core")));
    let mut difference = None;
    for (index, step) in scenario.steps.iter().enumerate() {
        if let Err(found) = player.step(step).await {
            difference = Some((index, found));
            break;
        }
    }
    Played {
        tally: player.tally,
        story: player.story,
        difference,
    }
}

fn count(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}

impl<'p> Player<'p> {
    fn tell(&mut self, what: String) {
        let after_ms = self.stage.wall_ms() - self.start_ms;
        self.story.push(format!("{after_ms:>12} ms  {what}"));
    }

    async fn step(&mut self, step: &Step) -> Result<(), Difference> {
        match step {
            Step::Pass { ms } => {
                self.pass(*ms);
                Ok(())
            }
            Step::Send {
                producer,
                stream,
                lines,
                cut,
            } => {
                let producer = self.producer(*producer);
                self.add(producer, *stream, lines);
                match cut {
                    None => self.flush(producer).await,
                    Some(cut) => self.flush_and_lose(producer, cut).await,
                }
            }
            Step::Again { producer, events } => {
                let producer = self.producer(*producer);
                self.send_again(producer, *events).await
            }
            Step::Malformed { producer, stream } => {
                let producer = self.producer(*producer);
                self.send_malformed(producer, *stream).await
            }
            Step::Lose(cut) => self.lose(cut),
            Step::Compare => self.compare().await,
        }
    }

    fn pass(&mut self, ms: i64) {
        let at_ms = self.stage.wall_ms() + ms;
        self.stage.advance_to_wall(at_ms);
    }

    fn producer(&mut self, producer: usize) -> usize {
        let known = self.producers.len().max(producer + 1);
        self.producers.resize_with(known, Producer::default);
        producer
    }

    /// Notes events as sent, with the times that they have now.
    fn add(&mut self, producer: usize, stream: usize, lines: &[Line]) {
        let now_ms = self.stage.wall_ms();
        let of = &self.pipeline.streams[stream];
        let time = &of.schema.fields[of.time.field].name;
        for Line { members, when } in lines {
            let mut members = members.clone();
            members.insert(time.clone(), when.at_ms(now_ms).into());
            let line = Value::Object(members).to_string();
            let sequence = self.producers[producer].sent.len() + 1;
            let name = &of.name;
            self.tell(format!(
                "producer {producer} sends event {sequence} to {name}: {line}"
            ));
            self.producers[producer].sent.push((stream, line));
        }
        self.tally.events += lines.len() as u64;
    }

    /// Events of one request: those of one stream from the first that nothing was heard of.
    fn request(&self, producer: usize, first: usize, end: usize) -> (Request<Body>, usize) {
        let sent = &self.producers[producer].sent[first..end];
        let stream = sent[0].0;
        let run = sent.iter().take_while(|(of, _)| *of == stream);
        let run: Vec<&str> = run.map(|(_, line)| &**line).collect();
        let run = &run[..run.len().min(REQUEST_EVENTS_MAX)];
        let request = self.post(producer, stream, first, run.join("\n"));
        (request, run.len())
    }

    fn post(&self, producer: usize, stream: usize, first: usize, body: String) -> Request<Body> {
        let name = &self.pipeline.streams[stream].name;
        Request::post(format!("/v1/streams/{name}/events"))
            .header("ringmill-producer", super::ledger::name_of(producer))
            .header("ringmill-sequence", first + 1)
            .body(Body::from(body))
            .expect("invariant: names of streams are identifiers")
    }

    /// Sends all that nothing was heard of.
    async fn flush(&mut self, producer: usize) -> Result<(), Difference> {
        while self.producers[producer].acked < self.producers[producer].sent.len() {
            let first = self.producers[producer].acked;
            let (request, events) =
                self.request(producer, first, self.producers[producer].sent.len());
            let (status, answer) = self.stage.ask(request).await;
            let figure = |name: &str| answer[name].as_u64().unwrap_or(0);
            let told = figure("accepted") + figure("duplicates") + figure("rejected");
            if status != StatusCode::OK || told != events as u64 {
                let at = format!("events {} and on of producer {producer}", first + 1);
                let expected = format!("{events} events accepted, duplicate or rejected");
                return Err(Difference::new(at, expected, format!("{status} {answer}")));
            }
            self.tally.rejected += figure("rejected");
            self.producers[producer].acked += events;
        }
        Ok(())
    }

    /// Sends, and loses the engine before or while it works on that.
    async fn flush_and_lose(&mut self, producer: usize, cut: &Cut) -> Result<(), Difference> {
        let first = self.producers[producer].acked;
        let (request, events) = self.request(producer, first, self.producers[producer].sent.len());
        self.world.set_finish_rate(FINISH_SLOWLY);
        let answer = self.stage.ask_within(request, cut.turns).await;
        if let Some((StatusCode::OK, _)) = answer {
            self.producers[producer].acked += events;
        }
        self.lose(cut)
    }

    async fn send_again(&mut self, producer: usize, events: usize) -> Result<(), Difference> {
        let Producer { sent, acked } = &self.producers[producer];
        // What was never answered for is no retry.
        let Some(stream) = acked.checked_sub(1).map(|last| sent[last].0) else {
            return Ok(());
        };
        let run = sent[..*acked].iter().rev().take(events);
        let run = run.take_while(|(of, _)| *of == stream).count();
        let (first, end) = (acked - run, *acked);
        let (request, events) = self.request(producer, first, end);
        let last = first + events;
        self.tell(format!(
            "producer {producer} sends its events {} to {last} again",
            first + 1
        ));
        self.tally.sent_again += events as u64;
        let (status, answer) = self.stage.ask(request).await;
        if status != StatusCode::OK || answer["accepted"] != 0 || answer["duplicates"] != events {
            let at = format!("events {} and on of producer {producer} again", first + 1);
            let expected = format!("{events} duplicates");
            return Err(Difference::new(at, expected, format!("{status} {answer}")));
        }
        Ok(())
    }

    /// A refused request stores nothing and spends no number.
    async fn send_malformed(&mut self, producer: usize, stream: usize) -> Result<(), Difference> {
        self.flush(producer).await?;
        self.tell(format!("producer {producer} sends what is no event"));
        let first = self.producers[producer].sent.len();
        let request = self.post(producer, stream, first, "{\"no\": event}".to_owned());
        let (status, answer) = self.stage.ask(request).await;
        if status != StatusCode::BAD_REQUEST {
            let found = format!("{status} {answer}");
            return Err(Difference::new("a line that is no event", "400", found));
        }
        Ok(())
    }

    /// The engine is gone; another one starts on what the disk has kept.
    fn lose(&mut self, cut: &Cut) -> Result<(), Difference> {
        let what = match cut.crash {
            Crash::Kill => "the process is killed",
            Crash::PowerLoss => "the power fails",
        };
        let cores = count(cut.cores, "core");
        self.tell(format!("{what}; starts again on {cores}"));
        self.tally.losses += 1;
        self.world.crash(cut.crash);
        self.world.set_finish_rate(FINISH_AT_ONCE);
        let now_ms = self.stage.wall_ms();
        let stage = Stage::start(&self.world, &self.clock, self.pipeline, now_ms, cut.cores);
        self.stage = stage.map_err(|error| {
            let at = format!("the start on {cores} after {what}");
            Difference::new(at, "an engine", error)
        })?;
        // Below the level `commit` an answer is no promise: what it was given for may be gone.
        let of_all = self.pipeline.streams.iter();
        if !of_all
            .into_iter()
            .all(|of| of.durability == Durability::Commit)
        {
            self.producers.iter_mut().for_each(|p| p.acked = 0);
        }
        Ok(())
    }

    async fn compare(&mut self) -> Result<(), Difference> {
        for producer in 0..self.producers.len() {
            self.flush(producer).await?;
        }
        let ledger = self.rest()?;
        let sent = self.producers.iter().map(|producer| producer.sent.len());
        ledger.check_complete(&sent.collect::<Vec<_>>())?;
        let layouts = self.stage.engine().layout.own_stream(0);
        let oracle = ledger.journal.oracle(self.truth);
        self.tally.comparisons += 1;
        self.tally.values += compare(&mut self.stage, &oracle, layouts == 0).await?;
        Ok(())
    }

    /// Lets the cores come to one event time; what the logs then hold.
    fn rest(&mut self) -> Result<Ledger<'p>, Difference> {
        let mut steps = 0;
        while !self.is_at_one_time() {
            if steps == REST_STEPS_MAX {
                let states = self.stage.engine().cores.iter().map(|core| core.state());
                let streams = 0..self.pipeline.streams.len();
                let found: Vec<Vec<i64>> = states
                    .map(|state| streams.clone().map(|s| state.watermark_ms(s)).collect())
                    .collect();
                let at = "watermarks of the cores, by stream";
                return Err(Difference::new(at, "the same", format!("{found:?}")));
            }
            steps += 1;
            self.pass(REST_STEP_MS);
        }
        let layout = self.stage.engine().layout.clone();
        Ledger::read(&mut self.world.disk(), &layout, self.truth)
    }

    /// Whether all cores have the same watermark of each stream that has windows. Without those
    /// nobody waits for it.
    fn is_at_one_time(&self) -> bool {
        let cores = &self.stage.engine().cores;
        let of = |stream: usize| {
            let mut watermarks = cores.iter().map(|core| core.state().watermark_ms(stream));
            let first = watermarks.next();
            watermarks.all(|other| Some(other) == first)
        };
        let streams = self.pipeline.views.iter().map(|view| view.stream);
        streams.into_iter().all(of)
    }
}
