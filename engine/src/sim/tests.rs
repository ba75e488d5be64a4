//! Differences that were planted are found, and told so that a person can act on them.

use super::*;

const HUNT: &str = include_str!("../../../docs/examples/treasure_hunt.toml");

fn parse(text: &str) -> Arc<Pipeline> {
    Arc::new(Pipeline::parse(text).expect("a valid pipeline"))
}

/// Runs the first seeds of `served` against `truth` until one differs; the smallest run of it.
fn first_difference(served: &str, truth: &str) -> (u64, Played) {
    let (served, truth) = (parse(served), parse(truth));
    for seed in 1..=60 {
        let scenario = draw(&served, seed, 120);
        if let Some((at, _)) = play_once(&served, &truth, seed, &scenario).difference {
            return (seed, smallest(&served, &truth, seed, &scenario, at));
        }
    }
    panic!("no difference was found")
}

#[test]
fn what_a_pipeline_means_otherwise_is_found_and_cut_down_to_a_few_events() {
    let changes = [
        ("late = \"0s\"", "late = \"2s\"", "view by_region"),
        ("keep = \"1h\"", "keep = \"11s\"", "view by_region"),
        (
            "points = \"sum(points)\"",
            "points = \"max(points)\"",
            "column points",
        ),
        ("size = \"10s\"", "size = \"20s\"", "by_region"),
        (
            "score = \"sum(points) desc\"",
            "score = \"sum(points) asc\"",
            "boards/players/top",
        ),
        (
            "ties = \"first-to-reach\"",
            "ties = \"last-to-reach\"",
            "boards/players/top",
        ),
        (
            "ties = \"first-to-reach\"",
            "ties = \"shared\"",
            "boards/players/",
        ),
        (
            "max_future = \"10s\"",
            "max_future = \"9s\"",
            "/v1/streams/finds",
        ),
    ];
    for (right, wrong, told) in changes {
        assert!(HUNT.contains(right), "{right}");
        let (seed, played) = first_difference(HUNT, &HUNT.replacen(right, wrong, 1));
        let story = played.story.join("\n");
        let (_, difference) = played.difference.expect("the smallest run differs");
        assert!(difference.at.contains(told), "{wrong}: {difference:?}");
        assert!(played.tally.events <= 4, "{wrong}: seed {seed}\n{story}");
    }
}

#[test]
fn the_report_names_all_that_is_needed() {
    let truth = HUNT.replacen("points = \"sum(points)\"", "points = \"min(points)\"", 1);
    let (seed, played) = first_difference(HUNT, &truth);
    let args = SimArgs {
        pipeline: "hunt.toml".into(),
        seed: 1,
        runs: 9,
        events: 300,
    };
    let (_, difference) = played.difference.clone().expect("it differs");
    let text = report(&args, seed, &difference, &played);
    for part in [
        "view by_region, window ",
        ": column points\n  expected  ",
        "\n  found     ",
        "\nsmallest run that was found:\n",
        " ms  starts on 1 core\n",
        " sends event 1 to finds: {",
        &format!(
            "see it again: ringmill sim --pipeline hunt.toml --seed {seed} --runs 1 --events 300\n"
        ),
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let pipeline = parse(HUNT);
    for seed in 1..4 {
        let scenario = draw(&pipeline, seed, 200);
        let story = || {
            let played = play_once(&pipeline, &pipeline, seed, &scenario);
            assert_eq!(played.difference, None, "seed {seed}");
            (played.tally, played.story)
        };
        assert_eq!(story(), story(), "seed {seed}");
    }
}
