//! `ringmill sim` on pipelines that use all there is: no difference, verdicts and exit codes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Views of every kind of window and boards with every tie rule, over two streams.
const ALL: &str = r#"
ringmill = 1

[stream.finds]
key = "player"
time = { field = "at", disorder = "2s", max_future = "3s", idle = "4s" }

[stream.finds.fields]
player = { id = 1, type = "u64" }
at = { id = 2, type = "time" }
kind = { id = 3, type = "text(8)", optional = true }
points = { id = 4, type = "i64" }
luck = { id = 5, type = "f64", optional = true }
team = { id = 6, type = "text(4)" }
won = { id = 7, type = "bool" }

[stream.finds.computed]
doubled = "points * 2"
odds = "luck / (luck - 0.5)"

[stream.scans]
key = "device"
time = { field = "at", disorder = "0s", max_future = "1s", idle = "2s" }
durability = "memory"
dedupe = { by = ["shop"], mode = "id", horizon = "1m", memory = "8MiB" }

[stream.scans.fields]
device = { id = 1, type = "uuid" }
at = { id = 2, type = "time" }
shop = { id = 3, type = "u64" }

[view.tumbling]
from = "finds"
where = "kind = 'chest' or doubled > 10"
group = ["team", "won"]
window = { kind = "tumbling", size = "3s", late = "1s", keep = "30s", after = "amend" }
[view.tumbling.columns]
n = "count()"
points = "sum(doubled)"
mean = "avg(points)"
luck = "sum(luck)"
first = "first(kind)"
last = "last(player)"

[view.hopping]
from = "finds"
group = ["kind"]
window = { kind = "hopping", size = "5s", hop = "2s", late = "0s", keep = "1h" }
[view.hopping.columns]
players = "distinct(player) within 5%"
half = "quantile(points, 0.5) within 1%"
teams = "top(team, 2)"
odds = "max(odds)"

[view.cumulative]
from = "scans"
window = { kind = "cumulative", size = "10s", step = "5s", late = "1s", keep = "20s", after = "amend" }
[view.cumulative.columns]
n = "count()"
shops = "distinct(shop) within 1%"

[view.daily]
from = "finds"
group = ["player"]
window = { kind = "calendar", unit = "hour", zone = "America/New_York", late = "0s", keep = "2d" }
[view.daily.columns]
least = "min(points)"
greatest = "max(at)"

[board.first]
from = "finds"
member = "player"
score = ["sum(points) desc", "count() asc"]
ties = "first-to-reach"
season = { every = "20s", grace = "3s", keep = 2 }
split = ["team"]
with = ["kind", "points"]

[board.last]
from = "finds"
member = "team"
score = "best(points) desc"
ties = "last-to-reach"
rank = "percentile"

[board.named]
from = "finds"
where = "won"
member = "kind"
score = ["latest(doubled) asc", "sum(luck) desc"]
ties = "member"

[board.shared]
from = "scans"
member = "device"
score = "count() desc"
ties = "shared"
season = { every = "hour", zone = "Asia/Kolkata", keep = 1 }
"#;

fn run(file: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringmill"));
    let command = command.arg("sim").arg("--pipeline").arg(file);
    command.args(more).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn is_clean(file: &Path, seed: &str, runs: &str, events: &str) {
    let more = ["--seed", seed, "--runs", runs, "--events", events];
    let output = run(file, &more);
    let found = text(&output);
    assert_eq!(output.status.code(), Some(0), "{found}");
    let lines: Vec<&str> = found.lines().collect();
    assert_eq!(lines.len(), runs.parse::<usize>().unwrap() + 1, "{found}");
    assert!(lines[0].starts_with(&format!("seed {seed}: ")), "{found}");
    assert!(lines[0].ends_with(" rounds: ok"), "{found}");
    let last = lines[lines.len() - 1];
    assert!(last.starts_with(&format!("{runs} runs, ")), "{found}");
    assert!(last.contains(" compared, 0 differences, "), "{found}");
}

#[test]
fn the_examples_show_no_difference() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples");
    for example in ["treasure_hunt.toml", "flights.toml"] {
        is_clean(&examples.join(example), "1", "4", "200");
    }
}

fn written(dir: &Path, text: &str) -> PathBuf {
    let file = dir.join("all.toml");
    std::fs::write(&file, text).unwrap();
    file
}

#[test]
fn a_pipeline_with_everything_shows_no_difference() {
    let dir = tempfile::tempdir().unwrap();
    is_clean(&written(dir.path(), ALL), "100", "8", "300");
}

#[test]
fn a_wrong_file_and_wrong_numbers_are_a_wrong_use() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = written(
        dir.path(),
        &ALL.replace("where = \"won\"", "where = \"own\""),
    );
    let output = run(&wrong, &[]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("did you mean `won`?"), "{said}");
    let right = written(dir.path(), ALL);
    for wrong in [["--runs", "0"], ["--events", "0"], ["--seed", "-1"]] {
        assert_eq!(run(&right, &wrong).status.code(), Some(2), "{wrong:?}");
    }
}
