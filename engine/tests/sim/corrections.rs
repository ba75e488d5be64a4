//! Corrections in the simulation: what they did to the events of the logs, by the logs alone; and
//! what the engine has promised of them.

use std::collections::{BTreeSet, HashMap, HashSet};

use ringmill_shard::dedupe::Layout;
use ringmill_shard::entry::{
    CorrectedEvent, CorrectionAction, CorrectionEntry, EventBatch, EventName, EventPlace,
    KIND_EVENT_BATCH,
};
use ringmill_shard::limits::EARLY_HORIZON_NS;
use ringmill_shard::oracle::{Corrected, Move, Recorded};
use ringmill_shard::query::{Answer, CorrectedAnswer, Query};
use ringmill_shard::rank::Tie;
use ringmill_storage::disk::sim::SimWorld;
use ringmill_storage::follow::Follower;

use super::client::Producer;
use super::engine::Engine;
use super::model::random::Random;
use super::plan::Plan;

/// Events that one correction takes back at most.
const EVENTS_MAX: u64 = 12;

/// What stands in the logs, taken in by the order of layouts and, within each log, of its entries.
#[derive(Default)]
pub(crate) struct Found {
    staged: HashMap<u32, CorrectionEntry>,
    /// Name with the stream, correction, log stream and stamp.
    announced: Vec<((EventName, usize), u64, u32, u64)>,
    withdrawn: HashSet<(u64, u32)>,
    by: HashMap<EventPlace, BTreeSet<u64>>,
    /// Whole corrections by number, action and log stream.
    pub(crate) whole: HashSet<(u64, CorrectionAction, u32)>,
}

impl Found {
    /// What corrections make of an event that has just been recorded; `chain` are the log streams
    /// that its group was in, its own one last.
    pub(crate) fn arrival(
        &mut self,
        name: (EventName, usize),
        place: EventPlace,
        stamp_ns: u64,
        chain: &[u32],
    ) -> Corrected {
        let withdrawn = |id| chain.iter().any(|log| self.withdrawn.contains(&(id, *log)));
        let hits = self.announced.iter().filter(|(of, id, log, at_ns)| {
            *of == name
                && chain.contains(log)
                && stamp_ns.saturating_sub(*at_ns) <= EARLY_HORIZON_NS
                && !withdrawn(*id)
        });
        let ids: BTreeSet<u64> = hits.map(|(_, id, ..)| *id).collect();
        let annulled = !ids.is_empty();
        if annulled {
            self.by.insert(place, ids);
        }
        Corrected {
            annulled,
            away: annulled,
            moves: Vec::new(),
        }
    }

    /// Takes a part in. With the last one, `event` gives the events by their places, and `of_log`
    /// tells whether one is of the groups of this log.
    pub(crate) fn part(
        &mut self,
        log_stream: u32,
        part: CorrectionEntry,
        events: &mut HashMap<EventPlace, &mut Recorded>,
        of_log: impl Fn(&Recorded) -> bool,
    ) -> Result<(), String> {
        let last = part.last;
        if part.part == 0 {
            self.staged.insert(log_stream, part);
        } else {
            let whole = self.staged.get_mut(&log_stream);
            let whole = whole.ok_or("a part of a correction without a beginning")?;
            whole.early.extend(&part.early);
            whole.events.extend(&part.events);
            (whole.stamp_ns, whole.watermark_ms) = (part.stamp_ns, part.watermark_ms);
        }
        if !last {
            return Ok(());
        }
        let whole = self.staged.remove(&log_stream).ok_or("no correction")?;
        let known = (whole.id, whole.action, log_stream);
        if !self.whole.insert(known) {
            return Err(format!("{known:?} stands twice"));
        }
        match whole.action {
            CorrectionAction::Retract => self.retract(log_stream, &whole, events),
            CorrectionAction::Undo => self.undo(log_stream, &whole, events, of_log),
        }
        Ok(())
    }

    fn retract(
        &mut self,
        log_stream: u32,
        whole: &CorrectionEntry,
        events: &mut HashMap<EventPlace, &mut Recorded>,
    ) {
        let stream = usize::from(whole.stream);
        for &name in &whole.early {
            self.announced
                .push(((name, stream), whole.id, log_stream, whole.stamp_ns));
        }
        for (index, event) in whole.events.iter().enumerate() {
            let by = self.by.entry(event.place).or_default();
            let was_there = by.is_empty();
            if by.insert(whole.id)
                && was_there
                && let Some(recorded) = events.get_mut(&event.place)
            {
                note(recorded, log_stream, whole, index as u32, true);
            }
        }
    }

    fn undo(
        &mut self,
        log_stream: u32,
        whole: &CorrectionEntry,
        events: &mut HashMap<EventPlace, &mut Recorded>,
        of_log: impl Fn(&Recorded) -> bool,
    ) {
        self.withdrawn.insert((whole.id, log_stream));
        let named = whole.events.iter().enumerate();
        let mut places: Vec<(EventPlace, u32)> =
            named.map(|(at, event)| (event.place, at as u32)).collect();
        for (place, recorded) in events.iter() {
            if recorded.corrected.annulled && of_log(recorded) {
                places.push((*place, 0));
            }
        }
        for (place, index) in places {
            let Some(by) = self.by.get_mut(&place) else {
                continue;
            };
            if by.remove(&whole.id)
                && by.is_empty()
                && let Some(recorded) = events.get_mut(&place)
            {
                note(recorded, log_stream, whole, index, false);
            }
        }
    }
}

fn note(recorded: &mut Recorded, log_stream: u32, whole: &CorrectionEntry, index: u32, away: bool) {
    let corrected = &mut recorded.corrected;
    let as_of_arrival = corrected.annulled && !away && corrected.moves.is_empty();
    let tie = match as_of_arrival {
        true => recorded.tie,
        false => Tie {
            stamp_ns: whole.stamp_ns,
            log_stream,
            index,
        },
    };
    corrected.away = away;
    corrected.moves.push(Move {
        tie,
        watermark_ms: whole.watermark_ms,
    });
}

impl Producer {
    /// What its next event will be called, if it stays in this epoch.
    pub(crate) fn next_name(&self) -> EventName {
        EventName::Sequence {
            producer: self.id.0,
            epoch: self.epoch,
            sequence: self.history.len() as u64 + 1,
        }
    }
}

/// The log streams that an event of a group in `log_stream` may have been announced in.
pub(crate) fn chain(layouts: &[Layout], log_stream: u32, group: u16) -> Vec<u32> {
    let before = layouts.iter().take_while(|one| !one.contains(log_stream));
    let owners = before.map(|layout| layout.owner(group));
    owners.chain([log_stream]).collect()
}

/// The corrections that the test asks for, one shard at a time.
#[derive(Default)]
pub(crate) struct Corrector {
    last_id: u64,
    /// What the current life has on the shards: number, and shard.
    made: Vec<(u64, usize)>,
    /// Parts on their way, the next one last.
    parts: Vec<CorrectionEntry>,
    under_way: Option<(usize, CorrectionEntry)>,
    /// What a shard has said to have: it must be there after any crash.
    pub(crate) promised: Vec<(u64, CorrectionAction, u32)>,
}

impl Corrector {
    /// The engine has died, and with it what was under way.
    pub(crate) fn server_died(&mut self) {
        (self.made, self.parts, self.under_way) = (Vec::new(), Vec::new(), None);
    }

    /// Sends the next part, or begins a correction.
    pub(crate) fn step(
        &mut self,
        engine: &mut Engine,
        world: &SimWorld,
        plan: &Plan,
        random: &mut Random,
        names: &[EventName],
    ) {
        if let Some((shard, part)) = self.under_way.take() {
            self.parts.push(part);
            self.send(engine, shard);
            return;
        }
        if engine.control.is_correcting() || !random.chance(4) {
            return;
        }
        let shard = random.below(engine.shards() as u64) as usize;
        let undo = !self.made.is_empty() && random.chance(40);
        let whole = match undo {
            true => self.undo(engine, world, plan, random),
            false => self.retract(engine, world, plan, random, (shard, names)),
        };
        let Some((shard, whole)) = whole else { return };
        self.parts = whole.split(engine.control.room_bytes(shard));
        self.parts.reverse();
        self.send(engine, shard);
    }

    fn send(&mut self, engine: &mut Engine, shard: usize) {
        let Some(part) = self.parts.pop() else { return };
        match engine.control.correct(shard, &part) {
            Some(true) => {}
            Some(false) => self.under_way = Some((shard, part)),
            // A row that is larger than the lane: the correction is given up.
            None => self.parts.clear(),
        }
    }

    /// A shard has answered to the last part that it was sent.
    pub(crate) fn answered(&mut self, engine: &mut Engine, shard: usize, answer: &Answer) {
        let stored = *answer == Answer::Corrected(CorrectedAnswer::Stored);
        if !stored {
            self.parts.clear();
            return;
        }
        if self.parts.is_empty() {
            let own = engine.layout.own_stream(shard);
            if let Some((id, action)) = engine.control.last_correction() {
                self.promised.push((id, action, own));
                self.made.push((id, shard));
            }
        } else {
            self.send(engine, shard);
        }
    }

    fn retract(
        &mut self,
        engine: &mut Engine,
        world: &SimWorld,
        plan: &Plan,
        random: &mut Random,
        (shard, names): (usize, &[EventName]),
    ) -> Option<(usize, CorrectionEntry)> {
        let stream = random.below(plan.pipeline.streams.len() as u64) as usize;
        engine.cores[shard].state().can_correct(stream).ok()?;
        if plan.pipeline.streams[stream].dedupe.is_some() {
            // What repeats another event is for the reader of the logs to tell.
            return None;
        }
        let stored = stored(engine, world, plan, shard, stream);
        let mut events = Vec::new();
        for _ in 0..random.below(EVENTS_MAX.min(stored.len() as u64 + 1)) {
            events.push(random.pick(&stored).clone());
        }
        events.sort_by_key(|(event, _)| event.place);
        events.dedup_by_key(|(event, _)| event.place);
        let early = match random.chance(30) && !names.is_empty() {
            true => vec![*random.pick(names)],
            false => Vec::new(),
        };
        self.last_id += 1;
        let id = self.last_id;
        Some((
            shard,
            entry(
                plan,
                (id, CorrectionAction::Retract),
                stream,
                early,
                &events,
            ),
        ))
    }

    fn undo(
        &mut self,
        engine: &mut Engine,
        world: &SimWorld,
        plan: &Plan,
        random: &mut Random,
    ) -> Option<(usize, CorrectionEntry)> {
        let (id, shard) = *random.pick(&self.made);
        let state = engine.cores[shard].state();
        if state.is_corrected(id, CorrectionAction::Undo) {
            return None;
        }
        let Answer::Corrections(known) = state.query(&Query::Corrections {
            after: id - 1,
            n: 1,
        }) else {
            return None;
        };
        let stream = usize::from(known.records.first()?.stream);
        let Answer::Taken(taken) = state.query(&Query::Taken { id }) else {
            return None;
        };
        let mut events = stored(engine, world, plan, shard, stream);
        events.retain(|(event, _)| taken.places.contains(&event.place));
        Some((
            shard,
            entry(
                plan,
                (id, CorrectionAction::Undo),
                stream,
                Vec::new(),
                &events,
            ),
        ))
    }
}

type Stored = (CorrectedEvent, Vec<u8>);

fn entry(
    plan: &Plan,
    (id, action): (u64, CorrectionAction),
    stream: usize,
    early: Vec<EventName>,
    events: &[Stored],
) -> CorrectionEntry {
    CorrectionEntry {
        id,
        action,
        stream: stream as u16,
        schema_id: plan.pipeline.streams[stream].schema.id,
        shards: 1,
        part: 0,
        last: true,
        stamp_ns: 0,
        watermark_ms: i64::MIN,
        reason: "simulated".into(),
        author: "seed".into(),
        selector: "{}".into(),
        early,
        events: events.iter().map(|(event, _)| *event).collect(),
        rows: events.iter().flat_map(|(_, row)| row.clone()).collect(),
    }
}

/// The accepted events of a stream that a shard's own log holds, as far as it is durable.
fn stored(
    engine: &mut Engine,
    world: &SimWorld,
    plan: &Plan,
    shard: usize,
    stream: usize,
) -> Vec<Stored> {
    let of = &plan.pipeline.streams[stream];
    let log_stream = engine.layout.own_stream(shard);
    let dir = engine.layout.dir_of(log_stream);
    let durable = engine.cores[shard].log().durable_lsn();
    if durable == 0 {
        return Vec::new();
    }
    let mut stored = Vec::new();
    let mut disk = world.disk();
    let Ok(mut follower) = Follower::open(&mut disk, &dir, engine.layout.identity(log_stream))
    else {
        // The disk may fail at any time here.
        return Vec::new();
    };
    let read = follower.read_through(&mut disk, durable, &mut |lsn, kind, entry| {
        if kind != KIND_EVENT_BATCH || lsn > durable {
            return Ok(());
        }
        let batch = EventBatch::decode(entry).expect("a batch");
        for index in 0..batch.count as usize {
            let row = batch.row(index);
            let limit_ms = (batch.stamp_ns / 1_000_000) as i64 + of.time.max_future_ms;
            if usize::from(batch.stream) == stream
                && of.schema.validate(row).is_ok()
                && of.schema.time_ms(row, of.time.field) <= limit_ms
            {
                let place = EventPlace {
                    log_stream,
                    lsn,
                    index: index as u32,
                };
                let event = CorrectedEvent {
                    place,
                    stamp_ns: batch.stamp_ns,
                    watermark_ms: batch.watermark_ms,
                };
                stored.push((event, row.to_vec()));
            }
        }
        Ok(())
    });
    match read.and(follower.close(&mut disk).map(|()| 0)) {
        Ok(_) => stored,
        Err(_) => Vec::new(),
    }
}
