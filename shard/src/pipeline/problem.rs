//! What is wrong with a pipeline file, and where.

use std::fmt;
use std::ops::Range;

use crate::expression::Fault;
use crate::pipeline::section::Text;

/// One fault of a pipeline file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1; 0 if the problem lies in no single place.
    pub line: usize,
    /// Column in characters, from 1; 0 if the problem lies in no single place.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}, column {}: ", self.line, self.column)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// Collects the problems of one file.
pub(super) struct Report<'t> {
    text: &'t str,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl<'t> Report<'t> {
    pub(super) fn new(text: &'t str) -> Report<'t> {
        Report {
            text,
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, span: Range<usize>, message: String) {
        self.push(span, message, None);
    }

    pub(super) fn add_hint(&mut self, span: Range<usize>, message: String, hint: String) {
        self.push(span, message, Some(hint));
    }

    pub(super) fn push(&mut self, span: Range<usize>, message: String, hint: Option<String>) {
        let problem = self.problem(span, message, hint);
        self.problems.push(problem);
    }

    /// What is allowed and most likely not meant.
    pub(super) fn warn(&mut self, span: Range<usize>, message: String, hint: String) {
        let warning = self.problem(span, message, Some(hint));
        self.warnings.push(warning);
    }

    fn problem(&self, span: Range<usize>, message: String, hint: Option<String>) -> Problem {
        let (line, column) = self.place(span.start);
        Problem {
            line,
            column,
            message,
            hint,
        }
    }

    /// A fault of an expression that begins at `offset` of a text.
    pub(super) fn fault(&mut self, path: &str, text: &Text<'_>, offset: usize, fault: Fault) {
        let at = source_offset(self.text, text, offset + fault.at);
        let message = format!("{path}: {}", fault.message);
        self.push(at..at, message, fault.hint);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// All problems in the order of the file.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        self.problems
            .sort_by_key(|problem| (problem.line, problem.column));
        self.problems
    }

    /// All warnings in the order of the file.
    pub(super) fn into_warnings(mut self) -> Vec<Problem> {
        self.warnings
            .sort_by_key(|warning| (warning.line, warning.column));
        self.warnings
    }

    /// The line that an offset lies on, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.place(offset).0
    }

    pub(super) fn place(&self, offset: usize) -> (usize, usize) {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        // Bytes that continue a character (10xxxxxx) are no column of their own.
        let on_line = before.iter().rev().take_while(|byte| **byte != b'\n');
        (
            line,
            on_line.filter(|byte| **byte & 0xc0 != 0x80).count() + 1,
        )
    }
}

/// Where byte `offset` of a text stands in the file, which may write it with escapes.
fn source_offset(file: &str, text: &Text<'_>, offset: usize) -> usize {
    let source = file.get(text.span.clone()).unwrap_or_default();
    let quote = source.chars().next().unwrap_or_default();
    let many: String = [quote; 3].iter().collect();
    let mut at = if source.len() >= 6 && source.starts_with(&many) {
        let newline = ["\r\n", "\n"].map(|end| source[3..].starts_with(end));
        match newline {
            [true, _] => 5,
            [_, true] => 4,
            _ => 3,
        }
    } else {
        1
    };
    let wanted = text.text.get(..offset).unwrap_or(text.text);
    for c in wanted.chars() {
        let rest = source.get(at..).unwrap_or_default();
        at += written_bytes(rest, c, quote == '"');
    }
    // An escaped line end writes nothing and belongs to what stands before it.
    let rest = source.get(at..).unwrap_or_default();
    text.span.start + at + if quote == '"' { line_joint(rest) } else { 0 }
}

/// Bytes of the backslash, line end and blanks that join two lines into one; 0 if there are none.
fn line_joint(source: &str) -> usize {
    let Some(rest) = source.strip_prefix('\\') else {
        return 0;
    };
    let blanks = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    let has_line_end = rest[..blanks].contains('\n');
    if has_line_end { 1 + blanks } else { 0 }
}

/// How many bytes at the front of `source` write the character `c`.
fn written_bytes(source: &str, c: char, escapes: bool) -> usize {
    let joint = if escapes { line_joint(source) } else { 0 };
    let source = &source[joint..];
    let written = match source.strip_prefix('\\') {
        Some(escape) if escapes => match escape.chars().next() {
            Some('x') => 4,
            Some('u') => 6,
            Some('U') => 10,
            _ => 2,
        },
        _ => c.len_utf8(),
    };
    joint + written
}

#[cfg(test)]
mod tests {
    use super::*;
    use toml::de::{DeTable, DeValue};

    /// Each character of the text, found in the file by its offset.
    fn places(file: &str) -> Vec<String> {
        let table = DeTable::parse(file).unwrap();
        let value = table.get_ref().get("a").unwrap();
        let DeValue::String(decoded) = value.get_ref() else {
            panic!("a text");
        };
        let text = Text {
            text: decoded.as_ref(),
            span: value.span(),
        };
        let offsets = decoded.char_indices().map(|(at, _)| at);
        let starts: Vec<usize> = offsets
            .chain([decoded.len()])
            .map(|at| source_offset(file, &text, at))
            .collect();
        let pieces = starts
            .windows(2)
            .map(|pair| file[pair[0]..pair[1]].to_owned());
        pieces
            .chain([file[starts[starts.len() - 1]..].to_owned()])
            .collect()
    }

    #[test]
    fn every_way_to_write_a_text_keeps_its_places() {
        for (file, expected) in [
            ("a = 'x\u{e9}y'", vec!["x", "\u{e9}", "y", "'"]),
            ("a = \"x\u{e9}y\"", vec!["x", "\u{e9}", "y", "\""]),
            ("a = 'x\\ny'", vec!["x", "\\", "n", "y", "'"]),
            (
                "a = \"\\\"x\\ty\\\\\"",
                vec!["\\\"", "x", "\\t", "y", "\\\\", "\""],
            ),
            (
                "a = \"\\u00e9\\U0001f600y\"",
                vec!["\\u00e9", "\\U0001f600", "y", "\""],
            ),
            ("a = \"\"\"\nx\ny\"\"\"", vec!["x", "\n", "y", "\"\"\""]),
            ("a = \"\"\"x\"y\"\"\"", vec!["x", "\"", "y", "\"\"\""]),
            (
                "a = \"\"\"x \\\n  y\"\"\"",
                vec!["x", " \\\n  ", "y", "\"\"\""],
            ),
            ("a = '''\r\nx\r\ny'''", vec!["x", "\r", "\n", "y", "'''"]),
            ("a = ''", vec!["'"]),
        ] {
            assert_eq!(places(file), expected, "{file:?}");
        }
    }
}
