//! The two checksums of the format, and the one place that knows them.
//!
//! CRC32C guards headers: short data, burst errors found for certain. XXH3-128 guards payloads and
//! whole slots, and its value over a header is the link that chains frames.

use xxhash_rust::xxh3::xxh3_128;

/// Stands in every header, so that the kinds can change: CRC32C headers, XXH3-128 payloads.
pub const CHECKSUM_KIND: u16 = 1;

/// XXH3-128 of `bytes`, seed 0.
#[inline]
#[must_use]
pub fn digest(bytes: &[u8]) -> u128 {
    xxh3_128(bytes)
}

/// CRC32C of `bytes` as if the four bytes at `hole` were absent.
#[inline]
#[must_use]
pub fn header_crc(bytes: &[u8], hole: usize) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..hole]), &bytes[hole + 4..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_vectors_hold() {
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(digest(b""), 0x99aa_06d3_0147_98d8_6001_c324_468d_497f);
    }

    #[test]
    fn the_hole_does_not_count_and_the_rest_does() {
        let mut bytes = [7u8; 32];
        let crc = header_crc(&bytes, 8);
        bytes[8..12].copy_from_slice(&[1, 2, 3, 4]);
        assert_eq!(header_crc(&bytes, 8), crc);
        bytes[31] ^= 1;
        assert_ne!(header_crc(&bytes, 8), crc);
    }
}
