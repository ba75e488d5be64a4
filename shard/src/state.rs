//! The deterministic machine of one shard: entries in, state and answers out.
//!
//! `apply` is a function of the state and the batch alone. It reads no clock and no random number,
//! and everything it depends on (stamp, watermark, sequence) stands in the log, so replay of the
//! same entries gives the same state. A batch is applied in passes, each over all its rows:
//!
//! ```text
//! check rows -> drop repeats -> keys to ids -> computed columns -> views: find groups, one loop per column -> boards: touch, update
//! ```
//!
//! so that the cache misses of a pass overlap. All scratch memory is kept from batch to batch.

mod boards;
mod check;
mod corrections;
mod digest;
mod former;
mod read;
mod reject;
mod repeats;

use crate::board::{BoardState, Origin};
use crate::correction::Ledger;
use crate::dedupe::fields::FieldDedupe;
use crate::dedupe::{Admission, Dedupe, DuplicateCause, Layout};
use crate::delta::DeltaQueue;
use crate::entry::{Entry, EntryError, EventBatch, ProducerId, decode_entry};
use crate::expression::{Evaluated, Evaluator, Expression};
use crate::partition::{group_of, key_hash};
use crate::pipeline::{Pipeline, Retract, Stream, View};
use crate::query::{DuplicateEvent, DuplicateRun, ProducerView, RejectedEvent};
use crate::reject::{Reject, RejectReason};
use crate::schema::Schema;
use crate::table::KeyTable;
use crate::watermark::{ClockMove, StreamClock, WatermarkMoves};
use crate::window::{Accepted, ViewState};
use corrections::{Kept, kept};
use std::collections::VecDeque;
use std::sync::Arc;

/// Which shard this is, and where its groups were before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Index of the shard.
    pub shard: u16,
    /// Shards of the store.
    pub shards: u16,
    /// The shard's own log stream.
    pub log_stream: u32,
    /// Former layouts of the store, oldest first.
    pub older: Vec<Layout>,
}

/// What a stream counts.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
)]
pub struct StreamCounters {
    /// Events that took effect.
    pub accepted: u64,
    /// Duplicates by [`DuplicateCause::index`]. Those by the sequences of producers are counted
    /// since the start, and are no part of the recorded state.
    pub duplicates: [u64; DuplicateCause::COUNT],
    /// Accepted events that took no effect when they came, because they had been taken back before.
    pub annulled: u64,
    /// Accepted events that are taken back, those included.
    pub retracted: u64,
    /// Events rejected, by [`RejectReason::index`].
    pub rejected: [u64; RejectReason::COUNT],
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Events that took effect.
    pub accepted: u32,
    /// Events rejected.
    pub rejected: u32,
    /// Events that were duplicates by fields.
    pub duplicates: u32,
    /// Sequence and reason of the first rejected one.
    pub first_reject: Option<(u64, Reject)>,
}

#[derive(Debug, Clone)]
struct StreamState {
    clock: StreamClock,
    moves: WatermarkMoves,
    keys: KeyTable,
    /// Whether a board needs ids of keys: one without seasons.
    needs_keys: bool,
    views: Vec<usize>,
    key_boards: Vec<usize>,
    foreign_boards: Vec<usize>,
    rejected: VecDeque<RejectedEvent>,
    duplicates: VecDeque<DuplicateRun>,
    repeats: VecDeque<DuplicateEvent>,
    /// What tells duplicates by fields apart, where the stream does.
    dedupe: Option<FieldDedupe>,
    /// Of the computed columns that a view or board needs.
    evaluator: Evaluator,
}

/// Vectors of one batch, kept so that a batch allocates nothing.
#[derive(Debug, Clone, Default)]
struct Scratch {
    picks: Vec<u32>,
    times_ms: Vec<i64>,
    hashes: Vec<u64>,
    members: Vec<u32>,
    /// Rows of a former schema, as they are in the one in force.
    widened: Vec<u8>,
    kept: Kept,
}

/// All state of one shard.
#[derive(Debug, Clone)]
pub struct ShardState {
    pipeline: Arc<Pipeline>,
    place: Place,
    streams: Vec<StreamState>,
    views: Vec<ViewState>,
    boards: Vec<BoardState>,
    dedupe: Dedupe,
    ledger: Ledger,
    deltas: DeltaQueue,
    counters: Vec<StreamCounters>,
    scratch: Scratch,
    last_stamp_ns: u64,
    last_lsn: u64,
}

/// How a batch reaches the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Live,
    Replay,
    /// Replay of a log stream of an older layout: only rows of groups owned here count.
    Inherited(u32),
}

impl ShardState {
    /// The empty state of the shard at `place`.
    pub fn new(pipeline: Arc<Pipeline>, place: Place) -> Self {
        assert!(
            place.shard < place.shards,
            "a shard is one of the store's shards"
        );
        let board = |index| BoardState::new(&pipeline, index, place.shard, place.shards);
        let boards: Vec<_> = (0..pipeline.boards.len()).map(board).collect();
        let own_log = place.log_stream;
        let view = |view: &View| ViewState::new(view, &pipeline.streams[view.stream], own_log);
        let views: Vec<_> = pipeline.views.iter().map(view).collect();
        let stream = |(index, stream): (usize, &Stream)| {
            let of_stream = |key: bool| {
                let boards = pipeline.boards.iter().enumerate();
                let wanted = boards
                    .filter(|(_, b)| b.stream == index && b.is_kept_by_key(stream) == key)
                    .map(|(board, _)| board);
                wanted.collect::<Vec<_>>()
            };
            let views = pipeline.views.iter().enumerate();
            StreamState {
                clock: StreamClock::new(&stream.time),
                moves: WatermarkMoves::default(),
                keys: KeyTable::of_field(&stream.schema.fields[stream.key]),
                needs_keys: {
                    let mut boards = of_stream(true).into_iter();
                    boards.any(|board| pipeline.boards[board].season.is_none())
                },
                views: views
                    .filter(|(_, v)| v.stream == index)
                    .map(|(view, _)| view)
                    .collect(),
                key_boards: of_stream(true),
                foreign_boards: of_stream(false),
                rejected: VecDeque::new(),
                duplicates: VecDeque::new(),
                repeats: VecDeque::new(),
                dedupe: stream.dedupe.as_ref().map(FieldDedupe::new),
                evaluator: evaluator(&pipeline, index),
            }
        };
        Self {
            streams: pipeline.streams.iter().enumerate().map(stream).collect(),
            views,
            boards,
            dedupe: Dedupe::default(),
            ledger: Ledger::default(),
            deltas: DeltaQueue::default(),
            counters: vec![StreamCounters::default(); pipeline.streams.len()],
            scratch: Scratch::default(),
            last_stamp_ns: 0,
            last_lsn: 0,
            pipeline,
            place,
        }
    }

    /// The pipeline that the state follows.
    pub fn pipeline(&self) -> &Arc<Pipeline> {
        &self.pipeline
    }

    /// Decides which rows of a batch are new, before it is logged. Changes nothing.
    ///
    /// # Panics
    /// If the batch is not of a stream of the pipeline.
    pub fn admit(&self, batch: &EventBatch<'_>) -> Admission {
        let stream = &self.pipeline.streams[usize::from(batch.stream)];
        let admission = self.dedupe.admit(batch, &self.place.older, |row| {
            let written = stream.written_with(batch.schema_id);
            let (schema, key) = written.unwrap_or((&stream.schema, stream.key));
            group_of(key_hash(schema.canonical_bytes(batch.row(row), key)))
        });
        match admission {
            Admission::All | Admission::Skip(_) | Admission::Keep(_)
                if !self.has_room_for_ids(batch) =>
            {
                Admission::Full
            }
            other => other,
        }
    }

    /// Applies an admitted batch; `lsn` is its entry's position in the log.
    ///
    /// # Panics
    /// If the batch is not of a stream of the pipeline with that stream's row size.
    pub fn apply(&mut self, batch: &EventBatch<'_>, lsn: u64, outcome: &mut Outcome) {
        self.apply_from(Source::Live, batch, lsn, outcome);
        self.last_lsn = lsn;
    }

    /// Replays an entry of the own log stream, or of one of an older layout; of the latter, rows of
    /// groups that other shards own now are passed over.
    ///
    /// Log streams of older layouts come first, oldest layout first; then the own one. After the
    /// last entry, [`ShardState::finish_replay`].
    pub fn replay(
        &mut self,
        log_stream: u32,
        lsn: u64,
        kind: u32,
        entry: &[u8],
    ) -> Result<(), EntryError> {
        let own = log_stream == self.place.log_stream;
        if !own
            && !self
                .place
                .older
                .iter()
                .any(|layout| layout.contains(log_stream))
        {
            return Err(EntryError::ForeignLogStream(log_stream));
        }
        match decode_entry(kind, entry)? {
            Entry::Batch(batch) => {
                let schema = self.check_stream(batch.stream, batch.schema_id)?;
                if batch.row_bytes() != schema.row_len() {
                    return Err(EntryError::BadRowBytes(batch.row_bytes()));
                }
                let source = if own {
                    Source::Replay
                } else {
                    Source::Inherited(log_stream)
                };
                self.apply_from(source, &batch, lsn, &mut Outcome::default());
            }
            Entry::Watermark(entry) => {
                let stream = usize::from(entry.stream);
                if stream >= self.streams.len() {
                    return Err(EntryError::UnknownStream(entry.stream));
                }
                self.last_stamp_ns = self.last_stamp_ns.max(entry.stamp_ns);
                self.move_watermark(stream, log_stream, entry.watermark_ms, true);
            }
            Entry::Correction(entry) => {
                let source = if own {
                    Source::Replay
                } else {
                    Source::Inherited(log_stream)
                };
                self.correct_from(source, &entry, lsn)?;
            }
            Entry::Schema(entry) => {
                self.check_stream(entry.stream, entry.schema_id)?;
            }
            Entry::Session(session) => {
                let producer = ProducerId(session.producer);
                self.last_stamp_ns = self.last_stamp_ns.max(session.stamp_ns);
                if own {
                    self.begin_epoch(producer, session.epoch);
                } else {
                    self.dedupe.inherit(
                        log_stream,
                        producer,
                        session.epoch,
                        0,
                        &Outcome::default(),
                    );
                }
            }
        }
        self.last_lsn = if own { lsn } else { self.last_lsn };
        Ok(())
    }

    /// The schema that rows of a stream were written with.
    fn check_stream(&self, stream: u16, schema_id: u32) -> Result<&Schema, EntryError> {
        let Some(known) = self.pipeline.streams.get(usize::from(stream)) else {
            return Err(EntryError::UnknownStream(stream));
        };
        let mismatch = EntryError::SchemaMismatch {
            stream,
            found: schema_id,
            expected: known.schema.id,
        };
        let written = known.written_with(schema_id).ok_or(mismatch)?;
        Ok(written.0)
    }

    /// Begins a new epoch of a producer: the effect of a `ProducerSession` entry.
    pub fn begin_epoch(&mut self, producer: ProducerId, epoch: u32) {
        self.dedupe.begin_epoch(producer, epoch);
    }

    fn apply_from(
        &mut self,
        source: Source,
        batch: &EventBatch<'_>,
        lsn: u64,
        outcome: &mut Outcome,
    ) {
        if batch.schema_id == self.pipeline.streams[usize::from(batch.stream)].schema.id {
            self.apply_rows(source, batch, None, lsn, outcome);
        } else {
            self.apply_former(source, batch, lsn, outcome);
        }
    }

    /// Applies rows of the schema in force; `came` are they before they were widened to it.
    fn apply_rows(
        &mut self,
        source: Source,
        batch: &EventBatch<'_>,
        came: Option<&EventBatch<'_>>,
        lsn: u64,
        outcome: &mut Outcome,
    ) {
        let index = usize::from(batch.stream);
        self.last_stamp_ns = self.last_stamp_ns.max(batch.stamp_ns);
        let origin = Origin {
            stamp_ns: batch.stamp_ns,
            log_stream: match source {
                Source::Inherited(log_stream) => log_stream,
                Source::Live | Source::Replay => self.place.log_stream,
            },
            lsn,
        };
        let clock_move = self.move_watermark(index, origin.log_stream, batch.watermark_ms, false);
        *outcome = Outcome::default();
        self.check_rows(source, batch, came, origin, outcome);
        self.drop_repeats(source, batch, origin, outcome);
        match source {
            Source::Inherited(log_stream) => {
                let (id, epoch, last) = (batch.producer, batch.epoch, batch.last_sequence());
                self.dedupe.inherit(log_stream, id, epoch, last, outcome);
            }
            Source::Live | Source::Replay => self.dedupe.applied(batch, outcome),
        }
        if outcome.accepted == 0 {
            return;
        }
        let latest = self.scratch.times_ms.iter().max().copied();
        self.streams[index]
            .clock
            .observe(latest.expect("invariant: rows were accepted"));
        self.counters[index].accepted += u64::from(outcome.accepted);
        let annuls = self.ledger.waits();
        if annuls {
            self.annul(batch, origin);
        }
        self.find_keys(batch);
        self.prefetch_boards(index);
        let schema = &self.pipeline.streams[index].schema;
        self.streams[index].evaluator.evaluate(schema, batch.rows);
        let stream = &self.streams[index];
        let evaluated = stream.evaluator.evaluated();
        let accepted = accepted(&self.scratch, batch, evaluated, origin, clock_move);
        let kept = if annuls {
            kept(&self.scratch, accepted)
        } else {
            accepted
        };
        for &view in &stream.views {
            let exact = self.pipeline.views[view].retract == Retract::Exact;
            self.views[view].apply(schema, if exact { &kept } else { &accepted });
        }
        self.apply_boards(source, batch, origin, annuls);
    }

    /// The watermark in effect for a stream, ms: the highest recorded one, `i64::MIN` if none.
    pub fn watermark_ms(&self, stream: usize) -> i64 {
        self.streams[stream].clock.in_effect_ms()
    }

    /// What this shard proposes as the stream's next watermark, ms: its greatest accepted event
    /// time less the disorder, never less than what is in effect; `i64::MIN` if none. It takes
    /// effect when it is recorded with a later batch or a watermark entry.
    pub fn next_watermark_ms(&self, stream: usize) -> i64 {
        self.streams[stream].clock.proposed_ms()
    }

    /// The effect of a watermark that the clock moved, recorded in the own log.
    pub fn advance(&mut self, stream: usize, watermark_ms: i64) {
        self.move_watermark(stream, self.place.log_stream, watermark_ms, true);
    }

    /// The effect of a recorded watermark. Returns the last move by the clock in its log stream.
    fn move_watermark(
        &mut self,
        stream: usize,
        log_stream: u32,
        watermark_ms: i64,
        by_clock: bool,
    ) -> ClockMove {
        let mut older = self.place.older.iter();
        let layout = older
            .position(|layout| layout.contains(log_stream))
            .unwrap_or(self.place.older.len());
        let state = &mut self.streams[stream];
        let in_effect_ms = state.clock.in_effect_ms();
        let clock_move = state
            .moves
            .note(layout, log_stream, in_effect_ms, watermark_ms, by_clock);
        if state.clock.record(watermark_ms) {
            for &view in &state.views {
                self.views[view].advance(watermark_ms);
            }
            for &board in state.key_boards.iter().chain(&state.foreign_boards) {
                self.boards[board].advance(watermark_ms);
            }
        }
        clock_move
    }

    /// The latest stamp of any entry, ns. Stamps must go on above it, also after a restart.
    pub fn last_stamp_ns(&self) -> u64 {
        self.last_stamp_ns
    }

    /// What the shard knows of a producer.
    pub fn producer(&self, id: ProducerId) -> Option<ProducerView> {
        self.dedupe.view(id)
    }
}

fn accepted<'a>(
    scratch: &'a Scratch,
    batch: &EventBatch<'a>,
    computed: &'a Evaluated,
    origin: Origin,
    clock_move: ClockMove,
) -> Accepted<'a> {
    Accepted {
        rows: batch.rows,
        picks: &scratch.picks,
        times_ms: &scratch.times_ms,
        members: &scratch.members,
        computed,
        watermark_ms: batch.watermark_ms,
        origin,
        clock_move,
    }
}

/// Evaluates what the views and boards of a stream read and no row holds.
fn evaluator(pipeline: &Pipeline, index: usize) -> Evaluator {
    let stream = &pipeline.streams[index];
    let computed: Vec<&Expression> = stream.computed.iter().map(|c| &c.expression).collect();
    Evaluator::new(
        &stream.schema,
        &computed,
        &pipeline.evaluated_columns(index),
    )
}
