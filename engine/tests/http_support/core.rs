//! What the cores would do, without sockets and log.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use ringmill_engine::control::ShutdownHandle;
use ringmill_engine::mesh::Ports;
use ringmill_engine::message::{
    AckReply, AckStatus, AnswerHeader, OwnerTimes, ProducerAsk, ProducerTell, SubBatchHeader,
    read_query, reply, request,
};
use ringmill_shard::dedupe::Admission;
use ringmill_shard::delta::Delta;
use ringmill_shard::entry::{EventBatch, ProducerId};
use ringmill_shard::pipeline::Pipeline;
use ringmill_shard::query::Query;
use ringmill_shard::state::{Outcome, Place, ShardState};

/// How the cores answer; tests turn these knobs.
pub(crate) struct Behaviour {
    pub(crate) stop: AtomicBool,
    /// Goes on although it was told to stop, as cores do that have something left.
    pub(crate) ignore_stop: AtomicBool,
    /// Shards below the number answer; the others keep silent.
    pub(crate) answering: AtomicUsize,
    /// Status that `refusing` answers sub-batches with; 0 for none.
    pub(crate) refusal: AtomicU8,
    /// The shard that refuses.
    pub(crate) refusing: AtomicUsize,
    /// Sub-batches seen.
    pub(crate) sub_batches: AtomicUsize,
    /// Most bytes of one piece of an answer.
    pub(crate) piece_bytes: AtomicUsize,
    stopped: Mutex<Option<ShutdownHandle>>,
}

impl Behaviour {
    pub(crate) fn new(shards: usize) -> Behaviour {
        Behaviour {
            stop: AtomicBool::new(false),
            ignore_stop: AtomicBool::new(false),
            answering: AtomicUsize::new(shards),
            refusal: AtomicU8::new(0),
            refusing: AtomicUsize::new(0),
            sub_batches: AtomicUsize::new(0),
            piece_bytes: AtomicUsize::new(200),
            stopped: Mutex::new(None),
        }
    }

    pub(crate) fn mark_stopped_with(&self, shutdown: ShutdownHandle) {
        *self.stopped.lock().unwrap() = Some(shutdown);
    }
}

struct Core {
    ports: Ports,
    state: ShardState,
    lsn: u64,
    answers: VecDeque<(u64, Vec<u8>, usize)>,
}

pub(crate) fn spawn(
    ports: Vec<Ports>,
    pipeline: Arc<Pipeline>,
    behaviour: Arc<Behaviour>,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let shards = ports.len() as u16;
        let core = |(shard, ports): (usize, Ports)| Core {
            ports,
            state: ShardState::new(
                Arc::clone(&pipeline),
                Place {
                    shard: shard as u16,
                    shards,
                    log_stream: shard as u32,
                    older: Vec::new(),
                },
            ),
            lsn: 0,
            answers: VecDeque::new(),
        };
        let mut cores: Vec<Core> = ports.into_iter().enumerate().map(core).collect();
        let stops = || {
            let ignored = behaviour.ignore_stop.load(Ordering::Relaxed);
            behaviour.stop.load(Ordering::Relaxed) && !ignored
        };
        while !stops() {
            let answering = behaviour.answering.load(Ordering::Relaxed);
            for core in &mut cores[..answering] {
                core.turn(&behaviour, &pipeline);
            }
            share(&mut cores, &pipeline);
            std::thread::sleep(Duration::from_micros(100));
        }
        if let Some(shutdown) = behaviour.stopped.lock().unwrap().take() {
            shutdown.mark_stopped();
        }
    })
}

/// Deltas to their owners, and one watermark for all: the least that the shards' events allow.
fn share(cores: &mut [Core], pipeline: &Pipeline) {
    for from in 0..cores.len() {
        while let Some((delta, bytes)) = cores[from].state.deltas().first_durable(u64::MAX) {
            let (owner, bytes) = (usize::from(delta.owner), bytes.to_vec());
            let (delta, _) = Delta::decode(&bytes).unwrap();
            cores[owner].state.apply_delta(&delta);
            cores[from].state.deltas().pop();
        }
    }
    for stream in 0..pipeline.streams.len() {
        let next = cores
            .iter()
            .map(|core| core.state.next_watermark_ms(stream))
            .min()
            .unwrap();
        for core in &mut *cores {
            if next > core.state.watermark_ms(stream) {
                core.state.advance(stream, next);
            }
        }
    }
}

impl Core {
    fn turn(&mut self, behaviour: &Behaviour, pipeline: &Pipeline) {
        let control = self.ports.control();
        let mut lane = self.ports.requests_in[control].take().unwrap();
        while let Some(record) = lane.peek() {
            let (kind, body) = (record.kind, record.body.to_vec());
            lane.advance();
            match kind {
                request::SUB_BATCH => {
                    behaviour.sub_batches.fetch_add(1, Ordering::Relaxed);
                    let ack = self.sub_batch(&body, behaviour, pipeline);
                    let mut bytes = [0; AckReply::BYTES];
                    ack.write(&mut bytes);
                    self.ports.reply(control, reply::ACK, &bytes);
                }
                request::PRODUCER_ASK => {
                    let mut bytes = [0; ProducerTell::BYTES];
                    let (ask, name) = ProducerAsk::read(&body);
                    assert_eq!(ProducerId::of_name(name).0, ask.producer);
                    self.look_up(&ask).write(&mut bytes);
                    self.ports.reply(control, reply::PRODUCER_TELL, &bytes);
                }
                request::QUERY => {
                    let (ticket, query) = read_query(&body);
                    let query = Query::from_bytes(query).unwrap();
                    self.answers.push_back((
                        ticket,
                        self.state.query(&query).to_bytes().to_vec(),
                        0,
                    ));
                }
                kind => panic!("request {kind}"),
            }
        }
        lane.release();
        self.ports.requests_in[control] = Some(lane);
        self.hand_over(control, behaviour.piece_bytes.load(Ordering::Relaxed));
        self.ports.publish_all();
    }

    fn hand_over(&mut self, control: usize, piece_bytes: usize) {
        let lane = self.ports.requests_out[control].as_mut().unwrap();
        while let Some((ticket, bytes, sent)) = self.answers.front_mut() {
            let end = bytes.len().min(*sent + piece_bytes);
            let piece = &bytes[*sent..end];
            let Some(body) = lane.reserve(request::ANSWER, AnswerHeader::BYTES + piece.len())
            else {
                return;
            };
            let last = end == bytes.len();
            AnswerHeader {
                ticket: *ticket,
                last,
            }
            .write(body);
            body[AnswerHeader::BYTES..].copy_from_slice(piece);
            lane.commit();
            *sent = end;
            if last {
                self.answers.pop_front();
            }
        }
    }

    fn look_up(&mut self, ask: &ProducerAsk) -> ProducerTell {
        let producer = ProducerId(ask.producer);
        if ask.epoch > self.state.producer(producer).map_or(0, |view| view.epoch) {
            self.state.begin_epoch(producer, ask.epoch);
        }
        let view = self.state.producer(producer);
        ProducerTell {
            ticket: ask.ticket,
            last_sequence: view.as_ref().map_or(0, |view| view.last_sequence),
            complete_through: view.as_ref().map_or(0, |view| view.last_sequence),
            epoch: view.as_ref().map_or(0, |view| view.epoch),
        }
    }

    fn sub_batch(&mut self, body: &[u8], behaviour: &Behaviour, pipeline: &Pipeline) -> AckReply {
        let (header, offsets, rows) = SubBatchHeader::read(body);
        let mut ack = AckReply {
            ticket: header.ticket,
            accepted: 0,
            rejected: 0,
            reject_sequence: 0,
            reject_reason: 0,
            reject_field: 255,
            status: AckStatus::Ok,
            level: pipeline.streams[usize::from(header.stream)]
                .durability
                .level()
                .code(),
            duplicates: 0,
            spent: OwnerTimes::default(),
        };
        let refusal = behaviour.refusal.load(Ordering::Relaxed);
        if refusal != 0 && behaviour.refusing.load(Ordering::Relaxed) == self.ports.me {
            ack.status = match refusal {
                1 => AckStatus::Unknown,
                2 => AckStatus::DiskFull,
                3 => AckStatus::Fenced,
                _ => AckStatus::ShuttingDown,
            };
            return ack;
        }
        let stamp = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let batch = EventBatch {
            producer: ProducerId(header.producer),
            epoch: header.epoch,
            stream: header.stream,
            schema_id: header.schema_id,
            first_sequence: header.first_sequence,
            count: header.count,
            stamp_ns: stamp.as_nanos() as u64,
            watermark_ms: self.state.watermark_ms(usize::from(header.stream)),
            offsets,
            rows,
        };
        batch.check().unwrap();
        match self.state.admit(&batch) {
            Admission::All => self.apply(&batch, &mut ack),
            Admission::Skip(known) => {
                ack.duplicates = known as u32;
                let row_len = rows.len() / header.count as usize;
                let offsets: Vec<u8> = (known..header.count as usize)
                    .flat_map(|row| {
                        ((batch.sequence(row) - batch.first_sequence) as u32).to_le_bytes()
                    })
                    .collect();
                let rest = EventBatch {
                    count: header.count - known as u32,
                    offsets: Some(&offsets),
                    rows: &rows[known * row_len..],
                    ..batch
                };
                self.apply(&rest, &mut ack);
            }
            Admission::Duplicate => ack.duplicates = batch.count,
            Admission::Keep(_) => panic!("a store of its own shards inherits nothing"),
            Admission::Fenced { .. } => ack.status = AckStatus::Fenced,
            Admission::Full => ack.status = AckStatus::IdsFull,
        }
        if ack.duplicates > 0 {
            self.state.count_duplicates(&batch, ack.duplicates);
        }
        ack
    }

    fn apply(&mut self, batch: &EventBatch<'_>, ack: &mut AckReply) {
        self.lsn += 1;
        let mut outcome = Outcome::default();
        self.state.apply(batch, self.lsn, &mut outcome);
        ack.accepted = outcome.accepted + ack.duplicates;
        ack.rejected = outcome.rejected;
        if let Some((sequence, reject)) = outcome.first_reject {
            ack.reject_sequence = sequence;
            ack.reject_reason = reject.reason.code();
            ack.reject_field = reject.field;
        }
    }
}
