//! What the process says: results on standard output, all else on standard error.
//!
//! The macros of the standard library panic when a line cannot be written. A reader that has gone
//! or a full log is no reason for a server to end, so a line that nobody takes is dropped here.

use std::fmt::Arguments;
use std::io::{self, Write};

use crate::cli::{EXIT_FAILED, EXIT_OK};

/// Says a line on standard error; takes what `format!` takes.
macro_rules! say {
    ($($part:tt)*) => {
        $crate::say::line(format_args!($($part)*))
    };
}

/// Says a line on standard error, in one write.
pub(crate) fn line(text: Arguments<'_>) {
    let _ = io::stderr()
        .lock()
        .write_all(format!("{text}\n").as_bytes());
}

/// Writes a result to standard output; returns the exit code. A closed pipe is no error: whoever
/// reads has seen enough.
pub(crate) fn print(text: &str) -> i32 {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            say!("ringmill: cannot write to standard output: {error}");
            EXIT_FAILED
        }
        _ => EXIT_OK,
    }
}
