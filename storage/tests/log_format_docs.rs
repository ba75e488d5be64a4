//! The byte tables and the truth table in `docs/formats/log.md` are those of the code.
//!
//! `RINGMILL_WRITE_DOCS=1` writes them there.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write;
use std::path::PathBuf;

use ringmill_storage::layout::{
    BLOCK_BYTES, FORMAT_VERSION, FRAME_BYTES_MAX, FRAME_HEADER_BYTES, SEGMENT_BYTES_DEFAULT,
    TABLES, entry,
};
use ringmill_storage::recovery::{Evidence, Next, Verdict, verdict};

fn page_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/formats/log.md")
}

fn byte_table(title: &str) -> String {
    let (_, fields) = TABLES
        .iter()
        .find(|(name, _)| *name == title)
        .expect("a table of the code");
    let mut text = String::from("| offset | bytes | field | meaning |\n|---|---|---|---|\n");
    for field in *fields {
        let row = format!("| {} | {} | `{}` |", field.offset, field.bytes, field.name);
        writeln!(text, "{row} {} |", field.meaning).unwrap();
    }
    text
}

fn truth_table() -> String {
    let mut text =
        String::from("| what stands there | no evidence | any evidence |\n|---|---|---|\n");
    let proof = Evidence {
        later_frame: true,
        ..Evidence::default()
    };
    let word = |verdict| match verdict {
        Verdict::Take => "take it",
        Verdict::End => "end",
        Verdict::TornEnd => "torn end",
        Verdict::Corrupt => "**refuse**",
    };
    for next in Next::ALL {
        let without = word(verdict(next, &Evidence::default()));
        let with = word(verdict(next, &proof));
        writeln!(text, "| {} | {without} | {with} |", next.describe()).unwrap();
    }
    text
}

fn constants() -> String {
    let rows = [
        ("format version", u64::from(FORMAT_VERSION)),
        ("block", BLOCK_BYTES as u64),
        ("frame header", FRAME_HEADER_BYTES as u64),
        ("longest frame", FRAME_BYTES_MAX as u64),
        ("segment, by default", SEGMENT_BYTES_DEFAULT),
        ("alignment of an entry's bytes", entry::ALIGNMENT as u64),
        ("preamble of a payload", entry::PREAMBLE_BYTES as u64),
    ];
    let mut text = String::from("| constant | value |\n|---|---|\n");
    for (name, value) in rows {
        writeln!(text, "| {name} | {value} |").unwrap();
    }
    text
}

/// Replaces what stands between the markers of `name`.
fn replace(page: &str, name: &str, content: &str) -> String {
    let (begin, end) = (
        format!("<!-- begin {name} -->\n"),
        format!("<!-- end {name} -->"),
    );
    let (head, rest) = page
        .split_once(&begin)
        .unwrap_or_else(|| panic!("marker of {name}"));
    let (_, tail) = rest
        .split_once(&end)
        .unwrap_or_else(|| panic!("end marker of {name}"));
    format!("{head}{begin}{content}{end}{tail}")
}

#[test]
fn the_page_on_the_format_prints_the_codes_own_tables() {
    let page = std::fs::read_to_string(page_path()).expect("docs/formats/log.md");
    let mut expected = page.clone();
    for (title, _) in TABLES {
        expected = replace(&expected, title, &byte_table(title));
    }
    expected = replace(&expected, "Truth table", &truth_table());
    expected = replace(&expected, "Constants", &constants());
    if std::env::var_os("RINGMILL_WRITE_DOCS").is_some() {
        std::fs::write(page_path(), &expected).unwrap();
        return;
    }
    for (found, expected) in page.lines().zip(expected.lines()) {
        assert_eq!(found, expected, "docs/formats/log.md differs from the code");
    }
    assert_eq!(page, expected);
}
