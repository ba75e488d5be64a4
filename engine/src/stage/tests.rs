//! Traps of time that only a whole engine can fall into.

use super::*;

const START_MS: i64 = 1_700_000_000_000;
const PIPELINE: &str = r#"
ringmill = 1
[stream.finds]
key = "player"
time = { field = "at", disorder = "0s", max_future = "10s", idle = "60s" }
[stream.finds.fields]
player = { id = 1, type = "u64" }
at = { id = 2, type = "time" }
points = { id = 3, type = "i64" }
[view.each_second]
from = "finds"
window = { kind = "tumbling", size = "1s", late = "0s", keep = "1h" }
[view.each_second.columns]
finds = "count()"
[board.players]
from = "finds"
member = "player"
score = "sum(points) desc"
ties = "first-to-reach"
"#;

struct Play {
    world: SimWorld,
    clock: ManualClock,
    pipeline: Arc<Pipeline>,
    stage: Stage,
}

impl Play {
    fn new(shards: usize) -> Play {
        let world = SimWorld::new(1);
        world.set_finish_rate(FINISH_AT_ONCE);
        let clock = ManualClock::new(1_000_000_000, START_MS as u64 * 1_000_000);
        let pipeline = Arc::new(Pipeline::parse(PIPELINE).expect("a valid pipeline"));
        let stage = Stage::start(&world, &clock, &pipeline, START_MS, shards);
        Play {
            stage: stage.expect("it starts"),
            world,
            clock,
            pipeline,
        }
    }

    async fn find(&mut self, player: u64, at_ms: i64, points: i64) {
        let event = format!("{{\"player\":{player},\"at\":{at_ms},\"points\":{points}}}");
        let request = Request::post("/v1/streams/finds/events").body(Body::from(event));
        let (status, answer) = self.stage.ask(request.expect("a request")).await;
        assert_eq!(
            (status, &answer["accepted"]),
            (StatusCode::OK, &1.into()),
            "{answer}"
        );
    }

    async fn get(&mut self, path: &str) -> Value {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let (status, answer) = self.stage.ask(request).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }

    /// The members of the board, best first.
    async fn members(&mut self) -> Vec<u64> {
        let answer = self.get("/v1/boards/players/top").await;
        let rows = answer["rows"].as_array().expect("rows").iter();
        rows.filter_map(|row| row["member"].as_u64()).collect()
    }

    fn set_wall(&self, ms: i64) {
        self.clock.set_wall_ns(ms.unsigned_abs() * 1_000_000);
    }
}

fn on_a_runtime(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(test);
}

#[test]
fn trap_24_cores_without_events_do_not_hold_time_back() {
    on_a_runtime(async {
        let mut play = Play::new(5);
        play.find(1, START_MS, 1).await;
        play.find(1, START_MS + 1_500, 1).await;
        // What an event allows is recorded with the next.
        play.find(1, START_MS + 1_600, 1).await;
        // The other cores learn of it within about a second, long before they count as idle.
        for second in 1..=3 {
            play.stage.advance_to(second * 1_000);
        }
        let view = play.get("/v1/views/each_second").await;
        let states: Vec<&str> = view["rows"]
            .as_array()
            .expect("rows")
            .iter()
            .filter_map(|row| row["state"].as_str())
            .collect();
        assert_eq!(states, ["final", "early"], "{view}");
        assert_eq!(view["watermark_ms"], START_MS + 1_500);
    });
}

#[test]
fn trap_28_a_clock_that_steps_back_changes_no_order() {
    on_a_runtime(async {
        let mut play = Play::new(1);
        play.stage.advance_to(5_000);
        play.find(1, START_MS, 50).await;
        play.set_wall(START_MS - 3_600_000);
        play.find(2, START_MS - 3_600_000, 50).await;
        assert_eq!(play.members().await, [1, 2], "who came first stays first");
        // Nor does a start with the clock still behind.
        play.world.crash(ringmill_storage::disk::sim::Crash::Kill);
        play.stage = Stage::start(&play.world, &play.clock, &play.pipeline, START_MS, 1)
            .expect("it starts again");
        play.find(3, START_MS - 3_600_000, 50).await;
        assert_eq!(play.members().await, [1, 2, 3]);
    });
}

#[test]
fn trap_29_replay_goes_by_recorded_time_alone() {
    on_a_runtime(async {
        let mut play = Play::new(2);
        play.find(1, START_MS, 1).await;
        play.find(2, START_MS + 1_500, 1).await;
        play.find(3, START_MS + 9_000, 1).await;
        play.find(2, START_MS + 1_600, 1).await;
        let before = play.get("/v1/views/each_second?state=final").await;
        // A year later nothing of it is too late or too early.
        play.world
            .crash(ringmill_storage::disk::sim::Crash::PowerLoss);
        play.set_wall(START_MS + 365 * 86_400_000);
        play.stage = Stage::start(&play.world, &play.clock, &play.pipeline, START_MS, 2)
            .expect("it starts again");
        let after = play.get("/v1/views/each_second?state=final").await;
        assert_eq!(before["rows"], after["rows"]);
        let stream = play.get("/v1/streams/finds").await;
        assert_eq!(
            (&stream["accepted"], &stream["rejected"]),
            (&4.into(), &0.into())
        );
    });
}
