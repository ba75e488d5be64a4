//! Everything that a seed draws before the first step.

use std::sync::Arc;
use std::time::Duration;

use ringmill_engine::mesh::MeshOptions;
use ringmill_shard::pipeline::{Durability, Pipeline};
use ringmill_storage::disk::sim::{Fault, FaultRates, Promise};
use ringmill_storage::layout::BLOCK_BYTES;
use ringmill_storage::log::{FlushPolicy, LogOptions};

use super::model::generate::random_pipeline;
use super::model::random::Random;

/// A treasure hunt in small: a view, a board of the key, two of members that any shard may own.
const HUNT: &str = r#"
ringmill = 1

[stream.finds]
key = "player"
time = { field = "at", disorder = "200ms", max_future = "5s", idle = "3s" }

[stream.finds.fields]
player = { id = 1, type = "u64" }
at = { id = 2, type = "time" }
hunt = { id = 3, type = "u64" }
points = { id = 4, type = "i64" }
luck = { id = 5, type = "f64", optional = true }
region = { id = 6, type = "text(11)" }

[view.by_region]
from = "finds"
group = ["region"]
window = { kind = "tumbling", size = "1s", late = "0s", keep = "1h" }
retract = "exact"

[view.by_region.columns]
finds = "count()"
points = "sum(points)"
luck = "sum(luck)"

[board.players]
from = "finds"
member = "player"
score = "sum(points) desc"
ties = "first-to-reach"
retract = "exact"

[board.busiest]
from = "finds"
member = "player"
score = "count() desc"
ties = "first-to-reach"
retract = "ignore"

[board.hunts]
from = "finds"
member = "hunt"
score = "count() desc"
ties = "first-to-reach"
retract = "exact"
"#;

pub(crate) struct Plan {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) shards: usize,
    pub(crate) mesh: MeshOptions,
    pub(crate) log: LogOptions,
    pub(crate) rates: FaultRates,
    pub(crate) finish_rate: u32,
    pub(crate) producers: usize,
    pub(crate) steps: u32,
    /// Chances in 10,000 per step.
    pub(crate) crash_rate: u64,
    pub(crate) disk_full_rate: u64,
    /// Chance in 100 that a wanted segment is supplied in a step.
    pub(crate) supply: u64,
    /// Chance in 100 that a core gets its turn in a step.
    pub(crate) turn: u64,
    /// Sends finish only when the client has read.
    pub(crate) slow_sockets: bool,
    pub(crate) keys: u64,
    /// Most bytes of rows in one frame.
    pub(crate) frame_rows_bytes: usize,
    /// Frames of single events, all to one core: the replies that are due outnumber the credits.
    pub(crate) many_frames: bool,
    /// Layout changes that are left.
    pub(crate) layouts: u32,
}

pub(crate) const SHARDS: [usize; 4] = [1, 2, 3, 5];

/// How often which fault happens; only those that the promise covers.
fn draw_rates(random: &mut Random) -> FaultRates {
    let mut rates = FaultRates::NONE;
    for fault in Fault::ALL {
        let enabled = random.chance(25) && fault.promise() == Promise::Survive;
        let harmless = matches!(fault, Fault::ShortWrite | Fault::Transient);
        let choices = if harmless {
            [300, 2_000, 12_000]
        } else {
            [20, 60, 250]
        };
        if enabled {
            rates = rates.with(fault, *random.pick(&choices));
        }
    }
    rates
}

impl Plan {
    pub(crate) fn draw(random: &mut Random) -> Plan {
        let mut pipeline = if random.chance(50) {
            Pipeline::parse(HUNT).expect("a valid pipeline")
        } else {
            random_pipeline(random)
        };
        if random.chance(20) {
            let weak = [
                Durability::Memory,
                Durability::Written,
                Durability::Interval { ms: 20 },
            ];
            pipeline.streams[0].durability = *random.pick(&weak);
        }
        let frame_blocks = 2 + random.below(3);
        let segment_blocks = 2 * frame_blocks + 2 + random.below(8);
        let log = LogOptions {
            segment_bytes: segment_blocks * BLOCK_BYTES as u64,
            frame_bytes: frame_blocks as usize * BLOCK_BYTES,
            flush: *random.pick(&[FlushPolicy::WithWrite, FlushPolicy::AfterWrite]),
            segments_ready: 1 + random.below(2) as usize,
            lock_tries: 8,
            lock_wait: Duration::ZERO,
            ..LogOptions::default()
        };
        let rates = draw_rates(random);
        let many_frames = random.chance(12);
        let mesh = MeshOptions {
            request_slots: if many_frames {
                2048
            } else {
                *random.pick(&[64, 64, 128, 512])
            },
            reply_slots: if many_frames {
                64
            } else {
                *random.pick(&[64, 64, 256])
            },
        };
        Plan {
            pipeline: Arc::new(pipeline),
            shards: *random.pick(&SHARDS),
            mesh,
            log,
            rates,
            finish_rate: *random.pick(&[65_536, 32_768, 12_000, 4_000]),
            producers: 1 + random.below(5) as usize,
            steps: 150 + random.below(350) as u32,
            crash_rate: *random.pick(&[0, 40, 150]),
            disk_full_rate: *random.pick(&[0, 0, 100]),
            supply: *random.pick(&[100, 30, 5]),
            turn: *random.pick(&[100, 80, 30]),
            slow_sockets: random.chance(40),
            keys: *random.pick(&[3, 24, 200]),
            frame_rows_bytes: frame_blocks as usize * BLOCK_BYTES * 6 / 10,
            many_frames,
            layouts: random.below(4) as u32,
        }
    }
}
