//! Pinned bytes of every frame, and `docs/formats/wire.md` held equal to the code.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod examples;
mod headers;
mod page;
mod payloads;
