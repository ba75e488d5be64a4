//! A digest of the whole logical state, for tests that two states are the same.
//!
//! Everything is taken in an order of its own (by id, by member, by window), so the layout of hash
//! tables and the order of first sight do not show. What is not recorded, the duplicates counted
//! since the start and the deltas under way, is left out.

use super::{ShardState, StreamCounters};
use crate::board::divided::Place;
use crate::board::{BoardRead, BoardState};
use crate::dedupe::DuplicateCause;
use crate::dedupe::fields::{FieldDedupe, Recorded};
use crate::window::{LateEvent, Pane, Panes, Windows};
use xxhash_rust::xxh3::Xxh3;

struct Digest(Xxh3);

impl Digest {
    fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    fn numbers(&mut self, numbers: impl IntoIterator<Item = u64>) {
        numbers.into_iter().for_each(|number| self.number(number));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }
}

impl ShardState {
    /// XXH3-128 of the recorded state.
    pub fn digest(&self) -> u128 {
        let mut digest = Digest(Xxh3::new());
        self.digest_streams(&mut digest);
        self.digest_producers(&mut digest);
        self.ledger.digest(|number| digest.number(number));
        self.digest_views(&mut digest);
        self.digest_boards(&mut digest);
        digest.0.digest128()
    }

    fn digest_streams(&self, digest: &mut Digest) {
        for (stream, counters) in self.streams.iter().zip(&self.counters) {
            digest.number(stream.clock.in_effect_ms().cast_unsigned());
            digest.number(stream.clock.proposed_ms().cast_unsigned());
            digest.number(counters.accepted);
            digest.number(counters.annulled);
            digest.number(counters.retracted);
            counters
                .rejected
                .iter()
                .for_each(|&count| digest.number(count));
            digest.numbers(recorded_duplicates(counters));
            stream
                .dedupe
                .iter()
                .for_each(|dedupe| digest_repeats(digest, dedupe));
            digest.number(stream.repeats.len() as u64);
            for event in &stream.repeats {
                digest.bytes(&event.producer.to_le_bytes());
                digest.numbers([event.stamp_ns, event.sequence, event.lsn]);
                digest.numbers([event.log_stream, event.index].map(u64::from));
                digest.bytes(&[event.cause]);
                digest.bytes(&event.row);
            }
            digest.number(stream.rejected.len() as u64);
            for event in &stream.rejected {
                digest.bytes(&event.producer.to_le_bytes());
                for number in [event.stamp_ns, event.sequence, event.lsn] {
                    digest.number(number);
                }
                digest.number(u64::from(event.log_stream));
                digest.number(u64::from(event.index));
                digest.bytes(&[event.reason, event.field]);
                digest.bytes(&event.row);
            }
        }
    }

    fn digest_producers(&self, digest: &mut Digest) {
        for (log_stream, producer, record) in self.dedupe.sorted() {
            digest.number(log_stream.map_or(u64::MAX, u64::from));
            digest.bytes(&producer.to_le_bytes());
            digest.number(u64::from(record.epoch));
            digest.numbers([record.last_sequence, record.accepted]);
            digest.numbers([record.rejected, record.repeated]);
        }
    }

    fn digest_views(&self, digest: &mut Digest) {
        for view in &self.views {
            let counters = view.counters();
            counters.late.iter().for_each(|&count| digest.number(count));
            for number in [
                counters.amended,
                counters.open_windows,
                counters.closed_windows,
                counters.groups,
            ] {
                digest.number(number);
            }
            counters
                .errors
                .iter()
                .for_each(|&count| digest.number(count));
            digest_windows(digest, view.windows());
            for event in view.late_events() {
                digest_late(digest, event);
            }
        }
    }

    fn digest_boards(&self, digest: &mut Digest) {
        for (board, state) in self.pipeline.boards.iter().zip(&self.boards) {
            let counters = state.counters();
            digest.numbers(counters.errors);
            digest.number(counters.splits_refused);
            match state {
                BoardState::Key(state) => {
                    let columns = state.columns();
                    for (place, members, beside) in state.all(&self.streams[board.stream].keys) {
                        digest_members(digest, place, members, |digest, id| {
                            digest.numbers(beside.canonical(columns, id));
                            let note = members.notes.map_or(&[][..], |notes| notes.whole(id));
                            digest.bytes(note);
                        });
                    }
                }
                BoardState::Foreign(state) => {
                    for (place, members, pool) in state.all() {
                        digest_members(digest, place, members, |_, _| {});
                        let mut shares = state.shares(pool);
                        shares.sort_unstable_by_key(|(member, _)| *member);
                        for (member, words) in shares {
                            digest.bytes(place.split);
                            digest.bytes(member);
                            digest.numbers(words);
                        }
                    }
                }
            }
        }
    }
}

/// All but those that are not logged.
fn recorded_duplicates(counters: &StreamCounters) -> impl Iterator<Item = u64> {
    let logged = DuplicateCause::ALL.into_iter();
    let logged = logged.filter(|cause| *cause != DuplicateCause::Producer);
    logged.map(|cause| counters.duplicates[cause.index()])
}

fn digest_repeats(digest: &mut Digest, dedupe: &FieldDedupe) {
    match dedupe.recorded() {
        Recorded::Sequences(sources) => {
            for (source, window) in sources {
                digest.bytes(&source);
                digest.numbers([window.highest, window.seen]);
            }
        }
        Recorded::Ids(ids) => {
            for (log_stream, generation, id, body) in ids {
                digest.number(log_stream.map_or(u64::MAX, u64::from));
                digest.bytes(&id);
                digest.numbers([generation, body]);
            }
        }
    }
}

/// The members of a season and split, and their order; one without any may be there or not.
fn digest_members(
    digest: &mut Digest,
    place: Place<'_>,
    board: BoardRead<'_>,
    and: impl Fn(&mut Digest, u32),
) {
    let mut ids = board.ids();
    if ids.is_empty() {
        return;
    }
    ids.sort_unstable_by_key(|&id| board.members.key(id));
    digest.number(place.season.start_ms.cast_unsigned());
    digest.bytes(place.split);
    digest.number(ids.len() as u64);
    for id in ids {
        let key = board.rank.key(id);
        let key = key.expect("invariant: the range holds ranked members");
        digest.bytes(board.members.key(id));
        digest.numbers(key.words);
        and(digest, id);
    }
}

fn digest_windows(digest: &mut Digest, windows: &Windows) {
    let part = |group: &[u8], of_it: [u64; 3], words: &[u64]| {
        digest.bytes(group);
        digest.numbers(of_it);
        digest.number(words.len() as u64);
        digest.numbers(words.iter().copied());
    };
    match windows {
        Windows::Panes(panes) => {
            for pane in panes.readable_panes() {
                digest_pane(digest, panes, pane);
            }
        }
        Windows::Sessions(sessions) => sessions.each_session(part),
        Windows::Last(last) => last.each_event(part),
    }
}

fn digest_pane(digest: &mut Digest, view: &Panes, pane: &Pane) {
    let (start_ms, missed, closed) = pane.key();
    digest.number(start_ms.cast_unsigned());
    digest.number(u64::from(missed));
    digest.number(u64::from(closed));
    digest.number(pane.groups().len() as u64);
    view.each_group(pane, |group, amending, words| {
        digest.bytes(group);
        digest.number(amending);
        digest.number(words.len() as u64);
        words.iter().for_each(|&word| digest.number(word));
    });
}

fn digest_late(digest: &mut Digest, event: &LateEvent) {
    for number in [event.stamp_ns, event.lsn] {
        digest.number(number);
    }
    for number in [event.log_stream, event.index, event.windows] {
        digest.number(u64::from(number));
    }
    digest.number(event.reason.index() as u64);
    for (start_ms, end_ms) in [event.first_ms, event.last_ms] {
        digest.number(start_ms.cast_unsigned());
        digest.number(end_ms.cast_unsigned());
    }
    digest.bytes(&event.row);
}
