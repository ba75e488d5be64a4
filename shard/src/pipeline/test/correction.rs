//! Steps of a test that take events back, and put them back.

use std::ops::Range;

use toml::de::DeTable;

use super::{Send, read_moment};
use crate::pipeline::keys;
use crate::pipeline::problem::Report;
use crate::pipeline::section::Section;

/// A correction in a test.
#[derive(Clone, Debug, PartialEq)]
pub struct TestCorrection {
    /// Line of the file.
    pub line: usize,
    /// When, in ms after the start of the test.
    pub at_ms: i64,
    /// The `id` of the event.
    pub id: String,
    /// Whether the correction of the event is undone.
    pub is_undo: bool,
    /// Why.
    pub reason: String,
}

/// Whether a step of `send` is a correction.
pub(super) fn is_correction(table: &DeTable<'_>) -> bool {
    ["retract", "undo"]
        .iter()
        .any(|key| table.contains_key(*key))
}

pub(super) fn read(
    report: &mut Report<'_>,
    span: Range<usize>,
    table: &DeTable<'_>,
    sends: &[Send],
) -> Option<TestCorrection> {
    let line = report.line(span.start);
    let path = "`send` in [[test]]".to_owned();
    let section = Section::open(report, path, span, table, &keys::SEND);
    section.require(report, "at");
    let at_ms = read_moment(report, &section, "at");
    let is_undo = section.value("undo").is_some();
    let of = if is_undo { "undo" } else { "retract" };
    for (key, span, _) in section.entries() {
        if !["at", of, "reason"].contains(&key) {
            let message = format!("`{key}` in {} does not belong to `{of}`", section.path);
            report.add(span, message);
        }
    }
    let named = section.text(report, of)?;
    let known = sends
        .iter()
        .any(|send| send.id.as_deref() == Some(named.text));
    if !known {
        report.add_hint(
            named.span,
            format!(
                "`{of}` in {}: no event has the id `{}`",
                section.path, named.text
            ),
            "give the event that is meant an `id`".to_owned(),
        );
    }
    let reason = section.text(report, "reason");
    let reason = reason.map_or("a test", |reason| reason.text);
    Some(TestCorrection {
        line,
        at_ms: at_ms?,
        id: named.text.to_owned(),
        is_undo,
        reason: reason.to_owned(),
    })
}
