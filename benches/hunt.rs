//! Events of the treasure hunt, as every bench that needs some makes them: the example pipeline,
//! 64-byte rows, players drawn evenly.

#![allow(dead_code, reason = "each bench uses a part")]

use std::sync::Arc;

use ringmill_shard::pipeline::Pipeline;
use ringmill_shard::schema::Schema;
use ringmill_shard::value::Value;

/// Rows of a client's batch.
pub(crate) const BATCH_ROWS: usize = 50;
/// Event time of the first event, ms.
pub(crate) const START_MS: i64 = 1_700_000_000_000;
/// 500,000 events a second of event time.
const EVENTS_PER_MS: usize = 500;

const REGIONS: [&str; 8] = [
    "north", "south", "east", "west", "harbour", "old-town", "station", "park",
];

/// SplitMix64: seeded, and the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// The pipeline and where the fields of its one stream lie.
pub(crate) struct Hunt {
    pub(crate) pipeline: Arc<Pipeline>,
    player: usize,
    at: usize,
    points: usize,
}

impl Hunt {
    pub(crate) fn new() -> Hunt {
        let text = include_str!("../docs/examples/treasure_hunt.toml");
        let pipeline = Pipeline::parse(text).expect("the example is correct");
        let field = |name| {
            pipeline.streams[0]
                .schema
                .field(name)
                .expect("a field of the example")
        };
        let (player, at, points) = (field("player"), field("at"), field("points"));
        Hunt {
            pipeline: Arc::new(pipeline),
            player,
            at,
            points,
        }
    }

    pub(crate) fn schema(&self) -> &Schema {
        &self.pipeline.streams[0].schema
    }

    /// `count` finds, the n-th by the player that `player` gives for n and a random number.
    pub(crate) fn rows(
        &self,
        count: usize,
        random: &mut Random,
        player: impl Fn(usize, u64) -> u64,
    ) -> Vec<u8> {
        let schema = self.schema();
        let name = |name| schema.field(name).expect("a field of the example");
        let (hunt, device, region, kind) =
            (name("hunt"), name("device"), name("region"), name("kind"));
        let row_bytes = schema.row_len();
        let mut rows = vec![0; count * row_bytes];
        for (number, row) in rows.chunks_exact_mut(row_bytes).enumerate() {
            let draw = random.next();
            let who = player(number, random.next());
            for (field, value) in [
                (self.player, Value::U64(who)),
                (hunt, Value::U64(draw >> 60)),
                (self.points, Value::I64((draw >> 50) as i64 % 100)),
                (device, Value::U64(who)),
                (region, Value::Text(REGIONS[draw as usize % REGIONS.len()])),
                (kind, Value::Text("chest")),
            ] {
                schema.set(row, field, &value).expect("a value of its type");
            }
        }
        self.set_times(&mut rows, 0);
        rows
    }

    /// Gives the rows the event times of the events from number `first` on.
    pub(crate) fn set_times(&self, rows: &mut [u8], first: usize) {
        let schema = self.schema();
        for (number, row) in rows.chunks_exact_mut(schema.row_len()).enumerate() {
            let at = START_MS + ((first + number) / EVENTS_PER_MS) as i64;
            schema
                .set(row, self.at, &Value::Time(at))
                .expect("a time of this century");
        }
    }

    /// Who found something, and for how many points.
    #[inline]
    pub(crate) fn find(&self, row: &[u8]) -> (u64, i64) {
        let fields = &self.schema().fields;
        let word = |field: usize| {
            let at = usize::from(fields[field].offset);
            u64::from_le_bytes(row[at..at + 8].try_into().expect("8 bytes"))
        };
        (word(self.player), word(self.points) as i64)
    }
}
