//! `split`, `splits`, `with` and `mean_best` of `[board.NAME]`.

use crate::base::{BASE, accepted, problems, refused};
use ringmill_shard::pipeline::{Score, ScoreRule};

#[test]
fn splits_that_are_refused() {
    let check = |lines: &str, expected: &str| refused("ties", lines, expected);
    check(
        "split = \"region\"",
        "line 29, column 9: `split` in [board.players] must be a list of texts, not text",
    );
    check(
        "split = [\"regoin\"]",
        "line 29, column 10: [board.players]: stream `finds` has no field `regoin`; \
         did you mean `region`?",
    );
    check(
        "split = [\"ratio\"]",
        "line 29, column 10: [board.players]: field `ratio` is f64, which cannot be a split; \
         use a u64, i64, bool, time, uuid or text field",
    );
    check(
        "split = [\"flag\", \"flag\"]",
        "line 29, column 18: [board.players]: `split` names `flag` twice",
    );
    check(
        "split = [\"flag\", \"region\", \"points\", \"seen\", \"at\"]",
        "line 29, column 9: [board.players]: `split` has 5 fields; at most 4 are possible",
    );
    check(
        "split = [\"flag\"]\nsplits = 0",
        "line 30, column 10: [board.players]: `splits` is a number of splits from 1 to 10000",
    );
    check(
        "split = [\"flag\"]\nsplits = 10001",
        "line 30, column 10: [board.players]: `splits` is a number of splits from 1 to 10000",
    );
    check(
        "splits = 5",
        "line 29, column 10: `splits` in [board.players] belongs to `split`",
    );
}

#[test]
fn a_split_whose_name_is_a_parameter_is_refused() {
    for name in ["n", "offset", "season", "numbers"] {
        let text = BASE.replace("region = {", &format!("{name} = {{"));
        let text = text.replace("\"region\", ", "");
        let text = text.replace(
            "ties = \"first-to-reach\"",
            &format!("split = [\"{name}\"]"),
        );
        let expected = format!(
            "line 29, column 10: [board.players]: a split is asked for by its name, and `{name}` \
             means another thing; split by a computed column of another name"
        );
        assert_eq!(problems(&text), [expected]);
    }
}

#[test]
fn columns_that_take_too_many_bytes_are_refused() {
    let text = BASE.replace("text(11)", "text(255)");
    let text = text.replace(
        "flag = {",
        "name = { id = 8, type = \"text(255)\" }\nflag = {",
    );
    for key in ["split", "with"] {
        let line = format!("{key} = [\"region\", \"name\", \"flag\"]");
        let text = text.replace("ties = \"first-to-reach\"", &line);
        let column = key.len() + 4;
        let expected = format!(
            "line 30, column {column}: [board.players]: `{key}` takes 513 bytes; at most 512 are \
             possible; name fewer or shorter fields"
        );
        assert_eq!(problems(&text), [expected]);
    }
}

#[test]
fn what_stands_beside_a_score_and_is_refused() {
    let check = |lines: &str, expected: &str| refused("ties", lines, expected);
    check(
        "with = \"region\"",
        "line 29, column 8: `with` in [board.players] must be a list of texts, not text",
    );
    check(
        "with = [\"regoin\"]",
        "line 29, column 9: [board.players]: stream `finds` has no field `regoin`; \
         did you mean `region`?",
    );
    check(
        "with = [\"flag\", \"flag\"]",
        "line 29, column 17: [board.players]: `with` names `flag` twice",
    );
    let fields: Vec<String> = (0..17).map(|at| format!("f{at}")).collect();
    let declared = fields.iter().enumerate();
    let declared =
        declared.map(|(at, f)| format!("{f} = {{ id = {}, type = \"u64\" }}\n", at + 20));
    let text = BASE.replace(
        "flag = {",
        &format!("{}flag = {{", declared.collect::<String>()),
    );
    let text = text.replace("ties = \"first-to-reach\"", &format!("with = {fields:?}"));
    let expected =
        "line 46, column 8: [board.players]: `with` has 17 fields; at most 16 are possible";
    assert_eq!(problems(&text), [expected]);
}

#[test]
fn splits_and_what_stands_beside_a_score() {
    let board = |lines: &str| accepted("ties", lines).boards[0].clone();
    let plain = board("");
    assert_eq!(
        (plain.split, plain.splits, plain.with),
        (vec![], 100, vec![])
    );
    let split = board("split = [\"region\", \"flag\"]\nsplits = 7\nwith = [\"ratio\", \"seen\"]");
    assert_eq!(
        (split.split, split.splits, split.with),
        (vec![3, 6], 7, vec![4, 5])
    );
    let empty = board("split = []\nwith = []");
    assert_eq!((empty.split, empty.with), (vec![], vec![]));
}

#[test]
fn means_that_are_refused() {
    let check = |score: &str, expected: &str| {
        refused("score", &format!("score = {score}"), expected);
    };
    check(
        "\"mean_best(points)\"",
        "line 28, column 9: [board.players]: mean_best(points) does not say of how many; \
         write for example `mean_best(points, 3)`",
    );
    for n in ["0", "65", "-1", "3.5", "many"] {
        check(
            &format!("\"mean_best(points, {n})\""),
            &format!(
                "line 28, column 9: [board.players]: `{n}` is no number of values; \
                 use a whole number from 1 to 64"
            ),
        );
    }
    check(
        "\"mean_best(at, 3)\"",
        "line 28, column 9: [board.players]: field `at` is time; mean_best takes u64, i64 or f64",
    );
    check(
        "[\"mean_best(points, 3)\", \"mean_best(ratio, 3)\", \"count()\"]",
        "line 28, column 9: [board.players]: scores take 5 places; at most 4 are possible; \
         each `mean_best` takes two",
    );
}

#[test]
fn means() {
    let score = |text: &str| accepted("score", &format!("score = \"{text}\"")).boards[0].scores[0];
    let mean = |field, n, descending| Score {
        rule: ScoreRule::MeanBest { n },
        field: Some(field),
        descending,
    };
    assert_eq!(score("mean_best(points, 3)"), mean(2, 3, true));
    assert_eq!(score("mean_best(ratio, 64) asc"), mean(4, 64, false));
    let computed = accepted("score", "score = \"mean_best(points * 2, 5) desc\"");
    assert_eq!(computed.boards[0].scores, [mean(7, 5, true)]);
}
