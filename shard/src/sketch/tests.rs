//! Every kind against an exact computation, in any order and split over any number of shares.

mod counts;
mod float_sum;
mod quantile;

use super::distinct::Distinct;
use super::edge::Edge;
use super::float_sum::FloatSum;
use super::quantile::Quantile;
use super::slab::{Block, Slab};
use super::top::Top;
use super::*;
use crate::aggregate::Number;
use crate::schema::FieldType;
use counts::{add_hash, add_value, skewed};
use float_sum::add_float;
use quantile::add_quantile;

/// A cell of its own.
#[derive(Clone)]
struct Held<S: Sketch> {
    sketch: S,
    cell: Cell,
    slab: Slab,
}

impl<S: Sketch + Copy> Held<S> {
    fn new(sketch: S) -> Self {
        Self {
            slab: Slab::new(sketch.unit_words()),
            cell: Cell::default(),
            sketch,
        }
    }

    fn of<T>(sketch: S, values: &[T], add: impl Fn(&S, &mut Cell, &mut Slab, &T)) -> Self {
        let mut held = Self::new(sketch);
        for value in values {
            add(&sketch, &mut held.cell, &mut held.slab, value);
            held.cell.count += 1;
        }
        held
    }

    fn partial(&self) -> Partial<'_> {
        Partial {
            words: self.slab.words(Block::of_word(self.cell.words[0])),
            state: self.cell.words[1],
            count: self.cell.count,
        }
    }

    fn merge(&mut self, other: &Self) {
        assert!(self.sketch.is_valid(&other.partial()));
        self.sketch
            .merge(&mut self.cell, &mut self.slab, &other.partial());
        self.cell.count += other.cell.count;
        assert!(self.sketch.is_valid(&self.partial()));
    }

    fn canonical(&self) -> Vec<u64> {
        let mut out = Vec::new();
        self.sketch.canonical(&self.partial(), &mut out);
        out
    }
}

fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Splits values over shares by a seed, and merges the shares from both ends; all must be equal to
/// the whole.
fn check_splits<S: Sketch + Copy, T: Clone>(
    sketch: S,
    values: &[T],
    seed: u64,
    add: impl Fn(&S, &mut Cell, &mut Slab, &T) + Copy,
) {
    let whole = Held::of(sketch, values, add);
    let mut seed = seed;
    let shares = 1 + next(&mut seed) as usize % 5;
    let mut split = vec![Vec::new(); shares];
    for value in values.iter().rev() {
        split[next(&mut seed) as usize % shares].push(value.clone());
    }
    let split: Vec<_> = split
        .iter()
        .filter(|share| !share.is_empty())
        .map(|share| Held::of(sketch, share, add))
        .collect();
    let merged = |order: Vec<&Held<S>>| {
        let mut merged = Held::new(sketch);
        order.into_iter().for_each(|share| merged.merge(share));
        merged.canonical()
    };
    assert_eq!(merged(split.iter().collect()), whole.canonical());
    assert_eq!(merged(split.iter().rev().collect()), whole.canonical());
    // Shares of shares.
    let mut right = Held::new(sketch);
    split.iter().skip(1).for_each(|share| right.merge(share));
    if let Some(first) = split.first() {
        let mut left = first.clone();
        if right.cell.count > 0 {
            left.merge(&right);
        }
        assert_eq!(left.canonical(), whole.canonical());
    }
}

#[test]
fn the_edges_are_decided_by_the_recorded_order() {
    for is_last in [false, true] {
        let edge = Edge {
            is_last,
            kind: FieldType::I64,
        };
        let mut seed = 3;
        let events: Vec<([u64; 3], u64)> = (0..200)
            .map(|value| {
                (
                    [next(&mut seed) % 4, next(&mut seed) % 4, next(&mut seed)],
                    value,
                )
            })
            .collect();
        let add = |edge: &Edge, cell: &mut Cell, slab: &mut Slab, event: &([u64; 3], u64)| {
            edge.add(cell, slab, event.0, &[event.1]);
        };
        check_splits(edge, &events, 4, add);
        let held = Held::of(edge, &events, add);
        let ordered = |one: &&([u64; 3], u64)| one.0;
        let expected = match is_last {
            false => events.iter().min_by_key(ordered),
            true => events.iter().max_by_key(ordered),
        };
        assert_eq!(held.partial().words[3], expected.unwrap().1);
    }
}

/// Changes words of a valid partial at random: what is still valid must merge and finish without a
/// panic, whatever it says.
fn disturb<S: Sketch + Copy>(held: &Held<S>, finish: impl Fn(&S, &Partial<'_>)) -> (u32, u32) {
    let (mut valid, mut refused) = (0, 0);
    let mut seed = 1;
    for _ in 0..20_000 {
        let mut words = held.partial().words.to_vec();
        let (mut state, mut count) = (held.cell.words[1], held.cell.count);
        for _ in 0..1 + next(&mut seed) % 2 {
            let value = next(&mut seed) >> (next(&mut seed) % 64);
            match next(&mut seed) % 8 {
                0 => state = value,
                1 => count = value.max(1),
                2 => words.truncate(value as usize % (words.len() + 1)),
                3 => words.resize(words.len() * 2, 0),
                _ if words.is_empty() => {}
                _ => {
                    let at = next(&mut seed) as usize % words.len();
                    words[at] = value;
                }
            }
        }
        let partial = Partial {
            words: &words,
            state,
            count,
        };
        if !held.sketch.is_valid(&partial) {
            refused += 1;
            continue;
        }
        valid += 1;
        finish(&held.sketch, &partial);
        let mut into = held.clone();
        into.sketch.merge(&mut into.cell, &mut into.slab, &partial);
        into.cell.count = into.cell.count.saturating_add(count);
        finish(&held.sketch, &into.partial());
        let mut out = Vec::new();
        held.sketch.canonical(&into.partial(), &mut out);
    }
    (valid, refused)
}

#[test]
fn no_words_make_a_sketch_panic() {
    let mut both = Vec::new();
    let floats = [1.5, -2e300, 1e-300, 0.1];
    both.push(disturb(
        &Held::of(FloatSum, &floats, add_float),
        |sum, partial| {
            sum.finish(partial);
        },
    ));
    for (number, q_ppm) in [
        (Number::F64, 1_000_000),
        (Number::U64, 0),
        (Number::I64, 500_000),
    ] {
        let sketch = Quantile::new(number, q_ppm, 100_000);
        let held = Held::of(sketch, &floats, add_quantile);
        both.push(disturb(&held, |sketch, partial| {
            sketch.finish(partial);
        }));
    }
    let sketch = Distinct::within(100_000);
    for count in [5, 1_000] {
        let hashes = skewed(1, count, u64::MAX - 1);
        let held = Held::of(sketch, &hashes, add_hash);
        both.push(disturb(&held, |sketch, partial| {
            sketch.finish(partial);
        }));
    }
    for (kind, values) in [
        (FieldType::U64, 1_000),
        (FieldType::Bool, 2),
        (FieldType::Text(7), 1),
    ] {
        let top = Top { kind, k: 3 };
        let held = Held::of(top, &skewed(1, 2_000, values), add_value);
        both.push(disturb(&held, |top, partial| {
            top.finish(partial);
        }));
        let edge = Edge {
            is_last: true,
            kind,
        };
        let held = Held::of(edge, &[[1, 2, 3]], |edge, cell, slab, order| {
            edge.add(cell, slab, *order, &[1 << 8 | 1]);
        });
        both.push(disturb(&held, |edge, partial| {
            edge.finish(partial);
        }));
    }
    assert!(both.iter().all(|&(_, refused)| refused > 1_000), "{both:?}");
    assert!(
        both.iter().filter(|&&(valid, _)| valid > 100).count() > 6,
        "{both:?}"
    );
}
