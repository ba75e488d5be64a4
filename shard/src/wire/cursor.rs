//! Reading a payload front to back; every read is checked against what is left.

use crate::wire::WireError;

pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

const INSIDE: WireError = WireError::FieldLength {
    short_or_over: "inside",
};
const BEHIND: WireError = WireError::FieldLength {
    short_or_over: "behind",
};

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: bytes }
    }

    pub(super) fn take(&mut self, bytes: usize) -> Result<&'a [u8], WireError> {
        let (head, rest) = self.rest.split_at_checked(bytes).ok_or(INSIDE)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(INSIDE)?;
        self.rest = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A reserved field: zero in this version.
    pub(super) fn zero(&mut self, bytes: usize, field: &'static str) -> Result<(), WireError> {
        match self.take(bytes)?.iter().all(|byte| *byte == 0) {
            true => Ok(()),
            false => Err(WireError::NotZero { field }),
        }
    }

    /// A length byte and so many bytes of UTF-8.
    pub(super) fn name(&mut self) -> Result<&'a str, WireError> {
        let bytes = usize::from(self.u8()?);
        let name = self.take(bytes)?;
        std::str::from_utf8(name).map_err(|_| WireError::BadText)
    }

    /// Refuses a count whose items cannot all be in what is left, before anything is allocated.
    pub(super) fn room_for(&self, count: usize, item_bytes_min: usize) -> Result<(), WireError> {
        if count.saturating_mul(item_bytes_min) > self.rest.len() {
            Err(INSIDE)
        } else {
            Ok(())
        }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn finish(self) -> Result<(), WireError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(BEHIND)
        }
    }
}

/// Appends a length byte and the name, which the caller knows to be at most 255 bytes long.
pub(super) fn write_name(out: &mut Vec<u8>, name: &str) {
    out.push(u8::try_from(name.len()).expect("invariant: names are at most 64 bytes"));
    out.extend_from_slice(name.as_bytes());
}
