//! Entries that name themselves: kind and content follow from a number, so the oracle keeps numbers only.

/// Kind of entry `id`: any but 0.
pub(crate) fn kind(id: u64) -> u32 {
    (id.wrapping_mul(0xd6e8_feb8_6659_fd93) >> 32) as u32 | 1
}

/// Bytes of entry `id`: the number, then 0 to `longest - 8` bytes that follow from it.
pub(crate) fn fill(id: u64, longest: usize, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&id.to_le_bytes());
    let mixed = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let room = longest.saturating_sub(8).max(1) as u64;
    // Most entries are short, some nearly fill a frame.
    let length = if mixed >> 61 == 0 {
        (mixed >> 20) % room
    } else {
        (mixed >> 20) % 200.min(room)
    };
    out.extend((0..length).map(|index| (mixed >> (index % 57)) as u8));
}
