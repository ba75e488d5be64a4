//! `was`: what an object was called before.

use crate::base::{BASE, accepted, problems, refused, with};
use ringmill_shard::pipeline::{Kind, Pipeline, Place};

#[test]
fn a_former_name_is_read_with_its_place() {
    let text = with("ties", "ties = \"member\"\nwas = \"hunters\"")
        .replace(
            "[view.by_region]\n",
            "[view.by_region]\nwas = \"regions\"\n",
        )
        .replace("key =", "was = \"hits\"\nkey =")
        .replace("points = { id = 3,", "points = { was = \"score\", id = 3,");
    let (pipeline, declarations) = Pipeline::parse_declared(&text).unwrap();
    // It is no part of what the pipeline means.
    let ties = with("ties", "ties = \"member\"");
    assert_eq!(pipeline.digest(), Pipeline::parse(&ties).unwrap().digest());
    let was = |kind, name| declarations.object(kind, name).unwrap().was.clone();
    let at = |text: &str, line, column| Some((text.to_owned(), Place { line, column }));
    assert_eq!(was(Kind::Stream, "finds"), at("hits", 7, 7));
    assert_eq!(was(Kind::View, "by_region"), at("regions", 20, 7));
    assert_eq!(was(Kind::Board, "players"), at("hunters", 32, 7));
    let field = |name| declarations.field("finds", name).unwrap().clone();
    assert_eq!(field("points").was, at("score", 14, 18));
    assert_eq!(field("at").was, None);
    assert_eq!(
        field("at").place,
        Place {
            line: 13,
            column: 1
        }
    );
}

#[test]
fn a_former_name_is_a_name_that_nothing_else_has() {
    let view = "from = \"finds\"\nwindow = { size = \"1m\" }\ncolumns = { n = \"count()\" }";
    refused(
        "ties",
        "was = 1",
        "line 29, column 7: `was` in [board.players] must be text, not a whole number",
    );
    refused(
        "ties",
        "was = \"a b\"",
        "line 29, column 7: [board.players]: `was`: `a b` is no name of a board; name what it was \
         called before",
    );
    refused(
        "points = {",
        "points = { id = 3, type = \"i64\", was = \"a-b\" }",
        "line 13, column 40: field `points` of stream `finds`: `was`: `a-b` is no name of a field; \
         name what it was called before",
    );
    refused(
        "ties",
        "was = \"players\"",
        "line 29, column 7: [board.players]: `was` is its own name; remove `was`",
    );
    let text = format!("{BASE}[view.other]\nwas = \"by_region\"\n{view}\n");
    assert_eq!(
        problems(&text),
        [
            "line 31, column 7: [view.other]: `was`: there is still a view `by_region` in the \
             file; rename that one too, or remove `was`: `other` is a new view then"
        ]
    );
    let text = format!("{BASE}[view.a]\nwas = \"old\"\n{view}\n[view.b]\nwas = \"old\"\n{view}\n");
    assert_eq!(
        problems(&text),
        [
            "line 36, column 7: [view.b]: `old` is what `a` was too; one name goes on as one; \
             remove one `was`"
        ]
    );
    // Names of kinds do not meet.
    accepted("ties", "was = \"by_region\"");
}
