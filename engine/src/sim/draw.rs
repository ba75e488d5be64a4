//! From a seed to a run: who sends what and when, what is sent again, where time jumps, and where
//! the power goes.

use std::collections::BTreeSet;

use ringmill_shard::pipeline::{Pipeline, Stream, View, WindowKind};
use ringmill_storage::disk::sim::{Crash, SimRng};

use super::scenario::{Cut, Line, Scenario, Step, When};
use super::values::Values;

/// Numbers of cores that runs have.
const CORES: [usize; 3] = [1, 2, 5];

/// Moments at which a run may begin, ms since the epoch: evenings before a clock is moved in
/// Europe or America, a leap day, and any morning.
const STARTS_MS: [i64; 6] = [
    1_743_278_400_000, // 2025-03-29T20:00:00Z
    1_761_422_400_000, // 2025-10-25T20:00:00Z
    1_741_467_600_000, // 2025-03-08T21:00:00Z
    1_762_030_800_000, // 2025-11-01T21:00:00Z
    1_709_164_800_000, // 2024-02-29T00:00:00Z
    1_754_035_200_000, // 2025-08-01T08:00:00Z
];

/// No run lasts so long that its calendar windows lie beyond the years that dates have.
const PASS_MS_MAX: i64 = 400 * 86_400_000;

struct Draw<'p> {
    rng: SimRng,
    values: Values<'p>,
    pipeline: &'p Pipeline,
    cores: Vec<usize>,
    /// Lengths of time that the pipeline names, ms.
    lengths_ms: Vec<i64>,
    /// How long a usual pause is at most, ms.
    pause_ms: i64,
    /// How far the clock of each producer is off, ms.
    skews_ms: Vec<i64>,
    now_ms: i64,
}

/// The run of a seed, with about so many events.
pub(super) fn draw(pipeline: &Pipeline, seed: u64, events: u32) -> Scenario {
    let mut rng = SimRng::new(seed);
    let keys = rng.pick(&[3, 12, 60]);
    let lengths_ms = lengths_ms(pipeline);
    let pause_ms = rng.pick(&lengths_ms) / rng.pick(&[4, 10, 40]);
    let mut skews_ms = vec![0];
    for _ in 0..rng.below(4) {
        let far = rng.pick(&lengths_ms) / rng.pick(&[1, 10]);
        skews_ms.push(rng.pick(&[0, far, -far]));
    }
    let cores = CORES.into_iter();
    let cores: Vec<usize> = cores
        .filter(|&cores| pipeline.fits_shards(cores).is_ok())
        .collect();
    let start_ms = rng.pick(&STARTS_MS);
    let draw = Draw {
        values: Values::new(pipeline, keys),
        pipeline,
        cores,
        lengths_ms,
        pause_ms: pause_ms.clamp(1, PASS_MS_MAX),
        skews_ms,
        now_ms: start_ms,
        rng,
    };
    draw.scenario(start_ms, events as usize)
}

/// What windows, seasons, lateness and disorder last, each once, in order.
fn lengths_ms(pipeline: &Pipeline) -> Vec<i64> {
    let seasons = pipeline.boards.iter().filter_map(|b| b.season.as_ref());
    let kinds = pipeline.views.iter().map(|view| &view.window.kind);
    let kinds = kinds.chain(seasons.clone().map(|season| &season.every));
    let of_kind = |kind: &WindowKind| <[i64; 2]>::from(kind.lengths_ms());
    let of_view = |view: &View| [view.window.late_ms, view.window.keep_ms];
    let of_stream = |stream: &Stream| {
        let time = &stream.time;
        [time.disorder_ms, time.max_future_ms, time.idle_ms]
    };
    let mut lengths: BTreeSet<i64> = kinds.flat_map(of_kind).collect();
    lengths.extend(seasons.map(|season| season.grace_ms));
    lengths.extend(pipeline.views.iter().flat_map(of_view));
    lengths.extend(pipeline.streams.iter().flat_map(of_stream));
    lengths.insert(1_000);
    lengths.retain(|ms| (1..=PASS_MS_MAX).contains(ms));
    lengths.into_iter().collect()
}

impl Draw<'_> {
    fn scenario(mut self, start_ms: i64, events: usize) -> Scenario {
        let cores = self.rng.pick(&self.cores);
        let mut losses = self.rng.below(4);
        let mut steps = Vec::new();
        let (mut sent, mut compared) = (0, 0);
        while sent < events {
            self.pass(&mut steps);
            let producer = self.rng.index(self.skews_ms.len());
            let stream = self.rng.index(self.pipeline.streams.len());
            let loses = losses > 0 && self.rng.below(events as u64 / 20 + 1) == 0;
            losses -= u64::from(loses);
            match self.rng.below(100) {
                0..=9 => steps.push(Step::Again {
                    producer,
                    events: 1 + self.rng.index(40),
                }),
                10..=12 => steps.push(Step::Malformed { producer, stream }),
                _ => {
                    let most = self.rng.pick(&[1, 5, 25]).min(events - sent);
                    let count = 1 + self.rng.index(most);
                    let lines = (0..count).map(|_| self.line(producer, stream)).collect();
                    sent += count;
                    let cut = (loses && self.rng.below(3) > 0).then(|| self.cut());
                    steps.push(Step::Send {
                        producer,
                        stream,
                        lines,
                        cut,
                    });
                }
            }
            if loses && !matches!(steps.last(), Some(Step::Send { cut: Some(_), .. })) {
                let cut = self.cut();
                steps.push(Step::Lose(cut));
            }
            if loses || sent >= compared + events.div_ceil(4) {
                compared = sent;
                steps.push(Step::Compare);
            }
        }
        steps.push(Step::Compare);
        Scenario {
            start_ms,
            cores,
            steps,
        }
    }

    /// Mostly a moment; now and then so long that sources are idle and windows end.
    fn pass(&mut self, steps: &mut Vec<Step>) {
        let ms = match self.rng.below(100) {
            0..=29 => 0,
            30..=93 => self.below_ms(self.pause_ms),
            _ => {
                let length_ms = self.rng.pick(&self.lengths_ms);
                length_ms + self.rng.pick(&[-1, 0, 1, length_ms / 3])
            }
        };
        if ms > 0 {
            self.now_ms += ms;
            steps.push(Step::Pass { ms });
        }
    }

    fn below_ms(&mut self, bound_ms: i64) -> i64 {
        self.rng.below(bound_ms.max(1) as u64) as i64
    }

    fn cut(&mut self) -> Cut {
        Cut {
            turns: self.rng.below(12) as u32,
            crash: self.rng.pick(&[Crash::Kill, Crash::PowerLoss]),
            cores: self.rng.pick(&self.cores),
        }
    }

    fn line(&mut self, producer: usize, stream: usize) -> Line {
        let members = self.values.members(&mut self.rng, stream, self.now_ms);
        let time = self.pipeline.streams[stream].time;
        let any_ms = self.rng.pick(&self.lengths_ms);
        let skew_ms = self.skews_ms[producer];
        let when = match self.rng.below(100) {
            // Far too late, and about as late as is allowed.
            0..=4 => When::Ahead(-self.below_ms(any_ms * 2)),
            5..=9 => When::Ahead(-any_ms + self.below_ms(3) - 1),
            // Too far ahead, and about as far as is allowed.
            10..=12 => When::Ahead(self.below_ms(any_ms)),
            13..=14 => When::Ahead(time.max_future_ms + self.below_ms(3) - 1),
            15..=24 => When::Edge {
                size_ms: any_ms,
                before: self.rng.below(2) == 0,
            },
            25..=60 => When::Ahead(skew_ms - self.below_ms(time.disorder_ms + 1)),
            _ => When::Ahead(skew_ms - self.below_ms(self.pause_ms / 3 + 1)),
        };
        Line { members, when }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HUNT: &str = include_str!("../../../docs/examples/treasure_hunt.toml");

    #[test]
    fn a_seed_gives_the_same_run_and_another_seed_another() {
        let pipeline = Pipeline::parse(HUNT).expect("a valid pipeline");
        let text = |seed| format!("{:?}", draw(&pipeline, seed, 200));
        assert_eq!(text(7), text(7));
        assert_ne!(text(7), text(8));
    }

    #[test]
    fn runs_have_all_that_goes_wrong() {
        let pipeline = Pipeline::parse(HUNT).expect("a valid pipeline");
        let mut seen = BTreeSet::new();
        for seed in 0..40 {
            let run = draw(&pipeline, seed, 200);
            assert!((200..=230).contains(&run.events()), "{}", run.events());
            assert!(matches!(run.steps.last(), Some(Step::Compare)));
            seen.insert(format!("{} cores", run.cores));
            for step in &run.steps {
                seen.insert(
                    match step {
                        Step::Pass { ms } if *ms > 10_000 => "a long pause",
                        Step::Pass { .. } => "a pause",
                        Step::Send { cut: Some(_), .. } => "a loss in the middle",
                        Step::Send { .. } => "events",
                        Step::Again { .. } => "a retry",
                        Step::Malformed { .. } => "no event",
                        Step::Lose(_) => "a loss",
                        Step::Compare => "a comparison",
                    }
                    .to_owned(),
                );
            }
        }
        assert_eq!(seen.len(), 11, "{seen:?}");
    }
}
