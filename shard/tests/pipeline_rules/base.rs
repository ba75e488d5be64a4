//! A correct file, and ways to break one line of it.

use ringmill_shard::pipeline::{Pipeline, Problem};

/// A correct file; the tests change one line of it.
pub(crate) const BASE: &str = r#"ringmill = 1
[engine]
cores = "all-but-1"
memory = "8GiB"
data = "./data"
[stream.finds]
key = "player"
time = { field = "at", disorder = "5s", max_future = "10s", idle = "3s" }
durability = "interval:500ms"
[stream.finds.fields]
player = { id = 1, type = "u64" }
at = { id = 2, type = "time" }
points = { id = 3, type = "i64" }
region = { id = 4, type = "text(11)", optional = true }
ratio = { id = 5, type = "f64" }
seen = { id = 6, type = "time", optional = true }
flag = { id = 7, type = "bool" }
[view.by_region]
from = "finds"
group = ["region", "flag"]
window = { kind = "tumbling", size = "10s", late = "1s", keep = "1h" }
[view.by_region.columns]
finds = "count()"
points = "sum(points)"
[board.players]
from = "finds"
member = "player"
score = "sum(points) desc"
ties = "first-to-reach"
"#;

pub(crate) fn problems(text: &str) -> Vec<String> {
    match Pipeline::parse(text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(Problem::to_string).collect(),
    }
}

/// The base with the one line that begins with `line` (after blanks) replaced.
pub(crate) fn with(line: &str, replacement: &str) -> String {
    let count = BASE.lines().filter(|one| one.starts_with(line)).count();
    assert_eq!(count, 1, "`{line}` must name one line");
    let lines = BASE.lines().map(|one| {
        if one.starts_with(line) {
            replacement
        } else {
            one
        }
    });
    lines.map(|one| format!("{one}\n")).collect()
}

#[track_caller]
pub(crate) fn refused(line: &str, replacement: &str, expected: &str) {
    assert_eq!(
        problems(&with(line, replacement)),
        [expected],
        "{replacement}"
    );
}

#[track_caller]
pub(crate) fn accepted(line: &str, replacement: &str) -> Pipeline {
    Pipeline::parse(&with(line, replacement))
        .unwrap_or_else(|problems| panic!("{replacement}: {problems:?}"))
}
