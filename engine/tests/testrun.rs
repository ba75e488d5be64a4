//! `ringmill test`: verdicts, texts and exit codes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

const HUNT: &str = include_str!("../../docs/examples/treasure_hunt.toml");

fn run(text: &str, more: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hunt.toml");
    std::fs::write(&file, text).unwrap();
    run_file(&file, more)
}

fn run_file(file: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringmill"));
    command.arg("test").arg(file).args(more).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn the_examples_pass_on_any_number_of_shards() {
    for example in ["treasure_hunt.toml", "flights.toml", "visits.toml"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../docs/examples")
            .join(example);
        for shards in ["1", "2", "5"] {
            let output = run_file(&file, &["--shards", shards]);
            assert_eq!(output.status.code(), Some(0), "{}", text(&output));
            assert!(text(&output).contains(" 0 failed, "), "{}", text(&output));
        }
    }
}

/// The example with one of its expectations changed.
#[test]
fn what_is_not_met_is_shown_with_its_line_and_the_answer() {
    let wrong = [
        (
            "is = [[1, 50], [2, 50]]",
            "is = [[2, 50], [1, 50]]",
            "/v1/boards/players/top?n=10000\n      \
          expected [[2,50],[1,50]]\n      found    [[1,50],[2,50]]",
        ),
        (
            "member = 2, is = 2",
            "member = 2, is = 1",
            "/v1/boards/players/rank/2\n      \
          expected 1\n      found    2",
        ),
        (
            "member = 2, is = 2",
            "member = 3, is = 1",
            "/v1/boards/players/rank/3\n      \
          expected 1\n      found    \"none\"",
        ),
        (
            "\"finds.duplicates\", is = 1",
            "\"finds.duplicates\", is = 0",
            "/v1/streams/finds\n      \
          expected 0\n      found    1",
        ),
        (
            "refused = \"future_time\"",
            "refused = \"bad_text\"",
            "the event was refused as \
          `future_time`, not as `bad_text`",
        ),
        (
            "ahead = \"15s\"",
            "ahead = \"5s\"",
            "the event was not refused as `future_time`",
        ),
        (
            "rank = \"players\"",
            "rank = \"playrs\"",
            "/v1/boards/playrs/rank/2 gives 404",
        ),
    ];
    for (right, changed, shown) in wrong {
        assert!(HUNT.contains(right), "{right}");
        let changed = HUNT.replacen(right, changed, 1);
        let line = changed
            .lines()
            .zip(HUNT.lines())
            .position(|(a, b)| a != b)
            .unwrap()
            + 1;
        let output = run(&changed, &[]);
        let found = text(&output);
        assert_eq!(output.status.code(), Some(1), "{found}");
        assert!(
            found.contains("FAIL  ") && found.contains(" 1 failed, "),
            "{found}"
        );
        assert!(
            found.contains(&format!("      line {line}: {shown}")),
            "{found}\nnot: {shown}"
        );
    }
}

#[test]
fn an_event_that_does_not_fit_its_stream_is_refused_for_its_reason() {
    let broken = HUNT.replacen("points = 40, ", "points = \"forty\", ", 1);
    let output = run(&broken, &[]);
    assert_eq!(output.status.code(), Some(1));
    let found = text(&output);
    assert!(
        found.contains("the event was refused: {") && found.contains("points"),
        "{found}"
    );
}

#[test]
fn tests_are_chosen_by_name_and_a_file_may_have_none() {
    let output = run(HUNT, &["--only", "a window closes"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        text(&output).contains("1 test, 0 failed"),
        "{}",
        text(&output)
    );
    let without = &HUNT[..HUNT.find("[[test]]").unwrap()];
    let output = run(without, &[]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        text(&output).ends_with("hunt.toml: no [[test]] block to run\n"),
        "{}",
        text(&output)
    );
}

#[test]
fn a_wrong_file_is_a_wrong_use() {
    let output = run(&HUNT.replace("expect = [", "expects = ["), &[]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("unknown key `expects` in [[test]]; did you mean `expect`?"),
        "{said}"
    );
}
