//! The built binary as a server of its own process, a plain client for its wire protocol, and one
//! for HTTP.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

pub mod client;
pub mod confine;
pub mod http;
pub mod hunt;
pub mod random;
pub mod readings;
pub mod server;

use std::time::{Duration, Instant};

/// Looks again until `look` finds something; the last finding otherwise is the caller's to report.
pub fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A directory on the filesystem of the build, where direct I/O works.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Whether the environment asks to leave out what needs io_uring; servers then run without it.
pub fn skip_uring() -> bool {
    std::env::var("RINGMILL_SKIP_URING").is_ok_and(|value| value == "1")
}

/// A number of the environment, for longer runs.
pub fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => default,
    }
}
