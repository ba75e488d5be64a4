//! Event rows for any schema, written in place.
//!
//! A row is a pure function of (seed, producer, sequence), its time fields aside: a verifier makes
//! the same rows again and adds them up. Fields of the treasure-hunt shape are recognised by name
//! and type; every other field is filled by its type.

mod cells;

use ringmill_shard::schema::{Field, FieldType, Schema};
use ringmill_shard::value::Value;

use crate::keys::Keys;
use crate::rng::{derive, draw};
use cells::TextCells;

/// The eight regions of the treasure hunt.
pub const REGIONS: [&str; 8] = [
    "north",
    "north-east",
    "east",
    "south-east",
    "south",
    "south-west",
    "west",
    "north-west",
];
/// What can be found in it.
pub const KINDS: [&str; 4] = ["coin", "gem", "chest", "map"];
/// Hunts that run at a time.
const HUNTS: u16 = 100;
/// `points` lies in 1 to this.
const POINTS_MAX: u16 = 100;
/// Bits of a lane: small fields share one draw.
const LANE_BITS: u32 = 16;
const LANES: u32 = u64::BITS / LANE_BITS;

/// Where a field takes its randomness from: one of the event's draws, shifted.
#[derive(Clone, Copy, Debug)]
struct Lane {
    draw: usize,
    shift: u32,
}

impl Lane {
    /// A number in `0..bound`.
    #[inline]
    fn below(self, draws: &[u64; DRAWS_MAX], bound: u16) -> u64 {
        let lane = (draws[self.draw] >> self.shift) & ((1 << LANE_BITS) - 1);
        (lane * u64::from(bound)) >> LANE_BITS
    }
}

/// Most draws of one event: one for the key, the rest for lanes of the fields.
const DRAWS_MAX: usize = 20;

#[derive(Clone, Debug)]
enum Fill {
    KeyInteger,
    KeyUuid,
    KeyBool,
    KeyText { capacity: u8 },
    Time,
    Integer { lowest: u64, bound: u16, lane: Lane },
    Float { lane: Lane },
    Bool { lane: Lane },
    Uuid { lane: Lane },
    Text { cells: TextCells, lane: Lane },
}

#[derive(Clone, Debug)]
struct Step {
    at: usize,
    fill: Fill,
}

/// The compiled way to write one row of a stream.
#[derive(Clone, Debug)]
pub struct RowPlan {
    schema: Schema,
    key_field: usize,
    keys: Keys,
    steps: Vec<Step>,
    draws: usize,
    /// Whether the steps write every byte of the row.
    covered: bool,
}

/// What the rows of one producer depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowSeed(u64);

impl RowSeed {
    /// The seed of the producer with this index in a run.
    pub const fn new(seed: u64, producer_index: u64) -> RowSeed {
        RowSeed(derive(seed, producer_index))
    }
}

impl RowPlan {
    /// Compiles the plan of a stream whose key is the field with index `key_field`.
    pub fn new(schema: Schema, key_field: usize, keys: Keys) -> RowPlan {
        assert!(
            key_field < schema.fields.len(),
            "invariant: the server named a field as key"
        );
        let mut lanes = 0u32;
        let steps: Vec<Step> = schema
            .fields
            .iter()
            .enumerate()
            .map(|(index, field)| {
                let lane = Lane {
                    draw: 1 + (lanes / LANES) as usize,
                    shift: lanes % LANES * LANE_BITS,
                };
                let fill = if index == key_field {
                    key_fill(field.kind)
                } else {
                    fill_of(field, lane)
                };
                if !matches!(fill, Fill::Time) && index != key_field {
                    lanes += 1;
                }
                Step {
                    at: usize::from(field.offset),
                    fill,
                }
            })
            .collect();
        let draws = 1 + lanes.div_ceil(LANES) as usize;
        assert!(
            draws <= DRAWS_MAX,
            "invariant: 64 fields need at most 17 draws"
        );
        let cells: usize = schema
            .fields
            .iter()
            .map(|field| field.kind.cell_bytes())
            .sum();
        let covered = cells == schema.row_len();
        RowPlan {
            schema,
            key_field,
            keys,
            steps,
            draws,
            covered,
        }
    }

    /// The schema of the rows.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Index of the key field.
    pub fn key_field(&self) -> usize {
        self.key_field
    }

    /// Writes the row of event `sequence`. `row` is exactly one row long.
    #[inline]
    pub fn write(&self, row: &mut [u8], seed: RowSeed, sequence: u64, time_ms: i64) {
        if !self.covered {
            row.fill(0);
        }
        let mut draws = [0u64; DRAWS_MAX];
        for (index, bits) in draws[..self.draws].iter_mut().enumerate() {
            *bits = draw(seed.0, sequence, index as u64);
        }
        let key = self.keys.pick(sequence, draws[0]);
        for step in &self.steps {
            write_cell(row, step, key, &draws, time_ms);
        }
    }

    /// The value of a field of event `sequence`, through a scratch row. Time fields are 0.
    pub fn value_into<'r>(
        &self,
        row: &'r mut [u8],
        seed: RowSeed,
        sequence: u64,
        field: usize,
    ) -> Value<'r> {
        self.write(row, seed, sequence, 0);
        self.schema.value(row, field)
    }
}

fn key_fill(kind: FieldType) -> Fill {
    match kind {
        FieldType::U64 | FieldType::I64 | FieldType::Time | FieldType::F64 => Fill::KeyInteger,
        FieldType::Uuid => Fill::KeyUuid,
        FieldType::Bool => Fill::KeyBool,
        FieldType::Text(capacity) => Fill::KeyText { capacity },
    }
}

fn fill_of(field: &Field, lane: Lane) -> Fill {
    match (field.kind, field.name.as_str()) {
        (FieldType::Time, _) => Fill::Time,
        (FieldType::I64 | FieldType::U64, "points") => Fill::Integer {
            lowest: 1,
            bound: POINTS_MAX,
            lane,
        },
        (FieldType::U64 | FieldType::I64, "hunt") => Fill::Integer {
            lowest: 1,
            bound: HUNTS,
            lane,
        },
        (FieldType::U64 | FieldType::I64, _) => Fill::Integer {
            lowest: 0,
            bound: 10_000,
            lane,
        },
        (FieldType::F64, _) => Fill::Float { lane },
        (FieldType::Bool, _) => Fill::Bool { lane },
        (FieldType::Uuid, _) => Fill::Uuid { lane },
        (FieldType::Text(capacity), "region") if capacity >= 10 => Fill::Text {
            cells: TextCells::new(&REGIONS, capacity),
            lane,
        },
        (FieldType::Text(capacity), "kind") if capacity >= 5 => Fill::Text {
            cells: TextCells::new(&KINDS, capacity),
            lane,
        },
        (FieldType::Text(capacity), _) => {
            let words: Vec<String> = (0..26u8)
                .map(|n| char::from(b'a' + n).to_string())
                .collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            Fill::Text {
                cells: TextCells::new(&words, capacity),
                lane,
            }
        }
    }
}

#[inline]
fn write_cell(row: &mut [u8], step: &Step, key: u64, draws: &[u64; DRAWS_MAX], time_ms: i64) {
    let at = step.at;
    match &step.fill {
        Fill::KeyInteger => put(row, at, key.to_le_bytes()),
        Fill::Time => put(row, at, time_ms.to_le_bytes()),
        Fill::Integer {
            lowest,
            bound,
            lane,
        } => {
            put(row, at, (lowest + lane.below(draws, *bound)).to_le_bytes());
        }
        Fill::Text { cells, lane } => {
            cells.write(row, at, lane.below(draws, cells.count()));
        }
        Fill::Float { lane } => {
            let value = lane.below(draws, 10_000) as f64 / 8.0;
            put(row, at, value.to_le_bytes());
        }
        Fill::Bool { lane } => row[at] = lane.below(draws, 2) as u8,
        Fill::Uuid { lane } => put(row, at, cells::uuid_of(lane.below(draws, u16::MAX))),
        Fill::KeyUuid => put(row, at, cells::uuid_of(key)),
        Fill::KeyBool => row[at] = (key & 1) as u8,
        Fill::KeyText { capacity } => cells::write_key_text(row, at, *capacity, key),
    }
}

#[inline]
fn put<const N: usize>(row: &mut [u8], at: usize, bytes: [u8; N]) {
    row[at..at + N].copy_from_slice(&bytes);
}

#[cfg(test)]
mod tests;
