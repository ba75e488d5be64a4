//! Duplicates by fields: known traps, one named test each, and what other parts may ask.

#![allow(clippy::unwrap_used)] // Helpers of tests, but not test functions themselves.

mod model;

use model::finds::{FIND, Find, ID, apply, batch, event, finds, lone, send, stamp_ns};
use model::generate::random_pipeline;
use model::random::Random;
use model::world::World;
use ringmill_shard::dedupe::{Admission, DuplicateCause};
use ringmill_shard::pipeline::{DedupeMode, Pipeline};
use ringmill_shard::query::{Answer, DuplicateEvent, Query, RejectedEvent, Scalar};
use ringmill_shard::reject::RejectReason;
use ringmill_shard::state::ShardState;
use std::collections::BTreeSet;
use std::sync::Arc;

fn counts(world: &World) -> (u64, [u64; DuplicateCause::COUNT], u64) {
    let (mut accepted, mut duplicates, mut conflicts) = (0, [0; DuplicateCause::COUNT], 0);
    for shard in &world.shards {
        let counters = shard.counters().streams[0];
        accepted += counters.accepted;
        conflicts += counters.rejected[RejectReason::Conflict.index()];
        for (sum, count) in duplicates.iter_mut().zip(counters.duplicates) {
            *sum += count;
        }
    }
    (accepted, duplicates, conflicts)
}

fn accepted(world: &World) -> u64 {
    counts(world).0
}

fn duplicates(world: &World, cause: DuplicateCause) -> u64 {
    counts(world).1[cause.index()]
}

fn shown(world: &World) -> Vec<DuplicateEvent> {
    let answers = world.ask(&Query::Duplicates { stream: 0, n: 256 });
    let events = answers.into_iter().map(|answer| match answer {
        Answer::Duplicates(answer) => answer.events,
        other => panic!("{other:?}"),
    });
    events.flatten().collect()
}

fn rejected(world: &World) -> Vec<RejectedEvent> {
    let answers = world.ask(&Query::Rejected { stream: 0, n: 256 });
    let events = answers.into_iter().map(|answer| match answer {
        Answer::Rejected(events) => events,
        other => panic!("{other:?}"),
    });
    events.flatten().collect()
}

fn score(world: &World, player: u64) -> Scalar {
    let rows = world.top(0, 0, 10);
    let row = rows.iter().find(|row| row.member == player.to_le_bytes());
    row.map_or(Scalar::Null, |row| row.scores[0])
}

fn remembered(world: &World) -> u64 {
    let shards = world.shards.iter();
    shards.map(|shard| shard.stats().remembered[0]).sum()
}

#[test]
fn trap_32_the_memory_of_sequences_is_per_source_whatever_the_rate() {
    let mut world = World::new("trap 32", finds(DedupeMode::Sequence), 1, 1);
    for seq in 1..=2_000 {
        let find = |device| Find {
            device,
            seq,
            ..FIND
        };
        send(&mut world, 0, seq as i64, &[find(1), find(2), find(3)]);
    }
    assert_eq!((accepted(&world), remembered(&world)), (6_000, 3));
    // The horizon has no end: the last ones are known a year later, the others are behind.
    let year_ms = 365 * 86_400_000;
    let find = |seq| Find {
        device: 2,
        seq,
        ..FIND
    };
    send(
        &mut world,
        1,
        year_ms,
        &[find(2_000), find(1_937), find(1_936), find(1)],
    );
    assert_eq!(accepted(&world), 6_000);
    assert_eq!(duplicates(&world, DuplicateCause::Sequence), 2);
    assert_eq!(duplicates(&world, DuplicateCause::Behind), 2);
    // Within the window a source may send in another order.
    send(
        &mut world,
        0,
        year_ms,
        &[find(2_010), find(2_003), find(2_001), find(2_003)],
    );
    assert_eq!(accepted(&world), 6_003);
    assert_eq!(duplicates(&world, DuplicateCause::Sequence), 3);
    world.check();
}

#[test]
fn trap_32_ids_are_remembered_for_their_horizon_only() {
    let mode = DedupeMode::Id { horizon_ms: 8_000 };
    let mut world = World::new("trap 32", finds(mode), 1, 1);
    for second in 0..100_u128 {
        let find = |n| Find {
            id: second * 10 + n,
            ..FIND
        };
        let ten: Vec<Find> = (0..10).map(find).collect();
        send(&mut world, 0, second as i64 * 1_000, &ten);
        assert!(remembered(&world) <= 90, "{}", remembered(&world));
    }
    assert_eq!(accepted(&world), 1_000);
    world.check();
}

#[test]
fn trap_33_ids_that_share_any_64_bits_are_told_apart() {
    let mode = DedupeMode::Id { horizon_ms: 60_000 };
    let mut world = World::new("trap 33", finds(mode), 2, 1);
    let half = 0x0123_4567_89ab_cdef_u128;
    for other in 0..50_u128 {
        for id in [
            half << 64 | other,
            other << 64 | half,
            other << 96 | half << 32,
        ] {
            send(&mut world, 0, 10, &[Find { id, ..FIND }]);
        }
    }
    assert_eq!(accepted(&world), 150, "every id is an event of its own");
    assert_eq!(remembered(&world), 150);
    world.check();
}

#[test]
fn trap_34_a_refused_event_does_not_spend_its_id() {
    for mode in [DedupeMode::Sequence, DedupeMode::Id { horizon_ms: 60_000 }] {
        let mut world = World::new("trap 34", finds(mode), 2, 1);
        let ahead = Find {
            at_ms: 5_000,
            ..FIND
        };
        send(&mut world, 0, 0, &[ahead]);
        assert_eq!((accepted(&world), rejected(&world).len()), (0, 1));
        send(&mut world, 0, 4_500, &[ahead]);
        assert_eq!(
            accepted(&world),
            1,
            "the clock has come near: its id was not spent"
        );
        send(&mut world, 0, 4_600, &[ahead]);
        assert_eq!((accepted(&world), shown(&world).len()), (1, 1));
        world.check();
    }
}

#[test]
fn trap_34_id_and_effect_enter_at_the_same_position_of_the_log() {
    for mode in [DedupeMode::Sequence, DedupeMode::Id { horizon_ms: 60_000 }] {
        let mut world = World::new("trap 34", finds(mode), 1, 1);
        for seq in 1..=5 {
            send(
                &mut world,
                0,
                seq as i64,
                &[Find {
                    seq,
                    id: seq.into(),
                    ..FIND
                }],
            );
        }
        let last = Find {
            seq: 5,
            id: 5,
            ..FIND
        };
        let row = event(&world.pipeline, last).row;
        let id = world.shards[0].event_id(0, &row).unwrap();
        let spent = |world: &World, shard: &ShardState| shard.is_spent(0, &id, world.stamp_ns);
        assert!(spent(&world, &world.shards[0]));
        assert!(spent(&world, &world.replayed()[0]));
        // A crash takes the last entry: with the effect goes the id, and a retry counts.
        world.logs[0].0.pop();
        let cut = world.replayed().remove(0);
        assert_eq!(cut.counters().streams[0].accepted, 4);
        assert!(!spent(&world, &cut));
    }
}

#[test]
fn trap_35_the_horizon_begins_at_first_sight_and_ends_within_an_eighth() {
    let mode = DedupeMode::Id { horizon_ms: 8_000 };
    for first_ms in [0, 1, 499, 500, 999, 1_000, 12_345] {
        let mut world = World::new("trap 35", finds(mode), 1, 1);
        let mut now_ms = first_ms;
        // Repeats do not prolong it.
        while accepted(&world) < 2 {
            send(&mut world, 0, now_ms, &[FIND]);
            now_ms += 50;
        }
        let age_ms = now_ms - 50 - first_ms;
        assert!(
            (8_000..=9_000).contains(&age_ms),
            "{age_ms} from {first_ms}"
        );
        world.check();
    }
}

#[test]
fn trap_36_the_same_id_with_another_body_is_a_conflict_and_kept_with_its_row() {
    let mode = DedupeMode::Id { horizon_ms: 60_000 };
    let mut world = World::new("trap 36", finds(mode), 1, 1);
    let other = Find { points: 11, ..FIND };
    send(&mut world, 0, 0, &[FIND, other, FIND]);
    assert_eq!(counts(&world).0, 1);
    assert_eq!(duplicates(&world, DuplicateCause::Id), 1);
    let kept = rejected(&world);
    assert_eq!(kept.len(), 1);
    assert_eq!(
        RejectReason::from_code(kept[0].reason),
        Some(RejectReason::Conflict)
    );
    assert_eq!(usize::from(kept[0].field), ID);
    assert_eq!(kept[0].row, event(&world.pipeline, other).row);
    assert!(kept[0].lsn > 0);
    assert_eq!(score(&world, 1), Scalar::I64(10), "the first one stays");
    // The answer names the first refused event of a batch, whichever rule it broke.
    let late = Find {
        at_ms: 90_000,
        id: 5,
        ..FIND
    };
    let outcome = apply(&mut world.shards[0], &world.pipeline, 99, &[other, late]);
    let first = outcome.first_reject.map(|(_, reject)| reject.reason);
    assert_eq!(first, Some(RejectReason::Conflict));
    assert_eq!(outcome.rejected, 2);
}

#[test]
fn trap_37_a_retry_under_another_key_is_another_event_on_any_number_of_shards() {
    for mode in [DedupeMode::Sequence, DedupeMode::Id { horizon_ms: 60_000 }] {
        for shards in [1, 2, 5] {
            let mut world = World::new("trap 37", finds(mode), shards, 1);
            for player in 1..=20 {
                send(&mut world, 0, 0, &[Find { player, ..FIND }]);
                send(&mut world, 1, 1, &[Find { player, ..FIND }]);
            }
            let (accepted, by_cause, conflicts) = counts(&world);
            assert_eq!((accepted, conflicts), (20, 0), "{shards} shards");
            assert_eq!(by_cause.iter().sum::<u64>(), 20, "{shards} shards");
            world.check();
        }
    }
}

#[test]
fn a_repeat_is_found_in_the_logs_of_older_layouts() {
    for mode in [DedupeMode::Sequence, DedupeMode::Id { horizon_ms: 60_000 }] {
        let mut world = World::new("layouts", finds(mode), 2, 1);
        let round = |world: &mut World, now_ms| {
            for player in 1..=40 {
                send(world, 0, now_ms, &[Find { player, ..FIND }]);
            }
            world.check();
        };
        round(&mut world, 0);
        for (repeats, shards) in [(1, 5), (2, 1), (3, 3)] {
            world.change_shards(shards);
            round(&mut world, repeats * 1_000);
            assert_eq!(accepted(&world), 40, "{shards} shards");
            assert_eq!(shown(&world).len() as i64, repeats * 40);
        }
    }
}

/// A retraction that comes before its event, trap 15, and a retry of a retracted event, trap 16.
#[test]
fn a_tombstone_spends_an_id_for_the_horizon() {
    let pipeline = Arc::new(finds(DedupeMode::Id { horizon_ms: 8_000 }));
    let mut state = lone(&pipeline);
    let id = |find| {
        let row = event(&pipeline, find).row;
        lone(&pipeline).event_id(0, &row).unwrap()
    };
    let early = Find { id: 7, ..FIND };
    state.spend(0, &id(early), stamp_ns(0), 0);
    assert!(state.is_spent(0, &id(early), stamp_ns(10)));
    assert!(!state.is_spent(0, &id(FIND), stamp_ns(10)));
    // Whatever its content, it is annulled and not in conflict.
    for points in [1, 2] {
        let outcome = apply(&mut state, &pipeline, 20, &[Find { points, ..early }]);
        assert_eq!((outcome.accepted, outcome.duplicates), (0, 1));
    }
    let annulled = |state: &ShardState| {
        state.counters().streams[0].duplicates[DuplicateCause::Annulled.index()]
    };
    assert_eq!(annulled(&state), 2);
    // One that was taken first stays spent from the retraction on.
    assert_eq!(apply(&mut state, &pipeline, 30, &[FIND]).accepted, 1);
    state.spend(0, &id(FIND), stamp_ns(7_000), 0);
    assert_eq!(apply(&mut state, &pipeline, 12_000, &[FIND]).duplicates, 1);
    assert_eq!(annulled(&state), 3);
    assert_eq!(apply(&mut state, &pipeline, 17_000, &[FIND]).accepted, 1);
    // A sequence is spent like that of an event.
    let pipeline = Arc::new(finds(DedupeMode::Sequence));
    let mut state = lone(&pipeline);
    state.spend(0, &id_of(&state, &pipeline, FIND), stamp_ns(0), 0);
    assert_eq!(apply(&mut state, &pipeline, 1, &[FIND]).duplicates, 1);
    assert_eq!(
        apply(&mut state, &pipeline, 1, &[Find { seq: 2, ..FIND }]).accepted,
        1
    );
}

fn id_of(state: &ShardState, pipeline: &Pipeline, find: Find) -> ringmill_shard::dedupe::EventId {
    state.event_id(0, &event(pipeline, find).row).unwrap()
}

#[test]
fn a_full_memory_refuses_before_anything_is_logged_and_empties_with_the_horizon() {
    let mut pipeline = finds(DedupeMode::Id { horizon_ms: 8_000 });
    pipeline.streams[0].dedupe.as_mut().unwrap().memory_bytes = 54 * 10;
    let pipeline = Arc::new(pipeline);
    let mut state = lone(&pipeline);
    let many =
        |ids: std::ops::Range<u128>| -> Vec<Find> { ids.map(|id| Find { id, ..FIND }).collect() };
    let admit = |state: &ShardState, now_ms, finds: &[Find]| {
        batch(&pipeline, now_ms, finds, |batch| state.admit(batch))
    };
    assert_eq!(admit(&state, 1, &many(0..11)), Admission::Full);
    assert_eq!(admit(&state, 1, &many(0..10)), Admission::All);
    assert_eq!(apply(&mut state, &pipeline, 1, &many(0..8)).accepted, 8);
    assert_eq!(admit(&state, 2, &many(8..11)), Admission::Full);
    assert_eq!(
        admit(&state, 2, &many(0..10)),
        Admission::All,
        "two of them are new"
    );
    assert_eq!(
        admit(&state, 2, &many(0..8)),
        Admission::All,
        "repeats need no room"
    );
    let spent = state.is_spent(0, &id_of(&state, &pipeline, many(8..9)[0]), stamp_ns(2));
    assert!(!spent, "what is refused spends nothing");
    // No batch comes through, and still the time makes room.
    assert_eq!(admit(&state, 9_500, &many(20..30)), Admission::All);
    assert_eq!(admit(&state, 9_500, &many(20..31)), Admission::Full);
    // Rows that cannot be accepted need none either.
    let mut pipeline = finds(DedupeMode::Sequence);
    pipeline.streams[0].dedupe.as_mut().unwrap().memory_bytes = 62;
    let pipeline = Arc::new(pipeline);
    let mut state = lone(&pipeline);
    apply(&mut state, &pipeline, 1, &[FIND]);
    let of = |device| Find { device, ..FIND };
    let admit = |finds: &[Find]| batch(&pipeline, 2, finds, |batch| state.admit(batch));
    assert_eq!(admit(&[of(8)]), Admission::Full);
    assert_eq!(admit(&[FIND, Find { seq: 2, ..FIND }]), Admission::All);
}

/// The random worlds of `model_state` meet what they are to hold against the oracle.
#[test]
fn random_worlds_meet_every_kind_of_duplicate() {
    let mut met = BTreeSet::new();
    for seed in 0..12 {
        let mut random = Random(seed);
        let pipeline = random_pipeline(&mut random);
        let mut world = World::new("kinds of duplicates", pipeline, 2, seed);
        for shards in [3, 1] {
            for _ in 0..60 {
                world.step();
            }
            world.check();
            world.change_shards(shards);
        }
        for shard in &world.shards {
            for counters in shard.counters().streams {
                let causes = DuplicateCause::ALL.into_iter();
                let causes = causes.filter(|cause| counters.duplicates[cause.index()] > 0);
                met.extend(causes.map(DuplicateCause::name));
                if counters.rejected[RejectReason::Conflict.index()] > 0 {
                    met.insert("conflict");
                }
            }
        }
    }
    // Duplicates of producers are not recorded and went with the change of shards.
    let expected = ["behind", "conflict", "id", "sequence"];
    assert_eq!(met, expected.into_iter().collect());
}
