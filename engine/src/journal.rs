//! Entries as they stand in the log: the kind, then the entry of the shard crate.
//!
//! The log below knows no kinds and the state above knows no log; this is where they meet.

/// Bytes before every entry: the kind, little-endian, and zeros that keep the entry aligned.
pub const KIND_BYTES: usize = 8;

/// Rows of a floor measurement: recovery passes them over.
pub const KIND_FLOOR: u32 = 0x7F;

/// The bytes that stand before an entry of this kind.
pub fn kind_bytes(kind: u32) -> [u8; KIND_BYTES] {
    u64::from(kind).to_le_bytes()
}

/// Takes a log entry apart. `None` if it is too short to have a kind, or the kind is none.
pub fn split(entry: &[u8]) -> Option<(u32, &[u8])> {
    let (kind, rest) = entry.split_first_chunk::<KIND_BYTES>()?;
    let kind = u32::try_from(u64::from_le_bytes(*kind)).ok()?;
    Some((kind, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_taken_apart_where_it_was_put_together() {
        let mut entry = kind_bytes(KIND_FLOOR).to_vec();
        entry.extend_from_slice(b"rows");
        assert_eq!(split(&entry), Some((KIND_FLOOR, &b"rows"[..])));
        assert_eq!(split(&entry[..7]), None);
        assert_eq!(split(&[0xFF; 8]), None);
    }
}
