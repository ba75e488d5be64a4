//! Load generator, verifier and comparer for ringmill.
//!
//! Every event has three times: when it should have been sent, when it was, and when it was
//! acknowledged. *Response* is the last minus the first, *service* the last minus the second, *send
//! lag* the second minus the first. The first comes from a schedule that does not wait for the
//! server, so a stall is counted for every event that fell due in it.
//!
//! From the inside out: [`units`], [`rng`], [`schedule`], [`keys`], [`rows`] decide what is sent
//! and when; [`clock`], [`recorder`], [`tally`], [`window`], [`greet`], [`connection`], [`offer`],
//! [`worker`] send it and count; [`plan`] says what a run is and [`run`] joins its threads, watched
//! by [`progress`] and [`signal`]; [`host`], [`stats`], [`verdict`], [`slo`], [`report`] judge and
//! print; [`acks`] and [`verify`] prove what is stored; [`replay`], [`search`], [`paired`],
//! [`compare`], [`selftest`] are the other commands; [`echo`] is a server for all of it. [`args`],
//! [`command`], [`error`] and [`exit`] are the command line, `say` writes to the terminal.

#![forbid(unsafe_code)]

#[macro_use]
mod say;

pub mod acks;
pub mod args;
pub mod clock;
pub mod command;
pub mod compare;
pub mod connection;
pub mod echo;
pub mod error;
pub mod exit;
pub mod greet;
pub mod host;
pub mod keys;
pub mod offer;
pub mod paired;
pub mod plan;
pub mod progress;
pub mod recorder;
pub mod replay;
pub mod report;
pub mod rng;
pub mod rows;
pub mod run;
pub mod schedule;
pub mod search;
pub mod selftest;
pub mod signal;
pub mod slo;
pub mod stats;
pub mod tally;
pub mod units;
pub mod verdict;
pub mod verify;
pub mod window;
pub mod worker;

#[cfg(test)]
pub(crate) mod testing;
