//! Blocks of words for the partials of one column.
//!
//! A block has `unit << class` words. Blocks that are given back are taken again, so a steady flow
//! of windows allocates nothing, and blocks never move, because they lie in chunks.

use crate::table::chunks::free_last;

/// Words of a chunk, unless a single block is larger.
const CHUNK_WORDS: usize = 4096;

/// A block, as a word that a cell can hold; the word 0 is no block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block(u64);

impl Block {
    pub(crate) const NONE: Block = Block(0);

    pub(crate) fn of_word(word: u64) -> Self {
        Self(word)
    }

    pub(crate) fn word(self) -> u64 {
        self.0
    }

    fn new(class: usize, index: usize) -> Self {
        Self((index as u64 + 1) << 8 | class as u64)
    }

    pub(crate) fn class(self) -> usize {
        self.0 as usize & 0xff
    }

    fn index(self) -> usize {
        (self.0 >> 8) as usize - 1
    }
}

#[derive(Debug, Clone)]
struct Class {
    /// Words of a block.
    words: usize,
    /// log2 of the blocks per chunk.
    chunk_shift: u32,
    chunks: Vec<Box<[u64]>>,
    blocks: usize,
    free: Vec<Block>,
}

impl Class {
    fn new(words: usize) -> Self {
        Self {
            words,
            chunk_shift: (CHUNK_WORDS / words).max(1).ilog2(),
            chunks: Vec::new(),
            blocks: 0,
            free: Vec::new(),
        }
    }

    /// The chunk of a block, and where in it the block begins.
    #[inline]
    fn place(&self, index: usize) -> (usize, usize) {
        let chunk = index >> self.chunk_shift;
        (chunk, (index - (chunk << self.chunk_shift)) * self.words)
    }
}

/// The blocks of one column.
#[derive(Debug, Clone)]
pub(crate) struct Slab {
    unit: usize,
    classes: Vec<Class>,
    /// For operations that have to take a block apart.
    pub(crate) scratch: Vec<u64>,
}

impl Slab {
    /// Blocks of `unit` words and its doublings; a unit of 0 is for columns that need none.
    pub(crate) fn new(unit: usize) -> Self {
        Self {
            unit,
            classes: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// An empty one of the same unit.
    pub(crate) fn fresh(&self) -> Self {
        Self::new(self.unit)
    }

    /// Frees up to `pieces` chunks of a slab that is not used any more, and counts them down; true
    /// if none is left.
    pub(crate) fn free_some(&mut self, pieces: &mut usize) -> bool {
        let mut classes = self.classes.iter_mut();
        classes.all(|class| free_last(&mut class.chunks, pieces))
    }

    pub(crate) fn is_used(&self) -> bool {
        self.unit > 0
    }

    /// The class whose blocks have at least so many words.
    pub(crate) fn class_for(&self, words: usize) -> usize {
        words.div_ceil(self.unit).next_power_of_two().ilog2() as usize
    }

    /// A block of zeros.
    pub(crate) fn take(&mut self, class: usize) -> Block {
        for missing in self.classes.len()..=class {
            self.classes.push(Class::new(self.unit << missing));
        }
        let of_class = &mut self.classes[class];
        if let Some(block) = of_class.free.pop() {
            self.words_mut(block).fill(0);
            return block;
        }
        let index = of_class.blocks;
        of_class.blocks += 1;
        if of_class.place(index).0 == of_class.chunks.len() {
            let blocks = 1 << of_class.chunk_shift;
            let chunk = vec![0; of_class.words * blocks].into_boxed_slice();
            of_class.chunks.push(chunk);
            // Room for every block, so that giving back never allocates.
            of_class.free.reserve(index + blocks);
        }
        Block::new(class, index)
    }

    pub(crate) fn give_back(&mut self, block: Block) {
        if block != Block::NONE {
            self.classes[block.class()].free.push(block);
        }
    }

    /// Words of a block; no block has none.
    #[inline]
    pub(crate) fn len(&self, block: Block) -> usize {
        if block == Block::NONE {
            return 0;
        }
        self.unit << block.class()
    }

    /// The words of a block; those of no block are none.
    #[inline]
    pub(crate) fn words(&self, block: Block) -> &[u64] {
        if block == Block::NONE {
            return &[];
        }
        let class = &self.classes[block.class()];
        let (chunk, at) = class.place(block.index());
        &class.chunks[chunk][at..at + class.words]
    }

    #[inline]
    pub(crate) fn words_mut(&mut self, block: Block) -> &mut [u64] {
        if block == Block::NONE {
            return &mut [];
        }
        let class = &mut self.classes[block.class()];
        let (chunk, at) = class.place(block.index());
        &mut class.chunks[chunk][at..at + class.words]
    }

    /// Blocks that were ever made.
    #[cfg(test)]
    pub(crate) fn blocks(&self) -> usize {
        self.classes.iter().map(|class| class.blocks).sum()
    }

    /// Replaces `block` by one of `class`, which may be its own; `fill` gets the words of the old
    /// one and the zeros of the new one.
    pub(crate) fn replace(
        &mut self,
        block: Block,
        class: usize,
        fill: impl FnOnce(&[u64], &mut [u64]),
    ) -> Block {
        let mut old = std::mem::take(&mut self.scratch);
        old.clear();
        old.extend_from_slice(self.words(block));
        self.give_back(block);
        let new = self.take(class);
        fill(&old, self.words_mut(new));
        self.scratch = old;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_apart_and_come_back_zeroed() {
        let mut slab = Slab::new(3);
        let blocks: Vec<Block> = (0..3_000).map(|i| slab.take(i % 5)).collect();
        for (i, &block) in blocks.iter().enumerate() {
            assert_eq!(slab.words(block).len(), 3 << (i % 5));
            slab.words_mut(block).fill(i as u64 + 1);
        }
        for (i, &block) in blocks.iter().enumerate() {
            assert!(slab.words(block).iter().all(|&word| word == i as u64 + 1));
            assert_eq!(Block::of_word(block.word()), block);
        }
        let chunks = |slab: &Slab| -> usize { slab.classes.iter().map(|c| c.chunks.len()).sum() };
        let before = chunks(&slab);
        blocks.iter().for_each(|&block| slab.give_back(block));
        for i in 0..3_000 {
            let block = slab.take(i % 5);
            assert!(slab.words(block).iter().all(|&word| word == 0));
        }
        assert_eq!(chunks(&slab), before, "blocks are reused");
    }

    #[test]
    fn a_block_is_replaced_by_one_of_any_class() {
        let mut slab = Slab::new(4);
        assert_eq!(
            [1, 4, 5, 8, 9].map(|words| slab.class_for(words)),
            [0, 0, 1, 1, 2]
        );
        let mut block = slab.take(0);
        slab.words_mut(block).fill(7);
        for class in [2, 2, 0, 3] {
            block = slab.replace(block, class, |old, new| {
                assert_eq!(old[..4], [7; 4]);
                new[..4].fill(7);
            });
            assert_eq!(slab.words(block).len(), 4 << class);
        }
        assert!(slab.words(Block::NONE).is_empty());
    }
}
