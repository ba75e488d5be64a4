//! What a find costs a shard, in batches of 50: schema check, dedupe, one window view and one exact
//! leaderboard.
//!
//! Players are drawn evenly from 100 thousand, 1 million and (full size only) 10 million, all of
//! whom have a score before anything is measured. Every row ends with the same points per player,
//! or the bench ends.
//!
//! * `hash_map`: a plain standard map from player to points and finds, updated row by row.
//! * `hash_map_and_tree`: the same with a `BTreeSet` of the players by points: a board that knows
//!   its top, but no ranks and no windows.
//! * `shard`: `ShardState::admit` and `apply`.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use ringmill_benches::{Bench, Better, Sample, mix};
use ringmill_shard::dedupe::Admission;
use ringmill_shard::entry::{EventBatch, ProducerId};
use ringmill_shard::query::{Answer, BoardSeason, Query, Scalar};
use ringmill_shard::state::{Outcome, Place, ShardState};

mod hunt;
use hunt::{BATCH_ROWS, Hunt, Random, START_MS};

/// Players whose points are compared at the end of every sample.
const COMPARED: u64 = 1_000;

/// Points and finds by player.
type Totals = HashMap<u64, (i64, u64)>;

fn main() {
    let mut bench = Bench::start("apply");
    bench.setup().pin(0);
    let hunt = Hunt::new();
    apply(&mut bench, &hunt, "players_100k", 100_000);
    apply(&mut bench, &hunt, "players_1M", 1_000_000);
    if bench.size(1, 0) == 1 {
        apply(&mut bench, &hunt, "players_10M", 10_000_000);
    }
    bench.finish();
}

fn apply(bench: &mut Bench, hunt: &Hunt, name: &'static str, players: usize) {
    let players = bench.size(players, players / 100);
    let events = bench.size(2_000_000, 5_000);
    let every = hunt.rows(players, &mut Random(1), |number, _| number as u64);
    let drawn = hunt.rows(events, &mut Random(2), |_, draw| draw % players as u64);
    let compared = COMPARED.min(players as u64);
    let row_bytes = hunt.schema().row_len();

    let mut plain = Totals::new();
    count(hunt, &mut plain, &every);
    let mut ranked = Ranked::default();
    ranked.count(hunt, &every);
    let mut shard = Shard::new(hunt);
    shard.feed(hunt, &mut every.clone());
    drop(every);

    let (rows, mut own_rows) = (&drawn, drawn.clone());
    let mut group = bench.group(name, "ns/event", Better::Lower);
    group.same_results();
    group.baseline("hash_map", move || {
        let before = points(compared, |player| plain[&player].0);
        let sample = Sample::ns_per_op(rows.len() / row_bytes, || {
            count(hunt, &mut plain, rows);
            0
        });
        gained(
            sample,
            &before,
            &points(compared, |player| plain[&player].0),
        )
    });
    group.row("hash_map_and_tree", move || {
        let before = points(compared, |player| ranked.totals[&player].0);
        let sample = Sample::ns_per_op(rows.len() / row_bytes, || {
            ranked.count(hunt, rows);
            0
        });
        let after = points(compared, |player| ranked.totals[&player].0);
        gained(sample, &before, &after)
    });
    group.row("shard", move || {
        hunt.set_times(&mut own_rows, shard.events);
        let before = points(compared, |player| shard.points(player));
        let sample = Sample::ns_per_op(own_rows.len() / row_bytes, || {
            shard.apply(&own_rows);
            0
        });
        gained(
            sample,
            &before,
            &points(compared, |player| shard.points(player)),
        )
    });
    group.run();
}

fn points(players: u64, of: impl Fn(u64) -> i64) -> Vec<i64> {
    (0..players).map(of).collect()
}

/// The sample with what each player has gained as its hash: equal for every repeat and row.
fn gained(sample: Sample, before: &[i64], after: &[i64]) -> Sample {
    let gains = before
        .iter()
        .zip(after)
        .map(|(before, after)| after - before);
    let hash = gains.fold(1, |hash, gain| mix(hash, gain as u64));
    Sample::new(sample.value, hash)
}

fn count(hunt: &Hunt, totals: &mut Totals, rows: &[u8]) {
    for row in rows.chunks_exact(hunt.schema().row_len()) {
        let (player, points) = hunt.find(row);
        let total = totals.entry(player).or_default();
        total.0 += points;
        total.1 += 1;
    }
}

/// A map and a tree beside it. Who came first among equals is decided by the number of the event.
#[derive(Default)]
struct Ranked {
    totals: HashMap<u64, (i64, u64)>,
    board: BTreeSet<(Reverse<i64>, u64, u64)>,
    events: u64,
}

impl Ranked {
    fn count(&mut self, hunt: &Hunt, rows: &[u8]) {
        for row in rows.chunks_exact(hunt.schema().row_len()) {
            let (player, points) = hunt.find(row);
            self.events += 1;
            let (total, reached) = self.totals.entry(player).or_default();
            if *reached > 0 {
                if points == 0 {
                    continue;
                }
                self.board.remove(&(Reverse(*total), *reached, player));
            }
            *total += points;
            *reached = self.events;
            self.board.insert((Reverse(*total), *reached, player));
        }
    }
}

/// A shard that has all the groups.
struct Shard {
    state: ShardState,
    /// Events so far.
    events: usize,
    schema_id: u32,
    batch_bytes: usize,
    outcome: Outcome,
}

impl Shard {
    fn new(hunt: &Hunt) -> Shard {
        let place = Place {
            shard: 0,
            shards: 1,
            log_stream: 0,
            older: Vec::new(),
        };
        Shard {
            state: ShardState::new(Arc::clone(&hunt.pipeline), place),
            events: 0,
            schema_id: hunt.schema().id,
            batch_bytes: BATCH_ROWS * hunt.schema().row_len(),
            outcome: Outcome::default(),
        }
    }

    fn feed(&mut self, hunt: &Hunt, rows: &mut [u8]) {
        hunt.set_times(rows, self.events);
        self.apply(rows);
    }

    fn apply(&mut self, rows: &[u8]) {
        for rows in rows.chunks_exact(self.batch_bytes) {
            let first_sequence = self.events as u64 + 1;
            let batch = EventBatch {
                producer: ProducerId(9),
                epoch: 1,
                stream: 0,
                schema_id: self.schema_id,
                first_sequence,
                count: BATCH_ROWS as u32,
                // Event time runs 500 events a ms, the stamp with it.
                stamp_ns: START_MS as u64 * 1_000_000 + first_sequence * 2_000,
                watermark_ms: self.state.next_watermark_ms(0),
                offsets: None,
                rows,
            };
            assert_eq!(self.state.admit(&batch), Admission::All);
            self.state.apply(&batch, first_sequence, &mut self.outcome);
            assert_eq!(self.outcome.accepted, BATCH_ROWS as u32);
            self.events += BATCH_ROWS;
        }
    }

    fn points(&self, player: u64) -> i64 {
        let member = player.to_le_bytes().to_vec();
        let Answer::Member(answer) = self.state.query(&Query::Member {
            board: BoardSeason::current(0),
            member,
        }) else {
            panic!("the board is there");
        };
        match answer.row.map(|row| row.scores[0]) {
            Some(Scalar::I64(points)) => points,
            other => panic!("player {player} has {other:?}"),
        }
    }
}
