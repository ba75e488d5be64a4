//! What a shard knows of corrections: which events are taken back and by whom, and which are to be
//! taken back when they come.
//!
//! An event may be taken back by several corrections; it is away as long as one of them stands.
//! Names of events that have not come hold for the log stream that they were recorded in, and for
//! the groups of it when another layout goes on: so replay of several older logs, in whatever order,
//! finds what was found live.

use crate::dedupe::Layout;
use crate::entry::{
    CorrectedEvent, CorrectionAction, CorrectionEntry, EntryError, EventName, EventPlace,
};
use crate::limits::{CORRECTION_EVENTS_MAX, CORRECTIONS_MAX, EARLY_HORIZON_NS};
use crate::query::{CorrectionRecord, Undone};
use std::collections::{BTreeMap, BTreeSet};

/// Whether events go or come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    TakeBack,
    PutBack,
}

/// When a correction takes effect.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) stamp_ns: u64,
    pub(crate) log_stream: u32,
    /// Position of the last entry of its chain.
    pub(crate) lsn: u64,
    /// Watermark in effect, ms.
    pub(crate) watermark_ms: i64,
}

/// A correction as far as its chain of entries goes.
#[derive(Debug, Clone)]
pub(crate) struct Staged {
    /// The first entry, with the contents of those behind it added.
    pub(crate) entry: CorrectionEntry,
    next_part: u32,
}

/// An event that was taken back before it came.
#[derive(Debug, Clone)]
pub(crate) struct Annulled {
    pub(crate) stream: u16,
    pub(crate) event: CorrectedEvent,
    pub(crate) row: Vec<u8>,
}

/// A name that is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    id: u64,
    /// The stream of its correction.
    stream: u16,
    log_stream: u32,
    stamp_ns: u64,
}

/// A correction with the events that it took back here.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) record: CorrectionRecord,
    pub(crate) places: BTreeSet<EventPlace>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    /// Which corrections have taken an event back.
    taken: BTreeSet<(EventPlace, u64)>,
    early: BTreeMap<EventName, Vec<Waiting>>,
    /// Corrections that wait for nothing any more, and the log streams that say so.
    withdrawn: BTreeSet<(u64, u32)>,
    annulled: BTreeMap<EventPlace, Annulled>,
    /// By log stream.
    staged: BTreeMap<u32, Staged>,
    known: BTreeMap<u64, Known>,
}

impl Ledger {
    /// Whether any event is waited for.
    #[inline]
    pub(crate) fn waits(&self) -> bool {
        !self.early.is_empty()
    }

    /// Events that are taken back, each once for every correction that has taken it.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.len() as u64
    }

    /// Names that are waited for.
    pub(crate) fn early(&self) -> u64 {
        self.early.len() as u64
    }

    /// The corrections that have taken an event back.
    pub(crate) fn by(&self, place: EventPlace) -> Vec<u64> {
        let by = self.taken.range((place, 0)..=(place, u64::MAX));
        by.map(|(_, id)| *id).collect()
    }

    pub(crate) fn known(&self, id: u64) -> Option<&Known> {
        self.known.get(&id)
    }

    /// The records of corrections with greater numbers, the least first.
    pub(crate) fn records(&self, after: u64) -> impl Iterator<Item = &CorrectionRecord> {
        let behind = self.known.range(after.saturating_add(1)..);
        behind.map(|(_, known)| &known.record)
    }

    /// Whether a part begins a chain, or follows the one before in a chain that is not too long.
    pub(crate) fn check(&self, log_stream: u32, entry: &CorrectionEntry) -> Result<(), EntryError> {
        if entry.part == 0 {
            return Ok(());
        }
        let follows = |staged: &Staged| {
            let whole = &staged.entry;
            let so_far = whole.events.len() + entry.events.len();
            (whole.id, whole.action, whole.stream, staged.next_part)
                == (entry.id, entry.action, entry.stream, entry.part)
                && so_far <= CORRECTION_EVENTS_MAX
        };
        if self.staged.get(&log_stream).is_some_and(follows) {
            return Ok(());
        }
        Err(EntryError::BrokenCorrection {
            id: entry.id,
            part: entry.part,
        })
    }

    /// Adds a part that was checked; the whole correction once it is there.
    pub(crate) fn stage(
        &mut self,
        log_stream: u32,
        entry: &CorrectionEntry,
    ) -> Option<CorrectionEntry> {
        if entry.part == 0 {
            let (entry, next_part) = (entry.clone(), 1);
            self.staged.insert(log_stream, Staged { entry, next_part });
        } else if let Some(staged) = self.staged.get_mut(&log_stream) {
            let whole = &mut staged.entry;
            staged.next_part += 1;
            whole.early.extend_from_slice(&entry.early);
            whole.events.extend_from_slice(&entry.events);
            whole.rows.extend_from_slice(&entry.rows);
            (whole.stamp_ns, whole.watermark_ms) = (entry.stamp_ns, entry.watermark_ms);
        }
        if !entry.last {
            return None;
        }
        self.staged.remove(&log_stream).map(|staged| staged.entry)
    }

    /// Whether a log stream holds the whole of what a correction does.
    pub(crate) fn is_done(&self, id: u64, action: CorrectionAction, log_stream: u32) -> bool {
        let known = self.known.get(&id).map(|known| &known.record);
        known.is_some_and(|record| match (action, &record.undone) {
            (CorrectionAction::Retract, _) => record.log_streams.contains(&log_stream),
            (CorrectionAction::Undo, Some(undone)) => undone.log_streams.contains(&log_stream),
            (CorrectionAction::Undo, None) => false,
        })
    }

    /// Takes note of a whole correction, before its events.
    pub(crate) fn note(&mut self, log_stream: u32, entry: &CorrectionEntry) {
        let known = self.known.entry(entry.id).or_insert_with(|| Known {
            record: CorrectionRecord::of(entry),
            places: BTreeSet::new(),
        });
        let record = &mut known.record;
        match entry.action {
            CorrectionAction::Retract => {
                record.stamp_ns = record.stamp_ns.min(entry.stamp_ns);
                insert(&mut record.log_streams, log_stream);
                for &name in &entry.early {
                    let waiting = self.early.entry(name).or_default();
                    waiting.push(Waiting {
                        id: entry.id,
                        stream: entry.stream,
                        log_stream,
                        stamp_ns: entry.stamp_ns,
                    });
                    waiting.sort_unstable();
                }
                record.early = record.early.max(entry.early.len() as u64);
            }
            CorrectionAction::Undo => {
                let undone = record.undone.get_or_insert_with(|| Undone::of(entry));
                undone.stamp_ns = undone.stamp_ns.min(entry.stamp_ns);
                insert(&mut undone.log_streams, log_stream);
                self.withdrawn.insert((entry.id, log_stream));
            }
        }
    }

    /// Lets names go that no event of the own log can have any more, and the oldest records. Only at
    /// entries of the own log, behind which no older log is replayed.
    pub(crate) fn prune(&mut self, stamp_ns: u64) {
        let waits =
            |waiting: &Waiting| waiting.stamp_ns.saturating_add(EARLY_HORIZON_NS) >= stamp_ns;
        self.early.retain(|_, waiting| {
            waiting.retain(waits);
            !waiting.is_empty()
        });
        while self.known.len() > CORRECTIONS_MAX {
            self.known.pop_first();
        }
    }

    /// Takes an event back for a correction; true if it was there until now.
    pub(crate) fn take(&mut self, id: u64, place: EventPlace) -> bool {
        let Some(known) = self.known.get_mut(&id) else {
            return false;
        };
        if !known.places.insert(place) {
            return false;
        }
        known.record.events += 1;
        let was_there = self.by(place).is_empty();
        self.taken.insert((place, id));
        was_there
    }

    /// Puts an event back for a correction; true if no other one keeps it away.
    pub(crate) fn put(&mut self, id: u64, place: EventPlace) -> bool {
        let of = self.known.get_mut(&id);
        if !of.is_some_and(|known| known.places.remove(&place)) {
            return false;
        }
        self.taken.remove(&(place, id));
        if !self.by(place).is_empty() {
            return false;
        }
        self.annulled.remove(&place);
        true
    }

    /// Annuls an event that has just come, if a correction has named it; `chain` are the log streams
    /// that its group was in, oldest first, its own one last.
    pub(crate) fn annul(
        &mut self,
        name: EventName,
        chain: &[u32],
        is_own: bool,
        annulled: impl FnOnce() -> Annulled,
    ) -> bool {
        let Some(waiting) = self.early.get(&name) else {
            return false;
        };
        let annulled = annulled();
        let CorrectedEvent {
            place, stamp_ns, ..
        } = annulled.event;
        let stream = annulled.stream;
        let withdrawn = |id: u64| chain.iter().any(|&log| self.withdrawn.contains(&(id, log)));
        let hits = |waiting: &&Waiting| {
            waiting.stream == stream
                && chain.contains(&waiting.log_stream)
                && stamp_ns.saturating_sub(waiting.stamp_ns) <= EARLY_HORIZON_NS
                && !withdrawn(waiting.id)
        };
        let mut ids: Vec<u64> = waiting.iter().filter(hits).map(|hit| hit.id).collect();
        ids.dedup();
        let mut hit = false;
        for id in ids {
            if let Some(known) = self.known.get_mut(&id)
                && known.places.insert(place)
            {
                known.record.annulled += 1;
                self.taken.insert((place, id));
                hit = true;
            }
        }
        if !hit {
            return false;
        }
        self.annulled.insert(place, annulled);
        // Its name does not come again. In replay, other older logs may yet announce it.
        if is_own {
            self.early.remove(&name);
        }
        true
    }

    /// Whether an event was taken back before it came, and was not put back since.
    pub(crate) fn is_annulled(&self, place: EventPlace) -> bool {
        self.annulled.contains_key(&place)
    }

    /// The events that a correction annulled when they came.
    pub(crate) fn annulled_by(&self, id: u64) -> Vec<Annulled> {
        let Some(known) = self.known.get(&id) else {
            return Vec::new();
        };
        let places = known.places.iter();
        places
            .filter_map(|place| self.annulled.get(place).cloned())
            .collect()
    }

    /// Everything recorded, as numbers and texts in a fixed order.
    pub(crate) fn digest(&self, mut number: impl FnMut(u64)) {
        for (place, id) in &self.taken {
            let EventPlace {
                log_stream,
                lsn,
                index,
            } = *place;
            [u64::from(log_stream), lsn, u64::from(index), *id]
                .into_iter()
                .for_each(&mut number);
        }
        for (name, waiting) in &self.early {
            let EventName::Sequence {
                producer, sequence, ..
            } = name;
            number(*producer as u64 ^ sequence);
            for waiting in waiting {
                number(waiting.id);
                number(u64::from(waiting.log_stream));
            }
        }
        for (id, log_stream) in &self.withdrawn {
            number(*id);
            number(u64::from(*log_stream));
        }
        for (place, annulled) in &self.annulled {
            number(place.lsn);
            number(annulled.event.stamp_ns);
        }
        for (log_stream, staged) in &self.staged {
            number(u64::from(*log_stream));
            number(staged.entry.id);
            number(staged.entry.events.len() as u64);
        }
        for (id, known) in &self.known {
            number(*id);
            number(known.places.len() as u64);
            number(known.record.events);
            number(known.record.annulled);
            let undone = known.record.undone.as_ref();
            number(undone.map_or(0, |undone| undone.stamp_ns));
        }
    }
}

/// The log streams that an event of a group in `log_stream` may have been announced in: those that
/// had the group in older layouts, then its own one.
pub(crate) fn chain(older: &[Layout], log_stream: u32, group: u16) -> Vec<u32> {
    let before = older
        .iter()
        .take_while(|layout| !layout.contains(log_stream));
    let mut chain: Vec<u32> = before.map(|layout| layout.owner(group)).collect();
    chain.push(log_stream);
    chain
}

/// Inserts into a sorted list.
fn insert(list: &mut Vec<u32>, log_stream: u32) {
    if let Err(at) = list.binary_search(&log_stream) {
        list.insert(at, log_stream);
    }
}
