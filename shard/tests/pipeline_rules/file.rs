//! The file as a whole, names and `[engine]`.

use crate::base::{BASE, accepted, problems, refused};
use ringmill_shard::pipeline::{Cores, Durability, Pipeline};

#[test]
fn the_base_is_correct() {
    let pipeline = Pipeline::parse(BASE).unwrap();
    assert_eq!(pipeline.engine.cores, Some(Cores::AllBut(1)));
    assert_eq!(pipeline.engine.memory_bytes, Some(8 << 30));
    assert_eq!(pipeline.engine.data.as_deref(), Some("./data"));
    assert_eq!(
        pipeline.streams[0].durability,
        Durability::Interval { ms: 500 }
    );
    assert_eq!(pipeline.views[0].group, [3, 6]);
}

#[test]
fn all_problems_are_reported_at_once_in_the_order_of_the_file() {
    let text = BASE
        .replace("disorder =", "disordr =")
        .replace("\"text(11)\"", "\"text(0)\"")
        .replace("group = [\"region\"", "group = [\"regoin\"")
        .replace("sum(points) desc", "sum(points) down")
        .replace("id = 7", "id = 1");
    assert_eq!(
        problems(&text),
        [
            "line 8, column 24: unknown key `disordr` in [stream.finds.time]; \
             did you mean `disorder`?",
            "line 14, column 27: `text(0)` of field `region` of stream `finds` is no text type; \
             write text(n) with n bytes from 1 to 255",
            "line 17, column 15: field `flag` of stream `finds` has id 1, which field `player` \
             has; give every field an id of its own",
            "line 20, column 10: [view.by_region]: stream `finds` has no field `regoin`; \
             did you mean `region`?",
            "line 28, column 9: [board.players]: unknown direction `down`; known: `asc`, `desc`",
        ]
    );
}

#[test]
fn syntax() {
    let found = problems("ringmill = 1\n[stream.finds\nkey = 5");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("line 2, column 14: "), "{found:?}");
    let found = problems("ringmill = 1\nringmill = 1\n");
    assert!(
        found[0].starts_with("line 2, column 1: duplicate key"),
        "{found:?}"
    );
    // Columns are characters, not bytes.
    let found = problems("ringmill = 1\n\"\u{e9}\u{e9}\" = 1");
    assert_eq!(
        found[1],
        "line 2, column 1: unknown key `\u{e9}\u{e9}` in the file; known: \
        `ringmill`, `engine`, `stream`, `view`, `board`, `test`"
    );
}

#[test]
fn the_file() {
    assert_eq!(
        problems(""),
        [
            "line 1, column 1: the file does not say its format; begin it with `ringmill = 1`",
            "line 1, column 1: the file needs at least one [stream.NAME]",
        ]
    );
    refused(
        "ringmill",
        "ringmill = 2",
        "line 1, column 12: file format 2 is not supported, only format 1 is",
    );
    refused(
        "ringmill",
        "ringmill = \"1\"",
        "line 1, column 12: `ringmill` in the file must be a whole number, not text",
    );
    let text = BASE.replace("[board.players]", "[board]\nplayers = 5\n[board.more]");
    assert_eq!(
        problems(&text),
        ["line 26, column 11: [board.players] must be a table, not a whole number"]
    );
    assert_eq!(
        problems(&BASE[..BASE.find("[view").unwrap()].replacen('\n', "\nview = 5\n", 1)),
        ["line 2, column 8: `view` in the file must be a table, not a whole number"]
    );
    let found = problems(&format!("{BASE}[streams.other]\n"));
    assert_eq!(
        found,
        ["line 30, column 2: unknown key `streams` in the file; did you mean `stream`?"]
    );
}

#[test]
fn names_and_counts() {
    let text = BASE.replace("[board.players]", "[board.\"top 10\"]");
    assert_eq!(
        problems(&text),
        [
            "line 25, column 8: `top 10` is no name of a board; use a letter, then letters, digits, \
          `_` and `-`, at most 64 bytes"
        ]
    );
    let long = "x".repeat(65);
    let text = BASE.replace("[board.players]", &format!("[board.{long}]"));
    assert_eq!(problems(&text).len(), 1);
    let boards: String = (0..64)
        .map(|i| format!("[board.b{i}]\nfrom=\"finds\"\nmember=\"player\"\nscore=\"count()\"\n"))
        .collect();
    assert_eq!(
        problems(&format!("{BASE}{boards}")),
        ["line 25, column 2: 65 boards; a pipeline has at most 64"]
    );
}

#[test]
fn engine() {
    refused(
        "cores",
        "core = 2",
        "line 3, column 1: unknown key `core` in [engine]; did you mean `cores`?",
    );
    for faulty in [
        "0",
        "-1",
        "70000",
        "\"most\"",
        "\"all-but-\"",
        "1.5",
        "\"all-but-x\"",
    ] {
        refused(
            "cores",
            &format!("cores = {faulty}"),
            "line 3, column 9: `cores` in [engine] is no number of cores; \
             write a number from 1, \"all\" or \"all-but-1\"",
        );
    }
    assert_eq!(
        accepted("cores", "cores = 4").engine.cores,
        Some(Cores::Count(4))
    );
    assert_eq!(
        accepted("cores", "cores = \"all\"").engine.cores,
        Some(Cores::AllBut(0))
    );
    assert_eq!(accepted("cores", "").engine.cores, None);
    refused(
        "memory",
        "memory = \"8G\"",
        "line 4, column 10: `memory` in [engine]: `8G` is no size; \
         write a whole number and a unit: 512MiB, 8GiB, 16GB",
    );
    refused(
        "memory",
        "memory = 8",
        "line 4, column 10: `memory` in [engine] must be text, not a whole number",
    );
    refused(
        "data",
        "data = \"\"",
        "line 5, column 8: `data` in [engine] is empty",
    );
}
