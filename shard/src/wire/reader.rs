//! Bytes in, frames out, no socket.
//!
//! A frame that lies whole in a chunk is parsed where it lies. Only a frame that is split over
//! chunks is copied, into an assembly buffer that grows with the bytes that have arrived (never
//! with what a header claims) up to the size of that frame.

use crate::limits::{FRAME_HEADER_BYTES, FRAME_PAYLOAD_BYTES_MAX};
use crate::wire::WireError;
use crate::wire::header::{FrameHeader, verify};

/// An assembly buffer up to this size is kept for good.
const KEPT_BYTES_MAX: usize = 64 * 1024;
/// A larger one is released once so many frames in a row did without it. Under a steady load of
/// large frames it stays, and the reader allocates nothing.
const UNUSED_FRAMES_MAX: u32 = 256;

/// A frame whose checksum was compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The header.
    pub header: FrameHeader,
    /// The payload.
    pub payload: &'a [u8],
}

/// Splits a stream of bytes into frames.
#[derive(Debug, Default)]
pub struct FrameReader {
    /// Bytes of a split frame, from its header on.
    assembly: Vec<u8>,
    /// The header of the split frame, once it is whole.
    header: Option<FrameHeader>,
    /// The assembly holds the frame that was returned last.
    returned: bool,
    /// A frame was refused, after which the boundaries of frames are lost.
    refused: bool,
    /// Frames since the assembly last held a large one.
    unused_frames: u32,
}

impl FrameReader {
    /// A reader at the boundary of a frame.
    pub fn new() -> FrameReader {
        FrameReader::default()
    }

    /// The next frame of `chunk`, from `*consumed` on, which is moved behind what was taken. Call
    /// with the same chunk until `None`; then all of it is consumed, and a frame that is not whole
    /// yet is kept for the next chunk. After an error the connection cannot go on: everything else
    /// is consumed and dropped.
    #[inline]
    pub fn next<'a>(
        &'a mut self,
        chunk: &'a [u8],
        consumed: &mut usize,
    ) -> Option<Result<Frame<'a>, WireError>> {
        if self.returned {
            self.clear();
        }
        if self.refused {
            *consumed = chunk.len();
            return None;
        }
        if !self.assembly.is_empty() {
            return self.next_split(chunk, consumed);
        }
        let rest = &chunk[*consumed..];
        let Some((head, behind)) = rest.split_first_chunk::<FRAME_HEADER_BYTES>() else {
            return self.keep(chunk, consumed, FRAME_HEADER_BYTES);
        };
        let header = match FrameHeader::decode(head) {
            Ok(header) => header,
            Err(error) => return self.refuse(error),
        };
        let Some(payload) = behind.get(..header.payload_bytes as usize) else {
            self.header = Some(header);
            return self.keep(chunk, consumed, frame_bytes(&header));
        };
        if let Err(error) = verify(head, payload) {
            return self.refuse(error);
        }
        *consumed += frame_bytes(&header);
        self.note_unused();
        Some(Ok(Frame { header, payload }))
    }

    /// Whether a frame was begun and not finished.
    pub fn is_partial(&self) -> bool {
        !self.returned && !self.assembly.is_empty()
    }

    /// Bytes that the assembly buffer occupies.
    pub fn buffer_bytes(&self) -> usize {
        self.assembly.capacity()
    }

    fn next_split<'a>(
        &'a mut self,
        chunk: &'a [u8],
        consumed: &mut usize,
    ) -> Option<Result<Frame<'a>, WireError>> {
        if self.header.is_none() {
            self.fill(chunk, consumed, FRAME_HEADER_BYTES);
            let head = self.assembly.first_chunk::<FRAME_HEADER_BYTES>()?;
            match FrameHeader::decode(head) {
                Ok(header) => self.header = Some(header),
                Err(error) => return self.refuse(error),
            }
        }
        let header = self.header.expect("invariant: decoded above or before");
        let frame_bytes = frame_bytes(&header);
        self.fill(chunk, consumed, frame_bytes);
        if self.assembly.len() < frame_bytes {
            return None;
        }
        let (head, payload) = self
            .assembly
            .split_first_chunk::<FRAME_HEADER_BYTES>()
            .expect("invariant: the header is whole");
        if let Err(error) = verify(head, payload) {
            return self.refuse(error);
        }
        self.returned = true;
        let payload = &self.assembly[FRAME_HEADER_BYTES..];
        Some(Ok(Frame { header, payload }))
    }

    fn keep<'a>(
        &mut self,
        chunk: &[u8],
        consumed: &mut usize,
        frame_bytes: usize,
    ) -> Option<Result<Frame<'a>, WireError>> {
        self.fill(chunk, consumed, frame_bytes);
        debug_assert_eq!(*consumed, chunk.len());
        None
    }

    /// Takes bytes until the assembly holds `target` of them.
    fn fill(&mut self, chunk: &[u8], consumed: &mut usize, target: usize) {
        let rest = &chunk[*consumed..];
        let wanted = target.saturating_sub(self.assembly.len()).min(rest.len());
        let needed = self.assembly.len() + wanted;
        if needed > self.assembly.capacity() {
            // Doubling keeps the copying linear; the frame's own size bounds it.
            let grown = (self.assembly.capacity() * 2).clamp(needed, target.max(needed));
            self.assembly.reserve_exact(grown - self.assembly.len());
        }
        self.assembly.extend_from_slice(&rest[..wanted]);
        *consumed += wanted;
        debug_assert!(self.assembly.len() <= FRAME_HEADER_BYTES + FRAME_PAYLOAD_BYTES_MAX);
    }

    fn clear(&mut self) {
        if self.assembly.len() > KEPT_BYTES_MAX {
            self.unused_frames = 0;
        } else {
            self.note_unused();
        }
        self.assembly.clear();
        self.header = None;
        self.returned = false;
    }

    #[inline]
    fn note_unused(&mut self) {
        if self.assembly.capacity() <= KEPT_BYTES_MAX {
            return;
        }
        self.unused_frames += 1;
        if self.unused_frames > UNUSED_FRAMES_MAX {
            self.assembly = Vec::new();
            self.unused_frames = 0;
        }
    }

    #[cold]
    fn refuse<'a>(&mut self, error: WireError) -> Option<Result<Frame<'a>, WireError>> {
        self.assembly = Vec::new();
        self.header = None;
        self.refused = true;
        Some(Err(error))
    }
}

fn frame_bytes(header: &FrameHeader) -> usize {
    FRAME_HEADER_BYTES + header.payload_bytes as usize
}
