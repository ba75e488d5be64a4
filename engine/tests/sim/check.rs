//! The oracle: the logs against the book, and the state against a plain computation from the logs.

use std::collections::{BTreeMap, HashMap};

use ringmill_engine::recovery::Layout;
use ringmill_shard::dedupe::{DuplicateCause, Layout as ShardLayout};
use ringmill_shard::entry::{
    CorrectionAction, CorrectionEntry, Entry, EventBatch, EventName, EventPlace, decode_entry,
};
use ringmill_shard::merge::merge_windows;
use ringmill_shard::oracle::{ClockRun, Corrected, Datum, Oracle, Recorded, Row};
use ringmill_shard::partition::{group_of, key_hash, shard_of};
use ringmill_shard::pipeline::{Pipeline, Stream};
use ringmill_shard::query::{Answer, Query, Scalar};
use ringmill_shard::rank::Tie;
use ringmill_shard::state::ShardState;
use ringmill_shard::window::group_values;
use ringmill_storage::disk::sim::SimDisk;
use ringmill_storage::verify::read_dir;

use super::boards::check_board;
use super::book::{Book, counts_events};
use super::corrections::{Found, chain};
use super::cover::{Cover, Point};

/// An event as it stands in a log.
#[derive(Clone)]
struct Logged {
    log_stream: u32,
    sent: usize,
    group: u16,
    recorded: Recorded,
}

/// Everything that the logs of a store hold.
pub(crate) struct Contents {
    events: Vec<Logged>,
    /// Per log and stream of the pipeline the greatest recorded watermark.
    watermarks: HashMap<(u32, usize), i64>,
    /// Per log and producer the last epoch and sequence.
    last: HashMap<(u32, u128), (u32, u64)>,
    corrections: Found,
    /// Oldest first, the newest one too.
    layouts: Vec<ShardLayout>,
}

/// The layouts of a store, oldest first.
fn shard_layouts(layout: &Layout) -> Vec<ShardLayout> {
    let mut layouts = layout.place(0).older;
    let newest = layout.newest();
    layouts.push(ShardLayout {
        first_log_stream: newest.first_stream,
        streams: newest.streams,
    });
    layouts
}

fn name_of(batch: &EventBatch<'_>, sequence: u64) -> EventName {
    EventName::Sequence {
        producer: batch.producer.0,
        epoch: batch.epoch,
        sequence,
    }
}

fn is_accepted(stream: &Stream, batch: &EventBatch<'_>, row: &[u8]) -> bool {
    let limit_ms = (batch.stamp_ns / 1_000_000) as i64 + stream.time.max_future_ms;
    stream.schema.validate(row).is_ok() && stream.schema.time_ms(row, stream.time.field) <= limit_ms
}

pub(crate) fn check(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

impl Contents {
    /// Reads all logs of the store and holds every entry against the book.
    pub(crate) fn read(
        disk: &mut SimDisk,
        layout: &Layout,
        pipeline: &Pipeline,
        book: &Book,
    ) -> Result<Contents, String> {
        let mut contents = Contents {
            events: Vec::new(),
            watermarks: HashMap::new(),
            last: HashMap::new(),
            corrections: Found::default(),
            layouts: shard_layouts(layout),
        };
        for log_stream in 0..layout.newest().streams().end {
            let dir = layout.dir_of(log_stream);
            let mut error = None;
            let report = read_dir(disk, &dir, &mut |lsn, kind, entry| {
                let taken = contents.take((log_stream, lsn), (kind, entry), pipeline, book);
                if let Err(text) = taken {
                    error.get_or_insert(text);
                }
                Ok(())
            });
            report.map_err(|error| format!("log {log_stream}: {error}"))?;
            if let Some(error) = error {
                return Err(format!("log {log_stream}: {error}"));
            }
        }
        Ok(contents)
    }

    fn take(
        &mut self,
        (log_stream, lsn): (u32, u64),
        (kind, entry): (u32, &[u8]),
        pipeline: &Pipeline,
        book: &Book,
    ) -> Result<(), String> {
        match decode_entry(kind, entry).map_err(|error| error.to_string())? {
            Entry::Batch(batch) => {
                let stream = usize::from(batch.stream);
                self.raise(log_stream, stream, batch.watermark_ms);
                for index in 0..batch.count as usize {
                    let sequence = batch.sequence(index);
                    let at = (batch.epoch, sequence);
                    let last = self.last.entry((log_stream, batch.producer.0)).or_default();
                    check(at > *last, || {
                        format!("{at:?} of a producer behind {last:?}")
                    })?;
                    *last = at;
                    let row = batch.row(index);
                    let known = book
                        .by_sequence
                        .get(&(batch.producer, batch.epoch, sequence));
                    let sent = known.into_iter().flatten().rev().find(|&&sent| {
                        let sent = &book.sent[sent];
                        sent.stream == stream && sent.event.row == row
                    });
                    let &sent = sent.ok_or_else(|| format!("{at:?} was never sent"))?;
                    let of = (&pipeline.streams[stream], book);
                    self.record((log_stream, lsn), (&batch, index), sent, of);
                }
            }
            Entry::Watermark(mark) => {
                self.raise(log_stream, usize::from(mark.stream), mark.watermark_ms);
            }
            Entry::Session(session) => {
                let last = self.last.entry((log_stream, session.producer)).or_default();
                check(session.epoch > last.0, || {
                    format!("epoch {} again", session.epoch)
                })?;
                *last = (session.epoch, 0);
            }
            Entry::Correction(part) => self.correct(log_stream, part)?,
            Entry::Schema(_) => {}
        }
        Ok(())
    }

    /// Takes an event in that was sent as number `sent` of the book.
    fn record(
        &mut self,
        (log_stream, lsn): (u32, u64),
        (batch, index): (&EventBatch<'_>, usize),
        sent: usize,
        (stream, book): (&Stream, &Book),
    ) {
        let (row, number) = (batch.row(index), usize::from(batch.stream));
        let group = group_of(key_hash(stream.schema.canonical_bytes(row, stream.key)));
        let place = EventPlace {
            log_stream,
            lsn,
            index: index as u32,
        };
        let corrected = match is_accepted(stream, batch, row) {
            true => self.corrections.arrival(
                (name_of(batch, batch.sequence(index)), number),
                place,
                batch.stamp_ns,
                &chain(&self.layouts, log_stream, group),
            ),
            false => Corrected::default(),
        };
        self.events.push(Logged {
            log_stream,
            sent,
            group,
            recorded: Recorded {
                stream: number,
                event: book.sent[sent].event.clone(),
                tie: Tie {
                    stamp_ns: batch.stamp_ns,
                    log_stream,
                    index: index as u32,
                },
                lsn,
                watermark_ms: batch.watermark_ms,
                // Why an event is late is not looked at here.
                idle: ClockRun::NONE,
                future_limit_ms: (batch.stamp_ns / 1_000_000) as i64 + stream.time.max_future_ms,
                corrected,
            },
        });
    }

    fn correct(&mut self, log_stream: u32, part: CorrectionEntry) -> Result<(), String> {
        let groups: HashMap<Tie, u16> = self
            .events
            .iter()
            .map(|logged| (logged.recorded.tie, logged.group))
            .collect();
        let place = |recorded: &Recorded| EventPlace {
            log_stream: recorded.tie.log_stream,
            lsn: recorded.lsn,
            index: recorded.tie.index,
        };
        let events = self.events.iter_mut().map(|logged| &mut logged.recorded);
        let mut events = events.map(|recorded| (place(recorded), recorded)).collect();
        let layout = self.layouts.iter().find(|one| one.contains(log_stream));
        let layout = layout.expect("every log is of a layout");
        let of_log = |recorded: &Recorded| layout.owner(groups[&recorded.tie]) == log_stream;
        self.corrections.part(log_stream, part, &mut events, of_log)
    }

    /// What a shard has said to have of corrections is there.
    pub(crate) fn check_corrections(
        &self,
        promised: &[(u64, CorrectionAction, u32)],
        cover: &mut Cover,
    ) -> Result<(), String> {
        for one in promised {
            check(self.corrections.whole.contains(one), || {
                format!("correction {one:?} is lost, which was answered as stored")
            })?;
        }
        for logged in &self.events {
            let Corrected {
                annulled,
                away,
                moves,
            } = &logged.recorded.corrected;
            cover.add(Point::Retracted, u64::from(*away && !moves.is_empty()));
            cover.add(Point::Annulled, u64::from(*annulled));
            cover.add(Point::PutBack, u64::from(!*away && !moves.is_empty()));
        }
        Ok(())
    }

    fn raise(&mut self, log_stream: u32, stream: usize, watermark_ms: i64) {
        let known = self
            .watermarks
            .entry((log_stream, stream))
            .or_insert(i64::MIN);
        *known = (*known).max(watermark_ms);
    }

    /// Nothing acknowledged is missing, nothing is there twice, nothing denied is there.
    pub(crate) fn check_book(&self, book: &Book, pipeline: &Pipeline) -> Result<(), String> {
        let mut found = HashMap::new();
        for logged in &self.events {
            let sent = &book.sent[logged.sent];
            let key = (sent.producer, sent.epoch, sent.sequence);
            let name = || format!("epoch {} sequence {}", sent.epoch, sent.sequence);
            check(!sent.dead, || format!("{} was denied and is there", name()))?;
            let before = found.insert(key, logged.sent);
            check(before.is_none(), || {
                format!("{} stands twice, last in log {}", name(), logged.log_stream)
            })?;
        }
        for (index, sent) in book.sent.iter().enumerate().filter(|(_, sent)| sent.safe) {
            let there = found.get(&(sent.producer, sent.epoch, sent.sequence));
            check(there == Some(&index), || {
                format!(
                    "epoch {} sequence {} is lost, which {} had promised",
                    sent.epoch, sent.sequence, sent.by
                )
            })?;
        }
        for (key, shown) in &book.shown_sequences {
            let last = self.last.get(key).copied().unwrap_or_default();
            check(last >= *shown, || {
                format!(
                    "an answer of log {} has shown {shown:?}, it has {last:?}",
                    key.0
                )
            })?;
        }
        let oracle = Oracle::new(pipeline, self.recorded(|_| true), Vec::new());
        for (index, board) in pipeline.boards.iter().enumerate() {
            if !counts_events(board) {
                continue;
            }
            let (mut seasons, _) = oracle.board(board, i64::MIN);
            let places = seasons.remove(0).places;
            let counts: HashMap<Vec<u8>, u64> = places
                .iter()
                .map(|place| match place.scores()[0] {
                    Scalar::U64(count) => (place.member.canonical(), count),
                    ref other => panic!("a count of {other:?}"),
                })
                .collect();
            let shown = book
                .shown_counts
                .iter()
                .filter(|((of, _), _)| usize::from(*of) == index);
            for ((_, member), shown) in shown {
                let count = counts.get(member).copied().unwrap_or(0);
                check(count >= *shown, || {
                    format!("board {index} has shown {shown} for {member:?}, it is {count}")
                })?;
            }
        }
        Ok(())
    }

    fn recorded(&self, of: impl Fn(&Logged) -> bool) -> Vec<Recorded> {
        self.events
            .iter()
            .filter(|logged| of(logged))
            .map(|l| l.recorded.clone())
            .collect()
    }

    /// Counters, views and boards equal a computation from the log's events alone.
    pub(crate) fn check_state(
        &self,
        states: &[&ShardState],
        layout: &Layout,
        pipeline: &Pipeline,
        book: &Book,
        cover: &mut Cover,
    ) -> Result<(), String> {
        for (shard, state) in states.iter().enumerate() {
            let own = layout.own_stream(shard);
            let older = layout.older_streams(shard);
            let events = self.recorded(|logged| {
                logged.log_stream == own
                    || older.contains(&logged.log_stream)
                        && shard_of(logged.group, states.len()) == shard
            });
            let watermark = |stream: usize| {
                let logs = older.iter().chain([&own]);
                let marks = logs.filter_map(|log| self.watermarks.get(&(*log, stream)));
                marks.copied().max().unwrap_or(i64::MIN)
            };
            let watermarks: Vec<i64> = (0..pipeline.streams.len()).map(watermark).collect();
            let oracle = Oracle::new(pipeline, events, watermarks);
            check_shard(state, &oracle, cover)
                .map_err(|error| format!("shard {shard}: {error}"))?;
        }
        let oracle = Oracle::new(pipeline, self.recorded(|_| true), Vec::new());
        for board in 0..pipeline.boards.len() {
            check_board(states, &oracle, board)?;
        }
        self.check_producers(states, book)
    }

    fn check_producers(&self, states: &[&ShardState], book: &Book) -> Result<(), String> {
        let mut counts = HashMap::new();
        for logged in &self.events {
            *counts
                .entry(book.sent[logged.sent].producer)
                .or_insert(0u64) += 1;
        }
        for (producer, count) in counts {
            let views = states.iter().filter_map(|state| state.producer(producer));
            let counted: u64 = views
                .map(|view| view.accepted + view.rejected + view.repeated)
                .sum();
            check(counted == count, || {
                format!("a producer has {counted} events, its logs hold {count}")
            })?;
        }
        Ok(())
    }
}

fn check_shard(state: &ShardState, oracle: &Oracle<'_>, cover: &mut Cover) -> Result<(), String> {
    let pipeline = oracle.pipeline;
    let counters = state.counters();
    for stream in 0..pipeline.streams.len() {
        let watermark = state.watermark_ms(stream);
        check(watermark == oracle.watermarks_ms[stream], || {
            format!(
                "watermark {watermark}, recorded {}",
                oracle.watermarks_ms[stream]
            )
        })?;
        let (accepted, expected) = (
            counters.streams[stream].accepted,
            oracle.accepted_count(stream),
        );
        check(accepted == expected, || {
            format!("{accepted} accepted, {expected} in the log")
        })?;
        let rejected: u64 = counters.streams[stream].rejected.iter().sum();
        let expected: u64 = oracle.rejected(stream).values().sum();
        check(rejected == expected, || {
            format!("{rejected} rejected, {expected} in the log")
        })?;
        let repeated = by_fields(&counters.streams[stream].duplicates);
        let expected = oracle.repeated(stream);
        cover.add(Point::DuplicateByFields, expected.values().sum());
        check(repeated == expected, || {
            format!("{repeated:?} repeated, {expected:?} in the log")
        })?;
    }
    check_views(state, oracle, cover)
}

/// Duplicates by fields by cause; those of producers are not logged.
fn by_fields(duplicates: &[u64; DuplicateCause::COUNT]) -> BTreeMap<&'static str, u64> {
    let causes = DuplicateCause::ALL.into_iter();
    let logged = causes.filter(|cause| *cause != DuplicateCause::Producer);
    logged
        .map(|cause| (cause.name(), duplicates[cause.index()]))
        .filter(|(_, count)| *count > 0)
        .collect()
}

fn check_views(state: &ShardState, oracle: &Oracle<'_>, cover: &mut Cover) -> Result<(), String> {
    let pipeline = oracle.pipeline;
    let counters = state.counters();
    for (index, view) in pipeline.views.iter().enumerate() {
        let truth = oracle.view(view);
        cover.add(Point::WindowLate, truth.late_total());
        let counters = &counters.views[index];
        check(counters.errors == truth.errors, || {
            let (found, errors) = (counters.errors, truth.errors);
            format!("view {index}: errors {found:?}, {errors:?} by the log")
        })?;
        let counted = (counters.late_total(), counters.amended);
        let late = (truth.late_total(), truth.amended);
        check(counted == late, || {
            format!("view {index}: {counted:?} late and amended, {late:?} by the log")
        })?;
        let mut expected = truth.rows;
        let mut actual = window_rows(state, pipeline, index)?;
        expected.sort_by_key(by_group);
        actual.sort_by_key(by_group);
        check(actual == expected, || {
            let differs = actual.iter().zip(&expected).find(|(a, b)| a != b);
            format!(
                "view {index}: {} rows, {} by the log; first difference {differs:?}",
                actual.len(),
                expected.len()
            )
        })?;
    }
    Ok(())
}

fn by_group<V>(row: &Row<V>) -> (i64, i64, String) {
    (row.start_ms, row.end_ms, format!("{:?}", row.group))
}

/// All rows of a view on one shard, page by page.
fn window_rows(state: &ShardState, pipeline: &Pipeline, index: usize) -> Result<Vec<Row>, String> {
    let view = &pipeline.views[index];
    let stream = &pipeline.streams[view.stream];
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let query = Query::Windows {
            view: index as u16,
            from_ms: i64::MIN,
            to_ms: i64::MAX,
            limit: 10_000,
            after: after.take(),
        };
        let Answer::Windows(answer) = state.query(&query) else {
            panic!("an answer of windows")
        };
        let page = merge_windows(pipeline, index, vec![answer], 10_000)
            .map_err(|error| format!("view {index}: {error}"))?;
        rows.extend(page.rows.into_iter().map(|row| {
            let group = group_values(view, stream, &row.group).expect("a group");
            Row {
                start_ms: row.start_ms,
                end_ms: row.end_ms,
                group: group.into_iter().map(Datum::of).collect(),
                values: row.values,
                state: row.state,
                revision: row.revision,
            }
        }));
        after = page.next;
        if after.is_none() {
            return Ok(rows);
        }
    }
}
