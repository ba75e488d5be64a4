//! Texts and uuids: references to bytes, and the functions that read them.

use super::{Batch, Register, unary};
use crate::expression::like::LikePattern;
use crate::expression::reason::state::VALUE;

const CONSTANTS: u64 = 1;
const ARENA: u64 = 2;
const HOME_BIT: u32 = 62;
const LENGTH_BIT: u32 = 48;

/// Where bytes lie: two bits of home (rows, constants or arena), 14 of length, 48 of offset. All
/// zeros are no bytes at all, which is always a safe thing to read.
#[derive(Clone, Copy, Debug)]
pub(in crate::expression) struct Bytes(pub(in crate::expression) u64);

impl Bytes {
    fn new(home: u64, offset: usize, length: usize) -> Self {
        Self(home << HOME_BIT | (length as u64) << LENGTH_BIT | offset as u64)
    }

    #[inline]
    fn home(self) -> u64 {
        self.0 >> HOME_BIT
    }

    #[inline]
    fn range(self) -> std::ops::Range<usize> {
        let offset = (self.0 & ((1 << LENGTH_BIT) - 1)) as usize;
        let length = (self.0 << 2 >> (LENGTH_BIT + 2)) as usize;
        offset..offset + length
    }

    pub(super) fn in_rows(offset: usize, length: usize) -> Self {
        Self::new(0, offset, length)
    }
}

/// Bytes that stand in no row.
#[derive(Clone, Debug, Default)]
pub(in crate::expression) struct Texts {
    constants: Vec<u8>,
    /// Texts that were made for this batch.
    arena: Vec<u8>,
}

impl Texts {
    pub(in crate::expression) fn clear(&mut self) {
        self.arena.clear();
    }

    pub(in crate::expression) fn add_constant(&mut self, bytes: &[u8]) -> Bytes {
        let offset = self.constants.len();
        self.constants.extend_from_slice(bytes);
        Bytes::new(CONSTANTS, offset, bytes.len())
    }

    /// The bytes of a reference into these or into `rows`.
    #[inline]
    pub(in crate::expression) fn get<'a>(&'a self, rows: &'a [u8], bytes: Bytes) -> &'a [u8] {
        let home = match bytes.home() {
            CONSTANTS => &self.constants,
            ARENA => &self.arena,
            _ => rows,
        };
        &home[bytes.range()]
    }
}

/// Characters: every byte but those that continue one.
pub(super) fn length(a: &Register, out: &mut Register, batch: &Batch<'_>, texts: &Texts) {
    unary(a, out, batch.count, |a| {
        let bytes = texts.get(batch.rows, Bytes(a));
        let characters = bytes.iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
        (characters as u64, VALUE)
    });
}

pub(super) fn like(
    pattern: &LikePattern,
    a: &Register,
    out: &mut Register,
    batch: &Batch<'_>,
    texts: &Texts,
) {
    unary(a, out, batch.count, |a| {
        let fits = pattern.fits(texts.get(batch.rows, Bytes(a)));
        (u64::from(fits), VALUE)
    });
}

/// Copies texts into the arena, every byte mapped by `op`.
pub(super) fn map(
    op: fn(&u8) -> u8,
    a: &Register,
    out: &mut Register,
    batch: &Batch<'_>,
    texts: &mut Texts,
) {
    let n = batch.count;
    out.states[..n].copy_from_slice(&a.states[..n]);
    for row in 0..n {
        if a.states[row] != VALUE {
            out.values[row] = 0;
            continue;
        }
        let (start, source) = (texts.arena.len(), Bytes(a.values[row]));
        match source.home() {
            ARENA => texts.arena.extend_from_within(source.range()),
            CONSTANTS => texts
                .arena
                .extend_from_slice(&texts.constants[source.range()]),
            _ => texts.arena.extend_from_slice(&batch.rows[source.range()]),
        }
        let copy = &mut texts.arena[start..];
        copy.iter_mut().for_each(|byte| *byte = op(byte));
        out.values[row] = Bytes::new(ARENA, start, copy.len()).0;
    }
}
