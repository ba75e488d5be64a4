//! Every interleaving and every permitted reordering of the ring and of the park protocol, within
//! small bounds. Built only with `RUSTFLAGS="--cfg ringmill_loom"`; the sources are compiled in
//! here, so that the models reach what is private to the crate.
#![cfg(ringmill_loom)]
#![allow(dead_code, unreachable_pub, unused_imports, missing_docs)]

#[path = "../src/mesh.rs"]
mod mesh;
#[path = "../src/ring.rs"]
mod ring;
#[path = "../src/sync.rs"]
mod sync;
#[path = "../src/wake.rs"]
mod wake;

use loom::thread;
use mesh::{MeshOptions, Ports, mesh};
use ring::{Consumer, Producer, ring_from};

/// Explores fully unless a bound on preemptions is given; both can be raised from outside with
/// loom's own variables (`LOOM_MAX_PREEMPTIONS`).
fn explore(preemptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(preemptions);
    builder.max_branches = 100_000;
    builder.check(model);
}

/// Sends one record of `bytes` that are all `tag`, waiting for room.
fn send(producer: &mut Producer, tag: u8, bytes: usize) {
    loop {
        if let Some(body) = producer.reserve(u32::from(tag), bytes) {
            body.fill(tag);
            producer.commit();
            return;
        }
        producer.publish();
        thread::yield_now();
    }
}

/// Takes the next record and checks it, waiting for it.
fn expect(consumer: &mut Consumer, tag: u8, bytes: usize) {
    loop {
        if let Some(record) = consumer.peek() {
            assert_eq!(record.kind, u32::from(tag));
            assert_eq!(record.body, vec![tag; bytes]);
            consumer.advance();
            return;
        }
        consumer.release();
        thread::yield_now();
    }
}

/// Two-slot records in eight slots, the first one behind a pad, the last one in slots that were
/// given back.
#[test]
fn records_arrive_whole_and_in_order_across_the_wrap() {
    explore(Some(3), || {
        let (mut producer, mut consumer) = ring_from(8, 7);
        let sender = thread::spawn(move || {
            for tag in 1..=4 {
                send(&mut producer, tag, 100);
                producer.publish();
            }
        });
        for tag in 1..=4 {
            expect(&mut consumer, tag, 100);
            consumer.release();
        }
        sender.join().expect("the sender ends");
        assert!(consumer.is_empty());
    });
}

/// A batch becomes visible as one: who sees its first record sees all of it.
#[test]
fn a_batch_is_published_as_one() {
    explore(None, || {
        let (mut producer, mut consumer) = ring_from(8, 6);
        let sender = thread::spawn(move || {
            for tag in 1..=3 {
                send(&mut producer, tag, 8);
            }
            assert!(producer.publish());
        });
        expect(&mut consumer, 1, 8);
        for tag in 2..=3 {
            assert_eq!(
                consumer.peek().map(|record| record.kind),
                Some(tag),
                "whole batch"
            );
            consumer.advance();
        }
        sender.join().expect("the sender ends");
    });
}

/// The ring is used over and over with both copies of the other's index growing stale, while the
/// free-running indices wrap with the integer.
#[test]
fn cached_indices_never_run_ahead() {
    explore(Some(2), || {
        let (mut producer, mut consumer) = ring_from(4, usize::MAX - 2);
        let sender = thread::spawn(move || {
            for tag in 1..=7 {
                send(&mut producer, tag, 56);
                if tag % 2 == 1 {
                    producer.publish();
                }
            }
        });
        for tag in 1..=7 {
            expect(&mut consumer, tag, 56);
            if tag % 3 == 0 {
                consumer.release();
            }
        }
        sender.join().expect("the sender ends");
        assert!(consumer.is_empty());
    });
}

fn smallest() -> Vec<Ports> {
    mesh(
        1,
        &MeshOptions {
            request_slots: 64,
            reply_slots: 64,
        },
    )
    .expect("a small mesh")
}

fn request(ports: &mut Ports, to: usize, kind: u32) {
    let lane = ports.requests_out[to]
        .as_mut()
        .expect("a lane to the other peer");
    assert!(lane.reserve(kind, 8).is_some());
    lane.commit();
}

/// Takes every request that is there; returns how many.
fn drain(ports: &mut Ports, from: usize) -> u32 {
    let lane = ports.requests_in[from]
        .as_mut()
        .expect("a lane from the other peer");
    let mut taken = 0;
    while lane.peek().is_some() {
        lane.advance();
        taken += 1;
    }
    lane.release();
    taken
}

/// The owner parks whenever it finds nothing. A lost wake-up leaves it waiting after the sender has
/// ended, which loom reports as a deadlock.
#[test]
fn no_wake_up_is_lost() {
    explore(None, || {
        let mut ports = smallest();
        let mut sender = ports.pop().expect("control");
        let mut owner = ports.pop().expect("shard 0");
        let sending = thread::spawn(move || {
            for kind in 1..=2 {
                request(&mut sender, 0, kind);
                sender.publish_all();
            }
        });
        let mut taken = 0;
        while taken < 2 {
            taken += drain(&mut owner, 1);
            if taken < 2 && owner.prepare_park() {
                owner.wait();
                owner.unpark();
            }
        }
        sending.join().expect("the sender ends");
    });
}

/// The same with two senders that race for the flag.
#[test]
fn no_wake_up_is_lost_between_two_senders() {
    explore(Some(2), || {
        let options = MeshOptions {
            request_slots: 64,
            reply_slots: 64,
        };
        let mut ports = mesh(2, &options).expect("a small mesh");
        let senders = [ports.pop(), ports.pop()].map(|sender| {
            let mut sender = sender.expect("control and shard 1");
            thread::spawn(move || {
                request(&mut sender, 0, 1);
                sender.publish_all();
            })
        });
        let mut owner = ports.pop().expect("shard 0");
        let mut taken = 0;
        while taken < 2 {
            taken += drain(&mut owner, 1) + drain(&mut owner, 2);
            if taken < 2 && owner.prepare_park() {
                owner.wait();
                owner.unpark();
            }
        }
        senders
            .into_iter()
            .for_each(|sender| sender.join().expect("the sender ends"));
    });
}

/// A waker from outside the mesh carries what was done before it.
#[test]
fn a_flag_set_before_a_wake_is_seen_after_the_wait() {
    use loom::sync::atomic::{AtomicBool, Ordering};
    explore(None, || {
        let (mut sleeper, waker) = wake::sleeper().expect("no descriptor is needed");
        let stop = loom::sync::Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let stopping = thread::spawn(move || {
            stop.store(true, Ordering::Relaxed);
            waker.wake();
        });
        while !seen.load(Ordering::Relaxed) {
            sleeper.announce();
            if !seen.load(Ordering::Relaxed) {
                sleeper.wait();
            }
            sleeper.withdraw();
        }
        stopping.join().expect("the other thread ends");
    });
}
