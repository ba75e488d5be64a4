//! Corrections of the world: random events are taken back and put back, some before they come; some
//! shards miss a correction until later, and chains are cut off.

use super::world::{Log, World, producer_id};
use ringmill_shard::entry::{
    CorrectedEvent, CorrectionAction, CorrectionEntry, EventName, EventPlace, KIND_CORRECTION,
};
use ringmill_shard::limits::EARLY_HORIZON_NS;
use ringmill_shard::oracle::{Corrected, Move, Recorded};
use ringmill_shard::partition::{group_of, key_hash, shard_of};
use ringmill_shard::query::{Answer, Query};
use ringmill_shard::rank::Tie;
use std::collections::{BTreeMap, BTreeSet};

/// A correction as it was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Correction {
    pub(crate) id: u64,
    pub(crate) stream: usize,
    /// Indexes of recorded events.
    pub(crate) events: Vec<usize>,
    pub(crate) early: Vec<EventName>,
    pub(crate) undone: bool,
}

/// A name that a log stream has announced.
#[derive(Debug, Clone, Copy)]
struct Announced {
    name: EventName,
    id: u64,
    log_stream: u32,
    stamp_ns: u64,
    stream: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Corrections {
    pub(crate) all: Vec<Correction>,
    announced: Vec<Announced>,
    withdrawn: BTreeSet<(u64, u32)>,
    /// The corrections that keep each recorded event away.
    pub(crate) by: BTreeMap<usize, BTreeSet<u64>>,
    /// The watermark in the entries of the last chain, ms.
    watermark_ms: i64,
}

pub(crate) fn place(event: &Recorded) -> EventPlace {
    EventPlace {
        log_stream: event.tie.log_stream,
        lsn: event.lsn,
        index: event.tie.index,
    }
}

fn is_accepted(world: &World, event: &Recorded) -> bool {
    event.event.bad.is_none() && event.time_ms(&world.pipeline) <= event.future_limit_ms
}

impl World {
    fn group(&self, stream: usize, row: &[u8]) -> u16 {
        let stream = &self.pipeline.streams[stream];
        group_of(key_hash(stream.schema.canonical_bytes(row, stream.key)))
    }

    fn owner(&self, stream: usize, row: &[u8]) -> usize {
        shard_of(self.group(stream, row), self.shards.len())
    }

    /// What corrections do to the event that was recorded last.
    pub(crate) fn note_arrival(&mut self, producer: usize, epoch: u32, sequence: u64) {
        let at = self.recorded.len() - 1;
        let event = &self.recorded[at];
        if !is_accepted(self, event) {
            return;
        }
        let name = EventName::Sequence {
            producer: producer_id(producer).0,
            epoch,
            sequence,
        };
        let group = self.group(event.stream, &event.event.row);
        let older = self.old_logs.iter().map(|(layout, _)| layout.owner(group));
        let chain: Vec<u32> = older.chain([event.tie.log_stream]).collect();
        let known = &self.corrections;
        let withdrawn = |id| {
            chain
                .iter()
                .any(|log| known.withdrawn.contains(&(id, *log)))
        };
        let hits = known.announced.iter().filter(|one| {
            (one.name, one.stream) == (name, event.stream)
                && chain.contains(&one.log_stream)
                && event.tie.stamp_ns - one.stamp_ns <= EARLY_HORIZON_NS
                && !withdrawn(one.id)
        });
        let ids: BTreeSet<u64> = hits.map(|one| one.id).collect();
        if !ids.is_empty() {
            self.corrections.by.insert(at, ids);
            self.recorded[at].corrected = Corrected {
                annulled: true,
                away: true,
                moves: Vec::new(),
            };
        }
    }

    /// A random correction, or the end of one, or the rest of one that some shards have missed.
    pub(crate) fn correct(&mut self) {
        let streams = 0..self.pipeline.streams.len();
        let open: Vec<usize> = streams
            .filter(|&stream| self.shards[0].can_correct(stream).is_ok())
            // What repeats another event is for the reader of the logs to tell.
            .filter(|&stream| self.pipeline.streams[stream].dedupe.is_none())
            .collect();
        if open.is_empty() {
            return;
        }
        let luck = if self.random.chance(20) {
            self.random.next()
        } else {
            u64::MAX
        };
        let lucky = |shard: usize| luck >> (shard % 64) & 1 == 1;
        let known = self.corrections.all.len() as u64;
        if known > 0 && self.random.chance(35) {
            let id = 1 + self.random.below(known);
            if !self.corrections.all[id as usize - 1].undone && self.random.chance(60) {
                self.undo(id, lucky);
            } else {
                self.finish(id);
            }
            return;
        }
        let stream = *self.random.pick(&open);
        let events = self.some_events(stream);
        let early = self.some_names();
        let id = self.ask_for(stream, events, early);
        self.retract(id, lucky);
    }

    /// The number of a new correction, which no shard has yet.
    pub(crate) fn ask_for(
        &mut self,
        stream: usize,
        events: Vec<usize>,
        early: Vec<EventName>,
    ) -> u64 {
        let id = self.corrections.all.len() as u64 + 1;
        self.corrections.all.push(Correction {
            id,
            stream,
            events,
            early,
            undone: false,
        });
        id
    }

    /// Lets shards that have missed something of a correction have it.
    pub(crate) fn finish(&mut self, id: u64) {
        self.retract(id, |_| true);
        if self.corrections.all[id as usize - 1].undone {
            self.undo(id, |_| true);
        }
    }

    fn some_events(&mut self, stream: usize) -> Vec<usize> {
        let all = self.recorded.iter().enumerate();
        let mut fit: Vec<usize> = all
            .filter(|(_, event)| event.stream == stream && is_accepted(self, event))
            .map(|(at, _)| at)
            .collect();
        if fit.is_empty() {
            return fit;
        }
        match self.random.below(3) {
            // One member, as of now.
            0 => {
                let one = &self.recorded[*self.random.pick(&fit)];
                let of = self.group(stream, &one.event.row);
                fit.retain(|&at| self.group(stream, &self.recorded[at].event.row) == of);
            }
            // A range.
            1 => {
                let first = self.random.below(fit.len() as u64) as usize;
                let few = 1 + self.random.below(40) as usize;
                fit = fit.into_iter().skip(first).take(few).collect();
            }
            _ => {
                let few = 1 + self.random.below(4);
                fit = (0..few).map(|_| *self.random.pick(&fit)).collect();
                fit.sort_unstable();
                fit.dedup();
            }
        }
        fit
    }

    /// Sequences that producers will come to.
    fn some_names(&mut self) -> Vec<EventName> {
        if self.random.chance(50) {
            return Vec::new();
        }
        let names = (0..1 + self.random.below(3)).map(|_| {
            let producer = self.random.below(self.producers.len() as u64) as usize;
            let of = &self.producers[producer];
            EventName::Sequence {
                producer: producer_id(producer).0,
                epoch: of.epoch,
                sequence: of.sent.len() as u64 + 1 + self.random.below(10),
            }
        });
        names.collect()
    }

    /// Lets shards record a correction, unless they have it.
    pub(crate) fn retract(&mut self, id: u64, reaches: impl Fn(usize) -> bool) {
        let Correction {
            stream,
            events,
            early,
            ..
        } = self.corrections.all[id as usize - 1].clone();
        self.stamp_ns = (self.stamp_ns + 1).max(self.clock_ms as u64 * 1_000_000);
        for shard in 0..self.shards.len() {
            let done = self.shards[shard].is_corrected(id, CorrectionAction::Retract);
            if done || !reaches(shard) {
                continue;
            }
            let own: Vec<usize> = events
                .iter()
                .copied()
                .filter(|&at| self.owner(stream, &self.recorded[at].event.row) == shard)
                .collect();
            self.record_chain(shard, id, CorrectionAction::Retract, stream, &own, &early);
            let log_stream = self.layout.first_log_stream + shard as u32;
            for &name in &early {
                self.corrections.announced.push(Announced {
                    name,
                    id,
                    log_stream,
                    stamp_ns: self.stamp_ns,
                    stream,
                });
            }
            for (index, &at) in own.iter().enumerate() {
                let by = self.corrections.by.entry(at).or_default();
                let was_there = by.is_empty();
                if by.insert(id) && was_there {
                    self.note_move(shard, at, index as u32, true);
                }
            }
        }
    }

    /// Lets shards record the end of a correction, unless they have it.
    pub(crate) fn undo(&mut self, id: u64, reaches: impl Fn(usize) -> bool) {
        self.corrections.all[id as usize - 1].undone = true;
        let stream = self.corrections.all[id as usize - 1].stream;
        self.stamp_ns = (self.stamp_ns + 1).max(self.clock_ms as u64 * 1_000_000);
        for shard in 0..self.shards.len() {
            let done = self.shards[shard].is_corrected(id, CorrectionAction::Undo);
            if done || !reaches(shard) {
                continue;
            }
            let Answer::Taken(taken) = self.shards[shard].query(&Query::Taken { id }) else {
                panic!("not what was taken");
            };
            let of_place = |at: &usize| {
                let event = &self.recorded[*at];
                taken.places.contains(&place(event))
            };
            let own: Vec<usize> = (0..self.recorded.len()).filter(of_place).collect();
            let expected = self.corrections.by.iter().filter(|(at, by)| {
                let event = &self.recorded[**at];
                by.contains(&id) && self.owner(event.stream, &event.event.row) == shard
            });
            let expected: Vec<usize> = expected.map(|(at, _)| *at).collect();
            assert_eq!(own, expected, "{}: what {id} took on {shard}", self.note);
            let of_stream: Vec<usize> = own
                .iter()
                .copied()
                .filter(|&at| self.recorded[at].stream == stream)
                .collect();
            self.record_chain(shard, id, CorrectionAction::Undo, stream, &of_stream, &[]);
            let log_stream = self.layout.first_log_stream + shard as u32;
            self.corrections.withdrawn.insert((id, log_stream));
            for &at in &own {
                let by = self.corrections.by.get_mut(&at).expect("it was taken");
                by.remove(&id);
                if by.is_empty() {
                    self.corrections.by.remove(&at);
                    let index = of_stream.iter().position(|&one| one == at);
                    self.note_move(shard, at, index.unwrap_or(0) as u32, false);
                }
            }
        }
    }

    fn note_move(&mut self, shard: usize, at: usize, index: u32, away: bool) {
        let log_stream = self.layout.first_log_stream + shard as u32;
        let (stamp_ns, watermark_ms) = (self.stamp_ns, self.corrections.watermark_ms);
        let event = &mut self.recorded[at];
        let corrected = &mut event.corrected;
        let tie = match corrected.annulled && !away && corrected.moves.is_empty() {
            true => event.tie,
            false => Tie {
                stamp_ns,
                log_stream,
                index,
            },
        };
        corrected.away = away;
        corrected.moves.push(Move { tie, watermark_ms });
    }

    /// Records a chain of entries on a shard, sometimes behind one that was cut off.
    fn record_chain(
        &mut self,
        shard: usize,
        id: u64,
        action: CorrectionAction,
        stream: usize,
        events: &[usize],
        early: &[EventName],
    ) {
        self.corrections.watermark_ms = self.shards[shard].watermark_ms(stream);
        let cut = self.random.chance(15);
        for is_cut in [true, false] {
            if is_cut && !cut {
                continue;
            }
            let size = 1 + self.random.below(20) as usize;
            let mut parts: Vec<&[usize]> = events.chunks(size).collect();
            if parts.is_empty() {
                parts.push(&[]);
            }
            let ends = parts.len() as u32 - 1;
            for (part, events) in parts.into_iter().enumerate() {
                let (part, last) = (part as u32, part as u32 == ends && !is_cut);
                let early = if part == 0 { early } else { &[] };
                let entry = self.entry(id, action, stream, events);
                let entry = CorrectionEntry {
                    part,
                    last,
                    early: early.to_vec(),
                    watermark_ms: self.corrections.watermark_ms,
                    ..entry
                };
                self.record_entry(shard, &entry);
            }
        }
    }

    pub(crate) fn entry(
        &self,
        id: u64,
        action: CorrectionAction,
        stream: usize,
        events: &[usize],
    ) -> CorrectionEntry {
        let of = |at: &usize| &self.recorded[*at];
        let event = |event: &Recorded| CorrectedEvent {
            place: place(event),
            stamp_ns: event.tie.stamp_ns,
            watermark_ms: event.watermark_ms,
        };
        CorrectionEntry {
            id,
            action,
            stream: stream as u16,
            schema_id: self.pipeline.streams[stream].schema.id,
            shards: self.shards.len() as u16,
            part: 0,
            last: true,
            stamp_ns: self.stamp_ns,
            watermark_ms: i64::MIN,
            reason: format!("exploit {id}"),
            author: "referee".into(),
            selector: "{}".into(),
            early: Vec::new(),
            events: events.iter().map(of).map(event).collect(),
            rows: events
                .iter()
                .flat_map(|at| of(at).event.row.clone())
                .collect(),
        }
    }

    pub(crate) fn record_entry(&mut self, shard: usize, entry: &CorrectionEntry) {
        let Log(log) = &mut self.logs[shard];
        let lsn = log.len() as u64 + 1;
        self.shards[shard].correct(entry, lsn).unwrap();
        log.push((lsn, KIND_CORRECTION, entry.to_bytes().to_vec()));
    }
}

/// Whether the corrections of a world did what they are for.
pub(crate) fn exercised(world: &World) -> [bool; 3] {
    let events = || world.recorded.iter().map(|event| &event.corrected);
    [
        events().any(|one| one.away && !one.moves.is_empty()),
        events().any(|one| one.annulled),
        events().any(|one| !one.away && one.moves.len() > 1),
    ]
}
