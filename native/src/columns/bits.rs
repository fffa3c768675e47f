//! A set of rows of a granule.

/// A bit for each of the bytes that is `wanted`, lowest first.
#[cfg(target_arch = "x86_64")]
#[inline]
fn equal_bytes(bytes: &[u8; 16], wanted: u8) -> u64 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8};
    let both = u128::from_le_bytes(*bytes);
    // SAFETY: SSE2 is part of x86-64, and nothing but these values is touched.
    unsafe {
        let bytes = _mm_set_epi64x((both >> 64) as i64, both as i64);
        _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(wanted as i8))) as u64
    }
}

/// A bit for each of the bytes that is `wanted`, lowest first.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn equal_bytes(bytes: &[u8; 16], wanted: u8) -> u64 {
    const LOW_BITS: u64 = 0x0101_0101_0101_0101;
    let zero_bytes = |word: u64| {
        let seven = 0x7f * LOW_BITS;
        let zero = !(((word & seven) + seven) | word | seven);
        (zero >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
    };
    let both = u128::from_le_bytes(*bytes);
    let pattern = u64::from(wanted) * LOW_BITS;
    zero_bytes(both as u64 ^ pattern) | zero_bytes((both >> 64) as u64 ^ pattern) << 8
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bits {
    rows: usize,
    words: Vec<u64>,
}

impl Bits {
    #[must_use]
    pub fn none(rows: usize) -> Self {
        Self { rows, words: vec![0; rows.div_ceil(64)] }
    }

    #[must_use]
    pub fn all(rows: usize) -> Self {
        let mut bits = Self { rows, words: vec![u64::MAX; rows.div_ceil(64)] };
        bits.trim();
        bits
    }

    /// The rows for which `holds`.
    #[must_use]
    pub fn of(rows: usize, mut holds: impl FnMut(usize) -> bool) -> Self {
        let mut bits = Self::none(rows);
        for (index, word) in bits.words.iter_mut().enumerate() {
            let first = index * 64;
            for row in first..rows.min(first + 64) {
                *word |= u64::from(holds(row)) << (row - first);
            }
        }
        bits
    }

    /// The rows whose id is one of a few.
    #[must_use]
    pub fn of_equal(rows: usize, ids: &[u8], wanted: &[u8]) -> Self {
        let mut bits = Self::none(rows);
        for id in wanted {
            for (word, ids) in bits.words.iter_mut().zip(ids.chunks(64)) {
                let (whole, rest) = ids.as_chunks::<16>();
                for (index, sixteen) in whole.iter().enumerate() {
                    *word |= equal_bytes(sixteen, *id) << (16 * index);
                }
                for (index, own) in rest.iter().enumerate() {
                    *word |= u64::from(own == id) << (16 * whole.len() + index);
                }
            }
        }
        bits.trim();
        bits
    }

    /// The rows whose id has a 1 in the table; its others are 0.
    #[must_use]
    pub fn of_table(rows: usize, ids: &[u8], table: &[u8; 256]) -> Self {
        let mut bits = Self::none(rows);
        for (word, ids) in bits.words.iter_mut().zip(ids.chunks(64)) {
            for (index, id) in ids.iter().enumerate() {
                *word |= u64::from(table[*id as usize]) << index;
            }
        }
        bits.trim();
        bits
    }

    fn trim(&mut self) {
        if let Some(last) = self.words.last_mut()
            && !self.rows.is_multiple_of(64)
        {
            *last &= (1 << (self.rows % 64)) - 1;
        }
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|w| *w == 0)
    }

    #[must_use]
    pub fn is_all(&self) -> bool {
        self.count() == self.rows
    }

    pub fn set(&mut self, row: usize) {
        self.words[row / 64] |= 1 << (row % 64);
    }

    #[must_use]
    pub fn has(&self, row: usize) -> bool {
        self.words.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    pub fn and(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= b);
    }

    pub fn or(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a |= b);
    }

    pub fn negate(&mut self) {
        self.words.iter_mut().for_each(|w| *w = !*w);
        self.trim();
    }

    /// The rows, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(index, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                (left != 0).then(|| {
                    let bit = left.trailing_zeros() as usize;
                    left &= left - 1;
                    index * 64 + bit
                })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Bits;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bits_are_sets(rows in 1_usize..200, step in 1_usize..7) {
            let mut bits = Bits::of(rows, |row| row % step == 0);
            let expected: Vec<_> = (0..rows).step_by(step).collect();
            prop_assert_eq!(bits.iter().collect::<Vec<_>>(), expected.clone());
            prop_assert_eq!(bits.count(), expected.len());
            bits.negate();
            prop_assert_eq!(bits.count(), rows - expected.len());
            bits.or(&Bits::of(rows, |row| row % step == 0));
            prop_assert!(bits.is_all() && bits == Bits::all(rows));
        }

        #[test]
        fn ids_are_compared_or_looked_up(ids in proptest::collection::vec(0_u8..5, 0..300)) {
            for wanted in [&[][..], &[1], &[0, 4], &[255, 3, 2]] {
                let expected = Bits::of(ids.len(), |row| wanted.contains(&ids[row]));
                let mut table = [0; 256];
                wanted.iter().for_each(|id| table[*id as usize] = 1);
                prop_assert_eq!(&Bits::of_equal(ids.len(), &ids, wanted), &expected);
                prop_assert_eq!(&Bits::of_table(ids.len(), &ids, &table), &expected);
            }
        }
    }
}
