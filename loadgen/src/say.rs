//! What the process says: results on standard output, all else on standard error.
//!
//! The macros of the standard library panic when a line cannot be written. Progress that nobody
//! reads is dropped here; a result that cannot be written is an error, unless its reader has seen
//! enough.

use std::fmt::Arguments;
use std::io::{self, Write};

use crate::error::LoadError;

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

/// Writes a result to standard output; a closed pipe is no error.
pub(crate) fn print(text: &str) -> Result<(), LoadError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(source) if source.kind() != io::ErrorKind::BrokenPipe => Err(LoadError::System {
            what: "cannot write to standard output",
            source,
        }),
        _ => Ok(()),
    }
}
