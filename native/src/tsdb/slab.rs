//! A slab of word blocks: memory for many small, growing bit streams.
//!
//! Blocks come in sizes that double. A stream that outgrows its block moves to one of the next
//! size, and the block it leaves is used again.

const SMALLEST_WORDS: usize = 4;
const SIZES: usize = 11;

/// Words per allocation: half a megabyte.
const PAGE_WORDS: usize = 1 << 16;

/// The place of one block; its size follows from how many words it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block(u32);

impl Block {
    pub const NONE: Self = Self(0);
}

#[derive(Default)]
struct Size {
    pages: Vec<Box<[u64]>>,
    used: u32,
    free: Vec<u32>,
}

pub struct Slab {
    sizes: [Size; SIZES],
}

impl Default for Slab {
    fn default() -> Self {
        Self::new()
    }
}

/// The size class whose blocks hold `words` (> 0) words.
#[inline]
fn class_of(words: u16) -> usize {
    (usize::from(words).div_ceil(SMALLEST_WORDS)).next_power_of_two().trailing_zeros() as usize
}

impl Slab {
    /// The most words that a stream can have.
    pub const MAX_WORDS: u16 = (SMALLEST_WORDS << (SIZES - 1)) as u16;

    #[must_use]
    pub fn new() -> Self {
        Self { sizes: Default::default() }
    }

    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.sizes.iter().map(|s| s.pages.len() * PAGE_WORDS * 8 + s.free.capacity() * 4).sum()
    }

    /// Writes word number `at` (= how many are there) of a stream, moving it where it must grow.
    #[inline]
    pub fn push(&mut self, block: &mut Block, at: u16, word: u64) {
        if at == 0 {
            *block = self.allocate(0);
        } else if usize::from(at) >= SMALLEST_WORDS && at.is_power_of_two() {
            self.grow(block, at);
        }
        let class = class_of(at + 1);
        let (page, offset) = Self::locate(class, *block);
        self.sizes[class].pages[page][offset + usize::from(at)] = word;
    }

    #[cold]
    fn grow(&mut self, block: &mut Block, words: u16) {
        let class = class_of(words);
        let larger = self.allocate(class + 1);
        let (page, offset) = Self::locate(class, *block);
        let (to_page, to_offset) = Self::locate(class + 1, larger);
        let (from, to) = self.sizes.split_at_mut(class + 1);
        let count = usize::from(words);
        to[0].pages[to_page][to_offset..to_offset + count]
            .copy_from_slice(&from[class].pages[page][offset..offset + count]);
        from[class].free.push(block.0);
        *block = larger;
    }

    fn allocate(&mut self, class: usize) -> Block {
        let size = &mut self.sizes[class];
        if let Some(free) = size.free.pop() {
            return Block(free);
        }
        let per_page = PAGE_WORDS / (SMALLEST_WORDS << class);
        if size.used as usize == size.pages.len() * per_page {
            size.pages.push(vec![0; PAGE_WORDS].into_boxed_slice());
        }
        size.used += 1;
        Block(size.used - 1)
    }

    #[inline]
    fn locate(class: usize, block: Block) -> (usize, usize) {
        let words = SMALLEST_WORDS << class;
        let per_page = PAGE_WORDS / words;
        (block.0 as usize / per_page, block.0 as usize % per_page * words)
    }

    /// The words of a stream.
    #[must_use]
    pub fn words(&self, block: Block, count: u16) -> &[u64] {
        if count == 0 {
            return &[];
        }
        let class = class_of(count);
        let (page, offset) = Self::locate(class, block);
        &self.sizes[class].pages[page][offset..offset + usize::from(count)]
    }

    /// Gives a stream's block back.
    pub fn free(&mut self, block: Block, count: u16) {
        if count > 0 {
            self.sizes[class_of(count)].free.push(block.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn streams_keep_their_words(pushes in prop::collection::vec(0..5_usize, 0..2000)) {
            let mut slab = Slab::new();
            let mut streams = vec![(Block::NONE, Vec::<u64>::new()); 5];
            for (i, stream) in pushes.into_iter().enumerate() {
                let (block, words) = &mut streams[stream];
                if words.len() == 300 {
                    slab.free(*block, 300);
                    words.clear();
                }
                slab.push(block, words.len() as u16, i as u64);
                words.push(i as u64);
            }
            for (block, words) in &streams {
                prop_assert_eq!(slab.words(*block, words.len() as u16), words.as_slice());
            }
        }
    }
}
