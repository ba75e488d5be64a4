//! A store in miniature: producers that retry, a router, shards with their logs, replay and changes
//! of the number of shards. It asserts at every batch that exactly the new events are admitted.

use super::corrections::Corrections;
use super::generate::random_event;
use super::random::Random;
use ringmill_shard::dedupe::{Admission, Layout};
use ringmill_shard::delta::Delta;
use ringmill_shard::entry::{
    EventBatch, KIND_EVENT_BATCH, KIND_PRODUCER_SESSION, KIND_WATERMARK, ProducerId,
    ProducerSession, WatermarkEntry,
};
use ringmill_shard::oracle::Event;
use ringmill_shard::oracle::{Corrected, Recorded};
use ringmill_shard::partition::{group_of, key_hash, shard_of};
use ringmill_shard::pipeline::Pipeline;
use ringmill_shard::rank::Tie;
use ringmill_shard::state::{Outcome, Place, ShardState};
use std::collections::HashSet;
use std::sync::Arc;

/// Entries of one log stream: position, kind, bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(pub(crate) Vec<(u64, u32, Vec<u8>)>);

#[derive(Debug, Default)]
pub(crate) struct Producer {
    pub(crate) epoch: u32,
    /// What was sent in this epoch; sequence 1 comes first.
    pub(crate) sent: Vec<(usize, Event)>,
}

pub(crate) struct World {
    pub(crate) note: String,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) shards: Vec<ShardState>,
    pub(crate) logs: Vec<Log>,
    pub(crate) old_logs: Vec<(Layout, Vec<Log>)>,
    pub(crate) layout: Layout,
    pub(crate) producers: Vec<Producer>,
    pub(crate) recorded: Vec<Recorded>,
    pub(crate) seen: HashSet<(usize, u32, u64)>,
    pub(crate) watermarks_ms: Vec<i64>,
    pub(crate) clock_ms: i64,
    pub(crate) stamp_ns: u64,
    pub(crate) random: Random,
    pub(crate) keys: u64,
    pub(crate) duplicates: u64,
    pub(crate) corrections: Corrections,
}

pub(crate) const START_MS: i64 = 1_700_000_000_000;

impl World {
    pub(crate) fn new(note: &str, pipeline: Pipeline, shards: usize, seed: u64) -> Self {
        let pipeline = Arc::new(pipeline);
        let layout = Layout {
            first_log_stream: 0,
            streams: shards as u32,
        };
        Self {
            note: format!("{note} seed {seed} shards {shards}"),
            shards: states(&pipeline, layout, &[]),
            logs: vec![Log::default(); shards],
            old_logs: Vec::new(),
            layout,
            producers: (0..4)
                .map(|_| Producer {
                    epoch: 1,
                    sent: Vec::new(),
                })
                .collect(),
            recorded: Vec::new(),
            seen: HashSet::new(),
            watermarks_ms: vec![i64::MIN; pipeline.streams.len()],
            clock_ms: START_MS,
            stamp_ns: 0,
            random: Random(seed),
            keys: 24,
            duplicates: 0,
            corrections: Corrections::default(),
            pipeline,
        }
    }

    fn older(&self) -> Vec<Layout> {
        self.old_logs.iter().map(|(layout, _)| *layout).collect()
    }

    /// A random time of an event around the clock.
    fn event_time_ms(&mut self) -> i64 {
        let now = self.clock_ms;
        match self.random.below(100) {
            0..=2 => now - self.random.below(100_000) as i64,
            3..=4 => now + self.random.below(30_000) as i64,
            5 => -(self.random.below(1_000_000) as i64),
            6..=30 => now - self.random.below(400) as i64,
            _ => now - self.random.below(20) as i64,
        }
    }

    /// One random step of some producer.
    pub(crate) fn step(&mut self) {
        self.clock_ms += self.random.below(60) as i64;
        let producer = self.random.below(self.producers.len() as u64) as usize;
        match self.random.below(100) {
            0 => self.begin_epoch(producer),
            1..=3 => self.idle(),
            4..=6 => self.exchange(),
            10..=14 => self.correct(),
            7..=9 => self.stale_epoch(producer),
            _ => self.produce(producer),
        }
    }

    /// Sends new events, a retry, or an overlap of both; sometimes a crash lets only some shards
    /// have it, and the producer sends it again.
    fn produce(&mut self, producer: usize) {
        let known = self.producers[producer].sent.len();
        let mut first = known;
        if known > 0 && self.random.chance(35) {
            first = known - 1 - self.random.below(known.min(200) as u64) as usize;
        }
        if first == known || self.random.chance(50) {
            let stream = self.random.below(self.pipeline.streams.len() as u64) as usize;
            for _ in 0..1 + self.random.below(25) {
                let time_ms = self.event_time_ms();
                let pipeline = Arc::clone(&self.pipeline);
                let stream_of = &pipeline.streams[stream];
                let repeated = self.repeated(stream);
                let event = repeated.unwrap_or_else(|| {
                    random_event(&mut self.random, stream_of, time_ms, self.keys)
                });
                self.producers[producer].sent.push((stream, event));
            }
        }
        let end = self.producers[producer].sent.len();
        if self.random.chance(10) {
            let lucky = self.random.next();
            self.send_run(producer, first, end, |shard| lucky >> (shard % 64) & 1 == 1);
        }
        self.send_run(producer, first, end, |_| true);
    }

    /// Sends sequences `first + 1 ..= end`, one frame per run of the same stream.
    pub(crate) fn send_run(
        &mut self,
        producer: usize,
        first: usize,
        end: usize,
        reaches: impl Fn(usize) -> bool,
    ) {
        let mut at = first;
        while at < end {
            let sent = &self.producers[producer].sent;
            let stream = sent[at].0;
            let run = sent[at..end]
                .iter()
                .take_while(|(of, _)| *of == stream)
                .count();
            let run = run.min(1 + self.random.below(40) as usize);
            self.send(producer, at, at + run, &reaches);
            at += run;
        }
    }

    /// Sends one frame: routes rows to shards, and lets each that is reached record it.
    fn send(&mut self, producer: usize, first: usize, end: usize, reaches: impl Fn(usize) -> bool) {
        let stream = self.producers[producer].sent[first].0;
        let schema = &self.pipeline.streams[stream].schema;
        let key = self.pipeline.streams[stream].key;
        let mut routed = vec![Vec::new(); self.shards.len()];
        for index in first..end {
            let row = &self.producers[producer].sent[index].1.row;
            let group = group_of(key_hash(schema.canonical_bytes(row, key)));
            routed[shard_of(group, self.shards.len())].push(index);
        }
        self.stamp_ns = (self.stamp_ns + 1).max(self.clock_ms as u64 * 1_000_000);
        for (shard, indexes) in routed.into_iter().enumerate() {
            if !indexes.is_empty() && reaches(shard) {
                self.record(producer, stream, shard, &indexes);
            }
        }
        // The watermark that the cores agree on, not always at once.
        if self.random.chance(70) {
            let next = self
                .shards
                .iter()
                .map(|shard| shard.next_watermark_ms(stream))
                .max();
            let next = next.expect("there is a shard");
            self.watermarks_ms[stream] = self.watermarks_ms[stream].max(next);
        }
    }

    /// Calls `with` with the batch of these events.
    pub(crate) fn batch<T>(
        &self,
        producer: usize,
        stream: usize,
        indexes: &[usize],
        with: impl FnOnce(&EventBatch<'_>) -> T,
    ) -> T {
        let first = indexes[0];
        let contiguous = indexes[indexes.len() - 1] - first + 1 == indexes.len();
        let offsets: Vec<u8> = indexes
            .iter()
            .flat_map(|index| ((index - first) as u32).to_le_bytes())
            .collect();
        let sent = &self.producers[producer].sent;
        let rows: Vec<u8> = indexes
            .iter()
            .flat_map(|&index| sent[index].1.row.clone())
            .collect();
        with(&EventBatch {
            producer: producer_id(producer),
            epoch: self.producers[producer].epoch,
            stream: stream as u16,
            schema_id: self.pipeline.streams[stream].schema.id,
            first_sequence: first as u64 + 1,
            count: indexes.len() as u32,
            stamp_ns: self.stamp_ns,
            watermark_ms: self.watermarks_ms[stream],
            offsets: (!contiguous).then_some(&offsets),
            rows: &rows,
        })
    }

    /// Dedupe, log and apply on one shard.
    fn record(&mut self, producer: usize, stream: usize, shard: usize, indexes: &[usize]) {
        let epoch = self.producers[producer].epoch;
        let expected: Vec<usize> = indexes
            .iter()
            .copied()
            .filter(|&index| !self.seen.contains(&(producer, epoch, index as u64 + 1)))
            .collect();
        let admission = self.batch(producer, stream, indexes, |batch| {
            self.shards[shard].admit(batch)
        });
        let new = match admission {
            Admission::All => indexes.to_vec(),
            Admission::Skip(rows) => {
                assert!(rows > 0 && rows < indexes.len(), "{}", self.note);
                indexes[rows..].to_vec()
            }
            Admission::Duplicate => Vec::new(),
            Admission::Keep(rows) => rows.into_iter().map(|row| indexes[row as usize]).collect(),
            Admission::Fenced { epoch } => panic!("{}: fenced by epoch {epoch}", self.note),
            Admission::Full => panic!("{}: so few ids fill no memory", self.note),
        };
        assert_eq!(
            new, expected,
            "{}: exactly the new events are admitted",
            self.note
        );
        let duplicates = (indexes.len() - new.len()) as u32;
        self.count_duplicates(producer, stream, shard, indexes, duplicates);
        if new.is_empty() {
            return;
        }
        let bytes = self.batch(producer, stream, &new, |batch| {
            let mut bytes = Vec::new();
            batch.encode(&mut bytes);
            assert_eq!(bytes.len(), batch.encoded_bytes());
            bytes
        });
        let lsn = self.logs[shard].0.len() as u64 + 1;
        let mut outcome = Outcome::default();
        let batch = EventBatch::decode(&bytes).unwrap();
        self.shards[shard].apply(&batch, lsn, &mut outcome);
        let judged = outcome.accepted + outcome.rejected + outcome.duplicates;
        assert_eq!(judged, new.len() as u32, "{}", self.note);
        let log_stream = self.layout.first_log_stream + shard as u32;
        let idle = self.clock_run(shard, stream);
        let max_future_ms = self.pipeline.streams[stream].time.max_future_ms;
        for (index, &sent) in new.iter().enumerate() {
            self.seen.insert((producer, epoch, sent as u64 + 1));
            let stamp_ns = self.stamp_ns;
            self.recorded.push(Recorded {
                stream,
                event: self.producers[producer].sent[sent].1.clone(),
                tie: Tie {
                    stamp_ns,
                    log_stream,
                    index: index as u32,
                },
                lsn,
                watermark_ms: batch.watermark_ms,
                idle,
                future_limit_ms: (stamp_ns / 1_000_000) as i64 + max_future_ms,
                corrected: Corrected::default(),
            });
            self.note_arrival(producer, epoch, sent as u64 + 1);
        }
        self.logs[shard].0.push((lsn, KIND_EVENT_BATCH, bytes));
    }

    /// A new session of a producer: its sequences begin again.
    fn begin_epoch(&mut self, producer: usize) {
        let Producer { epoch, sent } = &mut self.producers[producer];
        *epoch += 1;
        sent.clear();
        let session = ProducerSession {
            producer: producer_id(producer).0,
            epoch: *epoch,
            stamp_ns: self.stamp_ns,
            name: format!("producer-{producer}"),
        };
        for (shard, log) in self.shards.iter_mut().zip(&mut self.logs) {
            shard.begin_epoch(ProducerId(session.producer), session.epoch);
            let lsn = log.0.len() as u64 + 1;
            log.0
                .push((lsn, KIND_PRODUCER_SESSION, session.to_bytes().to_vec()));
        }
    }

    /// A sender that missed the new session is fenced everywhere.
    fn stale_epoch(&mut self, producer: usize) {
        let Producer { epoch, sent } = &self.producers[producer];
        let (epoch, stream) = (*epoch, sent.first().map(|(stream, _)| *stream));
        let Some(stream) = stream.filter(|_| epoch > 1) else {
            return;
        };
        let admissions = self.batch(producer, stream, &[0], |batch| {
            let stale = EventBatch {
                epoch: epoch - 1,
                ..*batch
            };
            self.shards
                .iter()
                .map(|shard| shard.admit(&stale))
                .collect::<Vec<_>>()
        });
        for admission in admissions {
            assert_eq!(admission, Admission::Fenced { epoch }, "{}", self.note);
        }
    }

    /// Inputs are idle: a watermark is recorded on its own.
    fn idle(&mut self) {
        let stream = self.random.below(self.pipeline.streams.len() as u64) as usize;
        let ahead = self.clock_ms - self.random.below(500) as i64;
        self.watermarks_ms[stream] = self.watermarks_ms[stream].max(ahead);
        self.log_watermark(stream);
    }

    fn log_watermark(&mut self, stream: usize) {
        let watermark_ms = self.watermarks_ms[stream];
        let entry = WatermarkEntry {
            stream: stream as u16,
            watermark_ms,
            stamp_ns: self.stamp_ns,
        };
        for (shard, log) in self.shards.iter_mut().zip(&mut self.logs) {
            shard.advance(stream, watermark_ms);
            let lsn = log.0.len() as u64 + 1;
            log.0.push((lsn, KIND_WATERMARK, entry.to_bytes().to_vec()));
        }
    }

    /// Delivers all deltas, as bytes.
    pub(crate) fn exchange(&mut self) {
        exchange(&mut self.shards);
    }

    /// Brings all shards to the same watermark and delivers what is under way.
    pub(crate) fn settle(&mut self) {
        for stream in 0..self.watermarks_ms.len() {
            self.log_watermark(stream);
        }
        self.exchange();
    }

    /// The states that replay of all logs gives.
    pub(crate) fn replayed(&self) -> Vec<ShardState> {
        let mut shards = states(&self.pipeline, self.layout, &self.older());
        for shard in &mut shards {
            replay_old(shard, &self.old_logs, &mut Random(self.random.0));
        }
        for (index, (shard, log)) in shards.iter_mut().zip(&self.logs).enumerate() {
            let log_stream = self.layout.first_log_stream + index as u32;
            for (lsn, kind, bytes) in &log.0 {
                shard.replay(log_stream, *lsn, *kind, bytes).unwrap();
            }
            shard.finish_replay();
        }
        exchange(&mut shards);
        shards
    }

    /// Opens the store with another number of shards.
    pub(crate) fn change_shards(&mut self, shards: usize) {
        let logs = std::mem::replace(&mut self.logs, vec![Log::default(); shards]);
        self.old_logs.push((self.layout, logs));
        let first_log_stream = self.layout.first_log_stream + self.layout.streams;
        self.layout = Layout {
            first_log_stream,
            streams: shards as u32,
        };
        self.shards = self.replayed();
        self.note = format!("{}, then {shards}", self.note);
    }
}

pub(crate) fn producer_id(producer: usize) -> ProducerId {
    ProducerId::of_name(&format!("producer-{producer}"))
}

fn states(pipeline: &Arc<Pipeline>, layout: Layout, older: &[Layout]) -> Vec<ShardState> {
    let state = |shard: u32| {
        let place = Place {
            shard: shard as u16,
            shards: layout.streams as u16,
            log_stream: layout.first_log_stream + shard,
            older: older.to_vec(),
        };
        ShardState::new(Arc::clone(pipeline), place)
    };
    (0..layout.streams).map(state).collect()
}

/// Replays the logs of older layouts, those of one layout interleaved at random.
fn replay_old(shard: &mut ShardState, old: &[(Layout, Vec<Log>)], random: &mut Random) {
    for (layout, logs) in old {
        let mut next = vec![0; logs.len()];
        while next.iter().zip(logs).any(|(&at, log)| at < log.0.len()) {
            let index = random.below(logs.len() as u64) as usize;
            if let Some((lsn, kind, bytes)) = logs[index].0.get(next[index]) {
                let log_stream = layout.first_log_stream + index as u32;
                shard.replay(log_stream, *lsn, *kind, bytes).unwrap();
                next[index] += 1;
            }
        }
    }
}

fn exchange(shards: &mut [ShardState]) {
    for source in 0..shards.len() {
        while let Some((delta, bytes)) = shards[source].deltas().first_durable(u64::MAX) {
            let (owner, bytes) = (usize::from(delta.owner), bytes.to_vec());
            let (delta, taken) = Delta::decode(&bytes).unwrap();
            assert!(taken == bytes.len());
            assert!(shards[owner].apply_delta(&delta));
            shards[source].deltas().pop();
        }
    }
}
