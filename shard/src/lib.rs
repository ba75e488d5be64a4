//! The vocabulary and the deterministic state machine of ringmill.
//!
//! Both sides of a socket share this crate: schemas and rows, the wire protocol, the pipeline file,
//! and the state of one shard. It knows no disk, clock, thread or socket. Time enters as recorded
//! values, so the same entries give the same state on 1 or 64 cores, live or in replay.
//!
//! Vocabulary, in the order of dependence: [`limits`], [`reject`], [`value`], [`row`], [`schema`],
//! [`partition`], [`timestamp`], [`wire`], [`ndjson`], [`expression`], [`pipeline`]. State machine:
//! [`entry`], [`dedupe`], [`watermark`], [`table`], [`aggregate`], [`window`], [`cells`], [`rank`],
//! [`board`], [`delta`], [`state`]; reads: [`query`], [`merge`]. Held against all of it: [`oracle`].

#![deny(unsafe_code)]

pub mod expression;
pub mod limits;
pub mod ndjson;
pub mod partition;
pub mod pipeline;
pub mod receipt;
pub mod reject;
pub mod row;
pub mod schema;
pub mod season;
pub mod selection;
pub mod timestamp;
pub mod value;
pub mod wire;

pub mod aggregate;
pub mod board;
pub mod cells;
mod correction;
pub mod dedupe;
pub mod delta;
pub mod entry;
mod gate;
pub mod merge;
pub mod oracle;
mod prefetch;
pub mod query;
pub mod rank;
mod sketch;
mod source;
pub mod state;
mod suggest;
pub mod table;
pub mod watermark;
pub mod window;
