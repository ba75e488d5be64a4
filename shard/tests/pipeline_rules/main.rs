//! Every rule of the pipeline file, with the exact message that breaking it gives.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod base;
mod board;
mod board_columns;
mod dedupe;
mod expression;
mod field;
mod file;
mod stream;
mod test;
mod view;
mod was;
mod window;
