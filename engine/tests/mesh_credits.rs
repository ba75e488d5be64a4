//! The mesh in one thread: what it refuses, who is connected to whom, and the rule of credits
//! under random steps against a model of the lanes.

use std::collections::VecDeque;

use ringmill_engine::mesh::{MESH_BYTES_MAX, MeshError, MeshOptions, Ports, mesh};

const SMALL: MeshOptions = MeshOptions {
    request_slots: 256,
    reply_slots: 64,
};

#[test]
fn impossible_sizes_are_refused_by_name() {
    let odd = MeshOptions {
        request_slots: 100,
        ..SMALL
    };
    let text = mesh(2, &odd).unwrap_err().to_string();
    assert!(text.starts_with("request_slots must be a power of two") && text.ends_with("not 100"));
    let tiny = MeshOptions {
        reply_slots: 32,
        ..SMALL
    };
    assert!(matches!(
        mesh(2, &tiny),
        Err(MeshError::Slots {
            lane: "reply_slots",
            slots: 32
        })
    ));
    let zero = MeshOptions {
        reply_slots: 0,
        ..SMALL
    };
    assert!(matches!(
        mesh(2, &zero),
        Err(MeshError::Slots { slots: 0, .. })
    ));
    assert!(matches!(mesh(0, &SMALL), Err(MeshError::NoShards)));
}

#[test]
fn lanes_over_the_memory_limit_are_refused_before_anything_is_allocated() {
    let large = MeshOptions {
        request_slots: 1 << 24,
        reply_slots: 1 << 24,
    };
    assert!(matches!(
        mesh(1, &large),
        Err(MeshError::Memory { shards: 1, .. })
    ));
    assert!(matches!(
        mesh(usize::MAX - 1, &SMALL),
        Err(MeshError::Memory { .. })
    ));
    for shards in [1, 2, 64, 128] {
        let fitted = MeshOptions::default().fitted(shards);
        assert!(
            fitted.bytes(shards) <= MESH_BYTES_MAX,
            "{shards}: {fitted:?}"
        );
    }
    assert_eq!(MeshOptions::default().fitted(16), MeshOptions::default());
}

fn request(ports: &mut Ports, to: usize, kind: u32, body: &[u8]) -> bool {
    let lane = ports.requests_out[to]
        .as_mut()
        .expect("a lane to every other peer");
    let Some(room) = lane.reserve(kind, body.len()) else {
        return false;
    };
    room.copy_from_slice(body);
    lane.commit();
    true
}

#[test]
fn every_ordered_pair_has_its_own_request_and_reply_lane() {
    let mut ports = mesh(3, &SMALL).unwrap();
    assert_eq!(
        (ports.len(), ports[0].peers(), ports[0].control()),
        (4, 4, 3)
    );
    for (from, ports) in ports.iter_mut().enumerate() {
        assert_eq!(ports.me, from);
        assert!(ports.requests_out[from].is_none() && ports.replies_in[from].is_none());
        for to in (0..4).filter(|&to| to != from) {
            assert!(request(ports, to, 10, &[from as u8, to as u8]));
            ports.reply(to, 20, &[from as u8, to as u8]);
        }
        assert!(ports.has_staged());
        assert_eq!(ports.publish_all(), 0, "nobody is parked");
        assert!(!ports.has_staged());
    }
    for (to, ports) in ports.iter_mut().enumerate() {
        for from in (0..4).filter(|&from| from != to) {
            let expected = [from as u8, to as u8];
            let lane = ports.requests_in[from].as_mut().unwrap();
            let record = lane.peek().unwrap();
            assert_eq!((record.kind, record.body), (10, &expected[..]));
            lane.advance();
            let lane = ports.replies_in[from].as_mut().unwrap();
            let record = lane.peek().unwrap();
            assert_eq!((record.kind, record.body), (20, &expected[..]));
            lane.advance();
        }
        assert!(!ports.has_inbound());
    }
}

#[test]
fn parking_is_refused_while_a_record_waits_and_a_parked_shard_is_woken_once() {
    let mut ports = mesh(2, &SMALL).unwrap();
    let mut control = ports.pop().unwrap();
    let mut one = ports.pop().unwrap();
    let mut zero = ports.pop().unwrap();

    assert!(zero.prepare_park());
    request(&mut one, 0, 1, b"");
    assert_eq!(one.publish_all(), 1);
    request(&mut one, 0, 1, b"");
    assert_eq!(one.publish_all(), 0, "the flag is taken");
    assert!(control.prepare_park());
    request(&mut one, 2, 1, b"");
    assert_eq!(one.publish_all(), 0, "the control peer is never woken");
    zero.unpark();
    assert!(!zero.prepare_park(), "two requests wait");
    assert!(!one.waker().wake(), "an awake peer takes no signal");
    assert!(one.prepare_park());
    assert!(one.waker().wake());
}

#[test]
#[should_panic(expected = "credit given back twice")]
fn a_credit_comes_back_once() {
    let mut ports = mesh(1, &SMALL).unwrap();
    assert!(ports[0].take_credit(1));
    ports[0].give_credit(1);
    ports[0].give_credit(1);
}

#[test]
#[should_panic(expected = "credits keep replies in room")]
fn a_reply_without_a_credit_finds_the_lane_full() {
    let mut ports = mesh(1, &SMALL).unwrap();
    for _ in 0..=SMALL.reply_slots {
        ports[0].reply(1, 1, b"");
    }
}

/// Asks and answers at random, releasing lanes rarely: replies always find room, every request is
/// answered exactly once, and no more are outstanding than there are credits.
#[test]
fn random_asking_and_answering_never_fills_a_reply_lane() {
    for seed in 1..=20_u64 {
        let mut state = seed;
        let mut below = |bound: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963);
            (state >> 33) % bound
        };
        let mut ports = mesh(1, &SMALL).unwrap();
        let mut server = ports.pop().unwrap();
        let mut client = ports.pop().unwrap();
        let (mut asked, mut answered) = (0_u64, 0_u64);
        let (mut waiting, mut refused) = (VecDeque::new(), 0);
        for _ in 0..20_000 {
            match below(16) {
                0..=6 => {
                    if !client.take_credit(1) {
                        refused += 1;
                    } else if request(&mut client, 1, 1, &asked.to_le_bytes()) {
                        asked += 1;
                    } else {
                        client.give_credit(1);
                    }
                }
                7..=9 => {
                    let lane = server.requests_in[0].as_mut().unwrap();
                    while let Some(record) = lane.peek() {
                        waiting.push_back(record.body.to_vec());
                        lane.advance();
                    }
                    lane.release();
                }
                10..=12 => {
                    for _ in 0..below(40) {
                        let Some(body) = waiting.pop_front() else {
                            break;
                        };
                        server.reply(0, 2, &body);
                    }
                }
                13..=14 => {
                    let lane = client.replies_in[1].as_mut().unwrap();
                    let mut taken = 0;
                    while let Some(record) = lane.peek() {
                        assert_eq!(record.body, answered.to_le_bytes(), "seed {seed}");
                        answered += 1;
                        taken += 1;
                        lane.advance();
                    }
                    (0..taken).for_each(|_| client.give_credit(1));
                }
                _ => {
                    client.publish_all();
                    server.publish_all();
                }
            }
            assert_eq!(
                client.outstanding(1) as u64,
                asked - answered,
                "seed {seed}"
            );
            assert!(client.outstanding(1) <= SMALL.reply_slots);
        }
        assert!(
            answered > 1000 && refused > 0,
            "seed {seed}: {answered} answers, {refused} refused"
        );
    }
}
