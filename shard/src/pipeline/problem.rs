//! What is wrong with a pipeline file, and where.

use std::fmt;
use std::ops::Range;

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
}

impl<'t> Report<'t> {
    pub(super) fn new(text: &'t str) -> Report<'t> {
        Report {
            text,
            problems: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, span: Range<usize>, message: String) {
        self.push(span, message, None);
    }

    pub(super) fn add_hint(&mut self, span: Range<usize>, message: String, hint: String) {
        self.push(span, message, Some(hint));
    }

    pub(super) fn push(&mut self, span: Range<usize>, message: String, hint: Option<String>) {
        let (line, column) = self.place(span.start);
        self.problems.push(Problem {
            line,
            column,
            message,
            hint,
        });
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

    /// The line that an offset lies on, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.place(offset).0
    }

    fn place(&self, offset: usize) -> (usize, usize) {
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
