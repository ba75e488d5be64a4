//! The record ring beside other queues, and what it costs an event to cross to another core.
//!
//! * `stream`: rows of 64 bytes (56 and the header in ours), both sides flat out. `chunk64` hands
//!   over 64 rows with one store, `single` each row by itself, as the crossbeam queues always do.
//! * `hop`: two threads throw one row to and fro; half a round trip.
//! * `crossing`: CPU time of both sides together per 64-byte event, in records of 50 rows, against
//!   copying and reading the same rows in place. `alternating` counts work alone: the sides take
//!   turns, so every line is in the other core's cache and nobody is charged for waiting.
//!   `flat_out` charges waiting too, as a spinning core does. `one_thread` leaves out the caches.

use std::hint::spin_loop;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam::channel;
use crossbeam::queue::ArrayQueue;
use ringmill_benches::{Bench, Better, Sample, Setup, mix, thread_cpu};
use ringmill_engine::ring::{Consumer, Producer, ring};

/// Slots of every queue: 256 KiB.
const SLOTS: usize = 4096;
const CHUNK: usize = 64;
/// A client's batch.
const ROWS: usize = 50;
const ROW_BYTES: usize = 64;
const RECORD_BYTES: usize = ROWS * ROW_BYTES;
/// Records that stand in the ring at once when the sides take turns: most of it.
const RECORDS_PER_TURN: usize = 64;

type Row = [u64; 8];

fn main() {
    let mut bench = Bench::start("ring");
    if !bench.setup().has_cpus(2) {
        println!("note: one CPU only, so both sides share it and no figure shows a crossing");
    }
    stream(&mut bench);
    hop(&mut bench);
    crossing(&mut bench);
    bench.finish();
}

/// Spins, but lets the other side run if it has to share the CPU.
fn until<T>(mut ready: impl FnMut() -> Option<T>) -> T {
    for tries in 1_u64.. {
        if let Some(value) = ready() {
            return value;
        }
        spin_loop();
        if tries.is_multiple_of(4096) {
            thread::yield_now();
        }
    }
    unreachable!("the count of tries does not end")
}

#[inline]
fn row(i: usize) -> Row {
    let i = i as u64;
    [i, i ^ 1, i ^ 2, i ^ 3, i ^ 4, i ^ 5, i ^ 6, 0]
}

/// Reads a whole row, as whoever applies it would.
#[inline]
fn digest(row: &Row) -> u64 {
    row.iter()
        .fold(0, |sum: u64, word| sum.wrapping_mul(31).wrapping_add(*word))
}

#[inline]
fn put_row(ring: &mut Producer, row: &Row) -> bool {
    let Some(body) = ring.reserve(1, 56) else {
        return false;
    };
    for (bytes, word) in body.chunks_exact_mut(8).zip(row) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ring.commit();
    true
}

#[inline]
fn take_row(ring: &mut Consumer) -> Option<Row> {
    let body = ring.peek()?.body;
    let mut row = [0; 8];
    for (word, bytes) in row.iter_mut().zip(body.chunks_exact(8)) {
        *word = u64::from_le_bytes(bytes.try_into().expect("8 bytes"));
    }
    ring.advance();
    Some(row)
}

/// Runs both sides on CPUs of their own; the time is the reading side's, from a common start.
fn race(
    setup: Setup,
    rows: usize,
    send: impl FnOnce() + Send,
    receive: impl FnOnce() -> u64 + Send,
) -> Sample {
    let start = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            setup.pin(1);
            start.wait();
            send();
        });
        let reader = scope.spawn(|| {
            setup.pin(0);
            start.wait();
            Sample::millions_per_s(rows, receive)
        });
        reader.join().expect("the reading side ends")
    })
}

fn stream(bench: &mut Bench) {
    let (setup, rows) = (bench.setup(), bench.size(20_000_000, 20_000));
    let mut group = bench.group("stream", "Mrows/s", Better::Higher);
    group.same_results();
    group.baseline("rtrb_chunk64", || rtrb_chunks(setup, rows));
    group.row("rtrb_single", || rtrb_single(setup, rows));
    group.row("ours_chunk64", || ours_stream(setup, rows, CHUNK));
    group.row("ours_single", || ours_stream(setup, rows, 1));
    group.row("array_queue", || array_queue(setup, rows));
    group.row("channel", || channel_stream(setup, rows));
    group.run();
}

fn ours_stream(setup: Setup, rows: usize, chunk: usize) -> Sample {
    let (mut producer, mut consumer) = ring(SLOTS);
    let send = move || {
        for i in 0..rows {
            let row = row(i);
            if !put_row(&mut producer, &row) {
                producer.publish();
                until(|| put_row(&mut producer, &row).then_some(()));
            }
            if (i + 1).is_multiple_of(chunk) {
                producer.publish();
            }
        }
        producer.publish();
    };
    race(setup, rows, send, move || {
        let mut hash = 0;
        for i in 0..rows {
            let row = take_row(&mut consumer).unwrap_or_else(|| {
                consumer.release();
                until(|| take_row(&mut consumer))
            });
            hash = mix(hash, digest(&row));
            if (i + 1).is_multiple_of(chunk) {
                consumer.release();
            }
        }
        hash
    })
}

fn rtrb_chunks(setup: Setup, rows: usize) -> Sample {
    let (mut producer, mut consumer) = rtrb::RingBuffer::<Row>::new(SLOTS);
    let send = move || {
        let mut sent = 0;
        while sent < rows {
            let count = CHUNK.min(rows - sent);
            until(|| (producer.slots() >= count).then_some(()));
            let room = producer.write_chunk_uninit(count).expect("there is room");
            room.fill_from_iter((sent..sent + count).map(row));
            sent += count;
        }
    };
    race(setup, rows, send, move || {
        let (mut hash, mut taken) = (0, 0);
        while taken < rows {
            let count = until(|| Some(consumer.slots().min(CHUNK)).filter(|&count| count > 0));
            let chunk = consumer.read_chunk(count).expect("they are there");
            let (first, second) = chunk.as_slices();
            for row in first.iter().chain(second) {
                hash = mix(hash, digest(row));
            }
            chunk.commit_all();
            taken += count;
        }
        hash
    })
}

fn rtrb_single(setup: Setup, rows: usize) -> Sample {
    let (mut producer, mut consumer) = rtrb::RingBuffer::<Row>::new(SLOTS);
    let send = move || (0..rows).for_each(|i| until(|| producer.push(row(i)).ok()));
    race(setup, rows, send, move || {
        (0..rows).fold(0, |hash, _| {
            mix(hash, digest(&until(|| consumer.pop().ok())))
        })
    })
}

fn array_queue(setup: Setup, rows: usize) -> Sample {
    let queue = ArrayQueue::<Row>::new(SLOTS);
    let send = || (0..rows).for_each(|i| until(|| queue.push(row(i)).ok()));
    race(setup, rows, send, || {
        (0..rows).fold(0, |hash, _| mix(hash, digest(&until(|| queue.pop()))))
    })
}

fn channel_stream(setup: Setup, rows: usize) -> Sample {
    let (sender, receiver) = channel::bounded::<Row>(SLOTS);
    let send = move || (0..rows).for_each(|i| until(|| sender.try_send(row(i)).ok()));
    race(setup, rows, send, move || {
        (0..rows).fold(0, |hash, _| {
            mix(hash, digest(&until(|| receiver.try_recv().ok())))
        })
    })
}

/// One side of a game of catch.
trait Side: Send {
    fn throw(&mut self, row: Row);
    fn catch(&mut self) -> Row;
}

struct Ours(Producer, Consumer);

impl Side for Ours {
    fn throw(&mut self, row: Row) {
        until(|| put_row(&mut self.0, &row).then_some(()));
        self.0.publish();
    }

    fn catch(&mut self) -> Row {
        let row = until(|| take_row(&mut self.1));
        self.1.release();
        row
    }
}

struct Rtrb(rtrb::Producer<Row>, rtrb::Consumer<Row>);

impl Side for Rtrb {
    fn throw(&mut self, row: Row) {
        until(|| self.0.push(row).ok());
    }

    fn catch(&mut self) -> Row {
        until(|| self.1.pop().ok())
    }
}

struct Channel(channel::Sender<Row>, channel::Receiver<Row>);

impl Side for Channel {
    fn throw(&mut self, row: Row) {
        until(|| self.0.try_send(row).ok());
    }

    fn catch(&mut self) -> Row {
        until(|| self.1.try_recv().ok())
    }
}

struct Arrays<'q>(&'q ArrayQueue<Row>, &'q ArrayQueue<Row>);

impl Side for Arrays<'_> {
    fn throw(&mut self, row: Row) {
        until(|| self.0.push(row).ok());
    }

    fn catch(&mut self) -> Row {
        until(|| self.1.pop())
    }
}

fn catch_ball(setup: Setup, rounds: usize, mut near: impl Side, mut far: impl Side) -> Sample {
    thread::scope(|scope| {
        scope.spawn(move || {
            setup.pin(1);
            for _ in 0..rounds {
                let row = far.catch();
                far.throw(row);
            }
        });
        let thrower = scope.spawn(move || {
            setup.pin(0);
            Sample::ns_per_op(2 * rounds, || {
                (0..rounds).fold(0, |hash, i| {
                    near.throw(row(i));
                    mix(hash, digest(&near.catch()))
                })
            })
        });
        thrower.join().expect("the throwing side ends")
    })
}

fn hop(bench: &mut Bench) {
    let (setup, rounds) = (bench.setup(), bench.size(500_000, 1_000));
    let mut group = bench.group("hop", "ns", Better::Lower);
    group.same_results();
    group.baseline("rtrb", || {
        let ((out, far_in), (far_out, back)) =
            (rtrb::RingBuffer::new(SLOTS), rtrb::RingBuffer::new(SLOTS));
        catch_ball(setup, rounds, Rtrb(out, back), Rtrb(far_out, far_in))
    });
    group.row("ours", || {
        let ((out, far_in), (far_out, back)) = (ring(SLOTS), ring(SLOTS));
        catch_ball(setup, rounds, Ours(out, back), Ours(far_out, far_in))
    });
    group.row("array_queue", || {
        let (there, back) = (ArrayQueue::new(SLOTS), ArrayQueue::new(SLOTS));
        catch_ball(setup, rounds, Arrays(&there, &back), Arrays(&back, &there))
    });
    group.row("channel", || {
        let ((out, far_in), (far_out, back)) = (channel::bounded(SLOTS), channel::bounded(SLOTS));
        catch_ball(setup, rounds, Channel(out, back), Channel(far_out, far_in))
    });
    group.run();
}

/// Rows as they lie in a receive buffer.
fn received() -> Vec<u8> {
    (0..RECORD_BYTES).map(|i| (i * 7) as u8).collect()
}

/// Reads every byte of a record, cheaply enough that moving it is what is measured.
#[inline]
fn consume(body: &[u8]) -> u64 {
    let words = body.chunks_exact(8);
    words.fold(0, |sum, word| {
        sum ^ u64::from_le_bytes(word.try_into().expect("8 bytes")).rotate_left(1)
    })
}

#[inline]
fn put_record(ring: &mut Producer, rows: &[u8]) -> bool {
    let Some(body) = ring.reserve(1, RECORD_BYTES) else {
        return false;
    };
    body.copy_from_slice(rows);
    ring.commit();
    ring.publish()
}

#[inline]
fn take_record(ring: &mut Consumer) -> Option<u64> {
    let sum = consume(ring.peek()?.body);
    ring.advance();
    ring.release();
    Some(sum)
}

fn ns_per_event(cpu: Duration, records: usize, hash: u64) -> Sample {
    Sample::new(cpu.as_nanos() as f64 / (records * ROWS) as f64, hash)
}

fn crossing(bench: &mut Bench) {
    let setup = bench.setup();
    let records = bench.size(6_400, 10) * RECORDS_PER_TURN;
    let mut group = bench.group("crossing", "cpu-ns/event", Better::Lower);
    group.same_results();
    group.baseline("copy_in_place", || copy_in_place(setup, records));
    group.row("one_thread", || one_thread(setup, records));
    group.row("alternating", || alternating(setup, records));
    group.row("flat_out", || flat_out(setup, records));
    group.run();
}

fn copy_in_place(setup: Setup, records: usize) -> Sample {
    on_cpu(setup, move || {
        let (source, mut target) = (received(), vec![0; RECORD_BYTES]);
        let mut hash = 0;
        for _ in 0..records {
            std::hint::black_box(&mut target).copy_from_slice(std::hint::black_box(&source));
            hash = mix(hash, consume(std::hint::black_box(&target)));
        }
        hash
    })
    .into_sample(records)
}

fn one_thread(setup: Setup, records: usize) -> Sample {
    on_cpu(setup, move || {
        let (mut producer, mut consumer) = ring(SLOTS);
        let source = received();
        let mut hash = 0;
        for _ in 0..records {
            assert!(put_record(&mut producer, &source));
            hash = mix(hash, take_record(&mut consumer).expect("just published"));
        }
        hash
    })
    .into_sample(records)
}

struct Spent {
    cpu: Duration,
    hash: u64,
}

impl Spent {
    fn into_sample(self, records: usize) -> Sample {
        ns_per_event(self.cpu, records, self.hash)
    }
}

/// Runs `work` on a pinned thread of its own and takes its CPU time.
fn on_cpu(setup: Setup, work: impl FnOnce() -> u64 + Send) -> Spent {
    thread::scope(|scope| {
        let worker = scope.spawn(move || {
            setup.pin(0);
            let start = thread_cpu();
            let hash = work();
            Spent {
                cpu: thread_cpu() - start,
                hash,
            }
        });
        worker.join().expect("the worker ends")
    })
}

/// The sides take turns of [`RECORDS_PER_TURN`] records; only turns are charged.
fn alternating(setup: Setup, records: usize) -> Sample {
    let (mut producer, mut consumer) = ring(SLOTS);
    let (turn, turns) = (AtomicUsize::new(0), records / RECORDS_PER_TURN);
    let my_turn = |number| until(|| (turn.load(Ordering::Acquire) == number).then_some(()));
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            setup.pin(1);
            let (source, mut cpu) = (received(), Duration::ZERO);
            for number in 0..turns {
                my_turn(2 * number);
                let start = thread_cpu();
                for _ in 0..RECORDS_PER_TURN {
                    assert!(put_record(&mut producer, &source), "a turn fits the ring");
                }
                cpu += thread_cpu() - start;
                turn.store(2 * number + 1, Ordering::Release);
            }
            cpu
        });
        let receiver = scope.spawn(|| {
            setup.pin(0);
            let (mut hash, mut cpu) = (0, Duration::ZERO);
            for number in 0..turns {
                my_turn(2 * number + 1);
                let start = thread_cpu();
                for _ in 0..RECORDS_PER_TURN {
                    hash = mix(
                        hash,
                        take_record(&mut consumer).expect("the turn's records"),
                    );
                }
                cpu += thread_cpu() - start;
                turn.store(2 * number + 2, Ordering::Release);
            }
            (cpu, hash)
        });
        let (cpu, hash) = receiver.join().expect("the receiver ends");
        ns_per_event(cpu + sender.join().expect("the sender ends"), records, hash)
    })
}

fn flat_out(setup: Setup, records: usize) -> Sample {
    let (mut producer, mut consumer) = ring(SLOTS);
    let start = Barrier::new(2);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            setup.pin(1);
            let source = received();
            start.wait();
            let begun = thread_cpu();
            for _ in 0..records {
                until(|| put_record(&mut producer, &source).then_some(()));
            }
            thread_cpu() - begun
        });
        let receiver = scope.spawn(|| {
            setup.pin(0);
            start.wait();
            let begun = thread_cpu();
            let hash =
                (0..records).fold(0, |hash, _| mix(hash, until(|| take_record(&mut consumer))));
            (thread_cpu() - begun, hash)
        });
        let (cpu, hash) = receiver.join().expect("the receiver ends");
        ns_per_event(cpu + sender.join().expect("the sender ends"), records, hash)
    })
}
