//! One thread plays both ends against a queue of expected records.

use std::collections::VecDeque;

use super::*;

fn put(producer: &mut Producer, kind: u32, body: &[u8]) -> bool {
    let Some(room) = producer.reserve(kind, body.len()) else {
        return false;
    };
    room.copy_from_slice(body);
    producer.commit();
    true
}

fn take(consumer: &mut Consumer) -> Option<(u32, Vec<u8>)> {
    let record = consumer.peek()?;
    let taken = (record.kind, record.body.to_vec());
    consumer.advance();
    Some(taken)
}

#[test]
fn staged_records_appear_only_when_published_and_in_order() {
    let (mut producer, mut consumer) = ring(64);
    assert!(put(&mut producer, 1, b"first"));
    assert!(put(&mut producer, 2, b""));
    assert!(consumer.is_empty() && consumer.peek().is_none());
    assert!(producer.has_staged() && producer.publish());
    assert!(!producer.publish(), "nothing new");
    assert_eq!(
        consumer.peek(),
        Some(Record {
            kind: 1,
            body: b"first"
        })
    );
    assert_eq!(take(&mut consumer), Some((1, b"first".to_vec())));
    assert_eq!(take(&mut consumer), Some((2, Vec::new())));
    assert_eq!(take(&mut consumer), None);
}

#[test]
fn a_reservation_that_is_not_committed_leaves_no_trace() {
    let (mut producer, mut consumer) = ring(64);
    producer.reserve(1, 900).expect("room").fill(7);
    assert!(put(&mut producer, 2, &[9; 10]));
    assert!(producer.publish());
    assert_eq!(take(&mut consumer), Some((2, vec![9; 10])));
    assert_eq!(take(&mut consumer), None);
}

#[test]
fn one_slot_records_fill_every_slot_and_a_full_ring_changes_nothing() {
    let (mut producer, mut consumer) = ring(64);
    for i in 0..64 {
        assert!(put(&mut producer, i, &[i as u8; SLOT_BYTES - HEADER_BYTES]));
    }
    assert!(!put(&mut producer, 64, &[]));
    assert!(!producer.has_room_for(0));
    assert!(producer.publish());
    assert_eq!(producer.high_water_slots(), 64);
    assert_eq!(take(&mut consumer).map(|(kind, _)| kind), Some(0));
    assert!(
        !put(&mut producer, 64, &[]),
        "advanced over, but not released"
    );
    consumer.release();
    assert!(put(&mut producer, 64, &[]));
    assert!(producer.publish());
    for i in 1..=64 {
        assert_eq!(take(&mut consumer).map(|(kind, _)| kind), Some(i));
    }
}

#[test]
fn a_record_that_would_wrap_starts_over_behind_a_pad() {
    for at in 60..64 {
        let (mut producer, mut consumer) = ring_from(64, at);
        let body = vec![at as u8; producer.max_body()];
        assert!(put(&mut producer, 5, &body));
        assert!(producer.publish());
        assert_eq!(take(&mut consumer), Some((5, body)));
        assert!(consumer.is_empty());
        consumer.release();
        assert_eq!(consumer.head, producer.tail);
    }
}

#[test]
fn the_longest_record_fits_wherever_an_empty_ring_stands() {
    for at in 0..64 {
        let (mut producer, _consumer) = ring_from(64, at);
        let bytes = producer.max_body();
        assert!(producer.has_room_for(bytes));
        assert!(producer.reserve(0, bytes).is_some(), "at {at}");
    }
}

#[test]
fn high_water_is_what_was_really_in_use() {
    let (mut producer, mut consumer) = ring(64);
    for _ in 0..1000 {
        for _ in 0..10 {
            assert!(put(&mut producer, 1, &[0; 100]), "20 slots");
        }
        producer.publish();
        while take(&mut consumer).is_some() {}
        consumer.release();
    }
    let high = producer.high_water_slots();
    assert!((20..=21).contains(&high), "{high}");
}

#[test]
#[should_panic(expected = "bytes <= self.max_body()")]
fn a_body_over_a_quarter_of_the_ring_is_our_bug() {
    let (mut producer, _consumer) = ring(64);
    let bytes = producer.max_body() + 1;
    let _ = producer.reserve(0, bytes);
}

#[test]
#[should_panic(expected = "commit without reserve")]
fn commit_needs_a_reservation() {
    let (mut producer, _consumer) = ring(64);
    producer.commit();
}

#[test]
#[should_panic(expected = "advance without peek")]
fn advance_needs_a_peek() {
    let (mut producer, mut consumer) = ring(64);
    put(&mut producer, 1, b"x");
    producer.publish();
    consumer.advance();
}

/// Random steps of both ends, from a start just before the integer wraps.
#[test]
fn random_steps_agree_with_a_queue() {
    let seeds = if cfg!(miri) { 2 } else { 50 };
    let steps = if cfg!(miri) { 400 } else { 4000 };
    for seed in 1..=seeds {
        let mut state = seed * 0x9E37_79B9_7F4A_u64;
        let mut next = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 33) as usize % below
        };
        let (mut producer, mut consumer) = ring_from(64, usize::MAX - next(200));
        let (mut staged, mut visible) = (VecDeque::new(), VecDeque::new());
        for step in 0..steps {
            match next(8) {
                0..=3 => {
                    let bytes = if next(4) == 0 {
                        next(producer.max_body() + 1)
                    } else {
                        next(57)
                    };
                    let body: Vec<u8> = (0..bytes).map(|i| (i ^ step) as u8).collect();
                    let room = producer.has_room_for(bytes);
                    assert_eq!(put(&mut producer, step as u32, &body), room, "seed {seed}");
                    if room {
                        staged.push_back((step as u32, body));
                    }
                }
                4 => {
                    assert_eq!(producer.publish(), !staged.is_empty(), "seed {seed}");
                    visible.append(&mut staged);
                }
                5..=6 => assert_eq!(take(&mut consumer), visible.pop_front(), "seed {seed}"),
                _ => consumer.release(),
            }
        }
    }
}
