//! Looking ahead over what a turn has received, so that small publications do not wait for memory
//! one after the other.
//!
//! A batch of many events is applied in passes whose cache misses overlap. Many batches of one
//! event each would miss each time anew: here their keys are looked up before the first of them is
//! applied. It is a guess that changes nothing: whatever is odd about a frame is found when it is
//! parsed.

use ringmill_shard::limits::{FRAME_HEADER_BYTES, PUBLISH_PREFIX_BYTES};
use ringmill_shard::wire::{FrameHeader, FrameKind};
use ringmill_storage::disk::Disk;

use super::Core;
use crate::clock::Clock;
use crate::net::{Net, NetEvent};

/// Larger publications overlap their own misses.
const EVENTS_MAX: u32 = 4;
/// Frames of one chunk that are looked at.
const FRAMES_MAX: usize = 16;

impl<D: Disk, C: Clock> Core<D, C> {
    /// Asks for what the small publications among `events` will need, in two passes.
    pub(super) fn look_ahead(&self, net: &impl Net, events: &[NetEvent]) {
        if self.floor.is_some() || events.len() < 2 {
            return;
        }
        for (stream, row) in small_rows(net, events) {
            self.state.expect_key(stream, row);
        }
        for (stream, row) in small_rows(net, events) {
            self.state.expect_member(stream, row);
        }
    }
}

/// The stream and the first row of each small publication that begins where a chunk begins or
/// behind another one. The row goes on to the end of the chunk.
fn small_rows<'a>(
    net: &'a impl Net,
    events: &'a [NetEvent],
) -> impl Iterator<Item = (usize, &'a [u8])> {
    let chunks = events.iter().filter_map(|event| match event {
        NetEvent::Data(_, chunk) => Some(net.bytes(chunk)),
        _ => None,
    });
    chunks.flat_map(|chunk| {
        let mut rest = chunk;
        let next = move || {
            let (head, behind) = rest.split_first_chunk::<FRAME_HEADER_BYTES>()?;
            let header = FrameHeader::decode(head).ok()?;
            if header.kind != FrameKind::Publish || header.count > EVENTS_MAX {
                return None;
            }
            rest = behind.get(header.payload_bytes as usize..).unwrap_or(&[]);
            let row = behind.get(PUBLISH_PREFIX_BYTES..)?;
            Some((usize::from(header.stream), row))
        };
        std::iter::from_fn(next).take(FRAMES_MAX)
    })
}
