//! Two real threads on one ring: records of random sizes arrive whole, once and in order. Also a
//! target for ThreadSanitizer and Miri. `RINGMILL_RING_RECORDS` sets how many for the smallest
//! ring, `RINGMILL_SEED` the seed.

use std::thread;

use ringmill_engine::ring::{Consumer, Producer, ring};

/// Small and fast; any full-period generator would do.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Mostly rows, sometimes anything up to the longest.
fn size(random: &mut Random, max_body: usize) -> usize {
    match random.below(8) {
        0 => random.below(max_body + 1),
        1 => 0,
        2 => max_body,
        _ => random.below(130),
    }
}

fn checksum(body: &[u8]) -> u64 {
    body.iter().fold(body.len() as u64, |sum, &byte| {
        sum.rotate_left(5).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(byte)
    })
}

fn fill(random: &mut Random, body: &mut [u8]) {
    for chunk in body.chunks_mut(8) {
        chunk.copy_from_slice(&random.next().to_le_bytes()[..chunk.len()]);
    }
}

/// Sends `count` records and returns the sum over their checksums and kinds.
fn produce(mut producer: Producer, count: u64, seed: u64) -> u64 {
    let mut random = Random(seed);
    let max_body = producer.max_body();
    let mut total = 0_u64;
    for i in 0..count {
        let bytes = size(&mut random, max_body);
        while !producer.has_room_for(bytes) {
            producer.publish();
            thread::yield_now();
        }
        if random.below(16) == 0 {
            // A reservation that is thought better of.
            producer
                .reserve(1, bytes)
                .expect("there is room")
                .fill(0xEE);
        }
        let body = producer
            .reserve(i as u32 >> 1, bytes)
            .expect("there is room");
        fill(&mut random, body);
        total = total.rotate_left(1) ^ checksum(body);
        producer.commit();
        if random.below(8) == 0 {
            producer.publish();
        }
    }
    producer.publish();
    total
}

fn consume(mut consumer: Consumer, count: u64, seed: u64) -> u64 {
    let mut random = Random(!seed);
    let mut total = 0_u64;
    for i in 0..count {
        let sum = loop {
            if let Some(record) = consumer.peek() {
                assert_eq!(record.kind, i as u32 >> 1, "order, seed {seed}");
                break checksum(record.body);
            }
            consumer.release();
            thread::yield_now();
        };
        total = total.rotate_left(1) ^ sum;
        consumer.advance();
        if random.below(8) == 0 {
            consumer.release();
        }
    }
    assert!(
        consumer.is_empty(),
        "nothing but what was sent, seed {seed}"
    );
    total
}

fn run(slots: usize, count: u64, seed: u64) {
    let (producer, consumer) = ring(slots);
    let sender = thread::spawn(move || produce(producer, count, seed));
    let received = consume(consumer, count, seed);
    let sent = sender.join().expect("the sender ends");
    assert_eq!(sent, received, "contents, seed {seed}, {slots} slots");
}

#[test]
fn records_of_random_sizes_arrive_whole_and_in_order() {
    let default = if cfg!(miri) { 100 } else { 100_000 };
    let count = setting("RINGMILL_RING_RECORDS", default);
    let seed = setting("RINGMILL_SEED", 42);
    for slots in [64, 256, 4096] {
        // Records grow with the ring: about the same number of bytes for each size.
        run(slots, count * 64 / slots as u64, seed ^ slots as u64);
    }
}

/// The other end may be gone: neither side may touch freed memory or block.
#[test]
fn each_end_outlives_the_other() {
    let (mut producer, consumer) = ring(64);
    drop(consumer);
    while producer.reserve(1, 56).is_some() {
        producer.commit();
    }
    assert!(producer.publish());

    let (mut producer, mut consumer) = ring(64);
    producer
        .reserve(7, 3)
        .expect("room")
        .copy_from_slice(b"end");
    producer.commit();
    producer.publish();
    drop(producer);
    let last = thread::spawn(move || consumer.peek().map(|record| record.body.to_vec()));
    assert_eq!(last.join().expect("no panic"), Some(b"end".to_vec()));
}
