//! Bytes in, durable bytes out: the log of one shard, and what it stands on.
//!
//! The crate knows no events. It promises, for a frame that [`log::Log`] reported as durable:
//!
//! - its entries survive a kill, a kernel crash and a power loss, if the device honours flushes;
//! - a damaged byte is never handed out and never silently skipped: opening refuses and names the
//!   file, the offset and the sequences;
//! - a torn tail is cut only if nothing says that it was acknowledged.
//!
//! Assumed of the medium: a flush that succeeded made every earlier finished write durable; a
//! write that was not flushed may keep any subset of its 512-byte sectors; a name is durable once
//! its directory was flushed. Byte tables and the recovery truth table: `docs/formats/log.md`.
//!
//! Files, from the bottom up:
//!
//! | module | is |
//! |---|---|
//! | [`aligned`] | block-aligned heap buffers |
//! | [`disk`] | the seam to the disk, and its back ends |
//! | [`ring`] | the io_uring that a core shares between sockets and log |
//! | [`probe`], [`device`] | which way of flushing is fast here, and on what device |
//! | [`zeroes`] | segment files written full of zeros ahead of need |
//! | [`layout`], [`checksum`] | byte offsets and the two checksums |
//! | [`frame`], [`segment`], [`mark`] | the three things a stream is made of |
//! | [`recovery`] | scan, truth table and repair of a stream |
//! | [`log`] | the writer: append, submit, poll |
//! | `slots` | two alternating slots, for mark and manifest |
//! | [`manifest`] | what a store consists of |
//! | [`verify`] | recovery without writing |
//! | [`level`], [`error`] | durability levels; errors with the operator's next step |
//! | [`planted`] | switches for the deliberate defects that test the tests |

pub mod aligned;
pub mod checksum;
pub mod device;
pub mod disk;
pub mod error;
pub mod follow;
pub mod frame;
pub mod layout;
pub mod level;
pub mod log;
pub mod manifest;
pub mod mark;
pub mod planted;
pub mod probe;
pub mod recovery;
pub mod ring;
pub mod segment;
mod slots;
pub mod verify;
pub mod zeroes;
