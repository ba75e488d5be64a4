//! Events that follow from producer and sequence alone, and what becomes of them: a plain
//! recomputation of boards and windows that shares nothing with the engine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ringmill_shard::schema::Schema;
use ringmill_shard::value::Value;

use super::eventually;
use super::http::Http;
use super::random::mix;

/// Nothing is ever late here and nothing ever too early, so every event is in its window.
pub const PIPELINE: &str = r#"ringmill = 1

[stream.finds]
key = "player"
time = { field = "at", disorder = "1d", max_future = "1d", idle = "3650d" }
durability = "commit"

[stream.finds.fields]
player = { id = 1, type = "u64" }
at = { id = 2, type = "time" }
hunt = { id = 3, type = "u64" }
points = { id = 4, type = "i64" }
device = { id = 5, type = "u64" }
region = { id = 6, type = "text(11)" }
kind = { id = 7, type = "text(11)" }

[view.by_region]
from = "finds"
group = ["region"]
window = { kind = "tumbling", size = "1m", late = "0s", keep = "2d" }

[view.by_region.columns]
finds = "count()"
points = "sum(points)"

[board.players]
from = "finds"
member = "player"
score = "sum(points) desc"
ties = "first-to-reach"

[board.regions]
from = "finds"
member = "region"
score = "sum(points) desc"
ties = "first-to-reach"
"#;

const REGIONS: [&str; 5] = ["north", "south", "east", "west", "middle"];
const PLAYERS: u64 = 700;
const FIRST_MS: i64 = 1_767_225_600_000;
const MINUTE_MS: i64 = 60_000;

/// Writes the pipeline beside the data directory of a test.
pub fn pipeline_file(dir: &Path) -> PathBuf {
    let file = dir.join("hunt.toml");
    std::fs::write(&file, PIPELINE).unwrap();
    file
}

/// One event.
#[derive(Clone, Copy, Debug)]
pub struct Find {
    pub player: u64,
    pub at_ms: i64,
    pub points: i64,
    pub region: &'static str,
}

/// The event of a producer with this sequence.
pub fn find(producer: u64, sequence: u64) -> Find {
    let hash = mix(producer << 48 ^ sequence.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    Find {
        player: hash % PLAYERS,
        at_ms: FIRST_MS + (hash >> 20) as i64 % (20 * MINUTE_MS),
        points: (hash >> 50) as i64 % 120 - 20,
        region: REGIONS[(hash >> 12) as usize % REGIONS.len()],
    }
}

/// The row of an event.
pub fn row(schema: &Schema, find: &Find) -> Vec<u8> {
    let mut row = vec![0; schema.row_len()];
    let cells = [
        ("player", Value::U64(find.player)),
        ("at", Value::Time(find.at_ms)),
        ("hunt", Value::U64(7)),
        ("points", Value::I64(find.points)),
        ("device", Value::U64(find.player ^ 0xABCD)),
        ("region", Value::Text(find.region)),
        ("kind", Value::Text("chest")),
    ];
    for (name, value) in cells {
        schema
            .set(&mut row, schema.field(name).unwrap(), &value)
            .unwrap();
    }
    row
}

/// The rows of a producer's sequences `first..first + count`.
pub fn rows(schema: &Schema, producer: u64, first: u64, count: u64) -> Vec<u8> {
    (first..first + count)
        .flat_map(|sequence| row(schema, &find(producer, sequence)))
        .collect()
}

/// What the engine must hold after each producer's sequences `1..=through`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expected {
    through: BTreeMap<u64, u64>,
    pub events: u64,
    pub players: BTreeMap<u64, i64>,
    pub regions: BTreeMap<String, i64>,
    /// By region and start: count, sum.
    pub windows: BTreeMap<(String, i64), (u64, i64)>,
}

impl Expected {
    /// Goes on to `through` for one producer.
    pub fn extend(&mut self, producer: u64, through: u64) {
        let done = self.through.insert(producer, through).unwrap_or(0);
        assert!(
            done <= through,
            "producer {producer} fell back from {done} to {through}"
        );
        for sequence in done + 1..=through {
            self.add(&find(producer, sequence));
        }
    }

    /// One event more.
    pub fn add(&mut self, find: &Find) {
        self.events += 1;
        *self.players.entry(find.player).or_default() += find.points;
        *self.regions.entry(find.region.to_owned()).or_default() += find.points;
        let start = find.at_ms - find.at_ms.rem_euclid(MINUTE_MS);
        let window = self
            .windows
            .entry((find.region.to_owned(), start))
            .or_default();
        window.0 += 1;
        window.1 += find.points;
    }

    /// Compares with everything that the server holds.
    #[track_caller]
    pub fn check(&self, http: &Http, context: &str) {
        assert_eq!(read_windows(http), self.windows, "windows: {context}");
        let players = read_board(http, "players", |member| member.as_u64().unwrap());
        assert_eq!(players, self.players, "players: {context}");
        // This board follows by moments when there are several shards.
        let region = |member: &serde_json::Value| member.as_str().unwrap().to_owned();
        let same =
            eventually(|| (read_board(http, "regions", region) == self.regions).then_some(()));
        if same.is_none() {
            assert_eq!(
                read_board(http, "regions", region),
                self.regions,
                "regions: {context}"
            );
        }
    }
}

#[track_caller]
fn read_board<K: Ord>(
    http: &Http,
    board: &str,
    member: impl Fn(&serde_json::Value) -> K,
) -> BTreeMap<K, i64> {
    let rows = http.board(board);
    let mut scores = BTreeMap::new();
    let mut last = i64::MAX;
    for (index, row) in rows.iter().enumerate() {
        let score = row["score"].as_i64().unwrap();
        assert_eq!(row["rank"], index + 1, "{row}");
        assert!(
            score <= last,
            "the board is not in order: {row} after {last}"
        );
        last = score;
        assert!(
            scores.insert(member(&row["member"]), score).is_none(),
            "twice: {row}"
        );
    }
    scores
}

#[track_caller]
fn read_windows(http: &Http) -> BTreeMap<(String, i64), (u64, i64)> {
    let mut windows = BTreeMap::new();
    for row in http.view("by_region") {
        let key = (
            row["region"].as_str().unwrap().to_owned(),
            row["start_ms"].as_i64().unwrap(),
        );
        let value = (
            row["finds"].as_u64().unwrap(),
            row["points"].as_i64().unwrap(),
        );
        assert!(windows.insert(key, value).is_none(), "twice: {row}");
    }
    windows
}
