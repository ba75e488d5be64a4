//! The model of the whole state: random pipelines and events, a plain oracle, and a small world of
//! shards that routes, records, crashes and replays.
#![allow(dead_code)] // Each test binary uses its own part.
#![allow(clippy::unwrap_used)] // Helpers of tests, but not test functions themselves.

pub(crate) mod check;
pub(crate) mod check_boards;
pub(crate) mod computed;
pub(crate) mod corrections;
pub(crate) mod damage;
pub(crate) mod finds;
pub(crate) mod generate;
pub(crate) mod grow;
pub(crate) mod noted;
pub(crate) mod random;
pub(crate) mod repeating;
pub(crate) mod tree;
pub(crate) mod world;
